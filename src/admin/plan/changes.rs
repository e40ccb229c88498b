//! What would have been different, brought together: which verdict became which, by which rules, how often, for whom.

use std::collections::BTreeMap;

use crate::policy::RecipientDecision;
use crate::policy::explain::Onward;
use crate::policy::replay::{Side, Told, Unknown};

/// What one policy says of one recipient, as far as a difference in it matters.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct View {
    pub(super) verdict: String,
    pub(super) rule: String,
    pub(super) route: Option<String>,
    pub(super) tls: Option<String>,
    pub(super) binding: Option<&'static str>,
    pub(super) entity: Option<String>,
    pub(super) edits: Vec<String>,
}

/// A kind of change.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Change {
    pub(super) before: Option<View>,
    pub(super) after: Option<View>,
    /// Whether the mail goes to another mailbox.
    pub(super) moves: bool,
}

/// One recipient for whom it would have been different.
#[derive(Clone, Debug)]
pub(super) struct Example {
    pub(super) reference: String,
    pub(super) at: String,
    pub(super) sender: String,
    pub(super) address: String,
    pub(super) resolved: [Option<String>; 2],
    pub(super) because: [Option<String>; 2],
    /// Whether the message itself was read again.
    pub(super) wholly: bool,
}

/// How often a change was seen, and for whom.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) recipients: u64,
    pub(super) messages: u64,
    last: String,
    pub(super) domains: BTreeMap<String, u64>,
    pub(super) because: [Option<String>; 2],
    pub(super) examples: Vec<Example>,
}

/// Everything that was found. Bounded, whatever the trail holds.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) changes: BTreeMap<Change, Seen>,
    /// Changes of kinds beyond those that are told apart.
    pub(super) others: u64,
    /// Recipients of whom nothing can be told, by reason and the rule that decided.
    pub(super) untold: BTreeMap<(Unknown, String), u64>,
    pub(super) counts: Counts,
}

/// How much was looked at, in recipients and messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) recipients: u64,
    pub(super) changed: u64,
    pub(super) untold: u64,
    pub(super) wholly: u64,
    pub(super) by_record: u64,
    /// Messages in the queue of which the trail has no decision: the gateway wrote them itself.
    pub(super) own: u64,
}

/// Where mail would go by a policy.
pub type Ways<'w> = &'w dyn Fn(&RecipientDecision) -> Onward;

impl View {
    fn of(side: &Side, ways: Ways<'_>) -> Self {
        let onward = side.decision().map(ways).unwrap_or_default();
        let (entity, edits) = match side {
            Side::Verdict { entity, edits, .. } => (entity.clone(), edits.clone()),
            Side::Refused { .. } | Side::LetIn | Side::Either(_) => (None, Vec::new()),
        };
        let mut view = Self {
            verdict: side.verdict().to_owned(),
            rule: side.rule().to_owned(),
            route: onward.route,
            tls: onward.tls,
            binding: side.binding(),
            entity,
            edits,
        };
        if view.is_sent_back() {
            (view.binding, view.entity, view.edits) = (None, None, Vec::new());
        }
        view
    }

    /// Whether nobody here has the message: how it would have gone is no matter.
    fn is_sent_back(&self) -> bool {
        matches!(self.verdict.as_str(), "refuse" | "defer" | "accept")
    }

    /// Whether what is done to the message is known.
    fn is_known(&self) -> bool {
        !self.is_sent_back() && self.binding.is_some()
    }

    /// Whether it is another line of the file that says the same.
    fn is_as(&self, other: &Self) -> bool {
        let without_rule = |view: &Self| Self {
            rule: String::new(),
            ..view.clone()
        };
        without_rule(self) == without_rule(other)
    }
}

impl Change {
    /// What changes, if anything does.
    pub(super) fn of(told: &Told, ways: [Ways<'_>; 2]) -> Option<Self> {
        let view = |side: &Option<Side>, ways| side.as_ref().map(|side| View::of(side, ways));
        let (before, after) = (view(&told.before, ways[0]), view(&told.after, ways[1]));
        let resolved = |side: &Option<Side>| side.as_ref().and_then(Side::resolved);
        let (moves, same) = match (&before, &after) {
            (Some(before), Some(after)) => {
                let stays = before.is_sent_back() || after.is_sent_back();
                let ends = resolved(&told.before).zip(resolved(&told.after));
                let moves = !stays && ends.is_some_and(|(old, new)| old != new);
                (moves, before.is_as(after) && !moves)
            }
            (None, None) => (false, true),
            _ => (false, false),
        };
        (!same).then_some(Self {
            before,
            after,
            moves,
        })
    }

    /// Whether the verdict itself is another.
    pub(super) fn is_of_verdict(&self) -> bool {
        let [before, after] = [&self.before, &self.after].map(Option::as_ref);
        before.map(|view| &view.verdict) != after.map(|view| &view.verdict)
    }

    /// `hold → deliver`, and what else changes.
    pub(super) fn words(&self) -> String {
        let (before, after) = match (&self.before, &self.after) {
            (Some(before), Some(after)) => (before, after),
            (Some(before), None) => return format!("{} → no recipient any more", before.verdict),
            (None, Some(after)) => return format!("no recipient → {}", after.verdict),
            (None, None) => return String::new(),
        };
        let mut words = match self.is_of_verdict() {
            true => vec![format!("{} → {}", before.verdict, after.verdict)],
            false => vec![before.verdict.clone()],
        };
        if self.moves {
            words.push("to another mailbox".to_owned());
        }
        let [old, new] = [before, after].map(|view| view.route.as_deref());
        // A verdict that is another brings its route along.
        if let (Some(old), Some(new)) = (old, new) {
            words.extend(step("route", old, new));
        }
        let [old, new] = [before, after].map(|view| view.tls.as_deref());
        if before.route.is_some() && after.route.is_some() {
            words.extend(step("TLS", old.unwrap_or("none"), new.unwrap_or("none")));
        }
        if !self.is_of_verdict() {
            let [old, new] = [before, after].map(|view| view.binding.unwrap_or("any"));
            words.extend(step("bound to", old, new));
        }
        if before.is_known() && after.is_known() {
            let [old, new] = [before, after].map(|view| view.entity.as_deref());
            let [old, new] = [old, new].map(|entity| entity.unwrap_or("nobody"));
            words.extend(step("footer of", old, new));
            let lost = before.edits.iter().filter(|one| !after.edits.contains(one));
            words.extend(lost.map(|edit| format!("without {edit}")));
            let won = after.edits.iter().filter(|one| !before.edits.contains(one));
            words.extend(won.map(|edit| format!("with {edit}")));
        }
        words.join(", ")
    }
}

fn step(what: &str, old: &str, new: &str) -> Option<String> {
    (old != new).then(|| format!("{what} {old} → {new}"))
}

impl Findings {
    /// Adds one recipient for whom it would have been different.
    pub(super) fn add(&mut self, change: Change, example: Example, limit: usize) {
        self.counts.changed += 1;
        if self.changes.len() >= CHANGES_MAX && !self.changes.contains_key(&change) {
            self.others += 1;
            return;
        }
        let seen = self.changes.entry(change).or_default();
        seen.recipients += 1;
        if seen.last != example.reference {
            seen.messages += 1;
            seen.last.clone_from(&example.reference);
        }
        let path = example.resolved.iter().flatten().next();
        let path = path.unwrap_or(&example.address);
        let domain = path.rsplit_once('@').map_or("-", |(_, domain)| domain);
        let domain = domain.to_lowercase();
        if seen.domains.len() < DOMAINS_MAX || seen.domains.contains_key(&domain) {
            *seen.domains.entry(domain).or_default() += 1;
        }
        if seen.recipients == 1 {
            seen.because.clone_from(&example.because);
        }
        if seen.examples.len() < limit {
            seen.examples.push(example);
        }
    }

    /// Adds one of whom nothing can be told.
    pub(super) fn add_untold(&mut self, why: Unknown, rule: &str) {
        self.counts.untold += 1;
        let key = (why, rule.to_owned());
        if self.untold.len() >= CHANGES_MAX && !self.untold.contains_key(&key) {
            *self.untold.entry((why, "others".to_owned())).or_default() += 1;
            return;
        }
        *self.untold.entry(key).or_default() += 1;
    }

    /// The changes: those of verdicts first, then the most frequent.
    pub(super) fn sorted(&self) -> Vec<(&Change, &Seen)> {
        let mut all: Vec<_> = self.changes.iter().collect();
        all.sort_by_key(|(change, seen)| {
            (!change.is_of_verdict(), std::cmp::Reverse(seen.recipients))
        });
        all
    }
}

/// Domains, the most frequent first.
pub(super) fn frequent(domains: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut all: Vec<_> = domains
        .iter()
        .map(|(domain, count)| (domain.as_str(), *count))
        .collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    all
}

/// Kinds of changes that are told apart.
const CHANGES_MAX: usize = 500;
/// Domains that are counted for one of them.
const DOMAINS_MAX: usize = 1_000;
