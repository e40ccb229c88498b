//! From a decision to the octets that leave: the fields of the trace and what the policy wants, spliced in,
//! proved (`mail::prove`), and signed.
//!
//! What cannot be proved is not done: the message goes on with the fields of the trace and without the
//! footer, waits, or takes the footer as a part of its own, as `unproved` of `organisations.toml` says. No
//! message is lost or refused over an edit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tracing::warn;

use crate::base::metrics;
use crate::mail::edit::{self, Audience, Edit, EditKind};
use crate::mail::mime;
use crate::mail::prove::{self, Proof, Unproved};
use crate::mail::splice::{Footer, plan_notice_part};
use crate::mail::{ForwardPath, MailTransaction, Message, Service, trace};
use crate::policy::finding::FooterFinding;
use crate::policy::organisations::IfUnproved;
use crate::policy::{Decision, Policy, RecipientDecision};

use super::Parts;
use super::fields::submission_edits;
use super::sign::sign;

/// A message as it goes into the queue, edits made.
#[derive(Clone)]
pub(super) struct Copy {
    /// Whose it is; empty if all get the same.
    audiences: Vec<Audience>,
    /// If it is a text message: the pseudonym of its one recipient.
    number: Option<ForwardPath>,
    /// Numbers, which get a copy of their own.
    except: Arc<[ForwardPath]>,
    /// Its octets.
    pub(super) message: Message,
}

impl Copy {
    /// The one copy of a message that is the same for everybody.
    pub(super) fn for_all(message: Message) -> Self {
        Self {
            audiences: Vec::new(),
            number: None,
            except: Arc::default(),
            message,
        }
    }

    /// A text message for a number, which is known by this pseudonym.
    pub(super) fn for_number(pseudonym: ForwardPath, message: Message) -> Self {
        Self {
            number: Some(pseudonym),
            ..Self::for_all(message)
        }
    }

    /// These copies and those for numbers, which get nothing else.
    pub(super) fn with_texts(mut copies: Vec<Self>, texts: Vec<Self>) -> Vec<Self> {
        let numbers: Arc<[ForwardPath]> =
            texts.iter().filter_map(|one| one.number.clone()).collect();
        for copy in &mut copies {
            copy.except = Arc::clone(&numbers);
        }
        copies.extend(texts);
        copies
    }

    /// Whether a recipient gets this one.
    pub(super) fn is_for(&self, recipient: &RecipientDecision) -> bool {
        let path = &recipient.recipient.forward_path;
        if self.number.is_some() {
            return self.number.as_ref() == Some(path);
        }
        if self.except.contains(path) {
            return false;
        }
        let audience = recipient.audience.as_ref();
        self.audiences.is_empty() || audience.is_some_and(|one| self.audiences.contains(one))
    }
}

/// Returns the message as it goes into the queue, one copy for each kind of recipient that has edits of its own;
/// `None` if even the fields of the trace contradict each other, or if it cannot be signed and must be. A decision
/// whose edits are not proved is changed to what was done; what there is to say of the signatures is added to its
/// notes.
pub(super) async fn finish(
    parts: &Parts,
    policy: &Policy,
    transaction: &MailTransaction,
    decision: &mut Decision,
) -> Option<Vec<Copy>> {
    let mut copies = unsigned(parts, policy, transaction, decision).await?;
    for copy in &mut copies {
        let bare = std::mem::replace(&mut copy.message, Message::new(Vec::new()));
        let (message, notes) = sign(parts, policy, decision, bare).await?;
        copy.message = message;
        let known = &mut decision.findings.notes;
        let new: Vec<String> = notes
            .into_iter()
            .filter(|one| !known.contains(one))
            .collect();
        known.extend(new);
    }
    Some(copies)
}

/// The copies with those of their edits that are proved, before they are signed.
async fn unsigned(
    parts: &Parts,
    policy: &Policy,
    transaction: &MailTransaction,
    decision: &mut Decision,
) -> Option<Vec<Copy>> {
    let mut finished = Vec::new();
    for (edits, audiences) in copies(edits(parts, policy, transaction, decision), decision) {
        let message = finish_one(policy, transaction, decision, edits.into()).await?;
        finished.push(Copy {
            audiences,
            ..Copy::for_all(message)
        });
    }
    Some(finished)
}

/// The edits of each copy, and whose it is; no audience where all get the same.
fn copies(edits: Vec<Edit>, decision: &Decision) -> Vec<(Vec<Edit>, Vec<Audience>)> {
    if edits.iter().all(|edit| edit.audience.is_none()) {
        return vec![(edits, Vec::new())];
    }
    let mut copies: Vec<(Vec<Edit>, Vec<Audience>)> = Vec::new();
    for audience in audiences(decision) {
        let own = |edit: &&Edit| edit.audience.is_none_or(|one| one == audience);
        let own: Vec<Edit> = edits.iter().filter(own).cloned().collect();
        match copies.iter_mut().find(|(others, _)| same(others, &own)) {
            Some((_, audiences)) => audiences.push(audience),
            None => copies.push((own, vec![audience])),
        }
    }
    copies
}

/// Whether two lists of edits make the same message.
fn same(one: &[Edit], other: &[Edit]) -> bool {
    let splices = |edits: &[Edit]| -> Vec<(std::ops::Range<usize>, Vec<u8>)> {
        let splices = edits
            .iter()
            .map(|edit| (edit.at.clone(), edit.with.clone()));
        splices.collect()
    };
    splices(one) == splices(other)
}

/// The kinds of recipients there are.
fn audiences(decision: &Decision) -> Vec<Audience> {
    let mut audiences = Vec::new();
    for audience in decision.fates().filter_map(|(one, _)| one.audience) {
        if !audiences.contains(&audience) {
            audiences.push(audience);
        }
    }
    audiences
}

/// The message with its edits, or with those that hold.
async fn finish_one(
    policy: &Policy,
    transaction: &MailTransaction,
    decision: &mut Decision,
    wanted: Arc<[Edit]>,
) -> Option<Message> {
    let original = &transaction.message;
    let unproved = match proved(original, &wanted).await {
        Ok(message) => return Some(message),
        Err(unproved) => unproved,
    };
    metrics::EDITS_UNPROVED.add(1);
    warn!(reference = %decision.reference, because = unproved.word(), "an edit cannot be proved and was not made");
    let (message, left) = less(original, &wanted).await?;
    let lacks_footer = is_without(EditKind::Footer, &wanted, &left);
    let noticed = match lacks_footer && wants_notice_part(decision) {
        true => with_notice_part(original, &wanted, &left).await,
        false => None,
    };
    decision
        .edits
        .retain(|edit| left.contains(edit) || !wanted.contains(edit));
    let note = format!("edit: not made, {unproved}");
    decision.findings.notes.push(note);
    for kind in [EditKind::Links, EditKind::Banner] {
        if is_without(kind, &wanted, &left) {
            go_without(policy, transaction, decision, kind);
        }
    }
    if lacks_footer {
        give_way(policy, transaction, decision, unproved);
    }
    let Some((noticed, edits)) = noticed else {
        return Some(message);
    };
    decision.edits.extend(edits.into_iter().take(1));
    if let Some(footer) = &mut decision.findings.footer {
        footer.outcome = FooterFinding::ADDED;
    }
    Some(noticed)
}

fn wants_notice_part(decision: &Decision) -> bool {
    let footer = decision.findings.footer.as_ref();
    footer.is_some_and(|footer| *footer.if_unproved == IfUnproved::NoticePart)
}

/// The message with the edits that are left and the footer as a part of its own, if that can be proved; and the
/// edits that put it there.
async fn with_notice_part(
    message: &Message,
    wanted: &[Edit],
    left: &[Edit],
) -> Option<(Message, Vec<Edit>)> {
    let (message, wanted, left) = (message.clone(), wanted.to_vec(), left.to_vec());
    let task = tokio::task::spawn_blocking(move || {
        let structure = mime::parse(message.octets()).ok()?;
        let is_plain = |number: Option<&str>| {
            let part = structure
                .own_parts()
                .find(|part| Some(part.number.as_str()) == number);
            part.is_some_and(|part| part.is("text", "plain"))
        };
        let footer = text_footer(&wanted, is_plain)?;
        let notice = plan_notice_part(&message, &structure, &footer).ok()?;
        let edits = [left, notice.clone()].concat();
        let edited = edit::apply(&message, &edits).ok()?;
        held_to(|| prove::prove_notice_part(&message, &edited, &edits)).ok()?;
        Some((edited, notice))
    });
    task.await.ok().flatten()
}

/// The footer that was to be put in, as text: what a leaf of plain text would have got.
fn text_footer(wanted: &[Edit], is_plain: impl Fn(Option<&str>) -> bool) -> Option<Footer<'_>> {
    let footer = wanted
        .iter()
        .filter(|edit| edit.kind == EditKind::Footer && edit.says.is_some())
        .find(|edit| is_plain(edit.part.as_deref()))?;
    Some(Footer {
        text: footer.says.as_deref()?,
        html: "",
        entity: footer.entity.as_deref()?,
        ..Footer::default()
    })
}

/// The message with its edits, if they hold. A large one is copied and read on a thread that may take its time.
async fn proved(message: &Message, edits: &Arc<[Edit]>) -> Result<Message, Unproved> {
    if message.len() <= INLINE_OCTETS_MAX {
        return edited(message, edits);
    }
    let (message, edits) = (message.clone(), Arc::clone(edits));
    let task = tokio::task::spawn_blocking(move || edited(&message, &edits));
    task.await.unwrap_or(Err(Unproved::BrokeOff))
}

/// The fields of the trace are ours and want no proof: mail must go on whatever it is made of.
fn edited(message: &Message, edits: &[Edit]) -> Result<Message, Unproved> {
    let edited = edit::apply(message, edits).map_err(|_| Unproved::NotSpliced)?;
    if edits.iter().all(|edit| is_of_trace(edit.kind)) {
        return Ok(edited);
    }
    held_to(|| prove::prove(message, &edited, edits))?;
    metrics::EDITS_PROVED.add(1);
    Ok(edited)
}

/// A panic in a reader proves nothing, and what it says is for nobody: it may hold content.
fn held_to(proof: impl FnOnce() -> Result<Proof, Unproved>) -> Result<Proof, Unproved> {
    catch_unwind(AssertUnwindSafe(proof)).unwrap_or(Err(Unproved::BrokeOff))
}

/// The message with as many of its edits as hold, and which those are. Links that are taken out matter most, then
/// footers, then banners. A splice that takes a link out and puts a banner in is one of both.
async fn less(message: &Message, edits: &[Edit]) -> Option<(Message, Arc<[Edit]>)> {
    use EditKind::{Banner, Footer, Links};
    let (bare, header) = without_body_edits(message, edits).await?;
    let body: Vec<EditKind> = [Links, Footer, Banner]
        .into_iter()
        .filter(|kind| edits.iter().any(|edit| edit.kind == *kind))
        .collect();
    for kept in [
        &[Links, Footer][..],
        &[Links, Banner],
        &[Links],
        &[Footer, Banner],
        &[Footer],
        &[Banner],
    ] {
        if body.len() <= kept.len() || !kept.iter().all(|kind| body.contains(kind)) {
            continue;
        }
        let some: Arc<[Edit]> = edits
            .iter()
            .filter(|edit| header.contains(edit) || kept.contains(&edit.kind))
            .cloned()
            .collect();
        if let Ok(edited) = proved(message, &some).await {
            return Some((edited, some));
        }
    }
    Some((bare, header))
}

/// The message with the edits of its header if those hold, else with those of the trace alone; and which
/// were left.
async fn without_body_edits(message: &Message, edits: &[Edit]) -> Option<(Message, Arc<[Edit]>)> {
    let those = |keep: fn(EditKind) -> bool| -> Arc<[Edit]> {
        edits
            .iter()
            .filter(|edit| keep(edit.kind))
            .cloned()
            .collect()
    };
    let header = those(EditKind::is_of_header);
    if let Ok(edited) = proved(message, &header).await {
        return Some((edited, header));
    }
    let trace = those(is_of_trace);
    let edited = proved(message, &trace).await.ok()?;
    Some((edited, trace))
}

/// Whether edits of a kind were wanted and are left out. Of links that stay, a banner made with them stays out too.
fn is_without(kind: EditKind, wanted: &[Edit], left: &[Edit]) -> bool {
    let of_kind = |edit: &&Edit| edit.kind == kind;
    wanted
        .iter()
        .filter(of_kind)
        .any(|edit| !left.contains(edit))
}

/// What the policy says for links that stay in, or for a banner that is missing. No message is passed with a link that
/// was to be taken out, but where the policy says so. What says `refuse` is kept apart: the message was judged already.
fn go_without(
    policy: &Policy,
    transaction: &MailTransaction,
    decision: &mut Decision,
    kind: EditKind,
) {
    let rule = match &decision.findings.link_edits {
        Some(edits) => edits
            .without(kind)
            .filter(|verdict| verdict.ask().is_some()),
        // Nobody said what then: a link that was to go does not pass.
        None if kind == EditKind::Links => None,
        None => return,
    };
    let rule = match (rule, &decision.findings.link_edits) {
        (Some(verdict), _) => verdict.source(),
        (None, Some(_)) => return,
        (None, None) => "built-in".to_owned(),
    };
    let because =
        "a link cannot be dealt with as the policy says, with proof that nothing else changes";
    let change = "the message comes without this link";
    policy.quarantine(transaction, decision, &rule, because, change);
}

/// Makes the decision say what was done, and holds the message if the policy wants that.
fn give_way(
    policy: &Policy,
    transaction: &MailTransaction,
    decision: &mut Decision,
    unproved: Unproved,
) {
    let Some(footer) = &mut decision.findings.footer else {
        return;
    };
    if footer.outcome != FooterFinding::ADDED {
        return;
    }
    footer.outcome = unproved.word();
    if *footer.if_unproved == IfUnproved::Hold {
        let rule = footer.if_unproved.source();
        let because = "the footer cannot be put in with proof that nothing else changes";
        let change =
            "the message is sent as plain text, or unproved in organisations.toml is not hold";
        policy.hold(transaction, decision, &rule, because, change);
    }
}

fn is_of_trace(kind: EditKind) -> bool {
    matches!(kind, EditKind::Trace | EditKind::Removal)
}

/// The trace fields and what the policy wants, in the order in which they stand in the message.
fn edits(
    parts: &Parts,
    policy: &Policy,
    transaction: &MailTransaction,
    decision: &Decision,
) -> Vec<Edit> {
    let reference = decision.reference.to_string();
    let MailTransaction {
        client,
        envelope,
        received_at,
        ..
    } = transaction;
    let received = trace::received_field(
        client,
        parts.hostname.as_str(),
        &reference,
        envelope,
        *received_at,
    );
    let mut edits = vec![Edit::prepend_fields(EditKind::Trace, received)];
    edits.extend(decision.edits.iter().cloned());
    if client.service == Service::Submission || client.account.is_some() {
        let name = client.account.as_deref();
        let account = name.and_then(|name| policy.accounts().get(name));
        let reference = &decision.reference;
        edits.extend(submission_edits(parts, transaction, account, reference));
    }
    edits
}

/// Messages up to this are copied on the spot: that takes less than the way to another thread.
const INLINE_OCTETS_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_that_breaks_off_is_none() {
        let broken = held_to(|| Vec::<Result<Proof, Unproved>>::new().remove(0));
        assert_eq!(broken, Err(Unproved::BrokeOff));
    }

    #[tokio::test]
    async fn what_is_not_proved_is_left_out_and_the_rest_stays() {
        let message = Message::new(&b"Subject: x\r\n\r\nhello\r\n"[..]);
        let received = Edit::prepend_fields(EditKind::Trace, "Received: x\r\n");
        let mark = Edit::prepend_fields(EditKind::Mark, "Sensitivity: Private\r\n");
        let forged = Edit::prepend_fields(EditKind::Mark, "Bcc: x\r\n");
        let footer = Edit {
            kind: EditKind::Footer,
            at: message.len()..message.len(),
            with: b"footer".to_vec(),
            says: Some("another".into()),
            ..Edit::prepend_fields(EditKind::Footer, "")
        };
        for (wanted, expected) in [
            (vec![&received, &footer], "Received: x\r\n"),
            (
                vec![&received, &mark, &footer],
                "Received: x\r\nSensitivity: Private\r\n",
            ),
            (vec![&received, &forged, &mark], "Received: x\r\n"),
        ] {
            let wanted: Arc<[Edit]> = wanted.into_iter().cloned().collect();
            assert!(proved(&message, &wanted).await.is_err());
            let (edited, left) = without_body_edits(&message, &wanted).await.unwrap();
            let expected = format!("{expected}Subject: x\r\n\r\nhello\r\n");
            assert_eq!(&edited.octets()[..], expected.as_bytes());
            assert!(left.iter().all(|edit| edit.kind != EditKind::Footer));
        }
        assert!(
            without_body_edits(&message, &[footer.clone(), footer])
                .await
                .is_some()
        );
    }
}
