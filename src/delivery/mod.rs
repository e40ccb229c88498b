//! How mail goes onward.
