//! The SPF record (RFC 7208 §4.6, §5, §6, §12): read whole before any of it is asked, so that a mistake in
//! its last term is a mistake of the record.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::macros::MacroString;

/// A record, its terms in their order.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) directives: Vec<Directive>,
    /// Who answers if nothing matched (§6.1).
    pub(super) redirect: Option<MacroString>,
    /// Where the explanation of a fail stands (§6.2).
    pub(super) explanation: Option<MacroString>,
}

/// A mechanism, and what its match means.
#[derive(Debug)]
pub(super) struct Directive {
    pub(super) qualifier: Qualifier,
    pub(super) mechanism: Mechanism,
}

/// What a match means (§4.6.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

/// §5.
#[derive(Debug)]
pub(super) enum Mechanism {
    All,
    Include(MacroString),
    /// No target is the domain itself.
    A(Option<MacroString>, Lengths),
    Mx(Option<MacroString>, Lengths),
    Ptr(Option<MacroString>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(MacroString),
}

/// The lengths of prefixes, of IPv4 and IPv6 (§5.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Lengths {
    pub(super) v4: u8,
    pub(super) v6: u8,
}

/// The record is none: `permerror`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BadRecord;

/// Whether a text is an SPF record at all: `v=spf1`, and then a space or nothing (§4.5).
pub(super) fn is_record(text: &str) -> bool {
    let version = text.get(..VERSION.len());
    version.is_some_and(|version| version.eq_ignore_ascii_case(VERSION))
        && matches!(text.as_bytes().get(VERSION.len()), None | Some(b' '))
}

impl Record {
    /// Reads a text that [`is_record`].
    pub(super) fn parse(text: &str) -> Result<Self, BadRecord> {
        let mut record = Self::default();
        let terms = text.get(VERSION.len()..).ok_or(BadRecord)?;
        for term in terms.split(' ').filter(|term| !term.is_empty()) {
            record.take(term)?;
        }
        Ok(record)
    }

    fn take(&mut self, term: &str) -> Result<(), BadRecord> {
        match modifier(term) {
            Some((name, value)) if name.eq_ignore_ascii_case("redirect") => {
                only_once(&mut self.redirect, MacroString::domain_spec(value)?)
            }
            Some((name, value)) if name.eq_ignore_ascii_case("exp") => {
                only_once(&mut self.explanation, MacroString::domain_spec(value)?)
            }
            // Unknown ones are ignored, but not their grammar (§6).
            Some((_, value)) => MacroString::parse(value).map(drop),
            None => {
                self.directives.push(Directive::parse(term)?);
                Ok(())
            }
        }
    }
}

/// `name=value`, if the term is a modifier: the name begins with a letter (§12).
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(harmless);
    is_name.then_some((name, value))
}

fn only_once(slot: &mut Option<MacroString>, value: MacroString) -> Result<(), BadRecord> {
    match slot.replace(value) {
        Some(_) => Err(BadRecord),
        None => Ok(()),
    }
}

impl Directive {
    fn parse(term: &str) -> Result<Self, BadRecord> {
        let (qualifier, rest) = match term.as_bytes().first() {
            Some(b'+') => (Qualifier::Pass, &term[1..]),
            Some(b'-') => (Qualifier::Fail, &term[1..]),
            Some(b'~') => (Qualifier::SoftFail, &term[1..]),
            Some(b'?') => (Qualifier::Neutral, &term[1..]),
            _ => (Qualifier::Pass, term),
        };
        let end = rest.find([':', '/']).unwrap_or(rest.len());
        let (name, arguments) = rest.split_at(end);
        let mechanism = Mechanism::parse(&name.to_ascii_lowercase(), arguments)?;
        Ok(Self {
            qualifier,
            mechanism,
        })
    }
}

impl Mechanism {
    fn parse(name: &str, arguments: &str) -> Result<Self, BadRecord> {
        let target = arguments.strip_prefix(':');
        match name {
            "all" if arguments.is_empty() => Ok(Self::All),
            "include" => Ok(Self::Include(MacroString::domain_spec(
                target.ok_or(BadRecord)?,
            )?)),
            "exists" => Ok(Self::Exists(MacroString::domain_spec(
                target.ok_or(BadRecord)?,
            )?)),
            "a" => target_and_lengths(arguments).map(|(target, lengths)| Self::A(target, lengths)),
            "mx" => {
                target_and_lengths(arguments).map(|(target, lengths)| Self::Mx(target, lengths))
            }
            "ptr" if arguments.is_empty() => Ok(Self::Ptr(None)),
            "ptr" => {
                let target = MacroString::domain_spec(target.ok_or(BadRecord)?)?;
                Ok(Self::Ptr(Some(target)))
            }
            "ip4" => {
                let (address, length) = network(target.ok_or(BadRecord)?, 32)?;
                Ok(Self::Ip4(address.parse().map_err(|_| BadRecord)?, length))
            }
            "ip6" => {
                let (address, length) = network(target.ok_or(BadRecord)?, 128)?;
                Ok(Self::Ip6(address.parse().map_err(|_| BadRecord)?, length))
            }
            _ => Err(BadRecord),
        }
    }
}

fn target_and_lengths(arguments: &str) -> Result<(Option<MacroString>, Lengths), BadRecord> {
    let (rest, v6) = length_at_end(arguments, "//", 128)?;
    let (rest, v4) = length_at_end(rest, "/", 32)?;
    let lengths = Lengths { v4, v6 };
    match rest.strip_prefix(':') {
        Some(target) => Ok((Some(MacroString::domain_spec(target)?), lengths)),
        None if rest.is_empty() => Ok((None, lengths)),
        None => Err(BadRecord),
    }
}

/// The length of a prefix behind the last `mark`, if figures alone stand there. A slash may stand in a
/// target too, between the delimiters of a macro.
fn length_at_end<'t>(text: &'t str, mark: &str, most: u8) -> Result<(&'t str, u8), BadRecord> {
    let Some(at) = text.rfind(mark) else {
        return Ok((text, most));
    };
    let figures = &text[at + mark.len()..];
    if !figures.bytes().all(|b| b.is_ascii_digit()) {
        return Ok((text, most));
    }
    Ok((&text[..at], length(figures, most)?))
}

/// Without a zero before it (§5.6).
fn length(figures: &str, most: u8) -> Result<u8, BadRecord> {
    let is_plain = figures == "0" || !figures.starts_with('0');
    let is_figures = !figures.is_empty() && figures.bytes().all(|b| b.is_ascii_digit());
    let number = figures.parse::<u8>().ok().filter(|number| *number <= most);
    number.filter(|_| is_plain && is_figures).ok_or(BadRecord)
}

fn network(text: &str, most: u8) -> Result<(&str, u8), BadRecord> {
    match text.split_once('/') {
        Some((address, figures)) => Ok((address, length(figures, most)?)),
        None => Ok((text, most)),
    }
}

/// How a record begins.
const VERSION: &str = "v=spf1";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_is_good_or_not_as_a_whole() {
        for (text, good) in [
            ("v=spf1", true),
            ("V=SPF1 -all", true),
            ("v=spf1  mx  -ALL ", true),
            ("v=spf1 a:x.example/24//64 ?all", true),
            ("v=spf1 a//64", true),
            ("v=spf1 a:%{l/}.x.example/8", true),
            ("v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32", true),
            ("v=spf1 exp=e.example redirect=r.example", true),
            ("v=spf1 moo.cow-far_out=man:dog/cat", true),
            ("v=spf1 -all:x.example", false),
            ("v=spf1 a/24//", false),
            ("v=spf1 a/024", false),
            ("v=spf1 a/33", false),
            ("v=spf1 a//129", false),
            ("v=spf1 ip4:192.0.2", false),
            ("v=spf1 ip4:192.0.2.1/", false),
            ("v=spf1 ip6:192.0.2.1", false),
            ("v=spf1 include", false),
            ("v=spf1 include:", false),
            ("v=spf1 redirect=r.example redirect=r.example", false),
            ("v=spf1 what:x.example", false),
            ("v=spf1 \u{e9}all", false),
        ] {
            assert!(is_record(text));
            assert_eq!(Record::parse(text).is_ok(), good, "{text}");
        }
        assert!(!is_record("v=spf10 -all") && !is_record("v=spf1\u{a0}-all") && !is_record(""));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC{0,60}") {
            let _ = Record::parse(&format!("v=spf1 {text}"));
        }
    }
}
