//! What the DNS says about a stranger: SPF (RFC 7208), DKIM (RFC 6376), DMARC (RFC 9989, with the `pct` of
//! RFC 7489), ARC (RFC 8617) and iprev (RFC 8601 §2.7.3). Signatures and policies by way of `mail-auth`,
//! whose types stop here; SPF is our own (`spf` says why).
//!
//! All is asked at once, and each has the same deadline; past it the result is `temperror` and the
//! message goes on. Nothing here decides anything.

mod arc;
mod dmarc;
mod iprev;
mod signatures;
pub mod spf;
mod tags;

use std::future::Future;
use std::time::Duration;

use mail_auth::MessageAuthenticator;

use crate::base::dns::Dns;
use crate::mail::{Domain, MailTransaction, ReversePath};
use crate::policy::author::authors;
use crate::policy::finding::{AuthenticationResults, MethodResult};
use crate::policy::stage::authenticate_sender::value;

use signatures::Signed;

/// Asks about strangers.
pub struct Evidence {
    dns: Dns,
    authenticator: MessageAuthenticator,
    deadline: Duration,
    trusted_sealers: Vec<Domain>,
}

impl Evidence {
    /// Asks over this resolver, whose time-out each method has twice: most ask one question after another.
    /// What a trusted sealer says of the author is believed.
    pub fn new(dns: Dns, trusted_sealers: Vec<Domain>) -> Self {
        Self {
            authenticator: MessageAuthenticator(dns.resolver().clone()),
            deadline: dns.timeout() * 2,
            dns,
            trusted_sealers,
        }
    }

    /// The results for a message from a stranger.
    pub async fn of(&self, transaction: &MailTransaction, hostname: &str) -> AuthenticationResults {
        let signed = Signed::parse(transaction);
        // Times of their own: a stranger chooses how many names a chain asks for, and must not take away from the
        // others what DMARC needs.
        let (spf, helo, dkim, chain, iprev) = tokio::join!(
            self.spf(transaction, hostname),
            self.helo_spf(transaction, hostname),
            self.in_time(self.dkim(signed.as_ref())),
            self.in_time(self.arc(signed.as_ref())),
            self.in_time(iprev::check(&self.dns, transaction.client.address.ip())),
        );
        let mut results = AuthenticationResults {
            was_asked: true,
            ..AuthenticationResults::default()
        };
        results.methods.push(spf.clone());
        results.methods.extend(helo);
        let dkim = dkim.unwrap_or_else(|| vec![signatures::Judged::out_of_time()]);
        results
            .methods
            .extend(dkim.iter().map(signatures::Judged::result));
        results.identities = identities(transaction, &spf, &dkim);
        let dmarc = self.dmarc(transaction, signed.as_ref(), &dkim, &spf);
        let dmarc = self.in_time(dmarc).await;
        let dmarc = dmarc.unwrap_or_else(dmarc::Judged::out_of_time);
        results.dmarc_disposition = dmarc.disposition;
        results.methods.push(dmarc.result);
        let is_unanswered = match &chain {
            Some(Some(chain)) => chain.result.result == "temperror",
            Some(None) => false,
            None => true,
        };
        results.sealer_unanswered =
            is_unanswered && arc::names_one_of(signed.as_ref(), &self.trusted_sealers);
        match chain {
            Some(Some(chain)) => {
                let author = sole_author(transaction);
                results.sealer = chain.vouched_by(author.as_ref(), &self.trusted_sealers);
                results.methods.push(chain.result);
            }
            Some(None) => {}
            None => results.methods.push(method("arc", "temperror", Vec::new())),
        }
        let iprev = iprev.unwrap_or("temperror");
        let address = transaction.client.address.ip().to_canonical().to_string();
        let address = vec![format!("policy.iprev={}", value(&address))];
        results.methods.push(method("iprev", iprev, address));
        results
    }

    /// `None` past the deadline.
    async fn in_time<T>(&self, asked: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.deadline, asked).await.ok()
    }

    /// Of the reverse path; of the HELO name if that is null (RFC 7208 §2.4).
    async fn spf(&self, transaction: &MailTransaction, hostname: &str) -> MethodResult {
        let sender = match &transaction.envelope.reverse_path {
            ReversePath::Null => return self.spf_of_helo(transaction, hostname).await,
            ReversePath::Mailbox(mailbox) => mailbox.to_string(),
        };
        let property = format!("smtp.mailfrom={}", value(&sender));
        self.spf_of(transaction, &sender, hostname, property).await
    }

    /// Of the HELO name, where it is a name and not asked already (RFC 7208 §2.3).
    async fn helo_spf(
        &self,
        transaction: &MailTransaction,
        hostname: &str,
    ) -> Option<MethodResult> {
        let helo = helo(transaction);
        let is_name = helo.contains('.') && !helo.starts_with('[');
        let is_asked = transaction.envelope.reverse_path == ReversePath::Null;
        if !is_name || is_asked {
            return None;
        }
        let found = self.spf_of_helo(transaction, hostname).await;
        Some(MethodResult {
            method: "spf-helo",
            ..found
        })
    }

    async fn spf_of_helo(&self, transaction: &MailTransaction, hostname: &str) -> MethodResult {
        let property = format!("smtp.helo={}", value(helo(transaction)));
        self.spf_of(transaction, "", hostname, property).await
    }

    async fn spf_of(
        &self,
        transaction: &MailTransaction,
        sender: &str,
        hostname: &str,
        property: String,
    ) -> MethodResult {
        let question = spf::Question {
            address: transaction.client.address.ip(),
            helo: helo(transaction),
            sender,
            hostname,
            now: transaction.received_at,
        };
        let answer = self.in_time(spf::check(&self.dns, question)).await;
        let word = answer
            .as_ref()
            .map_or("temperror", |answer| answer.outcome.word());
        let mut properties = Vec::new();
        properties.extend(
            answer
                .and_then(|answer| answer.explanation)
                .map(|text| reason(&text)),
        );
        properties.push(property);
        method("spf", word, properties)
    }
}

impl std::fmt::Debug for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evidence")
            .field("deadline", &self.deadline)
            .field("trusted_sealers", &self.trusted_sealers)
            .finish_non_exhaustive()
    }
}

/// The domains that vouch for the message: that of the reverse path by SPF, those of good signatures.
fn identities(
    transaction: &MailTransaction,
    spf: &MethodResult,
    dkim: &[signatures::Judged],
) -> Vec<Domain> {
    let sender = transaction.envelope.reverse_path.domain();
    let mut identities: Vec<Domain> = sender
        .filter(|_| spf.result == "pass")
        .cloned()
        .into_iter()
        .collect();
    identities.extend(dkim.iter().filter_map(signatures::Judged::good_domain));
    identities
}

/// The domain of the author, if there is one author.
fn sole_author(transaction: &MailTransaction) -> Option<Domain> {
    match authors(&transaction.message.header(), "From").as_slice() {
        [author] => author.mailbox.as_ref()?.domain().cloned(),
        _ => None,
    }
}

fn helo(transaction: &MailTransaction) -> &str {
    transaction.client.helo.as_deref().unwrap_or_default()
}

fn method(method: &'static str, result: &str, properties: Vec<String>) -> MethodResult {
    MethodResult {
        method,
        result: result.to_owned(),
        properties,
    }
}

/// Why, for whoever reads the field (RFC 8601 §2.2 `reasonspec`).
fn reason(text: &str) -> String {
    let short: String = text.chars().take(REASON_MAX).collect();
    format!("reason={}", value(&short))
}

/// Longest reason, in characters.
const REASON_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::dns::DnsSettings;
    use crate::policy::finding::DmarcDisposition;
    use crate::policy::testing::World;
    use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
    use hickory_resolver::proto::rr::rdata::TXT;
    use hickory_resolver::proto::rr::{RData, Record, RecordType};
    use std::net::SocketAddr;
    use tokio::net::UdpSocket;

    /// A name server that knows some texts, and that nothing else exists.
    async fn name_server(texts: &'static [(&'static str, &'static str)]) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut octets = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut octets).await {
                let query = Message::from_vec(&octets[..length]).unwrap();
                let answer = answer(&query, texts).to_vec().unwrap();
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        address
    }

    fn answer(query: &Message, texts: &[(&str, &str)]) -> Message {
        let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_available = true;
        let question = query.queries[0].clone();
        let asked = question.name().to_utf8();
        let known = texts.iter().find(|(name, _)| asked == format!("{name}."));
        match known {
            Some((_, text)) if question.query_type() == RecordType::TXT => {
                let data = RData::TXT(TXT::new(vec![(*text).to_owned()]));
                answer.add_answer(Record::from_rdata(question.name().clone(), 300, data));
            }
            Some(_) => {}
            None => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        answer.add_query(question);
        answer
    }

    fn evidence(server: SocketAddr, timeout: Duration) -> Evidence {
        let settings = DnsSettings {
            servers: vec![server],
            timeout,
            concurrent: 10,
            validating: false,
        };
        Evidence::new(Dns::new(&settings).unwrap(), Vec::new())
    }

    /// Signed by dkimpy 1.1.8, which verifies it.
    const FROM_OUTSIDE: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=outside.example; i=@outside.example; q=dns/txt; s=v1; t=1795271640;
 h=from : to : subject;
 bh=kTB0KOsB1RsVxTicD8bq+IRB2Ooin+stk0CnvvFYiK8=;
 b=6HI3aEqYNxllzRc5oxtyal2/RkG9sW1X+dKjgPhwUetDR+YsiF9NN+LIes/VDANU97IPq
 tRnbOs/0HOcmfjOCw==
From: a@outside.example
To: b@nhs.net
Subject: x

hello \n \t\nworld\n \n \n";

    #[tokio::test]
    async fn a_body_that_the_library_hashes_wrongly_passes_if_it_was_signed_well() {
        let texts = [(
            "v1._domainkey.outside.example",
            "v=DKIM1; k=ed25519; p=A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
        )];
        let evidence = evidence(
            name_server(Vec::from(texts).leak()).await,
            Duration::from_secs(30),
        );
        let good = FROM_OUTSIDE.replace('\n', "\r\n");
        let read = mail_auth::AuthenticatedMessage::parse(good.as_bytes()).unwrap();
        let hash = &read.dkim_headers[0].header.bh;
        let is_theirs = read.body_hashes.iter().any(|(.., known)| known == hash);
        assert!(
            !is_theirs,
            "the library is right by now: take our own hashes out"
        );
        let mut world = World::new(
            "From: a@outside.example\n\nx\n",
            "a@outside.example",
            &["b@nhs.net"],
        );
        for (message, result) in [
            (good.clone(), "pass"),
            (good.replace("world", "wolrd"), "fail"),
            (good.replace("Subject: x", "Subject: y"), "fail"),
        ] {
            world.transaction.message = crate::mail::Message::new(message.into_bytes());
            let found = evidence.of(&world.transaction, "gw.example").await;
            let dkim = found.methods.iter().find(|one| one.method == "dkim");
            assert_eq!(dkim.map(|one| one.result.as_str()), Some(result));
        }
    }

    async fn results(evidence: &Evidence, from: &str) -> (Vec<String>, Option<DmarcDisposition>) {
        let world = World::new(
            &format!("From: {from}\nSubject: x\n\nhello\n"),
            from,
            &["a@nhs.net"],
        );
        let results = evidence.of(&world.transaction, "gw.example").await;
        let words = results
            .methods
            .iter()
            .map(|m| format!("{}={}", m.method, m.result));
        (words.collect(), results.dmarc_disposition)
    }

    #[tokio::test]
    async fn spf_and_dmarc_are_asked_of_the_domains_themselves() {
        let server = name_server(&[
            ("good.example", "v=spf1 ip4:192.0.2.1 -all"),
            ("_dmarc.good.example", "v=DMARC1; p=reject"),
            ("bad.example", "v=spf1 ip4:198.51.100.1 -all"),
            ("_dmarc.bad.example", "v=DMARC1; p=reject"),
        ])
        .await;
        let evidence = evidence(server, Duration::from_secs(30));
        let (words, disposition) = results(&evidence, "a@good.example").await;
        assert_eq!(
            words,
            [
                "spf=pass",
                "spf-helo=none",
                "dkim=none",
                "dmarc=pass",
                "iprev=permerror"
            ]
        );
        assert_eq!(disposition, None);
        let (words, disposition) = results(&evidence, "a@bad.example").await;
        assert_eq!(
            words,
            [
                "spf=fail",
                "spf-helo=none",
                "dkim=none",
                "dmarc=fail",
                "iprev=permerror"
            ]
        );
        assert_eq!(disposition, Some(DmarcDisposition::Reject));
        let (words, disposition) = results(&evidence, "a@none.example").await;
        assert_eq!(
            words,
            [
                "spf=none",
                "spf-helo=none",
                "dkim=none",
                "dmarc=none",
                "iprev=permerror"
            ]
        );
        assert_eq!(disposition, None);
    }

    #[tokio::test]
    async fn a_chain_of_seals_is_validated_with_the_keys_of_its_domains() {
        use crate::policy::signing::{Key, Pair, arc::Sealed, testing};
        let name = |text: &str| Domain::parse(text).unwrap();
        let pair = Pair::from_pem(&testing::ed25519()).unwrap();
        let record: &'static str = pair.record().leak();
        let key = Key::new(name("lab.example"), name("a1"), pair);
        let signing = crate::policy::signing::Signing::sealing(vec![key], name("lab.example"));
        let texts = vec![("a1._domainkey.lab.example", record)].leak();
        let evidence = evidence(name_server(texts).await, Duration::from_secs(30));
        let mut world = World::new(
            "From: a@lab.example\n\nhello\n",
            "a@lab.example",
            &["a@nhs.net"],
        );
        let plain = world.transaction.message.clone();
        let none = AuthenticationResults::default();
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let Sealed::Fields { fields, .. } = signing.seal(&plain, "lab.example", &none, now) else {
            panic!("not sealed");
        };
        for (message, result) in [
            (plain.clone(), None),
            (plain.clone().with_fields_on_top(&fields), Some("pass")),
            (
                plain.clone().with_fields_on_top(
                    &fields.replace("spf", "sfp").replace("; none", "; spf=pass"),
                ),
                Some("fail"),
            ),
            (
                plain.with_fields_on_top(&fields.replace("lab.example", "lost.example")),
                Some("fail"),
            ),
        ] {
            world.transaction.message = message;
            let found = evidence.of(&world.transaction, "gw.example").await;
            let arc = found.methods.iter().find(|one| one.method == "arc");
            assert_eq!(arc.map(|one| one.result.as_str()), result);
        }
    }

    #[tokio::test]
    async fn each_signature_is_judged_and_a_good_one_of_the_author_vouches_for_the_message() {
        use crate::policy::signing::{Key, Pair, Signed, Signing, testing};
        let name = |text: &str| Domain::parse(text).unwrap();
        let pair = Pair::from_pem(&testing::ed25519()).unwrap();
        let record: &'static str = pair.record().leak();
        let signing = Signing::with_keys(vec![Key::new(name("lab.example"), name("s1"), pair)]);
        let texts = vec![
            ("s1._domainkey.lab.example", record),
            ("_dmarc.lab.example", "v=DMARC1; p=reject; adkim=s"),
        ];
        let server = name_server(texts.leak()).await;
        let evidence = evidence(server, Duration::from_secs(30));
        let message = "From: a@lab.example\nSubject: x\n\nhello\n";
        let mut world = World::new(message, "x@other.example", &["a@nhs.net"]);
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let plain = world.transaction.message.clone();
        let Signed::Fields { fields, .. } = signing.sign(&plain, now) else {
            panic!("not signed");
        };
        let lost = fields.replace("s=s1", "s=lost");
        for (fields, dkim, dmarc) in [
            (fields.clone(), vec!["pass"], "pass"),
            (format!("{lost}{fields}"), vec!["permerror", "pass"], "pass"),
            (lost, vec!["permerror"], "fail"),
            (format!("{fields}Subject: y\r\n"), vec!["fail"], "fail"),
        ] {
            world.transaction.message = plain.clone().with_fields_on_top(&fields);
            let found = evidence.of(&world.transaction, "gw.example").await;
            let words = |method: &str| -> Vec<&str> {
                let of = found.methods.iter().filter(|one| one.method == method);
                of.map(|one| one.result.as_str()).collect()
            };
            assert_eq!(words("dkim"), dkim, "{fields}");
            assert_eq!(words("dmarc"), [dmarc]);
            let vouches = found.identities.contains(&name("lab.example"));
            assert_eq!(vouches, dmarc == "pass");
        }
    }

    #[tokio::test]
    async fn a_trusted_sealer_is_believed_about_the_author() {
        use crate::policy::signing::{Key, Pair, Signing, arc::Sealed, testing};
        let name = |text: &str| Domain::parse(text).unwrap();
        let pair = Pair::from_pem(&testing::ed25519()).unwrap();
        let record: &'static str = pair.record().leak();
        let key = Key::new(name("lists.example"), name("a1"), pair);
        let signing = Signing::sealing(vec![key], name("lists.example"));
        let server = name_server(vec![("a1._domainkey.lists.example", record)].leak()).await;
        let mut world = World::new("From: a@lab.example\n\nhello\n", "", &["a@nhs.net"]);
        let dmarc = method("dmarc", "pass", vec!["header.from=lab.example".to_owned()]);
        let results = AuthenticationResults {
            methods: vec![dmarc],
            ..AuthenticationResults::default()
        };
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let plain = world.transaction.message.clone();
        let Sealed::Fields { fields, .. } = signing.seal(&plain, "lists.example", &results, now)
        else {
            panic!("not sealed");
        };
        world.transaction.message = plain.with_fields_on_top(&fields);
        for (trusted, sealer) in [
            (vec![name("lists.example")], Some(name("lists.example"))),
            (vec![name("lab.example")], None),
        ] {
            let evidence = Evidence {
                trusted_sealers: trusted,
                ..evidence(server, Duration::from_secs(30))
            };
            let found = evidence.of(&world.transaction, "gw.example").await;
            assert_eq!(found.sealer, sealer);
        }
    }

    #[tokio::test]
    async fn a_name_server_that_is_silent_holds_nobody_up() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let evidence = evidence(silent.local_addr().unwrap(), Duration::from_millis(200));
        let (words, disposition) = results(&evidence, "a@b.example").await;
        assert_eq!(words[0], "spf=temperror");
        assert_eq!(disposition, None);
    }
}
