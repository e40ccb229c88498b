//! Delivery over SMTP and LMTP: a connection that waits, or the hosts of the route in their order.
//!
//! Another host is tried as long as nobody has said anything about the message: when a host cannot
//! be reached, does not greet, fails at TLS, or hangs up before it answers MAIL. After that its answer
//! stands (RFC 5321 §5.1).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use crate::mail::{EnhancedStatusCode, Envelope, ForwardPath, Host, Message};
use crate::outcome::{NamedBy, Outcome};
use crate::smtp::client::Dialect;

use super::Deliveries;
use super::connection::{Address, Connection, OpenError, Target, Us};
use super::exchangers::allowed;
use super::outcomes::{kinder, of_address_error, of_ending, of_mx_error, of_open_error};
use super::pool::Key;
use super::route::{Credentials, Endpoint, Route, TlsLevel, Transport};

/// A message for recipients of one destination.
pub(super) struct Job<'a> {
    pub(super) route: &'a Route,
    pub(super) destination: String,
    pub(super) envelope: &'a Envelope,
    pub(super) message: &'a Message,
    pub(super) level: TlsLevel,
}

/// A host that may take the message.
struct Hop {
    host: String,
    at: At,
    named_by: NamedBy,
}

enum At {
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
        };
        if let Some(mut connection) = self.pool.take(&key) {
            connection.set_deadline(deadline);
            // One that died while it waited says nothing about the next hop.
            if let Ok(outcomes) = self.send_on(connection, &key, job).await {
                return outcomes;
            }
        }
        let hops = match self.hops(job).await {
            Ok(hops) => hops,
            Err(outcome) => return vec![outcome; job.envelope.recipients.len()],
        };
        let (mut failure, mut tried) = (None, 0);
        for hop in hops {
            let addresses = match self.addresses(&hop).await {
                Ok(addresses) => addresses,
                Err(outcome) => {
                    failure = Some(kinder(failure, outcome));
                    continue;
                }
            };
            for address in addresses {
                if tried == ADDRESSES_MAX {
                    break;
                }
                tried += 1;
                match self.try_address(&hop, address, &key, job, deadline).await {
                    Ok(outcomes) => return outcomes,
                    Err(outcome) => failure = Some(kinder(failure, outcome)),
                }
            }
        }
        vec![failure.unwrap_or_else(nobody); job.envelope.recipients.len()]
    }

    /// Errs if this address was of no use and another may be tried.
    async fn try_address(
        &self,
        hop: &Hop,
        address: Address,
        key: &Key,
        job: &Job<'_>,
        deadline: Instant,
    ) -> Result<Vec<Outcome>, Outcome> {
        let target = Target {
            host: &hop.host,
            named_by: hop.named_by,
            address,
            dialect: dialect(job.route),
            level: job.level,
            credentials: credentials(job.route),
            local: job.route.is_local(),
            chunking: job.route.chunking,
        };
        let connection = self.open(target, deadline).await?;
        self.send_on(connection, key, job).await
    }

    async fn open(&self, mut target: Target<'_>, deadline: Instant) -> Result<Connection, Outcome> {
        let us = Us {
            hostname: &self.hostname,
            settings: &self.settings,
            tls: &self.tls,
            tokens: &self.tokens,
        };
        loop {
            let until = (Instant::now() + self.settings.connect_timeout).min(deadline);
            let permit = self.pool.permit(until).await.ok_or_else(all_busy)?;
            match Connection::open(&target, &us, permit, deadline).await {
                Ok(connection) => return Ok(connection),
                // Whoever does without TLS where there is none does without where it is broken
                // (RFC 7435 §3). The level is lowered once.
                Err(OpenError::Handshake(_)) if target.level == TlsLevel::Opportunistic => {
                    target.level = TlsLevel::None;
                }
                Err(error) => return Err(of_open_error(&error, target.host)),
            }
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
            ..of_ending(ending, &connection.next_hop, sent.dsn)
        });
        let mut outcomes: Vec<Outcome> = outcomes.collect();
        self.pool.park(key.clone(), connection);
        match outcomes.pop() {
            Some(last) if sent.untouched => Err(last),
            last => {
                outcomes.extend(last);
                Ok(outcomes)
            }
        }
    }

    /// The hosts that may take the message, in the order in which they are tried.
    async fn hops(&self, job: &Job<'_>) -> Result<Vec<Hop>, Outcome> {
        let named = |host: &str, port| {
            vec![Hop {
                host: host.to_owned(),
                at: At::Port(port),
                named_by: NamedBy::Route,
            }]
        };
        match &job.route.transport {
            Transport::SmartHost(smart_host) => {
                let next_hop = &smart_host.next_hop;
                Ok(named(&next_hop.host, next_hop.port))
            }
            Transport::Lmtp(lmtp) => Ok(match &lmtp.endpoint {
                Endpoint::Tcp(next_hop) => named(&next_hop.host, next_hop.port),
                Endpoint::Unix(path) => vec![Hop {
                    host: path.display().to_string(),
                    at: At::Socket(path.clone()),
                    named_by: NamedBy::Route,
                }],
            }),
            Transport::Mx { port, .. } => {
                let recipient = job.envelope.recipients.first();
                let path = recipient.map(|r| &r.forward_path);
                self.exchangers_of(path, *port, job.level).await
            }
            Transport::Maildir { .. } | Transport::Sms => Ok(Vec::new()),
        }
    }

    async fn exchangers_of(
        &self,
        path: Option<&ForwardPath>,
        port: u16,
        level: TlsLevel,
    ) -> Result<Vec<Hop>, Outcome> {
        let hop = |(host, named_by)| Hop {
            host,
            at: At::Port(port),
            named_by,
        };
        let host = path.and_then(ForwardPath::mailbox).map(|m| m.host());
        match host {
            Some(Host::Domain(domain)) => {
                let exchangers = self.dns.mx(domain.as_str()).await.map_err(of_mx_error)?;
                let names = exchangers.into_iter().map(|mx| mx.exchange).collect();
                let named = match level {
                    TlsLevel::Verified => {
                        allowed(&self.exchangers, domain, names).map_err(|outcome| *outcome)?
                    }
                    _ => names.into_iter().map(|name| (name, NamedBy::Dns)).collect(),
                };
                Ok(named.into_iter().map(hop).collect())
            }
            Some(Host::Literal(literal)) => Ok(vec![hop((literal.ip().to_string(), NamedBy::Dns))]),
            None => Err(Outcome::without_reply(
                EnhancedStatusCode::permanent(1, 2),
                "a recipient without a domain has no mail exchanger",
            )),
        }
    }

    async fn addresses(&self, hop: &Hop) -> Result<Vec<Address>, Outcome> {
        let port = match &hop.at {
            At::Socket(path) => return Ok(vec![Address::Unix(path.clone())]),
            At::Port(port) => *port,
        };
        let found = self.dns.addresses(&hop.host).await;
        let found: Vec<IpAddr> =
            found.map_err(|error| of_address_error(error, &hop.host, hop.named_by))?;
        let address = |ip| Address::Tcp(SocketAddr::new(ip, port));
        Ok(found.into_iter().map(address).collect())
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
/// Addresses tried in one attempt (RFC 5321 §5.1: at least two).
const ADDRESSES_MAX: usize = 6;
