//! `postern sms opt-out`: whose telephone gets no text messages.
//!
//! The list holds keyed hashes, so it shows the last three digits of a number and no more; whether a certain number
//! is on it can be asked all the same. A gateway that runs goes by it from the next text on.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;

use crate::base::{Reference, tell};
use crate::config::text::{text_of, without_mark};
use crate::mail::sms::MobileNumber;
use crate::outcome::audit::{AuditEvent, AuditKind};

use super::answer::{Answer, CommandError, Table, json_line};

/// `postern sms`.
#[derive(Clone, Debug, Subcommand)]
pub enum SmsCommand {
    /// Keep the list of those who want no text messages
    #[command(subcommand)]
    OptOut(OptOutCommand),
    /// Show the name that a number goes by in lists and in the audit trail: for `trace`
    Name {
        /// The number
        #[arg(value_name = "NUMBER")]
        number: String,
    },
}

/// `postern sms opt-out`.
#[derive(Clone, Debug, Subcommand)]
pub enum OptOutCommand {
    /// Put numbers on the list
    Add {
        /// Numbers
        #[arg(value_name = "NUMBER", required_unless_present = "file")]
        numbers: Vec<String>,
        /// A file with a number in each line; `-` reads the standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Take a number off the list: its owner wants text messages again
    Remove {
        /// The number
        #[arg(value_name = "NUMBER")]
        number: String,
    },
    /// Show the list by the last three digits, or whether a number is on it
    List {
        /// The number
        #[arg(value_name = "NUMBER")]
        number: Option<String>,
    },
}

/// The list, wherever it is kept.
pub trait OptOuts {
    /// Puts a number on it; false if it was there.
    fn add(&self, number: &MobileNumber, how: &str) -> Result<bool, String>;
    /// Takes a number off it; false if it was not there.
    fn remove(&self, number: &MobileNumber) -> Result<bool, String>;
    /// Whether a number is on it.
    fn has(&self, number: &MobileNumber) -> Result<bool, String>;
    /// The recipient as lists and the audit trail have it.
    fn name(&self, number: &MobileNumber) -> String;
    /// All of it, the latest first.
    fn all(&self) -> Result<Vec<Listed>, String>;
}

/// A number on the list.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// The name that it goes by in lists and in the audit trail.
    pub number: String,
    /// Since when.
    pub since: String,
    /// How it came there: `reply`, `command` or `file`.
    pub how: String,
}

/// Carries out a command. Returns the answer and what goes into the audit trail.
pub fn run(
    command: &SmsCommand,
    list: &impl OptOuts,
    (by, now): (&str, Timestamp),
    json: bool,
    out: &mut impl Write,
) -> Result<(Answer, Vec<AuditEvent>), CommandError> {
    let command = match command {
        SmsCommand::OptOut(command) => command,
        SmsCommand::Name { number } => return Ok((name(number, list, json, out)?, Vec::new())),
    };
    match command {
        OptOutCommand::Add { numbers, file } => {
            add(numbers, file.as_deref(), list, (by, now), json, out)
        }
        OptOutCommand::Remove { number } => {
            let number = match parse(number) {
                Ok(number) => number,
                Err(wrong) => return Ok((refuse(&wrong), Vec::new())),
            };
            let removed = list.remove(&number).map_err(CommandError::Sms)?;
            let events = removed.then(|| event("sms-opt-out-removed", &number, by, now));
            say(
                json,
                out,
                &number,
                if removed {
                    "taken off the list"
                } else {
                    "was not on the list"
                },
            )?;
            let answer = if removed { Answer::Done } else { Answer::No };
            Ok((answer, events.into_iter().collect()))
        }
        OptOutCommand::List {
            number: Some(number),
        } => {
            let number = match parse(number) {
                Ok(number) => number,
                Err(wrong) => return Ok((refuse(&wrong), Vec::new())),
            };
            let has = list.has(&number).map_err(CommandError::Sms)?;
            say(
                json,
                out,
                &number,
                if has {
                    "wants no text messages"
                } else {
                    "is not on the list"
                },
            )?;
            Ok((if has { Answer::Done } else { Answer::No }, Vec::new()))
        }
        OptOutCommand::List { number: None } => {
            let all = list.all().map_err(CommandError::Sms)?;
            show(&all, json, out)?;
            Ok((Answer::Done, Vec::new()))
        }
    }
}

fn name(
    number: &str,
    list: &impl OptOuts,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let number = match parse(number) {
        Ok(number) => number,
        Err(wrong) => return Ok(refuse(&wrong)),
    };
    let name = list.name(&number);
    match json {
        true => json_line(&serde_json::json!({ "name": name }), out)?,
        false => writeln!(out, "{name}")?,
    }
    Ok(Answer::Done)
}

/// All or nothing: a list with a mistyped number is put right first.
fn add(
    numbers: &[String],
    file: Option<&Path>,
    list: &impl OptOuts,
    (by, now): (&str, Timestamp),
    json: bool,
    out: &mut impl Write,
) -> Result<(Answer, Vec<AuditEvent>), CommandError> {
    let lines = file.map(read).transpose()?.unwrap_or_default();
    let lines = without_mark(&lines)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let how = if file.is_some() { "file" } else { "command" };
    let mut parsed = Vec::new();
    for (nth, text) in numbers.iter().map(String::as_str).chain(lines).enumerate() {
        match parse(text) {
            Ok(number) => parsed.push(number),
            Err(wrong) => return Ok((refuse(&format!("number {}: {wrong}", nth + 1)), Vec::new())),
        }
    }
    let mut events = Vec::new();
    for number in &parsed {
        let is_new = list.add(number, how).map_err(CommandError::Sms)?;
        events.extend(is_new.then(|| event("sms-opt-out", number, by, now)));
        say(
            json,
            out,
            number,
            if is_new {
                "gets no more text messages"
            } else {
                "was on the list"
            },
        )?;
    }
    Ok((Answer::Done, events))
}

/// A list that is longer than any is refused, not cut off in the middle of a number.
fn read(path: &Path) -> Result<String, CommandError> {
    let failed = |error| CommandError::file(path, error);
    let mut octets = Vec::new();
    let input: &mut dyn Read = match path == Path::new("-") {
        true => &mut std::io::stdin(),
        false => &mut std::fs::File::open(path).map_err(failed)?,
    };
    input
        .take(FILE_OCTETS_MAX + 1)
        .read_to_end(&mut octets)
        .map_err(failed)?;
    if octets.len() as u64 > FILE_OCTETS_MAX {
        return Err(failed(std::io::Error::other(
            "it is larger than 16 MiB: that is no list of numbers",
        )));
    }
    text_of(octets).map_err(|error| failed(error.into()))
}

fn parse(text: &str) -> Result<MobileNumber, String> {
    MobileNumber::parse(text).map_err(|error| format!("not a number: {error}"))
}

fn refuse(wrong: &str) -> Answer {
    tell(format_args!("postern: {wrong}"));
    Answer::Usage
}

fn event(action: &str, number: &MobileNumber, by: &str, now: Timestamp) -> AuditEvent {
    let event = AuditEvent::new(now, Reference::random(), AuditKind::AccountChanged, "");
    event
        .fact("action", action)
        .fact("number", number.to_string())
        .fact("by", by)
}

fn say(
    json: bool,
    out: &mut impl Write,
    number: &MobileNumber,
    what: &str,
) -> Result<(), CommandError> {
    match json {
        true => json_line(
            &serde_json::json!({"number": number.to_string(), "result": what}),
            out,
        )?,
        false => writeln!(out, "{number} {what}")?,
    }
    Ok(())
}

fn show(all: &[Listed], json: bool, out: &mut impl Write) -> Result<(), CommandError> {
    if json {
        for one in all {
            json_line(one, out)?;
        }
        return Ok(());
    }
    let mut table = Table::new(&["number", "since", "how"]);
    for one in all {
        table.row([one.number.clone(), one.since.clone(), one.how.clone()]);
    }
    table.write(out)?;
    Ok(())
}

/// A list of a million numbers is not longer.
const FILE_OCTETS_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// A list in memory.
    #[derive(Default)]
    struct Numbers(RefCell<Vec<String>>);

    impl OptOuts for Numbers {
        fn add(&self, number: &MobileNumber, _: &str) -> Result<bool, String> {
            self.0.borrow_mut().push(number.to_string());
            Ok(true)
        }
        fn remove(&self, _: &MobileNumber) -> Result<bool, String> {
            Ok(false)
        }
        fn has(&self, _: &MobileNumber) -> Result<bool, String> {
            Ok(false)
        }
        fn name(&self, number: &MobileNumber) -> String {
            number.to_string()
        }
        fn all(&self) -> Result<Vec<Listed>, String> {
            Ok(Vec::new())
        }
    }

    fn add_file(octets: &[u8]) -> (Vec<String>, Result<Answer, String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.csv");
        std::fs::write(&path, octets).unwrap();
        let list = Numbers::default();
        let by = ("root", "2026-11-22T10:00:00Z".parse().unwrap());
        let added = add(&[], Some(&path), &list, by, false, &mut Vec::new());
        let answer = added.map(|(answer, _)| answer);
        (list.0.take(), answer.map_err(|error| error.to_string()))
    }

    #[test]
    fn a_list_of_a_spreadsheet_is_read_and_one_that_cannot_be_is_told_what_helps() {
        let (plain, answer) = add_file(b"07700900125\r\n07700900126\r\n");
        assert_eq!((plain.len(), answer), (2, Ok(Answer::Done)));
        let (marked, _) = add_file(b"\xef\xbb\xbf07700900125\r\n07700900126\r\n");
        assert_eq!(marked, plain);
        let (none, answer) = add_file(b"\xff\xfe0\x007\x00");
        let said = answer.unwrap_err();
        assert!(
            none.is_empty() && said.contains("numbers.csv: it is in UTF-16: save it as UTF-8"),
            "{said}"
        );
        let (none, answer) = add_file("07700900125\n".repeat(2_000_000).as_bytes());
        assert!(none.is_empty() && answer.unwrap_err().contains("larger than"));
    }
}
