//! How many messages a second the queue takes and settles, durable, one recipient each.
//!
//! `cargo bench --bench queue -- [SECONDS]` prints a line for each size of body and number of
//! sessions, with the jobs that shared a commit; then the same with a backlog. With `host=… user=… dbname=…` as one more
//! argument the queue lies in that PostgreSQL database.

#[path = "../tests/support/accepted.rs"]
mod support;

use std::time::{Duration, Instant};

use postern::base::{Clock, metrics};
use postern::queue::{Handoff, LEASE, PostgresSettings, Queue, Settings};
use support::{accepted_with, delivered};

fn main() {
    let seconds = std::env::args()
        .filter_map(|word| word.parse().ok())
        .next()
        .unwrap_or(2);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for octets in [1 << 10, 10 << 10, 75 << 10] {
            for sessions in [1, 20, 100] {
                run(octets, sessions, 0, Duration::from_secs(seconds)).await;
            }
        }
        run(10 << 10, 20, 20_000, Duration::from_secs(seconds)).await;
    });
}

/// Accepts with a hand-off and settles as delivered, over and over.
async fn run(octets: usize, sessions: usize, backlog: usize, time: Duration) {
    let folder = tempfile::tempdir_in(".").expect("a folder on this disk");
    let named = std::env::args().find(|word| word.contains("host="));
    let settings = Settings {
        postgres: named.map(|name| PostgresSettings::parse(&name).expect("a database")),
    };
    let queue = Queue::open_by(&settings, folder.path(), "bench.example", Clock::system())
        .await
        .expect("a queue");
    fill(&queue, octets, backlog).await;
    let (commits, jobs) = (metrics::COMMITS.value(), metrics::COMMITTED_JOBS.value());
    let (began, processor) = (Instant::now(), processor_time());
    let workers: Vec<_> = (0..sessions)
        .map(|_| tokio::spawn(session(queue.clone(), body(octets), began + time)))
        .collect();
    let mut messages = 0_u32;
    for worker in workers {
        messages += worker.await.expect("no panic");
    }
    let rate = f64::from(messages) / began.elapsed().as_secs_f64();
    let micros = (processor_time() - processor).as_secs_f64() * 1e6 / f64::from(messages);
    let commits = metrics::COMMITS.value() - commits;
    let per_commit = (metrics::COMMITTED_JOBS.value() - jobs) as f64 / commits as f64;
    println!(
        "{:>3} KiB, {sessions:>3} sessions, backlog {backlog:>6}: {rate:>6.0} accepted and settled/s, \
         {micros:>4.0} µs of processor each, {per_commit:.1} jobs per commit",
        octets >> 10
    );
}

async fn session(queue: Queue, body: String, until: Instant) -> u32 {
    let clock = Clock::system();
    let mut messages = 0;
    while Instant::now() < until {
        let handoff = Handoff::LeaseUntil(clock.now() + LEASE);
        let message = accepted_with(&["a@ward.example"], body.clone());
        let lease = queue
            .accept(message, handoff)
            .await
            .expect("accepted")
            .expect("leased");
        queue
            .settle(vec![delivered(lease.deliveries[0].id)], vec![])
            .await
            .expect("settled");
        messages += 1;
    }
    messages
}

async fn fill(queue: &Queue, octets: usize, messages: usize) {
    let fillers: Vec<_> = (0..100)
        .map(|_| {
            let (queue, body) = (queue.clone(), body(octets));
            tokio::spawn(async move {
                for _ in 0..messages / 100 {
                    let message = accepted_with(&["b@ward.example"], body.clone());
                    queue
                        .accept(message, Handoff::None)
                        .await
                        .expect("accepted");
                }
            })
        })
        .collect();
    for filler in fillers {
        filler.await.expect("no panic");
    }
}

fn body(octets: usize) -> String {
    format!(
        "Subject: a bench\r\n\r\n{}",
        "seventy-eight octets of text and a line end.\r\n".repeat(octets / 46)
    )
}

/// User and system time of this process.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<i64> = after_name
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // After the name and the state: fields 14 and 15 of the whole, in ticks of 10 ms.
    let ticks = fields.get(10).unwrap_or(&0) + fields.get(11).unwrap_or(&0);
    Duration::from_millis(ticks.unsigned_abs() * 10)
}
