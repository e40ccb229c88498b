//! Verdicts: what happens to a message for one recipient, and which of two wins.

use crate::base::{PolicyVersion, Reference};
use crate::directory::Hop;
use crate::mail::{
    Audience, Class, Edit, EnhancedStatusCode, ForwardPath, Mailbox, Priority, Recipient, Reply,
};

use super::finding::{Findings, SecureKeyword};
use super::held::Held;
use super::old_name::OldName;
use super::opinion::Protection;
use super::refusal::Refusal;
use super::self_release::Grounds;

/// What the policy decided about one message.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What people quote to ask about it.
    pub reference: Reference,
    /// Which way the message goes.
    pub direction: Direction,
    /// Whether somebody hears of a failure: nobody does of a message with the null reverse path.
    pub has_sender: bool,
    /// One for each resolved recipient, in envelope order; a list has one for each member.
    pub recipients: Vec<RecipientDecision>,
    /// Old names that the message was sent to.
    pub old_names: Vec<OldName>,
    /// Who hears of what is held, and who decides about it.
    pub held: Held,
    /// What changes in the octets.
    pub edits: Vec<Edit>,
    /// What the stages found.
    pub findings: Findings,
    /// Before which others it goes.
    pub priority: Priority,
    /// Which policy decided.
    pub policy: PolicyVersion,
}

impl Decision {
    /// The one reply after the data (`design.md` §1). All refused gives that refusal, transient if any
    /// is transient; otherwise 250. Nothing else knows this table.
    pub fn reply(&self) -> FinalReply {
        let everybody_refused = self
            .recipients
            .iter()
            .all(|recipient| recipient.verdict.refusal().is_some());
        match self.first_refusal() {
            Some(refusal) if everybody_refused => {
                FinalReply::Refused(refusal.reply(&self.reference))
            }
            _ => FinalReply::Accepted(self.acceptance()),
        }
    }

    /// What becomes of the message for each recipient, after [`FinalReply::Accepted`]. A refused one in
    /// mixed company fails with a report if the sender is one of ours, and is quarantined otherwise (no
    /// backscatter; and what nobody would hear of must not vanish). A deferred one is held: the client, told 250, will not try again. Duplicates of
    /// an earlier recipient are left out.
    pub fn fates(&self) -> impl Iterator<Item = (&RecipientDecision, Fate)> {
        self.recipients
            .iter()
            .filter(|recipient| !recipient.duplicate)
            .map(|recipient| (recipient, self.fate(recipient)))
    }

    /// Whether a report about the message may quote its header: not if anything that may be patient data was
    /// found, however unsure, nor if the subject asks for encryption, or nearly, nor if a number is a recipient.
    pub fn may_be_quoted(&self) -> bool {
        let found = &self.findings.patient_data;
        let secure_keyword = self.findings.secure_keyword;
        !found.found
            && found.evidence.is_empty()
            && secure_keyword == SecureKeyword::Absent
            && self.findings.short_text.is_none()
    }

    fn fate(&self, recipient: &RecipientDecision) -> Fate {
        match &recipient.verdict {
            Verdict::Deliver => Fate::Deliver,
            Verdict::DeliverVerifiedTls => Fate::DeliverVerifiedTls,
            Verdict::Encrypt => Fate::Encrypt,
            Verdict::Hold | Verdict::Defer(_) => Fate::Hold,
            Verdict::Quarantine => Fate::Quarantine,
            Verdict::Refuse(refusal) => match self.direction {
                Direction::Outbound if self.has_sender => Fate::Fail(refusal.clone()),
                Direction::Outbound | Direction::Inbound => Fate::Quarantine,
            },
        }
    }

    /// The refusal that speaks for all: a transient one if there is one, else the first.
    fn first_refusal(&self) -> Option<&Refusal> {
        let refusals = || self.recipients.iter().filter_map(|r| r.verdict.refusal());
        let transient = refusals()
            .find(|refusal| refusal.reply(&self.reference).code().class() == Class::Transient);
        transient.or_else(|| refusals().next())
    }

    fn acceptance(&self) -> Reply {
        let kept_back = self
            .recipients
            .iter()
            .filter(|recipient| recipient.verdict.severity() >= Verdict::Hold.severity())
            .count();
        if kept_back == 0 {
            return accepted(&self.reference);
        }
        let text = format!(
            "accepted, kept back for {kept_back} of {}: see {}",
            self.recipients.len(),
            self.reference
        );
        Reply::new(250, EnhancedStatusCode::success(6, 0), text)
    }
}

/// What the client hears after the data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FinalReply {
    /// Nobody gets it; nothing is kept.
    Refused(Reply),
    /// To be said once everything in [`Decision::fates`] is durable.
    Accepted(Reply),
}

impl FinalReply {
    /// The reply itself.
    pub fn reply(&self) -> &Reply {
        match self {
            Self::Refused(reply) | Self::Accepted(reply) => reply,
        }
    }
}

/// What becomes of an accepted message for one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fate {
    /// Due, by the route's own settings.
    Deliver,
    /// Due, over verified TLS alone.
    DeliverVerifiedTls,
    /// Due, to the encryption next hop alone.
    Encrypt,
    /// Waits until somebody decides.
    Hold,
    /// Kept apart as unwanted.
    Quarantine,
    /// Failed at once: the sender gets a report with this refusal.
    Fail(Refusal),
}

/// What was decided for one resolved recipient.
#[derive(Clone, Debug)]
pub struct RecipientDecision {
    /// The recipient as the client gave it.
    pub given: ForwardPath,
    /// The recipient to deliver to, with ORCPT set to what was asked for if it changed.
    pub recipient: Recipient,
    /// How the one became the other.
    pub path: Vec<Hop>,
    /// Who answers for the list that it is a member of, and hears of failures in place of the sender.
    pub errors_to: Option<Mailbox>,
    /// Whether an earlier recipient of this message is the same mailbox: it gets one copy.
    pub duplicate: bool,
    /// Which copy it gets, where copies differ.
    pub audience: Option<Audience>,
    /// Whether its domain may have patient data.
    pub secure: bool,
    /// What happens.
    pub verdict: Verdict,
    /// What says so: `policies/secure-domains.toml:31`, or `built-in`.
    pub rule: String,
    /// Why, in one plain sentence.
    pub because: String,
    /// The smallest change that would have let it pass.
    pub would_pass_if: Option<String>,
    /// How it goes if it goes; for what is kept back, once somebody lets it go on.
    pub protection: Protection,
    /// Of a hold: its grounds, if its sender may perhaps decide.
    pub grounds: Grounds,
}

impl RecipientDecision {
    /// What a client that sent the message for this recipient alone would hear.
    pub fn reply(&self, reference: &Reference) -> Reply {
        match &self.verdict {
            Verdict::Deliver | Verdict::DeliverVerifiedTls | Verdict::Encrypt => {
                accepted(reference)
            }
            Verdict::Hold => kept("accepted and held", reference),
            Verdict::Quarantine => kept("accepted and quarantined", reference),
            Verdict::Defer(refusal) | Verdict::Refuse(refusal) => refusal.reply(reference),
        }
    }
}

fn accepted(reference: &Reference) -> Reply {
    let text = format!("accepted: {reference}");
    Reply::new(250, EnhancedStatusCode::success(0, 0), text)
}

fn kept(what: &str, reference: &Reference) -> Reply {
    let text = format!("{what}: see {reference}");
    Reply::new(250, EnhancedStatusCode::success(6, 0), text)
}

/// Which way a message goes (`design.md` §1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From an authenticated account, a client certificate or a listed relay network.
    Outbound,
    /// From anyone else, to a domain that the gateway serves.
    Inbound,
}

impl Direction {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }
}

/// What happens to a message for one recipient. Later ones win over earlier ones.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Deliver it.
    Deliver,
    /// Deliver it over verified TLS or not at all.
    DeliverVerifiedTls,
    /// Hand it to the encryption next hop.
    Encrypt,
    /// Keep it in the queue until somebody decides.
    Hold,
    /// Keep it apart as unwanted.
    Quarantine,
    /// A safety stage failed: the client shall try again.
    Defer(Refusal),
    /// Refuse it.
    Refuse(Refusal),
}

impl Verdict {
    /// All the words for verdicts, from the mildest to the most severe.
    pub const WORDS: [&'static str; 7] = [
        "deliver",
        "deliver-verified-tls",
        "encrypt",
        "hold",
        "quarantine",
        "defer",
        "refuse",
    ];

    /// The word for it in JSON.
    pub fn word(&self) -> &'static str {
        Self::WORDS[usize::from(self.severity())]
    }

    /// The refusal, if the client is to keep the message.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Defer(refusal) | Self::Refuse(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The place in the order of severity.
    pub fn severity(&self) -> u8 {
        match self {
            Self::Deliver => 0,
            Self::DeliverVerifiedTls => 1,
            Self::Encrypt => 2,
            Self::Hold => 3,
            Self::Quarantine => 4,
            Self::Defer(_) => 5,
            Self::Refuse(_) => 6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(direction: Direction, verdicts: &[Verdict]) -> Decision {
        let recipient = |verdict: &Verdict| RecipientDecision {
            given: ForwardPath::Postmaster,
            recipient: Recipient::new(ForwardPath::Postmaster),
            path: Vec::new(),
            errors_to: None,
            duplicate: false,
            audience: None,
            secure: false,
            verdict: verdict.clone(),
            rule: "built-in".into(),
            because: "because".into(),
            would_pass_if: None,
            protection: Protection::AsRoute,
            grounds: Grounds::default(),
        };
        Decision {
            reference: "PX-7F3K2Q".parse().unwrap(),
            direction,
            has_sender: true,
            recipients: verdicts.iter().map(recipient).collect(),
            old_names: Vec::new(),
            held: Held::default(),
            edits: Vec::new(),
            findings: Findings::default(),
            priority: Priority::Normal,
            policy: PolicyVersion("0123456789ab".into()),
        }
    }

    fn unavailable() -> Verdict {
        Verdict::Defer(Refusal::StageUnavailable { stage: "scan" })
    }

    fn patient_data() -> Verdict {
        let domain = "example.com".to_owned();
        Verdict::Refuse(Refusal::PatientData { domain })
    }

    #[test]
    fn one_reply_stands_for_all_recipients() {
        let spam = Verdict::Refuse(Refusal::Spam);
        for (verdicts, reply) in [
            (
                vec![Verdict::Deliver, Verdict::Encrypt],
                "250 2.0.0 accepted: PX-7F3K2Q",
            ),
            (
                vec![Verdict::Deliver, Verdict::Hold, Verdict::Quarantine],
                "250 2.6.0 accepted, kept back for 2 of 3: see PX-7F3K2Q",
            ),
            (
                vec![patient_data(), spam.clone()],
                "550 5.7.1 patient data may not go to example.com: see PX-7F3K2Q",
            ),
            (
                vec![spam.clone(), unavailable()],
                "451 4.3.0 a check could not be made, try again later: see PX-7F3K2Q",
            ),
            (
                vec![Verdict::Deliver, spam],
                "250 2.6.0 accepted, kept back for 1 of 2: see PX-7F3K2Q",
            ),
        ] {
            let said = decision(Direction::Outbound, &verdicts).reply();
            assert_eq!(said.reply().to_string(), reply);
            let refused = matches!(said, FinalReply::Refused(_));
            assert_eq!(refused, !said.reply().code().is_positive());
        }
    }

    #[test]
    fn in_mixed_company_a_refused_recipient_fails_for_our_own_and_is_quarantined_for_strangers() {
        let verdicts = [Verdict::DeliverVerifiedTls, patient_data(), unavailable()];
        let fates = |direction| {
            let decision = decision(direction, &verdicts);
            decision.fates().map(|(_, fate)| fate).collect::<Vec<_>>()
        };
        let domain = "example.com".to_owned();
        let failed = Fate::Fail(Refusal::PatientData { domain });
        let own = [Fate::DeliverVerifiedTls, failed, Fate::Hold];
        assert_eq!(fates(Direction::Outbound), own);
        let strangers = [Fate::DeliverVerifiedTls, Fate::Quarantine, Fate::Hold];
        assert_eq!(fates(Direction::Inbound), strangers);
    }

    #[test]
    fn what_nobody_would_hear_of_does_not_vanish() {
        let verdicts = [Verdict::Deliver, patient_data()];
        let mut decision = decision(Direction::Outbound, &verdicts);
        decision.has_sender = false;
        let fates: Vec<_> = decision.fates().map(|(_, fate)| fate).collect();
        assert_eq!(fates, [Fate::Deliver, Fate::Quarantine]);
    }

    #[test]
    fn whoever_is_named_twice_gets_one_copy() {
        let mut decision = decision(Direction::Outbound, &[Verdict::Deliver, Verdict::Deliver]);
        decision.recipients[1].duplicate = true;
        assert_eq!(decision.fates().count(), 1);
    }

    #[test]
    fn every_refusal_and_hold_bears_the_reference() {
        let verdicts = [
            Verdict::Hold,
            Verdict::Quarantine,
            unavailable(),
            patient_data(),
        ];
        let decision = decision(Direction::Inbound, &verdicts);
        for recipient in &decision.recipients {
            let reply = recipient.reply(&decision.reference).to_string();
            assert!(reply.ends_with("see PX-7F3K2Q"), "{reply}");
        }
    }
}
