//! What should happen to a message.

pub mod finding;
pub mod refusal;
pub mod verdict;

pub use finding::Findings;
pub use refusal::Refusal;
pub use verdict::{Decision, Direction, RecipientDecision, Verdict};
