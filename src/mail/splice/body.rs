//! Which leaves are the body, and whether the message may be edited at all.

use memchr::memmem;

use super::NotEdited;
use crate::mail::header::Header;
use crate::mail::message::Message;
use crate::mail::mime::{Oddity, Part, Structure};

/// Errs with the reason if the message must be left as it is, whatever its body holds.
pub(super) fn check_may_be_edited(
    message: &Message,
    structure: &Structure,
) -> Result<(), NotEdited> {
    if is_automatic_reply(&structure.root().fields(message.octets())) {
        return Err(NotEdited::AutomaticReply);
    }
    check_may_be_spliced(message, structure)
}

/// As [`check_may_be_edited`], but for what an automatic reply may have as well as any other: anybody can
/// write that it is one.
pub(super) fn check_may_be_spliced(
    message: &Message,
    structure: &Structure,
) -> Result<(), NotEdited> {
    let octets = message.octets();
    let fields = structure.root().fields(octets);
    for part in structure.own_parts() {
        check_kind(part)?;
    }
    let calendar_message = |field: &str| field.to_ascii_lowercase().contains("calendarmessage");
    if fields
        .all("Content-Class")
        .any(|field| calendar_message(&field.value()))
    {
        return Err(NotEdited::Invitation);
    }
    if structure.parts.iter().any(is_ambiguous)
        || structure
            .own_parts()
            .any(|part| has_boundary_within_line(octets, part))
    {
        return Err(NotEdited::Ambiguous);
    }
    Ok(())
}

/// Whether a program wrote it in answer to a message (RFC 3834 §5). What a program wrote of its own accord says
/// `auto-generated`: a reminder is business mail like any other. `Precedence` has stood for answers as well since
/// before there was a standard; with a `List-` field, or with that word, it means a mailing. Exchange says
/// `auto-generated` of answers too: they name the message that they answer, and ask for no
/// answers themselves (`X-Auto-Response-Suppress`).
fn is_automatic_reply(fields: &Header<'_>) -> bool {
    let words = |name| {
        fields.all(name).map(|field| {
            let value = field.value().to_ascii_lowercase();
            value
                .split([';', '('])
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        })
    };
    let of_its_own_accord = words("Auto-Submitted").any(|word| word == "auto-generated");
    let of_exchange = of_its_own_accord
        && fields.first("X-Auto-Response-Suppress").is_some()
        && fields.first("In-Reply-To").is_some();
    let listed = fields.first("List-Id").is_some()
        || fields.first("List-Unsubscribe").is_some()
        || of_its_own_accord;
    of_exchange
        || words("Auto-Submitted").any(|word| !matches!(word.as_str(), "no" | "auto-generated"))
        || words("Precedence").any(|word| match word.as_str() {
            "auto_reply" | "auto-reply" => true,
            "bulk" | "junk" => !listed,
            _ => false,
        })
        || ["X-Autoreply", "X-Autorespond"]
            .iter()
            .any(|name| fields.first(name).is_some())
}

/// Errs if a part of this kind makes the message one that is left alone.
fn check_kind(part: &Part) -> Result<(), NotEdited> {
    let kind = (
        part.content_type.kind.as_str(),
        part.content_type.subtype.as_str(),
    );
    match kind {
        ("multipart", "report")
        | ("message", "delivery-status" | "disposition-notification" | "feedback-report") => {
            Err(NotEdited::Report)
        }
        ("multipart", "signed") | ("application", "pgp-signature") => Err(NotEdited::Signed),
        ("multipart", "encrypted") | ("application", "pgp-encrypted" | "pgp") => {
            Err(NotEdited::Encrypted)
        }
        ("application", "pkcs7-signature" | "x-pkcs7-signature") => Err(NotEdited::Signed),
        ("application", "pkcs7-mime" | "x-pkcs7-mime") => {
            match part.content_type.params.get("smime-type") {
                Some(kind) if kind.eq_ignore_ascii_case("signed-data") => Err(NotEdited::Signed),
                _ => Err(NotEdited::Encrypted),
            }
        }
        ("text", "calendar") if is_invitation(part) => Err(NotEdited::Invitation),
        ("application", _) => check_name(part),
        _ => Ok(()),
    }
}

/// A calendar that is shown, or that asks for something. One that is merely attached is a file.
fn is_invitation(part: &Part) -> bool {
    part.content_type.params.get("method").is_some() || !part.is_attachment()
}

/// S/MIME that went through a gateway as a mere file (RFC 8551 §3.2.1).
fn check_name(part: &Part) -> Result<(), NotEdited> {
    let name = part.filename().unwrap_or_default().to_ascii_lowercase();
    if name.ends_with(".p7m") {
        return Err(NotEdited::Encrypted);
    }
    if name.ends_with(".p7s") {
        return Err(NotEdited::Signed);
    }
    Ok(())
}

/// Whether readers may part ways at this part. What is odd in an attached message stays in there,
/// unless its boundaries are mixed up with those around it.
fn is_ambiguous(part: &Part) -> bool {
    match part.within_message {
        None => !part.oddities.is_empty(),
        Some(_) => part.is_odd(Oddity::ReusedBoundary) || part.is_odd(Oddity::PrefixBoundary),
    }
}

/// Whether the boundary of a multipart stands elsewhere than at the start of a line. Some readers take
/// that for a boundary too.
fn has_boundary_within_line(octets: &[u8], part: &Part) -> bool {
    if !part.has_children || !part.is_multipart() {
        return false;
    }
    let boundary = part.content_type.params.get("boundary").unwrap_or_default();
    let line = format!("--{}", boundary.trim_end());
    memmem::find_iter(part.raw(octets), &line)
        .map(|at| part.body.start + at)
        .any(|at| octets[at - 1] != b'\n')
}

/// Returns the leaves that reading programs show as the body: of a mixture the first text, of
/// alternatives each one, of related parts the root. Errs if an alternative has text and none of it is its body: who
/// shows that one might show the text without the footer.
pub(super) fn leaves<'s>(
    message: &Message,
    structure: &'s Structure,
) -> Result<Vec<&'s Part>, NotEdited> {
    let mut found = Vec::new();
    collect(message, structure, 0, &mut found)?;
    Ok(found)
}

/// Returns the leaves of plain text and HTML that some reading program shows without being asked: those of
/// [`leaves`], and others that stand in the message and are not offered as files.
pub(super) fn shown(structure: &Structure) -> Vec<&Part> {
    let is_shown = |part: &&Part| part.is_leaf() && is_text(part) && !part.is_attachment();
    structure.own_parts().filter(is_shown).collect()
}

/// The depth of recursion is that of the parts, which is capped.
fn collect<'s>(
    message: &Message,
    structure: &'s Structure,
    index: usize,
    found: &mut Vec<&'s Part>,
) -> Result<(), NotEdited> {
    let part = &structure.parts[index];
    if part.is_leaf() {
        if is_text(part) && !is_file(structure, part) {
            found.push(part);
        }
        return Ok(());
    }
    if !part.is_multipart() || part.is_attachment() && part.parent.is_some() {
        return Ok(());
    }
    match part.content_type.subtype.as_str() {
        "alternative" => {
            for (child, _) in structure.children(index) {
                let before = found.len();
                collect(message, structure, child, found)?;
                if found.len() == before && has_text(structure, child) {
                    return Err(NotEdited::Ambiguous);
                }
            }
        }
        "related" => {
            if let Some(root) = root_of_related(message, structure, index) {
                collect(message, structure, root, found)?;
            }
        }
        "digest" | "appledouble" => {}
        _ => {
            let before = found.len();
            for (child, _) in structure.children(index) {
                collect(message, structure, child, found)?;
                if found.len() > before {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Whether a part is text or has some below it, files and attached messages aside.
fn has_text(structure: &Structure, index: usize) -> bool {
    let part = &structure.parts[index];
    if part.is_leaf() {
        return is_text(part) && !part.is_attachment();
    }
    let mut children = structure.children(index);
    part.is_multipart() && children.any(|(child, _)| has_text(structure, child))
}

fn is_text(part: &Part) -> bool {
    part.is("text", "plain") || part.is("text", "html")
}

/// Whether a text is offered as a file: it says so, or it has a name and stands in a mixture.
fn is_file(structure: &Structure, part: &Part) -> bool {
    if part.is_attachment() {
        return true;
    }
    let parent = part.parent.map(|parent| &structure.parts[parent]);
    let in_mixture = parent.is_some_and(|parent| {
        !parent.is("multipart", "alternative") && !parent.is("multipart", "related")
    });
    in_mixture && part.filename().is_some()
}

/// The part that `start` names, else the first (RFC 2387 §3.2).
fn root_of_related(message: &Message, structure: &Structure, index: usize) -> Option<usize> {
    let bare = |id: &str| {
        id.trim()
            .trim_start_matches('<')
            .trim_end_matches('>')
            .to_owned()
    };
    let start = structure.parts[index]
        .content_type
        .params
        .get("start")
        .map(bare);
    let is_start = |part: &Part| {
        let fields = part.fields(message.octets());
        let id = fields.first("Content-ID").map(|field| bare(&field.value()));
        id.is_some() && id == start
    };
    let mut children = structure.children(index);
    let named = start
        .is_some()
        .then(|| structure.children(index).find(|(_, part)| is_start(part)));
    named
        .flatten()
        .or_else(|| children.next())
        .map(|(child, _)| child)
}
