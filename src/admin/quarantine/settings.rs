//! The section `[quarantine]` of the gateway's own file.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::civil::Time;

use crate::config::{Located, Section};

/// How long things are kept apart, and who is told of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The age at which what is quarantined is removed; `None` for never.
    pub expire_after: Option<Duration>,
    /// The digests; `None`: nobody gets one, and no page is served.
    pub digest: Option<DigestSettings>,
}

/// `[quarantine.digest]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DigestSettings {
    /// Where the pages behind the links are served.
    pub address: Located<SocketAddr>,
    /// How these pages are reached from outside, without a slash at its end.
    pub url: String,
    /// When the digests of the day are written, in universal time.
    pub at: Time,
    /// How long a link is good.
    pub links_valid_for: Duration,
}

impl Settings {
    /// Reads the section.
    pub fn read(top: &Section<'_>) -> Self {
        let section = top.section("quarantine");
        let expire_after = section.duration("expire-after");
        let expire_after = expire_after.map_or(EXPIRE_AFTER, Located::into_inner);
        let digest = read_digest(&section);
        section.finish();
        Self {
            expire_after: Some(expire_after).filter(|after| !after.is_zero()),
            digest,
        }
    }
}

fn read_digest(quarantine: &Section<'_>) -> Option<DigestSettings> {
    let section = quarantine.section("digest");
    if !section.is_present() {
        return None;
    }
    let address = section.required::<SocketAddr>("address");
    let url = section.required_string("url");
    let at = section.parse::<Time>("at");
    let valid_for = section.duration("links-valid-for");
    let digest = (|| {
        let (address, url) = (address?, url?);
        Some(DigestSettings {
            url: checked(&section, &url, address.ip().is_loopback())?,
            address,
            at: at.map_or(Time::constant(7, 0, 0, 0), Located::into_inner),
            links_valid_for: valid_for.map_or(LINKS_VALID_FOR, Located::into_inner),
        })
    })();
    section.finish();
    digest
}

/// An address of pages: under TLS, unless nobody but this machine is meant to reach them.
fn checked(section: &Section<'_>, url: &Located<String>, is_local: bool) -> Option<String> {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/[]".contains(&b);
    let rest = url.strip_prefix("https://");
    let rest = rest.or_else(|| url.strip_prefix("http://").filter(|_| is_local));
    let good = rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(harmless));
    if !good || url.len() > URL_MAX {
        let help = "\"https://quarantine.bumbleton.example\": a proxy with a certificate stands in front of the pages".to_owned();
        section.report("bad-value", "this is no address for links", url, help);
        return None;
    }
    Some(url.trim_end_matches('/').to_owned())
}

/// A month: longer than most holidays.
const EXPIRE_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A week.
const LINKS_VALID_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Characters of an address: a link must fit into a line of mail.
const URL_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::read_text;

    fn read(text: &str) -> (Settings, Vec<&'static str>) {
        let (settings, said) = read_text("postern.toml", text, Settings::read);
        (settings, said.iter().map(|one| one.id).collect())
    }

    #[test]
    fn as_shipped_things_are_kept_for_a_month_and_nobody_is_told() {
        let (settings, said) = read("");
        assert_eq!(settings.expire_after, Some(EXPIRE_AFTER));
        assert_eq!((settings.digest, said.len()), (None, 0));
        let (settings, _) = read("[quarantine]\nexpire-after = \"0s\"\n");
        assert_eq!(settings.expire_after, None);
    }

    #[test]
    fn a_digest_needs_pages_that_are_reached_under_tls() {
        let text = |address: &str, url: &str| {
            format!(
                "[quarantine.digest]\naddress = \"{address}\"\nurl = \"{url}\"\nat = \"06:30\"\n"
            )
        };
        let (settings, said) = read(&text("192.0.2.1:9926", "https://q.example/mail/"));
        let digest = settings.digest.unwrap();
        assert_eq!(
            (digest.url.as_str(), said.len()),
            ("https://q.example/mail", 0)
        );
        assert_eq!(digest.at, jiff::civil::time(6, 30, 0, 0));
        let (settings, _) = read(&text("127.0.0.1:9926", "http://127.0.0.1:9926"));
        assert!(settings.digest.is_some());
        for (address, url) in [
            ("192.0.2.1:9926", "http://q.example"),
            ("127.0.0.1:9926", "https://q.example/?a"),
            ("127.0.0.1:9926", "https://"),
            ("127.0.0.1:9926", "https://q.example\\r\\nBcc: x"),
        ] {
            let (settings, said) = read(&text(address, url));
            assert_eq!((settings.digest, said), (None, vec!["bad-value"]), "{url}");
        }
        assert_eq!(
            read("[quarantine.digest]\n").1,
            ["missing-key", "missing-key"]
        );
    }
}
