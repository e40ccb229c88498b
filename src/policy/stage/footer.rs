//! The stage footer: business mail of our own says which legal entity sends it.
//!
//! Only outbound mail with a sender gets a footer: a null reverse path means a report. The entity
//! follows from the author, else from the reverse path (`organisations.toml`). Where a footer
//! cannot go in without doubt, the message stays as it is and a note says why.

use std::path::Path;
use std::sync::Arc;

use crate::config::Diagnostics;
use crate::mail::splice::{self, NotEdited, plan_footer};
use crate::mail::{Mailbox, ReversePath};
use crate::policy::author::authors;
use crate::policy::case::Case;
use crate::policy::opinion::{Ask, Opinion, Opinions};
use crate::policy::organisations::{Entity, Organisations, Sender, UnknownSender};

/// The stage and the entities it knows.
#[derive(Debug)]
pub struct Footer {
    organisations: Organisations,
}

impl Footer {
    /// Reads `organisations.toml`; `None` if it cannot be read at all.
    pub fn load(path: &Path, diagnostics: &Diagnostics) -> Option<Self> {
        Organisations::load(path, diagnostics).map(Self::new)
    }

    /// The stage for these entities.
    pub fn new(organisations: Organisations) -> Self {
        Self { organisations }
    }

    /// Says which edits put the footer in, or why there is none.
    pub fn examine(&self, case: &Case<'_>) -> Opinions {
        if !case.is_outbound() {
            return Opinions::none();
        }
        let ReversePath::Mailbox(reverse_path) = &case.transaction.envelope.reverse_path else {
            return not_added("it has no sender");
        };
        let mut authors = authors(case.header, "From").into_iter();
        let author = authors.find_map(|author| author.mailbox);
        let senders = author.iter().chain([reverse_path]);
        match senders
            .into_iter()
            .find_map(|mailbox| self.entity(case, mailbox))
        {
            Some(entity) => with_footer(case, entity),
            None => self.unknown_sender(case),
        }
    }

    fn entity(&self, case: &Case<'_>, mailbox: &Mailbox) -> Option<&Arc<Entity>> {
        let entry = case.directory.entry(mailbox);
        self.organisations.of(Sender {
            mailbox,
            organisation: entry.and_then(|entry| entry.ods_code()),
            account: case.transaction.client.account.as_deref(),
        })
    }

    fn unknown_sender(&self, case: &Case<'_>) -> Opinions {
        let mut opinions = not_added("the sender belongs to no entity of organisations.toml");
        if *self.organisations.unknown_sender == UnknownSender::Hold {
            let rule = self.organisations.unknown_sender.source();
            let because = "it is not known which legal entity sends this";
            let opinion = Opinion::new(Ask::Hold, rule, because)
                .would_pass_if("an entity in organisations.toml had the sender");
            opinions.per_recipient = vec![opinion; case.recipients.len()];
        }
        opinions
    }
}

/// The edits that put the footer of an entity in.
fn with_footer(case: &Case<'_>, entity: &Entity) -> Opinions {
    let Some(text) = &entity.footer else {
        return not_added("the law wants none of this entity");
    };
    let Ok(structure) = case.structure else {
        return not_added(&NotEdited::Ambiguous.to_string());
    };
    let footer = splice::Footer {
        text: &text.text,
        html: &text.html,
        entity: &entity.id,
    };
    match plan_footer(&case.transaction.message, structure, &footer) {
        Ok(edits) => Opinions {
            edits,
            ..Opinions::none()
        },
        Err(reason) => not_added(&reason.to_string()),
    }
}

fn not_added(because: &str) -> Opinions {
    Opinions::note(format!("footer: not added, {because}"))
}
