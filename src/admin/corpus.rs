//! `postern check --corpus`: precision and recall of the settings in force over labelled mail.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::policy::corpus::{Misjudged, Report, Score};

use super::answer::{Answer, Table, json_line};

/// The least that will do, as shares from 0 to 1, of the whole verdict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// The share of alarms that were right.
    pub precision: f64,
    /// The share of what is there that was found.
    pub recall: f64,
}

/// Writes the figures: tables for people, one object in JSON. The answer is no if the whole verdict is
/// below the floor.
pub fn run(
    report: &Report,
    floor: Option<Floor>,
    json: bool,
    out: &mut impl Write,
) -> io::Result<Answer> {
    let overall = report.overall();
    let passes = floor.is_none_or(|floor| {
        overall.precision() >= floor.precision && overall.recall() >= floor.recall
    });
    if json {
        json_line(&to_json(report, floor, passes), out)?;
    } else {
        to_text(report, floor, passes, out)?;
    }
    Ok(Answer::yes_if(passes))
}

fn to_json(report: &Report, floor: Option<Floor>, passes: bool) -> Value {
    let rules = report.rules.iter().map(|score| {
        json!({"rule": score.rule, "right": score.right, "false_alarms": score.false_alarms,
            "missed": score.missed, "precision": score.precision(), "recall": score.recall()})
    });
    let reasons = report.reasons.iter().map(
        |(reason, alarms)| json!({"reason": reason, "right": alarms.right, "wrong": alarms.wrong}),
    );
    let groups = report.groups.iter().map(|(group, (messages, misjudged))| {
        json!({"group": group, "messages": messages, "misjudged": misjudged})
    });
    let misjudged = report.misjudged.iter().map(
        |one| json!({"file": one.name, "is": one.is.to_string(), "found": one.found.to_string()}),
    );
    json!({
        "messages": report.messages,
        "rules": rules.collect::<Vec<_>>(),
        "reasons": reasons.collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
        "misjudged": misjudged.collect::<Vec<_>>(),
        "floor": floor.map(|floor| json!({"precision": floor.precision, "recall": floor.recall})),
        "passes": passes,
    })
}

fn to_text(
    report: &Report,
    floor: Option<Floor>,
    passes: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    rules(&report.rules).write(out)?;
    writeln!(out)?;
    let mut reasons = Table::new(&["evidence", "right", "wrong"]);
    for (reason, alarms) in &report.reasons {
        reasons.row([
            (*reason).to_owned(),
            alarms.right.to_string(),
            alarms.wrong.to_string(),
        ]);
    }
    reasons.write(out)?;
    writeln!(
        out,
        "{}",
        if reasons.is_empty() {
            "no evidence\n"
        } else {
            ""
        }
    )?;
    misjudged(&report.misjudged).write(out)?;
    let count = report.misjudged.len();
    writeln!(out, "{} messages, {count} misjudged", report.messages)?;
    if let Some(floor) = floor {
        let verdict = if passes { "reached" } else { "not reached" };
        let Floor { precision, recall } = floor;
        writeln!(
            out,
            "floor {verdict}: precision {precision}, recall {recall}"
        )?;
    }
    Ok(())
}

fn rules(scores: &[Score]) -> Table {
    let mut table = Table::new(&[
        "rule",
        "right",
        "false alarms",
        "missed",
        "precision",
        "recall",
    ]);
    for score in scores {
        table.row([
            score.rule.to_owned(),
            score.right.to_string(),
            score.false_alarms.to_string(),
            score.missed.to_string(),
            percent(score.precision()),
            percent(score.recall()),
        ]);
    }
    table
}

fn misjudged(all: &[Misjudged]) -> Table {
    let mut table = Table::new(&["misjudged", "is", "found"]);
    for one in all {
        table.row([one.name.clone(), one.is.to_string(), one.found.to_string()]);
    }
    table
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn report() -> Report {
        Report {
            messages: 5,
            rules: vec![Score {
                rule: "patient-data",
                right: 3,
                false_alarms: 1,
                missed: 0,
            }],
            reasons: BTreeMap::new(),
            groups: BTreeMap::from([("isbn".to_owned(), (5, 1))]),
            misjudged: vec![Misjudged {
                name: "a.eml".to_owned(),
                is: Default::default(),
                found: Default::default(),
            }],
        }
    }

    fn shown(floor: Option<Floor>, json: bool) -> (String, Answer) {
        let mut out = Vec::new();
        let answer = run(&report(), floor, json, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), answer)
    }

    fn floor(precision: f64, recall: f64) -> Option<Floor> {
        Some(Floor { precision, recall })
    }

    #[test]
    fn figures_are_shown_by_rule() {
        let (text, answer) = shown(floor(0.7, 1.0), false);
        assert_eq!(
            text,
            "rule          right  false alarms  missed  precision  recall\n\
             patient-data  3      1             0       75.0 %     100.0 %\n\n\
             no evidence\n\n\
             misjudged  is    found\na.eml      none  none\n\
             5 messages, 1 misjudged\nfloor reached: precision 0.7, recall 1\n"
        );
        assert_eq!(answer, Answer::Done);
    }

    #[test]
    fn below_either_floor_the_answer_is_no() {
        assert_eq!(shown(None, false).1, Answer::Done);
        assert_eq!(shown(floor(0.76, 0.5), false).1, Answer::No);
        let (line, answer) = shown(floor(0.8, 0.5), true);
        assert_eq!(answer, Answer::No);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&value["passes"], &value["rules"][0]["precision"]),
            (&json!(false), &json!(0.75))
        );
        assert_eq!(value["groups"][0]["misjudged"], 1);
    }
}
