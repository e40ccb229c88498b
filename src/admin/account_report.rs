//! What `postern account show` says beside the contract: the secrets, the locks, and the days.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use crate::accounts::Account;
use crate::accounts::store::{AccountsDbError, Day, Store, today};

use super::answer::Table;

/// What the store has of an account.
#[derive(Serialize)]
pub(super) struct Report {
    secrets: Vec<SecretShown>,
    /// That opened the account.
    certificates_seen: Vec<CertificateShown>,
    /// Until when it is locked for clients that never used it.
    locked_until: Option<String>,
    /// Recipients that it may still send to today; `None`: as many as it likes.
    recipients_left: Option<i64>,
    days: Vec<DayShown>,
}

#[derive(Serialize)]
struct SecretShown {
    made_at: String,
    ends_at: String,
    live: bool,
    scram: bool,
}

#[derive(Serialize)]
struct CertificateShown {
    sha256: String,
    known_as: String,
    ends_at: String,
    seen_at: String,
    /// Whether its time is not over.
    live: bool,
}

#[derive(Serialize)]
struct DayShown {
    day: String,
    #[serde(flatten)]
    counts: Day,
}

impl Report {
    /// Reads it. Blocks on the store.
    pub(super) fn of(
        account: &Account,
        store: &Store,
        now: Timestamp,
    ) -> Result<Self, AccountsDbError> {
        let name = account.name();
        let limit = account.contract.daily_recipients;
        let days = store.days(name, today(now) - DAYS_SHOWN + 1)?;
        let used = days.iter().find(|day| day.day == today(now));
        let used = used.map_or(0, |day| day.recipients);
        let secrets = store.secrets(Some(name))?.into_iter();
        let certificates = store.certificates(name)?.into_iter();
        let lock = store.locked_until(&format!("account:{name}"), now)?;
        Ok(Self {
            secrets: secrets
                .map(|secret| SecretShown {
                    made_at: secret.made_at.to_string(),
                    ends_at: secret.ends_at.to_string(),
                    live: now < secret.ends_at,
                    scram: secret.has_scram,
                })
                .collect(),
            certificates_seen: certificates
                .map(|one| CertificateShown {
                    sha256: one.sha256,
                    known_as: one.known_as,
                    ends_at: one.ends_at.to_string(),
                    seen_at: one.seen_at.to_string(),
                    live: now <= one.ends_at,
                })
                .collect(),
            locked_until: lock.map(|until| until.to_string()),
            recipients_left: (limit > 0).then(|| (i64::from(limit) - used).max(0)),
            days: days
                .into_iter()
                .map(|counts| DayShown {
                    day: counts.date().to_string(),
                    counts,
                })
                .collect(),
        })
    }

    /// Writes it for people.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for secret in self.secrets.iter().filter(|secret| secret.live) {
            let scram = if secret.scram { ", SCRAM too" } else { "" };
            let (made, ends) = (&secret.made_at, &secret.ends_at);
            writeln!(out, "secret         of {made}, good until {ends}{scram}")?;
        }
        for one in self.certificates_seen.iter().filter(|one| one.live) {
            let (sum, ends) = (&one.sha256[..SUM_SHOWN.min(one.sha256.len())], &one.ends_at);
            let seen = &one.seen_at;
            writeln!(
                out,
                "shown          certificate {sum}…, good until {ends}, last on {seen}"
            )?;
        }
        if let Some(until) = &self.locked_until {
            writeln!(
                out,
                "locked         until {until}, but for clients that it knows"
            )?;
        }
        let left = self.recipients_left.map(|left| left.to_string());
        let left = left.as_deref().unwrap_or("no limit");
        writeln!(out, "left today     {left} (recipients)")?;
        if self.days.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        let mut table = Table::new(&[
            "day",
            "accepted",
            "recipients",
            "repeated",
            "refused",
            "over rate",
            "over quota",
            "octets",
        ]);
        for DayShown { day, counts } in &self.days {
            table.row([
                day.clone(),
                counts.accepted.to_string(),
                counts.recipients.to_string(),
                counts.repeated.to_string(),
                counts.refused.to_string(),
                counts.over_rate.to_string(),
                counts.over_quota.to_string(),
                counts.octets.to_string(),
            ]);
        }
        table.write(out)
    }
}

/// Digits of the sum of a certificate that are shown to people.
const SUM_SHOWN: usize = 16;
/// Days that are shown, today among them.
const DAYS_SHOWN: i64 = 14;
