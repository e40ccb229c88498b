//! One command line to a [`Command`], or to the reply that refuses it.
//!
//! The grammar is RFC 5321 §4.1 with the parameters of the extensions that we offer. It is strict:
//! what is not understood to the last octet is refused, since every guess is a way to be
//! understood differently by somebody else. Two habits of clients are forgiven: spaces between
//! `FROM:` or `TO:` and the path, and white space at the end of a line. Verbs, keywords and
//! words are taken in any case.
//!
//! Ours and not `smtp-proto`'s, because that one unquotes local parts for good (`"a@b"@c` comes out
//! as `a@b@c`), loses the type of ORCPT, tells `<postmaster>` from `<>` by nothing, takes broken xtext,
//! arguments after RSET and DATA and parameters given twice, and ends a line at a bare LF.

mod envelope;

use crate::mail::{Envelope, Host, Recipient};

use envelope::{mail, rcpt};

pub use super::command_error::CommandError;

/// What a client asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// `EHLO name`, the name made safe to print.
    Ehlo(String),
    /// `HELO name`, the name made safe to print.
    Helo(String),
    /// `MAIL FROM:<…>`.
    Mail(Mail),
    /// `RCPT TO:<…>`.
    Rcpt {
        /// Who, and what was asked for it.
        recipient: Recipient,
        /// Whether the line holds octets that are not ASCII: fit for SMTPUTF8 transactions alone.
        utf8: bool,
    },
    /// `DATA`.
    Data,
    /// `BDAT octets [LAST]` (RFC 3030).
    Bdat {
        /// The length of the chunk that follows the line.
        octets: u64,
        /// Whether the message ends with it.
        last: bool,
    },
    /// `RSET`.
    Rset,
    /// `NOOP`, its argument dropped.
    Noop,
    /// `QUIT`.
    Quit,
    /// `VRFY`, its argument dropped: nobody is told who lives here.
    Vrfy,
    /// `HELP`, its argument dropped.
    Help,
    /// `STARTTLS` (RFC 3207).
    StartTls,
    /// `AUTH mechanism [initial-response]` (RFC 4954).
    Auth {
        /// How to prove who one is.
        mechanism: Mechanism,
        /// The initial response, still in base64; `=` is an empty one.
        initial: Option<String>,
    },
}

/// `MAIL FROM` and its parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mail {
    /// The envelope as far as it is known.
    pub envelope: Envelope,
    /// The size that the client announces, in octets (RFC 1870).
    pub size: Option<u64>,
    /// Whether `AUTH=` was there. What it says is not used (RFC 4954 §5 allows that).
    pub auth: bool,
}

/// A SASL mechanism that we know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Never standardised, and still what many applications speak.
    Login,
    /// RFC 7677.
    ScramSha256,
    /// RFC 7677, bound to the TLS connection.
    ScramSha256Plus,
    /// RFC 7628.
    OAuthBearer,
    /// As Google and Microsoft have it.
    XOAuth2,
    /// RFC 4422 appendix A: by the certificate of the TLS session.
    External,
}

impl Mechanism {
    /// All of them, by their names.
    pub const NAMES: [(&str, Self); 7] = [
        ("PLAIN", Self::Plain),
        ("LOGIN", Self::Login),
        ("SCRAM-SHA-256", Self::ScramSha256),
        ("SCRAM-SHA-256-PLUS", Self::ScramSha256Plus),
        ("OAUTHBEARER", Self::OAuthBearer),
        ("XOAUTH2", Self::XOAuth2),
        ("EXTERNAL", Self::External),
    ];

    /// Its name, in EHLO and in the audit trail.
    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, one)| *one == self);
        named.map_or("", |(name, _)| name)
    }
}

impl Command {
    /// Reads one line, without its CRLF.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let line = trim_end(line);
        let end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
        let verb = Verb::parse(&line[..end]).ok_or(CommandError::Unknown)?;
        // RFC 5321 §4.1.2 knows no control octets in commands, bare CR, LF and NUL among them.
        if line.iter().any(u8::is_ascii_control) {
            return Err(verb.malformed());
        }
        let argument = std::str::from_utf8(&line[end..]).map_err(|_| verb.malformed())?;
        verb.read(argument.strip_prefix(' ').unwrap_or(argument))
    }
}

/// Takes spaces and tabs off the end, and nothing else that is white.
fn trim_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|b| !matches!(b, b' ' | b'\t'));
    &line[..end.map_or(0, |at| at + 1)]
}

/// The first word of a line.
#[derive(Clone, Copy)]
enum Verb {
    Ehlo,
    Helo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
    StartTls,
    Auth,
    NotImplemented,
}

impl Verb {
    fn parse(word: &[u8]) -> Option<Self> {
        Some(match word.to_ascii_uppercase().as_slice() {
            b"EHLO" => Self::Ehlo,
            b"HELO" => Self::Helo,
            b"MAIL" => Self::Mail,
            b"RCPT" => Self::Rcpt,
            b"DATA" => Self::Data,
            b"BDAT" => Self::Bdat,
            b"RSET" => Self::Rset,
            b"NOOP" => Self::Noop,
            b"QUIT" => Self::Quit,
            b"VRFY" => Self::Vrfy,
            b"HELP" => Self::Help,
            b"STARTTLS" => Self::StartTls,
            b"AUTH" => Self::Auth,
            b"EXPN" | b"ETRN" | b"TURN" | b"ATRN" | b"SEND" | b"SOML" | b"SAML" | b"BURL" => {
                Self::NotImplemented
            }
            _ => return None,
        })
    }

    fn read(self, argument: &str) -> Result<Command, CommandError> {
        let alone = |command| match argument.is_empty() {
            true => Ok(command),
            false => Err(self.malformed()),
        };
        match self {
            Self::Ehlo => client_name(argument)
                .map(Command::Ehlo)
                .ok_or(self.malformed()),
            Self::Helo => client_name(argument)
                .map(Command::Helo)
                .ok_or(self.malformed()),
            Self::Mail => mail(argument).map(Command::Mail),
            Self::Rcpt => rcpt(argument),
            Self::Data => alone(Command::Data),
            Self::Bdat => bdat(argument),
            Self::Rset => alone(Command::Rset),
            Self::Noop => Ok(Command::Noop),
            Self::Quit => alone(Command::Quit),
            Self::Vrfy if argument.is_empty() => Err(self.malformed()),
            Self::Vrfy => Ok(Command::Vrfy),
            Self::Help => Ok(Command::Help),
            Self::StartTls => alone(Command::StartTls),
            Self::Auth => auth(argument),
            Self::NotImplemented => Err(CommandError::NotImplemented),
        }
    }

    /// What is said of a line that begins with this verb and is malformed.
    fn malformed(self) -> CommandError {
        CommandError::Syntax(match self {
            Self::Ehlo => "EHLO name",
            Self::Helo => "HELO name",
            Self::Mail => MAIL_FORM,
            Self::Rcpt => RCPT_FORM,
            Self::Data => "DATA",
            Self::Bdat => return CommandError::ChunkSyntax,
            Self::Rset => "RSET",
            Self::Noop => "NOOP",
            Self::Quit => "QUIT",
            Self::Vrfy => "VRFY address",
            Self::Help => "HELP",
            Self::StartTls => "STARTTLS",
            Self::Auth => AUTH_FORM,
            Self::NotImplemented => return CommandError::NotImplemented,
        })
    }
}

/// Reads the argument of EHLO or HELO. Many clients do not know their own name; one that is no
/// domain or literal is taken, with every character that could mean something in a header field
/// replaced by `?`.
fn client_name(argument: &str) -> Option<String> {
    let name = argument.trim_matches(' ');
    let shaped = (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    if !shaped {
        return None;
    }
    if Host::parse(name).is_ok() {
        return Some(name.to_owned());
    }
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    Some(
        name.chars()
            .map(|c| if safe(c) { c } else { '?' })
            .collect(),
    )
}

fn bdat(argument: &str) -> Result<Command, CommandError> {
    let mut words = argument.split_ascii_whitespace();
    let size = words.next().ok_or(CommandError::ChunkSyntax)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(CommandError::ChunkSyntax),
    };
    let digits = size.bytes().all(|b| b.is_ascii_digit());
    // A length beyond 64 bits is no length: nothing after it could be told apart.
    let octets = size
        .parse()
        .ok()
        .filter(|_| digits && words.next().is_none());
    octets
        .map(|octets| Command::Bdat { octets, last })
        .ok_or(CommandError::ChunkSyntax)
}

fn auth(argument: &str) -> Result<Command, CommandError> {
    let mut words = argument.split_ascii_whitespace();
    let name = words.next().ok_or(CommandError::Syntax(AUTH_FORM))?;
    let initial = words.next().map(str::to_owned);
    if words.next().is_some() {
        return Err(CommandError::Syntax(AUTH_FORM));
    }
    let mut known = Mechanism::NAMES.into_iter();
    let (_, mechanism) = known
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .ok_or(CommandError::UnknownMechanism)?;
    Ok(Command::Auth { mechanism, initial })
}

const MAIL_FORM: &str = "MAIL FROM:<address> [parameters]";
const RCPT_FORM: &str = "RCPT TO:<address> [parameters]";
const AUTH_FORM: &str = "AUTH mechanism [initial-response]";
/// Longest name in EHLO, in octets (RFC 5321 §4.5.3.1.2).
const NAME_MAX: usize = 255;

#[cfg(test)]
mod tests;
