//! The signals that steer the gateway.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ServeError;

/// The signals that steer the gateway. Take them first of all: from then on one that comes early
/// waits its turn instead of ending the process.
pub struct Signals {
    pub(super) end: EndSignals,
    pub(super) hangup: Signal,
}

/// Those that ask for the end.
pub(super) struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// None of them ends the process by itself any more.
    ///
    /// # Errors
    /// The system does not let us.
    pub fn take() -> Result<Self, ServeError> {
        let take = |kind| signal(kind).map_err(ServeError::Signals);
        Ok(Self {
            end: EndSignals {
                terminate: take(SignalKind::terminate())?,
                interrupt: take(SignalKind::interrupt())?,
            },
            hangup: take(SignalKind::hangup())?,
        })
    }
}

impl EndSignals {
    /// Waits for the next one; returns its name.
    pub(super) async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
