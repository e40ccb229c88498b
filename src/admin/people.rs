//! `postern directory find|show|stats`: who is there, what is known of a mailbox, and which old names are
//! still used. What the directory hides (mobile numbers) is in no entry, so it cannot be shown here.

use std::collections::HashSet;
use std::io::Write;

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::directory::{self, Directory, End, Entry, Found, Name, OdsCode};
use crate::mail::Mailbox;
use crate::queue::{OldNameCount, Queue};

use super::answer::{Answer, CommandError, Table, json_line, printable};

/// Shows what a search found, the nearest first. The answer is no if that is nothing.
pub fn find(
    found: &[Found],
    today: Date,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    if json {
        for Found { entry, .. } in found {
            json_line(&object(entry, today), out)?;
        }
        return Ok(Answer::yes_if(!found.is_empty()));
    }
    let mut table = Table::new(&[
        "address",
        "kind",
        "state",
        "code",
        "organisation",
        "town",
        "postcode",
    ]);
    for Found { entry, .. } in found {
        let of = entry.organisation.as_deref();
        table.row([
            entry.address.to_string(),
            entry.kind.word().to_owned(),
            state(entry, today),
            of.map(|of| of.code.to_string()).unwrap_or_default(),
            of.map_or_else(|| entry.display_name.clone(), |of| of.name.clone()),
            of.map(|of| of.town.clone()).unwrap_or_default(),
            of.map(|of| of.postcode.clone()).unwrap_or_default(),
        ]);
    }
    table.write(out)?;
    if found.is_empty() {
        writeln!(out, "nobody")?;
    }
    Ok(Answer::yes_if(!found.is_empty()))
}

/// Shows a mailbox, by its address or an old one, or the mailboxes of an organisation, by its code. The
/// answer is no if there is none.
pub fn show(
    of: &str,
    directory: &Directory,
    today: Date,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let entries = match Mailbox::parse(of) {
        Ok(mailbox) => return show_address(of, &mailbox, directory, today, json, out),
        Err(_) => of_organisation(of, directory),
    };
    if entries.is_empty() {
        say_nobody(of, json, out)?;
    }
    for entry in &entries {
        show_entry(entry, directory, today, json, out)?;
    }
    Ok(Answer::yes_if(!entries.is_empty()))
}

fn of_organisation(code: &str, directory: &Directory) -> Vec<Entry> {
    let Ok(code) = OdsCode::parse(code) else {
        return Vec::new();
    };
    directory
        .entries()
        .filter(|entry| entry.ods_code() == Some(code))
        .collect()
}

/// The mailbox that an address leads to; the way there is shown first.
fn show_address(
    asked: &str,
    mailbox: &Mailbox,
    directory: &Directory,
    today: Date,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let resolution = directory.resolve_on(mailbox, today);
    let end = match &resolution.end {
        End::Mailbox(end) => end,
        _ => mailbox,
    };
    let entry = directory.entry(end);
    if json || entry.is_none() || !resolution.path.is_empty() {
        let way = directory::json::object(asked, &resolution);
        match (json, &entry) {
            (true, None) => json_line(&way, out)?,
            (true, Some(_)) => {}
            (false, _) => write_way(asked, &resolution, out)?,
        }
    }
    match entry {
        Some(entry) => {
            show_entry(&entry, directory, today, json, out)?;
            Ok(Answer::Done)
        }
        None => Ok(Answer::No),
    }
}

fn write_way(
    asked: &str,
    resolution: &directory::Resolution,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    writeln!(out, "{}: {}", printable(asked), resolution.end.word())?;
    for hop in &resolution.path {
        writeln!(
            out,
            "  → {} ({}, {})",
            hop.to,
            hop.because.word(),
            hop.source
        )?;
    }
    Ok(())
}

fn say_nobody(of: &str, json: bool, out: &mut impl Write) -> Result<(), CommandError> {
    if json {
        json_line(&json!({ "input": of, "outcome": "unknown" }), out)?;
    } else {
        writeln!(
            out,
            "{}: neither an address nor a code of the directory",
            printable(of)
        )?;
    }
    Ok(())
}

fn show_entry(
    entry: &Entry,
    directory: &Directory,
    today: Date,
    json: bool,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    let names = directory.names_of(&entry.address);
    let lists = directory.lists_with(&entry.address);
    if json {
        let mut object = object(entry, today);
        object["names"] = names.iter().map(name_object).collect();
        object["lists"] = lists.iter().map(ToString::to_string).collect();
        return Ok(json_line(&object, out)?);
    }
    writeln!(out, "{}", entry.in_header())?;
    for (label, text) in lines(entry, today) {
        if !text.is_empty() {
            writeln!(out, "  {label:<13} {}", printable(&text))?;
        }
    }
    for name in &names {
        writeln!(
            out,
            "  {:<13} {} ({}, {})",
            "old name",
            name.name,
            name.because.word(),
            name.source
        )?;
    }
    for list in &lists {
        writeln!(out, "  {:<13} {list}", "on list")?;
    }
    Ok(())
}

fn lines(entry: &Entry, today: Date) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("kind", entry.kind.word().to_owned()),
        ("state", state(entry, today)),
        ("owner", entry.owner.clone()),
    ];
    if let Some(of) = &entry.organisation {
        let place = [&of.street, &of.town, &of.postcode];
        let place = place.into_iter().filter(|text| !text.is_empty());
        lines.push(("organisation", format!("{} {}", of.code, of.name)));
        lines.push(("at", place.cloned().collect::<Vec<_>>().join(", ")));
    }
    if let Some(code) = entry.successor {
        lines.push(("successor", format!("{code} (a hint, not a redirect)")));
    }
    let yes = |so| if so { "yes" } else { "no" };
    lines.push(("patient data", yes(entry.accepts_patient_data).to_owned()));
    if entry.do_not_send {
        lines.push(("do not send", "yes".to_owned()));
    }
    lines.push(("verified", date(entry.last_verified)));
    for link in &entry.linked {
        lines.push((
            "linked",
            format!("{} ({})", link.account, link.right.word()),
        ));
    }
    lines
}

fn object(entry: &Entry, today: Date) -> Value {
    let organisation = entry.organisation.as_ref().map(|of| {
        json!({
            "ods_code": of.code.to_string(), "name": of.name, "street": of.street,
            "town": of.town, "postcode": of.postcode,
        })
    });
    let linked = entry.linked.iter();
    let linked = linked
        .map(|link| json!({ "account": link.account.to_string(), "right": link.right.word() }));
    json!({
        "address": entry.address.to_string(),
        "kind": entry.kind.word(),
        "display_name": entry.display_name,
        "organisation": organisation,
        "owner": entry.owner,
        "status": entry.status.word(),
        "status_date": entry.status_date.map(|date| date.to_string()),
        "live": entry.is_live(today),
        "successor": entry.successor.map(|code| code.to_string()),
        "accepts_patient_data": entry.accepts_patient_data,
        "do_not_send": entry.do_not_send,
        "last_verified": entry.last_verified.map(|date| date.to_string()),
        "linked": linked.collect::<Vec<_>>(),
    })
}

fn name_object(name: &Name) -> Value {
    json!({ "name": name.name.to_string(), "because": name.because.word(), "source": name.source.to_string() })
}

/// The status, and since or from when it holds.
fn state(entry: &Entry, today: Date) -> String {
    let status = entry.status.word();
    match entry.status_date {
        Some(on) if on <= today => format!("{status} since {on}"),
        Some(on) => format!("{status} from {on}"),
        None => status.to_owned(),
    }
}

fn date(date: Option<Date>) -> String {
    date.map(|date| date.to_string()).unwrap_or_default()
}

/// Shows how often old names were used: the most used first; or the names of the files that nobody has
/// used since counting began.
pub async fn stats(
    directory: &Directory,
    queue: &Queue,
    unused: bool,
    limit: usize,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    if unused {
        let used = queue.old_names(usize::MAX).await?;
        return write_unused(&unused_names(directory, &used), limit, json, out);
    }
    let used = queue.old_names(limit).await?;
    if json {
        for one in &used {
            json_line(one, out)?;
        }
        return Ok(Answer::Done);
    }
    let mut table = Table::new(&[
        "uses",
        "last used",
        "name",
        "leads to",
        "because",
        "used by",
    ]);
    for one in &used {
        table.row([
            one.uses.to_string(),
            one.last_used.chars().take(10).collect(),
            one.name.clone(),
            one.mailbox.clone(),
            one.because.clone(),
            one.used_by.join(" "),
        ]);
    }
    table.write(out)?;
    if used.is_empty() {
        writeln!(out, "no old name was used since counting began")?;
    }
    Ok(Answer::Done)
}

fn unused_names(directory: &Directory, used: &[OldNameCount]) -> Vec<Name> {
    let used: HashSet<&str> = used.iter().map(|one| one.name.as_str()).collect();
    let names = directory.names().into_iter();
    names
        .filter(|name| !used.contains(name.name.to_string().as_str()))
        .collect()
}

fn write_unused(
    names: &[Name],
    limit: usize,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let shown = names.iter().take(limit);
    if json {
        for name in shown {
            json_line(&name_object(name), out)?;
        }
        return Ok(Answer::Done);
    }
    let mut table = Table::new(&["name", "leads to", "because", "source"]);
    for name in shown {
        table.row([
            name.name.to_string(),
            name.to.to_string(),
            name.because.word().to_owned(),
            name.source.to_string(),
        ]);
    }
    table.write(out)?;
    writeln!(
        out,
        "{} names were not used since counting began",
        names.len()
    )?;
    Ok(Answer::Done)
}
