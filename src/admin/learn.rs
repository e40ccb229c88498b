//! `postern learn spam|ham`: messages become lessons, and the lessons a model.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use crate::policy::spam::learned::MODELS;
use crate::policy::spam::{
    Learned, Lesson, Lessons, Organisation, Specimen, Verdict, teach, to_ship,
};

use super::answer::{Answer, CommandError, json_line};
use super::cli::Learn;

/// Where lessons go, and what they are put on top of.
pub struct School<'s> {
    /// The data folder.
    pub data: &'s Path,
    /// The models in force.
    pub learned: &'s Learned,
    /// Now.
    pub now: Timestamp,
    /// Answer in JSON.
    pub json: bool,
}

/// Reads the messages, keeps them as lessons and makes the model anew. The answer is no if there were no messages.
pub fn run(
    asked: &Learn,
    school: &School<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let organisation = asked.organisation.clone().unwrap_or(Organisation::ALL);
    let mut lessons = Lessons::open(school.data)?;
    if lessons.forgotten() > 0 && !school.json {
        writeln!(
            out,
            "{} lessons of an older version cannot be read by this one and are gone: hand that mail in again",
            lessons.forgotten()
        )?;
    }
    let files = files(&asked.files)?;
    let bar = bar(files.len(), "reading");
    let (mut read, mut new) = (0, 0);
    for file in &files {
        let octets = std::fs::read(file).map_err(|error| CommandError::file(file, error))?;
        let batch: Vec<Lesson> = messages(octets)
            .into_iter()
            .map(|octets| lesson(octets, asked.verdict()))
            .collect();
        read += batch.len();
        new += lessons.keep(&organisation, &batch, school.now)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let bar = self::bar(100, "learning");
    let taught = match read {
        0 => None,
        _ => teach(
            &lessons,
            school.learned,
            &school.data.join(MODELS),
            &organisation,
            school.now,
            |share| {
                // Truncated on purpose: a bar has whole steps.
                bar.set_position((share * 100.0) as u64);
            },
        )?,
    };
    if let Some(file) = &asked.ship
        && let Some(model) = to_ship(&lessons, &organisation, school.now, |_| {})?
    {
        model
            .save(file)
            .map_err(crate::policy::spam::TeachError::from)?;
    }
    bar.finish_and_clear();
    say(asked, read, new, taught, school.json, out)?;
    Ok(Answer::yes_if(read > 0))
}

fn say(
    asked: &Learn,
    read: usize,
    new: usize,
    taught: Option<crate::policy::spam::model::Learnt>,
    json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let word = asked.verdict().word();
    if json {
        let model = taught.map(|of| serde_json::json!({"spam": of.spam, "ham": of.ham}));
        let said = serde_json::json!({"learnt": word, "messages": read, "new": new, "model": model,
            "organisation": asked.organisation.as_ref().map(Organisation::code)});
        return json_line(&said, out);
    }
    writeln!(out, "{read} messages read as {word}, {new} of them new")?;
    match taught {
        Some(of) => writeln!(
            out,
            "the model is made of {} spam and {} ham, and in force within a minute",
            of.spam, of.ham
        ),
        None => writeln!(
            out,
            "too few to say anything yet: a model takes {} messages of each kind",
            crate::policy::spam::model::LEARNT_MIN
        ),
    }
}

fn lesson(octets: Vec<u8>, verdict: Verdict) -> Lesson {
    let specimen = Specimen::read(octets);
    Lesson {
        features: specimen.features(),
        verdict,
        author: specimen.author(),
        by: String::new(),
    }
}

/// The files themselves, and those of folders: a Maildir's `new` and `cur`, of any other folder all that is in it.
fn files(asked: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let mut files = Vec::new();
    for path in asked {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let maildir = [path.join("new"), path.join("cur")];
        let folders = match maildir.iter().any(|folder| folder.is_dir()) {
            true => maildir
                .into_iter()
                .filter(|folder| folder.is_dir())
                .collect(),
            false => vec![path.clone()],
        };
        for folder in folders {
            let entries =
                std::fs::read_dir(&folder).map_err(|error| CommandError::file(&folder, error))?;
            for entry in entries {
                let entry = entry
                    .map_err(|error| CommandError::file(&folder, error))?
                    .path();
                if entry.is_file() {
                    files.push(entry);
                }
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The messages of an mbox, or the one that a file is. Lines `From ` behind an empty one part them.
fn messages(octets: Vec<u8>) -> Vec<Vec<u8>> {
    if !octets.starts_with(b"From ") {
        return vec![octets];
    }
    let mut starts: Vec<usize> = vec![0];
    starts.extend(
        memchr::memmem::find_iter(&octets, b"\nFrom ").filter_map(|at| {
            let before = octets.get(at.checked_sub(1)?)?;
            let empty = *before == b'\n'
                || (*before == b'\r' && octets.get(at.checked_sub(2)?) == Some(&b'\n'));
            empty.then_some(at + 1)
        }),
    );
    starts.push(octets.len());
    starts
        .windows(2)
        .map(|pair| octets[pair[0]..pair[1]].to_vec())
        .collect()
}

fn bar(length: usize, what: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}");
    ProgressBar::new(length as u64)
        .with_message(what)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mbox_is_parted_where_a_message_begins_and_nowhere_else() {
        let mbox =
            b"From a Mon\nSubject: 1\n\nFrom here on\nx\n\nFrom b Tue\nSubject: 2\n\ny\n".to_vec();
        let parted = messages(mbox);
        assert_eq!(
            parted.len(),
            3,
            "what looks like a start behind an empty line is one"
        );
        assert!(parted[2].starts_with(b"From b Tue\nSubject: 2"));
        assert_eq!(messages(b"Subject: x\n\n\nFrom a\n".to_vec()).len(), 1);
    }

    #[test]
    fn a_maildir_is_what_is_new_and_what_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["new", "cur", "tmp"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("1"), "Subject: x\n\nx\n").unwrap();
        }
        let found = files(&[folder.path().to_owned()]).unwrap();
        assert_eq!(
            found,
            [folder.path().join("cur/1"), folder.path().join("new/1")]
        );
    }
}
