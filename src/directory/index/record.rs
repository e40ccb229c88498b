//! The records of fixed length: what a look-up needs, and nothing else.

use jiff::civil::Date;

use crate::directory::code::OdsCode;
use crate::directory::entry::{Entry, Kind, Status};

use super::numbers::{pack_date, push_record, record_at, unpack_date};

/// A mailbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mailbox {
    /// Where its local part is.
    pub(super) name: u32,
    /// Which of the hosts it is at.
    pub(super) host: u32,
    pub(super) kind: Kind,
    pub(super) status: Status,
    pub(super) accepts_patient_data: bool,
    pub(super) do_not_send: bool,
    pub(super) status_date: Option<Date>,
    /// Which of the organisations it belongs to.
    pub(super) organisation: Option<u32>,
    /// Where the rest is.
    pub(super) details: u32,
}

impl Mailbox {
    /// The record of an entry whose texts stand elsewhere.
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            name: 0,
            host: 0,
            kind: entry.kind,
            status: entry.status,
            accepts_patient_data: entry.accepts_patient_data,
            do_not_send: entry.do_not_send,
            status_date: entry.status_date,
            organisation: None,
            details: 0,
        }
    }

    /// Reads record `index`.
    pub(super) fn read(octets: &[u8], index: u32) -> Option<Self> {
        let [name, place, date, organisation, details] = record_at(octets, index)?;
        Some(Self {
            name,
            host: place >> FLAGS,
            kind: Kind::WORDS.get((place & 0xf) as usize)?.1,
            status: Status::WORDS.get((place >> 4 & 0x7) as usize)?.1,
            accepts_patient_data: place >> 7 & 1 == 1,
            do_not_send: place >> 8 & 1 == 1,
            status_date: unpack_date(date),
            organisation: organisation.checked_sub(1),
            details,
        })
    }

    /// Writes it at the end.
    pub(super) fn push(&self, octets: &mut Vec<u8>) {
        let place = self.host << FLAGS
            | number_of(Kind::WORDS, self.kind)
            | number_of(Status::WORDS, self.status) << 4
            | u32::from(self.accepts_patient_data) << 7
            | u32::from(self.do_not_send) << 8;
        let organisation = self.organisation.map_or(0, |index| index + 1);
        let date = pack_date(self.status_date);
        push_record(octets, [self.name, place, date, organisation, self.details]);
    }

    /// How many octets it has.
    pub(super) const LENGTH: usize = 20;
}

/// An organisation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Organisation {
    pub(super) code: OdsCode,
    /// Where its description is.
    pub(super) description: u32,
    /// Its mailboxes in `Members`: from the first to the first personal one to the end.
    pub(super) members: [u32; 3],
    /// Those that bear its name, itself included, in `Namesakes`.
    pub(super) namesakes: [u32; 2],
}

impl Organisation {
    /// Reads record `index`.
    pub(super) fn read(octets: &[u8], index: u32) -> Option<Self> {
        let [a, b, c, description, first, personal, end, from, to] = record_at(octets, index)?;
        let mut code = [0; 12];
        for (to, from) in code.chunks_exact_mut(4).zip([a, b, c]) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        let length = code.iter().position(|octet| *octet == 0)?;
        Some(Self {
            code: OdsCode::parse(std::str::from_utf8(&code[..length]).ok()?).ok()?,
            description,
            members: [first, personal, end],
            namesakes: [from, to],
        })
    }

    /// Writes it at the end.
    pub(super) fn push(&self, octets: &mut Vec<u8>) {
        let mut code = [0; 12];
        let text = self.code.as_str().as_bytes();
        code[..text.len()].copy_from_slice(text);
        octets.extend(code);
        let [first, personal, end] = self.members;
        let [from, to] = self.namesakes;
        push_record(octets, [self.description, first, personal, end, from, to]);
    }

    /// How many octets it has.
    pub(super) const LENGTH: usize = 36;
}

/// Which of the words it is.
pub(super) fn number_of<T: PartialEq>(words: &[(&str, T)], wanted: T) -> u32 {
    let index = words.iter().position(|(_, value)| *value == wanted);
    // Every value has its word; there are 16 at most.
    index.map_or(0, |index| index as u32)
}

/// How many bits kind, status and switches take; the host has the others.
const FLAGS: u32 = 9;
/// The most hosts that fit.
pub(super) const HOSTS_MAX: usize = 1 << (32 - FLAGS);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_and_status_has_a_number_that_fits() {
        assert!(Kind::WORDS.len() <= 16 && Status::WORDS.len() <= 8);
    }

    proptest! {
        #[test]
        fn records_are_read_as_they_were_written(
            kind in 0..Kind::WORDS.len(), status in 0..Status::WORDS.len(), numbers: [u32; 5],
            accepts_patient_data: bool, do_not_send: bool, code in "[0-9A-Z]{1,9}",
        ) {
            let mailbox = Mailbox {
                name: numbers[0],
                host: numbers[1] >> FLAGS,
                kind: Kind::WORDS[kind].1,
                status: Status::WORDS[status].1,
                accepts_patient_data,
                do_not_send,
                status_date: unpack_date(numbers[2]),
                organisation: numbers[3].checked_sub(1),
                details: numbers[4],
            };
            let organisation = Organisation {
                code: code.parse().unwrap(),
                description: numbers[0],
                members: [numbers[1], numbers[2], numbers[3]],
                namesakes: [numbers[3], numbers[4]],
            };
            let (mut mailboxes, mut organisations) = (vec![0; Mailbox::LENGTH], vec![0; Organisation::LENGTH]);
            mailbox.push(&mut mailboxes);
            organisation.push(&mut organisations);
            prop_assert_eq!(Mailbox::read(&mailboxes, 1), Some(mailbox));
            prop_assert_eq!(Organisation::read(&organisations, 1), Some(organisation));
            prop_assert_eq!(Mailbox::read(&mailboxes, 2), None);
        }
    }
}
