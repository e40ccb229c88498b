//! Diagnostics as text: for people, for one line each, and as JSON.
//!
//! All three say the same. The form for people quotes the file with a caret at the place; the short
//! one is what editors and `grep` understand; JSON has one object per line.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use miette::{
    Diagnostic as Report, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};
use serde::Serialize;

use super::diagnostic::{Diagnostic, Label, Severity};
use super::located::SourceFile;

/// How diagnostics are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// With the lines of the file, a caret, labels and help.
    Human(Colour),
    /// `file:line:column: error[id]: message`.
    Short,
    /// One object per line.
    Json,
}

/// Whether escape sequences are understood: on a terminal alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Colour {
    /// A terminal reads it.
    On,
    /// A file or a pipe does.
    Off,
}

impl Colour {
    /// On for a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
    pub fn of(stream: &impl io::IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if stream.is_terminal() && !refused {
            Self::On
        } else {
            Self::Off
        }
    }
}

/// Writes every diagnostic in the order given.
pub fn render(diagnostics: &[Diagnostic], format: Format, out: &mut impl Write) -> io::Result<()> {
    for diagnostic in diagnostics {
        match format {
            Format::Human(colour) => human(diagnostic, colour, out)?,
            Format::Short => writeln!(out, "{}", short(diagnostic))?,
            Format::Json => writeln!(out, "{}", json(diagnostic))?,
        }
    }
    Ok(())
}

/// One diagnostic in one line: `file:line:column: error[id]: message`.
pub fn short(diagnostic: &Diagnostic) -> String {
    let (severity, id) = (diagnostic.severity.word(), diagnostic.id);
    let message = one_line(&diagnostic.message);
    match diagnostic.labels.first() {
        Some(Label { place, .. }) => {
            format!("{place}:{}: {severity}[{id}]: {message}", place.column())
        }
        None => format!("{severity}[{id}]: {message}"),
    }
}

/// One diagnostic as a JSON object; what has no place has `null` for `file`, `line` and `column`.
pub fn json(diagnostic: &Diagnostic) -> String {
    let place = diagnostic.labels.first().map(|label| &label.place);
    let object = Object {
        file: place.map(|place| place.file().path.to_string_lossy()),
        line: place.map(super::Place::line),
        column: place.map(super::Place::column),
        severity: diagnostic.severity.word(),
        id: diagnostic.id,
        message: &diagnostic.message,
        help: diagnostic.help.as_deref(),
    };
    // Text, numbers and nothing else: there is no way for it to fail.
    serde_json::to_string(&object).unwrap_or_default()
}

impl Severity {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

#[derive(Serialize)]
struct Object<'d> {
    file: Option<Cow<'d, str>>,
    line: Option<usize>,
    column: Option<usize>,
    severity: &'static str,
    id: &'static str,
    message: &'d str,
    help: Option<&'d str>,
}

fn human(diagnostic: &Diagnostic, colour: Colour, out: &mut impl Write) -> io::Result<()> {
    let theme = match colour {
        Colour::On => GraphicalTheme::unicode(),
        Colour::Off => GraphicalTheme::unicode_nocolor(),
    };
    let mut text = String::new();
    let rendered = GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        .with_width(WIDTH)
        .with_wrap_lines(false)
        .render_report(&mut text, &Quoted::of(diagnostic));
    match rendered {
        Ok(()) => writeln!(out, "{}", text.trim_end()),
        // The place could not be quoted; what is wrong must be said all the same.
        Err(fmt::Error) => writeln!(out, "{}", short(diagnostic)),
    }?;
    writeln!(out)
}

/// A diagnostic as `miette` wants it: labels of one file, and one more of these for each other file.
#[derive(Debug)]
struct Quoted {
    id: Option<&'static str>,
    severity: Severity,
    message: String,
    help: Option<String>,
    source: Option<Text>,
    labels: Vec<LabeledSpan>,
    elsewhere: Vec<Self>,
}

impl Quoted {
    fn of(diagnostic: &Diagnostic) -> Self {
        let mut quoted = Self {
            id: Some(diagnostic.id),
            severity: diagnostic.severity,
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
            source: None,
            labels: Vec::new(),
            elsewhere: Vec::new(),
        };
        for (number, label) in diagnostic.labels.iter().enumerate() {
            quoted.add(label, number == 0);
        }
        quoted
    }

    fn add(&mut self, label: &Label, primary: bool) {
        let file = label.place.file();
        match &self.source {
            None => self.source = Some(Text(Arc::clone(file))),
            Some(Text(own)) if own == file => {}
            Some(_) => {
                self.elsewhere.push(Self::related(label));
                return;
            }
        }
        self.labels.push(span_of(label, primary));
    }

    fn related(label: &Label) -> Self {
        let text = match label.text.as_str() {
            "" => "see also here",
            text => text,
        };
        Self {
            id: None,
            severity: Severity::Warning,
            message: text.to_owned(),
            help: None,
            source: Some(Text(Arc::clone(label.place.file()))),
            labels: vec![span_of(label, true)],
            elsewhere: Vec::new(),
        }
    }
}

fn span_of(label: &Label, primary: bool) -> LabeledSpan {
    let text = (!label.text.is_empty()).then(|| label.text.clone());
    let span = SourceSpan::from(shown(label));
    if primary {
        LabeledSpan::new_primary_with_span(text, span)
    } else {
        LabeledSpan::new_with_span(text, span)
    }
}

/// A place that goes over several lines (a whole table) is shown by its first one.
fn shown(label: &Label) -> std::ops::Range<usize> {
    let span = label.place.span();
    let text = &label.place.file().text[span.clone()];
    let line = text.lines().next().unwrap_or("");
    span.start..span.start + line.len()
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Quoted {}

impl Report for Quoted {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let id = self.id?;
        Some(Box::new(format!("{}[{id}]", self.severity.word())))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Warning => miette::Severity::Warning,
            Severity::Error => miette::Severity::Error,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.help.as_deref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|text| text as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Report> + 'a>> {
        if self.elsewhere.is_empty() {
            return None;
        }
        Some(Box::new(
            self.elsewhere.iter().map(|one| one as &dyn Report),
        ))
    }
}

/// A file to quote from, shared and not copied: a directory can have two million lines.
#[derive(Debug)]
struct Text(Arc<SourceFile>);

impl SourceCode for Text {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self.0.text.read_span(span, lines_before, lines_after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.0.path.display().to_string(),
            found.data(),
            *found.span(),
            found.line(),
            found.column(),
            found.line_count(),
        )))
    }
}

fn one_line(text: &str) -> String {
    text.split(['\r', '\n'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

/// The width of a line of help, in columns.
const WIDTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;

    fn file(path: &str, text: &str) -> Arc<SourceFile> {
        Arc::new(SourceFile {
            path: path.into(),
            text: text.into(),
        })
    }

    fn text_of(diagnostics: &[Diagnostic], format: Format) -> String {
        let mut out = Vec::new();
        render(diagnostics, format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn stage_order() -> Diagnostic {
        let text = "[policy]\nstage = [\n    \"secure-domain\",\n    \"classify\",\n]\n";
        let file = file("policies/postern.toml", text);
        let at = |word: &str| {
            let start = text.find(word).unwrap();
            Place::new(&file, start..start + word.len())
        };
        Diagnostic::error("stage-order", "`secure-domain` runs before `classify`")
            .at(&at("\"secure-domain\""), "and is needed here")
            .at(&at("\"classify\""), "its finding is made here")
            .help("move it below `classify`")
    }

    #[test]
    fn people_see_the_lines_with_a_caret_a_label_and_help() {
        let text = text_of(&[stage_order()], Format::Human(Colour::Off));
        assert_eq!(
            text,
            "error[stage-order]\n\
             \n\
             \x20 × `secure-domain` runs before `classify`\n\
             \x20  ╭─[policies/postern.toml:3:5]\n\
             \x202 │ stage = [\n\
             \x203 │     \"secure-domain\",\n\
             \x20  ·     ───────┬───────\n\
             \x20  ·            ╰── and is needed here\n\
             \x204 │     \"classify\",\n\
             \x20  ·     ─────┬────\n\
             \x20  ·          ╰── its finding is made here\n\
             \x205 │ ]\n\
             \x20  ╰────\n\
             \x20 help: move it below `classify`\n\n"
        );
    }

    #[test]
    fn no_escape_sequence_goes_where_no_terminal_is() {
        assert!(!text_of(&[stage_order()], Format::Human(Colour::Off)).contains('\x1b'));
        assert!(text_of(&[stage_order()], Format::Human(Colour::On)).contains('\x1b'));
    }

    #[test]
    fn the_short_form_is_one_line() {
        let file = file("a.toml", "\n  x = 1\n");
        let diagnostics = [
            Diagnostic::warning("retired", "one\n  two").at(&Place::new(&file, 3..4), ""),
            Diagnostic::error("unreadable-file", "b.toml cannot be read"),
        ];
        assert_eq!(
            text_of(&diagnostics, Format::Short),
            "a.toml:2:3: warning[retired]: one; two\n\
             error[unreadable-file]: b.toml cannot be read\n"
        );
    }

    #[test]
    fn json_has_one_object_per_line() {
        let without_place = Diagnostic::error("unreadable-file", "gone");
        assert_eq!(
            text_of(&[stage_order(), without_place], Format::Json),
            "{\"file\":\"policies/postern.toml\",\"line\":3,\"column\":5,\"severity\":\"error\",\
             \"id\":\"stage-order\",\"message\":\"`secure-domain` runs before `classify`\",\
             \"help\":\"move it below `classify`\"}\n\
             {\"file\":null,\"line\":null,\"column\":null,\"severity\":\"error\",\
             \"id\":\"unreadable-file\",\"message\":\"gone\",\"help\":null}\n"
        );
    }

    #[test]
    fn labels_in_two_files_are_both_quoted() {
        let (one, two) = (file("one.toml", "a = 1\n"), file("two.toml", "b = 2\n"));
        let diagnostic = Diagnostic::error("twice", "said twice")
            .at(&Place::new(&one, 0..1), "here")
            .at(&Place::new(&two, 0..1), "and there");
        let text = text_of(&[diagnostic], Format::Human(Colour::Off));
        assert!(
            text.contains("[one.toml:1:1]") && text.contains("[two.toml:1:1]"),
            "{text}"
        );
    }

    #[test]
    fn a_place_at_the_very_end_and_an_empty_file_can_be_quoted() {
        for text in ["", "a", "a\n", "é\r\n", "\n\n"] {
            let file = file("x.toml", text);
            let diagnostic = Diagnostic::error("missing-key", "nothing here")
                .at(&Place::new(&file, text.len()..text.len()), "");
            let text = text_of(&[diagnostic], Format::Human(Colour::Off));
            assert!(text.contains("nothing here"), "{text}");
        }
    }
}
