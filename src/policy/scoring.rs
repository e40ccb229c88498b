//! The scoring rules (`scoring.toml`): names, weights, conditions, and what a score leads to.

use std::path::Path;

use crate::config::{Diagnostics, Located, Section, load_toml};

use super::condition::Condition;
use super::finding::Symbol;
use super::senders::dns_list::DnsList;
use super::spam::patterns::{Pattern, Patterns, Place, compile};
use super::spam::settings::Settings as Learning;
use super::spam::signs::Sign;

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
    /// Their expressions, compiled.
    pub patterns: Patterns,
    /// Groups of rules that together add no more than so much, either way.
    pub caps: Vec<(String, f64)>,
    /// What was learnt, and how it counts.
    pub learning: Learning,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// What `X-Spam-Status` calls it.
    pub name: Located<String>,
    /// What it adds to the score, or takes from it.
    pub weight: f64,
    /// The rules that it belongs to; empty for none.
    pub group: String,
    /// What it says, for people.
    pub description: String,
    /// When it speaks.
    pub condition: Condition,
}

impl Rule {
    /// What it adds to a score when it speaks.
    pub fn symbol(&self) -> Symbol {
        Symbol {
            name: self.name.as_str().to_owned(),
            score: self.weight,
            because: self.description.clone(),
        }
    }
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
        let rules = read_rules(top);
        let scoring = Self {
            tag,
            quarantine,
            refuse,
            dmarc_reject: dmarc_word(&dmarc, "reject", DmarcVerdict::Refuse),
            dmarc_quarantine: dmarc_word(&dmarc, "quarantine", DmarcVerdict::Quarantine),
            patterns: compile_all(top, &rules),
            caps: read_caps(top, &rules),
            learning: Learning::read(top),
            rules,
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
    let group = section.string("group").map(Located::into_inner);
    let condition = read_condition(section);
    let name = name.filter(|name| is_rule_name(section, name))?;
    Some(Rule {
        weight: weight.map_or(0.0, Located::into_inner),
        description: description.map(Located::into_inner).unwrap_or_default(),
        group: group.unwrap_or_default(),
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

/// `[caps]`: the name of a group and the most that its rules add together.
fn read_caps(top: &Section<'_>, rules: &[Rule]) -> Vec<(String, f64)> {
    let section = top.section("caps");
    let mut caps = Vec::new();
    for group in section.keys() {
        if !rules.iter().any(|rule| rule.group == group.as_str()) {
            let message = format!("no rule belongs to the group `{}`", group.as_str());
            section.report("unknown-group", message, &group, "take the line out".into());
        }
        if let Some(most) = section.number(&group) {
            caps.push((group.into_inner(), most.abs()));
        }
    }
    section.finish();
    caps
}

/// Each was compiled by itself before: all together they may still be too large.
fn compile_all(top: &Section<'_>, rules: &[Rule]) -> Patterns {
    let patterns = rules.iter().enumerate();
    let patterns = patterns.filter_map(|(number, rule)| Some((number, rule.condition.pattern()?)));
    Patterns::new(patterns).unwrap_or_else(|error| {
        if let Some(rule) = rules.last() {
            let message = "all expressions together are too large";
            top.report("bad-pattern", message, &rule.name, error);
        }
        Patterns::default()
    })
}

fn read_condition(section: &Section<'_>) -> Option<Condition> {
    let known = CONDITIONS
        .iter()
        .map(|(word, condition)| (*word, condition.clone()));
    let signs = Sign::ALL
        .iter()
        .map(|sign| (sign.word, Condition::Sign(*sign)));
    let known: Vec<(&str, Condition)> = known.chain(signs).collect();
    let words = known.iter().map(|(word, _)| *word).chain(PARAMETRIC);
    let words: Vec<(&str, usize)> = words.enumerate().map(|(at, word)| (word, at)).collect();
    section.required_string("when");
    let at = section.word("when", &words)?;
    if let Some((_, condition)) = known.get(*at) {
        return Some(condition.clone());
    }
    let limit = |key| section.integer(key, 1..=1_000_000);
    let of = |key, otherwise| limit(key).map_or(otherwise, Located::into_inner);
    match words[*at].0 {
        "recipients-over" => Some(Condition::RecipientsOver(
            usize::try_from(of("count", 50)).ok()?,
        )),
        "date-off" => Some(Condition::DateOff(of("hours", 96))),
        "date-ahead" => Some(Condition::DateBeyond(of("minutes", 60) * 60)),
        "date-behind" => Some(Condition::DateBeyond(of("hours", 96) * -3_600)),
        "name-from-outside" => read_pattern(section, Place::Name).map(Condition::NameFromOutside),
        word => {
            let place = match word {
                "subject-matches" => Place::Subject,
                "text-matches" => Place::Text,
                "html-matches" => Place::Html,
                "link-matches" => Place::Link,
                "received-matches" => Place::Received,
                "charset-matches" => Place::Charset,
                _ => Place::Header(section.required_string("header")?.into_inner()),
            };
            read_pattern(section, place).map(Condition::Matches)
        }
    }
}

/// The expression is of the linear-time kind and bounded in size, so that no rule can stall the gateway.
fn read_pattern(section: &Section<'_>, place: Place) -> Option<Pattern> {
    let text = section.required_string("pattern")?;
    let traces = section.integer("traces-at-most", 0..=100);
    if let Err(error) = compile(&[&text]) {
        section.report(
            "bad-pattern",
            "this is not a regular expression",
            &text,
            error,
        );
        return None;
    }
    Some(Pattern {
        place,
        text: text.into_inner(),
        traces_at_most: traces.and_then(|most| usize::try_from(*most).ok()),
    })
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
    ("dmarc-fail", Condition::DmarcFails),
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
    ("name-of-our-people", Condition::NameOfOurs),
];
/// Those with parameters, read by hand.
const PARAMETRIC: [&str; 12] = [
    "recipients-over",
    "date-off",
    "date-ahead",
    "date-behind",
    "name-from-outside",
    "header-matches",
    "subject-matches",
    "text-matches",
    "html-matches",
    "link-matches",
    "received-matches",
    "charset-matches",
];
const TAG: f64 = 5.0;
const QUARANTINE: f64 = 10.0;
const REFUSE: f64 = 20.0;
