//! Replies of a server, read as they arrive (RFC 5321 §4.2).
//!
//! Octets come in any portions. What comes out is a [`Reply`] whose text cannot do harm: no control
//! characters, no octets that are not UTF-8, lines cut to a length. A server that does not keep to the
//! form, or does not end, is an error: nothing it says after that can be matched to a command.

use crate::mail::{EnhancedStatusCode, Reply, ReplyCode};

/// Puts replies together from portions of octets.
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// Octets of the reply so far.
    octets: usize,
    code: Option<ReplyCode>,
    lines: Vec<String>,
}

impl ReplyParser {
    /// A parser at the beginning of a reply.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes octets off the front of `input` up to the end of a reply, or all of them. Returns the
    /// reply once it is whole; what follows it stays in `input`.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ReplyError> {
        while let Some(lf) = memchr::memchr(b'\n', input) {
            let (portion, rest) = input.split_at(lf + 1);
            *input = rest;
            self.take(portion)?;
            let line = std::mem::take(&mut self.line);
            if let Some(reply) = self.end_line(&line)? {
                return Ok(Some(reply));
            }
        }
        let portion = std::mem::take(input);
        self.take(portion)?;
        Ok(None)
    }

    /// Whether a reply has begun and not ended.
    pub fn is_within_reply(&self) -> bool {
        self.octets > 0
    }

    fn take(&mut self, portion: &[u8]) -> Result<(), ReplyError> {
        self.octets += portion.len();
        if self.line.len() + portion.len() > LINE_MAX_OCTETS || self.octets > REPLY_MAX_OCTETS {
            return Err(ReplyError::TooLong);
        }
        self.line.extend_from_slice(portion);
        Ok(())
    }

    /// Adds a whole line. Servers that end lines with a lone LF are understood.
    fn end_line(&mut self, line: &[u8]) -> Result<Option<Reply>, ReplyError> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (code, more, text) = split(line).ok_or(ReplyError::Malformed)?;
        // RFC 5321 §4.2.1: the code is the same on every line. Of two codes none can be believed.
        if *self.code.get_or_insert(code) != code {
            return Err(ReplyError::Malformed);
        }
        if self.lines.len() == LINES_MAX {
            return Err(ReplyError::TooLong);
        }
        self.lines.push(harmless(text));
        if more {
            return Ok(None);
        }
        let lines = std::mem::take(&mut self.lines);
        *self = Self::new();
        Ok(Some(assemble(code, lines)))
    }
}

/// Why a reply cannot be read. The connection is of no use any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReplyError {
    /// Not of the form of RFC 5321 §4.2.
    #[error("the reply is malformed")]
    Malformed,
    /// A line or the whole is too long.
    #[error("the reply is too long")]
    TooLong,
}

/// Parts a line into its code, whether another line follows, and its text.
fn split(line: &[u8]) -> Option<(ReplyCode, bool, &[u8])> {
    let digits = line.get(..3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    let code = ReplyCode::new(number)?;
    match line.get(3) {
        None => Some((code, false, b"")),
        Some(b' ') => Some((code, false, &line[4..])),
        Some(b'-') => Some((code, true, &line[4..])),
        Some(_) => None,
    }
}

/// Returns the text without anything that acts on a terminal, a page or a report.
fn harmless(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .take(TEXT_MAX_CHARS)
        .map(|c| if acts(c) { ' ' } else { c })
        .collect()
}

/// Control characters, and those that turn the direction of writing.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Splits off the enhanced status code (RFC 2034 §4: on each line the same).
fn assemble(code: ReplyCode, mut lines: Vec<String>) -> Reply {
    let enhanced = lines.first().and_then(|line| enhanced_of(line));
    if enhanced.is_some() {
        for line in &mut lines {
            if enhanced_of(line) == enhanced {
                *line = line.split_once(' ').map_or("", |(_, text)| text).to_owned();
            }
        }
    }
    Reply::from_parts(code, enhanced, lines)
}

fn enhanced_of(line: &str) -> Option<EnhancedStatusCode> {
    EnhancedStatusCode::parse(line.split(' ').next()?)
}

/// Longest line, in octets: RFC 5321 §4.5.3.1.5 says 512, and servers say more.
const LINE_MAX_OCTETS: usize = 4_096;
/// Most lines of a reply. EHLO has some twenty.
const LINES_MAX: usize = 128;
/// Longest reply, in octets.
const REPLY_MAX_OCTETS: usize = 64 * 1_024;
/// How much of a line's text is kept.
const TEXT_MAX_CHARS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(mut octets: &[u8]) -> Result<Vec<String>, ReplyError> {
        let mut parser = ReplyParser::new();
        let mut replies = Vec::new();
        while let Some(reply) = parser.feed(&mut octets)? {
            replies.push(reply.to_string());
        }
        Ok(replies)
    }

    #[test]
    fn replies_of_one_and_of_several_lines_are_read() {
        let replies = read(b"250 ok\r\n250-a\r\n250-SIZE 5\r\n250 b\r\n354\r\n").unwrap();
        assert_eq!(replies, ["250 ok", "250 a SIZE 5 b", "354 "]);
    }

    #[test]
    fn the_enhanced_code_is_split_off_each_line() {
        let replies = read(b"550-5.1.1 no such\r\n550-5.1.1\r\n550 5.1.1 user\r\n").unwrap();
        assert_eq!(replies, ["550 5.1.1 no such  user"]);
        let replies = read(b"550 5.1.x what\r\n250 2.0.0\r\n").unwrap();
        assert_eq!(replies, ["550 5.1.x what", "250 2.0.0 "]);
    }

    #[test]
    fn text_is_made_harmless() {
        let replies = read(b"550 5.7.1 evil \x1b[31m\0\x07 \xff\xe2\x80\xaetxt\r\r\n").unwrap();
        assert_eq!(replies, ["550 5.7.1 evil  [31m   \u{fffd} txt "]);
    }

    #[test]
    fn lines_that_end_with_a_lone_lf_are_understood() {
        assert_eq!(read(b"220 hello\n250 ok\n").unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for octets in [
            &b"hello\r\n"[..],
            b"\r\n",
            b"25\r\n",
            b"250ok\r\n",
            b"150 early\r\n",
            b"600 late\r\n",
            b"250-a\r\n550 b\r\n",
            b"-250 a\r\n",
        ] {
            assert_eq!(read(octets), Err(ReplyError::Malformed), "{octets:?}");
        }
    }

    #[test]
    fn a_reply_that_does_not_end_is_an_error() {
        assert_eq!(read(&[b'2'; 5_000]), Err(ReplyError::TooLong));
        assert_eq!(read(&b"250-a\r\n".repeat(129)), Err(ReplyError::TooLong));
        let long = [&b"250-"[..], &[b'a'; 4_000], b"\r\n"].concat().repeat(20);
        assert_eq!(read(&long), Err(ReplyError::TooLong));
    }

    proptest! {
        #[test]
        fn any_octets_in_any_portions_say_the_same(
            octets in proptest::collection::vec(prop_oneof![
                Just(b'\r'), Just(b'\n'), Just(b'2'), Just(b'5'), Just(b'-'), Just(b' '), Just(b'.'), any::<u8>()
            ], 0..120),
            cut in 0usize..120,
        ) {
            let collect = |portions: &[&[u8]]| {
                let mut parser = ReplyParser::new();
                let mut replies = Vec::new();
                for portion in portions {
                    let mut input = *portion;
                    while !input.is_empty() {
                        match parser.feed(&mut input) {
                            Ok(Some(reply)) => replies.push(reply),
                            Ok(None) => {}
                            Err(_) => return (replies, true),
                        }
                    }
                }
                (replies, false)
            };
            let (a, b) = octets.split_at(cut.min(octets.len()));
            let whole = collect(&[&octets]);
            prop_assert_eq!(&whole, &collect(&[a, b]));
            for reply in whole.0 {
                prop_assert!(!reply.to_string().chars().any(char::is_control));
            }
        }

        #[test]
        fn what_a_server_writes_is_read_back(code in 200u16..600, lines in proptest::collection::vec("[ -~]{0,60}", 1..5)) {
            let reply = Reply::from_parts(ReplyCode::new(code).unwrap(), Some(EnhancedStatusCode::transient(7, 1)), lines);
            let mut wire = Vec::new();
            reply.write_to(&mut wire);
            prop_assert_eq!(ReplyParser::new().feed(&mut &wire[..]), Ok(Some(reply)));
        }
    }
}
