//! The spam rule: mail from outside gets a score with its reasons, and past a threshold it is marked,
//! quarantined or refused.
//!
//! Reads what `authenticate-sender` found. Mail of a sender at a secure domain, proven to be from
//! there, is never quarantined nor refused on its score alone: clinical mail must not be lost to a
//! number. Fields that claim an earlier verdict are taken out, whoever wrote them.

use std::fmt::Write;
use std::sync::Arc;

use crate::mail::{Domain, Edit, EditKind, Header};
use crate::policy::case::Case;
use crate::policy::condition::{Condition, Facts};
use crate::policy::finding::{DmarcDisposition, SpamScore, Symbol};
use crate::policy::opinion::{Ask, Finding, Opinion, Opinions};
use crate::policy::people::People;
use crate::policy::refusal::Refusal;
use crate::policy::scoring::{DmarcVerdict, Rule, Scoring};
use crate::policy::secure_domains::SecureDomains;
use crate::policy::self_release::Ground;
use crate::policy::spam::learned::{Answer, By};
use crate::policy::spam::{Features, Learned, Organisation};

/// The stage `score-spam`.
#[derive(Debug)]
pub struct ScoreSpam {
    scoring: Scoring,
    register: Arc<SecureDomains>,
    learned: Arc<Learned>,
    people: People,
}

impl ScoreSpam {
    /// The rule by a scoring file, the register of secure domains and what was learnt.
    pub fn new(scoring: Scoring, register: Arc<SecureDomains>, learned: Arc<Learned>) -> Self {
        Self {
            scoring,
            register,
            learned,
            people: People::default(),
        }
    }

    /// The names of the rules.
    pub fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.scoring.rules.iter().map(|rule| rule.name.as_str())
    }

    /// The score from which on a message is marked.
    pub fn threshold(&self) -> f64 {
        *self.scoring.tag
    }

    /// The score alone, whoever sent it.
    pub fn score_of(&self, case: &Case<'_>) -> SpamScore {
        let secure = |domain: &Domain| self.register.is_secure(domain, case.now);
        let facts = Facts::new(case, &self.scoring.patterns).knowing(&self.people, secure);
        self.score(case, &facts)
    }

    /// The score of mail from outside; nothing about our own. `X-Spam-*` fields on that stay: they carry nobody's name,
    /// every filter on the way writes them, and mail that is not edited leaves octet for octet.
    pub fn examine(&self, case: &Case<'_>) -> Opinions {
        if case.is_outbound() {
            return Opinions::none();
        }
        let secure = |domain: &Domain| self.register.is_secure(domain, case.now);
        let facts = Facts::new(case, &self.scoring.patterns).knowing(&self.people, secure);
        let spam = self.score(case, &facts);
        let protected = self.is_proven_secure(case, &facts);
        let opinions = [self.by_dmarc(case), self.by_score(&spam, protected)];
        let mut edits = forged_fields(case.header);
        let mut findings = vec![Finding::Spam(spam.clone())];
        findings.extend(of_sealer(case).map(Finding::Note));
        edits.push(Edit::prepend_fields(EditKind::Trace, self.fields(&spam)));
        Opinions {
            per_recipient: vec![worse(opinions); case.recipients.len()],
            edits,
            findings,
            ..Opinions::none()
        }
    }

    fn score(&self, case: &Case<'_>, facts: &Facts<'_>) -> SpamScore {
        let rules = self.scoring.rules.iter().enumerate();
        let spoke: Vec<&Rule> = rules
            .filter(|(number, rule)| facts.holds(*number, &rule.condition))
            .map(|(_, rule)| rule)
            .collect();
        // What was found before the rules: by DNS lists and lists of senders, by attachments and scanners.
        let findings = case.findings;
        let outside = findings.spam.symbols.iter().chain(&findings.scanned);
        let mut symbols: Vec<Symbol> = outside.cloned().collect();
        symbols.extend(spoke.iter().map(|rule| rule.symbol()));
        symbols.extend(self.capped(&spoke));
        symbols.extend(self.learnt(case, facts));
        self.sum(symbols)
    }

    fn sum(&self, symbols: Vec<Symbol>) -> SpamScore {
        // Adding up leaves dust such as 0.30000000000000004.
        let sum: f64 = symbols.iter().map(|symbol| symbol.score).sum();
        let score = hundredths(sum);
        SpamScore {
            tagged: score >= *self.scoring.tag,
            score,
            symbols,
        }
    }

    /// What the rules of a group add over its cap is taken off again.
    fn capped(&self, spoke: &[&Rule]) -> Vec<Symbol> {
        let over = self.scoring.caps.iter().filter_map(|(group, most)| {
            let of_group = spoke.iter().filter(|rule| rule.group == *group);
            let sum: f64 = of_group.map(|rule| rule.weight).sum();
            let over = sum - sum.clamp(-most, *most);
            (over.abs() >= 0.01).then(|| Symbol {
                name: format!("{CAP}{}", group.to_ascii_uppercase().replace('-', "_")),
                score: hundredths(-over),
                because: format!("the rules of the group `{group}` together count {most} at most"),
            })
        });
        over.collect()
    }

    /// What the models say. Where the outcome must be the same everywhere, what was learnt here says nothing.
    fn learnt(&self, case: &Case<'_>, facts: &Facts<'_>) -> Option<Symbol> {
        let organisation = match case.network_allowed {
            true => organisation_of(case),
            false => {
                return self.learnt_symbol(self.learned.ask_shipped(&Features::of(facts.look()))?);
            }
        };
        let answer = self
            .learned
            .ask(&organisation, &Features::of(facts.look()))?;
        self.learnt_symbol(answer)
    }

    fn learnt_symbol(&self, answer: Answer) -> Option<Symbol> {
        let points = self.scoring.learning.points(answer);
        let whose = match answer.by {
            By::Shipped => "the messages that the model that ships was made of",
            By::Site => "what was learnt here",
            By::Organisation => "what the organisation has learnt",
        };
        let percent = 100.0 / (1.0 + (-answer.log_odds).exp());
        let (name, what) = match points > 0.0 {
            true => ("LEARNED_SPAM", "spam"),
            false => ("LEARNED_HAM", "mail that is wanted"),
        };
        (points.abs() >= 0.01).then(|| Symbol {
            name: name.to_owned(),
            score: points,
            because: format!("it reads like {what} by {whose}: {percent:.1} % spam"),
        })
    }

    /// Whether the author is at a secure domain and DMARC vouches for it.
    fn is_proven_secure(&self, case: &Case<'_>, facts: &Facts<'_>) -> bool {
        let secure = |domain| self.register.is_secure(domain, case.now);
        facts.author_is_proven() && facts.author_domain().is_some_and(secure)
    }

    /// What follows from the symbols on record, by the weights and thresholds of this file: for mail that was scored
    /// before. Nothing is asked again but the rules that are new to a message that is still here.
    pub fn by_record(&self, case: &Case<'_>, scored: &ScoredBefore<'_>) -> Opinions {
        if case.is_outbound() {
            return Opinions::none();
        }
        let secure = |domain: &Domain| self.register.is_secure(domain, case.now);
        let facts = Facts::new(case, &self.scoring.patterns).knowing(&self.people, secure);
        let has = |name: &str| scored.symbols.iter().any(|symbol| symbol.name == name);
        let speaks = |number: usize, rule: &Rule| match (scored.is_new)(&rule.name) {
            true if !rule.condition.asks_of_sender() => facts.holds(number, &rule.condition),
            _ => has(&rule.name),
        };
        let rules = self.scoring.rules.iter().enumerate();
        let spoke: Vec<&Rule> = rules
            .filter(|(number, rule)| speaks(*number, rule))
            .map(|(_, rule)| rule)
            .collect();
        // What no rule says stays as it was: lists, scanners, attachments, models. Caps are reckoned anew.
        let is_kept = |name: &str| !(scored.is_rule)(name) && !name.starts_with(CAP);
        let kept = scored.symbols.iter().filter(|symbol| is_kept(&symbol.name));
        let mut symbols: Vec<Symbol> = kept.cloned().collect();
        symbols.extend(spoke.iter().map(|rule| rule.symbol()));
        symbols.extend(self.capped(&spoke));
        let spam = self.sum(symbols);
        let protected = scored.is_protected || self.is_proven_secure(case, &facts);
        let opinion = self.by_score(&spam, protected);
        Opinions {
            per_recipient: vec![opinion; case.recipients.len()],
            ..Opinions::finding(Finding::Spam(spam))
        }
    }

    /// The rules, by name, and what each asks: two that ask the same have the same text.
    pub fn questions(&self) -> impl Iterator<Item = (&str, String)> {
        let rules = self.scoring.rules.iter();
        rules.map(|rule| (rule.name.as_str(), format!("{:?}", rule.condition)))
    }

    /// The rules that speak where DMARC vouches for the author.
    pub fn vouching(&self) -> impl Iterator<Item = &str> {
        let rules = self.scoring.rules.iter();
        let vouching = rules.filter(|rule| {
            matches!(&rule.condition, Condition::Method("dmarc", results) if results == &["pass"])
        });
        vouching.map(|rule| rule.name.as_str())
    }

    fn by_score(&self, spam: &SpamScore, protected: bool) -> Opinion {
        let (ask, threshold) = if spam.score >= *self.scoring.refuse {
            (Ask::Refuse(Refusal::Spam), &self.scoring.refuse)
        } else if spam.score >= *self.scoring.quarantine {
            (Ask::Quarantine, &self.scoring.quarantine)
        } else {
            return Opinion::pass();
        };
        if protected {
            return Opinion::pass();
        }
        let because = format!("the spam score is {}", spam.score);
        Opinion::new(ask, threshold.source(), because)
            .would_pass_if(format!("the score is below {}", *self.scoring.quarantine))
            .on(Ground::Unwanted.into())
    }

    /// Whether an opinion rests on the score alone.
    pub fn is_by_score(&self, opinion: &Opinion) -> bool {
        let thresholds = [&self.scoring.quarantine, &self.scoring.refuse];
        let asks = matches!(opinion.ask, Ask::Quarantine | Ask::Refuse(Refusal::Spam));
        asks && thresholds.iter().any(|one| one.source() == opinion.rule)
    }

    /// What the policy of the author's domain leads to; nothing where a sealer whose word is taken found the author to
    /// be who it says, before the message was changed on its way (RFC 8617 §7.2.1).
    pub fn by_dmarc(&self, case: &Case<'_>) -> Opinion {
        let verdict = match case.findings.authentication.dmarc_disposition {
            Some(DmarcDisposition::Reject) => &self.scoring.dmarc_reject,
            Some(DmarcDisposition::Quarantine) => &self.scoring.dmarc_quarantine,
            Some(DmarcDisposition::None) | None => return Opinion::pass(),
        };
        if case.findings.authentication.sealer.is_some() {
            return Opinion::pass();
        }
        if case.findings.authentication.sealer_unanswered {
            let because = "DMARC fails, and the DNS did not say whether a sealer whose word is taken vouches for the author";
            return Opinion::new(
                Ask::Defer(Refusal::SenderUnverified),
                verdict.source(),
                because,
            )
            .would_pass_if("the message is sent again when the DNS answers");
        }
        let ask = match **verdict {
            DmarcVerdict::Refuse => Ask::Refuse(Refusal::DmarcReject),
            DmarcVerdict::Quarantine => Ask::Quarantine,
            DmarcVerdict::Score => return Opinion::pass(),
        };
        let because = "the domain of the author asks for this when nobody vouches for its mail";
        Opinion::new(ask, verdict.source(), because)
            .would_pass_if("SPF or DKIM passes in the name of the author's domain")
    }

    /// `X-Spam-Score`, `X-Spam-Status` with the symbols one a line, and `X-Spam-Flag` on mail that is
    /// marked.
    fn fields(&self, spam: &SpamScore) -> String {
        let mut fields = String::with_capacity(256);
        if spam.tagged {
            fields.push_str("X-Spam-Flag: YES\r\n");
        }
        // Writing to a String never fails.
        let _ = write!(fields, "X-Spam-Score: {}\r\n", spam.score);
        let yes = if spam.tagged { "Yes" } else { "No" };
        let required = *self.scoring.tag;
        let _ = write!(
            fields,
            "X-Spam-Status: {yes}, score={} required={required}\r\n\ttests=",
            spam.score
        );
        if spam.symbols.is_empty() {
            fields.push_str("none");
        }
        for (at, symbol) in spam.symbols.iter().enumerate() {
            let separator = if at == 0 { "" } else { ",\r\n\t" };
            let _ = write!(fields, "{separator}{}({})", symbol.name, symbol.score);
        }
        fields.push_str("\r\n");
        fields
    }
}

/// Whose model is asked: that of the one organisation that all recipients belong to, or the gateway's.
fn organisation_of(case: &Case<'_>) -> Organisation {
    let mut codes = case.recipients.iter().map(|recipient| {
        let entry = case.directory.entry(recipient.mailbox()?)?;
        entry.ods_code().map(|code| code.to_string())
    });
    let first = codes.next().flatten();
    let same = codes.all(|code| code == first);
    let code = first.filter(|_| same);
    code.and_then(|code| Organisation::of(&code))
        .unwrap_or(Organisation::ALL)
}

/// Why what the author's domain asks for is not done.
fn of_sealer(case: &Case<'_>) -> Option<String> {
    let results = &case.findings.authentication;
    let sealer = results.sealer.as_ref()?;
    results.has("dmarc", &["fail"]).then(|| {
        format!("score-spam: DMARC fails, and {sealer}, whose word is taken, found it to pass before the message was changed")
    })
}

fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0 + 0.0
}

/// A refusal before a quarantine; the first of equal ones.
fn worse([first, second]: [Opinion; 2]) -> Opinion {
    match (&first.ask, &second.ask) {
        (Ask::Refuse(_), _) => first,
        (_, Ask::Refuse(_)) | (Ask::Pass, _) => second,
        _ => first,
    }
}

fn forged_fields(header: &Header<'_>) -> Vec<Edit> {
    let forged = header.fields().iter().filter(|field| {
        let prefix = field.name().get(..PREFIX.len());
        prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
    });
    forged.map(|field| Edit::removal(field.range())).collect()
}

/// What is on record of the score of a message.
pub struct ScoredBefore<'r> {
    /// The symbols that spoke.
    pub symbols: &'r [Symbol],
    /// Whether a name is that of a rule, by either policy that is asked.
    pub is_rule: &'r dyn Fn(&str) -> bool,
    /// Whether a rule asks what was not asked then and can be asked now: the message is still here.
    pub is_new: &'r dyn Fn(&str) -> bool,
    /// Whether it is supposed that nobody keeps it back on its score alone.
    pub is_protected: bool,
}

/// What the names of symbols begin with that take off what is over a cap.
const CAP: &str = "CAP_";
/// What the names of such fields begin with.
const PREFIX: &str = "X-Spam-";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Diagnostics, read_toml};
    use crate::mail::edit;
    use crate::policy::finding::MethodResult;
    use crate::policy::testing::{World, file};

    const SCORING: &str = "
[thresholds]
tag = 5
quarantine = 10
refuse = 20
[[rule]]
name = \"TAGGED\"
weight = 6
when = \"header-matches\"
header = \"Subject\"
pattern = \"tag\"
description = \"a\"
[[rule]]
name = \"AWFUL\"
weight = 30
when = \"header-matches\"
header = \"Subject\"
pattern = \"awful\"
description = \"b\"
[[rule]]
name = \"GOOD\"
weight = -0.1
when = \"dmarc-pass\"
description = \"c\"
";
    const REGISTER: &str = "
[[domain]]
pattern = \"nhs.net\"
owner = \"NHS England\"
reason = \"NHSmail\"
";

    fn stage() -> ScoreSpam {
        let diagnostics = Diagnostics::default();
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let scoring = read_toml(&file("scoring.toml", SCORING), &diagnostics, Scoring::read);
        let register = read_toml(
            &file("secure-domains.toml", REGISTER),
            &diagnostics,
            |top| SecureDomains::read(top, now),
        );
        assert!(diagnostics.into_vec().is_empty());
        ScoreSpam::new(scoring, Arc::new(register), Arc::new(Learned::nothing()))
    }

    fn inbound(subject: &str, from: &str) -> World {
        World::new(
            &format!("From: {from}\nSubject: {subject}\n\nhello\n"),
            from,
            &["a@nhs.net"],
        )
    }

    fn ask(world: &World) -> Ask {
        let said = world.ask(|case| stage().examine(case));
        said.per_recipient[0].ask.clone()
    }

    fn proven(mut world: World) -> World {
        world.findings.authentication.methods.push(MethodResult {
            method: "dmarc",
            result: "pass".into(),
            properties: Vec::new(),
        });
        world
    }

    #[test]
    fn a_score_passes_quarantines_or_refuses() {
        assert_eq!(ask(&inbound("hello", "x@y.example")), Ask::Pass);
        assert_eq!(ask(&inbound("tag", "x@y.example")), Ask::Pass);
        assert_eq!(
            ask(&inbound("awful", "x@y.example")),
            Ask::Refuse(Refusal::Spam)
        );
    }

    #[test]
    fn clinical_mail_is_never_refused_on_its_score_but_whoever_pretends_to_send_it_is() {
        assert_eq!(ask(&proven(inbound("awful", "gp@nhs.net"))), Ask::Pass);
        assert_eq!(
            ask(&inbound("awful", "gp@nhs.net")),
            Ask::Refuse(Refusal::Spam)
        );
        assert_eq!(
            ask(&proven(inbound("awful", "x@y.example"))),
            Ask::Refuse(Refusal::Spam)
        );
    }

    #[test]
    fn dmarc_vouches_for_none_of_several_authors() {
        for from in [
            "From: gp@nhs.net, x@y.example",
            "From: gp@nhs.net\nFrom: x@y.example",
        ] {
            let message = format!("{from}\nSubject: awful\n\nhello\n");
            let world = proven(World::new(&message, "x@y.example", &["a@nhs.net"]));
            assert_eq!(ask(&world), Ask::Refuse(Refusal::Spam), "{from}");
        }
    }

    #[test]
    fn the_dmarc_policy_of_the_author_is_obeyed() {
        let mut sealed = inbound("hello", "x@y.example");
        sealed.findings.authentication.dmarc_disposition = Some(DmarcDisposition::Reject);
        sealed.findings.authentication.sealer = Domain::parse("lists.example").ok();
        assert_eq!(ask(&sealed), Ask::Pass);
        sealed.findings.authentication.sealer = None;
        sealed.findings.authentication.sealer_unanswered = true;
        assert_eq!(ask(&sealed), Ask::Defer(Refusal::SenderUnverified));
        for (disposition, expected) in [
            (DmarcDisposition::Reject, Ask::Refuse(Refusal::DmarcReject)),
            (DmarcDisposition::Quarantine, Ask::Quarantine),
            (DmarcDisposition::None, Ask::Pass),
        ] {
            let mut world = inbound("hello", "x@y.example");
            world.findings.authentication.dmarc_disposition = Some(disposition);
            assert_eq!(ask(&world), expected);
        }
    }

    #[test]
    fn the_score_and_its_reasons_are_written_on_the_mail_in_place_of_forged_ones() {
        let message = "X-Spam-Status: No\nSubject: tag\nx-spam-flag: NO\n\n";
        let world = proven(World::new(message, "x@y.example", &["a@nhs.net"]));
        let said = world.ask(|case| stage().examine(case));
        let edited = edit::apply(&world.transaction.message, &said.edits).unwrap();
        assert_eq!(
            String::from_utf8_lossy(edited.octets()),
            "X-Spam-Flag: YES\r\nX-Spam-Score: 5.9\r\nX-Spam-Status: Yes, score=5.9 required=5\r\n\
             \ttests=TAGGED(6),\r\n\tGOOD(-0.1)\r\nSubject: tag\r\n\r\n"
        );
    }

    #[test]
    fn the_rules_of_a_group_count_no_more_than_its_cap_and_the_symbols_still_add_up() {
        let text = format!(
            "[caps]\nwords = 4\n{}",
            SCORING.replace("name = \"TAGGED\"", "name = \"TAGGED\"\ngroup = \"words\"")
        );
        let diagnostics = Diagnostics::default();
        let scoring = read_toml(&file("scoring.toml", &text), &diagnostics, Scoring::read);
        assert!(diagnostics.into_vec().is_empty());
        let stage = ScoreSpam { scoring, ..stage() };
        let spam = inbound("tag", "x@y.example").ask(|case| stage.score_of(case));
        let said: Vec<_> = spam
            .symbols
            .iter()
            .map(|it| (it.name.as_str(), it.score))
            .collect();
        assert_eq!(said, [("TAGGED", 6.0), ("CAP_WORDS", -2.0)]);
        assert_eq!(spam.score, 4.0);
    }

    #[test]
    fn our_own_mail_is_not_scored() {
        let said = inbound("awful", "x@y.example")
            .outbound(None)
            .ask(|case| stage().examine(case));
        assert!(said.per_recipient.is_empty() && said.edits.is_empty() && said.findings.is_empty());
    }
}
