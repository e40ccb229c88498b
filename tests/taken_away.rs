//! The database of the queue is deleted, moved or replaced while the gateway runs: nobody is told 250 any more, what waits
//! goes on, and an orderly end keeps it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/accepted.rs"]
mod accepted;
mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use accepted::{accepted, accepted_with, delivered, start};
use postern::base::Clock;
use postern::queue::*;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use support::{Gateway, wait_for};

fn open(folder: &Path) -> SqliteStore {
    SqliteStore::open(folder, Clock::fixed(start())).unwrap()
}

async fn accept(store: &SqliteStore, to: &str) -> Result<(), QueueError> {
    let accepted = store.accept(vec![accepted(&[to])], Handoff::None).await;
    accepted.map(|_| ())
}

fn is_moved(result: &Result<(), QueueError>) -> bool {
    matches!(result, Err(QueueError::Store(StoreError::Moved { .. })))
}

async fn waiting(store: &SqliteStore) -> Vec<String> {
    let list = store.list(Filter::default()).await.unwrap();
    list.into_iter().map(|one| one.recipient).collect()
}

#[tokio::test]
async fn nothing_is_promised_once_a_file_of_the_database_is_gone() {
    for file in ["queue.sqlite", "queue.sqlite-wal", "queue.sqlite-shm"] {
        for is_replaced in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let store = open(folder.path());
            accept(&store, "a@ward.example").await.unwrap();
            let (path, aside) = (folder.path().join(file), folder.path().join("aside"));
            fs::rename(&path, &aside).unwrap();
            if is_replaced {
                fs::copy(&aside, &path).unwrap();
            }

            let refused = accept(&store, "b@ward.example").await;
            assert!(is_moved(&refused), "{file}: {refused:?}");
            assert!(is_moved(&store.check_room(0)), "{file}");
            assert!(is_moved(&store.record(vec![]).await), "{file}");
            let order = store.administer(Selection::All, Order::Retry, "root".into());
            assert!(is_moved(&order.await.map(|_| ())), "{file}");
            let big = "x".repeat(300 << 10);
            let big = store.accept(vec![accepted_with(&["c@ward.example"], big)], Handoff::None);
            assert!(is_moved(&big.await.map(|_| ())), "{file}");
            assert_eq!(
                fs::read_dir(folder.path().join("spool")).unwrap().count(),
                0
            );

            // What was taken before goes on.
            let lease = store.lease(start(), start() + LEASE, 10, Skip::nothing());
            let lease = lease.await.unwrap().remove(0);
            let done = store.settle(vec![delivered(lease.deliveries[0].id)], vec![]);
            done.await.unwrap();
            assert!(waiting(&store).await.is_empty());

            // It was moved by mistake, and is put back.
            fs::rename(&aside, &path).unwrap();
            accept(&store, "d@ward.example").await.unwrap();
            assert_eq!(waiting(&store).await, ["d@ward.example"]);
            drop(store);
            assert_eq!(waiting(&open(folder.path())).await, ["d@ward.example"]);
        }
    }
}

#[tokio::test]
async fn nobody_is_told_of_a_commit_to_a_file_that_was_deleted_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("queue.sqlite");
    let doomed = database.clone();
    let delete = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(_, sql) = event
            && sql == "COMMIT"
        {
            let _ = fs::remove_file(&doomed);
        }
    };
    let store = SqliteStore::open_with(folder.path(), Clock::fixed(start()), |connection| {
        let codes = TraceEventCodes::SQLITE_TRACE_STMT;
        connection.trace_v2(codes, Some(delete)).unwrap();
    });

    let answer = accept(&store.unwrap(), "a@ward.example").await;

    assert!(!database.exists());
    assert!(
        matches!(&answer, Err(QueueError::Store(StoreError::Commit(_)))),
        "{answer:?}"
    );
}

/// The one that was rescued, if there is one.
fn rescued(folder: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names = names.filter(|entry| entry.file_name().to_string_lossy().contains("rescued"));
    names.next().map(|entry| entry.path())
}

#[tokio::test]
async fn an_orderly_end_keeps_what_the_queue_has() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.recover(start()).await.unwrap();
    accept(&store, "a@ward.example").await.unwrap();
    fs::remove_file(folder.path().join("queue.sqlite")).unwrap();

    // Who only looks makes no new one, which would take the log of the old one away.
    let other = SqliteStore::open(folder.path(), Clock::fixed(start())).map(|_| ());
    assert!(
        matches!(&other, Err(QueueError::Store(StoreError::Missing { .. }))),
        "{other:?}"
    );
    store.close().await;
    drop(store);

    let file = rescued(folder.path()).unwrap();
    // Nothing begins anew beside it, by itself: that would be thrown away with all that came meanwhile.
    for other in [None, Some("a database of others")] {
        if let Some(octets) = other {
            fs::write(folder.path().join("queue.sqlite"), octets).unwrap();
        }
        let begun = SqliteStore::open(folder.path(), Clock::fixed(start())).map(|_| ());
        assert!(
            matches!(&begun, Err(QueueError::Store(StoreError::Rescued { .. }))),
            "{begun:?}"
        );
    }
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let elsewhere = tempfile::tempdir().unwrap();
    fs::rename(file, elsewhere.path().join("queue.sqlite")).unwrap();
    let store = open(elsewhere.path());
    assert_eq!(waiting(&store).await, ["a@ward.example"]);
    assert_eq!(store.verify().await.unwrap().faults, []);
    accept(&store, "b@ward.example").await.unwrap();
}

fn health(gateway: &Gateway) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.metrics)).unwrap();
    let request = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn clients_hear_451_until_it_is_back() {
    const MAIL: &[u8] = b"Subject: rota\r\n\r\nFriday.\r\n";
    const TO: &str = "nurse@bumbleton.example";
    let mut gateway = Gateway::start();
    let submit = |gateway: &Gateway| {
        let mut client = gateway.connect();
        client.command("EHLO client.example");
        client.submit("a@elsewhere.example", &[TO], MAIL)
    };
    let reply = submit(&gateway);
    assert!(reply.starts_with("250"), "{reply}");
    gateway.wait_for_mail(TO, 1);
    let data = gateway.folder.path().join("data");
    let (database, aside) = (data.join("queue.sqlite"), data.join("aside"));
    fs::rename(&database, &aside).unwrap();

    let reply = submit(&gateway);
    assert!(reply.starts_with("451 4.3.0"), "{reply}");
    let page = health(&gateway);
    assert!(page.starts_with("HTTP/1.1 503"), "{page}");
    assert!(page.contains("deleted, moved or replaced"), "{page}");
    let log = wait_for("an alarm", || {
        Some(gateway.log()).filter(|log| log.contains("ALARM"))
    });
    assert_eq!(
        log.matches("ALARM: the queue's database").count(),
        1,
        "{log}"
    );

    fs::rename(&aside, &database).unwrap();
    assert!(submit(&gateway).starts_with("250"));
    assert!(health(&gateway).starts_with("HTTP/1.1 200"));
    gateway.wait_for_mail(TO, 2);

    fs::remove_file(&database).unwrap();
    assert!(gateway.terminate());
    let file = rescued(&data).unwrap_or_else(|| panic!("{}", gateway.log()));
    let again = gateway.postern(&["queue", "list"]);
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(
        !again.status.success() && said.contains("has the mail that waited"),
        "{said}"
    );

    fs::rename(file, &database).unwrap();
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(data.join(format!("queue.sqlite{end}")));
    }
    gateway.restart();
    let trail = gateway.postern(&["trace", TO]);
    assert!(String::from_utf8_lossy(&trail.stdout).contains("delivered"));
    assert!(gateway.postern(&["audit", "verify"]).status.success());
}

#[tokio::test]
async fn large_messages_without_their_database_are_not_taken_for_orphans() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let big = "x".repeat(300 << 10);
    let big = store.accept(vec![accepted_with(&["c@ward.example"], big)], Handoff::None);
    big.await.unwrap();
    store.close().await;
    drop(store);
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(folder.path().join(format!("queue.sqlite{end}")));
    }

    let begun = SqliteStore::open(folder.path(), Clock::fixed(start())).map(|_| ());

    assert!(
        matches!(&begun, Err(QueueError::Store(StoreError::Missing { .. }))),
        "{begun:?}"
    );
    assert_eq!(
        fs::read_dir(folder.path().join("spool")).unwrap().count(),
        1
    );
}
