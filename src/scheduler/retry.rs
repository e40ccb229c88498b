//! What follows an attempt: nothing, another one, or the end; and what the sender hears of it.
//!
//! Between attempts RFC 5321 §4.5.4.1 holds; whether a report is due, RFC 3461 §5.2 says.

use std::time::Duration;

use jiff::Timestamp;

use crate::delivery::{RetrySchedule, Route, Transport};
use crate::outcome::notify::Event;
use crate::outcome::{After, DeliveryResult, Outcome};
use crate::queue::{Binding, LeasedDelivery, Next};

use super::answer::Answer;
use super::courier::{Fallback, Then};
use super::health::PAUSE_FIRST;

/// What follows an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Judgement {
    /// For the queue.
    pub(super) next: Next,
    /// For the sender, if he wants to know.
    pub(super) event: Option<Event>,
}

/// What counts besides what came of the attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances<'r> {
    /// The way it went; `None` if there was none.
    pub(super) route: Option<&'r Route>,
    /// What happens without a secured path.
    pub(super) fallback: Fallback,
    /// From when on its time counts ([`LeasedDelivery::began_at`]).
    pub(super) began_at: Timestamp,
    /// When the next hop may be tried again, if that may be before the schedule says so.
    pub(super) sooner: Option<Timestamp>,
}

/// Judges what came of an attempt at `now`.
pub(super) fn judge(
    outcome: &Outcome,
    delivery: &LeasedDelivery,
    circumstances: &Circumstances<'_>,
    now: Timestamp,
) -> Judgement {
    let Circumstances {
        route,
        fallback,
        began_at,
        sooner,
    } = *circumstances;
    let insecure = outcome.no_secured_path && delivery.binding != Binding::Any;
    match outcome.result {
        DeliveryResult::Delivered { dsn_passed_on } => Judgement {
            next: Next::Delivered,
            event: match (dsn_passed_on, route) {
                (true, _) => None,
                (false, Some(route)) if is_final(route) => Some(Event::Delivered),
                (false, _) => Some(Event::Relayed),
            },
        },
        DeliveryResult::Permanent => Judgement {
            next: Next::Failed,
            event: Some(Event::Failed),
        },
        DeliveryResult::Transient => {
            let default = RetrySchedule::default();
            let schedule = route.map_or(&default, |route| &route.schedule);
            let pace = Pace {
                answer: Answer::of(outcome),
                // It may be there: the longer it waits, the likelier the next hop shows that it has it.
                sooner: sooner.filter(|_| !outcome.in_doubt),
            };
            let deferred = after_deferral(delivery, schedule, pace, began_at, now);
            if outcome.after == After::Hold {
                return Judgement {
                    next: Next::Held,
                    event: None,
                };
            }
            let deferred = at_its_time(deferred, outcome.after, began_at + schedule.give_up_after);
            let over = deferred.next == Next::Expired || age(began_at, now) >= fallback.after;
            match without_secured_path(fallback.then) {
                Some(judgement) if insecure && over => judgement,
                _ => deferred,
            }
        }
    }
}

/// Another attempt when the outcome asks for it, but not past the last one.
fn at_its_time(deferred: Judgement, after: After, until: Timestamp) -> Judgement {
    match (deferred.next, after) {
        (Next::RetryAt(_), After::NotBefore(at)) => Judgement {
            next: Next::RetryAt(at.min(until)),
            ..deferred
        },
        _ => deferred,
    }
}

/// What follows when there has been no secured path for long enough; `None` to go on trying.
fn without_secured_path(then: Then) -> Option<Judgement> {
    let (next, event) = match then {
        Then::Defer => return None,
        Then::Hold => (Next::Held, None),
        Then::Encrypt => (Next::Diverted, None),
        Then::Bounce => (Next::Failed, Some(Event::Failed)),
    };
    Some(Judgement { next, event })
}

/// A clock that was set back makes an age of nothing.
fn age(began_at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now - began_at).unwrap_or_default()
}

/// How soon the next attempt may be, by what the next hop said.
#[derive(Clone, Copy)]
struct Pace {
    answer: Answer,
    sooner: Option<Timestamp>,
}

impl Pace {
    /// The number of failures that the schedule goes by: a full mailbox does not empty itself in minutes.
    fn failures(self, attempts: u32) -> u32 {
        match self.answer {
            Answer::Full => attempts.saturating_add(1 + FULL_STEPS),
            _ => attempts.saturating_add(1),
        }
    }

    /// The next attempt, never after the scheduled one. What comes back early does so at pauses that double.
    fn next(self, scheduled: Timestamp, attempts: u32, now: Timestamp) -> Timestamp {
        let doubled = |first: Duration| now + first.saturating_mul(1 << attempts.min(16));
        let early = match (self.answer, self.sooner) {
            (Answer::ComeAgain, _) if attempts == 0 => now + COME_AGAIN,
            (_, None) => scheduled,
            (
                Answer::NotThis
                | Answer::ComeAgain
                | Answer::Full
                | Answer::Final
                | Answer::BrokeOff,
                _,
            ) => scheduled,
            (Answer::Busy, Some(at)) => at.max(doubled(PAUSE_FIRST)),
            (Answer::TooMany, Some(at)) => at.max(doubled(REST_AFTER)),
            (Answer::Away | Answer::Nothing, Some(at)) => at,
        };
        scheduled.min(early)
    }
}

fn after_deferral(
    delivery: &LeasedDelivery,
    schedule: &RetrySchedule,
    pace: Pace,
    began_at: Timestamp,
    now: Timestamp,
) -> Judgement {
    let age = age(began_at, now);
    let failures = pace.failures(delivery.attempts);
    let Some(delay) = schedule.next_delay(failures, age) else {
        return Judgement {
            next: Next::Expired,
            event: Some(Event::Expired),
        };
    };
    let until = began_at + schedule.give_up_after;
    let scheduled = now + delay + jitter(delivery, delay);
    let next = pace.next(scheduled, delivery.attempts, now);
    let is_late = age >= schedule.warn_after && !delivery.delay_notified;
    Judgement {
        // The last attempt is made when its time is over, not before.
        next: Next::RetryAt(next.min(until)),
        event: is_late.then_some(Event::Delayed { until }),
    }
}

/// Whether a message is in its mailbox once it went this way (RFC 2033 §1: LMTP is final delivery).
fn is_final(route: &Route) -> bool {
    matches!(
        route.transport,
        Transport::Maildir { .. } | Transport::Lmtp(_)
    )
}

/// Up to a tenth of the delay, so that what failed together does not return together; the same for
/// one delivery each time. Nothing for short delays.
fn jitter(delivery: &LeasedDelivery, delay: Duration) -> Duration {
    if delay < JITTER_FROM {
        return Duration::ZERO;
    }
    // Fibonacci hashing: neighbouring numbers land far apart.
    let spread = delivery
        .id
        .0
        .unsigned_abs()
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        >> 54;
    delay.mul_f64(spread as f64 / 10_240.0)
}

/// Delays under this are kept to the letter.
const JITTER_FROM: Duration = Duration::from_secs(60);
/// When greylisting is over nearly everywhere: its authors say five minutes at most.
const COME_AGAIN: Duration = Duration::from_secs(5 * 60 + 10);
/// Steps of the schedule that are left out for a full mailbox.
const FULL_STEPS: u32 = 2;
/// When the rest of the recipients follow those that were taken.
const REST_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{EnhancedStatusCode, ForwardPath, Priority, Recipient, Reply};
    use crate::queue::DeliveryId;

    fn start() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn delivery(attempts: u32) -> LeasedDelivery {
        LeasedDelivery {
            id: DeliveryId(1 << 20),
            recipient: Recipient::new(ForwardPath::Postmaster),
            binding: Binding::Any,
            attempts,
            delay_notified: false,
            priority: Priority::Normal,
            policy: None,
            released_at: None,
        }
    }

    fn circumstances(fallback: Fallback) -> Circumstances<'static> {
        Circumstances {
            route: None,
            fallback,
            began_at: start(),
            sooner: None,
        }
    }

    fn after(hours: u64, attempts: u32, notified: bool) -> Judgement {
        let outcome = Outcome::without_reply(EnhancedStatusCode::transient(4, 1), "no answer");
        let delivery = LeasedDelivery {
            delay_notified: notified,
            ..delivery(attempts)
        };
        judge(
            &outcome,
            &delivery,
            &circumstances(Fallback::default()),
            start() + Duration::from_secs(3600 * hours),
        )
    }

    #[test]
    fn delays_grow_and_stay_near_the_schedule() {
        for (attempts, minutes) in [(0, 15), (1, 30), (2, 60), (4, 240), (9, 240)] {
            let Next::RetryAt(at) = after(0, attempts, false).next else {
                panic!("another attempt")
            };
            let seconds = (at - start()).get_seconds() as u64;
            assert!(
                (minutes * 60..=minutes * 66).contains(&seconds),
                "{attempts}: {seconds}"
            );
        }
    }

    #[test]
    fn the_sender_hears_of_the_delay_once() {
        let until = start() + Duration::from_secs(5 * 24 * 3600);
        assert_eq!(after(3, 3, false).event, None);
        assert_eq!(after(4, 4, false).event, Some(Event::Delayed { until }));
        assert_eq!(after(4, 4, true).event, None);
    }

    #[test]
    fn the_last_attempt_is_made_when_the_time_is_over() {
        let until = start() + Duration::from_secs(5 * 24 * 3600);
        assert_eq!(after(5 * 24 - 1, 40, true).next, Next::RetryAt(until));
        assert_eq!(after(5 * 24, 41, true).next, Next::Expired);
        assert_eq!(after(5 * 24, 41, true).event, Some(Event::Expired));
    }

    #[test]
    fn without_a_secured_path_it_is_as_the_destination_says() {
        let after = Duration::from_secs(2 * 3600);
        let judged = |then, hours: u64, bound, no_secured_path| {
            let status = EnhancedStatusCode::transient(7, 5);
            let outcome = Outcome {
                no_secured_path,
                ..Outcome::without_reply(status, "the certificate is for another name")
            };
            let delivery = LeasedDelivery {
                binding: bound,
                ..delivery(0)
            };
            let now = start() + Duration::from_secs(3600 * hours);
            judge(
                &outcome,
                &delivery,
                &circumstances(Fallback { then, after }),
                now,
            )
            .next
        };
        let bound = Binding::VerifiedTls;
        for then in [Then::Defer, Then::Hold, Then::Encrypt, Then::Bounce] {
            assert!(matches!(judged(then, 1, bound, true), Next::RetryAt(_)));
        }
        assert!(matches!(
            judged(Then::Defer, 2, bound, true),
            Next::RetryAt(_)
        ));
        assert_eq!(judged(Then::Hold, 2, bound, true), Next::Held);
        assert_eq!(judged(Then::Encrypt, 2, bound, true), Next::Diverted);
        assert_eq!(judged(Then::Bounce, 2, bound, true), Next::Failed);
        assert_eq!(judged(Then::Hold, 2, Binding::Encryption, true), Next::Held);
        // Another failure, or mail that is bound to nothing, is not concerned.
        assert!(matches!(
            judged(Then::Hold, 2, bound, false),
            Next::RetryAt(_)
        ));
        assert!(matches!(
            judged(Then::Hold, 2, Binding::Any, true),
            Next::RetryAt(_)
        ));
    }

    #[test]
    fn an_outcome_may_ask_for_its_own_time_or_for_somebody() {
        let judged = |after| {
            let status = EnhancedStatusCode::transient(2, 0);
            let outcome = Outcome {
                after,
                ..Outcome::without_reply(status, "quiet hours")
            };
            let circumstances = circumstances(Fallback::default());
            judge(&outcome, &delivery(3), &circumstances, start()).next
        };
        let hours = |n: u64| start() + Duration::from_secs(3600 * n);
        assert_eq!(
            judged(After::NotBefore(hours(10))),
            Next::RetryAt(hours(10))
        );
        let end = hours(5 * 24);
        assert_eq!(judged(After::NotBefore(hours(1_000))), Next::RetryAt(end));
        assert_eq!(judged(After::Hold), Next::Held);
    }

    #[test]
    fn a_clock_that_was_set_back_gives_nothing_up() {
        let outcome = Outcome::without_reply(EnhancedStatusCode::transient(4, 1), "no answer");
        let earlier = start() - Duration::from_secs(3600);
        let judgement = judge(
            &outcome,
            &delivery(0),
            &circumstances(Fallback::default()),
            earlier,
        );
        assert!(matches!(judgement.next, Next::RetryAt(_)));
    }

    #[test]
    fn a_next_hop_that_does_not_report_makes_us_say_relayed() {
        let mut outcome = Outcome::without_reply(EnhancedStatusCode::success(0, 0), "");
        for (dsn_passed_on, event) in [(true, None), (false, Some(Event::Relayed))] {
            outcome.result = DeliveryResult::Delivered { dsn_passed_on };
            assert_eq!(
                judge(
                    &outcome,
                    &delivery(0),
                    &circumstances(Fallback::default()),
                    start()
                )
                .event,
                event
            );
        }
    }

    #[test]
    fn the_pause_goes_by_the_class_of_the_reply() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let pause = |code, status: &str, text: &str, attempts, sooner: Option<Duration>| {
            let status = EnhancedStatusCode::parse(status).unwrap();
            let outcome = Outcome::from_reply(Reply::new(code, status, text), "mx", false);
            let circumstances = Circumstances {
                sooner: sooner.map(|after| start() + after),
                ..circumstances(Fallback::default())
            };
            let judged = judge(&outcome, &delivery(attempts), &circumstances, start());
            let Next::RetryAt(at) = judged.next else {
                panic!("another attempt")
            };
            Duration::try_from(at - start()).unwrap()
        };
        // The mailbox or the message has to wait: as the schedule says, whatever the next hop is up to.
        assert!(pause(450, "4.2.1", "in use", 0, Some(minutes(1))) >= minutes(15));
        assert!(pause(451, "4.3.0", "local error", 0, None) >= minutes(15));
        // A full mailbox waits for longer.
        assert!(pause(452, "4.2.2", "full", 0, None) >= minutes(60));
        // Greylisting is over in five minutes, and if it is not the schedule speaks.
        let greylisted = |attempts| pause(450, "4.7.1", "Greylisted, come again", attempts, None);
        assert!(greylisted(0) < minutes(6), "{:?}", greylisted(0));
        assert!(greylisted(1) >= minutes(30));
        // A busy next hop gets its own pause, which doubles for a message that meets it again and again.
        let busy = |attempts| {
            pause(
                421,
                "4.3.2",
                "busy",
                attempts,
                Some(Duration::from_secs(15)),
            )
        };
        assert_eq!(busy(0), Duration::from_secs(15));
        assert_eq!(busy(3), minutes(2));
        assert!(busy(12) >= minutes(240));
        // The rest of the recipients follow at once.
        let rest = pause(452, "4.5.3", "too many", 0, Some(Duration::ZERO));
        assert_eq!(rest, Duration::from_secs(1));
    }
}
