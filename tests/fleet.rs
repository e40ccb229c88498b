//! Several gateways on one PostgreSQL: what is beyond the specification of a store (`tests/queue.rs`). Each test has a
//! server of its own, which it may break. Where PostgreSQL is not installed they say so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/accepted.rs"]
mod accepted;
#[path = "support/load.rs"]
mod load;
#[path = "support/postgres.rs"]
mod postgres;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use accepted::{accepted, accepted_with, deferred, delivered, start};
use jiff::Timestamp;
use load::{Acknowledged, send_until_it_breaks};
use postern::base::Clock;
use postern::queue::*;
use postgres::{Cluster, Database};
use support::{Gateway, wait_for};

async fn gateway(database: &Database, name: &str, clock: &Clock) -> PostgresStore {
    let settings = PostgresSettings::parse(&database.name).unwrap();
    PostgresStore::open(&settings, name, &std::env::temp_dir(), clock.clone())
        .await
        .unwrap()
}

async fn accept(store: &PostgresStore, to: &str) -> Result<(), QueueError> {
    let accepted = vec![accepted(&[to])];
    store.accept(accepted, Handoff::None).await.map(|_| ())
}

async fn lease(store: &PostgresStore, now: Timestamp, limit: usize) -> Vec<Lease> {
    let until = now + LEASE;
    store
        .lease(now, until, limit, Skip::nothing())
        .await
        .unwrap()
}

fn ids(leases: &[Lease]) -> Vec<DeliveryId> {
    let of = |lease: &Lease| {
        lease
            .deliveries
            .iter()
            .map(|one| one.id)
            .collect::<Vec<_>>()
    };
    leases.iter().flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_deliveries_each_goes_to_one_of_two_gateways() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let (database, clock) = (cluster.database(), Clock::fixed(start()));
    let a = Arc::new(gateway(&database, "a.example", &clock).await);
    let b = Arc::new(gateway(&database, "b.example", &clock).await);
    for store in [&a, &b] {
        store.recover(start()).await.unwrap();
    }
    for store in [&a, &b] {
        // Many at once share a commit.
        let fillers: Vec<_> = (0..50)
            .map(|filler| {
                let store = Arc::clone(store);
                tokio::spawn(async move {
                    for number in 0..10 {
                        let to = format!("u{filler}n{number}@ward.example");
                        accept(&store, &to).await.unwrap();
                    }
                })
            })
            .collect();
        for filler in fillers {
            filler.await.unwrap();
        }
    }

    let work = |store: Arc<PostgresStore>| {
        tokio::spawn(async move {
            let mut done = Vec::new();
            loop {
                let leases = lease(&store, start(), 7).await;
                if leases.is_empty() {
                    return done;
                }
                let leased = ids(&leases);
                let settlements = leased.iter().copied().map(delivered).collect();
                store.settle(settlements, vec![]).await.unwrap();
                done.extend(leased);
            }
        })
    };
    // Each gateway asks twice at once, as two would in one process.
    let workers = [&a, &b, &a, &b].map(|store| work(Arc::clone(store)));
    let mut by = Vec::new();
    for worker in workers {
        by.push(worker.await.unwrap());
    }
    let all: BTreeSet<DeliveryId> = by.iter().flatten().copied().collect();
    let leased: usize = by.iter().map(Vec::len).sum();
    assert_eq!((leased, all.len()), (1_000, 1_000), "each once");
    assert!(by.iter().all(|done| !done.is_empty()), "all took part");
    let verified = a.verify().await.unwrap();
    assert_eq!((verified.lines, verified.faults), (2_000, vec![]));
    assert_eq!(a.count().await.unwrap().values().sum::<i64>(), 0);
}

#[tokio::test]
async fn what_one_gateway_has_in_hand_is_its_own() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let (database, clock) = (cluster.database(), Clock::fixed(start()));
    let a = gateway(&database, "a.example", &clock).await;
    let b = gateway(&database, "b.example", &clock).await;
    accept(&a, "u@ward.example").await.unwrap();
    let [id] = ids(&lease(&a, start(), 10).await)[..] else {
        panic!("one delivery")
    };
    let later = start() + LEASE;

    // Neither recovery nor a return by another touches it.
    assert_eq!(b.recover(start()).await.unwrap(), 0);
    b.give_back(vec![id], start()).await.unwrap();
    assert!(lease(&b, start(), 10).await.is_empty());

    // While its gateway serves, not even the end of the lease gives it to another.
    assert_eq!(a.recover(start()).await.unwrap(), 1);
    assert_eq!(ids(&lease(&a, start(), 10).await), [id]);
    assert!(lease(&b, later, 10).await.is_empty());
    a.close().await;
    assert!(
        lease(&b, start(), 10).await.is_empty(),
        "its time is not over"
    );
    assert_eq!(ids(&lease(&b, later, 10).await), [id]);

    // What the first one says of it now changes nothing, but that it was delivered is on record.
    let a = gateway(&database, "a.example", &clock).await;
    a.give_back(vec![id], start()).await.unwrap();
    a.settle(vec![deferred(id, start())], vec![]).await.unwrap();
    a.settle(vec![delivered(id)], vec![]).await.unwrap();
    assert_eq!(
        a.list(Filter::default()).await.unwrap()[0].state,
        State::Leased
    );
    let events = a.events(1, 100).await.unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].object()["kind"], "delivered");
    b.settle(vec![delivered(id)], vec![]).await.unwrap();
    assert_eq!(b.list(Filter::default()).await.unwrap(), []);
}

#[tokio::test]
async fn what_one_gateway_took_another_delivers_whole() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let (database, clock) = (cluster.database(), Clock::fixed(start()));
    let a = gateway(&database, "a.example", &clock).await;
    let b = gateway(&database, "b.example", &clock).await;
    let lines: Vec<String> = (0..200_000).map(|i| format!("line {i}\r\n")).collect();
    let large = accepted_with(&["u@ward.example"], format!("\r\n{}", lines.concat()));
    let taken = vec![large.clone()];
    a.accept(taken, Handoff::None).await.unwrap();

    let leases = lease(&b, start(), 10).await;

    assert_eq!(leases[0].message.message, large.message);
    let seen = a
        .message(leases[0].deliveries[0].id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(seen.message, large.message);
}

#[tokio::test]
async fn a_server_that_could_forget_what_it_called_committed_is_refused() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let (database, clock) = (cluster.database(), Clock::fixed(start()));
    // What a session may choose is chosen; what it may not is looked at.
    database.sql("ALTER ROLE postern SET synchronous_commit = off");
    drop(gateway(&database, "a.example", &clock).await);
    database.sql("ALTER SYSTEM SET full_page_writes = off");
    database.sql("SELECT pg_reload_conf()");
    let settings = PostgresSettings::parse(&database.name).unwrap();
    let opened = until_it_works(async || {
        let folder = std::env::temp_dir();
        match PostgresStore::open(&settings, "b.example", &folder, clock.clone()).await {
            Ok(_) => Err(QueueError::Served), // the server has yet to read its file
            Err(error) => Ok(error),
        }
    });
    let refused = opened.await;
    assert!(
        matches!(refused, QueueError::Store(StoreError::Unsafe(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_name_has_one_scheduler_and_whoever_comes_after_its_end_may_be_it() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let (database, clock) = (cluster.database(), Clock::fixed(start()));
    let first = gateway(&database, "a.example", &clock).await;
    let second = gateway(&database, "a.example", &clock).await;
    let other = gateway(&database, "b.example", &clock).await;
    first.recover(start()).await.unwrap();
    first.recover(start()).await.unwrap();
    other.recover(start()).await.unwrap();
    let served = second.recover(start()).await;
    assert!(matches!(served, Err(QueueError::Served)), "{served:?}");
    // Administrators' commands run beside it.
    accept(&second, "u@ward.example").await.unwrap();

    first.close().await;

    second.recover(start()).await.unwrap();
}

/// Asks until the answer is yes: for what comes back by itself.
async fn until_it_works<T>(mut asked: impl AsyncFnMut() -> Result<T, QueueError>) -> T {
    for _ in 0..600 {
        match asked().await {
            Ok(answer) => return answer,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("it never worked again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_crashes_loses_nothing_that_was_answered() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let (database, clock) = (cluster.database(), Clock::system());
    let store = Arc::new(gateway(&database, "a.example", &clock).await);
    store.recover(clock.now()).await.unwrap();
    let (mut answered, mut told_no) = (BTreeSet::new(), 0);
    for round in 0..3 {
        let stop = Arc::new(AtomicBool::new(false));
        let load: Vec<_> = (0..8)
            .map(|task| {
                let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
                tokio::spawn(async move {
                    let (mut answered, mut refused) = (Vec::new(), 0);
                    for number in 0.. {
                        let to = format!("r{round}t{task}n{number}@ward.example");
                        let size = if number % 20 == 0 { 400_000 } else { 2_000 };
                        let message = accepted_with(&[&to], format!("\r\n{}", "x".repeat(size)));
                        match store.accept(vec![message], Handoff::None).await {
                            Ok(_) => answered.push(to),
                            Err(_) => {
                                refused += 1;
                                tokio::time::sleep(Duration::from_millis(10)).await;
                            }
                        }
                        if stop.load(Ordering::SeqCst) {
                            break;
                        }
                    }
                    (answered, refused)
                })
            })
            .collect();
        let wanted = (round + 1) * 100;
        while until_it_works(async || store.count().await).await["due"] < wanted {}
        // The load goes on while the server is down.
        tokio::task::block_in_place(|| cluster.crash());
        stop.store(true, Ordering::SeqCst);
        for task in load {
            let (some, refused) = task.await.unwrap();
            answered.extend(some);
            told_no += refused;
        }
    }
    assert!(told_no > 0, "somebody must have noticed");
    let list = until_it_works(async || store.list(Filter::default()).await).await;
    let there: BTreeSet<String> = list.iter().map(|one| one.recipient.clone()).collect();
    assert!(answered.len() >= 300, "{}", answered.len());
    assert_eq!(
        answered.difference(&there).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );

    // It works again, and what was large can be read.
    let now = clock.now();
    let mut leased = 0;
    until_it_works(async || accept(&store, "last@ward.example").await).await;
    loop {
        let leases = lease(&store, now + Duration::from_secs(60), 50).await;
        if leases.is_empty() {
            break;
        }
        for one in &leases {
            let octets = one.message.message.len();
            assert!(
                [2_002, 400_002].contains(&octets) || leased >= list.len() - 50,
                "{octets}"
            );
            leased += one.deliveries.len();
        }
        let settled = ids(&leases).into_iter().map(delivered).collect();
        store.settle(settled, vec![]).await.unwrap();
    }
    assert_eq!(leased, list.len() + 1);
    assert_eq!(store.verify().await.unwrap().faults, []);
    assert_eq!(database.sql("SELECT count(*) FROM message").trim(), "0");
}

#[tokio::test]
async fn a_session_that_is_cut_off_is_made_again_and_still_the_one_scheduler() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let (database, clock) = (cluster.database(), Clock::system());
    let store = gateway(&database, "a.example", &clock).await;
    let rival = gateway(&database, "a.example", &clock).await;
    let now = clock.now();
    store.recover(now).await.unwrap();
    accept(&store, "u@ward.example").await.unwrap();
    let leased = ids(&lease(&store, now + Duration::from_secs(60), 10).await);

    database.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE application_name = 'postern' AND datname = current_database()",
    );

    let settled = || vec![delivered(leased[0])];
    until_it_works(async || store.settle(settled(), vec![]).await).await;
    let served = async || match rival.recover(now).await {
        Err(QueueError::Served) => Ok(true),
        Ok(_) => Ok(false),
        Err(error) => Err(error),
    };
    assert!(until_it_works(served).await, "the name was free");
    assert_eq!(store.list(Filter::default()).await.unwrap(), []);
}

fn in_database(database: &Database) -> impl Fn(&std::path::Path) + use<> {
    let name = database.name.clone();
    move |policies| {
        let main = policies.join("postern.toml");
        let text = fs::read_to_string(&main).unwrap();
        let section = format!("\n[store]\npostgresql = \"{name}\"\n");
        fs::write(&main, text + &section).unwrap();
    }
}

#[test]
fn a_gateway_serves_from_a_database_and_its_commands_see_it_also_after_kill_9_under_load() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let database = cluster.database();
    let mut gateway = Gateway::start_with(in_database(&database));
    assert!(!gateway.folder.path().join("data/queue.sqlite").exists());
    let acknowledged = Acknowledged::default();
    for round in 0..2 {
        let stop = Arc::new(AtomicBool::new(false));
        let before = acknowledged.lock().unwrap().len();
        let senders: Vec<_> = (0..6)
            .map(|sender| {
                let (port, stop, known) =
                    (gateway.relay, Arc::clone(&stop), Arc::clone(&acknowledged));
                let name = format!("r{round}s{sender}");
                thread::spawn(move || send_until_it_breaks(port, &name, &stop, &known))
            })
            .collect();
        wait_for("some messages to be accepted", || {
            (acknowledged.lock().unwrap().len() >= before + 60).then_some(())
        });
        gateway.kill();
        stop.store(true, Ordering::SeqCst);
        for sender in senders {
            sender.join().unwrap();
        }
        gateway.restart();
    }
    let mut missing = acknowledged.lock().unwrap().clone();
    let one = missing.first().unwrap().clone();
    wait_for("every acknowledged message to arrive", || {
        missing.retain(|to| gateway.mail_for(&format!("{to}@nhs.net")).is_empty());
        missing.is_empty().then_some(())
    });

    let said = |args: &[&str]| {
        let output = gateway.postern(args);
        let said = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}{error}");
        said
    };
    let trace = said(&["--json", "trace", &format!("{one}@nhs.net")]);
    assert!(trace.contains("\"delivered\""), "{trace}");
    said(&["audit", "verify"]);
    wait_for("an empty queue", || {
        said(&["--json", "queue", "list"])
            .trim()
            .is_empty()
            .then_some(())
    });
    let kinds = database.sql("SELECT event::json ->> 'kind', count(*) FROM audit GROUP BY 1");
    let kinds: BTreeMap<&str, i64> = kinds
        .lines()
        .filter_map(|line| line.split_once('|'))
        .map(|(kind, number)| (kind, number.parse().unwrap()))
        .collect();
    assert!(kinds["delivered"] >= 120, "{kinds:?}");
}
