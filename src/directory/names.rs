//! The other way round: which names lead to a mailbox, and which lists have it as a member. For people
//! who look after the directory, so a walk over all redirects is quick enough.

use crate::mail::Mailbox;

use super::Directory;
use super::led::Redirect;
use super::resolution::{Because, Source};

/// A name of the alias files, as it stands there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name {
    /// The name, folded.
    pub name: Mailbox,
    /// The name that it leads to next.
    pub to: Mailbox,
    /// An alias, or a rename.
    pub because: Because,
    /// What says so.
    pub source: Source,
}

impl Directory {
    /// Every name of the alias files that leads to another one, in the order of the files.
    pub fn names(&self) -> Vec<Name> {
        let name = |redirect: Redirect<'_>| Name {
            name: redirect.from(),
            to: redirect.to(),
            because: redirect.because(),
            source: self.aliases.source(redirect.line()),
        };
        let redirects = self.aliases.redirects.in_order();
        redirects.into_iter().map(name).collect()
    }

    /// The names that lead to a mailbox, those that lead there by others included.
    pub fn names_of(&self, mailbox: &Mailbox) -> Vec<Name> {
        let names = self.names();
        let mut found: Vec<Name> = Vec::new();
        let mut ends = vec![mailbox.folded()];
        while let Some(end) = ends.pop() {
            for name in names.iter().filter(|name| name.to.folded() == end) {
                if !found.contains(name) {
                    ends.push(name.name.clone());
                    found.push(name.clone());
                }
            }
        }
        found
    }

    /// The lists that name a mailbox as it is.
    pub fn lists_with(&self, mailbox: &Mailbox) -> Vec<Mailbox> {
        let mailbox = mailbox.folded();
        let lists = self.aliases.lists.iter();
        let mut with: Vec<Mailbox> = lists
            .filter(|(_, list)| {
                list.members
                    .iter()
                    .any(|(member, _)| member.folded() == mailbox)
            })
            .map(|(name, _)| name.clone())
            .collect();
        with.sort_by_key(ToString::to_string);
        with
    }
}
