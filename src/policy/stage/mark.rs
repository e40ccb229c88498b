//! The stage mark.
