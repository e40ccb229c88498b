//! Signatures that are on a message already, and edits that would break them.
//!
//! Nobody's key is needed: a signature holds for as long as the canonical fields that it names and the
//! hash of the body stay what they were (RFC 6376 §6.1.3). One whose body hash is wrong from the start has nothing
//! to lose.

use std::collections::BTreeSet;

use super::{Foreign, Signing, author_domain};
use crate::mail::dkim::Signature;
use crate::mail::{Domain, Edit, EditKind, Message, edit};

/// Edits that are made, and what is to be said of those that are not, or that broke something.
#[derive(Debug, Default)]
pub struct Protected {
    /// Those that are made.
    pub edits: Vec<Edit>,
    /// Remarks for people, without content.
    pub notes: Vec<String>,
}

impl Signing {
    /// Keeps the edits that may be made to a message with signatures on it. What guards against forgery and the
    /// trace are always kept; `served` says which domains are our own.
    pub fn protect(
        &self,
        message: &Message,
        edits: Vec<Edit>,
        served: impl Fn(&Domain) -> bool,
    ) -> Protected {
        let held = holding(message);
        let optional = edits.iter().any(is_optional);
        if held.is_empty() || !optional {
            return Protected {
                edits,
                notes: Vec::new(),
            };
        }
        let own = author_domain(message)
            .is_some_and(|author| served(&author) || self.has_key_for(&author));
        let leave = match self.foreign {
            Foreign::Leave => true,
            Foreign::Edit => false,
            Foreign::ByAuthor => !own,
        };
        sort_out(message, edits, &held, leave)
    }
}

/// The signatures on a message whose body is still the one that was signed, the uppermost first.
fn holding(message: &Message) -> Vec<Signature> {
    let header = message.header();
    let fields = header.all("DKIM-Signature").take(SIGNATURES_MAX);
    fields
        .filter_map(|field| Signature::parse(&field.value()))
        .filter(|signature| signature.covers_body(message.body_octets()))
        .collect()
}

/// Takes out, or notes, each group of edits that breaks what holds without it. The edits of a footer stand or fall
/// together: a footer in one alternative and not in the other is none.
fn sort_out(message: &Message, edits: Vec<Edit>, held: &[Signature], leave: bool) -> Protected {
    let needed: Vec<Edit> = edits
        .iter()
        .filter(|one| !is_optional(one))
        .cloned()
        .collect();
    let held: Vec<&Signature> = holding_after(message, &needed, held.iter());
    let mut breaking: BTreeSet<usize> = BTreeSet::new();
    let mut notes = Vec::new();
    for group in groups(&edits) {
        let mut with = needed.clone();
        with.extend(group.iter().map(|at| edits[*at].clone()));
        let still = holding_after(message, &with, held.iter().copied());
        let Some(broken) = held.iter().find(|one| !still.contains(one)) else {
            continue;
        };
        let (kind, domain) = (edits[group[0]].kind.name(), printable(&broken.domain));
        let note = if leave {
            format!("{kind}: not added, it would break the signature of {domain}")
        } else {
            format!("{kind}: it breaks the signature of {domain}")
        };
        if !notes.contains(&note) {
            notes.push(note);
        }
        breaking.extend(group);
    }
    let kept = edits.into_iter().enumerate();
    let kept = kept.filter(|(at, _)| !leave || !breaking.contains(at));
    Protected {
        edits: kept.map(|(_, edit)| edit).collect(),
        notes,
    }
}

/// Those of the signatures that hold after these edits as they did before. Edits that contradict each other break
/// nothing: they are not made at all.
fn holding_after<'s>(
    message: &Message,
    edits: &[Edit],
    held: impl Iterator<Item = &'s Signature>,
) -> Vec<&'s Signature> {
    let Ok(edited) = edit::apply(message, edits) else {
        return held.collect();
    };
    let body = message.body_range();
    let in_body = edits
        .iter()
        .any(|one| one.at.end > body.start || one.at.start >= body.start);
    held.filter(|signature| {
        signature.seen(message) == signature.seen(&edited)
            && (!in_body || signature.covers_body(edited.body_octets()))
    })
    .collect()
}

/// The footers of one kind of recipient together, every other edit by itself.
fn groups(edits: &[Edit]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (at, one) in edits.iter().enumerate().filter(|(_, one)| is_optional(one)) {
        let with = |group: &&mut Vec<usize>| {
            let first = &edits[group[0]];
            first.kind == EditKind::Footer && first.audience == one.audience
        };
        let is_footer = one.kind == EditKind::Footer;
        match groups.iter_mut().find(with).filter(|_| is_footer) {
            Some(group) => group.push(at),
            None => groups.push(vec![at]),
        }
    }
    groups
}

/// Whether a message is the same without it to everybody whom it protects: fields of the trace, the removal of forged
/// ones, and what guards readers against links are not asked about. A signature from outside was verified on the way in.
fn is_optional(edit: &Edit) -> bool {
    !matches!(
        edit.kind,
        EditKind::Trace | EditKind::Removal | EditKind::Links | EditKind::Banner
    )
}

/// A domain that a stranger wrote.
fn printable(domain: &str) -> String {
    Domain::parse(domain).map_or_else(|_| "somebody".to_owned(), |domain| domain.to_string())
}

/// Signatures looked at: as many as are verified of strangers.
const SIGNATURES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::dkim::{Form, canonical::body_hash};
    use crate::mail::edit::Audience;
    use base64::prelude::{BASE64_STANDARD, Engine};

    /// A message with a signature of `lab.example` over these fields and this much of the body.
    fn signed(from: &str, fields: &str, form: &str, body: &str, length: Option<u64>) -> Message {
        let kind = if form.ends_with("relaxed") {
            Form::Relaxed
        } else {
            Form::Simple
        };
        let hash = body_hash(body.as_bytes(), kind, length).unwrap();
        let hash = BASE64_STANDARD.encode(hash);
        let length = length.map_or_else(String::new, |length| format!(" l={length};"));
        Message::new(format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c={form}; d=lab.example; s=x;{length} h={fields};\r\n bh={hash}; b=x\r\n\
             From: {from}\r\nSubject: results\r\n\r\n{body}"
        ))
    }

    fn at_end(message: &Message, with: &str) -> Edit {
        Edit {
            kind: EditKind::Footer,
            part: Some("1".into()),
            entity: Some("ward".into()),
            audience: None,
            at: message.len()..message.len(),
            with: with.into(),
            says: None,
            takes: Vec::new(),
        }
    }

    fn subject(message: &Message) -> Edit {
        let at = memchr::memmem::find(message.octets(), b"results").unwrap();
        Edit {
            kind: EditKind::Mark,
            part: None,
            entity: None,
            audience: None,
            at: at..at,
            with: b"[X] ".to_vec(),
            says: None,
            takes: Vec::new(),
        }
    }

    fn kinds(protected: &Protected) -> Vec<&'static str> {
        protected
            .edits
            .iter()
            .map(|edit| edit.kind.name())
            .collect()
    }

    fn leaving() -> Signing {
        Signing {
            foreign: Foreign::Leave,
            ..Signing::default()
        }
    }

    #[test]
    fn only_what_breaks_a_signature_is_left_out() {
        let footer = |message: &Message| vec![at_end(message, "Ward Ltd\r\n")];
        let both = |message: &Message| vec![at_end(message, "Ward Ltd\r\n"), subject(message)];
        let field = |_: &Message| vec![Edit::prepend_fields(EditKind::Mark, "Sensitivity: x\r\n")];
        let space = |message: &Message| vec![at_end(message, "\r\n \r\n")];
        // Fields covered, form, length, the edits, and which of them are made.
        type Edits<'a> = &'a dyn Fn(&Message) -> Vec<Edit>;
        type Row<'a> = (&'a str, &'a str, Option<u64>, Edits<'a>, &'a [&'a str]);
        let plans: &[Row<'_>] = &[
            ("From", "simple/simple", None, &footer, &[]),
            ("From", "simple/simple", Some(7), &footer, &["footer"]),
            ("From", "relaxed/relaxed", None, &both, &["mark"]),
            (
                "From:Subject",
                "relaxed/relaxed",
                Some(7),
                &both,
                &["footer"],
            ),
            ("From:Subject", "relaxed/relaxed", None, &field, &["mark"]),
            ("From:Sensitivity", "relaxed/relaxed", None, &field, &[]),
            ("From", "relaxed/relaxed", None, &space, &["footer"]),
            ("From", "relaxed/simple", None, &space, &[]),
        ];
        for (fields, form, length, plan, kept) in plans {
            let message = signed("a@lab.example", fields, form, "hello\r\n", *length);
            let protected = leaving().protect(&message, plan(&message), |_| false);
            assert_eq!(kinds(&protected), *kept, "{fields} {form} {length:?}");
        }
    }

    #[test]
    fn what_guards_readers_against_links_is_done_whoever_signed() {
        let message = signed("a@lab.example", "From", "simple", "hello\r\n", None);
        let edits: Vec<Edit> = [EditKind::Links, EditKind::Banner]
            .map(|kind| Edit {
                kind,
                ..at_end(&message, "x")
            })
            .into();
        let protected = leaving().protect(&message, edits, |_| false);
        assert_eq!(kinds(&protected), ["links", "banner"]);
    }

    #[test]
    fn what_is_left_out_is_noted() {
        let message = signed("a@lab.example", "From", "simple", "hello\r\n", None);
        let edits = vec![at_end(&message, "Ward Ltd\r\n")];
        let left = leaving().protect(&message, edits.clone(), |_| true);
        assert_eq!(
            left.notes,
            ["footer: not added, it would break the signature of lab.example"]
        );
        let signing = Signing {
            foreign: Foreign::Edit,
            ..Signing::default()
        };
        let made = signing.protect(&message, edits, |_| true);
        assert_eq!(kinds(&made), ["footer"]);
        assert_eq!(
            made.notes,
            ["footer: it breaks the signature of lab.example"]
        );
    }

    #[test]
    fn footers_of_several_kinds_of_recipient_are_judged_apart() {
        let message = signed("a@lab.example", "From", "simple", "hello\r\n", None);
        // Each takes the place of the same octets: together they would contradict each other.
        let edits = [Audience::Nhs, Audience::Outside].map(|audience| Edit {
            at: message.len() - 7..message.len(),
            audience: Some(audience),
            ..at_end(&message, "hello\r\nWard Ltd\r\n")
        });
        let left = leaving().protect(&message, edits.into(), |_| true);
        assert!(left.edits.is_empty());
        assert_eq!(left.notes.len(), 1);
    }

    #[test]
    fn mail_of_our_own_domains_is_edited_and_that_of_others_is_left_unless_the_file_says_otherwise()
    {
        for (served, kept) in [(true, 1), (false, 0)] {
            let message = signed("a@ward.example", "From", "simple", "hello\r\n", None);
            let edits = vec![at_end(&message, "Ward Ltd\r\n")];
            let protected = Signing::default().protect(&message, edits, |_| served);
            assert_eq!(protected.edits.len(), kept);
        }
    }

    #[test]
    fn a_signature_that_is_broken_already_keeps_nothing_back() {
        let whole = signed("a@lab.example", "From", "simple", "hello\r\n", None);
        let altered = Message::new(
            whole
                .octets()
                .to_vec()
                .into_iter()
                .chain(*b"x")
                .collect::<Vec<u8>>(),
        );
        let edits = vec![at_end(&altered, "Ward Ltd\r\n")];
        let protected = leaving().protect(&altered, edits, |_| false);
        assert_eq!(protected.edits.len(), 1);
        assert!(protected.notes.is_empty());
    }

    #[test]
    fn trace_and_removals_are_made_whatever_they_break() {
        let message = signed(
            "a@lab.example",
            "From:Authentication-Results",
            "simple",
            "x\r\n",
            None,
        );
        let edits = vec![
            Edit::prepend_fields(EditKind::Trace, "Authentication-Results: gw; none\r\n"),
            at_end(&message, "Ward Ltd\r\n"),
        ];
        // The trace has broken it already, so nothing holds that the footer could break.
        let protected = leaving().protect(&message, edits, |_| false);
        assert_eq!(kinds(&protected), ["trace", "footer"]);
    }
}
