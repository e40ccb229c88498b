//! Why a command line is refused, and the one table from that to a reply (RFC 5321 §4.2.4).

use crate::mail::{AddressError, EnhancedStatusCode as Code, Reply};

/// Why a line is no command that we can follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CommandError {
    /// No verb that we know.
    Unknown,
    /// A verb of the RFCs that we do not serve.
    NotImplemented,
    /// The line is malformed; the form that it should have.
    Syntax(&'static str),
    /// The length of a chunk cannot be told: what follows may be message or command.
    ChunkSyntax,
    /// A parameter that we do not offer.
    UnknownParameter,
    /// A parameter whose value is malformed, or that was given twice.
    BadParameter(&'static str),
    /// A known parameter with a value that we do not offer.
    UnservedValue(&'static str),
    /// The reverse path is no address.
    ReversePath(AddressError),
    /// The forward path is no address.
    ForwardPath(AddressError),
    /// Not ASCII, and SMTPUTF8 was not asked for (RFC 6531 §3.5).
    NeedsSmtpUtf8,
    /// A SASL mechanism that we do not know.
    UnknownMechanism,
}

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Self {
        let (code, status, text) = match error {
            CommandError::Unknown => (500, Code::permanent(5, 2), "command not recognised".into()),
            CommandError::NotImplemented => {
                (502, Code::permanent(5, 1), "command not implemented".into())
            }
            CommandError::Syntax(form) => (501, Code::permanent(5, 2), format!("syntax: {form}")),
            CommandError::ChunkSyntax => (
                501,
                Code::permanent(5, 4),
                "syntax: BDAT size [LAST]".into(),
            ),
            CommandError::UnknownParameter => (
                555,
                Code::permanent(5, 4),
                "parameter not recognised".into(),
            ),
            CommandError::BadParameter(name) => (
                501,
                Code::permanent(5, 4),
                format!("bad value of parameter {name}"),
            ),
            CommandError::UnservedValue(name) => (
                504,
                Code::permanent(5, 4),
                format!("value of parameter {name} not implemented"),
            ),
            // RFC 3463 §3.2: X.1.7 is about the sender's address, X.1.3 about a recipient's.
            CommandError::ReversePath(error) => (553, Code::permanent(1, 7), error.to_string()),
            CommandError::ForwardPath(error) => (553, Code::permanent(1, 3), error.to_string()),
            CommandError::NeedsSmtpUtf8 => (
                553,
                Code::permanent(6, 7),
                "this address needs SMTPUTF8".into(),
            ),
            CommandError::UnknownMechanism => (
                504,
                Code::permanent(5, 4),
                "mechanism not recognised".into(),
            ),
        };
        Self::new(code, status, text)
    }
}
