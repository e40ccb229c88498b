//! The client without sockets: replies in, commands out (RFC 5321; LMTP: RFC 2033).
//!
//! Two machines follow one another on a connection. An [`Opening`] leads from the greeting to the
//! point where mail may be sent: EHLO, STARTTLS, AUTH. A [`Transaction`] then takes one message to its
//! recipients and knows, at every moment, what has become of each; any number of them may follow.
//! Neither reads nor writes: whoever owns the connection does, and asks for the next step.

pub mod opening;
mod parameters;
mod scram;
pub mod transaction;

pub use opening::{Login, LoginMechanism, Opening, OpeningError, OpeningStep, Stage, StartTls};
pub use parameters::{NOT_KEPT_TO, may_go_to_anybody};
pub use transaction::{Ending, Form, Link, Patience, Step, Transaction};

/// Which of the two protocols is spoken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dialect {
    /// One reply for the message.
    Smtp,
    /// One reply for each recipient (RFC 2033 §4.2).
    Lmtp,
}
