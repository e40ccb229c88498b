//! The protocol without sockets, both sides.
