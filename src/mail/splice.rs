//! Putting a footer into a message without touching anything else.
