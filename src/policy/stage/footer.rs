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
    organisations: Arc<Organisations>,
}

impl Footer {
    /// Reads `organisations.toml`; `None` if it cannot be read at all.
    pub fn load(path: &Path, diagnostics: &Diagnostics) -> Option<Self> {
        Organisations::load(path, diagnostics).map(Self::new)
    }

    /// The stage for these entities.
    pub fn new(organisations: Organisations) -> Self {
        Self {
            organisations: Arc::new(organisations),
        }
    }

    /// The entities, for other stages.
    pub fn organisations(&self) -> &Arc<Organisations> {
        &self.organisations
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_toml;
    use crate::policy::opinion::Finding;
    use crate::policy::testing::{World, file};

    const ENTITIES: &str = "
unknown-sender = \"hold\"
[[entity]]
id = \"bumbleton\"
form = \"company\"
name = \"Bumbleton Ltd\"
registered-in = \"England and Wales\"
number = \"01234567\"
registered-office = \"1 High St\"
domains = [\"bumbleton.example\"]
[[entity]]
id = \"trust\"
form = \"nhs-body\"
name = \"A Trust\"
domains = [\"trust.example\"]
";

    fn world(message: &str, from: &str) -> World {
        World::new(message, from, &["a@b.example", "c@d.example"]).outbound(None)
    }

    fn opinions(world: &World) -> Opinions {
        let diagnostics = Diagnostics::default();
        let source = file("organisations.toml", ENTITIES);
        let organisations = read_toml(&source, &diagnostics, Organisations::read);
        assert_eq!(diagnostics.into_vec(), []);
        world.ask(|case| Footer::new(organisations).examine(case))
    }

    fn note(opinions: &Opinions) -> &str {
        match &opinions.findings[..] {
            [Finding::Note(note)] => note,
            other => panic!("not one note: {other:?}"),
        }
    }

    #[test]
    fn outbound_mail_of_an_entity_gets_its_footer() {
        let message = "From: \"A\" <a@bumbleton.example>\n\nhello\n";
        let said = opinions(&world(message, "bounces@elsewhere.example"));
        assert_eq!(said.edits.len(), 1);
        assert_eq!(said.edits[0].entity.as_deref(), Some("bumbleton"));
        assert_eq!(said.edits[0].part.as_deref(), Some("1"));
        let text = String::from_utf8_lossy(&said.edits[0].with);
        assert_eq!(
            text,
            "\r\nBumbleton Ltd. Registered in England and Wales. Company no. 01234567. Registered office: 1 High St.\r\n"
        );
    }

    #[test]
    fn inbound_mail_and_reports_get_none() {
        let message = "From: a@bumbleton.example\n\nhello\n";
        let inbound = World::new(message, "a@bumbleton.example", &["a@b.example"]);
        let said = opinions(&inbound);
        assert!(said.edits.is_empty() && said.findings.is_empty());
        let report = opinions(&world(message, ""));
        assert_eq!(note(&report), "footer: not added, it has no sender");
    }

    #[test]
    fn what_is_left_alone_says_why() {
        let signed =
            "From: a@bumbleton.example\nContent-Type: multipart/signed; boundary=x\n\n--x--\n";
        let said = opinions(&world(signed, "a@bumbleton.example"));
        assert_eq!(
            note(&said),
            "footer: not added, it is signed by S/MIME or PGP"
        );
        let trust = opinions(&world("X: y\n\nhello\n", "a@trust.example"));
        assert_eq!(
            note(&trust),
            "footer: not added, the law wants none of this entity"
        );
        assert!(said.edits.is_empty() && trust.edits.is_empty());
    }

    #[test]
    fn a_sender_without_an_entity_is_noted_and_held_if_the_file_says_so() {
        let said = opinions(&world(
            "From: x@nobody.example\n\nhello\n",
            "x@nobody.example",
        ));
        assert_eq!(
            note(&said),
            "footer: not added, the sender belongs to no entity of organisations.toml"
        );
        assert_eq!(said.per_recipient.len(), 2);
        assert_eq!(said.per_recipient[0].ask, Ask::Hold);
        assert_eq!(said.per_recipient[0].rule, "organisations.toml:2");
    }
}
