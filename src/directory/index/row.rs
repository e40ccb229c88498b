//! Looks at one mailbox or organisation of an index. What is not there, since the octets are
//! damaged, is read as nothing: opening an index has made sure that everything is there.

use std::sync::Arc;

use jiff::civil::Date;

use crate::directory::agreement::{Evidence, Part, Word};
use crate::directory::code::OdsCode;
use crate::directory::entry::{Entry, Kind, Link, Organisation, Right};
use crate::mail::{Domain, Host, LocalPart, Mailbox};

use super::layout::{Reader, Section, nth_u32, unpack_date};
use super::{Index, name_at, record};

/// A mailbox of an index.
#[derive(Clone, Copy)]
pub(in crate::directory) struct Row<'i> {
    pub(super) index: &'i Index,
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

    /// The line in `directory.csv`.
    pub(in crate::directory) fn line(self) -> usize {
        self.details().number().unwrap_or(0) as usize
    }

    /// Everything that is known of it. `None` only if the octets are damaged.
    pub(in crate::directory) fn entry(self) -> Option<Entry> {
        let record = self.record;
        let mut details = self.details();
        Some(Entry {
            address: self.address()?,
            kind: record.kind,
            organisation: self.organisation().and_then(OrganisationRow::described),
            status: record.status,
            status_date: record.status_date,
            accepts_patient_data: record.accepts_patient_data,
            do_not_send: record.do_not_send,
            // From here on in the order in which they were written.
            line: details.number()? as usize,
            display_name: details.text()?.to_owned(),
            owner: details.text()?.to_owned(),
            successor: OdsCode::parse(details.text()?).ok(),
            last_verified: unpack_date(details.number()?),
            approved_links: {
                let some = details.number()? == 1;
                Some(details.number()?).filter(|_| some)
            },
            linked: read_links(&mut details)?,
        })
    }

    pub(super) fn host(self) -> Option<&'i Host> {
        let host = self.index.hosts.get(self.record.host as usize)?;
        Some(&host.host)
    }

    fn details(self) -> Reader<'i> {
        Reader::at(self.index.section(Section::Details), self.record.details)
    }
}

fn read_links(details: &mut Reader<'_>) -> Option<Vec<Link>> {
    let count = details.number()?;
    (0..count)
        .map(|_| {
            let account = details.text()?.parse().ok()?;
            let right = Right::WORDS.get(details.number()? as usize)?.1;
            Some(Link { account, right })
        })
        .collect()
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
            reader.text()?;
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
