//! Links taken out and banners put in, as splices of the leaves that readers see.
//!
//! What comes out is read again: no link that was to go may be left. If one is, or if a leaf
//! cannot be changed exactly, nothing is taken out, and the policy says what then.

use std::ops::Range;

use crate::content::links::{self, Flow, Form, Link, Links, Way};
use crate::mail::mime::{Part, Structure};
use crate::mail::splice::{self, Banner, Leaf, NotEdited, TextChange};
use crate::mail::{Edit, EditKind, Message};

/// What is to be done.
pub struct Wanted<'w> {
    /// Whether a link is to be taken out; `None` if none is.
    pub strip: Option<&'w dyn Fn(&Link) -> bool>,
    /// What is to stand at the start.
    pub banner: Option<Banner<'w>>,
    /// All links of the message.
    pub links: &'w Links,
}

/// What was done.
#[derive(Debug)]
pub struct Written {
    /// The splices.
    pub edits: Vec<Edit>,
    /// Why nothing was taken out, if something should have been.
    pub not_stripped: Option<NotEdited>,
    /// Why there is no banner, if there should be one.
    pub not_annotated: Option<NotEdited>,
}

/// A leaf and what is to change in it.
struct Changes<'m> {
    leaf: Leaf<'m>,
    changes: Vec<TextChange>,
}

/// Plans the edits of a message.
pub fn write(message: &Message, structure: &Structure, wanted: &Wanted<'_>) -> Written {
    let stripped = match wanted.strip {
        Some(strip) => stripped(message, structure, wanted.links, strip),
        None => Ok(Vec::new()),
    };
    let (mut leaves, not_stripped) = match stripped {
        Ok(leaves) => (leaves, None),
        Err(reason) => (Vec::new(), Some(reason)),
    };
    let annotated = match &wanted.banner {
        Some(banner) => annotated(message, structure, banner, &mut leaves),
        None => Ok(()),
    };
    let mut written = Written {
        edits: Vec::new(),
        not_stripped,
        not_annotated: annotated.err(),
    };
    let edits: Result<Vec<Vec<Edit>>, NotEdited> = leaves
        .iter()
        .map(|one| one.leaf.changed(&one.changes))
        .collect();
    match edits {
        Ok(edits) => written.edits = edits.concat(),
        Err(reason) => {
            let strips = wanted.strip.is_some();
            written.not_stripped = written.not_stripped.or(strips.then_some(reason));
            let annotates = wanted.banner.is_some();
            written.not_annotated = written.not_annotated.or(annotates.then_some(reason));
        }
    }
    written
}

/// The changes that take the links out of every leaf that has one.
fn stripped<'m>(
    message: &'m Message,
    structure: &'m Structure,
    all: &Links,
    strip: &dyn Fn(&Link) -> bool,
) -> Result<Vec<Changes<'m>>, NotEdited> {
    if all.beyond {
        return Err(NotEdited::Ambiguous); // one of those that nobody looked at may be like these
    }
    let parts = splice::changeable(message, structure)?;
    let mut leaves = Vec::new();
    for part in parts {
        let count = all
            .found
            .iter()
            .filter(|link| is_in(link, part) && strip(link))
            .count();
        if count > 0 {
            leaves.push(of_leaf(Leaf::read(message, part)?, count, strip)?);
        }
    }
    let reached = |link: &&Link| leaves.iter().any(|one| is_in(link, one.leaf.part()));
    let wanted = all.found.iter().filter(|link| strip(link));
    // What stands in an attachment or around the parts stays as it is.
    if !wanted.clone().all(|link| reached(&link)) {
        return Err(NotEdited::NoTextLeaf);
    }
    Ok(leaves)
}

fn of_leaf<'m>(
    leaf: Leaf<'m>,
    count: usize,
    strip: &dyn Fn(&Link) -> bool,
) -> Result<Changes<'m>, NotEdited> {
    let found = links_of(&leaf, leaf.text()).found;
    let gone: Vec<usize> = found
        .iter()
        .filter(|link| strip(link))
        .map(|link| link.at.start)
        .collect();
    let as_text = |link: &Link| Link {
        way: Way::Text,
        ..link.clone()
    };
    // Without its anchor, an address in the text is clickable by itself.
    let bared = |link: &&Link| {
        link.way == Way::Shown
            && link.anchor.is_some_and(|anchor| gone.contains(&anchor))
            && strip(&as_text(link))
    };
    let marked: Vec<&Link> = found
        .iter()
        .filter(|link| strip(link) || bared(link))
        .collect();
    let mut changes: Vec<TextChange> = Vec::with_capacity(marked.len());
    if gone.len() < count || marked.iter().any(|link| link.form == Form::Code) {
        return Err(NotEdited::Undecodable);
    }
    let mut ranges: Vec<(Range<usize>, Form)> = marked
        .iter()
        .map(|link| (link.at.clone(), link.form))
        .collect();
    ranges.sort_by_key(|(at, _)| (at.start, std::cmp::Reverse(at.end)));
    for (at, form) in ranges {
        match changes.last_mut() {
            Some(last) if at.start < last.at.end => last.at.end = last.at.end.max(at.end),
            _ => changes.push(change(at, form)),
        }
    }
    let after = replaced(leaf.text(), &changes);
    if links_of(&leaf, &after).found.iter().any(strip) {
        return Err(NotEdited::Undecodable);
    }
    Ok(Changes { leaf, changes })
}

/// Puts the banner into every leaf of the body.
fn annotated<'m>(
    message: &'m Message,
    structure: &'m Structure,
    banner: &Banner<'_>,
    leaves: &mut Vec<Changes<'m>>,
) -> Result<(), NotEdited> {
    let mut added = Vec::new();
    for part in splice::body_leaves(message, structure)? {
        let leaf = Leaf::read(message, part)?;
        if let Some(change) = leaf.banner(banner)? {
            added.push((leaf, change));
        }
    }
    for (leaf, change) in added {
        match leaves
            .iter_mut()
            .find(|one| one.leaf.part().body == leaf.part().body)
        {
            Some(one) => {
                let at = one
                    .changes
                    .partition_point(|other| other.at.start < change.at.start);
                one.changes.insert(at, change);
            }
            None => leaves.push(Changes {
                leaf,
                changes: vec![change],
            }),
        }
    }
    Ok(())
}

/// Whether a link stands in this part, which may have a name and be shown all the same.
fn is_in(link: &Link, part: &Part) -> bool {
    let number = link
        .place
        .strip_prefix("body:")
        .or_else(|| link.place.strip_prefix("attachment:"));
    number == Some(part.number.as_str())
}

fn change(at: Range<usize>, form: Form) -> TextChange {
    let (with, pad) = match form {
        Form::Words => (WORDS.to_owned(), WORDS.len() - 1),
        _ => (" ".to_owned(), 1),
    };
    TextChange {
        kind: EditKind::Links,
        at,
        with,
        pad,
        says: None,
    }
}

fn replaced(text: &str, changes: &[TextChange]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for change in changes {
        out.push_str(&text[from..change.at.start]);
        out.push_str(&change.with);
        from = change.at.end;
    }
    out.push_str(&text[from..]);
    out
}

fn links_of(leaf: &Leaf<'_>, text: &str) -> Links {
    match leaf.is_html() {
        true => links::of_html(text),
        false => links::of_text(text, flow(leaf.part())),
    }
}

fn flow(part: &Part) -> Flow {
    Flow::of(|name| part.content_type.params.get(name))
}

/// What stands where an address was clickable by itself.
const WORDS: &str = "[link removed]";

#[cfg(test)]
mod tests;
