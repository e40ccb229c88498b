//! The SASL exchanges that we take part in: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 with and without binding (`scram`),
//! bearer tokens as OAUTHBEARER (RFC 7628) and XOAUTH2, and EXTERNAL (RFC 4422 appendix A).
//!
//! An exchange is a value: a response in, the next step out. Passwords live in no `Debug`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::command::Mechanism;

pub mod scram;

use scram::{Bindings, ClientFirst, ScramError, ServerFirst};

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

/// A token that a client shows (RFC 6750).
#[derive(Clone, Eq, PartialEq)]
pub struct Bearer {
    /// The account that it names, if it does.
    pub username: Option<String>,
    /// The token.
    pub token: String,
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bearer({:?}, ***)", self.username)
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
    /// SCRAM: the first message.
    ScramFirst {
        /// Whether it is bound to the connection.
        plus: bool,
        /// To what it can be bound.
        bindings: Bindings,
    },
    /// SCRAM: the proof.
    ScramProof(Box<ServerFirst>),
    /// SCRAM: an empty line after our own proof.
    ScramEnd {
        /// Who proved to be himself.
        username: String,
    },
    /// OAUTHBEARER: the one message there is.
    OAuthBearer,
    /// XOAUTH2: the one message there is.
    XOAuth2,
    /// EXTERNAL: whom the client wants to be.
    External,
    /// A token was refused and the client told why: an empty line follows (RFC 7628 §3.2.3).
    TokenRefused,
}

/// What follows a response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// The server asks on: the text of its 334.
    Challenge(Exchange, &'static str),
    /// The same with a text made for it, in base64.
    Ask(Exchange, String),
    /// All has been said.
    Done(Credentials),
    /// The keys of this account are needed to go on.
    FindKeys(ClientFirst),
    /// The exchange itself shows whether the client knows the secret of the account.
    Judged {
        /// The account.
        username: String,
        /// Whether it does.
        is_proved: bool,
    },
    /// All has been said.
    Token(Bearer),
    /// The certificate of the connection says who it is.
    Certificate {
        /// The account that the client names, if it does.
        username: Option<String>,
    },
}

/// The client cancelled the exchange, or sent something that is no response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExchangeError {
    /// `*` (RFC 4954 §4).
    Cancelled,
    /// The token had been refused: the exchange fails now.
    TokenRefused,
    /// Not base64, not UTF-8, or not what the mechanism wants.
    Malformed,
}

impl Exchange {
    /// Begins an exchange, with the initial response if the client gave one (`=` is an empty one).
    pub fn begin(
        mechanism: Mechanism,
        initial: Option<&str>,
        bindings: &Bindings,
    ) -> Result<Step, ExchangeError> {
        let scram = |plus| Self::ScramFirst {
            plus,
            bindings: bindings.clone(),
        };
        let (exchange, challenge) = match mechanism {
            Mechanism::Plain => (Self::Plain, ""),
            Mechanism::Login => (Self::LoginName, USERNAME),
            Mechanism::ScramSha256 => (scram(false), ""),
            Mechanism::ScramSha256Plus => (scram(true), ""),
            Mechanism::OAuthBearer => (Self::OAuthBearer, ""),
            Mechanism::XOAuth2 => (Self::XOAuth2, ""),
            Mechanism::External => (Self::External, ""),
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
            Self::ScramFirst { plus, bindings } => ClientFirst::parse(&text, plus, &bindings)
                .map(Step::FindKeys)
                .map_err(ExchangeError::from),
            Self::ScramProof(server) => Ok(judge(*server, &text)?),
            Self::ScramEnd { username } => Ok(Step::Judged {
                username,
                is_proved: true,
            }),
            Self::OAuthBearer => oauth_bearer(&text).map(Step::Token),
            Self::XOAuth2 => xoauth2(&text).map(Step::Token),
            Self::External if text.contains('\0') => Err(ExchangeError::Malformed),
            Self::External => Ok(Step::Certificate {
                username: (!text.is_empty()).then_some(text),
            }),
            Self::TokenRefused => Err(ExchangeError::TokenRefused),
        }
    }

    /// The challenge of SCRAM once the keys were found. Not empty.
    pub fn scram_challenge(
        first: ClientFirst,
        keys: Vec<crate::mail::scram::ScramKeys>,
    ) -> Option<(Self, String)> {
        let server = first.challenge(keys, &scram::nonce()?)?;
        let text = STANDARD.encode(&server.message);
        Some((Self::ScramProof(Box::new(server)), text))
    }

    /// What a client is told of a token that was not taken, before the exchange fails (RFC 7628 §3.2.2).
    pub fn token_refused() -> (Self, String) {
        let text = STANDARD.encode(r#"{"status":"invalid_token","schemes":"bearer"}"#);
        (Self::TokenRefused, text)
    }
}

/// A client that proves something hears our own proof and answers with an empty line (RFC 4954 §4: there is no room for
/// it beside the 235).
fn judge(server: ServerFirst, message: &str) -> Result<Step, ExchangeError> {
    let judged = server.judge(message)?;
    let username = judged.username;
    Ok(match judged.server_final {
        Some(text) => Step::Ask(Exchange::ScramEnd { username }, STANDARD.encode(text)),
        None => Step::Judged {
            username,
            is_proved: false,
        },
    })
}

impl From<ScramError> for ExchangeError {
    fn from(_: ScramError) -> Self {
        Self::Malformed
    }
}

/// `n,a=user@example.org,^Ahost=…^Aport=…^Aauth=Bearer TOKEN^A^A` (RFC 7628 §3.1).
fn oauth_bearer(message: &str) -> Result<Bearer, ExchangeError> {
    let (header, pairs) = message.split_once('\x01').ok_or(ExchangeError::Malformed)?;
    let rest = header.strip_prefix("n,").or(header.strip_prefix("y,"));
    let authzid = rest.and_then(|rest| rest.strip_suffix(','));
    let username = match authzid.ok_or(ExchangeError::Malformed)? {
        "" => None,
        text => {
            let name = text.strip_prefix("a=").ok_or(ExchangeError::Malformed)?;
            Some(name.replace("=2C", ",").replace("=3D", "="))
        }
    };
    bearer(username, pairs)
}

/// `user=USER^Aauth=Bearer TOKEN^A^A`, as Google and Microsoft have it.
fn xoauth2(message: &str) -> Result<Bearer, ExchangeError> {
    let (user, pairs) = message.split_once('\x01').ok_or(ExchangeError::Malformed)?;
    let username = user.strip_prefix("user=").filter(|name| !name.is_empty());
    bearer(
        Some(username.ok_or(ExchangeError::Malformed)?.to_owned()),
        pairs,
    )
}

fn bearer(username: Option<String>, pairs: &str) -> Result<Bearer, ExchangeError> {
    let pairs = pairs
        .strip_suffix("\x01\x01")
        .ok_or(ExchangeError::Malformed)?;
    let auth = pairs
        .split('\x01')
        .find_map(|pair| pair.strip_prefix("auth="));
    let (scheme, token) = auth
        .and_then(|auth| auth.split_once(' '))
        .ok_or(ExchangeError::Malformed)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(ExchangeError::Malformed);
    }
    Ok(Bearer {
        username,
        token: token.to_owned(),
    })
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

    fn begin(mechanism: Mechanism, initial: Option<&str>) -> Result<Step, ExchangeError> {
        Exchange::begin(mechanism, initial, &Bindings::default())
    }

    /// The examples of RFC 7628 §4.1 and of the makers of XOAUTH2.
    #[test]
    fn tokens_come_in_two_forms() {
        let token =
            |mechanism, message: &str| match begin(mechanism, Some(&STANDARD.encode(message))) {
                Ok(Step::Token(bearer)) => Some((bearer.username, bearer.token)),
                _ => None,
            };
        let user = || Some("user@example.com".to_owned());
        let message = "n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmT\x01\x01";
        assert_eq!(
            token(Mechanism::OAuthBearer, message),
            Some((user(), "vF9dft4qmT".into()))
        );
        let nobody = "n,,\x01auth=bearer x\x01\x01";
        assert_eq!(
            token(Mechanism::OAuthBearer, nobody),
            Some((None, "x".into()))
        );
        let message = "user=user@example.com\x01auth=Bearer ya29.x\x01\x01";
        assert_eq!(
            token(Mechanism::XOAuth2, message),
            Some((user(), "ya29.x".into()))
        );
        for bad in [
            "",
            "user=\x01auth=Bearer x\x01\x01",
            "user=a\x01auth=Basic x\x01\x01",
            "user=a\x01auth=Bearer \x01\x01",
            "user=a\x01auth=Bearer x",
        ] {
            assert_eq!(token(Mechanism::XOAuth2, bad), None, "{bad}");
            assert_eq!(token(Mechanism::OAuthBearer, bad), None, "{bad}");
        }
        let shown = Bearer {
            username: None,
            token: "t0ken".into(),
        };
        assert_eq!(format!("{shown:?}"), "Bearer(None, ***)");
    }

    /// RFC 4422 appendix A: the name may be empty, and then comes as `=` or as an empty line.
    #[test]
    fn a_client_with_a_certificate_names_an_account_or_none() {
        let named = |username: Option<&str>| {
            Ok(Step::Certificate {
                username: username.map(str::to_owned),
            })
        };
        let name = STANDARD.encode("app@nhs.net");
        assert_eq!(begin(Mechanism::External, Some("=")), named(None));
        assert_eq!(
            begin(Mechanism::External, Some(&name)),
            named(Some("app@nhs.net"))
        );
        let Ok(Step::Challenge(exchange, "")) = begin(Mechanism::External, None) else {
            panic!("an empty challenge");
        };
        assert_eq!(exchange.clone().respond(b""), named(None));
        assert_eq!(
            exchange.clone().respond(b"*"),
            Err(ExchangeError::Cancelled)
        );
        for bad in [STANDARD.encode("a\0b"), STANDARD.encode([0xff])] {
            let said = exchange.clone().respond(bad.as_bytes());
            assert_eq!(said, Err(ExchangeError::Malformed));
        }
    }

    fn credentials(username: &str, password: &str) -> Step {
        Step::Done(Credentials {
            username: username.into(),
            password: password.into(),
        })
    }

    #[test]
    fn plain_is_one_message_at_once_or_when_asked() {
        let response = STANDARD.encode("\0app\0pass word");
        let begun = begin(Mechanism::Plain, Some(&response));
        assert_eq!(begun, Ok(credentials("app", "pass word")));
        let Ok(Step::Challenge(exchange, "")) = begin(Mechanism::Plain, None) else {
            panic!("an empty challenge");
        };
        assert_eq!(
            exchange.respond(response.as_bytes()),
            Ok(credentials("app", "pass word"))
        );
    }

    #[test]
    fn login_asks_for_name_and_password() {
        let Ok(Step::Challenge(exchange, USERNAME)) = begin(Mechanism::Login, None) else {
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
            begin(Mechanism::Plain, Some("=")),
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
