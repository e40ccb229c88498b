//! Who lives here, and where every other name leads.

pub mod resolution;

pub use resolution::{Because, End, Hop, Resolution};
