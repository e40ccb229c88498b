//! What a test replaces, and what all modules share.

pub mod certificate;
pub mod clock;
pub mod der;
pub mod dns;
pub mod https;
pub mod id;
pub mod keyed;
pub mod limited;
pub mod metrics;
pub mod network;
pub mod private;
pub mod reach;
pub mod scanners;
pub mod secret;
pub mod shutdown;
mod tell;
pub mod unwind;

pub use clock::Clock;
pub use id::{PolicyVersion, Reference};
pub use keyed::HashKey;
pub use network::Network;
pub use shutdown::Shutdown;
pub use tell::tell;
