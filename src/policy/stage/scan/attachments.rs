//! Findings about attachments: what they are by their octets, what their names say, and what needs a password.
//!
//! Each finding has its own verdict in the policy file, for mail in and for mail out. Of all that is found the
//! worst verdict speaks; what is only tagged adds to the score of mail from outside.

use crate::config::{Located, Section};
use crate::content::{Attachment, Content, Kind};
use crate::policy::finding::Symbol;
use crate::policy::opinion::{Ask, Opinion};
use crate::policy::refusal::Refusal;
use crate::policy::verdict::Direction;

use super::shipped::{DISGUISES, DOCUMENTS, EXTENSIONS, KINDS};

/// `[scan]`, checked.
#[derive(Clone, Debug)]
pub struct Attachments {
    verdict: Verdict,
    tag_weight: f64,
    kinds: Vec<Located<Kind>>,
    extensions: Vec<Located<String>>,
    disguises: Vec<Located<String>>,
    /// What the file says of single findings, mail in first.
    inbound: Vec<Own>,
    outbound: Vec<Own>,
}

/// A finding of which the file says something, and what.
type Own = (&'static str, Located<Verdict>);

/// What a finding leads to. Later ones win.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Verdict {
    /// Nothing.
    Pass,
    /// A symbol in the score of mail from outside, and a note on our own.
    Tag,
    /// It is kept apart.
    Quarantine,
    /// It is refused.
    Refuse,
}

/// One thing that was found.
struct Found {
    word: &'static str,
    verdict: Verdict,
    rule: String,
    because: String,
}

/// What is against the attachments of a message.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// The worst of it, unless that is nothing.
    pub(super) opinion: Option<Opinion>,
    /// What is only tagged, each once.
    pub(super) symbols: Vec<Symbol>,
}

impl Attachments {
    /// Takes `[scan]` out of the outermost section. What is left out is as shipped.
    pub(super) fn read(top: &Section<'_>) -> Self {
        let scan = top.section("scan");
        let words = [
            ("refuse", Verdict::Refuse),
            ("quarantine", Verdict::Quarantine),
        ];
        let verdict = scan.word("verdict", &words);
        let findings = scan.section("findings");
        let both = own(&findings);
        let of = |direction: &str| {
            let section = findings.section(direction);
            let own = own(&section);
            section.finish();
            [own, both.clone()].concat()
        };
        let (inbound, outbound) = (of("inbound"), of("outbound"));
        findings.finish();
        let read = Self {
            verdict: verdict.map_or(Verdict::Refuse, Located::into_inner),
            tag_weight: scan
                .number("tag-weight")
                .map_or(TAG_WEIGHT, Located::into_inner),
            kinds: kinds(&scan),
            extensions: extensions(&scan, "refuse-extensions", EXTENSIONS),
            disguises: extensions(&scan, "refuse-behind-another", DISGUISES),
            inbound,
            outbound,
        };
        scan.finish();
        read
    }

    /// What is against a message that goes this way. Says nothing of a name but an extension that is in the
    /// policy file.
    pub(super) fn judge(&self, content: &Content, direction: Direction) -> Judged {
        let attached = content.attachments.iter();
        let mut found: Vec<Found> = attached
            .flat_map(|attachment| self.against(attachment, direction))
            .collect();
        found.extend(self.locked(content, direction));
        let mut judged = Judged::default();
        for one in found.iter().filter(|one| one.verdict == Verdict::Tag) {
            let name = format!(
                "ATTACHMENT_{}",
                one.word.to_ascii_uppercase().replace('-', "_")
            );
            if !judged.symbols.iter().any(|symbol| symbol.name == name) {
                judged.symbols.push(Symbol {
                    name,
                    score: self.tag_weight,
                    because: one.because.clone(),
                });
            }
        }
        // The first of the worst.
        let worst = found
            .into_iter()
            .reduce(|worst, one| match one.verdict > worst.verdict {
                true => one,
                false => worst,
            });
        judged.opinion = worst.and_then(Found::opinion);
        judged
    }

    /// What is found about one attachment.
    fn against(&self, attachment: &Attachment, direction: Direction) -> Vec<Found> {
        let mut found = Vec::new();
        let kind = attachment.kind;
        let listed = self.kinds.iter().find(|listed| ***listed == kind);
        let default = listed.map(|listed| (self.verdict, listed.source()));
        let because = format!("an attachment is of the kind {}", kind.word());
        found.extend(self.found(kind.word(), direction, default, because));
        let own = attachment.filename.iter().chain(&attachment.also_named);
        let own = own.map(|name| (name, "an attachment"));
        let inner = attachment.names.iter();
        let inner = inner.map(|name| (name, "a file in an archive"));
        for (name, what) in own.chain(inner) {
            found.extend(self.against_name(name, what, direction));
        }
        for one in &mut found {
            one.because = format!("{} ({})", one.because, attachment.place);
        }
        found
    }

    fn against_name(&self, name: &str, what: &str, direction: Direction) -> Vec<Found> {
        let mut found = Vec::new();
        if name.chars().any(turns_letters) {
            let because = format!("the name of {what} turns its letters round");
            // Our own senders must hear of it; strangers need not.
            let verdict = match direction {
                Direction::Inbound => Verdict::Quarantine,
                Direction::Outbound => Verdict::Refuse,
            };
            let default = Some((verdict, BUILT_IN.to_owned()));
            found.extend(self.found("hidden-name", direction, default, because));
        }
        let name = as_opened(name);
        let Some((stem, extension)) = name.rsplit_once('.') else {
            return found;
        };
        let in_list = |list: &'_ [Located<String>]| {
            let listed = list.iter().find(|listed| ***listed == extension);
            listed.map(Located::source)
        };
        let program = in_list(&self.extensions);
        if let Some(rule) = program.clone() {
            let because = format!("{what} has the extension {extension}");
            let default = Some((self.verdict, rule));
            found.extend(self.found("extension", direction, default, because));
        }
        let behind = stem.trim_end().rsplit_once('.');
        let is_behind = behind.is_some_and(|(_, before)| DOCUMENTS.contains(&before));
        if let Some(rule) = program
            .or_else(|| in_list(&self.disguises))
            .filter(|_| is_behind)
        {
            let because = format!("{what} has the extension {extension} behind another one");
            let default = Some((self.verdict, rule));
            found.extend(self.found("double-extension", direction, default, because));
        }
        found
    }

    /// Archives and documents that need a password.
    fn locked(&self, content: &Content, direction: Direction) -> Vec<Found> {
        let unread = content.unreadable.iter();
        let locked = unread.filter(|unread| LOCKED.contains(&unread.because));
        locked
            .filter_map(|unread| {
                let what = match unread.because {
                    "encrypted-archive" => "an archive",
                    _ => "a document or message",
                };
                let because = format!("{what} needs a password ({})", unread.place);
                self.found(unread.because, direction, None, because)
            })
            .collect()
    }

    /// A finding with its verdict: the file's own for it, else the default. `None` if there is neither.
    fn found(
        &self,
        word: &'static str,
        direction: Direction,
        default: Option<(Verdict, String)>,
        because: String,
    ) -> Option<Found> {
        let own = match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        };
        let own = own.iter().find(|(known, _)| *known == word);
        let own = own.map(|(_, verdict)| (**verdict, verdict.source()));
        let (verdict, rule) = own.or(default)?;
        Some(Found {
            word,
            verdict,
            rule,
            because,
        })
    }
}

impl Found {
    fn opinion(self) -> Option<Opinion> {
        let ask = match self.verdict {
            Verdict::Pass | Verdict::Tag => return None,
            Verdict::Quarantine => Ask::Quarantine,
            Verdict::Refuse => Ask::Refuse(Refusal::AttachmentKind),
        };
        let opinion = Opinion::new(ask, self.rule, self.because);
        Some(opinion.would_pass_if("the message comes without this attachment"))
    }
}

/// What the file says of each finding, in one section.
fn own(section: &Section<'_>) -> Vec<Own> {
    let words = [
        ("pass", Verdict::Pass),
        ("tag", Verdict::Tag),
        ("quarantine", Verdict::Quarantine),
        ("refuse", Verdict::Refuse),
    ];
    let kinds = Kind::WORDS.iter().map(|(word, _)| *word);
    let all = kinds
        .chain(NAMES.iter().copied())
        .chain(LOCKED.iter().copied());
    all.filter_map(|word| Some((word, section.word(word, &words)?)))
        .collect()
}

/// Whether it makes what follows run the other way, or ends that: `invoice_fdp.exe` reads `invoice_exe.pdf`. Marks
/// that stand in names of right-to-left scripts by themselves are not among them.
fn turns_letters(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A name as a reader's machine takes it: without path, stream (`a.exe::$DATA`), dots and spaces at the end,
/// and characters that nobody sees, which can make `exe.pdf` of `fdp.exe`.
fn as_opened(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let name = name.split("::").next().unwrap_or(name);
    let hidden = |c: &char| {
        c.is_control()
            || matches!(c, '\u{00AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
    };
    let name: String = name.chars().filter(|c| !hidden(c)).collect();
    name.trim_end_matches(|c: char| c == '.' || c.is_whitespace())
        .to_lowercase()
}

fn kinds(scan: &Section<'_>) -> Vec<Located<Kind>> {
    let Some(words) = scan.strings("refuse-kinds") else {
        return KINDS.iter().map(|kind| Located::built_in(*kind)).collect();
    };
    let mut kinds = Vec::with_capacity(words.len());
    for word in words {
        match Kind::WORDS
            .iter()
            .find(|(known, _)| *known == word.as_str())
        {
            Some((_, kind)) => kinds.push(word.map(|_| *kind)),
            None => {
                let known: Vec<&str> = Kind::WORDS.iter().map(|(known, _)| *known).collect();
                let help = format!("allowed: {}", known.join(", "));
                scan.report(
                    "bad-word",
                    "there is no such kind of attachment",
                    &word,
                    help,
                );
            }
        }
    }
    kinds
}

fn extensions(scan: &Section<'_>, key: &str, default: &[&str]) -> Vec<Located<String>> {
    let Some(written) = scan.strings(key) else {
        let default = default.iter().map(|extension| (*extension).to_owned());
        return default.map(Located::built_in).collect();
    };
    for extension in &written {
        if extension.is_empty() || extension.contains(['.', '/', ' ']) {
            let help = "without its dot: \"exe\"".to_owned();
            scan.report("bad-extension", "this is no extension", extension, help);
        }
    }
    written
        .into_iter()
        .map(|extension| extension.map(|extension| extension.to_lowercase()))
        .collect()
}
/// What can be found about a name.
const NAMES: &[&str] = &["extension", "double-extension", "hidden-name"];
/// What cannot be opened for want of a password, in the words of `design.md` §4.3.
const LOCKED: &[&str] = &["encrypted-archive", "encrypted-document"];
/// What a tagged finding adds to the score.
const TAG_WEIGHT: f64 = 2.0;
/// What decides where the file says nothing.
const BUILT_IN: &str = "built-in";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Diagnostics, SourceFile, read_toml};
    use std::sync::Arc;

    fn scan(text: &str) -> (Attachments, Vec<String>) {
        let diagnostics = Diagnostics::default();
        let file = Arc::new(SourceFile {
            path: "links.toml".into(),
            text: text.into(),
        });
        let scan = read_toml(&file, &diagnostics, |top| {
            top.section("links"); // read by another module
            drop(crate::policy::scanner::read_all(top));
            Attachments::read(top)
        });
        let said = diagnostics.into_vec().into_iter();
        (
            scan,
            said.map(|d| format!("{}: {}", d.id, d.message)).collect(),
        )
    }

    fn content(kind: Kind, filename: &str, names: &[&str]) -> Content {
        Content {
            attachments: vec![Attachment {
                place: "attachment:2".into(),
                also_named: Vec::new(),
                filename: Some(filename.to_owned()),
                declared: "application/octet-stream".into(),
                kind,
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                encoded_octets: 10,
            }],
            ..Content::default()
        }
    }

    #[test]
    fn programs_are_refused_by_their_octets_and_by_their_names() {
        let (scan, said) = scan(include_str!("../../../../policies/links.toml"));
        assert_eq!(said, Vec::<String>::new());
        for (kind, filename) in [
            (Kind::Executable, "letter.pdf"),
            (Kind::MacroDocument, "sheet.xls"),
            (Kind::Text, "run.VBS"),
            (Kind::Unknown, "letter.pdf.exe"),
            (Kind::Unknown, "letter.exe. "),
            (Kind::Unknown, "a\u{202e}fdp.exe"),
            (Kind::Unknown, "letter.exe::$DATA"),
            (Kind::Html, "letter.pdf.html"),
            (Kind::Html, "letter.pdf   .html"),
        ] {
            let opinion = scan.judge(&content(kind, filename, &[]), BOTH[0]).opinion;
            let ask = opinion.map(|opinion| opinion.ask);
            assert_eq!(
                ask,
                Some(Ask::Refuse(Refusal::AttachmentKind)),
                "{filename}"
            );
        }
        assert!(
            scan.judge(&content(Kind::Archive, "a.zip", &["x/y.js"]), BOTH[0])
                .opinion
                .is_some()
        );
        for (kind, filename) in [
            (Kind::Pdf, "letter.pdf"),
            (Kind::Html, "report.html"),
            (Kind::Archive, "exe.zip"),
            (Kind::Image, "exe"),
            (Kind::Text, "v1.2.txt"),
        ] {
            assert_eq!(
                scan.judge(&content(kind, filename, &["a/b.txt"]), BOTH[0])
                    .opinion,
                None,
                "{filename}"
            );
        }
    }

    #[test]
    fn every_name_of_an_attachment_is_looked_at() {
        let (scan, _) = scan("");
        let mut content = content(Kind::Unknown, "letter.pdf", &[]);
        content.attachments[0].also_named = vec!["letter.exe".into()];
        assert!(scan.judge(&content, BOTH[0]).opinion.is_some());
    }

    #[test]
    fn an_opinion_names_its_rule_and_no_file() {
        let (scan, _) =
            scan("[scan]\nverdict = \"quarantine\"\nrefuse-extensions = [\n\"exe\",\n]\n");
        let opinion = scan
            .judge(&content(Kind::Unknown, "mrs-smith.exe", &[]), BOTH[0])
            .opinion
            .unwrap();
        assert_eq!(opinion.ask, Ask::Quarantine);
        assert_eq!(opinion.rule, "links.toml:4");
        assert_eq!(
            opinion.because,
            "an attachment has the extension exe (attachment:2)"
        );
    }

    const BOTH: [Direction; 2] = [Direction::Inbound, Direction::Outbound];

    fn locked(kind: Kind, because: &'static str) -> Content {
        let mut content = content(kind, "letters.zip", &[]);
        content.unreadable.push(crate::content::Unread {
            place: "attachment:2".into(),
            because,
        });
        content
    }

    fn asks(text: &str, content: &Content) -> [(Option<Ask>, usize); 2] {
        let (scan, said) = scan(text);
        assert_eq!(said, Vec::<String>::new());
        BOTH.map(|direction| {
            let judged = scan.judge(content, direction);
            (judged.opinion.map(|one| one.ask), judged.symbols.len())
        })
    }

    #[test]
    fn each_finding_has_its_own_verdict_each_way() {
        let refuse = || Some(Ask::Refuse(Refusal::AttachmentKind));
        let archive = locked(Kind::Archive, "encrypted-archive");
        let shipped = include_str!("../../../../policies/links.toml");
        assert_eq!(asks(shipped, &archive), [(None, 1), (None, 0)]);
        assert_eq!(asks("", &archive), [(None, 0), (None, 0)]);
        let text = "[scan.findings]\nencrypted-archive = \"quarantine\"\n[scan.findings.outbound]\nencrypted-archive = \"pass\"\n";
        assert_eq!(
            asks(text, &archive),
            [(Some(Ask::Quarantine), 0), (None, 0)]
        );
        let document = locked(Kind::Pdf, "encrypted-document");
        assert_eq!(asks(text, &document), [(None, 0), (None, 0)]);

        let macros = content(Kind::MacroDocument, "sheet.xls", &[]);
        assert_eq!(asks("", &macros), [(refuse(), 0), (refuse(), 0)]);
        let text = "[scan.findings.inbound]\nmacro-document = \"quarantine\"\n[scan.findings.outbound]\nmacro-document = \"tag\"\n";
        assert_eq!(asks(text, &macros), [(Some(Ask::Quarantine), 0), (None, 1)]);
        // A kind that is in no list.
        let text = "[scan.findings]\narchive = \"refuse\"\n";
        assert_eq!(
            asks(text, &content(Kind::Archive, "a.zip", &[]))[0].0,
            refuse()
        );
    }

    #[test]
    fn of_all_that_is_found_the_worst_speaks() {
        let text = "[scan.findings]\nextension = \"tag\"\ndouble-extension = \"quarantine\"\nexecutable = \"refuse\"\n";
        for (kind, name, ask, tags) in [
            (Kind::Unknown, "tool.exe", None, 1),
            (Kind::Unknown, "letter.pdf.exe", Some(Ask::Quarantine), 1),
            (
                Kind::Executable,
                "letter.pdf.exe",
                Some(Ask::Refuse(Refusal::AttachmentKind)),
                1,
            ),
        ] {
            assert_eq!(
                asks(text, &content(kind, name, &[]))[0],
                (ask, tags),
                "{name}"
            );
        }
    }

    #[test]
    fn a_name_that_turns_its_letters_round_is_found_and_arabic_is_not() {
        let turned = content(Kind::Pdf, "invoice_\u{202e}fdp.txt", &[]);
        assert_eq!(asks("", &turned)[0].0, Some(Ask::Quarantine));
        let inside = content(Kind::Archive, "a.zip", &["\u{2067}x.txt"]);
        assert_eq!(asks("", &inside)[0].0, Some(Ask::Quarantine));
        let arabic = content(
            Kind::Pdf,
            "\u{200f}\u{0631}\u{0633}\u{0627}\u{0644}\u{0629}\u{200f}.pdf",
            &[],
        );
        assert_eq!(asks("", &arabic)[0].0, None);
    }

    #[test]
    fn a_finding_that_is_none_is_reported() {
        let (_, said) = scan("[scan.findings]\nvirus = \"refuse\"\nextension = \"drop\"\n");
        assert_eq!(said.len(), 2, "{said:?}");
    }

    #[test]
    fn the_shipped_file_says_what_holds_without_it() {
        let (shipped, _) = scan(include_str!("../../../../policies/links.toml"));
        let (empty, _) = scan("");
        assert_eq!(shipped.extensions, empty.extensions);
        assert_eq!(
            (shipped.kinds, shipped.disguises),
            (empty.kinds, empty.disguises)
        );
    }

    #[test]
    fn every_fault_is_reported() {
        let (_, said) = scan(
            "[scan]\nverdict = \"drop\"\nrefuse-kinds = [\"virus\"]\nrefuse-extensions = [\".exe\"]\n",
        );
        assert_eq!(
            said,
            [
                "bad-word: `verdict` is not one of the words it may be",
                "bad-word: there is no such kind of attachment",
                "bad-extension: this is no extension",
            ]
        );
    }
}
