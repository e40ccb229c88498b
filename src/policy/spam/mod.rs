//! What a message from outside looks like: the conditions of the rules (`scoring.toml`) and what was learnt.
//!
//! Both see a message as [`Mail`]: its decoded content, its parts, and of its header a list of fields that senders
//! write. Fields that filters and lists on the way add are not looked at by the learner: where they say
//! something, they say it of the place where the lessons were collected.
//!
//! [`Features`] are hashes; a [`Model`] has a weight for each; [`Lessons`] keeps what somebody called spam
//! or not, and [`fit`] makes a model of it. [`Learned`] is what is in force: the model that ships, on top of it that of
//! the gateway, on top of that one for an organisation. No network, no waiting, nothing that learns while mail
//! waits: lessons become a model in the rounds of the server and in `postern learn`.

pub mod features;
mod file;
pub mod fit;
mod head;
mod lateness;
pub mod learned;
pub mod lessons;
pub mod look;
mod markup;
pub mod model;
pub mod patterns;
pub mod released;
pub mod settings;
pub mod signs;
pub mod specimen;
pub mod teach;
mod views;

use crate::content::Content;
use crate::mail::Header;
use crate::mail::mime::Structure;

pub use features::Features;
pub use file::ModelError;
pub use learned::Learned;
pub use lessons::{Lesson, Lessons, Organisation, Verdict};
pub use model::Model;
pub use specimen::Specimen;
pub use teach::{TeachError, catch_up, teach, to_ship};

/// A message as rules and learner see it.
#[derive(Clone, Copy, Debug)]
pub struct Mail<'m> {
    /// All of it.
    pub octets: &'m [u8],
    /// Its header.
    pub header: &'m Header<'m>,
    /// Its parts, if they could be told apart.
    pub structure: Option<&'m Structure>,
    /// What a reader sees.
    pub content: &'m Content,
}
