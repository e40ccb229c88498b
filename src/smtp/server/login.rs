//! The part of a session in which a client says who it is: AUTH (RFC 4954), under TLS or not at all.

use crate::mail::scram::ScramKeys;
use crate::mail::{EnhancedStatusCode as Code, Reply};
use crate::smtp::action::{Action, LoginError};
use crate::smtp::command::{CommandError, Mechanism};
use crate::smtp::sasl::scram::ClientFirst;
use crate::smtp::sasl::{Exchange, ExchangeError, Step};

use super::{Session, State, sequence};

impl Session {
    pub(super) fn auth(&mut self, mechanism: Mechanism, initial: Option<&str>) -> Action {
        if !self.offers_auth() {
            let text = "authentication is for connections under TLS alone";
            return self.bad(Reply::new(538, Code::permanent(7, 11), text));
        }
        if !matches!(self.state, State::Greeted) {
            return self.bad(sequence("AUTH comes after EHLO and before MAIL"));
        }
        if self.client.account.is_some() && self.client.account != self.pinned {
            return self.bad(sequence("authenticated already"));
        }
        if !self.mechanisms().any(|offered| offered == mechanism.name()) {
            return self.bad(CommandError::UnknownMechanism);
        }
        self.exchange(Exchange::begin(mechanism, initial, &self.bindings))
    }

    pub(super) fn how_to_authenticate(&self) -> &'static str {
        match self.client.tls {
            None => "authentication required, STARTTLS first",
            Some(_) => "authentication required",
        }
    }

    /// The strongest first: many clients take the first that they know.
    pub(super) fn mechanisms(&self) -> impl Iterator<Item = &'static str> {
        let offered = [
            (Mechanism::External, self.is_certified),
            (Mechanism::ScramSha256Plus, self.bindings.are_known()),
            (Mechanism::ScramSha256, true),
            (Mechanism::OAuthBearer, self.takes_tokens),
            (Mechanism::XOAuth2, self.takes_tokens),
            (Mechanism::Plain, true),
            (Mechanism::Login, true),
        ];
        let offers_any = self.offers_auth();
        let offered = offered
            .into_iter()
            .filter(move |(_, offers)| *offers && offers_any);
        offered.map(|(mechanism, _)| mechanism.name())
    }

    /// Passwords travel under TLS or not at all.
    pub(super) fn offers_auth(&self) -> bool {
        self.client.tls.is_some()
    }

    pub(super) fn exchange(&mut self, step: Result<Step, ExchangeError>) -> Action {
        self.state = State::Greeted;
        match step {
            Ok(Step::Challenge(exchange, text)) => {
                self.state = State::Auth(exchange);
                Action::Reply(Reply::plain(334, text))
            }
            Ok(Step::Ask(exchange, text)) => {
                self.state = State::Auth(exchange);
                Action::Reply(Reply::plain(334, text))
            }
            Ok(Step::Done(credentials)) => Action::Authenticate(credentials),
            Ok(Step::FindKeys(first)) => Action::FindKeys(first),
            Ok(Step::Token(bearer)) => Action::CheckToken(bearer),
            Ok(Step::Certificate { username }) => Action::CheckCertificate(username),
            Ok(Step::Judged {
                username,
                is_proved,
            }) => Action::Conclude {
                username,
                is_proved,
            },
            Err(ExchangeError::TokenRefused) => self.authenticated(Err(LoginError::Refused)),
            Err(ExchangeError::Cancelled) => self.bad(Reply::new(
                501,
                Code::permanent(7, 0),
                "authentication cancelled",
            )),
            Err(ExchangeError::Malformed) => {
                self.bad(Reply::new(501, Code::permanent(5, 2), "not a response"))
            }
        }
    }

    /// Takes the SCRAM keys of the account that the client wants to be, or why there are none.
    pub fn scram_keys(
        &mut self,
        first: ClientFirst,
        keys: Result<Vec<ScramKeys>, LoginError>,
    ) -> Action {
        let challenge =
            keys.map(|keys| Exchange::scram_challenge(first, keys).ok_or(LoginError::Unavailable));
        match challenge.and_then(|challenge| challenge) {
            Ok((exchange, text)) => {
                self.state = State::Auth(exchange);
                Action::Reply(Reply::plain(334, text))
            }
            Err(error) => self.authenticated(Err(error)),
        }
    }

    /// Takes what was said of a token. A client whose token is refused hears why before it hears that it failed.
    pub fn token_checked(&mut self, result: Result<String, LoginError>) -> Action {
        if result == Err(LoginError::Refused) && self.failed_logins + 1 < FAILED_LOGINS_MAX {
            let (exchange, text) = Exchange::token_refused();
            self.state = State::Auth(exchange);
            return Action::Reply(Reply::plain(334, text));
        }
        self.authenticated(result)
    }

    /// Takes what the accounts said of the credentials: the name of the account, or why not.
    pub fn authenticated(&mut self, result: Result<String, LoginError>) -> Action {
        match result {
            Ok(account) => {
                self.client.account = Some(account);
                Action::Reply(Reply::new(235, Code::success(7, 0), "authenticated"))
            }
            Err(LoginError::Unavailable) => Action::Reply(Reply::new(
                454,
                Code::transient(7, 0),
                "cannot authenticate now, try again later",
            )),
            Err(LoginError::Refused) => {
                self.failed_logins += 1;
                if self.failed_logins >= FAILED_LOGINS_MAX {
                    return Action::Close(Reply::new(
                        421,
                        Code::transient(7, 0),
                        "too many failed log-ins",
                    ));
                }
                self.bad(Reply::new(
                    535,
                    Code::permanent(7, 8),
                    "authentication failed",
                ))
            }
        }
    }
}

/// Failed log-ins before the session is closed: whoever tries names and passwords shall come again
/// for each few of them.
const FAILED_LOGINS_MAX: u32 = 3;
