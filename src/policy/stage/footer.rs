//! The stage footer.
