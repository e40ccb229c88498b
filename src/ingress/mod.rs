//! Mail comes in: sockets, sessions, and the step from a transaction to the queue.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::base::{Clock, Shutdown};
use crate::mail::Domain;
use crate::policy::Policy;
use crate::queue::Queue;
use crate::scheduler::Handle;

pub mod body;
pub mod events;
pub mod proxy;
pub mod receive;
pub mod settings;
pub mod tls;

pub use settings::Settings;

/// What ingress works with; built by the server.
#[derive(Clone)]
pub struct Parts {
    /// The name of this gateway.
    pub hostname: Domain,
    /// Where large messages lie while they come in.
    pub data: PathBuf,
    /// The policy in force. A transaction keeps the one it began with.
    pub policies: watch::Receiver<Arc<Policy>>,
    /// What was promised.
    pub queue: Queue,
    /// Who delivers.
    pub scheduler: Handle,
    /// What time it is.
    pub clock: Clock,
    /// Whether the end has come.
    pub shutdown: Shutdown,
}
