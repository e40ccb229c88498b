//! Design pages.
