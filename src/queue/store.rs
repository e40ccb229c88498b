//! What a store of the queue must do. Each method is one transaction: it takes effect as a whole
//! and is durable when it returns, or nothing of it happened. `tests/queue.rs` is its specification.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;

use crate::base::Reference;
use crate::mail::{ForwardPath, Mailbox};
use crate::outcome::Letterhead;
use crate::outcome::audit::AuditEvent;

use super::damage::DamageFn;
use super::error::QueueError;
use super::moment;
use super::record::{
    Accepted, Binding, DeliveryId, Handoff, Lease, MessageId, Once, QueuedMessage, Repeated,
    Settlement,
};
pub use super::skip::Skip;

/// What a method of the store answers, once it is durable.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, QueueError>> + Send + 'a>>;

/// A store of messages, deliveries and the audit trail.
pub trait Store: Send + Sync + 'static {
    /// Takes over the first message, and with it the others (reports that it causes). With
    /// [`Handoff::LeaseUntil`] the due deliveries of the first come back leased; `None` if it has none.
    fn accept(&self, accepted: Vec<Accepted>, handoff: Handoff) -> Answer<'_, Option<Lease>>;

    /// As `accept`, for a message that is meant once: if its key was used and the time of the key is not over,
    /// nothing is written and the error is [`QueueError::Repeated`].
    fn accept_once(
        &self,
        accepted: Vec<Accepted>,
        handoff: Handoff,
        once: Once,
    ) -> Answer<'_, Option<Lease>>;

    /// Who writes the notices about what is held because it cannot be read back.
    fn tell_of_damage(&self, notices: Box<DamageFn>);

    /// Errs with [`QueueError::Full`] unless the volume has room for so many octets and for what must stay free.
    fn check_room(&self, octets: u64) -> Result<(), QueueError>;

    /// The message that came before under a key, if its time is not over.
    fn repeated(&self, once: Once) -> Answer<'_, Option<Repeated>>;

    /// Leases what is due or whose lease ran out, up to `limit` messages, oldest first. A message that cannot be read back is
    /// held, with its events and the notices of it (`tell_of_damage`), and stops nobody.
    fn lease(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
        skip: Skip,
    ) -> Answer<'_, Vec<Lease>>;

    /// Writes what came of attempts, with the reports that follow from it. A delivery that is gone
    /// already is passed over; if all are, the reports are not queued either.
    fn settle(&self, settlements: Vec<Settlement>, notices: Vec<Accepted>) -> Answer<'_, ()>;

    /// Gives leased deliveries back untried: they are due again at `at`.
    fn give_back(&self, deliveries: Vec<DeliveryId>, at: Timestamp) -> Answer<'_, ()>;

    /// Makes due, as of `now`, what waits for a later attempt and got no answer from a next hop at the last one, but for
    /// what a next hop may have already ([`IN_DOUBT`](crate::outcome::IN_DOUBT)) and what `skip` passes over. Up to the limit of `recall`; what comes back says where to go on.
    fn recall(&self, now: Timestamp, recall: Recall, skip: Skip) -> Answer<'_, Recalled>;

    /// Writes events that stand alone.
    fn record(&self, events: Vec<AuditEvent>) -> Answer<'_, ()>;

    /// Ends every lease of this gateway: whoever held them is dead. For the one scheduler, at its start. Also
    /// removes octets that no message refers to, and brings back what came while the clock was ahead. Returns how many
    /// leases there were.
    fn recover(&self, now: Timestamp) -> Answer<'_, usize>;

    /// Makes due what is ready more than an hour from `now` and belongs to a message that came more than an hour after
    /// `now`: the clock was ahead then. Its time begins now. What is leased stays so. Nothing is changed by a clock that
    /// is earlier than the first event. Returns how many messages there were, `limit` at most.
    fn bring_back(&self, now: Timestamp, limit: usize) -> Answer<'_, usize>;

    /// Does what was asked before, then ends: what is asked afterwards fails.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// When the next delivery becomes due or the next lease ends; in the past if one has.
    fn next_ready(&self) -> Answer<'_, Option<Timestamp>>;

    /// Carries out an administrator's order on deliveries, with its event and its report.
    fn administer(
        &self,
        selection: Selection,
        order: Order,
        by: String,
    ) -> Answer<'_, Administered>;

    /// Lets go on what its sender may, once: the code is used up with it. Empty if nothing did.
    fn release_by_sender(&self, asked: SenderRelease) -> Answer<'_, Vec<SentOn>>;

    /// The message of a delivery with its octets; `None` if it is gone.
    fn message(&self, delivery: DeliveryId) -> Answer<'_, Option<Arc<QueuedMessage>>>;

    /// Lists deliveries in the order of their acceptance.
    fn list(&self, filter: Filter) -> Answer<'_, Vec<Waiting>>;

    /// What waits, one row for each domain, binding and state; `now` says what of it is due.
    fn groups(&self, now: Timestamp) -> Answer<'_, Vec<Group>>;

    /// How many deliveries there are in each state.
    fn count(&self) -> Answer<'_, BTreeMap<&'static str, i64>>;

    /// The events that a query finds, oldest first, `limit` at most.
    fn trace(&self, query: TraceQuery, limit: usize) -> Answer<'_, Vec<AuditEntry>>;

    /// The events from number `from` on, `limit` at most: the whole trail, page by page.
    fn events(&self, from: i64, limit: usize) -> Answer<'_, Vec<AuditEntry>>;

    /// How often each old name was used and by whom, the most used first, `limit` names at most.
    fn old_names(&self, limit: usize) -> Answer<'_, Vec<OldNameCount>>;

    /// Goes over the whole chain of events.
    fn verify(&self) -> Answer<'_, Verified>;
}

/// The deliveries of one domain, binding and state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// One of its recipients: the one who is next.
    pub path: ForwardPath,
    /// Over which transport.
    pub binding: Binding,
    /// Where they stand.
    pub state: State,
    /// How many there are.
    pub count: i64,
    /// How many of them may be tried now.
    pub due: i64,
    /// When the next one is due.
    pub next: Option<Timestamp>,
    /// What the last attempt at that one came to.
    pub last_reply: Option<String>,
}

/// What to call back.
#[derive(Clone, Debug)]
pub struct Recall {
    /// To this domain alone, in its comparable form.
    pub domain: Option<String>,
    /// Where the step before ended.
    pub after: Option<(String, String)>,
    /// Deliveries at most.
    pub limit: usize,
}

/// What was called back.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recalled {
    /// Deliveries that are due now.
    pub changed: usize,
    /// Where to go on; `None` if that was all.
    pub after: Option<(String, String)>,
}

/// Where a delivery stands (`manual::queue_states`).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Waits for its next attempt.
    Due,
    /// Is being tried.
    Leased,
    /// Waits until somebody decides.
    Held,
    /// Kept apart as unwanted.
    Quarantined,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Due, Self::Leased, Self::Held, Self::Quarantined];

    /// The word in the database, in lists and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Leased => "leased",
            Self::Held => "held",
            Self::Quarantined => "quarantined",
        }
    }

    /// Whether nothing happens until somebody decides.
    pub fn waits_for_somebody(self) -> bool {
        matches!(self, Self::Held | Self::Quarantined)
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// The use of one old name.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub struct OldNameCount {
    /// The name.
    pub name: String,
    /// The mailbox that it led to when it was last used.
    pub mailbox: String,
    /// Why it did.
    pub because: String,
    /// How often it was used.
    pub uses: i64,
    /// When for the first time.
    pub first_used: String,
    /// When for the last time.
    pub last_used: String,
    /// The organisations (ODS codes) and domains that used it, the most frequent first, 20 at most.
    pub used_by: Vec<String>,
}

/// Which deliveries to list. Everything by default.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In one of these states; empty for all.
    pub states: Vec<State>,
    /// Of this message.
    pub reference: Option<Reference>,
    /// To this domain, in its comparable form.
    pub domain: Option<String>,
    /// This delivery alone.
    pub delivery: Option<DeliveryId>,
    /// Those after this one: the next page of a list.
    pub after: Option<DeliveryId>,
    /// Of a sender whose reverse path has this in it, in any case.
    pub sender: Option<String>,
    /// To a recipient whose address has this in it, in any case.
    pub recipient: Option<String>,
    /// For a reason that has this in it, in any case.
    pub because: Option<String>,
    /// Of messages with patient data, or that may have it; or of those without.
    pub patient_data: Option<bool>,
    /// Of messages received at this moment or later.
    pub received_from: Option<Timestamp>,
    /// Of messages received before this.
    pub received_before: Option<Timestamp>,
    /// Whose time began before this: with their release, or with the arrival of their message.
    pub began_before: Option<Timestamp>,
    /// At most this many; 0 for no limit.
    pub limit: usize,
}

/// A delivery as administrators see it.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub struct Waiting {
    /// Its number.
    pub delivery: i64,
    /// What people quote.
    pub reference: String,
    /// Where it stands.
    pub state: State,
    /// The reverse path; empty for the null path.
    pub sender: String,
    /// The recipient.
    pub recipient: String,
    /// `any`, `verified-tls` or `encryption`.
    pub binding: &'static str,
    /// The rule that put it there.
    pub rule: String,
    /// Why.
    pub because: String,
    /// When the message was received.
    pub received_at: String,
    /// When a person let it go on; `None` if nobody had to. Its time for giving up counts from here.
    pub released_at: Option<String>,
    /// When it is tried next, or when its lease ends; `None` if it waits for somebody.
    pub next_attempt_at: Option<String>,
    /// Attempts made.
    pub attempts: u32,
    /// What the last attempt came to, in the next hop's words.
    pub last_reply: Option<String>,
    /// Size of the message, in octets.
    pub octets: i64,
    /// Its `Message-ID`.
    pub message_id: Option<String>,
    /// Whether patient data was found, or may be in it.
    pub patient_data: bool,
    /// Of a quarantined one: whether the owner of the mailbox may let it go on.
    pub owner_may_release: bool,
}

/// Which deliveries an order is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selection {
    /// Those of one message.
    Message(Reference),
    /// One.
    Delivery(DeliveryId),
    /// Those to a domain.
    Domain(String),
    /// All.
    All,
}

/// What an administrator wants done. Orders pass over deliveries in states that they do not name,
/// and over those being tried at this moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order {
    /// Try those that wait for their next attempt at once.
    Retry,
    /// Hold those that wait for their next attempt.
    Hold {
        /// Why.
        reason: String,
    },
    /// Let held ones go on.
    ReleaseHeld {
        /// Why.
        reason: String,
    },
    /// Let held ones go on by way of the encryption next hop, whatever was decided of how they go.
    ReleaseEncrypted {
        /// Why.
        reason: String,
    },
    /// Let quarantined ones go on.
    ReleaseQuarantined {
        /// Why.
        reason: String,
    },
    /// Give up those that wait or are held; their sender is told as after a failed attempt.
    Fail {
        /// Why: the sender reads it.
        reason: String,
        /// On whose paper the report is written.
        letterhead: Letterhead,
    },
    /// Remove quarantined ones; nobody is told.
    Delete {
        /// Why.
        reason: String,
    },
}

/// A sender's word to let go on what is held of a message of his.
pub struct SenderRelease {
    /// The message.
    pub reference: Reference,
    /// SHA-256 of the code that he gives.
    pub code_hash: [u8; 32],
    /// Who he is, by the envelope of his answer.
    pub sender: Mailbox,
    /// The account that his answer came by.
    pub account: Option<String>,
    /// Why: for the audit trail.
    pub reason: String,
    /// How a delivery may go that is held on these grounds, by the policy in force; `None`: not by his word.
    pub leave: Box<LeaveFn>,
    /// What is told of it, in the same transaction.
    pub notices: Box<NoticesFn>,
}

type LeaveFn = dyn Fn(&ForwardPath, &str) -> Option<Binding> + Send + Sync;
type NoticesFn = dyn Fn(&[SentOn]) -> Vec<Accepted> + Send + Sync;

/// A delivery that its sender has let go on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SentOn {
    /// To whom.
    pub recipient: String,
    /// Whether it goes to the encryption next hop alone.
    pub is_encrypted: bool,
}

/// What came of an order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Administered {
    /// Deliveries that were changed.
    pub changed: usize,
    /// Deliveries of the selection that are being tried at this moment: ask again.
    pub in_attempt: usize,
    /// Deliveries of the selection in a state that the order is not for.
    pub passed_over: usize,
}

/// What to look for in the audit trail: all that is given must hold.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TraceQuery {
    /// A reference, an address or a `Message-ID`, in any case, with or without angle brackets.
    pub about: Option<String>,
    /// From this moment on.
    pub from: Option<Timestamp>,
    /// Up to and without this moment.
    pub to: Option<Timestamp>,
}

impl TraceQuery {
    /// Reads what a user typed: a time in RFC 3339, also cut short (a day, an hour, a minute), or `FROM..TO` of such
    /// (either may be left out, and a whole time is that moment); else what `about` is.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if let Some((from, to)) = text.split_once("..") {
            let time = |text: &str| match text.trim() {
                "" => Some(None),
                text => moment::bounds(text).map(Some),
            };
            if let (Some(from), Some(to)) = (time(from), time(to)) {
                return Self {
                    about: None,
                    from: from.map(|(start, _)| start),
                    to: to.map(|(_, end)| end),
                };
            }
        }
        if let Some((from, to)) = moment::stretch(text) {
            return Self {
                about: None,
                from: Some(from),
                to: Some(to),
            };
        }
        Self {
            about: Some(text.to_owned()),
            from: None,
            to: None,
        }
    }
}

/// One line of the audit trail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditEntry {
    /// Its number: 1 for the first.
    pub number: i64,
    /// The event as JSON, octet by octet as it was hashed; empty if it is damaged.
    pub event: String,
    /// What stands there instead of an event, where it is no text: somebody changed the row. `verify` says
    /// the same of it.
    pub damaged: Option<Vec<u8>>,
    /// SHA-256 over the previous line's hash and `event`, in hexadecimal.
    pub hash: String,
}

impl AuditEntry {
    /// The line with this number, whose event reads as these octets.
    pub(super) fn new(number: i64, event: &[u8], hash: String) -> Self {
        let (event, damaged) = match std::str::from_utf8(event) {
            Ok(text) => (text.to_owned(), None),
            Err(_) => (String::new(), Some(event.to_vec())),
        };
        Self {
            number,
            event,
            damaged,
            hash,
        }
    }

    /// The event as a JSON object; empty if the row was tampered with so that it is none.
    pub fn object(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_str(&self.event).unwrap_or_default()
    }

    /// The line of an export: number, hash, and the event unchanged. Of a damaged one the octets, in hexadecimal:
    /// the hash is over them.
    pub fn line(&self) -> String {
        let (number, hash) = (self.number, &self.hash);
        match &self.damaged {
            None => format!(
                "{{\"number\":{number},\"hash\":\"{hash}\",\"event\":{}}}",
                self.event
            ),
            Some(octets) => format!(
                "{{\"number\":{number},\"hash\":\"{hash}\",\"event\":null,\"damaged\":\"{}\"}}",
                hex(octets)
            ),
        }
    }
}

/// Octets as digits.
pub(super) fn hex(octets: &[u8]) -> String {
    let digits = octets.iter().flat_map(|octet| [octet >> 4, octet & 15]);
    digits
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

/// What going over the chain found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verified {
    /// Lines that were read.
    pub lines: u64,
    /// What is wrong, in the order of the lines; empty if the chain is whole. 100 at most.
    pub faults: Vec<Fault>,
}

/// What is wrong with the audit trail.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// A line's hash does not follow from the line before and its own text.
    #[error("line {0} was changed, or the line before it")]
    Changed(i64),
    /// Lines are missing.
    #[error("lines {first} to {last} are missing")]
    Missing {
        /// The first.
        first: i64,
        /// The last.
        last: i64,
    },
    /// The chain's end is not where the last transaction left it.
    #[error("the trail ends with line {found}, it should end with line {expected}")]
    End {
        /// The last line there is.
        found: i64,
        /// The last line that was written.
        expected: i64,
    },
}

/// The message that a delivery belongs to.
pub(super) fn message_of(delivery: DeliveryId) -> MessageId {
    MessageId(delivery.0 / PLACES)
}

/// The delivery at this place of a message's envelope.
pub(super) fn delivery_of(message: MessageId, place: usize) -> DeliveryId {
    // Envelopes are far shorter (`limits.recipients`). Of a longer one two would get the last number: the store refuses that.
    let place = i64::try_from(place).map_or(PLACES - 1, |place| place.min(PLACES - 1));
    DeliveryId(message.0 * PLACES + place)
}

/// The numbers that the deliveries of a message have.
pub(super) fn of_message(message: MessageId) -> (i64, i64) {
    let first = message.0 * PLACES;
    (first, first + PLACES - 1)
}

/// Recipients that an envelope can have: a delivery's number is its message's times this, plus its place in that.
pub(super) const PLACES: i64 = 1 << 20;
/// Old names and their users that are counted; the real ones are some tens of thousands.
pub(super) const OLD_NAMES_MAX: i64 = 500_000;
/// Users of one old name in a list.
pub(super) const OLD_NAME_USERS: i64 = 20;
