//! The quarantine: looking at what was kept back, letting it go on, and telling the owners of mailboxes.
//!
//! Administrators use commands. The owner of a mailbox gets a digest once a day if that is switched on, with a link
//! for each message that was kept back for no other reason than that it looks unwanted: never for malware,
//! for what would be held, nor where there may be patient data. A link shows a page with a button, since programs
//! that look at mail follow every link in it; the button lets the message go on, once. Whoever lets a message go on may let
//! its sender through from then on.

mod allowed;
mod commands;
mod digest;
mod learn;
mod limiter;
mod link;
mod page;
mod settings;
mod state;
mod view;

pub use commands::run;
pub use digest::{DigestError, Digests};
pub use link::Links;
pub use page::{Desk, start};
pub use settings::{DigestSettings, Settings};
pub use state::{State, StateError};
