//! Lines and octets off a connection, replies onto it: bounded buffers, a time-out for every wait.
//!
//! Replies gather until the client's commands are used up and go out in one write (RFC 2920 §3.2).
//! A connection that waits holds next to nothing.

use std::io;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::mail::Reply;

/// Why a conversation cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The client went away.
    #[error("the client closed the connection")]
    Closed,
    /// The client said nothing for too long.
    #[error("the client was silent for too long")]
    Silent,
    /// The client does not read what we say.
    #[error("the client does not read")]
    Deaf,
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// A line from the client.
#[derive(Debug, Eq, PartialEq)]
pub enum Line {
    /// One within the limit, without its CRLF.
    Whole(Vec<u8>),
    /// One beyond the limit; it has been swallowed.
    TooLong,
}

/// Both directions of a connection.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    /// What came; the first `read` octets of it have been dealt with.
    buffer: Vec<u8>,
    read: usize,
    output: Vec<u8>,
    line_octets: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A wire over `stream`; lines may have `line_octets` octets with their CRLF.
    pub fn new(stream: S, line_octets: usize) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            read: 0,
            output: Vec::new(),
            line_octets,
        }
    }

    /// The stream. What was received and not read is dropped.
    pub fn into_stream(self) -> S {
        self.stream
    }

    /// The stream, to look at.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// What was received and not yet read.
    pub fn input(&self) -> &[u8] {
        &self.buffer[self.read..]
    }

    /// Drops the first octets of [`Wire::input`].
    pub fn consume(&mut self, octets: usize) {
        self.read = self.buffer.len().min(self.read.saturating_add(octets));
    }

    /// Lets go of the memory for what comes in, if all of it has been dealt with: a client that waits for a decision
    /// needs none.
    pub fn rest(&mut self) {
        if self.input().is_empty() {
            self.buffer = Vec::new();
            self.read = 0;
        }
    }

    /// Reads a line; all of it must have come within `limit`.
    pub async fn line(&mut self, limit: Duration) -> Result<Line, WireError> {
        let deadline = Instant::now() + limit;
        let (mut searched, mut too_long) = (0, false);
        loop {
            let input = self.input();
            if let Some(at) = memmem::find(&input[searched..], b"\r\n") {
                let length = searched + at;
                let line = if too_long || length + 2 > self.line_octets {
                    Line::TooLong
                } else {
                    Line::Whole(input[..length].to_vec())
                };
                self.consume(length + 2);
                return Ok(line);
            }
            // The last octet may be the CR of a CRLF.
            searched = input.len().saturating_sub(1);
            if input.len() >= self.line_octets {
                too_long = true;
                self.consume(searched);
                searched = 0;
            }
            self.flush().await?;
            timeout_at(deadline, self.fill(COMMAND_BUFFER))
                .await
                .map_err(|_| WireError::Silent)??;
        }
    }

    /// Waits for more input, `limit` at most; `piece` is how much is read at once.
    pub async fn more(&mut self, piece: usize, limit: Duration) -> Result<(), WireError> {
        self.flush().await?;
        timeout(limit, self.fill(piece))
            .await
            .map_err(|_| WireError::Silent)?
    }

    /// Appends a reply; it goes out with the next flush, or at once if much has gathered.
    pub async fn say(&mut self, reply: &Reply) -> Result<(), WireError> {
        reply.write_to(&mut self.output);
        if self.output.len() >= OUTPUT_MAX {
            self.flush().await?;
        }
        Ok(())
    }

    /// Sends what has gathered. If it is cancelled, what has gone out does not go out again.
    pub async fn flush(&mut self) -> Result<(), WireError> {
        if self.output.is_empty() {
            return Ok(());
        }
        let sent = timeout(WRITE_TIMEOUT, async {
            while !self.output.is_empty() {
                let sent = self.stream.write(&self.output).await?;
                if sent == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                self.output.drain(..sent);
            }
            self.stream.flush().await
        });
        sent.await.map_err(|_| WireError::Deaf)??;
        if self.output.capacity() > OUTPUT_KEPT {
            self.output = Vec::new();
        }
        Ok(())
    }

    /// Sends what has gathered and closes in such a way that the client can still read it: a socket that is
    /// closed over unread input resets the connection, and the last reply with it.
    pub async fn close(mut self) {
        let _ = timeout(LINGER, async {
            self.flush().await?;
            self.stream.shutdown().await?;
            let mut dropped = 0;
            while dropped < LINGER_OCTETS {
                self.consume(usize::MAX);
                self.fill(COMMAND_BUFFER).await?;
                dropped += self.input().len();
            }
            Ok::<(), WireError>(())
        })
        .await;
    }

    /// Reads a piece of about `piece` octets. Nothing is lost if it is cancelled.
    async fn fill(&mut self, piece: usize) -> Result<(), WireError> {
        self.buffer.drain(..std::mem::take(&mut self.read));
        let capacity = self.buffer.capacity();
        if self.buffer.is_empty() && (capacity < piece || capacity > 2 * piece) {
            // Not grown: what lies in it, and is done with, would be copied.
            self.buffer = Vec::new();
        }
        self.buffer.reserve_exact(piece);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(WireError::Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(WireError::Closed),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is read at once while commands are expected, in octets.
const COMMAND_BUFFER: usize = 2_048;
/// Replies that gather before they are sent though more commands are at hand, in octets.
const OUTPUT_MAX: usize = 8_192;
/// What a waiting connection keeps for its replies, in octets.
const OUTPUT_KEPT: usize = 1_024;
/// How long a client may not read its replies (RFC 5321 §4.5.3.2.7).
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a closing connection waits for the client to have read.
const LINGER: Duration = Duration::from_secs(2);
/// What it swallows meanwhile, in octets.
const LINGER_OCTETS: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::EnhancedStatusCode;

    const LIMIT: Duration = Duration::from_secs(300);

    /// A wire whose client has sent `octets` and then closed.
    fn wire(octets: &'static [u8]) -> Wire<tokio::io::DuplexStream> {
        let (server, mut client) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move { client.write_all(octets).await });
        Wire::new(server, 16)
    }

    async fn lines(octets: &'static [u8]) -> Vec<Option<Vec<u8>>> {
        let (mut wire, mut lines) = (wire(octets), Vec::new());
        while let Ok(line) = wire.line(LIMIT).await {
            lines.push(match line {
                Line::Whole(line) => Some(line.to_vec()),
                Line::TooLong => None,
            });
        }
        lines
    }

    #[tokio::test]
    async fn only_crlf_ends_a_line() {
        let read = lines(b"NOOP\nNOOP\r\nA\rB\r\n\r\nrest").await;
        let expected: [&[u8]; 3] = [b"NOOP\nNOOP", b"A\rB", b""];
        assert_eq!(read, expected.map(|line| Some(line.to_vec())));
    }

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_swallowed_once() {
        let read = lines(b"12345678901234\r\n123456789012345\r\nx\r\n0123456789012345678901234567890123456789\r\ny\r\n").await;
        let whole = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(
            read,
            [whole("12345678901234"), None, whole("x"), None, whole("y")]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_comes_octet_by_octet_does_not_keep_a_connection_for_ever() {
        let (server, mut client) = tokio::io::duplex(64);
        tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(100)).await;
            }
        });
        let mut wire = Wire::new(server, 512);
        assert!(matches!(wire.line(LIMIT).await, Err(WireError::Silent)));
    }

    #[tokio::test]
    async fn replies_gather_until_the_client_is_waited_for() {
        let (server, mut client) = tokio::io::duplex(1 << 16);
        client.write_all(b"NOOP\r\nNOOP\r\n").await.unwrap();
        let mut wire = Wire::new(server, 512);
        let ok = Reply::new(250, EnhancedStatusCode::success(0, 0), "ok");
        for _ in 0..2 {
            wire.line(LIMIT).await.unwrap();
            wire.say(&ok).await.unwrap();
        }
        assert_eq!(wire.output, b"250 2.0.0 ok\r\n250 2.0.0 ok\r\n");
        wire.flush().await.unwrap();
        let mut read = [0; 28];
        client.read_exact(&mut read).await.unwrap();
        assert!(wire.output.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_was_cut_off_by_the_shutdown_goes_on_where_it_was() {
        let (server, mut client) = tokio::io::duplex(16);
        let mut wire = Wire::new(server, 512);
        let text: String = ('a'..='z').collect();
        Reply::plain(214, &*text).write_to(&mut wire.output);
        assert!(timeout(LIMIT / 2, wire.flush()).await.is_err());
        let reader = tokio::spawn(async move {
            let mut read = String::new();
            client.read_to_string(&mut read).await.map(|_| read)
        });
        wire.flush().await.unwrap();
        drop(wire);
        assert_eq!(reader.await.unwrap().unwrap(), format!("214 {text}\r\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (server, _client) = tokio::io::duplex(16);
        let mut wire = Wire::new(server, 512);
        let long = Reply::plain(214, "x".repeat(10_000));
        assert!(matches!(wire.say(&long).await, Err(WireError::Deaf)));
    }
}
