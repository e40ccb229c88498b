//! How mail goes onward: the route of a recipient, and one attempt along it.
//!
//! [`Router`] says which [`Route`] takes a recipient; [`Deliveries`] makes an attempt along the one that was taken and returns one
//! [`Outcome`] for each recipient. Nothing here knows of the queue or of when an attempt is due. An
//! attempt always ends: every wait has a time-out, the whole has a deadline, and what was undecided at
//! the end is to be tried again.

pub mod assurance;
mod connection;
mod dane;
mod exchangers;
mod https;
mod maildir;
mod outcomes;
mod pattern;
mod places;
mod pool;
mod race;
mod route;
mod router;
pub mod settings;
mod shaping;
pub mod sms;
mod smtp;
mod tls;
pub mod token;
pub mod upstream;
mod way;
mod wire;
mod within_limits;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::base::Clock;
use crate::base::dns::Dns;
use crate::base::https::Https;
use crate::mail::{EnhancedStatusCode, Envelope, ForwardPath, Message};
use crate::outcome::Outcome;

pub use assurance::{Assurance, AssuranceError, AssuranceSettings};
pub use exchangers::{Exchangers, Listing};
pub use pattern::Pattern;
pub use route::{
    BadHostPort, Credentials, Endpoint, HostPort, Lmtp, RetrySchedule, Route, Shown, SmartHost,
    Takes, TlsLevel, TlsNeed, Transport,
};
pub use router::{Generation, Router, TakenRoute};
pub use settings::{ConnectionSettings, Settings};
pub use shaping::{Applies, Limits, Rule, Shaping, SourceBy};
pub use sms::SmsSettings;
pub use tls::TlsSetupError;

use pool::Pool;
use smtp::Job;
use tls::Tls;
use token::Tokens;
use upstream::Upstream;

/// Makes attempts: owns the connections that are kept, the resolver and what TLS needs.
pub struct Deliveries {
    settings: ConnectionSettings,
    hostname: String,
    dns: Dns,
    tls: Tls,
    /// Tokens for smart hosts.
    tokens: Tokens,
    clock: Clock,
    pool: Arc<Pool>,
    assurance: Option<Arc<Assurance>>,
    exchangers: Exchangers,
    texts: Option<sms::Texts>,
    /// What accounts at smart hosts have sent.
    upstream: Option<Arc<Upstream>>,
}

impl Deliveries {
    /// Sets delivery up. `hostname` is what we call ourselves to next hops: a domain or an address
    /// literal. Connects to nobody.
    pub fn new(
        settings: &ConnectionSettings,
        dns: Dns,
        hostname: &str,
        clock: Clock,
    ) -> Result<Self, TlsSetupError> {
        let https = Https::new(&settings.extra_roots, dns.clone()).map_err(TlsSetupError::Root)?;
        Ok(Self {
            hostname: hostname.to_owned(),
            dns,
            tls: Tls::new(&settings.extra_roots)?,
            tokens: Tokens::new(https, clock.clone()),
            clock,
            pool: Pool::new(settings.connections, settings.idle),
            settings: settings.clone(),
            assurance: None,
            exchangers: Arc::new(|_, _| Listing::None),
            texts: None,
            upstream: None,
        })
    }

    /// The same, keeping to the MTA-STS policies of destinations and counting for their reports.
    #[must_use]
    pub fn with_assurance(mut self, assurance: Arc<Assurance>) -> Self {
        self.assurance = Some(assurance);
        self
    }

    /// From now on asks which mail exchangers of a domain may have what needs verified TLS.
    #[must_use]
    pub fn asking(self, exchangers: Exchangers) -> Self {
        Self { exchangers, ..self }
    }

    /// The same with a way to send text messages.
    #[must_use]
    pub fn with_texts(self, texts: Option<sms::Texts>) -> Self {
        Self { texts, ..self }
    }

    /// Connections that may be open at once, to all destinations together.
    pub fn connections(&self) -> usize {
        self.settings.connections
    }

    /// The settings have changed to those of `router`: connections that were made by others before serve no further message.
    pub fn reloaded(&self, router: &Router) {
        self.pool.renew(router.generation());
    }

    /// Returns what deliveries along a route are grouped and counted by.
    pub fn destination(&self, route: &Route, path: &ForwardPath) -> String {
        route.destination(path)
    }

    /// Makes one attempt for all recipients of an envelope: one outcome for each, in its order.
    ///
    /// The recipients are meant to be of one destination; others are served one destination after
    /// the other. `need` wins over the level of the route, and mail that asks for REQUIRETLS needs
    /// verified TLS as well (RFC 8689 §4.2.1); a route that never leaves the machine satisfies both.
    pub async fn attempt(
        &self,
        route: &TakenRoute,
        envelope: &Envelope,
        message: &Message,
        need: TlsNeed,
    ) -> Vec<Outcome> {
        let destinations = envelope.recipients.iter();
        let destinations: Vec<String> = destinations
            .map(|recipient| route.destination(&recipient.forward_path))
            .collect();
        let Some(first) = destinations.first() else {
            return Vec::new();
        };
        if destinations.iter().all(|other| other == first) {
            return self
                .attempt_one(route, first.clone(), envelope, message, need)
                .await;
        }
        self.attempt_each(route, &destinations, envelope, message, need)
            .await
    }

    /// One destination after the other; the outcomes are put back into the order of the envelope.
    async fn attempt_each(
        &self,
        route: &TakenRoute,
        destinations: &[String],
        envelope: &Envelope,
        message: &Message,
        need: TlsNeed,
    ) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; destinations.len()];
        for (at, destination) in destinations.iter().enumerate() {
            if outcomes[at].is_some() {
                continue;
            }
            let members: Vec<usize> = (at..destinations.len())
                .filter(|other| destinations[*other] == *destination)
                .collect();
            let recipients = members.iter().map(|i| envelope.recipients[*i].clone());
            let part = Envelope {
                recipients: recipients.collect(),
                ..envelope.clone()
            };
            let ended = self
                .attempt_one(route, destination.clone(), &part, message, need)
                .await;
            for (member, outcome) in members.into_iter().zip(ended) {
                outcomes[member] = Some(outcome);
            }
        }
        let outcomes = outcomes.into_iter();
        outcomes.map(|o| o.unwrap_or_else(undecided)).collect()
    }

    async fn attempt_one(
        &self,
        route: &TakenRoute,
        destination: String,
        envelope: &Envelope,
        message: &Message,
        need: TlsNeed,
    ) -> Vec<Outcome> {
        if let Transport::Maildir { folder } = &route.transport {
            return self.store(folder.clone(), envelope, message).await;
        }
        if route.transport == Transport::Sms {
            return self.send_text(envelope, message).await;
        }
        let need = match envelope.require_tls {
            true => TlsNeed::Verified,
            false => need,
        };
        let by_mx = matches!(route.transport, Transport::Mx { .. });
        let is_report = by_mx
            && need == TlsNeed::OwnReport
            && message.header().first("TLS-Report-Domain").is_some();
        let is_bound = matches!(need, TlsNeed::Verified | TlsNeed::Encryption);
        let job = Job {
            route,
            destination,
            envelope,
            message,
            level: route.tls_level(need),
            // Never for mail that is bound to a secured path.
            waived: by_mx && !is_bound && self.is_waived(message, is_report),
            is_report,
            must_be_kept_to: envelope.require_tls && !route.is_local(),
        };
        self.send_within_limits(&job).await
    }

    /// A text message has one recipient: each number has its own.
    async fn send_text(&self, envelope: &Envelope, message: &Message) -> Vec<Outcome> {
        let outcome = match &self.texts {
            Some(texts) => texts.attempt(message).await,
            None => Outcome::without_reply(
                EnhancedStatusCode::transient(3, 5),
                "text messages are not set up: the gateway was started without [sms]",
            ),
        };
        vec![outcome; envelope.recipients.len()]
    }

    async fn store(
        &self,
        folder: std::path::PathBuf,
        envelope: &Envelope,
        message: &Message,
    ) -> Vec<Outcome> {
        let count = envelope.recipients.len();
        let (envelope, message) = (envelope.clone(), message.clone());
        let (hostname, now) = (self.hostname.clone(), self.clock.now());
        let stored = tokio::task::spawn_blocking(move || {
            maildir::deliver(&folder, &envelope, &message, &hostname, now)
        });
        stored.await.unwrap_or_else(|_| vec![undecided(); count])
    }
}

fn undecided() -> Outcome {
    Outcome::without_reply(
        EnhancedStatusCode::transient(3, 0),
        "the attempt was not finished",
    )
}
