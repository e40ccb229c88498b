//! The marks on outbound mail in which patient data was found: a `Sensitivity` field (RFC 2156 §5.3.4)
//! where there is none, and words before the subject if the policy wants them.
//!
//! Both are splices of the header: a signature over the body (S/MIME, PGP) stays whole.

use crate::mail::mime::decode_words;
use crate::mail::{Edit, EditKind, Header, HeaderField};
use crate::policy::case::Case;
use crate::policy::opinion::Opinions;
use crate::policy::patient_data::marking;
use crate::policy::patient_data::settings::MarkSettings;

/// The stage `mark`.
#[derive(Debug)]
pub struct Mark {
    settings: MarkSettings,
}

impl Mark {
    /// The stage by `[mark]` of `patient-data.toml`.
    pub fn new(settings: MarkSettings) -> Self {
        Self { settings }
    }

    /// What is put on.
    pub fn settings(&self) -> &MarkSettings {
        &self.settings
    }

    /// Edits; asks nothing of anyone.
    pub fn examine(&self, case: &Case<'_>) -> Opinions {
        let found = &case.findings.patient_data;
        if !case.is_outbound() || !found.found || found.synthetic {
            return Opinions::none();
        }
        let header = case.header;
        let sensitivity = match header.first("Sensitivity") {
            None => self.sensitivity(),
            Some(_) => None,
        };
        let subjects = self.subjects(header, case.transaction.message.octets());
        Opinions {
            edits: sensitivity.into_iter().chain(subjects).collect(),
            ..Opinions::none()
        }
    }

    fn sensitivity(&self) -> Option<Edit> {
        let value = self.settings.sensitivity.as_ref()?;
        let field = format!("Sensitivity: {value}\r\n");
        Some(Edit::prepend_fields(EditKind::Mark, field))
    }

    /// Marks every subject, for readers differ on which of several they show; one is made where there is none.
    /// `octets` are those of the message, with which its header begins.
    fn subjects(&self, header: &Header<'_>, octets: &[u8]) -> Vec<Edit> {
        let Some(mark) = &self.settings.subject else {
            return Vec::new();
        };
        if header.first("Subject").is_none() {
            let field = format!("Subject: {mark}\r\n");
            return vec![Edit::prepend_fields(EditKind::Mark, field)];
        }
        let fields = header.all("Subject");
        let marked = fields.filter_map(|field| marked(field, mark, octets));
        marked.collect()
    }
}

/// Puts the marking before a subject, unless one stands there.
fn marked(field: &HeaderField<'_>, mark: &str, octets: &[u8]) -> Option<Edit> {
    let value = field.value();
    let decoded = decode_words(&value);
    // A reply may have it encoded, and folded where it was not.
    let has_it = squeezed(&decoded).contains(&squeezed(mark));
    if has_it || marking::in_subject(&decoded).is_some() {
        return None;
    }
    let range = field.range();
    let line = &octets[range.clone()];
    let colon = memchr::memchr(b':', line)? + 1;
    let space = line[colon..]
        .iter()
        .take_while(|octet| matches!(octet, b' ' | b'\t'));
    let space = space.count();
    let at = range.start + colon + space;
    let first_line = memchr::memchr(b'\r', line).unwrap_or(line.len());
    let before = if space == 0 { " " } else { "" };
    let after = match octets.get(at) {
        Some(b'\r' | b'\n') | None => "",
        // RFC 5322 §2.1.1: no line is longer, so a long one is folded behind the mark.
        Some(_) if first_line + mark.len() + 2 > LINE_MAX => "\r\n ",
        Some(_) => " ",
    };
    Some(Edit {
        kind: EditKind::Mark,
        part: None,
        entity: None,
        audience: None,
        at: at..at,
        with: format!("{before}{mark}{after}").into_bytes(),
        says: Some(mark.to_owned()),
        takes: Vec::new(),
    })
}

/// Without white space and case.
fn squeezed(text: &str) -> String {
    let kept = text.chars().filter(|character| !character.is_whitespace());
    kept.flat_map(char::to_lowercase).collect()
}

/// Longest line of a message, in octets without its CRLF (RFC 5322 §2.1.1).
const LINE_MAX: usize = 998;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::prove::prove;
    use crate::mail::{Message, edit};

    fn marked(header: &str) -> String {
        let mark = Mark::new(MarkSettings {
            sensitivity: Some("Company-Confidential".into()),
            subject: Some("[OFFICIAL-SENSITIVE]".into()),
        });
        let message = Message::new(format!("{header}\r\nbody").into_bytes());
        let parsed = message.header();
        let subjects = mark.subjects(&parsed, message.octets());
        let edits: Vec<Edit> = mark.sensitivity().into_iter().chain(subjects).collect();
        let edited = edit::apply(&message, &edits).unwrap();
        assert_eq!(mark.subjects(&edited.header(), edited.octets()), [], "once");
        let proof = prove(&message, &edited, &edits);
        assert!(proof.is_ok(), "{header}: {proof:?}");
        String::from_utf8(edited.octets().to_vec()).unwrap()
    }

    #[test]
    fn the_mark_stands_before_the_subject() {
        for (header, subject) in [
            (
                "Subject: results\r\n",
                "Subject: [OFFICIAL-SENSITIVE] results\r\n",
            ),
            (
                "Subject:results\r\n",
                "Subject: [OFFICIAL-SENSITIVE] results\r\n",
            ),
            (
                "Subject:\r\n results\r\n",
                "Subject: [OFFICIAL-SENSITIVE]\r\n results\r\n",
            ),
            (
                "Subject: =?utf-8?Q?r=C3=A9sultats?=\r\n",
                "Subject: [OFFICIAL-SENSITIVE] =?utf-8?Q?r=C3=A9sultats?=\r\n",
            ),
            ("Subject: Re: [O-S] x\r\n", "Subject: Re: [O-S] x\r\n"),
            (
                "Subject: official sensitive x\r\n",
                "Subject: official sensitive x\r\n",
            ),
            // A reply that has it encoded, cut in two, or folded.
            (
                "Subject: Re: =?utf-8?B?W09GRklDSUFMLVNFTlNJVElWRV0gcsOpc3VsdGF0cw==?=\r\n",
                "Subject: Re: =?utf-8?B?W09GRklDSUFMLVNFTlNJVElWRV0gcsOpc3VsdGF0cw==?=\r\n",
            ),
            (
                "Subject: =?utf-8?Q?[OFFICIAL-?= =?utf-8?Q?SENSITIVE]_x?=\r\n",
                "Subject: =?utf-8?Q?[OFFICIAL-?= =?utf-8?Q?SENSITIVE]_x?=\r\n",
            ),
            (
                "Subject: Re: [OFFICIAL-\r\n SENSITIVE] x\r\n",
                "Subject: Re: [OFFICIAL-\r\n SENSITIVE] x\r\n",
            ),
            // A word in a sentence is no marking.
            (
                "Subject: what is official sensitive\r\n",
                "Subject: [OFFICIAL-SENSITIVE] what is official sensitive\r\n",
            ),
            // SMTPUTF8: letters as they are.
            (
                "Subject: r\u{e9}sultats\r\n",
                "Subject: [OFFICIAL-SENSITIVE] r\u{e9}sultats\r\n",
            ),
            // Several: whichever is shown is marked, and once.
            (
                "Subject: a\r\nsubject: [O-S] b\r\nSUBJECT:\r\n",
                "Subject: [OFFICIAL-SENSITIVE] a\r\nsubject: [O-S] b\r\nSUBJECT: [OFFICIAL-SENSITIVE]\r\n",
            ),
            ("Subject: \t\r\n", "Subject: \t[OFFICIAL-SENSITIVE]\r\n"),
            ("", "Subject: [OFFICIAL-SENSITIVE]\r\n"),
        ] {
            let expected = format!("Sensitivity: Company-Confidential\r\n{subject}\r\nbody");
            assert_eq!(marked(header), expected);
        }
    }

    #[test]
    fn no_line_grows_too_long() {
        let long = format!("Subject: {}\r\n", "x".repeat(985));
        let longest = marked(&long).lines().map(str::len).max();
        assert!(longest <= Some(LINE_MAX));
    }
}
