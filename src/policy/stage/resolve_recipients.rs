//! The recipient rule: a stranger reaches the domains that are served here and no others, and every
//! name is followed to the mailbox that it means today.
//!
//! Asked twice by the same code: for each `RCPT TO`, so that the client hears of a refusal at once,
//! and for the whole message, whose list members are then judged one by one. Routing inside a local
//! part (`user%elsewhere@served`, RFC 5321 §3.6.1, RFC 2505 §2.1) is never followed nor passed on.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::accounts::{Accounts, Replies};
use crate::base::Network;
use crate::directory::{Because, Directory, End, Hop, Resolution, Source};
use crate::mail::{Client, ForwardPath, Host, Mailbox, Orcpt, Recipient};
use crate::policy::case::{Case, ResolvedRecipient};
use crate::policy::opinion::{Ask, Finding, Opinion, Opinions};
use crate::policy::refusal::Refusal;
use crate::policy::relay_certificates::RelayCertificates;
use crate::policy::secure_domains::{SecureDomains, Standing};
use crate::policy::sms::SmsRule;
use crate::policy::verdict::Direction;

/// The stage `resolve-recipients`.
#[derive(Debug)]
pub struct ResolveRecipients {
    directory: Arc<Directory>,
    register: Arc<SecureDomains>,
    relay_networks: Vec<Network>,
    relay_certificates: Arc<RelayCertificates>,
    postmaster: Option<Mailbox>,
    sms: Arc<SmsRule>,
    accounts: Arc<Accounts>,
}

impl ResolveRecipients {
    /// The rule: who lives here, which domains are secure, whose mail is our own, and who gets mail
    /// for the bare postmaster.
    pub fn new(
        directory: Arc<Directory>,
        register: Arc<SecureDomains>,
        relay_networks: Vec<Network>,
        postmaster: Option<Mailbox>,
    ) -> Self {
        Self {
            directory,
            register,
            relay_networks,
            relay_certificates: Arc::default(),
            postmaster,
            sms: Arc::default(),
            accounts: Arc::default(),
        }
    }

    /// The same with a domain whose recipients are numbers.
    #[must_use]
    pub fn with_texts(self, sms: Arc<SmsRule>) -> Self {
        Self { sms, ..self }
    }

    /// The same with accounts whose contracts say what becomes of mail to their own addresses.
    #[must_use]
    pub fn with_accounts(mut self, accounts: Arc<Accounts>) -> Self {
        self.accounts = accounts;
        self
    }

    /// The same with clients that are known by their certificates.
    #[must_use]
    pub fn with_relay_certificates(mut self, certificates: Arc<RelayCertificates>) -> Self {
        self.relay_certificates = certificates;
        self
    }

    /// The clients that are known by their certificates.
    pub fn relay_certificates(&self) -> &Arc<RelayCertificates> {
        &self.relay_certificates
    }

    /// Which way mail of this client goes.
    pub fn direction(&self, client: &Client) -> Direction {
        if client.account.is_some()
            || self.is_relay_network(client.address.ip())
            || self.relay_certificates.knows(client).is_some()
        {
            Direction::Outbound
        } else {
            Direction::Inbound
        }
    }

    /// The recipients of the envelope, resolved, and an opinion about each.
    pub fn examine(&self, case: &Case<'_>) -> Opinions {
        let mut recipients = Vec::new();
        let mut per_recipient = Vec::new();
        for (of, recipient) in case.transaction.envelope.recipients.iter().enumerate() {
            let may = self.sms.may_be_mail(case.account, &recipient.forward_path);
            match may.and_then(|()| self.resolve(case.direction, of, recipient, case.now)) {
                Ok(resolved) => {
                    per_recipient.extend(resolved.iter().map(|_| Opinion::pass()));
                    recipients.extend(resolved);
                }
                Err(opinion) => {
                    per_recipient.push(opinion);
                    recipients.push(self.as_given(of, recipient, case.now));
                }
            }
        }
        Opinions {
            per_recipient,
            ..Opinions::finding(Finding::Recipients(recipients))
        }
    }

    /// Where one recipient leads, or what speaks against it. A list gives one for each member.
    pub fn resolve(
        &self,
        direction: Direction,
        of: usize,
        recipient: &Recipient,
        now: Timestamp,
    ) -> Result<Vec<ResolvedRecipient>, Opinion> {
        let mailbox = match (&recipient.forward_path, &self.postmaster) {
            (ForwardPath::Mailbox(mailbox), _) => mailbox,
            (ForwardPath::Postmaster, Some(postmaster)) => postmaster,
            (ForwardPath::Postmaster, None) => return Ok(vec![self.as_given(of, recipient, now)]),
        };
        self.check_relaying(direction, mailbox, now)?;
        if let Some(number) = self.sms.canonical(recipient)? {
            return Ok(vec![ResolvedRecipient {
                given: recipient.forward_path.clone(),
                ..self.as_given(of, &number, now)
            }]);
        }
        let today = now.to_zoned(TimeZone::UTC).date();
        let (mailbox, hop) = match self.replies_to(mailbox) {
            ReplyPath::Usual => (mailbox, None),
            ReplyPath::Unread => return Ok(vec![self.as_given(of, recipient, now)]),
            ReplyPath::Linked(mailbox, hop) => (mailbox, Some(hop)),
        };
        let mut resolution = self.directory.resolve_on(mailbox, today);
        resolution.path.splice(0..0, hop);
        let errors_to = self.list_owner(&resolution, today);
        let ends = self.ends(mailbox, resolution.end, today)?;
        let mut resolved = Vec::with_capacity(ends.len());
        for end in ends {
            let one = self.led_to(of, recipient, end, resolution.path.clone(), now);
            let one = self.led_to_number(one, now)?;
            resolved.push(match &errors_to {
                Some(owner) => one.of_list(owner),
                None => one,
            });
        }
        Ok(resolved)
    }

    /// The same with the number that a name leads to in its one form: in two, of a list or beside its own name, it
    /// would be two telephones that get a text each.
    ///
    /// # Errors
    /// It leads to something at the domain of numbers that is none.
    fn led_to_number(
        &self,
        led: ResolvedRecipient,
        now: Timestamp,
    ) -> Result<ResolvedRecipient, Opinion> {
        Ok(match self.sms.canonical(&led.recipient)? {
            Some(number) => ResolvedRecipient {
                given: led.given,
                path: led.path,
                ..self.as_given(led.of, &number, now)
            },
            None => led,
        })
    }

    /// What the contract of an account says of mail to its own address.
    fn replies_to(&self, mailbox: &Mailbox) -> ReplyPath<'_> {
        let folded = mailbox.folded();
        let Some(account) = self.accounts.get(&folded.to_string()) else {
            return ReplyPath::Usual;
        };
        let contract = &account.contract;
        match (&contract.replies, &contract.linked_mailbox) {
            (Replies::Discard | Replies::Answer { .. }, _) => ReplyPath::Unread,
            (Replies::LinkedMailbox, Some(linked)) => {
                let place = account.place().map(ToString::to_string);
                let hop = Hop {
                    from: folded,
                    to: linked.folded(),
                    because: Because::Alias,
                    source: Source::words(place.as_deref().unwrap_or("accounts")),
                };
                ReplyPath::Linked(linked, hop)
            }
            _ => ReplyPath::Usual,
        }
    }

    /// Who answers for the list that an address leads to, if it leads to one and somebody does.
    fn list_owner(&self, resolution: &Resolution, today: Date) -> Option<Mailbox> {
        let End::List(_) = resolution.end else {
            return None;
        };
        let list = resolution
            .path
            .iter()
            .find(|hop| hop.because == Because::List)?;
        let owner = self.directory.list_owner(&list.from)?;
        match self.directory.resolve_on(owner, today).end {
            End::Mailbox(owner) => Some(owner),
            _ => Some(owner.clone()),
        }
    }

    fn is_relay_network(&self, address: IpAddr) -> bool {
        self.relay_networks
            .iter()
            .any(|network| network.contains(address))
    }

    /// What a stranger may not ask for, and what nobody may ask of a host that is trusted.
    fn check_relaying(
        &self,
        direction: Direction,
        mailbox: &Mailbox,
        now: Timestamp,
    ) -> Result<(), Opinion> {
        if mailbox.local_part().as_str().contains(['%', '@', '!']) && self.is_trusted(mailbox, now)
        {
            return Err(denied("the local part holds a route to somewhere else")
                .would_pass_if("the address is given without a route in its local part"));
        }
        if direction == Direction::Outbound {
            return Ok(());
        }
        let served = match mailbox.host() {
            Host::Domain(domain) => self.directory.serves(domain),
            Host::Literal(_) => false,
        };
        if !served {
            return Err(
                denied("a stranger asks for a domain that is not served here")
                    .would_pass_if("the client logs in, or its network is in relay-networks, or its certificate in relay-certificates"),
            );
        }
        Ok(())
    }

    /// Whether mail for it may hold patient data, or is taken from anyone: its host might follow a
    /// route in the local part to where neither is so.
    fn is_trusted(&self, mailbox: &Mailbox, now: Timestamp) -> bool {
        let trusted =
            |domain| self.directory.serves(domain) || self.register.is_secure(domain, now);
        mailbox.domain().is_some_and(trusted)
    }

    /// The mailboxes that a resolution ends in, or what speaks against it.
    fn ends(&self, mailbox: &Mailbox, end: End, today: Date) -> Result<Vec<Mailbox>, Opinion> {
        let (refusal, because) = match end {
            End::Mailbox(end) if self.is_shut_off(&end) && !is_postmaster(mailbox) => {
                return Err(self.takes_no_mail(&end, today));
            }
            End::Mailbox(end) | End::Unlisted(end) | End::External(end) => return Ok(vec![end]),
            // As members that are closed, those that take no mail are left out; `check` warns of them.
            End::List(mut members) => {
                members.retain(|member| !self.is_shut_off(member));
                if !members.is_empty() {
                    return Ok(members);
                }
                (Refusal::EmptyList, "the list has no members")
            }
            // RFC 5321 §4.5.1: every domain that is served has a postmaster.
            End::Unknown(_) | End::Closed if is_postmaster(mailbox) => {
                let postmaster = self.postmaster.as_ref().unwrap_or(mailbox);
                return Ok(vec![postmaster.clone()]);
            }
            End::Moved(successor) => {
                let successor = successor.to_string();
                (
                    Refusal::MovedMailbox { successor },
                    "the mailbox has moved, and mail is not forwarded",
                )
            }
            End::Closed => (
                Refusal::ClosedMailbox,
                "the mailbox is closed and has no confirmed successor",
            ),
            End::Ambiguous(_) => (
                Refusal::AmbiguousMailbox,
                "the name may mean more than one mailbox, or disagrees with its code",
            ),
            End::Unknown(suggestion) => {
                let suggestion = suggestion.map(|mailbox| mailbox.to_string());
                (
                    Refusal::UnknownMailbox { suggestion },
                    "the directory does not have the name",
                )
            }
            End::Loop => (Refusal::AliasLoop, "the aliases of the name form a loop"),
        };
        Err(Opinion::new(Ask::Refuse(refusal), "built-in", because))
    }

    /// Whether the directory says that nothing at all is to be sent to a mailbox: nobody reads it (`domain.md` §8.2).
    fn is_shut_off(&self, mailbox: &Mailbox) -> bool {
        let known = self.directory.glance(mailbox);
        known.is_some_and(|known| known.do_not_send)
    }

    /// The sender must hear at once, or waits for an answer to what nobody will read.
    fn takes_no_mail(&self, mailbox: &Mailbox, today: Date) -> Opinion {
        let instead = self.directory.instead_of(mailbox, today);
        let refusal = Refusal::TakesNoMail {
            instead: instead.as_ref().map(Mailbox::to_string),
        };
        let remedy = match instead {
            Some(instead) => format!("it is sent to {instead}, or `do_not_send` of the row is no"),
            None => "`do_not_send` of the row is no, or another address is given".to_owned(),
        };
        let because = "the directory says that nothing is to be sent to this mailbox (do_not_send)";
        Opinion::new(Ask::Refuse(refusal), "built-in", because).would_pass_if(remedy)
    }

    /// The recipient at the end of the path. A name that is its own mailbox keeps the case it was
    /// written in (RFC 5321 §2.4); another one remembers what was asked for (RFC 3461 §5.2.7).
    fn led_to(
        &self,
        of: usize,
        given: &Recipient,
        end: Mailbox,
        path: Vec<Hop>,
        now: Timestamp,
    ) -> ResolvedRecipient {
        let same = |mailbox: &Mailbox| mailbox.folded() == end.folded();
        if given.forward_path.mailbox().is_some_and(same) {
            return ResolvedRecipient {
                path,
                ..self.as_given(of, given, now)
            };
        }
        let recipient = Recipient {
            forward_path: ForwardPath::Mailbox(end),
            notify: given.notify,
            orcpt: given
                .orcpt
                .clone()
                .or_else(|| Some(Orcpt::for_path(&given.forward_path))),
        };
        ResolvedRecipient {
            given: given.forward_path.clone(),
            path,
            ..self.as_given(of, &recipient, now)
        }
    }

    /// A recipient as it is, with what is known of its domain.
    pub(in crate::policy) fn as_given(
        &self,
        of: usize,
        recipient: &Recipient,
        now: Timestamp,
    ) -> ResolvedRecipient {
        let mut resolved = ResolvedRecipient::unresolved(of, recipient);
        if let Some(domain) = recipient.forward_path.domain() {
            resolved.served = self.directory.serves(domain);
            let standing = self.register.standing(domain, now);
            resolved.secure = matches!(standing, Standing::Secure(_));
            resolved.secure_rule = match standing {
                Standing::Secure(entry) | Standing::Lapsed(entry) => Some(entry.pattern.source()),
                Standing::Unlisted => None,
            };
        }
        resolved
    }
}

/// Where mail to an account's own address goes.
enum ReplyPath<'a> {
    /// As the directory says.
    Usual,
    /// Nowhere: it is taken and thrown away later (`replies`).
    Unread,
    /// To the linked mailbox.
    Linked(&'a Mailbox, Hop),
}

fn is_postmaster(mailbox: &Mailbox) -> bool {
    mailbox
        .local_part()
        .as_str()
        .eq_ignore_ascii_case("postmaster")
}

fn denied(because: &str) -> Opinion {
    Opinion::new(Ask::Refuse(Refusal::RelayingDenied), "built-in", because)
}

#[cfg(test)]
mod tests;
