//! Seen from outside: the commands.
