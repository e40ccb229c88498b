//! The stage scan.
