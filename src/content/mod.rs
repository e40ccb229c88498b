//! What a reader of the message sees.
