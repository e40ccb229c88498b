//! Deciding again about mail that waits, when another policy is in force than the one that decided.
//!
//! Only what keeps patient data in bounds is asked: what is in the message (`classify-patient-data`), and whether the
//! recipient may have it and how (`secure-domain`). Who sent it was judged when it came, and is not known any more; nor
//! is it edited again. The answer can make things stricter and never looser: that is for the caller to see to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::runtime::Handle;

use crate::base::unwind::without_panic;
use crate::mail::{MailTransaction, sms::Pseudonym};

use super::combine::Tally;
use super::decide::{Look, Network, is_soon_judged};
use super::stage::StageName;
use super::verdict::{Direction, Verdict};
use super::{Policy, unavailable};

/// What the policy in force says of a recipient of mail that waits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Again {
    /// It may go as it is bound.
    Goes,
    /// It may go over verified TLS.
    VerifiedTls,
    /// It may go to the encryption next hop.
    Encrypt,
    /// It may not go.
    Forbidden {
        /// What says so.
        rule: String,
        /// Why, in one plain sentence.
        because: String,
    },
    /// It cannot be said now.
    Unknown,
}

impl Policy {
    /// The moment at which what waits is judged.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Judges a message that waits, as of now: one answer for each recipient of its envelope. What cannot be judged is
    /// unknown, and has to wait.
    pub async fn judge_again(self: &Arc<Self>, transaction: MailTransaction) -> Vec<Again> {
        let count = transaction.envelope.recipients.len();
        let judged = match is_soon_judged(&transaction.message) {
            true => without_panic(self.look_again(&transaction)).await.ok(),
            false => {
                let (policy, runtime) = (Arc::clone(self), Handle::current());
                let task = tokio::task::spawn_blocking(move || {
                    runtime.block_on(policy.look_again(&transaction))
                });
                task.await.ok()
            }
        };
        judged.unwrap_or_else(|| vec![Again::Unknown; count])
    }

    async fn look_again(&self, transaction: &MailTransaction) -> Vec<Again> {
        let recipients = transaction.envelope.recipients.iter().enumerate();
        // They were resolved when the message came.
        let known = recipients.map(|(of, recipient)| {
            self.recipients
                .as_given(of, recipient, transaction.received_at)
        });
        let mut tally = Tally::new(known.collect());
        let reading = catch_unwind(AssertUnwindSafe(|| self.read(transaction)));
        match &reading {
            Ok(reading) if !reading.is_unfinished() => {
                let look = Look {
                    transaction,
                    direction: Direction::Inbound,
                    network: Network::Off,
                };
                let keeps_bounds = |name| {
                    matches!(
                        name,
                        StageName::ClassifyPatientData | StageName::SecureDomain
                    )
                };
                for placed in self.stages.iter().filter(|one| keeps_bounds(one.name)) {
                    let case = self.case(&look, reading, &tally);
                    let said = without_panic(pin!(placed.stage.examine(&case))).await;
                    placed.settle(said, &mut tally);
                }
            }
            _ => tally.take_for_all(&unavailable(StageName::ClassifyPatientData, "built-in")),
        }
        let decided = tally.decide().into_iter();
        decided
            .map(|one| match one.verdict {
                // The number that a text goes to has rules of its own, which saw who sent it.
                _ if Pseudonym::is_one(&one.recipient.forward_path) => Again::Goes,
                Verdict::Deliver => Again::Goes,
                Verdict::DeliverVerifiedTls => Again::VerifiedTls,
                Verdict::Encrypt => Again::Encrypt,
                Verdict::Defer(_) => Again::Unknown,
                Verdict::Hold | Verdict::Quarantine | Verdict::Refuse(_) => Again::Forbidden {
                    rule: one.rule,
                    because: one.because,
                },
            })
            .collect()
    }
}
