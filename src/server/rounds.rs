//! The rounds: what somebody must look at, and has not. Holds that are too old, entries of the register
//! of secure domains that lapse, and keys that the DNS does not have.
//!
//! What is found is counted in metrics at every round and said in the log once: a hold when it becomes
//! overdue, an entry once a day.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::base::dns::Dns;
use crate::base::{Clock, Shutdown, metrics};
use crate::outcome::Letterhead;
use crate::policy::Policy;
use crate::policy::secure_domains::Lapse;
use crate::policy::signing::Published;
use crate::queue::{DeliveryId, Filter, Order, Queue, QueueError, Selection, State, Waiting};

/// What goes round.
pub(super) struct Rounds {
    pub(super) queue: Queue,
    pub(super) policies: watch::Receiver<Arc<Policy>>,
    pub(super) clock: Clock,
    pub(super) dns: Dns,
    pub(super) letterhead: Letterhead,
}

/// What was said already.
#[derive(Default)]
struct Said {
    day: Option<Date>,
    keys: Option<Timestamp>,
    overdue: HashSet<i64>,
    senders_behind: bool,
}

impl Rounds {
    /// Goes round until the shutdown begins.
    pub(super) async fn run(self, shutdown: Shutdown) {
        let mut said = Said::default();
        while !shutdown.has_begun() {
            let now = self.clock.now();
            self.look_at_domains(now, &mut said);
            self.look_at_senders(&mut said);
            if let Err(error) = self.look_at_holds(now, &mut said).await {
                error!(%error, "what is held could not be looked at");
            }
            // Last, for it waits for name servers; not for longer than the gateway runs.
            tokio::select! {
                () = self.look_at_keys(now, &mut said) => {}
                () = shutdown.begun() => {}
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.begun() => {}
            }
        }
    }

    /// Memory that cannot be written is kept for a while, and then lost.
    fn look_at_senders(&self, said: &mut Said) {
        let known = self.policies.borrow().known().clone();
        let is_behind = known.store.is_some_and(|store| store.is_behind());
        if is_behind && !said.senders_behind {
            warn!("what is learnt of senders cannot be written: it is tried again");
        }
        said.senders_behind = is_behind;
    }

    fn look_at_domains(&self, now: Timestamp, said: &mut Said) {
        let policy = Arc::clone(&self.policies.borrow());
        let today = now.to_zoned(TimeZone::UTC).date();
        let is_said = said.day.replace(today) == Some(today);
        let (mut lapsing, mut lapsed) = (0, 0);
        for (entry, lapse) in policy.secure_domains().lapses(now) {
            let (pattern, owner, rule) =
                (entry.pattern.as_str(), &entry.owner, entry.pattern.source());
            match lapse {
                Lapse::Soon(until) => {
                    lapsing += 1;
                    if !is_said {
                        warn!(pattern, owner, rule, %until, "a secure domain lapses: renew its entry");
                    }
                }
                Lapse::Lapsed(until) => {
                    lapsed += 1;
                    if !is_said {
                        warn!(pattern, owner, rule, %until, "a secure domain has lapsed: patient data for it is held");
                    }
                }
            }
        }
        metrics::DOMAINS_LAPSING.set(lapsing);
        metrics::DOMAINS_LAPSED.set(lapsed);
    }

    /// Once an hour: a key that verifiers do not find makes the signature worthless.
    async fn look_at_keys(&self, now: Timestamp, said: &mut Said) {
        if said.keys.is_some_and(|last| now < last + KEYS_EVERY) {
            return;
        }
        said.keys = Some(now);
        self.forget_senders(now).await;
        let signing = Arc::clone(self.policies.borrow().signing());
        let today = now.to_zoned(TimeZone::UTC).date();
        let mut unpublished = 0;
        for key in signing.keys().iter().filter(|key| key.signs_on(today)) {
            let published = Published::ask(key, &self.dns).await;
            if matches!(published, Published::Missing | Published::Differs) {
                unpublished += 1;
                let (name, record) = (key.record_name(), published.word());
                warn!(
                    name,
                    record, "a key that signs is not published: see `postern dkim check`"
                );
            }
        }
        metrics::KEYS_UNPUBLISHED.set(unpublished);
    }

    /// What is remembered of senders, and too old to count.
    async fn forget_senders(&self, now: Timestamp) {
        let known = self.policies.borrow().known().clone();
        let Some(store) = known.store else { return };
        if let Err(error) = known.senders.forget(&store, now).await {
            warn!(%error, "old senders are not forgotten");
        }
    }

    async fn look_at_holds(&self, now: Timestamp, said: &mut Said) -> Result<(), QueueError> {
        // For what notices it: where no mail comes nobody else asks whether the database is still there.
        let _ = self.queue.check_room(0);
        let holds = self.policies.borrow().holds().clone();
        let held = self.count_queue(now).await?;
        metrics::HOLDS.set(held);
        let overdue = self.held_before(now - holds.alarm_after).await?;
        metrics::HOLDS_OVERDUE.set(i64::try_from(overdue.len()).unwrap_or(i64::MAX));
        for one in &overdue {
            if said.overdue.insert(one.delivery) {
                let since = one.released_at.as_ref().unwrap_or(&one.received_at);
                let (reference, rule) = (&one.reference, &one.rule);
                error!(%reference, since, rule, owner = holds.owner, "ALARM: a message is held for too long");
            }
        }
        let still: HashSet<i64> = overdue.iter().map(|one| one.delivery).collect();
        said.overdue.retain(|delivery| still.contains(delivery));
        if let Some(after) = holds.fail_after {
            for one in self.held_before(now - after).await? {
                self.fail(&one).await?;
            }
        }
        Ok(())
    }

    /// Counts what is in the queue; returns how much of it is held.
    async fn count_queue(&self, now: Timestamp) -> Result<i64, QueueError> {
        let counts = self.queue.count().await?;
        let of = |state: State| counts.get(state.word()).copied().unwrap_or(0);
        metrics::QUEUE_DUE.set(of(State::Due));
        metrics::QUEUE_LEASED.set(of(State::Leased));
        metrics::QUEUE_HELD.set(of(State::Held));
        metrics::QUEUE_QUARANTINED.set(of(State::Quarantined));
        let next = self.queue.next_ready().await?.unwrap_or(now);
        metrics::QUEUE_LATE_SECONDS.set((now - next).get_seconds().max(0));
        Ok(of(State::Held))
    }

    /// What somebody let go on, and is held again, is not held since it came.
    async fn held_before(&self, before: Timestamp) -> Result<Vec<Waiting>, QueueError> {
        let filter = Filter {
            states: vec![State::Held],
            began_before: Some(before),
            limit: LOOKED_AT,
            ..Filter::default()
        };
        self.queue.list(filter).await
    }

    /// Gives it up as an administrator would: with a report to the sender and an event in the trail.
    async fn fail(&self, held: &Waiting) -> Result<(), QueueError> {
        let order = Order::Fail {
            reason: "it was held, and nobody decided about it in time".to_owned(),
            letterhead: self.letterhead.clone(),
        };
        let delivery = Selection::Delivery(DeliveryId(held.delivery));
        self.queue
            .administer(delivery, order, BY.to_owned())
            .await?;
        Ok(())
    }
}

/// Between two looks at the DNS.
const KEYS_EVERY: Duration = Duration::from_secs(60 * 60);
/// Between two rounds.
const EVERY: Duration = Duration::from_secs(60);
/// Holds looked at in one round: the oldest.
const LOOKED_AT: usize = 1_000;
/// Who fails what is held for too long, in the audit trail.
const BY: &str = "postern";
