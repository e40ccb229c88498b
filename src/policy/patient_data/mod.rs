//! Patient data: how it is recognised in a text, and how sure that is.
//!
//! Ten digits with a right check digit are common: one telephone number in eleven has one. So a number
//! is a [`candidate`](candidate::Candidate) first, and what stands round it decides: the
//! [`Detector`] weighs the words near it, its grouping and how many there are, with the weights of
//! `patient-data.toml`. Markings and the `[secure]` tag are read literally.
//!
//! Nothing here keeps a number: evidence is redacted when it is made.

pub mod candidate;
mod columns;
mod contradiction;
mod corroboration;
pub mod detector;
mod hand_written;
pub mod identifier;
pub mod marking;
pub mod secure_keyword;
pub mod settings;
pub mod subject;
pub mod vocabulary;

pub use detector::{Detector, Piece};
pub use settings::Settings;
