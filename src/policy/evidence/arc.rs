//! The chain of seals on a message (RFC 8617), and what a sealer whom we trust says of its author.

use mail_auth::DkimResult;

use crate::mail::Domain;
use crate::policy::finding::MethodResult;

use super::signatures::Signed;
use super::tags::Tags;
use super::{Evidence, method};
use crate::policy::stage::authenticate_sender::value;

/// A chain, and whether it holds.
pub(super) struct Chain {
    pub(super) result: MethodResult,
    /// Who sealed, and what each found; the newest first. Empty unless the chain holds.
    seals: Vec<Seal>,
}

struct Seal {
    domain: Domain,
    found: String,
}

impl Evidence {
    /// The chain of seals (RFC 8617 §5.2); `None` if there is none.
    pub(super) async fn arc(&self, signed: Option<&Signed<'_>>) -> Option<Chain> {
        let message = &signed?.message;
        if message.as_headers.is_empty()
            && message.ams_headers.is_empty()
            && !message.has_arc_errors
        {
            return None;
        }
        let fields = message.headers.iter();
        if !fields
            .clone()
            .all(|(name, value)| is_well_formed(name, value))
        {
            return Some(Chain::failed());
        }
        let _turn = self.dns.permit().await;
        let output = self.authenticator.verify_arc(message).await;
        let word = match output.result() {
            DkimResult::Pass => "pass",
            DkimResult::TempError(_) => "temperror",
            // There are fields of a chain, so that no result is none of it.
            _ => "fail",
        };
        let mut seals = Vec::new();
        if word == "pass" {
            for set in output.sets().iter().rev() {
                seals.push(Seal {
                    domain: Domain::parse(&set.seal.header.d).ok()?,
                    found: String::from_utf8_lossy(set.results.value).into_owned(),
                });
            }
        }
        let newest = seals.first();
        let properties = newest.map(|seal| format!("header.d={}", value(seal.domain.as_str())));
        Some(Chain {
            result: method("arc", word, properties.into_iter().collect()),
            seals,
        })
    }
}

/// Whether a seal on the message, good or not, is said to be of one of these.
pub(super) fn names_one_of(signed: Option<&Signed<'_>>, trusted: &[Domain]) -> bool {
    let Some(signed) = signed else { return false };
    let mut fields = signed.message.headers.iter();
    fields.any(|(name, value)| {
        let tags = Tags::parse(value).filter(|_| name.eq_ignore_ascii_case(b"ARC-Seal"));
        let domain = tags.and_then(|tags| Domain::parse(tags.get("d")?).ok());
        domain.is_some_and(|domain| trusted.contains(&domain))
    })
}

/// Whether a field of a chain is one that RFC 8617 §4.1 lets stand: `mail-auth` takes tags that are twice there, or
/// of another algorithm, for what it expects.
fn is_well_formed(name: &[u8], value: &[u8]) -> bool {
    let has = |required: &[&str]| {
        Tags::parse(value).is_some_and(|tags| {
            required.iter().all(|tag| tags.get(tag).is_some())
                && tags
                    .get("a")
                    .is_some_and(|algorithm| ALGORITHMS.contains(&algorithm))
        })
    };
    if name.eq_ignore_ascii_case(b"ARC-Seal") {
        return has(&["i", "a", "b", "cv", "d", "s"]);
    }
    if !name.eq_ignore_ascii_case(b"ARC-Message-Signature") {
        return true;
    }
    // §4.1.2: a seal is made over the signature, and cannot be in it.
    let seals_itself = Tags::parse(value).is_some_and(|tags| {
        let fields = tags.get("h").unwrap_or_default().split(':');
        fields
            .into_iter()
            .any(|field| field.trim().eq_ignore_ascii_case("arc-seal"))
    });
    has(&["i", "a", "b", "bh", "d", "h", "s"]) && !seals_itself
}

/// Those that are believed (RFC 8301 §3.1, RFC 8463).
const ALGORITHMS: [&str; 2] = ["rsa-sha256", "ed25519-sha256"];

impl Chain {
    fn failed() -> Self {
        Self {
            result: method("arc", "fail", Vec::new()),
            seals: Vec::new(),
        }
    }

    /// The sealer who vouches for the author: one of those whom we trust, with nobody above it whom we do not
    /// trust, that found DMARC to pass for the author's domain.
    pub(super) fn vouched_by(&self, author: Option<&Domain>, trusted: &[Domain]) -> Option<Domain> {
        let author = author?;
        let mut believed = self
            .seals
            .iter()
            .take_while(|seal| trusted.contains(&seal.domain));
        let seal = believed.find(|seal| dmarc_passed(&seal.found, author))?;
        Some(seal.domain.clone())
    }
}

/// Whether an `ARC-Authentication-Results` says `dmarc=pass` for a domain (RFC 8601 §2.2).
fn dmarc_passed(results: &str, author: &Domain) -> bool {
    let plain = without_comments(results);
    plain.split(';').any(|result| {
        let mut words = result.split_whitespace();
        let is_pass = words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("dmarc=pass"));
        is_pass
            && words.any(|word| {
                let value = word
                    .split_once('=')
                    .filter(|(name, _)| name.eq_ignore_ascii_case("header.from"));
                value.is_some_and(|(_, value)| {
                    Domain::parse(value.trim_matches('"')).is_ok_and(|domain| domain == *author)
                })
            })
    })
}

/// What stands in brackets goes, and in quotes nothing ends a result: quoted strings lose what is not of a
/// domain.
fn without_comments(text: &str) -> String {
    let (mut plain, mut depth, mut is_quoted) = (String::with_capacity(text.len()), 0usize, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '"' if depth == 0 => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth = depth.saturating_sub(1),
            ';' | ' ' | '\t' | '=' if is_quoted => plain.push('_'),
            _ if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[test]
    fn a_pass_counts_for_the_author_alone() {
        for (results, passes) in [
            (" i=1; l.example; dmarc=pass header.from=a.example", true),
            (
                " i=1; l.example; spf=pass;\r\n dmarc=pass (p=none; x) header.from=A.example;",
                true,
            ),
            (" i=1; l.example; dmarc=fail header.from=a.example", false),
            (" i=1; l.example; dmarc=pass header.from=b.example", false),
            (" i=1; l.example; dmarc=pass", false),
            (" i=1; l.example; (dmarc=pass header.from=a.example)", false),
            (
                " i=1; l.example; spf=pass reason=\"; dmarc=pass header.from=a.example\"",
                false,
            ),
            (" i=1; l.example; spf=pass header.from=a.example", false),
        ] {
            assert_eq!(
                dmarc_passed(results, &domain("a.example")),
                passes,
                "{results}"
            );
        }
    }

    #[test]
    fn whoever_sealed_after_the_trusted_one_must_be_trusted_too() {
        let good = "i=1; l.example; dmarc=pass header.from=a.example";
        let chain = |seals: &[(&str, &str)]| Chain {
            result: method("arc", "pass", Vec::new()),
            seals: seals
                .iter()
                .map(|(by, found)| Seal {
                    domain: domain(by),
                    found: (*found).to_owned(),
                })
                .collect(),
        };
        let trusted = [domain("l.example"), domain("m.example")];
        let vouched = |seals: &[(&str, &str)]| {
            let sealer = chain(seals).vouched_by(Some(&domain("a.example")), &trusted);
            sealer.map(|domain| domain.as_str().to_owned())
        };
        assert_eq!(
            vouched(&[("l.example", good)]).as_deref(),
            Some("l.example")
        );
        assert_eq!(
            vouched(&[
                ("m.example", "i=2; m.example; arc=pass"),
                ("l.example", good)
            ])
            .as_deref(),
            Some("l.example")
        );
        assert_eq!(vouched(&[("x.example", good), ("l.example", good)]), None);
        assert_eq!(vouched(&[("x.example", good)]), None);
        assert_eq!(vouched(&[]), None);
    }
}
