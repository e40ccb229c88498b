//! What an index knows of a mailbox beyond its record: for people who ask, not for mail.

use crate::directory::code::OdsCode;
use crate::directory::entry::{Entry, Link, Right};

use super::numbers::{Reader, pack_date, push_number, push_text, unpack_date};
use super::record::number_of;

/// Writes what [`read`] reads. `owner` is where the owner stands in `Owners`; `organisation` is the
/// name that the mailbox's organisation will have, empty if that is not known yet.
pub(super) fn push(octets: &mut Vec<u8>, entry: &Entry, owner: u32, organisation: &str) {
    push_number(octets, u32::try_from(entry.line).unwrap_or(u32::MAX));
    let around = around(&entry.display_name, organisation);
    let (before, after) = around.unwrap_or((&entry.display_name, ""));
    push_text(octets, before);
    push_text(octets, after);
    push_number(octets, u32::from(around.is_some()));
    push_number(octets, owner);
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

/// Puts the details into an entry that has everything else. `None` if the octets are damaged.
pub(super) fn read(octets: &[u8], owners: &[u8], mut entry: Entry) -> Option<Entry> {
    let mut details = Reader::at(octets, 0);
    entry.line = details.number()? as usize;
    let (before, after) = (details.text()?, details.text()?);
    entry.display_name = if details.number()? == 1 {
        let organisation = entry.organisation.as_ref()?;
        format!("{before}({}{after}", organisation.name)
    } else {
        before.to_owned()
    };
    entry.owner = Reader::at(owners, details.number()?).text()?.to_owned();
    entry.successor = OdsCode::parse(details.text()?).ok();
    entry.last_verified = unpack_date(details.number()?);
    let is_approved = details.number()? == 1;
    entry.approved_links = Some(details.number()?).filter(|_| is_approved);
    entry.linked = read_links(&mut details)?;
    Some(entry)
}

/// The line in `directory.csv`, which comes first.
pub(super) fn line(octets: &[u8]) -> usize {
    Reader::at(octets, 0).number().unwrap_or(0) as usize
}

/// What stands before and after `(` and `organisation` in a display name, if that has it, as names of
/// the NHS do: it is the organisation's and need not be kept or looked at again.
pub(super) fn around<'t>(text: &'t str, organisation: &str) -> Option<(&'t str, &'t str)> {
    let (before, rest) = text.split_once('(')?;
    let after = rest.strip_prefix(organisation)?;
    (!organisation.is_empty() && after.starts_with([')', ','])).then_some((before, after))
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
