//! A banner: words at the start of a text, as a footer stands at its end.

use super::change::TextChange;
use super::leaf::{Leaf, LeafKind, fixed_line};
use super::presence::Presence;
use super::{Footer, NotEdited, body};
use crate::mail::edit::{Edit, EditKind};
use crate::mail::message::Message;
use crate::mail::mime::{Part, Structure};

/// What is to stand at the start of a message. In ASCII, so that every charset holds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Banner<'b> {
    /// For leaves of plain text: lines, ended by LF or CRLF. An empty line sets it off.
    pub text: &'b str,
    /// For leaves of HTML: a piece of HTML that may stand in a `body`.
    pub html: &'b str,
    /// Whether it is left out where all of it stands in the leaf already, as in a quoted reply.
    pub once: bool,
}

/// Returns the splices that put `banner` at the start of every leaf of the body that lacks it.
pub fn plan_banner(
    message: &Message,
    structure: &Structure,
    banner: &Banner<'_>,
) -> Result<Vec<Edit>, NotEdited> {
    let mut edits = Vec::new();
    for part in body_leaves(message, structure)? {
        let leaf = Leaf::read(message, part)?;
        let change = leaf.banner(banner)?;
        edits.extend(leaf.changed(change.as_slice())?);
    }
    if edits.is_empty() {
        return Err(NotEdited::AlreadyThere);
    }
    Ok(edits)
}

/// The leaves that get a banner: those that get a footer.
pub fn body_leaves<'s>(
    message: &Message,
    structure: &'s Structure,
) -> Result<Vec<&'s Part>, NotEdited> {
    body::check_may_be_spliced(message, structure)?;
    let leaves = body::leaves(message, structure)?;
    match leaves.is_empty() {
        true => Err(NotEdited::NoTextLeaf),
        false => Ok(leaves),
    }
}

impl Leaf<'_> {
    /// The change that puts the banner in; `None` if it is there already.
    pub fn banner(&self, banner: &Banner<'_>) -> Result<Option<TextChange>, NotEdited> {
        let sought = Footer {
            text: banner.text,
            html: banner.html,
            ..Footer::default()
        };
        let presence = Presence::of(&sought).ok_or(NotEdited::EmptyFooter)?;
        if banner.once && presence.is_in(self) {
            return Ok(None);
        }
        let (at, block) = match self.kind {
            LeafKind::Text => (0, self.text_block(banner.text)),
            LeafKind::Html => {
                let at = self.scan().body_start;
                (at, self.html_block(at, banner.html))
            }
        };
        let at = at.max(self.mark_length());
        Ok(Some(TextChange {
            kind: EditKind::Banner,
            at: at..at,
            pad: block.find(' ').unwrap_or(0),
            says: Some(self.says(banner).to_owned()),
            with: block,
        }))
    }

    /// The banner in the form of the leaf.
    fn says<'b>(&self, banner: &Banner<'b>) -> &'b str {
        match self.kind {
            LeafKind::Text => banner.text,
            LeafKind::Html => banner.html,
        }
    }

    /// A mark of the order of octets stands before everything.
    fn mark_length(&self) -> usize {
        self.text
            .strip_prefix('\u{FEFF}')
            .map_or(0, |rest| self.text.len() - rest.len())
    }

    fn text_block(&self, banner: &str) -> String {
        let eol = self.text_eol();
        let mut block = String::with_capacity(banner.len() + 8);
        for line in banner.lines() {
            match self.is_flowed() {
                true => block.push_str(&fixed_line(line)),
                false => block.push_str(line.trim_end()),
            }
            block.push_str(eol);
        }
        block.push_str(eol);
        block
    }

    fn html_block(&self, at: usize, banner: &str) -> String {
        let eol = self.text_eol();
        let mut block = self.line_end_before(at).to_owned();
        for line in banner.lines() {
            block.push_str(line);
            block.push_str(eol);
        }
        block
    }
}
