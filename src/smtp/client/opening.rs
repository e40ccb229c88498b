//! From the greeting of a server to the point where it takes mail: EHLO, STARTTLS, AUTH.
//!
//! What was learnt in clear is forgotten when TLS begins (RFC 3207 §4.2), and a password is sent
//! under TLS or not at all.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::mail::{Class, Reply};
use crate::smtp::extension::Extensions;

use super::Dialect;

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
        match self.state {
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
        if offers("PLAIN") {
            // RFC 4616: no authorization identity, user name, password.
            let coded = BASE64.encode(format!("\0{}\0{}", login.username, login.password));
            let state = State::Login(LoginStage::Password);
            Ok(self.send(state, format!("AUTH PLAIN {coded}\r\n")))
        } else if offers("LOGIN") {
            let state = State::Login(LoginStage::Mechanism);
            Ok(self.send(state, "AUTH LOGIN\r\n".to_owned()))
        } else {
            Err(OpeningError::LoginNotOffered)
        }
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
        let stage = match self.state {
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
    /// The password.
    pub password: &'a str,
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
    #[error("a login is needed and neither PLAIN nor LOGIN is offered")]
    LoginNotOffered,
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
#[derive(Clone, Copy)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Login(LoginStage),
}

/// Which part of the login was sent last.
#[derive(Clone, Copy)]
enum LoginStage {
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
}
