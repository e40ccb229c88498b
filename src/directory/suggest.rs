//! The one name that a sender may have meant.
//!
//! A suggestion is words in a reply, never a redirect, and it gives away no person: only live
//! mailboxes of organisations are suggested, and only if there is exactly one.

use crate::mail::{Domain, Host, LocalPart, Mailbox};

use super::code::OdsCode;
use super::entry::Kind;
use super::index::Row;
use super::resolve::{Walk, Wanted};

/// The pharmacy whose code is one slip away from `tail`, and of which the rest of the name speaks.
pub(super) fn near_code(
    walk: Walk<'_>,
    said: &str,
    tail: &str,
    domain: &Domain,
) -> Option<Mailbox> {
    let near = slips(tail, CODE_CHARACTERS)
        .filter(|slip| slip.len() == tail.len())
        .filter_map(|slip| OdsCode::parse_pharmacy(&slip).ok())
        .filter_map(|code| walk.only_live(code, Kind::Pharmacy, domain))
        .filter(|mailbox| {
            let entry = walk.directory.entry_of(mailbox);
            let organisation = entry.and_then(Row::organisation);
            walk.agreement(organisation, said).is_some()
        });
    only(near)
}

/// The organisation's mailbox whose name is one slip away.
pub(super) fn near_name(walk: Walk<'_>, name: &Mailbox, domain: &Domain) -> Option<Mailbox> {
    let host = Host::Domain(domain.clone());
    let near = slips(name.local_part().as_str(), NAME_CHARACTERS)
        .filter_map(|slip| LocalPart::parse(&slip).ok())
        .map(|local| Mailbox::new(local, host.clone()))
        .filter(|mailbox| {
            let entry = walk.directory.entry_of(mailbox);
            entry.is_some_and(|entry| entry.kind().is_organisation() && entry.is_live(walk.on))
        });
    only(near)
}

/// The one shared mailbox of the organisation of `name` that takes mail, where `name` does not.
pub(super) fn instead_of(walk: Walk<'_>, name: &Mailbox) -> Option<Mailbox> {
    let entry = walk.directory.entry_of(name)?;
    if entry.kind() == Kind::Personal {
        return None;
    }
    let others = walk.live(entry.ods_code()?, Wanted::Shared, name.domain()?);
    only(
        others
            .filter(|other| !other.do_not_send())
            .filter_map(Row::address),
    )
}

/// The texts that one slip makes of an ASCII text: a character more, less or other, two swapped.
fn slips<'t>(text: &'t str, characters: &'static str) -> impl Iterator<Item = String> + 't {
    // A longer name is nobody's, and trying all its slips would be work for nothing.
    let text = if text.is_ascii() && text.len() <= 64 {
        text
    } else {
        ""
    };
    let splits = (0..=text.len()).map(move |at| text.split_at(at));
    splits
        .filter(|_| !text.is_empty())
        .flat_map(move |(before, after)| {
            let rest = after.get(1..);
            let shorter = rest.map(|rest| format!("{before}{rest}"));
            let swapped = rest.filter(|rest| !rest.is_empty()).map(|rest| {
                let (first, second) = (&after[..1], &rest[..1]);
                format!("{before}{second}{first}{}", &rest[1..])
            });
            let other = characters
                .chars()
                .filter_map(move |c| rest.map(|rest| format!("{before}{c}{rest}")));
            let longer = characters
                .chars()
                .map(move |c| format!("{before}{c}{after}"));
            shorter
                .into_iter()
                .chain(swapped)
                .chain(other)
                .chain(longer)
        })
}

/// The one mailbox that comes, once or more; none if there are two.
fn only(mut mailboxes: impl Iterator<Item = Mailbox>) -> Option<Mailbox> {
    let first = mailboxes.next()?;
    mailboxes.all(|mailbox| mailbox == first).then_some(first)
}

/// What a code is made of.
pub(super) const CODE_CHARACTERS: &str = "0123456789acdefghjklmnpqrtvwxy";
/// What a name is made of.
const NAME_CHARACTERS: &str = "0123456789abcdefghijklmnopqrstuvwxyz.-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_one_character_more_less_or_other_or_two_swapped() {
        let all: Vec<String> = slips("abc", "x").collect();
        for slip in [
            "bc", "ac", "ab", "bac", "acb", "xbc", "axc", "abx", "xabc", "abcx",
        ] {
            assert!(all.iter().any(|text| text == slip), "{slip}");
        }
        assert!(slips("", "x").next().is_none() && slips("\u{e9}", "x").next().is_none());
    }
}
