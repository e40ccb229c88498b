//! What waits, summed up: for each domain, binding and state one row.

use jiff::Timestamp;
use rusqlite::Connection;

use crate::queue::error::QueueError;
use crate::queue::store::{Group, State};
use crate::queue::words;

/// One row for each domain, binding and state; of each the delivery that is next.
pub(super) fn groups(db: &Connection, now: Timestamp) -> Result<Vec<Group>, QueueError> {
    // With min() alone SQLite takes the other columns from the row that has it.
    let mut statement = db.prepare_cached(
        "SELECT forward_path, binding, state, count(*), coalesce(min(ready_at), 0), ready_at, last_reply,
                sum(state = 'due' AND ready_at <= ?1)
         FROM delivery GROUP BY domain, binding, state ORDER BY domain, binding, state",
    )?;
    let mut rows = statement.query([now.as_millisecond()])?;
    let mut groups = Vec::new();
    while let Some(row) = rows.next()? {
        let path = row.get_ref(0)?.as_str().ok().and_then(words::forward_path);
        let binding = row.get_ref(1)?.as_str().ok().and_then(words::binding);
        let state: String = row.get(2)?;
        // A damaged row is for `queue show`.
        let (Some(path), Some(binding)) = (path, binding) else {
            continue;
        };
        groups.push(Group {
            path,
            binding,
            state: State::parse(&state).unwrap_or(State::Held),
            count: row.get(3)?,
            next: row.get::<_, Option<i64>>(5)?.map(words::time),
            last_reply: row.get(6)?,
            due: row.get::<_, Option<i64>>(7)?.unwrap_or(0),
        });
    }
    Ok(groups)
}
