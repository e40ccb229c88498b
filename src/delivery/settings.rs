//! The settings of delivery: `[[route]]` and `[delivery]`, checked.
//!
//! A route has exactly one transport. What a transport does not use is refused and not ignored: a
//! `tls` on a Maildir would look like protection that is not there.

mod shaping;

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::base::secret::Secret;
use crate::config::{Diagnostic, Located, Section};
use crate::mail::Mailbox;

use super::assurance::AssuranceSettings;
use super::pattern::Pattern;
use crate::base::https::Url;
use crate::smtp::client::LoginMechanism;

use self::shaping::Rules;
use super::route::{
    Credentials, Endpoint, HostPort, Lmtp, RetrySchedule, Route, Shown, SmartHost, Takes, TlsLevel,
    Transport,
};
use super::shaping::Rule;
use super::sms::SmsSettings;
use super::token::TokenSource;
use super::upstream::UpstreamLimits;

/// Everything that delivery is told.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The routes, in their order.
    pub routes: Vec<Arc<Route>>,
    /// How connections are made and kept.
    pub connections: ConnectionSettings,
    /// How text messages are sent; `None`: none are.
    pub sms: Option<SmsSettings>,
    /// What is done about what destinations say of TLS.
    pub transport: AssuranceSettings,
}

/// How connections to next hops are made and kept.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// For the connection itself, at each address.
    pub connect_timeout: Duration,
    /// For the greeting (RFC 5321 §4.5.3.2.1).
    pub greeting_timeout: Duration,
    /// For the reply to a command, and for each block of data to be taken (RFC 5321 §4.5.3.2).
    pub command_timeout: Duration,
    /// For the reply after the last octet of a message (RFC 5321 §4.5.3.2.6).
    pub data_timeout: Duration,
    /// How long a connection is kept for the next message.
    pub idle: Duration,
    /// Open at once, to all destinations together.
    pub connections: usize,
    /// Authorities trusted besides the public ones.
    pub extra_roots: Vec<CertificateDer<'static>>,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            greeting_timeout: Duration::from_secs(300),
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(600),
            idle: Duration::from_secs(10),
            connections: 200,
            extra_roots: Vec::new(),
        }
    }
}

impl Settings {
    /// Takes `[[route]]` and `[delivery]` out of the outermost section of the gateway's own file.
    pub fn read(top: &Section<'_>) -> Self {
        let mut routes = Vec::new();
        let rules = Rules::read(top);
        for section in top.sections("route") {
            let route = read_route(&section, &rules.all);
            section.finish();
            routes.extend(route.map(Arc::new));
        }
        if routes.is_empty() && !top.has("route") {
            top.diagnostics().push(
                Diagnostic::error("missing-key", "there is no route: mail would go nowhere")
                    .at(top.place(), "")
                    .help("write [[route]] with recipients = [\"*\"] and a transport"),
            );
        }
        let sms = SmsSettings::read(top).map(|(settings, route)| {
            routes.insert(0, Arc::new(route));
            settings
        });
        rules.say_what_is_idle(&routes, top);
        Self {
            routes,
            connections: read_connections(top),
            sms,
            transport: read_transport_policy(top),
        }
    }

    /// Whether mail may go to the exchangers of any domain, so that what these say of TLS matters.
    pub fn asks_exchangers(&self) -> bool {
        let by_mx = |route: &Arc<Route>| matches!(route.transport, Transport::Mx { .. });
        self.routes.iter().any(by_mx)
    }
}

fn read_transport_policy(top: &Section<'_>) -> AssuranceSettings {
    let section = top.section("transport");
    let default = AssuranceSettings::default();
    let flag = |key, default| section.flag(key).map_or(default, Located::into_inner);
    let settings = AssuranceSettings {
        mta_sts: flag("mta-sts", default.mta_sts),
        dane: flag("dane", default.dane),
        tls_required_no: flag("tls-required-no", default.tls_required_no),
        report_from: section
            .parse::<Mailbox>("report-from")
            .map(Located::into_inner),
        internal_addresses: flag("internal-addresses", default.internal_addresses),
    };
    section.finish();
    settings
}

fn read_connections(top: &Section<'_>) -> ConnectionSettings {
    let section = top.section("delivery");
    let default = ConnectionSettings::default();
    let duration = |key, default| section.duration(key).map_or(default, Located::into_inner);
    let settings = ConnectionSettings {
        connect_timeout: duration("connect-timeout", default.connect_timeout),
        greeting_timeout: duration("greeting-timeout", default.greeting_timeout),
        command_timeout: duration("command-timeout", default.command_timeout),
        data_timeout: duration("data-timeout", default.data_timeout),
        idle: duration("idle", default.idle),
        connections: count(&section, "connections", default.connections),
        extra_roots: read_roots(&section),
    };
    section.finish();
    settings
}

/// Reads the certificates of `ca = "file.pem"`.
fn read_roots(section: &Section<'_>) -> Vec<CertificateDer<'static>> {
    let Some(path) = section.path("ca") else {
        return Vec::new();
    };
    let read = CertificateDer::pem_file_iter(&*path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
    match read {
        Ok(roots) if !roots.is_empty() => roots,
        Ok(_) => {
            let help = "a PEM file with the certificates of authorities is wanted".to_owned();
            section.report("bad-value", "`ca` holds no certificate", &path, help);
            Vec::new()
        }
        Err(error) => {
            let message = "`ca` cannot be read";
            section.report("unreadable-file", message, &path, error.to_string());
            Vec::new()
        }
    }
}

fn read_route(section: &Section<'_>, rules: &[Rule]) -> Option<Route> {
    let name = section.required_string("name");
    let takes = read_takes(section);
    let transport = read_transport(section);
    let connections = count(section, "connections", DEFAULT_CONNECTIONS);
    let rate = section.integer("rate", 0..=1_000_000);
    let chunking = section.flag("chunking");
    let straight_through = section.flag("straight-through");
    let schedule = read_schedule(section);
    let shaping = shaping::read_of_route(section);
    let transport = transport?;
    let rate = rate.map_or(0, |rate| u32::try_from(*rate).unwrap_or(0));
    Some(Route {
        name: name?.into_inner(),
        takes: takes?,
        shaping: shaping::with_rules(shaping, rules, &transport),
        connections,
        rate_per_minute: paced(&transport, rate),
        transport,
        chunking: chunking.is_none_or(Located::into_inner),
        straight_through: straight_through.is_none_or(Located::into_inner),
        schedule,
    })
}

/// A limit of the account paces the route as well, so that little is tried in vain.
fn paced(transport: &Transport, rate: u32) -> u32 {
    let limit = match transport {
        Transport::SmartHost(host) => host.credentials.as_ref().map(|one| one.limits),
        _ => None,
    };
    match limit.map_or(0, |limits| limits.messages_per_minute) {
        0 => rate,
        limit if rate == 0 => limit,
        limit => rate.min(limit),
    }
}

/// What the account at a smart host may send: `{ messages-per-minute, recipients-per-day }`.
fn read_limits(route: &Section<'_>) -> UpstreamLimits {
    let section = route.section("account-limits");
    let number = |key: &str| {
        let read = section.integer(key, 0..=10_000_000);
        read.map_or(0, |number| u32::try_from(*number).unwrap_or(0))
    };
    let limits = UpstreamLimits {
        messages_per_minute: number("messages-per-minute"),
        recipients_per_day: number("recipients-per-day"),
    };
    section.finish();
    limits
}

fn read_takes(section: &Section<'_>) -> Option<Takes> {
    let purpose = section.word("for", &[("encryption", ())]);
    match (purpose, section.has("recipients")) {
        (Some(_), false) => {
            if let Some(mx) = section.flag("mx").filter(|mx| **mx) {
                let message = "what is to be encrypted would go to the recipients' own servers";
                let help = "name the service that encrypts it: smart-host = \"…\"".to_owned();
                section.report("conflict", message, &mx, help);
            }
            Some(Takes::Encryption)
        }
        (Some(purpose), true) => {
            let _ = section.parse_list::<Pattern>("recipients");
            let help =
                "it takes what the policy wants encrypted; leave `recipients` out".to_owned();
            section.report(
                "conflict",
                "an encryption route has no recipients",
                &purpose,
                help,
            );
            None
        }
        (None, _) => {
            let patterns = section.parse_list::<Pattern>("recipients");
            match patterns {
                Some(patterns) if !patterns.is_empty() => Some(Takes::Recipients(
                    patterns.into_iter().map(Located::into_inner).collect(),
                )),
                Some(_) => None,
                None => {
                    missing(
                        section,
                        "`recipients` is missing in this route",
                        "write recipients = [\"*\"], or for = \"encryption\"",
                    );
                    None
                }
            }
        }
    }
}

/// Reads the one transport of a route.
fn read_transport(section: &Section<'_>) -> Option<Transport> {
    let given: Vec<&str> = TRANSPORTS
        .into_iter()
        .filter(|key| section.has(key))
        .collect();
    let smart_host = section.parse::<HostPort>("smart-host");
    let mx = section.flag("mx");
    let lmtp = section.string("lmtp");
    let maildir = section.path("maildir");
    let tls = read_level(section);
    let credentials = read_credentials(section);
    if given.len() != 1 {
        let message = match given.as_slice() {
            [] => "a route needs a transport".to_owned(),
            several => format!(
                "a route has one transport, here are {}",
                several.join(" and ")
            ),
        };
        missing(
            section,
            &message,
            "write one of mx = true, smart-host, lmtp, maildir",
        );
        return None;
    }
    refuse_unused(section, given[0], tls.as_ref(), credentials.is_some());
    let level = tls.as_deref().copied();
    if let Some(host) = smart_host {
        return smart_host_of(section, host.into_inner(), tls, credentials);
    }
    match (mx, lmtp, maildir) {
        (Some(mx), ..) if *mx => Some(Transport::Mx {
            tls: level.unwrap_or(TlsLevel::Opportunistic),
            port: SMTP_PORT,
        }),
        (Some(mx), ..) => {
            let help = "leave it out, or write mx = true".to_owned();
            section.report("bad-value", "`mx = false` is no transport", &mx, help);
            None
        }
        (_, Some(lmtp), _) => read_endpoint(section, &lmtp).map(|endpoint| {
            Transport::Lmtp(Lmtp {
                tls: level.unwrap_or(default_lmtp_level(&endpoint)),
                endpoint,
            })
        }),
        (.., Some(folder)) => Some(Transport::Maildir {
            folder: folder.into_inner(),
        }),
        _ => None,
    }
}

/// A password goes to a server that has shown who it is, unless told otherwise, and never in clear.
fn smart_host_of(
    section: &Section<'_>,
    next_hop: HostPort,
    tls: Option<Located<TlsLevel>>,
    credentials: Option<Credentials>,
) -> Option<Transport> {
    if let (Some(tls), Some(_)) = (&tls, &credentials)
        && **tls < TlsLevel::Required
    {
        let help = "write tls = \"verified\" or \"required\"".to_owned();
        section.report("conflict", "a password goes under TLS alone", tls, help);
        return None;
    }
    let default = match credentials {
        Some(_) => TlsLevel::Verified,
        None => TlsLevel::Opportunistic,
    };
    Some(Transport::SmartHost(SmartHost {
        next_hop,
        tls: tls.map_or(default, Located::into_inner),
        credentials,
    }))
}

fn refuse_unused(
    section: &Section<'_>,
    transport: &str,
    tls: Option<&Located<TlsLevel>>,
    has_credentials: bool,
) {
    if let (Some(tls), "maildir") = (tls, transport) {
        let help = "a Maildir is on this machine; leave it out".to_owned();
        section.report("conflict", "`tls` means nothing for a Maildir", tls, help);
    }
    if has_credentials && transport != "smart-host" {
        missing(
            section,
            "`username` is for a smart host alone",
            "leave it out",
        );
    }
}

fn read_level(section: &Section<'_>) -> Option<Located<TlsLevel>> {
    section.word("tls", &TlsLevel::WORDS)
}

/// A server on this machine is spoken to as it likes; one elsewhere under TLS if it can.
fn default_lmtp_level(endpoint: &Endpoint) -> TlsLevel {
    if endpoint.is_local() {
        TlsLevel::None
    } else {
        TlsLevel::Opportunistic
    }
}

/// Reads a path of a socket, told by its slash, or a host and a port.
fn read_endpoint(section: &Section<'_>, text: &Located<String>) -> Option<Endpoint> {
    if text.contains('/') {
        return section
            .path("lmtp")
            .map(|path| Endpoint::Unix(path.into_inner()));
    }
    section
        .parse::<HostPort>("lmtp")
        .map(|next_hop| Endpoint::Tcp(next_hop.into_inner()))
}

fn read_credentials(section: &Section<'_>) -> Option<Credentials> {
    let username = section.string("username");
    let mechanism = section.word("mechanism", &LoginMechanism::WORDS);
    let expires = section.date("password-expires").map(Located::into_inner);
    let limits = read_limits(section);
    let (password, token) = (section.section("password"), section.section("token"));
    let has_token = token.is_present();
    let has_any = password.is_present() || has_token;
    let shown = match (password.is_present(), token.is_present()) {
        (true, false) => Some(read_secret(section, password, "password").map(Shown::Password)),
        (false, true) => Some(read_token(section, token).map(Shown::Token)),
        _ => None,
    };
    if username.is_none() && !has_any {
        if limits.are_some() {
            let help =
                "write username and password, or username and token; `rate` is for a route without";
            missing(section, "`account-limits` needs an account", help);
        }
        return None;
    }
    let Some((username, shown)) = username.zip(shown) else {
        let (message, help) = match has_token {
            false => (
                "`username` and `password` go together",
                "write password = { file = \"…\" } or password = { env = \"…\" }",
            ),
            true => (
                "`username` and `token` go together, without `password`",
                "write token = { url = \"…\", client-id = \"…\", client-secret = { file = \"…\" }, scope = \"…\" }",
            ),
        };
        missing(section, message, help);
        return None;
    };
    // What cannot be read was told already.
    let shown = shown?;
    let default = match shown {
        Shown::Password(_) => LoginMechanism::Any,
        Shown::Token(_) => LoginMechanism::XOAuth2,
    };
    let chosen = mechanism.as_deref().copied().unwrap_or(default);
    if let Some(at) = &mechanism
        && (chosen == LoginMechanism::XOAuth2) != (default == LoginMechanism::XOAuth2)
    {
        let help = "xoauth2 shows a `token`, the others a `password`".to_owned();
        section.report("conflict", "`mechanism` does not fit", at, help);
        return None;
    }
    Some(Credentials {
        username: username.into_inner(),
        shown,
        mechanism: chosen,
        expires,
        limits,
    })
}

/// Where a token comes from: `{ url, client-id, client-secret, scope }`.
fn read_token(route: &Section<'_>, section: Section<'_>) -> Option<TokenSource> {
    let url = section.required::<Url>("url");
    let client_id = section.required_string("client-id");
    let secret = section.section("client-secret");
    let client_secret = read_secret(route, secret, "client-secret");
    let scope = section.required_string("scope");
    section.finish();
    Some(TokenSource {
        url: url?.into_inner(),
        client_id: client_id?.into_inner(),
        client_secret: client_secret?,
        scope: scope?.into_inner(),
    })
}

/// A secret in a file or a variable: `{ file = "…" }` or `{ env = "…" }`.
fn read_secret(route: &Section<'_>, section: Section<'_>, what: &str) -> Option<Secret> {
    let Some(source) = section.secret_source() else {
        let message = format!("`{what}` is a file or a variable");
        let help = format!("write {what} = {{ file = \"…\" }} or {what} = {{ env = \"…\" }}");
        missing(route, &message, &help);
        return None;
    };
    match Secret::load(&source) {
        Ok(secret) => Some(secret),
        Err(error) => {
            let message = format!("the {what} cannot be read");
            route.report("unreadable-secret", message, &source, error.to_string());
            None
        }
    }
}

fn read_schedule(section: &Section<'_>) -> RetrySchedule {
    let default = RetrySchedule::default();
    let delays: Vec<Duration> = match section.durations("retry") {
        Some(delays) => delays.into_iter().map(Located::into_inner).collect(),
        None => default.delays.clone(),
    };
    let duration = |key, default| section.duration(key).map_or(default, Located::into_inner);
    let schedule = RetrySchedule {
        delays,
        warn_after: duration("warn-after", default.warn_after),
        give_up_after: duration("give-up-after", default.give_up_after),
    };
    if schedule.delays.is_empty() || schedule.delays.contains(&Duration::ZERO) {
        missing(
            section,
            "`retry` needs delays, each longer than nothing",
            "for example [\"15m\", \"1h\"]",
        );
        return default;
    }
    schedule
}

fn count(section: &Section<'_>, key: &str, default: usize) -> usize {
    let number = section.integer(key, 1..=100_000);
    number.map_or(default, |n| usize::try_from(*n).unwrap_or(default))
}

/// Reports something about a section as a whole.
fn missing(section: &Section<'_>, message: &str, help: &str) {
    section.diagnostics().push(
        Diagnostic::error("bad-route", message)
            .at(section.place(), "")
            .help(help),
    );
}

/// The keys that say how mail goes.
const TRANSPORTS: [&str; 4] = ["mx", "smart-host", "lmtp", "maildir"];
/// Connections at once to one destination, where the route says nothing.
const DEFAULT_CONNECTIONS: usize = 20;
/// Where mail exchangers listen (RFC 5321 §4.5.4.2).
const SMTP_PORT: u16 = 25;

#[cfg(test)]
mod tests;
