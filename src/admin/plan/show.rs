//! The answer: what would change, for how many, and examples; then how much could be told.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::admin::answer::{json_line, printable};

use super::Desk;
use super::changes::{Change, Counts, Example, Findings, Seen, View, frequent};
use super::files::not_asked;

/// Writes it: as JSON one object per line, the summary first, each change with its examples behind it.
pub(super) fn show(
    desk: &Desk<'_>,
    files: &[&'static str],
    findings: &Findings,
    out: &mut impl Write,
) -> io::Result<()> {
    match desk.json {
        true => write_json(desk, files, findings, out),
        false => write_text(desk, files, findings, out),
    }
}

fn write_json(
    desk: &Desk<'_>,
    files: &[&'static str],
    findings: &Findings,
    out: &mut impl Write,
) -> io::Result<()> {
    let counts = &findings.counts;
    json_line(
        &json!({
            "kind": "summary",
            "since": desk.since.to_string(),
            "policy": {"before": desk.before.version().0, "after": desk.after.version().0},
            "files": files,
            "messages": {"wholly": counts.wholly, "by_record": counts.by_record, "own": counts.own},
            "recipients": counts.recipients,
            "changed": counts.changed,
            "untold": counts.untold,
            "not_asked": not_asked(files),
        }),
        out,
    )?;
    for (change, seen) in findings.sorted() {
        json_line(&change_json(change, seen), out)?;
        for example in &seen.examples {
            json_line(&example_json(change, example), out)?;
        }
    }
    if findings.others > 0 {
        json_line(
            &json!({"kind": "change", "change": "others", "count": findings.others}),
            out,
        )?;
    }
    for ((why, rule), count) in &findings.untold {
        json_line(
            &json!({"kind": "untold", "because": why.word(), "rule": rule, "count": count}),
            out,
        )?;
    }
    Ok(())
}

fn change_json(change: &Change, seen: &Seen) -> Value {
    let domains = frequent(&seen.domains).into_iter().take(DOMAINS_JSON);
    let domains = domains.map(|(domain, count)| json!({"domain": domain, "count": count}));
    let [before, after] = [&change.before, &change.after];
    json!({
        "kind": "change",
        "change": change.words(),
        "count": seen.recipients,
        "messages": seen.messages,
        "before": before.as_ref().map(|view| view_json(view, seen.because[0].as_deref())),
        "after": after.as_ref().map(|view| view_json(view, seen.because[1].as_deref())),
        "domains": domains.collect::<Vec<_>>(),
    })
}

fn view_json(view: &View, because: Option<&str>) -> Value {
    json!({
        "verdict": view.verdict,
        "rule": view.rule,
        "because": because,
        "route": view.route,
        "tls": view.tls,
        "binding": view.binding,
        "entity": view.entity,
        "edits": view.edits,
    })
}

fn example_json(change: &Change, example: &Example) -> Value {
    let side = |view: &Option<View>, at: usize| {
        let mut said = view_json(view.as_ref()?, example.because[at].as_deref());
        said["resolved"] = example.resolved[at].clone().into();
        Some(said)
    };
    json!({
        "kind": "recipient",
        "reference": example.reference,
        "at": example.at,
        "sender": example.sender,
        "address": example.address,
        "judged": if example.wholly { "wholly" } else { "by-record" },
        "before": side(&change.before, 0),
        "after": side(&change.after, 1),
    })
}

fn write_text(
    desk: &Desk<'_>,
    files: &[&'static str],
    findings: &Findings,
    out: &mut impl Write,
) -> io::Result<()> {
    let [old, new] = desk.mains.map(|main| {
        let folder = main.parent().unwrap_or(main);
        printable(&folder.display().to_string())
    });
    if files.is_empty() {
        return writeln!(
            out,
            "{new} says the same as {old}: nothing would have been decided differently"
        );
    }
    writeln!(out, "{new} instead of {old}: {} differ", files.join(", "))?;
    for (change, seen) in findings.sorted() {
        writeln!(out)?;
        write_change(change, seen, out)?;
    }
    if findings.others > 0 {
        writeln!(out, "\nand {} of other kinds", recipients(findings.others))?;
    }
    writeln!(out)?;
    write_counts(desk, &findings.counts, out)?;
    for ((why, rule), count) in &findings.untold {
        let rule = match rule.as_str() {
            "" => String::new(),
            rule => format!(" ({})", printable(rule)),
        };
        writeln!(out, "  {count:>6}  {}{rule}", why.because())?;
    }
    let not_asked = not_asked(files);
    if findings.counts.by_record > 0 && !not_asked.is_empty() {
        writeln!(
            out,
            "of mail that is gone these are as they are on record, not judged anew: {}",
            not_asked.join("; ")
        )?;
    }
    Ok(())
}

fn write_change(change: &Change, seen: &Seen, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{}: {} of {}",
        change.words(),
        recipients(seen.recipients),
        messages(seen.messages)
    )?;
    for (at, (word, view)) in [("before", &change.before), ("after", &change.after)]
        .into_iter()
        .enumerate()
    {
        let Some(view) = view else { continue };
        let because = seen.because[at].as_deref().unwrap_or_default();
        let way = match (&view.route, &view.tls) {
            (Some(route), Some(tls)) => format!("; route {route}, TLS {tls}"),
            (Some(route), None) => format!("; route {route}"),
            _ => String::new(),
        };
        let said = printable(&format!("{}: {because}{way}", view.rule));
        writeln!(out, "  {word:<8} {said}")?;
    }
    let domains = frequent(&seen.domains);
    let mut shown: Vec<String> = domains
        .iter()
        .take(DOMAINS_SHOWN)
        .map(|(domain, count)| format!("{} {count}", printable(domain)))
        .collect();
    if domains.len() > DOMAINS_SHOWN {
        shown.push(format!("{} more", domains.len() - DOMAINS_SHOWN));
    }
    writeln!(out, "  {:<8} {}", "domains", shown.join(", "))?;
    for example in &seen.examples {
        write_example(change, example, out)?;
    }
    let left = seen.recipients - seen.examples.len() as u64;
    if left > 0 {
        writeln!(out, "    and {left} more (--limit)")?;
    }
    Ok(())
}

fn write_example(change: &Change, example: &Example, out: &mut impl Write) -> io::Result<()> {
    let sender = match example.sender.as_str() {
        "" => "<>",
        sender => sender,
    };
    let mut line = format!(
        "{}  {}  {sender} → {}",
        example.reference, example.at, example.address
    );
    let [old, new] = &example.resolved;
    if let (true, Some(old), Some(new)) = (change.moves, old, new) {
        line.push_str(&format!(", {old} before, {new} after"));
    }
    if example.wholly {
        line.push_str(" (still here)");
    }
    writeln!(out, "    {}", printable(&line))
}

/// How much was looked at, and how well.
fn write_counts(desk: &Desk<'_>, counts: &Counts, out: &mut impl Write) -> io::Result<()> {
    let changed = match counts.changed {
        0 if counts.untold > 0 => {
            "nothing that can be told would have been decided differently".to_owned()
        }
        0 => "nothing would have been decided differently".to_owned(),
        changed => format!("different for {}", recipients(changed)),
    };
    writeln!(
        out,
        "{changed}, of {} looked at: in the queue and the quarantine, and since {:.0}",
        counts.recipients, desk.since
    )?;
    writeln!(
        out,
        "  {:>6}  {} judged wholly: still here",
        counts.wholly,
        plural(counts.wholly, "message")
    )?;
    writeln!(
        out,
        "  {:>6}  {} judged by envelope and what is on record of the findings: the content is gone, or never came",
        counts.by_record,
        plural(counts.by_record, "message")
    )?;
    if counts.own > 0 {
        writeln!(
            out,
            "  {:>6}  {} in the queue not judged: nothing was decided of what the gateway writes itself",
            counts.own,
            plural(counts.own, "message")
        )?;
    }
    writeln!(
        out,
        "  {:>6}  {} of whom it cannot be told{}",
        counts.untold,
        plural(counts.untold, "recipient"),
        if counts.untold > 0 { ":" } else { "" }
    )
}

fn recipients(count: u64) -> String {
    format!("{count} {}", plural(count, "recipient"))
}

fn messages(count: u64) -> String {
    format!("{count} {}", plural(count, "message"))
}

fn plural(count: u64, what: &str) -> String {
    match count {
        1 => what.to_owned(),
        _ => format!("{what}s"),
    }
}

/// Domains named of each change.
const DOMAINS_SHOWN: usize = 5;
/// The same in JSON.
const DOMAINS_JSON: usize = 100;
