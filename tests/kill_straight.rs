//! `kill -9` at random moments, while mail comes in straight through and by the queue: nothing that got its 250 is
//! lost, and every second copy has its reason.
//!
//! `cargo test` kills for some seconds. The long run, by hand:
//!
//! ```text
//! POSTERN_KILLS=1000 POSTERN_KILL_SECONDS=3600 cargo test --test kill_straight -- --nocapture
//! ```
//!
//! Clients send as real ones do: whatever got no reply, or a 4xx, they send again until it gets its 250. The next hop
//! lives through it all and keeps the book of copies; now and then it defers a message, takes one and breaks off
//! without a word, or takes its time. Afterwards the books are compared.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

#[path = "support/hop.rs"]
mod hop;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hop::{Copy, Faults, Hop, next_random, straight_to};
use serde_json::Value;
use support::{Gateway, free_port, stuffed, wait_for};

/// From the one to the other.
type Span = (Instant, Instant);

/// What a client was told in the end.
struct Told {
    reference: String,
    /// Whether it was the next hop's word.
    straight: bool,
}

/// The clients' book: for each recipient (a message of its own) how often it was sent, and its 250.
#[derive(Default)]
struct Book {
    sent: HashMap<String, u32>,
    /// Of those that were sent again: when, until the connection broke without a reply.
    unanswered: HashMap<String, Vec<Span>>,
    told: HashMap<String, Told>,
}

impl Book {
    fn straight(&self) -> usize {
        self.told.values().filter(|told| told.straight).count()
    }

    fn has_both(&self) -> bool {
        (1..self.told.len()).contains(&self.straight())
    }
}

type Shared = Arc<Mutex<Book>>;

#[test]
fn nothing_is_lost_and_every_second_copy_is_explained_however_often_the_gateway_is_killed() {
    let number = |name: &str, default: u64| {
        let given = std::env::var(name).ok();
        given.map_or(default, |text| text.parse().expect("a number"))
    };
    let (kills, seconds) = (
        number("POSTERN_KILLS", 24),
        number("POSTERN_KILL_SECONDS", 25),
    );
    let seed = number("POSTERN_SEED", u64::from(std::process::id()) << 20 | 1);
    let faults = Faults {
        defers_one_in: 60,
        breaks_one_in: 300,
        delay_max: Duration::from_millis(12),
    };
    let hop = Hop::with(faults, seed);
    let queued = free_port();
    let mut gateway = Gateway::start_with(|policies| {
        straight_to(&hop, "5s", policies);
        listener_without_straight(policies, queued);
    });
    let (book, stop) = (Shared::default(), Arc::new(AtomicBool::new(false)));
    let senders: Vec<_> = (0..7)
        .map(|nth| {
            let port = if nth < 4 { gateway.relay } else { queued };
            let (book, stop) = (Arc::clone(&book), Arc::clone(&stop));
            thread::spawn(move || send_until_told_to_stop(port, nth, &book, &stop))
        })
        .collect();

    let begun = Instant::now();
    let mut moments = Vec::new();
    let mut random = seed | 1;
    while (moments.len() as u64) < kills && begun.elapsed() < Duration::from_secs(seconds) {
        random = next_random(random);
        // From "hardly up" to "well under way": an unoptimised gateway takes some time over its first messages.
        thread::sleep(Duration::from_millis(20 + (random >> 11) % 880));
        let from = Instant::now();
        gateway.kill();
        moments.push((from, Instant::now()));
        gateway.restart();
    }
    wait_for("mail of both kinds", || {
        book.lock().unwrap().has_both().then_some(())
    });
    stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.join().expect("a sender ends");
    }
    wait_for("an empty queue", || is_empty(&gateway).then_some(()));

    let book = book.lock().unwrap();
    let lost = lost(&book, &hop);
    let duplicates = duplicates(&book, &hop, &moments);
    println!(
        "seed {seed}: {} kills in {} s; {} messages got 250 ({} straight through), of {} sends; {} copies",
        moments.len(),
        begun.elapsed().as_secs(),
        book.told.len(),
        book.straight(),
        book.sent.values().sum::<u32>(),
        hop.copies().len(),
    );
    println!("lost: {}", lost.len());
    for (why, copies) in &duplicates.explained {
        println!("second copies, {why}: {copies}");
    }
    println!("most copies of one message: {}", duplicates.most);
    assert_eq!(lost, [""; 0], "seed {seed}");
    assert_eq!(duplicates.unexplained, [""; 0], "seed {seed}");
    assert!(!moments.is_empty() && book.has_both());
    what_was_told_is_on_record(&gateway, &book);
}

/// Recipients whose message got its 250 and never arrived.
fn lost(book: &Book, hop: &Hop) -> Vec<String> {
    let copies = hop.copies();
    let arrived: std::collections::HashSet<&str> = copies
        .iter()
        .flat_map(|copy| copy.to.iter().map(String::as_str))
        .collect();
    let told = book.told.keys();
    told.filter(|to| !arrived.contains(to.as_str()))
        .cloned()
        .collect()
}

#[derive(Default)]
struct Duplicates {
    explained: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
    most: usize,
}

/// Every copy after the first of a recipient, with what came between it and the one before.
fn duplicates(book: &Book, hop: &Hop, kills: &[Span]) -> Duplicates {
    let mut of: HashMap<String, Vec<Copy>> = HashMap::new();
    for copy in hop.copies() {
        let known = of.entry(copy.to[0].clone()).or_default();
        known.push(copy);
    }
    let mut found = Duplicates::default();
    for (to, copies) in of {
        found.most = found.most.max(copies.len());
        for pair in copies.windows(2) {
            let unanswered = book.unanswered.get(&to).map_or(&[][..], Vec::as_slice);
            match why(&pair[0], &pair[1], kills, unanswered) {
                Some(why) => *found.explained.entry(why).or_default() += 1,
                None => found.unexplained.push(in_words(&to, pair, kills)),
            }
        }
    }
    found
}

/// Two copies that nothing explains: for whoever looks for the reason.
fn in_words(to: &str, pair: &[Copy], kills: &[Span]) -> String {
    let from = pair[0].at;
    let after = |at: Instant| match at.checked_duration_since(from) {
        Some(after) => after.as_secs_f64(),
        None => -from.duration_since(at).as_secs_f64(),
    };
    let near = kills.iter().filter(|kill| after(kill.1).abs() < 5.0);
    let near: Vec<_> = near.map(|kill| (after(kill.0), after(kill.1))).collect();
    let copy = |copy: &Copy| (after(copy.at), copy.reference.clone(), copy.told, copy.cut);
    let (first, second) = (copy(&pair[0]), copy(&pair[1]));
    format!("{to}: {first:?}, {second:?}, kills at {near:?}")
}

/// What came between two copies. A copy with another reference is another send of the client, which had no reply to an
/// earlier one for the gateway was killed; one with the same reference was sent by the queue again.
fn why(before: &Copy, after: &Copy, kills: &[Span], unanswered: &[Span]) -> Option<&'static str> {
    if before.reference != after.reference {
        let was_killed = |send: &Span| {
            let met = |kill: &Span| send.0 <= kill.1 && kill.0 <= send.1;
            send.0 <= after.at && kills.iter().any(met)
        };
        return unanswered
            .iter()
            .any(was_killed)
            .then_some("killed before the client had its reply, and it sent again");
    }
    if !before.told {
        return Some("the next hop had broken off without a word");
    }
    // What the gateway had written is read a moment after its end: then the connection shows that it was cut.
    let latest = |until: Instant| match before.cut {
        true => until + READ_LATE,
        false => until,
    };
    let between = |kill: &Span| before.at <= latest(kill.1) && kill.0 <= after.at;
    kills
        .iter()
        .any(between)
        .then_some("killed before the end of the attempt was written down")
}

/// How late the next hop reads what was sent, on a machine that is busy.
const READ_LATE: Duration = Duration::from_secs(2);

/// What a 250 says is in the audit trail: whole, and for what went straight the delivery too.
fn what_was_told_is_on_record(gateway: &Gateway, book: &Book) {
    let verified = gateway.postern(&["audit", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
    let exported = gateway.postern(&["audit", "export"]);
    let text = String::from_utf8(exported.stdout).unwrap();
    let mut on_record = std::collections::HashSet::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let word = |key: &str| line["event"][key].as_str().unwrap_or_default().to_owned();
        on_record.insert((word("reference"), word("kind")));
    }
    for (to, told) in &book.told {
        let kinds: &[&str] = match told.straight {
            true => &["received", "decided", "delivered"],
            false => &["received", "decided"],
        };
        for kind in kinds {
            let event = (told.reference.clone(), (*kind).to_owned());
            assert!(
                on_record.contains(&event),
                "{to}: no {kind} of {}",
                told.reference
            );
        }
    }
}

fn is_empty(gateway: &Gateway) -> bool {
    let output = gateway.postern(&["queue", "list", "--json"]);
    output.status.success() && output.stdout.is_empty()
}

/// A second listener for relays, whose messages all go by the queue.
fn listener_without_straight(policies: &Path, port: u16) {
    let file = policies.join("postern.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let before = "[proxy]\n";
    let listener = format!(
        "[[listener]]\nname = \"queued\"\naddress = \"127.0.0.1:{port}\"\ntls = \"none\"\n\n"
    );
    assert!(text.contains(before));
    std::fs::write(
        &file,
        text.replacen(before, &format!("{listener}{before}"), 1),
    )
    .unwrap();
}

/// Sends one message after the other, each until it got its 250.
fn send_until_told_to_stop(port: u16, nth: u32, book: &Mutex<Book>, stop: &AtomicBool) {
    let mut link = None;
    for number in 0.. {
        let to = format!("k{nth}m{number}@nhs.net");
        let octets = if number % 20 == 7 { 300_000 } else { 1_500 };
        let message = format!(
            "From: <ward@bumbleton.example>\r\nSubject: {to}\r\n\r\n{}",
            "a line of the load\r\n".repeat(octets / 20)
        );
        loop {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            link = link.or_else(|| Link::open(port));
            let Some(open) = &mut link else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            *book.lock().unwrap().sent.entry(to.clone()).or_default() += 1;
            let begun = Instant::now();
            match open.submit(&to, message.as_bytes()) {
                Some(reply) if reply.starts_with("250 ") => {
                    let reference = reply
                        .split_whitespace()
                        .find(|word| word.starts_with("PX-"));
                    let told = Told {
                        reference: reference.unwrap_or_else(|| panic!("{reply}")).to_owned(),
                        straight: reply.contains("sent on"),
                    };
                    book.lock().unwrap().told.insert(to, told);
                    break;
                }
                Some(reply) if reply.starts_with('4') => thread::sleep(Duration::from_millis(5)),
                Some(reply) => panic!("{to}: {reply}"),
                None => {
                    link = None;
                    let mut book = book.lock().unwrap();
                    let unanswered = book.unanswered.entry(to.clone()).or_default();
                    unanswered.push((begun, Instant::now()));
                }
            }
        }
    }
}

/// A connection of a client, which may break at any moment.
struct Link(BufReader<TcpStream>);

impl Link {
    fn open(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(240)))
            .ok()?;
        stream.set_nodelay(true).ok()?;
        let mut link = Self(BufReader::new(stream));
        link.reply().filter(|reply| reply.starts_with("220 "))?;
        link.command("EHLO load.example").map(|_| link)
    }

    fn submit(&mut self, to: &str, message: &[u8]) -> Option<String> {
        for command in [
            "MAIL FROM:<ward@bumbleton.example>".to_owned(),
            format!("RCPT TO:<{to}>"),
            "DATA".to_owned(),
        ] {
            let reply = self.command(&command)?;
            if !reply.starts_with(['2', '3']) {
                self.command("RSET")?;
                return Some(reply);
            }
        }
        self.0.get_mut().write_all(&stuffed(message)).ok()?;
        self.reply()
    }

    fn command(&mut self, command: &str) -> Option<String> {
        let line = format!("{command}\r\n");
        self.0.get_mut().write_all(line.as_bytes()).ok()?;
        self.reply()
    }

    /// The last line of a reply that came whole.
    fn reply(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).ok()?;
            if !line.ends_with('\n') {
                return None;
            }
            if line.as_bytes().get(3) == Some(&b' ') {
                return Some(line);
            }
        }
    }
}
