//! The order of resolution, one step at a time.
//!
//! From a name, in this order: a live mailbox of that name; an alias or rename; the confirmed
//! successor of its shut organisation; a list; a plus tag taken off (if that is switched on); the
//! old shapes of pharmacies, care homes and applications; and then nobody. An exact mailbox comes
//! first, so a name that is issued again ends the old redirect. A step that could go two ways ends
//! the walk as ambiguous; one that comes back to where it was, or goes on for too long, as a loop.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};

use jiff::civil::Date;

use crate::mail::{Domain, LocalPart, Mailbox};

use super::aliases::{Successor, Then};
use super::code::OdsCode;
use super::entry::{Completeness, Kind};
use super::index::Row;
use super::resolution::{Because, End, Hop, Resolution, Source};
use super::{Directory, suggest};

/// Where an address leads on a day.
pub(super) fn resolve(directory: &Directory, mailbox: &Mailbox, on: Date) -> Resolution {
    let walk = Walk::new(directory, on);
    let mut path = Vec::new();
    let end = match walk.follow(mailbox, &mut path) {
        Stop::End(end) => end,
        Stop::List(list) => End::List(walk.expand(list, &mut path)),
    };
    Resolution { end, path }
}

/// One look at a directory on one day.
#[derive(Clone, Copy)]
pub(super) struct Walk<'d> {
    pub(super) directory: &'d Directory,
    pub(super) on: Date,
    /// Whether this one was begun by a step of another, to see where a name leads. It begins none itself: with
    /// a path of its own, it would not know where the others have been, and so on without end.
    is_inner: bool,
}

/// Where a name leads next.
pub(super) enum Step {
    End(End),
    List,
    Hop(Hop),
    /// As `Hop`, to a mailbox that is known to be live: there is no need to look for it again.
    Arrive(Hop),
    /// As `Hop`, but the sender is told and the mail is not forwarded.
    Tell(Hop),
}

/// Where a walk stops; a list is expanded by the caller.
pub(super) enum Stop {
    End(End),
    List(Mailbox),
}

/// What an organisation has of a kind of mailbox.
pub(super) enum Target<'d> {
    Live(Row<'d>),
    Several(Vec<Mailbox>),
    Shut(Row<'d>),
    Nothing,
}

/// Which mailboxes of an organisation.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    Kind(Kind),
    /// All that are shared: [`Kind::is_organisation`].
    Shared,
    All,
}

impl Wanted {
    fn is(self, kind: Kind) -> bool {
        match self {
            Self::Kind(wanted) => kind == wanted,
            Self::Shared => kind.is_organisation(),
            Self::All => true,
        }
    }

    /// Whether it is worth looking among the people of an organisation, who can be many.
    fn takes_people(self) -> bool {
        self.is(Kind::Personal)
    }
}

impl<'d> Walk<'d> {
    pub(super) fn new(directory: &'d Directory, on: Date) -> Self {
        Self {
            directory,
            on,
            is_inner: false,
        }
    }

    /// Whether a step of another walk began it; then nothing may be asked of [`Walk::leads_to`].
    pub(super) fn is_inner(self) -> bool {
        self.is_inner
    }

    /// Where a name leads, for a step that depends on it.
    pub(super) fn leads_to(self, name: &Mailbox) -> Stop {
        let inner = Self {
            is_inner: true,
            ..self
        };
        inner.follow(name, &mut Vec::new())
    }

    /// Follows hops until there are no more.
    fn follow(self, mailbox: &Mailbox, path: &mut Vec<Hop>) -> Stop {
        let (start, hops) = (path.len(), self.directory.aliases.hops);
        let mut at = Cow::Borrowed(mailbox);
        let mut tell = false;
        loop {
            let hop = match self.step(&at) {
                Step::End(End::Mailbox(mailbox)) if tell => return Stop::End(End::Moved(mailbox)),
                Step::End(end) => return Stop::End(end),
                Step::List => return Stop::List(at.folded()),
                Step::Hop(hop) => hop,
                Step::Arrive(hop) if !tell && path.len() - start < hops => {
                    let end = End::Mailbox(hop.to.clone());
                    path.push(hop);
                    return Stop::End(end);
                }
                Step::Arrive(hop) => hop,
                Step::Tell(hop) => {
                    tell = true;
                    hop
                }
            };
            at = Cow::Owned(hop.to.clone());
            path.push(hop);
            let taken = &path[start..];
            let local = at.local_part().as_str();
            let was_here = |hop: &Hop| {
                hop.from.host() == at.host()
                    && hop.from.local_part().as_str().eq_ignore_ascii_case(local)
            };
            // Loops are found when the files are loaded; this is for those that only a date or a
            // shape closes.
            if taken.len() > hops || taken.iter().any(was_here) {
                return Stop::End(End::Loop);
            }
        }
    }

    /// Expands a list to the end: each member once, lists that name each other included. Members
    /// that lead nowhere are left out; `check` warns of them.
    fn expand(self, list: Mailbox, path: &mut Vec<Hop>) -> Vec<Mailbox> {
        let mut members = Vec::new();
        let mut seen = HashSet::new();
        let mut lists = HashSet::from([list.clone()]);
        let mut waiting = VecDeque::from([list]);
        while let Some(list) = waiting.pop_front() {
            let Some(entry) = self.directory.aliases.lists.get(&list) else {
                continue;
            };
            for (member, line) in &entry.members {
                path.push(self.hop(&list, member.clone(), Because::List, *line));
                match self.follow(member, path) {
                    Stop::End(End::Mailbox(end) | End::Unlisted(end) | End::External(end)) => {
                        if seen.insert(end.folded()) {
                            members.push(end);
                        }
                    }
                    Stop::List(inner) => {
                        if lists.insert(inner.clone()) {
                            waiting.push_back(inner);
                        }
                    }
                    Stop::End(_) => {}
                }
            }
        }
        members
    }

    fn step(self, at: &Mailbox) -> Step {
        let Some((domain, completeness)) = self.served(at) else {
            return Step::End(End::External(at.clone()));
        };
        let name = at.folded();
        // The row of a list that is in use describes it; where it leads, `aliases.toml` says.
        let entry = self.directory.entry_of(&name);
        let entry = entry.filter(|entry| entry.kind() != Kind::List || !entry.is_live(self.on));
        match entry {
            Some(entry) if entry.is_live(self.on) => return Step::End(End::Mailbox(name)),
            // A name that was a person's leads nowhere until it is someone's again.
            Some(entry) if entry.is_gone_person(self.on) => return Step::End(End::Closed),
            _ => {}
        }
        if let Some(step) = self.by_redirect(&name) {
            return step;
        }
        if let Some(entry) = entry {
            return self.by_shut_entry(&name, entry, domain);
        }
        if self.directory.aliases.lists.contains_key(&name) {
            return Step::List;
        }
        self.by_plus_tag(&name)
            .or_else(|| self.by_shape(&name, domain))
            .unwrap_or_else(|| Step::End(self.nobody(at, domain, completeness)))
    }

    fn served(self, at: &Mailbox) -> Option<(&Domain, Completeness)> {
        let domain = at.domain()?;
        Some((domain, *self.directory.served.get(domain)?))
    }

    fn by_redirect(self, name: &Mailbox) -> Option<Step> {
        let redirect = self.directory.aliases.redirects.get(name)?;
        let in_force = redirect.since().is_none_or(|since| since <= self.on);
        in_force
            .then(|| Step::Hop(self.hop(name, redirect.to(), redirect.because(), redirect.line())))
    }

    /// A mailbox that is shut leads on only if its organisation has a successor; a person does not
    /// go with the organisation.
    fn by_shut_entry(self, name: &Mailbox, entry: Row<'_>, domain: &Domain) -> Step {
        entry
            .ods_code()
            .filter(|_| entry.kind() != Kind::Personal)
            .and_then(|code| self.by_successor(name, code, entry.kind(), domain))
            .unwrap_or(Step::End(End::Closed))
    }

    /// The successors of an organisation that are in force; `None` if there are none.
    pub(super) fn by_successor(
        self,
        name: &Mailbox,
        code: OdsCode,
        kind: Kind,
        domain: &Domain,
    ) -> Option<Step> {
        let successors = self.directory.aliases.successors.get(&code)?;
        let mut in_force: Vec<&Successor> = successors
            .iter()
            .filter(|next| next.since <= self.on)
            .collect();
        in_force.dedup_by_key(|next| next.to);
        let first = *in_force.first()?;
        if in_force.len() > 1 {
            let candidates = in_force
                .iter()
                .flat_map(|next| self.live(next.to, Wanted::Kind(kind), domain));
            return Some(Step::End(End::Ambiguous(
                candidates.filter_map(Row::address).collect(),
            )));
        }
        Some(match self.target(first.to, Wanted::Kind(kind), domain) {
            Target::Live(entry) | Target::Shut(entry) => {
                let hop = self.hop(name, entry.address()?, Because::Successor, first.line);
                match first.then {
                    Then::Forward => Step::Hop(hop),
                    Then::Tell => Step::Tell(hop),
                }
            }
            Target::Several(candidates) => Step::End(End::Ambiguous(candidates)),
            Target::Nothing => Step::End(End::Closed),
        })
    }

    /// `name+tag` is `name`, if `name` leads anywhere at all.
    fn by_plus_tag(self, name: &Mailbox) -> Option<Step> {
        let (base, _) = name.local_part().as_str().split_once('+')?;
        if !self.directory.plus_addressing {
            return None;
        }
        let base = Mailbox::new(LocalPart::parse(base).ok()?, name.host().clone());
        let leads_nowhere = |stop| matches!(stop, Stop::End(End::Unknown(_) | End::Unlisted(_)));
        let known = self.is_inner || !leads_nowhere(self.leads_to(&base));
        known.then(|| {
            Step::Hop(Hop {
                from: name.clone(),
                to: base,
                because: Because::PlusTag,
                source: Source::words("[policy] plus-addressing"),
            })
        })
    }

    fn nobody(self, at: &Mailbox, domain: &Domain, completeness: Completeness) -> End {
        // RFC 5321 §4.5.1: mail for the postmaster of a domain is never refused as unknown.
        let reserved = at.local_part().as_str().eq_ignore_ascii_case("postmaster");
        match completeness {
            Completeness::Complete if !reserved => {
                End::Unknown(suggest::near_name(self, &at.folded(), domain))
            }
            _ => End::Unlisted(at.clone()),
        }
    }

    /// The live mailbox of a kind that an organisation has, if it has exactly one.
    pub(super) fn only_live(self, code: OdsCode, kind: Kind, domain: &Domain) -> Option<Mailbox> {
        match self.target(code, Wanted::Kind(kind), domain) {
            Target::Live(entry) => entry.address(),
            _ => None,
        }
    }

    pub(super) fn target(self, code: OdsCode, wanted: Wanted, domain: &Domain) -> Target<'d> {
        let mut live = self.live(code, wanted, domain);
        match (live.next(), live.next()) {
            (Some(entry), None) => Target::Live(entry),
            (Some(first), Some(second)) => {
                let all = [first, second].into_iter().chain(live);
                Target::Several(all.filter_map(Row::address).collect())
            }
            (None, _) => {
                let shut = self.entries(code, wanted).find(|entry| entry.is_at(domain));
                shut.map_or(Target::Nothing, Target::Shut)
            }
        }
    }

    pub(super) fn live(
        self,
        code: OdsCode,
        wanted: Wanted,
        domain: &Domain,
    ) -> impl Iterator<Item = Row<'d>> {
        self.entries(code, wanted)
            .filter(move |entry| entry.is_live(self.on) && entry.is_at(domain))
    }

    fn entries(self, code: OdsCode, wanted: Wanted) -> impl Iterator<Item = Row<'d>> {
        let organisation = self.directory.index.organisation(code);
        organisation
            .into_iter()
            .flat_map(move |organisation| organisation.mailboxes(wanted.takes_people()))
            .filter(move |entry| wanted.is(entry.kind()))
    }

    pub(super) fn hop(self, from: &Mailbox, to: Mailbox, because: Because, line: usize) -> Hop {
        Hop {
            from: from.clone(),
            to,
            because,
            source: self.directory.aliases.source(line),
        }
    }
}
