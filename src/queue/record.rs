//! What the queue keeps: messages, their deliveries, leases on them, and how an attempt settles.

use std::time::Duration;

use jiff::Timestamp;

use crate::base::Reference;
use crate::mail::{
    BodyType, EnvId, Envelope, ForwardPath, Message, Priority, Recipient, Ret, ReversePath,
};
use crate::outcome::audit::AuditEvent;
use crate::outcome::notify::{Notice, Original, UnlessTold};
use crate::outcome::{Letterhead, Outcome};

use super::handling::{Handling, PolicyMark};
use super::store::message_of;

/// A message for which a client is about to get its 250, or one that the gateway itself wrote.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// What people quote.
    pub reference: Reference,
    /// Who hears of failures.
    pub reverse_path: ReversePath,
    /// The sender's identifier of the envelope.
    pub env_id: Option<EnvId>,
    /// How much a failure report returns.
    pub ret: Option<Ret>,
    /// What octets it holds.
    pub body: BodyType,
    /// Whether it needs SMTPUTF8.
    pub smtputf8: bool,
    /// Whether it needs REQUIRETLS.
    pub require_tls: bool,
    /// The octets to deliver, edits made.
    pub message: Message,
    /// Its `Message-ID`, cut to 200 characters, for `trace`.
    pub message_id: Option<String>,
    /// Whether patient data was found, or may be in it: a report about it then quotes nothing of it.
    pub patient_data: bool,
    /// When it was received.
    pub received_at: Timestamp,
    /// How it is handled while it waits.
    pub handling: Handling,
    /// One for each recipient; not empty.
    pub deliveries: Vec<NewDelivery>,
    /// What it tells somebody of; it is queued only if he was not told of that lately.
    pub unless_told: Option<UnlessTold>,
    /// Old names that it came by, counted in the same transaction.
    pub old_names: Vec<OldNameUse>,
    /// What goes into the audit trail in the same transaction.
    pub events: Vec<AuditEvent>,
}

/// One use of a name that leads to a mailbox of another name.
#[derive(Clone, Debug)]
pub struct OldNameUse {
    /// The name, folded.
    pub name: String,
    /// The mailbox.
    pub mailbox: String,
    /// Why the one leads to the other, as in `resolve`.
    pub because: &'static str,
    /// The organisation or domain that used it.
    pub used_by: String,
    /// What tells the sender, if it was not told lately.
    pub notice: Option<Box<OldNameNotice>>,
}

/// A notice that goes out at most so often.
#[derive(Clone, Debug)]
pub struct OldNameNotice {
    /// Who gets it.
    pub to: String,
    /// Not again before so much time has gone.
    pub at_most_every: Duration,
    /// The notice itself.
    pub notice: Accepted,
}

/// A recipient of a message that is accepted.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// Whom to deliver to.
    pub recipient: Recipient,
    /// Ready to go, or kept.
    pub standing: Standing,
    /// Over which transport it may go.
    pub binding: Binding,
    /// The rule behind it, for people.
    pub rule: String,
    /// Why, for people.
    pub because: String,
    /// Of a held one: with what its sender may let it go on. Of a quarantined one: that the owner of the mailbox may
    /// ([`SelfRelease::OWNERS`]).
    pub self_release: Option<SelfRelease>,
}

/// With what a sender may let go on what is held.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SelfRelease {
    /// SHA-256 of the code that he was sent.
    pub code_hash: [u8; 32],
    /// The account that the message came by: the answer must come by it too.
    pub account: Option<String>,
    /// The grounds of the hold, for the policy at the time of the answer.
    pub grounds: String,
    /// From when on the code is no good any more.
    pub until: Timestamp,
}

impl SelfRelease {
    /// The grounds of what the owner of a mailbox may let go on from the quarantine: it was unwanted, and
    /// nothing else spoke against it.
    pub const OWNERS: &str = "unwanted";
}

/// Whether the deliveries of a new message stay with whoever brings it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handoff {
    /// No: the scheduler finds them when they are due.
    None,
    /// Yes: those that are due come back leased until then, from the same transaction.
    LeaseUntil(Timestamp),
}

/// Whether a delivery is tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Tried as soon as can be.
    Due,
    /// Waits until somebody decides.
    Held,
    /// Kept apart as unwanted.
    Quarantined,
}

/// Over which transport a delivery may go: the policy's verdict, kept with it to the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Binding {
    /// By the route's own settings.
    Any,
    /// Over verified TLS alone.
    VerifiedTls,
    /// To the encryption next hop alone.
    Encryption,
}

impl Binding {
    /// The word in the database and in lists.
    pub fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::VerifiedTls => "verified-tls",
            Self::Encryption => "encryption",
        }
    }
}

/// Names a message in the queue.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MessageId(pub i64);

/// Names a delivery in the queue.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeliveryId(pub i64);

impl DeliveryId {
    /// The message that it belongs to.
    pub fn message(self) -> MessageId {
        message_of(self)
    }
}

/// A message as the queue keeps it, shared by its leases.
#[derive(Clone, Debug)]
pub struct QueuedMessage {
    /// Its name in the queue.
    pub id: MessageId,
    /// What people quote.
    pub reference: Reference,
    /// Who hears of failures.
    pub reverse_path: ReversePath,
    /// The sender's identifier of the envelope.
    pub env_id: Option<EnvId>,
    /// How much a failure report returns.
    pub ret: Option<Ret>,
    /// What octets it holds.
    pub body: BodyType,
    /// Whether it needs SMTPUTF8.
    pub smtputf8: bool,
    /// Whether it needs REQUIRETLS.
    pub require_tls: bool,
    /// The octets.
    pub message: Message,
    /// Its `Message-ID`.
    pub message_id: Option<String>,
    /// Whether patient data was found, or may be in it.
    pub patient_data: bool,
    /// When it was received.
    pub received_at: Timestamp,
    /// What its sender said of its urgency (RFC 6710).
    pub mt_priority: Option<i8>,
}

impl QueuedMessage {
    /// What a report about the message needs to know of it.
    pub fn original(&self) -> Original<'_> {
        Original {
            reference: &self.reference,
            reverse_path: &self.reverse_path,
            env_id: self.env_id.as_ref(),
            ret: self.ret,
            require_tls: self.require_tls,
            message: &self.message,
            message_id: self.message_id.as_deref(),
            patient_data: self.patient_data,
            received_at: self.received_at,
        }
    }

    /// The envelope for an attempt at these recipients.
    pub fn envelope(&self, recipients: Vec<Recipient>) -> Envelope {
        Envelope {
            reverse_path: self.reverse_path.clone(),
            recipients,
            env_id: self.env_id.clone(),
            ret: self.ret,
            body: self.body,
            smtputf8: self.smtputf8,
            require_tls: self.require_tls,
            mt_priority: self.mt_priority,
        }
    }
}

impl Accepted {
    /// The message as its lease has it: the octets are those that came, not read back.
    pub fn into_queued(self, id: MessageId) -> QueuedMessage {
        QueuedMessage {
            id,
            reference: self.reference,
            reverse_path: self.reverse_path,
            env_id: self.env_id,
            ret: self.ret,
            body: self.body,
            smtputf8: self.smtputf8,
            require_tls: self.require_tls,
            message: self.message,
            message_id: self.message_id,
            patient_data: self.patient_data,
            received_at: self.received_at,
            mt_priority: self.handling.mt_priority,
        }
    }

    /// A notification on the gateway's paper, signed. It is queued without asking the policy (`style.md` §5): it
    /// holds nothing that the policy guards.
    pub fn notice(notice: Notice, letterhead: &Letterhead) -> Self {
        Self {
            reference: notice.reference,
            reverse_path: ReversePath::Null,
            env_id: None,
            ret: None,
            body: BodyType::SevenBit,
            smtputf8: !notice.to.is_ascii(),
            require_tls: false,
            message: letterhead.sign(notice.message),
            message_id: Some(notice.message_id),
            patient_data: false,
            received_at: notice.at,
            handling: Handling::default(),
            deliveries: vec![NewDelivery {
                recipient: Recipient::new(ForwardPath::Mailbox(notice.to)),
                standing: Standing::Due,
                binding: Binding::Any,
                rule: "built-in".to_owned(),
                because: "written by the gateway itself".to_owned(),
                self_release: None,
            }],
            unless_told: notice.unless_told,
            old_names: Vec::new(),
            events: vec![notice.event],
        }
    }
}

/// That a message is meant once, however often it comes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Once {
    /// Whose key it is.
    pub account: String,
    /// SHA-256 of the key.
    pub key: [u8; 32],
    /// SHA-256 of the recipients.
    pub recipients: [u8; 32],
    /// SHA-256 of what follows the header.
    pub body: [u8; 32],
    /// When it came.
    pub at: Timestamp,
    /// From when on the key may be used again.
    pub until: Timestamp,
}

/// The message that came first under a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Repeated {
    /// What its sender was told.
    pub reference: Reference,
    /// Whether it went to the same people.
    pub same_recipients: bool,
    /// Whether what follows its header was the same, octet by octet.
    pub same_body: bool,
}

/// The right to try deliveries of one message until a moment.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The message.
    pub message: std::sync::Arc<QueuedMessage>,
    /// What may be tried: due recipients of the message, wherever they go. Not empty.
    pub deliveries: Vec<LeasedDelivery>,
    /// After this another scheduler may take them.
    pub until: Timestamp,
}

/// A delivery that is being tried.
#[derive(Clone, Debug)]
pub struct LeasedDelivery {
    /// Its name.
    pub id: DeliveryId,
    /// Whom to deliver to.
    pub recipient: Recipient,
    /// Over which transport.
    pub binding: Binding,
    /// Attempts made before this one.
    pub attempts: u32,
    /// Whether the sender was told that it is late.
    pub delay_notified: bool,
    /// How urgent it is.
    pub priority: Priority,
    /// Which policy decided; `None`: none is asked again.
    pub policy: Option<PolicyMark>,
    /// When a person let it go on; `None` if nobody had to.
    pub released_at: Option<Timestamp>,
}

impl LeasedDelivery {
    /// From when on its time counts, for warnings and giving up: how long it waited for a person is not held against it.
    pub fn began_at(&self, message: &QueuedMessage) -> Timestamp {
        self.released_at.unwrap_or(message.received_at)
    }

    /// Whether the gateway itself wrote it: nobody decided about it. Of what others bring a policy decides, and the mark
    /// of it stays until a person lets it go on.
    pub fn is_our_own(&self) -> bool {
        self.policy.is_none() && self.released_at.is_none()
    }
}

/// How one attempt settles: written in one transaction.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// What came of it.
    pub outcome: Outcome,
    /// What follows.
    pub next: Next,
    /// Whether a delay report goes out with this settlement.
    pub delay_notified: bool,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// Nothing: the next hop has it.
    Delivered,
    /// Another attempt, not before this.
    RetryAt(Timestamp),
    /// Nothing: it failed.
    Failed,
    /// It goes to the encryption next hop instead, at once.
    Diverted,
    /// It is bound to verified TLS from now on, and tried at once.
    Bound,
    /// It waits until somebody decides: the gateway itself cannot send it, as things are set up.
    Held,
    /// Nothing: its time is over.
    Expired,
}

/// How long a lease lasts unless it is settled: longer than the longest attempt.
pub const LEASE: Duration = Duration::from_secs(30 * 60);
