//! What attachments and external scanners have against a message, so far.

use crate::policy::case::Case;
use crate::policy::finding::Symbol;
use crate::policy::opinion::{Ask, Finding, Opinion, Opinions};
use crate::policy::refusal::Refusal;
use crate::policy::scanner::{Engine, Otherwise, Report, Scanner};
use crate::policy::verdict::Direction;

use super::attachments::Attachments;

/// What is said of a message so far.
pub(super) struct Said {
    direction: Direction,
    worst: Option<Opinion>,
    symbols: Vec<Symbol>,
    notes: Vec<String>,
}

impl Said {
    /// What its attachments say.
    pub(super) fn of_attachments(attachments: &Attachments, case: &Case<'_>) -> Self {
        let judged = attachments.judge(case.content, case.direction);
        Self {
            direction: case.direction,
            worst: judged.opinion,
            symbols: judged.symbols,
            notes: Vec::new(),
        }
    }

    /// Whether nothing worse can come.
    pub(super) fn is_refused(&self) -> bool {
        let worst = self.worst.as_ref();
        worst.is_some_and(|opinion| matches!(opinion.ask, Ask::Refuse(_)))
    }

    /// Adds what a scanner says.
    pub(super) fn take(&mut self, scanner: &Scanner, report: Report) {
        let name = scanner.name.as_str();
        match (report, &scanner.engine) {
            (Report::Malware(found), Engine::Clamd { refuse }) => {
                let ask = match refuse {
                    true => Ask::Refuse(Refusal::Malware),
                    false => Ask::Quarantine,
                };
                let because = format!("{name} found {found}");
                self.worsen(
                    Opinion::new(ask, scanner.name.source(), because)
                        .would_pass_if("the message comes without it"),
                );
            }
            (
                Report::Score {
                    score,
                    required,
                    action,
                },
                Engine::Rspamd {
                    symbol,
                    factor,
                    cap,
                },
            ) => self.symbols.push(Symbol {
                name: symbol.clone(),
                score: ((score * factor).clamp(-cap, *cap) * 100.0).round() / 100.0,
                because: format!("{name} gives {score:.2} of {required:.2} ({action})"),
            }),
            (Report::TooLarge, _) => {
                self.otherwise(scanner, scanner.too_large, "the message is over its size");
            }
            (Report::Unavailable(because), _) => {
                self.otherwise(scanner, scanner.unavailable, because);
            }
            // Neither kind gives the other's answer.
            (Report::Clean | Report::Malware(_) | Report::Score { .. }, _) => {}
        }
    }

    /// It was not asked, or did not answer.
    fn otherwise(&mut self, scanner: &Scanner, then: Otherwise, why: &str) {
        let because = format!("{} was not asked: {why}", scanner.name.as_str());
        self.notes.push(format!("scan: {because}"));
        let ask = match then {
            Otherwise::Pass => return,
            // Of our own it may be a referral: a hold is told to its sender, and an alarm when nobody decides.
            Otherwise::Quarantine if self.direction == Direction::Outbound => Ask::Hold,
            Otherwise::Quarantine => Ask::Quarantine,
            Otherwise::Defer => Ask::Defer(Refusal::StageUnavailable { stage: "scan" }),
        };
        self.worsen(
            Opinion::new(ask, scanner.name.source(), because)
                .would_pass_if("the message is sent again when the scanner works"),
        );
    }

    /// Keeps the worse opinion; the earlier of equal ones.
    fn worsen(&mut self, opinion: Opinion) {
        let worst = self.worst.as_ref();
        if worst.is_none_or(|worst| rank(worst) < rank(&opinion)) {
            self.worst = Some(opinion);
        }
    }

    /// All of it, beside what is said of the links: of two opinions the worse one speaks, of equal ones this.
    pub(super) fn added_to(self, mut opinions: Opinions, case: &Case<'_>) -> Opinions {
        if let Some(worst) = &self.worst {
            let recipients = case.recipients.len();
            opinions.per_recipient.resize(recipients, Opinion::pass());
            for opinion in &mut opinions.per_recipient {
                if rank(opinion) <= rank(worst) {
                    *opinion = worst.clone();
                }
            }
        }
        let mut notes = self.notes;
        if case.is_outbound() {
            // Our own mail has no score: what is tagged is said of it.
            let tagged = self.symbols.iter();
            notes.extend(tagged.map(|symbol| format!("scan: {}", symbol.because)));
        }
        let notes = notes.into_iter().map(Finding::Note);
        opinions.findings.extend(notes);
        if !self.symbols.is_empty() {
            opinions.findings.push(Finding::Scanned(self.symbols));
        }
        opinions
    }
}

/// How bad an opinion is; what only changes a message is not.
fn rank(opinion: &Opinion) -> u8 {
    match opinion.ask {
        Ask::Refuse(_) => 4,
        Ask::Defer(_) => 3,
        Ask::Quarantine => 2,
        Ask::Hold => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Diagnostics, read_toml};
    use crate::policy::scanner::read_all;
    use crate::policy::testing::file;

    fn scanner(kind: &str, more: &str) -> Scanner {
        let text = format!(
            "[[scanner]]\nname = \"one\"\ntype = \"{kind}\"\naddress = \"127.0.0.1:1\"\n{more}"
        );
        let diagnostics = Diagnostics::default();
        let mut scan = read_toml(&file("links.toml", &text), &diagnostics, read_all);
        assert!(diagnostics.into_vec().is_empty());
        scan.remove(0)
    }

    fn said(scanner: &Scanner, report: Report) -> Said {
        said_of(Direction::Inbound, scanner, report)
    }

    fn said_of(direction: Direction, scanner: &Scanner, report: Report) -> Said {
        let mut said = Said {
            direction,
            worst: None,
            symbols: Vec::new(),
            notes: Vec::new(),
        };
        said.take(scanner, report);
        said
    }

    fn ask(scanner: &Scanner, report: Report) -> Option<Ask> {
        said(scanner, report).worst.map(|opinion| opinion.ask)
    }

    #[test]
    fn malware_is_refused_or_kept_apart_by_name_and_rule() {
        let found = || Report::Malware("Eicar-Test".into());
        let refused = said(&scanner("clamd", ""), found()).worst.unwrap();
        assert_eq!(refused.ask, Ask::Refuse(Refusal::Malware));
        assert_eq!(refused.rule, "links.toml:2");
        assert_eq!(refused.because, "one found Eicar-Test");
        let kept = scanner("clamd", "malware = \"quarantine\"\n");
        assert_eq!(ask(&kept, found()), Some(Ask::Quarantine));
        assert_eq!(ask(&kept, Report::Clean), None);
    }

    #[test]
    fn what_its_absence_means_is_written_down() {
        let away = || Report::Unavailable("nobody listens there");
        let defer = Ask::Defer(Refusal::StageUnavailable { stage: "scan" });
        for (word, expected) in [
            ("defer", Some(defer)),
            ("quarantine", Some(Ask::Quarantine)),
            ("pass", None),
        ] {
            let one = scanner("clamd", &format!("unavailable = \"{word}\"\n"));
            assert_eq!(ask(&one, away()), expected, "{word}");
            assert_eq!(
                said(&one, away()).notes,
                ["scan: one was not asked: nobody listens there"]
            );
        }
        assert_eq!(
            ask(&scanner("clamd", ""), Report::TooLarge),
            Some(Ask::Quarantine)
        );
    }

    #[test]
    fn mail_of_our_own_is_held_in_place_of_quarantined_so_that_its_sender_hears() {
        let one = scanner("clamd", "");
        let said = said_of(Direction::Outbound, &one, Report::TooLarge);
        assert_eq!(said.worst.map(|opinion| opinion.ask), Some(Ask::Hold));
    }

    #[test]
    fn the_word_of_rspamd_is_weighed_and_bounded() {
        let one = scanner("rspamd", "factor = 0.5\ncap = 3.0\n");
        for (score, expected) in [(4.2, 2.1), (15.0, 3.0), (-40.0, -3.0), (0.0, 0.0)] {
            let report = Report::Score {
                score,
                required: 15.0,
                action: "add header".into(),
            };
            let said = said(&one, report);
            assert!(said.worst.is_none());
            assert_eq!(
                (said.symbols[0].name.as_str(), said.symbols[0].score),
                ("ONE", expected)
            );
        }
    }

    #[test]
    fn of_several_the_worst_speaks() {
        let mut said = said(&scanner("clamd", ""), Report::Unavailable("x"));
        said.take(&scanner("clamd", ""), Report::TooLarge);
        assert!(matches!(said.worst.as_ref().unwrap().ask, Ask::Defer(_)));
        said.take(&scanner("clamd", ""), Report::Malware("X".into()));
        assert!(said.is_refused());
    }
}
