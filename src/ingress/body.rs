//! The message while it comes in: in memory up to a limit, in a file beyond it, and all messages
//! together within a budget.
//!
//! Whoever appends learns at once when the budget is used up; the client then gets a 452 and sends
//! again later. The file has no name from the moment it is made, so a crash leaves nothing behind.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::mail::Message;

/// What all messages that are being received may hold in memory. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    left_octets: Arc<AtomicU64>,
}

impl Budget {
    /// A budget of so many octets.
    pub fn new(octets: u64) -> Self {
        Self {
            left_octets: Arc::new(AtomicU64::new(octets)),
        }
    }

    fn take(&self, octets: u64) -> bool {
        self.left_octets
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                left.checked_sub(octets)
            })
            .is_ok()
    }

    fn give_back(&self, octets: u64) {
        self.left_octets.fetch_add(octets, Ordering::AcqRel);
    }
}

/// Room taken out of a budget; it goes back when this is dropped.
#[derive(Debug)]
pub struct Hold {
    octets: u64,
    budget: Budget,
}

impl Hold {
    fn take(&mut self, octets: u64) -> bool {
        let taken = self.budget.take(octets);
        self.octets += if taken { octets } else { 0 };
        taken
    }

    /// Gives back all but `octets`.
    fn keep(&mut self, octets: u64) {
        let surplus = self.octets.saturating_sub(octets);
        self.budget.give_back(surplus);
        self.octets -= surplus;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.give_back(self.octets);
    }
}

/// Why a message cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The gateway holds as much as it may: the client shall try again (452 4.3.1).
    #[error("too much mail is being received at the moment")]
    Budget,
    /// The file could not be written.
    #[error("the file of a large message: {0}")]
    File(#[from] io::Error),
}

/// A message that is coming in.
#[derive(Debug)]
pub struct Body {
    memory: Vec<u8>,
    file: Option<File>,
    octets: u64,
    hold: Hold,
    in_memory_octets: usize,
    folder: PathBuf,
}

impl Body {
    /// An empty one. It goes to a file in `folder` once it is over `in_memory_octets`.
    pub fn new(folder: PathBuf, in_memory_octets: usize, budget: Budget) -> Self {
        Self {
            memory: Vec::new(),
            file: None,
            octets: 0,
            hold: Hold { octets: 0, budget },
            in_memory_octets,
            folder,
        }
    }

    /// How many octets have come.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether appending so many octets may wait for a disk.
    pub fn would_wait(&self, octets: usize) -> bool {
        self.file.is_some() || self.memory.len() + octets > self.in_memory_octets
    }

    /// Takes in what came. After an error the body is of no use.
    pub fn append(&mut self, octets: &[u8]) -> Result<(), BodyError> {
        self.octets += octets.len() as u64;
        if let Some(file) = &mut self.file {
            return Ok(file.write_all(octets)?);
        }
        self.reserve(octets.len())?;
        self.memory.extend_from_slice(octets);
        if self.memory.len() > self.in_memory_octets {
            self.move_to_disk()?;
        }
        Ok(())
    }

    /// Makes a message of it; the octets of one on disk are mapped, not read. The hold is to be kept
    /// until the message has been dealt with.
    pub fn into_message(self) -> Result<(Message, Hold), BodyError> {
        let octets = match self.file {
            None => Bytes::from(self.memory),
            Some(file) => map(&file)?,
        };
        Ok((Message::new(octets), self.hold))
    }

    /// Takes room for more out of the budget, in steps that double, as the memory itself grows.
    fn reserve(&mut self, more: usize) -> Result<(), BodyError> {
        let needed = self.memory.len() + more;
        if needed <= self.memory.capacity() {
            return Ok(());
        }
        let capacity = needed.next_power_of_two().max(FIRST_OCTETS);
        let additional = (capacity as u64).saturating_sub(self.hold.octets);
        if !self.hold.take(additional) {
            return Err(BodyError::Budget);
        }
        self.memory.reserve_exact(capacity - self.memory.len());
        Ok(())
    }

    fn move_to_disk(&mut self) -> Result<(), BodyError> {
        let mut file = tempfile::tempfile_in(&self.folder)?;
        file.write_all(&self.memory)?;
        self.memory = Vec::new();
        // What is on its way from the socket to the disk is held on.
        self.hold.keep(ON_THE_WAY_OCTETS);
        self.file = Some(file);
        Ok(())
    }
}

#[expect(
    unsafe_code,
    reason = "a file can be mapped in no other way; see the comment inside"
)]
fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: the file has no name and this process alone has it open, for appending, which is over:
    // nobody can change or cut it while it is mapped.
    let mapped = unsafe { memmap2::Mmap::map(file)? };
    Ok(Bytes::from_owner(mapped))
}

/// What a message gets to begin with, in octets: most are smaller.
const FIRST_OCTETS: usize = 4_096;
/// Buffers of a message that goes to disk, in octets.
const ON_THE_WAY_OCTETS: u64 = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_message_goes_to_a_file_and_comes_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let budget = Budget::new(1 << 20);
        let mut body = Body::new(folder.path().to_owned(), 10_000, budget.clone());
        let mut expected = Vec::new();
        for i in 0..3_000_u32 {
            let line = format!("line {i}\r\n");
            body.append(line.as_bytes()).unwrap();
            expected.extend_from_slice(line.as_bytes());
        }
        assert!(body.would_wait(0));
        assert_eq!(body.octets(), expected.len() as u64);
        let (message, hold) = body.into_message().unwrap();
        assert_eq!(&message.octets()[..], &expected[..]);
        drop(hold);
        assert_eq!(budget.left_octets.load(Ordering::SeqCst), 1 << 20);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_budget_is_for_all_and_comes_back() {
        let budget = Budget::new(10_000);
        let folder = std::env::temp_dir();
        let mut first = Body::new(folder.clone(), 1 << 20, budget.clone());
        first.append(&[b'a'; 6_000]).unwrap();
        let mut second = Body::new(folder, 1 << 20, budget.clone());
        assert!(matches!(
            second.append(&[b'b'; 6_000]),
            Err(BodyError::Budget)
        ));
        drop(first);
        drop(second);
        assert_eq!(budget.left_octets.load(Ordering::SeqCst), 10_000);
    }
}
