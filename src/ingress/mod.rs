//! Mail comes in.

pub mod body;
pub mod proxy;
pub mod settings;
pub mod tls;

pub use settings::Settings;
