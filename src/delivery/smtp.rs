//! Delivery over SMTP and LMTP: a connection that waits, or the hosts of the route in their order.
//!
//! Another host is tried as long as nobody has said anything about the message: when a host cannot
//! be reached, does not greet, fails at TLS, or hangs up before it answers MAIL. After that its answer
//! stands (RFC 5321 §5.1).

use std::time::Duration;

use tokio::time::Instant;

use crate::base::dns::Trust;
use crate::mail::{EnhancedStatusCode, Envelope, Message};
use crate::outcome::{NamedBy, Outcome};
use crate::smtp::client::{Dialect, Ending, NOT_KEPT_TO, may_go_to_anybody};

use super::Deliveries;
use super::connection::{Address, Connection, Met, OpenError, Target, Us};
use super::outcomes::{kinder, of_ending, of_open_error};
use super::places::Limit;
use super::pool::Key;
use super::race::by_turns;
use super::route::{Credentials, Endpoint, Route, TlsLevel, Transport};
use super::router::TakenRoute;
use super::way::{Plan, Way};

/// A message for recipients of one destination.
pub(super) struct Job<'a> {
    pub(super) route: &'a TakenRoute,
    pub(super) destination: String,
    pub(super) envelope: &'a Envelope,
    pub(super) message: &'a Message,
    pub(super) level: TlsLevel,
    /// Whether the sender waives what the destination says of TLS, and may.
    pub(super) waived: bool,
    /// Whether it is a report of TLS: how that one goes is not reported.
    pub(super) is_report: bool,
    /// Whether it goes to hosts alone that offer REQUIRETLS.
    pub(super) must_be_kept_to: bool,
}

impl<'a> Job<'a> {
    /// The same for other recipients.
    pub(super) fn with_envelope(&self, envelope: &'a Envelope) -> Self {
        Self {
            envelope,
            destination: self.destination.clone(),
            ..*self
        }
    }
}

/// A host that may take the message.
pub(super) struct Hop {
    pub(super) host: String,
    pub(super) at: At,
    pub(super) named_by: NamedBy,
    /// Whether DNSSEC vouches for it that this is a next hop of the recipient's domain.
    pub(super) trust: Trust,
}

pub(super) enum At {
    Port(u16),
    Socket(std::path::PathBuf),
}

impl Deliveries {
    /// Delivers over SMTP or LMTP: one outcome for each recipient, in the order of the envelope.
    pub(super) async fn send(&self, job: &Job<'_>) -> Vec<Outcome> {
        let deadline = Instant::now() + ATTEMPT_MAX;
        let key = Key {
            route: job.route.name.clone(),
            destination: job.destination.clone(),
            level: job.level,
            waived: job.waived,
            require_tls: job.envelope.require_tls,
            generation: job.route.generation(),
        };
        if let Some(mut connection) = self.pool.take(&key) {
            connection.set_deadline(deadline);
            // One that died while it waited says nothing about the next hop.
            if let Ok(outcomes) = self.send_on(connection, &key, job).await {
                return outcomes;
            }
        }
        let plan = match self.plan(job).await {
            Ok(plan) => plan,
            Err(outcome) => return all(outcome, job),
        };
        let failure = match self.try_hosts(&plan, &key, job, deadline).await {
            Ok(outcomes) => return outcomes,
            Err(failure) => failure,
        };
        // One of them may have been there, though a kinder failure is told.
        if job.must_be_kept_to && may_go_to_anybody(job.envelope, job.message) {
            let to_anybody = Job {
                must_be_kept_to: false,
                ..job.with_envelope(job.envelope)
            };
            let tried = self.try_hosts(&plan, &key, &to_anybody, deadline).await;
            return tried.unwrap_or_else(|failure| all(failure, job));
        }
        all(failure, job)
    }

    /// Errs with what is to be said of the hosts if none of them was of use.
    async fn try_hosts(
        &self,
        plan: &Plan,
        key: &Key,
        job: &Job<'_>,
        deadline: Instant,
    ) -> Result<Vec<Outcome>, Outcome> {
        let (mut failure, mut tried) = (None, 0);
        for hop in plan.hops.iter().take(HOSTS_MAX) {
            if tried >= ADDRESSES_MAX || Instant::now() >= deadline {
                break;
            }
            let (addresses, way) = match self.way(hop, plan, job).await {
                Ok(found) => found,
                Err(outcome) => {
                    failure = Some(kinder(failure, outcome));
                    continue;
                }
            };
            let mut addresses = by_turns(addresses);
            addresses.truncate(ADDRESSES_MAX - tried);
            while !addresses.is_empty() {
                let there = (hop, &way, plan);
                let before = addresses.len();
                let ended = self.try_addresses(there, &mut addresses, key, job, deadline);
                match ended.await {
                    Ok(outcomes) => return Ok(outcomes),
                    Err(outcome) => failure = Some(kinder(failure, outcome)),
                }
                tried += before - addresses.len();
            }
        }
        Err(failure.unwrap_or_else(nobody))
    }

    /// Errs if the address that answered was of no use, which is taken out then, or none did: then none is left.
    async fn try_addresses(
        &self,
        (hop, way, plan): (&Hop, &Way, &Plan),
        addresses: &mut Vec<Address>,
        key: &Key,
        job: &Job<'_>,
        deadline: Instant,
    ) -> Result<Vec<Outcome>, Outcome> {
        let target = Target {
            host: &hop.host,
            named_by: way.named_by,
            addresses: addresses.clone(),
            source: job.route.shaping.source(&job.destination),
            dialect: dialect(job.route),
            level: way.level,
            dane: way.dane.as_ref(),
            unproven: false,
            credentials: credentials(job.route),
            local: job.route.is_local(),
            chunking: job.route.chunking,
        };
        let mut met = None;
        let opened = self.open(target, &mut met, (hop, way, plan), job, deadline);
        let opened = opened.await;
        match &met {
            Some(met) => addresses.retain(|address| *address != met.address),
            None => addresses.clear(),
        }
        let connection = opened?;
        // RFC 8689 §4.2.1: another host may do as the message asks.
        if job.must_be_kept_to && !connection.keeps_to_tls() {
            tokio::spawn(connection.quit());
            return Err(not_kept_to(&hop.host));
        }
        self.send_on(connection, key, job).await
    }

    async fn open(
        &self,
        mut target: Target<'_>,
        met: &mut Option<Met>,
        (hop, way, plan): (&Hop, &Way, &Plan),
        job: &Job<'_>,
        deadline: Instant,
    ) -> Result<Connection, Outcome> {
        let us = Us {
            hostname: &self.hostname,
            settings: &self.settings,
            tls: &self.tls,
            tokens: &self.tokens,
        };
        let (mut fell_back, limits) = (None, limits(job));
        loop {
            let until = (Instant::now() + self.settings.connect_timeout).min(deadline);
            let right = self.pool.right(&limits, until).await.ok_or_else(all_busy)?;
            let error = match Connection::open(&target, &us, right, deadline, met).await {
                Ok(mut connection) => {
                    let way = (hop, way);
                    self.note_opened(&mut connection, way, plan, job, fell_back.as_ref());
                    return Ok(connection);
                }
                Err(error) => error,
            };
            // There are keys that we cannot check: RSA of 1024 bits. Who anybody may be is better met under TLS all the same
            // than in clear (RFC 7435 §3). It is not the destination's fault, and not reported as one.
            if target.may_do_without_proof(&error) {
                target.unproven = true;
                target.addresses = met.iter().map(|met| met.address.clone()).collect();
                continue;
            }
            if fell_back.is_none() {
                self.note_failed(&error, (hop, way), met.as_ref(), plan);
            }
            // Whoever does without TLS where there is none does without where it is broken
            // (RFC 7435 §3). The level is lowered once.
            if matches!(error, OpenError::Handshake(_)) && target.level == TlsLevel::Opportunistic {
                target.level = TlsLevel::None;
                target.addresses = met.iter().map(|met| met.address.clone()).collect();
                fell_back = Some(error);
                continue;
            }
            return Err(of_open_error(&error, target.host));
        }
    }

    /// Errs if the connection died before the server answered at all.
    async fn send_on(
        &self,
        mut connection: Connection,
        key: &Key,
        job: &Job<'_>,
    ) -> Result<Vec<Outcome>, Outcome> {
        let sent = connection
            .send(job.envelope, job.message, &self.settings)
            .await;
        let outcomes = sent.endings.into_iter().map(|ending| Outcome {
            tls: connection.tls.clone(),
            downgrade: connection.downgrade.clone(),
            broke_off: sent.broke_off && !matches!(ending, Ending::Replied(_)),
            ..of_ending(ending, &connection.next_hop, sent.dsn)
        });
        let mut outcomes: Vec<Outcome> = outcomes.collect();
        let first = job.envelope.recipients.first();
        let limits = first.map(|one| job.route.limits(&one.forward_path));
        let most = limits.map_or(1, |limits| limits.messages_per_connection);
        match key.require_tls && !connection.keeps_to_tls() {
            // Not for the next one, which may not go there.
            true => drop(tokio::spawn(connection.quit())),
            false => self.pool.park(key.clone(), connection, most),
        }
        match outcomes.pop() {
            Some(last) if sent.untouched => Err(last),
            last => {
                outcomes.extend(last);
                Ok(outcomes)
            }
        }
    }

    /// The hosts that may take the message, in the order in which they are tried.
    async fn plan(&self, job: &Job<'_>) -> Result<Plan, Outcome> {
        let named = |host: &str, port| {
            vec![Hop {
                host: host.to_owned(),
                at: At::Port(port),
                named_by: NamedBy::Route,
                trust: Trust::Insecure,
            }]
        };
        Ok(Plan::of_route(match &job.route.transport {
            Transport::SmartHost(smart_host) => {
                let next_hop = &smart_host.next_hop;
                named(&next_hop.host, next_hop.port)
            }
            Transport::Lmtp(lmtp) => match &lmtp.endpoint {
                Endpoint::Tcp(next_hop) => named(&next_hop.host, next_hop.port),
                Endpoint::Unix(path) => vec![Hop {
                    host: path.display().to_string(),
                    at: At::Socket(path.clone()),
                    named_by: NamedBy::Route,
                    trust: Trust::Insecure,
                }],
            },
            Transport::Mx { port, .. } => {
                let recipient = job.envelope.recipients.first();
                let path = recipient.map(|r| &r.forward_path);
                return self.exchangers(path, *port, job).await;
            }
            Transport::Maildir { .. } | Transport::Sms => Vec::new(),
        }))
    }
}

fn dialect(route: &Route) -> Dialect {
    match route.transport {
        Transport::Lmtp(_) => Dialect::Lmtp,
        _ => Dialect::Smtp,
    }
}

fn credentials(route: &Route) -> Option<&Credentials> {
    match &route.transport {
        Transport::SmartHost(smart_host) => smart_host.credentials.as_ref(),
        _ => None,
    }
}

/// What a connection for a job counts for, and how many may be open for each.
fn limits(job: &Job<'_>) -> Vec<Limit> {
    let first = job.envelope.recipients.first();
    let own = first.map(|one| {
        let connections = job.route.limits(&one.forward_path).connections;
        Limit {
            // Whichever route it goes by: what is limited is the destination, as for the scheduler. Routes that differ in
            // how many they allow count apart: one with few would never get a place beside one with many.
            of: format!("to {} {connections}", job.destination),
            connections,
        }
    });
    let shared = job.route.shaping.shared().filter_map(|rule| {
        Some(Limit {
            of: rule.applies.to_string(),
            connections: rule.connections?,
        })
    });
    own.into_iter().chain(shared).collect()
}

/// The same for every recipient.
fn all(outcome: Outcome, job: &Job<'_>) -> Vec<Outcome> {
    vec![outcome; job.envelope.recipients.len()]
}

fn not_kept_to(host: &str) -> Outcome {
    Outcome {
        next_hop: Some(host.to_owned()),
        ..Outcome::without_reply(EnhancedStatusCode::permanent(7, 30), NOT_KEPT_TO)
    }
}

fn all_busy() -> Outcome {
    Outcome::without_reply(
        EnhancedStatusCode::transient(4, 5),
        "as many connections are open as may be",
    )
}

fn nobody() -> Outcome {
    Outcome::without_reply(
        EnhancedStatusCode::transient(4, 4),
        "there is no next hop to try",
    )
}

/// The longest attempt: shorter than the lease on a delivery.
const ATTEMPT_MAX: Duration = Duration::from_secs(25 * 60);
/// Hosts whose addresses are asked for in one attempt. A domain may name hundreds, and each may keep us waiting for its
/// name servers.
const HOSTS_MAX: usize = 10;
/// Addresses tried in one attempt (RFC 5321 §5.1: at least two).
const ADDRESSES_MAX: usize = 6;
