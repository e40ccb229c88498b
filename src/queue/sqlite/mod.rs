//! The store on one machine: SQLite in WAL mode, every commit synced (`synchronous=FULL`).
//!
//! One thread writes, and commits for all who wait at that moment together (`writer`); reading
//! goes over connections of its own and waits for nobody. Another process may have the same
//! database open: `postern queue …` beside `postern serve`.

mod accept;
mod administer;
mod ahead;
mod audit;
mod careful;
mod checkpoint;
mod damaged;
mod groups;
mod lease;
mod list;
mod old_names;
mod once;
mod place;
mod recall;
mod rescue;
mod rows;
mod self_release;
mod settle;
mod trace;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::base::{Clock, private};
use crate::outcome::audit::AuditEvent;

use super::ahead::PAGE;
use super::damage::DamageFn;
use super::error::{QueueError, StoreError};
use super::record::{
    Accepted, DeliveryId, Handoff, Lease, MessageId, Once, QueuedMessage, Repeated, Settlement,
};
use super::spool::{self, Spool};
use super::store::{
    Administered, Answer, AuditEntry, Filter, Group, OldNameCount, Order, Recall, Recalled,
    Selection, SenderRelease, SentOn, Skip, Store, TraceQuery, Verified, Waiting, message_of,
};
use checkpoint::Checkpoints;
use damaged::Damage;
use place::{Identity, Place};
use writer::{Batch, Kind, Writer};

/// The queue in a SQLite database and a folder of large messages beside it.
pub struct SqliteStore {
    writer: Writer,
    reader: Arc<Mutex<Connection>>,
    spool: Spool,
    place: Arc<Place>,
    damage: Damage,
    clock: Clock,
    folder: PathBuf,
    /// Held from [`Store::recover`] on: one scheduler for each queue.
    lock: Mutex<Option<File>>,
}

impl SqliteStore {
    /// Opens the queue in a folder, and makes it if there is none. Blocks.
    pub fn open(folder: &Path, clock: Clock) -> Result<Self, QueueError> {
        Self::open_with(folder, clock, |_| {})
    }

    /// The same; `configure` gets the connection of the writer before anything is written through it.
    /// Tests look on, or stop the process, between any two of its statements.
    pub fn open_with(
        folder: &Path,
        clock: Clock,
        configure: impl FnOnce(&mut Connection),
    ) -> Result<Self, QueueError> {
        let spool = Spool::open(folder)?;
        let path = folder.join(DATABASE);
        place::check_before_opening(&path)?;
        let made = private::make(&path).and_then(|_| Identity::of(&path));
        let made = made.map_err(|error| StoreError::file(&path, error))?;
        let mut connection = Connection::open(&path).map_err(StoreError::Sqlite)?;
        prepare(&mut connection).map_err(StoreError::Sqlite)?;
        make_schema(&connection)?;
        configure(&mut connection);
        let reader = read_only(&path).map_err(StoreError::Sqlite)?;
        let checkpoints = Checkpoints::start(&mut connection, &path).map_err(StoreError::Sqlite)?;
        let place = Arc::new(Place::of(&path, made)?);
        Ok(Self {
            writer: Writer::start(connection, checkpoints, spool.clone(), Arc::clone(&place)),
            reader: Arc::new(Mutex::new(reader)),
            spool,
            place,
            damage: Damage::default(),
            clock,
            folder: folder.to_owned(),
            lock: Mutex::new(None),
        })
    }

    /// Runs a job in the writer's next transaction, for somebody who waits; answers after the commit. What he is told must
    /// be there at the next start.
    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Batch<'_>) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.place.check()?;
        self.writer.submit(Kind::Promise, job).await
    }

    /// The same for a step of the scheduler, which goes on with what there is wherever the database lies.
    async fn step<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Batch<'_>) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.writer.submit(Kind::Step, job).await
    }

    /// Runs a query beside the writer, off the async threads.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let reader = Arc::clone(&self.reader);
        let done = tokio::task::spawn_blocking(move || {
            // A panic in a query leaves the connection as good as it was.
            query(&reader.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.map_err(|_| StoreError::Ended)?
    }

    /// Removes the files of a write that failed, unless the commit failed: then the rows may be there.
    fn unless_unknown<T>(
        &self,
        result: Result<T, QueueError>,
        files: Vec<String>,
    ) -> Result<T, QueueError> {
        match &result {
            Ok(_) | Err(QueueError::Store(StoreError::Commit(_))) => {}
            Err(_) => self.spool.remove(&files),
        }
        result
    }

    /// Takes the lock that makes this process the one scheduler of the queue.
    fn become_scheduler(&self) -> Result<(), QueueError> {
        let path = self.folder.join(LOCK);
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            // Who may open it may lock it.
            let file = private::make(&path).map_err(|error| StoreError::file(&path, error))?;
            file.try_lock().map_err(|_| QueueError::Served)?;
            *lock = Some(file);
        }
        Ok(())
    }
}

impl Store for SqliteStore {
    fn accept(&self, accepted: Vec<Accepted>, handoff: Handoff) -> Answer<'_, Option<Lease>> {
        Box::pin(async move {
            self.spool.check_room(spool::octets_of(&accepted))?;
            let placed = self.spool.put_large(accepted).await?;
            let files = spool::files_of(&placed);
            let accepted = self
                .write(move |batch| accept::accept(batch, placed, handoff))
                .await;
            self.unless_unknown(accepted, files)
        })
    }

    fn accept_once(
        &self,
        accepted: Vec<Accepted>,
        handoff: Handoff,
        once: Once,
    ) -> Answer<'_, Option<Lease>> {
        Box::pin(async move {
            self.spool.check_room(spool::octets_of(&accepted))?;
            let placed = self.spool.put_large(accepted).await?;
            let files = spool::files_of(&placed);
            let accepted = self
                .write(move |batch| once::accept_once(batch, placed, handoff, &once))
                .await;
            self.unless_unknown(accepted, files)
        })
    }

    fn tell_of_damage(&self, notices: Box<DamageFn>) {
        self.damage.teller.set(notices);
    }

    fn check_room(&self, octets: u64) -> Result<(), QueueError> {
        self.place.check()?;
        self.spool.check_room(octets)
    }

    fn repeated(&self, once: Once) -> Answer<'_, Option<Repeated>> {
        Box::pin(self.read(move |connection| once::repeated(connection, &once)))
    }

    fn lease(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
        skip: Skip,
    ) -> Answer<'_, Vec<Lease>> {
        Box::pin(async move {
            loop {
                let leased = self.lease_once((now, until), limit, skip.clone()).await;
                match (leased, self.damage.met()) {
                    // Held, or passed over: it is not met again.
                    (Err(error), Some(message)) => self.hold_unseen(message, now, error).await?,
                    (Err(error), None) if self.damage.begins_with(&error) => {}
                    (leased, _) => {
                        if leased.is_ok() {
                            self.damage.is_read();
                        }
                        return leased;
                    }
                }
            }
        })
    }

    fn settle(&self, settlements: Vec<Settlement>, notices: Vec<Accepted>) -> Answer<'_, ()> {
        Box::pin(async move {
            let now = self.clock.now();
            let notices = self.spool.put_large(notices).await?;
            let files = spool::files_of(&notices);
            let settled = self
                .writer
                .submit(Kind::Aftermath, move |batch| {
                    settle::settle(batch, now, settlements, notices)
                })
                .await;
            self.unless_unknown(settled, files)
        })
    }

    fn give_back(&self, deliveries: Vec<DeliveryId>, at: Timestamp) -> Answer<'_, ()> {
        Box::pin(self.step(move |batch| lease::give_back(batch, &deliveries, at)))
    }

    fn recall(&self, now: Timestamp, recall: Recall, skip: Skip) -> Answer<'_, Recalled> {
        Box::pin(self.step(move |batch| recall::recall(batch, now, &recall, &skip)))
    }

    fn record(&self, events: Vec<AuditEvent>) -> Answer<'_, ()> {
        Box::pin(self.write(move |batch| events.iter().try_for_each(|event| batch.append(event))))
    }

    fn recover(&self, now: Timestamp) -> Answer<'_, usize> {
        Box::pin(async move {
            self.become_scheduler()?;
            let spool = self.spool.clone();
            let on_disk = spool.files().await?;
            let recovered = self.step(move |batch| lease::recover(batch, now)).await;
            let (freed, known) = match recovered {
                Err(error) if self.damage.begins_at_start(&error) => {
                    let leased = self.read(careful::leased).await?;
                    self.step(move |batch| lease::recover_these(batch, &leased, now))
                        .await?
                }
                recovered => recovered?,
            };
            spool.remove_orphans(on_disk, &known).await;
            while self.bring_back(now, PAGE).await? > 0 {}
            Ok(freed)
        })
    }

    fn bring_back(&self, now: Timestamp, limit: usize) -> Answer<'_, usize> {
        Box::pin(self.step(move |batch| ahead::bring_back(batch, now, limit)))
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            self.writer.close().await;
            self.rescue().await;
        })
    }

    fn next_ready(&self) -> Answer<'_, Option<Timestamp>> {
        Box::pin(self.read(lease::next_ready))
    }

    fn administer(
        &self,
        selection: Selection,
        order: Order,
        by: String,
    ) -> Answer<'_, Administered> {
        let now = self.clock.now();
        Box::pin(
            self.write(move |batch| administer::administer(batch, now, &selection, &order, &by)),
        )
    }

    fn release_by_sender(&self, asked: SenderRelease) -> Answer<'_, Vec<SentOn>> {
        let now = self.clock.now();
        Box::pin(self.write(move |batch| self_release::release(batch, now, &asked)))
    }

    fn message(&self, delivery: DeliveryId) -> Answer<'_, Option<Arc<QueuedMessage>>> {
        let spool = self.spool.clone();
        Box::pin(self.read(move |db| rows::message(db, &spool, message_of(delivery))))
    }

    fn list(&self, filter: Filter) -> Answer<'_, Vec<Waiting>> {
        Box::pin(self.read(move |connection| list::list(connection, &filter)))
    }

    fn groups(&self, now: Timestamp) -> Answer<'_, Vec<Group>> {
        Box::pin(self.read(move |connection| groups::groups(connection, now)))
    }

    fn count(&self) -> Answer<'_, BTreeMap<&'static str, i64>> {
        Box::pin(self.read(list::count))
    }

    fn trace(&self, query: TraceQuery, limit: usize) -> Answer<'_, Vec<AuditEntry>> {
        Box::pin(self.read(move |connection| trace::trace(connection, &query, limit)))
    }

    fn events(&self, from: i64, limit: usize) -> Answer<'_, Vec<AuditEntry>> {
        Box::pin(self.read(move |connection| audit::events(connection, from, limit)))
    }

    fn old_names(&self, limit: usize) -> Answer<'_, Vec<OldNameCount>> {
        Box::pin(self.read(move |connection| old_names::list(connection, limit)))
    }

    fn verify(&self) -> Answer<'_, Verified> {
        Box::pin(self.read(audit::verify))
    }
}

impl SqliteStore {
    async fn lease_once(
        &self,
        during: (Timestamp, Timestamp),
        limit: usize,
        skip: Skip,
    ) -> Result<Vec<Lease>, QueueError> {
        let damage = self.damage.clone();
        self.step(move |batch| lease::lease(batch, during, limit, &skip, &damage))
            .await
    }

    /// Holds a message that lies on a damaged page, or puts off one that the disk did not give: it has failed a transaction
    /// with this error.
    async fn hold_unseen(
        &self,
        message: MessageId,
        now: Timestamp,
        error: QueueError,
    ) -> Result<(), QueueError> {
        if rows::is_unread(&error) {
            // The disk may give it the next time.
            let put_by = self.step(move |batch| damaged::put_by(batch.db, message, now, &error));
            return match put_by.await {
                // Its deliveries lie where the disk gives nothing either.
                Err(error) if rows::is_corrupt(&error) || rows::is_unread(&error) => {
                    self.pass_over(message, now, error).await
                }
                put_by => put_by,
            };
        }
        let known = match self.read(move |db| damaged::known_of(db, message)).await {
            Err(error) if rows::is_corrupt(&error) || rows::is_unread(&error) => {
                return self.pass_over(message, now, error).await;
            }
            known => known?,
        };
        let teller = self.damage.teller.clone();
        let held = self.step(move |batch| {
            let why = (&error, damaged::HELD_UNSEEN);
            damaged::hold(batch, message, now, why, &known, &teller)
        });
        match held.await {
            Err(error) if rows::is_corrupt(&error) || rows::is_unread(&error) => {
                self.pass_over(message, now, error).await
            }
            held => held,
        }
    }

    /// Leaves a message where it is, as it cannot even be held, and tells of it.
    async fn pass_over(
        &self,
        message: MessageId,
        now: Timestamp,
        error: QueueError,
    ) -> Result<(), QueueError> {
        let may_come_back = rows::is_unread(&error);
        self.damage.pass_over(message);
        let known = self.read(move |db| damaged::known_alone(db, message)).await;
        let (known, teller) = (known.unwrap_or_default(), self.damage.teller.clone());
        let told =
            self.step(move |batch| damaged::tell(batch, message, now, &error, &known, &teller));
        let told = told.await;
        if may_come_back && told.is_err() {
            // The whole disk was away: nobody has heard of it, and what it did not give may be there again.
            self.damage.look_again(message);
        }
        told
    }

    /// Keeps what the queue of this gateway has, if its file is gone: with the process it would be lost.
    async fn rescue(&self) {
        let lock = self.lock.lock();
        let is_ours = lock.unwrap_or_else(PoisonError::into_inner).is_some();
        if !is_ours || self.place.check().is_ok() {
            return;
        }
        let (folder, now) = (self.folder.clone(), self.clock.now());
        let rescued = self.read(move |connection| rescue::rescue(connection, &folder, now));
        match rescued.await {
            Ok(file) => {
                let file = file.display();
                tracing::error!(%file, "what the queue has is here: put it in place of queue.sqlite, without -wal and -shm, before the next start");
            }
            Err(error) => tracing::error!(%error, "what the queue has could not be rescued"),
        }
    }
}

/// Settings of the connection that writes.
fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(wait_for_the_other_process))?;
    keep_plans(connection, 64)?;
    connection.pragma_update(None, "page_size", PAGE_OCTETS)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT_OCTETS)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "temp_store", "memory")
}

fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait_for_the_other_process))?;
    keep_plans(&connection, 32)?;
    open_log(&connection)?;
    Ok(connection)
}

/// Reads a little: only then SQLite opens the log, by its name, and that must be the one of this database.
fn open_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_query_value(None, "schema_version", |_| Ok(()))
}

/// Statements are compiled once, whatever values they are given: otherwise SQLite would look at the
/// values and compile anew when they change.
fn keep_plans(connection: &Connection, statements: usize) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(statements);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Makes the tables of a new database; says so if an old program meets a newer one.
fn make_schema(connection: &Connection) -> Result<(), QueueError> {
    let version = |connection: &Connection| {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
    };
    if version(connection)? == SCHEMA_VERSION {
        return Ok(());
    }
    // With the write lock from its first word: one that begins by reading is told "busy" without waiting if another
    // process writes before it does.
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    // The first of two processes brings it up to date; the write lock orders the two.
    let known = usize::try_from(found)
        .ok()
        .filter(|found| *found <= SCHEMAS.len());
    let Some(known) = known else {
        return Err(StoreError::Version {
            found,
            known: SCHEMA_VERSION,
        }
        .into());
    };
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    for schema in &SCHEMAS[known..] {
        transaction.execute_batch(schema)?;
    }
    transaction.commit()?;
    Ok(())
}

/// SQLite asks this while another process has the write lock; its transactions are short. Often,
/// so that a busy gateway cannot keep an administrator out.
fn wait_for_the_other_process(tries: i32) -> bool {
    std::thread::sleep(BUSY_PAUSE);
    tries < BUSY_TRIES
}

const DATABASE: &str = "queue.sqlite";
const LOCK: &str = "scheduler.lock";
const SCHEMA_VERSION: i64 = 6;
/// What each version adds to the one before it.
const SCHEMAS: [&str; 6] = [
    include_str!("../schema/sqlite.sql"),
    include_str!("../schema/sqlite-2.sql"),
    include_str!("../schema/sqlite-3.sql"),
    include_str!("../schema/sqlite-4.sql"),
    include_str!("../schema/sqlite-5.sql"),
    include_str!("../schema/sqlite-6.sql"),
];
/// Bodies of usual size then take one or two pages.
const PAGE_OCTETS: i64 = 4_096;
/// What a log that grew larger is cut back to.
const WAL_KEPT_OCTETS: i64 = 64 << 20;
/// Page cache of the writer: what is in hand. Four times as much made no commit faster.
const CACHE_KIB: i64 = 2_048;
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// Half a minute.
const BUSY_TRIES: i32 = 30_000;
