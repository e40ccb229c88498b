//! `postern check`: every diagnostic of a policy folder, and a line that sums them up.

use std::io::{self, Write};
use std::path::Path;

use crate::config::render::{Colour, Format, render};
use crate::config::{Diagnostic, Severity};

use super::answer::Answer;
use super::cli;

/// Writes all diagnostics, and a summary for people. The answer is no if one of them is an error:
/// a failing policy test is one. `tests` is the number of policy tests that ran.
pub fn run(
    folder: &Path,
    diagnostics: &[Diagnostic],
    tests: usize,
    format: Format,
    out: &mut impl Write,
) -> io::Result<Answer> {
    render(diagnostics, format, out)?;
    let errors = count(diagnostics, Severity::Error);
    if format != Format::Json {
        let warnings = count(diagnostics, Severity::Warning);
        let verdict = if errors == 0 {
            "can be used"
        } else {
            "cannot be used"
        };
        writeln!(
            out,
            "{} {verdict}: {}, {}, {} run",
            folder.display(),
            number(errors, "error"),
            number(warnings, "warning"),
            number(tests, "policy test"),
        )?;
    }
    Ok(Answer::yes_if(errors == 0))
}

/// The format that was asked for: `--json` is `--format json`.
pub fn format(asked: cli::Format, json: bool, colour: Colour) -> Format {
    match asked {
        _ if json => Format::Json,
        cli::Format::Human => Format::Human(colour),
        cli::Format::Short => Format::Short,
        cli::Format::Json => Format::Json,
    }
}

fn count(diagnostics: &[Diagnostic], severity: Severity) -> usize {
    let same = diagnostics.iter().filter(|one| one.severity == severity);
    same.count()
}

fn number(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(diagnostics: &[Diagnostic], format: Format) -> (String, Answer) {
        let mut out = Vec::new();
        let answer = run(Path::new("policies"), diagnostics, 12, format, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), answer)
    }

    #[test]
    fn a_warning_lets_the_policy_be_used_and_an_error_does_not() {
        let warning = Diagnostic::warning("retired", "gsi.gov.uk is retired");
        let error = Diagnostic::error("unknown-key", "unknown key");
        assert_eq!(
            check(std::slice::from_ref(&warning), Format::Short),
            (
                "warning[retired]: gsi.gov.uk is retired\n\
                 policies can be used: 0 errors, 1 warning, 12 policy tests run\n"
                    .to_owned(),
                Answer::Done
            )
        );
        let (text, answer) = check(&[warning, error], Format::Human(Colour::Off));
        assert!(
            text.ends_with("policies cannot be used: 1 error, 1 warning, 12 policy tests run\n")
        );
        assert_eq!(answer, Answer::No);
    }

    #[test]
    fn json_is_diagnostics_and_nothing_else() {
        assert_eq!(check(&[], Format::Json), (String::new(), Answer::Done));
    }
}
