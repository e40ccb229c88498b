//! `postern queue list --by destination`: for each next hop what waits, what for, and when it will be tried.
//!
//! What waits is in the queue; how the next hop is doing the gateway has written beside it, if it runs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use serde_json::json;

use crate::mail::ForwardPath;
use crate::queue::destinations::{self, DestinationState, KeptBy};
use crate::queue::{Binding, Group, Queue, State};

use super::answer::{Answer, CommandError, Table, json_line};

/// Says by which route a recipient goes, and to which destination; `None` if no route takes it.
pub type Ways<'w> = &'w dyn Fn(&ForwardPath, Binding) -> Option<(String, String)>;

/// Lists what waits by destination, the longest wait first in the order of the next attempt.
pub async fn list(
    queue: &Queue,
    data: &Path,
    ways: Ways<'_>,
    json: bool,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let states = destinations::read(&destinations::file(data));
    let states = states.map_err(crate::queue::QueueError::from)?;
    let mut entries: BTreeMap<(String, String), Entry> = BTreeMap::new();
    for group in queue.groups().await? {
        if group.state == State::Quarantined {
            continue;
        }
        let way = ways(&group.path, group.binding);
        let key = way.unwrap_or_else(|| (String::new(), group_name(&group)));
        entries.entry(key).or_default().add(group, now);
    }
    let states = states.map(|(_, states)| states).unwrap_or_default();
    for ((_, destination), entry) in &mut entries {
        entry.state = states.iter().find(|one| one.name == *destination).cloned();
    }
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_by_key(|(_, entry)| (entry.next.is_none(), entry.next));
    if json {
        for (key, entry) in &entries {
            json_line(&as_json(key, entry, now), out)?;
        }
        return Ok(Answer::Done);
    }
    let headings = [
        "destination",
        "route",
        "waiting",
        "due",
        "trying",
        "held",
        "next",
        "waits for",
    ];
    let mut table = Table::new(&headings);
    for ((route, destination), entry) in &entries {
        table.row([
            destination.clone(),
            if route.is_empty() { "-" } else { route }.to_owned(),
            entry.waiting.to_string(),
            entry.due.to_string(),
            entry.leased.to_string(),
            entry.held.to_string(),
            entry
                .next_try(now)
                .map_or_else(|| "-".to_owned(), |at| format!("{at:.0}")),
            entry.waits_for(route, now).1,
        ]);
    }
    table.write(out)?;
    if entries.is_empty() {
        writeln!(out, "nothing")?;
    }
    Ok(Answer::Done)
}

fn group_name(group: &Group) -> String {
    match group.path.mailbox() {
        Some(mailbox) => mailbox.host().to_string(),
        None => "postmaster".to_owned(),
    }
}

fn as_json(
    (route, destination): &(String, String),
    entry: &Entry,
    now: Timestamp,
) -> serde_json::Value {
    let (kind, text) = entry.waits_for(route, now);
    let state = entry.state.as_ref();
    json!({
        "destination": destination,
        "route": if route.is_empty() { None } else { Some(route) },
        "waiting": entry.waiting,
        "due": entry.due,
        "in_attempt": entry.leased,
        "held": entry.held,
        "next_attempt_at": entry.next_try(now).map(|at| at.to_string()),
        "waits_for": kind,
        "because": text,
        "since": state.and_then(|one| one.since).map(|at| at.to_string()),
        "under_way": state.map_or(0, |one| one.under_way),
        "at_once": state.map(|one| one.at_once),
        "last_reply": entry.last_reply,
    })
}

/// What waits for one destination.
#[derive(Default)]
struct Entry {
    /// For an attempt, now or later.
    waiting: i64,
    /// Of those, what might be tried now.
    due: i64,
    leased: i64,
    held: i64,
    next: Option<Timestamp>,
    last_reply: Option<String>,
    state: Option<DestinationState>,
}

impl Entry {
    fn add(&mut self, group: Group, now: Timestamp) {
        match group.state {
            State::Due => {
                self.waiting += group.count;
                if group.next.is_some_and(|at| at <= now) {
                    self.due += group.due;
                }
                if self.next.is_none() || group.next < self.next {
                    self.next = group.next;
                    self.last_reply = group.last_reply;
                }
            }
            State::Leased => self.leased += group.count,
            State::Held | State::Quarantined => self.held += group.count,
        }
    }

    fn kept_by(&self) -> KeptBy {
        self.state
            .as_ref()
            .map_or(KeptBy::Nothing, |one| one.kept_by)
    }

    /// When the next one is tried, as far as that is known.
    fn next_try(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.state.as_ref().and_then(|one| one.until);
        match (self.kept_by(), until) {
            (KeptBy::Away, Some(until)) => Some(until),
            (KeptBy::Pause | KeptBy::Rate, Some(until)) => self.next.map(|at| at.max(until)),
            _ => self.next.map(|at| at.max(now)),
        }
    }

    /// What it waits for: a word, and a sentence.
    fn waits_for(&self, route: &str, now: Timestamp) -> (&'static str, String) {
        let state = self.state.as_ref();
        let because = state.map_or("", |one| one.because.as_str());
        let since = state.and_then(|one| one.since);
        let is_due = self.next.is_some_and(|at| at <= now);
        match self.kept_by() {
            _ if route.is_empty() => ("route", "a route: none takes it".to_owned()),
            KeptBy::Away => (
                "next-hop",
                match since {
                    Some(since) => format!("the next hop, away since {since:.0}: {because}"),
                    None => format!("the next hop, which is away: {because}"),
                },
            ),
            KeptBy::Pause => (
                "pause",
                format!("a pause that the next hop asked for: {because}"),
            ),
            KeptBy::Limit => {
                let at_once = state.map_or(0, |one| one.at_once);
                ("limit", format!("its turn, {at_once} at once"))
            }
            KeptBy::Rate => ("rate", "its turn, by its rate".to_owned()),
            KeptBy::Nothing if is_due => ("turn", "its turn".to_owned()),
            KeptBy::Nothing if self.next.is_some() => (
                "schedule",
                match &self.last_reply {
                    Some(reply) => format!("its next attempt: {reply}"),
                    None => "its next attempt".to_owned(),
                },
            ),
            KeptBy::Nothing if self.leased > 0 => ("attempt", "the attempt under way".to_owned()),
            KeptBy::Nothing => ("somebody", "somebody to decide".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn group(path: &str, state: State, count: i64, minutes: i64, reply: &str) -> Group {
        Group {
            path: ForwardPath::parse(path).unwrap(),
            binding: Binding::Any,
            state,
            count,
            due: if minutes <= 0 { count } else { 0 },
            next: Some(now() + jiff::SignedDuration::from_mins(minutes)),
            last_reply: Some(reply.to_owned()),
        }
    }

    fn entry(groups: Vec<Group>, kept_by: KeptBy) -> Entry {
        let mut entry = Entry::default();
        groups.into_iter().for_each(|group| entry.add(group, now()));
        entry.state = Some(DestinationState {
            name: "mx a.example".to_owned(),
            under_way: 1,
            at_once: 5,
            kept_by,
            because: "connection refused".to_owned(),
            since: Some(now()),
            until: Some(now() + jiff::SignedDuration::from_mins(2)),
        });
        entry
    }

    #[test]
    fn it_is_said_what_mail_waits_for_and_when_it_is_tried() {
        let later = || vec![group("a@a.example", State::Due, 3, 15, "450 4.2.1 in use")];
        let due = || vec![group("a@a.example", State::Due, 3, -1, "")];
        let said = |groups, kept_by| {
            let entry = entry(groups, kept_by);
            let next = entry.next_try(now()).map(|at| format!("{at:.0}"));
            (entry.waits_for("mx", now()), next.unwrap_or_default())
        };
        let expected = [
            (
                later(),
                KeptBy::Nothing,
                "schedule",
                "its next attempt: 450 4.2.1 in use",
                "2026-11-21T10:15:00Z",
            ),
            (
                later(),
                KeptBy::Away,
                "next-hop",
                "the next hop, away since 2026-11-21T10:00:00Z: connection refused",
                "2026-11-21T10:02:00Z",
            ),
            (
                due(),
                KeptBy::Pause,
                "pause",
                "a pause that the next hop asked for: connection refused",
                "2026-11-21T10:02:00Z",
            ),
            (
                due(),
                KeptBy::Limit,
                "limit",
                "its turn, 5 at once",
                "2026-11-21T10:00:00Z",
            ),
            (
                due(),
                KeptBy::Nothing,
                "turn",
                "its turn",
                "2026-11-21T10:00:00Z",
            ),
            (
                vec![group("a@a.example", State::Leased, 1, 30, "")],
                KeptBy::Nothing,
                "attempt",
                "the attempt under way",
                "",
            ),
            (
                vec![group("a@a.example", State::Held, 1, 30, "")],
                KeptBy::Nothing,
                "somebody",
                "somebody to decide",
                "",
            ),
        ];
        for (groups, kept_by, word, sentence, next) in expected {
            assert_eq!(
                said(groups, kept_by),
                ((word, sentence.to_owned()), next.to_owned())
            );
        }
    }
}
