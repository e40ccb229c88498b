//! The SASL exchanges that we take part in: PLAIN (RFC 4616) and LOGIN.
//!
//! An exchange is a value: a response in, the next step out. Passwords live in no `Debug`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::command::Mechanism;

/// What a client says it knows.
#[derive(Clone, Eq, PartialEq)]
pub struct Credentials {
    /// The name of the account.
    pub username: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?}, ***)", self.username)
    }
}

/// Where an exchange stands: what the next response is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Exchange {
    /// PLAIN: the one message there is.
    Plain,
    /// LOGIN: the name.
    LoginName,
    /// LOGIN: the password.
    LoginPassword {
        /// The name that was given.
        username: String,
    },
}

/// What follows a response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// The server asks on: the text of its 334.
    Challenge(Exchange, &'static str),
    /// All has been said.
    Done(Credentials),
}

/// The client cancelled the exchange, or sent something that is no response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExchangeError {
    /// `*` (RFC 4954 §4).
    Cancelled,
    /// Not base64, not UTF-8, or not what the mechanism wants.
    Malformed,
}

impl Exchange {
    /// Begins an exchange, with the initial response if the client gave one (`=` is an empty one).
    pub fn begin(mechanism: Mechanism, initial: Option<&str>) -> Result<Step, ExchangeError> {
        let (exchange, challenge) = match mechanism {
            Mechanism::Plain => (Self::Plain, ""),
            Mechanism::Login => (Self::LoginName, USERNAME),
        };
        match initial {
            None => Ok(Step::Challenge(exchange, challenge)),
            Some("=") => exchange.respond(b""),
            Some(response) => exchange.respond(response.as_bytes()),
        }
    }

    /// Takes one line of the client, in base64.
    pub fn respond(self, line: &[u8]) -> Result<Step, ExchangeError> {
        if line == b"*" {
            return Err(ExchangeError::Cancelled);
        }
        let text = decode(line)?;
        match self {
            Self::Plain => plain(&text).map(Step::Done),
            Self::LoginName => Ok(Step::Challenge(
                Self::LoginPassword { username: text },
                PASSWORD,
            )),
            Self::LoginPassword { username } => Ok(Step::Done(Credentials {
                username,
                password: text,
            })),
        }
    }
}

fn decode(line: &[u8]) -> Result<String, ExchangeError> {
    let octets = STANDARD
        .decode(line)
        .map_err(|_| ExchangeError::Malformed)?;
    String::from_utf8(octets).map_err(|_| ExchangeError::Malformed)
}

/// `[authzid] NUL authcid NUL passwd`. Nobody acts for another here: an authzid that is not the
/// authcid is not understood.
fn plain(message: &str) -> Result<Credentials, ExchangeError> {
    let parts: Vec<&str> = message.split('\0').collect();
    match parts[..] {
        [acting_for, username, password]
            if !username.is_empty() && (acting_for.is_empty() || acting_for == username) =>
        {
            Ok(Credentials {
                username: username.to_owned(),
                password: password.to_owned(),
            })
        }
        _ => Err(ExchangeError::Malformed),
    }
}

/// `Username:` and `Password:` in base64, as every LOGIN server writes them.
const USERNAME: &str = "VXNlcm5hbWU6";
const PASSWORD: &str = "UGFzc3dvcmQ6";

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(username: &str, password: &str) -> Step {
        Step::Done(Credentials {
            username: username.into(),
            password: password.into(),
        })
    }

    #[test]
    fn plain_is_one_message_at_once_or_when_asked() {
        let response = STANDARD.encode("\0app\0pass word");
        let begun = Exchange::begin(Mechanism::Plain, Some(&response));
        assert_eq!(begun, Ok(credentials("app", "pass word")));
        let Ok(Step::Challenge(exchange, "")) = Exchange::begin(Mechanism::Plain, None) else {
            panic!("an empty challenge");
        };
        assert_eq!(
            exchange.respond(response.as_bytes()),
            Ok(credentials("app", "pass word"))
        );
    }

    #[test]
    fn login_asks_for_name_and_password() {
        let Ok(Step::Challenge(exchange, USERNAME)) = Exchange::begin(Mechanism::Login, None)
        else {
            panic!("a challenge");
        };
        let Ok(Step::Challenge(exchange, PASSWORD)) =
            exchange.respond(STANDARD.encode("app").as_bytes())
        else {
            panic!("a challenge");
        };
        assert_eq!(
            exchange.respond(STANDARD.encode("pw").as_bytes()),
            Ok(credentials("app", "pw"))
        );
    }

    #[test]
    fn what_is_no_response_ends_the_exchange() {
        assert_eq!(Exchange::Plain.respond(b"*"), Err(ExchangeError::Cancelled));
        for message in [
            "",
            "app",
            "app\0pw",
            "other\0app\0pw",
            "\0\0pw",
            "\0a\0b\0c",
        ] {
            let response = STANDARD.encode(message);
            assert_eq!(
                Exchange::Plain.respond(response.as_bytes()),
                Err(ExchangeError::Malformed),
                "{message:?}"
            );
        }
        assert_eq!(
            Exchange::Plain.respond(b"not base64!"),
            Err(ExchangeError::Malformed)
        );
        assert_eq!(
            Exchange::begin(Mechanism::Plain, Some("=")),
            Err(ExchangeError::Malformed)
        );
    }

    #[test]
    fn no_password_reaches_a_log() {
        let credentials = Credentials {
            username: "app".into(),
            password: "hunter2".into(),
        };
        assert_eq!(format!("{credentials:?}"), "Credentials(\"app\", ***)");
    }
}
