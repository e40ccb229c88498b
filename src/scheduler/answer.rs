//! What an attempt says of the next hop: a reply is about one mailbox, one message, or the next hop itself, and each
//! asks for another pause.
//!
//! The code alone does not tell: 450 is a mailbox in use, a server that wants less, or one that does not know us yet.
//! The enhanced status code (RFC 3463) and, where servers are known to leave that vague, their words decide.

use crate::mail::Reply;
use crate::outcome::{After, DeliveryResult, Outcome};

/// What an attempt says of the next hop. Later ones weigh more where recipients of one attempt differ.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Answer {
    /// Nothing: the reason is ours, or of the path between us.
    Nothing,
    /// Nobody is there, or it turns us away before any mail.
    Away,
    /// It was there, and hung up on this message: of others that says nothing.
    BrokeOff,
    /// It does its work: it took the message or refused it for good.
    Final,
    /// It does its work, and this message or mailbox has to wait.
    NotThis,
    /// It has not heard of us, and wants us to come again: greylisting.
    ComeAgain,
    /// The mailbox is full: trying soon is for nothing.
    Full,
    /// More recipients than it takes at once.
    TooMany,
    /// It wants less of us, or nothing for a while.
    Busy,
}

impl Answer {
    /// What the outcome for one recipient says.
    pub(super) fn of(outcome: &Outcome) -> Self {
        match (outcome.result, &outcome.reply) {
            (DeliveryResult::Delivered { .. }, _) | (DeliveryResult::Permanent, Some(_)) => {
                Self::Final
            }
            (DeliveryResult::Permanent, None) => Self::Nothing,
            _ if outcome.no_secured_path || outcome.after != After::Schedule => Self::Nothing,
            (DeliveryResult::Transient, Some(reply)) => Self::of_reply(reply),
            (DeliveryResult::Transient, None) => {
                match (outcome.status.subject(), outcome.status.detail()) {
                    (4, 1..=4) if outcome.broke_off => Self::BrokeOff,
                    // No answer from a host, a bad connection, the DNS fails, unable to route (RFC 3463 §3.5).
                    (4, 1..=4) => Self::Away,
                    (5, 3) => Self::TooMany,
                    _ => Self::Nothing,
                }
            }
        }
    }

    /// What the outcomes of one attempt say together.
    pub(super) fn of_all(outcomes: &[Outcome]) -> Self {
        let answers = outcomes.iter().map(Self::of);
        answers.max().unwrap_or(Self::Nothing)
    }

    /// Whether the next hop was there and worked.
    pub(super) fn is_of_one_who_works(self) -> bool {
        !matches!(
            self,
            Self::Nothing | Self::Away | Self::BrokeOff | Self::Busy
        )
    }

    fn of_reply(reply: &Reply) -> Self {
        let code = reply.code().value();
        let status = reply.status();
        match (code, status.subject(), status.detail()) {
            // It closes the channel (RFC 5321 §4.2.2).
            (421, ..) => Self::Busy,
            // A refusal for good that is tried again all the same: the greeting, EHLO, STARTTLS or the log-in.
            (500.., ..) => Self::Away,
            (_, 5, 3) => Self::TooMany,
            (_, 2, 2) => Self::Full,
            _ if says(reply, GREYLISTING) => Self::ComeAgain,
            // System full, not accepting mail (RFC 3463 §3.4).
            (_, 3, 1 | 2) => Self::Busy,
            _ if wants_less(reply) => Self::Busy,
            _ => Self::NotThis,
        }
    }
}

/// Whether what a busy next hop said may be about this message: it was asked to take it, and does not say that there is
/// too much.
pub(super) fn may_be_about_the_message(outcome: &Outcome) -> bool {
    let reply = outcome.reply.as_ref();
    !outcome.before_mail && reply.is_some_and(|reply| !wants_less(reply))
}

/// Whether the next hop says that we send it too much: congestion (RFC 3463 §3.5), Exchange's throttling, or in words.
fn wants_less(reply: &Reply) -> bool {
    let status = (reply.status().subject(), reply.status().detail());
    matches!(status, (4, 5) | (7, 500..=699)) || says(reply, LESS)
}

fn says(reply: &Reply, words: &[&str]) -> bool {
    let said = reply.text().to_ascii_lowercase();
    words.iter().any(|word| said.contains(word))
}

/// Words of greylisting.
const GREYLISTING: &[&str] = &[
    "greylist",
    "graylist",
    "grey-list",
    "gray-list",
    "grey list",
];
/// Words of a next hop that wants less.
const LESS: &[&str] = &[
    "too many connections",
    "too many concurrent",
    "thread limit exceeded",
    "rate limit",
    "ratelimit",
    "throttl",
    "server busy",
    "too busy",
    "load too high",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::EnhancedStatusCode;

    fn of(code: u16, status: &str, text: &str) -> Answer {
        let reply = Reply::new(code, EnhancedStatusCode::parse(status).unwrap(), text);
        let mut outcome = Outcome::from_reply(reply, "mx.example", false);
        if code >= 500 && text == "at the greeting" {
            outcome.result = DeliveryResult::Transient;
        }
        Answer::of(&outcome)
    }

    #[test]
    fn a_reply_is_about_the_mailbox_the_message_or_the_next_hop() {
        let answers = [
            (250, "2.0.0", "taken", Answer::Final),
            (550, "5.1.1", "no such user", Answer::Final),
            (450, "4.2.1", "mailbox in use", Answer::NotThis),
            (451, "4.3.0", "local error", Answer::NotThis),
            (450, "4.7.1", "Greylisting in action", Answer::ComeAgain),
            (451, "4.7.1", "try again later", Answer::NotThis),
            (452, "4.2.2", "mailbox full", Answer::Full),
            (452, "4.5.3", "too many recipients", Answer::TooMany),
            (421, "4.7.0", "rate limited", Answer::Busy),
            (421, "4.4.2", "time-out", Answer::Busy),
            (432, "4.3.2", "sender thread limit exceeded", Answer::Busy),
            (452, "4.3.1", "insufficient system storage", Answer::Busy),
            (451, "4.7.500", "Server busy", Answer::Busy),
            (450, "4.7.0", "Too many connections from you", Answer::Busy),
            (554, "5.7.1", "at the greeting", Answer::Away),
        ];
        for (code, status, text, expected) in answers {
            assert_eq!(of(code, status, text), expected, "{code} {status} {text}");
        }
    }

    #[test]
    fn silence_is_told_from_reasons_of_our_own() {
        let of = |subject, detail, no_secured_path| {
            let status = EnhancedStatusCode::transient(subject, detail);
            Answer::of(&Outcome {
                no_secured_path,
                ..Outcome::without_reply(status, "x")
            })
        };
        assert_eq!(of(4, 1, false), Answer::Away);
        assert_eq!(of(4, 3, false), Answer::Away);
        assert_eq!(of(4, 5, false), Answer::Nothing);
        assert_eq!(of(3, 0, false), Answer::Nothing);
        assert_eq!(of(7, 5, true), Answer::Nothing);
        assert_eq!(of(4, 2, true), Answer::Nothing);
        let hung_up = Outcome {
            broke_off: true,
            ..Outcome::without_reply(EnhancedStatusCode::transient(4, 2), "lost")
        };
        assert_eq!(Answer::of(&hung_up), Answer::BrokeOff);
    }

    #[test]
    fn of_one_attempt_the_weightiest_counts() {
        let taken = || {
            let status = EnhancedStatusCode::success(0, 0);
            Outcome::from_reply(Reply::new(250, status, "taken"), "mx.example", false)
        };
        let lost = Outcome::without_reply(EnhancedStatusCode::transient(4, 2), "lost");
        let busy = Reply::new(421, EnhancedStatusCode::transient(3, 2), "closing");
        let busy = Outcome::from_reply(busy, "mx.example", false);

        assert_eq!(Answer::of_all(&[lost.clone(), taken()]), Answer::Final);
        assert_eq!(Answer::of_all(&[taken(), lost, busy]), Answer::Busy);
        assert_eq!(Answer::of_all(&[]), Answer::Nothing);
    }
}
