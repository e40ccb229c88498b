//! Looks at one mailbox or organisation of an index. What is not there, since the octets are
//! damaged, is read as nothing: opening an index has made sure that everything is there.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::civil::Date;

use crate::directory::agreement::{Evidence, Part, Word};
use crate::directory::code::OdsCode;
use crate::directory::entry::{Entry, Kind, Organisation};
use crate::mail::{Domain, Host, LocalPart, Mailbox};

use super::layout::Section;
use super::numbers::{Reader, nth_u32};
use super::{Index, details, name_at, record};

/// A mailbox of an index.
#[derive(Clone, Copy)]
pub(in crate::directory) struct Row<'i> {
    pub(super) index: &'i Index,
    pub(super) number: u32,
    pub(super) record: record::Mailbox,
}

impl<'i> Row<'i> {
    pub(in crate::directory) fn kind(self) -> Kind {
        self.record.kind
    }

    /// As [`Entry::is_live`].
    pub(in crate::directory) fn is_live(self, on: Date) -> bool {
        self.record.status.is_live(self.record.status_date, on)
    }

    /// As [`Entry::is_gone_person`].
    pub(in crate::directory) fn is_gone_person(self, on: Date) -> bool {
        self.record.kind == Kind::Personal
            && self.record.status.is_gone(self.record.status_date, on)
    }

    /// Whether its address is at this domain.
    pub(in crate::directory) fn is_at(self, domain: &Domain) -> bool {
        matches!(self.host(), Some(Host::Domain(host)) if host == domain)
    }

    /// Its canonical address. `None` only if the octets are damaged.
    pub(in crate::directory) fn address(self) -> Option<Mailbox> {
        let name = name_at(self.index.section(Section::Names), self.record.name)?;
        let local = LocalPart::from_unquoted(name).ok()?;
        Some(Mailbox::new(local, self.host()?.clone()))
    }

    pub(in crate::directory) fn organisation(self) -> Option<OrganisationRow<'i>> {
        self.index.organisation_at(self.record.organisation?)
    }

    /// The code of its organisation.
    pub(in crate::directory) fn ods_code(self) -> Option<OdsCode> {
        Some(self.organisation()?.record.code)
    }

    /// Whether its readers may be sent patient data.
    pub(in crate::directory) fn accepts_patient_data(self) -> bool {
        self.record.accepts_patient_data
    }

    /// Whether nothing at all should be sent to it.
    pub(in crate::directory) fn do_not_send(self) -> bool {
        self.record.do_not_send
    }

    /// The line in `directory.csv`; blocks on the disk.
    pub(in crate::directory) fn line(self) -> usize {
        self.details().map_or(0, |octets| details::line(&octets))
    }

    /// Everything that is known of it; blocks on the disk. `None` only if the octets are damaged or
    /// cannot be read.
    pub(in crate::directory) fn entry(self) -> Option<Entry> {
        let record = self.record;
        let entry = Entry {
            address: self.address()?,
            kind: record.kind,
            organisation: self.organisation().and_then(OrganisationRow::described),
            status: record.status,
            status_date: record.status_date,
            accepts_patient_data: record.accepts_patient_data,
            do_not_send: record.do_not_send,
            // These are among the details.
            line: 0,
            display_name: String::new(),
            owner: String::new(),
            successor: None,
            last_verified: None,
            approved_links: None,
            linked: Vec::new(),
        };
        let owners = self.index.section(Section::Owners);
        details::read(&self.details()?, owners, entry)
    }

    pub(super) fn host(self) -> Option<&'i Host> {
        let host = self.index.hosts.get(self.record.host as usize)?;
        Some(&host.host)
    }

    fn details(self) -> Option<Cow<'i, [u8]>> {
        let section = &self.index.sections[Section::Details as usize];
        let next = self.index.row_at(self.number.checked_add(1)?);
        let end = next.map_or(section.len(), |next| next.record.details as usize);
        let start = section.start.checked_add(self.record.details as usize)?;
        let end = section.start.checked_add(end)?;
        self.index.octets.read(start..end)
    }
}

/// An organisation of an index.
#[derive(Clone, Copy)]
pub(in crate::directory) struct OrganisationRow<'i> {
    pub(super) index: &'i Index,
    pub(super) record: record::Organisation,
}

impl<'i> OrganisationRow<'i> {
    pub(in crate::directory) fn code(self) -> OdsCode {
        self.record.code
    }

    /// Its mailboxes in the order of the table, the personal ones after the others, or left out.
    pub(in crate::directory) fn mailboxes(
        self,
        personal: bool,
    ) -> impl Iterator<Item = Row<'i>> + use<'i> {
        let [first, first_personal, end] = self.record.members;
        let end = if personal { end } else { first_personal };
        let members = self.index.section(Section::Members);
        (first..end).map_while(move |at| self.index.row_at(nth_u32(members, at as usize)?))
    }

    /// The numbers of all its mailboxes.
    pub(super) fn members(self) -> impl Iterator<Item = u32> + use<'i> {
        let [first, _, end] = self.record.members;
        let members = self.index.section(Section::Members);
        (first..end).map_while(move |at| nth_u32(members, at as usize))
    }

    /// The organisations that bear its name, itself included.
    pub(in crate::directory) fn namesakes(self) -> impl Iterator<Item = Self> + use<'i> {
        let [first, end] = self.record.namesakes;
        let namesakes = self.index.section(Section::Namesakes);
        (first..end).map_while(move |at| {
            let index = nth_u32(namesakes, at as usize)?;
            self.index.organisation_at(index)
        })
    }

    /// The words by which an old name is recognised. `None` only if the octets are damaged.
    pub(in crate::directory) fn evidence(self) -> Option<Evidence<&'i str>> {
        let mut reader = self.description();
        for _ in 0..TEXTS {
            reader.skip()?;
        }
        let words = read_words(&mut reader)?;
        Some(Evidence { words })
    }

    /// As its rows describe it. `None` only if the octets are damaged.
    pub(super) fn described(self) -> Option<Arc<Organisation>> {
        let mut reader = self.description();
        Some(Arc::new(Organisation {
            code: self.record.code,
            name: reader.text()?.to_owned(),
            street: reader.text()?.to_owned(),
            town: reader.text()?.to_owned(),
            postcode: reader.text()?.to_owned(),
        }))
    }

    fn description(self) -> Reader<'i> {
        let descriptions = self.index.section(Section::Descriptions);
        Reader::at(descriptions, self.record.description)
    }
}

fn read_words<'i>(reader: &mut Reader<'i>) -> Option<Vec<Word<&'i str>>> {
    let count = reader.number()?;
    let mut words = Vec::with_capacity(count.min(64) as usize);
    for _ in 0..count {
        let text = reader.text()?;
        let bits = reader.number()?;
        words.push(Word {
            text,
            part: *Part::ALL.get((bits >> 1) as usize)?,
            speaks: bits & 1 == 1,
        });
    }
    Some(words)
}

/// How many texts a description begins with: name, street, town, postcode.
const TEXTS: usize = 4;
