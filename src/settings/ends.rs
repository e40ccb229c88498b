//! Certificates in files that end soon, or have ended: a warning at the line that names the file.
//!
//! Never an error. The gateway starts with a certificate that has ended, and goes on with one that ends while it runs;
//! if a reload were refused for it, no change of the policy would come into force until it is renewed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::base::certificate::Certificate;
use crate::config::{Diagnostic, Diagnostics, Located, Section, load_toml};

/// Warns of the certificates that the gateway's own file and that of the accounts name. Files that cannot be read are
/// told of where they are used, or made at the first start. Blocks for the files.
pub(super) fn check(own: &Path, accounts: &Path, now: Timestamp, diagnostics: &Diagnostics) {
    // What else is wrong with the files is said by those who read the rest of them.
    let unsaid = Diagnostics::default();
    let named = load_toml(own, &unsaid, of_gateway).into_iter();
    let named = named.chain(load_toml(accounts, &unsaid, of_accounts));
    for (file, whose) in named.flatten() {
        let read = Certificate::read(&file).ok();
        let ended = read.and_then(|one| warning(&file, whose, one.ends_at, now));
        ended
            .into_iter()
            .for_each(|warning| diagnostics.push(warning));
    }
}

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Whose {
    Ours,
    Clients,
    Authority,
}

type Named = Vec<(Located<PathBuf>, Whose)>;

fn of_gateway(top: &Section<'_>) -> Named {
    let served = top.section("tls").sections("certificate").into_iter();
    let served = served.filter_map(|section| Some((section.path("certificate")?, Whose::Ours)));
    let mut named: Named = served.collect();
    named.extend(known_by(&top.section("policy"), "relay-certificates"));
    named
}

fn of_accounts(top: &Section<'_>) -> Named {
    let accounts = top.sections("account").into_iter();
    let named = accounts.flat_map(|account| known_by(&account, "certificates"));
    named.collect()
}

/// The files in a list of certificates of clients.
fn known_by(section: &Section<'_>, key: &str) -> Named {
    let entries = section.sections(key).into_iter();
    let files = entries.flat_map(|entry| {
        let own = entry.path("file").map(|file| (file, Whose::Clients));
        let authority = entry.path("authority").map(|file| (file, Whose::Authority));
        own.into_iter().chain(authority)
    });
    files.collect()
}

fn warning(
    file: &Located<PathBuf>,
    whose: Whose,
    ends_at: Timestamp,
    now: Timestamp,
) -> Option<Diagnostic> {
    if now + WARN_BEFORE < ends_at {
        return None;
    }
    let on = ends_at.to_zoned(TimeZone::UTC).date();
    let (id, message) = match ends_at < now {
        true => (
            "certificate-ended",
            format!("this certificate ended on {on}"),
        ),
        false => ("certificate-ends", format!("this certificate ends on {on}")),
    };
    let (then, help) = match whose {
        Whose::Ours => (
            "clients that look at it go away, or on without TLS",
            "put a new one in its place, with its key: both files are followed, and no restart is needed",
        ),
        Whose::Clients => (
            "whoever shows it is a stranger then",
            "have another made and write it beside this one: both are good for as long as the change takes",
        ),
        Whose::Authority => (
            "what it has signed is no log-in then",
            "put the authority's new certificate into this file",
        ),
    };
    let warning = Diagnostic::warning(id, message).at_maybe(file.place(), then);
    Some(warning.help(help))
}

/// Two weeks: time for whoever makes certificates where nothing renews them by itself.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::render;

    fn said_at(now: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut params = rcgen::CertificateParams::new(vec!["gate.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 12, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(path("c.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let own = "[[tls.certificate]]\ncertificate = \"c.pem\"\nkey = \"nowhere.pem\"\n\
                   [[tls.certificate]]\ncertificate = \"nowhere.pem\"\n[policy]\n\
                   relay-certificates = [{ file = \"c.pem\" }, { sha256 = \"00\" }, { authority = \"c.pem\" }]\n";
        std::fs::write(path("own.toml"), own).unwrap();
        let accounts =
            "[[account]]\nname = \"a\"\n[[account]]\ncertificates = [{ file = \"c.pem\" }]\n";
        std::fs::write(path("accounts.toml"), accounts).unwrap();

        let diagnostics = Diagnostics::default();
        let now = now.parse().unwrap();
        check(&path("own.toml"), &path("accounts.toml"), now, &diagnostics);
        let short = |one| render::short(one).replace(&format!("{}/", folder.path().display()), "");
        diagnostics.into_vec().iter().map(short).collect()
    }

    #[test]
    fn a_certificate_that_ends_within_two_weeks_is_told_where_it_is_named() {
        assert_eq!(said_at("2026-11-16T23:59:59Z"), [""; 0]);
        let ends = "this certificate ends on 2026-12-01";
        let expected = [
            format!("own.toml:2:15: warning[certificate-ends]: {ends}"),
            format!("own.toml:7:32: warning[certificate-ends]: {ends}"),
            format!("own.toml:7:76: warning[certificate-ends]: {ends}"),
            format!("accounts.toml:4:26: warning[certificate-ends]: {ends}"),
        ];
        assert_eq!(said_at("2026-11-17T00:00:00Z"), expected);
        let ended = expected.map(|one| {
            one.replace("ends]", "ended]")
                .replace("ends on", "ended on")
        });
        assert_eq!(said_at("2026-12-01T00:00:01Z"), ended);
    }
}
