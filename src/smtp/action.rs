//! What a session asks of its driver, and what the driver tells it.

use crate::mail::{EnhancedStatusCode as Code, Envelope, Recipient, Reply};

use super::data::Fault;
use super::sasl::scram::ClientFirst;
use super::sasl::{Bearer, Credentials};

/// What holds for every session of a listener.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The name that we call ourselves.
    pub hostname: String,
    /// Whether STARTTLS is offered as long as the connection is in clear.
    pub starttls: bool,
    /// Octets of a message.
    pub message_octets: u64,
    /// Recipients of a transaction.
    pub recipients: usize,
    /// Transactions of a session.
    pub transactions: u32,
    /// Bad commands before the session is closed.
    pub errors: u32,
    /// Whether clients may say how urgent a message is (RFC 6710).
    pub mt_priority: bool,
}

/// What the driver does next.
#[derive(Debug)]
pub enum Action {
    /// Sends the reply and reads the next line.
    Reply(Reply),
    /// Sends the reply and closes.
    Close(Reply),
    /// Sends the reply, makes the TLS handshake and calls [`super::server::Session::tls_started`]. Octets that came
    /// before the handshake must never be read as commands (RFC 3207 §6).
    StartTls(Reply),
    /// Checks the credentials and calls [`super::server::Session::authenticated`].
    Authenticate(Credentials),
    /// Finds the SCRAM keys of the account and calls [`super::server::Session::scram_keys`].
    FindKeys(ClientFirst),
    /// Ends an exchange that shows by itself whether the client knows the secret, and calls
    /// [`super::server::Session::authenticated`].
    Conclude {
        /// The account.
        username: String,
        /// Whether it does.
        is_proved: bool,
    },
    /// Checks the token and calls [`super::server::Session::token_checked`].
    CheckToken(Bearer),
    /// Finds the account that the certificate of the connection opens, with the name that the client gave beside it, and
    /// calls [`super::server::Session::authenticated`].
    CheckCertificate(Option<String>),
    /// Asks whether the account may begin a message of this size, if it said one, and calls
    /// [`super::server::Session::sender_checked`].
    CheckSender(Option<u64>),
    /// Asks the policy about a recipient of [`super::server::Session::envelope`] and calls
    /// [`super::server::Session::recipient_checked`].
    CheckRecipient(Recipient),
    /// Sends the reply, reads a message to its end mark and calls [`super::server::Session::received`].
    ReceiveData(Reply),
    /// Reads a chunk of the message and calls [`super::server::Session::received`].
    ReceiveChunk(Chunk),
    /// Reads so many octets, drops them and sends the reply.
    Discard(u64, Reply),
    /// The message is complete: decides on it and sends the reply to it.
    Submit(Box<Envelope>),
}

/// A chunk of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// Its length.
    pub octets: u64,
    /// Whether the message ends with it.
    pub last: bool,
}

/// What was being received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Received {
    /// A whole message by DATA.
    Message,
    /// A chunk by BDAT.
    Chunk(Chunk),
}

/// Why a message that was read to its end cannot be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DataError {
    /// A bare CR or LF in it.
    BareLineEnd(Fault),
    /// Larger than we take.
    TooBig,
    /// Too much mail is being received at the moment.
    NoRoom,
    /// It could not be stored.
    Failed,
}

/// Why nobody is logged in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LoginError {
    /// No such account, or another password: which of the two is nobody's business.
    Refused,
    /// It could not be found out.
    Unavailable,
}

impl From<DataError> for Reply {
    fn from(error: DataError) -> Self {
        match error {
            DataError::BareLineEnd(Fault::BareCr) => Self::new(
                550,
                Code::permanent(6, 11),
                "the message has a CR without an LF",
            ),
            DataError::BareLineEnd(Fault::BareLf) => Self::new(
                550,
                Code::permanent(6, 11),
                "the message has an LF without a CR",
            ),
            DataError::TooBig => Self::new(552, Code::permanent(3, 4), "the message is too big"),
            DataError::NoRoom => Self::new(
                452,
                Code::transient(3, 1),
                "no room for the message, try again later",
            ),
            DataError::Failed => Self::new(
                451,
                Code::transient(3, 0),
                "the message could not be stored, try again later",
            ),
        }
    }
}
