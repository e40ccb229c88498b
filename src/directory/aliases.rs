//! Reading `aliases.toml`: where names lead that are no mailboxes, and the rules for old shapes.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::Date;

use crate::config::{Diagnostic, Located, Place, Section, SourceFile};
use crate::mail::Mailbox;

use super::agreement::StopWords;
use super::code::OdsCode;
use super::led::{Reason, Redirect, Redirects};
use super::resolution::{Because, Source};

/// All of `aliases.toml`.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    pub(super) redirects: Redirects,
    pub(super) lists: HashMap<Mailbox, List>,
    pub(super) successors: HashMap<OdsCode, Vec<Successor>>,
    pub(super) shapes: Shapes,
    pub(super) stop_words: StopWords,
    /// Most hops from one name to its end.
    pub(super) hops: usize,
    pub(super) lines: Lines,
}

/// A name that leads to several.
#[derive(Debug)]
pub(super) struct List {
    pub(super) members: Vec<(Mailbox, usize)>,
    pub(super) owner: Option<Mailbox>,
    pub(super) place: Option<Place>,
}

/// An organisation that takes the place of another.
#[derive(Debug)]
pub(super) struct Successor {
    pub(super) to: OdsCode,
    pub(super) since: Date,
    pub(super) then: Then,
    pub(super) place: Option<Place>,
    pub(super) line: usize,
}

/// What becomes of mail for an organisation that has a successor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Then {
    /// It goes to the successor.
    Forward,
    /// It is refused, and the sender is told of the successor.
    Tell,
}

/// The rules for names that are found by their shape: each the line that switches it on.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    pub(super) legacy_pharmacy: Option<usize>,
    pub(super) care: Option<usize>,
    pub(super) application: Option<usize>,
    pub(super) refuse_doubtful: bool,
}

impl Aliases {
    pub(super) fn read(top: &Section<'_>) -> Self {
        let mut aliases = Self {
            lines: Lines::of(top.place().file()),
            ..Self::default()
        };
        aliases.read_settings(top);
        for (key, because, date) in [
            ("alias", Because::Alias, "since"),
            ("rename", Because::Renamed, "date"),
        ] {
            for section in top.sections(key) {
                aliases.read_redirect(&section, because, date);
                section.finish();
            }
        }
        for section in top.sections("successor") {
            aliases.read_successor(&section);
            section.finish();
        }
        for section in top.sections("list") {
            aliases.read_list(&section);
            section.finish();
        }
        aliases
    }

    /// A line, its file as the user would write it; lines past the end of `aliases.toml` are those of
    /// `redirects.csv`.
    pub(super) fn source(&self, line: usize) -> Source {
        self.lines.source(line)
    }

    fn read_settings(&mut self, top: &Section<'_>) {
        let shapes = top.section("shapes");
        let switch = |key| {
            let flag = shapes.flag(key)?;
            (*flag).then(|| self.lines.line(flag.place()))
        };
        self.shapes = Shapes {
            legacy_pharmacy: switch("legacy-pharmacy-name"),
            care: switch("care-name"),
            application: switch("application-name"),
            refuse_doubtful: shapes
                .word("doubtful", &[("refuse", true), ("pass-on", false)])
                .is_none_or(Located::into_inner),
        };
        shapes.finish();
        let limits = top.section("limits");
        let hops = limits.integer("hops", 1..=64).map(Located::into_inner);
        self.hops = hops
            .and_then(|hops| usize::try_from(hops).ok())
            .unwrap_or(HOPS);
        limits.finish();
        let agreement = top.section("agreement");
        let words = agreement.strings("stop-words").unwrap_or_default();
        self.stop_words = StopWords::new(words.into_iter().map(Located::into_inner));
        agreement.finish();
    }

    fn read_redirect(&mut self, section: &Section<'_>, because: Because, date: &str) {
        let (from, to) = (
            section.required::<Mailbox>("from"),
            section.required::<Mailbox>("to"),
        );
        let since = section.date(date).map(Located::into_inner);
        let _: Option<Located<String>> = section.string("note");
        let (Some(from), Some(to)) = (from, to) else {
            return;
        };
        let reason = Reason {
            because,
            since,
            line: self.lines.line(from.place()),
        };
        let place = from.place().cloned();
        if let Err(first) = self.redirects.add(&from.folded(), &to, reason, place) {
            report_twice(section, &from, first.place());
        }
    }

    fn read_successor(&mut self, section: &Section<'_>) {
        let (from, to) = (
            section.required::<OdsCode>("from"),
            section.required::<OdsCode>("to"),
        );
        if !section.has("date") {
            let message = "`date` is missing in [successor]";
            section
                .diagnostics()
                .push(Diagnostic::error("missing-key", message).at(section.place(), "since when?"));
        }
        let date = section.date("date").map(Located::into_inner);
        // A successor that nobody has confirmed is a guess, and mail does not follow guesses.
        let confirmed = section.required_string("confirmed-by");
        let then = section.word("then", &[("forward", Then::Forward), ("tell", Then::Tell)]);
        let _: Option<Located<String>> = section.string("note");
        let (Some(from), Some(to), Some(since), Some(_)) = (from, to, date, confirmed) else {
            return;
        };
        let successor = Successor {
            to: *to,
            since,
            then: then.map_or(Then::Forward, Located::into_inner),
            line: self.lines.line(from.place()),
            place: from.place().cloned(),
        };
        self.successors.entry(*from).or_default().push(successor);
    }

    fn read_list(&mut self, section: &Section<'_>) {
        let name = section.required::<Mailbox>("name");
        let owner = section.parse::<Mailbox>("owner");
        let _: Option<Located<String>> = section.string("note");
        let members = section.parse_list::<Mailbox>("members").unwrap_or_default();
        let Some(name) = name else {
            return;
        };
        let folded = name.folded();
        let other = self.lists.get(&folded).map(|list| list.place.as_ref());
        let redirect = || self.redirects.get(&folded);
        let other = other.or_else(|| redirect().map(Redirect::place));
        if let Some(first) = other {
            report_twice(section, &name, first);
            return;
        }
        if members.is_empty() {
            let help = "mail to it is refused (5.2.4)".to_owned();
            section.report("empty-list", "this list has no members", &name, help);
        }
        let members = members
            .iter()
            .map(|member| ((**member).clone(), self.lines.line(member.place())));
        let list = List {
            members: members.collect(),
            owner: owner.map(Located::into_inner),
            place: name.place().cloned(),
        };
        self.lists.insert(folded, list);
    }
}

/// The starts of the lines of a file, so that a line number costs no walk through the text. Line
/// numbers run on through the file that is appended.
#[derive(Debug, Default)]
pub(super) struct Lines {
    path: Arc<str>,
    starts: Vec<usize>,
    appended: Option<Arc<str>>,
}

impl Lines {
    pub(super) fn of(file: &Arc<SourceFile>) -> Self {
        let ends = file.text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        Self {
            path: file.path.display().to_string().into(),
            starts: std::iter::once(0)
                .chain(ends.map(|(at, _)| at + 1))
                .collect(),
            appended: None,
        }
    }

    /// Lets the lines of another file follow; returns how many come before its first one.
    pub(super) fn append(&mut self, file: &SourceFile) -> usize {
        self.appended = Some(file.path.display().to_string().into());
        self.starts.len()
    }

    /// The line of a place, from 1; 0 for none.
    pub(super) fn line(&self, place: Option<&Place>) -> usize {
        place.map_or(0, |place| {
            let start = place.span().start;
            self.starts.partition_point(|line| *line <= start)
        })
    }

    /// The line of the appended file that a line is, if it is one of that file's.
    pub(super) fn appended_line(&self, line: usize) -> Option<usize> {
        line.checked_sub(self.starts.len()).filter(|line| *line > 0)
    }

    fn source(&self, line: usize) -> Source {
        match (self.appended_line(line), &self.appended) {
            (Some(line), Some(path)) => Source::line(path, line),
            _ => Source::line(&self.path, line),
        }
    }
}

fn report_twice(section: &Section<'_>, name: &Located<Mailbox>, first: Option<&Place>) {
    section.diagnostics().push(
        Diagnostic::error("two-targets", format!("{} is given twice", **name))
            .at_maybe(name.place(), "again here")
            .at_maybe(first, "first here")
            .help("a name leads to one place: for several, make it a [[list]]"),
    );
}

/// Most hops from one name to its end, unless the file says otherwise.
const HOPS: usize = 8;
