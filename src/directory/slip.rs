//! Whether the code of an old name is a slip for another's.
//!
//! One character of a code off lands on another live pharmacy's all too often, and now and then a word
//! of the name agrees with that one by chance: both are in Luton. Then the rest of the name gives the
//! slip away, for it is the other's trading name. So where the pharmacy of the written code does not
//! account for all that the name says, the codes one slip away are looked at. If the name speaks of
//! one of those, and of more than the written one accounts for, nobody can say who was meant.

use std::borrow::Cow;

use crate::mail::{Domain, Mailbox};

use super::agreement::{Agreement, Letters, Part, labels_of};
use super::code::{OdsCode, PHARMACY_LENGTH};
use super::entry::Kind;
use super::index::Row;
use super::resolution::End;
use super::resolve::{Stop, Target, Walk, Wanted};
use super::suggest::CODE_CHARACTERS;

/// The code of an old name as it is written, and whose it is.
pub(super) struct Written<'w> {
    pub(super) code: OdsCode,
    pub(super) entry: Row<'w>,
    /// Of the rest of the name with the entry's organisation.
    pub(super) agreement: Agreement,
}

impl Written<'_> {
    /// Ambiguous if a pharmacy whose code is one slip away is likelier meant: with the mailbox of the
    /// written one first, and then those of the others that take mail.
    pub(super) fn or_a_slip(&self, walk: Walk<'_>, said: &str, domain: &Domain) -> Option<End> {
        let Agreement {
            name,
            town,
            explained,
            ..
        } = self.agreement;
        if explained && name && town {
            return None; // nothing is left that could speak of somebody else
        }
        let evidence = self.entry.organisation()?.evidence()?;
        if explained
            && labels_of(said)
                .iter()
                .any(|label| evidence.is_called(label))
        {
            return None; // nor here: what has no word that speaks is its name
        }
        let stop = &walk.directory.aliases.stop_words;
        // A street is often named like somebody's pharmacy elsewhere.
        let ours = evidence.letters(said, &[Part::Name, Part::Town], stop);
        let mut candidates = vec![leads_to(walk, &self.entry.address()?)?];
        let mut is_doubtful = false;
        for reading in Reading::all(said, self.code) {
            let labels = labels_of(&reading.said);
            for code in &reading.codes {
                if !self.says_less_than(*code, walk, &reading.said, &labels, &ours) {
                    continue;
                }
                let Some(others) = mailboxes(walk, *code, domain) else {
                    continue;
                };
                // With a successor in common it does not matter which of them was meant.
                is_doubtful |= !others.contains(&candidates[0]);
                for other in others {
                    if !candidates.contains(&other) {
                        candidates.push(other);
                    }
                }
            }
        }
        is_doubtful.then_some(End::Ambiguous(candidates))
    }

    /// Whether the name speaks of the organisation of `other`, and of more than ours accounts for. Where
    /// it speaks of our own by its name, the other has to account for all that ours does besides.
    fn says_less_than(
        &self,
        other: OdsCode,
        walk: Walk<'_>,
        said: &str,
        labels: &[String],
        ours: &Letters,
    ) -> bool {
        let organisation = walk.directory.index.organisation(other);
        let Some(evidence) = organisation.and_then(|organisation| organisation.evidence()) else {
            return false;
        };
        if !evidence.may_be_named_in(labels) {
            return false; // as nearly all: the rest is not worth its while
        }
        let agreement = walk.agreement(organisation, said);
        let theirs = evidence.letters(said, &Part::ALL, &walk.directory.aliases.stop_words);
        agreement.is_some_and(|agreement| agreement.name)
            && theirs.go_beyond(ours)
            && !(self.agreement.name && ours.go_beyond(&theirs))
    }
}

/// Where mail for a pharmacy's code goes: nowhere if it is shut; `None` if it has no mailbox.
fn mailboxes(walk: Walk<'_>, code: OdsCode, domain: &Domain) -> Option<Vec<Mailbox>> {
    match walk.target(code, Wanted::Kind(Kind::Pharmacy), domain) {
        Target::Live(entry) => Some(vec![entry.address()?]),
        Target::Several(all) => Some(all),
        Target::Shut(entry) => Some(leads_to(walk, &entry.address()?).into_iter().collect()),
        Target::Nothing => None,
    }
}

/// The mailbox that mail for a name is delivered to, if there is one.
fn leads_to(walk: Walk<'_>, name: &Mailbox) -> Option<Mailbox> {
    match walk.leads_to(name) {
        Stop::End(End::Mailbox(mailbox)) => Some(mailbox),
        _ => None,
    }
}

/// What may have been meant: the codes, and what the name says before them.
struct Reading<'n> {
    said: Cow<'n, str>,
    codes: Vec<OdsCode>,
}

impl<'n> Reading<'n> {
    /// What comes out as `said` and `written` by one slip: a character of the code other, two swapped,
    /// one too many or one too few. A code begins with F; so with one too many or too few an F of the
    /// name and one of the code have changed places with each other.
    fn all(said: &'n str, written: OdsCode) -> Vec<Self> {
        let Some(code) = written.as_str().as_bytes().first_chunk::<PHARMACY_LENGTH>() else {
            return Vec::new();
        };
        let mut readings = vec![Self::new(said.into(), other_or_swapped(code), written)];
        if let Some(before) = said.strip_suffix(['f', 'F']) {
            let longer = [b"F", code.as_slice()].concat();
            let codes = (0..longer.len()).filter_map(|at| {
                let mut shorter = longer.clone();
                shorter.remove(at);
                shorter.first_chunk().copied()
            });
            readings.push(Self::new(before.into(), codes, written));
        }
        if code[1] == b'F' {
            let codes = (1..PHARMACY_LENGTH).flat_map(|at| {
                CODE_CHARACTERS.bytes().map(move |octet| {
                    let mut longer = *code;
                    longer.copy_within(1..=at, 0);
                    longer[at] = octet;
                    longer
                })
            });
            readings.push(Self::new(format!("{said}f").into(), codes, written));
        }
        readings
    }

    fn new(
        said: Cow<'n, str>,
        codes: impl Iterator<Item = [u8; PHARMACY_LENGTH]>,
        written: OdsCode,
    ) -> Self {
        let mut codes: Vec<OdsCode> = codes
            .filter_map(|code| OdsCode::parse_pharmacy(std::str::from_utf8(&code).ok()?).ok())
            .filter(|code| *code != written)
            .collect();
        codes.sort_unstable();
        codes.dedup();
        Self { said, codes }
    }
}

/// The texts with one character other, or with two neighbours swapped; the first one stays an F.
fn other_or_swapped(code: &[u8; PHARMACY_LENGTH]) -> impl Iterator<Item = [u8; PHARMACY_LENGTH]> {
    let others = (1..PHARMACY_LENGTH).flat_map(move |at| {
        CODE_CHARACTERS.bytes().map(move |octet| {
            let mut other = *code;
            other[at] = octet;
            other
        })
    });
    let swapped = (2..PHARMACY_LENGTH).map(|at| {
        let mut swapped = *code;
        swapped.swap(at - 1, at);
        swapped
    });
    others.chain(swapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(said: &str, written: &str) -> Vec<String> {
        let readings = Reading::all(said, OdsCode::parse_pharmacy(written).unwrap());
        let each = readings.iter().flat_map(|reading| {
            let codes = reading.codes.iter();
            codes.map(|code| format!("{}|{code}", reading.said))
        });
        each.collect()
    }

    #[test]
    fn what_one_slip_makes_of_another_code_is_read_as_that_one_too() {
        for (said, written, reading) in [
            ("leeds.well", "FAQ59", "leeds.well|FAQ50"),
            ("leeds.well", "FAQ59", "leeds.well|F1Q59"), // no code: see below
            ("leeds.well", "FAQ59", "leeds.well|FQA59"),
            ("leeds.wellf", "FA159", "leeds.well|FFA59"),
            ("leeds.clif", "FFQ59", "leeds.cliff|FAQ59"),
            ("leeds.clif", "FFQ59", "leeds.cliff|FQ590"),
        ] {
            let is_there = meant(said, written).iter().any(|one| one == reading);
            assert_eq!(is_there, !reading.contains("F1"), "{reading}");
        }
        assert!(!meant("leeds.well", "FAQ59").contains(&"leeds.well|FAQ59".to_owned()));
        assert!(meant("leeds.well", "FAQ59").len() < 80);
    }
}
