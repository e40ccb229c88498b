//! The stage footer: business mail of our own says which legal entity sends it.
//!
//! Only outbound mail with a sender gets a footer: a null reverse path means a report. The entity
//! follows from the author, else from the reverse path (`organisations.toml`). Where a footer
//! cannot go in without doubt, the message stays as it is and a note says why.

use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::config::Diagnostics;
use crate::mail::splice::{self, NotEdited, plan_footer};
use crate::mail::{Audience, Edit, Mailbox, ReversePath};
use crate::policy::author::authors;
use crate::policy::case::{Case, ResolvedRecipient};
use crate::policy::finding::FooterFinding;
use crate::policy::opinion::{Ask, Finding, Opinion, Opinions};
use crate::policy::organisations::{Entity, FooterText, Organisations, Sender, UnknownSender};

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
            return self.not_added(None, &Reason::new("no-sender", "it has no sender"));
        };
        let mut authors = authors(case.header, "From").into_iter();
        let author = authors.find_map(|author| author.mailbox);
        let senders = author.iter().chain([reverse_path]);
        let found = senders
            .into_iter()
            .find_map(|mailbox| Some((self.entity(case, mailbox)?, mailbox)));
        match found {
            Some((entity, mailbox)) => self.of_entity(case, entity, mailbox),
            None => self.unknown_sender(case),
        }
    }

    fn entity(&self, case: &Case<'_>, mailbox: &Mailbox) -> Option<&Arc<Entity>> {
        let known = case.directory.glance(mailbox);
        self.organisations.of(Sender {
            mailbox,
            organisation: known.and_then(|known| known.organisation),
            account: case.transaction.client.account.as_deref(),
        })
    }

    /// The footer of an entity, with the signature of the sender if the directory knows one: for all, or for each
    /// kind of recipient there is.
    fn of_entity(&self, case: &Case<'_>, entity: &Entity, sender: &Mailbox) -> Opinions {
        let today = case.now.to_zoned(TimeZone::UTC).date();
        let Some(footers) = entity.footers(today) else {
            return self.not_added(Some(entity), &Reason::none_wanted());
        };
        let signature = self.organisations.signature(entity);
        let signature =
            signature.and_then(|signature| Some(signature.of(&case.directory.entry(sender)?)));
        let planned = |audience| plan(case, entity, signature.as_ref(), footers.of(audience));
        if !footers.tell_apart() {
            return match planned(Audience::Outside) {
                Ok(edits) => Opinions {
                    edits,
                    ..Opinions::finding(self.finding(Some(entity), FooterFinding::ADDED))
                },
                Err(reason) => self.not_added(Some(entity), &reason),
            };
        }
        self.of_each(case, entity, planned)
    }

    /// A footer for each kind of recipient there is. What becomes of it is told in one word: why one is missing, if one
    /// is.
    fn of_each(
        &self,
        case: &Case<'_>,
        entity: &Entity,
        planned: impl Fn(Audience) -> Result<Vec<Edit>, Reason>,
    ) -> Opinions {
        let audiences = self.audiences(case);
        let mut opinions = Opinions::none();
        let (mut added, mut reasons) = (false, Vec::new());
        let present = |audience: &Audience| audiences.contains(audience);
        for audience in Audience::ALL.into_iter().filter(present) {
            match planned(audience) {
                Ok(edits) => {
                    added = true;
                    opinions.edits.extend(edits.into_iter().map(|edit| Edit {
                        audience: Some(audience),
                        ..edit
                    }));
                }
                Err(reason) => {
                    let (because, word) = (&reason.because, audience.word());
                    let note = format!("footer: not added for {word}, {because}");
                    opinions.findings.push(Finding::Note(note));
                    reasons.push(reason);
                }
            }
        }
        let lack = reasons.iter().find(|reason| reason.is_lack());
        let outcome = match (lack, added) {
            (Some(reason), _) => reason.word,
            (None, true) => FooterFinding::ADDED,
            (None, false) => reasons
                .first()
                .map_or(FooterFinding::NOT_WANTED, |reason| reason.word),
        };
        opinions.findings.push(self.finding(Some(entity), outcome));
        opinions.audiences = audiences;
        opinions
    }

    /// What kind each recipient is of.
    fn audiences(&self, case: &Case<'_>) -> Vec<Audience> {
        let audience = |recipient: &ResolvedRecipient| {
            let mailbox = recipient.recipient.forward_path.mailbox();
            mailbox.map_or(Audience::Outside, |mailbox| {
                let known = case.directory.glance(mailbox);
                let organisation = known.and_then(|known| known.organisation);
                self.organisations.audience(mailbox, organisation)
            })
        };
        case.recipients.iter().map(audience).collect()
    }

    fn unknown_sender(&self, case: &Case<'_>) -> Opinions {
        let because = "the sender belongs to no entity of organisations.toml";
        let mut opinions = self.not_added(None, &Reason::new("unknown-sender", because));
        if *self.organisations.unknown_sender == UnknownSender::Hold {
            let rule = self.organisations.unknown_sender.source();
            let because = "it is not known which legal entity sends this";
            let opinion = Opinion::new(Ask::Hold, rule, because)
                .would_pass_if("an entity in organisations.toml had the sender");
            opinions.per_recipient = vec![opinion; case.recipients.len()];
        }
        opinions
    }

    fn not_added(&self, entity: Option<&Entity>, reason: &Reason) -> Opinions {
        let mut opinions = Opinions::note(format!("footer: not added, {}", reason.because));
        opinions.findings.push(self.finding(entity, reason.word));
        opinions
    }

    fn finding(&self, entity: Option<&Entity>, outcome: &'static str) -> Finding {
        Finding::Footer(FooterFinding {
            entity: entity.map(|entity| entity.id.clone()),
            outcome,
            if_unproved: self.organisations.unproved.clone(),
        })
    }
}

/// Why there is no footer.
struct Reason {
    /// For the audit trail.
    word: &'static str,
    /// For people.
    because: String,
}

impl Reason {
    fn new(word: &'static str, because: &str) -> Self {
        Self {
            word,
            because: because.to_owned(),
        }
    }

    fn none_wanted() -> Self {
        Self::new(
            FooterFinding::NOT_WANTED,
            "the law wants none of this entity",
        )
    }

    /// Whether the message goes without something that it should have.
    fn is_lack(&self) -> bool {
        self.word != FooterFinding::NOT_WANTED && self.word != NotEdited::AlreadyThere.word()
    }
}

impl From<NotEdited> for Reason {
    fn from(reason: NotEdited) -> Self {
        Self::new(reason.word(), &reason.to_string())
    }
}

/// The edits that put signature and footer in. Errs with why there are none.
fn plan(
    case: &Case<'_>,
    entity: &Entity,
    signature: Option<&FooterText>,
    footer: Option<&FooterText>,
) -> Result<Vec<Edit>, Reason> {
    // A signature alone is known by itself.
    let (signature, footer) = match footer {
        Some(footer) => (signature, footer),
        None => (None, signature.ok_or_else(Reason::none_wanted)?),
    };
    let structure = case.structure.map_err(|_| NotEdited::Ambiguous)?;
    let footer = splice::Footer {
        signature_text: signature.map_or("", |signature| &signature.text),
        signature_html: signature.map_or("", |signature| &signature.html),
        text: &footer.text,
        html: &footer.html,
        entity: &entity.id,
    };
    Ok(plan_footer(&case.transaction.message, structure, &footer)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_toml;
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
            [Finding::Note(note), Finding::Footer(_)] => note,
            other => panic!("not one note: {other:?}"),
        }
    }

    /// The entity and the word for what became of the footer.
    fn outcome(opinions: &Opinions) -> (Option<&str>, &str) {
        match opinions.findings.last() {
            Some(Finding::Footer(found)) => (found.entity.as_deref(), found.outcome),
            other => panic!("no word about the footer: {other:?}"),
        }
    }

    #[test]
    fn outbound_mail_of_an_entity_gets_its_footer() {
        let message = "From: \"A\" <a@bumbleton.example>\n\nhello\n";
        let said = opinions(&world(message, "bounces@elsewhere.example"));
        assert_eq!(said.edits.len(), 1);
        assert_eq!(outcome(&said), (Some("bumbleton"), "added"));
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
        assert_eq!(outcome(&report), (None, "no-sender"));
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
        assert_eq!(outcome(&said), (Some("bumbleton"), "signed"));
        assert_eq!(outcome(&trust), (Some("trust"), "not-wanted"));
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
        assert_eq!(outcome(&said), (None, "unknown-sender"));
        assert_eq!(said.per_recipient.len(), 2);
        assert_eq!(said.per_recipient[0].ask, Ask::Hold);
        assert_eq!(said.per_recipient[0].rule, "organisations.toml:2");
    }
}
