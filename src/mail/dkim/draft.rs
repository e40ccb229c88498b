//! A signature of our own, before and after the key has spoken: the octets to sign and the finished field.
//!
//! Fields are signed relaxed, the body simple (`design.md` §3). The same shape serves DKIM and the message
//! signature of ARC (RFC 8617 §4.1.2), which has `i=` in place of `v=`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::canonical::{Form, relaxed_field};
use super::signature::signed_fields;
use crate::mail::Message;

/// Which field it is going to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FieldKind {
    /// `DKIM-Signature`.
    Dkim,
    /// `ARC-Message-Signature` of this instance.
    Arc(u32),
}

/// A signature that lacks only what the key says.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// Which field.
    pub kind: FieldKind,
    /// `rsa-sha256` or `ed25519-sha256`.
    pub algorithm: &'a str,
    /// Who signs.
    pub domain: &'a str,
    /// Which of its keys.
    pub selector: &'a str,
    /// When, in seconds since 1970.
    pub seconds: i64,
    /// Names of the fields it covers, one for each instance.
    pub signed: &'a [String],
    /// Of the body, simple form.
    pub body_hash: [u8; 32],
}

impl Draft<'_> {
    /// The octets that the key signs (RFC 6376 §3.7): the fields, then this one without its signature.
    pub fn to_sign(&self, message: &Message) -> Vec<u8> {
        let octets = message.header_octets();
        let mut out = signed_fields(&message.header(), octets, self.signed, Form::Relaxed);
        relaxed_field(self.name(), self.value().as_bytes(), &mut out);
        out
    }

    /// The finished field, folded, with its line end.
    pub fn field(&self, signature: &[u8]) -> String {
        let mut out = format!("{}:{}", self.name(), self.value());
        fold_base64(&mut out, signature);
        out.push_str("\r\n");
        out
    }

    fn name(&self) -> &'static str {
        match self.kind {
            FieldKind::Dkim => "DKIM-Signature",
            FieldKind::Arc(_) => "ARC-Message-Signature",
        }
    }

    /// Up to and with `b=`.
    fn value(&self) -> String {
        let first = match self.kind {
            FieldKind::Dkim => "v=1".to_owned(),
            FieldKind::Arc(instance) => format!("i={instance}"),
        };
        let mut out = format!(
            " {first}; a={}; c=relaxed/simple;\r\n\td={};\r\n\ts={}; t={};\r\n\th=",
            self.algorithm, self.domain, self.selector, self.seconds
        );
        let mut width = 10;
        for (at, name) in self.signed.iter().enumerate() {
            if at > 0 {
                out.push(':');
            }
            if width + name.len() > LINE {
                out.push_str("\r\n\t ");
                width = 9;
            }
            out.push_str(name);
            width += name.len() + 1;
        }
        let hash = BASE64_STANDARD.encode(self.body_hash);
        out.push_str(&format!(";\r\n\tbh={hash};\r\n\tb="));
        out
    }
}

/// Appends base64 on lines of their own: white space within it counts for nothing (§3.5).
pub fn fold_base64(out: &mut String, octets: &[u8]) {
    let text = BASE64_STANDARD.encode(octets);
    for (at, octet) in text.chars().enumerate() {
        if at > 0 && at % BASE64_LINE == 0 {
            out.push_str("\r\n\t ");
        }
        out.push(octet);
    }
}

/// Lines of the field stay under this (RFC 5322 §2.1.1 asks for 78).
const LINE: usize = 76;
/// Base64 digits in a line.
const BASE64_LINE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_folded_and_says_what_it_covers() {
        let names: Vec<String> = ["From", "From", "Subject"].map(str::to_owned).into();
        let draft = Draft {
            kind: FieldKind::Dkim,
            algorithm: "rsa-sha256",
            domain: "ward.example",
            selector: "s1",
            seconds: 1_790_000_000,
            signed: &names,
            body_hash: [0; 32],
        };
        let message = Message::new(&b"Subject: x \r\nFrom: a@ward.example\r\n\r\nhello"[..]);

        let (to_sign, field) = (draft.to_sign(&message), draft.field(&[7; 100]));

        assert_eq!(
            String::from_utf8(to_sign).unwrap(),
            "from:a@ward.example\r\nsubject:x\r\ndkim-signature:v=1; a=rsa-sha256; c=relaxed/simple; d=ward.example; s=s1; t=1790000000; h=From:From:Subject; bh=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; b="
        );
        assert!(field.starts_with(
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple;\r\n\td=ward.example;\r\n\ts=s1; t=1790000000;\r\n\th=From:From:Subject;\r\n\tbh=AAAA"
        ));
        assert!(field.ends_with("==\r\n") && field.lines().all(|line| line.len() <= 78));
    }

    #[test]
    fn long_lists_of_names_are_folded() {
        let names = vec!["Content-Transfer-Encoding".to_owned(); 8];
        let draft = Draft {
            kind: FieldKind::Arc(3),
            algorithm: "ed25519-sha256",
            domain: "ward.example",
            selector: "s1",
            seconds: 0,
            signed: &names,
            body_hash: [0; 32],
        };
        let field = draft.field(&[]);
        assert!(field.starts_with("ARC-Message-Signature: i=3; a=ed25519-sha256;"));
        assert!(field.lines().all(|line| line.len() <= 78), "{field}");
    }
}
