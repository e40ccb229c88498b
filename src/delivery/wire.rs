//! Octets to and from a next hop: every await with a time-out, every buffer with a limit.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, timeout_at};

use crate::mail::Reply;
use crate::smtp::reply::{ReplyError, ReplyParser};

/// A connection, whatever it is made of.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// One connection, read reply by reply.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    input: BytesMut,
    parser: ReplyParser,
    /// When the whole attempt must be over, whatever the single time-outs.
    deadline: Instant,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>, deadline: Instant) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            parser: ReplyParser::new(),
            deadline,
        }
    }

    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Reads one reply; `limit` is for all of it, so that one octet at a time buys no more.
    pub(super) async fn reply(&mut self, limit: Duration) -> Result<Reply, Lost> {
        let until = self.until(limit);
        loop {
            let mut input = &self.input[..];
            let parsed = self.parser.feed(&mut input);
            let left = input.len();
            self.input.advance(self.input.len() - left);
            if let Some(reply) = parsed? {
                return Ok(reply);
            }
            self.input.reserve(READ_OCTETS);
            match timeout_at(until, self.stream.read_buf(&mut self.input)).await {
                Err(_) => return Err(Lost::TimedOut),
                Ok(Ok(0) | Err(_)) => return Err(Lost::Closed),
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Writes all of it; `limit` is for each block that the peer takes.
    pub(super) async fn write(&mut self, octets: &[u8], limit: Duration) -> Result<(), Lost> {
        for block in octets.chunks(WRITE_OCTETS) {
            let until = self.until(limit);
            match timeout_at(until, self.stream.write_all(block)).await {
                Err(_) => return Err(Lost::TimedOut),
                Ok(Err(_)) => return Err(Lost::Closed),
                Ok(Ok(())) => {}
            }
        }
        match timeout_at(self.until(limit), self.stream.flush()).await {
            Err(_) => Err(Lost::TimedOut),
            Ok(Err(_)) => Err(Lost::Closed),
            Ok(Ok(())) => Ok(()),
        }
    }

    /// Whether nothing has arrived that nobody asked for, a farewell included. Does not wait.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut octet = [0];
        let mut buffer = ReadBuf::new(&mut octet);
        let mut context = Context::from_waker(Waker::noop());
        let read = Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer);
        self.has_said_all() && matches!(read, Poll::Pending)
    }

    /// Whether there is something to read now: a reply, where none was asked for, answers nothing. Does not wait, and
    /// loses nothing.
    pub(super) fn has_spoken(&mut self) -> bool {
        let mut octets = [0; 512];
        let mut buffer = ReadBuf::new(&mut octets);
        let mut context = Context::from_waker(Waker::noop());
        let read = Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.input.extend_from_slice(buffer.filled());
        }
        !self.has_said_all()
    }

    /// Whether every octet that was read belonged to a reply that was taken.
    pub(super) fn has_said_all(&self) -> bool {
        self.input.is_empty() && !self.parser.is_within_reply()
    }

    /// The stream alone, for a TLS handshake. What was read in clear and not taken is dropped with
    /// the rest.
    pub(super) fn into_stream(self) -> Box<dyn Stream> {
        self.stream
    }

    fn until(&self, limit: Duration) -> Instant {
        (Instant::now() + limit).min(self.deadline)
    }
}

/// Why a connection is of no more use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Lost {
    #[error("the connection was lost")]
    Closed,
    #[error("the next hop took too long")]
    TimedOut,
    #[error("the next hop does not speak the protocol: {0}")]
    Gibberish(#[from] ReplyError),
}

/// Room for the next read, in octets: a reply has seldom more.
const READ_OCTETS: usize = 2 * 1_024;
/// What is written under one time-out, in octets (RFC 5321 §4.5.3.2.5).
const WRITE_OCTETS: usize = 256 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;

    fn pair() -> (Wire, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1_024);
        let deadline = Instant::now() + Duration::from_secs(1_000);
        (Wire::new(Box::new(ours), deadline), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn one_octet_at_a_time_buys_no_more_time() {
        let (mut wire, mut peer) = pair();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(20)).await;
                if peer.write_all(b"2").await.is_err() {
                    return;
                }
            }
        });
        let before = Instant::now();
        assert_eq!(
            wire.reply(Duration::from_secs(50)).await,
            Err(Lost::TimedOut)
        );
        assert_eq!(before.elapsed().as_secs(), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_lasts_beyond_the_deadline_of_the_attempt() {
        let (mut wire, _peer) = pair();
        let before = Instant::now();
        let long = Duration::from_secs(100_000);
        assert_eq!(wire.reply(long).await, Err(Lost::TimedOut));
        // The peer takes a kilobyte and no more.
        assert_eq!(wire.write(&[b'x'; 2_048], long).await, Err(Lost::TimedOut));
        assert_eq!(before.elapsed().as_secs(), 1_000);
    }

    #[tokio::test]
    async fn replies_that_come_together_are_read_one_by_one() {
        let (mut wire, mut peer) = pair();
        peer.write_all(b"250 a\r\n250-b\r\n250 c\r\n25")
            .await
            .unwrap();
        let limit = Duration::from_secs(5);
        assert_eq!(wire.reply(limit).await.unwrap().text(), "a");
        assert!(!wire.has_said_all());
        assert_eq!(wire.reply(limit).await.unwrap().text(), "b c");
        drop(peer);
        assert_eq!(wire.reply(limit).await, Err(Lost::Closed));
    }

    #[tokio::test]
    async fn a_wire_is_quiet_until_something_comes_that_nobody_asked_for() {
        let (mut wire, mut peer) = pair();
        assert!(wire.is_quiet());
        peer.write_all(b"421 bye\r\n").await.unwrap();
        assert!(!wire.is_quiet());
        let (mut wire, peer) = pair();
        drop(peer);
        assert!(!wire.is_quiet());
    }
}
