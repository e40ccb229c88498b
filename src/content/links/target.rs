//! Where an address leads: scheme and host as the WHATWG URL standard finds them, disguises taken off.

use std::net::IpAddr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use url::Url;

use super::autolink::{is_bare_name, starts_with_ignoring_case};
use super::{URL_OCTETS_MAX, start_of, wrapper};

/// Where a link leads.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Target {
    /// What follows it.
    pub scheme: Scheme,
    /// The machine; `None` for what names none.
    pub host: Option<Host>,
    /// Whether a name stands before the host: `https://nhs.uk@evil.example`.
    pub user_info: bool,
    /// Whether the standard refuses the address. Some readers follow it all the same.
    pub malformed: bool,
    /// The checking service whose wrapper was taken off: `safelinks`.
    #[serde(skip)]
    pub wrapped_by: Option<&'static str>,
    /// Whether a checking service keeps for itself where it leads.
    pub opaque: bool,
}

/// What follows a link.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Scheme {
    /// A browser.
    Web,
    /// The page itself: `javascript:`, or a page within the address (`data:text/html,…`).
    Script,
    /// A program on the reader's machine: `file:`, `search-ms:`, `ms-word:`.
    Program,
}

/// A machine.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Host {
    /// A name, in ASCII and lower case, without a dot at the end.
    Name(String),
    /// A bare address, in whatever form it was written.
    Address(IpAddr),
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Target {
    /// Where an address leads, character references decoded; `None` if it leads nowhere that matters: within the
    /// message, to a mail program, a telephone. `base` is the one that the page names.
    pub fn of(written: &str, base: Option<&Url>) -> Option<Self> {
        let start = start_of(written, URL_OCTETS_MAX);
        let start: String = start
            .trim_start_matches(|c: char| c <= ' ')
            .chars()
            .filter(|c| !matches!(c, '\t' | '\r' | '\n'))
            .collect();
        let start = start.trim_end_matches(|c: char| c <= ' ');
        if start.is_empty() || start.starts_with('#') {
            return None;
        }
        match scheme(start).as_deref() {
            Some("javascript" | "vbscript" | "livescript" | "mocha") => {
                Some(Self::to(Scheme::Script, None))
            }
            Some("data") => is_page(start).then(|| Self::to(Scheme::Script, None)),
            Some("http" | "https" | "ftp" | "ftps" | "ws" | "wss") => Some(Self::web(start, base)),
            Some("view-source" | "feed" | "googlechrome" | "microsoft-edge") => {
                let (_, rest) = start.split_once(':')?;
                Self::of(rest, base)
            }
            Some(harmless) if HARMLESS.contains(&harmless) => None,
            Some("file") => Some(Self::to(Scheme::Program, host_of_file(start))),
            Some(_) => Some(Self::to(Scheme::Program, None)),
            None => Self::relative(start, base),
        }
    }

    /// Whether a program would be started for it on the reader's machine.
    fn to(scheme: Scheme, host: Option<Host>) -> Self {
        Self {
            scheme,
            host,
            user_info: false,
            malformed: false,
            wrapped_by: None,
            opaque: false,
        }
    }

    fn web(written: &str, base: Option<&Url>) -> Self {
        let base = base.unwrap_or(&NOWHERE);
        match Url::options().base_url(Some(base)).parse(written) {
            Ok(url) => Self::of_url(url),
            Err(_) => Self {
                malformed: true,
                user_info: authority(written).contains('@'),
                ..Self::to(Scheme::Web, host_by_hand(written))
            },
        }
    }

    /// Without a scheme: from the base of the page; without a base, as mail programs guess.
    fn relative(written: &str, base: Option<&Url>) -> Option<Self> {
        let mut slashes = written
            .bytes()
            .take_while(|octet| matches!(octet, b'/' | b'\\'));
        if written.starts_with("\\\\") && base.is_none() {
            // A share to Windows, a site to browsers.
            return Some(Self::to(Scheme::Program, host_by_hand(written)));
        }
        if slashes.by_ref().nth(1).is_some() {
            return Some(Self::web(written, base));
        }
        let name = written
            .split(['/', '?', '#', '\\'])
            .next()
            .unwrap_or_default();
        let is_name = starts_with_ignoring_case(name, "www.") || is_bare_name(name, written);
        match base {
            Some(base) => Some(Self::web(written, Some(base))),
            None if is_name => Some(Self::web(&format!("http://{written}"), None)),
            None => None,
        }
    }

    fn of_url(url: Url) -> Self {
        let user_info = !url.username().is_empty() || url.password().is_some();
        let mut target = Self::to(Scheme::Web, None);
        target.user_info = user_info;
        let mut url = url;
        for _ in 0..WRAPPERS_MAX {
            match wrapper::unwrap(&url) {
                wrapper::Inner::None => break,
                wrapper::Inner::Hidden(service) => {
                    target.wrapped_by = Some(service);
                    target.opaque = true;
                    break;
                }
                wrapper::Inner::To(service, inner) => {
                    target.wrapped_by = Some(service);
                    let Ok(inner) = Url::parse(&inner) else {
                        target.opaque = true;
                        break;
                    };
                    target.user_info |= !inner.username().is_empty();
                    url = inner;
                }
            }
        }
        target.host = host_of(&url);
        target
    }
}

/// The host of an address as the standard reads it.
pub(super) fn host_of(url: &Url) -> Option<Host> {
    match url.host()? {
        url::Host::Domain(name) if name == NOWHERE_HOST => None,
        url::Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            (!name.is_empty()).then_some(Host::Name(name))
        }
        url::Host::Ipv4(address) => Some(Host::Address(address.into())),
        url::Host::Ipv6(address) => Some(Host::Address(address.to_canonical())),
    }
}

/// The word before the colon, in lower case.
fn scheme(written: &str) -> Option<String> {
    let (word, rest) = written.split_once(':')?;
    let letters = word
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.'));
    let is_scheme =
        letters && word.len() > 1 && word.starts_with(|c: char| c.is_ascii_alphabetic());
    // `www.a.example:8080/x` has a port, not a scheme.
    let is_host = word.contains('.') && rest.starts_with(|c: char| c.is_ascii_digit());
    (is_scheme && !is_host).then(|| word.to_ascii_lowercase())
}

/// Whether a `data:` address is a page that can do what a page can.
fn is_page(written: &str) -> bool {
    let kind = start_of(&written[5..], 64).to_ascii_lowercase();
    let kind = kind
        .split([',', ';'])
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    kind.contains("html") || kind.contains("xml") || kind.contains("svg") || kind.contains("script")
}

fn host_of_file(written: &str) -> Option<Host> {
    let slashes = written[5..].replace('\\', "/");
    host_by_hand(slashes.strip_prefix("///").map_or(slashes.as_str(), |_| ""))
}

/// What stands between the slashes and the path, for addresses that the standard refuses.
fn authority(written: &str) -> &str {
    let rest = written.split_once(':').map_or(written, |(scheme, rest)| {
        if scheme.contains(['/', '\\']) {
            written
        } else {
            rest
        }
    });
    let rest = rest.trim_start_matches(['/', '\\']);
    rest.split(['/', '\\', '?', '#']).next().unwrap_or_default()
}

fn host_by_hand(written: &str) -> Option<Host> {
    let authority = authority(written);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = host.split(':').next().unwrap_or(host).trim_end_matches('.');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if let Ok(address) = host.parse() {
        return Some(Host::Address(address));
    }
    let fits = !host.is_empty() && host.len() <= 253 && host.chars().all(plain);
    fits.then(|| Host::Name(host.to_ascii_lowercase()))
}

/// The base of what has none: an address that is still here has no host of its own. Of a scheme that nobody
/// uses, since an address of the same scheme may leave out its slashes and mean a path.
static NOWHERE: LazyLock<Url> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a constant that a test reads")]
    Url::parse("ws://nowhere.invalid/").expect("an address")
});
const NOWHERE_HOST: &str = "nowhere.invalid";

/// Schemes that lead to nothing that could be pretended.
const HARMLESS: &[&str] = &[
    "mailto", "tel", "sms", "smsto", "cid", "mid", "callto", "sip", "sips", "xmpp", "geo", "maps",
    "webcal", "about", "news", "nntp", "im", "facetime", "whatsapp", "skype", "irc", "fax", "blob",
    "outbind", "urn",
];
/// Wrappers around each other that are taken off.
const WRAPPERS_MAX: usize = 5;
