//! Links: what is odd about them, for each recipient by the sites that its organisation approves, and what
//! happens then. A banner and links that are taken out are the same for all recipients: what
//! one of them may not have, none gets.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::Located;
use crate::content::links::Link;
use crate::mail::splice::{Banner, NotEdited};
use crate::mail::{Mailbox, ReversePath, redact};
use crate::policy::author::authors;
use crate::policy::case::Case;
use crate::policy::finding::{LinkEdits, LinkFinding, LinkKind};
use crate::policy::links::{
    Judge, LinkSettings, LinkVerdict, Wanted, banner_html, banner_text, write,
};
use crate::policy::opinion::{Ask, Finding, Opinion, Opinions};
use crate::policy::organisations::{Organisations, Sender};
use crate::policy::secure_domains::SecureDomains;

/// The part of the stage that looks at links.
#[derive(Debug)]
pub struct LinkScan {
    settings: LinkSettings,
    organisations: Arc<Organisations>,
    register: Arc<SecureDomains>,
}

/// What was found for one organisation.
struct Side<'s> {
    entity: Option<String>,
    judge: Judge<'s>,
    /// The worst of it, if that keeps the message from a recipient.
    opinion: Opinion,
}

impl LinkScan {
    /// By these settings.
    pub fn new(
        settings: LinkSettings,
        organisations: Arc<Organisations>,
        register: Arc<SecureDomains>,
    ) -> Self {
        Self {
            settings,
            organisations,
            register,
        }
    }

    /// Findings, edits, and an opinion for each recipient.
    pub fn examine(&self, case: &Case<'_>) -> Opinions {
        let links = &case.content.links;
        if links.found.is_empty() {
            return Opinions::none();
        }
        let entities = self.entities(case);
        let mut sides: Vec<Side<'_>> = Vec::new();
        for entity in &entities {
            if !sides.iter().any(|side| side.entity == *entity) {
                sides.push(self.side(case, entity.clone()));
            }
        }
        let findings = self.findings(case, &mut sides);
        let mut opinions = self.edits(case, &sides, &findings);
        let of = |entity: &Option<String>| {
            let side = sides.iter().find(|side| side.entity == *entity);
            side.map_or_else(Opinion::pass, |side| side.opinion.clone())
        };
        let mut each: Vec<Opinion> = entities.iter().map(of).collect();
        // What could not be edited concerns everybody.
        for (opinion, all) in each
            .iter_mut()
            .zip(std::mem::take(&mut opinions.per_recipient))
        {
            if matches!(opinion.ask, Ask::Pass) {
                *opinion = all;
            }
        }
        if each.iter().any(|opinion| opinion.ask != Ask::Pass) {
            opinions.per_recipient = each;
        }
        if !findings.is_empty() {
            opinions.findings.push(Finding::Links(findings));
        }
        opinions
    }

    /// The organisation whose approved sites count, for each recipient: its own, or the sender's.
    fn entities(&self, case: &Case<'_>) -> Vec<Option<String>> {
        if self.settings.approved_for.is_empty() {
            return vec![None; case.recipients.len().max(1)];
        }
        if case.is_outbound() {
            let mut senders = authors(case.header, "From").into_iter();
            let author = senders.find_map(|author| author.mailbox);
            let reverse_path = match &case.transaction.envelope.reverse_path {
                ReversePath::Mailbox(mailbox) => Some(mailbox),
                ReversePath::Null => None,
            };
            let account = case.transaction.client.account.as_deref();
            let mut mailboxes = author.iter().chain(reverse_path);
            let entity = mailboxes.find_map(|mailbox| self.entity(case, mailbox, account));
            return vec![entity; case.recipients.len().max(1)];
        }
        let recipients = case.recipients.iter();
        recipients
            .map(|recipient| self.entity(case, recipient.mailbox()?, None))
            .collect()
    }

    fn entity(&self, case: &Case<'_>, mailbox: &Mailbox, account: Option<&str>) -> Option<String> {
        let entry = case.directory.entry(mailbox);
        let entity = self.organisations.of(Sender {
            mailbox,
            organisation: entry.and_then(|entry| entry.ods_code()),
            account,
        })?;
        Some(entity.id.clone())
    }

    fn side(&self, case: &Case<'_>, entity: Option<String>) -> Side<'_> {
        Side {
            judge: Judge::new(&self.settings, entity.as_deref(), &self.register, case.now),
            entity,
            opinion: Opinion::pass(),
        }
    }

    /// What is odd for any of the sides, each kind and host once; and what that means for each side.
    fn findings(&self, case: &Case<'_>, sides: &mut [Side<'_>]) -> Vec<LinkFinding> {
        let links = &case.content.links;
        let verdicts = self.settings.verdicts(case.direction);
        let mut all: Vec<LinkFinding> = Vec::new();
        let mut known: HashMap<(LinkKind, Option<String>), (usize, usize)> = HashMap::new();
        for (number, side) in sides.iter_mut().enumerate() {
            for link in &links.found {
                let host = link.target.host.as_ref().map(ToString::to_string);
                // Somebody may have named a host after a patient.
                let host = host.map(|host| redact::numbers(&host).into_owned());
                for odd in side.judge.odd(link) {
                    let (verdict, says) = verdicts.of(odd.kind);
                    side.worsen(verdict, odd.kind, says, &link.place);
                    match known.get(&(odd.kind, host.clone())) {
                        Some((at, first)) if *first == number => all[*at].count += 1,
                        Some(_) => {}
                        None if all.len() < findings_max(odd.kind) => {
                            known.insert((odd.kind, host.clone()), (all.len(), number));
                            all.push(LinkFinding {
                                kind: odd.kind,
                                host: host.clone(),
                                place: link.place.clone(),
                                instead_of: odd
                                    .instead_of
                                    .map(|name| redact::numbers(&name).into_owned()),
                                count: 1,
                                does: verdict.word(),
                                rule: source(says),
                            });
                        }
                        None => {}
                    }
                }
            }
        }
        if links.beyond {
            let (verdict, says) = verdicts.of(LinkKind::TooMany);
            let place = links.found[0].place.clone();
            for side in sides.iter_mut() {
                side.worsen(verdict, LinkKind::TooMany, says, &place);
            }
            all.push(LinkFinding {
                kind: LinkKind::TooMany,
                host: None,
                place,
                instead_of: None,
                count: 1,
                does: verdict.word(),
                rule: source(says),
            });
        }
        all.sort_by(|a, b| (a.kind, &a.host).cmp(&(b.kind, &b.host)));
        all
    }

    /// The splices, or what happens without them. Opinions are those about everybody.
    fn edits(&self, case: &Case<'_>, sides: &[Side<'_>], findings: &[LinkFinding]) -> Opinions {
        let settings = &self.settings;
        let verdicts = settings.verdicts(case.direction);
        let does = |verdict: LinkVerdict| {
            findings
                .iter()
                .any(|finding| finding.does == verdict.word())
        };
        let strips = does(LinkVerdict::Strip);
        let strip = |link: &Link| {
            sides.iter().any(|side| {
                let odd = side.judge.odd(link);
                odd.iter()
                    .any(|odd| verdicts.of(odd.kind).0 == LinkVerdict::Strip)
            })
        };
        let told: Vec<&LinkFinding> = findings
            .iter()
            .filter(|finding| finding.does == LinkVerdict::Annotate.word())
            .collect();
        if !strips && told.is_empty() {
            return Opinions::none();
        }
        let text = banner_text(settings.banner(case.direction), &told);
        let html = banner_html(&text);
        let header = case.header;
        let is_reply =
            header.first("In-Reply-To").is_some() || header.first("References").is_some();
        let wanted = Wanted {
            strip: strips.then_some(&strip as &dyn Fn(&Link) -> bool),
            banner: (!told.is_empty()).then_some(Banner {
                text: &text,
                html: &html,
                once: settings.once_per_thread && is_reply,
            }),
            links: &case.content.links,
        };
        let Ok(structure) = case.structure else {
            return self.failed(
                case,
                strips.then_some(NotEdited::Ambiguous),
                Some(NotEdited::Ambiguous),
            );
        };
        let written = write(&case.transaction.message, structure, &wanted);
        let mut opinions = self.failed(case, written.not_stripped, written.not_annotated);
        opinions.edits = written.edits;
        if !opinions.edits.is_empty() {
            opinions.findings.push(Finding::LinkEdits(LinkEdits {
                cannot_strip: settings.cannot_strip.clone(),
                cannot_annotate: settings.cannot_annotate.clone(),
            }));
        }
        opinions
    }

    fn failed(
        &self,
        case: &Case<'_>,
        not_stripped: Option<NotEdited>,
        not_annotated: Option<NotEdited>,
    ) -> Opinions {
        let mut opinions = Opinions::none();
        let mut worst = Opinion::pass();
        for (reason, what, verdict) in [
            (
                not_stripped,
                "links: not taken out",
                &self.settings.cannot_strip,
            ),
            (
                not_annotated,
                "links: no banner",
                &self.settings.cannot_annotate,
            ),
        ] {
            let Some(reason) = reason else { continue };
            opinions
                .findings
                .push(Finding::Note(format!("{what}, {reason}")));
            let because = format!("a link could not be dealt with as the policy says: {reason}");
            if let (Some(ask), Ask::Pass) = (verdict.ask(), &worst.ask) {
                worst = Opinion::new(ask, verdict.source(), because)
                    .would_pass_if("the message comes without this link");
            }
        }
        if worst.ask != Ask::Pass {
            opinions.per_recipient = vec![worst; case.recipients.len()];
        }
        opinions
    }
}

impl Side<'_> {
    fn worsen(
        &mut self,
        verdict: LinkVerdict,
        kind: LinkKind,
        says: Option<&Located<LinkVerdict>>,
        place: &str,
    ) {
        let Some(ask) = verdict.ask() else { return };
        let is_worse = matches!(
            (&self.opinion.ask, &ask),
            (Ask::Pass, _) | (Ask::Quarantine, Ask::Refuse(_))
        );
        if is_worse {
            let because = format!("a link is odd: {} ({place})", kind.word());
            self.opinion = Opinion::new(ask, source(says), because)
                .would_pass_if("the message comes without this link, or its site is approved");
        }
    }
}

fn source(says: Option<&Located<LinkVerdict>>) -> String {
    says.map_or_else(|| "built-in".to_owned(), Located::source)
}

/// Findings of one message that are kept; what they mean is reckoned from all. What every mailing is full of
/// leaves room for the others.
fn findings_max(kind: LinkKind) -> usize {
    match kind {
        LinkKind::Unapproved | LinkKind::Remote => 100,
        _ => 200,
    }
}

#[cfg(test)]
mod tests;
