//! One connection from its greeting to its end: the session drives, this does what it says.
//!
//! Reads and writes have their limits and time-outs in [`Wire`]; what a transaction needs beyond its
//! envelope (the policy that it began with, the message so far) goes with the transaction.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info};

use crate::base::certificate::Presented;
use crate::base::metrics;
use crate::mail::{
    CertificateChain, Client, EnhancedStatusCode, Envelope, Recipient, Reply, Service, TlsSession,
};
use crate::policy::Policy;
use crate::smtp::sasl::Bearer;
use crate::smtp::sasl::scram::ClientFirst;
use crate::smtp::server::{Action, LoginError, ServerSettings, Session};

use super::allowance::{self, OVER_DELAY};
use super::body::Budget;
use super::login::{Shown, Verdict, log_in, scram_keys};
use super::settings::Limits;
use super::stream::Stream;
use super::wire::{Line, Wire, WireError};
use super::{Parts, receive};

mod message;

use message::Transaction;

/// What all connections of a listener share.
pub(super) struct Door {
    /// What ingress works with.
    pub(super) parts: Parts,
    /// What a client may use.
    pub(super) limits: Limits,
    /// What holds for each session.
    pub(super) server: Arc<ServerSettings>,
    /// What the listener is for.
    pub(super) service: Service,
    /// How long a client waits for a next hop; `None`: it does not.
    pub(super) straight: Option<Duration>,
    /// For STARTTLS; `None` where it is not offered.
    pub(super) starttls: Option<TlsAcceptor>,
    /// Room for messages that are being received.
    pub(super) budget: Budget,
    /// Room for large messages that are being decided on, in KiB.
    pub(super) decisions: Arc<Semaphore>,
    /// Passwords that may be checked at once.
    pub(super) logins: Arc<Semaphore>,
}

impl Door {
    /// Waits for room to decide on a message: one that came by the disk is in memory again while it is
    /// read and edited, and all of them together must not be more than `memory` allows.
    async fn room_to_decide(&self, octets: usize) -> Option<SemaphorePermit<'_>> {
        if octets <= self.limits.in_memory_octets {
            return None;
        }
        let all = kib(self.limits.memory_octets);
        let room = self.decisions.acquire_many(kib(octets as u64).min(all));
        room.await.ok()
    }
}

/// The same in KiB, at least one.
pub(super) fn kib(octets: u64) -> u32 {
    u32::try_from(octets >> 10).unwrap_or(u32::MAX).max(1)
}

/// The two ends of a connection and what protects it.
pub(super) struct Ends {
    /// The client; the one that a trusted proxy named, if there was one.
    pub(super) client: SocketAddr,
    /// Where it connected to.
    pub(super) local: SocketAddr,
    /// What protects the connection from its first octet.
    pub(super) tls: Option<TlsSession>,
}

/// Serves one client until it goes or is sent away.
pub(super) async fn serve(stream: Stream, ends: Ends, door: Arc<Door>) {
    let account = pinned(&door, &ends);
    let client = Client {
        address: ends.client,
        local: ends.local,
        helo: None,
        esmtp: false,
        tls: ends.tls,
        account,
        service: door.service,
    };
    let bindings = stream.bindings();
    let takes_tokens = {
        let policy = Arc::clone(&door.parts.policies.borrow());
        !policy.accounts().issuers().is_empty()
    };
    let line_octets = match takes_tokens {
        true => door.limits.line_octets.max(TOKEN_LINE_OCTETS),
        false => door.limits.line_octets,
    };
    let mut connection = Connection {
        wire: Some(Wire::new(stream, line_octets)),
        line_octets,
        session: Session::new(Arc::clone(&door.server), client),
        transaction: None,
        refused_recipients: 0,
        door,
    };
    connection.session.set_bindings(bindings);
    connection.look_at_certificate();
    connection.session.take_tokens(takes_tokens);
    connection.run().await;
}

/// The account that a client is by its address alone: on listeners for submission, and nowhere else.
fn pinned(door: &Door, ends: &Ends) -> Option<String> {
    if door.service != Service::Submission {
        return None;
    }
    let policy = Arc::clone(&door.parts.policies.borrow());
    let account = policy.accounts().pinned_to(ends.client.ip())?;
    let is_valid = account.contract.is_valid(door.parts.clock.now());
    is_valid.then(|| account.name().to_owned())
}

struct Connection {
    /// `None` during a TLS handshake, and after one that failed.
    wire: Option<Wire<Stream>>,
    /// Longest line of a client.
    line_octets: usize,
    session: Session,
    transaction: Option<Transaction>,
    /// Since a message was accepted.
    refused_recipients: u32,
    door: Arc<Door>,
}

/// How a connection ends.
enum End {
    /// With a last reply.
    Said(Reply),
    /// With no word.
    Lost(WireError),
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Silent => Self::Said(Reply::new(
                421,
                EnhancedStatusCode::transient(4, 2),
                "silent for too long",
            )),
            error => Self::Lost(error),
        }
    }
}

impl Connection {
    async fn run(mut self) {
        let end = match self.converse().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let Some(mut wire) = self.wire.take() else {
            return;
        };
        match end {
            End::Lost(because) => debug!(%because, "connection ended"),
            End::Said(reply) => {
                if wire.say(&reply).await.is_ok() {
                    Box::pin(wire.close()).await;
                }
            }
        }
    }

    /// Goes on until something ends it.
    async fn converse(&mut self) -> Result<std::convert::Infallible, End> {
        self.greet().await?;
        loop {
            let mut action = match self.next_line().await? {
                Line::Whole(line) => self.session.line(&line),
                Line::TooLong => self.session.line_too_long(),
            };
            // An action may lead to another; a reply ends the chain.
            while let Some(next) = self.act(action).await? {
                action = next;
            }
            if self.session.envelope().is_none() {
                self.transaction = None;
            }
        }
    }

    /// Says who we are, unless the client talks first (a sign of a program that does not listen).
    async fn greet(&mut self) -> Result<(), End> {
        if self.talks_too_early().await? {
            metrics::CONNECTIONS_REFUSED.add(1);
            info!(client = %self.session.client().address, "talked before the greeting");
            let status = EnhancedStatusCode::permanent(5, 1);
            let refusal = Reply::new(554, status, "you talk before the greeting");
            return Err(End::Said(refusal));
        }
        let greeting = self.session.greeting();
        self.say(&greeting).await
    }

    async fn talks_too_early(&mut self) -> Result<bool, End> {
        let delay = self.door.limits.greeting_delay;
        let wire = self.wire()?;
        if delay.is_zero() {
            // A timer of no length takes a millisecond: more than all else before the message.
            return Ok(!wire.input().is_empty() || wire.stream().has_input());
        }
        match wire.more(GREETING_PIECE, delay).await {
            Ok(()) => Ok(true),
            Err(WireError::Silent) => Ok(false),
            Err(error) => Err(End::Lost(error)),
        }
    }

    /// Waits for a command; a shutdown ends the wait.
    async fn next_line(&mut self) -> Result<Line, End> {
        let limit = self.door.limits.command_timeout;
        let door = Arc::clone(&self.door);
        let wire = self.wire()?;
        tokio::select! {
            biased;
            line = wire.line(limit) => Ok(line?),
            () = door.parts.shutdown.begun() => {
                Err(End::Said(Reply::new(421, EnhancedStatusCode::transient(3, 2), "shutting down, try again soon")))
            }
        }
    }

    async fn act(&mut self, action: Action) -> Result<Option<Action>, End> {
        match action {
            Action::Reply(reply) => self.say(&reply).await.map(|()| None),
            Action::Close(reply) => Err(End::Said(reply)),
            Action::StartTls(reply) => Box::pin(self.start_tls(reply)).await.map(|()| None),
            Action::Authenticate(credentials) => {
                let shown = Shown::Password(credentials);
                Box::pin(self.authenticate(shown)).await.map(Some)
            }
            Action::Conclude {
                username,
                is_proved,
            } => {
                let shown = Shown::Judged {
                    username,
                    is_proved,
                };
                Box::pin(self.authenticate(shown)).await.map(Some)
            }
            Action::FindKeys(first) => Box::pin(self.find_keys(first)).await.map(Some),
            Action::CheckToken(bearer) => Box::pin(self.check_token(bearer)).await.map(Some),
            Action::CheckCertificate(username) => {
                let shown = Shown::Certificate {
                    username: username.unwrap_or_default(),
                    chain: self.certificate().cloned(),
                };
                Box::pin(self.authenticate(shown)).await.map(Some)
            }
            Action::CheckSender(size) => Box::pin(self.check_sender(size)).await.map(Some),
            Action::CheckRecipient(recipient) => Box::pin(self.check(recipient)).await.map(Some),
            Action::ReceiveData(reply) => {
                self.say(&reply).await?;
                Box::pin(self.receive_data()).await.map(Some)
            }
            Action::ReceiveChunk(chunk) => Box::pin(self.receive_chunk(chunk)).await.map(Some),
            Action::Discard(octets, reply) => {
                Box::pin(self.discard(octets)).await?;
                self.say(&reply).await.map(|()| None)
            }
            Action::Submit(envelope) => {
                let reply = Box::pin(self.submit(*envelope)).await?;
                self.say(&reply).await.map(|()| None)
            }
        }
    }

    async fn start_tls(&mut self, reply: Reply) -> Result<(), End> {
        // RFC 3207 §6, CVE-2011-0411: what was sent in clear after STARTTLS was perhaps sent by
        // somebody else.
        if !self.wire()?.input().is_empty() {
            let text = "nothing may follow STARTTLS before the handshake";
            return Err(End::Said(Reply::new(
                554,
                EnhancedStatusCode::permanent(5, 1),
                text,
            )));
        }
        self.say(&reply).await?;
        self.wire()?.flush().await?;
        let (Some(wire), Some(acceptor)) = (self.wire.take(), self.door.starttls.clone()) else {
            return Err(End::Lost(WireError::Closed));
        };
        let handshake = wire.into_stream().secure(&acceptor);
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake);
        let shutdown = self.door.parts.shutdown.clone();
        let Some(handshake) = shutdown.unless_begun(handshake).await else {
            return Err(End::Lost(WireError::Closed));
        };
        match handshake {
            Ok(Ok((stream, tls))) => {
                let bindings = stream.bindings();
                self.wire = Some(Wire::new(stream, self.line_octets));
                self.session.tls_started(tls);
                self.session.set_bindings(bindings);
                self.look_at_certificate();
                Ok(())
            }
            Ok(Err(error)) => Err(End::Lost(error.into())),
            Err(_) => Err(End::Lost(WireError::Silent)),
        }
    }

    async fn authenticate(&mut self, shown: Shown) -> Result<Action, End> {
        let client = self.session.client().address.ip();
        let door = Arc::clone(&self.door);
        let verdict = log_in(&door.parts, &door.logins, client, shown).await;
        let result = self.after_delay(verdict).await?;
        Ok(self.session.authenticated(result))
    }

    /// What the client has shown of itself.
    fn certificate(&self) -> Option<&CertificateChain> {
        let tls = self.session.client().tls.as_ref();
        tls?.client_certificate.as_ref()
    }

    /// Offers EXTERNAL to a client whose certificate opens an account now.
    fn look_at_certificate(&mut self) {
        let shown = self.certificate().map(CertificateChain::certificates);
        if let Some(shown) = shown.and_then(Presented::read) {
            let policy = Arc::clone(&self.door.parts.policies.borrow());
            let now = self.door.parts.clock.now();
            let opened = policy.accounts().of_certificate(&shown, now);
            self.session.set_certified(!opened.is_empty());
        }
    }

    async fn check_token(&mut self, bearer: Bearer) -> Result<Action, End> {
        let client = self.session.client().address.ip();
        let door = Arc::clone(&self.door);
        let shown = Shown::Token(bearer);
        let verdict = log_in(&door.parts, &door.logins, client, shown).await;
        let result = self.after_delay(verdict).await?;
        Ok(self.session.token_checked(result))
    }

    async fn find_keys(&mut self, first: ClientFirst) -> Result<Action, End> {
        let client = self.session.client().address.ip();
        let door = Arc::clone(&self.door);
        let username = first.username.clone();
        let verdict = scram_keys(&door.parts, &door.logins, client, username).await;
        let keys = self.after_delay(verdict).await?;
        Ok(self.session.scram_keys(first, keys))
    }

    /// What a log-in came to, once the client has paid for it.
    async fn after_delay<T>(&mut self, verdict: Verdict<T>) -> Result<Result<T, LoginError>, End> {
        if !verdict.delay.is_zero() {
            self.wire()?.flush().await?;
            tokio::time::sleep(verdict.delay).await;
        }
        Ok(verdict.result)
    }

    async fn check_sender(&mut self, size: Option<u64>) -> Result<Action, End> {
        let policy = Arc::clone(&self.transaction().policy);
        let parts = &self.door.parts;
        let result = match allowance::begin(parts, &policy, self.session.client(), size) {
            Ok(claim) => {
                self.transaction().claim = claim;
                Ok(())
            }
            Err(reply) => {
                self.transaction = None;
                self.slow_down().await?;
                Err(reply)
            }
        };
        Ok(self.session.sender_checked(result))
    }

    /// Lets a client that asks for too much wait for its reply.
    async fn slow_down(&mut self) -> Result<(), End> {
        self.wire()?.flush().await?;
        tokio::time::sleep(OVER_DELAY).await;
        Ok(())
    }

    async fn check(&mut self, recipient: Recipient) -> Result<Action, End> {
        let policy = Arc::clone(&self.transaction().policy);
        let door = Arc::clone(&self.door);
        let parts = &door.parts;
        let result = match self.session.envelope() {
            Some(envelope) => {
                let (client, from) = (self.session.client(), &envelope.reverse_path);
                receive::check_recipient(parts, &policy, client, from, &recipient).await
            }
            // The session refuses it by itself.
            None => Ok(()),
        };
        if result.is_err() {
            self.refused_recipients = self.refused_recipients.saturating_add(1);
            if self.refused_recipients > self.door.limits.errors {
                self.wire()?.flush().await?;
                tokio::time::sleep(REFUSED_RECIPIENT_DELAY).await;
            }
            return Ok(self.session.recipient_checked(recipient, result));
        }
        let result = self.take_recipient(&policy, &recipient).await;
        if result.is_err() {
            self.slow_down().await?;
        }
        Ok(self.session.recipient_checked(recipient, result))
    }

    /// Counts a recipient of an account; one that is named twice counts once.
    async fn take_recipient(
        &mut self,
        policy: &Arc<Policy>,
        recipient: &Recipient,
    ) -> Result<(), Reply> {
        let is_known = |envelope: &Envelope| envelope.recipients.contains(recipient);
        if self.session.envelope().is_some_and(is_known) {
            return Ok(());
        }
        let door = Arc::clone(&self.door);
        let client = self.session.client().clone();
        let Some(claim) = &mut self.transaction().claim else {
            return Ok(());
        };
        allowance::take_recipient(&door.parts, policy, &client, claim).await
    }

    async fn say(&mut self, reply: &Reply) -> Result<(), End> {
        Ok(self.wire()?.say(reply).await?)
    }

    fn wire(&mut self) -> Result<&mut Wire<Stream>, End> {
        self.wire.as_mut().ok_or(End::Lost(WireError::Closed))
    }
}

/// How much of the talk of an early talker is read, in octets.
const GREETING_PIECE: usize = 512;
/// A line with a token, in octets (RFC 4954 §4).
const TOKEN_LINE_OCTETS: usize = 12_288;
/// How long a TLS handshake may take.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// What a refused recipient costs a client that had many refused and no message accepted since: each is a
/// row of the audit trail.
const REFUSED_RECIPIENT_DELAY: Duration = Duration::from_secs(1);
