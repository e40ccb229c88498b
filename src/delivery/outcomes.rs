//! What an ending, a failure to connect or an answer of DNS amounts to for a recipient.
//!
//! What is a fault of configuration, ours or the next hop's, is tried again: it can be put right
//! before the time is over, and a message that was given up cannot.

use crate::base::dns::DnsError;
use crate::mail::{EnhancedStatusCode, Reply};
use crate::outcome::{After, DeliveryResult, NamedBy, Outcome};
use crate::smtp::client::{Ending, OpeningError, Stage};

use super::connection::OpenError;
use super::wire::Lost;

/// What the ending of a transaction amounts to.
pub(super) fn of_ending(ending: Ending, next_hop: &str, dsn: bool) -> Outcome {
    match ending {
        Ending::Replied(reply) => Outcome::from_reply(reply, next_hop, dsn),
        Ending::Unsaid { status, because } => Outcome {
            next_hop: Some(next_hop.to_owned()),
            ..Outcome::without_reply(status, because)
        },
        Ending::InDoubt { status, because } => Outcome {
            next_hop: Some(next_hop.to_owned()),
            in_doubt: true,
            ..Outcome::without_reply(status, because)
        },
    }
}

/// What a connection amounts to that could not be used.
pub(super) fn of_open_error(error: &OpenError, next_hop: &str) -> Outcome {
    let ours = |subject, detail| {
        Outcome::without_reply(
            EnhancedStatusCode::transient(subject, detail),
            error.to_string(),
        )
    };
    let outcome = match error {
        OpenError::Unreachable(_) => ours(4, 1),
        OpenError::Lost(_) => ours(4, 2),
        OpenError::Handshake(_) => ours(7, 5),
        OpenError::Opening(OpeningError::TlsNotOffered) => ours(7, 10),
        OpenError::Opening(OpeningError::LoginNotOffered | OpeningError::NotTheServer)
        | OpenError::Token(_) => ours(7, 8),
        OpenError::Opening(OpeningError::Refused { stage, reply }) => refused(*stage, reply),
    };
    let unprotected = matches!(
        error,
        OpenError::Handshake(_) | OpenError::Opening(OpeningError::TlsNotOffered)
    );
    Outcome {
        next_hop: Some(next_hop.to_owned()),
        no_secured_path: unprotected || outcome.no_secured_path,
        ..outcome
    }
}

/// A server that will not speak to us may do so tomorrow. One that says that it never takes mail
/// (521: RFC 7504 §4) is believed.
fn refused(stage: Stage, reply: &Reply) -> Outcome {
    let never = stage == Stage::Greeting && reply.code().value() == 521;
    let said = reply.status();
    let (subject, detail) = match stage {
        Stage::Login if said.subject() == 0 => (7, 8),
        _ => (said.subject(), said.detail()),
    };
    let (result, status) = if never {
        (DeliveryResult::Permanent, said)
    } else {
        let status = EnhancedStatusCode::transient(subject, detail);
        (DeliveryResult::Transient, status)
    };
    Outcome {
        result,
        status,
        reply: Some(reply.clone()),
        because: None,
        next_hop: None,
        tls: None,
        no_secured_path: stage == Stage::StartTls,
        after: After::Schedule,
        downgrade: None,
        in_doubt: false,
        broke_off: false,
        before_mail: true,
    }
}

/// What it amounts to that a domain has no next hop.
pub(super) fn of_mx_error(error: DnsError) -> Outcome {
    let status = match error {
        // RFC 7505 §4.2.
        DnsError::NullMx => EnhancedStatusCode::permanent(1, 10),
        DnsError::NoSuchName | DnsError::NoRecords => EnhancedStatusCode::permanent(1, 2),
        _ => EnhancedStatusCode::transient(4, 3),
    };
    Outcome::without_reply(status, format!("the recipient's domain: {error}"))
}

/// What it amounts to that a next hop has no address. One that an administrator named is expected to
/// get one.
pub(super) fn of_address_error(error: DnsError, host: &str, named_by: NamedBy) -> Outcome {
    let status = if error.may_pass() || named_by == NamedBy::Route {
        EnhancedStatusCode::transient(4, 3)
    } else {
        EnhancedStatusCode::permanent(4, 4)
    };
    Outcome::without_reply(status, format!("the next hop {host}: {error}"))
}

/// The ending of those that were undecided when the connection was lost.
pub(super) fn lost(lost: Lost) -> Ending {
    Ending::Unsaid {
        status: EnhancedStatusCode::transient(4, 2),
        because: lost.to_string(),
    }
}

/// Of two failures to reach anyone, the one that leaves hope; of two that do, the one of a server that was there
/// and could not show who it is: that one says more than a server that was not.
pub(super) fn kinder(one: Option<Outcome>, other: Outcome) -> Outcome {
    let rank = |outcome: &Outcome| (may_pass(outcome), outcome.no_secured_path);
    match one {
        Some(one) if rank(&one) > rank(&other) => one,
        _ => other,
    }
}

fn may_pass(outcome: &Outcome) -> bool {
    outcome.result == DeliveryResult::Transient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_failures_the_one_that_says_most_is_told() {
        let failure = |status, no_secured_path| Outcome {
            no_secured_path,
            ..Outcome::without_reply(status, "x")
        };
        let gone = failure(EnhancedStatusCode::transient(4, 1), false);
        let insecure = failure(EnhancedStatusCode::transient(7, 5), true);
        let never = failure(EnhancedStatusCode::permanent(1, 2), false);

        assert_eq!(kinder(None, gone.clone()), gone);
        for (kept, other) in [(&insecure, &gone), (&insecure, &never), (&gone, &never)] {
            assert_eq!(kinder(Some(kept.clone()), other.clone()), *kept);
            assert_eq!(kinder(Some(other.clone()), kept.clone()), *kept);
        }
    }
}
