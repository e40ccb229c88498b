//! Writing the digests of a day: what came in between two moments and is quarantined, one mail for each mailbox.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::base::Clock;
use crate::mail::{Mailbox, Message};
use crate::outcome::Letterhead;
use crate::outcome::digest::{Digest, Entry, SHOWN};
use crate::policy::Policy;
use crate::queue::{
    Accepted, DeliveryId, Filter, Handoff, Queue, QueueError, State as Standing, Waiting,
};

use super::link::Links;
use super::settings::DigestSettings;
use super::state::{State, StateError};
use super::view::fields;

/// What digests are made of.
pub struct Digests<'a> {
    /// Where they are queued, and what is quarantined.
    pub queue: &'a Queue,
    /// What time it is.
    pub clock: &'a Clock,
    /// Whose mailboxes are ours.
    pub policy: &'a Policy,
    /// What signs the links.
    pub links: &'a Links,
    /// When, and where the links lead.
    pub settings: &'a DigestSettings,
    /// On what they are written.
    pub letterhead: &'a Letterhead,
}

/// Why the digests of a day were not all written: they are tried again.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// The queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The file that says what was written.
    #[error(transparent)]
    State(#[from] StateError),
}

impl Digests<'_> {
    /// Writes what is due; returns how many mailboxes were told of anything. Begun again after a failure it comes to
    /// the same, and nobody is told twice.
    pub async fn write_due(&self, state: &State) -> Result<usize, DigestError> {
        let now = self.clock.now();
        let until = self.last_moment(now - GRACE);
        let since = state.digests_until()?.unwrap_or(until - A_DAY);
        if since >= until {
            return Ok(0);
        }
        let filter = Filter {
            states: vec![Standing::Quarantined],
            received_from: Some(since),
            received_before: Some(until),
            limit: LISTED_MAX,
            ..Filter::default()
        };
        let mut mailboxes: BTreeMap<String, Vec<Waiting>> = BTreeMap::new();
        for one in self.queue.list(filter).await? {
            if let Some(mailbox) = self.mailbox(&one) {
                let of = mailboxes.entry(mailbox.folded().to_string()).or_default();
                of.push(one);
            }
        }
        for kept in mailboxes.values() {
            self.tell(kept, until, now).await?;
        }
        state.set_digests_until(until)?;
        Ok(mailboxes.len())
    }

    /// The last time of the day that the settings name.
    fn last_moment(&self, now: Timestamp) -> Timestamp {
        let today = now.to_zoned(TimeZone::UTC).date();
        let at = |date: jiff::civil::Date| {
            let zoned = date.to_datetime(self.settings.at).to_zoned(TimeZone::UTC);
            // Universal time has no gaps; only the end of time itself could fail.
            zoned.map_or(Timestamp::MIN, |zoned| zoned.timestamp())
        };
        match at(today) {
            moment if moment <= now => moment,
            _ => at(today.saturating_sub(jiff::Span::new().days(1))),
        }
    }

    /// The mailbox, if it is one of ours: nobody else hears of our quarantine.
    fn mailbox(&self, one: &Waiting) -> Option<Mailbox> {
        let mailbox = Mailbox::parse(&one.recipient).ok()?;
        let domain = mailbox.domain()?;
        self.policy.directory().serves(domain).then_some(mailbox)
    }

    async fn tell(
        &self,
        kept: &[Waiting],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), DigestError> {
        let Some(to) = kept.first().and_then(|one| self.mailbox(one)) else {
            return Ok(());
        };
        let links_until = until + self.settings.links_valid_for;
        let mut entries = Vec::with_capacity(kept.len());
        for (at, one) in kept.iter().enumerate() {
            // Beyond those that are shown they are counted alone.
            let message = match at < SHOWN {
                true => self.queue.message(DeliveryId(one.delivery)).await?,
                false => None,
            };
            let message = message.as_ref().map(|message| &message.message);
            entries.push(self.entry(one, message, links_until));
        }
        let digest = Digest {
            to: &to,
            entries: &entries,
            until,
            links_until,
        };
        let Some(notice) = digest.notice(self.letterhead.hostname(), now) else {
            tracing::warn!("a digest cannot be addressed, and is left out");
            return Ok(());
        };
        let notice = Accepted::notice(notice, self.letterhead);
        self.queue.accept(notice, Handoff::None).await?;
        Ok(())
    }

    /// What is said of one message. Where there may be patient data its subject is not.
    fn entry(&self, one: &Waiting, message: Option<&Message>, links_until: Timestamp) -> Entry {
        let fields = message.map(fields);
        let link = (one.owner_may_release && !one.patient_data).then(|| {
            let delivery = DeliveryId(one.delivery);
            let token = self
                .links
                .make(delivery, &one.reference, &one.recipient, links_until);
            format!("{}/q/{token}", self.settings.url)
        });
        let (from, subject) = match fields {
            Some(fields) => (fields.from, Some(fields.subject)),
            None => (String::new(), None),
        };
        Entry {
            reference: one.reference.clone(),
            from: match from.trim().is_empty() {
                true => one.sender.clone(),
                false => from,
            },
            subject: subject.filter(|_| !one.patient_data),
            because: one.because.clone(),
            // As the queue has written it.
            received_at: one.received_at.parse().unwrap_or(Timestamp::UNIX_EPOCH),
            link,
        }
    }
}

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// After the moment: what was received before it is committed by then, however long it was judged.
const GRACE: Duration = Duration::from_secs(5 * 60);
/// Quarantined recipients that are looked at for one day.
const LISTED_MAX: usize = 100_000;
