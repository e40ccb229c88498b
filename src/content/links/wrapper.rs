//! Checking services that put their own address round another one: whose host counts is that of the inner one.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use url::Url;

/// What stands in a wrapper.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Inner {
    /// It is none.
    None,
    /// A service, and the address.
    To(&'static str, String),
    /// A service that does not say.
    Hidden(&'static str),
}

/// Takes one wrapper off.
pub(super) fn unwrap(url: &Url) -> Inner {
    let Some(host) = url.domain() else {
        return Inner::None;
    };
    let is = |name: &str| host == name || below(host, name);
    if below(host, "safelinks.protection.outlook.com")
        || below(host, "safelinks.protection.office365.us")
    {
        return inner("safelinks", parameter(url, "url"));
    }
    if is("urldefense.proofpoint.com") || is("urldefense.com") || is("urldefense.us") {
        return inner("urldefense", proofpoint(url));
    }
    if below(host, "mimecast.com") && host.starts_with("protect-")
        || below(host, "mimecastprotect.com")
    {
        let domain = parameter(url, "domain").map(|domain| format!("https://{domain}/"));
        return inner("mimecast", domain);
    }
    if is("linkprotect.cudasvc.com") {
        return inner("barracuda", parameter(url, "a"));
    }
    if below(host, "protection.sophos.com") {
        let domain = parameter(url, "d").map(|domain| format!("https://{domain}/"));
        return inner("sophos", domain);
    }
    if is("secure-web.cisco.com") {
        return inner("cisco", cisco(url));
    }
    let is_google = host.split('.').any(|label| label == "google") && host.starts_with("www.");
    if is_google && url.path() == "/url" {
        let to = parameter(url, "q").or_else(|| parameter(url, "url"));
        return to.map_or(Inner::None, |to| Inner::To("google", to));
    }
    Inner::None
}

fn inner(service: &'static str, to: Option<String>) -> Inner {
    to.map_or(Inner::Hidden(service), |to| Inner::To(service, to))
}

fn below(host: &str, name: &str) -> bool {
    host.strip_suffix(name)
        .is_some_and(|rest| rest.ends_with('.'))
}

fn parameter(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    let found = pairs.find(|(key, _)| key.eq_ignore_ascii_case(name));
    found
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}

/// The three forms of Proofpoint.
fn proofpoint(url: &Url) -> Option<String> {
    let path = url.path();
    if path.starts_with("/v1/") {
        return parameter(url, "u");
    }
    if path.starts_with("/v2/") {
        let coded = parameter(url, "u")?;
        let percent: String = coded.replace('-', "%").replace('_', "/");
        return Some(percent_decoded(&percent));
    }
    let (_, rest) = url.as_str().split_once("/v3/__")?;
    let (address, coded) = rest.split_once("__;")?;
    let coded = coded.split('!').next().unwrap_or_default();
    let replaced = URL_SAFE_NO_PAD
        .decode(coded)
        .or_else(|_| URL_SAFE.decode(coded))
        .ok()?;
    Some(with_characters(address, &String::from_utf8(replaced).ok()?))
}

/// Version 3: `*` stands for one character of the list behind, `**` and a letter for a run of them (`**A` for
/// two).
fn with_characters(address: &str, list: &str) -> String {
    let mut list = list.chars();
    let mut out = String::with_capacity(address.len());
    let mut rest = address.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '*' {
            out.push(c);
        } else if rest.peek() == Some(&'*') {
            rest.next();
            let run = rest
                .next()
                .and_then(|letter| RUNS.find(letter))
                .unwrap_or(0)
                + 2;
            out.extend(list.by_ref().take(run));
        } else {
            out.extend(list.next());
        }
    }
    // One slash behind the scheme may have been lost on the way.
    match out.split_once(":/") {
        Some((scheme, rest)) if !rest.starts_with('/') => format!("{scheme}://{rest}"),
        _ => out,
    }
}

/// The last piece of the path, percent-encoded.
fn cisco(url: &Url) -> Option<String> {
    let last = url.path_segments()?.next_back()?;
    Some(percent_decoded(last)).filter(|inner| inner.starts_with("http"))
}

fn percent_decoded(text: &str) -> String {
    let kept = text
        .replace('+', "%2B")
        .replace('&', "%26")
        .replace('=', "%3D");
    let pairs = url::form_urlencoded::parse(kept.as_bytes());
    pairs.map(|(text, _)| text.into_owned()).collect()
}

const RUNS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_are_taken_off() {
        for (wrapped, inner) in [
            (
                "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fevil.example%2Fa&data=05",
                Inner::To("safelinks", "https://evil.example/a".into()),
            ),
            (
                "https://urldefense.proofpoint.com/v1/url?u=http://evil.example/&k=x",
                Inner::To("urldefense", "http://evil.example/".into()),
            ),
            (
                "https://urldefense.proofpoint.com/v2/url?u=https-3A__evil.example_a-2Db&d=x",
                Inner::To("urldefense", "https://evil.example/a-b".into()),
            ),
            (
                "https://urldefense.com/v3/__https://evil.example/a*b__;Iw!!x!y$",
                Inner::To("urldefense", "https://evil.example/a#b".into()),
            ),
            (
                "https://protect-eu.mimecast.com/s/abc?domain=evil.example",
                Inner::To("mimecast", "https://evil.example/".into()),
            ),
            (
                "https://protect-eu.mimecast.com/s/abc",
                Inner::Hidden("mimecast"),
            ),
            (
                "https://linkprotect.cudasvc.com/url?a=https%3a%2f%2fevil.example",
                Inner::To("barracuda", "https://evil.example".into()),
            ),
            (
                "https://secure-web.cisco.com/1abc/https%3A%2F%2Fevil.example%2Fx",
                Inner::To("cisco", "https://evil.example/x".into()),
            ),
            (
                "https://www.google.co.uk/url?q=https://evil.example/",
                Inner::To("google", "https://evil.example/".into()),
            ),
            ("https://evil.example/?url=https://nhs.uk", Inner::None),
            (
                "https://safelinks.protection.outlook.com.evil.example/?url=https://nhs.uk",
                Inner::None,
            ),
        ] {
            assert_eq!(unwrap(&Url::parse(wrapped).unwrap()), inner, "{wrapped}");
        }
    }
}
