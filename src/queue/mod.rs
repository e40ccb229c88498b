//! What was promised: messages, their deliveries, and the audit trail, durable before anybody is told.
//!
//! A delivery is one recipient of one message. Four transactions move it (`manual::queue_states`
//! has the table): [`Queue::accept`] makes it, [`Queue::lease`] hands it to the scheduler,
//! [`Queue::settle`] writes what came of an attempt together with the reports that follow, and
//! [`Queue::administer`] carries out an administrator's order. A reply of 250 follows `accept`; nothing else may. (Of what
//! went straight through `accept` has the record alone: a message without deliveries.)

mod ahead;
mod chain;
mod damage;
pub mod destinations;
pub mod error;
mod fair;
mod gathering;
mod handling;
mod known;
mod moment;
mod orders;
pub mod postgres;
pub mod record;
mod search;
pub mod settings;
mod skip;
mod spool;
pub mod sqlite;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;
mod words;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use crate::base::Clock;
use crate::outcome::audit::AuditEvent;

pub use damage::{DamageFn, Damaged};
pub use error::{QueueError, StoreError};
pub use handling::{Handling, PolicyMark};
pub use postgres::PostgresStore;
pub use record::{
    Accepted, Binding, DeliveryId, Handoff, LEASE, Lease, LeasedDelivery, MessageId, NewDelivery,
    Next, OldNameNotice, OldNameUse, Once, QueuedMessage, Repeated, SelfRelease, Settlement,
    Standing,
};
pub use settings::{PostgresSettings, Settings};
pub use sqlite::SqliteStore;
pub use store::{
    Administered, AuditEntry, Fault, Filter, Group, OldNameCount, Order, Recall, Recalled,
    Selection, SenderRelease, SentOn, Skip, State, Store, TraceQuery, Verified, Waiting,
};

/// The queue. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Queue {
    store: Arc<dyn Store>,
    clock: Clock,
}

impl Queue {
    /// Opens the queue in a folder, and makes it if there is none. Several processes may have it
    /// open: the gateway, and the commands of administrators.
    pub async fn open(folder: &Path, clock: Clock) -> Result<Self, QueueError> {
        let folder = folder.to_owned();
        let opened = clock.clone();
        let open = tokio::task::spawn_blocking(move || SqliteStore::open(&folder, opened));
        let store = open.await.map_err(|_| StoreError::Ended)??;
        Ok(Self::on(store, clock))
    }

    /// Opens the queue where the settings say that it lies: in a database, under the name of this gateway, or in
    /// the data folder.
    pub async fn open_by(
        settings: &Settings,
        data: &Path,
        gateway: &str,
        clock: Clock,
    ) -> Result<Self, QueueError> {
        let Some(postgres) = &settings.postgres else {
            return Self::open(data, clock).await;
        };
        let store = PostgresStore::open(postgres, gateway, data, clock.clone()).await?;
        Ok(Self::on(store, clock))
    }

    /// The queue on this store.
    pub fn on(store: impl Store, clock: Clock) -> Self {
        Self {
            store: Arc::new(store),
            clock,
        }
    }

    /// Takes over a message; durable when it returns. With [`Handoff::LeaseUntil`] the due deliveries
    /// come back leased in the same transaction; `None` if none is due.
    pub async fn accept(
        &self,
        accepted: Accepted,
        handoff: Handoff,
    ) -> Result<Option<Lease>, QueueError> {
        self.store.accept(vec![accepted], handoff).await
    }

    /// The same, with reports about recipients that were refused after the others were accepted: all
    /// in one transaction.
    pub async fn accept_with_notices(
        &self,
        accepted: Accepted,
        notices: Vec<Accepted>,
        handoff: Handoff,
    ) -> Result<Option<Lease>, QueueError> {
        let all = std::iter::once(accepted).chain(notices).collect();
        self.store.accept(all, handoff).await
    }

    /// The same for a message that is meant once.
    ///
    /// # Errors
    /// [`QueueError::Repeated`]: it is here already, and nothing was written.
    pub async fn accept_once(
        &self,
        accepted: Accepted,
        notices: Vec<Accepted>,
        handoff: Handoff,
        once: Once,
    ) -> Result<Option<Lease>, QueueError> {
        let all = std::iter::once(accepted).chain(notices).collect();
        self.store.accept_once(all, handoff, once).await
    }

    /// From now on, what is held because it cannot be read back is told of: what `notices` writes is queued in the transaction
    /// that holds it. For the gateway, before it leases anything; said once.
    pub fn tell_of_damage(
        &self,
        notices: impl Fn(&Damaged) -> Vec<Accepted> + Send + Sync + 'static,
    ) {
        self.store.tell_of_damage(Box::new(notices));
    }

    /// Whether a message of so many octets could be taken now: errs with [`QueueError::Full`] if not. For whoever must
    /// not begin what could not be written down.
    pub fn check_room(&self, octets: u64) -> Result<(), QueueError> {
        self.store.check_room(octets)
    }

    /// The message that came before under this key, if there is one. That there is none may not be true any more when
    /// it is read: [`Queue::accept_once`] looks again.
    pub async fn repeated(&self, once: Once) -> Result<Option<Repeated>, QueueError> {
        self.store.repeated(once).await
    }

    /// Leases what is due or whose lease ran out until [`LEASE`] from `now`, up to `limit` messages.
    pub async fn lease(
        &self,
        now: Timestamp,
        limit: usize,
        skip: Skip,
    ) -> Result<Vec<Lease>, QueueError> {
        self.store.lease(now, now + LEASE, limit, skip).await
    }

    /// Writes what came of attempts and the reports that follow, in one transaction.
    pub async fn settle(
        &self,
        settlements: Vec<Settlement>,
        notices: Vec<Accepted>,
    ) -> Result<(), QueueError> {
        self.store.settle(settlements, notices).await
    }

    /// Gives leased deliveries back untried.
    pub async fn give_back(
        &self,
        deliveries: Vec<DeliveryId>,
        at: Timestamp,
    ) -> Result<(), QueueError> {
        self.store.give_back(deliveries, at).await
    }

    /// Makes due what waits for a later attempt because nobody was there, but for what `skip` passes over.
    pub async fn recall(
        &self,
        now: Timestamp,
        recall: Recall,
        skip: Skip,
    ) -> Result<Recalled, QueueError> {
        self.store.recall(now, recall, skip).await
    }

    /// Writes events that stand alone: refusals, reloads, changes of accounts.
    pub async fn record(&self, events: Vec<AuditEvent>) -> Result<(), QueueError> {
        self.store.record(events).await
    }

    /// Makes this process the queue's one scheduler and ends the leases of the one before it.
    /// Returns how many there were.
    pub async fn recover(&self) -> Result<usize, QueueError> {
        self.store.recover(self.clock.now()).await
    }

    /// Makes due what waits for a far date only because the clock was ahead when it came: for the scheduler, when the
    /// clock was set back. Returns how many messages there were.
    pub async fn bring_back(&self) -> Result<usize, QueueError> {
        let (mut all, now) = (0, self.clock.now());
        loop {
            match self.store.bring_back(now, ahead::PAGE).await? {
                0 => return Ok(all),
                some => all += some,
            }
        }
    }

    /// Ends the queue: what was asked before is done and durable when this returns; what is asked
    /// afterwards fails.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// When something becomes due next, or a lease ends; in the past if something is due now.
    pub async fn next_ready(&self) -> Result<Option<Timestamp>, QueueError> {
        self.store.next_ready().await
    }

    /// Carries out an administrator's order; `by` names him in the audit trail.
    pub async fn administer(
        &self,
        selection: Selection,
        order: Order,
        by: impl Into<String>,
    ) -> Result<Administered, QueueError> {
        self.store.administer(selection, order, by.into()).await
    }

    /// Lets go on what its sender may, once, with its event and notices. Empty if the code is not good for it.
    pub async fn release_by_sender(&self, asked: SenderRelease) -> Result<Vec<SentOn>, QueueError> {
        self.store.release_by_sender(asked).await
    }

    /// The message of a delivery with its octets, for whoever may look at it; `None` if it is gone.
    pub async fn message(
        &self,
        delivery: DeliveryId,
    ) -> Result<Option<Arc<QueuedMessage>>, QueueError> {
        self.store.message(delivery).await
    }

    /// Lists deliveries in the order of their acceptance.
    pub async fn list(&self, filter: Filter) -> Result<Vec<Waiting>, QueueError> {
        self.store.list(filter).await
    }

    /// What waits, one row for each domain, binding and state.
    pub async fn groups(&self) -> Result<Vec<Group>, QueueError> {
        self.store.groups(self.clock.now()).await
    }

    /// How many deliveries there are in each state.
    pub async fn count(&self) -> Result<BTreeMap<&'static str, i64>, QueueError> {
        self.store.count().await
    }

    /// The events that a query finds, oldest first, `limit` at most.
    pub async fn trace(
        &self,
        query: TraceQuery,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, QueueError> {
        self.store.trace(query, limit).await
    }

    /// The events from number `from` on (the first is 1), `limit` at most: an export asks for page after page.
    pub async fn events(&self, from: i64, limit: usize) -> Result<Vec<AuditEntry>, QueueError> {
        self.store.events(from, limit).await
    }

    /// How often each old name was used and by whom, the most used first, `limit` names at most.
    pub async fn old_names(&self, limit: usize) -> Result<Vec<OldNameCount>, QueueError> {
        self.store.old_names(limit).await
    }

    /// Goes over the whole chain of events.
    pub async fn verify(&self) -> Result<Verified, QueueError> {
        self.store.verify().await
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}
