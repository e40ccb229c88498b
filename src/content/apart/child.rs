//! The reader of one file: limits first, then the task and the octets from standard input, then the answer.

use std::io::{Read, Write};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::wire;
use super::{CPU_SECS, MEMORY_OCTETS};
use crate::content::reader;

/// Reads one file as the task on standard input says and writes what is in it. Says nothing else to anyone:
/// the exit status is all there is where it fails.
pub fn serve() -> ExitCode {
    if !is_limited() {
        return NO_LIMITS.into();
    }
    match answer() {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}

fn answer() -> Option<()> {
    let mut all = Vec::new();
    std::io::stdin().lock().read_to_end(&mut all).ok()?;
    let line_end = memchr::memchr(b'\n', &all)?;
    let task = wire::task(&all[..line_end])?;
    let answer = reader::open_here(&task, &all[line_end + 1..]);
    let answer = answer.octets();
    std::io::stdout().lock().write_all(&answer).ok()
}

/// Memory, time, and nothing that a reader has no need of: files to write, programs to start, a core dump
/// that would hold the file.
fn is_limited() -> bool {
    let limits = [
        (Resource::As, MEMORY_OCTETS),
        (Resource::Cpu, CPU_SECS),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
    ];
    limits.into_iter().all(|(resource, most)| {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit).is_ok()
    })
}

/// The exit status where the kernel would not set the limits.
pub(super) const NO_LIMITS: u8 = 75;
