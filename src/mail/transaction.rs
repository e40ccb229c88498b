//! A mail transaction: what came, from whom, under which envelope (RFC 5321 §3.3).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::envelope::Envelope;
use super::message::Message;

/// The other end of an SMTP session, as far as it is known.
#[derive(Clone, Debug)]
pub struct Client {
    /// Address of the client; the one that a trusted proxy named, if there was one.
    pub address: SocketAddr,
    /// Address that the client connected to.
    pub local: SocketAddr,
    /// The argument of EHLO or HELO, checked to be a domain or an address literal, or made safe to
    /// print; `None` before it was said.
    pub helo: Option<String>,
    /// Whether it said EHLO (and so speaks ESMTP) or HELO.
    pub esmtp: bool,
    /// What protects the connection; `None` in clear.
    pub tls: Option<TlsSession>,
    /// The account that authenticated, by its name.
    pub account: Option<String>,
    /// What the listener is for.
    pub service: Service,
}

impl Client {
    /// The `with` word of `Received` (RFC 3848; RFC 6531 §4.3 for UTF8).
    pub fn protocol(&self, smtputf8: bool) -> &'static str {
        match (
            self.esmtp,
            smtputf8,
            self.tls.is_some(),
            self.account.is_some(),
        ) {
            (false, ..) => "SMTP",
            (true, false, false, false) => "ESMTP",
            (true, false, true, false) => "ESMTPS",
            (true, false, false, true) => "ESMTPA",
            (true, false, true, true) => "ESMTPSA",
            (true, true, false, false) => "UTF8SMTP",
            (true, true, true, false) => "UTF8SMTPS",
            (true, true, false, true) => "UTF8SMTPA",
            (true, true, true, true) => "UTF8SMTPSA",
        }
    }
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Service {
    /// Mail between servers (RFC 5321).
    Relay,
    /// Mail from users and applications, who authenticate (RFC 6409).
    Submission,
}

/// What protects a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsSession {
    /// For example `TLSv1.3`.
    pub version: String,
    /// For example `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The server name that the client asked for.
    pub server_name: Option<String>,
    /// What the client has shown of itself, if it was asked and has shown something. It holds the key; who it is is not
    /// said by that.
    pub client_certificate: Option<CertificateChain>,
}

/// The certificates of a client in DER, its own first; not empty.
#[derive(Clone, Eq, PartialEq)]
pub struct CertificateChain(Arc<[Vec<u8>]>);

impl CertificateChain {
    /// A chain; `None` of nothing.
    pub fn new(certificates: impl IntoIterator<Item = Vec<u8>>) -> Option<Self> {
        let all: Arc<[_]> = certificates.into_iter().collect();
        (!all.is_empty()).then_some(Self(all))
    }

    /// Each of them.
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.0
    }
}

impl fmt::Debug for CertificateChain {
    /// Its size alone: names of people may be in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateChain({} certificates)", self.0.len())
    }
}

/// A message, its envelope and its client.
#[derive(Clone, Debug)]
pub struct MailTransaction {
    /// Who sent it here.
    pub client: Client,
    /// Where it goes.
    pub envelope: Envelope,
    /// What it is.
    pub message: Message,
    /// When its last octet came.
    pub received_at: jiff::Timestamp,
}

impl MailTransaction {
    /// The same with the header of its message alone.
    #[must_use]
    pub fn without_body(self) -> Self {
        Self {
            message: self.message.without_body(),
            ..self
        }
    }
}
