//! A message as it was before this gateway marked it: our own mark would count as patient data.

use crate::mail::{Edit, EditKind, Message, edit};
use crate::policy::patient_data::settings::MarkSettings;

/// Without the field and the words that the stage `mark` puts in by these settings, wherever they stand just so.
pub(super) fn unmarked(message: &Message, mark: &MarkSettings) -> Message {
    let header = message.header();
    let octets = message.octets();
    let mut edits = Vec::new();
    if let Some(value) = &mark.sensitivity {
        let ours = header.all("Sensitivity");
        let mut ours = ours.filter(|field| field.value().trim() == value);
        edits.extend(ours.next().map(|field| Edit::removal(field.range())));
    }
    if let Some(words) = mark.subject.as_deref().filter(|words| !words.is_empty()) {
        for field in header.all("Subject") {
            let line = &octets[field.range()];
            let Some(colon) = memchr::memchr(b':', line) else {
                continue;
            };
            let rest = &line[colon + 1..];
            let space = rest.len() - rest.trim_ascii_start().len();
            if rest[space..].starts_with(words.as_bytes()) {
                let at = field.range().start + colon + 1 + space;
                edits.push(Edit {
                    kind: EditKind::Mark,
                    ..Edit::removal(at..at + words.len())
                });
            }
        }
    }
    // Edits of different fields are never of the same octets; if they were, the message would be judged as it is.
    edit::apply(message, &edits).unwrap_or_else(|_| message.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_mark_is_taken_off_and_nobody_elses() {
        let mark = MarkSettings {
            sensitivity: Some("Company-Confidential".into()),
            subject: Some("[O-S]".into()),
        };
        let bare = |text: &str| {
            let message = Message::new(text.as_bytes().to_vec());
            String::from_utf8(unmarked(&message, &mark).octets().to_vec()).unwrap()
        };
        assert_eq!(
            bare("Sensitivity: Company-Confidential\r\nSubject: [O-S] x\r\n\r\ny\r\n"),
            "Subject:  x\r\n\r\ny\r\n"
        );
        let others = "Sensitivity: Private\r\nSubject: Re: [O-S] x\r\n\r\n[O-S]\r\n";
        assert_eq!(bare(others), others);
    }
}
