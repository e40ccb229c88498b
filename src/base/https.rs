//! One request over HTTP/1.1 and its answer: verified TLS, every wait and the answer bounded.
//!
//! For what is fetched now and then (tokens, keys): each request has a connection of its own. In clear to this machine
//! alone.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::dns::Dns;

/// Asks servers. Cheap to clone.
#[derive(Clone)]
pub struct Https {
    tls: TlsConnector,
    dns: Dns,
}

impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Https")
    }
}

/// A URL: `https://host[:port]/path`, or `http://` on this machine.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Url {
    is_https: bool,
    host: String,
    port: u16,
    path: String,
}

/// What a server answered. `Debug` shows no body: it may be a token.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} octets)", self.status, self.body.len())
    }
}

/// Why there is no answer. Says nothing of what was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HttpsError {
    /// Its name has no address.
    #[error("the host has no address")]
    NoAddress,
    /// Nobody answers there, or not under a certificate that we trust.
    #[error("no connection, or no certificate that is trusted")]
    NoConnection,
    /// The answer broke off or was too long.
    #[error("the answer broke off, or is too long")]
    Broken,
    /// It took too long.
    #[error("no answer in time")]
    Silent,
}

impl Https {
    /// Trusts the public authorities and `extra_roots`.
    ///
    /// # Errors
    /// One of those is no certificate.
    pub fn new(extra_roots: &[CertificateDer<'static>], dns: Dns) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in extra_roots {
            roots.add(root.clone())?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = TlsConnector::from(Arc::new(config));
        Ok(Self { tls, dns })
    }

    /// Fetches what is at a URL.
    pub async fn get(&self, url: &Url) -> Result<Answer, HttpsError> {
        self.ask(url, Method::GET, None).await
    }

    /// Sends a form (`application/x-www-form-urlencoded`).
    pub async fn post_form(
        &self,
        url: &Url,
        fields: &[(&str, &str)],
    ) -> Result<Answer, HttpsError> {
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        self.ask(url, Method::POST, Some(pairs.join("&"))).await
    }

    async fn ask(
        &self,
        url: &Url,
        method: Method,
        form: Option<String>,
    ) -> Result<Answer, HttpsError> {
        let asked = timeout(ANSWER_MAX, async {
            let stream = self.connect(url).await?;
            if !url.is_https {
                return exchange(stream, url, method, form).await;
            }
            let name = ServerName::try_from(url.host.clone()).map_err(|_| HttpsError::NoAddress)?;
            let secured = self.tls.connect(name, stream).await;
            let secured = secured.map_err(|_| HttpsError::NoConnection)?;
            exchange(secured, url, method, form).await
        });
        asked.await.unwrap_or(Err(HttpsError::Silent))
    }

    async fn connect(&self, url: &Url) -> Result<TcpStream, HttpsError> {
        let addresses = match url.host.as_str() {
            "localhost" => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            host => {
                let found = self.dns.addresses(host).await;
                found.map_err(|_| HttpsError::NoAddress)?
            }
        };
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            let connected = timeout(CONNECT_MAX, TcpStream::connect((address, url.port)));
            if let Ok(Ok(stream)) = connected.await {
                return Ok(stream);
            }
        }
        Err(HttpsError::NoConnection)
    }
}

async fn exchange<S>(
    stream: S,
    url: &Url,
    method: Method,
    form: Option<String>,
) -> Result<Answer, HttpsError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let broken = |_| HttpsError::Broken;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    // It ends with this function, whatever it waits for then.
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(&url.path)
        .header(header::HOST, url.authority())
        .header(header::ACCEPT, "application/json");
    if form.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    let body = Full::new(Bytes::from(form.unwrap_or_default()));
    let request = request.body(body).map_err(|_| HttpsError::Broken)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_OCTETS_MAX);
    let body = body.collect().await.map_err(|_| HttpsError::Broken)?;
    Ok(Answer {
        status,
        body: body.to_bytes(),
    })
}

impl Url {
    /// The host.
    pub fn host(&self) -> &str {
        &self.host
    }

    fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.is_https, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let (is_https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(BadUrl),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_v6_alone = authority.ends_with(']');
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !is_v6_alone => (host, port.parse().map_err(|_| BadUrl)?),
            _ => (authority, if is_https { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let fit = |c: char| c.is_ascii_graphic() && !matches!(c, '#' | '"' | '<' | '>' | '@');
        let is_here = host == "localhost"
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        let host_fits = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
        if host.is_empty()
            || !host.chars().all(host_fits)
            || !path.chars().all(fit)
            || !(is_https || is_here)
        {
            return Err(BadUrl);
        }
        Ok(Self {
            is_https,
            host: host.to_ascii_lowercase(),
            port,
            path: if path.is_empty() {
                "/".to_owned()
            } else {
                path.to_owned()
            },
        })
    }
}

/// Not a URL that is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("write https://host/path; http is for this machine alone")]
pub struct BadUrl;

/// As in a form: what is no letter or digit as `%XX`.
fn encode(text: &str) -> String {
    let coded = text.bytes().map(|octet| match octet {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(octet).to_string()
        }
        octet => format!("%{octet:02X}"),
    });
    coded.collect()
}

/// For all of it.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// For a connection to one address.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 4;
/// Longest answer that is read, in octets.
const ANSWER_OCTETS_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_are_https_or_on_this_machine() {
        let shown = |text: &str| text.parse::<Url>().map(|url| url.to_string());
        for (text, url) in [
            (
                "https://Login.example/a/b?c=d",
                "https://login.example/a/b?c=d",
            ),
            ("https://login.example", "https://login.example/"),
            (
                "https://login.example:8443/x",
                "https://login.example:8443/x",
            ),
            ("http://127.0.0.1:9/x", "http://127.0.0.1:9/x"),
            ("http://[::1]:9/x", "http://[::1]:9/x"),
            ("http://localhost/", "http://localhost/"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(url), "{text}");
        }
        for bad in [
            "",
            "login.example",
            "http://login.example/",
            "https://",
            "https:///x",
            "https://a b/",
            "https://a@b/",
            "https://a:x/",
            "ftp://a/",
        ] {
            assert_eq!(shown(bad), Err(BadUrl), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(text in "https?://[a-z0-9.:@\\[\\]-]{0,20}(/\\PC{0,10})?") {
            if let Ok(url) = text.parse::<Url>() {
                prop_assert_eq!(url.to_string().parse(), Ok(url));
            }
        }
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(encode("a b&c=\u{e9}~"), "a%20b%26c%3D%C3%A9~");
    }
}
