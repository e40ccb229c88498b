//! One request over HTTP/1.1 and its answer: verified TLS, every wait and the answer bounded.
//!
//! What matters to whoever sends texts is whether anything was written before it went wrong: a connection is made
//! for each request, and an error before the first octet of it is told apart from one after.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::base::dns::Dns;
use crate::base::secret::Secret;
use crate::delivery::tls::{Certificate, Tls};
use crate::delivery::wire::Stream;
use crate::outcome::NamedBy;

use super::super::route::HostPort;

/// Asks one server.
pub(super) struct Http {
    pub(super) base: BaseUrl,
    pub(super) tls: Tls,
    pub(super) dns: Dns,
    /// For all of it, from the connection to the last octet of the answer.
    pub(super) timeout: Duration,
}

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Behind the path of the base, with its query.
    pub(super) path: &'a str,
    /// What shows who we are: `Authorization: Bearer …`.
    pub(super) bearer: Option<Secret>,
    /// Further fields.
    pub(super) fields: &'a [(&'static str, String)],
    /// JSON; empty for none.
    pub(super) body: Vec<u8>,
}

/// What a server answered. `Debug` shows no body.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) date: Option<String>,
    pub(super) retry_after: Option<u64>,
    pub(super) body: Bytes,
}

impl Reply {
    /// The body as JSON; null if it is none.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or(serde_json::Value::Null)
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({}, {} octets)", self.status, self.body.len())
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum HttpError {
    /// Nothing of the request was written.
    #[error("{0}")]
    NotSent(String),
    /// It may have been read.
    #[error("{0}")]
    Unknown(&'static str),
}

impl Http {
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Reply, HttpError> {
        let deadline = Instant::now() + self.timeout;
        let request = self.request(ask)?;
        let stream = timeout_at(deadline, self.connect());
        let stream = stream
            .await
            .map_err(|_| not_sent("no connection in time"))??;
        let handshake = timeout_at(deadline, http1::handshake(TokioIo::new(stream)));
        let Ok(Ok((mut sender, connection))) = handshake.await else {
            return Err(not_sent("the connection cannot be used"));
        };
        // It ends with this function, whatever it waits for then.
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(connection);
        let answered = timeout_at(deadline, async {
            let response = sender.send_request(request).await.map_err(|_| CUT)?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_OCTETS_MAX).collect().await;
            let body = body.map_err(|_| "the answer broke off, or was too long")?;
            let field = |name| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
            Ok(Reply {
                status: parts.status.as_u16(),
                date: field(header::DATE),
                retry_after: field(header::RETRY_AFTER).and_then(|text| text.parse().ok()),
                body: body.to_bytes(),
            })
        });
        match answered.await {
            Ok(answer) => answer.map_err(HttpError::Unknown),
            Err(_) => Err(HttpError::Unknown("no answer in time")),
        }
    }

    fn request(&self, ask: Ask<'_>) -> Result<Request<Full<Bytes>>, HttpError> {
        let path = format!("{}{}", self.base.path, ask.path);
        let mut request = Request::builder()
            .method(ask.method)
            .uri(if path.is_empty() { "/" } else { &path })
            .header(header::HOST, self.base.authority())
            .header(
                header::USER_AGENT,
                concat!("postern/", env!("CARGO_PKG_VERSION")),
            )
            .header(header::ACCEPT, JSON);
        if let Some(token) = &ask.bearer {
            let mut value = header::HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| not_sent("the token is not fit for a header"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if !ask.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, JSON);
        }
        for (name, value) in ask.fields {
            request = request.header(*name, value);
        }
        request
            .body(Full::new(Bytes::from(ask.body)))
            .map_err(|_| not_sent("the request cannot be made"))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, HttpError> {
        let HostPort { host, port } = &self.base.server;
        let addresses = self.dns.addresses(host).await;
        let addresses = addresses.map_err(|error| not_sent(format!("{host}: {error}")))?;
        let mut last = not_sent("it has no address");
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            let connected = TcpStream::connect((address, *port));
            let limit = Instant::now() + CONNECT;
            let stream = match timeout_at(limit, connected).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    last = not_sent(format!("no connection: {}", error.kind()));
                    continue;
                }
                Err(_) => {
                    last = not_sent("no connection in time");
                    continue;
                }
            };
            if !self.base.is_https {
                return Ok(Box::new(stream));
            }
            let named = (host.as_str(), NamedBy::Route);
            match self
                .tls
                .secure(stream, named, Certificate::MustBeRight)
                .await
            {
                Ok(secured) => return Ok(Box::new(secured.stream)),
                Err(error) => last = not_sent(error.to_string()),
            }
        }
        Err(last)
    }
}

fn not_sent(because: impl Into<String>) -> HttpError {
    HttpError::NotSent(because.into())
}

/// Where a server is: `https://api.notifications.service.gov.uk`. In clear on this machine alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct BaseUrl {
    is_https: bool,
    server: HostPort,
    path: String,
}

impl BaseUrl {
    /// The host, for reports.
    pub(super) fn host(&self) -> &str {
        &self.server.host
    }

    fn authority(&self) -> String {
        match (self.is_https, self.server.port) {
            (true, 443) | (false, 80) => self.server.host.clone(),
            _ => self.server.to_string(),
        }
    }
}

impl FromStr for BaseUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let (is_https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(BadUrl),
        };
        let (server, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let fit = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '"' | '<' | '>');
        if !path.chars().all(fit) {
            return Err(BadUrl);
        }
        let has_port = server
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.contains(']'));
        let server = match has_port {
            true => server.parse(),
            false => format!("{server}:{}", if is_https { 443 } else { 80 }).parse(),
        };
        let server: HostPort = server.map_err(|_| BadUrl)?;
        if !is_https && !server.is_loopback() {
            return Err(BadUrl);
        }
        Ok(Self {
            is_https,
            server,
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}

/// Not where a server may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "write a URL that begins with https:// (http:// for 127.0.0.1 and [::1] alone), without a query"
)]
pub(super) struct BadUrl;

const JSON: &str = "application/json";
const CUT: &str = "the connection was lost before the answer";
/// An answer longer than this is none, in octets.
const ANSWER_OCTETS_MAX: usize = 256 << 10;
/// Addresses that are tried.
const ADDRESSES_MAX: usize = 3;
/// For a connection to one address.
const CONNECT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_clear_nothing_leaves_the_machine() {
        for (text, authority) in [
            (
                "https://api.notifications.service.gov.uk",
                "api.notifications.service.gov.uk",
            ),
            ("https://api.example:8443/v1/", "api.example:8443"),
            ("http://127.0.0.1:6000", "127.0.0.1:6000"),
            ("http://[::1]/x", "::1"),
        ] {
            assert_eq!(
                text.parse::<BaseUrl>().unwrap().authority(),
                authority,
                "{text}"
            );
        }
        for bad in [
            "http://api.example",
            "http://localhost:80",
            "ftp://api.example",
            "https://",
            "https://a.example/?x=1",
            "https://u:p@a.example",
            "api.example",
        ] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
        }
    }
}
