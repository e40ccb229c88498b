//! Own domains: mail from outside in the name of a domain that is served here comes from nobody but those who
//! can show it. A letter that seems to come from a colleague is the one that is believed.
//!
//! Shown it is by SPF of the reverse path or a signature in the name of the domain, or by a sealer whom the policy
//! trusts (for the author). Others that must get through, mailing lists that keep the author's address, are
//! data, with a reason. Where the DNS did not answer, the client is asked to come again.

use crate::config::{Located, Section};
use crate::mail::{Domain, MailTransaction};
use crate::policy::author::authors;
use crate::policy::case::Case;
use crate::policy::finding::AuthenticationResults;
use crate::policy::opinion::{Ask, Opinion};
use crate::policy::refusal::Refusal;

use super::pattern::SenderPattern;

/// `[own-domains]` of `senders.toml`.
#[derive(Debug)]
pub(super) struct OwnDomains {
    from_outside: Located<FromOutside>,
    except: Vec<Exception>,
}

/// What happens to mail from outside that only claims to be from here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum FromOutside {
    Refuse,
    Quarantine,
    Off,
}

/// Somebody who may.
#[derive(Debug)]
struct Exception {
    sender: SenderPattern,
}

impl Default for OwnDomains {
    fn default() -> Self {
        Self {
            from_outside: Located::built_in(FromOutside::Refuse),
            except: Vec::new(),
        }
    }
}

impl OwnDomains {
    pub(super) fn read(top: &Section<'_>) -> Self {
        let section = top.section("own-domains");
        let words = [
            ("refuse", FromOutside::Refuse),
            ("quarantine", FromOutside::Quarantine),
            ("off", FromOutside::Off),
        ];
        let from_outside = section.word("from-outside", &words);
        let mut except = Vec::new();
        for line in section.sections("except") {
            let sender = line.required::<SenderPattern>("sender");
            line.required_string("reason");
            line.finish();
            except.extend(sender.map(|sender| Exception {
                sender: sender.into_inner(),
            }));
        }
        section.finish();
        Self {
            from_outside: from_outside.unwrap_or_else(|| Self::default().from_outside),
            except,
        }
    }

    /// What speaks against mail from outside; `None` if nothing does.
    pub(super) fn judge(
        &self,
        case: &Case<'_>,
        results: &AuthenticationResults,
    ) -> Option<Opinion> {
        let ask = match *self.from_outside {
            FromOutside::Refuse => Ask::Refuse(Refusal::OwnDomain),
            FromOutside::Quarantine => Ask::Quarantine,
            FromOutside::Off => return None,
        };
        if !claims_unproved(case, results) || self.excepts(case.transaction, results) {
            return None;
        }
        if results.is_unsure() {
            return Some(unverified(
                "the DNS did not answer, and it claims to be from here",
            ));
        }
        let because = "it comes from outside in the name of a domain that is served here, and nobody vouches for it";
        let change = "SPF or DKIM passes in the name of that domain, or its sender is in except of [own-domains]";
        Some(Opinion::new(ask, self.from_outside.source(), because).would_pass_if(change))
    }

    /// An address counts if SPF or a signature shows that it is the sender's; a network needs nothing more.
    fn excepts(&self, transaction: &MailTransaction, results: &AuthenticationResults) -> bool {
        let client = transaction.client.address.ip();
        let sender = transaction.envelope.reverse_path.notifiable();
        let sender = sender.filter(|mailbox| {
            let domain = mailbox.domain();
            domain.is_some_and(|domain| results.answers_for(domain))
        });
        self.except.iter().any(|exception| {
            exception.sender.has(client) || sender.is_some_and(|one| exception.sender.is(one))
        })
    }
}

/// Whether author or reverse path are of a served domain that does not answer for the message.
fn claims_unproved(case: &Case<'_>, results: &AuthenticationResults) -> bool {
    let served = |domain: &&Domain| case.directory.serves(domain);
    let sender = case
        .transaction
        .envelope
        .reverse_path
        .domain()
        .filter(served);
    if sender.is_some_and(|domain| !results.answers_for(domain)) && results.sealer.is_none() {
        return true;
    }
    let authors = authors(case.header, "From");
    let is_sole = authors.len() == 1;
    let domains = authors
        .iter()
        .filter_map(|one| one.mailbox.as_ref()?.domain());
    let mut domains = domains.filter(served);
    domains.any(|domain| {
        let by_others = is_sole && (results.has("dmarc", &["pass"]) || results.sealer.is_some());
        !by_others && !results.answers_for(domain)
    })
}

/// The DNS must answer first.
pub(super) fn unverified(because: &str) -> Opinion {
    Opinion::new(Ask::Defer(Refusal::SenderUnverified), "built-in", because)
        .would_pass_if("the message is sent again when the DNS answers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Diagnostics, read_toml};
    use crate::policy::finding::MethodResult;
    use crate::policy::testing::{World, file};

    fn rule(text: &str) -> OwnDomains {
        let diagnostics = Diagnostics::default();
        let rule = read_toml(&file("senders.toml", text), &diagnostics, OwnDomains::read);
        assert!(diagnostics.into_vec().is_empty());
        rule
    }

    fn results(identities: &[&str], method: &'static str, word: &str) -> AuthenticationResults {
        let domain = |text: &&str| Domain::parse(text).unwrap();
        AuthenticationResults {
            identities: identities.iter().map(domain).collect(),
            methods: vec![MethodResult {
                method,
                result: word.to_owned(),
                properties: Vec::new(),
            }],
            was_asked: true,
            ..AuthenticationResults::default()
        }
    }

    fn judged(text: &str, from: &str, envelope: &str, results: &AuthenticationResults) -> Ask {
        let world = World::new(
            &format!("From: {from}\n\nhello\n"),
            envelope,
            &["a@nhs.net"],
        );
        let opinion = world.ask(|case| rule(text).judge(case, results));
        opinion.map_or(Ask::Pass, |opinion| opinion.ask)
    }

    #[test]
    fn our_name_is_taken_from_outside_only_where_it_is_shown() {
        let refused = Ask::Refuse(Refusal::OwnDomain);
        for (from, envelope, found, expected) in [
            (
                "gp@nhs.net",
                "x@y.example",
                results(&[], "spf", "none"),
                &refused,
            ),
            (
                "x@y.example",
                "gp@nhs.net",
                results(&[], "spf", "fail"),
                &refused,
            ),
            (
                "x@y.example, gp@nhs.net",
                "x@y.example",
                results(&["y.example"], "spf", "pass"),
                &refused,
            ),
            ("gp@nhs.net", "", results(&[], "dkim", "fail"), &refused),
            (
                "gp@nhs.net",
                "x@y.example",
                results(&["nhs.net"], "dkim", "pass"),
                &Ask::Pass,
            ),
            (
                "gp@nhs.net",
                "x@y.example",
                results(&["mail.nhs.net"], "dkim", "pass"),
                &Ask::Pass,
            ),
            (
                "gp@nhs.net",
                "x@y.example",
                results(&["evilnhs.net"], "dkim", "pass"),
                &refused,
            ),
            (
                "gp@nhs.net",
                "x@y.example",
                results(&["y.example"], "dmarc", "pass"),
                &Ask::Pass,
            ),
            (
                "x@y.example",
                "x@y.example",
                results(&[], "spf", "none"),
                &Ask::Pass,
            ),
            (
                "gp@nhs.net",
                "x@y.example",
                results(&[], "dmarc", "temperror"),
                &Ask::Defer(Refusal::SenderUnverified),
            ),
        ] {
            assert_eq!(
                judged("", from, envelope, &found),
                *expected,
                "{from} {envelope}"
            );
        }
    }

    #[test]
    fn a_trusted_sealer_vouches_for_the_author() {
        let mut found = results(&["lists.example"], "dmarc", "fail");
        found.sealer = Domain::parse("lists.example").ok();
        assert_eq!(
            judged("", "gp@nhs.net", "x@lists.example", &found),
            Ask::Pass
        );
    }

    #[test]
    fn the_policy_says_what_happens_and_who_may_all_the_same() {
        let quarantine = "[own-domains]\nfrom-outside = \"quarantine\"\n";
        let none = results(&[], "spf", "none");
        let ask = |text: &str, found: &AuthenticationResults| {
            judged(text, "gp@nhs.net", "x@lists.example", found)
        };
        assert_eq!(ask(quarantine, &none), Ask::Quarantine);
        assert_eq!(
            ask("[own-domains]\nfrom-outside = \"off\"\n", &none),
            Ask::Pass
        );
        let shown = results(&["lists.example"], "spf", "pass");
        let list = "[[own-domains.except]]\nsender = \"lists.example\"\nreason = \"a list\"\n";
        assert_eq!(ask(list, &shown), Ask::Pass);
        assert_eq!(ask(list, &none), Ask::Refuse(Refusal::OwnDomain));
        let network = "[[own-domains.except]]\nsender = \"192.0.2.0/24\"\nreason = \"ours\"\n";
        assert_eq!(ask(network, &none), Ask::Pass);
    }
}
