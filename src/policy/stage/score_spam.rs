//! The stage score-spam.
