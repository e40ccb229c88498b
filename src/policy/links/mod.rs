//! What links are worth: which sites are approved, what is odd about a link, what happens then (`[links]` of
//! `links.toml`).

mod edits;
mod judge;
mod settings;
mod sites;
mod words;

pub use edits::{Wanted, Written, write};
pub use judge::{Judge, Oddity};
pub use settings::{Direct, LinkSettings, LinkVerdict};
pub use sites::Sites;
pub use words::{banner_html, banner_text};
