//! What providers tell us: receipts, and what patients reply. JSON by POST with a bearer token, as GOV.UK Notify does
//! it (`domain.md` §6.3): `/receipt` and `/inbound`.
//!
//! It listens on a loopback address; a proxy with TLS stands before it.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tracing::{error, info, warn};

use crate::base::keyed::hmac_sha256;
use crate::base::limited::Limited;
use crate::base::secret::Secret;
use crate::base::{Clock, Shutdown};
use crate::mail::sms::MobileNumber;

use super::book::{Book, BookError, Row};
use super::provider::Progress;

/// What was heard, for whoever waits for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Heard {
    /// A text has come to its end: its reference.
    Ended(String),
    /// The owner of a number wants no more texts: its pseudonym's last digits.
    OptedOut(String),
}

/// Answers on `listener` until the shutdown begins. `tell` is told after it was written down.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    token: Secret,
    book: Arc<Book>,
    clock: Clock,
    shutdown: Shutdown,
    tell: impl Fn(Heard) + Send + Sync + 'static,
) -> std::io::Result<()> {
    let desk = Arc::new(Desk {
        token,
        book,
        clock,
        tell: Box::new(tell),
    });
    let pages = Router::new()
        .route("/receipt", post(receipt))
        .route("/inbound", post(inbound))
        .layer(DefaultBodyLimit::max(BODY_OCTETS_MAX))
        .with_state(desk);
    let end = async move { shutdown.begun().await };
    axum::serve(Limited::new(listener, CONNECTIONS_MAX), pages)
        .with_graceful_shutdown(end)
        .await
}

struct Desk {
    token: Secret,
    book: Arc<Book>,
    clock: Clock,
    tell: Box<dyn Fn(Heard) + Send + Sync>,
}

impl Desk {
    /// Whether the bearer token is ours. Hashes are compared: how much of it is right shows in no time taken.
    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme
                .eq_ignore_ascii_case("bearer")
                .then_some(token.trim())
        });
        let hash = |token: &str| hmac_sha256(b"bearer", token.as_bytes());
        shown.is_some_and(|token| hash(token) == hash(self.token.expose()))
    }

    /// The body as JSON, if it is from the provider.
    fn read(&self, headers: &HeaderMap, body: &[u8]) -> Result<Value, StatusCode> {
        if !self.lets_in(headers) {
            warn!("a receipt without the right token was refused");
            return Err(StatusCode::UNAUTHORIZED);
        }
        serde_json::from_slice(body).map_err(|_| StatusCode::BAD_REQUEST)
    }

    /// Off the async threads, for it waits for the disk.
    async fn with_book<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, BookError> + Send + 'static,
    ) -> Result<T, StatusCode> {
        let desk = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&desk)).await;
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                error!(%error, "what a provider told us could not be written down: it will tell us again");
                Err(StatusCode::SERVICE_UNAVAILABLE)
            }
            Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

/// What became of a text. One that nobody knows is 404: its row may be on the way, and the provider tells it again.
async fn receipt(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let told = match desk.read(&headers, &body) {
        Ok(told) => told,
        Err(status) => return status,
    };
    let (Some(reference), Some(word)) = (told["reference"].as_str(), told["status"].as_str())
    else {
        return StatusCode::BAD_REQUEST;
    };
    let (reference, row) = match Progress::of_word(word) {
        Progress::Delivered => (reference.to_owned(), Row::Delivered),
        Progress::Failed(word) => (reference.to_owned(), Row::Lost(word)),
        Progress::Underway => return StatusCode::OK,
    };
    let known = {
        let reference = reference.clone();
        desk.with_book(move |desk| {
            let is_news = desk.book.mark(&reference, &row)?;
            Ok((is_news, is_news || desk.book.knows(&reference)?))
        })
    };
    match known.await {
        Ok((_, false)) => StatusCode::NOT_FOUND,
        Ok((is_news, true)) => {
            if is_news {
                (desk.tell)(Heard::Ended(reference));
            }
            StatusCode::OK
        }
        Err(status) => status,
    }
}

/// What a patient replies: STOP and its like put the number on the list. Anything else is not ours to read.
async fn inbound(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let told = match desk.read(&headers, &body) {
        Ok(told) => told,
        Err(status) => return status,
    };
    let (Some(from), Some(message)) = (told["source_number"].as_str(), told["message"].as_str())
    else {
        return StatusCode::BAD_REQUEST;
    };
    if !is_stop(message) {
        return StatusCode::OK;
    }
    let Ok(number) = MobileNumber::parse(from) else {
        // Short codes and numbers abroad get no texts from us anyway.
        return StatusCode::OK;
    };
    let shown = number.to_string();
    let written = desk.with_book(move |desk| desk.book.opt_out(&number, desk.clock.now(), "reply"));
    match written.await {
        Ok(is_new) => {
            if is_new {
                info!(number = shown, "the owner of a number wants no more texts");
                (desk.tell)(Heard::OptedOut(shown));
            }
            StatusCode::OK
        }
        Err(status) => status,
    }
}

/// The first word, in any case and with any punctuation: `Stop.`, `STOP texting me`.
fn is_stop(message: &str) -> bool {
    let word = message.split_whitespace().next().unwrap_or_default();
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    STOP.iter().any(|stop| word.eq_ignore_ascii_case(stop))
}

/// Words that end it; English and Welsh.
const STOP: [&str; 7] = [
    "stop",
    "stopall",
    "unsubscribe",
    "end",
    "quit",
    "cancel",
    "stopiwch",
];
/// A receipt has some hundred octets, a reply some thousand at most.
const BODY_OCTETS_MAX: usize = 64 << 10;
/// Connections at once.
const CONNECTIONS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_stop_means_it() {
        for (message, stops) in [
            ("STOP", true),
            (" stop. ", true),
            ("\"Stop\" please", true),
            ("Stop texting me", true),
            ("UNSUBSCRIBE", true),
            ("please stop", false),
            ("stopwatch", false),
            ("yes", false),
            ("", false),
        ] {
            assert_eq!(is_stop(message), stops, "{message}");
        }
    }
}
