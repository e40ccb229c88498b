//! Attachments that are not let through: programs, scripts and what opens as one, by their octets and by
//! their names, also by the names within ZIP archives. Holds for every recipient and both ways.
//!
//! What a file is goes by its content; the name decides as well, since it is by the name that a
//! reader's machine chooses what to do with it.

use crate::config::{Located, Section};
use crate::content::{Attachment, Content, Kind};
use crate::policy::opinion::{Ask, Opinion};
use crate::policy::refusal::Refusal;

/// `[scan]` of `links.toml`.
#[derive(Clone, Debug)]
pub struct Attachments {
    verdict: Verdict,
    kinds: Vec<Located<Kind>>,
    extensions: Vec<Located<String>>,
    disguises: Vec<Located<String>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Refuse,
    Quarantine,
}

impl Attachments {
    /// Takes `[scan]` out of the outermost section. What is left out is as shipped.
    pub fn read(top: &Section<'_>) -> Self {
        let scan = top.section("scan");
        let verdict = scan.word(
            "verdict",
            &[
                ("refuse", Verdict::Refuse),
                ("quarantine", Verdict::Quarantine),
            ],
        );
        let read = Self {
            verdict: verdict.map_or(Verdict::Refuse, Located::into_inner),
            kinds: kinds(&scan),
            extensions: extensions(&scan, "refuse-extensions", EXTENSIONS),
            disguises: extensions(&scan, "refuse-behind-another", DISGUISES),
        };
        scan.finish();
        read
    }

    /// What is against a message, if anything: the first thing found.
    pub fn judge(&self, content: &Content) -> Option<Opinion> {
        content.attachments.iter().find_map(|attachment| {
            let (rule, because) = self.against(attachment)?;
            let ask = match self.verdict {
                Verdict::Refuse => Ask::Refuse(Refusal::AttachmentKind),
                Verdict::Quarantine => Ask::Quarantine,
            };
            let because = format!("{because} ({})", attachment.place);
            Some(
                Opinion::new(ask, rule, because)
                    .would_pass_if("the message comes without this attachment"),
            )
        })
    }

    /// Which rule is against an attachment, and why. Says nothing of its name but an extension that is
    /// in the policy file.
    fn against(&self, attachment: &Attachment) -> Option<(String, String)> {
        if let Some(kind) = self.kinds.iter().find(|kind| ***kind == attachment.kind) {
            let because = format!("an attachment is of the kind {}", kind.word());
            return Some((kind.source(), because));
        }
        let own = attachment
            .filename
            .iter()
            .chain(&attachment.also_named)
            .map(|name| (name, "an attachment"));
        let inner = attachment
            .names
            .iter()
            .map(|name| (name, "a file in an archive"));
        own.chain(inner)
            .find_map(|(name, what)| self.against_name(name, what))
    }

    fn against_name(&self, name: &str, what: &str) -> Option<(String, String)> {
        let name = as_opened(name);
        let (stem, extension) = name.rsplit_once('.')?;
        if let Some(refused) = self
            .extensions
            .iter()
            .find(|refused| ***refused == extension)
        {
            let because = format!("{what} has the extension {}", refused.as_str());
            return Some((refused.source(), because));
        }
        let disguise = self
            .disguises
            .iter()
            .find(|disguise| ***disguise == extension)?;
        let (_, before) = stem.trim_end().rsplit_once('.')?;
        DOCUMENTS.contains(&before).then(|| {
            let because = format!(
                "{what} has the extension {} behind another one",
                disguise.as_str()
            );
            (disguise.source(), because)
        })
    }
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

/// Kinds that are refused where the policy file says nothing.
const KINDS: &[Kind] = &[
    Kind::Executable,
    Kind::Script,
    Kind::Shortcut,
    Kind::DiskImage,
    Kind::Installer,
    Kind::MacroDocument,
];

/// Extensions that are refused where the policy file says nothing: what Windows, macOS and Office run.
const EXTENSIONS: &[&str] = &[
    "ade",
    "adp",
    "apk",
    "app",
    "appinstaller",
    "application",
    "appref-ms",
    "appx",
    "appxbundle",
    "bas",
    "bat",
    "cab",
    "chm",
    "cmd",
    "com",
    "command",
    "cpl",
    "crt",
    "diagcab",
    "dll",
    "dmg",
    "docm",
    "dotm",
    "exe",
    "fxp",
    "gadget",
    "hlp",
    "hta",
    "htc",
    "img",
    "inf",
    "ins",
    "iso",
    "isp",
    "jar",
    "jnlp",
    "js",
    "jse",
    "ksh",
    "lib",
    "library-ms",
    "lnk",
    "mad",
    "mde",
    "msc",
    "msi",
    "msix",
    "msixbundle",
    "msp",
    "mst",
    "ocx",
    "one",
    "ops",
    "pif",
    "pkg",
    "potm",
    "ppam",
    "ppsm",
    "pptm",
    "prf",
    "ps1",
    "ps1xml",
    "ps2",
    "psc1",
    "psd1",
    "psm1",
    "py",
    "pyc",
    "pyw",
    "reg",
    "scf",
    "scr",
    "sct",
    "search-ms",
    "settingcontent-ms",
    "sh",
    "shb",
    "shs",
    "sldm",
    "sys",
    "theme",
    "url",
    "vb",
    "vbe",
    "vbp",
    "vbs",
    "vhd",
    "vhdx",
    "vxd",
    "website",
    "wim",
    "ws",
    "wsc",
    "wsf",
    "wsh",
    "xbap",
    "xlam",
    "xll",
    "xlm",
    "xlsm",
    "xltm",
];

/// Extensions that are refused behind that of a document (`letter.pdf.html`).
const DISGUISES: &[&str] = &["html", "htm", "shtml", "xhtml", "svg", "mht", "mhtml"];

/// Extensions that a disguise borrows.
const DOCUMENTS: &[&str] = &[
    "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "rtf", "txt", "csv", "odt", "ods", "jpg",
    "jpeg", "png", "gif", "tif", "tiff", "zip", "eml", "msg",
];

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
            let opinion = scan.judge(&content(kind, filename, &[]));
            let ask = opinion.map(|opinion| opinion.ask);
            assert_eq!(
                ask,
                Some(Ask::Refuse(Refusal::AttachmentKind)),
                "{filename}"
            );
        }
        assert!(
            scan.judge(&content(Kind::Archive, "a.zip", &["x/y.js"]))
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
                scan.judge(&content(kind, filename, &["a/b.txt"])),
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
        assert!(scan.judge(&content).is_some());
    }

    #[test]
    fn an_opinion_names_its_rule_and_no_file() {
        let (scan, _) =
            scan("[scan]\nverdict = \"quarantine\"\nrefuse-extensions = [\n\"exe\",\n]\n");
        let opinion = scan
            .judge(&content(Kind::Unknown, "mrs-smith.exe", &[]))
            .unwrap();
        assert_eq!(opinion.ask, Ask::Quarantine);
        assert_eq!(opinion.rule, "links.toml:4");
        assert_eq!(
            opinion.because,
            "an attachment has the extension exe (attachment:2)"
        );
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
