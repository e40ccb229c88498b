//! Finding events without an index: what a search compares, and the filters that spare it most of the trail.
//!
//! On a trail of many millions of rows an index of words would dirty a page of the disk for each word of each new
//! event. Every thousand rows get a Bloom filter of their words instead, and a search reads those
//! stretches alone whose filter knows the word.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::mail::{Mailbox, redact};
use crate::outcome::audit::AuditEvent;

use super::store::{AuditEntry, TraceQuery};

/// The filter of a stretch, and when its events happened: the first and the last, in milliseconds.
pub(super) fn stretch(rows: &[AuditEntry]) -> (Filter, (i64, i64)) {
    let mut stretch = Stretch::empty();
    for row in rows {
        let event = Names::read(&row.event);
        stretch.add(&event, event.time());
    }
    (stretch.filter, stretch.times)
}

/// A stretch as its events come.
pub(super) struct Stretch {
    pub(super) filter: Filter,
    /// When its events happened: the first and the last, in milliseconds.
    pub(super) times: (i64, i64),
}

impl Stretch {
    pub(super) fn empty() -> Self {
        Self {
            filter: Filter::empty(),
            times: (i64::MAX, i64::MIN),
        }
    }

    /// Adds an event on its way to the trail: what reading its row adds.
    pub(super) fn add_event(&mut self, event: &AuditEvent) {
        self.add(&Names::of(event), Some(event.at.as_millisecond()));
    }

    fn add(&mut self, event: &Names<'_>, time: Option<i64>) {
        event.words().for_each(|word| self.filter.add(&word));
        if let Some(at) = time {
            self.times = (self.times.0.min(at), self.times.1.max(at));
        }
    }
}

/// What is searched for, in the form in which it is compared.
pub(super) struct Search {
    words: Vec<String>,
    from: i64,
    to: i64,
}

impl Search {
    pub(super) fn new(query: &TraceQuery) -> Self {
        let milliseconds = |at: Option<Timestamp>| at.map(Timestamp::as_millisecond);
        Self {
            words: query.about.iter().flat_map(|about| forms(about)).collect(),
            from: milliseconds(query.from).unwrap_or(i64::MIN),
            to: milliseconds(query.to).unwrap_or(i64::MAX),
        }
    }

    /// Whether a stretch may hold it.
    pub(super) fn may_be_in(&self, earliest: i64, latest: i64, filter: &Filter) -> bool {
        let known = self.words.is_empty() || self.words.iter().any(|word| filter.may_hold(word));
        known && latest >= self.from && earliest < self.to
    }

    /// A damaged row may be about anything: it is shown, so that nobody takes what is left for the whole.
    pub(super) fn matches(&self, row: &AuditEntry) -> bool {
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
/// comparable form, as a reference without its `PX-`, as a `Message-ID` of which the number is not shown.
fn forms(text: &str) -> Vec<String> {
    let plain = fold(text);
    let mut forms = vec![format!("px-{plain}")];
    if let Ok(mailbox) = Mailbox::parse(&plain) {
        forms.push(fold(&mailbox.to_string()));
    }
    if let Cow::Owned(shown) = redact::numbers(&plain) {
        forms.push(shown);
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

    /// The names of an event that has no row yet. Without its time.
    fn of(event: &'e AuditEvent) -> Self {
        let text = |text: &'e Option<String>| Cow::Borrowed(text.as_deref().unwrap_or_default());
        Self {
            at: Cow::default(),
            reference: Cow::Owned(event.reference.to_string()),
            sender: Cow::Borrowed(&event.sender),
            recipient: text(&event.recipient),
            original_recipient: text(&event.original_recipient),
            message_id: text(&event.message_id),
            facts: Facts {
                about: Cow::Borrowed(event.facts.get("about").map_or("", String::as_str)),
            },
        }
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
pub(super) struct Filter(pub(super) Vec<u8>);

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
pub(super) const STRETCH: i64 = 1_024;
/// The same, as a limit.
pub(super) const STRETCH_ROWS: usize = 1_024;
/// 48 bits for each row: at five words a row one search in a hundred reads a stretch in vain.
const FILTER_OCTETS: usize = 6_144;
/// At most eight: so many four octets has a SHA-256.
const FILTER_HASHES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Reference;
    use crate::outcome::audit::AuditKind;
    use proptest::prelude::*;

    #[test]
    fn a_message_id_is_found_whose_number_is_not_shown() {
        let known = forms("<NHS.4505577104@x>");
        assert!(known.contains(&"nhs.**********@x".to_owned()));
        assert!(known.contains(&"nhs.4505577104@x".to_owned()));
    }

    proptest! {
        #[test]
        fn a_filter_never_denies_what_it_was_given(words in proptest::collection::vec("\\PC{1,20}", 1..200)) {
            let mut filter = Filter::empty();
            words.iter().for_each(|word| filter.add(word));
            prop_assert!(words.iter().all(|word| filter.may_hold(word)));
        }
    }

    /// An event with every name there is, and some of JSON's own characters.
    fn event(at: Timestamp, name: &str) -> AuditEvent {
        let mut event = AuditEvent::new(at, Reference::random(), AuditKind::Notified, name);
        event.recipient = Some(format!("To\\{name}"));
        event.original_recipient = Some(format!("<Given{name}\">"));
        event.message_id = Some(format!("<\u{1}{name}@x>"));
        event.fact("about", format!("PX-{name}"))
    }

    proptest! {
        #[test]
        fn an_event_adds_the_same_as_its_row(
            names in proptest::collection::vec("\\PC{0,20}", 1..20), at in -9_999_999_i64..9_999_999_999_999,
        ) {
            let at = Timestamp::from_millisecond(at).unwrap();
            let events: Vec<_> = names.iter().map(|name| event(at, name)).collect();
            let mut coming = Stretch::empty();
            events.iter().for_each(|event| coming.add_event(event));
            let rows = events.iter().map(|event| {
                let json = serde_json::to_string(event).unwrap();
                AuditEntry::new(1, json.as_bytes(), String::new())
            });
            let (filter, times) = stretch(&rows.collect::<Vec<_>>());
            prop_assert_eq!(coming.filter.0, filter.0);
            prop_assert_eq!(coming.times, times);
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
