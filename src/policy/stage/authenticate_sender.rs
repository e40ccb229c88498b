//! The sender rule: an account sends under its own names alone, and what is known of a stranger is
//! written on his mail.
//!
//! For mail from outside, SPF, DKIM, DMARC, ARC and iprev are asked (`evidence`) and go onto the message as
//! `Authentication-Results` (RFC 8601). They are evidence for later stages; here they restrict those alone who
//! claim to be from here (`senders`), and those of whom nothing can be known for now. A field in our own name that came with the message is forged and taken out (§5), whoever
//! sent it.

use crate::accounts::Accounts;
use crate::base::certificate::Fingerprint;
use crate::base::dns::Dns;
use crate::config::Place;
use crate::mail::{Client, Edit, EditKind, Header, HeaderField, ReversePath};
use crate::policy::case::Case;
use crate::policy::evidence::Evidence;
use crate::policy::finding::{AuthenticationResults, MethodResult};
use crate::policy::opinion::{Ask, Finding, Opinion, Opinions};
use crate::policy::refusal::Refusal;
use crate::policy::relay_certificates::RelayCertificates;
use crate::policy::secure_domains::SecureDomains;
use crate::policy::senders::Senders;
use crate::policy::submitter::{Names, names};
use std::sync::Arc;

/// The stage `authenticate-sender`.
#[derive(Debug)]
pub struct AuthenticateSender {
    evidence: Option<Box<Evidence>>,
    senders: Arc<Senders>,
    register: Arc<SecureDomains>,
    relay_certificates: Arc<RelayCertificates>,
}

impl AuthenticateSender {
    /// The rule; without DNS nothing is asked about strangers.
    pub fn new(dns: Option<Dns>, senders: Arc<Senders>, register: Arc<SecureDomains>) -> Self {
        let sealers = senders.trusted_sealers().to_vec();
        Self {
            evidence: dns.map(|dns| Box::new(Evidence::new(dns, sealers))),
            senders,
            register,
            relay_certificates: Arc::default(),
        }
    }

    /// The same with clients that are known by their certificates.
    #[must_use]
    pub fn with_relay_certificates(mut self, certificates: Arc<RelayCertificates>) -> Self {
        self.relay_certificates = certificates;
        self
    }

    /// What is known of the sender, and whether an account stays with its own names.
    pub async fn examine(&self, case: &Case<'_>) -> Opinions {
        let mut opinions = Opinions {
            edits: forged_fields(case.header, case.hostname),
            ..Opinions::none()
        };
        let results = if case.is_outbound() {
            if let Some(opinion) = foreign_name(case) {
                opinions.per_recipient = vec![opinion; case.recipients.len()];
            }
            let client = &case.transaction.client;
            own_client(client, self.relay_certificates.knows(client))
        } else {
            let results = self.ask(case).await;
            if let Some(opinion) = self.senders.judge(case, &results, &self.register) {
                opinions.per_recipient = vec![opinion; case.recipients.len()];
            }
            let field = results_field(case.hostname, &results);
            opinions
                .edits
                .push(Edit::prepend_fields(EditKind::Trace, field));
            results
        };
        opinions.findings.push(Finding::Authentication(results));
        opinions
    }

    async fn ask(&self, case: &Case<'_>) -> AuthenticationResults {
        match &self.evidence {
            Some(evidence) if case.network_allowed => {
                // In a box, as all that waits in a stage: what asks nobody shall not be as large.
                Box::pin(evidence.of(case.transaction, case.hostname)).await
            }
            _ => AuthenticationResults::default(),
        }
    }
}

/// Whether an account may use a reverse path: its own names and the null path. What says no comes
/// back, for the reply to `RCPT TO`.
pub fn may_use(
    accounts: &Accounts,
    client: &Client,
    reverse_path: &ReversePath,
) -> Result<(), Opinion> {
    let Some(name) = &client.account else {
        return Ok(());
    };
    let account = accounts.get(name).filter(|account| !account.disabled);
    let Some(account) = account else {
        return Err(not_allowed(
            None,
            "the account does not exist any more, or is disabled",
        ));
    };
    match reverse_path.notifiable() {
        Some(mailbox) if !account.may_bounce_to(mailbox) => {
            let because = "the account may not use this reverse path";
            Err(not_allowed(account.place(), because))
        }
        _ => Ok(()),
    }
}

/// What speaks against the names that the message of an account bears.
fn foreign_name(case: &Case<'_>) -> Option<Opinion> {
    let transaction = case.transaction;
    if let Err(opinion) = may_use(
        case.accounts,
        &transaction.client,
        &transaction.envelope.reverse_path,
    ) {
        return Some(opinion);
    }
    let account = case.account?;
    // What is missing is put in on the way to the queue, and what is replaced is.
    let Names::Foreign(field) = names(account, case.header) else {
        return None;
    };
    let because = format!("the account may not use the address in {field}");
    Some(not_allowed(account.place(), &because))
}

fn not_allowed(place: Option<&Place>, because: &str) -> Opinion {
    let rule = place.map_or_else(|| "built-in".to_owned(), Place::to_string);
    Opinion::new(Ask::Refuse(Refusal::SenderNotAllowed), rule, because)
        .would_pass_if("the account is given this address in may-send-from")
}

/// What is known of one of our own clients: the account, its certificate, or the network that it is in.
fn own_client(client: &Client, certificate: Option<Fingerprint>) -> AuthenticationResults {
    let property = match (&client.account, certificate) {
        (Some(name), _) => format!("smtp.auth={}", value(name)),
        (None, Some(sum)) => format!("policy.relay-certificate={sum}"),
        (None, None) => format!(
            "policy.relay-network={}",
            value(&client.address.ip().to_string())
        ),
    };
    AuthenticationResults {
        methods: vec![MethodResult {
            method: "auth",
            result: "pass".to_owned(),
            properties: vec![property],
        }],
        ..AuthenticationResults::default()
    }
}

/// The field, folded after each result (RFC 8601 §2.2).
fn results_field(hostname: &str, results: &AuthenticationResults) -> Vec<u8> {
    let text = results_text(results);
    format!("Authentication-Results: {hostname}{text}\r\n").into_bytes()
}

/// What stands behind the name in the field.
pub fn results_text(results: &AuthenticationResults) -> String {
    let mut field = String::new();
    if results.methods.is_empty() {
        field.push_str("; none");
    }
    for method in &results.methods {
        field.push_str(";\r\n\t");
        field.push_str(method.word());
        field.push('=');
        field.push_str(&method.result);
        for property in &method.properties {
            field.push(' ');
            field.push_str(property);
        }
    }
    field
}

/// A value of a property: as it is if it is made of harmless letters alone, else as a quoted string.
/// What is not printable ASCII becomes a question mark, and what is over-long is cut.
pub fn value(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._@+=/:[]".contains(c);
    let cut = text.chars().take(VALUE_MAX);
    if !text.is_empty() && text.len() <= VALUE_MAX && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in cut {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

/// Removals of the `Authentication-Results` that bear our own name (RFC 8601 §5).
fn forged_fields(header: &Header<'_>, hostname: &str) -> Vec<Edit> {
    header
        .all("Authentication-Results")
        .filter(|field| authserv_id(field).eq_ignore_ascii_case(hostname.as_bytes()))
        .map(|field| Edit::removal(field.range()))
        .collect()
}

/// The first word of a field, past white space and comments, out of its quotes if it has some; without the dot
/// of the root and without a version, which some write with a slash. As loose as the loosest reader: a field that
/// anybody could take for ours is forged.
fn authserv_id(field: &HeaderField<'_>) -> Vec<u8> {
    let rest = skip_comments(field.raw_value());
    let (rest, ends) = match rest.strip_prefix(b"\"") {
        Some(quoted) => (quoted, &b"\";"[..]),
        None => (rest, &b";( \t\r\n/"[..]),
    };
    let end = rest.iter().position(|octet| ends.contains(octet));
    let word = rest[..end.unwrap_or(rest.len())].iter().copied();
    let word: Vec<u8> = word.filter(|octet| *octet != b'\\').collect();
    let word = word.trim_ascii();
    word.strip_suffix(b".").unwrap_or(word).to_vec()
}

fn skip_comments(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = rest.trim_ascii_start();
        if !rest.starts_with(b"(") {
            return rest;
        }
        rest = after_comment(rest);
    }
}

/// What follows the comment that `rest` begins with; nothing if it does not end (RFC 5322 §3.2.2).
fn after_comment(rest: &[u8]) -> &[u8] {
    let (mut depth, mut escaped) = (0usize, false);
    for (at, octet) in rest.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &rest[at + 1..];
        }
    }
    &[]
}

/// Longest value of a property, in characters: a mailbox has 320 octets at most.
const VALUE_MAX: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::edit;
    use crate::policy::testing::World;
    use proptest::prelude::*;
    use std::future::Future as _;

    fn examined(world: &World) -> Opinions {
        let stage = AuthenticateSender::new(None, Arc::default(), Arc::default());
        let mut opinions = Opinions::none();
        // The case borrows what `ask` makes, so the future ends inside it.
        world.ask(|case| {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            match std::pin::pin!(stage.examine(case)).poll(&mut context) {
                std::task::Poll::Ready(said) => opinions = said,
                std::task::Poll::Pending => panic!("nothing to wait for without DNS"),
            }
        });
        opinions
    }

    fn asks(account: &str, reverse_path: &str, from: &str) -> Vec<Ask> {
        let message = format!("From: {from}\n\nhello\n");
        let world = World::new(&message, reverse_path, &["a@b.example", "c@d.example"])
            .outbound(Some(account));
        let opinions = examined(&world);
        opinions
            .per_recipient
            .into_iter()
            .map(|opinion| opinion.ask)
            .collect()
    }

    #[test]
    fn an_account_sends_under_its_own_names_alone() {
        let own = "reminders@bumbleton.example";
        assert!(asks(own, own, own).is_empty());
        assert!(asks(own, "", "Shop <any@shop.bumbleton.example>").is_empty());
        assert!(
            asks(
                "REMINDERS@bumbleton.example",
                "Reminders@Bumbleton.example",
                own
            )
            .is_empty()
        );
        let refused = [
            Ask::Refuse(Refusal::SenderNotAllowed),
            Ask::Refuse(Refusal::SenderNotAllowed),
        ];
        for (reverse_path, from) in [
            ("boss@bumbleton.example", own),
            (own, "boss@bumbleton.example"),
            (own, "reminders@bumbleton.example, boss@bumbleton.example"),
            (own, "any@sub.shop.bumbleton.example"),
            (own, "no address at all"),
        ] {
            assert_eq!(
                asks(own, reverse_path, from),
                refused,
                "{reverse_path} {from}"
            );
        }
        assert_eq!(asks("gone@bumbleton.example", own, own), refused);
    }

    #[test]
    fn an_account_has_no_name_beside_its_own() {
        let own = "reminders@bumbleton.example";
        for header in [
            "From: reminders@bumbleton.example\nSender: boss@bumbleton.example",
            "From: reminders@bumbleton.example\nSender: ",
            "From: reminders@bumbleton.example\nSender: reminders@bumbleton.example\nSender: boss@nhs.net",
            "From: reminders@bumbleton.example\nSender: reminders@bumbleton.example, a@shop.bumbleton.example",
            "From: reminders@bumbleton.example\nFrom: reminders@bumbleton.example",
            "From: reminders@bumbleton.example\nfrom: boss@nhs.net",
            "From: boss:;",
            "From: reminders@bumbleton.example, boss:;",
            "From: boss@nhs.net: reminders@bumbleton.example;",
            "From: boss@nhs.net\0 <reminders@bumbleton.example>",
            "From: boss@nhs.net <reminders@bumbleton.example>",
            "From: (<boss@nhs.net>) reminders@bumbleton.example",
            "From: =?utf-8?b?Ym9zc0BuaHMubmV0AA==?= <reminders@bumbleton.example>",
            "From: <boss @shop.bumbleton.example>, <nobody",
            "From: ",
            "Sender: boss@nhs.net",
        ] {
            let world = World::new(&format!("{header}\n\nhello\n"), own, &["a@b.example"])
                .outbound(Some(own));
            let said = examined(&world).per_recipient;
            let [opinion] = &said[..] else {
                panic!("{header:?} passes");
            };
            assert_eq!(
                opinion.ask,
                Ask::Refuse(Refusal::SenderNotAllowed),
                "{header:?}"
            );
        }
        for header in [
            "From: Shop <a@shop.bumbleton.example>\nSender: reminders@bumbleton.example",
            "From: a@shop.bumbleton.example, b@shop.bumbleton.example",
            "From: reminders@bumbleton.example <reminders@bumbleton.example>",
            "Sender: reminders@bumbleton.example",
            "Subject: x",
        ] {
            let world = World::new(&format!("{header}\n\nhello\n"), own, &["a@b.example"])
                .outbound(Some(own));
            assert!(examined(&world).per_recipient.is_empty(), "{header:?}");
        }
    }

    #[test]
    fn a_relay_network_sends_under_any_name() {
        let world = World::new(
            "From: any@one.example\n\n",
            "any@one.example",
            &["a@b.example"],
        )
        .outbound(None);
        let opinions = examined(&world);
        assert!(opinions.per_recipient.is_empty() && opinions.edits.is_empty());
    }

    #[test]
    fn a_field_in_our_name_is_forged_and_others_are_left_alone() {
        let message = "Authentication-Results: other.example; spf=pass\n\
            authentication-results: (x (y;) \\) c) GATEWAY.bumbleton.example 1;\n\tdkim=pass\n\
            Authentication-Results: \"gateway.bumbleton.example\"; spf=pass\n\
            Authentication-Results: gateway.bumbleton.example; none\n\
            Subject: x\n\nAuthentication-Results: gateway.bumbleton.example; none\n";
        let world = World::new(message, "a@b.example", &["a@nhs.net"]);
        let opinions = examined(&world);
        let edited = edit::apply(&world.transaction.message, &opinions.edits).unwrap();
        assert_eq!(
            String::from_utf8_lossy(edited.octets()),
            "Authentication-Results: gateway.bumbleton.example; none\r\n\
             Authentication-Results: other.example; spf=pass\r\n\
             Subject: x\r\n\r\nAuthentication-Results: gateway.bumbleton.example; none\r\n"
        );
    }

    #[test]
    fn our_name_is_known_in_any_spelling() {
        for (value, forged) in [
            ("gw.example; spf=pass", true),
            (" GW.Example;none", true),
            ("gw.example", true),
            ("gw.example 1; spf=pass", true),
            ("gw.example/1; spf=pass", true),
            ("gw.example.; spf=pass", true),
            ("gw.example(x); spf=pass", true),
            ("(a (nested) \\) one) gw.example; spf=pass", true),
            ("(a)\r\n\t(b) gw.example; spf=pass", true),
            ("\"gw.example\"; spf=pass", true),
            ("\"gw\\.example\" 1; spf=pass", true),
            ("\" gw.example. \"; spf=pass", true),
            ("\"gw.example; spf=pass", true),
            ("other.example; spf=pass", false),
            ("gw.example.other.example; spf=pass", false),
            ("not-gw.example; spf=pass", false),
            ("other.example (gw.example); spf=pass", false),
            ("(gw.example) other.example; spf=pass", false),
            ("i=1; gw.example; spf=pass", false),
            ("", false),
        ] {
            let field = format!("Authentication-Results:{value}\r\n");
            let found = forged_fields(&Header::parse(field.as_bytes()), "gw.example");
            assert_eq!(found.len() == 1, forged, "{value}");
        }
    }

    #[test]
    fn results_are_written_one_a_line() {
        let results = AuthenticationResults {
            methods: vec![
                MethodResult {
                    method: "spf",
                    result: "pass".into(),
                    properties: vec![format!("smtp.mailfrom={}", value("a@b.example"))],
                },
                MethodResult {
                    method: "dkim",
                    result: "none".into(),
                    properties: Vec::new(),
                },
            ],
            ..AuthenticationResults::default()
        };
        assert_eq!(
            String::from_utf8(results_field("gw.example", &results)).unwrap(),
            "Authentication-Results: gw.example;\r\n\tspf=pass smtp.mailfrom=a@b.example;\r\n\tdkim=none\r\n"
        );
    }

    proptest! {
        #[test]
        fn no_value_can_end_a_line_or_a_quoted_string(text in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let value = value(&text);
            prop_assert!(value.bytes().all(|b| (b' '..=b'~').contains(&b)));
            if let Some(quoted) = value.strip_prefix('"') {
                let inner = quoted.strip_suffix('"').unwrap().replace("\\\\", "").replace("\\\"", "");
                prop_assert!(!inner.contains('"') && !inner.ends_with('\\'));
            }
        }

        #[test]
        fn any_field_has_an_id_or_none(octets in proptest::collection::vec(any::<u8>(), 0..60)) {
            let field = [b"Authentication-Results: ", &octets[..], b"\r\n"].concat();
            forged_fields(&Header::parse(&field), "gw.example");
        }
    }
}
