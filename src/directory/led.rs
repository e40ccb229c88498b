//! The names that lead to another, in so little memory that a million of them do not matter.
//!
//! A national directory has a rename for every twentieth person. As a map of addresses they would take
//! three times the octets that they are written with; here each is a record of fixed length, its two
//! local parts stand in one text, and a domain is kept once.

use std::collections::HashMap;
use std::ops::Range;

use jiff::civil::Date;

use crate::config::Place;
use crate::mail::{Domain, Host, LocalPart, Mailbox};

use super::index::{QuickMap, Slots, hash};
use super::resolution::Because;

/// All of them, each name once.
#[derive(Debug)]
pub(super) struct Redirects {
    records: Vec<Record>,
    /// Where a name is in `records`.
    slots: Slots,
    /// The local parts: of each record its name's and its target's.
    texts: String,
    hosts: Vec<Host>,
    host_numbers: QuickMap<Host, u32>,
    /// Where those stand that are not known by their line alone.
    places: HashMap<u32, Place>,
}

/// Why a name leads to another, since when, and where that stands.
#[derive(Clone, Debug)]
pub(super) struct Reason {
    pub(super) because: Because,
    /// From this day on; `None` is since ever.
    pub(super) since: Option<Date>,
    pub(super) line: usize,
}

#[derive(Debug)]
struct Record {
    /// Where in the texts the name's local part begins, and where it and the target's end.
    text: [usize; 3],
    from_host: u32,
    to_host: u32,
    reason: Reason,
}

impl Default for Redirects {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            slots: Slots::with_capacity(0),
            texts: String::new(),
            hosts: Vec::new(),
            host_numbers: QuickMap::default(),
            places: HashMap::new(),
        }
    }
}

impl Redirects {
    /// Adds one. The name is folded; if it is there already, that one is handed back instead.
    ///
    /// # Errors
    /// The one that is there.
    pub(super) fn add(
        &mut self,
        from: &Mailbox,
        to: &Mailbox,
        reason: Reason,
        place: Option<Place>,
    ) -> Result<(), Redirect<'_>> {
        let from_host = self.host(from.host());
        let to_host = self.host(to.host());
        let local = from.local_part().as_str();
        if let Some(number) = self.find(local, from_host) {
            return Err(Redirect { all: self, number });
        }
        let number = self.records.len() as u32; // a file of 4 GiB rows is none
        let key = hash(local.as_bytes(), from_host);
        let (texts, records) = (&self.texts, &self.records);
        self.slots.push(key, |number| {
            let record = &records[number as usize];
            hash(record.from(texts).as_bytes(), record.from_host)
        });
        let start = self.texts.len();
        self.texts.push_str(local);
        let middle = self.texts.len();
        self.texts.push_str(to.local_part().as_str());
        self.records.push(Record {
            text: [start, middle, self.texts.len()],
            from_host,
            to_host,
            reason,
        });
        self.places.extend(place.map(|place| (number, place)));
        Ok(())
    }

    /// The one of a folded name.
    pub(super) fn get(&self, from: &Mailbox) -> Option<Redirect<'_>> {
        let host = *self.host_numbers.get(from.host())?;
        let number = self.find(from.local_part().as_str(), host)?;
        Some(Redirect { all: self, number })
    }

    /// All of them, in the order of the files.
    pub(super) fn in_order(&self) -> Vec<Redirect<'_>> {
        let numbers = 0..self.records.len() as u32;
        let mut all: Vec<_> = numbers
            .map(|number| Redirect { all: self, number })
            .collect();
        all.sort_by_key(|redirect| redirect.line());
        all
    }

    /// Folds the targets at some domains: a name of ours has one form; what goes elsewhere keeps its
    /// case (RFC 5321 §2.4).
    pub(super) fn fold_targets(&mut self, is_ours: impl Fn(&Domain) -> bool) {
        let is_ours = |host: &Host| match host {
            Host::Domain(domain) => is_ours(domain),
            Host::Literal(_) => false,
        };
        let ours: Vec<bool> = self.hosts.iter().map(is_ours).collect();
        for record in &self.records {
            let [_, start, end] = record.text;
            if ours[record.to_host as usize] {
                self.texts[start..end].make_ascii_lowercase();
            }
        }
    }

    /// Those that lead back to themselves, in the order of the files. A name leads to one other at
    /// most, so each is walked over once.
    pub(super) fn loops(&self) -> Vec<Redirect<'_>> {
        let mut walks = vec![0; self.records.len()];
        let mut loops = Vec::new();
        for (start, walk) in (0..self.records.len() as u32).zip(1_u32..) {
            let mut at = Some(start);
            while let Some(number) = at.filter(|number| walks[*number as usize] == 0) {
                walks[number as usize] = walk;
                at = self.next(number);
            }
            // Back on this very walk: from here on it goes round.
            let first = at.filter(|number| walks[*number as usize] == walk);
            let mut at = first;
            while let Some(number) = at {
                loops.push(Redirect { all: self, number });
                at = self.next(number).filter(|next| Some(*next) != first);
            }
        }
        loops.sort_by_key(|redirect| redirect.line());
        loops
    }

    fn next(&self, number: u32) -> Option<u32> {
        let target = Redirect { all: self, number }.to().into_folded();
        self.get(&target).map(|next| next.number)
    }

    fn find(&self, local: &str, host: u32) -> Option<u32> {
        let key = hash(local.as_bytes(), host);
        self.slots.find(key, |number| {
            let record = &self.records[number as usize];
            record.from_host == host && record.from(&self.texts) == local
        })
    }

    fn mailbox(&self, local: Range<usize>, host: u32) -> Mailbox {
        let local = LocalPart::from_unquoted(&self.texts[local]);
        // It was taken out of an address, and ASCII folding keeps what it is.
        let local = local.expect("a local part");
        Mailbox::new(local, self.hosts[host as usize].clone())
    }

    fn host(&mut self, host: &Host) -> u32 {
        if let Some(number) = self.host_numbers.get(host) {
            return *number;
        }
        let number = self.hosts.len() as u32;
        self.hosts.push(host.clone());
        self.host_numbers.insert(host.clone(), number);
        number
    }
}

/// A name that leads to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Redirect<'r> {
    all: &'r Redirects,
    number: u32,
}

impl<'r> Redirect<'r> {
    /// The name, folded.
    pub(super) fn from(self) -> Mailbox {
        let [start, end, _] = self.record().text;
        self.all.mailbox(start..end, self.record().from_host)
    }

    /// The name that it leads to.
    pub(super) fn to(self) -> Mailbox {
        let [_, start, end] = self.record().text;
        self.all.mailbox(start..end, self.record().to_host)
    }

    pub(super) fn because(self) -> Because {
        self.record().reason.because
    }

    /// From this day on; `None` is since ever.
    pub(super) fn since(self) -> Option<Date> {
        self.record().reason.since
    }

    pub(super) fn line(self) -> usize {
        self.record().reason.line
    }

    /// Where it stands, unless its line says all.
    pub(super) fn place(self) -> Option<&'r Place> {
        self.all.places.get(&self.number)
    }

    fn record(self) -> &'r Record {
        &self.all.records[self.number as usize]
    }
}

impl Record {
    fn from<'t>(&self, texts: &'t str) -> &'t str {
        &texts[self.text[0]..self.text[1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(text: &str) -> Mailbox {
        text.parse().unwrap()
    }

    fn redirects(all: &[(&str, &str)]) -> Redirects {
        let mut redirects = Redirects::default();
        for ((from, to), line) in all.iter().zip(1..) {
            let reason = Reason {
                because: Because::Renamed,
                since: None,
                line,
            };
            let added = redirects.add(&mailbox(from), &mailbox(to), reason, None);
            added.map_err(|_| ()).unwrap();
        }
        redirects
    }

    #[test]
    fn a_name_is_there_once_and_comes_out_as_it_went_in() {
        let mut all = redirects(&[
            ("a@nhs.net", "New.Name@nhs.net"),
            ("a@other.example", "\"x y\"@Other.Example"),
        ]);
        let again = Reason {
            because: Because::Alias,
            since: None,
            line: 3,
        };
        let first = all.add(&mailbox("a@nhs.net"), &mailbox("b@nhs.net"), again, None);
        assert_eq!(first.unwrap_err().line(), 1);
        all.fold_targets(|domain| domain.as_str() == "nhs.net");
        let to = |from: &str| Some(all.get(&mailbox(from))?.to().to_string());
        assert_eq!(to("a@nhs.net").as_deref(), Some("new.name@nhs.net"));
        assert_eq!(
            to("a@other.example").as_deref(),
            Some("\"x y\"@other.example")
        );
        assert_eq!(to("b@nhs.net"), None);
        assert_eq!(to("a@third.example"), None);
        let names = all.in_order().into_iter().map(|one| one.from().to_string());
        assert!(names.eq(["a@nhs.net", "a@other.example"]));
    }

    #[test]
    fn loops_are_the_names_that_come_back_to_themselves_and_no_others() {
        let all = redirects(&[
            ("in@nhs.net", "a@nhs.net"),
            ("a@nhs.net", "B@nhs.net"),
            ("b@nhs.net", "c@nhs.net"),
            ("c@nhs.net", "a@nhs.net"),
            ("self@nhs.net", "self@nhs.net"),
            ("out@nhs.net", "end@nhs.net"),
            ("late@nhs.net", "b@nhs.net"),
        ]);
        let lines: Vec<_> = all.loops().iter().map(|one| one.line()).collect();
        assert_eq!(lines, [2, 3, 4, 5]);
    }
}
