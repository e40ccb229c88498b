//! ClamAV's daemon: `INSTREAM` (clamd(8)), one message for each connection.
//!
//! No crate for it was found that is kept up and asynchronous on tokio without more than it needs; the
//! protocol is a word, pieces with their length before them, and a line.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Report;

/// Hands over the octets and reads what it makes of them.
///
/// # Errors
/// The connection broke, or the answer is none ([`io::ErrorKind::InvalidData`]).
pub(super) async fn scan(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    octets: &Bytes,
) -> io::Result<Report> {
    let sent = send(&mut stream, octets).await;
    // One that has enough says so and closes while we still write.
    let mut answer = Vec::new();
    let mut limited = (&mut stream).take(ANSWER_OCTETS_MAX);
    let read = limited.read_to_end(&mut answer).await;
    if answer.is_empty() {
        sent?;
        read?;
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    report(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), octets: &[u8]) -> io::Result<()> {
    stream.write_all(b"zINSTREAM\0").await?;
    for piece in octets.chunks(PIECE_OCTETS) {
        // A piece is far shorter than 4 GiB.
        let length = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(piece).await?;
    }
    stream.write_all(&0_u32.to_be_bytes()).await?;
    stream.flush().await
}

/// Reads `stream: OK`, `stream: NAME FOUND` or `… ERROR`.
fn report(answer: &[u8]) -> Option<Report> {
    let end = memchr::memchr(0, answer).unwrap_or(answer.len());
    let answer = std::str::from_utf8(&answer[..end]).ok()?.trim();
    if answer.contains("size limit exceeded") {
        return Some(Report::TooLarge);
    }
    let said = answer.strip_prefix("stream: ")?;
    if said == "OK" {
        return Some(Report::Clean);
    }
    let name = said.strip_suffix(" FOUND")?;
    Some(Report::Malware(cleaned(name)))
}

/// A name as it may stand in an event and on a terminal.
fn cleaned(name: &str) -> String {
    let harmless = |c: &char| c.is_ascii_alphanumeric() || "-._:/+!()".contains(*c);
    let name: String = name.chars().filter(harmless).take(NAME_MAX).collect();
    match name.is_empty() {
        true => "something without a name".to_owned(),
        false => name,
    }
}

/// Octets that go out at once.
const PIECE_OCTETS: usize = 64 << 10;
/// The longest answer: a name and a few words.
const ANSWER_OCTETS_MAX: u64 = 4 << 10;
/// Characters of a name.
const NAME_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_of_three_or_none() {
        for (answer, expected) in [
            ("stream: OK\0", Some(Report::Clean)),
            (
                "stream: Win.Test.EICAR_HDB-1 FOUND\0",
                Some(Report::Malware("Win.Test.EICAR_HDB-1".into())),
            ),
            (
                "stream: \u{1b}[31mred\u{202e} FOUND\0",
                Some(Report::Malware("31mred".into())),
            ),
            (
                "INSTREAM size limit exceeded. ERROR\0",
                Some(Report::TooLarge),
            ),
            ("stream: Can't allocate memory ERROR\0", None),
            ("UNKNOWN COMMAND\0", None),
            ("", None),
        ] {
            assert_eq!(report(answer.as_bytes()), expected, "{answer:?}");
        }
    }
}
