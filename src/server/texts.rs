//! Text messages, put together: the key, the book, the provider, and the page where it tells us what became of them.

use jiff::Timestamp;
use tokio::net::TcpListener;
use tracing::error;

use crate::admin::sms::{Listed, OptOuts};
use crate::base::{Clock, HashKey, Reference, Shutdown};
use crate::delivery::sms::{self, Book, BookError, Heard, Texts};
use crate::mail::Domain;
use crate::mail::sms::MobileNumber;
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::queue::{Order, Queue, Selection};
use crate::scheduler::Handle;
use crate::settings::Settings;

use super::ServeError;

/// The key that numbers of telephones are hashed with, if text messages are sent.
pub(super) fn key(settings: &Settings) -> Result<Option<HashKey>, ServeError> {
    if settings.delivery.sms.is_none() {
        return Ok(None);
    }
    let key = HashKey::open_or_make(&settings.data.join(sms::KEY));
    let failed = |error| ServeError::Start(format!("the key of text messages: {error}"));
    key.map(Some).map_err(failed)
}

/// What sends texts, if any are to be sent.
pub(super) fn open(
    settings: &Settings,
    key: Option<&HashKey>,
    clock: &Clock,
) -> Result<Option<Texts>, ServeError> {
    let (Some(sms), Some(key)) = (&settings.delivery.sms, key) else {
        return Ok(None);
    };
    let texts = Texts::open(
        sms,
        &settings.delivery.connections.extra_roots,
        &settings.data,
        key.clone(),
        settings.dns.clone(),
        clock.clone(),
    );
    let failed = |error| ServeError::Start(format!("text messages: {error}"));
    texts.map(Some).map_err(failed)
}

/// Listens for receipts and replies, if the settings say so.
pub(super) async fn listen(
    settings: &Settings,
    texts: Option<&Texts>,
    (queue, scheduler): (&Queue, &Handle),
    clock: &Clock,
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    let callbacks = settings
        .delivery
        .sms
        .as_ref()
        .and_then(|sms| sms.callbacks.as_ref());
    let (Some(callbacks), Some(texts)) = (callbacks, texts) else {
        return Ok(());
    };
    let listener = TcpListener::bind(callbacks.address)
        .await
        .map_err(|error| {
            ServeError::Start(format!(
                "receipts cannot come in on {}: {error}",
                callbacks.address
            ))
        })?;
    let (queue, scheduler, own) = (queue.clone(), scheduler.clone(), shutdown.clone());
    let (at, tasks) = (clock.clone(), shutdown.clone());
    let tell = move |heard: Heard| {
        let (queue, scheduler, now) = (queue.clone(), scheduler.clone(), at.now());
        tasks.spawn(async move { follow_up(heard, &queue, &scheduler, now).await });
    };
    let served = sms::serve_callbacks(
        listener,
        callbacks.token.clone(),
        texts.book().clone(),
        clock.clone(),
        own,
        tell,
    );
    shutdown.spawn(async move {
        if let Err(error) = served.await {
            error!(%error, "receipts do not come in any more: providers are asked instead");
        }
    });
    Ok(())
}

/// A text that has come to its end is looked at at once; a wish for no more texts goes into the trail.
async fn follow_up(heard: Heard, queue: &Queue, scheduler: &Handle, now: Timestamp) {
    let done = match heard {
        Heard::Ended(reference) => {
            let message = reference
                .split_once('.')
                .map_or(reference.as_str(), |(message, _)| message);
            let Ok(message) = message.parse::<Reference>() else {
                return;
            };
            let done = queue
                .administer(Selection::Message(message), Order::Retry, BY)
                .await;
            scheduler.wake();
            done.map(drop)
        }
        Heard::OptedOut(number) => {
            let event = AuditEvent::new(now, Reference::random(), AuditKind::AccountChanged, "");
            let event = event
                .fact("action", "sms-opt-out")
                .fact("number", number)
                .fact("by", BY);
            queue.record(vec![event]).await
        }
    };
    if let Err(error) = done {
        error!(%error, "a receipt is written down, and what follows from it will take until the next attempt");
    }
}

/// The list of those who want no text messages, for the command that keeps it. Blocks.
///
/// # Errors
/// The book cannot be opened.
pub fn opt_outs(settings: &Settings) -> Result<impl OptOuts, ServeError> {
    let failed = |error: String| ServeError::Start(format!("the list of opt-outs: {error}"));
    let key = HashKey::open_or_make(&settings.data.join(sms::KEY));
    let key = key.map_err(|error| failed(error.to_string()))?;
    let domain = settings.delivery.sms.as_ref().map(|sms| sms.domain.clone());
    let list = |book| List { book, domain };
    Book::open(&settings.data, key)
        .map(list)
        .map_err(|error| failed(error.to_string()))
}

/// The book as the command sees it.
struct List {
    book: Book,
    domain: Option<Domain>,
}

impl OptOuts for List {
    fn add(&self, number: &MobileNumber, how: &str) -> Result<bool, String> {
        self.book
            .opt_out(number, Clock::system().now(), how)
            .map_err(in_words)
    }

    fn remove(&self, number: &MobileNumber) -> Result<bool, String> {
        self.book.opt_in(number).map_err(in_words)
    }

    fn has(&self, number: &MobileNumber) -> Result<bool, String> {
        self.book.has_opted_out(number).map_err(in_words)
    }

    fn name(&self, number: &MobileNumber) -> String {
        let name = self.book.pseudonym(number);
        match &self.domain {
            Some(domain) => format!("{name}@{domain}"),
            None => name.to_string(),
        }
    }

    fn all(&self) -> Result<Vec<Listed>, String> {
        let all = self.book.opt_outs().map_err(in_words)?.into_iter();
        let listed = all.map(|one| Listed {
            number: one.pseudonym,
            since: one.since.to_string(),
            how: one.how,
        });
        Ok(listed.collect())
    }
}

fn in_words(error: BookError) -> String {
    error.to_string()
}

/// Who does it, in the audit trail.
const BY: &str = "sms receipt";
