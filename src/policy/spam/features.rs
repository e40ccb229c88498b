//! A message as a set of hashed features: sequences of four characters of the text and the subject, and
//! what the header, the parts, the links and the HTML are like.
//!
//! Sequences of characters rather than words: they see through `v1agra` and need no language. Each feature is there or
//! not, however often, so that no word can shout; a message counts the same whatever its length, and so does each side
//! of it (`views.rs`).

use super::look::Look;
use super::views::{Room, View};
use super::{head, markup};

/// The features of a message, sorted, each once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Features(Box<[u32]>);

impl Features {
    /// Takes numbers below [`FEATURES`]; others are left out.
    pub fn new(mut numbers: Vec<u32>) -> Self {
        numbers.retain(|number| (*number as usize) < FEATURES);
        numbers.sort_unstable();
        numbers.dedup();
        Self(numbers.into())
    }

    /// Takes a message apart. Looks at so much of it and no more, whatever its size.
    pub fn of(look: &Look<'_>) -> Self {
        let mut sink = Sink::new();
        let content = look.mail.content;
        let mut left = TEXT_OCTETS;
        for piece in &content.texts {
            if piece.place.starts_with("body:") && left > 0 {
                sink.sequences(TEXT, &piece.text, left);
                left = left.saturating_sub(piece.text.len());
            }
        }
        sink.turn(View::Subject);
        sink.sequences(SUBJECT, &content.subject, SUBJECT_OCTETS);
        sink.turn(View::Head);
        head::fields(&look.mail, &mut sink);
        sink.turn(View::Parts);
        head::parts(&look.mail, &mut sink);
        for attachment in &content.attachments {
            let name = attachment.filename.as_deref().unwrap_or("-");
            sink.words(FILENAME, name, NAME_OCTETS);
            sink.put(hash(KIND, attachment.declared.as_bytes()));
        }
        sink.turn(View::Links);
        markup::links(look, &mut sink);
        sink.turn(View::Markup);
        markup::tags(look, &mut sink);
        Self(sink.sorted())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|number| *number as usize)
    }

    /// The features of each side, and what each of them counts: all together have the length 1.
    #[expect(clippy::cast_precision_loss, reason = "some thousands of features")]
    pub fn views(&self) -> impl Iterator<Item = (&[u32], f32)> {
        let mut rest = &self.0[..];
        let views = View::ALL.map(|view| {
            let (of, behind) = rest.split_at(rest.partition_point(|number| *number < view.end()));
            rest = behind;
            (of, view.weight())
        });
        let there = views.into_iter().filter(|(of, _)| !of.is_empty());
        let length: f32 = there.clone().map(|(_, weight)| weight * weight).sum();
        there.map(move |(of, weight)| (of, weight / (length * of.len() as f32).sqrt()))
    }

    /// The sum of the weights of these features.
    pub fn sum(&self, weights: &[f32]) -> f32 {
        // Every number is below FEATURES; a slice of another length counts as far as it goes.
        let weight = |at: &u32| weights.get(*at as usize).copied().unwrap_or_default();
        self.views()
            .map(|(of, each)| of.iter().map(weight).sum::<f32>() * each)
            .sum()
    }

    /// As distances from one to the next.
    pub fn pack(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.0.len() * 2);
        let mut last = 0;
        for at in self.iter() {
            super::file::push_number(&mut octets, at - last);
            last = at;
        }
        octets
    }

    /// What [`Features::pack`] made; anything else gives some features.
    pub fn unpack(mut octets: &[u8]) -> Self {
        let (mut numbers, mut at) = (Vec::with_capacity(octets.len()), 0);
        while let Some(distance) = super::file::take_number(&mut octets) {
            at += distance;
            numbers.extend(u32::try_from(at));
        }
        Self::new(numbers)
    }
}

/// Collects features: a bit for each, for that is sooner sorted than a list.
pub(super) struct Sink {
    bits: Box<[u64]>,
    room: Room,
}

impl Sink {
    fn new() -> Self {
        Self {
            bits: vec![0; FEATURES / 64].into(),
            room: View::Text.room(),
        }
    }

    /// What follows belongs to another side of the message.
    fn turn(&mut self, view: View) {
        self.room = view.room();
    }

    /// Adds the feature of a hash.
    pub(super) fn put(&mut self, hash: u64) {
        // A number lies within the room of its view, that below FEATURES.
        let number = self.room.number(hash.wrapping_mul(MIX));
        self.bits[number as usize / 64] |= 1 << (number % 64);
    }

    fn sorted(self) -> Box<[u32]> {
        let count: u32 = self.bits.iter().map(|word| word.count_ones()).sum();
        let mut numbers = Vec::with_capacity(count as usize);
        for (first, word) in (0..).step_by(64).zip(self.bits) {
            let mut left = word;
            while left != 0 {
                numbers.push(first + left.trailing_zeros());
                left &= left - 1;
            }
        }
        numbers.into()
    }

    /// Every word of a text, and every two that follow each other.
    pub(super) fn words(&mut self, space: u64, text: &str, octets: usize) {
        let mut last = 0;
        for word in
            cut(text, octets).split(|c: char| c.is_whitespace() || "<>\"(),;[]=|*_".contains(c))
        {
            let word = word.trim_matches(['.', ':', '\'', '?']);
            if word.is_empty() {
                continue;
            }
            let this = hash(space, cut(word, WORD_OCTETS).as_bytes());
            self.put(this);
            if last != 0 {
                self.put(mix(last, this));
            }
            last = this;
        }
    }

    /// Every four octets in a row, in small letters, white space run together.
    pub(super) fn sequences(&mut self, space: u64, text: &str, octets: usize) {
        let (mut window, mut filled) = (u32::from(b' '), 1);
        let mut last = b' ';
        let mut left = octets;
        for octet in text.bytes() {
            let octet = SMALL[usize::from(octet)];
            if octet == b' ' && last == b' ' {
                continue;
            }
            last = octet;
            window = window << 8 | u32::from(octet);
            filled += 1;
            if filled >= 4 {
                self.put(mix(space, window.into()));
            }
            left -= 1;
            if left == 0 {
                break;
            }
        }
    }
}

/// Each octet as a small letter, white space as a space.
const SMALL: [u8; 256] = {
    let (mut small, mut octet) = ([0; 256], 0u8);
    loop {
        small[octet as usize] = match octet.is_ascii_whitespace() {
            true => b' ',
            false => octet.to_ascii_lowercase(),
        };
        match octet.checked_add(1) {
            Some(next) => octet = next,
            None => break small,
        }
    }
};

/// Mixes a number into a hash.
pub(super) fn mix(hash: u64, number: u64) -> u64 {
    let mixed = (hash ^ number).wrapping_mul(MIX);
    mixed ^ (mixed >> 29)
}

/// The hash of octets in a space of their own. The same in every version and on every machine: models live by it.
pub(super) fn hash(space: u64, octets: &[u8]) -> u64 {
    let mut hash = mix(space, octets.len() as u64 + 77);
    for chunk in octets.chunks(8) {
        let mut eight = [0; 8];
        eight[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash, u64::from_le_bytes(eight));
    }
    hash
}

/// The start of a text, so many octets at most.
pub(super) fn cut(text: &str, octets: usize) -> &str {
    &text[..text.floor_char_boundary(octets)]
}

/// How many features there are, of all sides together (`views.rs`). More told nothing apart that these do not.
pub const FEATURES: usize = 1 << 19;
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
/// Text that is looked at, in octets: what is to be read first says what a message is.
const TEXT_OCTETS: usize = 6_000;
const SUBJECT_OCTETS: usize = 200;
const NAME_OCTETS: usize = 60;
const WORD_OCTETS: usize = 40;
// Spaces: a word in the subject is another feature than the same in the text.
const TEXT: u64 = 1;
const SUBJECT: u64 = 3;
const FILENAME: u64 = 9;
const KIND: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::spam::Specimen;
    use proptest::prelude::*;

    fn of(message: &str) -> Features {
        Specimen::read(message.replace('\n', "\r\n").into_bytes()).features()
    }

    #[test]
    fn the_same_message_has_the_same_features_and_another_one_others() {
        let one = of("From: a@b.example\nSubject: hello\n\nbuy a watch\n");
        assert_eq!(
            one,
            of("From: a@b.example\nSubject: hello\n\nbuy a watch\n")
        );
        assert_ne!(
            one,
            of("From: a@b.example\nSubject: hello\n\nbuy a match\n")
        );
    }

    #[test]
    fn what_filters_and_lists_add_on_the_way_is_no_feature() {
        let plain = of("From: a@b.example\nSubject: hello\n\nhello\n");
        for field in [
            "X-Spam-Status: Yes, score=20",
            "X-Virus-Status: Clean",
            "X-UUID: 336cb57a",
            "List-Id: <x.example>",
            "Delivered-To: b@c.example",
        ] {
            let with = of(&format!(
                "{field}\nFrom: a@b.example\nSubject: hello\n\nhello\n"
            ));
            let new = with
                .iter()
                .filter(|at| !plain.iter().any(|other| other == *at));
            // The size may differ; nothing else.
            assert!(new.count() <= 2, "{field}");
        }
    }

    #[test]
    fn disguises_by_encoding_make_no_difference() {
        let plain = of("MIME-Version: 1.0\nContent-Type: text/plain\n\nbuy cheap watches now\n");
        let base64 = of(
            "MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\nYnV5IGNoZWFwIHdhdGNoZXMgbm93Cg==\n",
        );
        let shared = plain
            .iter()
            .filter(|at| base64.iter().any(|other| other == *at));
        assert!(shared.count() * 10 > plain.len() * 7);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_octets_have_features_and_a_finite_sum(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
            let features = Specimen::read(octets).features();
            let weights = vec![1e6; FEATURES];
            prop_assert!(features.sum(&weights).is_finite());
            prop_assert_eq!(Features::unpack(&features.pack()), features);
        }
    }
}
