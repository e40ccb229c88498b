//! Looking at what waits.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use crate::queue::chain;
use crate::queue::error::QueueError;
use crate::queue::record::SelfRelease;
use crate::queue::store::{Filter, PLACES, State, Waiting};
use crate::queue::words;

use super::rows::{count_of, text_of};

/// The deliveries that the filter lets through, in the order of their acceptance.
pub(super) fn list(db: &Connection, filter: &Filter) -> Result<Vec<Waiting>, QueueError> {
    let (condition, values) = condition(filter);
    let limit = match filter.limit {
        0 => -1,
        limit => chain::count(limit),
    };
    let mut statement = db.prepare(&format!(
        "SELECT d.id, d.state, d.ready_at, d.forward_path, d.binding, d.rule, d.because, d.attempts,
                d.last_reply, m.reference, m.reverse_path, m.received_at, m.octets, m.message_id, m.patient_data,
                EXISTS (SELECT 1 FROM self_release s WHERE s.delivery = d.id AND s.grounds = '{OWNERS}'), d.released_at
         FROM delivery d JOIN message m ON m.id = d.id / {PLACES}
         WHERE {condition} ORDER BY d.id LIMIT {limit}"
    ))?;
    let rows = statement.query_map(params_from_iter(values), waiting)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many deliveries there are in each state.
pub(super) fn count(db: &Connection) -> Result<BTreeMap<&'static str, i64>, QueueError> {
    let mut counts: BTreeMap<_, _> = State::ALL.iter().map(|state| (state.word(), 0)).collect();
    let mut statement = db.prepare_cached("SELECT state, count(*) FROM delivery GROUP BY state")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    for row in rows {
        let (word, number) = row?;
        if let Some(state) = State::parse(&word) {
            counts.insert(state.word(), number);
        }
    }
    Ok(counts)
}

/// The condition of the statement, and what it is given.
fn condition(filter: &Filter) -> (String, Vec<Value>) {
    let (mut terms, mut values) = (vec!["1".to_owned()], Vec::new());
    if !filter.states.is_empty() {
        // The words are ours, so they may stand in the statement.
        let word = |state: &State| format!("'{}'", state.word());
        let words: Vec<String> = filter.states.iter().map(word).collect();
        terms.push(format!("d.state IN ({})", words.join(", ")));
    }
    if filter.states.iter().all(|state| state.waits_for_somebody()) && !filter.states.is_empty() {
        terms.push("d.ready_at IS NULL".to_owned());
    }
    if let Some(reference) = &filter.reference {
        values.push(Value::Text(reference.to_string()));
        let last = PLACES - 1;
        terms.push(format!(
            "m.reference = ? AND d.id BETWEEN m.id * {PLACES} AND m.id * {PLACES} + {last}"
        ));
    }
    if let Some(before) = filter.received_before {
        values.push(Value::Integer(before.as_millisecond()));
        terms.push("m.received_at < ?".to_owned());
    }
    if let Some(before) = filter.began_before {
        values.push(Value::Integer(before.as_millisecond()));
        terms.push("coalesce(d.released_at, m.received_at) < ?".to_owned());
    }
    if let Some(domain) = &filter.domain {
        values.push(Value::Text(domain.to_ascii_lowercase()));
        terms.push("d.domain = ?".to_owned());
    }
    if let Some(from) = filter.received_from {
        values.push(Value::Integer(from.as_millisecond()));
        terms.push("m.received_at >= ?".to_owned());
    }
    if let Some(delivery) = filter.delivery {
        values.push(Value::Integer(delivery.0));
        terms.push("d.id = ?".to_owned());
    }
    if let Some(after) = filter.after {
        values.push(Value::Integer(after.0));
        terms.push("d.id > ?".to_owned());
    }
    if let Some(patient_data) = filter.patient_data {
        values.push(Value::Integer(i64::from(patient_data)));
        terms.push("m.patient_data = ?".to_owned());
    }
    for (column, part) in [
        ("m.reverse_path", &filter.sender),
        ("d.forward_path", &filter.recipient),
        ("d.because", &filter.because),
    ] {
        if let Some(part) = part {
            values.push(Value::Text(part.to_lowercase()));
            terms.push(format!("instr(lower({column}), ?) > 0"));
        }
    }
    (terms.join(" AND "), values)
}

/// The grounds of what the owner of a mailbox may let go on, as the policy writes them.
const OWNERS: &str = SelfRelease::OWNERS;

/// A damaged word is shown as far as it can be: who looks for it must not see nothing at all.
fn waiting(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    let state: String = row.get(1)?;
    let binding: String = row.get(4)?;
    let word = |at| text_of(row, at).map(Option::unwrap_or_default);
    Ok(Waiting {
        delivery: row.get(0)?,
        reference: word(9)?,
        // The schema lets no other words in.
        state: State::parse(&state).unwrap_or(State::Held),
        sender: word(10)?,
        recipient: word(3)?,
        binding: words::binding(&binding).map_or("any", |binding| binding.word()),
        rule: word(5)?,
        because: word(6)?,
        received_at: words::time(row.get(11)?).to_string(),
        released_at: row
            .get::<_, Option<i64>>(16)?
            .map(|at| words::time(at).to_string()),
        next_attempt_at: row
            .get::<_, Option<i64>>(2)?
            .map(|at| words::time(at).to_string()),
        attempts: count_of(row, 7)?,
        last_reply: text_of(row, 8)?,
        octets: row.get(12)?,
        message_id: text_of(row, 13)?,
        patient_data: row.get(14)?,
        owner_may_release: state == State::Quarantined.word() && row.get(15)?,
    })
}
