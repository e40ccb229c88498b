//! When mail goes onward.
