//! The order of resolution, one step at a time.
//!
//! From a name, in this order: a live mailbox of that name; an alias or rename; the confirmed
//! successor of its shut organisation; a list; a plus tag taken off (if that is switched on); the
//! old shapes of pharmacies, care homes and applications; and then nobody. An exact mailbox comes
//! first, so a name that is issued again ends the old redirect. A step that could go two ways ends
//! the walk as ambiguous; one that comes back to where it was, or goes on for too long, as a loop.

use std::collections::{HashSet, VecDeque};

use jiff::civil::Date;

use crate::mail::{Domain, LocalPart, Mailbox};

use super::aliases::{Successor, Then};
use super::code::OdsCode;
use super::entry::{Completeness, Entry, Kind, Organisation};
use super::resolution::{Because, End, Hop, Resolution};
use super::shape::{Shape, spelled_codes, tail_codes};
use super::{Directory, suggest};

/// Where an address leads on a day.
pub(super) fn resolve(directory: &Directory, mailbox: &Mailbox, on: Date) -> Resolution {
    let walk = Walk { directory, on };
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
}

/// Where a name leads next.
enum Step {
    End(End),
    List,
    Hop(Hop),
    /// As `Hop`, but the sender is told and the mail is not forwarded.
    Tell(Hop),
}

/// Where a walk stops; a list is expanded by the caller.
enum Stop {
    End(End),
    List(Mailbox),
}

/// What an organisation has of a kind of mailbox.
enum Target<'d> {
    Live(&'d Entry),
    Several(Vec<Mailbox>),
    Shut(&'d Entry),
    Nothing,
}

/// A name that was recognised by its shape, and what stands behind the recognition.
struct Recognised<'n> {
    name: &'n Mailbox,
    domain: &'n Domain,
    /// What the name says besides the code; `None` where the code stands apart and is enough.
    said: Option<&'n str>,
    because: Because,
    /// The line that switches the shape on.
    line: usize,
}

impl<'d> Walk<'d> {
    /// Follows hops until there are no more.
    fn follow(self, mailbox: &Mailbox, path: &mut Vec<Hop>) -> Stop {
        let start = path.len();
        let mut at = mailbox.clone();
        let mut tell = false;
        loop {
            let hop = match self.step(&at) {
                Step::End(End::Mailbox(mailbox)) if tell => return Stop::End(End::Moved(mailbox)),
                Step::End(end) => return Stop::End(end),
                Step::List => return Stop::List(at.folded()),
                Step::Hop(hop) => hop,
                Step::Tell(hop) => {
                    tell = true;
                    hop
                }
            };
            at = hop.to.clone();
            path.push(hop);
            let next = at.folded();
            let taken = &path[start..];
            // Loops are found when the files are loaded; this is for those that only a date or a
            // shape closes.
            if taken.len() > self.directory.aliases.hops || taken.iter().any(|hop| hop.from == next)
            {
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
        let entry = self.directory.entry_of(&name);
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
            return self.by_shut_entry(entry, domain);
        }
        if self.directory.aliases.lists.contains_key(&name) {
            return Step::List;
        }
        self.by_plus_tag(&name)
            .or_else(|| self.by_shape(&name, domain))
            .unwrap_or_else(|| Step::End(self.nobody(at, domain, completeness)))
    }

    fn served<'m>(self, at: &'m Mailbox) -> Option<(&'m Domain, Completeness)> {
        let domain = at.domain()?;
        Some((domain, *self.directory.served.get(domain)?))
    }

    fn by_redirect(self, name: &Mailbox) -> Option<Step> {
        let redirect = self.directory.aliases.redirects.get(name)?;
        let in_force = redirect.since.is_none_or(|since| since <= self.on);
        in_force.then(|| {
            Step::Hop(self.hop(name, redirect.to.clone(), redirect.because, redirect.line))
        })
    }

    /// A mailbox that is shut leads on only if its organisation has a successor; a person does not
    /// go with the organisation.
    fn by_shut_entry(self, entry: &Entry, domain: &Domain) -> Step {
        entry
            .ods_code()
            .filter(|_| entry.kind != Kind::Personal)
            .and_then(|code| self.by_successor(&entry.address, code, entry.kind, domain))
            .unwrap_or(Step::End(End::Closed))
    }

    /// The successors of an organisation that are in force; `None` if there are none.
    fn by_successor(
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
                .flat_map(|next| self.live(next.to, |entry| entry.kind == kind, domain));
            return Some(Step::End(End::Ambiguous(
                candidates.map(|entry| entry.address.clone()).collect(),
            )));
        }
        Some(
            match self.target(first.to, |entry| entry.kind == kind, domain) {
                Target::Live(entry) | Target::Shut(entry) => {
                    let hop = self.hop(name, entry.address.clone(), Because::Successor, first.line);
                    match first.then {
                        Then::Forward => Step::Hop(hop),
                        Then::Tell => Step::Tell(hop),
                    }
                }
                Target::Several(candidates) => Step::End(End::Ambiguous(candidates)),
                Target::Nothing => Step::End(End::Closed),
            },
        )
    }

    /// `name+tag` is `name`, if `name` leads anywhere at all.
    fn by_plus_tag(self, name: &Mailbox) -> Option<Step> {
        let (base, _) = name.local_part().as_str().split_once('+')?;
        if !self.directory.plus_addressing {
            return None;
        }
        let base = Mailbox::new(LocalPart::parse(base).ok()?, name.host().clone());
        let known = !matches!(
            self.follow(&base, &mut Vec::new()),
            Stop::End(End::Unknown(_) | End::Unlisted(_))
        );
        known.then(|| {
            Step::Hop(Hop {
                from: name.clone(),
                to: base,
                because: Because::PlusTag,
                source: "[policy] plus-addressing".to_owned(),
            })
        })
    }

    fn by_shape(self, name: &Mailbox, domain: &Domain) -> Option<Step> {
        let shapes = &self.directory.aliases.shapes;
        let local = name.local_part().as_str();
        let recognised = |said, because, line| Recognised {
            name,
            domain,
            said,
            because,
            line,
        };
        match Shape::of(local) {
            Shape::Canonical(kind, code) => self.by_successor(name, code, kind, domain),
            Shape::LegacyPharmacy { said, tail } => {
                let line = shapes.legacy_pharmacy?;
                self.by_legacy_name(
                    &recognised(Some(said), Because::LegacyPharmacyName, line),
                    said,
                    tail,
                )
            }
            Shape::NearPharmacy(code) => {
                shapes.legacy_pharmacy?;
                self.doubtful(code.and_then(|code| self.only_live(code, Kind::Pharmacy, domain)))
            }
            Shape::Care { said } => {
                let line = shapes.care?;
                self.by_care_name(recognised(None, Because::CareName, line), said)
            }
            Shape::Application(code) => {
                let line = shapes.application?;
                self.by_application_name(&recognised(None, Because::ApplicationName, line), code)
            }
            Shape::Other => None,
        }
    }

    fn by_legacy_name(self, name: &Recognised<'_>, said: &str, tail: &str) -> Option<Step> {
        let is_pharmacy = |entry: &Entry| entry.kind == Kind::Pharmacy;
        let Ok(code) = OdsCode::parse_pharmacy(tail) else {
            return self.doubtful(suggest::near_code(self, said, tail, name.domain));
        };
        let whole = format!("{said}{tail}");
        let mut others: Vec<Mailbox> = spelled_codes(&whole)
            .filter(|other| *other != code)
            .flat_map(|other| self.live(other, is_pharmacy, name.domain))
            .map(|entry| entry.address.clone())
            .collect();
        if !others.is_empty() {
            others.extend(
                self.live(code, is_pharmacy, name.domain)
                    .map(|entry| entry.address.clone()),
            );
            return Some(Step::End(End::Ambiguous(others)));
        }
        self.by_code(name, code, Kind::Pharmacy)
            .or_else(|| self.doubtful(suggest::near_code(self, said, tail, name.domain)))
    }

    /// The longest ending that is a code of the directory, if the name spells no other live one.
    fn by_care_name(self, name: Recognised<'_>, said: &str) -> Option<Step> {
        let is_live = |code: &OdsCode| self.live(*code, |_| true, name.domain).next().is_some();
        let (before, longest) = tail_codes(said).find(|(_, code)| self.is_known(*code))?;
        let apart = said
            .split('.')
            .filter_map(|label| OdsCode::parse(label).ok());
        let mut live: Vec<OdsCode> = tail_codes(said)
            .map(|(_, code)| code)
            .chain(apart)
            .filter(is_live)
            .collect();
        live.sort_unstable();
        live.dedup();
        if live.iter().any(|code| *code != longest) {
            let candidates = live.iter().flat_map(|code| {
                self.live(*code, |entry| entry.kind.is_organisation(), name.domain)
            });
            return Some(Step::End(End::Ambiguous(
                candidates.map(|entry| entry.address.clone()).collect(),
            )));
        }
        let name = Recognised {
            said: Some(before),
            ..name
        };
        self.by_code(&name, longest, Kind::Care)
    }

    /// To the application's account if there is one, else to whoever reads the organisation's mail.
    fn by_application_name(self, name: &Recognised<'_>, code: OdsCode) -> Option<Step> {
        if let Some(step) = self.by_code(name, code, Kind::Application) {
            return Some(step);
        }
        match self.target(code, |entry| entry.kind.is_organisation(), name.domain) {
            Target::Live(entry) | Target::Shut(entry) => {
                Some(Step::Hop(self.recognised_hop(name, entry)))
            }
            Target::Several(candidates) => Some(Step::End(End::Ambiguous(candidates))),
            Target::Nothing => None,
        }
    }

    /// The mailbox of a kind that a code names, if the rest of the name speaks of the same
    /// organisation; `None` if the directory does not know the code.
    fn by_code(self, name: &Recognised<'_>, code: OdsCode, kind: Kind) -> Option<Step> {
        let entry = match self.target(code, |entry| entry.kind == kind, name.domain) {
            Target::Live(entry) | Target::Shut(entry) => entry,
            Target::Several(candidates) => return Some(Step::End(End::Ambiguous(candidates))),
            Target::Nothing => return self.by_old_code(name, code, kind),
        };
        if self.agrees(entry, name.said) {
            return Some(Step::Hop(self.recognised_hop(name, entry)));
        }
        Some(Step::End(self.disagrees(&entry.address)))
    }

    /// A code that only the table of successors knows: the name must speak of the successor.
    fn by_old_code(self, name: &Recognised<'_>, code: OdsCode, kind: Kind) -> Option<Step> {
        let step = self.by_successor(name.name, code, kind, name.domain)?;
        if let Step::Hop(hop) | Step::Tell(hop) = &step {
            let entry = self.directory.entry_of(&hop.to)?;
            if !self.agrees(entry, name.said) {
                return Some(Step::End(self.disagrees(&hop.to)));
            }
        }
        Some(step)
    }

    /// Where a name ends that speaks of someone else than its code: nowhere, but the sender may be
    /// told whose code it is, if that one is open.
    fn disagrees(self, candidate: &Mailbox) -> End {
        match self.follow(candidate, &mut Vec::new()) {
            Stop::End(End::Mailbox(mailbox) | End::Moved(mailbox)) => End::Ambiguous(vec![mailbox]),
            Stop::End(End::Ambiguous(candidates)) => End::Ambiguous(candidates),
            _ => End::Closed,
        }
    }

    /// Whether what a name says besides its code fits the organisation of an entry.
    pub(super) fn agrees(self, entry: &Entry, said: Option<&str>) -> bool {
        let Some(said) = said else {
            return true;
        };
        let stop = &self.directory.aliases.stop_words;
        entry.organisation.as_ref().is_some_and(|organisation| {
            let agreement = organisation.evidence.agreement(said, stop);
            agreement.suffices(self.is_borne_by_several(organisation))
        })
    }

    fn is_borne_by_several(self, organisation: &Organisation) -> bool {
        let namesakes = self.directory.names.get(&organisation.evidence.name_key);
        namesakes.into_iter().flatten().any(|code| {
            *code != organisation.code && self.entries(*code).any(|entry| entry.is_live(self.on))
        })
    }

    /// A name near a pharmacy's that leads nowhere: refused, or left to the domain's default.
    fn doubtful(self, suggestion: Option<Mailbox>) -> Option<Step> {
        let refuse = self.directory.aliases.shapes.refuse_doubtful;
        refuse.then_some(Step::End(End::Unknown(suggestion)))
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

    fn is_known(self, code: OdsCode) -> bool {
        self.directory.organisations.contains_key(&code)
            || self.directory.aliases.successors.contains_key(&code)
    }

    /// The live mailbox of a kind that an organisation has, if it has exactly one.
    pub(super) fn only_live(self, code: OdsCode, kind: Kind, domain: &Domain) -> Option<Mailbox> {
        match self.target(code, |entry| entry.kind == kind, domain) {
            Target::Live(entry) => Some(entry.address.clone()),
            _ => None,
        }
    }

    fn target(self, code: OdsCode, wanted: impl Fn(&Entry) -> bool, domain: &Domain) -> Target<'d> {
        let mut live = self.live(code, &wanted, domain);
        match (live.next(), live.next()) {
            (Some(entry), None) => Target::Live(entry),
            (Some(first), Some(second)) => {
                let all = [first, second].into_iter().chain(live);
                Target::Several(all.map(|entry| entry.address.clone()).collect())
            }
            (None, _) => {
                let shut = self
                    .entries(code)
                    .find(|entry| wanted(entry) && entry.is_at(domain));
                shut.map_or(Target::Nothing, Target::Shut)
            }
        }
    }

    fn live(
        self,
        code: OdsCode,
        wanted: impl Fn(&Entry) -> bool,
        domain: &Domain,
    ) -> impl Iterator<Item = &'d Entry> {
        self.entries(code)
            .filter(move |entry| entry.is_live(self.on) && wanted(entry) && entry.is_at(domain))
    }

    fn entries(self, code: OdsCode) -> impl Iterator<Item = &'d Entry> {
        let indices = self
            .directory
            .organisations
            .get(&code)
            .into_iter()
            .flatten();
        indices.map(move |index| &self.directory.entries[*index])
    }

    fn recognised_hop(self, name: &Recognised<'_>, entry: &Entry) -> Hop {
        self.hop(name.name, entry.address.clone(), name.because, name.line)
    }

    fn hop(self, from: &Mailbox, to: Mailbox, because: Because, line: usize) -> Hop {
        Hop {
            from: from.clone(),
            to,
            because,
            source: self.directory.aliases.source(line),
        }
    }
}
