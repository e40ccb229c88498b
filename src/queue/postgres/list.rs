//! Looking at what waits.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::queue::chain;
use crate::queue::error::QueueError;
use crate::queue::record::SelfRelease;
use crate::queue::store::{Filter, Group, PLACES, State, Waiting};
use crate::queue::words;

use super::db::{Db, text};
use super::rows::attempts;

/// The deliveries that the filter lets through, in the order of their acceptance.
pub(super) async fn list(db: Db<'_>, filter: &Filter) -> Result<Vec<Waiting>, QueueError> {
    let condition = Condition::of(filter);
    let limit = match filter.limit {
        0 => i64::MAX,
        limit => chain::count(limit),
    };
    let sql = format!(
        "SELECT d.id, d.state, d.ready_at, d.forward_path, d.binding, d.rule, d.because, d.attempts,
                d.last_reply, m.reference, m.reverse_path, m.received_at, m.octets, m.message_id, m.patient_data,
                EXISTS (SELECT 1 FROM self_release s WHERE s.delivery = d.id AND s.grounds = '{OWNERS}'), d.released_at
         FROM delivery d JOIN message m ON m.id = d.id / {PLACES}
         WHERE {} ORDER BY d.id LIMIT {limit}",
        condition.terms.join(" AND ")
    );
    let values: Vec<&(dyn ToSql + Sync)> = condition
        .values
        .iter()
        .map(|value| &**value as &(dyn ToSql + Sync))
        .collect();
    Ok(db.rows(&sql, &values).await?.iter().map(waiting).collect())
}

/// How many deliveries there are in each state.
pub(super) async fn count(db: Db<'_>) -> Result<BTreeMap<&'static str, i64>, QueueError> {
    let mut counts: BTreeMap<_, _> = State::ALL.iter().map(|state| (state.word(), 0)).collect();
    let sql = "SELECT state, count(*) FROM delivery GROUP BY state";
    for row in db.rows(sql, &[]).await? {
        if let Some(state) = State::parse(row.get(0)) {
            counts.insert(state.word(), row.get(1));
        }
    }
    Ok(counts)
}

/// One row for each domain, binding and state; of each the delivery that is next.
pub(super) async fn groups(db: Db<'_>, now: Timestamp) -> Result<Vec<Group>, QueueError> {
    let sql = "SELECT DISTINCT ON (domain, binding, state)
                   forward_path, binding, state, count(*) OVER w, ready_at, last_reply,
                   count(*) FILTER (WHERE state = 'due' AND ready_at <= $1) OVER w
               FROM delivery WINDOW w AS (PARTITION BY domain, binding, state)
               ORDER BY domain, binding, state, ready_at, id";
    let rows = db.rows(sql, &[&now.as_millisecond()]).await?;
    let group = |row: &Row| {
        // A damaged row is for `queue show`.
        Some(Group {
            path: words::forward_path(row.get(0))?,
            binding: words::binding(row.get(1))?,
            state: State::parse(row.get(2)).unwrap_or(State::Held),
            count: row.get(3),
            next: row.get::<_, Option<i64>>(4).map(words::time),
            last_reply: row.get(5),
            due: row.get(6),
        })
    };
    Ok(rows.iter().filter_map(group).collect())
}

/// The terms of a condition, and what they are given.
struct Condition {
    terms: Vec<String>,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Condition {
    fn of(filter: &Filter) -> Self {
        let mut condition = Self {
            terms: vec!["true".to_owned()],
            values: Vec::new(),
        };
        condition.states(&filter.states);
        if let Some(reference) = &filter.reference {
            condition.add("m.reference = ", reference.to_string());
            let last = PLACES - 1;
            let range = format!("d.id BETWEEN m.id * {PLACES} AND m.id * {PLACES} + {last}");
            condition.terms.push(range);
        }
        if let Some(before) = filter.received_before {
            condition.add("m.received_at < ", before.as_millisecond());
        }
        if let Some(before) = filter.began_before {
            let began_at = "coalesce(d.released_at, m.received_at) < ";
            condition.add(began_at, before.as_millisecond());
        }
        if let Some(domain) = &filter.domain {
            condition.add("d.domain = ", text(&domain.to_ascii_lowercase()));
        }
        if let Some(from) = filter.received_from {
            condition.add("m.received_at >= ", from.as_millisecond());
        }
        if let Some(delivery) = filter.delivery {
            condition.add("d.id = ", delivery.0);
        }
        if let Some(after) = filter.after {
            condition.add("d.id > ", after.0);
        }
        if let Some(patient_data) = filter.patient_data {
            condition.add("m.patient_data = ", patient_data);
        }
        for (column, part) in [
            ("m.reverse_path", &filter.sender),
            ("d.forward_path", &filter.recipient),
            ("d.because", &filter.because),
        ] {
            if let Some(part) = part {
                condition.values.push(Box::new(text(&part.to_lowercase())));
                let number = condition.values.len();
                condition
                    .terms
                    .push(format!("position(${number} IN lower({column})) > 0"));
            }
        }
        condition
    }

    fn states(&mut self, states: &[State]) {
        if states.is_empty() {
            return;
        }
        // The words are ours, so they may stand in the statement.
        let words: Vec<String> = states
            .iter()
            .map(|state| format!("'{}'", state.word()))
            .collect();
        self.terms
            .push(format!("d.state IN ({})", words.join(", ")));
        if states.iter().all(|state| state.waits_for_somebody()) {
            self.terms.push("d.ready_at IS NULL".to_owned());
        }
    }

    fn add(&mut self, term: &str, value: impl ToSql + Sync + Send + 'static) {
        self.values.push(Box::new(value));
        self.terms.push(format!("{term}${}", self.values.len()));
    }
}

/// The grounds of what the owner of a mailbox may let go on, as the policy writes them.
const OWNERS: &str = SelfRelease::OWNERS;

fn waiting(row: &Row) -> Waiting {
    let state: &str = row.get(1);
    let time = |place| {
        row.get::<_, Option<i64>>(place)
            .map(|at| words::time(at).to_string())
    };
    Waiting {
        delivery: row.get(0),
        reference: row.get(9),
        // The schema lets no other words in.
        state: State::parse(state).unwrap_or(State::Held),
        sender: row.get(10),
        recipient: row.get(3),
        binding: words::binding(row.get(4)).map_or("any", |binding| binding.word()),
        rule: row.get(5),
        because: row.get(6),
        received_at: words::time(row.get(11)).to_string(),
        released_at: time(16),
        next_attempt_at: time(2),
        attempts: attempts(row.get(7)),
        last_reply: row.get(8),
        octets: row.get(12),
        message_id: row.get(13),
        patient_data: row.get(14),
        owner_may_release: state == State::Quarantined.word() && row.get(15),
    }
}
