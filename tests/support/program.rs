//! A program in Python that serves until the test ends: `tests/NAME.py FOLDER`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::root;

/// One that runs, and the folder with what it was told and what it wrote down.
pub(crate) struct Program {
    child: Child,
    folder: tempfile::TempDir,
}

impl Program {
    /// Starts it, and waits until it says that it is up.
    pub(crate) fn start(name: &str, folder: tempfile::TempDir) -> Self {
        let mut child = Command::new("python3")
            .arg(root().join("tests").join(name))
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut said).unwrap();
        assert!(said.starts_with("up OpenSSL"), "{name}: {said}");
        Self { child, folder }
    }

    /// What is in a file that it writes; nothing if it has written none.
    pub(crate) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "it noted:\n{}{}",
                self.file("said.txt"),
                self.file("asked.txt")
            );
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
