//! Deciding again, by two policies, about mail that was decided about before: what `postern plan` asks.
//!
//! No second engine: the stages of each policy are asked as ever, without the network, as of the moment when the
//! message came. A message that is still here is read again. Of one that is gone the stages that read content are not
//! asked; what they found is on record (`ingress::events`) and takes their place. A difference is one between the two
//! replays, so that what neither can know falls out; and if the replay by the policy in force does not come to what is
//! on record, nothing is said of that recipient.

mod compare;
mod facts;
mod pair;
mod run;
mod suppose;
mod told;
mod unmarked;

use jiff::Timestamp;

use crate::base::PolicyVersion;
use crate::mail::{BodyType, Client, Envelope, ForwardPath, MailTransaction, Message};
use crate::mail::{Recipient, ReversePath};

pub use facts::OnRecord;
pub use pair::Pair;
pub use told::{Judged, Side, Told, Unknown};

/// A message as the audit trail has it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Who brought it, as far as that is on record: not what certificate it showed.
    pub client: Client,
    /// Its reverse path.
    pub reverse_path: ReversePath,
    /// When it was received.
    pub received_at: Timestamp,
    /// The policy that decided; `None` if that is not on record.
    pub policy: Option<PolicyVersion>,
    /// What was found in it.
    pub found: OnRecord,
    /// What was decided, recipient by recipient; a list has one for each member.
    pub rows: Vec<Row>,
}

/// What was decided for one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// The recipient as the client gave it.
    pub given: ForwardPath,
    /// The recipient as it was resolved.
    pub resolved: String,
    /// The word of the verdict.
    pub verdict: String,
    /// What decided: `policies/secure-domains.toml:31`.
    pub rule: String,
}

impl Record {
    /// The transaction as it came in, with this message.
    fn transaction(&self, given: &[ForwardPath], message: Message) -> MailTransaction {
        let mut envelope = Envelope::new(self.reverse_path.clone());
        envelope.body = BodyType::EightBitMime;
        envelope.smtputf8 = true;
        envelope.recipients = given.iter().cloned().map(Recipient::new).collect();
        MailTransaction {
            client: self.client.clone(),
            envelope,
            message,
            received_at: self.received_at,
        }
    }
}

#[cfg(test)]
mod tests;
