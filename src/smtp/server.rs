//! One SMTP session as a state machine without sockets: a line in, an action out.
//!
//! The driver reads lines, does what the [`Action`] says and tells the session how it went; each
//! line gets one reply in the end, and after a refusal at whatever stage the state is that of
//! before the refused command. A transaction exists in the states that hold its envelope and in
//! no other (RFC 5321 §4.1.4), so nothing of a past one can be reached.

mod login;
mod transaction;

use std::sync::Arc;

use crate::mail::{Client, EnhancedStatusCode as Code, Envelope, Reply, ReplyCode, TlsSession};

use super::command::{Command, CommandError};
use super::extension::Extensions;
use super::sasl::Exchange;
use super::sasl::scram::Bindings;

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

#[cfg(test)]
mod tests;
