//! `postern account`: adds, lists, shows, rotates, unlocks and disables the accounts of applications.
//!
//! The gateway that runs takes a changed file by itself. A secret is shown once, when it is made; its
//! hash alone is kept.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::accounts::{self, Account, Accounts, Declaration, NewAccount, Rotation, Store};
use crate::base::Reference;
use crate::base::secret::{Secret, SecretSource};
use crate::config::render::{Colour, Format, render};
use crate::config::{Diagnostics, Severity};
use crate::outcome::audit::{AuditEvent, AuditKind};

use super::account_contract::{ContractShown, senders};
use super::account_report::Report;
use super::answer::{Answer, CommandError, Table, json_line};
use super::cli::{AccountAdd, AccountCommand, AccountRotate, ChosenSecret};

/// What the commands work on.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// `accounts.toml`.
    pub path: &'a Path,
    /// Secrets and counters.
    pub store: &'a Store,
    /// Now.
    pub now: Timestamp,
    /// Whether the answer is JSON.
    pub json: bool,
}

/// Carries out one of the commands. Blocks: on Argon2id, the file and the store.
pub fn run(
    command: &AccountCommand,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    match command {
        AccountCommand::Add(new) => add(new, desk, out),
        AccountCommand::List => list(desk.path, desk.json, out),
        AccountCommand::Show { name } => show(name, desk, out),
        AccountCommand::Rotate(asked) => rotate(asked, desk, out),
        AccountCommand::Unlock { who } => unlock(who, desk, out),
        AccountCommand::Disable { name } => disable(name, desk.path, desk.json, out),
    }
}

/// What goes into the audit trail once one of the commands has changed something. `None` for those
/// that only show.
pub fn event(command: &AccountCommand, by: &str, at: Timestamp) -> Option<AuditEvent> {
    let (name, change) = match command {
        AccountCommand::Add(new) => (&new.name, "added"),
        AccountCommand::Rotate(asked) => (&asked.name, "secret changed"),
        AccountCommand::Unlock { who } => (who, "unlocked"),
        AccountCommand::Disable { name } => (name, "disabled"),
        AccountCommand::List | AccountCommand::Show { .. } => return None,
    };
    let event = AuditEvent::new(at, Reference::random(), AuditKind::AccountChanged, "");
    let event = event.fact("account", name.to_ascii_lowercase());
    Some(event.fact("change", change).fact("by", by))
}

/// An account as it is shown.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    owner: Option<&'a str>,
    disabled: bool,
    may_send_from: Vec<String>,
    owner_address: Option<String>,
    patient_data: &'static str,
    source: Option<String>,
}

impl<'a> Shown<'a> {
    fn of(account: &'a Account) -> Self {
        Self {
            name: account.name(),
            owner: account.owner.as_deref(),
            disabled: account.disabled,
            may_send_from: senders(&account.may_send_from),
            owner_address: account.owner_address.as_ref().map(ToString::to_string),
            patient_data: account.patient_data.word(),
            source: account.place().map(ToString::to_string),
        }
    }
}

#[derive(Serialize)]
struct ShownWithReport<'a> {
    #[serde(flatten)]
    account: Shown<'a>,
    contract: ContractShown,
    #[serde(flatten)]
    report: Report,
}

fn add(new: &AccountAdd, desk: Desk<'_>, out: &mut impl Write) -> Result<Answer, CommandError> {
    let Desk {
        path,
        store,
        now,
        json,
    } = desk;
    let account = NewAccount {
        name: new.name.clone(),
        owner: new.owner.clone(),
        may_send_from: new.may_send_from.clone(),
        owner_address: new.owner_address.clone(),
        patient_data: match new.declares_patient_data {
            true => Declaration::Always,
            false => new.patient_data.into(),
        },
    };
    let rotation = rotation(&new.secret, None)?;
    let secret = match accounts::add(path, store, &account, rotation, now) {
        Ok(secret) => secret,
        Err(accounts::AddError::Broken(diagnostics)) => {
            let mut said = io::stderr().lock();
            let colour = Colour::of(&io::stderr());
            render(&diagnostics, Format::Human(colour), &mut said)?;
            return Err(accounts::AddError::Broken(Vec::new()).into());
        }
        Err(error) => return Err(error.into()),
    };
    if !json {
        writeln!(out, "account {} is in {}", new.name, path.display())?;
    }
    tell_secret(&new.name, &new.secret, &secret, json, out)?;
    Ok(Answer::Done)
}

/// Shows a secret that was made; one that somebody chose he knows.
fn tell_secret(
    name: &str,
    chosen: &ChosenSecret,
    secret: &Secret,
    json: bool,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    let made = chosen.secret_file.is_none().then(|| secret.expose());
    if json {
        json_line(&serde_json::json!({ "name": name, "secret": made }), out)?;
        return Ok(());
    }
    match made {
        Some(secret) => writeln!(out, "its secret, shown this once: {secret}")?,
        None => writeln!(out, "its secret is the one in the file")?,
    }
    Ok(())
}

fn rotation(chosen: &ChosenSecret, overlap: Option<Duration>) -> Result<Rotation, CommandError> {
    let chosen_secret = match &chosen.secret_file {
        None => None,
        Some(path) if path.as_os_str() == "-" => {
            let source = SecretSource::File("/dev/stdin".into());
            Some(Secret::load(&source)?)
        }
        Some(path) => Some(Secret::load(&SecretSource::File(path.clone()))?),
    };
    Ok(Rotation {
        chosen: chosen_secret,
        overlap,
        scram: chosen.scram,
    })
}

fn rotate(
    asked: &AccountRotate,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let accounts = load(desk.path)?;
    let rotation = rotation(&asked.secret, asked.overlap)?;
    let overlap = rotation.overlap.unwrap_or(accounts.secrets().overlap);
    let secret = accounts::rotate(desk.store, &accounts, &asked.name, rotation, desk.now)?;
    if !desk.json {
        let until = desk.now + overlap;
        writeln!(
            out,
            "account {} has a new secret; the one before it is good until {until}",
            asked.name
        )?;
    }
    tell_secret(&asked.name, &asked.secret, &secret, desk.json, out)?;
    Ok(Answer::Done)
}

fn unlock(who: &str, desk: Desk<'_>, out: &mut impl Write) -> Result<Answer, CommandError> {
    let was_locked = accounts::unlock(desk.store, who, desk.now)?;
    if desk.json {
        let said = serde_json::json!({ "who": who, "changed": was_locked });
        json_line(&said, out)?;
    } else if was_locked {
        writeln!(out, "{who} may try again")?;
    } else {
        writeln!(out, "{who} was not locked out")?;
    }
    Ok(Answer::Done)
}

fn list(path: &Path, json: bool, out: &mut impl Write) -> Result<Answer, CommandError> {
    let accounts = load(path)?;
    let mut table = Table::new(&["name", "state", "may send from", "owner"]);
    for account in accounts.all() {
        let shown = Shown::of(account);
        if json {
            json_line(&shown, out)?;
            continue;
        }
        table.row([
            shown.name.to_owned(),
            state(shown.disabled).to_owned(),
            shown.may_send_from.join(" "),
            shown.owner.unwrap_or("-").to_owned(),
        ]);
    }
    table.write(out)?;
    if table.is_empty() && !json {
        writeln!(out, "no accounts; `postern account add NAME` adds one")?;
    }
    Ok(Answer::Done)
}

fn show(name: &str, desk: Desk<'_>, out: &mut impl Write) -> Result<Answer, CommandError> {
    let accounts = load(desk.path)?;
    let Some(account) = accounts.get(name) else {
        return Err(accounts::DisableError::Unknown(name.to_owned()).into());
    };
    let shown = Shown::of(account);
    let report = Report::of(account, desk.store, desk.now)?;
    if desk.json {
        let shown = ShownWithReport {
            account: shown,
            contract: ContractShown::of(account),
            report,
        };
        json_line(&shown, out)?;
        return Ok(Answer::Done);
    }
    let patient_data = match account.patient_data {
        Declaration::Always => "always: all its mail counts as it",
        Declaration::ByContent => "by what is found",
        Declaration::Never => "never: what is found all the same is held",
    };
    writeln!(out, "name           {}", shown.name)?;
    writeln!(out, "state          {}", state(shown.disabled))?;
    writeln!(out, "owner          {}", shown.owner.unwrap_or("-"))?;
    writeln!(
        out,
        "told at        {}",
        shown.owner_address.as_deref().unwrap_or("-")
    )?;
    writeln!(out, "may send from  {}", shown.may_send_from.join(" "))?;
    writeln!(out, "patient data   {patient_data}")?;
    writeln!(
        out,
        "written at     {}",
        shown.source.as_deref().unwrap_or("-")
    )?;
    ContractShown::of(account).write(out)?;
    report.write(out)?;
    Ok(Answer::Done)
}

/// Disables an account in its file. Wants no store: an account must be shut whatever has become of that.
pub fn disable(
    name: &str,
    path: &Path,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let was_enabled = accounts::disable(path, name)?;
    if json {
        let said = serde_json::json!({ "name": name, "disabled": true, "changed": was_enabled });
        json_line(&said, out)?;
    } else if was_enabled {
        writeln!(out, "account {name} is disabled")?;
    } else {
        writeln!(out, "account {name} was disabled already")?;
    }
    Ok(Answer::Done)
}

fn state(disabled: bool) -> &'static str {
    if disabled { "disabled" } else { "enabled" }
}

/// Reads the accounts; errors of the file go to the standard error stream and end the command.
fn load(path: &Path) -> Result<Accounts, CommandError> {
    let diagnostics = Diagnostics::default();
    let accounts = Accounts::load(path, &diagnostics);
    let mut said = diagnostics.into_vec();
    said.retain(|one| one.severity == Severity::Error);
    match accounts {
        Some(accounts) if said.is_empty() => Ok(accounts),
        _ => {
            let colour = Colour::of(&io::stderr());
            render(&said, Format::Human(colour), &mut io::stderr().lock())?;
            Err(accounts::AddError::Broken(Vec::new()).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::cli::PatientDataWord;

    /// In the folder of the file there is the store as well.
    fn on(path: &Path, command: &AccountCommand, json: bool) -> Result<String, CommandError> {
        let mut out = Vec::new();
        let desk = Desk {
            path,
            store: &Store::open(path.parent().unwrap())?,
            now: "2026-11-21T10:00:00Z".parse().unwrap(),
            json,
        };
        assert_eq!(run(command, desk, &mut out)?, Answer::Done);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn an_account_lives_from_add_to_disable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts.toml");
        std::fs::write(&path, "").unwrap();
        let name = "reminders.fa123.donotreply@nhs.net".to_owned();
        let new = AccountCommand::Add(AccountAdd {
            name: name.clone(),
            owner: Some("Superintendent".to_owned()),
            may_send_from: Vec::new(),
            owner_address: None,
            patient_data: PatientDataWord::ByContent,
            declares_patient_data: true,
            secret: ChosenSecret::default(),
        });

        let added = on(&path, &new, true).unwrap();
        let added: serde_json::Value = serde_json::from_str(&added).unwrap();
        let secret = added["secret"].as_str().unwrap();
        assert!(secret.len() > 20);
        assert!(
            on(&path, &new, false)
                .unwrap_err()
                .to_string()
                .contains("already")
        );

        let listed = on(&path, &AccountCommand::List, false).unwrap();
        assert!(
            listed.contains("reminders.fa123.donotreply@nhs.net  enabled"),
            "{listed}"
        );
        let rotate = AccountCommand::Rotate(AccountRotate {
            name: name.clone(),
            overlap: None,
            secret: ChosenSecret::default(),
        });
        let rotated = on(&path, &rotate, false).unwrap();
        assert!(
            rotated.contains("good until 2026-11-28T10:00:00Z\n"),
            "{rotated}"
        );
        let unlock = AccountCommand::Unlock { who: name.clone() };
        let unlocked = on(&path, &unlock, false).unwrap();
        assert!(unlocked.ends_with("was not locked out\n"), "{unlocked}");
        let disable = AccountCommand::Disable { name: name.clone() };
        assert!(
            on(&path, &disable, false)
                .unwrap()
                .ends_with("is disabled\n")
        );
        assert!(
            on(&path, &disable, false)
                .unwrap()
                .ends_with("was disabled already\n")
        );
        let shown = on(&path, &AccountCommand::Show { name }, false).unwrap();
        assert!(shown.contains("state          disabled\n"), "{shown}");
        let lines = [
            "secret         of 2026-11-21T10:00:00Z, good until 2027-11-21T10:00:00Z, SCRAM too\n",
            "secret         of 2026-11-21T10:00:00Z, good until 2026-11-28T10:00:00Z, SCRAM too\n",
            "limits         30 messages a minute, 10000 recipients a day\n",
            "left today     10000 (recipients)\n",
        ];
        assert!(lines.iter().all(|line| shown.contains(line)), "{shown}");
        assert!(!shown.contains("argon2") && !shown.contains(secret));
    }

    #[test]
    fn an_unknown_account_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts.toml");
        std::fs::write(&path, "").unwrap();
        let name = "nobody".to_owned();
        let shown = on(&path, &AccountCommand::Show { name }, true);
        assert_eq!(shown.unwrap_err().to_string(), "there is no account nobody");
    }
}
