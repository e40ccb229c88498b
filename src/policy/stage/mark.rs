//! The marks on outbound mail in which patient data was found: a `Sensitivity` field (RFC 2156 §5.3.4)
//! where there is none, and words before the subject if the policy wants them.
//!
//! Both are splices of the header: a signature over the body (S/MIME, PGP) stays whole.

use crate::mail::{Edit, EditKind, HeaderField};
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
        let subject = header.first("Subject");
        let subject = self.subject(
            subject,
            &case.content.subject,
            case.transaction.message.octets(),
        );
        Opinions {
            edits: sensitivity.into_iter().chain(subject).collect(),
            ..Opinions::none()
        }
    }

    fn sensitivity(&self) -> Option<Edit> {
        let value = self.settings.sensitivity.as_ref()?;
        let field = format!("Sensitivity: {value}\r\n");
        Some(Edit::prepend_fields(EditKind::Mark, field))
    }

    /// Puts the marking before the subject, unless one stands there. `octets` are those of the message,
    /// with which its header begins.
    fn subject(
        &self,
        field: Option<&HeaderField<'_>>,
        decoded: &str,
        octets: &[u8],
    ) -> Option<Edit> {
        let mark = self.settings.subject.as_ref()?;
        let marked = decoded.to_lowercase().contains(&mark.to_lowercase());
        if marked || marking::in_subject(decoded).is_some() {
            return None;
        }
        let Some(field) = field else {
            let field = format!("Subject: {mark}\r\n");
            return Some(Edit::prepend_fields(EditKind::Mark, field));
        };
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
        })
    }
}

/// Longest line of a message, in octets without its CRLF (RFC 5322 §2.1.1).
const LINE_MAX: usize = 998;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Message, edit};

    fn marked(header: &str) -> String {
        let mark = Mark::new(MarkSettings {
            sensitivity: Some("Company-Confidential".into()),
            subject: Some("[OFFICIAL-SENSITIVE]".into()),
        });
        let message = Message::new(format!("{header}\r\nbody").into_bytes());
        let parsed = message.header();
        let field = parsed.first("Subject");
        let decoded = field.map(|field| field.value().into_owned());
        let edit = mark.subject(field, &decoded.unwrap_or_default(), message.octets());
        let edits: Vec<Edit> = mark.sensitivity().into_iter().chain(edit).collect();
        let edited = edit::apply(&message, &edits).unwrap();
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
