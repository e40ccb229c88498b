//! Whether a sender may let go on what was held, by a reason that he states: off as shipped.
//!
//! Some holds are about what the sender meant, and he knows best. Others are about who may have the message at all,
//! and are never his to decide. So a stage says on which [`Ground`] it holds; a hold without any is for
//! people with a right to the queue alone. The policy file says of each ground what a sender may do, and of
//! several grounds the strictest speaks: a near miss of the tag over patient data is no way round the register.

use std::time::Duration;

use crate::config::{Diagnostic, Located, Section};
use crate::directory::Entry;
use crate::mail::{ForwardPath, Mailbox, Recipient, ReversePath};

use super::opinion::{Ask, Opinion};
use super::refusal::Refusal;
use super::stage::authenticate_sender::may_use;
use super::verdict::Direction;
use super::{Client, Policy, Rejection};

/// Why something is held, where that may be for its sender to decide.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Ground {
    /// The subject nearly asks for encryption.
    NearMiss,
    /// Something could not be looked into.
    Unreadable,
    /// Patient data for a domain that is not secure.
    NotSecure,
    /// Of a quarantine: it looks unwanted, and nothing else is wrong with it. For the owner of the mailbox to
    /// decide, never for the sender.
    Unwanted,
}

impl Ground {
    const ALL: [Self; 4] = [
        Self::NearMiss,
        Self::Unreadable,
        Self::NotSecure,
        Self::Unwanted,
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The word in the policy file, in the queue and in the audit trail.
    pub fn word(self) -> &'static str {
        match self {
            Self::NearMiss => "near-miss",
            Self::Unreadable => "unreadable",
            Self::NotSecure => "not-secure",
            Self::Unwanted => "unwanted",
        }
    }
}

/// A set of grounds. Empty: the hold is not for its sender to decide about.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Grounds(u8);

impl Grounds {
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The grounds of a hold that rests on both: none if one of them is not for the sender.
    #[must_use]
    pub fn with(self, others: Self) -> Self {
        match self.is_empty() || others.is_empty() {
            true => Self::default(),
            false => Self(self.0 | others.0),
        }
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Ground> {
        let all = Ground::ALL.into_iter();
        all.filter(move |ground| self.0 & ground.bit() != 0)
    }
}

impl From<Ground> for Grounds {
    fn from(ground: Ground) -> Self {
        Self(ground.bit())
    }
}

impl FromIterator<Ground> for Grounds {
    fn from_iter<T: IntoIterator<Item = Ground>>(grounds: T) -> Self {
        let bits = grounds.into_iter().map(Ground::bit);
        Self(bits.fold(0, |all, bit| all | bit))
    }
}

/// What a sender may do about a hold. Later ones allow more.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Leave {
    /// Nothing.
    #[default]
    Never,
    /// Let it go to the encryption next hop.
    Encrypted,
    /// Let it go as it is.
    AsItIs,
}

/// `[holds.self-release]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SelfRelease {
    /// Where answers go; `None`: nobody may release anything.
    pub address: Option<Mailbox>,
    /// How long the code of a notice is good for.
    pub valid_for: Duration,
    near_miss: Leave,
    unreadable: Leave,
    not_secure: Leave,
}

impl Default for SelfRelease {
    fn default() -> Self {
        Self {
            address: None,
            valid_for: VALID_FOR,
            near_miss: Leave::Never,
            unreadable: Leave::Never,
            not_secure: Leave::Never,
        }
    }
}

impl SelfRelease {
    /// Takes `[self-release]` out of `[holds]`.
    pub(super) fn read(holds: &Section<'_>) -> Self {
        let section = holds.section("self-release");
        let located = |ground: Ground| section.word(ground.word(), &WORDS);
        let word = |ground| located(ground).map(Located::into_inner).unwrap_or_default();
        let not_secure = located(Ground::NotSecure);
        let address = section.parse::<Mailbox>("address");
        let valid_for = section.duration("valid-for");
        let mut read = Self {
            address: address.map(Located::into_inner),
            valid_for: valid_for.map_or(VALID_FOR, Located::into_inner),
            near_miss: word(Ground::NearMiss),
            unreadable: word(Ground::Unreadable),
            not_secure: not_secure.as_deref().copied().unwrap_or_default(),
        };
        if let Some(at) = not_secure.filter(|leave| **leave == Leave::AsItIs) {
            let message = "patient data for a domain that is not secure leaves as it is, by a word of its sender";
            let diagnostic = Diagnostic::warning("released-in-clear", message)
                .at_maybe(at.place(), "")
                .help("write \"encrypted\", or \"never\"");
            section.diagnostics().push(diagnostic);
        }
        let allowed = [read.near_miss, read.unreadable, read.not_secure];
        if allowed == [Leave::Never; 3] {
            read.address = None;
        } else if read.address.is_none() && !section.has("address") {
            section.report(
                "no-address",
                "senders may release, but their answers have no address to go to",
                &Located::at((), section.place().clone()),
                "write address = \"release@\" and the name of this gateway".into(),
            );
        }
        section.finish();
        read
    }

    /// Whether something may go to the encryption next hop.
    pub(super) fn orders_encryption(&self) -> bool {
        let allowed = [self.near_miss, self.unreadable, self.not_secure];
        self.address.is_some() && allowed.contains(&Leave::Encrypted)
    }

    /// What a sender may do about a hold on these grounds: nothing if there are none.
    pub fn leave(&self, grounds: Grounds) -> Leave {
        let of = |ground: Ground| match ground {
            Ground::NearMiss => self.near_miss,
            Ground::Unreadable => self.unreadable,
            Ground::NotSecure => self.not_secure,
            Ground::Unwanted => Leave::Never,
        };
        if self.address.is_none() {
            return Leave::Never;
        }
        grounds.iter().map(of).min().unwrap_or_default()
    }
}

/// What a sender writes in answer to a notice. It is read, and shown by nothing.
pub struct AnswerText {
    /// The decoded subject.
    pub subject: String,
    /// The texts of the message itself, attachments left out.
    pub bodies: Vec<String>,
}

/// Grounds as the queue keeps them: `near-miss not-secure`.
pub fn to_words(grounds: Grounds) -> String {
    let words: Vec<_> = grounds.iter().map(Ground::word).collect();
    words.join(" ")
}

/// Reads [`to_words`]; what it does not know is no ground to release on, so there are none then.
pub fn from_words(words: &str) -> Grounds {
    let known = |word| Ground::ALL.into_iter().find(|ground| ground.word() == word);
    let grounds: Option<Grounds> = words.split(' ').map(known).collect();
    grounds.unwrap_or_default()
}

impl Policy {
    /// Whether mail for this recipient is an answer to a notice, and not for anybody's mailbox.
    pub fn is_release_address(&self, path: &ForwardPath) -> bool {
        let address = self.holds.self_release.address.as_ref();
        address.is_some_and(|address| path.mailbox().map(Mailbox::folded) == Some(address.folded()))
    }

    /// Whether this client may answer a notice at all: one of our own, under a name that it may use.
    pub fn may_answer(
        &self,
        client: &Client,
        reverse_path: &ReversePath,
    ) -> Result<(), Box<Rejection>> {
        may_use(&self.accounts, client, reverse_path).map_err(rejection)?;
        let because = if self.direction(client) != Direction::Outbound {
            "answers to notices are taken from our own clients alone"
        } else if reverse_path.notifiable().is_none() {
            "a report answers no notice"
        } else {
            return Ok(());
        };
        let ask = Ask::Refuse(Refusal::SenderNotAllowed);
        Err(rejection(Opinion::new(ask, "built-in", because)))
    }

    /// What the sender may do now about a hold on these grounds for this recipient. A mailbox that has been
    /// shut, moved, or takes no patient data by now is for people to decide about.
    pub fn leave(&self, path: &ForwardPath, grounds: Grounds) -> Leave {
        let now = self.clock.now();
        let recipient = Recipient::new(path.clone());
        let resolved = self
            .recipients
            .resolve(Direction::Outbound, 0, &recipient, now);
        let is_itself = resolved.is_ok_and(
            |resolved| matches!(&resolved[..], [one] if one.recipient.forward_path == *path),
        );
        let entry = path
            .mailbox()
            .and_then(|mailbox| self.directory.entry(mailbox));
        let takes = |entry: &Entry| entry.accepts_patient_data && !entry.do_not_send;
        if !is_itself || !entry.as_ref().is_none_or(takes) {
            return Leave::Never;
        }
        self.holds.self_release.leave(grounds)
    }
}

fn rejection(opinion: Opinion) -> Box<Rejection> {
    Box::new(Rejection::of(opinion))
}

/// The words of the policy file.
const WORDS: [(&str, Leave); 3] = [
    ("never", Leave::Never),
    ("encrypted", Leave::Encrypted),
    ("as-it-is", Leave::AsItIs),
];
/// A working day and the night after it.
const VALID_FOR: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Diagnostics, read_toml};
    use crate::policy::testing::file;

    fn read(text: &str) -> (SelfRelease, Vec<&'static str>) {
        let diagnostics = Diagnostics::default();
        let read = read_toml(&file("postern.toml", text), &diagnostics, |top| {
            let holds = top.section("holds");
            let read = SelfRelease::read(&holds);
            holds.finish();
            read
        });
        let said = diagnostics.into_vec();
        (read, said.iter().map(|one| one.id).collect())
    }

    #[test]
    fn of_several_grounds_the_strictest_speaks_and_no_ground_is_no_leave() {
        let text = "[holds.self-release]\naddress = \"release@gate.example\"\nnear-miss = \"as-it-is\"\nunreadable = \"encrypted\"\n";
        let (read, said) = read(text);
        assert_eq!(said, [""; 0]);
        for (grounds, leave) in [
            (&[][..], Leave::Never),
            (&[Ground::NearMiss], Leave::AsItIs),
            (&[Ground::NearMiss, Ground::Unreadable], Leave::Encrypted),
            (&[Ground::NearMiss, Ground::NotSecure], Leave::Never),
        ] {
            let set: Grounds = grounds.iter().copied().collect();
            assert_eq!(read.leave(set), leave, "{grounds:?}");
            if !grounds.is_empty() {
                assert_eq!(from_words(&to_words(set)), set);
            }
        }
        assert!(from_words("").is_empty() && from_words("near-miss other").is_empty());
    }

    #[test]
    fn it_is_off_unless_the_file_says_so_and_says_where_answers_go() {
        let (off, said) = read("");
        assert_eq!(
            (
                off.leave([Ground::NearMiss].into_iter().collect()),
                said.len()
            ),
            (Leave::Never, 0)
        );
        let (off, said) = read("[holds.self-release]\naddress = \"release@gate.example\"\n");
        assert_eq!((off.address, said.len()), (None, 0));
        let (_, said) = read("[holds.self-release]\nnear-miss = \"encrypted\"\n");
        assert_eq!(said, ["no-address"]);
        let (_, said) = read("[holds.self-release]\nmailbox-declines = \"encrypted\"\n");
        assert_eq!(said, ["unknown-key"]);
    }
}
