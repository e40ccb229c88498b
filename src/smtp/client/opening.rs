//! From the greeting of a server to the point where it takes mail: EHLO, STARTTLS, AUTH.
//!
//! What was learnt in clear is forgotten when TLS begins (RFC 3207 §4.2), and a password is sent
//! under TLS or not at all.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::mail::{Class, Reply};
use crate::smtp::extension::Extensions;

use super::Dialect;
use super::scram::{self, Begun};

/// The machine. Starts by waiting for the greeting.
pub struct Opening<'a> {
    dialect: Dialect,
    /// Our name: a domain or an address literal.
    hostname: &'a str,
    start_tls: StartTls,
    login: Option<Login<'a>>,
    secured: bool,
    state: State,
    extensions: Extensions,
}

impl<'a> Opening<'a> {
    /// A machine for a connection that was just made. `hostname` is what we call ourselves.
    pub fn new(
        dialect: Dialect,
        hostname: &'a str,
        start_tls: StartTls,
        login: Option<Login<'a>>,
    ) -> Self {
        Self {
            dialect,
            hostname,
            start_tls,
            login,
            secured: false,
            state: State::Greeting,
            extensions: Extensions::default(),
        }
    }

    /// Takes the next reply of the server and returns what to do.
    pub fn reply(&mut self, reply: Reply) -> Result<OpeningStep, OpeningError> {
        let positive = reply.code().is_positive();
        match self.state.clone() {
            State::Greeting if positive => Ok(self.say_hello()),
            State::Ehlo if positive => {
                self.extensions =
                    Extensions::parse(reply.lines().iter().skip(1).map(String::as_str));
                self.after_hello()
            }
            // RFC 5321 §3.2: an old server knows HELO alone. LMTP has no HELO (RFC 2033 §4.1).
            State::Ehlo if self.dialect == Dialect::Smtp && is_permanent(&reply) => {
                Ok(self.send(State::Helo, format!("HELO {}\r\n", self.hostname)))
            }
            State::Helo if positive => {
                self.extensions = Extensions::default();
                self.after_hello()
            }
            State::StartTls if positive => Ok(OpeningStep::Handshake),
            // RFC 3207 §4: 454 is no reason to stop for one who can do without.
            State::StartTls if self.start_tls == StartTls::IfOffered && !closes(&reply) => {
                self.log_in()
            }
            State::Login(stage) => self.go_on_with_login(stage, reply),
            _ => Err(self.refused(reply)),
        }
    }

    /// Says that the handshake is done: the conversation starts anew (RFC 3207 §4.2).
    pub fn secured(&mut self) -> OpeningStep {
        self.secured = true;
        self.extensions = Extensions::default();
        self.say_hello()
    }

    /// What the server offers, once the step was [`OpeningStep::Ready`].
    pub fn into_extensions(self) -> Extensions {
        self.extensions
    }

    fn say_hello(&mut self) -> OpeningStep {
        let verb = match self.dialect {
            Dialect::Smtp => "EHLO",
            Dialect::Lmtp => "LHLO",
        };
        self.send(State::Ehlo, format!("{verb} {}\r\n", self.hostname))
    }

    fn after_hello(&mut self) -> Result<OpeningStep, OpeningError> {
        if self.secured || self.start_tls == StartTls::Never {
            return self.log_in();
        }
        match (self.extensions.starttls, self.start_tls) {
            (true, _) => Ok(self.send(State::StartTls, "STARTTLS\r\n".to_owned())),
            (false, StartTls::Must) => Err(OpeningError::TlsNotOffered),
            (false, _) => self.log_in(),
        }
    }

    fn log_in(&mut self) -> Result<OpeningStep, OpeningError> {
        let Some(login) = self.login else {
            return Ok(OpeningStep::Ready);
        };
        if !self.secured {
            return Err(OpeningError::TlsNotOffered);
        }
        let offers = |name: &str| self.extensions.auth.iter().any(|offered| offered == name);
        let usable = login.mechanism.candidates().iter().copied();
        let mechanism = usable.into_iter().find(|one| offers(one.name()));
        let Some(mechanism) = mechanism else {
            return Err(OpeningError::LoginNotOffered);
        };
        let (stage, response) = match mechanism {
            // RFC 4616: no authorization identity, user name, password.
            LoginMechanism::Plain => {
                let text = format!("\0{}\0{}", login.username, login.password);
                (LoginStage::Password, Some(BASE64.encode(text)))
            }
            LoginMechanism::Login => (LoginStage::Mechanism, None),
            LoginMechanism::XOAuth2 => {
                let text = format!(
                    "user={}\x01auth=Bearer {}\x01\x01",
                    login.username, login.password
                );
                (LoginStage::Token, Some(BASE64.encode(text)))
            }
            LoginMechanism::ScramSha256 | LoginMechanism::Any => {
                let nonce = nonce().ok_or(OpeningError::LoginNotOffered)?;
                let (begun, line) = scram::begin(login.username, nonce);
                (LoginStage::ScramFirst(begun), Some(line))
            }
        };
        let response = response.map_or(String::new(), |text| format!(" {text}"));
        let line = format!("AUTH {}{response}\r\n", mechanism.name());
        Ok(self.send(State::Login(stage), line))
    }

    fn go_on_with_login(
        &mut self,
        stage: LoginStage,
        reply: Reply,
    ) -> Result<OpeningStep, OpeningError> {
        let Some(login) = self.login else {
            return Err(self.refused(reply));
        };
        let asks = reply.code().value() == 334;
        match stage {
            LoginStage::Password if reply.code().is_positive() => Ok(OpeningStep::Ready),
            LoginStage::Token if reply.code().is_positive() => Ok(OpeningStep::Ready),
            // The server says why in its own words; an empty answer ends the exchange (RFC 7628 §3.2.3).
            LoginStage::Token if asks => {
                Ok(self.send(State::Login(LoginStage::Refused), "\r\n".to_owned()))
            }
            LoginStage::ScramFirst(begun) if asks => {
                let challenge = reply.lines().first().map_or("", String::as_str);
                let answer = begun.answer(challenge, login.password);
                let (line, expected) = answer.ok_or(OpeningError::NotTheServer)?;
                let stage = LoginStage::ScramFinal(expected);
                Ok(self.send(State::Login(stage), format!("{line}\r\n")))
            }
            LoginStage::ScramFinal(expected) if asks => {
                let shown = reply.lines().first().map_or("", String::as_str);
                if shown.trim() != expected {
                    return Err(OpeningError::NotTheServer);
                }
                Ok(self.send(State::Login(LoginStage::Password), "\r\n".to_owned()))
            }
            LoginStage::Mechanism if asks => {
                let line = format!("{}\r\n", BASE64.encode(login.username));
                Ok(self.send(State::Login(LoginStage::Username), line))
            }
            LoginStage::Username if asks => {
                let line = format!("{}\r\n", BASE64.encode(login.password));
                Ok(self.send(State::Login(LoginStage::Password), line))
            }
            _ => Err(self.refused(reply)),
        }
    }

    fn send(&mut self, state: State, line: String) -> OpeningStep {
        self.state = state;
        OpeningStep::Send(line.into_bytes())
    }

    fn refused(&self, reply: Reply) -> OpeningError {
        let stage = match &self.state {
            State::Greeting => Stage::Greeting,
            State::Ehlo | State::Helo => Stage::Hello,
            State::StartTls => Stage::StartTls,
            State::Login(_) => Stage::Login,
        };
        OpeningError::Refused { stage, reply }
    }
}

/// What to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OpeningStep {
    /// Send these octets, then read a reply.
    Send(Vec<u8>),
    /// Make the TLS handshake, then call [`Opening::secured`]. Octets of the server that came with the
    /// reply were sent in clear: a reason to hang up.
    Handshake,
    /// Mail may be sent.
    Ready,
}

/// Whether to protect the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StartTls {
    /// Not at all.
    Never,
    /// If the server can.
    IfOffered,
    /// Or go no further.
    Must,
}

/// A user name and a password.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The user name.
    pub username: &'a str,
    /// The password, or the token.
    pub password: &'a str,
    /// How it is shown.
    pub mechanism: LoginMechanism,
}

/// How a password or a token is shown to a server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LoginMechanism {
    /// A password, as the server likes. SCRAM comes last: a server may offer it and know no keys for this user.
    #[default]
    Any,
    /// RFC 4616.
    Plain,
    /// Never standardised.
    Login,
    /// RFC 7677.
    ScramSha256,
    /// A token, as Google and Microsoft have it.
    XOAuth2,
}

impl LoginMechanism {
    /// The words for them in files.
    pub const WORDS: [(&str, Self); 5] = [
        ("any", Self::Any),
        ("plain", Self::Plain),
        ("login", Self::Login),
        ("scram-sha-256", Self::ScramSha256),
        ("xoauth2", Self::XOAuth2),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 | Self::Any => "SCRAM-SHA-256",
            Self::XOAuth2 => "XOAUTH2",
        }
    }

    fn candidates(self) -> &'static [Self] {
        match self {
            Self::Any => &[Self::Plain, Self::Login, Self::ScramSha256],
            Self::Plain => &[Self::Plain],
            Self::Login => &[Self::Login],
            Self::ScramSha256 => &[Self::ScramSha256],
            Self::XOAuth2 => &[Self::XOAuth2],
        }
    }
}

/// Random, for SCRAM; `None` if the system gives no random numbers.
fn nonce() -> Option<String> {
    let mut octets = [0; 18];
    getrandom::fill(&mut octets).ok()?;
    Some(BASE64.encode(octets))
}

/// Why no mail can be sent on this connection.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OpeningError {
    /// The server said no.
    #[error("{reply}")]
    Refused {
        /// To what.
        stage: Stage,
        /// Its words.
        reply: Reply,
    },
    /// TLS is needed, and the server does not offer it.
    #[error("TLS is needed and not offered")]
    TlsNotOffered,
    /// There is a password, and no way to log in that we know.
    #[error("a login is needed and no mechanism that may be used is offered")]
    LoginNotOffered,
    /// The server could not show that it knows the password (RFC 5802 §3): it is not the one that we know, or it asks for
    /// what no server asks.
    #[error("the server could not show that it knows the password")]
    NotTheServer,
}

/// How far an opening came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// The greeting.
    Greeting,
    /// EHLO, HELO or LHLO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// AUTH.
    Login,
}

/// Which reply is waited for.
#[derive(Clone)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Login(LoginStage),
}

/// Which part of the login was sent last.
#[derive(Clone)]
enum LoginStage {
    Token,
    /// The empty line after a token that was refused.
    Refused,
    ScramFirst(Begun),
    /// With what the server must show.
    ScramFinal(String),
    Mechanism,
    Username,
    Password,
}

fn is_permanent(reply: &Reply) -> bool {
    reply.code().class() == Class::Permanent
}

/// 421: the server hangs up (RFC 5321 §3.8).
pub(super) fn closes(reply: &Reply) -> bool {
    reply.code().value() == 421
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ReplyCode;

    const LOGIN: Login<'_> = Login {
        username: "u",
        password: "p",
        mechanism: LoginMechanism::Any,
    };

    fn reply(code: u16, lines: &[&str]) -> Reply {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Reply::from_parts(ReplyCode::new(code).unwrap(), None, lines)
    }

    fn sent(step: Result<OpeningStep, OpeningError>) -> String {
        match step.unwrap() {
            OpeningStep::Send(line) => String::from_utf8(line).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn smtp(start_tls: StartTls, login: Option<Login<'static>>) -> Opening<'static> {
        let mut opening = Opening::new(Dialect::Smtp, "gw.example", start_tls, login);
        assert_eq!(
            sent(opening.reply(reply(220, &["hi"]))),
            "EHLO gw.example\r\n"
        );
        opening
    }

    #[test]
    fn a_server_that_knows_ehlo_is_asked_what_it_offers() {
        let mut opening = smtp(StartTls::IfOffered, None);
        let step = opening.reply(reply(250, &["PIPELINING.example", "CHUNKING", "SIZE 99"]));
        assert_eq!(step, Ok(OpeningStep::Ready));
        let extensions = opening.into_extensions();
        assert!(extensions.chunking && !extensions.pipelining);
        assert_eq!(extensions.size, Some(99));
    }

    #[test]
    fn an_old_server_is_spoken_to_with_helo() {
        let mut opening = smtp(StartTls::IfOffered, None);
        assert_eq!(
            sent(opening.reply(reply(502, &["what"]))),
            "HELO gw.example\r\n"
        );
        assert_eq!(opening.reply(reply(250, &["hi"])), Ok(OpeningStep::Ready));

        let mut opening = smtp(StartTls::Must, None);
        assert_eq!(
            sent(opening.reply(reply(502, &["what"]))),
            "HELO gw.example\r\n"
        );
        assert_eq!(
            opening.reply(reply(250, &["hi"])),
            Err(OpeningError::TlsNotOffered)
        );
    }

    #[test]
    fn a_temporary_no_to_ehlo_is_no_reason_for_helo() {
        let mut opening = smtp(StartTls::Never, None);
        assert!(matches!(
            opening.reply(reply(421, &["busy"])),
            Err(OpeningError::Refused {
                stage: Stage::Hello,
                ..
            })
        ));
    }

    #[test]
    fn lmtp_says_lhlo_and_has_no_fallback() {
        let mut opening = Opening::new(Dialect::Lmtp, "gw.example", StartTls::Never, None);
        assert_eq!(
            sent(opening.reply(reply(220, &["hi"]))),
            "LHLO gw.example\r\n"
        );
        assert!(opening.reply(reply(500, &["what"])).is_err());
    }

    #[test]
    fn what_was_offered_in_clear_is_forgotten_under_tls() {
        let mut opening = smtp(StartTls::IfOffered, None);
        let step = opening.reply(reply(250, &["a", "STARTTLS", "CHUNKING", "AUTH PLAIN"]));
        assert_eq!(sent(step), "STARTTLS\r\n");
        assert_eq!(
            opening.reply(reply(220, &["go"])),
            Ok(OpeningStep::Handshake)
        );
        assert_eq!(sent(Ok(opening.secured())), "EHLO gw.example\r\n");
        assert_eq!(
            opening.reply(reply(250, &["a", "DSN"])),
            Ok(OpeningStep::Ready)
        );
        let extensions = opening.into_extensions();
        assert!(extensions.dsn && !extensions.chunking);
    }

    #[test]
    fn a_server_that_cannot_do_tls_now_is_used_in_clear_if_that_may_be() {
        for (start_tls, usable) in [(StartTls::IfOffered, true), (StartTls::Must, false)] {
            let mut opening = smtp(start_tls, None);
            opening.reply(reply(250, &["a", "STARTTLS"])).unwrap();
            let step = opening.reply(reply(454, &["not now"]));
            assert_eq!(step == Ok(OpeningStep::Ready), usable);
        }
    }

    #[test]
    fn a_password_is_never_sent_in_clear() {
        let mut opening = smtp(StartTls::IfOffered, Some(LOGIN));
        let step = opening.reply(reply(250, &["a", "AUTH PLAIN LOGIN"]));
        assert_eq!(step, Err(OpeningError::TlsNotOffered));
    }

    #[test]
    fn plain_is_preferred_and_login_is_known() {
        let secured = |mechanisms: &str| {
            let mut opening = smtp(StartTls::Must, Some(LOGIN));
            opening.reply(reply(250, &["a", "STARTTLS"])).unwrap();
            opening.reply(reply(220, &["go"])).unwrap();
            opening.secured();
            let step = opening.reply(reply(250, &["a", mechanisms]));
            (opening, step)
        };
        let (mut opening, step) = secured("AUTH LOGIN PLAIN");
        assert_eq!(sent(step), "AUTH PLAIN AHUAcA==\r\n");
        assert_eq!(opening.reply(reply(235, &["ok"])), Ok(OpeningStep::Ready));

        let (mut opening, step) = secured("AUTH LOGIN");
        assert_eq!(sent(step), "AUTH LOGIN\r\n");
        assert_eq!(
            sent(opening.reply(reply(334, &["VXNlcm5hbWU6"]))),
            "dQ==\r\n"
        );
        assert_eq!(
            sent(opening.reply(reply(334, &["UGFzc3dvcmQ6"]))),
            "cA==\r\n"
        );
        assert!(matches!(
            opening.reply(reply(535, &["no"])),
            Err(OpeningError::Refused {
                stage: Stage::Login,
                ..
            })
        ));

        assert_eq!(secured("AUTH GSSAPI").1, Err(OpeningError::LoginNotOffered));
    }

    /// An opening under TLS that logs in by this mechanism, up to the server's offer.
    fn by(
        mechanism: LoginMechanism,
        offer: &str,
    ) -> (Opening<'static>, Result<OpeningStep, OpeningError>) {
        let login = Login { mechanism, ..LOGIN };
        let mut opening = smtp(StartTls::Must, Some(login));
        opening.reply(reply(250, &["a", "STARTTLS"])).unwrap();
        opening.reply(reply(220, &["go"])).unwrap();
        opening.secured();
        let step = opening.reply(reply(250, &["a", offer]));
        (opening, step)
    }

    #[test]
    fn a_mechanism_that_is_asked_for_is_the_only_one() {
        let offered = "AUTH PLAIN LOGIN XOAUTH2";
        let not_offered = Err(OpeningError::LoginNotOffered);
        assert_eq!(by(LoginMechanism::ScramSha256, offered).1, not_offered);
        assert_eq!(sent(by(LoginMechanism::Login, offered).1), "AUTH LOGIN\r\n");
        assert_eq!(by(LoginMechanism::Any, "AUTH XOAUTH2").1, not_offered);
        let begun = sent(by(LoginMechanism::Any, "AUTH SCRAM-SHA-256").1);
        assert!(begun.starts_with("AUTH SCRAM-SHA-256 "), "{begun}");
    }

    #[test]
    fn a_token_that_is_refused_ends_the_exchange_with_an_empty_line() {
        let (mut opening, step) = by(LoginMechanism::XOAuth2, "AUTH XOAUTH2");
        let text = BASE64.encode("user=u\x01auth=Bearer p\x01\x01");
        assert_eq!(sent(step), format!("AUTH XOAUTH2 {text}\r\n"));
        assert_eq!(sent(opening.reply(reply(334, &["eyJzdGF0dXMi"]))), "\r\n");
        let refused = opening.reply(reply(535, &["no"]));
        assert!(matches!(
            refused,
            Err(OpeningError::Refused {
                stage: Stage::Login,
                ..
            })
        ));
    }

    #[test]
    fn a_server_proves_that_it_knows_the_password_or_gets_no_mail() {
        use crate::mail::scram::client_sums;
        let begin = || {
            let (mut opening, step) = by(LoginMechanism::ScramSha256, "AUTH SCRAM-SHA-256");
            let line = sent(step);
            let first = line.trim().rsplit(' ').next().unwrap();
            let first = String::from_utf8(BASE64.decode(first).unwrap()).unwrap();
            let bare = first.strip_prefix("n,,").unwrap().to_owned();
            let nonce = format!("{}srv", bare.rsplit("r=").next().unwrap());
            let challenge = format!("r={nonce},s={},i=4096", BASE64.encode("salt"));
            let last = sent(opening.reply(reply(334, &[&BASE64.encode(&challenge)])));
            let last = String::from_utf8(BASE64.decode(last.trim()).unwrap()).unwrap();
            let (without, proof) = last.rsplit_once(",p=").unwrap();
            let auth = format!("{bare},{challenge},{without}");
            let rounds = std::num::NonZeroU32::new(4_096).unwrap();
            let (expected, signature) = client_sums("p", b"salt", rounds, auth.as_bytes());
            assert_eq!(proof, BASE64.encode(expected));
            (opening, signature)
        };
        let (mut opening, signature) = begin();
        let shown = BASE64.encode(format!("v={}", BASE64.encode(signature)));
        assert_eq!(sent(opening.reply(reply(334, &[&shown]))), "\r\n");
        assert_eq!(opening.reply(reply(235, &["ok"])), Ok(OpeningStep::Ready));

        for said in [reply(334, &[&BASE64.encode("v=AAAA")]), reply(235, &["ok"])] {
            let (mut opening, _) = begin();
            assert!(opening.reply(said).is_err(), "it has proved nothing");
        }
    }
}
