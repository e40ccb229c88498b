//! `postern audit`: whether the chain of events is whole, and the chain itself to take away.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use crate::base::private;
use crate::queue::{Queue, Verified};

use super::answer::{Answer, CommandError, json_line};

/// Goes over the whole chain. The answer is no if a line was changed or is missing.
pub async fn verify(
    queue: &Queue,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let bar = progress("checking the audit trail");
    let verified = queue.verify().await;
    bar.finish_and_clear();
    let verified = verified?;
    if json {
        let faults: Vec<String> = verified.faults.iter().map(ToString::to_string).collect();
        let said = serde_json::json!({
            "lines": verified.lines, "whole": faults.is_empty(), "faults": faults,
        });
        json_line(&said, out)?;
    } else {
        write(&verified, out)?;
    }
    Ok(Answer::yes_if(verified.faults.is_empty()))
}

fn write(verified: &Verified, out: &mut impl Write) -> io::Result<()> {
    for fault in &verified.faults {
        writeln!(out, "{fault}")?;
    }
    let whole = if verified.faults.is_empty() {
        "is whole"
    } else {
        "is NOT whole"
    };
    writeln!(
        out,
        "the audit trail {whole}: {} lines read",
        verified.lines
    )
}

/// Writes the chain from number `from` on, one line per event: number, hash, and the event exactly as
/// it was hashed. Into a new file for its owner alone, or to `out`.
pub async fn export(
    queue: &Queue,
    from: i64,
    file: Option<&Path>,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let Some(path) = file else {
        export_to(queue, from, out).await?;
        return Ok(Answer::Done);
    };
    let opened = private::make_new(path).map_err(|error| CommandError::file(path, error))?;
    let mut writer = BufWriter::new(opened);
    let lines = export_to(queue, from, &mut writer).await?;
    let file = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    if json {
        let said = serde_json::json!({ "events": lines, "file": path.display().to_string() });
        json_line(&said, out)?;
    } else {
        writeln!(out, "{lines} events are in {}", path.display())?;
    }
    Ok(Answer::Done)
}

/// Page by page: the trail of years does not fit into memory.
async fn export_to(queue: &Queue, from: i64, out: &mut impl Write) -> Result<u64, CommandError> {
    let bar = progress("writing the audit trail");
    let (mut next, mut lines) = (from, 0);
    loop {
        let page = queue.events(next, PAGE).await?;
        let Some(last) = page.last() else {
            bar.finish_and_clear();
            out.flush()?;
            return Ok(lines);
        };
        next = last.number + 1;
        for entry in &page {
            writeln!(out, "{}", entry.line())?;
            lines += 1;
        }
        bar.set_position(lines);
    }
}

/// A sign of life on the standard error stream; nothing if that is no terminal.
fn progress(what: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    bar
}

/// Events read at a time.
const PAGE: usize = 1_000;
