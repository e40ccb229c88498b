//! What should happen to a message.

pub mod case;
pub mod finding;
pub mod opinion;
pub mod patient_data;
pub mod refusal;
pub mod stage;
pub mod verdict;

pub use case::{Case, ResolvedRecipient};
pub use finding::Findings;
pub use opinion::{Ask, Finding, Opinion, Opinions};
pub use refusal::Refusal;
pub use verdict::{Decision, Direction, RecipientDecision, Verdict};
