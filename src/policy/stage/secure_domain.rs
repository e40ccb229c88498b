//! The stage secure-domain.
