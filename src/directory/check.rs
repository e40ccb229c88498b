//! What is wrong between the files: loops, names that lead nowhere, redirects of the gone.
//!
//! A loop is an error and keeps the files from being put in force. What could be meant, but often
//! is not, is a warning. Days do not count here: everything is judged as it will be in the end.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use jiff::civil::Date;

use crate::config::{Diagnostics, Place, Severity};
use crate::mail::{Host, Mailbox};

use super::code::OdsCode;
use super::entry::Kind;
use super::findings::Findings;
use super::led::Redirect;
use super::resolution::End;
use super::sources::Texts;
use super::{Directory, resolve};

/// Reports everything about the graph of names.
pub(super) fn check(directory: &Directory, sources: &Texts, diagnostics: &Diagnostics) {
    let checker = Checker {
        directory,
        sources,
        findings: Findings::new(diagnostics),
    };
    checker.served();
    checker.redirects();
    checker.successors();
    checker.lists();
    checker.findings.close();
}

struct Checker<'c> {
    directory: &'c Directory,
    sources: &'c Texts,
    findings: Findings<'c>,
}

impl Checker<'_> {
    /// Mailboxes at domains that are not served are never looked up.
    fn served(&self) {
        let index = &self.directory.index;
        let is_served = |host: &Host| match host {
            Host::Domain(domain) => self.directory.serves(domain),
            Host::Literal(_) => false,
        };
        let hosts = index.hosts().iter();
        let strays: Vec<_> = hosts.filter(|host| !is_served(&host.host)).collect();
        let count: u32 = strays.iter().map(|host| host.count).sum();
        let firsts = strays.iter().filter_map(|host| index.first_of(host));
        let first = firsts.min_by_key(|row| row.line());
        let Some((line, address)) = first.and_then(|row| Some((row.line(), row.address()?))) else {
            return;
        };
        let message =
            format!("{count} mailboxes are at domains that are not served, the first is {address}");
        self.findings.push(
            Severity::Warning,
            "not-served",
            message,
            || self.sources.row(line),
            "name the domain under [policy] served in postern.toml",
        );
    }

    fn redirects(&self) {
        let redirects = &self.directory.aliases.redirects;
        let loops: HashSet<usize> = redirects.loops().iter().map(|one| one.line()).collect();
        for redirect in redirects.in_order() {
            if loops.contains(&redirect.line()) {
                let message = format!("{} leads back to itself", redirect.from());
                let help = "take one of the links of the loop out";
                self.error("alias-loop", message, redirect.at(), help);
            } else {
                self.chain(redirect);
            }
            self.redirect(redirect);
        }
    }

    fn chain(&self, redirect: Redirect<'_>) {
        let hops = self.directory.aliases.hops;
        let mut length = 1;
        let mut at = redirect.to().into_folded();
        while let Some(next) = self.directory.aliases.redirects.get(&at) {
            length += 1;
            at = next.to().into_folded();
            if length > hops {
                let message = format!("{} leads through more than {hops} names", redirect.from());
                let help = "let it lead to the end at once, or raise [limits] hops";
                return self.error("long-chain", message, redirect.at(), help);
            }
        }
    }

    fn redirect(&self, redirect: Redirect<'_>) {
        let (from, place) = (redirect.from(), redirect.at());
        if !self.is_served(&from) {
            let message = format!("{from} is at a domain that is not served: this is never used");
            self.warning("not-served", message, place);
        }
        if let Some(entry) = self.directory.entry_of(&from) {
            if entry.is_gone_person(Date::MAX) {
                let message = format!("{from} was a person's who has gone");
                let help = "mail for the gone is never redirected: the name will be someone else's";
                self.error("redirect-of-the-gone", message, place, help);
            } else if entry.is_live(Date::MAX) {
                let message =
                    format!("{from} is a live mailbox, which comes first: this is never used");
                self.warning("shadowed-alias", message, place);
            }
        }
        self.target(&redirect.to(), place);
    }

    /// Warns of a target that mail cannot reach.
    fn target(&self, to: &Mailbox, place: At<'_>) {
        let aliases = &self.directory.aliases;
        let folded = to.folded();
        if aliases.redirects.get(&folded).is_some() || aliases.lists.contains_key(&folded) {
            return;
        }
        match resolve::resolve(self.directory, to, Date::MAX).end {
            End::Unknown(_) => self.warning(
                "dangling-target",
                format!("{to} is not in the directory"),
                place,
            ),
            End::Closed => self.warning("closed-target", format!("{to} is shut"), place),
            End::Ambiguous(_) => self.warning(
                "ambiguous-target",
                format!("{to} could be more than one"),
                place,
            ),
            End::Mailbox(end) if self.is_not_to_be_written_to(&end) => self.warning(
                "silent-target",
                format!("{to} is not to be written to"),
                place,
            ),
            _ => {}
        }
    }

    fn successors(&self) {
        let successors = &self.directory.aliases.successors;
        let codes: HashMap<OdsCode, Vec<OdsCode>> = successors
            .iter()
            .map(|(from, all)| (*from, all.iter().map(|next| next.to).collect()))
            .collect();
        let loops = members_of_loops(&codes);
        let mut all: Vec<_> = successors
            .iter()
            .flat_map(|(from, all)| all.iter().enumerate().map(move |next| (from, next)))
            .collect();
        all.sort_by_key(|(_, (_, next))| next.line);
        for (from, (index, next)) in all {
            let place = At {
                place: next.place.as_ref(),
                line: next.line,
            };
            if loops.contains(from) {
                let message = format!("{from} is its own successor in the end");
                self.error(
                    "successor-loop",
                    message,
                    place,
                    "take one of the links of the loop out",
                );
            }
            if index > 0 {
                self.warning(
                    "two-successors",
                    format!("{from} has another successor: its names are ambiguous"),
                    place,
                );
            }
            if self.directory.index.organisation(next.to).is_none()
                && !successors.contains_key(&next.to)
            {
                self.warning(
                    "dangling-successor",
                    format!("{} has no mailbox in the directory", next.to),
                    place,
                );
            }
        }
    }

    fn lists(&self) {
        let lists = &self.directory.aliases.lists;
        let links: HashMap<Mailbox, Vec<Mailbox>> = lists
            .iter()
            .map(|(name, list)| {
                (
                    name.clone(),
                    list.members
                        .iter()
                        .map(|(member, _)| member.folded())
                        .collect(),
                )
            })
            .collect();
        let loops = members_of_loops(&links);
        let mut all: Vec<_> = lists.iter().collect();
        all.sort_by_key(|(_, list)| list.place.as_ref().map(|place| place.span().start));
        for (name, list) in all {
            let place = At {
                place: list.place.as_ref(),
                line: 0,
            };
            if loops.contains(name) {
                let message = format!("the list {name} is a member of itself in the end");
                self.warning("list-loop", message, place);
            }
            let entry = self.directory.entry_of(name);
            if entry.is_some_and(|entry| entry.kind() != Kind::List) {
                let message = format!("{name} is a mailbox as well");
                self.error(
                    "two-targets",
                    message,
                    place,
                    "a name is a list or a mailbox",
                );
            }
            for (member, _) in &list.members {
                self.target(member, place);
            }
            if let Some(owner) = &list.owner {
                self.target(owner, place);
            }
        }
    }

    fn is_not_to_be_written_to(&self, mailbox: &Mailbox) -> bool {
        let entry = self.directory.entry_of(&mailbox.folded());
        entry.is_some_and(|entry| entry.do_not_send())
    }

    fn is_served(&self, mailbox: &Mailbox) -> bool {
        mailbox
            .domain()
            .is_some_and(|domain| self.directory.serves(domain))
    }

    fn error(&self, id: &'static str, message: String, at: At<'_>, help: &str) {
        self.say(Severity::Error, id, message, at, help);
    }

    fn warning(&self, id: &'static str, message: String, at: At<'_>) {
        let help = HELPS.iter().find(|(name, _)| *name == id);
        let help = help.map_or("", |(_, help)| *help);
        self.say(Severity::Warning, id, message, at, help);
    }

    fn say(&self, severity: Severity, id: &'static str, message: String, at: At<'_>, help: &str) {
        let line = || self.sources.place(&self.directory.aliases, at.line);
        let place = || at.place.cloned().or_else(line);
        self.findings.push(severity, id, message, place, help);
    }
}

/// Where something is said: its place, or else a line that `Sources::place` knows.
#[derive(Clone, Copy)]
struct At<'a> {
    place: Option<&'a Place>,
    line: usize,
}

impl<'r> Redirect<'r> {
    fn at(self) -> At<'r> {
        At {
            place: self.place(),
            line: self.line(),
        }
    }
}

/// What mends a warning.
const HELPS: &[(&str, &str)] = &[
    (
        "not-served",
        "name the domain under [policy] served, or take it out",
    ),
    ("shadowed-alias", "take it out, or shut the mailbox"),
    (
        "dangling-target",
        "let it lead to a mailbox that is there, or take it out",
    ),
    (
        "closed-target",
        "let it lead to a live mailbox, or take it out",
    ),
    (
        "ambiguous-target",
        "let it lead to the mailbox that is meant",
    ),
    (
        "silent-target",
        "let it lead to a mailbox that takes mail, or take it out",
    ),
    ("two-successors", "keep the one that mail is to follow"),
    (
        "dangling-successor",
        "add its mailbox, or take the successor out",
    ),
    ("list-loop", "take one of the lists out of the other"),
];

/// The nodes of a graph that are on a loop, or on a way from one loop to another: those that are
/// left when all ends have been taken away, forwards and then backwards.
fn members_of_loops<N: Clone + Eq + Hash>(links: &HashMap<N, Vec<N>>) -> HashSet<N> {
    let leads_on = without_ends(links);
    let mut backwards: HashMap<N, Vec<N>> = HashMap::new();
    for from in &leads_on {
        for to in links[from].iter().filter(|to| leads_on.contains(*to)) {
            backwards.entry(to.clone()).or_default().push(from.clone());
        }
    }
    without_ends(&backwards)
}

/// The nodes from which a walk need not end, in time that grows with the graph and no faster.
fn without_ends<N: Clone + Eq + Hash>(links: &HashMap<N, Vec<N>>) -> HashSet<N> {
    let mut sources: HashMap<&N, Vec<&N>> = HashMap::new();
    let mut ways_on: HashMap<&N, usize> = links.keys().map(|node| (node, 0)).collect();
    for (from, to) in links
        .iter()
        .flat_map(|(from, all)| all.iter().map(move |to| (from, to)))
    {
        if links.contains_key(to) {
            sources.entry(to).or_default().push(from);
            *ways_on.entry(from).or_default() += 1;
        }
    }
    let mut ends: Vec<&N> = ways_on
        .iter()
        .filter(|(_, ways)| **ways == 0)
        .map(|(node, _)| *node)
        .collect();
    while let Some(end) = ends.pop() {
        ways_on.remove(end);
        for source in sources.remove(end).unwrap_or_default() {
            let Some(ways) = ways_on.get_mut(source) else {
                continue;
            };
            *ways -= 1;
            if *ways == 0 {
                ends.push(source);
            }
        }
    }
    ways_on.into_keys().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_what_is_left_when_all_ends_are_taken_away() {
        let links = HashMap::from([
            ("in", vec!["a"]),
            ("a", vec!["b", "out"]),
            ("b", vec!["a"]),
            ("out", vec!["end"]),
            ("self", vec!["self"]),
        ]);
        assert_eq!(members_of_loops(&links), HashSet::from(["a", "b", "self"]));
    }
}
