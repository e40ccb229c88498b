//! Messages that an application may send twice and means once: `X-Postern-Idempotency-Key`.
//!
//! The key is the account's own and good for seven days. Whoever repeats a message under it hears 250 and the first
//! reference, and it is not sent again. The same key with other recipients is refused: it is another message, and to
//! answer 250 would be to lose it.

use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256, digest};
use tracing::{error, info};

use crate::base::Reference;
use crate::mail::{EnhancedStatusCode as Code, Header, MailTransaction, Message, Reply};
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::queue::{Once, Repeated};

use super::Parts;
use super::receive::Came;

/// The field.
pub const FIELD: &str = "X-Postern-Idempotency-Key";

/// A key: 1 to 200 printable ASCII characters, case and all.
#[derive(Clone, Eq, PartialEq)]
pub struct Key(String);

impl std::fmt::Debug for Key {
    /// Applications make keys of an appointment, or worse.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        let shaped = (1..=KEY_MAX).contains(&text.len())
            && text.bytes().all(|octet| (0x21..0x7f).contains(&octet));
        shaped.then(|| Self(text.to_owned())).ok_or(BadKey)
    }
}

/// Not a key, or more than one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadKey;

impl From<BadKey> for Reply {
    fn from(_: BadKey) -> Self {
        let text =
            format!("{FIELD} is one key of 1 to {KEY_MAX} printable characters without spaces");
        Self::new(554, Code::permanent(6, 0), text)
    }
}

/// The key of a message; `None` if it has none. One that cannot be read is no reason to send twice what is meant once.
pub fn key(header: &Header<'_>) -> Result<Option<Key>, BadKey> {
    let mut fields = header.all(FIELD);
    let Some(first) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() {
        return Err(BadKey);
    }
    first.value().parse().map(Some)
}

/// What the queue is to remember of a message that is meant once; `None` for any other, and for whoever has no account.
pub fn once(transaction: &MailTransaction) -> Result<Option<Once>, BadKey> {
    let Some(account) = &transaction.client.account else {
        return Ok(None);
    };
    let Some(key) = key(&transaction.message.header())? else {
        return Ok(None);
    };
    let at = transaction.received_at;
    Ok(Some(Once {
        account: account.clone(),
        key: sum(key.0.as_bytes()),
        recipients: recipients(transaction),
        body: sum(body(&transaction.message)),
        at,
        until: at + GOOD_FOR,
    }))
}

/// Over the recipients in any order: a retry may have sorted them.
fn recipients(transaction: &MailTransaction) -> [u8; 32] {
    let recipients = transaction.envelope.recipients.iter();
    let mut paths: Vec<String> = recipients
        .map(|recipient| match recipient.forward_path.mailbox() {
            Some(mailbox) => mailbox.folded().to_string(),
            None => recipient.forward_path.to_string().to_ascii_lowercase(),
        })
        .collect();
    paths.sort();
    let mut context = Context::new(&SHA256);
    for path in paths {
        context.update(path.as_bytes());
        context.update(b"\n");
    }
    octets(context.finish().as_ref())
}

/// What follows the header. A retry may well have another `Date`.
fn body(message: &Message) -> &[u8] {
    let all = message.octets();
    let end = memchr::memmem::find(all, b"\r\n\r\n").map_or(all.len(), |at| at + 4);
    &all[end..]
}

fn sum(of: &[u8]) -> [u8; 32] {
    octets(digest(&SHA256, of).as_ref())
}

/// SHA-256 has 32 octets.
fn octets(sum: &[u8]) -> [u8; 32] {
    let mut octets = [0; 32];
    octets.copy_from_slice(sum);
    octets
}

/// What a client hears of a message that came before, with its line in the trail.
pub(super) async fn answer(
    parts: &Parts,
    transaction: &MailTransaction,
    first: &Repeated,
) -> (Reply, Came) {
    let reply = match first.same_recipients {
        true => Reply::new(
            250,
            Code::success(6, 0),
            format!("accepted before, not sent again: {}", first.reference),
        ),
        false => Reply::new(
            554,
            Code::permanent(6, 0),
            format!(
                "this {FIELD} was used for other recipients: see {}",
                first.reference
            ),
        ),
    };
    info!(reference = %first.reference, reply = %reply.code(), "a message came again");
    if let Err(error) = parts
        .queue
        .record(vec![event(transaction, first, &reply)])
        .await
    {
        error!(%error, "a repeated message is missing in the audit trail");
    }
    let came = match first.same_recipients {
        true => Came::Again,
        false => Came::First,
    };
    (reply, came)
}

fn event(transaction: &MailTransaction, first: &Repeated, reply: &Reply) -> AuditEvent {
    let reference: &Reference = &first.reference;
    let sender = transaction.envelope.reverse_path.to_string();
    let kind = match first.same_recipients {
        true => AuditKind::Repeated,
        false => AuditKind::Refused,
    };
    let word = |same: bool| if same { "same" } else { "other" };
    let event = AuditEvent::new(transaction.received_at, reference.clone(), kind, sender)
        .fact("because", "the idempotency key was used before")
        .fact("recipients", word(first.same_recipients))
        .fact("body", word(first.same_body))
        .fact("reply", reply.to_string());
    match &transaction.client.account {
        Some(account) => event.fact("account", account),
        None => event,
    }
}

/// Longest key, in octets.
const KEY_MAX: usize = 200;
/// How long a key is good: longer than any outage after which an application would still send a reminder.
const GOOD_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key_of(header: &str) -> Result<Option<Key>, BadKey> {
        key(&Header::parse(header.as_bytes()))
    }

    #[test]
    fn a_message_has_one_key_or_none() {
        assert_eq!(key_of("Subject: x\r\n"), Ok(None));
        let one = key_of("x-postern-idempotency-key:  appt-7:2026-11-21 \r\n").unwrap();
        assert_eq!(one, Some(Key("appt-7:2026-11-21".to_owned())));
        for bad in [
            "X-Postern-Idempotency-Key:\r\n".to_owned(),
            "X-Postern-Idempotency-Key: a b\r\n".to_owned(),
            "X-Postern-Idempotency-Key: caf\u{e9}\r\n".to_owned(),
            "X-Postern-Idempotency-Key: a\r\nX-Postern-Idempotency-Key: a\r\n".to_owned(),
            format!("X-Postern-Idempotency-Key: {}\r\n", "a".repeat(201)),
        ] {
            assert_eq!(key_of(&bad), Err(BadKey), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_a_key_or_refused_and_keys_are_shown_by_nothing(value in "\\PC{0,210}") {
            if let Ok(key) = value.parse::<Key>() {
                prop_assert_eq!(key.0.parse::<Key>(), Ok(key.clone()));
                prop_assert_eq!(format!("{key:?}"), "Key(***)");
            }
        }
    }
}
