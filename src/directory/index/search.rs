//! Finding mailboxes by words that may be cut short or mistyped.
//!
//! Every word of the query must be found: in the name of a mailbox or in what is known of its
//! organisation. First as it is written or as the beginning of a word; if that finds nothing, with a
//! slip; and then with two slips in long words, or as a part of a word. Sets of mailboxes are rows of
//! bits, so that common words cost little more than rare ones.

use fst::{IntoStreamer, Map, Streamer};
use jiff::civil::Date;

use crate::directory::entry::{Entry, Kind};

use super::best::Best;
use super::layout::Section;
use super::near::{Near, Open};
use super::numbers::Reader;
use super::query::Query;
use super::words::each_place;
use super::{Index, Row};

/// A mailbox that was searched for.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is known of it; nothing that is hidden.
    pub entry: Entry,
    /// How far it is from the query: 0 if every word stands there as it was written.
    pub distance: u32,
}

/// The mailboxes nearest to a query, nearest first; of equally near ones those that are live on this
/// day, then those of organisations, then in the order of the table.
pub(in crate::directory) fn search(
    index: &Index,
    query: &str,
    limit: usize,
    on: Date,
) -> Vec<Found> {
    let query = Query::read(query, index);
    let exact = query.exact.as_ref().and_then(|name| index.find(name));
    let mut found: Vec<Found> = exact.and_then(|row| found(row, 0)).into_iter().collect();
    let near = Finder::new(index, on).map(|finder| finder.find(&query, limit));
    for (distance, number) in near.unwrap_or_default() {
        let row = index
            .row_at(number)
            .and_then(|row| self::found(row, distance));
        let new = row.filter(|row| {
            found
                .iter()
                .all(|one| one.entry.address != row.entry.address)
        });
        found.extend(new);
    }
    found.truncate(limit);
    found
}

fn found(row: Row<'_>, distance: u32) -> Option<Found> {
    let entry = row.entry()?;
    Some(Found { entry, distance })
}

struct Finder<'i> {
    index: &'i Index,
    words: Map<&'i [u8]>,
    on: Date,
}

/// One bit for each mailbox.
struct Bits(Vec<u64>);

/// A word of the query.
struct Term<'q> {
    word: &'q str,
    /// How many stages were tried.
    stages: usize,
    /// The mailboxes where it was found: how far from it, and which.
    levels: Vec<(u32, Bits)>,
}

impl<'q> Term<'q> {
    fn new(word: &'q str) -> Self {
        Self {
            word,
            stages: 0,
            levels: Vec::new(),
        }
    }

    /// The 64 mailboxes from `at` times 64 on that have it.
    fn has(&self, at: usize) -> u64 {
        self.levels
            .iter()
            .fold(0, |all, (_, bits)| all | bits.0[at])
    }

    /// How far a mailbox is that has it: the least counts.
    fn distance(&self, at: usize, bit: u32) -> u32 {
        let has = |bits: &Bits| bits.0[at] >> bit & 1 == 1;
        let found = self.levels.iter().filter(|(_, bits)| has(bits));
        found.map(|(distance, _)| *distance).min().unwrap_or(0)
    }
}

impl<'i> Finder<'i> {
    fn new(index: &'i Index, on: Date) -> Option<Self> {
        let words = Map::new(index.section(Section::Words)).ok()?;
        Some(Self { index, words, on })
    }

    /// The nearest mailboxes and how far they are.
    fn find(&self, query: &Query, limit: usize) -> Vec<(u32, u32)> {
        let mut terms: Vec<Term<'_>> = query.words.iter().map(|word| Term::new(word)).collect();
        if terms.is_empty() || limit == 0 {
            return Vec::new();
        }
        // A word that is nowhere decides: the others need not be looked for.
        for term in &mut terms {
            while term.levels.is_empty() {
                if !self.widen(term, STAGES.len()) {
                    return Vec::new();
                }
            }
        }
        loop {
            let best = self.best(&terms, &query.hosts, limit);
            if !best.is_empty() {
                return best;
            }
            // All words are somewhere, but not together: a slip may have made one another word.
            let widened = terms.iter_mut().map(|term| self.widen(term, SLIPPED));
            if widened.filter(|widened| *widened).count() == 0 {
                return Vec::new();
            }
        }
    }

    /// Looks for a word in the next ways, up to a stage; whether there were any.
    fn widen(&self, term: &mut Term<'_>, end: usize) -> bool {
        let Some(stage) = STAGES[..end].get(term.stages) else {
            return false;
        };
        term.stages += 1;
        let found = stage.iter().filter_map(|step| self.take(term.word, step));
        term.levels.extend(found);
        true
    }

    fn take(&self, word: &str, step: &Step) -> Option<(u32, Bits)> {
        if word.chars().count() < step.least {
            return None;
        }
        let near = Near::new(word, step.slips, step.open)?;
        let postings = self.index.section(Section::Postings);
        let mut bits = Bits(vec![0; (self.index.count as usize).div_ceil(64)]);
        let mut stream = self.words.search(near).into_stream();
        let mut any = false;
        while let Some((found, at)) = stream.next() {
            if step.open != Open::Closed && found == word.as_bytes() {
                continue; // the first step has found it
            }
            any = true;
            // Postings are less than 4 GiB, as the builder has made sure.
            let mut reader = Reader::at(postings, u32::try_from(at).unwrap_or(u32::MAX));
            each_place(&mut reader, |place| bits.set(place))?;
            each_place(&mut reader, |place| {
                let organisation = self.index.organisation_at(place);
                for member in organisation.into_iter().flat_map(|one| one.members()) {
                    bits.set(member);
                }
            })?;
        }
        any.then_some((step.distance, bits))
    }

    /// Of the mailboxes that have all words, the best.
    fn best(&self, terms: &[Term<'_>], hosts: &[u32], limit: usize) -> Vec<(u32, u32)> {
        let mut best = Best::new(limit);
        for at in 0..(self.index.count as usize).div_ceil(64) {
            let mut all = terms.iter().fold(u64::MAX, |all, term| all & term.has(at));
            while all != 0 {
                let bit = all.trailing_zeros();
                all &= all - 1;
                let number = at as u32 * 64 + bit;
                let distance = terms.iter().map(|term| term.distance(at, bit)).sum();
                if !best.may_take(distance) {
                    continue;
                }
                let row = self.index.row_at(number);
                let row = row.filter(|row| hosts.is_empty() || hosts.contains(&row.record.host));
                if let Some(row) = row {
                    best.take((distance, self.standing(row), number));
                }
            }
        }
        best.into_vec()
    }

    /// Of equally near mailboxes, which come first.
    fn standing(&self, row: Row<'_>) -> u32 {
        let (gone, personal) = (!row.is_live(self.on), row.kind() == Kind::Personal);
        u32::from(gone) << 1 | u32::from(personal)
    }
}

impl Bits {
    fn set(&mut self, number: u32) {
        if let Some(bits) = self.0.get_mut(number as usize / 64) {
            *bits |= 1 << (number % 64);
        }
    }
}

/// One way to look for a word.
struct Step {
    slips: usize,
    open: Open,
    /// The letters that a word must have to be looked for in this way.
    least: usize,
    distance: u32,
}

const fn step(slips: usize, open: Open, least: usize, distance: u32) -> Step {
    Step {
        slips,
        open,
        least,
        distance,
    }
}

/// Ways that are tried together; the later ones only if the earlier ones find nothing. The first step
/// is the word itself.
const STAGES: &[&[Step]] = &[
    &[step(0, Open::Closed, 1, 0), step(0, Open::End, 1, 1)],
    &[step(1, Open::Closed, 3, 3), step(1, Open::End, 5, 4)],
    &[step(2, Open::Closed, 7, 6), step(0, Open::Both, 3, 5)],
];
/// How many stages are tried for a word that is found, but not together with the others.
const SLIPPED: usize = 2;
