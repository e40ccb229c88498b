//! What people let go on out of the quarantine: it was no spam, and is learnt as that.
//!
//! The contract: [`FOLDER`] in the data folder holds one file for each release, the message as it was delivered, and
//! nothing that holds patient data or may. A file appears there whole, under its last name; names that begin with a
//! dot are not done yet. Whoever learns from a file removes it: here, once the lesson is durable.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::lessons::LessonError;
use super::{Lesson, Lessons, Organisation, Specimen, Verdict};

/// Below the data folder.
pub const FOLDER: &str = "learn/ham";

/// Learns from what has been let go on, so many messages at most; returns how many there were. Blocks.
///
/// # Errors
/// The lessons could not be kept: the files stay where they are. A file that cannot be read stays as well, and is
/// no obstacle to the others.
pub fn take_released(data: &Path, now: Timestamp) -> Result<usize, LessonError> {
    let waiting = waiting(&data.join(FOLDER)).unwrap_or_default();
    let mut taken = Vec::new();
    let mut lessons = Vec::new();
    for path in waiting {
        let Ok(octets) = fs::read(&path) else {
            continue;
        };
        let specimen = Specimen::read(octets);
        lessons.push(Lesson {
            features: specimen.features(),
            verdict: Verdict::Ham,
            author: specimen.author(),
            // One voice, however many pressed the button: it pulls no further than a person may.
            by: "quarantine".to_owned(),
        });
        taken.push(path);
    }
    if lessons.is_empty() {
        return Ok(0);
    }
    Lessons::open(data)?.keep(&Organisation::ALL, &lessons, now)?;
    for path in &taken {
        // One that stays is the same lesson the next time.
        let _ = fs::remove_file(path);
    }
    Ok(taken.len())
}

/// The files that are done.
fn waiting(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_done = !entry.file_name().as_encoded_bytes().starts_with(b".");
        if is_done && entry.file_type()?.is_file() {
            paths.push(entry.path());
        }
        if paths.len() == AT_ONCE {
            break;
        }
    }
    Ok(paths)
}

/// Messages of one round.
const AT_ONCE: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn what_was_let_go_on_is_learnt_once_and_what_is_not_done_waits() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(take_released(data.path(), now()).unwrap(), 0);
        let folder = data.path().join(FOLDER);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in [
            ("PX-1-1.eml", "tomatoes"),
            ("PX-2-2.eml", "cucumbers"),
            (".half", "x"),
        ] {
            let message =
                format!("From: grower@market.example\r\nSubject: {text}\r\n\r\nfresh {text}\r\n");
            fs::write(folder.join(name), message).unwrap();
        }
        assert_eq!(take_released(data.path(), now()).unwrap(), 2);
        let kept = Lessons::open(data.path()).unwrap();
        let kept = kept.all(&Organisation::ALL, now()).unwrap();
        assert_eq!(kept.len(), 2);
        assert!(kept.iter().all(|lesson| lesson.verdict == Verdict::Ham));
        let left = fs::read_dir(&folder).unwrap().count();
        assert_eq!(left, 1, "what is not done is left alone");
        assert_eq!(take_released(data.path(), now()).unwrap(), 0);
    }

    #[test]
    fn what_cannot_be_kept_stays() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join(FOLDER);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("PX-1-1.eml"), "Subject: x\r\n\r\ny\r\n").unwrap();
        fs::create_dir(data.path().join("lessons.db")).unwrap();
        assert!(take_released(data.path(), now()).is_err());
        assert!(folder.join("PX-1-1.eml").exists());
    }
}
