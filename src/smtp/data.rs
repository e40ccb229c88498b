//! The data of a message on the wire: transparency dots, its end, its line ends.
//!
//! There is exactly one way to end data: `CRLF.CRLF` (RFC 5321 §4.1.1.4). A bare CR or LF never
//! ends a line here, so that nobody downstream who is laxer can be made to see a second message;
//! it is a [`Fault`], and the message that has one is read to its end and refused, never repaired
//! (RFC 5321 §2.3.8). [`Decoder`] reads DATA, [`LineEnds`] checks the chunks of BDAT, which have no
//! dots; [`Encoder`] writes data to the next hop. All three take octets in any pieces.

use memchr::{memchr2, memmem};

/// What is wrong with the octets of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// A CR that no LF follows.
    BareCr,
    /// An LF that no CR precedes.
    BareLf,
}

/// Reads the data of one message: takes the transparency dots out and finds the end.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    fault: Option<Fault>,
}

/// How much of a piece of input belonged to the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// All of it, and the end has not come.
    More,
    /// The first so many octets, of which the last is that of the end mark.
    End(usize),
}

/// What the octets before the next one were.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// CRLF, or the CRLF of the command itself.
    LineStart,
    /// A dot at the start of a line: taken out, unless it turns out to be the end mark.
    Dot,
    /// A dot at the start of a line and a CR.
    DotCr,
    /// A CR inside a line.
    Cr,
    /// Anything else.
    Inside,
}

impl State {
    /// The octet that stands before the next one; `None` behind a dot at the start of a line.
    fn octet_before(self) -> Option<u8> {
        match self {
            Self::LineStart => Some(b'\n'),
            Self::Cr => Some(b'\r'),
            Self::Inside => Some(0),
            Self::Dot | Self::DotCr => None,
        }
    }

    /// The state behind an octet where all is well.
    fn behind(octet: u8) -> Self {
        match octet {
            b'\n' => Self::LineStart,
            b'\r' => Self::Cr,
            _ => Self::Inside,
        }
    }
}

/// The last octet of the block at the start of `octets`, if nothing in it wants a closer look: each LF stands behind a
/// CR and nothing else does, and no line begins with a dot. Judged without a branch for each octet, which the processor
/// does for sixteen at once.
fn plain_block(before: u8, octets: &[u8]) -> Option<u8> {
    let block: &[u8; BLOCK] = octets.first_chunk()?;
    let mut behind = [before; BLOCK];
    behind[1..].copy_from_slice(&block[..BLOCK - 1]);
    let odd = block.iter().zip(&behind).fold(0, |any, (octet, before)| {
        let is_bare = (*octet == b'\n') != (*before == b'\r');
        let is_dot = (*before == b'\n') & (*octet == b'.');
        any | u8::from(is_bare) | u8::from(is_dot)
    });
    (odd == 0).then_some(block[BLOCK - 1])
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder that stands behind the line of the command.
    pub fn new() -> Self {
        Self {
            state: State::LineStart,
            fault: None,
        }
    }

    /// The first fault so far. Once there is one, nothing more is put out.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Reads a piece of input and hands the octets of the message in it to `out`, in runs as long
    /// as can be. Not to be called again after the end.
    pub fn decode(&mut self, input: &[u8], mut out: impl FnMut(&[u8])) -> Progress {
        // The run of message octets not yet handed out is input[from..at].
        let (mut from, mut at) = (0, 0);
        while at < input.len() {
            if let Some(before) = self.state.octet_before()
                && let Some(last) = plain_block(before, &input[at..])
            {
                self.state = State::behind(last);
                at += BLOCK;
                continue;
            }
            let octet = input[at];
            match (self.state, octet) {
                (State::LineStart, b'.') => {
                    self.flush(&input[from..at], &mut out);
                    from = at + 1;
                    self.state = State::Dot;
                }
                (State::Dot, b'\r') => {
                    self.state = State::DotCr;
                    from = at + 1;
                }
                (State::DotCr, b'\n') => return Progress::End(at + 1),
                (State::DotCr, _) => {
                    self.found(Fault::BareCr);
                    self.state = State::Inside;
                    continue;
                }
                (State::Cr, b'\n') => self.state = State::LineStart,
                (State::Cr, _) => {
                    self.found(Fault::BareCr);
                    self.state = State::Inside;
                    continue;
                }
                (_, b'\r') => self.state = State::Cr,
                (_, b'\n') => {
                    self.found(Fault::BareLf);
                    self.state = State::Inside;
                }
                (_, _) => {
                    self.state = State::Inside;
                    at = memchr2(b'\r', b'\n', &input[at..]).map_or(input.len(), |n| at + n);
                    continue;
                }
            }
            at += 1;
        }
        self.flush(&input[from..at], &mut out);
        Progress::More
    }

    fn found(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    fn flush(&self, run: &[u8], out: &mut impl FnMut(&[u8])) {
        if self.fault.is_none() && !run.is_empty() {
            out(run);
        }
    }
}

/// Looks for bare CR and LF in octets that come in pieces.
#[derive(Clone, Debug, Default)]
pub struct LineEnds {
    after_cr: bool,
    fault: Option<Fault>,
}

impl LineEnds {
    /// Reads a piece.
    pub fn read(&mut self, piece: &[u8]) {
        if self.fault.is_some() {
            return;
        }
        let mut at = 0;
        while let Some(&octet) = piece.get(at) {
            let before = if self.after_cr { b'\r' } else { 0 };
            if let Some(last) = plain_block(before, &piece[at..]) {
                self.after_cr = last == b'\r';
                at += BLOCK;
                continue;
            }
            match (self.after_cr, octet) {
                (true, b'\n') => self.after_cr = false,
                (true, _) => return self.fault = Some(Fault::BareCr),
                (false, b'\n') => return self.fault = Some(Fault::BareLf),
                (false, b'\r') => self.after_cr = true,
                (false, _) => {
                    let rest = memchr2(b'\r', b'\n', &piece[at..]);
                    at = rest.map_or(piece.len(), |n| at + n);
                    continue;
                }
            }
            at += 1;
        }
    }

    /// The first fault so far.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The first fault, once all pieces have been read.
    pub fn finish(&self) -> Option<Fault> {
        match self.after_cr {
            true => self.fault.or(Some(Fault::BareCr)),
            false => self.fault,
        }
    }
}

/// Writes the data of one message: puts in the transparency dots and the end mark
/// (RFC 5321 §4.5.2).
#[derive(Clone, Debug)]
pub struct Encoder {
    /// The last two octets written.
    last: [u8; 2],
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder that stands behind the line of the command.
    pub fn new() -> Self {
        Self { last: *b"\r\n" }
    }

    /// How much room so many octets of a usual message take, with its end mark.
    pub fn room_for(octets: usize) -> usize {
        octets + octets / 64 + b"\r\n.\r\n".len()
    }

    /// Appends a piece of the message.
    pub fn encode(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.reserve(Self::room_for(piece.len()));
        let mut from = 0;
        let mut dot_at = |dot: usize| {
            out.extend_from_slice(&piece[from..dot]);
            out.push(b'.');
            from = dot;
        };
        // A dot among the first two octets may follow a line end of the piece before.
        match (self.last, piece) {
            ([b'\r', b'\n'], [b'.', ..]) => dot_at(0),
            ([_, b'\r'], [b'\n', b'.', ..]) => dot_at(1),
            _ => {}
        }
        for line_end in memmem::find_iter(piece, b"\r\n.") {
            dot_at(line_end + 2);
        }
        out.extend_from_slice(&piece[from..]);
        self.last = match *piece {
            [] => self.last,
            [one] => [self.last[1], one],
            [.., one, two] => [one, two],
        };
    }

    /// Appends the end mark; a message without a line end at its end gets one first.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.last != *b"\r\n" {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

/// Octets that are judged together.
const BLOCK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes `wire` in the pieces that `cuts` makes of it.
    fn decode(wire: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<Fault>, Option<usize>) {
        let (mut decoder, mut message, mut from) = (Decoder::new(), Vec::new(), 0);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (wire.len() + 1)).collect();
        ends.push(wire.len());
        ends.sort_unstable();
        for end in ends {
            let progress = decoder.decode(&wire[from..end], |run| message.extend_from_slice(run));
            if let Progress::End(octets) = progress {
                return (message, decoder.fault(), Some(from + octets));
            }
            from = end;
        }
        (message, decoder.fault(), None)
    }

    fn encode(message: &[u8], cut: usize) -> Vec<u8> {
        let (one, two) = message.split_at(cut % (message.len() + 1));
        let (mut encoder, mut wire) = (Encoder::new(), Vec::new());
        encoder.encode(one, &mut wire);
        encoder.encode(two, &mut wire);
        encoder.finish(&mut wire);
        wire
    }

    #[test]
    fn only_crlf_dot_crlf_ends_the_data() {
        for wire in [
            "a\n.\n",
            "a\n.\r\n",
            "a\r.\r",
            "a\r\n.\n",
            "a\n.\r",
            "a\r.\r\n",
            "a\r\n.\r",
            "a\r\n.\rb\r\n",
            "a\r\n\n.\r\n",
            "a.\r\n",
            "a\r\n..\r\n",
            "\n.\r\n",
            "a\r\n.\r\r\n",
            "a\r\n.\0\r\n",
        ] {
            assert_eq!(decode(wire.as_bytes(), &[]).2, None, "{wire:?}");
        }
        for (wire, message) in [
            (".\r\n", ""),
            ("a\r\n.\r\nNOOP", "a\r\n"),
            ("\r\n.\r\n", "\r\n"),
            ("a\r\n..\r\n.\r\n", "a\r\n.\r\n"),
        ] {
            let (read, fault, end) = decode(wire.as_bytes(), &[]);
            assert_eq!((read, fault), (message.into(), None), "{wire:?}");
            assert_eq!(end, Some(wire.rfind(".\r\n").unwrap() + 3));
        }
    }

    #[test]
    fn a_bare_line_end_is_a_fault_and_the_message_is_read_to_its_end() {
        for (wire, fault) in [
            ("a\nb\r\n.\r\n", Fault::BareLf),
            ("a\rb\r\n.\r\n", Fault::BareCr),
            ("a\r\r\n.\r\n", Fault::BareCr),
            ("a\r\n.\rb\r\n.\r\n", Fault::BareCr),
            ("\n.\n\r\n.\r\n", Fault::BareLf),
        ] {
            let (_, found, end) = decode(wire.as_bytes(), &[]);
            assert_eq!((found, end), (Some(fault), Some(wire.len())), "{wire:?}");
        }
    }

    #[test]
    fn nul_and_eight_bit_octets_pass() {
        let (message, fault, _) = decode(b"a\0b\xff\r\n.\r\n", &[]);
        assert_eq!((&message[..], fault), (&b"a\0b\xff\r\n"[..], None));
    }

    #[test]
    fn a_message_without_a_line_end_gets_one_on_the_wire() {
        assert_eq!(encode(b"a\r\nb", 1), b"a\r\nb\r\n.\r\n");
        assert_eq!(encode(b"", 0), b".\r\n");
        assert_eq!(encode(b".\r\n..\r\n", 2), b"..\r\n...\r\n.\r\n");
    }

    #[test]
    fn chunks_are_checked_across_their_borders() {
        let check = |pieces: &[&[u8]]| {
            let mut line_ends = LineEnds::default();
            pieces.iter().for_each(|piece| line_ends.read(piece));
            line_ends.finish()
        };
        assert_eq!(check(&[b"a\r", b"\nb"]), None);
        assert_eq!(check(&[b"a\r", b"b"]), Some(Fault::BareCr));
        assert_eq!(check(&[b"a\r"]), Some(Fault::BareCr));
        assert_eq!(check(&[b"a", b"\n"]), Some(Fault::BareLf));
    }

    /// Octets in which line ends and dots are frequent.
    fn wire() -> impl Strategy<Value = Vec<u8>> {
        let octet = prop_oneof![
            Just(b'\r'),
            Just(b'\n'),
            Just(b'.'),
            Just(b'x'),
            any::<u8>()
        ];
        proptest::collection::vec(octet, 0..60)
    }

    /// Lines of all lengths, most of them right: several blocks, with something in one of them now and then.
    fn long_wire() -> impl Strategy<Value = Vec<u8>> {
        let line = (0usize..150).prop_map(|octets| [&b"x".repeat(octets)[..], b"\r\n"].concat());
        let odd = "(\\.|\\.\r\n|\r|\n|y)".prop_map(String::into_bytes);
        let piece = prop_oneof![8 => line, 1 => odd];
        proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    /// Lines as a correct client has them.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let line = "[.x\\x00]{0,4}";
        proptest::collection::vec(line, 0..8).prop_map(|lines| {
            lines
                .iter()
                .flat_map(|line| [line.as_bytes(), b"\r\n"].concat())
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_split_of_the_input_does_not_matter(wire in wire(), cuts in proptest::collection::vec(any::<usize>(), 0..8)) {
            let (whole, fault, end) = decode(&wire, &[]);
            let (pieces, fault_of_pieces, end_of_pieces) = decode(&wire, &cuts);
            prop_assert_eq!((fault, end), (fault_of_pieces, end_of_pieces));
            // With a fault the message is refused: how much of it was put out before does not matter.
            if fault.is_none() {
                prop_assert_eq!(whole, pieces);
            }
        }

        #[test]
        fn blocks_are_read_as_octet_by_octet(wire in long_wire()) {
            let each: Vec<usize> = (0..wire.len()).collect();
            let (whole, fault, end) = decode(&wire, &[]);
            let (octets, fault_of_octets, end_of_octets) = decode(&wire, &each);
            prop_assert_eq!((fault, end), (fault_of_octets, end_of_octets));
            if fault.is_none() {
                prop_assert_eq!(whole, octets);
            }
            let (mut at_once, mut one_by_one) = (LineEnds::default(), LineEnds::default());
            at_once.read(&wire);
            wire.chunks(1).for_each(|octet| one_by_one.read(octet));
            prop_assert_eq!(at_once.finish(), one_by_one.finish());
        }

        #[test]
        fn the_end_is_the_first_crlf_dot_crlf(wire in wire()) {
            let full = [b"\r\n", &wire[..]].concat();
            let expected = memmem::find(&full, b"\r\n.\r\n").map(|at| at + 3);
            prop_assert_eq!(decode(&wire, &[]).2, expected);
        }

        #[test]
        fn a_fault_is_found_just_where_there_is_one(wire in wire()) {
            let (_, fault, end) = decode(&wire, &[]);
            let mut line_ends = LineEnds::default();
            line_ends.read(&wire[..end.unwrap_or(wire.len())]);
            // A CR at the very end may still get its LF.
            if end.is_some() {
                prop_assert_eq!(fault, line_ends.finish());
            }
        }

        #[test]
        fn what_is_encoded_decodes_to_itself(message in message(), cut in any::<usize>(), cuts in proptest::collection::vec(any::<usize>(), 0..4)) {
            let wire = encode(&message, cut);
            prop_assert_eq!(decode(&wire, &cuts), (message, None, Some(wire.len())));
        }
    }
}
