//! `postern dkim`: new keys with the record that belongs to them, and whether the DNS has what we sign with.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Date;
use serde_json::json;

use crate::base::dns::Dns;
use crate::base::private;
use crate::mail::Domain;
use crate::policy::signing::{Algorithm, Key, KeyError, Pair, Published, generate};

use super::answer::{Answer, CommandError, Table, json_line};

/// `postern dkim`.
#[derive(Clone, Debug, Subcommand)]
pub enum DkimCommand {
    /// Make a key and print the record that the DNS is to have
    New(DkimNew),
    /// Compare what the DNS has with the keys that sign
    Check,
}

/// `postern dkim new`.
#[derive(Args, Clone, Debug)]
pub struct DkimNew {
    /// Whose mail it is to sign
    #[arg(long)]
    pub domain: Domain,
    /// The name of the key below _domainkey: a new one for each key
    #[arg(long)]
    pub selector: Domain,
    /// rsa (2048 bits) is understood everywhere; ed25519 is small: sign with both
    #[arg(long, value_enum, default_value_t = DkimAlgorithm::Rsa)]
    pub algorithm: DkimAlgorithm,
    /// The file of the private key; never written over
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// What the key is good at.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum DkimAlgorithm {
    /// `rsa-sha256`.
    Rsa,
    /// `ed25519-sha256`.
    Ed25519,
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
pub enum DkimError {
    /// Whatever is there is kept: it may be the key that signs today.
    #[error("{path} is there already: a new key gets a file, and a selector, of its own")]
    Exists {
        /// The file.
        path: String,
    },
    /// The key could not be made.
    #[error("no key was made: {0}")]
    Key(#[from] KeyError),
}

/// `postern dkim new`: writes the private key to a file of its owner's alone and prints the record.
pub fn new(asked: &DkimNew, json: bool, out: &mut impl Write) -> Result<Answer, CommandError> {
    let algorithm = match asked.algorithm {
        DkimAlgorithm::Rsa => Algorithm::Rsa,
        DkimAlgorithm::Ed25519 => Algorithm::Ed25519,
    };
    let secret = generate(algorithm).map_err(DkimError::Key)?;
    let pair = Pair::from_pem(&secret).map_err(DkimError::Key)?;
    write_new(&asked.out, secret.expose())?;
    let key = Key::new(asked.domain.clone(), asked.selector.clone(), pair);
    let (name, record) = (key.record_name(), key.pair().record());
    let zone = zone_form(&name, &record);
    if json {
        let answer = json!({
            "domain": asked.domain.as_str(), "selector": asked.selector.as_str(),
            "algorithm": algorithm.word(), "file": asked.out.display().to_string(),
            "name": name, "type": "TXT", "value": record, "zone": zone,
        });
        json_line(&answer, out)?;
        return Ok(Answer::Done);
    }
    writeln!(out, "made {}\n", asked.out.display())?;
    writeln!(out, "For a zone file:\n\n{zone}\n")?;
    writeln!(
        out,
        "For a form: TXT, name {name}, value on one line:\n\n{record}\n"
    )?;
    writeln!(
        out,
        "{}",
        stanza(&asked.domain, &asked.selector, &asked.out)
    )?;
    Ok(Answer::Done)
}

/// What goes into the gateway's own file once the record is published.
fn stanza(domain: &Domain, selector: &Domain, file: &Path) -> String {
    // Paths in the gateway's own file are meant from its folder, not from here.
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    format!(
        "When `postern dkim check` finds it published, in postern.toml:\n\n\
         [[signing.key]]\ndomain = \"{domain}\"\nselector = \"{selector}\"\nfile = \"{}\"",
        file.display()
    )
}

/// Never over a file that is there; for the owner's eyes alone from its first octet.
fn write_new(path: &Path, text: &str) -> Result<(), CommandError> {
    let opened = private::make_new(path);
    if let Err(error) = &opened
        && error.kind() == io::ErrorKind::AlreadyExists
    {
        let path = path.display().to_string();
        return Err(DkimError::Exists { path }.into());
    }
    let written = opened.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| CommandError::file(path, error))
}

/// A record of a zone file: its text in strings of 255 octets at most (RFC 1035 §3.3, RFC 6376 §3.6.2.2).
fn zone_form(name: &str, record: &str) -> String {
    let mut strings = Vec::new();
    let mut rest = record;
    while !rest.is_empty() {
        // The record is ASCII: it can be cut anywhere.
        let (this, next) = rest.split_at(rest.len().min(STRING_MAX));
        strings.push(format!("\"{this}\""));
        rest = next;
    }
    format!("{name} IN TXT ( {} )", strings.join("\n\t"))
}

/// `postern dkim check`: the answer is no if a key that signs today, or will, is not published as it is. That of a
/// key whose days are over may be gone.
pub async fn check(
    keys: &[Key],
    dns: &Dns,
    today: Date,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let mut table = Table::new(&["name", "algorithm", "signs", "record"]);
    let mut answer = Answer::Done;
    for key in keys {
        let name = key.record_name();
        let published = Published::ask(key, dns).await;
        let signs = signs(key, today);
        let is_needed = signs != "no more";
        answer = answer.and(Answer::yes_if(!is_needed || published == Published::Yes));
        let algorithm = key.pair().algorithm().word();
        if json {
            json_line(
                &json!({ "name": name, "algorithm": algorithm, "signs": signs,
                    "record": published.word(), "expected": key.pair().record() }),
                out,
            )?;
        }
        let word = match published {
            Published::Unknown(error) => format!("unknown: {error}"),
            other => other.word().to_owned(),
        };
        table.row([name, algorithm.to_owned(), signs.to_owned(), word]);
    }
    if keys.is_empty() && !json {
        writeln!(out, "there are no keys: mail is not signed")?;
    }
    if !json {
        table.write(out)?;
    }
    Ok(answer)
}

fn signs(key: &Key, today: Date) -> &'static str {
    if key.signs_on(today) {
        "today"
    } else if key.until.is_some_and(|until| until < today) {
        "no more"
    } else {
        "not yet"
    }
}

/// Longest string in a TXT record, in octets.
const STRING_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::dns::fake::FakeDns;
    use std::os::unix::fs::PermissionsExt as _;

    fn asked(algorithm: DkimAlgorithm, out: &Path) -> DkimNew {
        DkimNew {
            domain: Domain::parse("ward.example").unwrap(),
            selector: Domain::parse("s1").unwrap(),
            algorithm,
            out: out.to_owned(),
        }
    }

    #[test]
    fn a_new_key_is_its_owners_alone_and_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s1.pem");
        let mut out = Vec::new();
        assert_eq!(
            new(&asked(DkimAlgorithm::Rsa, &file), false, &mut out).unwrap(),
            Answer::Done
        );
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let key = std::fs::read_to_string(&file).unwrap();
        let refused = new(&asked(DkimAlgorithm::Rsa, &file), false, &mut out).unwrap_err();
        assert!(refused.to_string().contains("is there already"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), key);
        let said = String::from_utf8(out).unwrap();
        let secret = key.lines().nth(1).unwrap();
        assert!(!said.contains(secret) && !said.contains("PRIVATE"));
    }

    #[test]
    fn the_record_is_printed_for_a_zone_file_for_a_form_and_for_programs() {
        let folder = tempfile::tempdir().unwrap();
        let mut out = Vec::new();
        let file = folder.path().join("s1.pem");
        assert_eq!(
            new(&asked(DkimAlgorithm::Rsa, &file), true, &mut out).unwrap(),
            Answer::Done
        );
        let said: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let (zone, value) = (
            said["zone"].as_str().unwrap(),
            said["value"].as_str().unwrap(),
        );
        assert!(
            zone.starts_with("s1._domainkey.ward.example. IN TXT ( \"v=DKIM1; h=sha256; k=rsa; p=")
        );
        let strings: Vec<&str> = zone.split('"').skip(1).step_by(2).collect();
        assert!(strings.iter().all(|string| string.len() <= 255) && strings.len() == 2);
        assert_eq!(strings.concat(), value);
        assert_eq!(said["algorithm"], "rsa-sha256");
    }

    async fn checked(record: Option<String>, until: &str) -> (Answer, String) {
        let pair = Pair::from_pem(&generate(Algorithm::Ed25519).unwrap()).unwrap();
        let mut key = Key::new(
            Domain::parse("ward.example").unwrap(),
            Domain::parse("s1").unwrap(),
            pair,
        );
        key.until = until.parse().ok();
        let mut server = FakeDns::start().await;
        if let Some(record) = record {
            let record = record.replace("OURS", &key.pair().record());
            server = server.with_txt("s1._domainkey.ward.example", &record);
        }
        let mut out = Vec::new();
        let today = "2026-11-21".parse().unwrap();
        let answer = check(
            &[key],
            &server.resolver(std::time::Duration::from_secs(10)),
            today,
            false,
            &mut out,
        )
        .await
        .unwrap();
        let said = String::from_utf8(out).unwrap();
        let last = said.lines().last().unwrap_or_default();
        (
            answer,
            last.split_whitespace()
                .last()
                .unwrap_or_default()
                .to_owned(),
        )
    }

    #[tokio::test]
    async fn what_is_published_is_compared_with_what_signs() {
        for (record, until, answer, word) in [
            (Some("OURS"), "2026-12-01", Answer::Done, "published"),
            (None, "2026-12-01", Answer::No, "missing"),
            (
                Some("v=DKIM1; k=ed25519; p=AAAA"),
                "2026-12-01",
                Answer::No,
                "differs",
            ),
            (Some("v=DKIM1; p="), "2026-12-01", Answer::No, "differs"),
            (None, "2026-11-01", Answer::Done, "missing"),
        ] {
            let found = checked(record.map(str::to_owned), until).await;
            assert_eq!(found, (answer, word.to_owned()));
        }
    }
}
