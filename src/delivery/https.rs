//! A small HTTPS client: one request, one answer, every wait and every buffer bounded.
//!
//! The certificate of the server must be right for its name (RFC 8461 §3.3, RFC 8460 §5.4), redirections are
//! answers like any other, and nothing is kept: neither connections nor what was fetched. `hyper` speaks HTTP/1.1,
//! for it is in the tree already under `axum`; a client with pools, redirections and cookies would be larger than
//! all that it is for here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::base::dns::{Dns, DnsError};
use crate::base::reach::is_internal;

use super::tls::{Fault, TlsSetupError, fault_of, verifying_config};

/// A client. Cheap to clone.
#[derive(Clone)]
pub(super) struct Https {
    dns: Dns,
    tls: TlsConnector,
    limits: Limits,
    may_ask_internal: bool,
}

/// What a request may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the first question to the DNS to the last octet of the answer.
    pub(super) timeout: Duration,
    /// Octets of the body of an answer.
    pub(super) body_octets: usize,
    /// 443, but in tests.
    pub(super) port: u16,
}

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) host: &'a str,
    /// 443 if the address says nothing.
    pub(super) port: Option<u16>,
    /// With its slash.
    pub(super) path: &'a str,
    /// What is posted, and its media type; a GET without.
    pub(super) post: Option<(&'static str, Bytes)>,
}

/// What came back.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Answered {
    pub(super) status: u16,
    /// In lower case, without parameters; empty if there is none.
    pub(super) media_type: String,
    /// Empty unless it was asked for and comes with a 2xx.
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum HttpsError {
    #[error("the address of the server: {0}")]
    Dns(#[from] DnsError),
    #[error(
        "the server's address is of this machine or its network ([transport] internal-addresses)"
    )]
    Internal,
    #[error("no connection to the server")]
    Unreachable,
    #[error("the certificate of the server {0}")]
    Certificate(Fault),
    #[error("the TLS handshake failed")]
    Handshake,
    #[error("the request cannot be made")]
    Request,
    #[error("the server does not speak HTTP/1.1")]
    Protocol,
    #[error("the answer is too large")]
    TooLarge,
    #[error("the server took too long")]
    TimedOut,
}

impl Https {
    /// Trusts the public authorities and `extra_roots`. Who is asked is what the DNS of strangers says: machines
    /// that these cannot reach themselves only where `may_ask_internal` says so.
    pub(super) fn new(
        dns: Dns,
        extra_roots: &[CertificateDer<'static>],
        limits: Limits,
        may_ask_internal: bool,
    ) -> Result<Self, TlsSetupError> {
        Ok(Self {
            may_ask_internal,
            dns,
            tls: TlsConnector::from(Arc::new(verifying_config(extra_roots)?)),
            limits,
        })
    }

    /// Asks, and reads the answer whatever its status.
    pub(super) async fn ask(&self, asked: &Asked<'_>) -> Result<Answered, HttpsError> {
        let answered = tokio::time::timeout(self.limits.timeout, self.exchange(asked)).await;
        answered.unwrap_or(Err(HttpsError::TimedOut))
    }

    async fn exchange(&self, asked: &Asked<'_>) -> Result<Answered, HttpsError> {
        let request = request(asked)?;
        let stream = self.connect(asked).await?;
        let name = ServerName::try_from(asked.host.to_owned()).map_err(|_| HttpsError::Request)?;
        let stream = self.tls.connect(name, stream).await.map_err(|error| {
            fault_of(&error).map_or(HttpsError::Handshake, HttpsError::Certificate)
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(HEAD_OCTETS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| HttpsError::Protocol)?;
        let exchange = async {
            let answer = sender.send_request(request).await;
            let (head, body) = answer.map_err(|_| HttpsError::Protocol)?.into_parts();
            let mut octets = Vec::new();
            // Of a refusal, and of the answer to a report, the status says all: nobody waits for a page, nor takes one
            // that is long or cut for something else.
            if head.status.is_success() && asked.post.is_none() {
                let body = Limited::new(body, self.limits.body_octets).collect().await;
                let body = body.map_err(|error| match error.is::<LengthLimitError>() {
                    true => HttpsError::TooLarge,
                    false => HttpsError::Protocol,
                })?;
                octets = body.to_bytes().to_vec();
            }
            Ok(Answered {
                status: head.status.as_u16(),
                media_type: media_type(&head.headers),
                body: octets,
            })
        };
        // The connection does its work beside the exchange, and is dropped with it.
        tokio::pin!(connection, exchange);
        tokio::select! {
            answered = &mut exchange => answered,
            _ = &mut connection => exchange.await,
        }
    }

    async fn connect(&self, asked: &Asked<'_>) -> Result<TcpStream, HttpsError> {
        let port = asked.port.unwrap_or(self.limits.port);
        let mut addresses = self.dns.addresses(asked.host).await?;
        if !self.may_ask_internal {
            addresses.retain(|ip| !is_internal(*ip));
            if addresses.is_empty() {
                return Err(HttpsError::Internal);
            }
        }
        for ip in addresses.into_iter().take(ADDRESSES_MAX) {
            let connecting = TcpStream::connect(SocketAddr::new(ip, port));
            // An address that says nothing must leave time for the next.
            let limit = self.limits.timeout / 3;
            if let Ok(Ok(stream)) = tokio::time::timeout(limit, connecting).await {
                return Ok(stream);
            }
        }
        Err(HttpsError::Unreachable)
    }
}

fn request(asked: &Asked<'_>) -> Result<Request<Full<Bytes>>, HttpsError> {
    // The port as well, where it is not the usual one (RFC 9110 §7.2).
    let host = match asked.port.filter(|port| *port != HTTPS_PORT) {
        Some(port) => format!("{}:{port}", asked.host),
        None => asked.host.to_owned(),
    };
    let request = Request::builder()
        .uri(asked.path)
        .header(header::HOST, host)
        .header(
            header::USER_AGENT,
            concat!("postern/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::CONNECTION, "close");
    let request = match &asked.post {
        None => request.method(Method::GET).body(Full::default()),
        Some((media_type, body)) => request
            .method(Method::POST)
            .header(header::CONTENT_TYPE, *media_type)
            .body(Full::new(body.clone())),
    };
    request.map_err(|_| HttpsError::Request)
}

fn media_type(headers: &hyper::HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let bare = text.split(';').next().unwrap_or_default();
    bare.trim().to_ascii_lowercase()
}

const HTTPS_PORT: u16 = 443;
/// Octets of the head of an answer.
const HEAD_OCTETS: usize = 16 * 1_024;
/// Addresses of a server that are tried.
const ADDRESSES_MAX: usize = 3;
