//! The stage resolve-recipients.
