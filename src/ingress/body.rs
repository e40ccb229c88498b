//! The message while it comes in: in memory up to a limit, in a file beyond it, and all messages
//! together within a budget.
//!
//! When the budget is used up, a message goes to a file however small it is: clients that send slowly must
//! not keep the others out. The file has no name from the moment it is made, so a crash leaves nothing behind.

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

    /// Gives back all but `octets`, or takes what is missing if it is there.
    fn set(&mut self, octets: u64) {
        self.take(octets.saturating_sub(self.octets));
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
    pub fn would_wait(&mut self, octets: usize) -> bool {
        self.file.is_some() || !self.has_room_for(octets)
    }

    /// How much memory it has of the budget, in octets: what may be on its way to it, too.
    pub fn held_octets(&self) -> u64 {
        self.hold.octets
    }

    /// Takes in what came. After an error the body is of no use.
    pub fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.octets += octets.len() as u64;
        if self.would_wait(octets.len()) {
            return self.on_disk()?.write_all(octets);
        }
        self.memory.extend_from_slice(octets);
        Ok(())
    }

    /// Makes a message of it; the octets of one on disk are mapped, not read. The hold is to be kept
    /// until the message has been dealt with.
    pub fn into_message(mut self) -> io::Result<(Message, Hold)> {
        let octets = match self.file {
            None => {
                // Up to half of it was room to grow: others may have it while this one is decided on.
                self.memory.shrink_to_fit();
                self.hold.set(self.memory.len() as u64);
                Bytes::from(self.memory)
            }
            Some(file) => map(&file)?,
        };
        Ok((Message::new(octets), self.hold))
    }

    /// Takes room for more out of the budget, in steps that double, as the memory itself grows. False if
    /// it has to go to the disk.
    fn has_room_for(&mut self, more: usize) -> bool {
        let needed = self.memory.len() + more;
        if needed > self.in_memory_octets {
            return false;
        }
        if needed <= self.memory.capacity() {
            return true;
        }
        let capacity = needed.next_power_of_two().max(FIRST_OCTETS);
        let additional = (capacity as u64).saturating_sub(self.hold.octets);
        let taken = self.hold.take(additional);
        if taken {
            self.memory.reserve_exact(capacity - self.memory.len());
        }
        taken
    }

    /// The file; what was in memory is in it.
    fn on_disk(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut file = tempfile::tempfile_in(&self.folder)?;
                file.write_all(&std::mem::take(&mut self.memory))?;
                // What is on its way from the socket to the disk is held on.
                self.hold.set(ON_THE_WAY_OCTETS);
                file
            }
        };
        Ok(self.file.insert(file))
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
    fn a_whole_message_holds_no_room_to_grow() {
        let budget = Budget::new(10_000);
        let mut body = Body::new(std::env::temp_dir(), 1 << 20, budget.clone());
        body.append(&[b'x'; 5_000]).unwrap();
        assert_eq!(body.held_octets(), 8_192);
        let (message, hold) = body.into_message().unwrap();
        assert_eq!(message.len(), 5_000);
        assert_eq!(budget.left_octets.load(Ordering::SeqCst), 5_000);
        drop(hold);
    }

    #[test]
    fn who_finds_the_budget_used_up_goes_to_the_disk_and_all_of_it_comes_back() {
        let budget = Budget::new(10_000);
        let folder = tempfile::tempdir().unwrap();
        let body = || Body::new(folder.path().to_owned(), 1 << 20, budget.clone());
        let (mut first, mut second) = (body(), body());
        first.append(&[b'a'; 6_000]).unwrap();
        second.append(&[b'b'; 6_000]).unwrap();
        assert!(!first.would_wait(0) && second.would_wait(0));
        assert!(second.held_octets() == 0 && second.octets() == 6_000);
        drop(first);
        drop(second);
        assert_eq!(budget.left_octets.load(Ordering::SeqCst), 10_000);
    }
}
