//! What comes in for one message: within the size limit, in a body, its line ends checked.
//!
//! A message that cannot be taken is read to its end all the same, octets dropped, so that the session
//! stays in step. Writing to disk happens on threads that may wait.

use std::io::{self, ErrorKind};

use crate::mail::Message;
use crate::smtp::data::{Decoder, LineEnds, Progress};
use crate::smtp::server::DataError;

use super::body::{Body, Hold};

/// A message that is coming in.
#[derive(Debug)]
pub struct Intake {
    /// `None` after an error, and while it is being written to.
    body: Option<Body>,
    /// Octets on their way to the disk.
    pending: Vec<u8>,
    line_ends: LineEnds,
    error: Option<DataError>,
    seen_octets: u64,
    max_octets: u64,
}

impl Intake {
    /// One that takes at most `max_octets` into `body`.
    pub fn new(body: Body, max_octets: u64) -> Self {
        Self {
            body: Some(body),
            pending: Vec::new(),
            line_ends: LineEnds::default(),
            error: None,
            seen_octets: 0,
            max_octets,
        }
    }

    /// How much is best read at once: pieces grow with the message, as far as there is room for them.
    pub fn piece_octets(&self) -> usize {
        let held = self.body.as_ref().map_or(0, Body::held_octets);
        usize::try_from(held)
            .unwrap_or(PIECE_MAX)
            .clamp(PIECE_MIN, PIECE_MAX)
    }

    /// Whether so much has come that it is not worth reading to the end.
    pub fn is_absurd(&self) -> bool {
        self.seen_octets / ABSURD_FACTOR > self.max_octets
    }

    /// Takes a piece of DATA; returns how much of `input` belonged to it, and whether it has ended.
    pub async fn take_data(&mut self, decoder: &mut Decoder, input: &[u8]) -> Progress {
        let progress = decoder.decode(input, |run| self.push(run));
        if let Some(fault) = decoder.fault() {
            // Nothing is put out after a fault; what is dropped counts all the same.
            self.seen_octets = self.seen_octets.saturating_add(input.len() as u64);
            self.fail(DataError::BareLineEnd(fault));
        }
        self.write(self.piece_octets()).await;
        progress
    }

    /// Takes a piece of a chunk.
    pub async fn take_chunk(&mut self, piece: &[u8]) {
        self.line_ends.read(piece);
        self.push(piece);
        if let Some(fault) = self.line_ends.fault() {
            self.fail(DataError::BareLineEnd(fault));
        }
        self.write(self.piece_octets()).await;
    }

    /// Whether all is well so far.
    pub fn check(&self) -> Result<(), DataError> {
        self.error.map_or(Ok(()), Err)
    }

    /// The whole message, and the hold on the memory that it takes.
    pub async fn finish(mut self) -> Result<(Message, Hold), DataError> {
        if let Some(fault) = self.line_ends.finish() {
            self.fail(DataError::BareLineEnd(fault));
        }
        self.write(1).await;
        match (self.error, self.body) {
            (Some(error), _) => Err(error),
            (None, Some(body)) => whole(body).await.map_err(data_error),
            (None, None) => Err(DataError::Failed),
        }
    }

    fn push(&mut self, run: &[u8]) {
        self.seen_octets = self.seen_octets.saturating_add(run.len() as u64);
        if self.seen_octets > self.max_octets {
            self.fail(DataError::TooBig);
        }
        let Some(body) = &mut self.body else {
            return;
        };
        if body.would_wait(run.len()) || !self.pending.is_empty() {
            self.pending.extend_from_slice(run);
        } else if let Err(error) = body.append(run) {
            self.fail(data_error(error));
        }
    }

    /// Hands octets for the disk to a thread that may wait, once there are `least` of them.
    async fn write(&mut self, least: usize) {
        if self.pending.len() < least {
            return;
        }
        let Some(mut body) = self.body.take() else {
            return;
        };
        let pending = std::mem::take(&mut self.pending);
        let written = tokio::task::spawn_blocking(move || body.append(&pending).map(|()| body));
        match written.await {
            Ok(Ok(body)) => self.body = Some(body),
            Ok(Err(error)) => self.fail(data_error(error)),
            Err(_) => self.fail(DataError::Failed),
        }
    }

    /// Notes the first error and lets go of what was kept.
    fn fail(&mut self, error: DataError) {
        self.error.get_or_insert(error);
        self.body = None;
        self.pending = Vec::new();
    }
}

/// A message on disk is looked through where that may wait.
async fn whole(mut body: Body) -> io::Result<(Message, Hold)> {
    if !body.would_wait(0) {
        return body.into_message();
    }
    let whole = tokio::task::spawn_blocking(|| body.into_message());
    whole.await.map_err(io::Error::other)?
}

fn data_error(error: io::Error) -> DataError {
    tracing::error!(%error, "a message cannot be stored while it comes in");
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DataError::NoRoom,
        _ => DataError::Failed,
    }
}

/// What is read, and written to the disk, at once of a message that has just begun, in octets.
pub const PIECE_MIN: usize = 8 << 10;
/// The same of a large message, in octets.
const PIECE_MAX: usize = 64 << 10;
/// A message so many times the limit is not read to its end.
const ABSURD_FACTOR: u64 = 4;

#[cfg(test)]
mod tests {
    use super::super::body::Budget;
    use super::*;
    use crate::smtp::data::Fault;

    fn intake(in_memory: usize, max: u64) -> Intake {
        let body = Body::new(std::env::temp_dir(), in_memory, Budget::new(1 << 20));
        Intake::new(body, max)
    }

    #[tokio::test]
    async fn a_large_message_is_the_same_behind_the_disk() {
        let mut intake = intake(10_000, 1 << 30);
        let line = [&[b'x'; 98][..], b"\r\n"].concat();
        for _ in 0..5_000 {
            intake.take_chunk(&line).await;
        }
        let (message, _) = intake.finish().await.unwrap();
        assert_eq!(&message.octets()[..], line.repeat(5_000));
    }

    #[tokio::test]
    async fn what_is_too_big_is_read_and_dropped() {
        let mut intake = intake(1 << 20, 1_000);
        let mut decoder = Decoder::new();
        for _ in 0..100 {
            let progress = intake
                .take_data(&mut decoder, b"a line of twenty o.\r\n")
                .await;
            assert_eq!(progress, Progress::More);
        }
        assert_eq!(
            intake.take_data(&mut decoder, b".\r\nNOOP").await,
            Progress::End(3)
        );
        assert_eq!(intake.check(), Err(DataError::TooBig));
        assert!(!intake.is_absurd());
        assert_eq!(intake.finish().await.unwrap_err(), DataError::TooBig);
    }

    #[tokio::test]
    async fn a_bare_line_end_in_a_chunk_is_said_at_that_chunk() {
        let mut intake = intake(1 << 20, 1_000);
        intake.take_chunk(b"a\r").await;
        assert_eq!(intake.check(), Ok(()));
        intake.take_chunk(b"b").await;
        assert_eq!(intake.check(), Err(DataError::BareLineEnd(Fault::BareCr)));
    }

    #[tokio::test]
    async fn without_room_in_memory_a_message_comes_in_by_the_disk_in_small_pieces() {
        let budget = Budget::new(5_000);
        let body = Body::new(std::env::temp_dir(), 1 << 20, budget);
        let mut intake = Intake::new(body, 1 << 20);
        for _ in 0..100 {
            intake.take_chunk(&[b'x'; 3_000]).await;
            assert_eq!(intake.piece_octets(), PIECE_MIN);
        }
        let (message, _) = intake.finish().await.unwrap();
        assert_eq!(message.len(), 300_000);
    }
}
