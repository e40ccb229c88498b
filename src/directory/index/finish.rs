//! What an index says of organisations: made when all rows are there.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::Date;

use crate::directory::agreement::{Evidence, StopWords, Word, name_key};
use crate::directory::entry::{self, Kind};

use super::layout::{SECTIONS, Section};
use super::numbers::{push_number, push_text};
use super::record;
use super::slots::{Slots, hash};
use super::words::Words;

type Sections = [Vec<u8>; SECTIONS];

/// The words by which an organisation is found.
pub(super) fn words_of(words: &mut Words, organisation: &entry::Organisation) -> Vec<u32> {
    let squeezed = organisation.postcode.replace(' ', "");
    words.of(&[
        organisation.code.as_str(),
        &organisation.name,
        &organisation.street,
        &organisation.town,
        &organisation.postcode,
        &squeezed,
    ])
}

/// Writes the organisations, their mailboxes, their namesakes, and where each code is.
pub(super) fn organisations(
    sections: &mut Sections,
    organisations: &[Arc<entry::Organisation>],
    stop: &StopWords,
) {
    let mut records = describe(sections, organisations, stop);
    group_members(sections, &mut records);
    group_namesakes(sections, &mut records, organisations, stop);
    let hash_of = |index: u32| hash(records[index as usize].code.as_str().as_bytes(), 0);
    let mut slots = Slots::with_capacity(records.len());
    let section = &mut sections[Section::Organisations as usize];
    for (organisation, index) in records.iter().zip(0..) {
        organisation.push(section);
        slots.push(hash_of(index), hash_of);
    }
    sections[Section::Codes as usize] = slots.into_octets();
}

fn describe(
    sections: &mut Sections,
    organisations: &[Arc<entry::Organisation>],
    stop: &StopWords,
) -> Vec<record::Organisation> {
    let section = &mut sections[Section::Descriptions as usize];
    let each = organisations.iter().map(|organisation| {
        let description = section.len() as u32; // what does not fit is refused in the end
        push_description(section, organisation, stop);
        record::Organisation {
            code: organisation.code,
            description,
            members: [0; 3],
            namesakes: [0; 2],
        }
    });
    each.collect()
}

/// Puts the mailboxes of each organisation next to each other, in the order of the table; the
/// personal ones after the others, for hardly anything asks for them.
fn group_members(sections: &mut Sections, organisations: &mut [record::Organisation]) {
    let personal = |record: &record::Mailbox| usize::from(record.kind == Kind::Personal);
    for record in mailboxes(sections) {
        if let Some(organisation) = record.organisation {
            organisations[organisation as usize].members[personal(&record)] += 1;
        }
    }
    let mut at = 0;
    for organisation in organisations.iter_mut() {
        let [others, personal, _] = organisation.members;
        organisation.members = [at, at + others, at + others + personal];
        at += others + personal;
    }
    let firsts = organisations.iter();
    let mut next: Vec<[u32; 2]> = firsts
        .map(|organisation| [organisation.members[0], organisation.members[1]])
        .collect();
    let mut members = vec![0_u32; at as usize];
    for (record, index) in mailboxes(sections).zip(0..) {
        if let Some(organisation) = record.organisation {
            let next = &mut next[organisation as usize][personal(&record)];
            members[*next as usize] = index;
            *next += 1;
        }
    }
    sections[Section::Members as usize] = to_octets(&members);
}

/// Puts those that bear the same name next to each other, the open ones before the others: whether several open
/// ones bear it is asked of every old name, and of a chain there are hundreds that are shut.
fn group_namesakes(
    sections: &mut Sections,
    records: &mut [record::Organisation],
    organisations: &[Arc<entry::Organisation>],
    stop: &StopWords,
) {
    let mut names: HashMap<String, Vec<u32>> = HashMap::new();
    for (organisation, index) in organisations.iter().zip(0..) {
        let key = name_key(&organisation.name, stop);
        names.entry(key).or_default().push(index);
    }
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_unstable(); // the same table makes the same octets
    let is_open = open_ones(sections, organisations.len());
    let mut namesakes = Vec::with_capacity(records.len());
    for (_, mut organisations) in names {
        organisations.sort_by_key(|index| !is_open[*index as usize]);
        let start = namesakes.len() as u32;
        let end = start + organisations.len() as u32;
        for index in &organisations {
            records[*index as usize].namesakes = [start, end];
        }
        namesakes.extend(organisations);
    }
    sections[Section::Namesakes as usize] = to_octets(&namesakes);
}

/// Which organisations have a mailbox that is live as far as anybody knows: on some day it may be otherwise.
fn open_ones(sections: &Sections, organisations: usize) -> Vec<bool> {
    let mut is_open = vec![false; organisations];
    for record in mailboxes(sections) {
        if let Some(organisation) = record.organisation {
            let is_live = record.status.is_live(record.status_date, Date::MAX);
            is_open[organisation as usize] |= is_live;
        }
    }
    is_open
}

fn mailboxes(sections: &Sections) -> impl Iterator<Item = record::Mailbox> {
    let entries = &sections[Section::Entries as usize];
    (0..).map_while(|index| record::Mailbox::read(entries, index))
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
    push_number(octets, evidence.words.len() as u32);
    for Word { text, part, speaks } in evidence.words {
        push_text(octets, &text);
        push_number(octets, (part as u32) << 1 | u32::from(speaks));
    }
}

fn to_octets(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}
