//! Several gateways on one PostgreSQL: what is beyond the specification of a store (`tests/queue.rs`). Each test has a
//! server of its own, which it may break. Where PostgreSQL is not installed they say so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/accepted.rs"]
mod accepted;
#[path = "support/authority.rs"]
mod authority;
#[path = "support/load.rs"]
mod load;
#[path = "support/postgres.rs"]
mod postgres;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use accepted::{accepted, accepted_with, deferred, delivered, start};
use authority::{Authority, Wrong};
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

/// An address of this machine that others could reach; none in a machine without a network.
fn address_of_this_machine() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent.
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// Gives a server of the tests a certificate for a host, and asks for a password over the network.
fn guard_by_tls(cluster: &Cluster, database: &Database, authority: &Authority, host: &str) {
    let data = cluster.data();
    let (certificate, key) = authority.issue(&[host], Wrong::Nothing);
    let (pem, key_pem) = (data.join("server.crt"), data.join("server.key"));
    fs::write(&pem, certificate.pem()).unwrap();
    fs::write(&key_pem, key.serialize_pem()).unwrap();
    fs::set_permissions(&key_pem, fs::Permissions::from_mode(0o600)).unwrap();
    let owner = fs::metadata(&data).unwrap();
    for file in [&pem, &key_pem] {
        std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let access = data.join("pg_hba.conf");
    let text = fs::read_to_string(&access).unwrap();
    fs::write(&access, text + "host all all 0.0.0.0/0 scram-sha-256\n").unwrap();
    database.sql(&format!("ALTER USER postern PASSWORD '{PASSWORD}'"));
    tls(cluster, database, "on");
}

fn tls(cluster: &Cluster, database: &Database, word: &str) {
    database.sql(&format!("ALTER SYSTEM SET ssl = {word}"));
    cluster.crash();
}

const PASSWORD: &str = "between-us-alone";

#[test]
fn a_database_over_the_network_is_spoken_to_by_tls_and_nobody_but_the_right_server() {
    let Some(address) = address_of_this_machine() else {
        eprintln!("skipped: this machine has no network");
        return;
    };
    let free = std::net::TcpListener::bind((address, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let Some(cluster) = Cluster::start_on(&address.to_string(), port) else {
        return;
    };
    let (database, authority) = (cluster.database(), Authority::new());
    guard_by_tls(&cluster, &database, &authority, "db.example");
    let dbname = database.name.rsplit_once('=').unwrap().1.to_owned();
    let store = |host: &str, authorities: &str| {
        format!(
            "\n[store]\npostgresql = \"host={host} hostaddr={address} port={port} user=postern dbname={dbname}\"\n\
             password = {{ file = \"password\" }}\n{authorities}"
        )
    };
    let ours = "authorities = \"ours.pem\"\n";
    let mut gateway = Gateway::start_with(|policies| {
        fs::write(policies.join("password"), PASSWORD).unwrap();
        fs::write(policies.join("ours.pem"), authority.pem()).unwrap();
        fs::write(policies.join("others.pem"), Authority::new().pem()).unwrap();
        let main = policies.join("postern.toml");
        let text = fs::read_to_string(&main).unwrap();
        fs::write(&main, text + &store("db.example", ours)).unwrap();
    });
    let mut client = gateway.connect();
    client.command("EHLO x");
    let message = b"Subject: hello\r\n\r\ntext\r\n";
    let reply = client.submit(
        "me@bumbleton.example",
        &["nurse@bumbleton.example"],
        message,
    );
    assert!(reply.starts_with("250 "), "{reply}");
    gateway.wait_for_mail("nurse@bumbleton.example", 1);
    let sessions = database.sql(
        "SELECT count(*) FILTER (WHERE s.ssl), count(*) FILTER (WHERE NOT s.ssl)
         FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
         WHERE a.application_name = 'postern' AND a.client_addr IS NOT NULL",
    );
    let (secret, clear) = sessions.trim().split_once('|').unwrap();
    assert!(secret != "0" && clear == "0", "{sessions}");

    let main = gateway.config();
    let text = fs::read_to_string(&main).unwrap();
    let text = text.split("\n[store]").next().unwrap().to_owned();
    let refused = |host: &str, authorities: &str, wanted: &str| {
        let other = main.with_file_name("other.toml");
        fs::write(&other, text.clone() + &store(host, authorities)).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_postern"))
            .arg("--config")
            .arg(&other)
            .args(["queue", "list"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{host} {authorities} {said}");
        assert!(said.contains(wanted) && !said.contains(PASSWORD), "{said}");
    };
    refused("other.example", ours, "not valid for name");
    refused(
        "db.example",
        "authorities = \"others.pem\"\n",
        // Of an authority of the same name.
        "BadSignature",
    );
    refused("db.example", "", "UnknownIssuer");
    // What has no TLS hears no password.
    assert!(gateway.terminate());
    tls(&cluster, &database, "off");
    refused("db.example", ours, "TLS");
}
