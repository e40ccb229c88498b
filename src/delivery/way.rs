//! How a mail exchanger is to be met: as the route says at least, and as its domain says of itself by TLSA records
//! (RFC 7672) or by its MTA-STS policy (RFC 8461).
//!
//! TLSA records that DNSSEC vouches for go before a policy that a web server had (RFC 8461 §2). A route at level
//! `none` is an administrator's own word and asks nobody. What cannot be found out keeps the message here: an answer
//! that somebody suppressed must not be worth more than the answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tracing::{info, warn};

use crate::base::dns::Trust;
use crate::base::metrics;
use crate::mail::{EnhancedStatusCode, ForwardPath, Host, Message};
use crate::outcome::{NamedBy, Outcome};
use crate::smtp::client::{OpeningError, Stage};

use super::Deliveries;
use super::assurance::Known;
use super::assurance::report::{Session, SessionPolicy};
use super::assurance::sts::Mode;
use super::connection::{Address, Connection, Met, OpenError};
use super::dane::Dane;
use super::exchangers::allowed;
use super::outcomes::{of_address_error, of_mx_error};
use super::route::{TlsLevel, Transport};
use super::smtp::{At, Hop, Job};
use super::tls::HandshakeError;

/// The hosts that may take a message, and what holds for all of them.
pub(super) struct Plan {
    /// In the order in which they are tried.
    pub(super) hops: Vec<Hop>,
    /// The recipients' domain, where its exchangers are asked.
    domain: Option<String>,
    policy: Option<Arc<Known>>,
    /// Whether sessions are counted: not those of reports, which would be about themselves, nor those that ask nothing
    /// of the destination, which would say that it failed.
    counted: bool,
}

impl Plan {
    /// For hosts that an administrator named.
    pub(super) fn of_route(hops: Vec<Hop>) -> Self {
        Self {
            hops,
            domain: None,
            policy: None,
            counted: false,
        }
    }
}

/// How one host is to be met.
pub(super) struct Way {
    pub(super) level: TlsLevel,
    pub(super) named_by: NamedBy,
    pub(super) dane: Option<Dane>,
    session: SessionPolicy,
    /// Why a policy in testing would not have let the message go to this host at all.
    forbidden: Option<String>,
}

impl Way {
    fn of_route(level: TlsLevel, named_by: NamedBy) -> Self {
        Self {
            level,
            named_by,
            dane: None,
            session: SessionPolicy::NotFound,
            forbidden: None,
        }
    }

    fn testing(&self) -> bool {
        matches!(&self.session, SessionPolicy::Sts(Some(known)) if known.policy.mode == Mode::Testing)
    }
}

impl Job<'_> {
    /// Whether what the destination says of TLS counts.
    fn is_assured(&self) -> bool {
        let by_mx = matches!(self.route.transport, Transport::Mx { .. });
        by_mx && self.level >= TlsLevel::Opportunistic && !self.waived
    }
}

impl Deliveries {
    /// The exchangers of a recipient's domain, and its policy.
    pub(super) async fn exchangers(
        &self,
        path: Option<&ForwardPath>,
        port: u16,
        job: &Job<'_>,
    ) -> Result<Plan, Outcome> {
        let host = path.and_then(ForwardPath::mailbox).map(|m| m.host());
        let domain = match host {
            Some(Host::Domain(domain)) => domain,
            Some(Host::Literal(literal)) => {
                return Ok(Plan::of_route(vec![Hop {
                    host: literal.ip().to_string(),
                    at: At::Port(port),
                    named_by: NamedBy::Dns,
                    trust: Trust::Insecure,
                }]));
            }
            None => {
                return Err(Outcome::without_reply(
                    EnhancedStatusCode::permanent(1, 2),
                    "a recipient without a domain has no mail exchanger",
                ));
            }
        };
        let policy = self.policy_of(domain.as_str(), job).await?;
        let (exchangers, trust) = match job.is_assured() && self.uses_dane() {
            true => self
                .dns
                .checked_mx(domain.as_str())
                .await
                .map_err(of_mx_error)?,
            false => {
                let exchangers = self.dns.mx(domain.as_str()).await.map_err(of_mx_error)?;
                (exchangers, Trust::Insecure)
            }
        };
        let names: Vec<String> = exchangers.into_iter().map(|mx| mx.exchange).collect();
        let named = match job.level {
            TlsLevel::Verified => {
                allowed(&self.exchangers, domain, names).map_err(|outcome| *outcome)?
            }
            _ => names.into_iter().map(|name| (name, NamedBy::Dns)).collect(),
        };
        let hops = named.into_iter().map(|(host, named_by)| Hop {
            host,
            at: At::Port(port),
            // What somebody has written down says more than what DNS says, signed or not.
            named_by: match (named_by, trust) {
                (NamedBy::Dns, Trust::Secure) => NamedBy::SignedDns,
                (named_by, _) => named_by,
            },
            trust,
        });
        Ok(Plan {
            hops: hops.collect(),
            domain: Some(domain.to_string()),
            policy,
            counted: job.is_assured() && !job.is_report,
        })
    }

    async fn policy_of(&self, domain: &str, job: &Job<'_>) -> Result<Option<Arc<Known>>, Outcome> {
        let Some(assurance) = self.assurance.as_ref().filter(|_| job.is_assured()) else {
            return Ok(None);
        };
        assurance.policy(domain).await.map_err(|error| {
            warn!(%error, "whether a domain has an MTA-STS policy is not known: its mail waits");
            Outcome::without_reply(
                EnhancedStatusCode::transient(3, 0),
                "whether the recipient's domain has an MTA-STS policy cannot be found out",
            )
        })
    }

    fn uses_dane(&self) -> bool {
        let asked_for = |assurance: &Arc<super::Assurance>| assurance.settings.dane;
        self.dns.validates() && self.assurance.as_ref().is_none_or(asked_for)
    }

    /// Where a host is and how it is to be met. Errs if it may not have the message, or that is not known.
    pub(super) async fn way(
        &self,
        hop: &Hop,
        plan: &Plan,
        job: &Job<'_>,
    ) -> Result<(Vec<Address>, Way), Outcome> {
        let port = match &hop.at {
            At::Socket(path) => {
                let way = Way::of_route(job.level, hop.named_by);
                return Ok((vec![Address::Unix(path.clone())], way));
            }
            At::Port(port) => *port,
        };
        let address_error = |error| of_address_error(error, &hop.host, hop.named_by);
        let mut way = Way::of_route(job.level, hop.named_by);
        let found: Vec<IpAddr>;
        if hop.trust == Trust::Secure && hop.host.parse::<IpAddr>().is_err() {
            let checked = self.dns.checked_addresses(&hop.host).await;
            let checked = checked.map_err(address_error)?;
            let mut bases = Vec::new();
            if checked.trust == Trust::Secure {
                bases.push(checked.canonical.as_str());
            }
            if checked.alias == Trust::Secure && checked.canonical != hop.host {
                bases.push(hop.host.as_str());
            }
            self.apply_tlsa(&bases, port, hop, plan, &mut way).await?;
            found = checked.addresses;
        } else {
            let addresses = self.dns.addresses(&hop.host).await;
            found = addresses.map_err(address_error)?;
        }
        if way.dane.is_none() {
            self.apply_policy(hop, plan, &mut way).map_err(insecure)?;
        }
        if job.envelope.require_tls && way.named_by == NamedBy::Dns {
            return Err(Outcome {
                no_secured_path: true,
                ..Outcome::without_reply(EnhancedStatusCode::transient(7, 30), NOBODY_VOUCHES)
            });
        }
        let address = |ip| Address::Tcp(SocketAddr::new(ip, port));
        Ok((found.into_iter().map(address).collect(), way))
    }

    /// The first of these names that has records decides (RFC 7672 §2.2.2, §2.2.3).
    async fn apply_tlsa(
        &self,
        bases: &[&str],
        port: u16,
        hop: &Hop,
        plan: &Plan,
        way: &mut Way,
    ) -> Result<(), Outcome> {
        for base in bases {
            let records = self.dns.tlsa(&format!("_{port}._tcp.{base}")).await;
            let records = match records {
                Ok(records) => records,
                Err(error) => {
                    // Bogus, or kept from us: without them the host may not be used (RFC 7672 §2.1.2).
                    let because = format!("the TLSA records of the next hop {}: {error}", hop.host);
                    self.count(
                        plan,
                        SessionPolicy::Tlsa(Vec::new()),
                        hop,
                        None,
                        Some("dnssec-invalid"),
                        &because,
                    );
                    return Err(insecure(because));
                }
            };
            if records.is_empty() {
                continue;
            }
            let names: Vec<&str> = std::iter::once(hop.host.as_str())
                .chain(plan.domain.as_deref())
                .collect();
            way.dane = Dane::new(&records, base, &names);
            (way.level, way.session) = match &way.dane {
                Some(dane) => (TlsLevel::Verified, SessionPolicy::Tlsa(dane.lines())),
                // None that can be used: TLS is a must, whoever it is (RFC 7672 §2.2).
                None => (
                    way.level.max(TlsLevel::Required),
                    SessionPolicy::Tlsa(Vec::new()),
                ),
            };
            return Ok(());
        }
        Ok(())
    }

    /// Errs if the host may not have the message.
    fn apply_policy(&self, hop: &Hop, plan: &Plan, way: &mut Way) -> Result<(), String> {
        let Some(known) = &plan.policy else {
            return Ok(());
        };
        let named = known.policy.allows(&hop.host);
        let because = format!(
            "the next hop {} is not named in the MTA-STS policy of its domain",
            hop.host
        );
        way.session = SessionPolicy::Sts(Some(Arc::clone(known)));
        match (known.policy.mode, named) {
            (Mode::Enforce, false) => {
                let (session, failure) = (way.session.clone(), Some("validation-failure"));
                self.count(plan, session, hop, None, failure, "mx-not-in-policy");
                return Err(because);
            }
            (Mode::Enforce, true) => way.level = TlsLevel::Verified,
            (_, false) => way.forbidden = Some(because),
            (_, true) => {}
        }
        if named && way.named_by == NamedBy::Dns {
            way.named_by = NamedBy::Policy;
        }
        Ok(())
    }

    /// Notes how a connection is protected: for the report of its domain, and wherever it is less than it might be.
    pub(super) fn note_opened(
        &self,
        connection: &mut Connection,
        (hop, way): (&Hop, &Way),
        plan: &Plan,
        job: &Job<'_>,
        fell_back: Option<&OpenError>,
    ) {
        if way.dane.is_some() {
            metrics::DANE_CONNECTIONS.add(1);
        }
        let wrong = connection
            .fault
            .map(|fault| format!("the certificate {fault}"));
        // What an administrator named by its address on this machine nobody else hears.
        let stays = connection.is_local()
            || (way.named_by == NamedBy::Route
                && connection.met.ip().is_some_and(|ip| ip.is_loopback()));
        connection.downgrade = match (&connection.tls, fell_back) {
            _ if way.level == TlsLevel::None || stays => None,
            (None, Some(error)) => Some(format!("in clear: {error}")),
            (None, None) if connection.offers_tls() => {
                Some("in clear: the next hop offers TLS and refuses it".to_owned())
            }
            (None, None) => Some("in clear: the next hop offers no TLS".to_owned()),
            (Some(_), _) if job.waived => {
                Some("policies of the destination were waived by the sender".to_owned())
            }
            (Some(_), _) => None,
        };
        if way.testing() {
            let why = connection.downgrade.clone();
            let why = why.or_else(|| way.forbidden.clone()).or(wrong);
            connection.downgrade = why
                .map(|why| format!("an MTA-STS policy in testing would have kept it here: {why}"));
        }
        if let Some(downgrade) = &connection.downgrade {
            metrics::DOWNGRADES.add(1);
            info!(
                next_hop = hop.host,
                downgrade, "mail goes less well protected than it might"
            );
        }
        // The session that failed before was counted.
        if fell_back.is_none() {
            let failure = failure_of(connection, way);
            let (session, met) = (way.session.clone(), Some(&connection.met));
            let reason = connection.downgrade.clone().unwrap_or_default();
            self.count(plan, session, hop, met, failure, &reason);
        }
    }

    /// Counts a session that ended before mail could be sent, if TLS was why.
    pub(super) fn note_failed(
        &self,
        error: &OpenError,
        (hop, way): (&Hop, &Way),
        met: Option<&Met>,
        plan: &Plan,
    ) {
        let failure = match error {
            OpenError::Handshake(HandshakeError::Certificate(fault)) => fault.result_type(),
            OpenError::Handshake(_) => "validation-failure",
            OpenError::Opening(
                OpeningError::TlsNotOffered
                | OpeningError::Refused {
                    stage: Stage::StartTls,
                    ..
                },
            ) => "starttls-not-supported",
            _ => return,
        };
        let session = way.session.clone();
        self.count(plan, session, hop, met, Some(failure), &error.to_string());
    }

    fn count(
        &self,
        plan: &Plan,
        policy: SessionPolicy,
        hop: &Hop,
        met: Option<&Met>,
        failure: Option<&'static str>,
        reason: &str,
    ) {
        let (Some(assurance), Some(domain), true) = (&self.assurance, &plan.domain, plan.counted)
        else {
            return;
        };
        assurance.count(Session {
            domain: domain.clone(),
            policy,
            mx: hop.host.clone(),
            ip: met.and_then(Met::ip),
            from: met.and_then(|met| met.from),
            failure,
            reason: reason.to_owned(),
        });
    }

    /// Whether the sender waives what destinations say of TLS (RFC 8689 §5), and may. Reports of TLS may always:
    /// what they report could keep them here (RFC 8460 §3).
    pub(super) fn is_waived(&self, message: &Message, is_report: bool) -> bool {
        let Some(assurance) = &self.assurance else {
            return false;
        };
        if !assurance.settings.tls_required_no && !is_report {
            return false;
        }
        let header = message.header();
        let mut fields = header.all("TLS-Required");
        let no = |value: &str| value.trim().eq_ignore_ascii_case("no");
        // More than one is no valid field (RFC 8689 §5): the stronger reading counts.
        matches!((fields.next(), fields.next()), (Some(field), None) if no(&field.value()))
    }
}

/// What a session that took mail counts as.
fn failure_of(connection: &Connection, way: &Way) -> Option<&'static str> {
    if connection.tls.is_none() {
        return Some("starttls-not-supported");
    }
    match &way.session {
        SessionPolicy::NotFound => None,
        SessionPolicy::Tlsa(_) if way.dane.is_some() => None,
        SessionPolicy::Tlsa(_) => Some("tlsa-invalid"),
        SessionPolicy::Sts(_) if way.forbidden.is_some() => Some("validation-failure"),
        SessionPolicy::Sts(_) => connection.fault.map(|fault| fault.result_type()),
    }
}

/// A message about whose path too little is known, or too much that is bad.
fn insecure(because: String) -> Outcome {
    Outcome {
        no_secured_path: true,
        ..Outcome::without_reply(EnhancedStatusCode::transient(7, 5), because)
    }
}

/// RFC 8689 §4.2.1: the name of an exchanger must come by DNSSEC, or be in a policy of MTA-STS.
const NOBODY_VOUCHES: &str =
    "the message requires TLS, and nobody vouches for who the exchangers of the domain are";
