//! `postern check --corpus FOLDER --spam`: how well spam is told from other mail.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::policy::Policy;
use crate::policy::corpus::CorpusError;
use crate::policy::spam_corpus::{Report, load};

use super::answer::{Answer, Table, json_line};

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The messages.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The answer could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Judges the messages of a folder and writes the figures; with `each` also every message.
pub async fn run(
    policy: &Policy,
    folder: &Path,
    each: bool,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, MeasureError> {
    let mails = load(folder)?;
    let bar = bar(mails.len());
    let report = policy.measure_spam(&mails, || bar.inc(1)).await?;
    bar.finish_and_clear();
    if each {
        for judged in &report.judged {
            let what = if judged.is_spam { "spam" } else { "ham" };
            let symbols: BTreeMap<&str, f64> = judged
                .symbols
                .iter()
                .map(|(name, score)| (name.as_str(), *score))
                .collect();
            let names: Vec<&str> = symbols.keys().copied().collect();
            match json {
                true => json_line(
                    &json!({"file": judged.name, "is": what, "score": judged.score, "symbols": symbols}),
                    out,
                )?,
                false => writeln!(
                    out,
                    "{what} {} {} {}",
                    judged.score,
                    judged.name,
                    names.join(",")
                )?,
            }
        }
    }
    match json {
        true => json_line(&to_json(&report), out)?,
        false => to_text(&report, out)?,
    }
    Ok(Answer::Done)
}

fn to_json(report: &Report) -> serde_json::Value {
    let (spam, ham) = report.counts();
    let (recall, false_positives) = report.at_threshold();
    let pairs = report.inseparable();
    let rules = report
        .rules
        .iter()
        .map(|(name, (spam, ham))| json!({"rule": name, "spam": spam, "ham": ham}));
    json!({
        "spam": spam,
        "ham": ham,
        "misordered": report.misordered(),
        "recall_at_0.1_percent": report.recall_at(0.001),
        "recall_at_1_percent": report.recall_at(0.01),
        "threshold": report.threshold,
        "recall": recall,
        "false_positives": false_positives,
        "messages_per_second": per_second(report),
        "rules": rules.collect::<Vec<_>>(),
        "silent": report.silent(),
        "inseparable": pairs.iter().map(|(one, other, times)| json!([one, other, times])).collect::<Vec<_>>(),
    })
}

fn to_text(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new(&["rule", "spam", "ham"]);
    for (name, (spam, ham)) in report.rules.iter().filter(|(_, counts)| **counts != (0, 0)) {
        table.row([name.clone(), spam.to_string(), ham.to_string()]);
    }
    table.write(out)?;
    let silent = report.silent();
    if !silent.is_empty() {
        writeln!(out, "\nrules that never spoke: {}", silent.join(", "))?;
    }
    for (one, other, times) in report.inseparable() {
        writeln!(
            out,
            "rules that spoke on the same {times} messages and no other: {one}, {other}"
        )?;
    }
    let (spam, ham) = report.counts();
    let (recall, false_positives) = report.at_threshold();
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    writeln!(
        out,
        "\n{spam} spam, {ham} ham, {:.0} messages a second",
        per_second(report)
    )?;
    writeln!(
        out,
        "1 - AUC                         {:.3} %",
        report.misordered() * 100.0
    )?;
    writeln!(
        out,
        "recall at 0.1 % false positives {}",
        percent(report.recall_at(0.001))
    )?;
    writeln!(
        out,
        "recall at 1 % false positives   {}",
        percent(report.recall_at(0.01))
    )?;
    writeln!(
        out,
        "at the threshold of {}: recall {}, false positives {}",
        report.threshold,
        percent(recall),
        percent(false_positives)
    )
}

#[expect(clippy::cast_precision_loss, reason = "counts of messages")]
fn per_second(report: &Report) -> f64 {
    report.judged.len() as f64 / report.took.as_secs_f64().max(1e-9)
}

fn bar(length: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("judging {wide_bar} {pos}/{len}");
    ProgressBar::new(length as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
