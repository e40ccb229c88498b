//! Text messages on their way into the queue: the number is taken out of sight, and each number gets its own copy
//! with the text that was judged.
//!
//! From here on lists, the audit trail, logs, notices and reports see a pseudonym (`mail::sms`); the number is in the
//! copy alone, which goes with its delivery.

use std::borrow::Cow;

use crate::base::HashKey;
use crate::mail::sms::{MobileNumber, Pseudonym, TextMessage};
use crate::mail::{Domain, ForwardPath, MailTransaction, Mailbox, Recipient};
use crate::policy::sms::{SmsRule, number};
use crate::policy::{Decision, RecipientDecision};

use super::finish::Copy;
use super::{Parts, events};

/// The text messages that a message becomes.
pub(super) struct Texts {
    /// One for each number.
    pub(super) copies: Vec<Copy>,
    /// Whether nobody gets it as mail.
    pub(super) is_all: bool,
    /// The `Message-ID` as the trail may have it.
    pub(super) message_id: Option<String>,
}

/// Takes the numbers out of a decision and returns the copies for them, none if no recipient is a number. `None` if
/// this gateway has no key for that: it was started before it was told to send texts.
pub(super) fn disguise(
    parts: &Parts,
    rule: &SmsRule,
    transaction: &MailTransaction,
    decision: &mut Decision,
) -> Option<Texts> {
    let (mut copies, mut seen) = (Vec::new(), Vec::new());
    let is_text = |one: &RecipientDecision| rule.is_for(&one.recipient.forward_path);
    let message_id = events::message_id(&transaction.message);
    if !decision.recipients.iter().any(is_text) {
        return Some(Texts {
            copies,
            is_all: false,
            message_id,
        });
    }
    let is_all = decision.recipients.iter().all(is_text);
    let texts = decision.recipients.iter().filter(|one| is_text(one));
    let numbers = texts.filter_map(|one| number(&one.recipient.forward_path).ok());
    let message_id = message_id.map(|id| numbers.fold(id, |id, number| without(&id, &number)));
    let own_id = || format!("<{}@{}>", decision.reference, parts.hostname);
    let shown_id = message_id.clone().unwrap_or_else(own_id);
    let (key, domain) = (parts.text_key.as_ref()?, rule.domain()?);
    let text = decision
        .findings
        .short_text
        .as_ref()
        .map_or("", |text| &text.0);
    let account = transaction.client.account.as_deref().unwrap_or_default();
    for (nth, one) in decision.recipients.iter_mut().enumerate() {
        if !rule.is_for(&one.recipient.forward_path) {
            continue;
        }
        let number = number(&one.recipient.forward_path).ok();
        let shown = shown(number.as_ref(), key, domain)?;
        // A number that is named twice gets one text, and both its deliveries are of that one.
        let is_first = !seen.contains(&shown);
        if let Some(number) = number.filter(|_| is_first) {
            seen.push(shown.clone());
            let text = TextMessage {
                to: number,
                reference: format!("{}.{}", decision.reference, nth + 1),
                account: account.to_owned(),
                text: text.to_owned(),
            };
            let message = text.compose(Some(&shown_id), |octets| {
                key.hash(TextMessage::PURPOSE, octets)
            });
            copies.push(Copy::for_number(shown.clone(), message));
        }
        one.given = shown.clone();
        one.recipient.forward_path = shown;
        one.recipient.orcpt = None;
        one.path.clear();
    }
    if is_all {
        // A text has neither footer nor mark.
        decision.edits.clear();
        decision.findings.footer = None;
    }
    Some(Texts {
        copies,
        is_all,
        message_id,
    })
}

/// A `Message-ID` without the number, of which programs make it.
fn without(id: &str, number: &MobileNumber) -> String {
    match number.digits().get(COUNTRY_DIGITS..) {
        Some(national) => id.replace(national, &format!("*{}", number.last_three())),
        None => id.to_owned(),
    }
}

/// A recipient as the audit trail may have it. `is_number` says that it was refused as a number.
pub(super) fn for_the_trail<'r>(
    parts: &Parts,
    rule: &SmsRule,
    recipient: &'r Recipient,
    is_number: bool,
) -> Cow<'r, Recipient> {
    let path = &recipient.forward_path;
    let is_number = is_number || rule.is_for(path);
    let Some(domain) = path.domain().filter(|_| is_number) else {
        return Cow::Borrowed(recipient);
    };
    let key = parts.text_key.as_ref();
    let shown = key.and_then(|key| shown(number(path).ok().as_ref(), key, domain));
    Cow::Owned(Recipient::new(shown.unwrap_or(ForwardPath::Postmaster)))
}

/// The pseudonym of a number; one for all that is no number.
fn shown(number: Option<&MobileNumber>, key: &HashKey, domain: &Domain) -> Option<ForwardPath> {
    match number {
        Some(number) => {
            let hash = key.hash(Pseudonym::PURPOSE, number.digits().as_bytes());
            Pseudonym::new(number, &hash).at(domain)
        }
        None => {
            let mailbox = Mailbox::parse(&format!("no-number@{domain}")).ok()?;
            Some(ForwardPath::Mailbox(mailbox))
        }
    }
}

/// Digits of the code of the country, which people leave out.
const COUNTRY_DIGITS: usize = 2;
