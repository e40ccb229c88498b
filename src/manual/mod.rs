//! Design pages.

pub mod queue_states;
