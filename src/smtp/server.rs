//! One SMTP session as a state machine without sockets: a line in, an action out.
//!
//! The driver reads lines, does what the [`Action`] says and tells the session how it went; each
//! line gets one reply in the end, and after a refusal at whatever stage the state is that of
//! before the refused command. A transaction exists in the states that hold its envelope and in
//! no other (RFC 5321 §4.1.4), so nothing of a past one can be reached.

use std::sync::Arc;

use crate::mail::scram::ScramKeys;
use crate::mail::{
    Client, EnhancedStatusCode as Code, Envelope, Recipient, Reply, ReplyCode, Service, TlsSession,
};

use super::command::{Command, CommandError, Mail, Mechanism};
use super::extension::Extensions;
use super::sasl::scram::{Bindings, ClientFirst};
use super::sasl::{Exchange, ExchangeError, Step};

pub use super::action::{Action, Chunk, DataError, LoginError, Received, ServerSettings};

/// One session.
#[derive(Debug)]
pub struct Session {
    settings: Arc<ServerSettings>,
    client: Client,
    state: State,
    /// The account that the client is by its address alone.
    pinned: Option<String>,
    bindings: Bindings,
    /// Whether tokens are taken.
    takes_tokens: bool,
    /// Whether the certificate that the client has shown opens an account.
    is_certified: bool,
    errors: u32,
    failed_logins: u32,
    transactions: u32,
}

/// Where a session stands.
#[derive(Debug)]
enum State {
    /// Before EHLO or HELO.
    Fresh,
    /// Between transactions.
    Greeted,
    /// In a transaction; its envelope may have no recipient yet.
    Mail(Box<Envelope>),
    /// In a transaction whose message comes in chunks; at least one is under way (RFC 3030 §2).
    Chunks(Box<Envelope>),
    /// In a SASL exchange: the next line is no command.
    Auth(Exchange),
}

impl Session {
    /// A session that has just begun.
    pub fn new(settings: Arc<ServerSettings>, client: Client) -> Self {
        Self {
            settings,
            pinned: client.account.clone(),
            client,
            state: State::Fresh,
            bindings: Bindings::default(),
            takes_tokens: false,
            is_certified: false,
            errors: 0,
            failed_logins: 0,
            transactions: 0,
        }
    }

    /// What is said first.
    pub fn greeting(&self) -> Reply {
        Reply::plain(220, format!("{} ESMTP Postern", self.settings.hostname))
    }

    /// The other end, as far as it is known.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The envelope of the transaction, if there is one.
    pub fn envelope(&self) -> Option<&Envelope> {
        match &self.state {
            State::Mail(envelope) | State::Chunks(envelope) => Some(envelope),
            State::Fresh | State::Greeted | State::Auth(_) => None,
        }
    }

    /// Says to what exchanges can be bound; forgotten when TLS starts.
    pub fn set_bindings(&mut self, bindings: Bindings) {
        self.bindings = bindings;
    }

    /// Says whether tokens are taken.
    pub fn take_tokens(&mut self, takes: bool) {
        self.takes_tokens = takes;
    }

    /// Says whether the certificate that the client has shown opens an account; forgotten when TLS starts.
    pub fn set_certified(&mut self, is_certified: bool) {
        self.is_certified = is_certified;
    }

    /// Takes one line without its CRLF.
    pub fn line(&mut self, line: &[u8]) -> Action {
        match self.take_state() {
            State::Auth(exchange) => self.exchange(exchange.respond(line)),
            state => {
                self.state = state;
                match Command::parse(line) {
                    Ok(command) => self.command(command),
                    // Whether a chunk follows, and how long it is, cannot be told: to read on would be
                    // to guess what is message and what is command.
                    Err(CommandError::ChunkSyntax) => {
                        Action::Close(CommandError::ChunkSyntax.into())
                    }
                    Err(error) => self.bad(error),
                }
            }
        }
    }

    /// Takes a line that was longer than the limit; the driver has swallowed it.
    pub fn line_too_long(&mut self) -> Action {
        if let State::Auth(_) = self.state {
            self.state = State::Greeted;
        }
        self.bad(Reply::new(500, Code::permanent(5, 2), "line too long"))
    }

    /// TLS is up: everything that was said before is forgotten (RFC 3207 §4.2).
    pub fn tls_started(&mut self, tls: TlsSession) {
        self.state = State::Fresh;
        self.client.helo = None;
        self.client.esmtp = false;
        self.client.account = self.pinned.clone();
        self.bindings = Bindings::default();
        self.is_certified = false;
        self.client.tls = Some(tls);
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

    /// Takes what was said of the account that wants to begin a message.
    pub fn sender_checked(&mut self, result: Result<(), Reply>) -> Action {
        match result {
            Ok(()) => Action::Reply(Reply::new(250, Code::success(1, 0), "sender ok")),
            Err(refusal) => {
                self.state = State::Greeted;
                Action::Reply(refusal)
            }
        }
    }

    /// Takes what the policy said of a recipient.
    pub fn recipient_checked(&mut self, recipient: Recipient, result: Result<(), Reply>) -> Action {
        if let Err(refusal) = result {
            return Action::Reply(refusal);
        }
        let State::Mail(envelope) = &mut self.state else {
            return self.bad(sequence("MAIL first"));
        };
        // One who is named twice gets one copy.
        if !envelope.recipients.contains(&recipient) {
            envelope.recipients.push(recipient);
        }
        Action::Reply(Reply::new(250, Code::success(1, 5), "recipient ok"))
    }

    /// Takes how the receiving of a message or chunk went. It was read to its end in any case.
    pub fn received(&mut self, what: Received, result: Result<(), DataError>) -> Action {
        let state = std::mem::replace(&mut self.state, State::Greeted);
        let (State::Mail(envelope) | State::Chunks(envelope)) = state else {
            return self.bad(sequence("MAIL first"));
        };
        match (result, what) {
            (Err(error), _) => Action::Reply(error.into()),
            (
                Ok(()),
                Received::Chunk(Chunk {
                    octets,
                    last: false,
                }),
            ) => {
                self.state = State::Chunks(envelope);
                Action::Reply(Reply::new(
                    250,
                    Code::success(0, 0),
                    format!("{octets} octets received"),
                ))
            }
            (Ok(()), Received::Message | Received::Chunk(_)) => Action::Submit(envelope),
        }
    }

    fn command(&mut self, command: Command) -> Action {
        match command {
            Command::Ehlo(name) => self.hello(name, true),
            Command::Helo(name) => self.hello(name, false),
            Command::Mail(mail) => self.mail(mail),
            Command::Rcpt { recipient, utf8 } => self.rcpt(recipient, utf8),
            Command::Data => self.data(),
            Command::Bdat { octets, last } => self.bdat(Chunk { octets, last }),
            Command::Rset => self.reset(),
            Command::StartTls => self.starttls(),
            Command::Auth { mechanism, initial } => self.auth(mechanism, initial.as_deref()),
            Command::Noop => Action::Reply(Reply::new(250, Code::success(0, 0), "ok")),
            // RFC 5321 §7.3: who lives here is not told.
            Command::Vrfy => {
                Action::Reply(Reply::new(252, Code::success(5, 0), "send mail and see"))
            }
            Command::Help => Action::Reply(Reply::new(214, Code::success(0, 0), "see RFC 5321")),
            Command::Quit => Action::Close(Reply::new(221, Code::success(0, 0), "goodbye")),
        }
    }

    fn hello(&mut self, name: String, esmtp: bool) -> Action {
        self.client.helo = Some(name);
        self.client.esmtp = esmtp;
        // RFC 5321 §4.1.4: a second EHLO ends the transaction.
        self.state = State::Greeted;
        let mut lines = vec![self.settings.hostname.clone()];
        if esmtp {
            lines.extend(self.offered().lines());
        }
        match ReplyCode::new(250) {
            Some(code) => Action::Reply(Reply::from_parts(code, None, lines)),
            None => Action::Reply(Reply::plain(250, &*self.settings.hostname)),
        }
    }

    /// What is offered at this moment, and nothing that would not work at this moment.
    fn offered(&self) -> Extensions {
        let secured = self.client.tls.is_some();
        Extensions {
            pipelining: true,
            size: Some(self.settings.message_octets),
            eight_bit_mime: true,
            smtputf8: true,
            chunking: true,
            dsn: true,
            enhanced_status_codes: true,
            starttls: self.settings.starttls && !secured,
            require_tls: secured,
            mt_priority: self.settings.mt_priority,
            auth: self.mechanisms().map(str::to_owned).collect(),
            recipients_max: u32::try_from(self.settings.recipients).ok(),
            transactions_max: Some(self.settings.transactions),
        }
    }

    /// The strongest first: many clients take the first that they know.
    fn mechanisms(&self) -> impl Iterator<Item = &'static str> {
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
    fn offers_auth(&self) -> bool {
        self.client.tls.is_some()
    }

    fn mail(&mut self, mut mail: Mail) -> Action {
        match self.state {
            State::Greeted => {}
            State::Fresh => return self.bad(sequence("EHLO first")),
            State::Mail(_) | State::Chunks(_) | State::Auth(_) => {
                return self.bad(sequence("a transaction is under way: RSET ends it"));
            }
        }
        if self.client.service == Service::Submission && self.client.account.is_none() {
            return self.bad(Reply::new(
                530,
                Code::permanent(7, 0),
                self.how_to_authenticate(),
            ));
        }
        if self.transactions >= self.settings.transactions {
            return Action::Close(Reply::new(
                421,
                Code::transient(5, 3),
                "too many messages in one session",
            ));
        }
        // A parameter of an extension that is not offered now is one that is not known.
        let unknown = (mail.envelope.require_tls && self.client.tls.is_none())
            || (mail.auth && !self.offers_auth())
            || (mail.envelope.mt_priority.is_some() && !self.settings.mt_priority);
        if unknown {
            return self.bad(CommandError::UnknownParameter);
        }
        if mail
            .size
            .is_some_and(|octets| octets > self.settings.message_octets)
        {
            return Action::Reply(DataError::TooBig.into());
        }
        // Who is not known has no say in what goes first (RFC 6710 §4.1).
        if self.client.account.is_none() {
            mail.envelope.mt_priority = None;
        }
        self.transactions += 1;
        self.state = State::Mail(Box::new(mail.envelope));
        match self.client.account {
            Some(_) => Action::CheckSender(mail.size),
            None => self.sender_checked(Ok(())),
        }
    }

    fn how_to_authenticate(&self) -> &'static str {
        match self.client.tls {
            None => "authentication required, STARTTLS first",
            Some(_) => "authentication required",
        }
    }

    fn rcpt(&mut self, recipient: Recipient, utf8: bool) -> Action {
        let State::Mail(envelope) = &self.state else {
            return self.bad(sequence("MAIL first"));
        };
        if utf8 && !envelope.smtputf8 {
            return self.bad(CommandError::NeedsSmtpUtf8);
        }
        if envelope.recipients.len() >= self.settings.recipients {
            return Action::Reply(Reply::new(
                452,
                Code::transient(5, 3),
                "too many recipients",
            ));
        }
        Action::CheckRecipient(recipient)
    }

    fn data(&mut self) -> Action {
        match self.no_message_now() {
            None if matches!(self.state, State::Chunks(_)) => {
                self.bad(sequence("the message comes in chunks"))
            }
            None => Action::ReceiveData(Reply::plain(
                354,
                "go ahead, end with a dot on a line of its own",
            )),
            Some(refusal) => self.bad(refusal),
        }
    }

    fn bdat(&mut self, chunk: Chunk) -> Action {
        // Nobody sends so much by mistake, and reading it all to refuse it would serve nobody.
        if chunk.octets / ABSURD_FACTOR > self.settings.message_octets {
            return Action::Close(DataError::TooBig.into());
        }
        if let Some(refusal) = self.no_message_now() {
            // RFC 3030 §4.2: the chunk follows whatever we think of it. That is no error: a client that does not
            // wait for replies sends all chunks of a message that was refused at the first, and must hear why.
            return Action::Discard(chunk.octets, refusal);
        }
        self.state = match self.take_state() {
            State::Mail(envelope) => State::Chunks(envelope),
            state => state,
        };
        Action::ReceiveChunk(chunk)
    }

    /// Why no message can come now; `None` if one can.
    fn no_message_now(&self) -> Option<Reply> {
        match self.envelope() {
            None => Some(sequence("MAIL first")),
            Some(envelope) if envelope.recipients.is_empty() => Some(Reply::new(
                554,
                Code::permanent(5, 1),
                "no valid recipients",
            )),
            Some(_) => None,
        }
    }

    fn reset(&mut self) -> Action {
        if !matches!(self.state, State::Fresh) {
            self.state = State::Greeted;
        }
        Action::Reply(Reply::new(250, Code::success(0, 0), "ok"))
    }

    fn starttls(&mut self) -> Action {
        if self.client.tls.is_some() {
            return self.bad(sequence("TLS is up already"));
        }
        if !self.settings.starttls {
            return self.bad(CommandError::NotImplemented);
        }
        Action::StartTls(Reply::new(220, Code::success(0, 0), "go ahead"))
    }

    fn auth(&mut self, mechanism: Mechanism, initial: Option<&str>) -> Action {
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

    fn exchange(&mut self, step: Result<Step, ExchangeError>) -> Action {
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

    /// Answers a bad command; the one that is too many closes the session.
    fn bad(&mut self, reply: impl Into<Reply>) -> Action {
        self.errors += 1;
        if self.errors >= self.settings.errors {
            return Action::Close(Reply::new(421, Code::transient(7, 0), "too many errors"));
        }
        Action::Reply(reply.into())
    }

    /// Leaves the state in which there is nothing to lose.
    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Fresh)
    }
}

fn sequence(text: &str) -> Reply {
    Reply::new(503, Code::permanent(5, 1), text)
}

/// Failed log-ins before the session is closed: whoever tries names and passwords shall come again
/// for each few of them.
const FAILED_LOGINS_MAX: u32 = 3;
/// A chunk so many times the largest message is not read to its end.
const ABSURD_FACTOR: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn session(service: Service) -> Session {
        session_with(service, false)
    }

    fn session_with(service: Service, mt_priority: bool) -> Session {
        let settings = ServerSettings {
            hostname: "gw.example".into(),
            starttls: true,
            message_octets: 1_000,
            recipients: 3,
            transactions: 5,
            errors: 6,
            mt_priority,
        };
        let client = Client {
            address: "192.0.2.1:4711".parse().unwrap(),
            local: "192.0.2.2:25".parse().unwrap(),
            helo: None,
            esmtp: false,
            tls: None,
            account: None,
            service,
        };
        Session::new(Arc::new(settings), client)
    }

    fn tls() -> TlsSession {
        TlsSession {
            version: "TLSv1.3".into(),
            cipher: "TLS13_AES_256_GCM_SHA384".into(),
            server_name: None,
            client_certificate: None,
        }
    }

    /// A driver for whom all goes well; recipients at `foreign.example` are refused. Returns every reply.
    fn drive(session: &mut Session, line: impl AsRef<[u8]>) -> Vec<Reply> {
        let mut replies = Vec::new();
        let mut action = session.line(line.as_ref());
        loop {
            action = match action {
                Action::Reply(reply) | Action::Close(reply) | Action::Discard(_, reply) => {
                    replies.push(reply);
                    return replies;
                }
                Action::StartTls(reply) => {
                    replies.push(reply);
                    session.tls_started(tls());
                    return replies;
                }
                Action::Authenticate(credentials) => {
                    let known = credentials.password == "right";
                    session.authenticated(
                        known
                            .then_some(credentials.username)
                            .ok_or(LoginError::Refused),
                    )
                }
                Action::FindKeys(first) => {
                    let rounds = std::num::NonZeroU32::MIN;
                    let keys = ScramKeys::derive("right", vec![1], rounds).unwrap();
                    session.scram_keys(first, Ok(vec![keys]))
                }
                Action::Conclude {
                    username,
                    is_proved,
                } => {
                    session.authenticated(is_proved.then_some(username).ok_or(LoginError::Refused))
                }
                Action::CheckToken(bearer) => {
                    let known = bearer.username.filter(|_| bearer.token == "right");
                    session.token_checked(known.ok_or(LoginError::Refused))
                }
                Action::CheckCertificate(username) => {
                    let known = username.unwrap_or_else(|| "certified".to_owned());
                    session.authenticated(Ok(known))
                }
                Action::CheckSender(size) => {
                    let refusal = Reply::new(450, Code::transient(4, 5), "slow down");
                    session.sender_checked(if size == Some(999) {
                        Err(refusal)
                    } else {
                        Ok(())
                    })
                }
                Action::CheckRecipient(recipient) => {
                    let foreign = recipient
                        .forward_path
                        .to_string()
                        .ends_with("@foreign.example");
                    let refusal = Reply::new(550, Code::permanent(7, 1), "relaying denied");
                    session
                        .recipient_checked(recipient, if foreign { Err(refusal) } else { Ok(()) })
                }
                Action::ReceiveData(reply) => {
                    replies.push(reply);
                    session.received(Received::Message, Ok(()))
                }
                Action::ReceiveChunk(chunk) => session.received(Received::Chunk(chunk), Ok(())),
                Action::Submit(envelope) => {
                    assert!(!envelope.recipients.is_empty());
                    replies.push(Reply::new(250, Code::success(0, 0), "accepted"));
                    return replies;
                }
            };
        }
    }

    fn code(session: &mut Session, line: &str) -> u16 {
        drive(session, line).last().unwrap().code().value()
    }

    #[track_caller]
    fn plays(session: &mut Session, script: &[(&str, u16)]) {
        for (line, expected) in script {
            assert_eq!(code(session, line), *expected, "{line}");
        }
    }

    #[test]
    fn a_command_out_of_sequence_changes_nothing() {
        plays(
            &mut session(Service::Relay),
            &[
                ("MAIL FROM:<a@b.example>", 503),
                ("NOOP", 250),
                ("RSET", 250),
                ("EHLO x", 250),
                ("RCPT TO:<c@d.example>", 503),
                ("MAIL FROM:<a@b.example>", 250),
                ("MAIL FROM:<e@f.example>", 503),
                ("RCPT TO:<c@d.example>", 250),
                ("DATA", 250),
                ("RCPT TO:<c@d.example>", 503),
            ],
        );
    }

    #[test]
    fn refused_recipients_leave_the_transaction_as_it_was() {
        let mut session = session(Service::Relay);
        plays(
            &mut session,
            &[
                ("EHLO x", 250),
                ("MAIL FROM:<>", 250),
                ("RCPT TO:<a@foreign.example>", 550),
                ("DATA", 554),
                ("RCPT TO:<Postmaster>", 250),
                ("RCPT TO:<a@foreign.example>", 550),
            ],
        );
        assert_eq!(session.envelope().unwrap().recipients.len(), 1);
        plays(&mut session, &[("DATA", 250), ("DATA", 503)]);
    }

    #[test]
    fn rset_and_ehlo_end_the_transaction() {
        for end in ["RSET", "EHLO y", "HELO z"] {
            let mut session = session(Service::Relay);
            plays(
                &mut session,
                &[
                    ("EHLO x", 250),
                    ("MAIL FROM:<a@b.example>", 250),
                    ("RCPT TO:<c@d.example>", 250),
                    (end, 250),
                    ("DATA", 503),
                ],
            );
            assert!(session.envelope().is_none());
        }
    }

    #[test]
    fn chunks_and_data_exclude_each_other() {
        plays(
            &mut session(Service::Relay),
            &[
                ("EHLO x", 250),
                ("MAIL FROM:<a@b.example>", 250),
                ("RCPT TO:<c@d.example>", 250),
                ("BDAT 5", 250),
                ("DATA", 503),
                ("RCPT TO:<e@f.example>", 503),
                ("MAIL FROM:<a@b.example>", 503),
                ("BDAT 0 LAST", 250),
                ("BDAT 0 LAST", 503),
            ],
        );
    }

    #[test]
    fn a_chunk_that_is_not_wanted_is_read_all_the_same() {
        let mut session = session(Service::Relay);
        for line in ["EHLO x", "MAIL FROM:<bad bad>"] {
            session.line(line.as_bytes());
        }
        assert!(
            matches!(session.line(b"BDAT 700 LAST"), Action::Discard(700, reply) if reply.code().value() == 503)
        );
        assert!(matches!(
            session.line(b"MAIL FROM:<a@b.example>"),
            Action::Reply(_)
        ));
        assert!(
            matches!(session.line(b"BDAT 700"), Action::Discard(700, reply) if reply.code().value() == 554)
        );
    }

    #[test]
    fn a_chunk_without_a_length_or_beyond_reason_ends_the_session() {
        for line in ["BDAT abc", "BDAT 5 FIRST", "BDAT 9000000000000000000 LAST"] {
            assert!(
                matches!(
                    session(Service::Relay).line(line.as_bytes()),
                    Action::Close(_)
                ),
                "{line}"
            );
        }
    }

    #[test]
    fn a_failed_chunk_ends_the_transaction() {
        let mut session = session(Service::Relay);
        plays(
            &mut session,
            &[
                ("EHLO x", 250),
                ("MAIL FROM:<a@b.example>", 250),
                ("RCPT TO:<c@d.example>", 250),
            ],
        );
        let Action::ReceiveChunk(chunk) = session.line(b"BDAT 900") else {
            panic!("a chunk")
        };
        let action = session.received(Received::Chunk(chunk), Err(DataError::TooBig));
        assert!(matches!(action, Action::Reply(reply) if reply.code().value() == 552));
        assert!(matches!(
            session.line(b"BDAT 5 LAST"),
            Action::Discard(5, _)
        ));
        plays(&mut session, &[("MAIL FROM:<a@b.example>", 250)]);
    }

    #[test]
    fn all_chunks_of_a_refused_message_may_follow() {
        let mut session = session(Service::Relay);
        plays(&mut session, &[("EHLO x", 250)]);
        for _ in 0..50 {
            assert!(matches!(session.line(b"BDAT 5"), Action::Discard(5, _)));
        }
        plays(&mut session, &[("MAIL FROM:<a@b.example>", 250)]);
    }

    #[test]
    fn nothing_said_in_clear_is_remembered_under_tls() {
        let mut session = session(Service::Relay);
        plays(
            &mut session,
            &[
                ("EHLO x", 250),
                ("MAIL FROM:<a@b.example>", 250),
                ("STARTTLS", 220),
                ("RCPT TO:<c@d.example>", 503),
            ],
        );
        assert!(session.client().helo.is_none() && session.client().tls.is_some());
        plays(&mut session, &[("EHLO x", 250), ("STARTTLS", 503)]);
    }

    #[test]
    fn only_what_works_now_is_offered() {
        let mut session = session(Service::Relay);
        let offered =
            |reply: &Reply| Extensions::parse(reply.lines()[1..].iter().map(String::as_str));
        let clear = offered(&drive(&mut session, "EHLO x")[0]);
        assert!(clear.starttls && !clear.require_tls && clear.auth.is_empty());
        assert_eq!(
            (clear.size, clear.recipients_max, clear.transactions_max),
            (Some(1_000), Some(3), Some(5))
        );
        plays(
            &mut session,
            &[
                ("MAIL FROM:<a@b.example> REQUIRETLS", 555),
                ("MAIL FROM:<a@b.example> AUTH=<>", 555),
                ("AUTH PLAIN AGEAcmlnaHQ=", 538),
                ("STARTTLS", 220),
            ],
        );
        let secured = offered(&drive(&mut session, "EHLO x")[0]);
        assert!(!secured.starttls && secured.require_tls);
        assert_eq!(secured.auth, ["SCRAM-SHA-256", "PLAIN", "LOGIN"]);
        plays(
            &mut session,
            &[("MAIL FROM:<a@b.example> REQUIRETLS AUTH=<>", 250)],
        );
        assert!(session.envelope().unwrap().require_tls);
    }

    #[test]
    fn helo_offers_nothing() {
        let mut session = session(Service::Relay);
        assert_eq!(drive(&mut session, "HELO x")[0].lines(), ["gw.example"]);
        assert_eq!(session.client().protocol(false), "SMTP");
    }

    #[test]
    fn submission_wants_authentication_and_authentication_wants_tls() {
        let mut session = session(Service::Submission);
        plays(
            &mut session,
            &[
                ("EHLO x", 250),
                ("MAIL FROM:<a@b.example>", 530),
                ("STARTTLS", 220),
                ("EHLO x", 250),
                ("MAIL FROM:<a@b.example>", 530),
                ("AUTH LOGIN", 334),
                ("YQ==", 334),
                ("cmlnaHQ=", 235),
                ("AUTH LOGIN", 503),
                ("MAIL FROM:<a@b.example>", 250),
            ],
        );
        assert_eq!(session.client().account.as_deref(), Some("a"));
    }

    #[test]
    fn an_exchange_that_fails_leaves_the_session_usable() {
        let mut session = session(Service::Relay);
        session.tls_started(tls());
        plays(
            &mut session,
            &[
                ("AUTH PLAIN", 503),
                ("EHLO x", 250),
                ("AUTH PLAIN", 334),
                ("*", 501),
                ("AUTH PLAIN", 334),
                ("QUIT", 501),
                ("AUTH PLAIN AGEAd3Jvbmc=", 535),
                ("MAIL FROM:<a@b.example>", 250),
                ("AUTH PLAIN", 503),
            ],
        );
    }

    #[test]
    fn passwords_are_not_guessed_in_one_session() {
        let mut session = session(Service::Relay);
        session.tls_started(tls());
        plays(
            &mut session,
            &[
                ("EHLO x", 250),
                ("AUTH PLAIN AGEAd3Jvbmc=", 535),
                ("AUTH PLAIN AGEAd3Jvbmc=", 535),
            ],
        );
        assert!(matches!(
            session.line(b"AUTH PLAIN AGEAd3Jvbmc="),
            Action::Authenticate(_)
        ));
        assert!(matches!(
            session.authenticated(Err(LoginError::Refused)),
            Action::Close(_)
        ));
    }

    #[test]
    fn limits_are_said_with_their_own_codes() {
        let mut session = session(Service::Relay);
        plays(
            &mut session,
            &[
                ("EHLO x", 250),
                ("MAIL FROM:<a@b.example> SIZE=1001", 552),
                ("MAIL FROM:<a@b.example> SIZE=1000", 250),
            ],
        );
        for n in 0..3 {
            assert_eq!(code(&mut session, &format!("RCPT TO:<{n}@d.example>")), 250);
        }
        plays(
            &mut session,
            &[("RCPT TO:<4@d.example>", 452), ("RSET", 250)],
        );
        for _ in 0..4 {
            plays(
                &mut session,
                &[("MAIL FROM:<a@b.example>", 250), ("RSET", 250)],
            );
        }
        plays(&mut session, &[("MAIL FROM:<a@b.example>", 421)]);
    }

    fn secured() -> Session {
        let mut session = session(Service::Submission);
        session.tls_started(tls());
        session
    }

    /// The text after the code of the last reply.
    fn said(session: &mut Session, line: &str) -> String {
        let replies = drive(session, line);
        replies.last().unwrap().lines().join("\n")
    }

    #[test]
    fn an_account_proves_itself_by_scram_and_sees_our_proof() {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let mut session = secured();
        plays(
            &mut session,
            &[("EHLO x", 250), ("AUTH SCRAM-SHA-256", 334)],
        );
        let challenge = said(&mut session, &STANDARD.encode("n,,n=user,r=abc"));
        let challenge = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
        let nonce = challenge
            .split(',')
            .next()
            .unwrap()
            .strip_prefix("r=")
            .unwrap();
        let without = format!("c=biws,r={nonce}");
        let auth = format!("n=user,r=abc,{challenge},{without}");
        let rounds = std::num::NonZeroU32::MIN;
        let (proof, signature) =
            crate::mail::scram::client_sums("right", &[1], rounds, auth.as_bytes());
        let last = format!("{without},p={}", STANDARD.encode(proof));
        let verdict = said(&mut session, &STANDARD.encode(last));
        let expected = STANDARD.encode(format!("v={}", STANDARD.encode(signature)));
        assert_eq!(verdict, expected);
        plays(
            &mut session,
            &[("", 235), ("MAIL FROM:<user@b.example>", 250)],
        );
        assert_eq!(session.client().account.as_deref(), Some("user"));
    }

    #[test]
    fn mechanisms_are_offered_where_they_work_and_taken_where_they_are_offered() {
        let mut session = secured();
        let offers = |session: &mut Session| {
            let ehlo = said(session, "EHLO x");
            let line = ehlo.lines().find(|line| line.starts_with("AUTH "));
            line.unwrap_or_default().to_owned()
        };
        assert_eq!(offers(&mut session), "AUTH SCRAM-SHA-256 PLAIN LOGIN");
        plays(
            &mut session,
            &[
                ("AUTH SCRAM-SHA-256-PLUS", 504),
                ("AUTH XOAUTH2", 504),
                ("AUTH EXTERNAL =", 504),
            ],
        );
        session.take_tokens(true);
        session.set_bindings(Bindings {
            exporter: Some([1; 32]),
            end_point: None,
        });
        assert_eq!(
            offers(&mut session),
            "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN"
        );
        let wrong = "AUTH XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIHgBAQ==";
        plays(&mut session, &[(wrong, 334), ("", 535), ("NOOP", 250)]);
        session.set_certified(true);
        assert!(offers(&mut session).starts_with("AUTH EXTERNAL SCRAM-SHA-256-PLUS "));
        plays(&mut session, &[("AUTH EXTERNAL", 334), ("", 235)]);
        assert_eq!(session.client().account.as_deref(), Some("certified"));
        session.tls_started(tls());
        assert!(!offers(&mut session).contains("EXTERNAL"));
    }

    #[test]
    fn a_client_that_is_an_account_by_its_address_needs_no_word_and_may_say_another() {
        let settings = Arc::clone(&session(Service::Submission).settings);
        let mut client = session(Service::Submission).client;
        client.account = Some("scanner".to_owned());
        let mut session = Session::new(settings, client);
        plays(
            &mut session,
            &[
                ("EHLO x", 250),
                ("MAIL FROM:<a@b.example>", 250),
                ("RSET", 250),
            ],
        );
        session.tls_started(tls());
        assert_eq!(session.client().account.as_deref(), Some("scanner"));
        plays(
            &mut session,
            &[("EHLO x", 250), ("AUTH PLAIN AGFwcAByaWdodA==", 235)],
        );
        assert_eq!(session.client().account.as_deref(), Some("app"));
    }

    #[test]
    fn a_sender_that_must_wait_leaves_no_transaction() {
        let mut session = secured();
        plays(
            &mut session,
            &[
                ("EHLO x", 250),
                ("AUTH PLAIN AGFwcAByaWdodA==", 235),
                ("MAIL FROM:<a@b.example> SIZE=999", 450),
                ("RCPT TO:<c@d.example>", 503),
                ("MAIL FROM:<a@b.example>", 250),
            ],
        );
    }

    #[test]
    fn too_many_errors_end_the_session() {
        let mut session = session(Service::Relay);
        for _ in 0..5 {
            assert_eq!(code(&mut session, "FROB"), 500);
        }
        assert!(
            matches!(session.line(b"FROB"), Action::Close(reply) if reply.code().value() == 421)
        );
    }

    #[test]
    fn utf8_addresses_need_smtputf8() {
        let mut session = session(Service::Relay);
        plays(
            &mut session,
            &[
                ("EHLO x", 250),
                ("MAIL FROM:<a@b.example>", 250),
                ("RCPT TO:<d\u{f6}@d.example>", 553),
                ("RSET", 250),
                ("MAIL FROM:<a@b.example> SMTPUTF8", 250),
                ("RCPT TO:<d\u{f6}@d.example>", 250),
            ],
        );
    }

    proptest! {
        #[test]
        fn every_line_gets_one_reply_whatever_came_before(lines in proptest::collection::vec(prop_oneof![
            prop::sample::select(vec![
                "EHLO x", "HELO x", "MAIL FROM:<a@b.example>", "MAIL FROM:<a@b.example> SIZE=5000", "RCPT TO:<c@d.example>", "RCPT TO:<c@foreign.example>",
                "DATA", "BDAT 5", "BDAT 5 LAST", "RSET", "NOOP", "STARTTLS", "AUTH PLAIN", "AUTH LOGIN",
                "AUTH SCRAM-SHA-256", "AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9YWJj", "AUTH XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIHgBAQ==", "MAIL FROM:<a@b.example> SIZE=999", "AGEAcmlnaHQ=", "YQ==", "*", "VRFY x", "HELP", "QUIT",
            ]).prop_map(str::to_owned),
            "\\PC{0,20}",
        ], 0..30)) {
            let mut session = session(Service::Relay);
            for line in lines {
                let replies = drive(&mut session, &line);
                let intermediate = replies.iter().filter(|reply| reply.code().value() == 354).count();
                prop_assert_eq!(replies.len() - intermediate, 1, "{}", line);
            }
        }
    }

    #[test]
    fn how_urgent_a_message_is_may_be_said_where_that_is_offered_and_counts_of_accounts_alone() {
        let line = b"MAIL FROM:<a@b.example> MT-PRIORITY=4";
        let said = |offered, account: Option<&str>| {
            let mut session = session_with(Service::Relay, offered);
            drive(&mut session, b"EHLO x.example");
            session.client.account = account.map(str::to_owned);
            let replies = drive(&mut session, line);
            let code = replies.last().map(|reply| reply.code().value());
            let priority = session.envelope().and_then(|envelope| envelope.mt_priority);
            (session.offered().mt_priority, code, priority)
        };
        assert_eq!(said(false, Some("referrals")), (false, Some(555), None));
        assert_eq!(said(true, Some("referrals")), (true, Some(250), Some(4)));
        assert_eq!(said(true, None), (true, Some(250), None));
    }
}
