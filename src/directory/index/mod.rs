//! The compiled index: one immutable row of octets that holds the whole table of mailboxes.
//!
//! It is a cache, never a source. It is built once per change of `directory.csv`, in memory, or in a
//! file that is mapped: then it costs no more memory than the pages that are asked for. Names are
//! found by a hash table of 32-bit slots, words by an `fst`, everything else by its number. A file is
//! believed only if its key is that of the sources, its checksum is right and every number in it leads
//! to something; whatever else it holds is read with checks and cannot panic.

mod best;
mod builder;
mod details;
pub(super) mod file;
mod finish;
mod layout;
mod letters;
mod near;
mod numbers;
mod octets;
mod query;
mod record;
mod reports;
mod row;
pub(super) mod search;
mod slots;
#[cfg(test)]
mod tests;
mod validate;
mod words;

use std::fmt;
use std::ops::Range;

use crate::mail::{Host, Mailbox};

use super::agreement::StopWords;
use super::code::OdsCode;
use super::entry::{Kind, Right, Status};

pub(super) use builder::Builder;
pub(super) use layout::{Key, KeyMaker, Made, Sum};
pub(super) use reports::Report;
pub(super) use row::{OrganisationRow, Row};
pub(super) use slots::{QuickMap, Slots, hash};

use layout::{SECTIONS, Section};
use numbers::Reader;
use octets::Octets;

/// A whole index. Looking something up blocks on nothing but, where it is mapped and the page is
/// not in memory, on the disk.
pub(super) struct Index {
    octets: Octets,
    sections: [Range<usize>; SECTIONS],
    hosts: Vec<HostCount>,
    host_numbers: QuickMap<Host, u32>,
    /// How many mailboxes there are.
    count: u32,
}

/// A domain or literal, and the mailboxes that are there.
pub(super) struct HostCount {
    pub(super) host: Host,
    pub(super) count: u32,
    /// The first of them.
    first: u32,
}

impl Index {
    /// An index of nothing.
    pub(super) fn empty() -> Self {
        Self {
            octets: Octets::Memory(Vec::new()),
            sections: Default::default(),
            hosts: Vec::new(),
            host_numbers: QuickMap::default(),
            count: 0,
        }
    }

    /// An index that was just made: its checksum needs no check. `None` if the octets are not those
    /// of one.
    pub(super) fn from_memory(made: Made) -> Option<Self> {
        let octets = made.into_octets();
        let sum = layout::sum_of(&octets)?;
        Self::new(Octets::Memory(octets), &sum, None)
    }

    /// Checks everything but the octets against their checksum, which the caller has computed.
    fn new(octets: Octets, sum: &[u8; 32], wanted: Option<&Key>) -> Option<Self> {
        Self::unchecked(octets, sum, wanted).filter(validate::is_whole)
    }

    /// As `new`, without a look at the records: for octets that this process has just made. What is
    /// read of them is read with checks all the same.
    fn unchecked(octets: Octets, sum: &[u8; 32], wanted: Option<&Key>) -> Option<Self> {
        let here = octets.here();
        let (key, sections) = layout::read(here, octets.len(), sum)?;
        if wanted.is_some_and(|wanted| *wanted != key) {
            return None;
        }
        let mut index = Self {
            hosts: read_hosts(here.get(sections[Section::Hosts as usize].clone())?)?,
            octets,
            sections,
            host_numbers: QuickMap::default(),
            count: 0,
        };
        let hosts = index.hosts.iter().map(|host| host.host.clone());
        index.host_numbers = hosts.zip(0..).collect();
        let entries = index.section(Section::Entries).len() / record::Mailbox::LENGTH;
        index.count = u32::try_from(entries).ok()?;
        Some(index)
    }

    /// How many mailboxes there are.
    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// The mailbox with this name, folded.
    pub(super) fn find(&self, folded: &Mailbox) -> Option<Row<'_>> {
        let host = *self.host_numbers.get(folded.host())?;
        let local = folded.local_part().as_str();
        let names = self.section(Section::Names);
        let key = hash(local.as_bytes(), host);
        let number = slots::find(self.section(Section::Slots), key, |number| {
            self.row_at(number).is_some_and(|row| {
                row.record.host == host && name_at(names, row.record.name) == Some(local)
            })
        });
        self.row_at(number?)
    }

    /// The organisation with this code, if it has mailboxes.
    pub(super) fn organisation(&self, code: OdsCode) -> Option<OrganisationRow<'_>> {
        let key = hash(code.as_str().as_bytes(), 0);
        let number = slots::find(self.section(Section::Codes), key, |number| {
            self.organisation_at(number)
                .is_some_and(|organisation| organisation.record.code == code)
        });
        self.organisation_at(number?)
    }

    /// All mailboxes, in the order of the table.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.count).filter_map(|number| self.row_at(number))
    }

    /// The domains and literals, in the order in which the table names them.
    pub(super) fn hosts(&self) -> &[HostCount] {
        &self.hosts
    }

    /// The first mailbox of a host.
    pub(super) fn first_of(&self, host: &HostCount) -> Option<Row<'_>> {
        self.row_at(host.first)
    }

    /// What there was to be said of the table.
    pub(super) fn reports(&self) -> Vec<Report> {
        Report::read_all(self.section(Section::Reports)).unwrap_or_default()
    }

    fn row_at(&self, number: u32) -> Option<Row<'_>> {
        let record = record::Mailbox::read(self.section(Section::Entries), number)?;
        Some(Row {
            index: self,
            number,
            record,
        })
    }

    fn organisation_at(&self, number: u32) -> Option<OrganisationRow<'_>> {
        let record = record::Organisation::read(self.section(Section::Organisations), number)?;
        Some(OrganisationRow {
            index: self,
            record,
        })
    }

    /// A section that is not the details.
    fn section(&self, section: Section) -> &[u8] {
        let range = self.sections[section as usize].clone();
        self.octets.here().get(range).unwrap_or_default()
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index of {} mailboxes", self.count)
    }
}

/// Begins the key of an index of a table: what else its octets hang on is in it.
pub(super) fn key_maker(stop: &StopWords) -> KeyMaker {
    let kinds = Kind::WORDS.iter().map(|(word, _)| *word);
    let statuses = Status::WORDS.iter().map(|(word, _)| *word);
    let rights = Right::WORDS.iter().map(|(word, _)| *word);
    KeyMaker::new(kinds.chain(statuses).chain(rights).chain(stop.sorted()))
}

fn read_hosts(octets: &[u8]) -> Option<Vec<HostCount>> {
    let mut reader = Reader::at(octets, 0);
    let mut hosts = Vec::new();
    while !reader.is_at_end() {
        hosts.push(HostCount {
            count: reader.number()?,
            first: reader.number()?,
            host: Host::parse(reader.text()?).ok()?,
        });
    }
    Some(hosts)
}

/// The local part at a place of `Names`.
fn name_at(names: &[u8], place: u32) -> Option<&str> {
    Reader::at(names, place).text()
}
