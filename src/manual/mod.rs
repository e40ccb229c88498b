//! Design pages.

pub mod crash_points;
pub mod directory_changes;
pub mod plan;
pub mod queue_states;
pub mod shaping;
