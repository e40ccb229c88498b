//! Which fields a signature covers (RFC 6376 §5.4.1, M3AAWG "DKIM deployment").
//!
//! Signed: what a reader sees or a program goes by. Signed once more than there are (over-signed): fields of which
//! a second one would show a reader something else than what was signed; nobody can add one, not even where there was
//! none. Those of `OVERSIGNED_IF_THERE` an honest relay may add where they are missing (RFC 6409 §8: `Date`,
//! `Message-ID`; Exchange writes `MIME-Version`), so an absent one is left open. Trace fields, `Return-Path`,
//! `Authentication-Results` and `Bcc` change on the way and are never signed (§5.4.1).

use crate::config::{Located, Section};
use crate::mail::Header;

/// What a signature covers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Coverage {
    /// Over-signed, there or not.
    oversigned: Vec<String>,
    /// Over-signed where they are.
    oversigned_if_there: Vec<String>,
    /// Signed where they are.
    signed: Vec<String>,
}

impl Default for Coverage {
    fn default() -> Self {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            oversigned: own(OVERSIGNED),
            oversigned_if_there: own(OVERSIGNED_IF_THERE),
            signed: own(SIGNED),
        }
    }
}

impl Coverage {
    /// Takes `also-sign` out of `[signing]`: fields signed where they are, besides the others.
    pub(super) fn read(section: &Section<'_>) -> Self {
        let mut coverage = Self::default();
        for name in section.strings("also-sign").unwrap_or_default() {
            check(section, &name);
            let known = coverage
                .all()
                .any(|known| known.eq_ignore_ascii_case(&name));
            if !known {
                coverage.signed.push(name.into_inner());
            }
        }
        coverage
    }

    /// The names for `h=`: one for each instance in the header, one more for those that are over-signed.
    pub fn names(&self, header: &Header<'_>) -> Vec<String> {
        let mut names = Vec::new();
        for name in self.all() {
            let there = header.all(name).count().min(INSTANCES_MAX);
            let more = if self.oversigned.contains(name) {
                1
            } else {
                usize::from(there > 0 && self.oversigned_if_there.contains(name))
            };
            names.extend(std::iter::repeat_n(name.clone(), there + more));
        }
        names
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.oversigned
            .iter()
            .chain(&self.oversigned_if_there)
            .chain(&self.signed)
    }
}

fn check(section: &Section<'_>, name: &Located<String>) {
    let shaped = !name.is_empty()
        && name
            .bytes()
            .all(|b| (b'!'..=b'~').contains(&b) && b != b':' && b != b';');
    let changes = UNSIGNABLE
        .iter()
        .any(|other| other.eq_ignore_ascii_case(name));
    if !shaped {
        section.report(
            "bad-value",
            format!("`{}` is no name of a field", **name),
            name,
            "names alone, without the colon".to_owned(),
        );
    } else if changes {
        let help = "a signature over it would break at the next hop (RFC 6376 §5.4.1): take it out";
        section.report(
            "not-to-be-signed",
            format!("`{}` changes on the way", **name),
            name,
            help.to_owned(),
        );
    }
}

/// What the reader sees, and where the answer goes: a second one would deceive.
const OVERSIGNED: &[&str] = &["From", "To", "Cc", "Subject", "Reply-To"];
/// What a reading program goes by.
const OVERSIGNED_IF_THERE: &[&str] = &[
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];
/// The rest of RFC 6376 §5.4.1, and what marks a message as sensitive or as written by a program.
const SIGNED: &[&str] = &[
    "Sender",
    "Sensitivity",
    "Auto-Submitted",
    "Content-ID",
    "Content-Description",
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Message-ID",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
];
/// What is changed or added on the way.
const UNSIGNABLE: &[&str] = &[
    "Return-Path",
    "Received",
    "Authentication-Results",
    "Bcc",
    "DKIM-Signature",
    "ARC-Seal",
    "ARC-Message-Signature",
    "ARC-Authentication-Results",
];
/// More of one name than this are left to whoever counts them; no message needs them.
const INSTANCES_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Diagnostics, read_toml};
    use crate::policy::testing::file;

    fn names(coverage: &Coverage, header: &str) -> String {
        coverage.names(&Header::parse(header.as_bytes())).join(":")
    }

    #[test]
    fn what_a_reader_sees_is_signed_once_more_than_it_is_there() {
        let coverage = Coverage::default();
        for (header, expected) in [
            ("X: y\r\n", "From:To:Cc:Subject:Reply-To"),
            (
                "From: a@b.example\r\nTO: c@d.example\r\nTo: e@f.example\r\nDate: x\r\n",
                "From:From:To:To:To:Cc:Subject:Reply-To:Date:Date",
            ),
            (
                "Received: x\r\nReturn-Path: x\r\nBcc: x\r\nDKIM-Signature: x\r\nSender: x\r\nList-Id: x\r\n",
                "From:To:Cc:Subject:Reply-To:Sender:List-Id",
            ),
        ] {
            assert_eq!(names(&coverage, header), expected);
        }
    }

    #[test]
    fn further_fields_may_be_named_but_not_those_that_change() {
        let read = |list: &str| {
            let diagnostics = Diagnostics::default();
            let source = file("postern.toml", &format!("also-sign = [{list}]"));
            let coverage = read_toml(&source, &diagnostics, Coverage::read);
            let ids: Vec<_> = diagnostics.into_vec().iter().map(|one| one.id).collect();
            (coverage, ids)
        };
        let (coverage, said) = read("\"X-Trust\", \"from\"");
        assert!(said.is_empty());
        assert_eq!(
            names(&coverage, "X-Trust: 1\r\n"),
            "From:To:Cc:Subject:Reply-To:X-Trust"
        );
        assert_eq!(read("\"received\"").1, ["not-to-be-signed"]);
        assert_eq!(read("\"X Y:\"").1, ["bad-value"]);
    }
}
