//! limit PORT SINK_PORT LOG [CONNECTIONS]: the least that a durable relay can be, to know how fast one could be here.
//!
//! One thread with epoll, and one that syncs: fixed replies, the message as it came up to its final dot, all that wait
//! appended to one log and synced together, then 250, then on to 127.0.0.1:SINK_PORT over connections that are kept, the
//! envelope in one write, and the next envelope right behind a body where one waits (RFC 2920 section 3.1).
//!
//! What a relay really does and this does not: no reading of commands beyond their first word, no address, no header
//! field, no trace field, no size limit, no time limit, no policy, no directory, no audit, no log, no TLS, no metrics; mail is
//! forwarded from memory, which has no bound; what was delivered is appended to the log with the next mail and not
//! synced; the log is never read again nor made smaller. A next hop that refuses ends it.
//! Built by `start` with `rustc -O` alone. Linux.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{Error, ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::mpsc;

#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
#[derive(Clone, Copy)]
struct Event {
    what: u32,
    whose: u64,
}

unsafe extern "C" {
    fn epoll_create1(flags: i32) -> i32;
    fn epoll_ctl(poll: i32, how: i32, file: i32, event: *mut Event) -> i32;
    fn epoll_wait(poll: i32, events: *mut Event, most: i32, milliseconds: i32) -> i32;
    fn eventfd(value: u32, flags: i32) -> i32;
    fn listen(socket: i32, backlog: i32) -> i32;
    fn accept4(socket: i32, address: *mut u8, size: *mut u32, flags: i32) -> i32;
    fn recv(socket: i32, to: *mut u8, most: usize, flags: i32) -> isize;
    fn memmem(at: *const u8, size: usize, of: *const u8, of_size: usize) -> *const u8;
}

const READ: u32 = 1; // EPOLLIN
const WRITE: u32 = 4; // EPOLLOUT
const ADD: i32 = 1;
const CHANGE: i32 = 3;
const NON_BLOCKING: i32 = 0o4000;

const LISTENER: u64 = 0;
const SYNCED: u64 = 1;
const FIRST: u64 = 2;

/// Where the message that begins `text` ends, after its final dot; `from`: how far was looked before.
fn end_of_message(text: &[u8], from: usize) -> Option<usize> {
    if text.starts_with(b".\r\n") {
        return Some(3);
    }
    let from = from.saturating_sub(4);
    let dot = b"\r\n.\r\n";
    // SAFETY: both ranges are of slices that live through the call.
    let at = unsafe {
        memmem(
            text[from..].as_ptr(),
            text.len() - from,
            dot.as_ptr(),
            dot.len(),
        )
    };
    (!at.is_null()).then(|| at as usize - text.as_ptr() as usize + dot.len())
}

/// A message with the client that waits for its 250.
struct Mail {
    number: u64,
    client: u64,
    envelope: Vec<u8>,
    replies: u32, // of the envelope, the 354 among them
    body: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    envelope: Vec<u8>,
    replies: u32,
    looked: usize,
    in_data: bool,
    waits: bool,
}

#[derive(PartialEq)]
enum Awaits {
    Greeting,
    Hello,
    Nothing,
    Envelope(u32),
    Accepted,
}

/// A connection to the next hop. `now` is under way; the envelope of `next` is behind its body.
struct Hop {
    stream: TcpStream,
    input: Vec<u8>,
    awaits: Awaits,
    now: Option<Mail>,
    next: Option<Mail>,
    written: usize, // of the body of `now` and the envelope of `next`
    blocked: bool,
}

struct Relay {
    poll: i32,
    names: u64,
    clients: HashMap<u64, Client>,
    hops: HashMap<u64, Hop>,
    idle: Vec<u64>,
    most_hops: usize,
    sink: u16,
    numbers: u64,
    log: File,
    syncing: Vec<Mail>,
    busy: bool,
    coming: Vec<Mail>,  // to be written to the log
    delivered: Vec<u8>, // records to be written to the log
    queue: VecDeque<Mail>,
    syncer: mpsc::Sender<()>,
}

fn watch(poll: i32, how: i32, file: i32, what: u32, whose: u64) {
    let mut event = Event { what, whose };
    // SAFETY: the event outlives the call, which copies it.
    assert_eq!(
        unsafe { epoll_ctl(poll, how, file, &mut event) },
        0,
        "epoll_ctl"
    );
}

/// Reads what there is; false: the other side has gone.
fn read(stream: &TcpStream, input: &mut Vec<u8>) -> bool {
    input.reserve(if input.len() < 4096 { 4096 } else { 131_072 });
    let room = input.spare_capacity_mut();
    // SAFETY: the kernel writes no more than there is room, and says how much of it.
    let got = unsafe { recv(stream.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) };
    if got > 0 {
        unsafe { input.set_len(input.len() + got as usize) };
    }
    got > 0 || got < 0 && Error::last_os_error().kind() == ErrorKind::WouldBlock
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener) {
        loop {
            // SAFETY: null for the address is allowed; the descriptor that comes is ours alone.
            let file = unsafe {
                accept4(
                    listener.as_raw_fd(),
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    NON_BLOCKING,
                )
            };
            if file < 0 {
                return;
            }
            let mut stream = unsafe { TcpStream::from_raw_fd(file) };
            let _ = stream.write(b"220 limit.example.test ESMTP\r\n");
            self.names += 1;
            watch(self.poll, ADD, file, READ, self.names);
            let client = Client {
                stream,
                input: vec![],
                envelope: vec![],
                replies: 0,
                looked: 0,
                in_data: false,
                waits: false,
            };
            self.clients.insert(self.names, client);
        }
    }

    /// Reads and answers one client.
    fn serve(&mut self, name: u64, readable: bool) {
        let Some(client) = self.clients.get_mut(&name) else {
            return;
        };
        if readable && !read(&client.stream, &mut client.input) {
            self.clients.remove(&name);
            return;
        }
        let (mut replies, mut goes) = (Vec::new(), false);
        while !client.waits && !goes {
            if client.in_data {
                let Some(end) = end_of_message(&client.input, client.looked) else {
                    client.looked = client.input.len();
                    break;
                };
                let rest = client.input.split_off(end);
                let body = std::mem::replace(&mut client.input, rest);
                self.numbers += 1;
                let envelope = std::mem::take(&mut client.envelope);
                self.coming.push(Mail {
                    number: self.numbers,
                    client: name,
                    envelope,
                    replies: client.replies,
                    body,
                });
                (client.in_data, client.waits, client.looked) = (false, true, 0);
                break;
            }
            let Some(end) = client.input.iter().position(|octet| *octet == b'\n') else {
                break;
            };
            let line: Vec<u8> = client.input.drain(..=end).collect();
            match line
                .get(..4)
                .unwrap_or(&line)
                .to_ascii_uppercase()
                .as_slice()
            {
                b"EHLO" => {
                    replies.extend(b"250-limit.example.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
                }
                verb @ (b"MAIL" | b"RCPT" | b"DATA") => {
                    if verb == b"MAIL" {
                        client.envelope.clear();
                        client.replies = 0;
                    }
                    client.envelope.extend(&line);
                    client.replies += 1;
                    client.in_data = verb == b"DATA";
                    replies.extend(if client.in_data {
                        &b"354 go on\r\n"[..]
                    } else {
                        &b"250 ok\r\n"[..]
                    });
                }
                b"QUIT" => {
                    replies.extend(b"221 bye\r\n");
                    goes = true;
                }
                _ => replies.extend(b"250 ok\r\n"),
            }
        }
        if !replies.is_empty() && client.stream.write(&replies).is_err() || goes {
            self.clients.remove(&name);
        }
    }

    /// Writes all that waits to the log and has it synced. Where nobody else could say anything meanwhile, at once.
    fn commit(&mut self) {
        if self.busy || self.coming.is_empty() && self.delivered.len() < 1024 {
            return;
        }
        self.syncing = std::mem::take(&mut self.coming);
        let heads: Vec<String> = self
            .syncing
            .iter()
            .map(|mail| format!("mail {} {}\n", mail.number, mail.body.len()))
            .collect();
        let mut parts = vec![IoSlice::new(&self.delivered)];
        for (head, mail) in heads.iter().zip(&self.syncing) {
            parts.extend([head.as_bytes(), &mail.envelope, &mail.body].map(IoSlice::new));
        }
        let mut left = parts.as_mut_slice();
        IoSlice::advance_slices(&mut left, 0); // empty ones go
        while !left.is_empty() {
            let written = self.log.write_vectored(left).expect("the log takes it");
            IoSlice::advance_slices(&mut left, written);
        }
        self.delivered.clear();
        if self.syncing.is_empty() {
            return;
        }
        if self.syncing.len() == self.clients.len() {
            self.log.sync_data().expect("the log is synced");
            self.committed();
        } else {
            self.busy = true;
            self.syncer.send(()).expect("the syncer lives");
        }
    }

    fn committed(&mut self) {
        self.busy = false;
        for mail in std::mem::take(&mut self.syncing) {
            let name = mail.client;
            self.queue.push_back(mail);
            let Some(client) = self.clients.get_mut(&name) else {
                continue;
            };
            client.waits = false;
            let _ = client.stream.write(b"250 ok\r\n");
            if !client.input.is_empty() {
                self.serve(name, false);
            }
        }
    }

    /// Gives what is queued to connections that are free, and opens more as far as allowed.
    fn deliver(&mut self) {
        while !self.queue.is_empty() {
            let Some(name) = self.idle.pop() else { break };
            let Some(hop) = self.hops.get_mut(&name) else {
                continue;
            };
            let mail = self.queue.pop_front().expect("not empty");
            if hop
                .stream
                .write(&mail.envelope)
                .is_ok_and(|written| written == mail.envelope.len())
            {
                hop.awaits = Awaits::Envelope(mail.replies);
                hop.now = Some(mail);
            } else {
                self.queue.push_front(mail);
                self.hops.remove(&name);
            }
        }
        let opening = self
            .hops
            .values()
            .filter(|hop| matches!(hop.awaits, Awaits::Greeting | Awaits::Hello))
            .count();
        let wanted = self
            .queue
            .len()
            .saturating_sub(opening)
            .min(self.most_hops - self.hops.len());
        for _ in 0..wanted {
            let Ok(stream) = TcpStream::connect(("127.0.0.1", self.sink)) else {
                return;
            };
            stream.set_nodelay(true).expect("a socket");
            stream.set_nonblocking(true).expect("a socket");
            self.names += 1;
            watch(self.poll, ADD, stream.as_raw_fd(), READ, self.names);
            let hop = Hop {
                stream,
                input: vec![],
                awaits: Awaits::Greeting,
                now: None,
                next: None,
                written: 0,
                blocked: false,
            };
            self.hops.insert(self.names, hop);
        }
    }

    /// The next hop spoke, or takes more. What a lost connection had goes back to the queue.
    fn converse(&mut self, name: u64, what: u32) {
        let Some(hop) = self.hops.get_mut(&name) else {
            return;
        };
        let mut stands = true;
        if what & !WRITE != 0 {
            stands = read(&hop.stream, &mut hop.input);
            let mut from = 0;
            while let Some(end) = hop.input[from..].iter().position(|octet| *octet == b'\n') {
                let line = &hop.input[from..from + end];
                let (last, good) = (line.get(3) == Some(&b' '), matches!(line[0], b'2' | b'3'));
                assert!(good, "the next hop said {}", String::from_utf8_lossy(line));
                from += end + 1;
                if last {
                    hop.replied(name, &mut self.idle, &mut self.queue, &mut self.delivered);
                }
            }
            hop.input.drain(..from);
        }
        if stands && hop.awaits == Awaits::Accepted {
            stands = hop.write_body(self.poll, name);
        }
        if !stands {
            let hop = self.hops.remove(&name).expect("found above");
            self.idle.retain(|idle| *idle != name);
            [hop.next, hop.now]
                .into_iter()
                .flatten()
                .for_each(|mail| self.queue.push_front(mail));
        }
    }
}

impl Hop {
    fn replied(
        &mut self,
        name: u64,
        idle: &mut Vec<u64>,
        queue: &mut VecDeque<Mail>,
        delivered: &mut Vec<u8>,
    ) {
        match self.awaits {
            Awaits::Greeting => {
                let _ = self.stream.write(b"EHLO limit.example.test\r\n");
                self.awaits = Awaits::Hello;
            }
            Awaits::Hello => {
                self.awaits = Awaits::Nothing;
                idle.push(name);
            }
            Awaits::Nothing => {}
            Awaits::Envelope(1) => {
                self.awaits = Awaits::Accepted;
                (self.next, self.written) = (queue.pop_front(), 0);
            }
            Awaits::Envelope(left) => self.awaits = Awaits::Envelope(left - 1),
            Awaits::Accepted => {
                let mail = self.now.take().expect("under way");
                delivered.extend(format!("delivered {}\n", mail.number).as_bytes());
                self.now = self.next.take();
                self.awaits = match &self.now {
                    Some(next) => Awaits::Envelope(next.replies),
                    None => Awaits::Nothing,
                };
                if self.now.is_none() {
                    idle.push(name);
                }
            }
        }
    }

    /// Writes what it can of the body and the envelope behind it; false: the connection is lost.
    fn write_body(&mut self, poll: i32, name: u64) -> bool {
        let body = &self.now.as_ref().expect("under way").body;
        let behind = self.next.as_ref().map_or(&[][..], |next| &next.envelope);
        let all = body.len() + behind.len();
        while self.written < all {
            let mut parts = [IoSlice::new(body), IoSlice::new(behind)];
            let mut left = &mut parts[..];
            IoSlice::advance_slices(&mut left, self.written);
            match self.stream.write_vectored(left) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        let blocked = self.written < all;
        if blocked != self.blocked {
            self.blocked = blocked;
            watch(
                poll,
                CHANGE,
                self.stream.as_raw_fd(),
                if blocked { READ | WRITE } else { READ },
                name,
            );
        }
        true
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [port, sink, log, more @ ..] = words.as_slice() else {
        panic!("limit PORT SINK_PORT LOG [CONNECTIONS]")
    };
    let number = |word: &str| word.parse::<u16>().expect("a number");
    let listener = TcpListener::bind(("127.0.0.1", number(port))).expect("the port");
    // SAFETY: plain calls on descriptors that live as long as the process.
    let (poll, synced) = unsafe {
        assert_eq!(listen(listener.as_raw_fd(), 4096), 0);
        (epoll_create1(0), eventfd(0, NON_BLOCKING))
    };
    listener.set_nonblocking(true).expect("a socket");
    watch(poll, ADD, listener.as_raw_fd(), READ, LISTENER);
    watch(poll, ADD, synced, READ, SYNCED);
    let log = File::create(log).expect("the log");
    let (syncer, asked) = mpsc::channel::<()>();
    let same = log.try_clone().expect("the log");
    // SAFETY: the descriptor is open and nobody else closes it.
    let mut synced = unsafe { File::from_raw_fd(synced) };
    let mut tell = synced.try_clone().expect("a descriptor");
    std::thread::spawn(move || {
        while asked.recv().is_ok() {
            same.sync_data().expect("the log is synced");
            tell.write_all(&1_u64.to_ne_bytes())
                .expect("an eventfd takes it");
        }
    });
    let mut relay = Relay {
        poll,
        names: FIRST,
        clients: HashMap::new(),
        hops: HashMap::new(),
        idle: vec![],
        most_hops: more.first().map_or(20, |word| number(word).into()),
        sink: number(sink),
        numbers: 0,
        log,
        syncing: vec![],
        busy: false,
        coming: vec![],
        delivered: vec![],
        queue: VecDeque::new(),
        syncer,
    };
    let mut events = vec![Event { what: 0, whose: 0 }; 256];
    loop {
        // A next hop that is not there is tried again after a while.
        let patience = if relay.queue.is_empty() { -1 } else { 100 };
        // SAFETY: the events are as many as is said.
        let count = unsafe { epoll_wait(poll, events.as_mut_ptr(), events.len() as i32, patience) };
        for Event { what, whose } in events[..count.max(0) as usize].to_vec() {
            match whose {
                LISTENER => relay.accept(&listener),
                SYNCED => {
                    let _ = synced.read(&mut [0; 8]);
                    relay.committed();
                }
                name if relay.clients.contains_key(&name) => relay.serve(name, true),
                name => relay.converse(name, what),
            }
        }
        relay.commit();
        relay.deliver();
    }
}
