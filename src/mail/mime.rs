//! The parts of a message, where they lie and how to decode them (RFC 2045, RFC 2046).
