//! Header fields before and after: the same ones in the same order, but for those that an edit may touch.

use std::collections::HashSet;

use super::field::{self, Field};
use super::text;
use super::{NotRead, Unproved};
use crate::mail::edit::{Edit, EditKind};

/// Holds the header of a whole message against what its edits may do there.
pub(super) fn of_message(old: &[u8], new: &[u8], edits: &[Edit]) -> Result<(), Unproved> {
    let old_fields = field::fields(old).ok_or(Unproved::Unreadable(NotRead::Header))?;
    let new_fields = field::fields(new).ok_or(Unproved::Header)?;
    let kinds = |kind: EditKind| edits.iter().any(|edit| edit.kind == kind);
    let body = edits.iter().any(|edit| !edit.kind.is_of_header());
    let subjects = old_fields.iter().any(|field| field.is("subject"));
    let kept = without_removed(&old_fields, &new_fields, edits);
    let may_add = |field: &Field<'_>| {
        kinds(EditKind::Trace) && (is_one_of(field, TRACE) || is_put_in(field, &kept))
            || kinds(EditKind::Mark)
                && (field.is("sensitivity") || field.is("subject") && !subjects)
            || body && may_be_added_for_text(field, &old_fields)
    };
    let may_change = |one: &Field<'_>, other: &Field<'_>| {
        kinds(EditKind::Mark)
            && one.is("subject")
            && other.is("subject")
            && is_marked(one, other, edits)
            || body && is_of_text(one, other)
    };
    walk(&kept, &new_fields, may_add, |_| false, may_change)
}

/// As [`of_message`], but for the fields that say what the content is, which moved.
pub(super) fn beside_content(
    old: &[Field<'_>],
    new: &[Field<'_>],
    edits: &[Edit],
) -> Result<(), Unproved> {
    let kinds = |kind: EditKind| edits.iter().any(|edit| edit.kind == kind);
    let has = |name: &str| old.iter().any(|field| field.is(name));
    let (version, subject) = (has("mime-version"), has("subject"));
    let kept = without_removed(old, new, edits);
    let may_add = |field: &Field<'_>| {
        field.begins("content-")
            || field.is("mime-version") && !version
            || kinds(EditKind::Trace) && (is_one_of(field, TRACE) || is_put_in(field, &kept))
            || kinds(EditKind::Mark) && (field.is("sensitivity") || field.is("subject") && !subject)
    };
    let may_go = |field: &Field<'_>| field.begins("content-");
    let may_change = |one: &Field<'_>, other: &Field<'_>| {
        kinds(EditKind::Mark)
            && one.is("subject")
            && other.is("subject")
            && is_marked(one, other, edits)
    };
    walk(&kept, new, may_add, may_go, may_change)
}

/// Holds the header of a leaf whose text was added to against the original.
pub(super) fn of_leaf(old: &[u8], new: &[u8]) -> Result<(), Unproved> {
    let old_fields = field::fields(old).ok_or(Unproved::Unreadable(NotRead::Header))?;
    let new_fields = field::fields(new).ok_or(Unproved::Header)?;
    let may_add =
        |field: &Field<'_>| !field.is("mime-version") && may_be_added_for_text(field, &old_fields);
    walk(&old_fields, &new_fields, may_add, |_| false, is_of_text)
}

/// Goes over both; each field is the next of the other side, or is added, gone or changed as it may.
fn walk(
    old: &[Field<'_>],
    new: &[Field<'_>],
    may_add: impl Fn(&Field<'_>) -> bool,
    may_go: impl Fn(&Field<'_>) -> bool,
    may_change: impl Fn(&Field<'_>, &Field<'_>) -> bool,
) -> Result<(), Unproved> {
    let mut left = old.iter().peekable();
    for field in new {
        while let Some(next) = left.peek()
            && next.raw != field.raw
            && may_go(next)
        {
            left.next();
        }
        match left.peek() {
            Some(next) if next.raw == field.raw || may_change(next, field) => {
                left.next();
            }
            _ if may_add(field) => {}
            _ => return Err(Unproved::Header),
        }
    }
    match left.all(may_go) {
        true => Ok(()),
        false => Err(Unproved::Header),
    }
}

fn is_one_of(field: &Field<'_>, names: &[&str]) -> bool {
    names.iter().any(|name| match name.strip_suffix('*') {
        Some(start) => field.begins(start),
        None => field.is(name),
    })
}

/// The fields that stay: all but those that an edit takes out whole, if they may go. The author may where another one
/// comes in his place.
fn without_removed<'m>(old: &[Field<'m>], new: &[Field<'_>], edits: &[Edit]) -> Vec<Field<'m>> {
    let has_author = new.iter().any(|field| field.is("from"));
    let may_go = |field: &Field<'_>| is_one_of(field, REMOVED) || has_author && field.is("from");
    // A header may be full of forged fields, with an edit for each.
    let removals = edits.iter().filter(|edit| edit.kind == EditKind::Removal);
    let named: HashSet<_> = removals.map(|edit| edit.at.clone()).collect();
    // They are all of the header, which begins the message.
    let mut end = 0;
    let stays = |field: &&Field<'_>| {
        let range = end..end + field.raw.len();
        end = range.end;
        !(may_go(field) && named.contains(&range))
    };
    old.iter().filter(stays).cloned().collect()
}

/// A field that a submitted message lacks.
fn is_put_in(field: &Field<'_>, kept: &[Field<'_>]) -> bool {
    let names = ["from", "sender", "auto-submitted"];
    let wanted = names.into_iter().find(|name| field.is(name));
    wanted.is_some_and(|name| !kept.iter().any(|kept| kept.is(name)))
}

/// A field that says what the text of a leaf is, where there was none.
fn may_be_added_for_text(field: &Field<'_>, old: &[Field<'_>]) -> bool {
    let names = ["content-type", "content-transfer-encoding", "mime-version"];
    let wanted = names.iter().find(|name| field.is(name));
    wanted.is_some_and(|name| !old.iter().any(|old| old.is(name)))
}

/// The two fields of a leaf that may change: to UTF-8, the rest of the type being the same, and to another
/// transfer encoding.
fn is_of_text(one: &Field<'_>, other: &Field<'_>) -> bool {
    if one.is("content-transfer-encoding") && other.is("content-transfer-encoding") {
        let known = ["7bit", "8bit", "quoted-printable", "base64"];
        return field::word(other.value).is_some_and(|word| known.contains(&word.as_str()));
    }
    if !one.is("content-type") || !other.is("content-type") {
        return false;
    }
    let (Some((kind, params)), Some((new_kind, new_params))) =
        (field::media_type(one.value), field::media_type(other.value))
    else {
        return false;
    };
    let is_charset = |param: &&(String, Vec<u8>)| param.0 == "charset";
    let charset = new_params.iter().find(is_charset);
    kind == new_kind
        && charset.is_some_and(|(_, value)| value.eq_ignore_ascii_case(b"utf-8"))
        && params
            .iter()
            .filter(|param| !is_charset(param))
            .eq(new_params.iter().filter(|param| !is_charset(param)))
}

/// Whether a subject is the old one with the marking, and nothing else.
fn is_marked(one: &Field<'_>, other: &Field<'_>, edits: &[Edit]) -> bool {
    let marks = edits.iter().filter(|edit| edit.kind == EditKind::Mark);
    let said: Vec<&str> = marks.filter_map(|edit| edit.says.as_deref()).collect();
    // Octet by octet: what stands there need not be UTF-8.
    let as_chars = |octets: &[u8]| -> String { octets.iter().copied().map(char::from).collect() };
    let (old, new) = (as_chars(one.value), as_chars(other.value));
    said.iter().any(|said| text::is_with(&old, &new, &[said]))
}

/// What the gateway itself writes onto a message.
const TRACE: &[&str] = &[
    "received",
    "authentication-results",
    "x-spam-*",
    "date",
    "message-id",
    "dkim-signature",
    "arc-*",
];
/// What is taken out because it is forged, or was for the gateway alone.
const REMOVED: &[&str] = &[
    "authentication-results",
    "x-spam-*",
    "x-postern-idempotency-key",
];
