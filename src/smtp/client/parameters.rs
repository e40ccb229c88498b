//! What MAIL and RCPT carry, and what the next hop cannot be asked for.
//!
//! A parameter is sent only where its extension is offered. Where the message cannot do without, it
//! is refused and never changed to fit: nothing is re-encoded on the way.

use std::fmt::Write as _;

use crate::mail::{
    BodyType, EnhancedStatusCode, Envelope, Message, Orcpt, Recipient, ReversePath, report,
};
use crate::smtp::data::LineEnds;
use crate::smtp::extension::Extensions;

use super::transaction::{Ending, Link};

/// What a message needs of the next hop, found by one look at its octets.
pub(super) struct Needs {
    eight_bit: bool,
    /// Whether sender or header cannot be sent without SMTPUTF8.
    utf8: bool,
    octets: u64,
}

impl Needs {
    pub(super) fn of(envelope: &Envelope, message: &Message) -> Self {
        let eight_bit = !message.octets().is_ascii();
        let utf8_header = eight_bit && envelope.smtputf8 && !message.header_octets().is_ascii();
        let utf8_sender =
            matches!(&envelope.reverse_path, ReversePath::Mailbox(m) if !m.is_ascii());
        Self {
            eight_bit,
            utf8: utf8_header || utf8_sender,
            octets: u64::try_from(message.len()).unwrap_or(u64::MAX),
        }
    }

    /// Returns why this next hop cannot have the message for anyone.
    pub(super) fn refusal(
        &self,
        envelope: &Envelope,
        message: &Message,
        link: &Link<'_>,
    ) -> Option<Ending> {
        let extensions = link.extensions;
        let too_big = extensions
            .size
            .is_some_and(|limit| limit > 0 && self.octets > limit);
        // RFC 8689 §4.2.1.
        let is_kept_to = !envelope.require_tls || extensions.require_tls || link.local;
        if !is_kept_to && !may_go_to_anybody(envelope, message) {
            Some(refused(7, 30, NOT_KEPT_TO))
        } else if self.utf8 && !extensions.smtputf8 {
            Some(no_utf8())
        } else if self.eight_bit && !extensions.eight_bit_mime {
            // RFC 6152 §3: convert or return. Conversion would change what somebody signed.
            Some(refused(6, 3, "the next hop takes no 8-bit messages"))
        } else if too_big {
            Some(refused(
                3,
                4,
                "the message is larger than the next hop takes",
            ))
        } else if has_bare_line_ends(message) {
            // RFC 5321 §2.3.8: on the way it could be taken for the end of the message.
            Some(refused(6, 11, "the message has a bare CR or LF"))
        } else {
            None
        }
    }

    /// Returns the command line of MAIL.
    pub(super) fn mail(&self, envelope: &Envelope, extensions: &Extensions) -> String {
        let mut line = format!("MAIL FROM:<{}>", envelope.reverse_path);
        // Writing to a String does not fail.
        if extensions.size.is_some() {
            let _ = write!(line, " SIZE={}", self.octets);
        }
        let eight_bit = self.eight_bit || envelope.body == BodyType::EightBitMime;
        if eight_bit && extensions.eight_bit_mime {
            line.push_str(" BODY=8BITMIME");
        }
        if self.sends_utf8(envelope, extensions) {
            line.push_str(" SMTPUTF8");
        }
        if envelope.require_tls && extensions.require_tls {
            line.push_str(" REQUIRETLS");
        }
        if let Some(priority) = envelope.mt_priority.filter(|_| extensions.mt_priority) {
            let _ = write!(line, " MT-PRIORITY={priority}");
        }
        if extensions.dsn {
            if let Some(ret) = envelope.ret {
                let _ = write!(line, " RET={ret}");
            }
            if let Some(env_id) = &envelope.env_id {
                let _ = write!(line, " ENVID={env_id}");
            }
        }
        line.push_str("\r\n");
        line
    }

    /// Returns the command line of RCPT, or why this recipient cannot be sent to.
    pub(super) fn rcpt(
        &self,
        recipient: &Recipient,
        envelope: &Envelope,
        extensions: &Extensions,
    ) -> Result<String, Ending> {
        let mut line = format!("RCPT TO:<{}>", recipient.forward_path);
        if !line.is_ascii() && !extensions.smtputf8 {
            return Err(no_utf8());
        }
        if extensions.dsn {
            if let Some(notify) = recipient.notify {
                let _ = write!(line, " NOTIFY={notify}");
            }
            if let Some(orcpt) = &recipient.orcpt {
                let utf8 = self.sends_utf8(envelope, extensions);
                let _ = write!(line, " ORCPT={}", orcpt_value(orcpt, utf8));
            }
        }
        line.push_str("\r\n");
        Ok(line)
    }

    fn sends_utf8(&self, envelope: &Envelope, extensions: &Extensions) -> bool {
        let recipients = envelope.recipients.iter();
        let utf8_recipient = || {
            recipients
                .filter_map(|recipient| recipient.forward_path.mailbox())
                .any(|mailbox| !mailbox.is_ascii())
        };
        extensions.smtputf8 && (envelope.smtputf8 || self.utf8 || utf8_recipient())
    }
}

/// Whether a message that requires TLS is a report that could not be delivered, from elsewhere (ours repeat nothing that
/// would need it): one that is thrown away tells nobody of anything, so it goes, by TLS, also to those who have not heard
/// of the extension (RFC 8689 §5). Other mail under the null path is no such report: an answer of a program, say.
pub fn may_go_to_anybody(envelope: &Envelope, message: &Message) -> bool {
    envelope.reverse_path == ReversePath::Null && report::is_one(message)
}

/// Why a message that requires TLS does not go to a next hop.
pub const NOT_KEPT_TO: &str = "the next hop does not support REQUIRETLS";

/// An address that is not ASCII is written in ASCII where SMTPUTF8 is not spoken: RFC 6533 §3,
/// utf-8-addr-xtext.
fn orcpt_value(orcpt: &Orcpt, utf8: bool) -> String {
    if utf8 || orcpt.address().is_ascii() {
        return orcpt.to_string();
    }
    let mut value = format!("{};", orcpt.addr_type());
    for c in orcpt.address().chars() {
        match c {
            '+' | '=' | '\\' => drop(write!(value, "\\x{{{:02X}}}", u32::from(c))),
            '!'..='~' => value.push(c),
            c => drop(write!(value, "\\x{{{:02X}}}", u32::from(c))),
        }
    }
    value
}

fn has_bare_line_ends(message: &Message) -> bool {
    let mut line_ends = LineEnds::default();
    line_ends.read(message.octets());
    line_ends.finish().is_some()
}

fn no_utf8() -> Ending {
    refused(
        6,
        7,
        "the next hop takes no UTF-8 addresses or header fields",
    )
}

fn refused(subject: u16, detail: u16, because: &str) -> Ending {
    Ending::Unsaid {
        status: EnhancedStatusCode::permanent(subject, detail),
        because: because.to_owned(),
    }
}
