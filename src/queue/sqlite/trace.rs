//! Finding events: by reference, address, Message-ID or time.
//!
//! The trail has no index: on a trail of many millions of rows each new event would dirty a page of
//! the disk for each of its words. Every thousand rows get a Bloom filter of their words
//! instead, and a search reads those stretches alone whose filter knows the word.

use std::borrow::Cow;

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::mail::Mailbox;
use crate::queue::error::QueueError;
use crate::queue::store::{AuditEntry, TraceQuery};

use super::audit;

/// Writes the filters of stretches that have become full.
pub(super) fn seal_stretches(db: &Connection, end: i64) -> Result<(), QueueError> {
    if end < STRETCH {
        return Ok(());
    }
    let mut sealed = last_sealed(db)?;
    while end - sealed >= STRETCH {
        let rows = audit::events(db, sealed + 1, STRETCH_ROWS)?;
        let Some(last) = rows.last().map(|row| row.number) else {
            return Ok(());
        };
        let (filter, times) = stretch(&rows);
        db.prepare_cached(
            "INSERT INTO audit_stretch (last, earliest, latest, filter) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![last, times.0, times.1, filter.0])?;
        sealed = last;
    }
    Ok(())
}

/// The events that the query finds, oldest first, and the damaged rows that were met on the way.
pub(super) fn trace(
    db: &Connection,
    query: &TraceQuery,
    limit: usize,
) -> Result<Vec<AuditEntry>, QueueError> {
    let search = Search::new(query);
    let mut found = Vec::new();
    let mut first = 1;
    for (last, may_hold) in stretches(db, &search)? {
        if may_hold {
            search.collect(db, first, last, limit, &mut found)?;
        }
        first = last + 1;
        if found.len() >= limit {
            return Ok(found);
        }
    }
    search.collect(db, first, i64::MAX, limit, &mut found)?;
    Ok(found)
}

fn last_sealed(db: &Connection) -> Result<i64, QueueError> {
    let mut statement = db.prepare_cached("SELECT coalesce(max(last), 0) FROM audit_stretch")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

fn stretch(rows: &[AuditEntry]) -> (Filter, (i64, i64)) {
    let mut filter = Filter::empty();
    let mut times = (i64::MAX, i64::MIN);
    for row in rows {
        let event = Names::read(&row.event);
        event.words().for_each(|word| filter.add(&word));
        if let Some(at) = event.time() {
            times = (times.0.min(at), times.1.max(at));
        }
    }
    (filter, times)
}

/// Each stretch's last row, and whether it may hold what is searched for.
fn stretches(db: &Connection, search: &Search) -> Result<Vec<(i64, bool)>, QueueError> {
    let mut statement = db
        .prepare_cached("SELECT last, earliest, latest, filter FROM audit_stretch ORDER BY last")?;
    let rows = statement.query_map([], |row| {
        let (earliest, latest): (i64, i64) = (row.get(1)?, row.get(2)?);
        let filter = Filter(row.get(3)?);
        Ok((row.get(0)?, search.may_be_in(earliest, latest, &filter)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What is searched for, in the form in which it is compared.
struct Search {
    words: Vec<String>,
    from: i64,
    to: i64,
}

impl Search {
    fn new(query: &TraceQuery) -> Self {
        let milliseconds = |at: Option<Timestamp>| at.map(Timestamp::as_millisecond);
        Self {
            words: query.about.iter().flat_map(|about| forms(about)).collect(),
            from: milliseconds(query.from).unwrap_or(i64::MIN),
            to: milliseconds(query.to).unwrap_or(i64::MAX),
        }
    }

    fn may_be_in(&self, earliest: i64, latest: i64, filter: &Filter) -> bool {
        let known = self.words.is_empty() || self.words.iter().any(|word| filter.may_hold(word));
        known && latest >= self.from && earliest < self.to
    }

    fn collect(
        &self,
        db: &Connection,
        first: i64,
        last: i64,
        limit: usize,
        found: &mut Vec<AuditEntry>,
    ) -> Result<(), QueueError> {
        let mut next = first;
        while next <= last && found.len() < limit {
            let rows = audit::events(db, next, STRETCH_ROWS)?;
            let Some(end) = rows.last().map(|row| row.number) else {
                break;
            };
            next = end + 1;
            let wanted = rows
                .into_iter()
                .filter(|row| row.number <= last && self.matches(row));
            found.extend(wanted.take(limit - found.len()));
        }
        Ok(())
    }

    /// A damaged row may be about anything: it is shown, so that nobody takes what is left for the whole.
    fn matches(&self, row: &AuditEntry) -> bool {
        if row.damaged.is_some() {
            return true;
        }
        let event = Names::read(&row.event);
        let in_time = event
            .time()
            .is_some_and(|at| at >= self.from && at < self.to);
        in_time && (self.words.is_empty() || event.words().any(|word| self.words.contains(&word)))
    }
}

/// The forms under which a user's text may stand in an event: as it is, as a mailbox in its
/// comparable form, as a reference without its `PX-`.
fn forms(text: &str) -> Vec<String> {
    let plain = fold(text);
    let mut forms = vec![format!("px-{plain}")];
    if let Ok(mailbox) = Mailbox::parse(&plain) {
        forms.push(fold(&mailbox.to_string()));
    }
    forms.push(plain);
    forms
}

/// What an event is found by.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Names<'e> {
    #[serde(borrow)]
    at: Cow<'e, str>,
    #[serde(borrow)]
    reference: Cow<'e, str>,
    #[serde(borrow)]
    sender: Cow<'e, str>,
    #[serde(borrow)]
    recipient: Cow<'e, str>,
    #[serde(borrow)]
    original_recipient: Cow<'e, str>,
    #[serde(borrow)]
    message_id: Cow<'e, str>,
    #[serde(borrow)]
    facts: Facts<'e>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Facts<'e> {
    /// The reference of the message that a report is about.
    #[serde(borrow)]
    about: Cow<'e, str>,
}

impl<'e> Names<'e> {
    /// Reads an event; a row that was tampered with is found by nothing.
    fn read(event: &'e str) -> Self {
        serde_json::from_str(event).unwrap_or_default()
    }

    fn words(&self) -> impl Iterator<Item = String> {
        let names = [
            &self.reference,
            &self.sender,
            &self.recipient,
            &self.original_recipient,
            &self.message_id,
            &self.facts.about,
        ];
        names
            .into_iter()
            .filter(|name| !name.is_empty())
            .map(|name| fold(name))
    }

    fn time(&self) -> Option<i64> {
        let at: Timestamp = self.at.parse().ok()?;
        Some(at.as_millisecond())
    }
}

/// Without angle brackets and case.
fn fold(text: &str) -> String {
    let text = text.trim();
    let inner = text
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    inner.unwrap_or(text).to_lowercase()
}

/// A Bloom filter: never says no to a word it was given, seldom yes to another.
struct Filter(Vec<u8>);

impl Filter {
    fn empty() -> Self {
        Self(vec![0; FILTER_OCTETS])
    }

    fn add(&mut self, word: &str) {
        for bit in bits(word) {
            self.0[bit / 8] |= 1 << (bit % 8);
        }
    }

    fn may_hold(&self, word: &str) -> bool {
        bits(word).all(|bit| {
            // A filter of another size is damaged: the stretch is read.
            self.0.len() != FILTER_OCTETS || self.0[bit / 8] & (1 << (bit % 8)) != 0
        })
    }
}

/// The bits of a word: a new one from each four octets of its hash.
fn bits(word: &str) -> impl Iterator<Item = usize> {
    let hash: [u8; 32] = Sha256::digest(word.as_bytes()).into();
    (0..FILTER_HASHES).map(move |i| {
        let four = [
            hash[4 * i],
            hash[4 * i + 1],
            hash[4 * i + 2],
            hash[4 * i + 3],
        ];
        u32::from_le_bytes(four) as usize % (FILTER_OCTETS * 8)
    })
}

/// Rows that share a filter.
const STRETCH: i64 = 1_024;
const STRETCH_ROWS: usize = 1_024;
/// 48 bits for each row: at five words a row one search in a hundred reads a stretch in vain.
const FILTER_OCTETS: usize = 6_144;
/// At most eight: so many four octets has a SHA-256.
const FILTER_HASHES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_filter_never_denies_what_it_was_given(words in proptest::collection::vec("\\PC{1,20}", 1..200)) {
            let mut filter = Filter::empty();
            words.iter().for_each(|word| filter.add(word));
            prop_assert!(words.iter().all(|word| filter.may_hold(word)));
        }
    }

    #[test]
    fn a_full_filter_seldom_lies() {
        let mut filter = Filter::empty();
        (0..5_120).for_each(|i| filter.add(&format!("word {i}")));
        let lies = (0..10_000)
            .filter(|i| filter.may_hold(&format!("other {i}")))
            .count();
        assert!(lies < 200, "{lies} of 10,000");
    }
}
