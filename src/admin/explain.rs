//! `postern explain` for messages: what the policy would decide, per recipient, and why.
//!
//! The message is judged as if it had just come in. Nothing is sent, stored or recorded. (What was
//! decided about a message that did come in is in the audit trail: [`super::trace::explain`].)

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use indicatif::ProgressBar;
use jiff::Timestamp;
use serde_json::json;

use crate::accounts::DisableError;
use crate::base::Clock;
use crate::mail::{
    BodyType, Client, Envelope, ForwardPath, MailTransaction, Message, Recipient, ReversePath,
};
use crate::policy::explain::{Onward, to_json, to_text};
use crate::policy::policy_test::client;
use crate::policy::{Policy, RecipientDecision};

use super::answer::{Answer, CommandError, json_line, printable};
use super::cli::Explain;
use super::input::read_message;

/// Judges each file in turn, as of now or of the moment asked for. `onward` says where a recipient's
/// mail would go next, which the policy does not know. In JSON, one object per line and file.
pub async fn run(
    policy: &Arc<Policy>,
    asked: &Explain,
    (from, to, files): (ReversePath, Vec<ForwardPath>, Vec<PathBuf>),
    onward: impl Fn(&RecipientDecision) -> Onward,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    if let Some(name) = &asked.account
        && policy.accounts().get(name).is_none()
    {
        return Err(DisableError::Unknown(name.clone()).into());
    }
    let case = Supposed {
        client: client(
            asked.client,
            asked.account.as_deref().map(str::to_ascii_lowercase),
        ),
        from,
        to,
        at: asked.at.unwrap_or_else(|| Clock::system().now()),
    };
    let bar = progress(files.len());
    for file in &files {
        let message = read_message(file, &mut io::stdin())?;
        let transaction = case.transaction(message);
        let decision = policy.decide(&transaction).await;
        let signatures = policy.would_sign(&transaction, &decision);
        let name = file.display().to_string();
        if json {
            let mut object = to_json(&decision, &onward);
            object["file"] = name.into();
            let said = signatures.iter();
            let said = said.map(|one| json!({"kind": one.kind, "key": one.key}));
            object["signatures"] = said.collect();
            json_line(&object, out)?;
        } else {
            if files.len() > 1 {
                writeln!(out, "{}:", printable(&name))?;
            }
            for line in to_text(&decision, &onward).lines() {
                writeln!(out, "{}", printable(line))?;
            }
            for one in &signatures {
                writeln!(out, "{:<18} {} by {}", "signature", one.kind, one.key)?;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Answer::Done)
}

/// What is supposed about a message: who brings it, for whom, and when.
struct Supposed {
    client: Client,
    from: ReversePath,
    to: Vec<ForwardPath>,
    at: Timestamp,
}

impl Supposed {
    fn transaction(&self, message: Message) -> MailTransaction {
        let mut envelope = Envelope::new(self.from.clone());
        envelope.recipients = self.to.iter().cloned().map(Recipient::new).collect();
        envelope.body = BodyType::EightBitMime;
        let addresses = envelope.recipients.iter();
        envelope.smtputf8 = addresses
            .map(|recipient| recipient.forward_path.to_string())
            .chain([self.from.to_string()])
            .any(|address| !address.is_ascii());
        MailTransaction {
            client: self.client.clone(),
            envelope,
            message,
            received_at: self.at,
        }
    }
}

/// A bar for many files, on the standard error stream; nothing if that is no terminal.
fn progress(files: usize) -> ProgressBar {
    if files < FILES_MANY || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    ProgressBar::new(files as u64)
}

/// From this many files on it takes long enough to want a bar.
const FILES_MANY: usize = 100;
