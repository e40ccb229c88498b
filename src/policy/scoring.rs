//! The scoring rules (`scoring.toml`): names, weights, conditions, and what a score leads to.

use std::path::Path;

use regex::RegexBuilder;

use crate::config::{Diagnostics, Located, Section, load_toml};

use super::condition::Condition;
use super::senders::dns_list::DnsList;

/// The file, checked.
#[derive(Debug)]
pub struct Scoring {
    /// At this score a message is marked.
    pub tag: Located<f64>,
    /// At this score it is quarantined.
    pub quarantine: Located<f64>,
    /// At this score it is refused.
    pub refuse: Located<f64>,
    /// What `p=reject` leads to.
    pub dmarc_reject: Located<DmarcVerdict>,
    /// What `p=quarantine` leads to.
    pub dmarc_quarantine: Located<DmarcVerdict>,
    /// The rules, in the order of the file.
    pub rules: Vec<Rule>,
    /// Lists of the DNS.
    pub dns_lists: Vec<DnsList>,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// What `X-Spam-Status` calls it.
    pub name: Located<String>,
    /// What it adds to the score, or takes from it.
    pub weight: f64,
    /// What it says, for people.
    pub description: String,
    /// When it speaks.
    pub condition: Condition,
}

/// What the failure of a DMARC check leads to, where the policy of the domain asks for something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DmarcVerdict {
    /// Refused (RFC 7489 §10.3).
    Refuse,
    /// Kept apart.
    Quarantine,
    /// Nothing but what the rules add to the score.
    Score,
}

impl Scoring {
    /// Reads the file.
    pub fn load(path: &Path, diagnostics: &Diagnostics) -> Option<Self> {
        load_toml(path, diagnostics, Self::read)
    }

    pub(super) fn read(top: &Section<'_>) -> Self {
        let thresholds = top.section("thresholds");
        let number = |key, otherwise| {
            thresholds
                .number(key)
                .unwrap_or(Located::built_in(otherwise))
        };
        let (tag, quarantine, refuse) = (
            number("tag", TAG),
            number("quarantine", QUARANTINE),
            number("refuse", REFUSE),
        );
        check_thresholds(&thresholds, &tag, &quarantine, &refuse);
        thresholds.finish();
        let dmarc = top.section("dmarc");
        let scoring = Self {
            tag,
            quarantine,
            refuse,
            dmarc_reject: dmarc_word(&dmarc, "reject", DmarcVerdict::Refuse),
            dmarc_quarantine: dmarc_word(&dmarc, "quarantine", DmarcVerdict::Quarantine),
            rules: read_rules(top),
            dns_lists: DnsList::read_all(top),
        };
        dmarc.finish();
        scoring
    }
}

fn check_thresholds(
    section: &Section<'_>,
    tag: &Located<f64>,
    quarantine: &Located<f64>,
    refuse: &Located<f64>,
) {
    for (lower, upper, names) in [
        (tag, quarantine, "`quarantine` is below `tag`"),
        (quarantine, refuse, "`refuse` is below `quarantine`"),
    ] {
        if **upper < **lower {
            section.report(
                "threshold-order",
                names,
                upper,
                "a worse fate needs a higher score".into(),
            );
        }
    }
}

fn dmarc_word(section: &Section<'_>, key: &str, otherwise: DmarcVerdict) -> Located<DmarcVerdict> {
    let words = [
        ("refuse", DmarcVerdict::Refuse),
        ("quarantine", DmarcVerdict::Quarantine),
        ("score", DmarcVerdict::Score),
    ];
    section
        .word(key, &words)
        .unwrap_or(Located::built_in(otherwise))
}

fn read_rules(top: &Section<'_>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for section in top.sections("rule") {
        let rule = read_rule(&section);
        section.finish();
        let Some(rule) = rule else { continue };
        if rules.iter().any(|known| *known.name == *rule.name) {
            let message = format!("the rule `{}` is there twice", rule.name.as_str());
            top.report(
                "twice",
                message,
                &rule.name,
                "give one of them another name".into(),
            );
            continue;
        }
        rules.push(rule);
    }
    rules
}

fn read_rule(section: &Section<'_>) -> Option<Rule> {
    let name = section.required_string("name");
    let weight = section.number("weight");
    let description = section.required_string("description");
    let group = section.string("group");
    drop(group); // for people, who sort by it
    let condition = read_condition(section);
    let name = name.filter(|name| is_rule_name(section, name))?;
    Some(Rule {
        weight: weight.map_or(0.0, Located::into_inner),
        description: description.map(Located::into_inner).unwrap_or_default(),
        condition: condition?,
        name,
    })
}

/// Names go into a header field: capitals, digits and underscores.
fn is_rule_name(section: &Section<'_>, name: &Located<String>) -> bool {
    let harmless = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let good = !name.is_empty() && name.len() <= 60 && name.bytes().all(harmless);
    if !good {
        let help = "capitals, digits and underscores, at most 60".to_owned();
        section.report("bad-name", "this is not a name for a rule", name, help);
    }
    good
}

fn read_condition(section: &Section<'_>) -> Option<Condition> {
    let words: Vec<(&str, usize)> = CONDITIONS
        .iter()
        .map(|(word, _)| *word)
        .chain(PARAMETRIC)
        .enumerate()
        .map(|(at, word)| (word, at))
        .collect();
    section.required_string("when");
    let at = section.word("when", &words)?;
    if let Some((_, condition)) = CONDITIONS.get(*at) {
        return Some(condition.clone());
    }
    let limit = |key| section.integer(key, 1..=1_000_000);
    match words[*at].0 {
        "recipients-over" => {
            let count = limit("count").map_or(50, Located::into_inner);
            Some(Condition::RecipientsOver(usize::try_from(count).ok()?))
        }
        "date-off" => Some(Condition::DateOff(
            limit("hours").map_or(96, Located::into_inner),
        )),
        _ => read_header_matches(section),
    }
}

/// The expression is of the linear-time kind and bounded in size, so that no rule can stall the gateway.
fn read_header_matches(section: &Section<'_>) -> Option<Condition> {
    let field = section.required_string("header");
    let pattern = section.required_string("pattern")?;
    let compiled = RegexBuilder::new(&pattern)
        .size_limit(PATTERN_OCTETS_MAX)
        .build();
    match compiled {
        Ok(regex) => Some(Condition::HeaderMatches(field?.into_inner(), regex)),
        Err(error) => {
            let help = error.to_string();
            section.report(
                "bad-pattern",
                "this is not a regular expression",
                &pattern,
                help,
            );
            None
        }
    }
}

/// The conditions without parameters.
const CONDITIONS: &[(&str, Condition)] = &[
    ("spf-pass", Condition::Method("spf", &["pass"])),
    ("spf-fail", Condition::Method("spf", &["fail"])),
    ("spf-softfail", Condition::Method("spf", &["softfail"])),
    ("spf-none", Condition::Method("spf", &["none", "permerror"])),
    ("dkim-pass", Condition::Method("dkim", &["pass"])),
    (
        "dkim-fail",
        Condition::Method("dkim", &["fail", "neutral", "permerror"]),
    ),
    ("helo-spf-fail", Condition::Method("spf-helo", &["fail"])),
    ("iprev-pass", Condition::Method("iprev", &["pass"])),
    (
        "iprev-fail",
        Condition::Method("iprev", &["fail", "permerror"]),
    ),
    ("arc-pass", Condition::Method("arc", &["pass"])),
    ("arc-fail", Condition::Method("arc", &["fail"])),
    ("dmarc-pass", Condition::Method("dmarc", &["pass"])),
    ("dmarc-fail", Condition::Method("dmarc", &["fail"])),
    ("missing-from", Condition::Missing("From")),
    ("missing-date", Condition::Missing("Date")),
    ("missing-message-id", Condition::Missing("Message-ID")),
    ("missing-subject", Condition::Missing("Subject")),
    ("missing-to", Condition::Missing("To")),
    ("several-from", Condition::SeveralFrom),
    ("malformed-header", Condition::MalformedHeader),
    ("reply-to-differs", Condition::ReplyToDiffers),
    ("subject-capitals", Condition::SubjectCapitals),
    ("bulk-precedence", Condition::BulkPrecedence),
    ("name-shows-other-address", Condition::NameShowsOtherAddress),
    ("name-shows-served-domain", Condition::NameShowsServedDomain),
    ("from-served-domain", Condition::FromServedDomain),
    ("helo-no-name", Condition::HeloNoName),
];
/// Those with parameters, read by hand.
const PARAMETRIC: [&str; 3] = ["recipients-over", "date-off", "header-matches"];
/// Largest compiled expression.
const PATTERN_OCTETS_MAX: usize = 1 << 20;
const TAG: f64 = 5.0;
const QUARANTINE: f64 = 10.0;
const REFUSE: f64 = 20.0;
