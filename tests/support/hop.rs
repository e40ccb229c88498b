//! A next hop for straight through: it does as the recipient's name says, and remembers every copy that it took.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A message whose last octet the next hop has, and which it did not refuse.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    /// When it had it.
    pub(crate) at: Instant,
    /// The reverse path, as MAIL said it.
    pub(crate) from: String,
    /// The recipients that it took.
    pub(crate) to: Vec<String>,
    /// The gateway's reference, by its `Received` field.
    pub(crate) reference: String,
    /// Its subject.
    pub(crate) subject: String,
    /// Whether the gateway was told; if not, it cannot know.
    pub(crate) told: bool,
    /// Whether the gateway went without a word after it: it may not have heard.
    pub(crate) cut: bool,
}

/// What goes wrong now and then, beside what the names of recipients ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Of so many messages one is put off after its data; 0 is none.
    pub(crate) defers_one_in: u64,
    /// Of so many messages one is taken, and the connection broken off without a word; 0 is none.
    pub(crate) breaks_one_in: u64,
    /// The longest time between the last octet and the reply.
    pub(crate) delay_max: Duration,
}

/// A next hop at 127.0.0.1. Names of recipients ask for what it does:
/// `unknown…` 550 and `later…` 450 at RCPT (once), `refused…` 554 and `deferred…` 451 after the data (once), `broken…` no reply after
/// the data (once), `slow…` no reply until [`Hop::release`]. Everything else is taken.
pub(crate) struct Hop {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    copies: Mutex<Vec<Copy>>,
    /// What was done once already.
    done: Mutex<BTreeSet<String>>,
    released: Mutex<bool>,
    release: Condvar,
    faults: Faults,
    random: AtomicU64,
    count: AtomicU64,
}

impl Hop {
    pub(crate) fn start() -> Self {
        Self::with(Faults::default(), 1)
    }

    pub(crate) fn with(faults: Faults, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            copies: Mutex::default(),
            done: Mutex::default(),
            released: Mutex::new(false),
            release: Condvar::new(),
            faults,
            random: AtomicU64::new(seed | 1),
            count: AtomicU64::new(0),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || {
                    let mut last = None;
                    let ended = shared.serve(&stream, &mut last);
                    if let (Some(last), Ok(End::Gone) | Err(_)) = (last, ended) {
                        shared.copies.lock().unwrap()[last].cut = true;
                    }
                });
            }
        });
        Self { port, shared }
    }

    /// Every copy so far, in the order in which they came.
    pub(crate) fn copies(&self) -> Vec<Copy> {
        self.shared.copies.lock().unwrap().clone()
    }

    /// Those for a recipient.
    pub(crate) fn copies_for(&self, recipient: &str) -> Vec<Copy> {
        let mut copies = self.copies();
        copies.retain(|copy| copy.to.iter().any(|to| to == recipient));
        copies
    }

    /// Lets slow replies go.
    pub(crate) fn release(&self) {
        *self.shared.released.lock().unwrap() = true;
        self.shared.release.notify_all();
    }
}

impl Shared {
    /// `last`: the place of the copy that the last command but QUIT brought.
    fn serve(&self, mut stream: &TcpStream, last: &mut Option<usize>) -> std::io::Result<End> {
        stream.set_nodelay(true)?;
        stream.write_all(b"220 hop.example ESMTP\r\n")?;
        let mut read = BufReader::new(stream);
        let (mut from, mut to) = (String::new(), Vec::new());
        loop {
            let mut line = String::new();
            if read.read_line(&mut line)? == 0 {
                return Ok(End::Gone);
            }
            if !line.starts_with("QUIT") {
                *last = None;
            }
            let path = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
            let word = line.split_whitespace().next().unwrap_or("").to_uppercase();
            let reply = match word.as_str() {
                "EHLO" => "250-hop.example\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n".to_owned(),
                "MAIL" => {
                    (from, to) = (path, Vec::new());
                    "250 2.1.0 ok\r\n".to_owned()
                }
                "RCPT" if path.starts_with("unknown") => "550 5.1.1 no such user\r\n".to_owned(),
                "RCPT" if path.starts_with("later") && self.is_first(&path) => {
                    "450 4.2.0 not now\r\n".to_owned()
                }
                "RCPT" => {
                    to.push(path);
                    "250 2.1.5 ok\r\n".to_owned()
                }
                "DATA" if to.is_empty() => "554 5.5.1 nobody is there\r\n".to_owned(),
                "DATA" => {
                    stream.write_all(b"354 go on\r\n")?;
                    let Some((reference, subject)) = content(&mut read)? else {
                        return Ok(End::Gone);
                    };
                    match self.decide(&to) {
                        Verdict::Says(reply) => reply,
                        verdict => {
                            let told = !matches!(verdict, Verdict::BreaksOff);
                            let copy = Copy {
                                at: Instant::now(),
                                from: from.clone(),
                                to: to.clone(),
                                reference,
                                subject,
                                told,
                                cut: false,
                            };
                            let mut copies = self.copies.lock().unwrap();
                            *last = Some(copies.len());
                            copies.push(copy);
                            drop(copies);
                            if !told {
                                return Ok(End::Orderly);
                            }
                            self.take_time(&to);
                            let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
                            format!("250 2.6.0 kept as {number}\r\n")
                        }
                    }
                }
                "QUIT" => {
                    stream.write_all(b"221 2.0.0 bye\r\n")?;
                    return Ok(End::Orderly);
                }
                _ => "250 2.0.0 ok\r\n".to_owned(),
            };
            stream.write_all(reply.as_bytes())?;
        }
    }

    fn decide(&self, to: &[String]) -> Verdict {
        let of = |name: &str| to.iter().find(|to| to.starts_with(name));
        if of("refused").is_some() {
            return Verdict::Says("554 5.7.1 not \x07 wanted\r\n".to_owned());
        }
        let defers = of("deferred").is_some_and(|to| self.is_first(to));
        if defers || self.one_in(self.faults.defers_one_in) {
            return Verdict::Says("451 4.3.2 try later\r\n".to_owned());
        }
        let breaks = of("broken").is_some_and(|to| self.is_first(to));
        if breaks || self.one_in(self.faults.breaks_one_in) {
            return Verdict::BreaksOff;
        }
        Verdict::Takes
    }

    fn take_time(&self, to: &[String]) {
        let longest = u64::try_from(self.faults.delay_max.as_micros()).unwrap_or(0);
        if longest > 0 {
            std::thread::sleep(Duration::from_micros(self.random() % longest));
        }
        if to.iter().any(|to| to.starts_with("slow")) {
            let held = self.released.lock().unwrap();
            let wait = Duration::from_secs(60);
            let _ = self
                .release
                .wait_timeout_while(held, wait, |released| !*released);
        }
    }

    fn is_first(&self, what: &str) -> bool {
        self.done.lock().unwrap().insert(what.to_owned())
    }

    fn one_in(&self, many: u64) -> bool {
        many > 0 && self.random().is_multiple_of(many)
    }

    fn random(&self) -> u64 {
        let step = |x: u64| Some(next_random(x));
        let before = self
            .random
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        before.unwrap_or(1) >> 11
    }
}

/// xorshift64.
pub(crate) fn next_random(x: u64) -> u64 {
    let x = x ^ (x << 13);
    let x = x ^ (x >> 7);
    x ^ (x << 17)
}

/// How a connection ended.
enum End {
    Orderly,
    Gone,
}

enum Verdict {
    Says(String),
    Takes,
    BreaksOff,
}

/// Reads a message to its end; returns the gateway's reference and the subject. `None` if the end never came.
fn content(read: &mut impl BufRead) -> std::io::Result<Option<(String, String)>> {
    let (mut reference, mut subject) = (String::new(), String::new());
    loop {
        let mut line = Vec::new();
        if read.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line == b".\r\n" {
            return Ok(Some((reference, subject)));
        }
        let text = String::from_utf8_lossy(&line);
        if reference.is_empty()
            && let Some(at) = text.find("PX-")
        {
            let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
            reference = text[at..].chars().take_while(is_part).collect();
        }
        if subject.is_empty()
            && let Some(value) = text.strip_prefix("Subject: ")
        {
            value.trim().clone_into(&mut subject);
        }
    }
}

/// Policies whose relay listener sends straight on to this next hop, waiting `wait` at most.
pub(crate) fn straight_to(hop: &Hop, wait: &str, policies: &std::path::Path) {
    let file = policies.join("postern.toml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    let route = format!("smart-host = \"127.0.0.1:{}\"\ntls = \"none\"\n#", hop.port);
    for (from, to) in [
        (
            "straight-through = false ",
            "straight-through = true ".to_owned(),
        ),
        (
            "straight-through-wait = \"5s\"",
            format!("straight-through-wait = \"{wait}\""),
        ),
        ("maildir = \"../data/maildir\" ", route),
        (
            "retry = [\"15m\",",
            "retry = [\"1s\", \"1s\"]\n# [".to_owned(),
        ),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, &to, 1);
    }
    std::fs::write(&file, text).unwrap();
}
