//! The proof of an edit: the result is read again by two readers that had no part in it, and held against
//! the original.
//!
//! An edit is proved if what was spliced in is all that is new: the same tree, every part that no edit
//! names octet by octet, the text of those that one names with the addition and nothing else, the
//! addition once in each alternative, and no header field changed but those that this kind of edit
//! may change. Where links are taken out, they are all that is gone (`links`). One reader is a strict one of our own (`reader`), the other is `mail-parser`
//! (`outside`); neither shares code with the structure by which edits are planned. What they cannot read,
//! or read differently, is not provable. No settings, no I/O.

mod field;
mod header;
mod links;
mod notice;
mod outside;
mod reader;
mod splices;
mod text;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use super::edit::{Edit, EditKind, Taken};
use super::message::Message;
pub use notice::prove_notice_part;
use reader::Node;
pub use reader::NotRead;
use splices::Splices;

/// What was proved. Numbers alone: it may be logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proof {
    /// Parts of the message, itself included; attached messages count as one. Zero if the edits lie in the
    /// header alone: then the body is the same octet by octet, whatever it is made of.
    pub parts: usize,
    /// Leaves whose text was added to.
    pub edited: usize,
}

/// Why an edit is not proved. The order is that in which the reasons are looked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Unproved {
    /// The edited message is not the original with these splices.
    #[error("something is changed that no edit names")]
    NotSpliced,
    /// A header field was added, changed or taken out that this kind of edit may not touch.
    #[error("a header field is changed that may not be")]
    Header,
    /// The strict reader does not take the original.
    #[error("the message cannot be read without doubt: {0}")]
    Unreadable(NotRead),
    /// The text of a leaf that was added to is not what its fields say.
    #[error("the text cannot be decoded without doubt")]
    Undecodable,
    /// The two readers see two messages in the original.
    #[error("two readers see two different messages")]
    ReadersDisagree,
    /// An edit lies neither in the header nor in a leaf that is shown as text.
    #[error("an edit lies outside of the text")]
    Misplaced,
    /// The edited message has other parts, or has them elsewhere.
    #[error("the parts are not the same")]
    Tree,
    /// A part that no edit names is not the same.
    #[error("a part is changed that should not be")]
    Part,
    /// The text of a leaf is not the old one with the addition, and nothing else.
    #[error("the text is not the old one with the addition")]
    Text,
    /// The addition is not shown, or is shown twice.
    #[error("the addition is not shown exactly once")]
    NotOnce,
    /// More than links is taken out, or their text.
    #[error("more than links is taken out")]
    MoreThanLinks,
    /// An alternative lacks the addition.
    #[error("an alternative lacks the addition")]
    Alternative,
    /// `mail-parser` sees another change than the strict reader.
    #[error("another reader sees another change")]
    OtherReader,
    /// The proof broke off. Nothing is known.
    #[error("the proof broke off")]
    BrokeOff,
}

impl Unproved {
    /// The word for it in JSON, in the audit trail and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotSpliced => "not-spliced",
            Self::Header => "header-changed",
            Self::Unreadable(because) => because.word(),
            Self::Undecodable => "undecodable",
            Self::ReadersDisagree => "readers-disagree",
            Self::Misplaced => "misplaced",
            Self::Tree => "other-parts",
            Self::Part => "part-changed",
            Self::Text => "text-changed",
            Self::NotOnce => "not-once",
            Self::MoreThanLinks => "more-than-links",
            Self::Alternative => "alternative-lacks-it",
            Self::OtherReader => "other-reader",
            Self::BrokeOff => "proof-broke-off",
        }
    }
}

/// What edits say about one leaf.
#[derive(Default)]
struct Change<'e> {
    /// What readers are to see that was not there, in the order in which it stands.
    said: Vec<&'e str>,
    /// Those of it that are of footers; the others are of banners.
    footers: Vec<&'e str>,
    /// Links that go, in the order in which they stand.
    taken: Vec<&'e Taken>,
}

impl<'e> Change<'e> {
    /// Takes in what one edit says.
    fn take(&mut self, edit: &'e Edit) -> Result<(), Unproved> {
        if edit.says.is_none() && edit.takes.is_empty() {
            return Err(Unproved::Text); // it must say what it does
        }
        // Only what is made to take links out may take anything out.
        if edit.takes.is_empty() == (edit.kind == EditKind::Links) {
            return Err(Unproved::MoreThanLinks);
        }
        self.taken.extend(&edit.takes);
        self.said.extend(edit.says.as_deref());
        if edit.kind == EditKind::Footer {
            self.footers.extend(edit.says.as_deref());
        }
        Ok(())
    }

    /// What of footers it says, or what of banners.
    fn of(&self, footers: bool) -> Vec<&'e str> {
        let said = self.said.iter().copied();
        said.filter(|said| self.footers.contains(said) == footers)
            .collect()
    }

    /// Whether `new` is `old` with this change and nothing else.
    fn makes(&self, old: &str, new: &str, is_html: bool) -> Result<(), Unproved> {
        let kept = match self.taken.is_empty() {
            true => Cow::Borrowed(old),
            false => {
                let kept = links::without(old, &self.taken, is_html);
                Cow::Owned(kept.ok_or(Unproved::MoreThanLinks)?)
            }
        };
        match text::is_with(&kept, new, &self.said) {
            true => Ok(()),
            false => Err(Unproved::Text),
        }
    }
}

/// Proves that `edited` is `original` with `edits` and nothing else, as every reader sees it.
pub fn prove(original: &Message, edited: &Message, edits: &[Edit]) -> Result<Proof, Unproved> {
    let (old, new) = (&original.octets()[..], &edited.octets()[..]);
    let splices = Splices::held_against(old, new, edits).ok_or(Unproved::NotSpliced)?;
    if edits.iter().all(|edit| edit.kind.is_of_header()) {
        return prove_header(original, edited, edits);
    }
    let tree = reader::read(old).map_err(Unproved::Unreadable)?;
    let nodes = tree.all();
    let changes = changes(&nodes, edits)?;
    let changed = |index: usize| changes.iter().any(|(at, _)| *at == index);
    let cuts = outside::cuts(old, &nodes, changed);
    let before = outside::without(old, &cuts);
    let seen = outside::read(&before).ok_or(Unproved::ReadersDisagree)?;
    if !outside::agrees(&before, &seen, &nodes, &cuts) {
        return Err(Unproved::ReadersDisagree);
    }
    let new_tree = reader::read(new).map_err(|_| Unproved::Tree)?;
    let new_nodes = new_tree.all();
    header::of_message(
        &old[tree.header.clone()],
        &new[new_tree.header.clone()],
        edits,
    )?;
    if nodes.len() != new_nodes.len() {
        return Err(Unproved::Tree);
    }
    for (index, (one, other)) in nodes.iter().zip(&new_nodes).enumerate() {
        let change = changes
            .iter()
            .find(|(at, _)| *at == index)
            .map(|(_, change)| change);
        let pair = Pair {
            old,
            new,
            one,
            other,
        };
        pair.check(&splices, change, index == 0)?;
    }
    for footers in [true, false] {
        check_alternatives(&nodes, old, &changes, footers)?;
    }
    let moved: Vec<Range<usize>> = cuts.iter().map(|cut| splices.moved(cut)).collect();
    let after = outside::without(new, &moved);
    let seen_after = outside::read(&after).ok_or(Unproved::OtherReader)?;
    if !outside::same((&before, &seen), (&after, &seen_after), &changes) {
        return Err(Unproved::OtherReader);
    }
    Ok(Proof {
        parts: nodes.len(),
        edited: changes.len(),
    })
}

/// Edits that stay in the header leave the body alone, whatever it is made of.
fn prove_header(original: &Message, edited: &Message, edits: &[Edit]) -> Result<Proof, Unproved> {
    let end = original.header_octets().len();
    let same_body = original.body_range().len() == edited.body_range().len();
    if !same_body || edits.iter().any(|edit| edit.at.end > end) {
        return Err(Unproved::Misplaced);
    }
    header::of_message(original.header_octets(), edited.header_octets(), edits)?;
    Ok(Proof {
        parts: 0,
        edited: 0,
    })
}

/// The leaves in which edits lie, by their index, and what those say.
fn changes<'e>(nodes: &[&Node], edits: &'e [Edit]) -> Result<Vec<(usize, Change<'e>)>, Unproved> {
    let mut changes: Vec<(usize, Change<'e>)> = Vec::new();
    let mut order: Vec<&Edit> = edits
        .iter()
        .filter(|edit| !edit.kind.is_of_header())
        .collect();
    order.sort_by_key(|edit| (edit.at.start, edit.at.end));
    for edit in order {
        let holds = |node: &&Node| {
            node.header.start <= edit.at.start
                && edit.at.end <= node.body.end
                && node.children.is_empty()
        };
        let index = nodes
            .iter()
            .position(holds)
            .filter(|index| nodes[*index].is_text());
        let index = index.ok_or(Unproved::Misplaced)?;
        let position = changes.iter().position(|(at, _)| *at == index);
        let position = position.unwrap_or_else(|| {
            changes.push((index, Change::default()));
            changes.len() - 1
        });
        let in_body = nodes[index].body.start <= edit.at.start;
        if in_body {
            changes[position].1.take(edit)?;
        }
    }
    if changes.len() > CHANGES_MAX {
        return Err(Unproved::Unreadable(NotRead::Limit));
    }
    let is_empty = |change: &Change<'_>| change.said.is_empty() && change.taken.is_empty();
    if changes.iter().any(|(_, change)| is_empty(change)) {
        return Err(Unproved::Misplaced);
    }
    Ok(changes)
}

/// A part before and after.
struct Pair<'m> {
    old: &'m [u8],
    new: &'m [u8],
    one: &'m Node,
    other: &'m Node,
}

impl Pair<'_> {
    fn check(
        &self,
        splices: &Splices<'_>,
        change: Option<&Change<'_>>,
        is_root: bool,
    ) -> Result<(), Unproved> {
        let Self { one, other, .. } = self;
        if one.kind != other.kind
            || one.children.len() != other.children.len()
            || one.attachment != other.attachment
        {
            return Err(Unproved::Tree);
        }
        let header = |node: &Node, octets| header_of(node, octets).to_vec();
        match change {
            Some(change) => {
                if !is_root {
                    header::of_leaf(&header(one, self.old), &header(other, self.new))?;
                }
                self.check_text(change)
            }
            None if one.params != other.params || one.encoding != other.encoding => {
                Err(Unproved::Part)
            }
            None if !is_root && header_of(one, self.old) != header_of(other, self.new) => {
                Err(Unproved::Part)
            }
            None if one.children.is_empty() => {
                // Where it is expected, and the same: what lies before it was judged already.
                let place = splices.moved(&one.body) == other.body;
                let same = self.old[one.body.clone()] == self.new[other.body.clone()];
                (place && same).then_some(()).ok_or(Unproved::Part)
            }
            None => Ok(()),
        }
    }

    fn check_text(&self, change: &Change<'_>) -> Result<(), Unproved> {
        let old = text::of_leaf(self.one, self.old).ok_or(Unproved::Undecodable)?;
        let new = text::of_leaf(self.other, self.new).ok_or(Unproved::Text)?;
        let is_html = self.one.kind == "text/html";
        change.makes(&old, &new, is_html)?;
        let times = |text: &str, said: &str| text::times_in(text, said, is_html);
        let once = |said: &&str| times(&new, said) == times(&old, said) + 1;
        match change.said.iter().all(once) {
            true => Ok(()),
            false => Err(Unproved::NotOnce),
        }
    }
}

fn header_of<'m>(node: &Node, octets: &'m [u8]) -> &'m [u8] {
    &octets[node.header.clone()]
}

/// Of alternatives of which one was added to, each that is text has the addition now or had it before: the footer, or
/// the banner.
fn check_alternatives(
    nodes: &[&Node],
    old: &[u8],
    changes: &[(usize, Change<'_>)],
    footers: bool,
) -> Result<(), Unproved> {
    let said_in = |node: &Node| {
        let at = |index: &usize| std::ptr::eq(nodes[*index], node);
        let change = changes.iter().find(|(index, _)| at(index));
        change.map_or_else(Vec::new, |(_, change)| change.of(footers))
    };
    for node in nodes
        .iter()
        .filter(|node| node.kind == "multipart/alternative")
    {
        let said: Vec<&str> = node.all().into_iter().flat_map(said_in).collect();
        if said.is_empty() {
            continue;
        }
        for child in &node.children {
            let leaves = child.all();
            let mut texts = leaves
                .iter()
                .filter(|leaf| leaf.is_text() && !leaf.attachment)
                .peekable();
            let none = texts.peek().is_none();
            let has_it = |leaf: &&&Node| !said_in(leaf).is_empty() || had_it(leaf, old, &said);
            if !none && !texts.any(|leaf| has_it(&leaf)) {
                return Err(Unproved::Alternative);
            }
        }
    }
    Ok(())
}

/// Whether a leaf that was left alone says one of the additions already, in whichever form.
fn had_it(leaf: &Node, old: &[u8], said: &[&str]) -> bool {
    let Some(text) = text::of_leaf(leaf, old) else {
        return false;
    };
    let is_html = leaf.kind == "text/html";
    let all: BTreeSet<&str> = said.iter().copied().collect();
    all.into_iter().any(|said| {
        text::times_in(&text, said, is_html) > 0 || is_html_in_text(&text, said, is_html)
    })
}

/// The other form: replies turn HTML into text and text into HTML.
fn is_html_in_text(text: &str, said: &str, is_html: bool) -> bool {
    match is_html {
        true => false,
        false => text::times_in(text, &text::shown(said), false) > 0,
    }
}

/// So many leaves may be added to. Mail of people has two; the proof takes time with each.
const CHANGES_MAX: usize = 100;

#[cfg(test)]
mod tests;
