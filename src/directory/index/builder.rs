//! Makes an index of a table, one row after the other.

use std::collections::{BTreeSet, HashMap};

use crate::directory::agreement::{Evidence, StopWords, Word, name_key};
use crate::directory::code::OdsCode;
use crate::directory::entry::{self, Entry, Right};
use crate::mail::{Host, Mailbox};

use super::layout::{self, Key, SECTIONS, Section, pack_date, push_number, push_text};
use super::record::{self, HOSTS_MAX, number_of};
use super::slots::{Slots, hash};
use super::words::Words;
use super::{name_at, reports};

/// An index as far as it has been made.
pub(in crate::directory) struct Builder<'b> {
    stop: &'b StopWords,
    sections: [Vec<u8>; SECTIONS],
    hosts: HashMap<Host, u32>,
    /// How many mailboxes a host has, and the first of them.
    host_counts: Vec<(u32, u32)>,
    mailboxes: Slots,
    count: u32,
    codes: HashMap<OdsCode, u32>,
    organisations: Vec<record::Organisation>,
    /// Of each organisation, its words.
    known: Vec<BTreeSet<u32>>,
    /// The organisations that bear a name.
    names: HashMap<String, Vec<u32>>,
    words: Words,
}

impl<'b> Builder<'b> {
    /// Begins an index; stop words prove nothing in a name.
    pub(in crate::directory) fn new(stop: &'b StopWords) -> Self {
        Self {
            stop,
            sections: Default::default(),
            hosts: HashMap::new(),
            host_counts: Vec::new(),
            mailboxes: Slots::with_capacity(0),
            count: 0,
            codes: HashMap::new(),
            organisations: Vec::new(),
            known: Vec::new(),
            names: HashMap::new(),
            words: Words::new(),
        }
    }

    /// Adds a mailbox. One that is there already comes back with the line that it is on.
    pub(in crate::directory) fn add(&mut self, entry: Entry) -> Result<(), (Mailbox, usize)> {
        let host = self.host(entry.address.host());
        let local = entry.address.local_part().as_str();
        let key = hash(local.as_bytes(), host);
        if let Some(twin) = self.find(key, local, host) {
            let line = self.line(twin);
            return Err((entry.address, line));
        }
        let index = self.count;
        let (names, entries) = (
            &self.sections[Section::Names as usize],
            &self.sections[Section::Entries as usize],
        );
        self.mailboxes
            .push(key, |index| hash_of(entries, names, index));
        self.count += 1;
        let organisation = entry.organisation.as_ref();
        let organisation = organisation.map(|organisation| self.organisation(organisation));
        self.add_words(index, &entry, organisation);
        let record = record::Mailbox {
            name: self.length(Section::Names),
            host,
            organisation,
            details: self.length(Section::Details),
            ..record::Mailbox::of(&entry)
        };
        record.push(self.section(Section::Entries));
        push_text(self.section(Section::Names), local);
        push_details(self.section(Section::Details), &entry);
        let (count, first) = &mut self.host_counts[host as usize];
        if *count == 0 {
            *first = index;
        }
        *count += 1;
        Ok(())
    }

    /// Puts the octets of the index together. `None` if the table is too large for one: texts of
    /// more than 4 GiB, or more than eight million hosts.
    pub(in crate::directory) fn finish(
        mut self,
        key: &Key,
        reports: &[reports::Report],
    ) -> Option<Vec<u8>> {
        self.group_members();
        self.group_namesakes();
        self.finish_hosts();
        self.finish_organisations();
        for report in reports {
            report.push(self.section(Section::Reports));
        }
        let (words, postings) = self.words.finish().ok()?;
        self.sections[Section::Words as usize] = words;
        self.sections[Section::Postings as usize] = postings;
        self.sections[Section::Slots as usize] = self.mailboxes.into_octets();
        let fits = |section: &Vec<u8>| u32::try_from(section.len()).is_ok();
        let small = self.sections.iter().all(fits) && self.hosts.len() <= HOSTS_MAX;
        small.then(|| layout::write(key, self.sections))
    }

    fn find(&self, key: u64, local: &str, host: u32) -> Option<u32> {
        let entries = &self.sections[Section::Entries as usize];
        let names = &self.sections[Section::Names as usize];
        self.mailboxes.find(key, |index| {
            record::Mailbox::read(entries, index).is_some_and(|record| {
                record.host == host && name_at(names, record.name) == Some(local)
            })
        })
    }

    /// The line of a mailbox that was added.
    fn line(&self, index: u32) -> usize {
        let entries = &self.sections[Section::Entries as usize];
        let details = &self.sections[Section::Details as usize];
        let record = record::Mailbox::read(entries, index);
        let line = record.and_then(|record| layout::Reader::at(details, record.details).number());
        line.unwrap_or(0) as usize
    }

    fn host(&mut self, host: &Host) -> u32 {
        if let Some(known) = self.hosts.get(host) {
            return *known;
        }
        let index = self.hosts.len() as u32;
        self.hosts.insert(host.clone(), index);
        self.host_counts.push((0, 0));
        index
    }

    fn organisation(&mut self, organisation: &entry::Organisation) -> u32 {
        if let Some(known) = self.codes.get(&organisation.code) {
            return *known;
        }
        let index = self.organisations.len() as u32;
        self.codes.insert(organisation.code, index);
        self.organisations.push(record::Organisation {
            code: organisation.code,
            description: self.length(Section::Descriptions),
            members: [0; 3],
            namesakes: [0; 2],
        });
        let stop = self.stop;
        push_description(self.section(Section::Descriptions), organisation, stop);
        let key = name_key(&organisation.name, self.stop);
        self.names.entry(key).or_default().push(index);
        let squeezed = organisation.postcode.replace(' ', "");
        let texts = [
            organisation.code.as_str(),
            &organisation.name,
            &organisation.street,
            &organisation.town,
            &organisation.postcode,
            &squeezed,
        ];
        self.known.push(self.words.add_organisation(index, &texts));
        index
    }

    fn add_words(&mut self, index: u32, entry: &Entry, organisation: Option<u32>) {
        let none = BTreeSet::new();
        let known = organisation.and_then(|index| self.known.get(index as usize));
        let texts = [
            entry.address.local_part().as_str(),
            entry.display_name.as_str(),
        ];
        self.words.add_mailbox(index, texts, known.unwrap_or(&none));
    }

    /// Puts the mailboxes of each organisation next to each other, in the order of the table; the
    /// personal ones after the others, for hardly anything asks for them.
    fn group_members(&mut self) {
        let entries = &self.sections[Section::Entries as usize];
        let records = || (0..self.count).filter_map(|index| record::Mailbox::read(entries, index));
        let personal = |record: &record::Mailbox| record.kind == entry::Kind::Personal;
        for record in records() {
            if let Some(organisation) = record.organisation {
                self.organisations[organisation as usize].members
                    [usize::from(personal(&record))] += 1;
            }
        }
        let mut at = 0;
        for organisation in &mut self.organisations {
            let [others, personal, _] = organisation.members;
            organisation.members = [at, at + others, at + others + personal];
            at += others + personal;
        }
        let firsts = self.organisations.iter();
        let mut next: Vec<[u32; 2]> = firsts
            .map(|organisation| [organisation.members[0], organisation.members[1]])
            .collect();
        let mut members = vec![0_u32; at as usize];
        for (index, record) in records().enumerate() {
            if let Some(organisation) = record.organisation {
                let next = &mut next[organisation as usize][usize::from(personal(&record))];
                members[*next as usize] = index as u32;
                *next += 1;
            }
        }
        self.sections[Section::Members as usize] = to_octets(&members);
    }

    fn group_namesakes(&mut self) {
        let mut namesakes = Vec::with_capacity(self.organisations.len());
        let mut names: Vec<_> = std::mem::take(&mut self.names).into_iter().collect();
        names.sort_unstable(); // the same table makes the same octets
        for (_, organisations) in names {
            let start = namesakes.len() as u32;
            let end = start + organisations.len() as u32;
            for index in &organisations {
                self.organisations[*index as usize].namesakes = [start, end];
            }
            namesakes.extend(organisations);
        }
        self.sections[Section::Namesakes as usize] = to_octets(&namesakes);
    }

    fn finish_hosts(&mut self) {
        let mut hosts: Vec<_> = std::mem::take(&mut self.hosts).into_iter().collect();
        hosts.sort_unstable_by_key(|(_, index)| *index);
        let section = &mut self.sections[Section::Hosts as usize];
        for ((host, _), (count, first)) in hosts.iter().zip(&self.host_counts) {
            push_number(section, *count);
            push_number(section, *first);
            push_text(section, &host.to_string());
        }
    }

    fn finish_organisations(&mut self) {
        let code = |index: u32| self.organisations[index as usize].code;
        let hash_of = |index: u32| hash(code(index).as_str().as_bytes(), 0);
        let mut slots = Slots::with_capacity(self.organisations.len());
        let section = &mut self.sections[Section::Organisations as usize];
        for (index, organisation) in self.organisations.iter().enumerate() {
            organisation.push(section);
            slots.push(hash_of(index as u32), hash_of);
        }
        self.sections[Section::Codes as usize] = slots.into_octets();
    }

    fn section(&mut self, section: Section) -> &mut Vec<u8> {
        &mut self.sections[section as usize]
    }

    /// Where the next piece of a section will be; what does not fit is refused in the end.
    fn length(&self, section: Section) -> u32 {
        self.sections[section as usize].len() as u32
    }
}

fn hash_of(entries: &[u8], names: &[u8], index: u32) -> u64 {
    let record = record::Mailbox::read(entries, index);
    record.map_or(0, |record| {
        let name = name_at(names, record.name).unwrap_or_default();
        hash(name.as_bytes(), record.host)
    })
}

/// Writes what [`super::row::Row::entry`] reads.
fn push_details(octets: &mut Vec<u8>, entry: &Entry) {
    push_number(octets, u32::try_from(entry.line).unwrap_or(u32::MAX));
    push_text(octets, &entry.display_name);
    push_text(octets, &entry.owner);
    push_text(octets, entry.successor.as_ref().map_or("", OdsCode::as_str));
    push_number(octets, pack_date(entry.last_verified));
    push_number(octets, u32::from(entry.approved_links.is_some()));
    push_number(octets, entry.approved_links.unwrap_or(0));
    push_number(octets, entry.linked.len() as u32);
    for link in &entry.linked {
        push_text(octets, &link.account.to_string());
        push_number(octets, number_of(Right::WORDS, link.right));
    }
}

/// Writes what [`super::row::OrganisationRow`] reads.
fn push_description(octets: &mut Vec<u8>, organisation: &entry::Organisation, stop: &StopWords) {
    let entry::Organisation {
        name, street, town, ..
    } = organisation;
    for text in [name, street, town, &organisation.postcode] {
        push_text(octets, text);
    }
    let evidence = Evidence::new(name, street, town, stop);
    for words in [evidence.name, evidence.street, evidence.town] {
        push_number(octets, words.len() as u32);
        for Word { text, speaks } in words {
            push_text(octets, &text);
            push_number(octets, u32::from(speaks));
        }
    }
}

fn to_octets(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}
