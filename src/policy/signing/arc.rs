//! ARC.
