//! The process stops between any two statements of the queue's writer; nothing accepted is lost.
//!
//! The parent runs itself as a child with a number: the child aborts (`std::process::abort`, so that
//! nothing is tidied up) when that statement is about to run. What the child was told is durable, it
//! prints; the parent then opens the queue that it left and holds it against what was printed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/accepted.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use postern::base::Clock;
use postern::outcome::notify::{Event, Told, notices};
use postern::queue::*;
use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use support::*;

/// Aborts at the start of statement number `fatal` and at no other; counts them.
fn abort_at(connection: &mut Connection, fatal: u32, seen: &Arc<AtomicU32>) {
    let seen = Arc::clone(seen);
    let watch = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(..) = event
            && seen.fetch_add(1, Ordering::SeqCst) + 1 == fatal
        {
            std::process::abort();
        }
    };
    connection
        .trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(watch))
        .unwrap();
}

/// What the child does: a line of output follows each step, when it is durable.
async fn scenario(store: &SqliteStore) {
    let big = format!("Subject: big\r\n\r\n{}", "x".repeat(300 << 10));
    let handoff = Handoff::LeaseUntil(start() + LEASE);

    let first = store.accept(
        vec![accepted(&["a@ward.example", "b@ward.example"])],
        handoff,
    );
    let first = first.await.unwrap().unwrap();
    println!("accepted 2");

    store
        .accept(vec![accepted_with(&["c@ward.example"], big)], Handoff::None)
        .await
        .unwrap();
    println!("accepted 1");
    let reminder = store.accept_once(
        vec![accepted(&["d@home.example"])],
        Handoff::None,
        reminder(),
    );
    reminder.await.unwrap();
    println!("accepted 1");

    let [a, b] = [&first.deliveries[0], &first.deliveries[1]];
    store.settle(vec![delivered(a.id)], vec![]).await.unwrap();
    println!("delivered a@ward.example");

    let outcome = reply(550, "5.1.1", "no such user");
    let told = Told {
        recipient: &b.recipient,
        outcome: &outcome,
        event: Event::Failed,
    };
    let reports = notices(&first.message.original(), &[told], "gate.example", start());
    let reports = reports
        .into_iter()
        .map(|one| Accepted::notice(one, &"gate.example".into()))
        .collect();
    store.settle(vec![failed(b.id)], reports).await.unwrap();
    println!("failed b@ward.example");

    let leases = store
        .lease(start(), start() + LEASE, 10, Skip::nothing())
        .await
        .unwrap();
    println!("leased {}", leases.len());
    for lease in leases {
        store
            .settle(vec![deferred(lease.deliveries[0].id, start())], vec![])
            .await
            .unwrap();
    }
    let fail = Order::Fail {
        reason: "the ward moved".to_owned(),
        letterhead: "gate.example".into(),
    };
    let big = Selection::Domain("ward.example".to_owned());
    store
        .administer(big, fail, "root".to_owned())
        .await
        .unwrap();
    println!("failed c@ward.example");
}

/// A reminder that may be sent again after the crash.
fn reminder() -> Once {
    Once {
        account: "reminders@ward.example".to_owned(),
        key: [1; 32],
        recipients: [2; 32],
        body: [3; 32],
        at: start(),
        until: start() + LEASE,
    }
}

/// Not a test of its own: the child's part, run by the test below.
#[test]
fn child() {
    let (Ok(folder), Ok(fatal)) = (
        std::env::var("POSTERN_CRASH_FOLDER"),
        std::env::var("POSTERN_CRASH_AT"),
    ) else {
        return;
    };
    let seen = Arc::new(AtomicU32::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store =
            SqliteStore::open_with(Path::new(&folder), Clock::fixed(start()), |connection| {
                abort_at(connection, fatal.parse().unwrap(), &seen);
            });
        scenario(&store.unwrap()).await;
    });
    println!("statements {}", seen.load(Ordering::SeqCst));
}

/// Runs the child in a folder; returns what it printed.
fn run_child(folder: &Path, fatal: u32) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env("POSTERN_CRASH_FOLDER", folder)
        .env("POSTERN_CRASH_AT", fatal.to_string())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn nothing_accepted_is_lost_wherever_the_process_stops() {
    for fatal in 1..=1_000 {
        let folder = tempfile::tempdir().unwrap();
        let printed = run_child(folder.path(), fatal);
        // How many statements there are depends a little on what the writer finds waiting together.
        if printed.contains("statements ") {
            assert!(fatal > 60, "the scenario ends after {fatal} statements");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(examine(folder.path(), &printed, fatal));
    }
    panic!("the scenario never runs to its end");
}

/// Opens what the child left, as the next start of the gateway does.
async fn examine(folder: &Path, printed: &str, fatal: u32) {
    let store = SqliteStore::open(folder, Clock::fixed(start())).unwrap();
    store.recover(start()).await.unwrap();
    let events = store.events(1, 1_000).await.unwrap();
    let of_kind = |kind: &str| {
        let objects = events.iter().map(AuditEntry::object);
        let of = objects.filter(|event| event["kind"] == kind);
        of.filter_map(|event| Some(event.get("recipient")?.as_str()?.to_owned()))
            .collect::<Vec<_>>()
    };
    let received = events
        .iter()
        .filter(|event| event.object()["kind"] == "received")
        .count();
    let (delivered, failed, notified) =
        (of_kind("delivered"), of_kind("failed"), of_kind("notified"));
    let waiting: Vec<String> = store
        .list(Filter::default())
        .await
        .unwrap()
        .into_iter()
        .map(|one| one.recipient)
        .collect();

    assert_eq!(
        store.verify().await.unwrap().faults,
        [],
        "{fatal}: the chain is whole"
    );
    let accepted = printed
        .lines()
        .filter(|line| line.starts_with("accepted"))
        .count();
    assert!(
        received >= accepted && received <= accepted + 1,
        "{fatal}: what got its 250 is there"
    );
    let recipients = [2, 3, 4]
        .get(received.wrapping_sub(1))
        .copied()
        .unwrap_or(0);
    assert_eq!(
        delivered.len() + failed.len() + waiting.len() - notified.len(),
        recipients,
        "{fatal}: each recipient is delivered, failed or waiting"
    );
    assert_eq!(
        failed.len(),
        notified.len(),
        "{fatal}: a report exactly with the failure"
    );
    for line in printed.lines() {
        match line.split_once(' ') {
            Some(("delivered", who)) => {
                assert!(delivered.contains(&who.to_owned()), "{fatal}: {line}");
            }
            Some(("failed", who)) => {
                assert!(failed.contains(&who.to_owned()), "{fatal}: {line}");
            }
            _ => {}
        }
    }
    all_can_be_read(&store, &waiting, folder, fatal).await;
    the_reminder_is_there_once(&store, &waiting, fatal).await;
}

/// All that waits is leased with its octets, and the spool holds nothing else.
async fn all_can_be_read(store: &SqliteStore, waiting: &[String], folder: &Path, fatal: u32) {
    let leases = store
        .lease(start(), start() + LEASE, 100, Skip::nothing())
        .await
        .unwrap();
    let leased: usize = leases.iter().map(|lease| lease.deliveries.len()).sum();
    assert_eq!(
        leased,
        waiting.len(),
        "{fatal}: every lease of the dead is free"
    );
    let large = leases
        .iter()
        .filter(|lease| lease.message.message.len() > 256 << 10)
        .count();
    let files = std::fs::read_dir(folder.join("spool")).unwrap().count();
    assert_eq!(
        files, large,
        "{fatal}: a file for each large message, and no orphan"
    );
}

/// The key is there exactly with its message, and the application may repeat it whatever happened.
async fn the_reminder_is_there_once(store: &SqliteStore, waiting: &[String], fatal: u32) {
    let is_here = waiting.iter().any(|who| who == "d@home.example");
    let known = store.repeated(reminder()).await.unwrap();
    assert_eq!(
        known.is_some(),
        is_here,
        "{fatal}: the key is there exactly with its message"
    );
    let again = store.accept_once(
        vec![accepted(&["d@home.example"])],
        Handoff::None,
        reminder(),
    );
    assert_eq!(
        again.await.is_ok(),
        !is_here,
        "{fatal}: what the application repeats is there once"
    );
}
