//! Files are opened apart: in a process of their own, with little memory, little time and no rights.
//!
//! Libraries for documents promise much about hostile files, and one of them may still turn 8 MiB of numbers
//! into half a gigabyte of objects, or draw one array into a thousand others; no count of octets on this
//! side foresees all of that, and running out of memory is no panic that `catch_unwind` could stop. So the
//! gateway starts its own program once for each file that has to be opened ([`WORD`]), hands it the octets
//! and takes back what was read. The kernel holds the process to [`MEMORY_OCTETS`] and [`CPU_SECS`], and no
//! more than [`READERS_MAX`] run at once: so what all files together may take is known,
//! `READERS_MAX × MEMORY_OCTETS`, whatever comes in.
//!
//! A file that needs more is `too-large`, one that makes the reader break off is `malformed`. Where no
//! process can be had, the file is `unavailable`, and the policy defers the message. Programs that never
//! called [`open_apart`] (tests, benches) open files in their own process, with the same code.

mod child;
mod wire;

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub use child::serve;
pub(super) use wire::{Answer, Left, OwnedTask, Task};

/// The first argument that makes the program a reader of one file, and nothing else.
pub const WORD: &str = "read-one-file";

/// From now on files are opened by this program, started anew for each ([`serve`]).
pub fn open_apart(program: &Path) {
    let _ = PROGRAM.set(program.to_owned());
}

/// Whether files are opened by another process.
pub(super) fn is_on() -> bool {
    PROGRAM.get().is_some()
}

/// Why a file was not opened, in the words of `design.md` §4.3, and `unavailable`.
pub(super) type Because = &'static str;

/// Has one file opened, with what may still be spent on it.
pub(super) fn open(task: &Task<'_>, octets: &[u8]) -> Result<Answer, Because> {
    let program = PROGRAM.get().ok_or(UNAVAILABLE)?;
    let _seat = Seat::take()?;
    let mut child = start(program).map_err(|_| UNAVAILABLE)?;
    let answer = talk(&mut child, task, octets);
    if answer.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|_| UNAVAILABLE)?;
    match answer? {
        answer if status.success() => wire::answer(&answer).ok_or("malformed"),
        _ => Err(why(status)),
    }
}

/// What is said of a file that could not be opened for now.
pub const UNAVAILABLE: Because = "unavailable";

fn start(program: &Path) -> std::io::Result<Child> {
    Command::new(program)
        .arg(WORD)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

/// Hands over the task, then the octets, and takes what comes back.
fn talk(child: &mut Child, task: &Task<'_>, octets: &[u8]) -> Result<Vec<u8>, Because> {
    if let Some(mut stdin) = child.stdin.take() {
        // Where the reader is gone already, its status says why.
        let _ = stdin
            .write_all(&task.line())
            .and_then(|()| stdin.write_all(octets));
    }
    let mut stdout = child.stdout.take().ok_or(UNAVAILABLE)?;
    let (mut answer, mut part) = (Vec::new(), vec![0; PART_OCTETS]);
    loop {
        wait_for(&stdout)?;
        match stdout.read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(len) => answer.extend_from_slice(&part[..len]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Err(UNAVAILABLE),
        }
        if answer.len() > ANSWER_OCTETS_MAX {
            return Err("too-large");
        }
    }
}

/// Waits until there is something to read. A reader that has its share of the processor is always done before.
fn wait_for(stdout: &ChildStdout) -> Result<(), Because> {
    let within = Timespec::try_from(ANSWER_WITHIN).map_err(|_| UNAVAILABLE)?;
    match poll(&mut [PollFd::new(stdout, PollFlags::IN)], Some(&within)) {
        Ok(0) => Err(UNAVAILABLE),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(_) => Err(UNAVAILABLE),
    }
}

/// What the end of a reader that did not answer says of the file: out of memory it aborts, out of time the
/// kernel ends it; anything else is a fault that the file brought about.
fn why(status: ExitStatus) -> Because {
    match status.signal() {
        Some(SIGABRT | SIGXCPU | SIGKILL) => "too-large",
        _ if status.code() == Some(i32::from(child::NO_LIMITS)) => UNAVAILABLE,
        _ => "malformed",
    }
}

/// A place among the readers that run at once.
struct Seat;

impl Seat {
    fn take() -> Result<Self, Because> {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |taken: &mut usize| *taken >= READERS_MAX;
        let waited = FREED.wait_timeout_while(taken, SEAT_WITHIN, full);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *taken >= READERS_MAX {
            return Err(UNAVAILABLE);
        }
        *taken += 1;
        Ok(Self)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// Readers that run at once.
pub const READERS_MAX: usize = 2;
/// All memory of a reader, the program itself and the file included, in octets.
pub const MEMORY_OCTETS: u64 = 256 << 20;
/// Time of the processor that one file may take: a hundred times what a book takes.
pub const CPU_SECS: u64 = 20;
/// How long a message waits for its turn, and for an answer.
const SEAT_WITHIN: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The longest answer: text at its limit, written as JSON.
const ANSWER_OCTETS_MAX: usize = 64 << 20;
const PART_OCTETS: usize = 64 << 10;
/// Signals that end a reader (signal(7)).
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;
