//! Files to checked values and diagnostics. Knows no section by name: each module reads its own.

pub mod diagnostic;
pub mod load;
pub mod located;
pub mod render;
pub mod replace;
mod secret;
pub mod section;
pub mod suggest;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;
pub mod watch;

pub use diagnostic::{Diagnostic, Diagnostics, Label, Severity};
pub use load::{load_toml, read_source, read_toml};
pub use located::{Located, Place, SourceFile};
pub use replace::replace;
pub use section::{Section, duration_of};
