//! The store of a fleet: one PostgreSQL database, and any number of gateways on it.
//!
//! One task writes, and commits for all who wait at that moment together (`writer`); reading goes over a
//! pool of connections. Every transaction that writes begins by locking the row that says where the audit trail ends:
//! one at a time writes in the whole fleet, so the chain has one order, and no rule of the other store is
//! another one here. A delivery in hand bears the name of its gateway (`lease`), large messages lie in the database
//! (`bodies`), and the scheduler of a name is the one whose session holds its lock (`link`).
//!
//! What the server is asked for: `synchronous_commit` on (it is set), `fsync` and `full_page_writes` on, UTF-8 and
//! version 14 (it is refused without). A standby that must not lose an answered commit has to be a synchronous one:
//! that is a matter of the server's `synchronous_standby_names`.

mod accept;
mod administer;
mod ahead;
mod audit;
mod bodies;
mod connect;
mod db;
mod domains;
mod lease;
mod link;
mod list;
mod old_names;
mod once;
mod recall;
mod rows;
mod schema;
mod self_release;
mod settle;
mod tls;
mod trace;
mod unseen;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use jiff::Timestamp;

use crate::base::Clock;
use crate::outcome::audit::AuditEvent;

use super::ahead::PAGE;
use super::damage::{DamageFn, Teller};
use super::error::{QueueError, StoreError};
use super::record::{
    Accepted, DeliveryId, Handoff, Lease, MessageId, Once, QueuedMessage, Repeated, Settlement,
};
use super::settings::PostgresSettings;
use super::store::{
    Administered, Answer, AuditEntry, Filter, Group, OldNameCount, Order, Recall, Recalled,
    Selection, SenderRelease, SentOn, Skip, Store, TraceQuery, Verified, Waiting, message_of,
};
use bodies::{Bodies, bodies_of, from_pool};
use connect::Server;
use db::Db;
use lease::{Taken, TakenLease};
use link::{Link, Trouble};
use unseen::Met;
use writer::{Batch, Work, Writer};

/// The queue in a PostgreSQL database.
pub struct PostgresStore {
    writer: Writer,
    pool: Pool,
    bodies: Bodies,
    clock: Clock,
    trouble: Trouble,
    teller: Teller,
}

impl PostgresStore {
    /// Opens the queue, and makes its tables if there are none. `gateway` is the name under which it leases;
    /// `folder` is for files without a name, of large messages in hand.
    ///
    /// # Errors
    /// The server is not there, is not one to trust with mail, or has tables of a newer version.
    pub async fn open(
        settings: &PostgresSettings,
        gateway: &str,
        folder: &Path,
        clock: Clock,
    ) -> Result<Self, QueueError> {
        let server = Server::new(settings)?;
        let pool = server.pool(READERS)?;
        let bodies = server.pool(WRITERS_OF_BODIES)?;
        let client = server.connect().await?;
        schema::make(Db(&client)).await?;
        let link = Link::new(server, clock.clone(), gateway, client).await?;
        let trouble = link.trouble();
        Ok(Self {
            writer: Writer::start(link),
            bodies: Bodies::new(bodies, gateway, folder),
            pool,
            clock,
            trouble,
            teller: Teller::default(),
        })
    }

    /// Runs a job in the writer's next transaction; answers after the commit.
    async fn write<T: Send + 'static>(
        &self,
        job: impl for<'b> FnOnce(&'b mut Batch) -> Work<'b, Result<T, QueueError>> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.writer.submit(job).await
    }

    /// A connection for reading.
    async fn reader(&self) -> Result<Reader, QueueError> {
        Ok(Reader(self.pool.get().await.map_err(from_pool)?))
    }

    /// Removes the bodies of a write that failed, unless the commit failed: then the rows may be there.
    async fn unless_unknown<T>(
        &self,
        result: Result<T, QueueError>,
        bodies: Vec<i64>,
    ) -> Result<T, QueueError> {
        match &result {
            Ok(_) | Err(QueueError::Store(StoreError::Commit(_))) => {}
            Err(_) if bodies.is_empty() => {}
            Err(_) => self.bodies.remove(bodies).await,
        }
        result
    }

    async fn recover_once(&self, now: Timestamp) -> Result<usize, QueueError> {
        let recover = self.write(move |batch| {
            Box::pin(async move {
                batch.session().serve().await?;
                bodies::remove_orphans(batch.db(), batch.gateway(), now).await?;
                lease::recover(batch, now).await
            })
        });
        recover.await
    }

    /// What follows once the leases have ended, in transactions of its own.
    async fn recovered(&self, freed: usize, now: Timestamp) -> Result<usize, QueueError> {
        while self.bring_back(now, PAGE).await? > 0 {}
        Ok(freed)
    }

    /// Reads the octets of what was leased. What cannot be read for now is given back, what is damaged held.
    async fn with_octets(&self, mut taken: TakenLease) -> Option<Lease> {
        let Some(body) = taken.body else {
            return Some(taken.into_lease());
        };
        let read = async {
            let reader = self.reader().await?;
            self.bodies.read(reader.db(), body).await
        };
        let message = taken.message.id;
        match read.await {
            Ok(Some(octets)) => {
                taken.message.message = octets;
                return Some(taken.into_lease());
            }
            Ok(None) => {
                let (now, teller) = (self.clock.now(), self.teller.clone());
                let held = self.write(move |batch| {
                    Box::pin(async move {
                        let error = lease::without_octets(message);
                        lease::hold_damaged(batch, message, now, &error, None, &teller).await
                    })
                });
                say_if_failed(held.await);
            }
            Err(error) => {
                tracing::error!(
                    error = error.to_text(),
                    "a large message could not be read back"
                );
                let ids = taken.deliveries.iter().map(|one| one.id).collect();
                say_if_failed(self.give_back(ids, self.clock.now()).await);
            }
        }
        None
    }
}

impl PostgresStore {
    async fn lease_once(
        &self,
        during: (Timestamp, Timestamp),
        limit: usize,
        skip: Skip,
        met: Met,
    ) -> Result<Taken, QueueError> {
        let teller = self.teller.clone();
        let leased = self.write(move |batch| {
            Box::pin(
                async move { lease::lease(batch, during, limit, &skip, (&teller, &met)).await },
            )
        });
        leased.await
    }

    /// Holds those of these messages that lie on damaged pages: a lease of them has failed with this error.
    async fn hold_unseen(
        &self,
        messages: Vec<MessageId>,
        now: Timestamp,
        error: QueueError,
    ) -> Result<(), QueueError> {
        let reader = self.reader().await?;
        let damaged = unseen::find(reader.db(), messages).await?;
        if damaged.is_empty() {
            return Err(error);
        }
        let teller = self.teller.clone();
        let held = self.write(move |batch| {
            Box::pin(async move {
                for (message, error, known) in damaged {
                    let known = Some(known);
                    lease::hold_damaged(batch, message, now, &error, known, &teller).await?;
                }
                Ok(())
            })
        });
        held.await
    }
}

/// A connection for reading, which goes back to the others in the end.
struct Reader(Object);

impl Reader {
    fn db(&self) -> Db<'_> {
        Db(&self.0)
    }
}

/// What fails here ends by itself, with the lease.
fn say_if_failed(result: Result<(), QueueError>) {
    if let Err(error) = result {
        tracing::error!(
            error = error.to_text(),
            "deliveries stay leased until their lease ends"
        );
    }
}

impl Store for PostgresStore {
    fn accept(&self, accepted: Vec<Accepted>, handoff: Handoff) -> Answer<'_, Option<Lease>> {
        Box::pin(async move {
            let placed = self.bodies.put_large(accepted, self.clock.now()).await?;
            let bodies = bodies_of(&placed);
            let accepted = self
                .write(move |batch| Box::pin(accept::accept(batch, placed, handoff)))
                .await;
            self.unless_unknown(accepted, bodies).await
        })
    }

    fn accept_once(
        &self,
        accepted: Vec<Accepted>,
        handoff: Handoff,
        once: Once,
    ) -> Answer<'_, Option<Lease>> {
        Box::pin(async move {
            let placed = self.bodies.put_large(accepted, self.clock.now()).await?;
            let bodies = bodies_of(&placed);
            let accepted = self
                .write(move |batch| {
                    Box::pin(async move { once::accept_once(batch, placed, handoff, &once).await })
                })
                .await;
            self.unless_unknown(accepted, bodies).await
        })
    }

    fn tell_of_damage(&self, notices: Box<DamageFn>) {
        self.teller.set(notices);
    }

    /// The server does not say how full its volume is: a full one is noticed when it refuses a write. What is known
    /// here is whether it can be written to at all.
    fn check_room(&self, _octets: u64) -> Result<(), QueueError> {
        match self.trouble.is_at_hand(self.clock.now()) {
            true => Err(Trouble::error()),
            false => Ok(()),
        }
    }

    fn repeated(&self, once: Once) -> Answer<'_, Option<Repeated>> {
        Box::pin(async move { once::repeated(self.reader().await?.db(), &once).await })
    }

    fn lease(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
        skip: Skip,
    ) -> Answer<'_, Vec<Lease>> {
        Box::pin(async move {
            let taken = loop {
                let met = Met::default();
                let leased = self.lease_once((now, until), limit, skip.clone(), met.clone());
                match (leased.await, met.take()) {
                    (Err(error), messages) if !messages.is_empty() => {
                        self.hold_unseen(messages, now, error).await?;
                    }
                    (leased, _) => break leased?,
                }
            };
            let mut leases = Vec::with_capacity(taken.leases.len());
            for one in taken.leases {
                leases.extend(self.with_octets(one).await);
            }
            Ok(leases)
        })
    }

    fn settle(&self, settlements: Vec<Settlement>, notices: Vec<Accepted>) -> Answer<'_, ()> {
        Box::pin(async move {
            let now = self.clock.now();
            let notices = self.bodies.put_large(notices, now).await?;
            let bodies = bodies_of(&notices);
            let settled = self
                .write(move |batch| {
                    Box::pin(async move { settle::settle(batch, now, &settlements, notices).await })
                })
                .await;
            self.unless_unknown(settled, bodies).await
        })
    }

    fn give_back(&self, deliveries: Vec<DeliveryId>, at: Timestamp) -> Answer<'_, ()> {
        Box::pin(self.write(move |batch| {
            Box::pin(async move { lease::give_back(batch, &deliveries, at).await })
        }))
    }

    fn recall(&self, now: Timestamp, recall: Recall, skip: Skip) -> Answer<'_, Recalled> {
        Box::pin(self.write(move |batch| {
            Box::pin(async move { recall::recall(batch, now, &recall, &skip).await })
        }))
    }

    fn record(&self, events: Vec<AuditEvent>) -> Answer<'_, ()> {
        Box::pin(self.write(move |batch| {
            Box::pin(async move {
                events.iter().for_each(|event| batch.append(event));
                Ok(())
            })
        }))
    }

    /// Ends the leases of this gateway alone: those of others end by time.
    fn recover(&self, now: Timestamp) -> Answer<'_, usize> {
        Box::pin(async move {
            for _ in 1..SERVE_TRIES {
                match self.recover_once(now).await {
                    // A process that was killed a moment ago: the server has yet to notice.
                    Err(QueueError::Served) => tokio::time::sleep(SERVE_PAUSE).await,
                    recovered => return self.recovered(recovered?, now).await,
                }
            }
            self.recovered(self.recover_once(now).await?, now).await
        })
    }

    fn bring_back(&self, now: Timestamp, limit: usize) -> Answer<'_, usize> {
        Box::pin(self.write(move |batch| {
            Box::pin(async move { ahead::bring_back(batch, now, limit).await })
        }))
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            self.writer.close().await;
            self.pool.close();
            self.bodies.close();
        })
    }

    fn next_ready(&self) -> Answer<'_, Option<Timestamp>> {
        Box::pin(async move { lease::next_ready(self.reader().await?.db()).await })
    }

    fn administer(
        &self,
        selection: Selection,
        order: Order,
        by: String,
    ) -> Answer<'_, Administered> {
        let (now, bodies) = (self.clock.now(), self.bodies.clone());
        Box::pin(self.write(move |batch| {
            Box::pin(async move {
                administer::administer(batch, &bodies, now, (&selection, &order, &by)).await
            })
        }))
    }

    fn release_by_sender(&self, asked: SenderRelease) -> Answer<'_, Vec<SentOn>> {
        let now = self.clock.now();
        Box::pin(self.write(move |batch| {
            Box::pin(async move { self_release::release(batch, now, &asked).await })
        }))
    }

    fn message(&self, delivery: DeliveryId) -> Answer<'_, Option<Arc<QueuedMessage>>> {
        Box::pin(async move {
            let reader = self.reader().await?;
            rows::message(reader.db(), &self.bodies, message_of(delivery)).await
        })
    }

    fn list(&self, filter: Filter) -> Answer<'_, Vec<Waiting>> {
        Box::pin(async move { list::list(self.reader().await?.db(), &filter).await })
    }

    fn groups(&self, now: Timestamp) -> Answer<'_, Vec<Group>> {
        Box::pin(async move { list::groups(self.reader().await?.db(), now).await })
    }

    fn count(&self) -> Answer<'_, BTreeMap<&'static str, i64>> {
        Box::pin(async move { list::count(self.reader().await?.db()).await })
    }

    fn trace(&self, query: TraceQuery, limit: usize) -> Answer<'_, Vec<AuditEntry>> {
        Box::pin(async move { trace::trace(self.reader().await?.db(), &query, limit).await })
    }

    fn events(&self, from: i64, limit: usize) -> Answer<'_, Vec<AuditEntry>> {
        Box::pin(async move { audit::events(self.reader().await?.db(), from, limit).await })
    }

    fn old_names(&self, limit: usize) -> Answer<'_, Vec<OldNameCount>> {
        Box::pin(async move { old_names::list(self.reader().await?.db(), limit).await })
    }

    fn verify(&self) -> Answer<'_, Verified> {
        Box::pin(async move { audit::verify(self.reader().await?.db()).await })
    }
}

/// Connections for reading: the gateway's own, and those of what people look at.
const READERS: usize = 6;
/// Large messages that are written at once; others wait for their turn.
const WRITERS_OF_BODIES: usize = 4;
/// How often a name is asked for that another session still holds, and how long the pause is: two seconds in all.
const SERVE_TRIES: u32 = 20;
const SERVE_PAUSE: Duration = Duration::from_millis(100);
