//! `postern queue list --by destination`: for each next hop what waits, what for, and when it will be tried.
//!
//! What waits is in the queue; how the next hop is doing the gateway has written beside it, and that counts as long as it
//! runs. What a gateway has in hand is being tried or waits for its turn there: attempts are counted where they are made.

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

/// Whose queue it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owners {
    /// Of the gateway on this data folder alone: what it had in hand when it was killed is in nobody's.
    One,
    /// Of a fleet: others may have something in hand.
    Fleet,
}

/// Lists what waits by destination, the longest wait first in the order of the next attempt.
pub async fn list(
    queue: &Queue,
    (data, owners): (&Path, Owners),
    ways: Ways<'_>,
    json: bool,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let states = match destinations::is_shown(data) {
        true => destinations::read(&destinations::file(data)),
        false => Ok(None),
    };
    let states = states.map_err(crate::queue::QueueError::from)?;
    let served = match (&states, owners) {
        (Some(_), _) => Served::Here,
        (None, Owners::Fleet) => Served::Elsewhere,
        (None, Owners::One) => Served::Nowhere,
    };
    let mut entries: BTreeMap<(String, String), Entry> = BTreeMap::new();
    for group in queue.groups().await? {
        if group.state == State::Quarantined {
            continue;
        }
        let way = ways(&group.path, group.binding);
        let key = way.unwrap_or_else(|| (String::new(), group_name(&group)));
        entries
            .entry(key)
            .or_insert_with(|| Entry::new(served))
            .add(group, now);
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
        "in hand",
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
            entry.in_hand.to_string(),
            entry
                .trying()
                .map_or_else(|| "-".to_owned(), |count| count.to_string()),
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
        "in_hand": entry.in_hand,
        "held": entry.held,
        "next_attempt_at": entry.next_try(now).map(|at| at.to_string()),
        "waits_for": kind,
        "because": text,
        "since": state.and_then(|one| one.since).map(|at| at.to_string()),
        "under_way": entry.trying(),
        "at_once": state.map(|one| one.at_once),
        "last_reply": entry.last_reply,
    })
}

/// Where a gateway runs that sees to the queue.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Served {
    /// On this data folder.
    #[default]
    Here,
    /// Not here, in a fleet.
    Elsewhere,
    /// Nowhere.
    Nowhere,
}

/// What waits for one destination.
#[derive(Default)]
struct Entry {
    served: Served,
    /// For an attempt, now or later.
    waiting: i64,
    /// Of those, what might be tried now.
    due: i64,
    /// With a gateway, which tries it or has it wait for its turn.
    in_hand: i64,
    held: i64,
    next: Option<Timestamp>,
    last_reply: Option<String>,
    state: Option<DestinationState>,
}

impl Entry {
    fn new(served: Served) -> Self {
        Self {
            served,
            ..Self::default()
        }
    }

    /// Attempts under way here; `None` if that is not known.
    fn trying(&self) -> Option<usize> {
        match self.served {
            Served::Here => Some(self.state.as_ref().map_or(0, |one| one.under_way)),
            Served::Elsewhere => None,
            Served::Nowhere => Some(0),
        }
    }

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
            // Of a gateway that was killed: the next start frees it.
            State::Leased if self.served == Served::Nowhere => {
                self.waiting += group.count;
                self.due += group.count;
                self.next = Some(now);
            }
            State::Leased => self.in_hand += group.count,
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
        if self.served == Served::Nowhere {
            return None;
        }
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
            _ if self.served == Served::Nowhere && self.next.is_some() => {
                ("gateway", "a gateway: none runs on this data".to_owned())
            }
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
            KeptBy::Limit => ("limit", state.map_or_else(String::new, its_turn)),
            KeptBy::Rate => ("rate", "its turn, by its rate".to_owned()),
            KeptBy::Nothing if is_due && self.served == Served::Elsewhere => (
                "turn",
                "its turn, at another gateway: none runs here".to_owned(),
            ),
            KeptBy::Nothing if is_due => ("turn", "its turn, within a second".to_owned()),
            KeptBy::Nothing if self.next.is_some() => (
                "schedule",
                match &self.last_reply {
                    Some(reply) => format!("its next attempt: {reply}"),
                    None => "its next attempt".to_owned(),
                },
            ),
            KeptBy::Nothing if self.in_hand > 0 => {
                let text = match self.trying() {
                    Some(0) | None => "the gateway that has it in hand",
                    Some(_) => "the attempt under way",
                };
                ("attempt", text.to_owned())
            }
            KeptBy::Nothing => ("somebody", "somebody to decide".to_owned()),
        }
    }
}

/// What keeps it from its turn.
fn its_turn(state: &DestinationState) -> String {
    let (under_way, at_once) = (state.under_way, state.at_once);
    match under_way >= at_once {
        true => format!("its turn: {under_way} under way, {at_once} at once"),
        false => "its turn: limits that other destinations share are reached".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ReversePath;
    use crate::queue::testing::accepted;
    use crate::queue::{Handoff, Skip};

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
            under_way: 5,
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
                "its turn: 5 under way, 5 at once",
                "2026-11-21T10:00:00Z",
            ),
            (
                due(),
                KeptBy::Nothing,
                "turn",
                "its turn, within a second",
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

    #[test]
    fn what_shares_a_limit_with_others_waits_for_them() {
        let mut entry = entry(
            vec![group("a@a.example", State::Due, 3, -1, "")],
            KeptBy::Limit,
        );
        entry.state.as_mut().unwrap().under_way = 1;
        let (_, said) = entry.waits_for("mx", now());
        assert_eq!(
            said,
            "its turn: limits that other destinations share are reached"
        );
    }

    /// Seven in hand, one attempt: then the gateway is killed.
    #[tokio::test]
    async fn attempts_are_counted_where_they_are_made_and_as_long_as_somebody_makes_them() {
        let folder = tempfile::tempdir().unwrap();
        let clock = crate::base::Clock::fixed(now());
        let queue = Queue::open(folder.path(), clock.clone()).await.unwrap();
        for _ in 0..7 {
            queue
                .accept(
                    accepted(now(), ReversePath::Null, &["a@a.example"]),
                    Handoff::None,
                )
                .await
                .unwrap();
        }
        let leased = queue.lease(now(), 100, Skip::nothing()).await.unwrap();
        assert_eq!(leased.len(), 7);
        let lock = destinations::hold(folder.path()).unwrap().unwrap();
        let state = DestinationState {
            under_way: 1,
            at_once: 1,
            until: None,
            ..entry(Vec::new(), KeptBy::Limit).state.unwrap()
        };
        let file = destinations::file(folder.path());
        destinations::write(&file, now(), &[state]).unwrap();
        let listed = async |owners| {
            let ways = |_: &ForwardPath, _| Some(("mx".to_owned(), "mx a.example".to_owned()));
            let (place, mut out) = ((folder.path(), owners), Vec::new());
            let listed = list(&queue, place, &ways, true, now(), &mut out);
            assert_eq!(listed.await.unwrap(), Answer::Done);
            let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let counts = ["waiting", "due", "in_hand", "under_way"].map(|name| line[name].as_i64());
            (counts, line["because"].as_str().unwrap().to_owned())
        };

        let (counts, because) = listed(Owners::One).await;
        assert_eq!(counts, [Some(0), Some(0), Some(7), Some(1)]);
        assert_eq!(because, "its turn: 1 under way, 1 at once");

        drop(lock);
        let (counts, because) = listed(Owners::One).await;
        assert_eq!(counts, [Some(7), Some(7), Some(0), Some(0)]);
        assert_eq!(because, "a gateway: none runs on this data");
        let (counts, because) = listed(Owners::Fleet).await;
        assert_eq!(counts, [Some(0), Some(0), Some(7), None]);
        assert_eq!(because, "the gateway that has it in hand");
    }
}
