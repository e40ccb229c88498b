//! New codes, new owners and consolidations: changes of all mailboxes of an organisation.
//!
//! The old mailboxes are shut from the day on, and a successor that somebody has confirmed leads on
//! from them. A new owner's mailbox is a new one: nobody is linked to it and nobody has verified it.

use crate::directory::cells::Wrong;
use crate::directory::{Entry, Kind, OdsCode, Status};

use super::changes::{Change, Outcome, What, in_use, shut};
use super::draft::Draft;
use super::people::is_made;
use super::sheet::Cells;

/// An organisation has another code, with the same owner or another one.
pub(super) fn recode(change: &Change, draft: &mut Draft) -> Result<Outcome, Wrong> {
    let (from, to) = codes(change)?;
    let redirect = change.redirect(from.as_str(), to.as_str(), "successor");
    if is_made(&redirect, draft) {
        return Ok(Outcome::Known);
    }
    let rows = rows_in_use(from, change, draft)?;
    let mut new = Vec::new();
    let mut old = Vec::new();
    for (cells, entry) in &rows {
        match moved(cells, entry, change, (from, to)) {
            // A name without the code stays what it is; a person, unless the owner is another.
            None if change.what == What::Code && change.has_come(draft) => {
                new.push(cells.with(&[("ods_code", to.as_str())]));
            }
            None => {}
            Some(cells_to) => {
                let cells_to = beside(cells_to, draft);
                let there = draft.entry(&cells_to)?;
                if !in_use(&there, change.date) {
                    let reason = format!("{} is there, and not in use on that day", there.address);
                    return Err(Wrong::at("to", reason));
                }
                new.push(cells_to);
                old.push(shut(cells, Status::Closed, change.date));
            }
        }
    }
    if old.is_empty() {
        let reason = format!("no mailbox of {from} has the code in its name: rename it");
        return Err(Wrong::at("from", reason));
    }
    for cells in &new {
        draft.entry(cells)?;
    }
    new.into_iter()
        .chain(old)
        .try_for_each(|cells| draft.put(cells))?;
    draft.redirect(redirect);
    Ok(Outcome::Made)
}

/// An organisation has become part of another, which is there already.
pub(super) fn consolidate(change: &Change, draft: &mut Draft) -> Result<Outcome, Wrong> {
    let (from, to) = codes(change)?;
    let redirect = change.redirect(from.as_str(), to.as_str(), "successor");
    if is_made(&redirect, draft) {
        return Ok(Outcome::Known);
    }
    let rows = rows_in_use(from, change, draft)?;
    let into = draft.of_code(to);
    for (_, entry) in rows.iter().filter(|(_, entry)| entry.kind.needs_code()) {
        let has =
            |(_, other): &(Cells, Entry)| other.kind == entry.kind && in_use(other, change.date);
        if !into.iter().any(has) {
            let reason = format!(
                "{to} has no {} mailbox in use on that day",
                entry.kind.word()
            );
            return Err(Wrong::at("to", reason));
        }
    }
    for (cells, _) in rows
        .iter()
        .filter(|(_, entry)| goes_with_its_code(entry.kind))
    {
        draft.put(shut(cells, Status::Closed, change.date))?;
    }
    draft.redirect(redirect);
    Ok(Outcome::Made)
}

fn codes(change: &Change) -> Result<(OdsCode, OdsCode), Wrong> {
    let code = |column| {
        let code = change.cells.get(column).parse();
        code.map_err(|error| Wrong::at(column, error))
    };
    let (from, to): (OdsCode, OdsCode) = (code("from")?, code("to")?);
    if from == to {
        return Err(Wrong::at("to", "is the code that it has"));
    }
    Ok((from, to))
}

/// The mailboxes that an organisation has on the day.
fn rows_in_use(
    from: OdsCode,
    change: &Change,
    draft: &Draft,
) -> Result<Vec<(Cells, Entry)>, Wrong> {
    let mut rows = draft.of_code(from);
    if rows.is_empty() {
        return Err(Wrong::at("from", format!("{from} is not in the directory")));
    }
    rows.retain(|(_, entry)| in_use(entry, change.date));
    if rows.is_empty() {
        return Err(Wrong::at(
            "from",
            format!("{from} has no mailbox in use on that day"),
        ));
    }
    Ok(rows)
}

/// Whether a mailbox of this kind is shut with its organisation. People stay.
fn goes_with_its_code(kind: Kind) -> bool {
    kind.needs_code() || kind == Kind::Application
}

/// The mailbox under the new code; `None` if its name does not hold the old one.
fn moved(
    cells: &Cells,
    entry: &Entry,
    change: &Change,
    (from, to): (OdsCode, OdsCode),
) -> Option<Cells> {
    if !goes_with_its_code(entry.kind) {
        return None;
    }
    let (local, host) = cells.get("address").rsplit_once('@')?;
    let (old, new) = (
        from.as_str().to_ascii_lowercase(),
        to.as_str().to_ascii_lowercase(),
    );
    let labels = local
        .split('.')
        .map(|label| match label.strip_suffix(&old) {
            Some(before) => format!("{before}{new}"),
            None => label.to_owned(),
        });
    let name = labels.collect::<Vec<_>>().join(".");
    if name == local {
        return None;
    }
    let display = cells
        .get("display_name")
        .replace(from.as_str(), to.as_str());
    let moved = cells.with(&[
        ("address", &format!("{name}@{host}")),
        ("status", Status::Active.word()),
        ("status_date", &change.date.to_string()),
        ("ods_code", to.as_str()),
        ("display_name", &display),
        ("successor", ""),
        ("last_verified", ""),
    ]);
    let moved = match change.what {
        What::Ownership => moved.with(&[
            ("owner", ""),
            ("linked", ""),
            ("approved_links", ""),
            ("mobile", ""),
            ("display_name", ""),
        ]),
        _ => moved,
    };
    let mut says = change.says(&["organisation", "street", "town", "postcode", "owner"]);
    if entry.kind.needs_code() {
        says.extend(change.says(&["display_name"]));
    }
    Some(moved.with(&says))
}

/// What is there of a mailbox already stays: a national file may have brought it before.
fn beside(cells: Cells, draft: &Draft) -> Cells {
    let Some(there) = draft.mailboxes.get(cells.get("address")) else {
        return cells;
    };
    let gaps = cells.differences(there);
    let gaps: Vec<_> = gaps
        .iter()
        .filter(|(column, new, old)| !old.is_empty() || (*column == "owner" && new.is_empty()))
        .map(|(column, _, old)| (*column, old.as_str()))
        .collect();
    cells.with(&gaps)
}
