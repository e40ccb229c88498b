//! A case: one transaction and what is known about it so far. Stages read it and change nothing.

use jiff::Timestamp;

use crate::accounts::{Account, Accounts};
use crate::content::Content;
use crate::directory::{Directory, Hop};
use crate::mail::mime::{MimeError, Structure};
use crate::mail::{Domain, ForwardPath, Header, MailTransaction, Mailbox, Recipient};

use super::finding::Findings;
use super::verdict::Direction;

/// What a stage may know. Made once for a message; the findings grow from stage to stage.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What came, from whom, under which envelope.
    pub transaction: &'a MailTransaction,
    /// Which way it goes.
    pub direction: Direction,
    /// The header of the message, parsed.
    pub header: &'a Header<'a>,
    /// Its MIME parts, or why they were not told apart. Then the content is its octets as text, and
    /// `malformed`.
    pub structure: Result<&'a Structure, MimeError>,
    /// What a reader of it sees.
    pub content: &'a Content,
    /// Who gets it. Before `resolve-recipients` has run, those of the envelope as they came.
    pub recipients: &'a [ResolvedRecipient],
    /// What the stages before this one found.
    pub findings: &'a Findings,
    /// The moment as of which it is judged.
    pub now: Timestamp,
    /// The account that authenticated, if one did.
    pub account: Option<&'a Account>,
    /// All accounts.
    pub accounts: &'a Accounts,
    /// Who lives here.
    pub directory: &'a Directory,
    /// The name of this gateway, as in `Authentication-Results`.
    pub hostname: &'a str,
    /// Whether a stage may ask the network. Policy tests must come out the same everywhere.
    pub network_allowed: bool,
}

impl Case<'_> {
    /// Whether the mail comes from one of our own: an account or a relay network.
    pub fn is_outbound(&self) -> bool {
        self.direction == Direction::Outbound
    }
}

/// A recipient of the envelope and where it leads; a list gives one for each member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResolvedRecipient {
    /// Which recipient of the envelope it comes from, counted from 0.
    pub of: usize,
    /// The forward path as the client gave it.
    pub given: ForwardPath,
    /// Whom to deliver to, with ORCPT set to what was asked for if it changed.
    pub recipient: Recipient,
    /// How the one became the other.
    pub path: Vec<Hop>,
    /// Whether its domain may have patient data, as of the moment of the case.
    pub secure: bool,
    /// What says so: `policies/secure-domains.toml:31`; `None` if no entry covers the domain.
    pub secure_rule: Option<String>,
    /// Whether we take mail for its domain from anyone.
    pub served: bool,
}

impl ResolvedRecipient {
    /// A recipient as it came, of which nothing is known yet.
    pub fn unresolved(of: usize, recipient: &Recipient) -> Self {
        Self {
            of,
            given: recipient.forward_path.clone(),
            recipient: recipient.clone(),
            path: Vec::new(),
            secure: false,
            secure_rule: None,
            served: false,
        }
    }

    /// What is equal for two recipients that are one mailbox. Case tells local parts apart but in the
    /// domains that are served here (RFC 5321 §2.4: the host decides).
    pub fn copy_key(&self) -> ForwardPath {
        match &self.recipient.forward_path {
            ForwardPath::Mailbox(mailbox) if self.served => ForwardPath::Mailbox(mailbox.folded()),
            path => path.clone(),
        }
    }

    /// The mailbox to deliver to; `None` for the bare postmaster.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        self.recipient.forward_path.mailbox()
    }

    /// Its domain; `None` for the bare postmaster and for address literals.
    pub fn domain(&self) -> Option<&Domain> {
        self.recipient.forward_path.domain()
    }
}
