//! The reply rule: what is written to an address that nobody reads is taken, put on record and thrown away, and
//! whoever wrote it is told once where to turn to, if the contract of the account says so.
//!
//! Reports of failures (the null reverse path) are no replies: they are delivered.

use crate::accounts::{Account, Replies};
use crate::mail::{ForwardPath, MailTransaction, Mailbox};

use super::Policy;
use super::old_name::Sender;
use super::verdict::{Decision, RecipientDecision, Verdict};

/// A reply that goes no further.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unread {
    /// To whom it was written.
    pub recipient: ForwardPath,
    /// The account whose address that is.
    pub account: String,
    /// What says so.
    pub rule: String,
    /// Who is told where to turn to instead, and where that is.
    pub tell: Option<(Mailbox, String)>,
}

impl Policy {
    /// Takes the recipients whom nobody reads out of a decision.
    pub fn take_out_unread(
        &self,
        transaction: &MailTransaction,
        decision: &mut Decision,
    ) -> Vec<Unread> {
        if transaction.envelope.reverse_path.notifiable().is_none() {
            return Vec::new();
        }
        let unread: Vec<Unread> = decision
            .recipients
            .iter()
            .filter_map(|recipient| self.unread(recipient, transaction, decision))
            .collect();
        let is_unread =
            |one: &RecipientDecision| unread.iter().any(|unread| unread.recipient == one.given);
        decision.recipients.retain(|one| !is_unread(one));
        unread
    }

    fn unread(
        &self,
        recipient: &RecipientDecision,
        transaction: &MailTransaction,
        decision: &Decision,
    ) -> Option<Unread> {
        // What is held or refused stays so.
        let goes_on = matches!(
            recipient.verdict,
            Verdict::Deliver | Verdict::DeliverVerifiedTls | Verdict::Encrypt
        );
        let account = self.account_of_address(recipient.given.mailbox()?)?;
        let contact = match &account.contract.replies {
            Replies::Answer { contact } if goes_on => Some(contact),
            Replies::Discard if goes_on => None,
            _ => return None,
        };
        let header = transaction.message.header();
        let sender = Sender {
            reverse_path: &transaction.envelope.reverse_path,
            direction: decision.direction,
            header: &header,
        };
        let believed = sender.is_believed(&decision.findings.authentication);
        let person = sender.person().filter(|_| believed);
        Some(Unread {
            recipient: recipient.given.clone(),
            account: account.name().to_owned(),
            rule: account
                .place()
                .map_or_else(|| "built-in".to_owned(), ToString::to_string),
            tell: person.cloned().zip(contact.cloned()),
        })
    }

    fn account_of_address(&self, mailbox: &Mailbox) -> Option<&Account> {
        self.accounts.get(&mailbox.folded().to_string())
    }
}
