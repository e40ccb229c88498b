//! The moment of the message: reads it once, asks every stage in turn, and makes one [`Decision`].
//!
//! A stage that panics or says that it failed takes nobody down: the policy file says whether its
//! failure defers the message or lets it pass with a note, and a safety stage always defers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, LazyLock};

use aho_corasick::packed::Searcher;
use tokio::runtime::Handle;

use crate::base::Reference;
use crate::base::unwind::{Panicked, without_panic};
use crate::content::{self, Content};
use crate::mail::mime::{self, MimeError, Structure};
use crate::mail::{Domain, EditKind, Header, MailTransaction, Mailbox, Message, Priority};

use super::case::{Case, ResolvedRecipient};
use super::combine::Tally;
use super::finding::SpamScore;
use super::held::{Held, held, hold, quarantine};
use super::old_name::{Sender, old_names};
use super::opinion::Opinions;
use super::self_release::AnswerText;
use super::settings::OnFailure;
use super::stage::StageName;
use super::stage::score_spam::ScoreSpam;
use super::verdict::{Decision, Direction};
use super::{PlacedStage, Policy, unavailable};

/// Whether stages may ask the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Network {
    /// They may.
    Allowed,
    /// They may not: what comes out is the same everywhere.
    Off,
}

impl Policy {
    /// Decides about a message as of the moment it was received. Never fails: what cannot be judged is
    /// deferred. Large messages, and those that may hold files, are judged on a thread of their own: opening
    /// a file may wait for its turn.
    pub async fn decide(self: &Arc<Self>, transaction: &MailTransaction) -> Decision {
        let judged = if is_soon_judged(&transaction.message) {
            // In a box: it is large, and would be moved at every step up to the connection.
            without_panic(Box::pin(self.judge(transaction, Network::Allowed))).await
        } else {
            let (policy, owned) = (Arc::clone(self), transaction.clone());
            let runtime = Handle::current();
            let task = tokio::task::spawn_blocking(move || {
                runtime.block_on(policy.judge(&owned, Network::Allowed))
            });
            task.await.map_err(|_| Panicked)
        };
        judged.unwrap_or_else(|Panicked| self.undecided(transaction))
    }

    /// As [`Policy::decide`], on the spot.
    pub async fn judge(&self, transaction: &MailTransaction, network: Network) -> Decision {
        let direction = self.direction(&transaction.client);
        let mut tally = Tally::new(unresolved(transaction));
        match catch_unwind(AssertUnwindSafe(|| self.read(transaction))) {
            // A file that could not be opened for now is no file without patient data.
            Ok(reading) if reading.is_unfinished() => {
                tally.take_for_all(&unavailable(StageName::ClassifyPatientData, "built-in"));
                self.decision(transaction, tally)
            }
            Ok(reading) => {
                let look = Look {
                    transaction,
                    direction,
                    network,
                };
                self.hold_to_contract(transaction, &mut tally);
                self.run_stages(&look, &reading, &mut tally).await;
                self.protect_signatures(transaction, &mut tally);
                self.decision_with_old_names(&look, &reading, tally)
            }
            Err(_) => {
                tally.take_for_all(&unavailable(StageName::ClassifyPatientData, "built-in"));
                self.decision(transaction, tally)
            }
        }
    }

    fn decision_with_old_names(
        &self,
        look: &Look<'_>,
        reading: &Reading<'_>,
        tally: Tally,
    ) -> Decision {
        let sender = Sender {
            reverse_path: &look.transaction.envelope.reverse_path,
            direction: look.direction,
            header: &reading.header,
        };
        let mut decision = self.decision(look.transaction, tally);
        decision.priority =
            self.urgency
                .class(look.transaction, &reading.header, &reading.content.subject);
        decision.held = self.held_of(look.transaction, &decision, &sender);
        decision.old_names = old_names(&decision, &sender, &self.directory, self.tell_of_old_names);
        decision
    }

    /// Keeps a message back for everybody to whom it would have gone, after all stages have spoken.
    pub fn hold(
        &self,
        transaction: &MailTransaction,
        decision: &mut Decision,
        rule: &str,
        because: &str,
        would_pass_if: &str,
    ) {
        hold(decision, rule, because, would_pass_if);
        self.hear_of(transaction, decision);
    }

    /// As [`Policy::hold`], but it is kept apart: a link stays in it that no reader may have.
    pub fn quarantine(
        &self,
        transaction: &MailTransaction,
        decision: &mut Decision,
        rule: &str,
        because: &str,
        would_pass_if: &str,
    ) {
        quarantine(decision, rule, because, would_pass_if);
        self.hear_of(transaction, decision);
    }

    /// Who hears of what is held is asked again, after the decision was changed.
    fn hear_of(&self, transaction: &MailTransaction, decision: &mut Decision) {
        let header = transaction.message.header();
        let sender = Sender {
            reverse_path: &transaction.envelope.reverse_path,
            direction: decision.direction,
            header: &header,
        };
        decision.held = self.held_of(transaction, decision, &sender);
    }

    /// Who hears of what is held, and who decides about it.
    fn held_of(
        &self,
        transaction: &MailTransaction,
        decision: &Decision,
        sender: &Sender<'_>,
    ) -> Held {
        let account = transaction.client.account.as_deref();
        let answers_for = |program: &Mailbox| self.answers_for(account, program);
        held(decision, sender, &self.holds, &self.secure_tag, answers_for)
    }

    /// Leaves out the edits that would break a signature, where the file says so.
    pub(super) fn protect_signatures(&self, transaction: &MailTransaction, tally: &mut Tally) {
        let edits = std::mem::take(&mut tally.edits);
        let served = |domain: &Domain| self.directory.serves(domain);
        let protected = self.signing.protect(&transaction.message, edits, served);
        tally.edits = protected.edits;
        let has_footer = tally.edits.iter().any(|edit| edit.kind == EditKind::Footer);
        if let Some(footer) = tally.findings.footer.as_mut().filter(|_| !has_footer) {
            footer.left_for_signature();
        }
        tally.findings.notes.extend(protected.notes);
    }

    /// The score of a message, and nothing else: for measuring.
    pub(super) fn score_alone(
        &self,
        stage: &ScoreSpam,
        transaction: &MailTransaction,
        network: Network,
    ) -> SpamScore {
        let tally = Tally::new(unresolved(transaction));
        let reading = self.read(transaction);
        let look = Look {
            transaction,
            direction: Direction::Inbound,
            network,
        };
        stage.score_of(&self.case(&look, &reading, &tally))
    }

    async fn run_stages(&self, look: &Look<'_>, reading: &Reading<'_>, tally: &mut Tally) {
        for placed in &self.stages {
            let case = self.case(look, reading, tally);
            let said = without_panic(pin!(placed.stage.examine(&case))).await;
            placed.settle(said, tally);
        }
    }

    pub(super) fn case<'a>(
        &'a self,
        look: &Look<'a>,
        reading: &'a Reading<'a>,
        tally: &'a Tally,
    ) -> Case<'a> {
        let client = &look.transaction.client;
        Case {
            transaction: look.transaction,
            direction: look.direction,
            header: &reading.header,
            structure: reading.structure.as_ref().map_err(|error| *error),
            content: &reading.content,
            recipients: &tally.recipients,
            findings: &tally.findings,
            now: look.transaction.received_at,
            account: client
                .account
                .as_ref()
                .and_then(|name| self.accounts.get(name)),
            accounts: &self.accounts,
            directory: &self.directory,
            hostname: &self.hostname,
            network_allowed: look.network == Network::Allowed,
        }
    }

    /// The decoded subject and bodies of an answer to a notice; `None` if it could not be read.
    pub fn text_of_answer(&self, transaction: &MailTransaction) -> Option<AnswerText> {
        let read = AssertUnwindSafe(|| self.read(transaction).content);
        let content = catch_unwind(read).ok()?;
        let texts = content.texts.into_iter();
        let bodies = texts.filter(|piece| piece.place.starts_with("body:"));
        Some(AnswerText {
            subject: content.subject,
            bodies: bodies.map(|piece| piece.text).collect(),
        })
    }

    pub(super) fn read<'m>(&self, transaction: &'m MailTransaction) -> Reading<'m> {
        let message = &transaction.message;
        let structure = mime::parse(message.octets());
        let content = match &structure {
            Ok(structure) => content::read(message, structure, &self.limits),
            Err(_) => content::unparsed(message, &self.limits),
        };
        Reading {
            header: message.header(),
            structure,
            content,
        }
    }

    fn decision(&self, transaction: &MailTransaction, mut tally: Tally) -> Decision {
        Decision {
            reference: Reference::random(),
            direction: self.direction(&transaction.client),
            has_sender: transaction.envelope.reverse_path.notifiable().is_some(),
            recipients: tally.decide(),
            old_names: Vec::new(),
            held: Held {
                owner: self.holds.owner.clone(),
                ..Held::default()
            },
            edits: tally.edits,
            findings: tally.findings,
            priority: Priority::Normal,
            policy: self.version.clone(),
        }
    }

    /// The decision about a message that could not be judged at all.
    fn undecided(&self, transaction: &MailTransaction) -> Decision {
        let mut tally = Tally::new(unresolved(transaction));
        tally.take_for_all(&unavailable(StageName::ClassifyPatientData, "built-in"));
        self.decision(transaction, tally)
    }
}

/// What is looked at, and how.
pub(super) struct Look<'a> {
    pub(super) transaction: &'a MailTransaction,
    pub(super) direction: Direction,
    pub(super) network: Network,
}

/// Whether a message is small and holds no file that would be opened by another process.
pub(super) fn is_soon_judged(message: &Message) -> bool {
    let octets = message.octets();
    message.len() <= INLINE_OCTETS_MAX
        && FILES
            .as_ref()
            .is_some_and(|files| files.find(octets).is_none())
        && !has_word(octets, b"base64", 4)
        && !has_word(octets, b"quoted-printable", 6)
}

/// How a file begins that has to be opened. What is encoded begins otherwise, and says how it is encoded. `None` on a
/// machine that cannot look at many octets at once.
static FILES: LazyLock<Option<Searcher>> = LazyLock::new(|| {
    let signs: [&[u8]; 4] = [b"%PDF-", b"PK\x03\x04", b"\x1F\x8B", b"{\\rtf"];
    Searcher::new(signs)
});

/// Whether a word stands somewhere in any case. Its octet at `rare` has one case, and is looked for.
fn has_word(octets: &[u8], word: &[u8], rare: usize) -> bool {
    memchr::memchr_iter(word[rare], octets).any(|at| {
        let from = at.checked_sub(rare);
        let found = from.and_then(|from| octets.get(from..from + word.len()));
        found.is_some_and(|found| found.eq_ignore_ascii_case(word))
    })
}

/// A message, read once for all stages.
pub(super) struct Reading<'m> {
    header: Header<'m>,
    structure: Result<Structure, MimeError>,
    content: Content,
}

impl Reading<'_> {
    /// Whether something in it was not opened for want of means, and may be the next time.
    pub(super) fn is_unfinished(&self) -> bool {
        let mut unread = self.content.unreadable.iter();
        unread.any(|unread| unread.because == content::UNAVAILABLE)
    }
}

impl PlacedStage {
    /// Puts what a stage said into the tally, or what its failure means.
    pub(super) fn settle(&self, said: Result<Opinions, Panicked>, tally: &mut Tally) {
        let failure = match said {
            Ok(mut opinions) => {
                let failure = opinions.failure.take();
                tally.take(opinions);
                failure
            }
            Err(Panicked) => Some("it broke off".to_owned()),
        };
        let Some(failure) = failure else { return };
        let note = format!("{}: failed, {failure}", self.name.word());
        tally.take(Opinions::note(note));
        if self.on_failure == OnFailure::Defer || self.name.is_safety() {
            tally.take_for_all(&unavailable(self.name, &self.source));
        }
    }
}

pub(super) fn unresolved(transaction: &MailTransaction) -> Vec<ResolvedRecipient> {
    let recipients = transaction.envelope.recipients.iter().enumerate();
    recipients
        .map(|(of, recipient)| ResolvedRecipient::unresolved(of, recipient))
        .collect()
}

/// Messages over this are judged on a thread of their own, so that no session waits for them.
const INLINE_OCTETS_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Stage;
    use crate::policy::stage::authenticate_sender::AuthenticateSender;
    use crate::policy::testing::World;

    fn placed(name: StageName, on_failure: OnFailure) -> PlacedStage {
        PlacedStage {
            stage: Stage::AuthenticateSender(AuthenticateSender::new(
                None,
                Arc::default(),
                Arc::default(),
            )),
            name,
            on_failure,
            source: "policies/postern.toml:71".into(),
        }
    }

    fn verdict_after(stage: &PlacedStage, said: Result<Opinions, Panicked>) -> (String, String) {
        let world = World::new("", "a@b.example", &["c@d.example"]);
        let mut tally = Tally::new(world.recipients);
        stage.settle(said, &mut tally);
        let notes = tally.findings.notes.join("|");
        let decided = tally.decide().remove(0);
        (
            format!("{} {}", decided.verdict.word(), decided.rule),
            notes,
        )
    }

    #[test]
    fn a_message_with_a_file_or_an_encoding_is_judged_apart() {
        for (octets, soon) in [
            (
                &b"Subject: x\r\n\r\na letter of 16 words - no more"[..],
                true,
            ),
            (b"Content-Transfer-Encoding: BASE64\r\n\r\n", false),
            (
                b"Content-Transfer-Encoding: Quoted-Printable\r\n\r\n",
                false,
            ),
            (b"quoted-printable", false),
            (b"64 base-64 quoted-print", true),
            (b"\r\n\r\n%PDF-1.7", false),
            (b"\r\n\r\nPK\x03\x04", false),
            (b"", true),
        ] {
            let message = Message::new(octets.to_vec());
            assert_eq!(is_soon_judged(&message), soon, "{message:?}");
        }
        assert!(!is_soon_judged(&Message::new(vec![
            b'x';
            INLINE_OCTETS_MAX + 1
        ])));
    }

    #[test]
    fn a_failure_defers_or_passes_as_the_policy_file_says() {
        let scan = placed(StageName::Scan, OnFailure::Defer);
        assert_eq!(
            verdict_after(&scan, Err(Panicked)),
            (
                "defer policies/postern.toml:71".into(),
                "scan: failed, it broke off".into()
            )
        );
        let spam = placed(StageName::ScoreSpam, OnFailure::Pass);
        assert_eq!(
            verdict_after(&spam, Ok(Opinions::failed("no rules"))),
            (
                "deliver built-in".into(),
                "score-spam: failed, no rules".into()
            )
        );
    }

    #[test]
    fn a_safety_stage_that_fails_never_passes() {
        for name in StageName::ALL.into_iter().filter(|name| name.is_safety()) {
            let stage = placed(name, OnFailure::Pass);
            assert!(verdict_after(&stage, Err(Panicked)).0.starts_with("defer "));
        }
    }
}
