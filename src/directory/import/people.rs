//! Renames, leavers and joiners: changes of one mailbox.
//!
//! A name that was a person's leads nowhere once the person has gone, and one day it is another
//! person's. So a leaver's old names are cut off, and a joiner's name starts without a history.

use jiff::civil::Date;

use crate::directory::cells::Wrong;
use crate::directory::{Kind, Status, table};

use super::changes::{Change, DESCRIPTION, Outcome, in_use, shut};
use super::draft::Draft;
use super::sheet::Cells;

/// Gives a mailbox another name, and lets the old one lead to it.
pub(super) fn rename(change: &Change, draft: &mut Draft) -> Result<Outcome, Wrong> {
    let from = change.address("from")?.to_string();
    let to = change.address("to")?.to_string();
    let redirect = change.redirect(&from, &to, "renamed");
    if is_made(&redirect, draft) {
        return Ok(Outcome::Known);
    }
    if from == to {
        return Err(Wrong::at("to", "is the name that it has"));
    }
    let Some((cells, entry)) = draft.mailbox(&from) else {
        return match has_gone_since(&to, change, draft) {
            true => Ok(Outcome::Known),
            false => {
                let reason = format!("{from} is not in the directory");
                Err(Wrong::at("from", reason))
            }
        };
    };
    if !in_use(&entry, change.date) {
        // Who had it left under the new name, and the old one was shut with it.
        if has_left_since(&from, change, draft) && has_gone_since(&to, change, draft) {
            return Ok(Outcome::Known);
        }
        let reason = format!("{from} is {} on that day", entry.status.word());
        return Err(Wrong::at("from", reason));
    }
    free(&to, change, draft)?;
    if draft.mailbox(&to).is_some() {
        draft.cut_off(&to, change.date)?;
    }
    let new = cells
        .with(&[("address", &to), ("status", Status::Active.word())])
        .with(&change.says(&[
            "display_name",
            "owner",
            "ods_code",
            "organisation",
            "street",
            "town",
        ]));
    let day = change.date.to_string();
    if change.has_come(draft) {
        draft.put(new)?;
        draft.mailboxes.remove(&from);
        draft.relink(&from, Some(&to));
    } else {
        draft.put(new.with(&[("status_date", &day)]))?;
        draft.put(shut(&cells, Status::Closed, change.date))?;
    }
    draft.redirects.remove(&to);
    draft.redirect(redirect);
    Ok(Outcome::Made)
}

/// A person has left: nothing of theirs is redirected, and no mailbox is theirs to read.
pub(super) fn leave(change: &Change, draft: &mut Draft) -> Result<Outcome, Wrong> {
    let from = change.address("from")?.to_string();
    let (cells, entry) = draft
        .mailbox(&from)
        .ok_or_else(|| Wrong::at("from", format!("{from} is not in the directory")))?;
    if entry.kind != Kind::Personal {
        let reason = format!(
            "{from} is no person's: it is a mailbox of the kind {}",
            entry.kind.word()
        );
        return Err(Wrong::at("from", reason));
    }
    let gone = matches!(entry.status, Status::Leaver | Status::Deleted);
    if gone && entry.status_date.is_none_or(|date| date <= change.date) {
        return Ok(Outcome::Known);
    }
    draft.put(shut(&cells, Status::Leaver, change.date))?;
    let cut = draft.cut_off(&from, change.date)?;
    if cut > 0 {
        draft.notes.push(format!(
            "{from} leaves: {cut} old names of it lead nowhere now"
        ));
    }
    if change.has_come(draft) {
        draft.relink(&from, None);
    }
    Ok(Outcome::Made)
}

/// Someone or something new. A name that was a person's who has gone may be given again.
pub(super) fn join(change: &Change, draft: &mut Draft) -> Result<Outcome, Wrong> {
    let to = change.address("to")?.to_string();
    let day = change.date.to_string();
    let kind = change.cells.get("kind");
    let kind = if kind.is_empty() {
        Kind::Personal.word()
    } else {
        kind
    };
    let cells = Cells::new(
        &table::SCHEMA,
        &[
            ("address", &to),
            ("kind", kind),
            ("status", Status::Active.word()),
            ("status_date", &day),
            ("accepts_patient_data", "yes"),
            ("do_not_send", "no"),
        ],
    );
    let cells = cells.with(&change.says(DESCRIPTION));
    if has_joined(&to, &cells, change, draft) {
        return Ok(Outcome::Known);
    }
    free(&to, change, draft)?;
    let cut = draft.cut_off(&to, change.date)?;
    draft.put(cells)?;
    if cut > 0 {
        draft.notes.push(format!(
            "{to} is given again: {cut} old names led to who had it before"
        ));
    }
    Ok(Outcome::Made)
}

/// Whether a joiner has come already: he is there, has left since, or has another name by now.
fn has_joined(name: &str, cells: &Cells, change: &Change, draft: &Draft) -> bool {
    let Some((old, _)) = draft.mailbox(name) else {
        return has_another_name_since(name, change, draft)
            || has_gone_under_another(change, draft);
    };
    let same = |column: &&str| old.get(column) == cells.get(column);
    let says = change.says(DESCRIPTION);
    let is_described = says.iter().all(|(column, text)| old.get(column) == *text);
    ["kind", "status", "status_date"].iter().all(same)
        || same(&"kind") && is_described && has_left_since(name, change, draft)
}

/// Whether a joiner of whom nothing is left under his name took another one, by the same file, and has left under that:
/// until lately his first name was forgotten then.
fn has_gone_under_another(change: &Change, draft: &Draft) -> bool {
    let Some(last) = &change.becomes else {
        return false;
    };
    let is_he = draft.mailbox(last).is_some_and(|(cells, entry)| {
        let code = change.cells.get("ods_code");
        entry.kind == Kind::Personal && (code.is_empty() || code == cells.get("ods_code"))
    });
    is_he && has_left_since(last, change, draft)
}

/// Whether who took this name on the day of a change has left after it, under this name or under the last one that the
/// same file gives him.
fn has_gone_since(name: &str, change: &Change, draft: &Draft) -> bool {
    let last = change.becomes.as_deref();
    has_left_since(name, change, draft)
        || last.is_some_and(|last| has_left_since(last, change, draft))
}

/// Whether a person who had this name on the day of a change has left after it.
fn has_left_since(name: &str, change: &Change, draft: &Draft) -> bool {
    draft.mailbox(name).is_some_and(|(_, entry)| {
        let is_gone = matches!(entry.status, Status::Leaver | Status::Deleted);
        is_gone && entry.status_date.is_some_and(|date| date > change.date)
    })
}

/// Whether a name that nobody has was given up for another one after the day of a change.
fn has_another_name_since(name: &str, change: &Change, draft: &Draft) -> bool {
    draft.redirects.get(name).is_some_and(|redirect| {
        let since = redirect.get("since").parse::<Date>();
        redirect.get("because") == "renamed" && since.is_ok_and(|since| since > change.date)
    })
}

/// Whether a name can be given on the day of a change.
fn free(name: &str, change: &Change, draft: &Draft) -> Result<(), Wrong> {
    if let Some((_, entry)) = draft.mailbox(name) {
        let gone = matches!(entry.status, Status::Leaver | Status::Deleted);
        if !gone || entry.is_live(change.date) {
            let reason = format!(
                "{name} is in the directory already, {}",
                entry.status.word()
            );
            return Err(Wrong::at("to", reason));
        }
    }
    // Its redirect ends with it, but there is no day on which a redirect ends.
    if draft.redirects.get(name).is_some() && !change.has_come(draft) {
        let reason = format!("{name} leads elsewhere until then: import this on the day");
        return Err(Wrong::at("to", reason));
    }
    Ok(())
}

/// Whether a redirect is there already, whoever wrote its note.
pub(super) fn is_made(redirect: &Cells, draft: &Draft) -> bool {
    let old = draft.redirects.get(&super::draft::redirect_key(redirect));
    old.is_some_and(|old| {
        ["to", "because", "since"]
            .iter()
            .all(|c| old.get(c) == redirect.get(c))
    })
}
