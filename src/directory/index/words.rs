//! The words by which mailboxes and organisations are found, and where each of them stands.

use super::letters::each_word;
use super::numbers::{Reader, push_number};
use super::slots::{Slots, hash};

/// All words as far as they are known.
#[derive(Debug)]
pub(super) struct Words {
    texts: Vec<u8>,
    /// Of each word, where its text ends.
    ends: Vec<u32>,
    slots: Slots,
    /// Word and mailbox, mailboxes in their order.
    mailboxes: Vec<(u32, u32)>,
    /// Word and organisation, organisations in their order.
    organisations: Vec<(u32, u32)>,
    /// Buffers: a word, and the words of a mailbox.
    word: String,
    before: Vec<u32>,
}

impl Words {
    pub(super) fn new() -> Self {
        Self {
            texts: Vec::new(),
            ends: Vec::new(),
            slots: Slots::with_capacity(0),
            mailboxes: Vec::new(),
            organisations: Vec::new(),
            word: String::new(),
            before: Vec::new(),
        }
    }

    /// Notes the words of the next mailbox, but for those that its organisation has.
    pub(super) fn add_mailbox(&mut self, index: u32, texts: [&str; 3], known: &[u32]) {
        let mut buffer = std::mem::take(&mut self.word);
        let mut before = std::mem::take(&mut self.before);
        before.clear();
        for text in texts {
            each_word(text, &mut buffer, |word| {
                // A display name says again what the address says, and to look for a word in the
                // table is to wait for the memory.
                let is_it = |number: &u32| self.text(*number) == word.as_bytes();
                if before.iter().any(is_it) {
                    return;
                }
                let word = self.number(word);
                before.push(word);
                if !known.contains(&word) {
                    self.mailboxes.push((word, index));
                }
            });
        }
        (self.word, self.before) = (buffer, before);
    }

    /// Notes the words of the next organisation.
    pub(super) fn add_organisation(&mut self, index: u32, words: &[u32]) {
        self.organisations
            .extend(words.iter().map(|word| (*word, index)));
    }

    /// The words of texts, each once.
    pub(super) fn of(&mut self, texts: &[&str]) -> Vec<u32> {
        let mut words = Vec::new();
        let mut buffer = std::mem::take(&mut self.word);
        for text in texts {
            each_word(text, &mut buffer, |word| words.push(self.number(word)));
        }
        self.word = buffer;
        words.sort_unstable();
        words.dedup();
        words
    }

    /// The `fst` map of the words, and the postings that it points to. An error is one of `fst`,
    /// and comes of nothing but more than 2^64 octets.
    pub(super) fn finish(self) -> Result<(Vec<u8>, Vec<u8>), fst::Error> {
        let count = self.ends.len();
        let mailboxes = Grouped::new(&self.mailboxes, count);
        let organisations = Grouped::new(&self.organisations, count);
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_unstable_by_key(|word| text_of(&self.texts, &self.ends, *word));
        let mut map = fst::MapBuilder::memory();
        let mut postings = Vec::new();
        for word in order {
            let text = text_of(&self.texts, &self.ends, word);
            map.insert(text, postings.len() as u64)?;
            push_places(&mut postings, mailboxes.of(word));
            push_places(&mut postings, organisations.of(word));
        }
        Ok((map.into_inner()?, postings))
    }

    fn text(&self, word: u32) -> &[u8] {
        text_of(&self.texts, &self.ends, word as usize)
    }

    fn number(&mut self, word: &str) -> u32 {
        let Self {
            texts, ends, slots, ..
        } = self;
        let hash_of = |number: u32| hash(text_of(texts, ends, number as usize), 0);
        let key = hash(word.as_bytes(), 0);
        let is_it = |number: u32| text_of(texts, ends, number as usize) == word.as_bytes();
        if let Some(number) = slots.find(key, is_it) {
            return number;
        }
        slots.push(key, hash_of);
        texts.extend(word.as_bytes());
        // `Builder` refuses tables with more text than that.
        ends.push(texts.len() as u32);
        ends.len() as u32 - 1
    }
}

fn text_of<'t>(texts: &'t [u8], ends: &[u32], word: usize) -> &'t [u8] {
    let start = word.checked_sub(1).map_or(0, |before| ends[before]);
    &texts[start as usize..ends[word] as usize]
}

/// The places of each word, next to each other.
struct Grouped {
    places: Vec<u32>,
    /// Of each word, where its places begin; and where the last end.
    starts: Vec<u32>,
}

impl Grouped {
    fn new(pairs: &[(u32, u32)], words: usize) -> Self {
        let mut starts = vec![0; words + 1];
        for (word, _) in pairs {
            starts[*word as usize + 1] += 1;
        }
        for word in 0..words {
            starts[word + 1] += starts[word];
        }
        let (mut next, mut places) = (starts.clone(), vec![0; pairs.len()]);
        for (word, place) in pairs {
            let at = &mut next[*word as usize];
            places[*at as usize] = *place;
            *at += 1;
        }
        Self { places, starts }
    }

    fn of(&self, word: usize) -> &[u32] {
        &self.places[self.starts[word] as usize..self.starts[word + 1] as usize]
    }
}

/// Writes what [`each_place`] reads: how many, then how far each is from the one before.
fn push_places(octets: &mut Vec<u8>, places: &[u32]) {
    let twice = places.windows(2).filter(|pair| pair[0] == pair[1]).count();
    push_number(octets, (places.len() - twice) as u32);
    let mut before = None;
    for place in places {
        if before != Some(*place) {
            push_number(octets, place - before.unwrap_or(0));
            before = Some(*place);
        }
    }
}

/// Calls `each` with a row of places. `None` where the octets do not reach.
pub(super) fn each_place(reader: &mut Reader<'_>, mut each: impl FnMut(u32)) -> Option<()> {
    let mut place = 0_u32;
    for _ in 0..reader.number()? {
        place = place.checked_add(reader.number()?)?;
        each(place);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_knows_its_places_once() {
        let mut all = Words::new();
        let known = all.of(&["Well Pharmacy", "well"]);
        all.add_organisation(0, &known);
        all.add_mailbox(0, ["pharmacy.fa001", "fa001", ""], &known);
        all.add_mailbox(1, ["jo.bell", "BELL, Jo", ""], &[]);
        let (map, postings) = all.finish().unwrap();
        let map = fst::Map::new(map).unwrap();
        let places = |word: &str| {
            let mut reader = Reader::at(&postings, map.get(word)? as u32);
            let (mut mailboxes, mut organisations) = (Vec::new(), Vec::new());
            each_place(&mut reader, |place| mailboxes.push(place))?;
            each_place(&mut reader, |place| organisations.push(place))?;
            Some((mailboxes, organisations))
        };
        assert_eq!(places("pharmacy"), Some((vec![], vec![0])));
        assert_eq!(places("fa001"), Some((vec![0], vec![])));
        assert_eq!(places("bell"), Some((vec![1], vec![])));
        assert_eq!(map.len(), 5);
    }
}
