//! What the DNS says about a stranger: SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 7489), by way of
//! `mail-auth`, whose types stop here.
//!
//! All questions about one message share one turn at the resolver and one deadline; past it the
//! result is `temperror` and the message goes on. Nothing here decides anything.

use std::time::Duration;

use mail_auth::common::crypto::HashAlgorithm;
use mail_auth::dkim::Canonicalization;
use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult, DmarcOutput, DmarcResult, MessageAuthenticator,
    SpfOutput, SpfResult,
};

use crate::base::dns::Dns;
use crate::mail::dkim::{Form, canonical::body_hash};
use crate::mail::{MailTransaction, ReversePath};

use super::finding::{AuthenticationResults, DmarcDisposition, MethodResult};
use super::stage::authenticate_sender::value;

/// Asks about strangers.
pub struct Evidence {
    dns: Dns,
    authenticator: MessageAuthenticator,
    deadline: Duration,
}

impl Evidence {
    /// Asks over this resolver; all questions about a message together take no longer than one of
    /// its time-outs.
    pub fn new(dns: Dns) -> Self {
        Self {
            authenticator: MessageAuthenticator(dns.resolver().clone()),
            deadline: dns.timeout(),
            dns,
        }
    }

    /// The results for a message from a stranger.
    pub async fn of(&self, transaction: &MailTransaction, hostname: &str) -> AuthenticationResults {
        let _turn = self.dns.permit().await;
        let asked = self.ask(transaction, hostname);
        let asked = tokio::time::timeout(self.deadline, asked).await;
        let mut results = asked.unwrap_or_else(|_| out_of_time());
        // Time of its own: a stranger chooses how many names a chain asks for, and must not take away from the
        // others what DMARC needs.
        let chain = tokio::time::timeout(self.deadline, self.arc(transaction)).await;
        results
            .methods
            .extend(chain.unwrap_or_else(|_| Some(method("arc", "temperror", Vec::new()))));
        results
    }

    /// The chain of seals (RFC 8617 §5.2); `None` if there is none.
    async fn arc(&self, transaction: &MailTransaction) -> Option<MethodResult> {
        let header = transaction.message.header();
        header
            .first("ARC-Seal")
            .or(header.first("ARC-Message-Signature"))?;
        let message = parsed(transaction)?;
        let output = self.authenticator.verify_arc(&message).await;
        let result = match output.result() {
            DkimResult::Pass => "pass",
            DkimResult::TempError(_) => "temperror",
            DkimResult::None => "none",
            _ => "fail",
        };
        Some(method("arc", result, Vec::new()))
    }

    async fn ask(&self, transaction: &MailTransaction, hostname: &str) -> AuthenticationResults {
        let message = parsed(transaction);
        let (spf, dkim) =
            tokio::join!(self.spf(transaction, hostname), self.dkim(message.as_ref()),);
        let mut methods = vec![spf_result(transaction, &spf)];
        methods.extend(dkim_results(&dkim));
        let mut results = AuthenticationResults {
            methods,
            dmarc_disposition: None,
        };
        if let Some(message) = &message {
            let dmarc = self.dmarc(transaction, message, &dkim, &spf).await;
            results.dmarc_disposition = disposition(&dmarc);
            results.methods.push(dmarc_result(&dmarc));
        }
        results
    }

    /// Of the reverse path; of the HELO name if that is null (RFC 7208 §2.4).
    async fn spf(&self, transaction: &MailTransaction, hostname: &str) -> SpfOutput {
        let client = &transaction.client;
        let (ip, helo) = (client.address.ip().to_canonical(), helo(transaction));
        match &transaction.envelope.reverse_path {
            ReversePath::Null => {
                let parameters = SpfParameters::verify_ehlo(ip, helo, hostname);
                self.authenticator.verify_spf(parameters).await
            }
            ReversePath::Mailbox(mailbox) => {
                let sender = mailbox.to_string();
                let parameters = SpfParameters::verify_mail_from(ip, helo, hostname, &sender);
                self.authenticator.verify_spf(parameters).await
            }
        }
    }

    async fn dkim<'m>(&self, message: Option<&'m AuthenticatedMessage<'m>>) -> Vec<DkimOutput<'m>> {
        match message {
            Some(message) => self.authenticator.verify_dkim(message).await,
            None => Vec::new(),
        }
    }

    async fn dmarc(
        &self,
        transaction: &MailTransaction,
        message: &AuthenticatedMessage<'_>,
        dkim: &[DkimOutput<'_>],
        spf: &SpfOutput,
    ) -> DmarcOutput {
        let domain = transaction.envelope.reverse_path.domain();
        let parameters = DmarcParameters {
            message,
            dkim_output: dkim,
            dkim2_output: None,
            rfc5321_mail_from_domain: domain
                .map_or_else(|| helo(transaction), |domain| domain.as_str()),
            spf_output: spf,
        };
        self.authenticator.verify_dmarc(parameters).await
    }
}

impl std::fmt::Debug for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evidence")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// The message as `mail-auth` reads it, with no more signatures than are looked at.
fn parsed(transaction: &MailTransaction) -> Option<AuthenticatedMessage<'_>> {
    let mut message = AuthenticatedMessage::parse(transaction.message.octets())?;
    message.dkim_headers.truncate(SIGNATURES_MAX);
    message.errors.truncate(SIGNATURES_MAX);
    with_own_hashes(&mut message, transaction.message.body_octets());
    Some(message)
}

/// Puts our own hashes of relaxed bodies in the place of those of `mail-auth` 0.13.3, which goes wrong on bodies that
/// end in lines of white space (`design.md` §3): what was signed well outside is to pass here.
fn with_own_hashes(message: &mut AuthenticatedMessage<'_>, body: &[u8]) {
    for (form, algorithm, length, hash) in &mut message.body_hashes {
        let length = (*length > 0).then_some(*length);
        if *form == Canonicalization::Relaxed
            && *algorithm == HashAlgorithm::Sha256
            && let Some(own) = body_hash(body, Form::Relaxed, length)
        {
            *hash = own.to_vec();
        }
    }
}

fn helo(transaction: &MailTransaction) -> &str {
    transaction.client.helo.as_deref().unwrap_or_default()
}

fn spf_result(transaction: &MailTransaction, spf: &SpfOutput) -> MethodResult {
    let result = match spf.result() {
        SpfResult::Pass => "pass",
        SpfResult::Fail => "fail",
        SpfResult::SoftFail => "softfail",
        SpfResult::Neutral => "neutral",
        SpfResult::TempError => "temperror",
        SpfResult::PermError => "permerror",
        SpfResult::None => "none",
    };
    let property = match &transaction.envelope.reverse_path {
        ReversePath::Null => format!("smtp.helo={}", value(helo(transaction))),
        ReversePath::Mailbox(mailbox) => format!("smtp.mailfrom={}", value(&mailbox.to_string())),
    };
    method("spf", result, vec![property])
}

fn dkim_results(outputs: &[DkimOutput<'_>]) -> Vec<MethodResult> {
    if outputs.is_empty() {
        return vec![method("dkim", "none", Vec::new())];
    }
    let result = |output: &DkimOutput<'_>| {
        let word = match output.result() {
            DkimResult::Pass => "pass",
            DkimResult::Neutral(_) => "neutral",
            DkimResult::Fail(_) => "fail",
            DkimResult::PermError(_) => "permerror",
            DkimResult::TempError(_) => "temperror",
            DkimResult::None => "none",
        };
        let properties = output.signature().map_or_else(Vec::new, |signature| {
            vec![
                format!("header.d={}", value(&signature.d)),
                format!("header.s={}", value(&signature.s)),
            ]
        });
        method("dkim", word, properties)
    };
    outputs.iter().map(result).collect()
}

fn dmarc_result(dmarc: &DmarcOutput) -> MethodResult {
    let result = match dmarc.result() {
        DmarcResult::Pass => "pass",
        DmarcResult::Fail(_) => "fail",
        DmarcResult::TempError(_) => "temperror",
        DmarcResult::PermError(_) => "permerror",
        DmarcResult::None => "none",
    };
    let mut properties = Vec::new();
    if !dmarc.domain().is_empty() {
        properties.push(format!("header.from={}", value(dmarc.domain())));
    }
    method("dmarc", result, properties)
}

/// What the policy of the author's domain wants; `None` unless the check failed.
fn disposition(dmarc: &DmarcOutput) -> Option<DmarcDisposition> {
    if !matches!(dmarc.result(), DmarcResult::Fail(_)) {
        return None;
    }
    Some(match dmarc.policy() {
        Policy::Reject => DmarcDisposition::Reject,
        Policy::Quarantine => DmarcDisposition::Quarantine,
        Policy::None | Policy::Unspecified => DmarcDisposition::None,
    })
}

fn out_of_time() -> AuthenticationResults {
    let temperror = |name| method(name, "temperror", Vec::new());
    AuthenticationResults {
        methods: ["spf", "dkim", "dmarc"].map(temperror).into(),
        dmarc_disposition: None,
    }
}

fn method(method: &'static str, result: &str, properties: Vec<String>) -> MethodResult {
    MethodResult {
        method,
        result: result.to_owned(),
        properties,
    }
}

/// How many DKIM signatures of one message are looked at; each costs a question and a signature check.
const SIGNATURES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::dns::DnsSettings;
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
        Evidence::new(Dns::new(&settings).unwrap())
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
        assert_eq!(words, ["spf=pass", "dkim=none", "dmarc=pass"]);
        assert_eq!(disposition, None);
        let (words, disposition) = results(&evidence, "a@bad.example").await;
        assert_eq!(words, ["spf=fail", "dkim=none", "dmarc=fail"]);
        assert_eq!(disposition, Some(DmarcDisposition::Reject));
        let (words, disposition) = results(&evidence, "a@none.example").await;
        assert_eq!(words, ["spf=none", "dkim=none", "dmarc=none"]);
        assert_eq!(disposition, None);
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
        let read = AuthenticatedMessage::parse(good.as_bytes()).unwrap();
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
            (good.replace("world", "wolrd"), "neutral"),
            (good.replace("Subject: x", "Subject: y"), "fail"),
        ] {
            world.transaction.message = crate::mail::Message::new(message.into_bytes());
            let found = evidence.of(&world.transaction, "gw.example").await;
            let dkim = found.methods.iter().find(|one| one.method == "dkim");
            assert_eq!(dkim.map(|one| one.result.as_str()), Some(result));
        }
    }

    #[tokio::test]
    async fn a_chain_of_seals_is_validated_with_the_keys_of_its_domains() {
        use crate::policy::signing::{Key, Pair, arc::Sealed, testing};
        let name = |text: &str| crate::mail::Domain::parse(text).unwrap();
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
    async fn a_name_server_that_is_silent_holds_nobody_up() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let evidence = evidence(silent.local_addr().unwrap(), Duration::from_millis(200));
        let (words, disposition) = results(&evidence, "a@b.example").await;
        assert_eq!(words[0], "spf=temperror");
        assert_eq!(disposition, None);
    }
}
