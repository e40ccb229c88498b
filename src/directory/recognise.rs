//! Names that are recognised by their shape alone: where they lead, if they lead anywhere.
//!
//! The shape gives a code; the directory says whose it is; and what the name says besides must speak
//! of the same organisation. Whatever is not certain is ambiguous or unknown: never a guess.

use crate::mail::{Domain, Mailbox};

use super::agreement::Agreement;
use super::code::OdsCode;
use super::entry::Kind;
use super::index::{OrganisationRow, Row};
use super::resolution::{Because, End, Hop};
use super::resolve::{Step, Stop, Target, Walk, Wanted};
use super::shape::{Shape, spelled_codes, tail_codes};
use super::slip::Written;
use super::suggest;

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

impl Walk<'_> {
    pub(super) fn by_shape(self, name: &Mailbox, domain: &Domain) -> Option<Step> {
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
                let name = recognised(Some(said), Because::LegacyPharmacyName, line);
                self.by_legacy_name(&name, said, tail)
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
        let pharmacies = Wanted::Kind(Kind::Pharmacy);
        let Ok(code) = OdsCode::parse_pharmacy(tail) else {
            return self.doubtful(suggest::near_code(self, said, tail, name.domain));
        };
        // No code begins in `nhspharmacy.`: it has no F.
        let mut others: Vec<Mailbox> = spelled_codes(name.name.local_part().as_str())
            .filter(|other| *other != code)
            .flat_map(|other| self.live(other, pharmacies, name.domain))
            .filter_map(Row::address)
            .collect();
        if !others.is_empty() {
            others.extend(
                self.live(code, pharmacies, name.domain)
                    .filter_map(Row::address),
            );
            return Some(Step::End(End::Ambiguous(others)));
        }
        self.by_code(name, code, Kind::Pharmacy)
            .or_else(|| self.doubtful(suggest::near_code(self, said, tail, name.domain)))
    }

    /// The longest ending that is a code of the directory, if the name spells no other live one.
    fn by_care_name(self, name: Recognised<'_>, said: &str) -> Option<Step> {
        let is_live = |code: &OdsCode| self.live(*code, Wanted::All, name.domain).next().is_some();
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
            let candidates = live
                .iter()
                .flat_map(|code| self.live(*code, Wanted::Shared, name.domain));
            return Some(Step::End(End::Ambiguous(
                candidates.filter_map(Row::address).collect(),
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
        match self.target(code, Wanted::Shared, name.domain) {
            Target::Live(entry) | Target::Shut(entry) => {
                Some(Step::Hop(self.recognised_hop(name, entry)?))
            }
            Target::Several(candidates) => Some(Step::End(End::Ambiguous(candidates))),
            Target::Nothing => None,
        }
    }

    /// The mailbox of a kind that a code names, if the rest of the name speaks of the same
    /// organisation; `None` if the directory does not know the code.
    fn by_code(self, name: &Recognised<'_>, code: OdsCode, kind: Kind) -> Option<Step> {
        let (entry, step): (_, fn(Hop) -> Step) =
            match self.target(code, Wanted::Kind(kind), name.domain) {
                Target::Live(entry) => (entry, Step::Arrive),
                Target::Shut(entry) => (entry, Step::Hop),
                Target::Several(candidates) => return Some(Step::End(End::Ambiguous(candidates))),
                Target::Nothing => return self.by_old_code(name, code, kind),
            };
        Some(match self.doubt(name, code, entry) {
            None => step(self.recognised_hop(name, entry)?),
            Some(end) => Step::End(end),
        })
    }

    /// A code that only the table of successors knows: the name must speak of the successor.
    fn by_old_code(self, name: &Recognised<'_>, code: OdsCode, kind: Kind) -> Option<Step> {
        let step = self.by_successor(name.name, code, kind, name.domain)?;
        if let Step::Hop(hop) | Step::Tell(hop) = &step {
            let entry = self.directory.entry_of(&hop.to)?;
            if let Some(end) = self.doubt(name, code, entry) {
                return Some(Step::End(end));
            }
        }
        Some(step)
    }

    /// Where a name ends that speaks of someone else than its code, or less of it than of one whose
    /// code is a slip away; `None` if nothing speaks against the code.
    fn doubt(self, name: &Recognised<'_>, code: OdsCode, entry: Row<'_>) -> Option<End> {
        let said = name.said?;
        let Some(agreement) = self.agreement(entry.organisation(), said) else {
            let candidate = entry.address().filter(|_| !self.is_inner());
            return Some(candidate.map_or(End::Closed, |candidate| self.disagrees(&candidate)));
        };
        if name.because != Because::LegacyPharmacyName {
            return None; // a code of unknown length has no slips to be counted
        }
        if self.is_inner() {
            return None; // whoever takes this way walks it again, and is asked then
        }
        let written = Written {
            code,
            entry,
            agreement,
        };
        written.or_a_slip(self, said, name.domain)
    }

    /// Where a name ends that speaks of someone else than its code: nowhere, but the sender may be
    /// told whose code it is, if that one is open.
    fn disagrees(self, candidate: &Mailbox) -> End {
        match self.leads_to(candidate) {
            Stop::End(End::Mailbox(mailbox) | End::Moved(mailbox)) => End::Ambiguous(vec![mailbox]),
            Stop::End(End::Ambiguous(candidates)) => End::Ambiguous(candidates),
            _ => End::Closed,
        }
    }

    /// How what a name says besides its code fits an organisation; `None` if it does not fit enough.
    pub(super) fn agreement(
        self,
        organisation: Option<OrganisationRow<'_>>,
        said: &str,
    ) -> Option<Agreement> {
        let organisation = organisation?;
        let stop = &self.directory.aliases.stop_words;
        let agreement = organisation.evidence()?.agreement(said, stop);
        let suffices = agreement.suffices(|| self.is_borne_by_several(organisation));
        suffices.then_some(agreement)
    }

    fn is_borne_by_several(self, organisation: OrganisationRow<'_>) -> bool {
        organisation.namesakes().any(|other| {
            let mut mailboxes = other.mailboxes(true);
            other.code() != organisation.code() && mailboxes.any(|entry| entry.is_live(self.on))
        })
    }

    /// A name near a pharmacy's that leads nowhere: refused, or left to the domain's default.
    fn doubtful(self, suggestion: Option<Mailbox>) -> Option<Step> {
        let refuse = self.directory.aliases.shapes.refuse_doubtful;
        refuse.then_some(Step::End(End::Unknown(suggestion)))
    }

    fn is_known(self, code: OdsCode) -> bool {
        self.directory.index.organisation(code).is_some()
            || self.directory.aliases.successors.contains_key(&code)
    }

    fn recognised_hop(self, name: &Recognised<'_>, entry: Row<'_>) -> Option<Hop> {
        Some(self.hop(name.name, entry.address()?, name.because, name.line))
    }
}
