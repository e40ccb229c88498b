//! What may be supposed of what is not on record, so that the policy in force comes to what is.

use crate::mail::ReversePath;
use crate::policy::Policy;
use crate::policy::finding::SecureKeyword;
use crate::policy::verdict::Direction;

use super::compare::agrees;
use super::pair::{Look, Pair};
use super::run::{Replayed, Supposed};
use super::told::Unknown;

impl Pair<'_> {
    /// What may be supposed of what is not on record: all that leads to what is, by the policy in force.
    pub(super) async fn suppositions(
        &self,
        look: &Look<'_>,
    ) -> Result<Vec<(Supposed, Replayed)>, Unknown> {
        if self.hangs_on_author(look) {
            return Err(Unknown::Hangs);
        }
        let mut best = Vec::new();
        let mut most = 0;
        for supposed in self.possible(look) {
            let (supposed, replayed) = self.replay_before(look, supposed).await;
            if replayed.is_unfinished {
                return Err(Unknown::Unfinished);
            }
            let agreeing = look.rows.iter();
            let agreeing = agreeing.filter(|row| agrees(row, &replayed)).count();
            if agreeing > most {
                best.clear();
                most = agreeing;
            }
            if agreeing == most {
                best.push((supposed, replayed));
            }
        }
        Ok(best)
    }

    /// By the policy in force; without the footer where the entity on record does not follow from the envelope.
    async fn replay_before(&self, look: &Look<'_>, supposed: Supposed) -> (Supposed, Replayed) {
        let replayed = self.before.replay(&look.again(self, supposed, false)).await;
        let on_record = look.record.found.footer.as_ref();
        let is_other = on_record.is_none_or(|entity| *entity != replayed.entity);
        let is_outbound = self.before.direction(&look.record.client) == Direction::Outbound;
        if look.message.is_some() || !is_outbound || !is_other {
            return (supposed, replayed);
        }
        let supposed = Supposed {
            with_footer: false,
            ..supposed
        };
        let replayed = self.before.replay(&look.again(self, supposed, false)).await;
        (supposed, replayed)
    }

    /// All that could be.
    fn possible(&self, look: &Look<'_>) -> Vec<Supposed> {
        let found = &look.record.found;
        let keywords = match (look.message, found.keyword) {
            (Some(_), _) => vec![SecureKeyword::Absent], // it is read
            (None, Some(keyword)) => vec![keyword],
            (None, None) => vec![
                SecureKeyword::Absent,
                SecureKeyword::Present,
                SecureKeyword::NearMiss,
            ],
        };
        let listed = STANDING.iter().any(|name| found.has_symbol(name));
        let inbound = self.before.direction(&look.record.client) == Direction::Inbound;
        // Without DMARC nobody is protected; with it those are whose domain is secure, and the author is gone.
        let vouched =
            self.vouching.is_empty() || self.vouching.iter().any(|name| found.has_symbol(name));
        let open = inbound && (listed || (look.message.is_none() && vouched));
        let protected: &[bool] = if open { &[false, true] } else { &[false] };
        let mut all = Vec::new();
        for keyword in keywords {
            for is_protected in protected.iter().copied() {
                all.push(Supposed {
                    keyword,
                    is_protected,
                    with_footer: true,
                });
            }
        }
        all
    }

    /// Of a report of our own its author speaks for its sender, and is in the content alone.
    fn hangs_on_author(&self, look: &Look<'_>) -> bool {
        let asks = |policy: &Policy| {
            let verdicts = &policy.secure_domains().verdicts;
            verdicts.sender_not_secure.is_some()
                && policy.direction(&look.record.client) == Direction::Outbound
        };
        look.message.is_none()
            && look.record.reverse_path == ReversePath::Null
            && look.record.client.account.is_none()
            && look.record.found.has_patient_data()
            && (asks(self.before) || asks(self.after))
    }
}

/// Symbols of those who are not kept back on a score: of which recipient they speak is not on record.
const STANDING: [&str; 3] = ["SENDER_ALLOWED", "SENDER_PRIORITY", "CORRESPONDENT"];
