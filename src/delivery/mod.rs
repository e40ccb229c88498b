//! How mail goes onward.

mod pattern;
mod route;
pub mod settings;

pub use pattern::Pattern;
pub use route::{
    BadHostPort, Credentials, Endpoint, HostPort, Lmtp, RetrySchedule, Route, Router, SmartHost,
    Takes, TlsLevel, TlsNeed, Transport,
};
pub use settings::{ConnectionSettings, Settings};
