//! What is to be remembered and not written yet: a bounded heap in memory, of which the writer takes all at once.
//!
//! A client waits for the commit of the queue and for nothing else, so what is learnt of senders is put here. To whom
//! a mailbox wrote is known from that moment on; the rest is looked at minutes later and may wait for the file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::grey::Key;

/// One thing to remember.
#[derive(Debug)]
pub(super) enum Note {
    /// Attempts were put off.
    Attempts {
        keys: Vec<Key>,
        now: Timestamp,
        retry_within: Duration,
    },
    /// A client has come again, as a mail server does.
    Return {
        keys: Vec<Key>,
        domain: String,
        now: Timestamp,
    },
    /// Mailboxes of ours have written to these.
    Written {
        mailboxes: Vec<String>,
        to: Vec<String>,
        now: Timestamp,
    },
}

impl Note {
    /// How many rows it is worth, about.
    fn rows(&self) -> usize {
        match self {
            Self::Attempts { keys, .. } | Self::Return { keys, .. } => keys.len(),
            Self::Written { mailboxes, to, .. } => mailboxes.len() * to.len(),
        }
    }
}

/// What is written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// By the address that was written to, then by the mailbox that wrote: when.
    pub(super) written: HashMap<String, HashMap<String, Timestamp>>,
    /// Everything else, in the order in which it came.
    pub(super) others: Vec<Note>,
    rows: usize,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    fn add(&mut self, note: Note) {
        match note {
            Note::Written { mailboxes, to, now } => {
                for address in to {
                    let by = self.written.entry(address).or_default();
                    for mailbox in &mailboxes {
                        self.rows += usize::from(by.insert(mailbox.clone(), now).is_none());
                    }
                }
            }
            other => {
                self.rows += other.rows();
                self.others.push(other);
            }
        }
    }

    fn written(&self, mailbox: &str, to: &str) -> Option<Timestamp> {
        self.written.get(to)?.get(mailbox).copied()
    }
}

/// What waits, and what is being written: both are known.
#[derive(Debug, Default)]
struct Heaps {
    waiting: Batch,
    flying: Arc<Batch>,
    has_writer: bool,
}

/// The heap of one file. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    heaps: Arc<Mutex<Heaps>>,
}

/// What became of a note.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Noted {
    /// Somebody writes already, and will come to it.
    Kept,
    /// It is kept, and nobody writes yet: the caller starts a writer.
    NeedsWriter,
    /// There is no room for it.
    Dropped,
}

impl Pending {
    /// Never waits.
    pub(super) fn add(&self, note: Note) -> Noted {
        let mut heaps = self.heaps();
        let rows = heaps.waiting.rows + heaps.flying.rows;
        if note.rows() == 0 {
            return Noted::Kept;
        }
        if rows + note.rows() > ROWS_MAX {
            return Noted::Dropped;
        }
        heaps.waiting.add(note);
        match std::mem::replace(&mut heaps.has_writer, true) {
            true => Noted::Kept,
            false => Noted::NeedsWriter,
        }
    }

    /// What is to be written next: what could not be written the last time before what has come since. Nothing, if
    /// all is written: then the writer is relieved, and the next note wants another.
    pub(super) fn take(&self) -> Option<Arc<Batch>> {
        let mut heaps = self.heaps();
        if heaps.flying.is_empty() {
            heaps.flying = Arc::new(std::mem::take(&mut heaps.waiting));
        }
        if heaps.flying.is_empty() {
            heaps.has_writer = false;
            return None;
        }
        Some(Arc::clone(&heaps.flying))
    }

    /// What was taken is in the file.
    pub(super) fn is_written(&self) {
        self.heaps().flying = Arc::default();
    }

    /// When this mailbox wrote to that address, as far as the file does not have it.
    pub(super) fn written(&self, mailbox: &str, to: &str) -> Option<Timestamp> {
        let heaps = self.heaps();
        let waiting = heaps.waiting.written(mailbox, to);
        waiting.or_else(|| heaps.flying.written(mailbox, to))
    }

    fn heaps(&self) -> MutexGuard<'_, Heaps> {
        self.heaps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows that wait for the file at most: some megabytes.
const ROWS_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(mailbox: &str, to: &str, now: i64) -> Note {
        Note::Written {
            mailboxes: vec![mailbox.to_owned()],
            to: vec![to.to_owned()],
            now: at(now),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_is_noted_is_known_until_it_is_written_and_one_writer_is_enough() {
        let pending = Pending::default();
        assert_eq!(pending.add(written("a", "x", 1)), Noted::NeedsWriter);
        assert_eq!(pending.add(written("b", "x", 2)), Noted::Kept);
        assert_eq!(pending.written("a", "x"), Some(at(1)));
        assert_eq!(pending.written("x", "a"), None);
        let batch = pending.take().unwrap();
        assert_eq!(batch.written["x"].len(), 2);
        assert_eq!(pending.add(written("a", "x", 3)), Noted::Kept);
        assert_eq!(pending.written("a", "x"), Some(at(3)));
        assert_eq!(pending.written("b", "x"), Some(at(2)), "it is in the air");
        // It could not be written: the same again.
        assert_eq!(pending.take().unwrap().written["x"].len(), 2);
        pending.is_written();
        assert_eq!(pending.written("b", "x"), None);
        assert_eq!(pending.take().unwrap().written["x"]["a"], at(3));
        pending.is_written();
        assert!(pending.take().is_none());
        assert_eq!(pending.add(written("a", "x", 4)), Noted::NeedsWriter);
    }

    #[test]
    fn the_same_again_takes_no_more_room_and_what_is_too_much_is_dropped() {
        let pending = Pending::default();
        for now in 0..i64::try_from(ROWS_MAX).unwrap() + 10 {
            assert_ne!(pending.add(written("a", "x", now)), Noted::Dropped);
        }
        let to = (0..ROWS_MAX - 1).map(|n| n.to_string()).collect();
        let many = Note::Written {
            mailboxes: vec!["a".into()],
            to,
            now: at(1),
        };
        assert_eq!(pending.add(many), Noted::Kept);
        assert_eq!(pending.add(written("a", "y", 1)), Noted::Dropped);
        pending.take().unwrap();
        assert_eq!(
            pending.add(written("a", "y", 1)),
            Noted::Dropped,
            "it is in the air"
        );
        pending.is_written();
        assert_eq!(pending.add(written("a", "y", 1)), Noted::Kept);
    }
}
