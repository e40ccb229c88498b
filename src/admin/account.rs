//! `postern account`: adds, lists, shows and disables the accounts of applications.
//!
//! The gateway that runs takes a changed file by itself. A secret is shown once, when it is made; its
//! hash alone is kept.

use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use crate::accounts::{self, Account, Accounts, Declaration, NewAccount, Sender};
use crate::base::Reference;
use crate::config::render::{Colour, Format, render};
use crate::config::{Diagnostics, Severity};
use crate::outcome::audit::{AuditEvent, AuditKind};

use super::answer::{Answer, CommandError, Table, json_line};
use super::cli::{AccountAdd, AccountCommand};

/// Carries out one of the commands on the file at `path`. Blocks: on Argon2id and the file.
pub fn run(
    command: &AccountCommand,
    path: &Path,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    match command {
        AccountCommand::Add(new) => add(new, path, json, out),
        AccountCommand::List => list(path, json, out),
        AccountCommand::Show { name } => show(name, path, json, out),
        AccountCommand::Disable { name } => disable(name, path, json, out),
    }
}

/// What goes into the audit trail once one of the commands has changed something. `None` for those
/// that only show.
pub fn event(command: &AccountCommand, by: &str, at: Timestamp) -> Option<AuditEvent> {
    let (name, change) = match command {
        AccountCommand::Add(new) => (&new.name, "added"),
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
        let senders = account.may_send_from.iter().map(|sender| match sender {
            Sender::Mailbox(mailbox) => mailbox.to_string(),
            Sender::Domain(domain) => format!("@{domain}"),
        });
        Self {
            name: account.name(),
            owner: account.owner.as_deref(),
            disabled: account.disabled,
            may_send_from: senders.collect(),
            owner_address: account.owner_address.as_ref().map(ToString::to_string),
            patient_data: account.patient_data.word(),
            source: account.place().map(ToString::to_string),
        }
    }
}

fn add(
    new: &AccountAdd,
    path: &Path,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
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
    let secret = match accounts::add(path, &account) {
        Ok(secret) => secret,
        Err(accounts::AddError::Broken(diagnostics)) => {
            let mut said = io::stderr().lock();
            let colour = Colour::of(&io::stderr());
            render(&diagnostics, Format::Human(colour), &mut said)?;
            return Err(accounts::AddError::Broken(Vec::new()).into());
        }
        Err(error) => return Err(error.into()),
    };
    if json {
        let shown = serde_json::json!({ "name": new.name, "secret": secret.expose() });
        json_line(&shown, out)?;
    } else {
        writeln!(out, "account {} is in {}", new.name, path.display())?;
        writeln!(out, "its secret, shown this once: {}", secret.expose())?;
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

fn show(name: &str, path: &Path, json: bool, out: &mut impl Write) -> Result<Answer, CommandError> {
    let accounts = load(path)?;
    let Some(account) = accounts.get(name) else {
        return Err(accounts::DisableError::Unknown(name.to_owned()).into());
    };
    let shown = Shown::of(account);
    if json {
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
    Ok(Answer::Done)
}

fn disable(
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

    fn on(path: &Path, command: &AccountCommand, json: bool) -> Result<String, CommandError> {
        let mut out = Vec::new();
        assert_eq!(run(command, path, json, &mut out)?, Answer::Done);
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
