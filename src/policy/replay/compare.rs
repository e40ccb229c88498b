//! What replays come to for one recipient, held against the record and against each other.

use crate::mail::ForwardPath;
use crate::policy::opinion::Protection;

use super::Row;
use super::run::{Replayed, Supposed};
use super::told::{Side, Told};

/// Whether a replay comes to what is on record of a recipient.
pub(super) fn agrees(row: &Row, replayed: &Replayed) -> bool {
    replayed.recipients.iter().any(|one| {
        one.given == row.given
            && one.verdict.word() == row.verdict
            && one.recipient.forward_path.to_string() == row.resolved
    })
}

/// What a replay says of a recipient, as far as it matters whether two say the same.
pub(super) fn summary(
    replayed: &Replayed,
    given: &ForwardPath,
) -> Vec<(String, &'static str, Protection)> {
    let of = replayed.recipients.iter().filter(|one| one.given == *given);
    of.map(|one| {
        let path = one.recipient.forward_path.to_string();
        (path, one.verdict.word(), one.protection)
    })
    .collect()
}

/// What was decided by either policy for one recipient, side by side: one with one, wherever they lead; the members of
/// lists by their mailboxes, as far as they are `asked` about. Members that only the other policy has come with the
/// first of the list, once.
pub(super) fn pairs(
    before: &Replayed,
    after: &Replayed,
    given: &ForwardPath,
    asked: &[&str],
) -> Vec<Told> {
    let of = |replayed: &Replayed| -> Vec<(String, Side)> {
        let own = replayed.recipients.iter().filter(|one| one.given == *given);
        own.map(|one| {
            let path = one.recipient.forward_path.to_string();
            (path, Side::of(one, replayed))
        })
        .collect()
    };
    let (old, mut new) = (of(before), of(after));
    if let ([(_, old)], [(_, new)]) = (&old[..], &new[..]) {
        return vec![Told {
            before: Some(old.clone()),
            after: Some(new.clone()),
        }];
    }
    let has_first = old
        .first()
        .is_some_and(|(path, _)| asked.contains(&path.as_str()));
    let mut told = Vec::new();
    for (path, side) in old {
        let other = new.iter().position(|(other, _)| *other == path);
        let after = other.map(|at| new.swap_remove(at).1);
        if asked.contains(&path.as_str()) {
            told.push(Told {
                before: Some(side),
                after,
            });
        }
    }
    if !has_first {
        return told;
    }
    told.extend(new.into_iter().map(|(_, side)| Told {
        before: None,
        after: Some(side),
    }));
    told
}

/// A recipient that is one by both policies and for whom it is different, whatever is supposed: it is only not known how.
pub(super) fn either(
    candidates: &[(Supposed, Replayed)],
    afters: &[Replayed],
    given: &ForwardPath,
) -> Option<Told> {
    let (_, first) = candidates.first()?;
    let mut verdicts: Vec<&str> = Vec::new();
    for ((_, before), after) in candidates.iter().zip(afters) {
        let (old, new) = (summary(before, given), summary(after, given));
        let ([_], [(_, verdict, _)]) = (&old[..], &new[..]) else {
            return None;
        };
        if old == new || old != summary(first, given) {
            return None;
        }
        verdicts.push(*verdict);
    }
    verdicts.sort_unstable();
    verdicts.dedup();
    let decision = first.recipients.iter().find(|one| one.given == *given)?;
    Some(Told {
        before: Some(Side::of(decision, first)),
        after: Some(Side::Either(verdicts.join(" or "))),
    })
}
