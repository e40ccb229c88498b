//! The proof of a notice part: the message is all there, octet by octet, and one part of text stands behind it.

use super::field::{self, Field};
use super::reader::{self, Node};
use super::splices::Splices;
use super::{NotRead, Proof, Unproved, header, outside, text};
use crate::mail::edit::Edit;
use crate::mail::message::Message;

/// Proves that `edited` is `original` with a part behind it that says what one of `edits` says. Nothing is decoded but
/// that part, so a text that cannot be added to is no obstacle.
pub fn prove_notice_part(
    original: &Message,
    edited: &Message,
    edits: &[Edit],
) -> Result<Proof, Unproved> {
    let (old, new) = (&original.octets()[..], &edited.octets()[..]);
    Splices::held_against(old, new, edits).ok_or(Unproved::NotSpliced)?;
    let tree = reader::read(old).map_err(Unproved::Unreadable)?;
    let new_tree = reader::read(new).map_err(|_| Unproved::Tree)?;
    check_seen(old, &tree).map_err(|()| Unproved::ReadersDisagree)?;
    let said = edits
        .iter()
        .find_map(|edit| edit.says.as_deref().filter(|_| !edit.kind.is_of_header()));
    let said = said.ok_or(Unproved::Text)?;
    let (notice, others) = new_tree.children.split_last().ok_or(Unproved::Tree)?;
    if new_tree.kind != "multipart/mixed" {
        return Err(Unproved::Tree);
    }
    let old_fields = fields(old, &tree)?;
    let new_fields = fields(new, &new_tree)?;
    let is_mixed = tree.kind == "multipart/mixed";
    let whole = |octets: &[u8], node: &Node| octets[node.header.start..node.body.end].to_vec();
    let same = match is_mixed {
        true => {
            let before = tree.children.iter().map(|node| whole(old, node));
            tree.params == new_tree.params
                && before.eq(others.iter().map(|node| whole(new, node)))
                && of_content(&old_fields).eq(of_content(&new_fields))
        }
        false => match others {
            [first] => {
                let moved = fields(new, first)?;
                old[tree.body.clone()] == new[first.body.clone()]
                    && of_content(&old_fields).eq(moved.iter().map(|field| field.raw))
            }
            _ => false,
        },
    };
    if !same {
        return Err(Unproved::Part);
    }
    header::beside_content(&old_fields, &new_fields, edits)?;
    let text = text::of_leaf(notice, new).ok_or(Unproved::Text)?;
    if notice.kind != "text/plain" || notice.attachment || !text::is_with("", &text, &[said]) {
        return Err(Unproved::Text);
    }
    check_seen(new, &new_tree).map_err(|()| Unproved::OtherReader)?;
    Ok(Proof {
        parts: new_tree.all().len(),
        edited: 0,
    })
}

/// Whether `mail-parser` sees the parts where the strict reader does.
fn check_seen(octets: &[u8], tree: &Node) -> Result<(), ()> {
    let nodes = tree.all();
    let cuts = outside::cuts(octets, &nodes, |_| false);
    let given = outside::without(octets, &cuts);
    let seen = outside::read(&given).ok_or(())?;
    match outside::agrees(&given, &seen, &nodes, &cuts) {
        true => Ok(()),
        false => Err(()),
    }
}

fn fields<'m>(octets: &'m [u8], node: &Node) -> Result<Vec<Field<'m>>, Unproved> {
    field::fields(&octets[node.header.clone()]).ok_or(Unproved::Unreadable(NotRead::Header))
}

/// The fields that say what the content is, as they stand.
fn of_content<'f, 'm>(fields: &'f [Field<'m>]) -> impl Iterator<Item = &'m [u8]> + use<'f, 'm> {
    fields
        .iter()
        .filter(|field| field.begins("content-"))
        .map(|field| field.raw)
}
