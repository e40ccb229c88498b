//! What is promised with a 250: the message for the queue, a copy for each list whose owner hears of its
//! failures, and the reports and notices that go out with it. All of it is one transaction of the queue.

use crate::mail::{
    EnhancedStatusCode, MailTransaction, Mailbox, Message, Notify, Recipient, ReversePath,
};
use crate::outcome::address_changed::AddressChanged;
use crate::outcome::held::{HeldFor, HeldNotice};
use crate::outcome::notify::{self, Event, Original, Told};
use crate::outcome::{DeliveryResult, Outcome};
use crate::policy::verdict::Fate;
use crate::policy::{Decision, OldName, RecipientDecision, Tell};
use crate::queue::{Accepted, Binding, NewDelivery, OldNameNotice, OldNameUse, Standing};

use super::{Parts, events};

/// The message as the queue gets it, and what goes with it.
pub(super) fn messages(
    parts: &Parts,
    transaction: &MailTransaction,
    decision: &Decision,
    message: Message,
) -> (Accepted, Vec<Accepted>) {
    let promise = Promise {
        parts,
        transaction,
        decision,
        message_id: events::message_id(&message),
    };
    let mut first = promise.accepted(message);
    let mut others = Vec::new();
    for owner in promise.list_owners() {
        let of_list = promise.of_list(&first, owner);
        if first.deliveries.is_empty() {
            (first.env_id, first.ret) = (None, None);
            (first.reverse_path, first.deliveries) = (of_list.reverse_path, of_list.deliveries);
        } else if !of_list.deliveries.is_empty() {
            others.push(of_list);
        }
    }
    others.extend(promise.reports());
    others.extend(promise.held_notice());
    (first, others)
}

struct Promise<'a> {
    parts: &'a Parts,
    transaction: &'a MailTransaction,
    decision: &'a Decision,
    message_id: Option<String>,
}

impl Promise<'_> {
    fn accepted(&self, message: Message) -> Accepted {
        let (envelope, decision) = (&self.transaction.envelope, self.decision);
        let message_id = self.message_id.as_deref();
        Accepted {
            reference: decision.reference.clone(),
            reverse_path: envelope.reverse_path.clone(),
            env_id: envelope.env_id.clone(),
            ret: envelope.ret,
            body: envelope.body,
            smtputf8: envelope.smtputf8,
            require_tls: envelope.require_tls,
            message_id: self.message_id.clone(),
            message,
            patient_data: decision.holds_patient_data(),
            received_at: self.transaction.received_at,
            deliveries: self.deliveries(None),
            old_names: decision
                .old_names
                .iter()
                .map(|one| self.used(one))
                .collect(),
            events: events::message_accepted(self.transaction, decision, message_id),
        }
    }

    /// The copy for the members of lists of one owner: a message of its own, with its own sender
    /// (RFC 5321 §3.9.2, RFC 3461 §5.2.7.3).
    fn of_list(&self, first: &Accepted, owner: &Mailbox) -> Accepted {
        Accepted {
            reverse_path: ReversePath::Mailbox(owner.clone()),
            env_id: None,
            ret: None,
            deliveries: self.deliveries(Some(owner)),
            old_names: Vec::new(),
            events: Vec::new(),
            ..first.clone()
        }
    }

    /// Who hears of failures for this recipient, if it is not the sender. Nobody ever hears of those of a
    /// message that is itself a report.
    fn owner<'r>(&self, recipient: &'r RecipientDecision) -> Option<&'r Mailbox> {
        let owner = recipient.errors_to.as_ref();
        owner.filter(|_| self.transaction.envelope.reverse_path != ReversePath::Null)
    }

    /// Each once, in the order in which they come.
    fn list_owners(&self) -> Vec<&Mailbox> {
        let mut owners = Vec::new();
        for owner in self
            .decision
            .recipients
            .iter()
            .filter_map(|one| self.owner(one))
        {
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
        owners
    }

    fn deliveries(&self, owner: Option<&Mailbox>) -> Vec<NewDelivery> {
        let fates = self.decision.fates();
        fates
            .filter(|(recipient, _)| self.owner(recipient) == owner)
            .filter_map(|(recipient, fate)| delivery(self.decision, recipient, &fate))
            .collect()
    }

    fn used(&self, old: &OldName) -> OldNameUse {
        OldNameUse {
            name: old.name.to_string(),
            mailbox: old.mailbox.to_string(),
            because: old.because.word(),
            used_by: old.used_by.clone(),
            notice: old
                .tell
                .as_ref()
                .map(|tell| Box::new(self.notice(old, tell))),
        }
    }

    fn notice(&self, old: &OldName, tell: &Tell) -> OldNameNotice {
        let changed = AddressChanged {
            to: &tell.to,
            old: &old.name,
            new: &old.mailbox,
            about: &self.decision.reference,
            message_id: self.message_id.as_deref(),
        };
        let notice = changed.notice(self.parts.hostname.as_str(), self.parts.clock.now());
        OldNameNotice {
            to: tell.to.folded().to_string(),
            at_most_every: tell.at_most_every,
            notice: Accepted::notice(notice, &self.parts.letterhead),
        }
    }

    /// Tells the sender of the recipients for whom the message is held, each address once.
    fn held_notice(&self) -> Option<Accepted> {
        let to = self.decision.held.tell.as_ref()?;
        let mut recipients: Vec<HeldFor> = Vec::new();
        let held = self
            .decision
            .fates()
            .filter(|(_, fate)| *fate == Fate::Hold);
        for (recipient, _) in held {
            let address = recipient.given.to_string();
            if recipients.iter().all(|known| known.address != address) {
                recipients.push(HeldFor {
                    address,
                    because: recipient.because.clone(),
                    would_pass_if: recipient.would_pass_if.clone(),
                });
            }
        }
        let notice = HeldNotice {
            to,
            recipients: &recipients,
            tag: self.decision.held.tag.as_deref(),
            owner: &self.decision.held.owner,
            about: &self.decision.reference,
            message_id: self.message_id.as_deref(),
        };
        let hostname = self.parts.hostname.as_str();
        let notice = notice.notice(hostname, self.parts.clock.now());
        Some(Accepted::notice(notice, &self.parts.letterhead))
    }

    /// Reports about recipients that were refused while others were not, to whoever hears of them; and to
    /// a sender who asked for it that a list has the message.
    fn reports(&self) -> Vec<Accepted> {
        let sender = &self.transaction.envelope.reverse_path;
        let mut reports = self.reports_to(sender, None);
        for owner in self.list_owners() {
            reports.extend(self.reports_to(&ReversePath::Mailbox(owner.clone()), Some(owner)));
        }
        reports
    }

    fn reports_to(&self, to: &ReversePath, owner: Option<&Mailbox>) -> Vec<Accepted> {
        let lists = if owner.is_none() {
            self.lists_served()
        } else {
            Vec::new()
        };
        let failed = self.failures(owner);
        let told = failed.iter().map(|(recipient, outcome)| Told {
            recipient,
            outcome,
            event: Event::Failed,
        });
        let served = Outcome {
            result: DeliveryResult::Delivered {
                dsn_passed_on: false,
            },
            because: Some("the list has it, and passes it on to its members".to_owned()),
            ..Outcome::without_reply(EnhancedStatusCode::success(1, 5), "")
        };
        let listed = lists.into_iter().map(|recipient| Told {
            recipient,
            outcome: &served,
            event: Event::Delivered,
        });
        let told: Vec<Told<'_>> = told.chain(listed).collect();
        let envelope = &self.transaction.envelope;
        let original = Original {
            reference: &self.decision.reference,
            reverse_path: to,
            env_id: envelope.env_id.as_ref().filter(|_| owner.is_none()),
            ret: envelope.ret.filter(|_| owner.is_none()),
            message: &self.transaction.message,
            message_id: self.message_id.as_deref(),
            patient_data: self.decision.holds_patient_data(),
            received_at: self.transaction.received_at,
        };
        let (hostname, now) = (self.parts.hostname.as_str(), self.parts.clock.now());
        let notices = notify::notices(&original, &told, hostname, now);
        let on_paper = |notice| Accepted::notice(notice, &self.parts.letterhead);
        notices.into_iter().map(on_paper).collect()
    }

    fn failures(&self, owner: Option<&Mailbox>) -> Vec<(&Recipient, Outcome)> {
        let hostname = self.parts.hostname.as_str();
        let fates = self.decision.fates();
        fates
            .filter(|(recipient, _)| self.owner(recipient) == owner)
            .filter_map(|(recipient, fate)| match fate {
                Fate::Fail(refusal) => {
                    let reply = refusal.reply(&self.decision.reference);
                    Some((
                        &recipient.recipient,
                        Outcome::from_reply(reply, hostname, false),
                    ))
                }
                _ => None,
            })
            .collect()
    }

    /// Recipients of the envelope that are lists with an owner, of whose success the sender wants to hear.
    fn lists_served(&self) -> Vec<&Recipient> {
        let served = |asked: &&Recipient| {
            Notify::on_success(asked.notify)
                && self.decision.recipients.iter().any(|one| {
                    one.given == asked.forward_path
                        && self.owner(one).is_some()
                        && one.verdict.refusal().is_none()
                })
        };
        let recipients = self.transaction.envelope.recipients.iter();
        recipients.filter(served).collect()
    }
}

/// What the queue does for a recipient; `None` for one that fails at once.
fn delivery(
    decision: &Decision,
    recipient: &RecipientDecision,
    fate: &Fate,
) -> Option<NewDelivery> {
    let bound = if recipient.secure && decision.holds_patient_data() {
        Binding::VerifiedTls
    } else {
        Binding::Any
    };
    let (standing, binding) = match fate {
        Fate::Deliver => (Standing::Due, Binding::Any),
        Fate::DeliverVerifiedTls => (Standing::Due, Binding::VerifiedTls),
        Fate::Encrypt => (Standing::Due, Binding::Encryption),
        Fate::Hold => (Standing::Held, bound),
        Fate::Quarantine => (Standing::Quarantined, bound),
        Fate::Fail(_) => return None,
    };
    Some(NewDelivery {
        recipient: recipient.recipient.clone(),
        standing,
        binding,
        rule: recipient.rule.clone(),
        because: recipient.because.clone(),
    })
}
