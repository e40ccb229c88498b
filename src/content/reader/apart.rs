//! Files that another process opens: what goes over there, and what comes back into the content.

use crate::content::Content;
use crate::content::apart::{self, Answer, Left, OwnedTask, Task};
use crate::content::unpack::Budget;

use super::Reader;
use super::files::detect;

impl Reader {
    /// Has a file opened by another process, and takes over what was read there.
    pub(super) fn have_opened(&mut self, octets: &[u8], path: &str, name: &str) {
        let place = format!("attachment:{path}");
        if self.starts == 0 || self.failures == 0 {
            self.unread(&place, "too-large");
            return;
        }
        self.starts -= 1;
        let task = Task {
            path,
            name,
            left: self.left(),
        };
        match apart::open(&task, octets) {
            Ok(answer) => self.take_over(answer),
            Err(because) => {
                self.failures -= 1;
                self.unread(&place, because);
            }
        }
    }

    fn left(&self) -> Left {
        let (ratio, files) = self.budget.ratio_and_files();
        Left {
            text_octets: self.text_left,
            depth: self.depth,
            unpacked_octets: self.budget.left(),
            ratio,
            files,
        }
    }

    fn take_over(&mut self, answer: Answer) {
        let Answer { content, left } = answer;
        self.text_left = self.text_left.min(left.text_octets);
        let unpacked = self.budget.left().min(left.unpacked_octets);
        self.budget = Budget::resumed(unpacked, left.ratio, left.files);
        self.content.headers.extend(content.headers);
        self.content.texts.extend(content.texts);
        self.content.attachments.extend(content.attachments);
        self.content.links.beyond |= content.links.beyond;
        for link in content.links.found {
            self.content.links.push(link);
        }
        for unread in content.unreadable {
            self.unread(&unread.place, unread.because);
        }
    }
}

/// Opens a file in this process, as the task says. What it is its octets say, as on the other side.
pub(in crate::content) fn open_here(task: &OwnedTask, octets: &[u8]) -> Answer {
    let left = task.left;
    let mut reader = Reader {
        content: Content::default(),
        text_left: left.text_octets,
        depth: left.depth,
        budget: Budget::resumed(left.unpacked_octets, left.ratio, left.files),
        starts: 0,
        failures: 0,
    };
    if let Some(opens) = detect(octets).opens {
        reader.open_itself(&opens, octets, &task.path, &task.name);
    }
    Answer {
        left: reader.left(),
        content: reader.content,
    }
}

/// Files of one message that a process is started for: each start takes some milliseconds.
pub(super) const STARTS_MAX: usize = 200;
/// Files of one message at which the process may fail: each may have taken all of its time.
pub(super) const FAILURES_MAX: usize = 3;
