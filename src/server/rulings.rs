//! What the policy in force says to scheduler and delivery, which know nothing of policies.

use std::sync::Arc;

use tokio::sync::watch;

use crate::delivery::{Exchangers, Listing};
use crate::mail::{ForwardPath, Mailbox};
use crate::policy::secure_domains::{ExchangerStanding, FallbackAction};
use crate::policy::{Hears, Policy};
use crate::scheduler::{Fallback, Holding, Rulings, Then};

/// What the policy in force at the moment of an attempt says of secure domains.
pub(super) fn rulings(policies: &watch::Receiver<Arc<Policy>>) -> Rulings {
    let (at_fallback, at_attempt, at_hold) = (policies.clone(), policies.clone(), policies.clone());
    Rulings {
        fallbacks: Arc::new(move |path| fallback(&at_fallback.borrow(), path)),
        is_secure: Arc::new(move |path, now| {
            let policy = at_attempt.borrow();
            path.domain()
                .is_some_and(|domain| policy.secure_domains().is_secure(domain, now))
        }),
        holdings: Arc::new(move |sender| holding(&at_hold.borrow(), sender)),
    }
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
