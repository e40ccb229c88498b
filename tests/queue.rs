//! What a store of the queue must do: one specification for every store there is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/accepted.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use postern::base::{Clock, Reference};
use postern::mail::{EnhancedStatusCode, Mailbox, Message, Notify, Priority, Recipient};
use postern::outcome::Outcome;
use postern::outcome::audit::{AuditEvent, AuditKind};
use postern::outcome::notify::{Event, Told, UnlessTold, notices};
use postern::queue::*;
use postgres::{Cluster, Database};
use proptest::prelude::*;
use sha2::Digest as _;
use support::*;

/// A store of its own for a test, which goes with it.
struct Fixture {
    store: Arc<dyn Store>,
    folder: tempfile::TempDir,
    /// The database, of a store that lies in one.
    database: Option<Database>,
}

impl Fixture {
    fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path(), Clock::fixed(start())).unwrap();
        Self {
            store: Arc::new(store),
            folder,
            database: None,
        }
    }

    async fn postgres(cluster: &Cluster) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = cluster.database();
        Self {
            store: Arc::new(in_database(&database, &folder).await.unwrap()),
            folder,
            database: Some(database),
        }
    }

    /// The same store as another process sees it.
    async fn again(&self) -> Result<Arc<dyn Store>, QueueError> {
        Ok(match &self.database {
            None => Arc::new(SqliteStore::open(
                self.folder.path(),
                Clock::fixed(start()),
            )?),
            Some(database) => Arc::new(in_database(database, &self.folder).await?),
        })
    }

    async fn accept(&self, accepted: Accepted) {
        self.store
            .accept(vec![accepted], Handoff::None)
            .await
            .unwrap();
    }

    async fn lease_at(&self, now: Timestamp) -> Vec<Lease> {
        self.store
            .lease(now, now + LEASE, 100, Skip::nothing())
            .await
            .unwrap()
    }

    async fn states(&self) -> Vec<(String, State)> {
        let list = self.store.list(Filter::default()).await.unwrap();
        list.into_iter()
            .map(|one| (one.recipient, one.state))
            .collect()
    }

    async fn events(&self) -> Vec<String> {
        let events = self.store.events(1, 10_000).await.unwrap();
        events
            .iter()
            .map(|event| event.object()["kind"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn is_whole(&self) {
        assert_eq!(self.store.verify().await.unwrap().faults, []);
    }

    fn sql(&self, statement: &str) {
        match &self.database {
            None => self.file().execute_batch(statement).unwrap(),
            Some(database) => drop(database.sql(statement)),
        }
    }

    /// What a statement counts.
    fn count(&self, of: &str) -> i64 {
        let statement = format!("SELECT count(*) FROM {of}");
        match &self.database {
            None => self
                .file()
                .query_row(&statement, [], |row| row.get(0))
                .unwrap(),
            Some(database) => database.sql(&statement).trim().parse().unwrap(),
        }
    }

    fn file(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("queue.sqlite")).unwrap()
    }

    /// Large messages that are kept apart.
    fn bodies(&self) -> usize {
        match &self.database {
            None => std::fs::read_dir(self.folder.path().join("spool"))
                .unwrap()
                .count(),
            Some(_) => usize::try_from(self.count("body")).unwrap(),
        }
    }

    /// A large message of which the process died before it was accepted.
    fn leave_an_orphan(&self) {
        match &self.database {
            None => {
                let file = self.folder.path().join("spool/ORPHAN00.eml");
                std::fs::write(file, "half a mess").unwrap();
            }
            Some(_) => self.sql(&format!(
                "INSERT INTO body (gateway, put_at, octets) VALUES ('{GATEWAY}', 0, 11)"
            )),
        }
    }

    /// Large messages that lost their octets.
    fn lose_bodies(&self) {
        match &self.database {
            None => std::fs::remove_dir_all(self.folder.path().join("spool")).unwrap(),
            Some(_) => self.sql("DELETE FROM body_piece"),
        }
    }

    /// From now on the database takes no delivery to this address.
    fn refuse(&self, address: &str) {
        match &self.database {
            None => self.sql(&format!(
                "CREATE TRIGGER no BEFORE INSERT ON delivery WHEN new.forward_path = '{address}'
                 BEGIN SELECT raise(ABORT, 'not this one'); END"
            )),
            Some(_) => self.sql(&format!(
                "ALTER TABLE delivery ADD CONSTRAINT no CHECK (forward_path <> '{address}')"
            )),
        }
    }
}

const GATEWAY: &str = "gate.example";

async fn in_database(
    database: &Database,
    folder: &tempfile::TempDir,
) -> Result<PostgresStore, QueueError> {
    let settings = PostgresSettings::parse(&database.name).unwrap();
    PostgresStore::open(&settings, GATEWAY, folder.path(), Clock::fixed(start())).await
}

/// One of each kind. Where PostgreSQL is not installed it says so, and the other has to do.
async fn stores() -> Vec<Fixture> {
    let mut stores = vec![Fixture::sqlite()];
    if let Some(cluster) = Cluster::shared() {
        stores.push(Fixture::postgres(cluster).await);
    }
    stores
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

fn recipients(lease: &Lease) -> Vec<String> {
    let path = |one: &LeasedDelivery| one.recipient.forward_path.to_string();
    lease.deliveries.iter().map(path).collect()
}

#[tokio::test]
async fn what_was_accepted_is_leased_with_all_that_was_said_of_it() {
    for f in stores().await {
        let mut accepted = accepted(&["a@ward.example", "\"b c\"@ward.example", "Postmaster"]);
        accepted.env_id = postern::mail::EnvId::parse("QQ+2B1");
        accepted.ret = postern::mail::Ret::parse("FULL");
        accepted.smtputf8 = true;
        accepted.require_tls = true;
        accepted.patient_data = true;
        accepted.deliveries[0].recipient.notify = Notify::parse("SUCCESS,DELAY");
        accepted.deliveries[0].recipient.orcpt =
            postern::mail::Orcpt::parse("rfc822;x+2By@z.example");
        accepted.deliveries[1].binding = Binding::VerifiedTls;
        f.accept(accepted.clone()).await;

        let [lease] = &f.lease_at(start()).await[..] else {
            panic!("one message")
        };

        let message = &lease.message;
        assert_eq!(message.message, accepted.message);
        assert_eq!(message.reference, accepted.reference);
        assert_eq!(message.reverse_path, accepted.reverse_path);
        assert_eq!(
            (&message.env_id, message.ret),
            (&accepted.env_id, accepted.ret)
        );
        assert!(message.smtputf8 && message.require_tls && message.patient_data);
        assert_eq!(message.received_at, start());
        for (leased, given) in lease.deliveries.iter().zip(&accepted.deliveries) {
            assert_eq!(leased.recipient, given.recipient);
            assert_eq!((leased.binding, leased.attempts), (given.binding, 0));
        }
        assert_eq!(lease.until, start() + LEASE);
    }
}

#[tokio::test]
async fn a_hand_off_comes_back_leased_and_is_leased_to_nobody_else() {
    for f in stores().await {
        let mut accepted = accepted(&["a@ward.example"]);
        accepted
            .deliveries
            .push(new_delivery("b@ward.example", Standing::Held));
        let until = start() + LEASE;

        let lease = f
            .store
            .accept(vec![accepted], Handoff::LeaseUntil(until))
            .await
            .unwrap()
            .unwrap();

        assert_eq!(recipients(&lease), ["a@ward.example"]);
        assert!(f.lease_at(start()).await.is_empty());
        assert_eq!(f.lease_at(until).await.len(), 1, "the lease ran out");
    }
}

#[tokio::test]
async fn held_and_quarantined_deliveries_are_never_leased() {
    for f in stores().await {
        let mut accepted = accepted(&[]);
        accepted.deliveries = vec![
            new_delivery("a@ward.example", Standing::Held),
            new_delivery("b@ward.example", Standing::Quarantined),
        ];
        let handoff = Handoff::LeaseUntil(start() + LEASE);
        assert!(
            f.store
                .accept(vec![accepted], handoff)
                .await
                .unwrap()
                .is_none()
        );

        assert!(
            f.lease_at(start() + minutes(60 * 24 * 365))
                .await
                .is_empty()
        );
        assert_eq!(f.store.next_ready().await.unwrap(), None);
        assert_eq!(f.store.recover(start()).await.unwrap(), 0);
        assert_eq!(f.states().await.len(), 2);
    }
}

#[tokio::test]
async fn a_retry_comes_when_it_is_due_and_counts_the_attempts() {
    for f in stores().await {
        f.accept(accepted(&["a@ward.example"])).await;
        let later = start() + minutes(15);
        let id = f.lease_at(start()).await[0].deliveries[0].id;

        let mut settlement = deferred(id, later);
        settlement.delay_notified = true;
        f.store.settle(vec![settlement], vec![]).await.unwrap();

        assert_eq!(f.store.next_ready().await.unwrap(), Some(later));
        assert!(f.lease_at(later - minutes(1)).await.is_empty());
        let delivery = f.lease_at(later).await[0].deliveries[0].clone();
        assert_eq!(
            (delivery.id, delivery.attempts, delivery.delay_notified),
            (id, 1, true)
        );
        assert_eq!(f.events().await, ["received", "deferred"]);
    }
}

#[tokio::test]
async fn a_message_goes_with_its_last_delivery() {
    for f in stores().await {
        f.accept(accepted(&["a@ward.example", "b@lab.example"]))
            .await;
        let lease = f.lease_at(start()).await.remove(0);
        let [a, b] = [lease.deliveries[0].id, lease.deliveries[1].id];

        f.store.settle(vec![delivered(a)], vec![]).await.unwrap();
        assert_eq!(
            f.states().await,
            [("b@lab.example".to_owned(), State::Leased)]
        );
        f.store.settle(vec![failed(b)], vec![]).await.unwrap();

        assert_eq!(f.states().await, []);
        assert_eq!(f.events().await, ["received", "delivered", "failed"]);
        f.is_whole().await;
    }
}

#[tokio::test]
async fn a_failure_and_its_report_are_written_together_and_once() {
    for f in stores().await {
        f.accept(accepted(&["a@ward.example"])).await;
        let lease = f.lease_at(start()).await.remove(0);
        let told = Told {
            recipient: &lease.deliveries[0].recipient,
            outcome: &reply(550, "5.1.1", "no such user"),
            event: Event::Failed,
        };
        let report = || {
            let notices = notices(&lease.message.original(), &[told], "gate.example", start());
            let on_paper = |notice| Accepted::notice(notice, &"gate.example".into());
            notices.into_iter().map(on_paper).collect::<Vec<_>>()
        };

        f.store
            .settle(vec![failed(lease.deliveries[0].id)], report())
            .await
            .unwrap();
        f.store
            .settle(vec![failed(lease.deliveries[0].id)], report())
            .await
            .unwrap();

        assert_eq!(f.states().await, [(sender().to_string(), State::Due)]);
        assert_eq!(f.events().await, ["received", "failed", "notified"]);
        let report = f.lease_at(start()).await.remove(0).message;
        assert_eq!(report.reverse_path, postern::mail::ReversePath::Null);
    }
}

#[tokio::test]
async fn recovery_frees_the_leases_of_the_dead_and_nobody_elses() {
    for f in stores().await {
        f.accept(accepted(&["a@ward.example"])).await;
        f.accept(accepted(&["b@ward.example"])).await;
        f.store
            .lease(start(), start() + LEASE, 1, Skip::nothing())
            .await
            .unwrap();

        assert_eq!(f.store.recover(start()).await.unwrap(), 1);
        assert_eq!(f.lease_at(start()).await.len(), 2);
        assert!(matches!(
            f.again().await.unwrap().recover(start()).await,
            Err(QueueError::Served)
        ));
    }
}

/// Accepts a message as of `at`.
async fn accept_as_of(f: &Fixture, to: &str, at: Timestamp) {
    let mut message = accepted(&[to]);
    message.received_at = at;
    message.events[0].at = at;
    f.accept(message).await;
}

/// When each waiting message came and how its delivery stands, by recipient.
async fn came(f: &Fixture) -> BTreeMap<String, (String, State)> {
    let list = f.store.list(Filter::default()).await.unwrap();
    list.into_iter()
        .map(|one| (one.recipient, (one.received_at, one.state)))
        .collect()
}

#[tokio::test]
async fn mail_of_a_clock_that_was_ahead_is_due_at_the_next_start_and_its_time_begins_then() {
    for f in stores().await {
        f.store.record(vec![event(0)]).await.unwrap();
        let ahead = start() + minutes(60 * 24 * 30);
        for (to, at) in [
            ("deferred@ward.example", ahead),
            ("in-hand@ward.example", ahead),
        ] {
            accept_as_of(&f, to, at).await;
        }
        for lease in f.lease_at(ahead).await {
            if recipients(&lease) == ["deferred@ward.example"] {
                let later = deferred(lease.deliveries[0].id, ahead + minutes(15));
                f.store.settle(vec![later], vec![]).await.unwrap();
            }
        }
        accept_as_of(&f, "untried@ward.example", ahead).await;
        assert!(f.lease_at(start()).await.is_empty());

        assert_eq!(f.store.recover(start()).await.unwrap(), 1);

        let mut leased = f.lease_at(start()).await;
        leased.sort_by_key(recipients);
        let to: Vec<String> = leased.iter().flat_map(recipients).collect();
        assert_eq!(
            to,
            [
                "deferred@ward.example",
                "in-hand@ward.example",
                "untried@ward.example"
            ]
        );
        for lease in &leased {
            assert_eq!(
                lease.message.received_at,
                start(),
                "{:?}",
                recipients(lease)
            );
        }
        assert_eq!(leased[0].deliveries[0].attempts, 1);
        f.is_whole().await;
    }
}

#[tokio::test]
async fn what_was_let_go_on_while_the_clock_was_ahead_is_due_at_the_next_start_and_its_time_begins_then()
 {
    for f in stores().await {
        let ahead = (start() + minutes(60 * 24 * 30)).as_millisecond();
        let events = vec![event(0), event(60 * 60 * 24 * 30)];
        f.store.record(events).await.unwrap();
        accept_as_of(&f, "waits@ward.example", start()).await;
        f.sql(&format!(
            "UPDATE delivery SET released_at = {ahead}, ready_at = {ahead}"
        ));
        accept_as_of(&f, "in-hand@ward.example", start()).await;
        assert_eq!(f.lease_at(start()).await.len(), 1);
        f.sql(&format!(
            "UPDATE delivery SET released_at = {ahead} WHERE state = 'leased'"
        ));

        assert_eq!(f.store.recover(start()).await.unwrap(), 1);

        let leased = f.lease_at(start()).await;
        let released = leased.iter().map(|lease| lease.deliveries[0].released_at);
        assert_eq!(released.collect::<Vec<_>>(), [Some(start()); 2]);
    }
}

#[tokio::test]
async fn mail_of_a_clock_that_was_ahead_is_found_however_much_was_written_since() {
    for f in stores().await {
        f.store.record(vec![event(0)]).await.unwrap();
        accept_as_of(&f, "a@ward.example", start() + minutes(60 * 24 * 30)).await;
        let since = (1..2_500).map(event).collect();
        f.store.record(since).await.unwrap();

        f.store.recover(start()).await.unwrap();

        assert_eq!(f.lease_at(start()).await.len(), 1);
    }
}

#[tokio::test]
async fn what_waits_for_a_late_time_with_reason_goes_on_waiting() {
    for f in stores().await {
        accept_as_of(&f, "night@ward.example", start()).await;
        let id = f.lease_at(start()).await[0].deliveries[0].id;
        let far = start() + minutes(60 * 24 * 4);
        f.store
            .settle(vec![deferred(id, far)], vec![])
            .await
            .unwrap();
        // Clocks are never quite the same.
        let little = start() + minutes(59);
        accept_as_of(&f, "little@ward.example", little).await;
        let mut held = accepted(&[]);
        held.deliveries = vec![new_delivery("held@ward.example", Standing::Held)];
        f.accept(held).await;
        let before = came(&f).await;

        f.store.recover(start()).await.unwrap();

        assert_eq!(came(&f).await, before);
        assert!(f.lease_at(little - minutes(1)).await.is_empty());
        assert_eq!(f.lease_at(little).await.len(), 1);
        assert_eq!(f.store.next_ready().await.unwrap(), Some(little + LEASE));
        assert_eq!(f.lease_at(far).await.len(), 2);
    }
}

#[tokio::test]
async fn a_clock_from_before_the_first_event_sets_nothing_right() {
    for f in stores().await {
        accept_as_of(&f, "a@ward.example", start()).await;
        // A machine whose battery is empty.
        f.store.recover(Timestamp::UNIX_EPOCH).await.unwrap();

        let [lease] = &f.lease_at(start()).await[..] else {
            panic!("one message")
        };
        assert_eq!(lease.message.received_at, start());
    }
}

#[tokio::test]
async fn a_clock_that_is_set_right_while_it_runs_leaves_what_is_in_hand_alone() {
    for f in stores().await {
        f.store.record(vec![event(0)]).await.unwrap();
        let ahead = start() + minutes(60 * 24 * 30);
        accept_as_of(&f, "in-hand@ward.example", ahead).await;
        let lease = f.lease_at(ahead).await.remove(0);
        for i in 0..3 {
            accept_as_of(&f, &format!("u{i}@ward.example"), ahead).await;
        }

        assert_eq!(f.store.bring_back(start(), 2).await.unwrap(), 2);
        assert_eq!(f.store.bring_back(start(), 10).await.unwrap(), 2);
        assert_eq!(f.store.bring_back(start(), 10).await.unwrap(), 0);

        let now = start().to_string();
        assert!(came(&f).await.values().all(|(at, _)| *at == now));
        assert_eq!(f.lease_at(start()).await.len(), 3);
        let delivered = delivered(lease.deliveries[0].id);
        f.store.settle(vec![delivered], vec![]).await.unwrap();
        assert_eq!(f.states().await.len(), 3);
    }
}

#[tokio::test]
async fn what_is_given_back_was_not_tried() {
    for f in stores().await {
        f.accept(accepted(&["a@ward.example"])).await;
        let id = f.lease_at(start()).await[0].deliveries[0].id;

        f.store.give_back(vec![id], start()).await.unwrap();

        let delivery = f.lease_at(start()).await[0].deliveries[0].clone();
        assert_eq!((delivery.id, delivery.attempts), (id, 0));
    }
}

#[tokio::test]
async fn a_crowd_for_a_busy_destination_hides_nobody_else() {
    for f in stores().await {
        let crowd: Vec<String> = (0..3_000).map(|i| format!("u{i}@slow.example")).collect();
        let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
        f.accept(accepted(&crowd)).await;
        f.accept(accepted(&["a@quick.example", "b@slow.example"]))
            .await;
        f.accept(accepted(&["Postmaster"])).await;
        let skip =
            Skip::when(|path, _| path.domain().is_some_and(|d| d.as_str() == "slow.example"));

        let leases = f
            .store
            .lease(start(), start() + LEASE, 10, skip)
            .await
            .unwrap();

        let mut leased: Vec<String> = leases.iter().flat_map(recipients).collect();
        leased.sort();
        assert_eq!(leased, ["Postmaster", "a@quick.example"]);
    }
}

#[tokio::test]
async fn large_messages_lie_apart_as_long_as_they_are_needed() {
    for f in stores().await {
        let big = format!("Subject: big\r\n\r\n{}", "x".repeat(2_300 << 10));
        let lease = f
            .store
            .accept(
                vec![accepted_with(&["a@ward.example"], big.clone())],
                Handoff::LeaseUntil(start()),
            )
            .await
            .unwrap()
            .unwrap();
        assert_eq!(lease.message.message, Message::new(big.clone()));
        assert_eq!(f.bodies(), 1);

        let again = f.lease_at(start()).await.remove(0);
        assert_eq!(
            again.message.message,
            Message::new(big.clone()),
            "read back"
        );
        f.store
            .settle(vec![delivered(again.deliveries[0].id)], vec![])
            .await
            .unwrap();

        assert_eq!(f.bodies(), 0);
        assert_eq!(again.message.message.len(), big.len(), "still mapped");
    }
}

#[tokio::test]
async fn octets_without_a_message_go_at_the_next_start() {
    for f in stores().await {
        let big = format!("Subject: big\r\n\r\n{}", "x".repeat(300 << 10));
        f.accept(accepted_with(&["a@ward.example"], big)).await;
        f.leave_an_orphan();
        assert_eq!(f.bodies(), 2);

        f.store.recover(start()).await.unwrap();

        assert_eq!(f.bodies(), 1);
        assert_eq!(f.lease_at(start()).await.len(), 1);
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_held_and_stops_nobody() {
    for f in stores().await {
        let big = format!("Subject: big\r\n\r\n{}", "x".repeat(300 << 10));
        f.accept(accepted_with(&["a@ward.example"], big)).await;
        f.accept(accepted(&["b@ward.example"])).await;
        f.lose_bodies();

        let leases = f.lease_at(start()).await;

        assert_eq!(recipients(&leases[0]), ["b@ward.example"]);
        assert_eq!(
            f.states().await[0],
            ("a@ward.example".to_owned(), State::Held)
        );
        assert_eq!(f.events().await, ["received", "received", "held"]);
        let event = f.store.events(3, 1).await.unwrap()[0].object();
        let listed = &f.store.list(Filter::default()).await.unwrap()[0];
        assert_eq!(listed.because, "the message cannot be read");
        assert_eq!(event["reference"], listed.reference);
        assert_eq!(event["recipient"], "a@ward.example");
        assert_eq!(event["rule"], "built-in");
        assert_eq!(event["facts"]["because"], "the message cannot be read");
        assert!(event["facts"]["damage"].as_str().unwrap().len() > 10);
        f.is_whole().await;

        let fail = Order::Fail {
            reason: "lost".to_owned(),
            letterhead: "gate.example".into(),
        };
        let done = f.store.administer(Selection::All, fail, "root".into());
        assert_eq!(done.await.unwrap().changed, 1, "the other one is leased");

        let report = &f.lease_at(start()).await[0];
        assert_eq!(recipients(report), [sender().to_string()]);
        let text = String::from_utf8_lossy(report.message.message.octets()).into_owned();
        assert!(text.contains("<m1@bumbleton.example>") && text.contains("a@ward.example"));
    }
}

/// From now on the store tells of damage; what it was told of is sent to who looks after it.
fn tell_of_damage(f: &Fixture) -> Arc<std::sync::Mutex<Vec<Damaged>>> {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    f.store.tell_of_damage(Box::new(move |damaged: &Damaged| {
        tell.lock().unwrap().push(damaged.clone());
        vec![accepted(&["postmaster@ward.example"])]
    }));
    told
}

#[tokio::test]
async fn who_looks_after_it_is_told_of_a_message_that_cannot_be_read_once() {
    for f in stores().await {
        let told = tell_of_damage(&f);
        let big = format!("Subject: big\r\n\r\n{}", "x".repeat(300 << 10));
        let lost = accepted_with(&["a@ward.example", "b@ward.example"], big);
        f.accept(lost.clone()).await;
        f.lose_bodies();

        assert!(f.lease_at(start()).await.is_empty());

        // The notice is queued with the hold, and told of nothing more.
        let notice = f.lease_at(start()).await.remove(0);
        assert_eq!(recipients(&notice), ["postmaster@ward.example"]);
        assert!(f.lease_at(start()).await.is_empty());
        let told = told.lock().unwrap().clone();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].reference, lost.reference);
        assert_eq!(told[0].sender, sender().to_string());
        assert_eq!(told[0].recipients, ["a@ward.example", "b@ward.example"]);
        assert_eq!(f.events().await, ["received", "held", "held", "received"]);
    }
}

#[tokio::test]
async fn of_a_message_that_is_gone_from_the_database_its_recipients_are_known() {
    for f in stores().await {
        let told = tell_of_damage(&f);
        f.accept(accepted(&["a@ward.example"])).await;
        f.sql("DELETE FROM message");

        assert!(f.lease_at(start()).await.is_empty());

        assert_eq!(told.lock().unwrap()[0].recipients, ["a@ward.example"]);
        assert_eq!(f.events().await, ["received", "held", "received"]);
    }
}

#[tokio::test]
async fn a_damaged_word_in_a_row_keeps_no_other_message_waiting() {
    // PostgreSQL takes nothing into a text that is none.
    let not_text = "CAST(x'61FF' AS TEXT)";
    for damage in [
        format!("UPDATE message SET reference = {not_text}"),
        format!("UPDATE message SET reverse_path = {not_text}"),
        format!("UPDATE message SET message_id = {not_text}"),
        format!("UPDATE delivery SET forward_path = {not_text}"),
        "UPDATE delivery SET attempts = -1".to_owned(),
    ] {
        let f = Fixture::sqlite();
        let told = tell_of_damage(&f);
        f.accept(accepted(&["a@ward.example"])).await;
        f.sql(&damage);
        f.accept(accepted(&["b@ward.example"])).await;

        let leased = f.lease_at(start()).await;
        assert_eq!(recipients(&leased[0]), ["b@ward.example"], "{damage}");
        assert_eq!(told.lock().unwrap().len(), 1, "{damage}");
        let states: Vec<State> = f.states().await.iter().map(|one| one.1).collect();
        assert_eq!(states[..2], [State::Held, State::Leased], "{damage}");
        let fail = Order::Fail {
            reason: "lost".to_owned(),
            letterhead: "gate.example".into(),
        };
        let done = f.store.administer(Selection::All, fail, "root".into());
        assert_eq!(done.await.unwrap().changed, 2, "{damage}");
        f.is_whole().await;
    }
}

#[tokio::test]
async fn a_part_of_a_message_is_not_sent_for_all_of_it() {
    for f in stores().await {
        let told = tell_of_damage(&f);
        let big = format!("Subject: big\r\n\r\n{}", "x".repeat(300 << 10));
        f.accept(accepted_with(&["large@ward.example"], big)).await;
        f.accept(accepted(&["small@ward.example"])).await;
        match &f.database {
            None => {
                let spool = std::fs::read_dir(f.folder.path().join("spool")).unwrap();
                let file = spool.map(|entry| entry.unwrap().path()).next().unwrap();
                let file = std::fs::File::options().write(true).open(file).unwrap();
                file.set_len(100 << 10).unwrap();
                f.sql("UPDATE message SET body = substr(body, 1, 10) WHERE body IS NOT NULL");
            }
            Some(_) => f.sql(
                "UPDATE body_piece SET octets = substr(octets, 1, 10);
                 UPDATE message SET content = substr(content, 1, 10) WHERE content IS NOT NULL",
            ),
        }

        assert!(f.lease_at(start()).await.is_empty());

        assert_eq!(told.lock().unwrap().len(), 2);
        f.is_whole().await;
    }
}

/// The disk has lost a page of the database in which the body of a message goes on.
#[tokio::test]
async fn a_message_on_a_damaged_page_is_held_stops_nobody_and_can_be_given_up() {
    let f = Fixture::sqlite();
    let long = format!("Subject: long\r\n\r\n{}", "x".repeat(100 << 10));
    f.accept(accepted_with(&["a@ward.example"], long)).await;
    f.accept(accepted(&["b@ward.example"])).await;
    let Fixture { store, folder, .. } = f;
    store.close().await;
    drop(store);
    let path = folder.path().join("queue.sqlite");
    let page: u64 = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row(
            "SELECT pageno FROM dbstat WHERE name = 'message' AND pagetype = 'overflow' ORDER BY path LIMIT 1",
            [],
            |row| row.get::<_, i64>(0).map(|page| page as u64),
        )
        .unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xFF; 4_096], (page - 1) * 4_096).unwrap();
    drop(file);
    let f = Fixture {
        store: Arc::new(SqliteStore::open(folder.path(), Clock::fixed(start())).unwrap()),
        folder,
        database: None,
    };
    let told = tell_of_damage(&f);

    let leases = f.lease_at(start()).await;

    let to: Vec<_> = leases.iter().flat_map(recipients).collect();
    assert_eq!(to, ["b@ward.example", "postmaster@ward.example"]);
    assert_eq!(told.lock().unwrap()[0].recipients, ["a@ward.example"]);
    assert_eq!(
        f.states().await[0],
        ("a@ward.example".to_owned(), State::Held)
    );
    f.accept(accepted(&["c@ward.example"])).await;
    let fail = Order::Fail {
        reason: "lost".to_owned(),
        letterhead: "gate.example".into(),
    };
    let done = f.store.administer(Selection::All, fail, "root".into());
    assert!(done.await.unwrap().changed >= 1);
    let left = f.states().await;
    assert!(
        left.iter().all(|(to, _)| to != "a@ward.example"),
        "{left:?}"
    );
    let reported = sender().to_string();
    assert!(left.iter().any(|(to, _)| *to == reported), "{left:?}");
    f.is_whole().await;
}

impl Fixture {
    /// The same after the disk has lost the first page of a table.
    async fn with_lost_page(self, table: &str, cluster: Option<&Cluster>) -> Self {
        use std::os::unix::fs::FileExt as _;
        let Self {
            store,
            folder,
            database,
        } = self;
        store.close().await;
        drop(store);
        let open =
            |path: &std::path::Path| std::fs::File::options().write(true).open(path).unwrap();
        if let Some(database) = &database {
            database.sql("CHECKPOINT");
            let file = database.sql(&format!("SELECT pg_relation_filepath('{table}')"));
            let cluster = cluster.unwrap();
            let file = cluster.data().join(file.trim());
            open(&file).write_all_at(&[0xFF; 8_192], 0).unwrap();
            // So that it has to be read again.
            cluster.crash();
        } else {
            let path = folder.path().join("queue.sqlite");
            let first = "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY path LIMIT 1";
            let page: i64 = rusqlite::Connection::open(&path)
                .unwrap()
                .query_row(first, [table], |row| row.get(0))
                .unwrap();
            let at = (page as u64 - 1) * 4_096;
            open(&path).write_all_at(&[0xFF; 4_096], at).unwrap();
        }
        let store: Arc<dyn Store> = match &database {
            Some(database) => Arc::new(in_database(database, &folder).await.unwrap()),
            None => Arc::new(SqliteStore::open(folder.path(), Clock::fixed(start())).unwrap()),
        };
        Self {
            store,
            folder,
            database,
        }
    }

    /// To whom all goes that is due at a moment, but for notices.
    async fn went_at(&self, now: Timestamp) -> Vec<String> {
        let mut went = Vec::new();
        loop {
            let leases = self.lease_at(now).await;
            if leases.is_empty() {
                return went;
            }
            went.extend(leases.iter().flat_map(recipients));
            went.retain(|to| !to.starts_with("postmaster"));
        }
    }
}

#[tokio::test]
async fn messages_on_a_lost_page_are_held_and_stop_nobody() {
    let cluster = Cluster::start();
    let mut stores = vec![Fixture::sqlite()];
    if let Some(cluster) = &cluster {
        stores.push(Fixture::postgres(cluster).await);
    }
    for f in stores {
        for n in 0..60 {
            let text = format!("Subject: x\r\n\r\n{}", "text ".repeat(180));
            f.accept(accepted_with(&[&format!("a{n}@ward.example")], text))
                .await;
        }
        let f = f.with_lost_page("message", cluster.as_ref()).await;
        let told = tell_of_damage(&f);

        let went = f.went_at(start()).await;

        let told = told.lock().unwrap().clone();
        assert!((1..20).contains(&told.len()), "{}", told.len());
        assert!(told.iter().all(|one| one.recipients.len() == 1));
        assert_eq!(went.len() + told.len(), 60);
        let held = f.count("delivery WHERE state = 'held'");
        assert_eq!(usize::try_from(held), Ok(told.len()));
        f.is_whole().await;
    }
}

#[tokio::test]
async fn deliveries_on_a_lost_page_stop_nobody_else() {
    let f = Fixture::sqlite();
    for n in 0..120 {
        f.accept(accepted(&[&format!("a{n}@ward.example")])).await;
    }
    let leased = f
        .store
        .lease(start(), start() + LEASE, 100, Skip::nothing());
    assert_eq!(leased.await.unwrap().len(), 100);
    let f = f.with_lost_page("delivery", None).await;
    let told = tell_of_damage(&f);

    let freed = f.store.recover(start()).await.unwrap();
    assert!((50..100).contains(&freed), "{freed}");
    let went = f.went_at(start() + minutes(600)).await;

    let told = told.lock().unwrap().clone();
    assert!((1..50).contains(&told.len()), "{}", told.len());
    assert!(told.iter().all(|one| one.sender == sender().to_string()));
    assert_eq!(went.len() + told.len(), 120);
    f.accept(accepted(&["later@ward.example"])).await;
    assert_eq!(
        f.went_at(start() + minutes(600)).await,
        ["later@ward.example"]
    );
    let held = f
        .events()
        .await
        .iter()
        .filter(|kind| *kind == "held")
        .count();
    assert_eq!(held, told.len());
    f.is_whole().await;
}

#[tokio::test]
async fn a_message_whose_file_cannot_be_read_for_now_waits_and_stops_nobody() {
    let f = Fixture::sqlite();
    let large = accepted_with(&["large@b.example"], "x".repeat(300_000));
    let small = accepted(&["small@b.example"]);
    for one in [large, small] {
        f.store.accept(vec![one], Handoff::None).await.unwrap();
    }
    // What is there and cannot be mapped, as where too many files are open.
    let spool = f.folder.path().join("spool");
    let name = std::fs::read_dir(&spool).unwrap().next().unwrap();
    let (file, aside) = (name.unwrap().path(), f.folder.path().join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    let lease = async |at: Timestamp| {
        let leased = f.store.lease(at, at + minutes(30), 10, Skip::nothing());
        let leased = leased.await.unwrap();
        leased.iter().flat_map(recipients).collect::<Vec<_>>()
    };

    assert_eq!(lease(start()).await, ["small@b.example"]);
    assert_eq!(f.store.count().await.unwrap()["held"], 0);

    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    assert!(lease(start() + minutes(0)).await.is_empty());
    assert_eq!(lease(start() + minutes(1)).await, ["large@b.example"]);
}

#[tokio::test]
async fn one_bad_job_does_not_touch_its_neighbours() {
    for f in stores().await {
        f.refuse("bad@ward.example");
        let bad = accepted(&["good@ward.example", "bad@ward.example"]);
        let jobs = [
            f.store
                .accept(vec![accepted(&["b@ward.example"])], Handoff::None),
            f.store.accept(vec![bad], Handoff::None),
            f.store
                .accept(vec![accepted(&["c@ward.example"])], Handoff::None),
        ];
        let [b, bad, c] = jobs;
        let (b, bad, c) = tokio::join!(b, bad, c);

        assert!(b.is_ok() && bad.is_err() && c.is_ok());
        assert_eq!(f.states().await.len(), 2);
        f.is_whole().await;
    }
}

#[tokio::test]
async fn another_process_sees_and_changes_the_same_queue() {
    for f in stores().await {
        f.accept(accepted(&["a@ward.example"])).await;
        let other = f.again().await.unwrap();
        let reason = || "asked by the ward".to_owned();

        let held = other
            .administer(
                Selection::All,
                Order::Hold { reason: reason() },
                "root".into(),
            )
            .await
            .unwrap();
        assert_eq!(held.changed, 1);
        assert!(f.lease_at(start()).await.is_empty());
        f.accept(accepted(&["b@ward.example"])).await;
        other
            .administer(
                Selection::All,
                Order::ReleaseHeld { reason: reason() },
                "root".into(),
            )
            .await
            .unwrap();

        assert_eq!(f.lease_at(start()).await.len(), 2);
        assert_eq!(
            f.events().await,
            ["received", "held", "received", "released"]
        );
        f.is_whole().await;
    }
}

#[tokio::test]
async fn orders_pass_over_what_they_are_not_for() {
    for f in stores().await {
        let mut accepted = accepted(&["due@ward.example"]);
        accepted
            .deliveries
            .push(new_delivery("held@ward.example", Standing::Held));
        accepted
            .deliveries
            .push(new_delivery("bad@ward.example", Standing::Quarantined));
        let reference = accepted.reference.clone();
        f.accept(accepted).await;
        f.accept(support::accepted(&["leased@lab.example"])).await;
        let skip =
            Skip::when(|path, _| path.domain().is_some_and(|d| d.as_str() == "ward.example"));
        f.store
            .lease(start(), start() + LEASE, 10, skip)
            .await
            .unwrap();
        let reason = || "why not".to_owned();

        let delete = Order::Delete { reason: reason() };
        let done = f
            .store
            .administer(Selection::All, delete, "root".into())
            .await
            .unwrap();
        assert_eq!((done.changed, done.in_attempt, done.passed_over), (1, 1, 2));
        let fail = Order::Fail {
            reason: reason(),
            letterhead: "gate.example".into(),
        };
        let done = f
            .store
            .administer(Selection::Message(reference), fail, "root".into())
            .await
            .unwrap();
        assert_eq!((done.changed, done.in_attempt, done.passed_over), (2, 0, 0));

        let left = [
            ("leased@lab.example".to_owned(), State::Leased),
            (sender().to_string(), State::Due),
        ];
        assert_eq!(f.states().await, left, "and one report for both");
        let kinds = [
            "received", "received", "deleted", "notified", "failed", "failed",
        ];
        assert_eq!(f.events().await, kinds);
    }
}

#[tokio::test]
async fn a_delivery_held_while_it_is_tried_stays_held() {
    for f in stores().await {
        f.accept(accepted(&["a@ward.example"])).await;
        let id = f.lease_at(start()).await[0].deliveries[0].id;
        f.store
            .settle(
                vec![settlement(id, reply(451, "4.7.0", "no route"), Next::Held)],
                vec![],
            )
            .await
            .unwrap();
        f.store
            .settle(vec![deferred(id, start())], vec![])
            .await
            .unwrap();
        assert_eq!(f.states().await[0].1, State::Held);
    }
}

#[tokio::test]
async fn lists_are_filtered() {
    for f in stores().await {
        let mut first = accepted(&["a@ward.example", "b@lab.example"]);
        first.deliveries[1].standing = Standing::Held;
        let reference = first.reference.clone();
        f.accept(first).await;
        f.accept(accepted(&["c@ward.example"])).await;
        let list = async |filter| {
            let list: Vec<Waiting> = f.store.list(filter).await.unwrap();
            list.into_iter()
                .map(|one| one.recipient)
                .collect::<Vec<_>>()
        };
        let all = Filter::default;

        assert_eq!(
            list(Filter { limit: 2, ..all() }).await,
            ["a@ward.example", "b@lab.example"]
        );
        assert_eq!(
            list(Filter {
                states: vec![State::Held],
                ..all()
            })
            .await,
            ["b@lab.example"]
        );
        let domain = Some("WARD.example".to_owned());
        assert_eq!(
            list(Filter { domain, ..all() }).await,
            ["a@ward.example", "c@ward.example"]
        );
        let reference = Some(reference);
        assert_eq!(
            list(Filter { reference, ..all() }).await,
            ["a@ward.example", "b@lab.example"]
        );
        let first = f.store.list(Filter { limit: 1, ..all() }).await.unwrap();
        let after = Some(DeliveryId(first[0].delivery));
        assert_eq!(
            list(Filter { after, ..all() }).await,
            ["b@lab.example", "c@ward.example"]
        );
        let expected = BTreeMap::from([("due", 2), ("held", 1), ("leased", 0), ("quarantined", 0)]);
        assert_eq!(f.store.count().await.unwrap(), expected);
    }
}

fn event(i: u32) -> AuditEvent {
    let mut event = AuditEvent::new(
        start() + Duration::from_secs(u64::from(i)),
        Reference::random(),
        AuditKind::Received,
        format!("s{}@Bumbleton.example", i % 7),
    );
    event.recipient = Some(format!("R{i}@ward.example"));
    event.message_id = Some(format!("<M{}@bumbleton.example>", i / 3));
    event
}

#[tokio::test]
async fn events_are_found_by_any_of_their_names_in_any_case_however_long_the_trail() {
    for f in stores().await {
        let events: Vec<AuditEvent> = (0..3_000).map(event).collect();
        for some in events.chunks(500) {
            f.store.record(some.to_vec()).await.unwrap();
        }
        let count = async |about: &str| {
            let found = f
                .store
                .trace(TraceQuery::parse(about), 10_000)
                .await
                .unwrap();
            found.len()
        };

        for i in [0, 1_023, 1_024, 2_047, 2_999] {
            assert_eq!(count(&format!("<r{i}@WARD.example>")).await, 1, "{i}");
            let reference = events[i as usize].reference.to_string();
            assert_eq!(count(&reference.to_lowercase()).await, 1);
            assert_eq!(count(reference.trim_start_matches("PX-")).await, 1);
        }
        assert_eq!(count("m400@bumbleton.example").await, 3);
        assert_eq!(count("nobody@ward.example").await, 0);
        assert_eq!(
            count("2026-11-21T10:10:00Z..2026-11-21T10:20:00Z").await,
            600
        );
        assert_eq!(count("2026-11-21T10:40:00Z..").await, 600);
        let both = TraceQuery {
            about: Some("s3@bumbleton.example".to_owned()),
            from: None,
            to: Some(start() + Duration::from_secs(70)),
        };
        assert_eq!(f.store.trace(both.clone(), 10_000).await.unwrap().len(), 10);
        assert_eq!(f.store.trace(both, 4).await.unwrap().len(), 4);
    }
}

#[tokio::test]
async fn the_chain_tells_of_every_row_that_was_touched() {
    let cases: [(&str, Vec<Fault>); 10] = [
        (
            "UPDATE audit SET event = replace(event, 'R5@', 'R6@') WHERE id = 6",
            vec![Fault::Changed(6)],
        ),
        (
            "DELETE FROM audit WHERE id BETWEEN 3 AND 4",
            vec![Fault::Missing { first: 3, last: 4 }],
        ),
        (
            "DELETE FROM audit WHERE id > 8",
            vec![Fault::End {
                found: 8,
                expected: 10,
            }],
        ),
        (
            "UPDATE audit SET id = 100 WHERE id = 3; UPDATE audit SET id = 3 WHERE id = 4; UPDATE audit SET id = 4 WHERE id = 100",
            vec![Fault::Changed(3), Fault::Changed(4), Fault::Changed(5)],
        ),
        (
            "INSERT INTO audit SELECT 11, event, hash FROM audit WHERE id = 10",
            vec![Fault::End {
                found: 11,
                expected: 10,
            }],
        ),
        (
            "UPDATE audit SET hash = zeroblob(32) WHERE id = 10",
            vec![Fault::Changed(10)],
        ),
        // The end is put back with the rows: it still has the hash of what is gone.
        (
            "UPDATE audit_end SET id = 9; DELETE FROM audit WHERE id = 10",
            vec![Fault::Changed(9)],
        ),
        // Rows before the first, and what is no text.
        (
            "INSERT INTO audit SELECT -7, event, hash FROM audit WHERE id = 10",
            vec![Fault::Changed(-7)],
        ),
        (
            "UPDATE audit SET event = CAST(x'7bff7d' AS TEXT) WHERE id = 6",
            vec![Fault::Changed(6)],
        ),
        (
            "DELETE FROM audit",
            vec![Fault::End {
                found: 0,
                expected: 10,
            }],
        ),
    ];
    for (tampering, faults) in cases {
        for f in stores().await {
            // A text in PostgreSQL is always one.
            if f.database.is_some() && tampering.contains("CAST") {
                continue;
            }
            f.store.record((0..10).map(event).collect()).await.unwrap();
            f.is_whole().await;

            match f.database {
                None => f.sql(tampering),
                Some(_) => {
                    f.sql(&tampering.replace("zeroblob(32)", "decode(repeat('00', 32), 'hex')"));
                }
            }

            let found = f.store.verify().await.unwrap().faults;
            assert_eq!(found, faults, "{tampering}");
        }
    }
}

#[tokio::test]
async fn a_last_row_with_a_hash_to_match_is_not_the_one_that_was_written() {
    for f in stores().await {
        f.store.record((0..10).map(event).collect()).await.unwrap();
        let ninth = &f.store.events(9, 1).await.unwrap()[0].hash;
        let ninth: Vec<u8> = (0..64)
            .step_by(2)
            .map(|i| u8::from_str_radix(&ninth[i..i + 2], 16).unwrap())
            .collect();
        let forged = sha2::Sha256::new().chain_update(ninth).chain_update("{}");
        let forged: String = forged
            .finalize()
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();

        f.sql(&format!(
            "UPDATE audit SET event = '{{}}', hash = {} WHERE id = 10",
            match f.database {
                None => format!("x'{forged}'"),
                Some(_) => format!("decode('{forged}', 'hex')"),
            }
        ));

        let faults = f.store.verify().await.unwrap().faults;
        assert_eq!(faults, [Fault::Changed(10)]);
    }
}

#[tokio::test]
async fn an_export_is_the_trail_line_by_line() {
    for f in stores().await {
        f.store.record(vec![event(0), event(1)]).await.unwrap();
        let page = f.store.events(2, 10).await.unwrap();
        let line: serde_json::Value = serde_json::from_str(&page[0].line()).unwrap();
        assert_eq!(line["number"], 2);
        assert_eq!(line["event"]["recipient"], "R1@ward.example");
        assert_eq!(line["hash"].as_str().unwrap().len(), 64);
    }
}

/// What may happen to the queue, in any order.
#[derive(Clone, Debug)]
enum Step {
    Accept { recipients: usize, handoff: bool },
    Lease,
    Settle { which: usize, how: u8 },
    GiveBack { which: usize },
    Pass { minutes: u64 },
    Recover,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..4usize, any::<bool>()).prop_map(|(recipients, handoff)| Step::Accept {
            recipients,
            handoff
        }),
        Just(Step::Lease),
        (any::<usize>(), 0..4u8).prop_map(|(which, how)| Step::Settle { which, how }),
        any::<usize>().prop_map(|which| Step::GiveBack { which }),
        (1..40u64).prop_map(|minutes| Step::Pass { minutes }),
        Just(Step::Recover),
    ]
}

/// The state table of `manual::queue_states`, kept beside the store.
#[derive(Default)]
struct Model {
    now: Option<Timestamp>,
    standing: BTreeMap<DeliveryId, (State, Timestamp)>,
    in_hand: Vec<DeliveryId>,
    accepted: usize,
    settled: usize,
}

impl Model {
    fn now(&self) -> Timestamp {
        self.now.unwrap_or_else(start)
    }

    fn take(&mut self, leases: &[Lease], expect_ready: bool) {
        for one in leases.iter().flat_map(|lease| &lease.deliveries) {
            let until = self.now() + LEASE;
            let before = self.standing.insert(one.id, (State::Leased, until));
            if expect_ready {
                let (state, ready_at) = before.expect("known");
                assert!(matches!(state, State::Due | State::Leased) && ready_at <= self.now());
            }
            self.in_hand.push(one.id);
        }
    }

    fn ready(&self) -> usize {
        let ready = |(_, at): &&(State, Timestamp)| *at <= self.now();
        self.standing
            .values()
            .filter(|(state, _)| *state != State::Held)
            .filter(ready)
            .count()
    }
}

async fn run(f: &Fixture, model: &mut Model, step: Step) {
    match step {
        Step::Accept {
            recipients,
            handoff,
        } => {
            let to = ["a@x.example", "b@y.example", "c@z.example"];
            let mut message = accepted(&to[..recipients]);
            message.received_at = model.now();
            let handoff = match handoff {
                true => Handoff::LeaseUntil(model.now() + LEASE),
                false => Handoff::None,
            };
            let lease = f.store.accept(vec![message], handoff).await.unwrap();
            model.accepted += recipients;
            model.take(lease.as_slice(), false);
            for one in f.store.list(Filter::default()).await.unwrap() {
                let due = (State::Due, model.now());
                model
                    .standing
                    .entry(DeliveryId(one.delivery))
                    .or_insert(due);
            }
        }
        Step::Lease => {
            let ready = model.ready();
            let leases = f.lease_at(model.now()).await;
            let leased: usize = leases.iter().map(|lease| lease.deliveries.len()).sum();
            assert_eq!(leased, ready, "all that is ready, nothing else");
            model.take(&leases, true);
        }
        Step::Settle { which, how } if !model.in_hand.is_empty() => {
            let id = model.in_hand.swap_remove(which % model.in_hand.len());
            let later = model.now() + minutes(10);
            let settlement = match how {
                0 => delivered(id),
                1 => failed(id),
                2 => deferred(id, later),
                _ => settlement(id, reply(451, "4.7.0", "no route"), Next::Held),
            };
            f.store.settle(vec![settlement], vec![]).await.unwrap();
            if let Some((state, ready_at)) = model.standing.get_mut(&id) {
                match how {
                    0 | 1 => {
                        model.standing.remove(&id);
                        model.settled += 1;
                    }
                    2 if *state == State::Leased => (*state, *ready_at) = (State::Due, later),
                    3 if *state == State::Leased => *state = State::Held,
                    _ => {}
                }
            }
        }
        Step::GiveBack { which } if !model.in_hand.is_empty() => {
            let id = model.in_hand.swap_remove(which % model.in_hand.len());
            f.store.give_back(vec![id], model.now()).await.unwrap();
            let now = model.now();
            if let Some((state, ready_at)) = model.standing.get_mut(&id)
                && *state == State::Leased
            {
                (*state, *ready_at) = (State::Due, now);
            }
        }
        Step::Pass { minutes: n } => model.now = Some(model.now() + minutes(n)),
        Step::Recover => {
            f.store.recover(model.now()).await.unwrap();
            let now = model.now();
            for (state, ready_at) in model.standing.values_mut() {
                if *state == State::Leased {
                    (*state, *ready_at) = (State::Due, now);
                }
            }
        }
        Step::Settle { .. } | Step::GiveBack { .. } => {}
    }
}

async fn keeps_the_table(f: &Fixture, steps: Vec<Step>) {
    let mut model = Model::default();
    for step in steps {
        run(f, &mut model, step).await;
        let list = f.store.list(Filter::default()).await.unwrap();
        let listed: BTreeMap<DeliveryId, State> = list
            .into_iter()
            .map(|one| (DeliveryId(one.delivery), one.state))
            .collect();
        let expected: BTreeMap<DeliveryId, State> = model
            .standing
            .iter()
            .map(|(id, (state, _))| (*id, *state))
            .collect();
        assert_eq!(listed, expected);
        assert_eq!(
            model.accepted,
            listed.len() + model.settled,
            "nothing is lost"
        );
    }
    f.is_whole().await;
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_sequence_of_steps_keeps_the_state_table(steps in proptest::collection::vec(step(), 1..60)) {
        runtime().block_on(keeps_the_table(&Fixture::sqlite(), steps));
    }
}

proptest! {
    // Each case makes a database of its own.
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_sequence_of_steps_keeps_the_state_table_in_postgresql(
        steps in proptest::collection::vec(step(), 20..60)
    ) {
        if let Some(cluster) = Cluster::shared() {
            runtime().block_on(async { keeps_the_table(&Fixture::postgres(cluster).await, steps).await });
        }
    }
}

#[test]
fn a_recipient_is_due_by_default() {
    let recipient = Recipient::new(path("a@ward.example"));
    assert!(postern::outcome::notify::is_due(
        &sender(),
        &recipient,
        Event::Failed
    ));
}

/// A use of an old name by gp@nhs.net, who should hear of it once a day.
fn use_of(name: &str, used_by: &str, at: Timestamp) -> Accepted {
    let mut notice = accepted(&["gp@nhs.net"]);
    notice.events.clear();
    Accepted {
        received_at: at,
        events: Vec::new(),
        unless_told: None,
        old_names: vec![OldNameUse {
            name: name.to_owned(),
            mailbox: "pharmacy.fa001@nhs.net".to_owned(),
            because: "renamed",
            used_by: used_by.to_owned(),
            notice: Some(Box::new(OldNameNotice {
                to: "gp@nhs.net".to_owned(),
                at_most_every: minutes(24 * 60),
                notice,
            })),
        }],
        ..accepted(&["pharmacy.fa001@nhs.net"])
    }
}

#[tokio::test]
async fn old_names_are_counted_and_whoever_uses_one_is_told_once_in_a_while() {
    for f in stores().await {
        let day = minutes(24 * 60);
        for (name, used_by, at) in [
            ("old@nhs.net", "A81001", start()),
            ("old@nhs.net", "A81001", start() + minutes(1)),
            ("old@nhs.net", "other.example", start() + minutes(2)),
            ("older@nhs.net", "A81001", start() + minutes(3)),
            ("old@nhs.net", "A81001", start() + day),
        ] {
            f.accept(use_of(name, used_by, at)).await;
        }
        let told = f.states().await;
        let told = told.iter().filter(|(to, _)| to == "gp@nhs.net").count();
        assert_eq!(
            told, 3,
            "of each name once, and of the first again a day later"
        );

        let counts = f.store.old_names(10).await.unwrap();
        let of = |count: &OldNameCount| (count.name.clone(), count.uses, count.used_by.clone());
        let users = |users: &[&str]| {
            users
                .iter()
                .map(|user| (*user).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            counts.iter().map(of).collect::<Vec<_>>(),
            [
                (
                    "old@nhs.net".to_owned(),
                    4,
                    users(&["A81001", "other.example"])
                ),
                ("older@nhs.net".to_owned(), 1, users(&["A81001"])),
            ]
        );
        assert_eq!(counts[0].mailbox, "pharmacy.fa001@nhs.net");
        assert_eq!(counts[0].first_used, start().to_string());
        assert_eq!(counts[0].last_used, (start() + day).to_string());
        assert_eq!(f.store.old_names(1).await.unwrap().len(), 1);
    }
}

/// A message held for two, each of whom its sender may release with the code whose hash is all ones.
fn offered(account: Option<&str>, until: Timestamp) -> Accepted {
    let mut accepted = accepted(&["a@example.com", "b@example.com", "c@nhs.net"]);
    for (delivery, grounds) in accepted
        .deliveries
        .iter_mut()
        .zip(["near-miss", "not-secure"])
    {
        delivery.standing = Standing::Held;
        delivery.self_release = Some(SelfRelease {
            code_hash: [1; 32],
            account: account.map(str::to_owned),
            grounds: grounds.to_owned(),
            until,
        });
    }
    accepted
}

/// The sender's word, where the policy gives leave on the grounds of a near miss alone.
fn word_of(reference: &Reference) -> SenderRelease {
    SenderRelease {
        reference: reference.clone(),
        code_hash: [1; 32],
        sender: Mailbox::parse("RECEPTION@fa001.bumbleton.example").unwrap(),
        account: None,
        reason: "asked for".to_owned(),
        leave: Box::new(|_, grounds| (grounds == "near-miss").then_some(Binding::Any)),
        notices: Box::new(|sent_on| {
            assert_eq!(sent_on.len(), 1);
            vec![accepted(&["owner@nhs.net"])]
        }),
    }
}

#[tokio::test]
async fn a_sender_lets_go_on_what_is_his_once_by_the_right_code_in_time() {
    for f in stores().await {
        let (now, later) = (start(), start() + minutes(1));
        for (offer, change) in [
            (offered(None, later), Some("code")),
            (offered(None, later), Some("sender")),
            (offered(None, later), Some("reference")),
            (offered(Some("till"), later), Some("account")),
            (
                offered(None, later),
                Some("an account that did not send it"),
            ),
            (offered(None, now), Some("time")),
            (offered(None, later), Some("leave")),
            (offered(None, later), None),
        ] {
            let mut word = word_of(&offer.reference);
            match change {
                Some("code") => word.code_hash = [2; 32],
                Some("sender") => word.sender = Mailbox::parse("other@nhs.net").unwrap(),
                Some("reference") => word.reference = Reference::random(),
                Some("an account that did not send it") => word.account = Some("till".to_owned()),
                Some("leave") => word.leave = Box::new(|_, _| None),
                _ => {}
            }
            let reference = offer.reference.clone();
            f.accept(offer).await;
            let before = f.states().await;
            let sent_on = f.store.release_by_sender(word).await.unwrap();
            let names: Vec<_> = sent_on.iter().map(|one| one.recipient.as_str()).collect();
            if change.is_some() {
                assert_eq!((names, f.states().await), (vec![], before), "{change:?}");
                continue;
            }
            assert_eq!(names, ["a@example.com"]);
            let held = Filter {
                reference: Some(reference.clone()),
                states: vec![State::Held],
                ..Filter::default()
            };
            let held = f.store.list(held).await.unwrap();
            assert_eq!(held.len(), 1, "the policy gives no leave for the other");
            let told = f.states().await;
            assert_eq!(
                told.iter().filter(|(to, _)| to == "owner@nhs.net").count(),
                1
            );
            let again = f
                .store
                .release_by_sender(word_of(&reference))
                .await
                .unwrap();
            assert_eq!(again, []);
            let released = f.events().await;
            assert_eq!(
                released.iter().filter(|kind| *kind == "released").count(),
                1
            );
        }
        f.is_whole().await;
    }
}

/// A message that waited for somebody for ten days.
fn old_offer(first: Standing) -> Accepted {
    let mut offer = offered(None, start() + minutes(1));
    offer.received_at = start() - minutes(60 * 24 * 10);
    offer.deliveries.truncate(1);
    offer.deliveries[0].standing = first;
    offer
}

#[tokio::test]
async fn the_time_of_what_a_person_lets_go_on_begins_then() {
    let reason = || "agreed".to_owned();
    for f in stores().await {
        for (standing, order) in [
            (
                Standing::Held,
                Some(Order::ReleaseHeld { reason: reason() }),
            ),
            (
                Standing::Held,
                Some(Order::ReleaseEncrypted { reason: reason() }),
            ),
            (
                Standing::Quarantined,
                Some(Order::ReleaseQuarantined { reason: reason() }),
            ),
            (Standing::Held, None),
        ] {
            let offer = old_offer(standing);
            let (reference, received_at) = (offer.reference.clone(), offer.received_at);
            f.accept(offer).await;
            match order {
                Some(order) => {
                    let selection = Selection::Message(reference.clone());
                    let done = f.store.administer(selection, order, "root".into()).await;
                    assert_eq!(done.unwrap().changed, 1);
                }
                None => {
                    let word = SenderRelease {
                        notices: Box::new(|_| Vec::new()),
                        ..word_of(&reference)
                    };
                    assert_eq!(f.store.release_by_sender(word).await.unwrap().len(), 1);
                }
            }
            let lease = f.lease_at(start()).await.remove(0);
            let delivery = &lease.deliveries[0];
            assert_eq!(lease.message.received_at, received_at);
            assert_eq!(delivery.released_at, Some(start()));
            assert_eq!(delivery.began_at(&lease.message), start());
            let listed = f.store.list(Filter::default()).await.unwrap().remove(0);
            assert_eq!(listed.received_at, received_at.to_string());
            assert_eq!(listed.released_at, Some(start().to_string()));
            let settled = f.store.settle(vec![delivered(delivery.id)], vec![]);
            settled.await.unwrap();
        }
        f.is_whole().await;
    }
}

#[tokio::test]
async fn no_other_order_and_no_other_step_begins_the_time_of_a_delivery_anew() {
    for f in stores().await {
        let received_at = start() - minutes(60);
        accept_as_of(&f, "a@ward.example", received_at).await;
        let id = f.lease_at(start()).await[0].deliveries[0].id;
        let later = deferred(id, start() + minutes(15));
        f.store.settle(vec![later], vec![]).await.unwrap();
        let retry = f
            .store
            .administer(Selection::All, Order::Retry, "root".into());
        assert_eq!(retry.await.unwrap().changed, 1);

        let lease = f.lease_at(start()).await.remove(0);
        assert_eq!(lease.deliveries[0].released_at, None);
        assert_eq!(lease.deliveries[0].began_at(&lease.message), received_at);
    }
}

#[tokio::test]
async fn what_is_held_again_is_old_by_its_release_and_tells_of_its_next_delay() {
    for f in stores().await {
        let reason = || "agreed".to_owned();
        let order = async |order| {
            let done = f.store.administer(Selection::All, order, "root".into());
            assert_eq!(done.await.unwrap().changed, 1);
        };
        let old = async |before: Timestamp| {
            let filter = Filter {
                states: vec![State::Held],
                began_before: Some(before),
                ..Filter::default()
            };
            f.store.list(filter).await.unwrap().len()
        };
        accept_as_of(&f, "a@ward.example", start() - minutes(60 * 24 * 10)).await;
        let id = f.lease_at(start()).await[0].deliveries[0].id;
        let late = Settlement {
            delay_notified: true,
            ..deferred(id, start())
        };
        f.store.settle(vec![late], vec![]).await.unwrap();
        order(Order::Hold { reason: reason() }).await;
        assert_eq!(old(start()).await, 1);

        order(Order::ReleaseHeld { reason: reason() }).await;
        let delivery = f.lease_at(start()).await.remove(0).deliveries.remove(0);
        assert_eq!((delivery.delay_notified, delivery.attempts), (false, 1));
        f.store.give_back(vec![id], start()).await.unwrap();
        order(Order::Hold { reason: reason() }).await;

        assert_eq!(
            (old(start()).await, old(start() + minutes(1)).await),
            (0, 1)
        );
    }
}

#[tokio::test]
async fn of_two_words_at_the_same_time_one_counts() {
    for f in stores().await {
        let offer = offered(None, start() + minutes(1));
        let reference = offer.reference.clone();
        f.accept(offer).await;
        let word = || f.store.release_by_sender(word_of(&reference));
        let (one, other) = tokio::join!(word(), word());
        assert_eq!(one.unwrap().len() + other.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_offer_ends_with_its_delivery_and_with_an_order() {
    for f in stores().await {
        let offer = offered(None, start() + minutes(1));
        let reference = offer.reference.clone();
        f.accept(offer).await;
        let order = |order| {
            f.store
                .administer(Selection::Message(reference.clone()), order, "smith".into())
        };
        let reason = "agreed".to_owned();
        order(Order::ReleaseHeld {
            reason: reason.clone(),
        })
        .await
        .unwrap();
        order(Order::Hold { reason }).await.unwrap();
        assert_eq!(
            f.store
                .release_by_sender(word_of(&reference))
                .await
                .unwrap(),
            []
        );
        assert_eq!(f.count("self_release"), 0);
    }
}

/// Takes version 6 back.
const TO_5: &str = "ALTER TABLE delivery DROP COLUMN released_at;";

/// Takes version 5 back too.
const TO_4: &str = "DROP INDEX delivery_ready; ALTER TABLE message DROP COLUMN mt_priority;
    ALTER TABLE delivery DROP COLUMN priority; ALTER TABLE delivery DROP COLUMN policy;
    CREATE INDEX delivery_ready ON delivery (ready_at) WHERE ready_at IS NOT NULL;";

#[tokio::test]
async fn a_queue_of_the_version_before_is_taken_over() {
    let f = Fixture::sqlite();
    f.accept(accepted(&["a@ward.example"])).await;
    f.sql(TO_5);
    f.sql(TO_4);
    f.sql("DROP TABLE old_name; DROP TABLE told; DROP TABLE self_release; DROP TABLE idempotency; PRAGMA user_version = 1");
    drop(f.again().await.unwrap());
    f.sql(TO_5);
    f.sql(TO_4);
    f.sql("DROP TABLE self_release; DROP TABLE idempotency; PRAGMA user_version = 2");
    drop(f.again().await.unwrap());
    f.sql(TO_5);
    f.sql(TO_4);
    f.sql("DROP TABLE idempotency; PRAGMA user_version = 3");
    let again = f.again().await.unwrap();
    f.sql("SELECT count(*) FROM self_release; SELECT count(*) FROM idempotency");
    assert_eq!(again.old_names(1).await.unwrap(), []);
    assert_eq!(again.list(Filter::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_held_under_the_version_before_may_be_let_go_on() {
    for f in stores().await {
        let long_ago = start() - minutes(60 * 24 * 10);
        let mut held = accepted(&[]);
        held.received_at = long_ago;
        held.deliveries = vec![new_delivery("held@ward.example", Standing::Held)];
        f.accept(held).await;
        accept_as_of(&f, "due@ward.example", long_ago).await;
        f.sql(TO_5);
        f.sql(match &f.database {
            None => "PRAGMA user_version = 5",
            Some(_) => "UPDATE postern_version SET version = 1",
        });

        let again = f.again().await.unwrap();

        let release = Order::ReleaseHeld {
            reason: "agreed".to_owned(),
        };
        let released = again.administer(Selection::All, release, "root".into());
        assert_eq!(released.await.unwrap().changed, 1);
        let since = [long_ago, start()];
        assert_eq!(began(&again, start()).await, since.map(|at| at.to_string()));
        f.is_whole().await;
    }
}

/// Leases all there is; since when the time of each counts, in order.
async fn began(store: &Arc<dyn Store>, now: Timestamp) -> Vec<String> {
    let leases = store.lease(now, now + LEASE, 100, Skip::nothing()).await;
    let mut began: Vec<String> = Vec::new();
    for lease in leases.unwrap() {
        let since = |one: &LeasedDelivery| one.began_at(&lease.message).to_string();
        began.extend(lease.deliveries.iter().map(since));
    }
    began.sort();
    began
}

fn once(key: u8, recipients: u8) -> Once {
    Once {
        account: "reminders@ward.example".to_owned(),
        key: [key; 32],
        recipients: [recipients; 32],
        body: [7; 32],
        at: start(),
        until: start() + minutes(60),
    }
}

async fn accept_once(f: &Fixture, once: Once) -> Result<Reference, QueueError> {
    let accepted = accepted(&["a@ward.example"]);
    let reference = accepted.reference.clone();
    let done = f.store.accept_once(vec![accepted], Handoff::None, once);
    done.await.map(|_| reference)
}

fn first_of(result: Result<Reference, QueueError>) -> Repeated {
    match result {
        Err(QueueError::Repeated(first)) => *first,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_message_that_is_meant_once_is_queued_once() {
    for f in stores().await {
        assert_eq!(f.store.repeated(once(1, 1)).await.unwrap(), None);
        let reference = accept_once(&f, once(1, 1)).await.unwrap();
        let events = f.events().await.len();

        let again = first_of(accept_once(&f, once(1, 1)).await);

        assert_eq!(
            (&again.reference, again.same_recipients, again.same_body),
            (&reference, true, true)
        );
        assert_eq!(f.store.repeated(once(1, 1)).await.unwrap(), Some(again));
        let others = Once {
            body: [8; 32],
            ..once(1, 2)
        };
        let for_others = first_of(accept_once(&f, others).await);
        assert_eq!(
            (for_others.same_recipients, for_others.same_body),
            (false, false)
        );
        assert_eq!(
            (f.states().await.len(), f.events().await.len()),
            (1, events)
        );
        let of_another = Once {
            account: "rota@ward.example".to_owned(),
            ..once(1, 1)
        };
        accept_once(&f, of_another).await.unwrap();
        accept_once(&f, once(2, 1)).await.unwrap();
        assert_eq!(f.states().await.len(), 3);
        f.is_whole().await;
    }
}

#[tokio::test]
async fn a_key_may_be_used_again_when_its_time_is_over_and_old_ones_are_forgotten() {
    for f in stores().await {
        for key in 0..9 {
            accept_once(&f, once(key, 1)).await.unwrap();
        }
        let later = |key| Once {
            at: start() + minutes(60),
            until: start() + minutes(120),
            ..once(key, 1)
        };
        for key in 0..3 {
            accept_once(&f, later(key)).await.unwrap();
        }
        assert_eq!(f.count("idempotency"), 3);
    }
}

#[tokio::test]
async fn of_many_that_come_at_once_under_one_key_one_is_the_first() {
    for f in stores().await {
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let store = Arc::clone(&f.store);
                tokio::spawn(async move {
                    let accepted = vec![accepted(&["a@ward.example"])];
                    store
                        .accept_once(accepted, Handoff::None, once(1, 1))
                        .await
                        .is_ok()
                })
            })
            .collect();
        let mut firsts = 0;
        for task in tasks {
            firsts += usize::from(task.await.unwrap());
        }
        assert_eq!((firsts, f.states().await.len()), (1, 1));
    }
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_and_left_alone() {
    let newer = [
        (Fixture::sqlite(), "PRAGMA user_version = 99"),
        match Cluster::shared() {
            Some(cluster) => (
                Fixture::postgres(cluster).await,
                "UPDATE postern_version SET version = 99",
            ),
            None => return,
        },
    ];
    for (f, statement) in newer {
        f.sql(statement);
        let opened = f.again().await.map(|_| ());
        assert!(
            matches!(
                opened,
                Err(QueueError::Store(StoreError::Version { found: 99, .. }))
            ),
            "{opened:?}"
        );
        if f.database.is_some() {
            // Nor does a program write that was there before the tables became newer.
            let written = f.store.record(vec![event(1)]).await;
            assert!(written.is_err());
        }
    }
}

#[tokio::test]
async fn of_two_that_open_a_new_database_one_makes_its_tables() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let (database, folder) = (cluster.database(), tempfile::tempdir().unwrap());
    let (one, other) = tokio::join!(
        in_database(&database, &folder),
        in_database(&database, &folder)
    );
    one.unwrap().record(vec![event(1)]).await.unwrap();
    assert_eq!(other.unwrap().events(1, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn texts_that_a_peer_made_up_are_taken_whatever_is_in_them() {
    for f in stores().await {
        let mut odd = accepted(&["a@ward.example"]);
        odd.message_id = Some("<a\0b\u{FFFF}'\\@x>".to_owned());
        odd.deliveries[0].because = "a \0 in it".to_owned();
        f.accept(odd).await;
        let id = f.lease_at(start()).await[0].deliveries[0].id;
        let outcome = reply(451, "4.3.0", "later \0 perhaps");
        let settlement = settlement(id, outcome, Next::RetryAt(start()));
        f.store.settle(vec![settlement], vec![]).await.unwrap();
        assert_eq!(f.states().await[0].1, State::Due);
        f.is_whole().await;
    }
}

fn without_an_answer(id: DeliveryId, until: Timestamp) -> Settlement {
    let status = EnhancedStatusCode::transient(4, 1);
    settlement(
        id,
        Outcome::without_reply(status, "nobody is there"),
        Next::RetryAt(until),
    )
}

fn in_doubt(id: DeliveryId, until: Timestamp) -> Settlement {
    let settlement = without_an_answer(id, until);
    Settlement {
        outcome: Outcome {
            in_doubt: true,
            ..settlement.outcome
        },
        ..settlement
    }
}

#[tokio::test]
async fn what_nobody_answered_is_called_back_domain_by_domain() {
    for f in stores().await {
        let later = start() + minutes(60);
        for to in [
            "a@a.example",
            "b@b.example",
            "b2@b.example",
            "c@c.example",
            "d@a.example",
        ] {
            f.accept(accepted(&[to])).await;
        }
        for lease in f.lease_at(start()).await {
            let one = &lease.deliveries[0];
            let came = match recipients(&lease)[0].as_str() {
                "c@c.example" => deferred(one.id, later),
                // It may be there: an early attempt would make a second copy likelier.
                "d@a.example" => in_doubt(one.id, later),
                _ => without_an_answer(one.id, later),
            };
            f.store.settle(vec![came], vec![]).await.unwrap();
        }
        let recall = async |domain: Option<&str>, after, limit, skip| {
            let recall = Recall {
                domain: domain.map(str::to_owned),
                after,
                limit,
            };
            f.store.recall(start(), recall, skip).await.unwrap()
        };
        let not_b =
            || Skip::when(|path, _| path.domain().is_some_and(|d| d.as_str() == "b.example"));

        assert_eq!(
            recall(Some("c.example"), None, 10, Skip::nothing()).await,
            Recalled::default()
        );
        assert_eq!(
            recall(Some("b.example"), None, 10, not_b()).await,
            Recalled::default()
        );
        let first = recall(None, None, 2, Skip::nothing()).await;
        assert_eq!(first.changed, 2);
        let rest = recall(None, first.after, 2, Skip::nothing()).await;
        assert_eq!((rest.changed, rest.after), (1, None));

        let due: Vec<String> = f
            .lease_at(start())
            .await
            .iter()
            .flat_map(recipients)
            .collect();
        assert_eq!(due.len(), 3, "the one with an answer waits on: {due:?}");
        assert!(!due.contains(&"c@c.example".to_owned()));
    }
}

#[tokio::test]
async fn groups_sum_up_what_waits() {
    for f in stores().await {
        let mut kept = accepted(&["a@a.example", "b@a.example", "c@b.example"]);
        kept.deliveries[2].standing = Standing::Held;
        f.accept(kept).await;
        let mut one = accepted(&["d@a.example"]);
        one.deliveries[0].binding = Binding::VerifiedTls;
        f.accept(one).await;
        let later = start() + minutes(60);
        let lease = f.lease_at(start()).await.remove(0);
        let [a, b] = [lease.deliveries[0].id, lease.deliveries[1].id];
        let settlements = vec![deferred(a, start()), deferred(b, later)];
        f.store.settle(settlements, vec![]).await.unwrap();

        let groups = f.store.groups(start()).await.unwrap();

        let told = |group: &Group| {
            (
                group.path.to_string(),
                group.binding.word(),
                group.state.word(),
                (group.count, group.due),
                group.next,
                group.last_reply.is_some(),
            )
        };
        let leased_until = Some(start() + LEASE);
        assert_eq!(
            groups.iter().map(told).collect::<Vec<_>>(),
            [
                (
                    "a@a.example".to_owned(),
                    "any",
                    "due",
                    (2, 1),
                    Some(start()),
                    true
                ),
                (
                    "d@a.example".to_owned(),
                    "verified-tls",
                    "leased",
                    (1, 0),
                    leased_until,
                    false
                ),
                ("c@b.example".to_owned(), "any", "held", (1, 0), None, false),
            ]
        );
    }
}

#[tokio::test]
async fn higher_classes_go_first_and_leave_the_lower_ones_a_part() {
    for f in stores().await {
        for (class, number) in [
            (Priority::Bulk, 30),
            (Priority::Normal, 30),
            (Priority::Urgent, 30),
        ] {
            for i in 0..number {
                let mut message = accepted(&[&format!("{class:?}{i}@ward.example")]);
                message.handling.priority = class;
                message.handling.mt_priority = Some(-4);
                message.handling.policy = Some(PolicyMark(7));
                f.accept(message).await;
            }
        }
        let lease = async |limit| {
            let until = start() + LEASE;
            f.store
                .lease(start(), until, limit, Skip::nothing())
                .await
                .unwrap()
        };
        let leases = lease(16).await;

        let of = |class| {
            let deliveries = leases.iter().flat_map(|lease| &lease.deliveries);
            deliveries.filter(|one| one.priority == class).count()
        };
        assert_eq!(
            (
                of(Priority::Urgent),
                of(Priority::Normal),
                of(Priority::Bulk)
            ),
            (12, 2, 2)
        );
        assert_eq!(leases[0].message.mt_priority, Some(-4));
        assert_eq!(leases[0].deliveries[0].policy, Some(PolicyMark(7)));
        assert_eq!(lease(1_000).await.len(), 90 - 16, "all the rest");
    }
}

#[tokio::test]
async fn a_delivery_is_diverted_or_bound_and_tried_at_once() {
    for f in stores().await {
        f.accept(accepted(&["a@ward.example", "b@ward.example"]))
            .await;
        let lease = f.lease_at(start()).await.remove(0);
        let settlements = [Next::Diverted, Next::Bound]
            .into_iter()
            .zip(&lease.deliveries);
        let settlements = settlements
            .map(|(next, one)| settlement(one.id, reply(451, "4.7.0", "no"), next))
            .collect();
        f.store.settle(settlements, vec![]).await.unwrap();

        let again = f.lease_at(start()).await.remove(0);
        let bindings: Vec<_> = again
            .deliveries
            .iter()
            .map(|one| (one.binding, one.attempts))
            .collect();
        assert_eq!(
            bindings,
            [(Binding::Encryption, 1), (Binding::VerifiedTls, 1)]
        );
        assert_eq!(f.events().await, ["received", "deferred", "deferred"]);
    }
}

#[tokio::test]
async fn lists_are_filtered_by_what_is_written_in_them() {
    for f in stores().await {
        let mut first = accepted(&["Anna@ward.example", "b@lab.example"]);
        first.deliveries[1].because = "An Odd Reason".to_owned();
        first.patient_data = true;
        f.accept(first).await;
        let mut second = accepted(&["c@ward.example"]);
        second.received_at = start() + minutes(5);
        second.deliveries[0].standing = Standing::Quarantined;
        second.deliveries[0].self_release = Some(SelfRelease {
            code_hash: [0; 32],
            account: None,
            grounds: SelfRelease::OWNERS.to_owned(),
            until: start(),
        });
        f.accept(second).await;
        let list = async |filter| {
            let list: Vec<Waiting> = f.store.list(filter).await.unwrap();
            list.into_iter()
                .map(|one| one.recipient)
                .collect::<Vec<_>>()
        };
        let all = Filter::default;
        let some = |text: &str| Some(text.to_owned());
        let first = ["Anna@ward.example", "b@lab.example"];

        assert_eq!(
            list(Filter {
                recipient: some("aNNa@"),
                ..all()
            })
            .await,
            [first[0]]
        );
        assert_eq!(
            list(Filter {
                because: some("odd reason"),
                ..all()
            })
            .await,
            [first[1]]
        );
        assert_eq!(
            list(Filter {
                sender: some("RECEPTION@FA001"),
                ..all()
            })
            .await
            .len(),
            3
        );
        assert_eq!(
            list(Filter {
                sender: some("nobody"),
                ..all()
            })
            .await
            .len(),
            0
        );
        assert_eq!(
            list(Filter {
                patient_data: Some(true),
                ..all()
            })
            .await,
            first
        );
        assert_eq!(
            list(Filter {
                patient_data: Some(false),
                ..all()
            })
            .await,
            ["c@ward.example"]
        );
        let from = Some(start() + minutes(1));
        assert_eq!(
            list(Filter {
                received_from: from,
                ..all()
            })
            .await,
            ["c@ward.example"]
        );
        assert_eq!(
            list(Filter {
                received_before: from,
                ..all()
            })
            .await,
            first
        );
        let waits = vec![State::Held, State::Quarantined];
        let waits = f
            .store
            .list(Filter {
                states: waits,
                ..all()
            })
            .await
            .unwrap();
        assert!(waits.len() == 1 && waits[0].owner_may_release);
        let delivery = Some(DeliveryId(waits[0].delivery));
        assert_eq!(list(Filter { delivery, ..all() }).await, ["c@ward.example"]);
    }
}

#[tokio::test]
async fn orders_are_for_a_delivery_or_a_domain_and_may_change_the_way() {
    for f in stores().await {
        f.accept(accepted(&[
            "a@ward.example",
            "b@ward.example",
            "c@lab.example",
        ]))
        .await;
        let order = async |selection, order| {
            let done = f
                .store
                .administer(selection, order, "root".to_owned())
                .await;
            done.unwrap().changed
        };
        let reason = || "why not".to_owned();
        let ward = || Selection::Domain("WARD.example".to_owned());
        assert_eq!(order(ward(), Order::Hold { reason: reason() }).await, 2);
        let held = f.store.list(Filter {
            states: vec![State::Held],
            ..Filter::default()
        });
        let first = DeliveryId(held.await.unwrap()[0].delivery);
        let encrypted = Order::ReleaseEncrypted { reason: reason() };
        assert_eq!(order(Selection::Delivery(first), encrypted).await, 1);
        assert_eq!(order(Selection::All, Order::Retry).await, 2);

        let lease = f.lease_at(start()).await.remove(0);
        let ways: Vec<_> = lease.deliveries.iter().map(|one| one.binding).collect();
        assert_eq!(ways, [Binding::Encryption, Binding::Any]);
    }
}

#[tokio::test]
async fn a_message_is_shown_as_long_as_it_is_there() {
    for f in stores().await {
        let one = accepted(&["a@ward.example"]);
        f.accept(one.clone()).await;
        let id = f.lease_at(start()).await[0].deliveries[0].id;
        let shown = f.store.message(id).await.unwrap().unwrap();
        assert_eq!(
            (&shown.message, &shown.reference),
            (&one.message, &one.reference)
        );
        f.store.settle(vec![delivered(id)], vec![]).await.unwrap();
        assert!(f.store.message(id).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_tells_somebody_of_a_thing_is_queued_once_in_a_while() {
    for f in stores().await {
        let big = format!("Subject: news\r\n\r\n{}", "x".repeat(300 << 10));
        for at in [0, 5, 61] {
            let mut news = accepted_with(&["owner@ward.example"], big.clone());
            news.received_at = start() + minutes(at);
            news.unless_told = Some(UnlessTold {
                to: "owner@ward.example".to_owned(),
                about: "the digest".to_owned(),
                at_most_every: minutes(60),
            });
            f.accept(news).await;
        }
        assert_eq!((f.states().await.len(), f.bodies()), (2, 2));
        assert_eq!(f.events().await.len(), 2);
    }
}

/// An error of ours costs the write that it is in: none beside it, and not the gateway's mail until somebody looks.
#[tokio::test]
async fn a_write_that_panics_is_taken_back_and_the_writer_goes_on() {
    for f in stores().await {
        f.accept(accepted(&["a@ward.example"])).await;
        f.accept(accepted(&["b@ward.example"])).await;
        let until = start() + LEASE;
        // Before anything is changed, and between one change and the next.
        for nth in 1.. {
            let asked = Arc::new(AtomicUsize::new(0));
            let muddled = Skip::when(move |_, _| {
                assert!(asked.fetch_add(1, Ordering::SeqCst) < nth, "as it has to");
                false
            });
            let (leased, taken) = tokio::join!(
                f.store.lease(start(), until, 100, muddled),
                f.store
                    .accept(vec![held(&format!("{nth}@ward.example"))], Handoff::None)
            );
            taken.unwrap();
            let states = f.states().await;
            let due = states.iter().filter(|(_, state)| *state == State::Due);
            match leased {
                Err(QueueError::Store(StoreError::Ended)) => assert_eq!(due.count(), 2),
                leased => {
                    assert_eq!((leased.unwrap().len(), due.count()), (2, 0));
                    assert!(nth > 3, "it was asked twice for each");
                    break;
                }
            }
        }
        f.is_whole().await;
        f.store.close().await;
    }
}

fn held(to: &str) -> Accepted {
    let mut accepted = accepted(&[]);
    accepted.deliveries = vec![new_delivery(to, Standing::Held)];
    accepted
}
