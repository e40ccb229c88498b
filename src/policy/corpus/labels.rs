//! The label file of a folder of mail: `labels.tsv`, a line for each message.
//!
//! Three columns with a tab between them, under the heading `file is group`: a file below the folder of
//! the label file; what is in it, as [`Label`] words with a comma between them, or `none`; and what it is
//! an example of. Lines that begin with `#` are skipped. Every `labels.tsv` below a folder is read,
//! and a message (`.eml`) beside one that it does not name is a mistake.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Diagnostic, Diagnostics, Place, SourceFile, read_source};

use super::{Corpus, LabelledMail};

/// Something that a message may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Label {
    /// A number of England, Wales or the Isle of Man.
    NhsNumber,
    /// A number of Scotland.
    ChiNumber,
    /// A number of Northern Ireland.
    HcNumber,
    /// A protective marking.
    Marking,
    /// A number that is for tests and never issued. Restricts nothing.
    Synthetic,
    /// The tag that asks for encryption, in the subject.
    Secure,
    /// What was meant to be that tag.
    NearMiss,
}

impl Label {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 7] = [
        Self::NhsNumber,
        Self::ChiNumber,
        Self::HcNumber,
        Self::Marking,
        Self::Synthetic,
        Self::Secure,
        Self::NearMiss,
    ];

    /// The word for it: the `kind` of the evidence (`design.md` §4.3), where there is one.
    pub fn word(self) -> &'static str {
        match self {
            Self::NhsNumber => "nhs-number",
            Self::ChiNumber => "chi-number",
            Self::HcNumber => "hc-number",
            Self::Marking => "marking",
            Self::Synthetic => "synthetic",
            Self::Secure => "secure",
            Self::NearMiss => "near-miss",
        }
    }

    /// The label of a word; `None` if no label has it.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|label| label.word() == word)
    }

    /// Whether a message that has it is patient data.
    fn restricts(self) -> bool {
        matches!(
            self,
            Self::NhsNumber | Self::ChiNumber | Self::HcNumber | Self::Marking
        )
    }
}

/// What is in one message: a set of labels. `Display` is the form of the label file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Labels(u8);

impl Labels {
    /// Whether a label is among them.
    pub fn has(self, label: Label) -> bool {
        self.0 & (1 << label as u8) != 0
    }

    /// Whether they make the message patient data.
    pub fn restrict(self) -> bool {
        Label::ALL
            .into_iter()
            .any(|label| label.restricts() && self.has(label))
    }

    pub(super) fn add(&mut self, label: Label) {
        self.0 |= 1 << label as u8;
    }

    /// Reads a cell; errs with the word that is no label.
    fn read(cell: &str) -> Result<Self, &str> {
        let mut labels = Self::default();
        if cell.trim() != NONE {
            for word in cell.split(',').map(str::trim) {
                labels.add(Label::of(word).ok_or(word)?);
            }
        }
        Ok(labels)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = Label::ALL.into_iter().filter(|label| self.has(*label));
        let words: Vec<&str> = words.map(Label::word).collect();
        f.write_str(if words.is_empty() { NONE } else { "" })?;
        f.write_str(&words.join(","))
    }
}

impl Corpus {
    /// Reads every label file of a folder and below it. What is wrong with them is reported, each with its
    /// line and what to do; `None` if there is any mistake, or no label at all.
    pub fn load(folder: &Path, diagnostics: &Diagnostics) -> Option<Self> {
        let (mut mails, mut ok) = (Vec::new(), true);
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            let file = next.join(LABELS);
            if file.is_file() {
                ok &= read_file(folder, &file, &mut mails, diagnostics).is_some();
            }
            folders.extend(folders_in(&next));
        }
        if mails.is_empty() && ok {
            let message = format!("no labelled mail in {}", folder.display());
            let help = "write labels.tsv: file, tab, what is in it, tab, what it is an example of";
            diagnostics.push(Diagnostic::error("no-labels", message).help(help));
            ok = false;
        }
        mails.sort_by(|a, b| a.name.cmp(&b.name));
        ok.then_some(Self { mails })
    }
}

fn read_file(
    top: &Path,
    path: &Path,
    mails: &mut Vec<LabelledMail>,
    diagnostics: &Diagnostics,
) -> Option<()> {
    let source = read_source(path, diagnostics)?;
    let folder = path.parent().unwrap_or(top);
    let (mut named, mut ok) = (BTreeSet::new(), true);
    for (index, line) in source.text.lines().enumerate() {
        if line == HEADING || line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match read_line(top, folder, line, &mut named) {
            Ok(mail) => mails.push(mail),
            Err((message, help)) => {
                diagnostics.push(at_line(&source, index + 1, message).help(help));
                ok = false;
            }
        }
    }
    for stray in messages_in(folder).difference(&named) {
        let message = format!("{} has no label", stray.display());
        let help = "add a line for it, or take it out of the folder";
        diagnostics.push(at_line(&source, 1, message).help(help));
        ok = false;
    }
    ok.then_some(())
}

/// Reads one line; errs with what is wrong and what helps.
fn read_line(
    top: &Path,
    folder: &Path,
    line: &str,
    named: &mut BTreeSet<PathBuf>,
) -> Result<LabelledMail, (String, String)> {
    let cells: Vec<&str> = line.split('\t').collect();
    let [file, is, group] = cells[..] else {
        let message = format!("{} cells, not 3", cells.len());
        return Err((message, "file, tab, what is in it, tab, group".to_owned()));
    };
    let is = Labels::read(is).map_err(|word| {
        let known = Label::ALL.map(Label::word).join(", ");
        (
            format!("`{word}` is no label"),
            format!("one of {known}; or {NONE}"),
        )
    })?;
    let path = folder.join(file);
    if !path.is_file() {
        let help = format!("files are looked for in {}", folder.display());
        return Err((format!("there is no file `{file}`"), help));
    }
    if !named.insert(path.clone()) {
        let help = "one line for each message".to_owned();
        return Err((format!("`{file}` has a label already"), help));
    }
    let name = path.strip_prefix(top).unwrap_or(&path);
    Ok(LabelledMail {
        name: name.display().to_string(),
        is,
        group: group.to_owned(),
        path,
    })
}

fn at_line(source: &Arc<SourceFile>, line: usize, message: String) -> Diagnostic {
    Diagnostic::error("bad-label", message).at(&Place::line_of(source, line), "")
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    // Not through symbolic links: they may lead round in a circle.
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

fn messages_in(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .collect()
}

/// The name of a label file.
const LABELS: &str = "labels.tsv";
/// Its first line.
const HEADING: &str = "file\tis\tgroup";
/// In place of a label: nothing is in it.
const NONE: &str = "none";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::render;

    fn said(labels: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name, text| std::fs::write(folder.path().join(name), text).unwrap();
        write("a.eml", "\n");
        write("b.eml", "\n");
        write(LABELS, labels);
        let diagnostics = Diagnostics::default();
        let corpus = Corpus::load(folder.path(), &diagnostics);
        let all = diagnostics.into_vec();
        assert_eq!(corpus.is_some(), all.is_empty());
        assert!(all.iter().all(|one| one.help.is_some()));
        let prefix = format!("{}/", folder.path().display());
        all.iter()
            .map(|one| render::short(one).replace(&prefix, ""))
            .collect()
    }

    #[test]
    fn each_mistake_in_a_label_file_names_its_line() {
        assert_eq!(
            said("file\tis\tgroup\n# x\n\na.eml\tnone\tx\nb.eml\tsecure,nhs-number\tx\n"),
            [""; 0]
        );
        assert_eq!(
            said("a.eml\tnone\nb.eml\tnhs\tx\nc.eml\tnone\tx\n"),
            [
                "labels.tsv:1:1: error[bad-label]: 2 cells, not 3",
                "labels.tsv:2:1: error[bad-label]: `nhs` is no label",
                "labels.tsv:3:1: error[bad-label]: there is no file `c.eml`",
                "labels.tsv:1:1: error[bad-label]: a.eml has no label",
                "labels.tsv:1:1: error[bad-label]: b.eml has no label",
            ]
        );
        assert_eq!(
            said("a.eml\tnone\tx\na.eml\tnone\tx\nb.eml\tnone\tx\n"),
            ["labels.tsv:2:1: error[bad-label]: `a.eml` has a label already"]
        );
    }

    #[test]
    fn a_folder_without_labels_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let diagnostics = Diagnostics::default();
        assert!(Corpus::load(folder.path(), &diagnostics).is_none());
        assert_eq!(diagnostics.into_vec()[0].id, "no-labels");
    }

    #[test]
    fn labels_are_written_as_they_are_read() {
        for cell in [
            "none",
            "nhs-number",
            "nhs-number,marking,secure",
            "near-miss",
        ] {
            assert_eq!(Labels::read(cell).unwrap().to_string(), cell);
        }
        assert_eq!(Labels::read("nhs-number,").unwrap_err(), "");
        assert!(!Labels::read("synthetic,secure").unwrap().restrict());
    }
}
