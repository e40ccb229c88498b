//! The contract rule: an account sends to whom, how large, from where and when its contract says, and no further.

use jiff::Timestamp;

use crate::accounts::Account;
use crate::accounts::contract::Asked;
use crate::config::Place;
use crate::mail::{Client, ForwardPath, MailTransaction};

use super::Policy;
use super::combine::Tally;
use super::opinion::{Ask, Opinion, Opinions};
use super::refusal::Refusal;

impl Policy {
    /// Whether the contract of the client's account lets it write to this recipient at this moment. For whoever has no
    /// account there is none.
    pub(super) fn within_contract(
        &self,
        client: &Client,
        path: &ForwardPath,
        now: Timestamp,
    ) -> Result<(), Opinion> {
        let Some(account) = self.account_of(client) else {
            return Ok(());
        };
        let contract = &account.contract;
        if !contract.allows_client(client.address.ip()) {
            let because = "the contract of the account does not allow this client";
            return Err(breach(account, because, "its network stands in networks"));
        }
        if !contract.is_valid(now) {
            let because = "the account is not valid today";
            let change = "valid-from and valid-until include today";
            return Err(breach(account, because, change));
        }
        let domain = path.domain();
        let asked = Asked {
            mailbox: path.mailbox(),
            is_served: domain.is_some_and(|domain| self.directory.serves(domain)),
            is_secure: domain.is_some_and(|domain| self.register.is_secure(domain, now)),
        };
        if !contract.allows_recipient(asked) {
            let because = "the contract of the account does not allow this recipient";
            return Err(breach(
                account,
                because,
                "recipients names a class that it is of",
            ));
        }
        Ok(())
    }

    /// Holds the message of an account against its contract, before any stage speaks.
    pub(super) fn hold_to_contract(&self, transaction: &MailTransaction, tally: &mut Tally) {
        let Some(account) = self.account_of(&transaction.client) else {
            return;
        };
        let now = transaction.received_at;
        let too_big = self.too_big(account, transaction);
        let recipients = transaction.envelope.recipients.iter();
        let opinions = recipients.map(|recipient| {
            let within = self.within_contract(&transaction.client, &recipient.forward_path, now);
            within
                .err()
                .or(too_big.clone())
                .unwrap_or_else(Opinion::pass)
        });
        tally.take(Opinions {
            per_recipient: opinions.collect(),
            ..Opinions::none()
        });
    }

    fn too_big(&self, account: &Account, transaction: &MailTransaction) -> Option<Opinion> {
        let limit = account.contract.message_octets?;
        let octets = u64::try_from(transaction.message.len()).unwrap_or(u64::MAX);
        (octets > limit).then(|| {
            let refusal = Refusal::OverContractSize {
                limit_octets: limit,
            };
            let because = "the message is larger than the contract of the account allows";
            Opinion::new(Ask::Refuse(refusal), rule(account.place()), because)
                .would_pass_if("message-octets is raised")
        })
    }

    fn account_of(&self, client: &Client) -> Option<&Account> {
        self.accounts.get(client.account.as_deref()?)
    }
}

fn breach(account: &Account, because: &str, change: &str) -> Opinion {
    let ask = Ask::Refuse(Refusal::OutsideContract);
    Opinion::new(ask, rule(account.place()), because).would_pass_if(change)
}

fn rule(place: Option<&Place>) -> String {
    place.map_or_else(|| "built-in".to_owned(), Place::to_string)
}
