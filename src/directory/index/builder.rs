//! Makes an index of a table, one row after the other.

use std::collections::HashMap;
use std::sync::Arc;

use crate::directory::agreement::StopWords;
use crate::directory::code::OdsCode;
use crate::directory::entry::{self, Entry};
use crate::mail::{Host, Mailbox};

use super::layout::{Key, Made, SECTIONS, Section};
use super::numbers::{push_number, push_text};
use super::record::{self, HOSTS_MAX};
use super::slots::{QuickMap, Slots, hash};
use super::words::Words;
use super::{details, finish, name_at, reports};

/// An index as far as it has been made.
pub(in crate::directory) struct Builder<'b> {
    stop: &'b StopWords,
    sections: [Vec<u8>; SECTIONS],
    hosts: QuickMap<Host, u32>,
    /// How many mailboxes a host has, and the first of them.
    host_counts: Vec<(u32, u32)>,
    mailboxes: Slots,
    count: u32,
    /// Where each owner stands.
    owners: HashMap<String, u32>,
    /// The one of the row before, which is often this row's as well.
    owner: (String, u32),
    codes: QuickMap<OdsCode, u32>,
    organisations: Vec<Arc<entry::Organisation>>,
    /// Of each organisation, its words, once a row has described it.
    known: Vec<Vec<u32>>,
    words: Words,
}

impl<'b> Builder<'b> {
    /// Begins an index of about so many rows; stop words prove nothing in a name.
    pub(in crate::directory) fn new(stop: &'b StopWords, rows: usize) -> Self {
        Self {
            stop,
            sections: Default::default(),
            hosts: QuickMap::default(),
            host_counts: Vec::new(),
            mailboxes: Slots::with_capacity(rows),
            count: 0,
            owners: HashMap::new(),
            owner: (String::new(), 0),
            codes: QuickMap::default(),
            organisations: Vec::new(),
            known: Vec::new(),
            words: Words::new(),
        }
    }

    /// Adds a mailbox. One that is there already comes back with the line that it is on.
    pub(in crate::directory) fn add(&mut self, entry: &Entry) -> Result<(), (Mailbox, usize)> {
        let host = self.host(entry.address.host());
        let local = entry.address.local_part().as_str();
        let key = hash(local.as_bytes(), host);
        if let Some(twin) = self.find(key, local, host) {
            let line = self.line(twin);
            return Err((entry.address.clone(), line));
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
        self.add_words(index, entry, organisation);
        let record = record::Mailbox {
            name: self.length(Section::Names),
            host,
            organisation,
            details: self.length(Section::Details),
            ..record::Mailbox::of(entry)
        };
        record.push(self.section(Section::Entries));
        push_text(self.section(Section::Names), local);
        let owner = self.owner(&entry.owner);
        let at = organisation.map(|number| number as usize);
        let name = at.and_then(|at| self.organisations.get(at));
        let name = name.map_or("", |organisation| &organisation.name);
        let section = &mut self.sections[Section::Details as usize];
        details::push(section, entry, owner, name);
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
    ) -> Option<Made> {
        for (organisation, index) in self.organisations.iter().zip(0..) {
            let words = finish::words_of(&mut self.words, organisation);
            self.words.add_organisation(index, &words);
        }
        let words = std::mem::replace(&mut self.words, Words::new());
        let words = std::thread::scope(|scope| {
            let words = scope.spawn(|| words.finish());
            finish::organisations(&mut self.sections, &self.organisations, self.stop);
            self.finish_hosts();
            words.join()
        });
        let words = words.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (words, postings) = words.ok()?;
        self.sections[Section::Words as usize] = words;
        self.sections[Section::Postings as usize] = postings;
        for report in reports {
            report.push(self.section(Section::Reports));
        }
        self.sections[Section::Slots as usize] = self.mailboxes.into_octets();
        let fits = |section: &Vec<u8>| u32::try_from(section.len()).is_ok();
        let small = self.sections.iter().all(fits) && self.hosts.len() <= HOSTS_MAX;
        small.then(|| Made::new(key, self.sections))
    }

    fn finish_hosts(&mut self) {
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        hosts.sort_unstable_by_key(|(_, index)| **index);
        let section = &mut self.sections[Section::Hosts as usize];
        for ((host, _), (count, first)) in hosts.iter().zip(&self.host_counts) {
            push_number(section, *count);
            push_number(section, *first);
            push_text(section, &host.to_string());
        }
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
        let all = &self.sections[Section::Details as usize];
        let record = record::Mailbox::read(entries, index);
        let octets = record.and_then(|record| all.get(record.details as usize..));
        octets.map_or(0, details::line)
    }

    /// Where an owner stands in `Owners`.
    fn owner(&mut self, owner: &str) -> u32 {
        if self.owner.0 == owner && !self.sections[Section::Owners as usize].is_empty() {
            return self.owner.1;
        }
        let section = &mut self.sections[Section::Owners as usize];
        let at = self.owners.entry(owner.to_owned()).or_insert_with(|| {
            let at = section.len() as u32; // what does not fit is refused in the end
            push_text(section, owner);
            at
        });
        self.owner = (owner.to_owned(), *at);
        *at
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

    /// The number of an organisation. The first description that has a name is the one that stays.
    fn organisation(&mut self, organisation: &Arc<entry::Organisation>) -> u32 {
        let next = self.organisations.len() as u32;
        let index = *self.codes.entry(organisation.code).or_insert(next);
        match self.organisations.get_mut(index as usize) {
            None => {
                self.organisations.push(Arc::clone(organisation));
                let words = finish::words_of(&mut self.words, organisation);
                self.known.push(words);
            }
            Some(known) if known.name.is_empty() && !organisation.name.is_empty() => {
                *known = Arc::clone(organisation);
                self.known[index as usize] = finish::words_of(&mut self.words, organisation);
            }
            Some(_) => {}
        }
        index
    }

    /// Notes the words of a mailbox but for those that its organisation has, as far as that is
    /// described: a word that both have is found all the same.
    fn add_words(&mut self, index: u32, entry: &Entry, organisation: Option<u32>) {
        let at = organisation.map(|index| index as usize);
        let name = at.and_then(|at| self.organisations.get(at));
        let name = name.map_or("", |organisation| &organisation.name);
        let around = details::around(&entry.display_name, name);
        let (before, after) = around.unwrap_or((&entry.display_name, ""));
        let texts = [entry.address.local_part().as_str(), before, after];
        let known = at.and_then(|at| self.known.get(at));
        let known = known.map_or(&[][..], Vec::as_slice);
        self.words.add_mailbox(index, texts, known);
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
