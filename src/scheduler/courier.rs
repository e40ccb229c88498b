//! Delivery as the scheduler sees it: a route for a recipient, and an attempt along it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::delivery::{Deliveries, Generation, Router, TakenRoute, TlsNeed};
use crate::mail::{Envelope, ForwardPath, Mailbox, Message, Recipient};
use crate::outcome::Outcome;
use crate::queue::{PolicyMark, QueuedMessage};

/// What came of an attempt: one outcome for each recipient, in envelope order.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Vec<Outcome>> + Send + 'a>>;

/// Knows the ways onward and goes them. A test has its own.
pub trait Courier: Send + Sync + 'static {
    /// The route of a recipient as things are set up now; `None` if nothing takes it. `encryption`
    /// asks for the route of the verdict `encrypt`.
    fn route(&self, path: &ForwardPath, encryption: bool) -> Option<TakenRoute>;

    /// By which settings routes are at this moment.
    fn generation(&self) -> Generation;

    /// What happens when patient data cannot go to a recipient over a secured path.
    fn fallback(&self, path: &ForwardPath) -> Fallback {
        let _ = path;
        Fallback::default()
    }

    /// Whether patient data may go to a recipient, as things are set up at this moment.
    fn may_have_patient_data(&self, path: &ForwardPath, now: Timestamp) -> bool {
        let _ = (path, now);
        true
    }

    /// Who hears of what is held of this sender's mail, and who decides about it.
    fn holding(&self, sender: &Mailbox) -> Holding {
        Holding {
            owner: "the administrators of this gateway".to_owned(),
            to: sender.clone(),
            program: None,
        }
    }

    /// Connections to all destinations together.
    fn connections(&self) -> usize {
        200
    }

    /// Which policy is in force, where it is asked again about mail that another one decided about.
    fn policy(&self) -> Option<PolicyMark> {
        None
    }

    /// What the policy in force says of recipients of a message that another one decided about: one answer for each,
    /// in the order given.
    fn judge_again<'a>(
        &'a self,
        message: &'a QueuedMessage,
        recipients: Vec<Recipient>,
    ) -> Answers<'a> {
        let _ = message;
        Box::pin(async move { vec![Again::Goes; recipients.len()] })
    }

    /// Routes or policy have changed.
    fn reloaded(&self) {}

    /// Makes one attempt; it ends in bounded time.
    fn attempt<'a>(
        &'a self,
        route: &'a TakenRoute,
        envelope: &'a Envelope,
        message: &'a Message,
        need: TlsNeed,
    ) -> Attempt<'a>;
}

/// The routes in force, and the deliveries of this process.
pub struct Onward {
    /// Follows reloads.
    pub router: watch::Receiver<Arc<Router>>,
    /// Makes the attempts.
    pub deliveries: Deliveries,
    /// What the policy in force says of mail that cannot go on.
    pub rulings: Rulings,
}

/// What the policy in force says of mail that cannot go on.
#[derive(Clone)]
pub struct Rulings {
    /// What happens when a secured path to a recipient cannot be had.
    pub fallbacks: Fallbacks,
    /// Whether a recipient's domain is secure at a moment.
    pub is_secure: IsSecure,
    /// Who hears of what is held of a sender's mail, and who decides about it.
    pub holdings: Holdings,
    /// Which policy it is.
    pub in_force: InForce,
    /// What it says of mail that another one decided about.
    pub again: JudgesAgain,
}

/// Names the policy in force.
pub(super) type InForce = Arc<dyn Fn() -> PolicyMark + Send + Sync>;
/// Judges recipients of a message that waits.
pub(super) type JudgesAgain =
    Arc<dyn for<'a> Fn(&'a QueuedMessage, Vec<Recipient>) -> Answers<'a> + Send + Sync>;
/// One answer for each recipient.
pub type Answers<'a> = Pin<Box<dyn Future<Output = Vec<Again>> + Send + 'a>>;

/// What the policy in force says of a recipient of mail that another one decided about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Again {
    /// It may go as it is bound.
    Goes,
    /// It may go over verified TLS, or better.
    VerifiedTls,
    /// It may go to the encryption next hop.
    Encrypt,
    /// It may not go: why.
    Forbidden(String),
    /// That cannot be said now.
    Unknown,
}

/// Says who hears of what is held of a sender's mail.
pub(super) type Holdings = Arc<dyn Fn(&Mailbox) -> Holding + Send + Sync>;

/// Who hears of a hold, and who decides about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holding {
    /// Who decides, as people read it.
    pub owner: String,
    /// Who is told.
    pub to: Mailbox,
    /// The program that sent it, if somebody else is told in its place.
    pub program: Option<Mailbox>,
}

/// Says what happens when a secured path to a recipient cannot be had.
pub(super) type Fallbacks = Arc<dyn Fn(&ForwardPath) -> Fallback + Send + Sync>;
/// Says whether a recipient may have patient data at a moment.
pub(super) type IsSecure = Arc<dyn Fn(&ForwardPath, Timestamp) -> bool + Send + Sync>;

/// What happens when a secured path cannot be had (`domain.md` §3.4: mail that cannot be sent is a hazard
/// of its own, so it is said for each destination).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fallback {
    /// What is done then.
    pub then: Then,
    /// At which age of the message. It is tried again until then.
    pub after: Duration,
}

/// What is done when a secured path cannot be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Then {
    /// Tried on, until the route gives up.
    Defer,
    /// Held, with an alarm and a notice.
    Hold,
    /// Handed to the encryption next hop; held if there is none.
    Encrypt,
    /// Failed, with a report.
    Bounce,
}

impl Default for Fallback {
    fn default() -> Self {
        Self {
            then: Then::Hold,
            after: FALLBACK_AFTER,
        }
    }
}

/// Four hours: as long as a sender waits for the first report of a delay.
const FALLBACK_AFTER: Duration = Duration::from_secs(4 * 60 * 60);

impl Courier for Onward {
    fn route(&self, path: &ForwardPath, encryption: bool) -> Option<TakenRoute> {
        self.router.borrow().take(path, encryption)
    }

    fn generation(&self) -> Generation {
        self.router.borrow().generation()
    }

    fn fallback(&self, path: &ForwardPath) -> Fallback {
        (self.rulings.fallbacks)(path)
    }

    fn may_have_patient_data(&self, path: &ForwardPath, now: Timestamp) -> bool {
        (self.rulings.is_secure)(path, now)
    }

    fn holding(&self, sender: &Mailbox) -> Holding {
        (self.rulings.holdings)(sender)
    }

    fn connections(&self) -> usize {
        self.deliveries.connections()
    }

    fn policy(&self) -> Option<PolicyMark> {
        Some((self.rulings.in_force)())
    }

    fn judge_again<'a>(
        &'a self,
        message: &'a QueuedMessage,
        recipients: Vec<Recipient>,
    ) -> Answers<'a> {
        (self.rulings.again)(message, recipients)
    }

    fn reloaded(&self) {
        self.deliveries.reloaded(&self.router.borrow());
    }

    fn attempt<'a>(
        &'a self,
        route: &'a TakenRoute,
        envelope: &'a Envelope,
        message: &'a Message,
        need: TlsNeed,
    ) -> Attempt<'a> {
        Box::pin(self.deliveries.attempt(route, envelope, message, need))
    }
}
