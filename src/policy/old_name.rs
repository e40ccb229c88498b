//! Old names that mail still comes for: counted, so that an administrator sees what can be retired, and
//! told to the sender once in a while.
//!
//! Who is told must be somebody who can be believed to have sent the message, and a person: a forged
//! sender, a list, a report or a program never gets a notice (RFC 3834 §2).

use std::time::Duration;

use crate::directory::{Because, Directory, Kind};
use crate::mail::{Header, Mailbox, ReversePath};

use super::finding::AuthenticationResults;
use super::verdict::{Decision, Direction, RecipientDecision, Verdict};

/// A name that is not the mailbox's own, by which mail has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OldName {
    /// The name, folded.
    pub name: Mailbox,
    /// The mailbox that it leads to.
    pub mailbox: Mailbox,
    /// Why it does.
    pub because: Because,
    /// Who uses it: the ODS code of the sender's organisation if it is known, else the sender's domain.
    pub used_by: String,
    /// The notice that the sender should get.
    pub tell: Option<Tell>,
}

/// A notice of the new address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tell {
    /// The sender.
    pub to: Mailbox,
    /// Not again before so much time has gone.
    pub at_most_every: Duration,
}

/// What is known of the sender of a message.
pub(super) struct Sender<'a> {
    pub(super) reverse_path: &'a ReversePath,
    pub(super) direction: Direction,
    pub(super) header: &'a Header<'a>,
}

/// The old names in a decision. `tell_every` is how often one sender hears of one name.
pub(super) fn old_names(
    decision: &Decision,
    sender: &Sender<'_>,
    directory: &Directory,
    tell_every: Option<Duration>,
) -> Vec<OldName> {
    if decision.recipients.iter().all(|one| one.path.is_empty()) {
        return Vec::new();
    }
    let used_by = sender.organisation(directory);
    let believed = sender.is_believed(&decision.findings.authentication);
    let person = sender.person().filter(|_| believed);
    let mut names = Vec::new();
    for recipient in decision.recipients.iter().filter(|one| goes_on(one)) {
        let may_hear =
            sender.direction == Direction::Outbound || !is_personal(directory, recipient);
        let person = person.filter(|_| may_hear);
        names.extend(of_recipient(recipient, &used_by, person, tell_every));
    }
    names
}

/// Every hop is a use of a name; only the name that the sender wrote is told of.
fn of_recipient(
    recipient: &RecipientDecision,
    used_by: &str,
    person: Option<&Mailbox>,
    tell_every: Option<Duration>,
) -> Vec<OldName> {
    let path = &recipient.path;
    let Some(mailbox) = recipient.recipient.forward_path.mailbox() else {
        return Vec::new();
    };
    if path.iter().any(|hop| hop.because == Because::List) {
        return Vec::new();
    }
    let counted = path.iter().filter(|hop| is_counted(hop.because));
    counted
        .map(|hop| {
            let written = path.first() == Some(hop) && is_old(hop.because);
            let tell = person.zip(tell_every).filter(|_| written);
            OldName {
                name: hop.from.clone(),
                mailbox: mailbox.clone(),
                because: hop.because,
                used_by: used_by.to_owned(),
                tell: tell.map(|(to, at_most_every)| Tell {
                    to: to.clone(),
                    at_most_every,
                }),
            }
        })
        .collect()
}

impl Sender<'_> {
    fn organisation(&self, directory: &Directory) -> String {
        let ReversePath::Mailbox(mailbox) = self.reverse_path else {
            return NOBODY.to_owned();
        };
        let known = directory.glance(mailbox);
        match known.and_then(|known| known.organisation) {
            Some(code) => code.to_string(),
            None => mailbox.host().to_string(),
        }
    }

    /// Whether the reverse path is the sender's own: mail of ours, or SPF or DMARC vouches for it.
    pub(super) fn is_believed(&self, results: &AuthenticationResults) -> bool {
        let vouches = |method: &str| matches!(method, "spf" | "dmarc");
        self.direction == Direction::Outbound
            || results
                .methods
                .iter()
                .any(|one| vouches(one.method) && one.result == "pass")
    }

    /// The sender, unless it is a program, a list or a report.
    pub(super) fn person(&self) -> Option<&Mailbox> {
        let mailbox = self.reverse_path.notifiable()?;
        let listed = AUTOMATIC_FIELDS
            .iter()
            .any(|name| self.header.first(name).is_some());
        let automatic = self
            .header
            .all("Auto-Submitted")
            .any(|field| !field.value().trim().eq_ignore_ascii_case("no"));
        (!is_program(mailbox) && !listed && !automatic).then_some(mailbox)
    }
}

/// Whether the name is one that programs and lists send under.
pub(super) fn is_program(mailbox: &Mailbox) -> bool {
    let local = mailbox.local_part().as_str().to_ascii_lowercase();
    NO_PERSON.iter().any(|word| local.contains(word))
        || local.starts_with("owner-")
        || ["-request", "-owner", "-bounces"]
            .iter()
            .any(|end| local.ends_with(end))
}

/// Whether it leads to a person: what somebody is called now is told to our own alone.
fn is_personal(directory: &Directory, recipient: &RecipientDecision) -> bool {
    let mailbox = recipient.recipient.forward_path.mailbox();
    let known = mailbox.and_then(|mailbox| directory.glance(mailbox));
    known.is_some_and(|known| known.kind == Kind::Personal)
}

/// Whether the message is on its way to this recipient.
fn goes_on(recipient: &RecipientDecision) -> bool {
    !recipient.duplicate
        && matches!(
            recipient.verdict,
            Verdict::Deliver | Verdict::DeliverVerifiedTls | Verdict::Encrypt
        )
}

fn is_counted(because: Because) -> bool {
    because == Because::Alias || is_old(because)
}

/// Whether a name with this reason is out of use: an alias need not be.
fn is_old(because: Because) -> bool {
    matches!(
        because,
        Because::Renamed | Because::Successor | Because::LegacyPharmacyName | Because::CareName
    )
}

/// The null reverse path in the count.
const NOBODY: &str = "-";
/// Who has one of these in its name reads no mail.
const NO_PERSON: [&str; 5] = [
    "donotreply",
    "do-not-reply",
    "noreply",
    "no-reply",
    "mailer-daemon",
];
/// Fields of lists and of programs (RFC 2369, RFC 2919, RFC 3834 §2).
const AUTOMATIC_FIELDS: [&str; 7] = [
    "List-Id",
    "List-Unsubscribe",
    "List-Post",
    "Precedence",
    "X-Autoreply",
    "X-Autorespond",
    "X-Auto-Response-Suppress",
];
