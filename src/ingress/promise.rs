//! What is promised with a 250: the message for the queue, a copy for each kind of recipient whose edits differ and
//! for each list whose owner hears of its failures, and the reports and notices that go out with it. All of it is one transaction of the queue.

use jiff::Timestamp;

use crate::mail::{EnhancedStatusCode, MailTransaction, Mailbox, Notify, Recipient, ReversePath};
use crate::outcome::address_changed::AddressChanged;
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::outcome::held::{HeldFor, HeldNotice, Offer, Release};
use crate::outcome::notify::{self, Event, Original, Told};
use crate::outcome::unread::UnreadNotice;
use crate::outcome::{DeliveryResult, Outcome};
use crate::policy::opinion::Protection;
use crate::policy::replies::Unread;
use crate::policy::self_release::{Ground, Leave, to_words};
use crate::policy::verdict::Fate;
use crate::policy::{Decision, Hears, OldName, RecipientDecision, Tell};
use crate::queue::{
    Accepted, Binding, Handling, NewDelivery, OldNameNotice, OldNameUse, PolicyMark, SelfRelease,
    Standing,
};

use super::finish::Copy;
use super::release::Code;
use super::{Parts, events};

/// The message as the queue gets it, and what goes with it. `copies` is not empty. `shown_id`: the `Message-ID` as it
/// may be seen, where that is not the one of the first copy.
pub(super) fn messages(
    parts: &Parts,
    transaction: &MailTransaction,
    decision: &Decision,
    (copies, shown_id): (Vec<Copy>, Option<String>),
    unread: &[Unread],
) -> (Accepted, Vec<Accepted>) {
    let promise = Promise {
        parts,
        transaction,
        decision,
        message_id: shown_id.or_else(|| {
            let first = copies.first()?;
            events::message_id(&first.message)
        }),
        code: code(decision),
    };
    let owners = promise.list_owners();
    let mut messages = Vec::new();
    for copy in &copies {
        for owner in std::iter::once(None).chain(owners.iter().copied().map(Some)) {
            let deliveries = promise.deliveries(copy, owner);
            if !deliveries.is_empty() {
                messages.push(promise.accepted(copy, owner, deliveries));
            }
        }
    }
    let mut messages = messages.into_iter();
    let mut first = messages.next().unwrap_or_else(|| promise.nobodys(&copies));
    promise.put_on_record(&mut first);
    first.events.extend(promise.discarded(unread));
    let mut others: Vec<Accepted> = messages.collect();
    others.extend(promise.reports());
    others.extend(promise.held_notice());
    others.extend(promise.answers(unread));
    (first, others)
}

struct Promise<'a> {
    parts: &'a Parts,
    transaction: &'a MailTransaction,
    decision: &'a Decision,
    message_id: Option<String>,
    /// With what the sender may let go on what is held, if he may.
    code: Option<Code>,
}

/// A code for the sender, if he may let go on anything.
fn code(decision: &Decision) -> Option<Code> {
    let mut held = decision.fates().filter(|(_, fate)| *fate == Fate::Hold);
    let may = held.any(|(recipient, _)| leave(decision, recipient) != Leave::Never);
    if may { Code::random() } else { None }
}

/// What the sender may do about a hold; of the copy for a list nothing, for it is its owner's.
fn leave(decision: &Decision, recipient: &RecipientDecision) -> Leave {
    if recipient.errors_to.is_some() {
        return Leave::Never;
    }
    decision.held.self_release.leave(recipient.grounds)
}

impl Promise<'_> {
    /// A copy for the recipients of one owner. The members of a list get a message of its own, with its own
    /// sender (RFC 5321 §3.9.2, RFC 3461 §5.2.7.3).
    fn accepted(
        &self,
        copy: &Copy,
        owner: Option<&Mailbox>,
        deliveries: Vec<NewDelivery>,
    ) -> Accepted {
        let (envelope, decision) = (&self.transaction.envelope, self.decision);
        let reverse_path = match owner {
            Some(owner) => ReversePath::Mailbox(owner.clone()),
            None => envelope.reverse_path.clone(),
        };
        Accepted {
            reference: decision.reference.clone(),
            reverse_path,
            env_id: envelope.env_id.clone().filter(|_| owner.is_none()),
            ret: envelope.ret.filter(|_| owner.is_none()),
            body: envelope.body,
            smtputf8: envelope.smtputf8,
            require_tls: envelope.require_tls,
            message_id: self.message_id.clone(),
            message: copy.message.clone(),
            patient_data: !decision.may_be_quoted(),
            received_at: self.transaction.received_at,
            handling: Handling {
                priority: decision.priority,
                mt_priority: envelope.mt_priority,
                policy: Some(PolicyMark::of(&decision.policy)),
            },
            deliveries,
            unless_told: None,
            old_names: Vec::new(),
            events: Vec::new(),
        }
    }

    /// What is kept of a message of which nothing is due, held or quarantined.
    fn nobodys(&self, copies: &[Copy]) -> Accepted {
        let unedited = || Copy::for_all(self.transaction.message.clone());
        let copy = copies.first().cloned().unwrap_or_else(unedited);
        self.accepted(&copy, None, Vec::new())
    }

    /// What is counted and written down once, however many copies there are.
    fn put_on_record(&self, first: &mut Accepted) {
        let old_names = self.decision.old_names.iter();
        first.old_names = old_names.map(|one| self.used(one)).collect();
        let message_id = self.message_id.as_deref();
        first.events = events::message_accepted(self.transaction, self.decision, message_id);
    }

    fn discarded(&self, unread: &[Unread]) -> Vec<AuditEvent> {
        let sender = self.transaction.envelope.reverse_path.to_string();
        let event = |one: &Unread| {
            let (at, reference) = (
                self.transaction.received_at,
                self.decision.reference.clone(),
            );
            let mut event = AuditEvent::new(at, reference, AuditKind::Discarded, sender.clone());
            event.recipient = Some(one.recipient.to_string());
            event.message_id.clone_from(&self.message_id);
            event.rule = Some(one.rule.clone());
            event.fact("because", "nobody reads this address")
        };
        unread.iter().map(event).collect()
    }

    /// Tells those who wrote to an address that nobody reads where to turn to.
    fn answers(&self, unread: &[Unread]) -> Vec<Accepted> {
        let answer = |one: &Unread| {
            let (to, contact) = one.tell.as_ref()?;
            let notice = UnreadNotice {
                to,
                address: &one.account,
                contact,
                about: &self.decision.reference,
                message_id: self.message_id.as_deref(),
            };
            let hostname = self.parts.hostname.as_str();
            let notice = notice.notice(hostname, self.parts.clock.now());
            Some(Accepted::notice(notice, &self.parts.letterhead))
        };
        unread.iter().filter_map(answer).collect()
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

    fn deliveries(&self, copy: &Copy, owner: Option<&Mailbox>) -> Vec<NewDelivery> {
        let fates = self.decision.fates();
        fates
            .filter(|(recipient, _)| copy.is_for(recipient) && self.owner(recipient) == owner)
            .filter_map(|(recipient, fate)| {
                let mut delivery = delivery(recipient, &fate)?;
                delivery.self_release = self.self_release(recipient, &fate);
                Some(delivery)
            })
            .collect()
    }

    fn self_release(&self, recipient: &RecipientDecision, fate: &Fate) -> Option<SelfRelease> {
        if *fate == Fate::Quarantine {
            return self.owner_release(recipient);
        }
        let code = self.code.as_ref()?;
        let may = *fate == Fate::Hold && leave(self.decision, recipient) != Leave::Never;
        may.then(|| SelfRelease {
            code_hash: code.hash(),
            account: self.transaction.client.account.clone(),
            grounds: to_words(recipient.grounds),
            until: self.released_until(),
        })
    }

    /// Says that the owner of the mailbox may let it go on, if it is nothing but unwanted. The code is nobody's and was
    /// never good: the link in his digest is signed.
    fn owner_release(&self, recipient: &RecipientDecision) -> Option<SelfRelease> {
        let is_refused = recipient.verdict.refusal().is_some();
        if recipient.grounds != Ground::Unwanted.into()
            || is_refused
            || !self.decision.may_be_quoted()
        {
            return None;
        }
        Some(SelfRelease {
            code_hash: Code::random()?.hash(),
            account: None,
            grounds: SelfRelease::OWNERS.to_owned(),
            until: self.transaction.received_at,
        })
    }

    fn released_until(&self) -> Timestamp {
        self.transaction.received_at + self.decision.held.self_release.valid_for
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

    /// Tells the sender, or who answers for it, of the recipients for whom the message is held, each address once.
    fn held_notice(&self) -> Option<Accepted> {
        let (to, program) = match self.decision.held.tell.as_ref()? {
            Hears::Sender(to) => (to, None),
            Hears::Owner { to, program } => (to, Some(program)),
        };
        let mut recipients: Vec<HeldFor> = Vec::new();
        let held = self
            .decision
            .fates()
            .filter(|(_, fate)| *fate == Fate::Hold);
        for (recipient, _) in held {
            let address = recipient.given.to_string();
            let known = recipients.iter_mut().find(|known| known.address == address);
            if let Some(known) = known {
                // Of a list without an owner nothing is said that does not hold for all.
                known.release = known
                    .release
                    .filter(|_| leave(self.decision, recipient) != Leave::Never);
            } else {
                recipients.push(HeldFor {
                    address,
                    because: recipient.because.clone(),
                    would_pass_if: recipient.would_pass_if.clone(),
                    release: match leave(self.decision, recipient) {
                        Leave::Never => None,
                        Leave::Encrypted => Some(Release::Encrypted),
                        Leave::AsItIs => Some(Release::AsItIs),
                    },
                });
            }
        }
        let about = &self.decision.reference;
        let tag = self.code.as_ref().map(|code| code.tag(about));
        let address = self.decision.held.self_release.address.as_ref();
        let offer = tag.as_deref().zip(address).map(|(tag, address)| Offer {
            address,
            tag,
            until: self.released_until(),
        });
        let notice = HeldNotice {
            to,
            program,
            recipients: &recipients,
            tag: self.decision.held.tag.as_deref(),
            owner: &self.decision.held.owner,
            offer,
            about,
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
            require_tls: envelope.require_tls,
            message: &self.transaction.message,
            message_id: self.message_id.as_deref(),
            patient_data: !self.decision.may_be_quoted(),
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
fn delivery(recipient: &RecipientDecision, fate: &Fate) -> Option<NewDelivery> {
    // Whoever lets go on what is kept back says that it may go, not that it may go unprotected.
    let bound = match recipient.protection {
        Protection::AsRoute => Binding::Any,
        Protection::VerifiedTls => Binding::VerifiedTls,
        Protection::Encryption => Binding::Encryption,
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
        self_release: None,
    })
}
