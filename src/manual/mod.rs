//! Design pages.

pub mod directory_changes;
pub mod queue_states;
pub mod shaping;
