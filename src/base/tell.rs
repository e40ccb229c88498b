//! Words for whoever looks at the terminal, or at the log.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Writes a line on the standard error stream. If it cannot be written (the disk with the log is full, the other end of a
/// pipe is gone) it is lost, and all goes on: `eprintln!` would panic, and a panic that cannot be told ends the process.
pub fn tell(line: impl Display) {
    // In one piece, so that lines of several threads stay whole.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
