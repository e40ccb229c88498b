//! Putting a footer or a banner into a message, or taking words out, without touching anything else.
//!
//! What comes out is a list of [`Edit`]s: splices in the leaves that a reading program shows as the
//! body, in the charset and transfer encoding that each of them has. Where that cannot be done so that
//! every reader sees the same message as before and the footer once, nothing is done, and
//! [`NotEdited`] says why. Nothing is parsed, rebuilt and written again.

mod banner;
mod base64;
mod body;
mod change;
mod encode;
mod fields;
mod html;
mod leaf;
mod notice_part;
mod presence;
mod quoted;

pub use notice_part::plan_notice_part;

use super::edit::Edit;
use super::message::Message;
use super::mime::{Part, Structure};

pub use banner::{Banner, body_leaves, plan_banner};
pub use change::TextChange;
pub use leaf::Leaf;

/// What is to be added, for a legal entity.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Footer<'f> {
    /// What comes before the text: a signature. It brings its own separator too, and a footer is not known by it.
    pub signature_text: &'f str,
    /// What comes before the HTML.
    pub signature_html: &'f str,
    /// For leaves of plain text; brings its own separator. Lines end in LF or CRLF.
    pub text: &'f str,
    /// For leaves of HTML: a piece of HTML that may stand in a `body`.
    pub html: &'f str,
    /// The id of the entity, for the record.
    pub entity: &'f str,
}

/// Why a message was left as it is. The order is that in which the reasons are looked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum NotEdited {
    /// The footer has no letter and no digit.
    #[error("the footer is empty")]
    EmptyFooter,
    /// A machine wrote it in answer to a message (RFC 3834).
    #[error("it is an automatic reply")]
    AutomaticReply,
    /// A delivery status or disposition notification (RFC 6522).
    #[error("it is a report")]
    Report,
    /// Signed by S/MIME or PGP.
    #[error("it is signed by S/MIME or PGP")]
    Signed,
    /// Encrypted by S/MIME or PGP.
    #[error("it is encrypted by S/MIME or PGP")]
    Encrypted,
    /// A meeting request or an answer to one (RFC 6047).
    #[error("it is an invitation")]
    Invitation,
    /// Two readers may see two different messages in it.
    #[error("its structure is ambiguous")]
    Ambiguous,
    /// Nothing in it is shown as plain text or HTML.
    #[error("it has no text to add to")]
    NoTextLeaf,
    /// Its text is not what its header fields say.
    #[error("its text cannot be decoded without doubt")]
    Undecodable,
    /// The whole footer stands in it already, perhaps in a quoted reply.
    #[error("the footer is there already")]
    AlreadyThere,
    /// A line would come out longer than mail may have.
    #[error("a line would grow too long")]
    LongLine,
}

impl NotEdited {
    /// The word for it in JSON, in the audit trail and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::EmptyFooter => "empty-footer",
            Self::AutomaticReply => "automatic-reply",
            Self::Report => "report",
            Self::Signed => "signed",
            Self::Encrypted => "encrypted",
            Self::Invitation => "invitation",
            Self::Ambiguous => "ambiguous-structure",
            Self::NoTextLeaf => "no-text",
            Self::Undecodable => "undecodable",
            Self::AlreadyThere => "already-there",
            Self::LongLine => "long-line",
        }
    }
}

/// Returns the splices that put `footer` into every leaf of the body that lacks it.
///
/// `structure` is that of `message`. All leaves of the body get it or none does, but for those that
/// have it already.
pub fn plan_footer(
    message: &Message,
    structure: &Structure,
    footer: &Footer<'_>,
) -> Result<Vec<Edit>, NotEdited> {
    let presence = presence::Presence::of(footer).ok_or(NotEdited::EmptyFooter)?;
    body::check_may_be_edited(message, structure)?;
    let leaves = body::leaves(message, structure)?;
    if leaves.is_empty() {
        return Err(NotEdited::NoTextLeaf);
    }
    let mut edits = Vec::new();
    for part in leaves {
        let leaf = Leaf::read(message, part)?;
        if !presence.is_in(&leaf) {
            edits.extend(leaf.with_footer(footer)?);
        }
    }
    if edits.is_empty() {
        return Err(NotEdited::AlreadyThere);
    }
    Ok(edits)
}

/// Returns the leaves whose words may be changed: all those of plain text and HTML that some program shows as
/// the message. Errs if nothing in it may be, as for [`plan_footer`]; but automatic replies may.
pub fn changeable<'s>(
    message: &Message,
    structure: &'s Structure,
) -> Result<Vec<&'s Part>, NotEdited> {
    body::check_may_be_spliced(message, structure)?;
    Ok(body::shown(structure))
}

#[cfg(test)]
mod tests;
