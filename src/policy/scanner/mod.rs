//! External scanners: programs of others that are asked about a message before its sender gets a reply.
//!
//! Each is optional, and none is configured as shipped. A scanner is asked within one length of time, its turn
//! and a second try included; what it means that it was away, or that a message is over its size, is
//! written with it. What a scanner says is bounded and cleaned: of its answer nothing but the name of what it
//! found, a score and its own word for what to do is kept.

mod clamd;
mod rspamd;
mod settings;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;

use crate::base::metrics;
use crate::base::scanners::{Came, SCANNERS};
use crate::config::Located;

use super::Policy;
use super::case::Case;
use super::stage::Stage;
use super::verdict::Direction;

pub use settings::read_all;

/// A scanner with its checked settings. Clones share its places.
#[derive(Clone, Debug)]
pub struct Scanner {
    /// The administrator's name for it; its place is what says so where it decides.
    pub name: Located<String>,
    /// What it is, and what its word leads to.
    pub engine: Engine,
    /// What it means that it gave no answer in time.
    pub unavailable: Otherwise,
    /// What it means that a message is over its size.
    pub too_large: Otherwise,
    /// After which absence it is an alarm.
    pub alarm_after: Duration,
    /// Which way mail goes that it is asked about; `None` for both.
    direction: Option<Direction>,
    address: Address,
    timeout: Duration,
    octets_max: u64,
    turns: Arc<Semaphore>,
}

/// What a scanner is, and what its word leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Engine {
    /// ClamAV's daemon: names what it finds.
    Clamd {
        /// Whether what it finds is refused; quarantined if not.
        refuse: bool,
    },
    /// Rspamd: a second opinion on what is spam.
    Rspamd {
        /// What our score calls it.
        symbol: String,
        /// Its score times this goes into ours.
        factor: f64,
        /// No more than this, either way.
        cap: f64,
    },
}

/// What happens to a message that a scanner could not be asked about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Otherwise {
    /// The client shall try again.
    Defer,
    /// It goes on, with a note.
    Pass,
    /// It is kept apart.
    Quarantine,
}

/// What a scanner said of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Nothing against it.
    Clean,
    /// It found this.
    Malware(String),
    /// It gave a score.
    Score {
        /// Its score.
        score: f64,
        /// The score from which on it would refuse.
        required: f64,
        /// What it would do: `add header`.
        action: String,
    },
    /// The message is over its size.
    TooLarge,
    /// It gave no answer: why, in words without content.
    Unavailable(&'static str),
}

impl Policy {
    /// The scanners that are asked.
    pub fn scanners(&self) -> &[Scanner] {
        let mut stages = self.stages.iter();
        let found = stages.find_map(|placed| match &placed.stage {
            Stage::Scan(scan) => Some(scan.scanners()),
            _ => None,
        });
        found.unwrap_or_default()
    }
}

/// Where a scanner listens.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Address {
    /// `127.0.0.1:3310`.
    Tcp(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Scanner {
    /// Whether it is to be asked about mail that goes this way.
    pub fn is_for(&self, direction: Direction) -> bool {
        self.direction.is_none_or(|only| only == direction)
    }

    /// The most time that it takes for one message.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What it says of the message of a case. Never takes longer than [`Scanner::timeout`].
    pub async fn ask(&self, case: &Case<'_>) -> Report {
        let octets = case.transaction.message.len();
        if u64::try_from(octets).unwrap_or(u64::MAX) > self.octets_max {
            return Report::TooLarge;
        }
        let asked = tokio::time::timeout(self.timeout, self.in_turn(case)).await;
        let report = asked.unwrap_or(Report::Unavailable("no answer in time"));
        let came = match report {
            Report::Malware(_) => Came::Found,
            Report::Unavailable(_) => Came::Nothing,
            Report::Clean | Report::Score { .. } | Report::TooLarge => Came::Answer,
        };
        match came {
            Came::Found => metrics::SCANS_MALWARE.add(1),
            Came::Nothing => metrics::SCANS_UNAVAILABLE.add(1),
            Came::Answer => metrics::SCANS.add(1),
        }
        SCANNERS.count(&self.name, came, case.now);
        report
    }

    /// Waits for a place, and asks; once more if the connection broke.
    async fn in_turn(&self, case: &Case<'_>) -> Report {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        match self.once(case).await {
            Ok(report) => report,
            Err(_) => match self.once(case).await {
                Ok(report) => report,
                Err(error) => Report::Unavailable(words(&error)),
            },
        }
    }

    async fn once(&self, case: &Case<'_>) -> io::Result<Report> {
        let stream = self.address.connect().await?;
        match &self.engine {
            Engine::Clamd { .. } => clamd::scan(stream, case.transaction.message.octets()).await,
            Engine::Rspamd { .. } => rspamd::check(stream, case).await,
        }
    }
}

impl Address {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address.as_str()).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why it was away. The error itself may quote what a scanner said.
fn words(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => "nobody listens there",
        io::ErrorKind::PermissionDenied => "the socket may not be used",
        io::ErrorKind::InvalidData => "its answer is none",
        _ => "the connection broke, twice",
    }
}

#[cfg(test)]
mod tests;
