//! How much of a lease is for whom: the higher classes first, none of them for ever, and a bounded amount of work.

use std::collections::HashSet;

use super::record::{DeliveryId, MessageId};
use super::store::message_of;

/// Messages with something to lease, in the order of finding.
#[derive(Default)]
pub(super) struct Found {
    /// The messages.
    pub(super) messages: Vec<MessageId>,
    seen: HashSet<MessageId>,
}

impl Found {
    /// Adds the message of a delivery, once.
    pub(super) fn add(&mut self, delivery: DeliveryId) {
        let message = message_of(delivery);
        if self.seen.insert(message) {
            self.messages.push(message);
        }
    }
}

/// How many messages a class may take of a lease of `limit`, where `lower` classes below it have something due: it
/// leaves each of them a part, so that nothing waits for ever.
pub(super) fn room(limit: usize, lower: usize) -> usize {
    limit - limit * lower / LOWER_PART
}

/// Deliveries that are looked at in the order of time.
pub(super) const LOOK_MAX: i64 = 2_000;
/// Of the room, one part in so many is left to each lower class.
const LOWER_PART: usize = 8;
/// Domains that are gone through.
pub(super) const DOMAINS_MAX: usize = 5_000;
/// Deliveries that are taken of one domain in that case.
pub(super) const PER_DOMAIN: i64 = 20;
