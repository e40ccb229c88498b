//! What the policy in force says to scheduler and delivery, which know nothing of policies.

use std::sync::Arc;

use tokio::sync::watch;

use crate::delivery::{Exchangers, Listing, Router};
use crate::mail::{Client, ForwardPath, MailTransaction, Mailbox, Recipient, Service};
use crate::policy::secure_domains::{ExchangerStanding, FallbackAction};
use crate::policy::{self, Hears, Policy};
use crate::queue::{Binding, PolicyMark, QueuedMessage};
use crate::scheduler::{Again, Fallback, Holding, Rulings, Then};

/// Says by which route a recipient goes, and to which destination.
pub fn ways(router: &Router) -> impl Fn(&ForwardPath, Binding) -> Option<(String, String)> + '_ {
    |path, binding| {
        let route = router.route(path, binding == Binding::Encryption)?;
        Some((route.name.clone(), route.destination(path)))
    }
}

/// What the policy in force at the moment of an attempt says of secure domains.
pub(super) fn rulings(policies: &watch::Receiver<Arc<Policy>>) -> Rulings {
    let (at_fallback, at_attempt, at_hold) = (policies.clone(), policies.clone(), policies.clone());
    let (in_force, at_change) = (policies.clone(), policies.clone());
    Rulings {
        fallbacks: Arc::new(move |path| fallback(&at_fallback.borrow(), path)),
        is_secure: Arc::new(move |path, now| {
            let policy = at_attempt.borrow();
            path.domain()
                .is_some_and(|domain| policy.secure_domains().is_secure(domain, now))
        }),
        holdings: Arc::new(move |sender| holding(&at_hold.borrow(), sender)),
        in_force: Arc::new(move || PolicyMark::of(in_force.borrow().version())),
        again: Arc::new(move |message, recipients| {
            let policy = Arc::clone(&at_change.borrow());
            Box::pin(judge_again(policy, message, recipients))
        }),
    }
}

/// What the policy says of recipients of a message that waits and that another policy decided about.
async fn judge_again(
    policy: Arc<Policy>,
    message: &QueuedMessage,
    recipients: Vec<Recipient>,
) -> Vec<Again> {
    let nowhere = ([0, 0, 0, 0], 0).into();
    let transaction = MailTransaction {
        client: Client {
            address: nowhere,
            local: nowhere,
            helo: None,
            esmtp: true,
            tls: None,
            account: None,
            service: Service::Relay,
        },
        envelope: message.envelope(recipients),
        message: message.message.clone(),
        received_at: policy.now(),
    };
    let answers = policy.judge_again(transaction).await.into_iter();
    answers
        .map(|answer| match answer {
            policy::Again::Goes => Again::Goes,
            policy::Again::VerifiedTls => Again::VerifiedTls,
            policy::Again::Encrypt => Again::Encrypt,
            policy::Again::Forbidden { rule, because } => {
                Again::Forbidden(format!("{because} ({rule})"))
            }
            policy::Again::Unknown => Again::Unknown,
        })
        .collect()
}

/// What the register in force at the moment of an attempt says of the hosts that DNS names.
pub(super) fn exchangers(policies: watch::Receiver<Arc<Policy>>) -> Exchangers {
    Arc::new(
        move |domain, host| match policies.borrow().secure_domains().exchanger(domain, host) {
            ExchangerStanding::Unlisted => Listing::None,
            ExchangerStanding::Listed => Listing::Listed,
            ExchangerStanding::Stranger => Listing::Stranger,
        },
    )
}

fn fallback(policy: &Policy, path: &ForwardPath) -> Fallback {
    let default = Fallback::default();
    let Some(domain) = path.domain() else {
        return default;
    };
    let said = policy.secure_domains().fallback(domain);
    Fallback {
        then: said.then.map_or(default.then, |then| match then {
            FallbackAction::Defer => Then::Defer,
            FallbackAction::Hold => Then::Hold,
            FallbackAction::Encrypt => Then::Encrypt,
            FallbackAction::Bounce => Then::Bounce,
        }),
        after: said.after.unwrap_or(default.after),
    }
}

/// Who hears of a hold, and who decides about it.
fn holding(policy: &Policy, sender: &Mailbox) -> Holding {
    let (to, program) = match policy.hears_of_hold(sender) {
        Hears::Sender(to) => (to, None),
        Hears::Owner { to, program } => (to, Some(program)),
    };
    Holding {
        owner: policy.holds().owner.clone(),
        to,
        program,
    }
}
