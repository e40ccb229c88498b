//! The settings of ingress: `[[listener]]`, `[proxy]`, `[[tls.certificate]]` and `[limits]`, checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::Network;
use crate::config::{Diagnostic, Located, Section};
use crate::mail::Service;

/// Everything that ingress is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens, and as what.
    pub listeners: Vec<ListenerSettings>,
    /// Who may speak the PROXY protocol to us.
    pub proxies: Vec<Network>,
    /// Certificates; the first serves clients that name no server.
    pub certificates: Vec<CertificateFiles>,
    /// What one client, and all together, may use.
    pub limits: Limits,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// The administrator's name for it.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it is for.
    pub service: Service,
    /// Whether and how TLS is spoken.
    pub tls: ListenerTls,
    /// Whether each connection begins with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Whether clients are asked for a certificate. None needs to have one.
    pub client_certificates: bool,
    /// Whether messages are delivered while the client waits, where that can be.
    pub straight_through: bool,
}

/// How a listener speaks TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ListenerTls {
    /// Not at all.
    None,
    /// When the client asks for it (RFC 3207).
    StartTls,
    /// From the first octet (RFC 8314 §3).
    Implicit,
}

/// The files of a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFiles {
    /// The chain, in PEM, the server's own first.
    pub certificate: PathBuf,
    /// The key, in PEM.
    pub key: PathBuf,
}

/// What one client, and all together, may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address.
    pub connections_per_client: usize,
    /// Messages of one connection (RFC 9422: `MAILMAX`).
    pub messages_per_connection: u32,
    /// Recipients of a message; at least 100 (RFC 5321 §4.5.3.1.8).
    pub recipients: usize,
    /// Octets of a message.
    pub message_octets: u64,
    /// Octets of the header of a message.
    pub header_octets: usize,
    /// Octets of a command line, its CRLF included (RFC 5321 §4.5.3.1.4).
    pub line_octets: usize,
    /// Bad commands before the session is closed.
    pub errors: u32,
    /// Whether clients may say how urgent a message is (RFC 6710); that of accounts alone counts.
    pub mt_priority: bool,
    /// Octets of all messages that are being received.
    pub memory_octets: u64,
    /// Octets of a message up to which it stays in memory while it comes in.
    pub in_memory_octets: usize,
    /// How long the greeting waits for clients that talk too early.
    pub greeting_delay: Duration,
    /// `Received` fields before mail counts as looping (RFC 5321 §6.3).
    pub received_hops: usize,
    /// For the next command (RFC 5321 §4.5.3.2.7).
    pub command_timeout: Duration,
    /// For the next block of data (RFC 5321 §4.5.3.2.5).
    pub data_timeout: Duration,
    /// How long a client waits for the next hop before its message goes into the queue.
    pub straight_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 12_000,
            connections_per_client: 200,
            messages_per_connection: 100_000,
            recipients: 1_000,
            message_octets: 40 << 20,
            header_octets: 1 << 20,
            line_octets: 2_048,
            errors: 20,
            mt_priority: false,
            memory_octets: 512 << 20,
            in_memory_octets: 1 << 20,
            greeting_delay: Duration::ZERO,
            received_hops: 50,
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(180),
            straight_wait: Duration::from_secs(5),
        }
    }
}

/// Who may speak the PROXY protocol says from which address a client comes, and so whose mail is our own.
fn warn_of_wide_proxy(network: &Located<Network>, top: &Section<'_>) {
    if network.prefix_bits() >= PROXY_PREFIX_MIN {
        return;
    }
    let message = format!("anybody in `{}` may claim any address", **network);
    let diagnostic = Diagnostic::warning("proxy-for-everybody", message)
        .at_maybe(network.place(), "")
        .help("list the addresses of the proxies alone: whoever connects could claim one of relay-networks");
    top.diagnostics().push(diagnostic);
}

/// No network of one organisation is wider than that of all private addresses, fc00::/7, in bits of its prefix.
const PROXY_PREFIX_MIN: u8 = 7;

impl Settings {
    /// Takes the sections of ingress out of the outermost section of the gateway's own file.
    pub fn read(top: &Section<'_>) -> Self {
        let listeners = read_listeners(top);
        let proxy = top.section("proxy");
        let proxies = proxy.parse_list::<Network>("trusted").unwrap_or_default();
        for network in &proxies {
            warn_of_wide_proxy(network, top);
        }
        proxy.finish();
        let settings = Self {
            listeners: listeners
                .iter()
                .map(|listener| (**listener).clone())
                .collect(),
            proxies: proxies.into_iter().map(Located::into_inner).collect(),
            certificates: read_certificates(top),
            limits: read_limits(top),
        };
        for listener in &listeners {
            settings.check(listener, top);
        }
        settings
    }

    /// Checks what spans several sections.
    fn check(&self, listener: &Located<ListenerSettings>, top: &Section<'_>) {
        let complain = |message: String, help: &str| {
            let diagnostic = Diagnostic::error("listener", message)
                .at_maybe(listener.place(), "")
                .help(help);
            top.diagnostics().push(diagnostic);
        };
        if listener.tls != ListenerTls::None && self.certificates.is_empty() {
            let message = format!(
                "listener `{}` speaks TLS and there is no certificate",
                listener.name
            );
            complain(message, "add [[tls.certificate]], or write tls = \"none\"");
        }
        if listener.client_certificates && listener.tls == ListenerTls::None {
            let message = format!(
                "listener `{}` asks for certificates and has no TLS to show them in",
                listener.name
            );
            complain(message, "write tls = \"starttls\" or tls = \"implicit\"");
        }
        if listener.proxy_protocol && self.proxies.is_empty() {
            let message = format!(
                "listener `{}` expects the PROXY protocol and nobody may speak it",
                listener.name
            );
            complain(message, "add [proxy] trusted = [\"…\"]");
        }
        if listener.service == Service::Submission && listener.tls == ListenerTls::None {
            let message = format!(
                "listener `{}` is for submission and has no TLS: nobody could authenticate",
                listener.name
            );
            complain(message, "write tls = \"starttls\" or tls = \"implicit\"");
        }
    }
}

fn read_listeners(top: &Section<'_>) -> Vec<Located<ListenerSettings>> {
    let sections = top.sections("listener");
    if sections.is_empty() {
        let diagnostic =
            Diagnostic::error("missing-key", "there is no listener: no mail could come in");
        top.diagnostics().push(
            diagnostic
                .at(top.place(), "")
                .help("add [[listener]] with a name and an address"),
        );
    }
    let mut listeners = Vec::new();
    for section in sections {
        let place = section.place().clone();
        if let Some(listener) = read_listener(&section) {
            listeners.push(Located::at(listener, place));
        }
        section.finish();
    }
    listeners
}

fn read_listener(section: &Section<'_>) -> Option<ListenerSettings> {
    let name = section.required_string("name").map(Located::into_inner);
    let address = section
        .required::<SocketAddr>("address")
        .map(Located::into_inner);
    let services = [
        ("relay", Service::Relay),
        ("submission", Service::Submission),
    ];
    let levels = [
        ("none", ListenerTls::None),
        ("starttls", ListenerTls::StartTls),
        ("implicit", ListenerTls::Implicit),
    ];
    let service = section
        .word("service", &services)
        .map_or(Service::Relay, Located::into_inner);
    let tls = section
        .word("tls", &levels)
        .map_or(ListenerTls::StartTls, Located::into_inner);
    let proxy_protocol = section
        .flag("proxy-protocol")
        .is_some_and(Located::into_inner);
    let client_certificates = section
        .flag("client-certificates")
        .is_some_and(Located::into_inner);
    let straight_through = section
        .flag("straight-through")
        .is_some_and(Located::into_inner);
    Some(ListenerSettings {
        name: name?,
        address: address?,
        service,
        tls,
        proxy_protocol,
        client_certificates,
        straight_through,
    })
}

fn read_certificates(top: &Section<'_>) -> Vec<CertificateFiles> {
    let tls = top.section("tls");
    let mut certificates = Vec::new();
    for section in tls.sections("certificate") {
        let files = (section.path("certificate"), section.path("key"));
        if let (Some(certificate), Some(key)) = files {
            certificates.push(CertificateFiles {
                certificate: certificate.into_inner(),
                key: key.into_inner(),
            });
        } else {
            let message = "a certificate needs both its file and its key";
            section
                .diagnostics()
                .push(Diagnostic::error("missing-key", message).at(section.place(), ""));
        }
        section.finish();
    }
    tls.finish();
    certificates
}

fn read_limits(top: &Section<'_>) -> Limits {
    let section = top.section("limits");
    let default = Limits::default();
    let count = |key, least: i64, default: usize| {
        let value = section.integer(key, least..=i64::from(u32::MAX));
        value.map_or(default, |value| usize::try_from(*value).unwrap_or(default))
    };
    let octets = |key, default| section.octets(key).map_or(default, Located::into_inner);
    let time = |key, default| section.duration(key).map_or(default, Located::into_inner);
    let in_memory = octets("message-in-memory", default.in_memory_octets as u64);
    let header = octets("header-size", default.header_octets as u64);
    let limits = Limits {
        connections: count("connections", 1, default.connections),
        connections_per_client: count("connections-per-client", 1, default.connections_per_client),
        messages_per_connection: section
            .integer("messages-per-connection", 1..=LIMITS_MAX)
            .map_or(default.messages_per_connection, |value| {
                u32::try_from(*value).unwrap_or(default.messages_per_connection)
            }),
        recipients: section
            .integer("recipients", 100..=LIMITS_MAX)
            .map_or(default.recipients, |value| {
                usize::try_from(*value).unwrap_or(default.recipients)
            }),
        message_octets: octets("message-size", default.message_octets),
        header_octets: usize::try_from(header).unwrap_or(default.header_octets),
        line_octets: count("line-length", 512, default.line_octets),
        errors: u32::try_from(count("errors", 1, default.errors as usize))
            .unwrap_or(default.errors),
        mt_priority: section.flag("mt-priority").is_some_and(|flag| *flag),
        memory_octets: octets("memory", default.memory_octets),
        in_memory_octets: usize::try_from(in_memory).unwrap_or(default.in_memory_octets),
        greeting_delay: time("greeting-delay", default.greeting_delay),
        received_hops: count("received-hops", 10, default.received_hops),
        command_timeout: time("command-timeout", default.command_timeout),
        data_timeout: time("data-timeout", default.data_timeout),
        straight_wait: read_straight_wait(&section, default.straight_wait),
    };
    section.finish();
    limits
}

fn read_straight_wait(section: &Section<'_>, default: Duration) -> Duration {
    let Some(wait) = section.duration("straight-through-wait") else {
        return default;
    };
    if wait.is_zero() || *wait > STRAIGHT_WAIT_MAX {
        let message = "`straight-through-wait` is out of bounds";
        let help = "a client may wait for up to \"30s\"; to have none wait, leave straight-through out of the listeners";
        section.report("out-of-bounds", message, &wait, help.to_owned());
        return default;
    }
    wait.into_inner()
}

/// Longest wait for a next hop: a tenth of what a client has patience for (RFC 5321 §4.5.3.2.6), and shorter than a drain.
const STRAIGHT_WAIT_MAX: Duration = Duration::from_secs(30);
/// The largest number that the extension LIMITS can say (RFC 9422 §4: six digits).
const LIMITS_MAX: i64 = 999_999;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::read_text;

    fn read(text: &str) -> (Settings, Vec<String>) {
        let (settings, said) = read_text("policies/postern.toml", text, Settings::read);
        (
            settings,
            said.into_iter()
                .map(|diagnostic| diagnostic.message)
                .collect(),
        )
    }

    #[test]
    fn paths_are_meant_from_the_folder_of_the_file() {
        let (settings, said) = read(
            "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:25\"\n[[tls.certificate]]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n[limits]\nrecipients = 100\n",
        );
        assert_eq!(said, [""; 0]);
        assert_eq!(
            settings.certificates[0].certificate,
            PathBuf::from("policies/c.pem")
        );
        assert_eq!(
            (settings.limits.recipients, settings.limits.errors),
            (100, 20)
        );
    }

    #[test]
    fn every_limit_stands_in_the_shipped_file_with_its_default() {
        let shipped = include_str!("../../policies/postern.toml");
        let listener = "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:25\"\ntls = \"none\"\n";
        let (of_file, _) = read(shipped);
        let (default, said) = read(listener);
        assert_eq!(said, [""; 0]);
        let limits = |settings: Settings| format!("{:?}", settings.limits);
        assert_eq!(limits(of_file), limits(default));
        let named = shipped
            .split("[limits]")
            .nth(1)
            .unwrap()
            .split("\n[")
            .next();
        let keys = named.unwrap().lines().filter(|line| line.contains(" = "));
        let fields = format!("{:?}", Limits::default()).matches(": ").count();
        assert_eq!(keys.count(), fields);
    }

    #[test]
    fn limits_are_numbers_that_ehlo_can_say() {
        let (_, said) = read(
            "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:25\"\ntls = \"none\"\n[limits]\nrecipients = 1000000\nmessages-per-connection = 1000000\n",
        );
        assert_eq!(
            said,
            [
                "`messages-per-connection` is out of bounds",
                "`recipients` is out of bounds"
            ]
        );
    }

    #[test]
    fn what_cannot_work_together_is_said_at_once() {
        let (_, said) = read(
            "[[listener]]\nname = \"s\"\naddress = \"127.0.0.1:25\"\nservice = \"submission\"\ntls = \"none\"\nproxy-protocol = true\n[limits]\nrecipients = 99\nstraight-through-wait = \"31s\"\n",
        );
        assert_eq!(
            said,
            [
                "`recipients` is out of bounds",
                "`straight-through-wait` is out of bounds",
                "listener `s` expects the PROXY protocol and nobody may speak it",
                "listener `s` is for submission and has no TLS: nobody could authenticate",
            ]
        );
    }
}
