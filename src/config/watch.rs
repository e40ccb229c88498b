//! Follows files; says when one has changed.
