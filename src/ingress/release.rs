//! Answers to notices of holds: a sender lets go on what was held, with the code of the notice and a reason.
//!
//! By mail, for that is what senders have: nobody but an application has a password here, and a link in a
//! notice would be followed by every scanner of links. The code proves that whoever answers reads the sender's
//! mailbox, for it was sent nowhere else; it is good for one message, once, for a time, and the queue has its hash
//! alone. It stands in the subject, which a reply keeps and no log shows. Besides, the answer must come from our own
//! clients, from the sender of the message and, if that came by an account, by the same one; and it must be one that
//! the policy lets pass: the reason goes into the audit trail, where patient data has no place.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tracing::{error, info};

use crate::base::Reference;
use crate::mail::{EnhancedStatusCode, MailTransaction, Mailbox, Reply};
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::outcome::released::ReleasedNotice;
use crate::policy::self_release::{AnswerText, Leave, from_words};
use crate::policy::{Decision, Policy, Verdict};
use crate::queue::{Accepted, Binding, SenderRelease, SentOn};

use super::Parts;
use super::receive::{DECISION_MAX, try_later};

/// What is in an answer.
#[derive(Debug, Eq, PartialEq)]
struct Answer {
    reference: Reference,
    code: Code,
    reason: String,
}

/// A code, as it was sent out. Nothing shows it.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Code(String);

impl Code {
    /// A new one, from the operating system's random numbers; `None` if it has none.
    pub(super) fn random() -> Option<Self> {
        let mut octets = [0; CODE_LENGTH];
        getrandom::fill(&mut octets).ok()?;
        let letter = |octet: &u8| char::from(ALPHABET[usize::from(octet % 32)]);
        Some(Self(octets.iter().map(letter).collect()))
    }

    /// What the queue keeps of it. The code is random and long: nothing slower is needed.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// As the subject of a notice bears it: `[PX-7F3K2Q9A/…]`.
    pub(super) fn tag(&self, reference: &Reference) -> String {
        format!("[{reference}/{}]", self.0)
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Whether this is mail for the release address, alone or among others.
pub(super) fn is_answer(policy: &Policy, transaction: &MailTransaction) -> bool {
    let recipients = &transaction.envelope.recipients;
    recipients
        .iter()
        .any(|recipient| policy.is_release_address(&recipient.forward_path))
}

/// Does what an answer asks for, or says why not.
pub(super) async fn answer(
    parts: &Parts,
    policy: Arc<Policy>,
    transaction: &MailTransaction,
) -> Reply {
    let Ok(decision) = timeout(DECISION_MAX, policy.decide(transaction)).await else {
        return try_later();
    };
    let read = check(transaction, &decision).and_then(|()| read(&policy, transaction));
    let sender = transaction.envelope.reverse_path.notifiable();
    let (answer, sender) = match (read, sender) {
        (Ok(answer), Some(sender)) => (answer, sender.clone()),
        (Err(Refused::Reply(reply)), _) => return reply,
        (Err(Refused::Because(because)), _) => {
            return refuse(parts, transaction, None, because).await;
        }
        (Ok(_), None) => return refuse(parts, transaction, None, NO_SENDER).await,
    };
    let asked = asked(parts, &policy, transaction, &answer, sender);
    match parts.queue.release_by_sender(asked).await {
        Ok(sent_on) if sent_on.is_empty() => {
            refuse(parts, transaction, Some(&answer.reference), NO_GOOD).await
        }
        Ok(sent_on) => {
            parts.scheduler.wake();
            info!(reference = %answer.reference, deliveries = sent_on.len(), "released by the sender");
            let text = format!(
                "released for {}: {}",
                people(sent_on.len()),
                answer.reference
            );
            Reply::new(250, EnhancedStatusCode::success(0, 0), text)
        }
        Err(error) => {
            error!(%error, "what a sender releases could not be written: he was told to try again");
            try_later()
        }
    }
}

fn people(count: usize) -> String {
    match count {
        1 => "1 recipient".to_owned(),
        _ => format!("{count} recipients"),
    }
}

/// Why an answer is not taken.
enum Refused {
    /// The policy says so.
    Reply(Reply),
    /// It is no good.
    Because(&'static str),
}

/// Whether the message is one that may release anything at all.
fn check(transaction: &MailTransaction, decision: &Decision) -> Result<(), Refused> {
    if transaction.envelope.recipients.len() != 1 {
        return Err(Refused::Because(NOT_ALONE));
    }
    if transaction.message.len() > ANSWER_OCTETS_MAX {
        return Err(Refused::Because(TOO_LARGE));
    }
    let header = transaction.message.header();
    let automatic = header
        .all("Auto-Submitted")
        .any(|field| !field.value().trim().eq_ignore_ascii_case("no"));
    if automatic {
        return Err(Refused::Because(AUTOMATIC));
    }
    if decision.findings.patient_data.found {
        return Err(Refused::Because(PATIENT_DATA));
    }
    let mut verdicts = decision.recipients.iter().map(|one| &one.verdict);
    match verdicts.find(|verdict| **verdict != Verdict::Deliver) {
        None => Ok(()),
        Some(Verdict::Refuse(refusal) | Verdict::Defer(refusal)) => {
            Err(Refused::Reply(refusal.reply(&decision.reference)))
        }
        Some(_) => Err(Refused::Because(WOULD_BE_HELD)),
    }
}

fn read(policy: &Policy, transaction: &MailTransaction) -> Result<Answer, Refused> {
    let text = policy.text_of_answer(transaction);
    let text = text.ok_or(Refused::Because(NO_CODE))?;
    let (reference, code) = code_in(&text.subject).ok_or(Refused::Because(NO_CODE))?;
    let reason = reason_in(&text).map_err(Refused::Because)?;
    Ok(Answer {
        reference,
        code,
        reason,
    })
}

/// `[PX-7F3K2Q9A/CODE]`, wherever it stands in a subject.
fn code_in(subject: &str) -> Option<(Reference, Code)> {
    subject.split('[').skip(1).find_map(|rest| {
        let (tag, _) = rest.split_once(']')?;
        let (reference, code) = tag.split_once('/')?;
        let code = code.trim().to_ascii_uppercase();
        Some((reference.trim().parse().ok()?, Code(code)))
    })
}

/// The first `Reason:` that is no quotation, to the end of its paragraph.
fn reason_in(text: &AnswerText) -> Result<String, &'static str> {
    let reason = text.bodies.iter().find_map(|body| paragraph(body));
    let reason = reason.ok_or(NO_REASON)?;
    if reason.chars().filter(|c| c.is_alphabetic()).count() < REASON_LETTERS_MIN {
        return Err(NO_REASON);
    }
    if reason.chars().count() > REASON_MAX {
        return Err(LONG_REASON);
    }
    if reason.chars().filter(|c| c.is_numeric()).count() > REASON_DIGITS_MAX {
        return Err(NUMBERS);
    }
    Ok(reason)
}

fn paragraph(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find_map(|line| {
        let (word, rest) = line.split_at_checked("reason:".len())?;
        word.eq_ignore_ascii_case("reason:").then_some(rest)
    })?;
    let more = lines.take_while(|line| !line.is_empty() && !line.starts_with('>') && *line != "--");
    let words = std::iter::once(first)
        .chain(more)
        .flat_map(str::split_whitespace);
    let text = words.collect::<Vec<_>>().join(" ");
    Some(text.chars().filter(|c| !c.is_control()).collect())
}

fn asked(
    parts: &Parts,
    policy: &Arc<Policy>,
    transaction: &MailTransaction,
    answer: &Answer,
    sender: Mailbox,
) -> SenderRelease {
    let ruling = Arc::clone(policy);
    let owner = policy.holds().owner_address.clone();
    let (letterhead, now) = (parts.letterhead.clone(), parts.clock.now());
    let (about, reason, from) = (
        answer.reference.clone(),
        answer.reason.clone(),
        sender.clone(),
    );
    SenderRelease {
        reference: answer.reference.clone(),
        code_hash: answer.code.hash(),
        sender,
        account: transaction.client.account.clone(),
        reason: answer.reason.clone(),
        leave: Box::new(
            move |path, grounds| match ruling.leave(path, from_words(grounds)) {
                Leave::Never => None,
                Leave::Encrypted => Some(Binding::Encryption),
                Leave::AsItIs => Some(Binding::Any),
            },
        ),
        notices: Box::new(move |sent_on: &[SentOn]| {
            let recipients: Vec<(String, bool)> = sent_on
                .iter()
                .map(|one| (one.recipient.clone(), one.is_encrypted))
                .collect();
            let told = owner.iter().chain([&from]);
            told.map(|to| ReleasedNotice {
                to,
                sender: &from,
                recipients: &recipients,
                reason: &reason,
                about: &about,
            })
            .map(|notice| Accepted::notice(notice.notice(letterhead.hostname(), now), &letterhead))
            .collect()
        }),
    }
}

/// Says why not, and writes it down: somebody may be guessing. The trail has what was quoted as reference, so that
/// whoever looks after that message sees it.
async fn refuse(
    parts: &Parts,
    transaction: &MailTransaction,
    about: Option<&Reference>,
    because: &str,
) -> Reply {
    let reference = about.cloned().unwrap_or_else(Reference::random);
    let reply = Reply::new(
        550,
        EnhancedStatusCode::permanent(7, 1),
        format!("nothing was released: {because}: see {reference}"),
    );
    let sender = transaction.envelope.reverse_path.to_string();
    let mut event = AuditEvent::new(parts.clock.now(), reference, AuditKind::Refused, sender)
        .fact("because", format!("an answer to a notice: {because}"))
        .fact("reply", reply.to_string())
        .fact(
            "client",
            transaction.client.address.ip().to_canonical().to_string(),
        );
    if let Some(account) = &transaction.client.account {
        event = event.fact("account", account);
    }
    if let Err(error) = parts.queue.record(vec![event]).await {
        error!(%error, "a refusal is missing in the audit trail");
    }
    reply
}

const NO_GOOD: &str =
    "the code is not good for this sender and this message; it may have been used, or have run out";
const NO_CODE: &str =
    "the subject has no code: reply to the notice, and leave its subject as it is";
const NO_REASON: &str = "a reason is needed: write a line that begins with Reason: and says why";
const LONG_REASON: &str = "the reason is longer than 300 characters";
const NUMBERS: &str =
    "the reason has a long number in it: leave it out, the reason is kept in the audit trail";
const PATIENT_DATA: &str =
    "there is patient data in the answer: leave it out, the reason is kept in the audit trail";
const WOULD_BE_HELD: &str = "the answer itself would be held: reply with plain text alone";
const AUTOMATIC: &str = "an automatic answer releases nothing";
const NOT_ALONE: &str = "an answer goes to this address alone";
const TOO_LARGE: &str = "an answer is a few lines";
const NO_SENDER: &str = "a report releases nothing";

/// Characters of a reason: what a list of events has room for.
const REASON_MAX: usize = 300;
/// Letters without which it says nothing.
const REASON_LETTERS_MIN: usize = 3;
/// Digits with which it could be an identifier: an NHS number has ten, a date of birth eight.
const REASON_DIGITS_MAX: usize = 6;
/// An answer with the notice in it, in octets.
const ANSWER_OCTETS_MAX: usize = 256 << 10;
/// Letters of a code: 130 bits.
const CODE_LENGTH: usize = 26;
/// Letters and digits that are not mistaken for one another.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;
    fn reason(text: &str) -> Result<String, &'static str> {
        reason_in(&AnswerText {
            subject: String::new(),
            bodies: vec![text.to_owned()],
        })
    }

    #[test]
    fn a_reason_is_a_line_of_its_own_to_the_end_of_the_paragraph() {
        let answer =
            "Hello,\nREASON:  it is the patient's\n own address\n\nBest wishes\n> Reason: no\n";
        assert_eq!(
            reason(answer),
            Ok("it is the patient's own address".to_owned())
        );
        let quoted = "> Reason: as it says\nwrite \"Reason:\" and why\n";
        assert_eq!(reason(quoted), Err(NO_REASON));
        for (text, why) in [
            ("", NO_REASON),
            ("please send it", NO_REASON),
            ("Reason:\n\nit is urgent\n", NO_REASON),
            ("Reason: ok", NO_REASON),
            ("Reason: for 450 557 7104", NUMBERS),
        ] {
            assert_eq!(reason(text), Err(why), "{text}");
        }
        let long = format!("Reason: {}", "long ".repeat(61));
        assert_eq!(reason(&long), Err(LONG_REASON));
    }

    #[test]
    fn a_code_is_found_again_in_a_reply_and_shown_by_nothing() {
        let reference: Reference = "PX-7F3K2Q9A".parse().unwrap();
        let code = Code::random().unwrap();
        let subject = format!(
            "Re: AW: [External] Your message is held {}",
            code.tag(&reference)
        );
        assert_eq!(code_in(&subject), Some((reference, code.clone())));
        assert_eq!(
            (code.0.len(), format!("{code:?}").as_str()),
            (CODE_LENGTH, "***")
        );
        assert!(code_in("Re: Your message is held [PX-7F3K2Q9A]").is_none());
        assert_ne!(code.hash(), Code::random().unwrap().hash());
    }
}
