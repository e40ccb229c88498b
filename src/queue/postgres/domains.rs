//! The domains in which something waits, by their names: each found by one step in an index, a page at a time.

use crate::queue::error::QueueError;
use crate::queue::store::Skip;

use super::db::Db;

/// A domain and binding with something that waits.
pub(super) struct Domain {
    /// The domain.
    pub(super) domain: String,
    /// The word of the binding.
    pub(super) binding: String,
    /// One of its recipients.
    path: String,
}

impl Domain {
    /// Whether a lease passes over it.
    pub(super) fn is_skipped(&self, skip: &Skip) -> bool {
        skip.skips_words(&self.path, &self.binding)
    }
}

/// A walk through them.
pub(super) struct Domains {
    after: (String, String),
    left: usize,
}

impl Domains {
    /// The domains after this one, so many at most.
    pub(super) fn after(after: (String, String), limit: usize) -> Self {
        Self { after, left: limit }
    }

    /// The next page; empty at the end.
    pub(super) async fn next(&mut self, db: Db<'_>) -> Result<Vec<Domain>, QueueError> {
        let sql = "WITH RECURSIVE step AS (
                       (SELECT domain, binding, forward_path FROM delivery
                        WHERE state = 'due' AND (domain, binding) > ($1, $2) ORDER BY domain, binding LIMIT 1)
                       UNION ALL
                       SELECT n.* FROM step s, LATERAL (
                           SELECT domain, binding, forward_path FROM delivery
                           WHERE state = 'due' AND (domain, binding) > (s.domain, s.binding)
                           ORDER BY domain, binding LIMIT 1) n)
                   SELECT domain, binding, forward_path FROM step LIMIT $3";
        let limit = i64::try_from(self.left.min(PAGE)).unwrap_or(0);
        let rows = db
            .rows(sql, &[&self.after.0, &self.after.1, &limit])
            .await?;
        self.left -= rows.len().min(self.left);
        let page: Vec<Domain> = rows
            .iter()
            .map(|row| Domain {
                domain: row.get(0),
                binding: row.get(1),
                path: row.get(2),
            })
            .collect();
        if let Some(last) = page.last() {
            self.after = (last.domain.clone(), last.binding.clone());
        }
        Ok(page)
    }
}

/// Domains that are found at once.
const PAGE: usize = 200;
