//! Whether everything in an index leads to something. Done once, when it is opened.

use super::layout::Section;
use super::numbers::nth_u32;
use super::{Index, Report, name_at, record, slots};

/// Walks through all records; the details and the postings are not touched.
pub(super) fn is_whole(index: &Index) -> bool {
    let sizes = are_records(index, Section::Entries, record::Mailbox::LENGTH)
        && are_records(index, Section::Organisations, record::Organisation::LENGTH)
        && are_records(index, Section::Members, 4)
        && are_records(index, Section::Namesakes, 4);
    sizes
        && mailboxes_lead_somewhere(index)
        && organisations_lead_somewhere(index)
        && slots_lead_somewhere(index)
        && words_are_whole(index)
        && Report::read_all(index.section(Section::Reports)).is_some()
}

fn are_records(index: &Index, section: Section, length: usize) -> bool {
    index.section(section).len().is_multiple_of(length)
}

fn mailboxes_lead_somewhere(index: &Index) -> bool {
    let names = index.section(Section::Names);
    let details = index.sections[Section::Details as usize].len();
    // Each mailbox's details end where those of the next begin.
    let mut before = 0;
    let organisations = count(index, Section::Organisations, record::Organisation::LENGTH);
    let hosts = index.hosts.iter().all(|host| host.first < index.count);
    hosts
        && (0..index.count).all(|number| {
            index.row_at(number).is_some_and(|row| {
                (row.record.host as usize) < index.hosts.len()
                    && (row.record.details as usize) < details
                    && std::mem::replace(&mut before, row.record.details) <= row.record.details
                    && row.record.organisation.is_none_or(|at| at < organisations)
                    && name_at(names, row.record.name).is_some()
            })
        })
}

fn organisations_lead_somewhere(index: &Index) -> bool {
    let organisations = count(index, Section::Organisations, record::Organisation::LENGTH);
    let members = count(index, Section::Members, 4);
    let namesakes = count(index, Section::Namesakes, 4);
    let all = (0..organisations).all(|number| {
        index.organisation_at(number).is_some_and(|organisation| {
            let [first, personal, end] = organisation.record.members;
            let [from, to] = organisation.record.namesakes;
            first <= personal
                && personal <= end
                && end <= members
                && from <= to
                && to <= namesakes
                && organisation.evidence().is_some()
        })
    });
    all && is_below(index, Section::Members, index.count)
        && is_below(index, Section::Namesakes, organisations)
}

fn slots_lead_somewhere(index: &Index) -> bool {
    let (slots, codes) = (index.section(Section::Slots), index.section(Section::Codes));
    let organisations = count(index, Section::Organisations, record::Organisation::LENGTH);
    slots::are_below(slots, index.count) && slots::are_below(codes, organisations)
}

fn words_are_whole(index: &Index) -> bool {
    // An `fst` that is damaged panics where it is read; it has a checksum of its own.
    let words = fst::raw::Fst::new(index.section(Section::Words));
    words.is_ok_and(|words| words.verify().is_ok())
}

fn count(index: &Index, section: Section, length: usize) -> u32 {
    u32::try_from(index.section(section).len() / length).unwrap_or(u32::MAX)
}

fn is_below(index: &Index, section: Section, end: u32) -> bool {
    let octets = index.section(section);
    (0..octets.len() / 4).all(|at| nth_u32(octets, at).is_some_and(|number| number < end))
}
