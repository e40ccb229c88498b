//! latency PORT SESSIONS MESSAGES OCTETS LABEL: how long the clients of 127.0.0.1:PORT wait for their 250.
//!
//! One thread with epoll, so that it is not itself what is waited for: at a sink with nothing in between it shows what
//! it costs. SESSIONS at once, one connection for each message as smtp-source does, no pipelining. Prints one line of
//! JSON: the median and the 99th of a hundred in milliseconds, from the final dot to its 250 and, because a relay may
//! also let its clients wait for the greeting, from connecting to that 250; messages a second.
//! After 20 s without an event those that still wait count as not served; the others' figures stand. Any reply but the
//! good one ends it with a panic. Built by benches/relay with `rustc -O`.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::{Duration, Instant};

#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
#[derive(Clone, Copy)]
struct Event {
    what: u32,
    whose: u64,
}

#[repr(C)]
struct Address {
    family: u16,
    port: [u8; 2],
    ip: [u8; 4],
    zero: [u8; 8],
}

unsafe extern "C" {
    fn epoll_create1(flags: i32) -> i32;
    fn epoll_ctl(poll: i32, how: i32, file: i32, event: *mut Event) -> i32;
    fn epoll_wait(poll: i32, events: *mut Event, most: i32, milliseconds: i32) -> i32;
    fn socket(family: i32, kind: i32, protocol: i32) -> i32;
    fn connect(socket: i32, address: *const Address, size: u32) -> i32;
}

const READ: u32 = 1; // EPOLLIN
const WRITE: u32 = 4; // EPOLLOUT
const ADD: i32 = 1;
const CHANGE: i32 = 3;
const INET: i32 = 2;
const STREAM_NON_BLOCKING: i32 = 1 | 0o4000;
const PATIENCE_MS: i32 = 20_000;

/// What is said after each good reply; the body comes after the fifth.
const SAYS: [(&[u8], &[u8]); 7] = [
    (b"220", b"EHLO source.example.test\r\n"),
    (b"250", b"MAIL FROM:<sender@sender.example.test>\r\n"),
    (b"250", b"RCPT TO:<user@example.nhs.test>\r\n"),
    (b"250", b"DATA\r\n"),
    (b"354", b".\r\n"),
    (b"250", b"QUIT\r\n"),
    (b"221", b""),
];
const BODY: usize = 4;
const ACCEPTED: usize = 5;

struct Session {
    stream: TcpStream,
    input: Vec<u8>,
    step: usize,
    /// Octets of the body that are written, while it is.
    body: Option<usize>,
    began: Instant,
    dot: Instant,
}

fn watch(poll: i32, how: i32, file: i32, what: u32) {
    let whose = file as u64;
    let mut event = Event { what, whose };
    // SAFETY: the event outlives the call, which copies it.
    let done = unsafe { epoll_ctl(poll, how, file, &mut event) };
    assert_eq!(done, 0, "epoll_ctl");
}

impl Session {
    fn open(port: u16, poll: i32) -> Self {
        let address = Address {
            family: INET as u16,
            port: port.to_be_bytes(),
            ip: [127, 0, 0, 1],
            zero: [0; 8],
        };
        let began = Instant::now();
        // SAFETY: the descriptor is ours alone; the address lives through the call and is as long as is said.
        let stream = unsafe {
            let file = socket(INET, STREAM_NON_BLOCKING, 0);
            assert!(file >= 0, "socket: {}", Error::last_os_error());
            connect(file, &address, size_of::<Address>() as u32); // how it went, the first read tells
            TcpStream::from_raw_fd(file)
        };
        stream.set_nodelay(true).expect("a socket");
        watch(poll, ADD, stream.as_raw_fd(), READ);
        Self {
            stream,
            input: vec![],
            step: 0,
            body: None,
            began,
            dot: began,
        }
    }

    /// Reads replies and says what follows; true: the session is over.
    fn converse(&mut self, poll: i32, body: &[u8], waits: &mut Waits) -> bool {
        let mut octets = [0; 1024];
        match self.stream.read(&mut octets) {
            Ok(0) => panic!("hung up at step {}", self.step),
            Ok(count) => self.input.extend(&octets[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("step {}: {error}", self.step),
        }
        while let Some(end) = self.input.iter().position(|octet| *octet == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            let (good, says) = SAYS[self.step];
            let text = || String::from_utf8_lossy(&line);
            assert!(line.starts_with(good), "step {}: {}", self.step, text());
            if line.get(3) == Some(&b'-') {
                continue;
            }
            match self.step {
                BODY => {
                    self.body = Some(0);
                    self.write_body(poll, body);
                }
                ACCEPTED => {
                    waits.dot.push(self.dot.elapsed().as_micros() as u64);
                    waits.whole.push(self.began.elapsed().as_micros() as u64);
                    self.stream.write_all(says).expect("written");
                }
                _ => self.stream.write_all(says).expect("written"),
            }
            self.step += 1;
        }
        self.step == SAYS.len()
    }

    /// Writes what it can of the body and, once all of it is, the dot.
    fn write_body(&mut self, poll: i32, body: &[u8]) {
        let Some(mut written) = self.body else { return };
        let first = written == 0;
        while written < body.len() {
            match self.stream.write(&body[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.body = Some(written);
                    if first {
                        watch(poll, CHANGE, self.stream.as_raw_fd(), READ | WRITE);
                    }
                    return;
                }
                Err(error) => panic!("the body: {error}"),
            }
        }
        if !first {
            watch(poll, CHANGE, self.stream.as_raw_fd(), READ);
        }
        self.body = None;
        self.dot = Instant::now();
        let mut rest = SAYS[BODY].1;
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("the dot: {error}"),
            }
        }
    }
}

/// Microseconds.
#[derive(Default)]
struct Waits {
    dot: Vec<u64>,
    whole: Vec<u64>,
}

fn milliseconds(waits: &mut [u64], hundredths: usize) -> f64 {
    waits.sort_unstable();
    waits[(waits.len() * hundredths / 100).min(waits.len() - 1)] as f64 / 1e3
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [port, sessions, messages, octets, label] = words.as_slice() else {
        panic!("latency PORT SESSIONS MESSAGES OCTETS LABEL")
    };
    let number = |word: &String| word.parse::<usize>().expect("a number");
    let (port, sessions, messages) = (number(port) as u16, number(sessions), number(messages));
    let line =
        "The order of 14 November came in full; two boxes were short-dated (batch 45012).\r\n";
    let head = "From: sender@sender.example.test\r\nSubject: stock\r\n\r\n".to_owned();
    let body = head + &line.repeat(number(octets) / line.len());
    // SAFETY: a plain call.
    let poll = unsafe { epoll_create1(0) };
    let (began, mut took, mut waits) = (Instant::now(), Duration::ZERO, Waits::default());
    let (mut open, mut begun) = (HashMap::new(), 0);
    let mut events = vec![Event { what: 0, whose: 0 }; 256];
    while waits.dot.len() < messages || !open.is_empty() {
        while open.len() < sessions && begun < messages {
            let session = Session::open(port, poll);
            open.insert(session.stream.as_raw_fd() as u64, session);
            begun += 1;
        }
        // SAFETY: the events are as many as is said.
        let count =
            unsafe { epoll_wait(poll, events.as_mut_ptr(), events.len() as i32, PATIENCE_MS) };
        if count <= 0 {
            break;
        }
        took = began.elapsed();
        for Event { what, whose } in events[..count as usize].to_vec() {
            let Some(session) = open.get_mut(&whose) else {
                continue;
            };
            session.write_body(poll, body.as_bytes());
            if what & !WRITE != 0 && session.converse(poll, body.as_bytes(), &mut waits) {
                open.remove(&whose);
            }
        }
    }
    println!(
        "{{\"label\": \"{label}\", \"sessions\": {sessions}, \"size\": {octets}, \"messages\": {messages}, \
         \"p50_ms\": {:.2}, \"p99_ms\": {:.2}, \"whole_p50_ms\": {:.2}, \"whole_p99_ms\": {:.2}, \"per_s\": {:.1}, \
         \"not_served\": {}}}",
        milliseconds(&mut waits.dot, 50),
        milliseconds(&mut waits.dot, 99),
        milliseconds(&mut waits.whole, 50),
        milliseconds(&mut waits.whole, 99),
        waits.dot.len() as f64 / took.as_secs_f64(),
        messages - waits.dot.len(),
    );
}
