//! What the DNS says about a stranger: SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 7489), by way of
//! `mail-auth`, whose types stop here.
//!
//! All questions about one message share one turn at the resolver and one deadline; past it the
//! result is `temperror` and the message goes on. Nothing here decides anything.

use std::time::Duration;

use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DkimResult, DmarcOutput, DmarcResult, MessageAuthenticator,
    SpfOutput, SpfResult,
};

use crate::base::dns::Dns;
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
        let asked = async {
            let _turn = self.dns.permit().await;
            self.ask(transaction, hostname).await
        };
        tokio::time::timeout(self.deadline, asked)
            .await
            .unwrap_or_else(|_| out_of_time())
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
    Some(message)
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
