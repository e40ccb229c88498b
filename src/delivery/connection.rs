//! A connection on which mail can be sent: connected, greeted, secured, logged in.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::mail::{AddressLiteral, Envelope, Message};
use crate::outcome::{NamedBy, TlsEvidence};
use crate::smtp::client::{
    Dialect, Ending, Form, Link, Login, Opening, OpeningError, OpeningStep, Patience, Stage,
    StartTls, Step, Transaction,
};
use crate::smtp::data::Encoder;
use crate::smtp::extension::Extensions;

use super::dane::Dane;
use super::outcomes::lost;
use super::places::Right;
use super::race::connect;
use super::route::{Credentials, Shown, TlsLevel};
use super::settings::ConnectionSettings;
use super::shaping::Source;
use super::tls::{Certificate, Fault, HandshakeError, Tls};
use super::token::{TokenError, Tokens};
use super::wire::{Lost, Wire};

/// Where to connect to and how.
pub(super) struct Target<'a> {
    /// The name of the host, or its address in text: what the certificate must be for.
    pub(super) host: &'a str,
    pub(super) named_by: NamedBy,
    /// Where it listens; of several the first that answers.
    pub(super) addresses: Vec<Address>,
    /// Where to leave from.
    pub(super) source: Source,
    pub(super) dialect: Dialect,
    pub(super) level: TlsLevel,
    /// The TLSA records that its certificate must match.
    pub(super) dane: Option<&'a Dane>,
    /// Whether it need not even show that it holds the key of its certificate, where any certificate will do.
    pub(super) unproven: bool,
    pub(super) credentials: Option<&'a Credentials>,
    /// Whether what goes there stays on this machine.
    pub(super) local: bool,
    /// Whether CHUNKING may be used where it is offered.
    pub(super) chunking: bool,
}

impl Target<'_> {
    /// Whether a handshake that failed at the certificate may be tried with less: only where the certificate shows
    /// nothing that anybody relies on, and no password is shown either.
    pub(super) fn may_do_without_proof(&self, error: &OpenError) -> bool {
        let at_certificate = matches!(error, OpenError::Handshake(HandshakeError::Certificate(_)));
        let any_will_do =
            self.dane.is_none() && self.level < TlsLevel::Verified && self.credentials.is_none();
        at_certificate && any_will_do && !self.unproven
    }
}

/// An address of a next hop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The two ends of a connection that was made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Met {
    /// The next hop's.
    pub(super) address: Address,
    /// Ours; `None` for a socket in the file system.
    pub(super) from: Option<IpAddr>,
}

impl Met {
    /// The address of the next hop; `None` for a socket in the file system.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match &self.address {
            Address::Tcp(address) => Some(address.ip()),
            Address::Unix(_) => None,
        }
    }
}

/// A connection that takes mail.
pub(super) struct Connection {
    wire: Wire,
    /// What is put out, and the message with its dots, block by block. Kept for the next time.
    out: Vec<u8>,
    extensions: Extensions,
    dialect: Dialect,
    local: bool,
    pub(super) met: Met,
    /// What to call the next hop in reports.
    pub(super) next_hop: String,
    pub(super) tls: Option<TlsEvidence>,
    /// What is wrong with its certificate, where any will do.
    pub(super) fault: Option<Fault>,
    /// Why it is less well protected than it might be.
    pub(super) downgrade: Option<String>,
    served: u32,
    reusable: bool,
    right: Right,
}

impl Connection {
    /// Connects to a next hop and leads it to the point where it takes mail. `met` is set once an address has
    /// answered.
    pub(super) async fn open(
        target: &Target<'_>,
        us: &Us<'_>,
        right: Right,
        deadline: Instant,
        met: &mut Option<Met>,
    ) -> Result<Self, OpenError> {
        let (stream, ends) = connect(target, us.settings.connect_timeout, deadline).await?;
        *met = Some(ends.clone());
        let wire = Wire::new(stream, deadline);
        let (wire, mut extensions, tls, fault) = lead(wire, target, us, deadline).await?;
        extensions.chunking &= target.chunking;
        Ok(Self {
            wire,
            out: Vec::new(),
            extensions,
            dialect: target.dialect,
            local: target.local,
            met: ends,
            next_hop: name_in_reports(target),
            tls,
            fault,
            downgrade: None,
            served: 0,
            reusable: true,
            right,
        })
    }

    /// Sends one message. Every recipient has its ending when this returns.
    pub(super) async fn send(
        &mut self,
        envelope: &Envelope,
        message: &Message,
        settings: &ConnectionSettings,
    ) -> Sent {
        // Lent to the transaction, which wants it while the wire is written to.
        let extensions = std::mem::take(&mut self.extensions);
        let link = Link {
            dialect: self.dialect,
            extensions: &extensions,
            local: self.local,
        };
        let mut transaction = Transaction::new(link, envelope, message);
        let lost = self.converse(&mut transaction, message, settings).await;
        self.served += 1;
        self.reusable = transaction.is_reusable() && self.wire.has_said_all();
        let untouched = transaction.is_untouched() && !self.reusable;
        let hung_up = matches!(lost, Some(Lost::Closed | Lost::Gibberish(_)));
        let broke_off = hung_up && !transaction.is_untouched();
        let endings = transaction.into_endings();
        let dsn = extensions.dsn;
        self.extensions = extensions;
        Sent {
            endings,
            dsn,
            untouched,
            broke_off,
        }
    }

    /// Returns how the connection was lost, if it was.
    async fn converse(
        &mut self,
        transaction: &mut Transaction<'_>,
        message: &Message,
        settings: &ConnectionSettings,
    ) -> Option<Lost> {
        let mut out = std::mem::take(&mut self.out);
        let mut broken = None;
        loop {
            out.clear();
            if broken.is_none() && transaction.is_our_turn() && self.wire.has_spoken() {
                let said = self.wire.reply(LAST_WORDS).await.ok();
                transaction.spoke_out_of_turn(said);
            }
            let step = transaction.next(&mut out);
            let written = match step {
                Step::Write(form) if broken.is_none() => {
                    let alone = transaction.awaits_the_end_alone();
                    let written = self.write_message(&mut out, form, message, settings);
                    written.await.map(|has_spoken| {
                        if alone && has_spoken {
                            transaction.spoke_early();
                        }
                    })
                }
                _ if out.is_empty() || broken.is_some() => Ok(()),
                _ => self.wire.write(&out, settings.command_timeout).await,
            };
            if let Err(lost) = written {
                // The server may have said why before it hung up.
                broken = Some(lost);
                transaction.content_was_cut();
            }
            let limit = match (step, broken) {
                (Step::Done, _) => break,
                (Step::Write(_), _) => continue,
                (Step::Read(_), Some(_)) => LAST_WORDS,
                (Step::Read(Patience::Command), None) => settings.command_timeout,
                (Step::Read(Patience::Final), None) => settings.data_timeout,
                (Step::Read(Patience::Reset), None) => settings.command_timeout.min(RESET),
            };
            match self.wire.reply(limit).await {
                Ok(reply) => transaction.reply(reply),
                Err(error) => {
                    let error = *broken.get_or_insert(error);
                    transaction.fail(lost(error));
                }
            }
        }
        out.clear();
        out.shrink_to(KEPT_OCTETS);
        self.out = out;
        broken
    }

    /// Writes what was put out and the message after it: together where it is small, in blocks where
    /// it is not, and never as a second copy of the whole. Returns whether there was something to read before the last
    /// of it went.
    async fn write_message(
        &mut self,
        out: &mut Vec<u8>,
        form: Form,
        message: &Message,
        settings: &ConnectionSettings,
    ) -> Result<bool, Lost> {
        let limit = settings.command_timeout;
        let octets = message.octets();
        match form {
            Form::Chunk if octets.len() <= BLOCK_OCTETS => out.extend_from_slice(octets),
            Form::Chunk => {
                self.wire.write(out, limit).await?;
                let (most, last) = octets.split_at(octets.len() - BLOCK_OCTETS);
                self.wire.write(most, limit).await?;
                let has_spoken = self.wire.has_spoken();
                self.wire.write(last, limit).await?;
                return Ok(has_spoken);
            }
            Form::Dotted => {
                let mut encoder = Encoder::new();
                out.reserve(Encoder::room_for(octets.len().min(2 * BLOCK_OCTETS)));
                for block in octets.chunks(BLOCK_OCTETS) {
                    if out.len() + block.len() > 2 * BLOCK_OCTETS {
                        self.wire.write(out, limit).await?;
                        out.clear();
                    }
                    encoder.encode(block, out);
                }
                encoder.finish(out);
            }
        }
        let has_spoken = self.wire.has_spoken();
        self.wire.write(out, limit).await?;
        Ok(has_spoken)
    }

    /// Whether it can take another message, as far as can be seen without asking.
    pub(super) fn is_alive(&mut self) -> bool {
        self.reusable && self.wire.is_quiet()
    }

    /// Whether it is worth keeping, where a connection may have so many messages.
    pub(super) fn may_serve_again(&self, messages: u32) -> bool {
        let limit = self.extensions.transactions_max;
        self.reusable && self.served < limit.map_or(messages, |max| max.min(messages))
    }

    /// Whether what goes there stays on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.local
    }

    /// Whether it takes a message that requires TLS and keeps to that (RFC 8689 §4.2.1).
    pub(super) fn keeps_to_tls(&self) -> bool {
        self.local || self.extensions.require_tls
    }

    /// Whether what it said last, before mail, was that it can do STARTTLS: in clear it was asked then, and refused.
    pub(super) fn offers_tls(&self) -> bool {
        self.extensions.starttls
    }

    /// Whether it counts for a limit.
    pub(super) fn counts_for(&self, limit: &str) -> bool {
        self.right.counts_for(limit)
    }

    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.wire.set_deadline(deadline);
    }

    /// Says goodbye, and does not insist on an answer.
    pub(super) async fn quit(mut self) {
        self.wire.set_deadline(Instant::now() + QUIT);
        if self.reusable && self.wire.write(b"QUIT\r\n", QUIT).await.is_ok() {
            let _ = self.wire.reply(QUIT).await;
        }
    }
}

/// What came of one message on one connection.
pub(super) struct Sent {
    pub(super) endings: Vec<Ending>,
    /// Whether the next hop was told what the sender wants to hear.
    pub(super) dsn: bool,
    /// Whether the connection died before the server answered at all.
    pub(super) untouched: bool,
    /// Whether the server was there and answered, and hung up before all was decided.
    pub(super) broke_off: bool,
}

/// Our side of every connection.
pub(super) struct Us<'a> {
    pub(super) hostname: &'a str,
    pub(super) settings: &'a ConnectionSettings,
    pub(super) tls: &'a Tls,
    pub(super) tokens: &'a Tokens,
}

/// Why a connection could not be led to the point where it takes mail.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum OpenError {
    /// Nobody answers at this address.
    #[error("{0}")]
    Unreachable(String),
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Opening(#[from] OpeningError),
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// From the greeting to the point where mail may be sent.
async fn lead(
    mut wire: Wire,
    target: &Target<'_>,
    us: &Us<'_>,
    deadline: Instant,
) -> Result<(Wire, Extensions, Option<TlsEvidence>, Option<Fault>), OpenError> {
    let secret = match target.credentials.map(|credentials| &credentials.shown) {
        Some(Shown::Password(password)) => Some(Arc::new(password.clone())),
        Some(Shown::Token(source)) => Some(us.tokens.get(source).await?),
        None => None,
    };
    let login = target.credentials.zip(secret.as_ref());
    let login = login.map(|(credentials, secret)| Login {
        username: &credentials.username,
        password: secret.expose(),
        mechanism: credentials.mechanism,
    });
    let start_tls = match target.level {
        TlsLevel::None => StartTls::Never,
        TlsLevel::Opportunistic => StartTls::IfOffered,
        TlsLevel::Required | TlsLevel::Verified => StartTls::Must,
    };
    let mut opening = Opening::new(target.dialect, us.hostname, start_tls, login);
    let (mut tls, mut fault) = (None, None);
    let mut limit = us.settings.greeting_timeout;
    loop {
        let reply = wire.reply(limit).await?;
        limit = us.settings.command_timeout;
        let mut step = opening.reply(reply).inspect_err(|error| {
            // It may have been withdrawn before its end: the next attempt asks for another.
            if let (OpeningError::Refused { stage, .. }, Some(Shown::Token(source))) =
                (error, target.credentials.map(|one| &one.shown))
                && *stage == Stage::Login
            {
                us.tokens.forget(source);
            }
        })?;
        if step == OpeningStep::Handshake {
            let secured = handshake(wire, target, us, deadline).await?;
            wire = secured.0;
            (tls, fault) = (Some(secured.1), secured.2);
            step = opening.secured();
        }
        match step {
            OpeningStep::Send(line) => wire.write(&line, limit).await?,
            OpeningStep::Handshake | OpeningStep::Ready => {
                return Ok((wire, opening.into_extensions(), tls, fault));
            }
        }
    }
}

async fn handshake(
    wire: Wire,
    target: &Target<'_>,
    us: &Us<'_>,
    deadline: Instant,
) -> Result<(Wire, TlsEvidence, Option<Fault>), OpenError> {
    // What came in clear after the go-ahead would be taken for something said under TLS.
    if !wire.has_said_all() {
        return Err(HandshakeError::Failed.into());
    }
    let certificate = match (target.dane, target.level) {
        (Some(dane), _) => Certificate::MustMatch(dane),
        (None, TlsLevel::Verified) => Certificate::MustBeRight,
        (None, _) if target.unproven => Certificate::MayBeUnproven,
        (None, _) => Certificate::MayBeAny,
    };
    let until = (Instant::now() + us.settings.command_timeout.min(HANDSHAKE)).min(deadline);
    let host = (target.host, target.named_by);
    let secured = us.tls.secure(wire.into_stream(), host, certificate);
    match timeout_at(until, secured).await {
        Ok(Ok(secured)) => {
            let wire = Wire::new(Box::new(secured.stream), deadline);
            Ok((wire, secured.evidence, secured.fault))
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(HandshakeError::Failed.into()),
    }
}

/// A name stands for itself, an address is written as a literal (RFC 3464 §2.1.2).
fn name_in_reports(target: &Target<'_>) -> String {
    match (target.addresses.first(), target.host.parse::<IpAddr>()) {
        (Some(Address::Tcp(_)), Ok(address)) => AddressLiteral::from(address).to_string(),
        _ => target.host.to_owned(),
    }
}

/// What is written at once, in octets; also the largest message that shares a write with its envelope.
const BLOCK_OCTETS: usize = 64 * 1_024;
/// What the buffer of an idle connection keeps, in octets.
const KEPT_OCTETS: usize = 32 * 1_024;
/// For replies that were on their way when the connection broke.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// For the reply to RSET.
const RESET: Duration = Duration::from_secs(20);
/// For the reply to QUIT.
const QUIT: Duration = Duration::from_secs(2);
/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(60);
