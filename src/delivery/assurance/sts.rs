//! The words of MTA-STS (RFC 8461): the record that says that there is a policy, the policy, and which
//! exchangers it allows. No I/O.

use std::time::Duration;

use crate::mail::Domain;

/// A policy of a domain (RFC 8461 §3.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Policy {
    /// How it is meant.
    pub(crate) mode: Mode,
    /// How long it holds from its fetching on.
    pub(crate) max_age: Duration,
    /// The exchangers that may take mail; empty in mode `none` alone.
    pub(crate) mx: Vec<MxPattern>,
}

/// How a policy is meant (RFC 8461 §5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// No mail goes to an exchanger that fails it.
    Enforce,
    /// Mail goes, and failures are reported.
    Testing,
    /// There is no policy any more.
    None,
}

impl Mode {
    /// The word in the policy.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

/// Names of exchangers: one, or all that have one label before it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum MxPattern {
    /// That name.
    Exactly(Domain),
    /// One label, and this behind it (RFC 8461 §4.1, as in RFC 6125 §6.4.3).
    OneBelow(Domain),
}

impl MxPattern {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("*.") {
            Some(parent) => Domain::parse(parent).ok().map(Self::OneBelow),
            None => Domain::parse(text).ok().map(Self::Exactly),
        }
    }

    fn takes(&self, host: &str) -> bool {
        match self {
            Self::Exactly(name) => host.eq_ignore_ascii_case(name.as_str()),
            Self::OneBelow(parent) => host.split_once('.').is_some_and(|(label, rest)| {
                !label.is_empty() && rest.eq_ignore_ascii_case(parent.as_str())
            }),
        }
    }
}

/// Why a text is no policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum PolicyError {
    /// A line is no `key: value`.
    #[error("a line of it is no field")]
    Line,
    /// Another version, or none.
    #[error("it is not of version STSv1")]
    Version,
    /// None of the three modes.
    #[error("it has no mode that is known")]
    Mode,
    /// No number of seconds.
    #[error("it does not say how long it holds")]
    MaxAge,
    /// No exchanger, or one that is no name.
    #[error("it names no exchangers, or one that is no name")]
    Mx,
}

impl Policy {
    /// Reads a policy file. Of fields that stand twice the first counts, those that are not known are passed over
    /// (RFC 8461 §3.2).
    pub(crate) fn parse(text: &str) -> Result<Self, PolicyError> {
        let (mut version, mut mode, mut max_age) = (None, None, None);
        let mut mx = Vec::new();
        let lines = text
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line));
        for line in lines.filter(|line| !line.trim_matches(is_space).is_empty()) {
            let (key, value) = line.split_once(':').ok_or(PolicyError::Line)?;
            let value = value.trim_matches(is_space);
            match key.trim_matches(is_space) {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" => mx.push(MxPattern::parse(value).ok_or(PolicyError::Mx)?),
                "" => return Err(PolicyError::Line),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(PolicyError::Version);
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err(PolicyError::Mode),
        };
        if mx.is_empty() && mode != Mode::None {
            return Err(PolicyError::Mx);
        }
        Ok(Self {
            mode,
            max_age: seconds(max_age).ok_or(PolicyError::MaxAge)?,
            mx,
        })
    }

    /// Whether mail for the domain may go to this exchanger.
    pub(crate) fn allows(&self, host: &str) -> bool {
        self.mx.iter().any(|pattern| pattern.takes(host))
    }
}

/// One to ten digits, a year at most: a longer one is cut to that.
fn seconds(text: Option<&str>) -> Option<Duration> {
    let text = text.filter(|text| (1..=10).contains(&text.len()))?;
    let all_digits = text.bytes().all(|octet| octet.is_ascii_digit());
    let seconds: u64 = text.parse().ok().filter(|_| all_digits)?;
    Some(Duration::from_secs(seconds.min(MAX_AGE_SECONDS)))
}

/// The `id` of the one STSv1 record among the texts of `_mta-sts.DOMAIN`; `None` if there is none, or more than one
/// (RFC 8461 §3.1).
pub(crate) fn id_of(texts: &[String]) -> Option<String> {
    let mut records = texts.iter().filter_map(|text| fields(text));
    match (records.next(), records.next()) {
        (Some(fields), None) => fields
            .into_iter()
            .find(|(key, _)| *key == "id")
            .map(|(_, id)| id)
            .filter(|id| {
                (1..=32).contains(&id.len())
                    && id.bytes().all(|octet| octet.is_ascii_alphanumeric())
            })
            .map(str::to_owned),
        _ => None,
    }
}

/// The fields of a record of this version; `None` if it is something else.
fn fields(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut parts = text.split(';').map(|part| part.trim_matches(is_space));
    let is_sts = parts.next() == Some("v=STSv1") && text.starts_with("v=STSv1");
    if !is_sts || !text.contains(';') {
        return None;
    }
    Some(parts.filter_map(|part| part.split_once('=')).collect())
}

fn is_space(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// A year, more or less (RFC 8461 §3.2).
const MAX_AGE_SECONDS: u64 = 31_557_600;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n";

    #[test]
    fn the_policy_of_the_rfc_is_read() {
        let policy = Policy::parse(GOOD).unwrap();
        assert_eq!(policy.mode, Mode::Enforce);
        assert_eq!(policy.max_age.as_secs(), 604_800);
        assert_eq!(policy.mx.len(), 3);
        // Plain line ends, spaces, fields that nobody knows and blank lines at the end do no harm.
        let loose = GOOD
            .replace("\r\n", "\n")
            .replace("mode:", "future: 1\nmode \t:")
            + "\n\n";
        assert_eq!(Policy::parse(&loose), Ok(policy));
    }

    #[test]
    fn what_is_wrong_with_a_policy_is_said() {
        for (change, to, error) in [
            ("STSv1", "STSv2", PolicyError::Version),
            ("version: STSv1\r\n", "", PolicyError::Version),
            ("enforce", "Enforce", PolicyError::Mode),
            ("mode: enforce\r\n", "", PolicyError::Mode),
            ("604800", "-1", PolicyError::MaxAge),
            ("604800", "", PolicyError::MaxAge),
            ("604800", "+60", PolicyError::MaxAge),
            ("604800", "12345678901", PolicyError::MaxAge),
            ("max_age: 604800\r\n", "", PolicyError::MaxAge),
            ("mail.example.com", "*.*.example.com", PolicyError::Mx),
            ("mail.example.com", "mail example.com", PolicyError::Mx),
            ("mode: enforce", "mode enforce", PolicyError::Line),
            ("mode: enforce", "mode: enforce\r\n: x", PolicyError::Line),
        ] {
            let text = GOOD.replacen(change, to, 1);
            assert_eq!(Policy::parse(&text), Err(error), "{change} {to}");
        }
        let bare = "version: STSv1\nmode: none\nmax_age: 60\n";
        assert_eq!(
            Policy::parse(bare).map(|policy| policy.mode),
            Ok(Mode::None)
        );
        let no_mx = bare.replace("none", "testing");
        assert_eq!(Policy::parse(&no_mx), Err(PolicyError::Mx));
    }

    #[test]
    fn of_a_field_that_stands_twice_the_first_counts_and_no_policy_outlasts_a_year() {
        let twice = GOOD.replace("mode: enforce", "mode: testing\r\nmode: enforce");
        assert_eq!(Policy::parse(&twice).unwrap().mode, Mode::Testing);
        let long = GOOD.replace("604800", "9999999999");
        assert_eq!(
            Policy::parse(&long).unwrap().max_age.as_secs(),
            MAX_AGE_SECONDS
        );
    }

    #[test]
    fn a_star_stands_for_one_label() {
        let policy = Policy::parse(GOOD).unwrap();
        for host in ["mail.example.com", "MAIL.example.COM", "a.example.net"] {
            assert!(policy.allows(host), "{host}");
        }
        for host in [
            "example.net",
            "a.b.example.net",
            ".example.net",
            "mail.example.com.evil.example",
            "evilexample.net",
            "",
        ] {
            assert!(!policy.allows(host), "{host}");
        }
    }

    #[test]
    fn one_record_of_the_version_gives_an_id() {
        for (texts, id) in [
            (
                &["v=STSv1; id=20160831085700Z;"][..],
                Some("20160831085700Z"),
            ),
            (&["v=STSv1;id=a"], Some("a")),
            (&["v=STSv1; x=1; id=a; y=2"], Some("a")),
            (&["spf", "v=STSv1; id=a;"], Some("a")),
            (&["v=STSv1; id=a;", "v=STSv1; id=b;"], None),
            (&["v=STSv1;"], None),
            (&["v=STSv1; id=;"], None),
            (&["v=STSv1; id=a-b;"], None),
            (&["v=STSv10; id=a;"], None),
            (&["v=stsv1; id=a;"], None),
            (&[" v=STSv1; id=a;"], None),
            (&[], None),
        ] {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(id_of(&texts).as_deref(), id, "{texts:?}");
        }
        let long = vec![format!("v=STSv1; id={};", "a".repeat(33))];
        assert_eq!(id_of(&long), None);
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_readers(text in "\\PC{0,200}", lines in "([a-z_]{0,8}[: ]{0,2}[A-Za-z0-9.*]{0,12}\r?\n){0,8}") {
            let _ = Policy::parse(&text);
            let _ = id_of(&[text]);
            if let Ok(policy) = Policy::parse(&format!("version: STSv1\n{lines}")) {
                prop_assert!(policy.mode == Mode::None || !policy.mx.is_empty());
                prop_assert!(policy.max_age.as_secs() <= MAX_AGE_SECONDS);
            }
        }
    }
}
