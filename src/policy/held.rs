//! Who hears that a message is held, and who decides about it.
//!
//! A hold nobody knows of is a lost message. Its sender is told, if it is somebody who can be believed to
//! have sent it and a person, as with old names (`old_name`); a program never gets a notice (RFC 3834 §2).

use std::time::Duration;

use crate::config::{Located, Section};
use crate::mail::Mailbox;

use super::finding::SecureKeyword;
use super::old_name::Sender;
use super::verdict::{Decision, Fate, Verdict};

/// `[holds]`: what happens to what is held.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holds {
    /// Who decides: a person, a role or an address, as people read it.
    pub owner: String,
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
            tell_sender: true,
            alarm_after: ALARM_AFTER,
            fail_after: None,
        }
    }
}

impl Holds {
    /// Takes `[holds]` out of the outermost section.
    pub fn read(top: &Section<'_>) -> Self {
        let section = top.section("holds");
        let default = Self::default();
        let fail_after = section.duration("fail-after");
        let read = Self {
            owner: section
                .string("owner")
                .map_or(default.owner, Located::into_inner),
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
    /// The sender that is to hear of them.
    pub tell: Option<Mailbox>,
    /// The exact tag, if the subject nearly has it.
    pub tag: Option<String>,
}

/// Who hears of the holds of a decision. `tag` asks for encryption.
pub(super) fn held(decision: &Decision, sender: &Sender<'_>, holds: &Holds, tag: &str) -> Held {
    let mut held = Held {
        owner: holds.owner.clone(),
        ..Held::default()
    };
    if !decision.fates().any(|(_, fate)| fate == Fate::Hold) {
        return held;
    }
    let believed = holds.tell_sender && sender.is_believed(&decision.findings.authentication);
    held.tell = sender.person().filter(|_| believed).cloned();
    let near_miss = decision.findings.secure_keyword == SecureKeyword::NearMiss;
    held.tag = near_miss.then(|| tag.to_owned());
    held
}

/// Keeps a message back for everybody to whom it would have gone.
pub(super) fn hold(decision: &mut Decision, rule: &str, because: &str, would_pass_if: &str) {
    for recipient in &mut decision.recipients {
        if recipient.verdict.severity() < Verdict::Hold.severity() {
            recipient.verdict = Verdict::Hold;
            recipient.rule = rule.to_owned();
            recipient.because = because.to_owned();
            recipient.would_pass_if = Some(would_pass_if.to_owned());
        }
    }
}

/// Half a working day: what waits may be a referral.
const ALARM_AFTER: Duration = Duration::from_secs(4 * 60 * 60);
