//! Mail comes in: sockets, sessions, and the step from a transaction to the queue.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::accounts::Desk;
use crate::base::{Clock, HashKey, Shutdown, private};
use crate::mail::{Domain, Service};
use crate::outcome::Letterhead;
use crate::policy::Policy;
use crate::queue::Queue;
use crate::scheduler::Handle;
use crate::smtp::server::ServerSettings;

mod allowance;
mod any_certificate;
pub mod at_sight;
pub mod body;
mod connection;
mod descriptors;
pub mod events;
mod fields;
mod finish;
pub mod intake;
mod lesson;
mod listener;
mod login;
pub mod once;
mod promise;
pub mod proxy;
pub mod receive;
mod release;
pub mod settings;
mod sign;
mod straight;
mod stream;
mod text;
pub mod tls;
pub mod wire;

pub use settings::Settings;

use body::Budget;
use connection::{Door, kib};
use listener::{Census, Listener};
use settings::{ListenerSettings, ListenerTls};
use tls::{Certificates, TlsError};

/// What ingress works with; built by the server.
#[derive(Clone)]
pub struct Parts {
    /// The name of this gateway.
    pub hostname: Domain,
    /// On what it writes reports and notices.
    pub letterhead: Letterhead,
    /// Where large messages lie while they come in.
    pub data: PathBuf,
    /// The policy in force. A transaction keeps the one it began with.
    pub policies: watch::Receiver<Arc<Policy>>,
    /// What numbers of telephones are hashed and text messages sealed with; `None` if none are sent.
    pub text_key: Option<HashKey>,
    /// What was promised.
    pub queue: Queue,
    /// Who may log in, and what each account has used.
    pub accounts: Arc<Desk>,
    /// Who delivers.
    pub scheduler: Handle,
    /// What time it is.
    pub clock: Clock,
    /// Whether the end has come.
    pub shutdown: Shutdown,
}

/// A listener that is open, for people.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The administrator's name for it.
    pub name: String,
    /// Where; the port that was found, if any was as good as another.
    pub address: SocketAddr,
    /// What it is for: `relay, STARTTLS`.
    pub description: String,
}

/// Why mail cannot come in. Nothing is listening.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    /// An address cannot be listened on.
    #[error("listener `{name}` cannot listen on {address}: {source}")]
    Bind {
        /// Its name.
        name: String,
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A certificate cannot be used.
    #[error("certificate {0}")]
    Certificate(#[from] TlsError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The folder of large messages cannot be made.
    #[error("{folder}: {source}", folder = folder.display())]
    Spool {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Opens every listener and starts to serve. All sockets are bound before the first client is.
pub async fn start(settings: &Settings, parts: Parts) -> Result<Vec<Listening>, IngressError> {
    let folder = parts.data.join(SPOOL);
    // A few calls of the system, before the first client.
    private::folder(&folder).map_err(|source| IngressError::Spool { folder, source })?;
    let certificates = Certificates::load(&settings.certificates)?;
    let tls = match &certificates {
        Some(certificates) => Some(Acceptors {
            plain: TlsAcceptor::from(certificates.server_config(false)?),
            asking: TlsAcceptor::from(certificates.server_config(true)?),
        }),
        None => None,
    };
    let sockets = bind_all(&settings.listeners)?;
    if let Some(certificates) = certificates {
        parts
            .shutdown
            .spawn(certificates.follow(parts.shutdown.clone()));
    }
    Ok(serve_all(settings, &parts, tls.as_ref(), sockets))
}

fn bind_all(
    listeners: &[ListenerSettings],
) -> Result<Vec<(TcpListener, SocketAddr)>, IngressError> {
    let bind = |listener: &ListenerSettings| {
        let socket = listener::bind(listener.address)?;
        let address = socket.local_addr()?;
        Ok((socket, address))
    };
    let failed = |listener: &ListenerSettings, source| IngressError::Bind {
        name: listener.name.clone(),
        address: listener.address,
        source,
    };
    listeners
        .iter()
        .map(|listener| bind(listener).map_err(|source| failed(listener, source)))
        .collect()
}

fn serve_all(
    settings: &Settings,
    parts: &Parts,
    tls: Option<&Acceptors>,
    sockets: Vec<(TcpListener, SocketAddr)>,
) -> Vec<Listening> {
    let limits = &settings.limits;
    let connections = descriptors::places(limits.connections);
    let census = Census::new(connections, limits.connections_per_client);
    let budget = Budget::new(limits.memory_octets);
    let decisions = Arc::new(Semaphore::new(kib(limits.memory_octets) as usize));
    let logins = Arc::new(Semaphore::new(LOGINS_AT_ONCE));
    let mut listening = Vec::new();
    for (of, (socket, address)) in settings.listeners.iter().zip(sockets) {
        let tls = |when| {
            let acceptors = tls.filter(|_| of.tls == when)?;
            Some(acceptors.of(of))
        };
        let starttls = tls(ListenerTls::StartTls);
        let door = Door {
            parts: parts.clone(),
            limits: limits.clone(),
            server: Arc::new(server_settings(settings, parts, starttls.is_some())),
            service: of.service,
            straight: of.straight_through.then_some(limits.straight_wait),
            starttls,
            budget: budget.clone(),
            decisions: Arc::clone(&decisions),
            logins: Arc::clone(&logins),
        };
        let listener = Arc::new(Listener {
            door: Arc::new(door),
            implicit_tls: tls(ListenerTls::Implicit),
            proxy_protocol: of.proxy_protocol,
            proxies: settings.proxies.clone(),
            census: Arc::clone(&census),
        });
        parts.shutdown.spawn(listener.run(socket));
        listening.push(Listening {
            name: of.name.clone(),
            address,
            description: describe(of),
        });
    }
    listening
}

/// How TLS begins on listeners that ask for certificates of clients, and on those that do not.
struct Acceptors {
    plain: TlsAcceptor,
    asking: TlsAcceptor,
}

impl Acceptors {
    fn of(&self, listener: &ListenerSettings) -> TlsAcceptor {
        match listener.client_certificates {
            true => self.asking.clone(),
            false => self.plain.clone(),
        }
    }
}

fn server_settings(settings: &Settings, parts: &Parts, starttls: bool) -> ServerSettings {
    ServerSettings {
        hostname: parts.hostname.to_string(),
        starttls,
        message_octets: settings.limits.message_octets,
        recipients: settings.limits.recipients,
        transactions: settings.limits.messages_per_connection,
        errors: settings.limits.errors,
        mt_priority: settings.limits.mt_priority,
    }
}

fn describe(listener: &ListenerSettings) -> String {
    let service = match listener.service {
        Service::Relay => "relay",
        Service::Submission => "submission",
    };
    let tls = match listener.tls {
        ListenerTls::None => "in clear",
        ListenerTls::StartTls => "STARTTLS",
        ListenerTls::Implicit => "implicit TLS",
    };
    let proxied = if listener.proxy_protocol {
        ", behind a proxy"
    } else {
        ""
    };
    let asking = if listener.client_certificates {
        ", asks for certificates"
    } else {
        ""
    };
    let straight = if listener.straight_through {
        ", straight through"
    } else {
        ""
    };
    format!("{service}, {tls}{asking}{proxied}{straight}")
}

/// The folder of large messages, below the data folder.
const SPOOL: &str = "spool";
/// Passwords that are checked at once: each takes a core and some megabytes for tens of milliseconds.
const LOGINS_AT_ONCE: usize = 4;
