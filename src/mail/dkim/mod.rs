//! DKIM as octets: what a signature covers and how its field is written (RFC 6376, RFC 8463). No keys here.

pub mod canonical;
pub mod draft;
pub mod signature;

pub use canonical::Form;
pub use draft::{Draft, FieldKind};
pub use signature::Signature;
