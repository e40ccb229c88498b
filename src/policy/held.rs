//! Who hears that a message is held, and who decides about it.
//!
//! A hold nobody knows of is a lost message. Its sender is told, if it is somebody who can be believed to
//! have sent it and a person, as with old names (`old_name`). A program never gets a notice (RFC 3834 §2): of
//! one of our own, whoever answers for it is told in its place.

use std::time::Duration;

use crate::config::{Located, Section};
use crate::mail::Mailbox;

use super::Policy;
use super::finding::SecureKeyword;
use super::old_name::{Sender, is_program};
use super::self_release::{Grounds, SelfRelease};
use super::verdict::{Decision, Direction, Fate, Verdict};

/// `[holds]`: what happens to what is held.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holds {
    /// Who decides: a person, a role or an address, as people read it.
    pub owner: String,
    /// Where he is told what programs cannot be told, and what senders let go on; the postmaster if the file
    /// does not say.
    pub owner_address: Option<Mailbox>,
    /// What senders may let go on themselves.
    pub self_release: SelfRelease,
    /// Whether senders are told.
    pub tell_sender: bool,
    /// The age at which a held message is an alarm.
    pub alarm_after: Duration,
    /// The age at which it fails, and its sender gets it back; `None` for never.
    pub fail_after: Option<Duration>,
}

impl Default for Holds {
    fn default() -> Self {
        Self {
            owner: "the postmaster".to_owned(),
            owner_address: None,
            self_release: SelfRelease::default(),
            tell_sender: true,
            alarm_after: ALARM_AFTER,
            fail_after: None,
        }
    }
}

impl Holds {
    /// Takes `[holds]` out of the outermost section.
    pub(super) fn read(top: &Section<'_>, postmaster: Option<Mailbox>) -> Self {
        let section = top.section("holds");
        let default = Self::default();
        let fail_after = section.duration("fail-after");
        let read = Self {
            owner: section
                .string("owner")
                .map_or(default.owner, Located::into_inner),
            owner_address: section
                .parse("owner-address")
                .map(Located::into_inner)
                .or(postmaster),
            self_release: SelfRelease::read(&section),
            tell_sender: section.flag("tell-sender").is_none_or(Located::into_inner),
            alarm_after: section
                .duration("alarm-after")
                .map_or(default.alarm_after, Located::into_inner),
            fail_after: fail_after
                .as_deref()
                .copied()
                .filter(|after| !after.is_zero()),
        };
        if let (Some(after), Some(at)) = (read.fail_after, &fail_after)
            && after <= read.alarm_after
        {
            let help = "give people time between the alarm and the end".to_owned();
            section.report(
                "out-of-bounds",
                "held messages fail before anybody is alarmed",
                at,
                help,
            );
        }
        section.finish();
        read
    }
}

/// What a decision says about its holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// Who decides about them.
    pub owner: String,
    /// Who is to hear of them.
    pub tell: Option<Hears>,
    /// What the sender may let go on himself: only of our own, who are told.
    pub self_release: SelfRelease,
    /// The exact tag, if the subject nearly has it.
    pub tag: Option<String>,
}

/// Who is told of a hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Hears {
    /// The sender.
    Sender(Mailbox),
    /// Whoever answers for the program that sent it.
    Owner {
        /// His address.
        to: Mailbox,
        /// The program.
        program: Mailbox,
    },
}

/// Who hears of the holds of a decision. `tag` asks for encryption; `answers_for` says who answers for a
/// program.
pub(super) fn held(
    decision: &Decision,
    sender: &Sender<'_>,
    holds: &Holds,
    tag: &str,
    answers_for: impl Fn(&Mailbox) -> Option<Mailbox>,
) -> Held {
    let mut held = Held {
        owner: holds.owner.clone(),
        ..Held::default()
    };
    if !decision.fates().any(|(_, fate)| fate == Fate::Hold) {
        return held;
    }
    held.tell = match sender.person() {
        Some(person) => {
            let believed = sender.is_believed(&decision.findings.authentication);
            (holds.tell_sender && believed).then(|| Hears::Sender(person.clone()))
        }
        None => {
            let ours = decision.direction == Direction::Outbound;
            let program = sender.reverse_path.notifiable().filter(|_| ours);
            program.and_then(|program| {
                let (to, program) = (answers_for(program)?, program.clone());
                Some(Hears::Owner { to, program })
            })
        }
    };
    if matches!(held.tell, Some(Hears::Sender(_))) && decision.direction == Direction::Outbound {
        held.self_release = holds.self_release.clone();
    }
    let near_miss = decision.findings.secure_keyword == SecureKeyword::NearMiss;
    held.tag = near_miss.then(|| tag.to_owned());
    held
}

impl Policy {
    /// Who hears of mail of a program: the owner of the account that it came by, of the account that bears
    /// its name, of its mailbox; else the owner of what is held.
    pub fn answers_for(&self, account: Option<&str>, program: &Mailbox) -> Option<Mailbox> {
        let named = program.to_string();
        let accounts = account.into_iter().chain([named.as_str()]);
        let of_account = accounts
            .filter_map(|name| self.accounts.get(name))
            .find_map(|account| account.owner_address.clone());
        let of_mailbox = || Mailbox::parse(&self.directory.entry(program)?.owner).ok();
        of_account
            .or_else(of_mailbox)
            .or_else(|| self.holds.owner_address.clone())
    }

    /// Who hears that a message of this sender is held: himself, unless he is a program.
    pub fn hears_of_hold(&self, sender: &Mailbox) -> Hears {
        let owner = is_program(sender).then(|| self.answers_for(None, sender));
        match owner.flatten() {
            Some(to) => Hears::Owner {
                to,
                program: sender.clone(),
            },
            None => Hears::Sender(sender.clone()),
        }
    }
}

/// Keeps a message back for everybody to whom it would have gone.
pub(super) fn hold(decision: &mut Decision, rule: &str, because: &str, would_pass_if: &str) {
    for recipient in &mut decision.recipients {
        if recipient.verdict.severity() < Verdict::Hold.severity() {
            recipient.verdict = Verdict::Hold;
            recipient.rule = rule.to_owned();
            recipient.because = because.to_owned();
            recipient.would_pass_if = Some(would_pass_if.to_owned());
            // It is not for the sender to decide.
            recipient.grounds = Grounds::default();
        }
    }
}

/// Keeps a message apart for everybody to whom it would have gone, or for whom it would wait. Who lets it go must read
/// that it was to be held as well.
pub(super) fn quarantine(decision: &mut Decision, rule: &str, because: &str, would_pass_if: &str) {
    for recipient in &mut decision.recipients {
        if recipient.verdict.severity() < Verdict::Quarantine.severity() {
            let also = match recipient.verdict {
                Verdict::Hold => format!(
                    "; and it would be held: {} ({})",
                    recipient.because, recipient.rule
                ),
                _ => String::new(),
            };
            recipient.verdict = Verdict::Quarantine;
            recipient.rule = rule.to_owned();
            recipient.because = format!("{because}{also}");
            recipient.would_pass_if = Some(would_pass_if.to_owned());
            recipient.grounds = Grounds::default();
        }
    }
}

/// Half a working day: what waits may be a referral.
const ALARM_AFTER: Duration = Duration::from_secs(4 * 60 * 60);
