//! What goes to a reader and what comes back: a line of JSON before the octets, and an answer in JSON.

use serde::{Deserialize, Serialize};

use crate::content::kind::Kind;
use crate::content::{Attachment, Content, Form, Links, TextPiece, Unread};

/// What a reader has to know to open a file, besides its octets.
#[derive(Clone, Deserialize, Serialize)]
pub(in crate::content) struct Task<'t> {
    /// Where the file lies: `2/1`.
    pub(in crate::content) path: &'t str,
    pub(in crate::content) name: &'t str,
    pub(in crate::content) left: Left,
}

/// What may still be spent on a message.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(in crate::content) struct Left {
    pub(in crate::content) text_octets: usize,
    pub(in crate::content) depth: usize,
    pub(in crate::content) unpacked_octets: usize,
    pub(in crate::content) ratio: usize,
    pub(in crate::content) files: usize,
}

/// What was read of a file, and what is left after it.
pub(in crate::content) struct Answer {
    pub(in crate::content) content: Content,
    pub(in crate::content) left: Left,
}

#[derive(Deserialize, Serialize)]
struct Written {
    left: Left,
    headers: Vec<(String, String)>,
    texts: Vec<(String, String, String)>,
    attachments: Vec<WrittenAttachment>,
    unreadable: Vec<(String, String)>,
    links: Links,
}

#[derive(Deserialize, Serialize)]
struct WrittenAttachment {
    place: String,
    filename: Option<String>,
    also_named: Vec<String>,
    declared: String,
    kind: String,
    names: Vec<String>,
    encoded_octets: usize,
}

impl Task<'_> {
    /// The task with the line end behind it.
    pub(in crate::content) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Reads a line that [`Task::line`] wrote, without its end.
pub(super) fn task(line: &[u8]) -> Option<OwnedTask> {
    serde_json::from_slice(line).ok()
}

/// A task with its own words.
#[derive(Deserialize)]
pub(in crate::content) struct OwnedTask {
    pub(in crate::content) path: String,
    pub(in crate::content) name: String,
    pub(in crate::content) left: Left,
}

impl Answer {
    /// Writes it, for [`answer`] to read.
    pub(super) fn octets(self) -> Vec<u8> {
        let Content {
            headers,
            texts,
            attachments,
            unreadable,
            links,
            ..
        } = self.content;
        let texts = texts.into_iter();
        let written = Written {
            left: self.left,
            headers: headers.into_iter().map(|it| (it.place, it.text)).collect(),
            texts: texts
                .map(|it| (it.place, word_of(it.form).to_owned(), it.text))
                .collect(),
            attachments: attachments.into_iter().map(WrittenAttachment::of).collect(),
            unreadable: unreadable
                .into_iter()
                .map(|it| (it.place, it.because.to_owned()))
                .collect(),
            links,
        };
        serde_json::to_vec(&written).unwrap_or_default()
    }
}

/// Reads what a reader wrote; `None` if it is anything else. A word that is not known here is `malformed`.
pub(super) fn answer(octets: &[u8]) -> Option<Answer> {
    let written: Written = serde_json::from_slice(octets).ok()?;
    let texts = written.texts.into_iter();
    let unreadable = written.unreadable.into_iter();
    let content = Content {
        subject: String::new(),
        headers: written.headers.into_iter().map(plain).collect(),
        texts: texts
            .map(|(place, form, text)| TextPiece {
                form: form_of(&form),
                ..plain((place, text))
            })
            .collect(),
        attachments: written
            .attachments
            .into_iter()
            .map(WrittenAttachment::read)
            .collect(),
        unreadable: unreadable
            .map(|(place, because)| Unread {
                place,
                because: Unread::word(&because).unwrap_or("malformed"),
            })
            .collect(),
        links: written.links,
    };
    Some(Answer {
        content,
        left: written.left,
    })
}

impl WrittenAttachment {
    fn of(attachment: Attachment) -> Self {
        Self {
            kind: attachment.kind.word().to_owned(),
            place: attachment.place,
            filename: attachment.filename,
            also_named: attachment.also_named,
            declared: attachment.declared,
            names: attachment.names,
            encoded_octets: attachment.encoded_octets,
        }
    }

    fn read(self) -> Attachment {
        let kind = Kind::WORDS.iter().find(|(word, _)| *word == self.kind);
        Attachment {
            place: self.place,
            filename: self.filename,
            also_named: self.also_named,
            declared: self.declared,
            kind: kind.map_or(Kind::Unknown, |(_, kind)| *kind),
            names: self.names,
            encoded_octets: self.encoded_octets,
        }
    }
}

fn plain((place, text): (String, String)) -> TextPiece {
    TextPiece {
        place,
        text,
        form: Form::Plain,
    }
}

fn word_of(form: Form) -> &'static str {
    match form {
        Form::Plain => "plain",
        Form::Html => "html",
        Form::Table => "table",
        Form::Again => "again",
    }
}

fn form_of(word: &str) -> Form {
    match word {
        "html" => Form::Html,
        "table" => Form::Table,
        "again" => Form::Again,
        _ => Form::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::links;

    const LEFT: Left = Left {
        text_octets: 1,
        depth: 2,
        unpacked_octets: 3,
        ratio: 4,
        files: 5,
    };

    #[test]
    fn what_is_written_is_read_again() {
        let piece = |form| TextPiece {
            place: "attachment:2/1".into(),
            text: "caf\u{e9} \u{0} \"x\"\n".into(),
            form,
        };
        let content = Content {
            headers: vec![piece(Form::Plain)],
            texts: [Form::Plain, Form::Html, Form::Table, Form::Again]
                .map(piece)
                .into(),
            attachments: vec![Attachment {
                place: "attachment:2/1".into(),
                filename: Some("a.pdf".into()),
                also_named: vec!["b".into()],
                declared: "application/pdf".into(),
                kind: Kind::MacroDocument,
                names: vec!["c".into()],
                encoded_octets: 7,
            }],
            unreadable: Unread::WORDS
                .iter()
                .map(|because| Unread {
                    place: "attachment:2".into(),
                    because,
                })
                .collect(),
            links: links::of_html(
                "<a href=//nhs.uk@192.0.2.1/x>www.nhs.uk</a><img src=https://a.example>",
            ),
            ..Content::default()
        };
        let written = Answer {
            content: content.clone(),
            left: LEFT,
        };
        let read = answer(&written.octets()).unwrap();
        assert_eq!(read.left, LEFT);
        assert!(read.content.headers == content.headers && read.content.texts == content.texts);
        assert!(read.content.attachments == content.attachments);
        assert_eq!(read.content.unreadable, content.unreadable);
        assert!(read.content.links == content.links && content.links.found.len() == 3);
    }

    #[test]
    fn a_task_is_one_line_whatever_the_file_is_called() {
        let line = Task {
            path: "2",
            name: "a\nb\".pdf",
            left: LEFT,
        }
        .line();
        let (end, line) = line.split_last().unwrap();
        assert!(*end == b'\n' && !line.contains(end));
        let read = task(line).unwrap();
        assert_eq!(
            (read.path.as_str(), read.name.as_str(), read.left),
            ("2", "a\nb\".pdf", LEFT)
        );
        assert!(task(b"{}").is_none() && answer(b"{}").is_none());
    }
}
