//! `[signing]` of `postern.toml`: which keys there are, and what happens where a signature and something else
//! are in each other's way.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::base::secret::{Secret, SecretSource};
use crate::config::{Diagnostic, Located, Section};
use crate::mail::Domain;

use super::headers::Coverage;
use super::key::{Key, Pair};
use super::{Foreign, OnFailure, Signing};

impl Signing {
    /// Takes `[signing]` out of the outermost section and reads the keys that it names. Every mistake is
    /// reported; a key that cannot be used is left out.
    pub fn read(top: &Section<'_>, now: Timestamp) -> Self {
        let section = top.section("signing");
        let today = now.to_zoned(TimeZone::UTC).date();
        let keys = keys(&section, today);
        let signing = Self {
            on_failure: section
                .word(
                    "on-failure",
                    &[
                        ("unsigned", OnFailure::Unsigned),
                        ("defer", OnFailure::Defer),
                    ],
                )
                .map_or(OnFailure::Unsigned, Located::into_inner),
            foreign: section
                .word(
                    "foreign-signature",
                    &[("edit", Foreign::Edit), ("leave", Foreign::Leave)],
                )
                .map_or(Foreign::ByAuthor, Located::into_inner),
            seal: seal(&section, &keys),
            coverage: Coverage::read(&section),
            keys,
        };
        section.finish();
        signing
    }

    /// The files of keys that the gateway's own file names, whether or not they can be used.
    pub fn files(top: &Section<'_>) -> Vec<PathBuf> {
        let keys = top.section("signing").sections("key");
        let files = keys.iter().filter_map(|key| key.path("file"));
        files.map(Located::into_inner).collect()
    }
}

/// The domain whose key seals what is passed on.
fn seal(section: &Section<'_>, keys: &[Key]) -> Option<Domain> {
    let domain = section.parse::<Domain>("arc-domain")?;
    if !keys.iter().any(|key| key.domain == *domain) {
        let message = format!("there is no key of {} to seal with", *domain);
        let help = "name a domain that has a [[signing.key]]".to_owned();
        section.report("no-such-key", message, &domain, help);
        return None;
    }
    Some(domain.into_inner())
}

fn keys(section: &Section<'_>, today: Date) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for entry in section.sections("key") {
        let key = key(&entry);
        if let Some(key) = &key
            && keys
                .iter()
                .any(|known| known.record_name() == key.record_name())
        {
            let message = format!("{} is the name of two keys", key.record_name());
            let diagnostic = Diagnostic::error("twice", message)
                .at(entry.place(), "")
                .help("a new key needs a new selector: verifiers hold on to the old record");
            section.diagnostics().push(diagnostic);
        }
        keys.extend(key);
        entry.finish();
    }
    for key in &keys {
        warn_of_end(section, &keys, key, today);
    }
    keys
}

fn key(entry: &Section<'_>) -> Option<Key> {
    let domain = entry.required::<Domain>("domain");
    let selector = entry.required::<Domain>("selector");
    let (from, until) = (entry.date("valid-from"), entry.date("valid-until"));
    entry.required_string("file");
    let pair = entry.path("file").and_then(|file| pair(entry, &file));
    if let (Some(from), Some(until)) = (&from, &until)
        && **until < **from
    {
        let help = "both days count: the key signs on the first and on the last".to_owned();
        entry.report(
            "out-of-bounds",
            "the key ends before it begins",
            until,
            help,
        );
    }
    let mut key = Key::new(domain?.into_inner(), selector?.into_inner(), pair?);
    key.from = from.map(Located::into_inner);
    key.until = until.map(Located::into_inner);
    Some(key)
}

fn pair(entry: &Section<'_>, file: &Located<PathBuf>) -> Option<Pair> {
    warn_of_readers(entry, file);
    let secret = match Secret::load(&SecretSource::File((**file).clone())) {
        Ok(secret) => secret,
        Err(error) => {
            let help = "`postern dkim new` makes a key".to_owned();
            entry.report("bad-key", error.to_string(), file, help);
            return None;
        }
    };
    match Pair::from_pem(&secret) {
        Ok(pair) => Some(pair),
        Err(error) => {
            let message = format!("{} cannot sign: {error}", file.display());
            let help = "`postern dkim new` makes a key that can".to_owned();
            entry.report("bad-key", message, file, help);
            None
        }
    }
}

/// Whoever reads the key signs in our name.
fn warn_of_readers(entry: &Section<'_>, file: &Located<PathBuf>) {
    let Ok(metadata) = std::fs::metadata(&**file) else {
        return; // said by whoever reads it
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let message = format!(
            "{} can be read or changed by others (mode {mode:03o})",
            file.display()
        );
        let diagnostic = Diagnostic::warning("key-not-private", message)
            .at_maybe(file.place(), "")
            .help(format!("chmod 600 {}", file.display()));
        entry.diagnostics().push(diagnostic);
    }
}

/// Once for each domain: mail that goes out unsigned one morning is noticed by those who refuse it.
fn warn_of_end(section: &Section<'_>, keys: &[Key], key: &Key, today: Date) {
    let of_domain = || keys.iter().filter(|other| other.domain == key.domain);
    let first = of_domain().next();
    if first.is_none_or(|first| first.selector != key.selector) {
        return;
    }
    let ahead = |days| today.saturating_add(jiff::Span::new().days(days));
    let covered = |day| of_domain().any(|key| key.signs_on(day));
    let Some(day) = (0..=LAPSE_DAYS).map(ahead).find(|day| !covered(*day)) else {
        return;
    };
    let message = if day == today {
        format!(
            "no key of {} signs today: its mail goes out unsigned",
            key.domain
        )
    } else {
        format!(
            "no key of {} signs on {day}: its mail will go out unsigned",
            key.domain
        )
    };
    let diagnostic = Diagnostic::warning("no-valid-key", message)
        .at(section.place(), "")
        .help("make a key with `postern dkim new`, publish its record, then add it here: they may overlap");
    section.diagnostics().push(diagnostic);
}

/// So many days ahead `check` looks for a day without a key: time enough for a change of the DNS.
const LAPSE_DAYS: i64 = 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Diagnostics, SourceFile, read_toml, render};
    use crate::policy::signing::testing;
    use std::fs::Permissions;
    use std::sync::Arc;

    /// What is said of a `[signing]` in a folder with `rsa.pem`, `ed.pem` and `open.pem` (mode 644).
    fn read(text: &str) -> (Signing, Vec<Diagnostic>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, pem, mode) in [
            ("rsa.pem", testing::rsa(), 0o600),
            ("ed.pem", testing::ed25519(), 0o600),
            ("open.pem", testing::rsa(), 0o644),
            ("bad.pem", Secret::new("hello".to_owned()), 0o600),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, pem.expose()).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let diagnostics = Diagnostics::default();
        let source = Arc::new(SourceFile {
            path: folder.path().join("postern.toml"),
            text: text.to_owned(),
        });
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let signing = read_toml(&source, &diagnostics, |top| Signing::read(top, now));
        (signing, diagnostics.into_vec())
    }

    fn key_of(file: &str, more: &str) -> String {
        format!(
            "[[signing.key]]\ndomain = \"ward.example\"\nselector = \"s1\"\nfile = \"{file}\"\n{more}\n"
        )
    }

    #[test]
    fn nothing_is_signed_until_there_is_a_key() {
        let (signing, said) = read("");
        assert!(signing.keys.is_empty() && said.is_empty());
        assert!(signing.seal.is_none());
    }

    #[test]
    fn a_whole_section_is_read() {
        let text = format!(
            "[signing]\non-failure = \"defer\"\nforeign-signature = \"leave\"\narc-domain = \"ward.example\"\n{}{}",
            key_of("rsa.pem", "valid-from = 2026-11-01"),
            key_of("ed.pem", "").replace("s1", "s2")
        );
        let (signing, said) = read(&text);
        assert_eq!(said, []);
        assert_eq!(
            (signing.on_failure, signing.foreign),
            (OnFailure::Defer, Foreign::Leave)
        );
        let kinds: Vec<_> = signing
            .keys
            .iter()
            .map(|key| key.pair().algorithm().word())
            .collect();
        assert_eq!(kinds, ["rsa-sha256", "ed25519-sha256"]);
        assert_eq!(signing.seal.unwrap().as_str(), "ward.example");
    }

    #[test]
    fn every_mistake_has_its_place_and_its_help() {
        for (text, id, line) in [
            (key_of("none.pem", ""), "bad-key", 4),
            (key_of("bad.pem", ""), "bad-key", 4),
            (key_of("open.pem", ""), "key-not-private", 4),
            (key_of("rsa.pem", "") + &key_of("ed.pem", ""), "twice", 6),
            (
                key_of(
                    "rsa.pem",
                    "valid-from = 2026-12-01\nvalid-until = 2026-11-30",
                ),
                "out-of-bounds",
                6,
            ),
            (
                key_of("rsa.pem", "valid-until = 2026-11-20"),
                "no-valid-key",
                1,
            ),
            (
                key_of("rsa.pem", "valid-until = 2026-12-10"),
                "no-valid-key",
                1,
            ),
            (
                key_of("rsa.pem", "valid-form = 2026-12-10"),
                "unknown-key",
                5,
            ),
            (
                format!(
                    "[signing]\narc-domain = \"lab.example\"\n{}",
                    key_of("rsa.pem", "")
                ),
                "no-such-key",
                2,
            ),
        ] {
            let (_, said) = read(&text);
            let first = &said[0];
            let at = first.labels.first().map(|label| label.place.line());
            assert_eq!((first.id, at), (id, Some(line)), "{}", render::short(first));
            assert!(first.help.is_some(), "{id}");
        }
    }

    #[test]
    fn no_diagnostic_repeats_a_key() {
        let (_, said) = read(&key_of("bad.pem", ""));
        let text = format!("{said:?} {}", render::short(&said[0]));
        assert!(!text.contains("hello"), "{text}");
    }

    #[test]
    fn keys_may_overlap_and_a_change_in_time_is_not_warned_of() {
        let text = key_of("rsa.pem", "valid-until = 2026-11-30")
            + &key_of("ed.pem", "valid-from = 2026-11-25").replace("s1", "s2");
        assert_eq!(read(&text).1, []);
    }
}
