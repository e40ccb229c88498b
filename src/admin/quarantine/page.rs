//! The pages behind the links of digests: what a link is for, and the button that does it.
//!
//! Looking at a page changes nothing: programs that guard mail follow every link before a person does. Only the
//! button, a POST, lets the message go on, and with a box ticked its sender from then on. A page shows who the message says that it is from, its subject and when it
//! came, and nothing else of it; it may be framed, kept and referred to by nobody.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::IncomingStream;
use tokio::net::TcpListener;

use crate::base::limited::Limited;
use crate::base::{Clock, Shutdown};
use crate::mail::shown;
use crate::queue::{
    DeliveryId, Filter, Order, Queue, QueueError, QueuedMessage, Selection, State as Standing,
    Waiting,
};

use crate::policy::senders::Store;

use super::limiter::Limiter;
use super::link::{Link, Links};
use super::view::fields;
use super::{allowed, learn};

/// What the pages work with.
#[derive(Clone)]
pub struct Desk {
    /// What signs the links.
    pub links: Arc<Links>,
    /// Where the messages are.
    pub queue: Queue,
    /// What time it is.
    pub clock: Clock,
    /// The data folder, below which what is let go on is put for the learner.
    pub data: PathBuf,
    /// Called when something is due.
    pub wake: Arc<dyn Fn() + Send + Sync>,
}

/// Listens there and answers until the shutdown begins. Returns the address.
pub async fn start(address: SocketAddr, desk: Desk, shutdown: &Shutdown) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let own = shutdown.clone();
    shutdown.spawn(async move {
        let limited = Limited::new(listener, CONNECTIONS_MAX);
        let service = pages(desk).into_make_service_with_connect_info::<Peer>();
        let served = axum::serve(limited, service)
            .with_graceful_shutdown(async move { own.begun().await })
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the pages of the quarantine have ended");
        }
    });
    Ok(address)
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);

impl axum::extract::connect_info::Connected<IncomingStream<'_, Limited>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Limited>) -> Self {
        Self(stream.remote_addr().ip())
    }
}

fn pages(desk: Desk) -> Router {
    let limiter = Arc::new((Limiter::default(), desk.clock.clone()));
    Router::new()
        .route("/q/{token}", get(look).post(release))
        .layer(DefaultBodyLimit::max(LET_THROUGH.len()))
        .with_state(desk)
        .layer(from_fn_with_state(limiter, limited))
        .layer(from_fn(guarded))
}

/// Turns away whoever asks too often.
async fn limited(
    State(limiter): State<Arc<(Limiter, Clock)>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if limiter.0.allows(peer.0, limiter.1.now()) {
        return next.run(request).await;
    }
    page(
        StatusCode::TOO_MANY_REQUESTS,
        "Too many questions",
        "<p>Wait a minute, then try again.</p>",
    )
}

/// Every answer, also a refusal, is kept by nobody, framed by nobody, and leads nowhere.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, header::HeaderValue::from_static(value));
    }
    response
}

/// The page of a link. Changes nothing.
async fn look(State(desk): State<Desk>, Path(token): Path<String>) -> Response {
    match desk.find(&token).await {
        Ok(found) => found.page(),
        Err(refused) => refused.into_response(),
    }
}

/// The button.
async fn release(
    State(desk): State<Desk>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(token): Path<String>,
    form: Bytes,
) -> Response {
    let lets_through = form.as_ref() == LET_THROUGH;
    let released = match desk.find(&token).await {
        Ok(found) => desk.release(&found, peer.0, lets_through).await,
        Err(refused) => Err(refused),
    };
    match released {
        Ok(By::Message) => page(
            StatusCode::OK,
            "The message is on its way",
            "<p>It will be in your mailbox shortly.</p>",
        ),
        Ok(By::Sender) => page(
            StatusCode::OK,
            "The message is on its way",
            "<p>It will be in your mailbox shortly. Mail of this sender is let through to you from now on, where it is \
             certain who sent it.</p>",
        ),
        Err(refused) => refused.into_response(),
    }
}

/// What a link is good for.
struct Found {
    waiting: Waiting,
    message: Arc<QueuedMessage>,
}

impl Desk {
    /// What a link is for, if it may be used now.
    async fn find(&self, token: &str) -> Result<Found, Refused> {
        let link = self.links.read(token).ok_or(Refused::None)?;
        if self.clock.now() >= link.until {
            return Err(Refused::Over);
        }
        let waiting = self.waiting(&link).await?.ok_or(Refused::Used)?;
        if !waiting.owner_may_release || waiting.patient_data {
            return Err(Refused::NotHis);
        }
        let message = self.queue.message(link.delivery).await?;
        Ok(Found {
            message: message.ok_or(Refused::Used)?,
            waiting,
        })
    }

    async fn waiting(&self, link: &Link) -> Result<Option<Waiting>, QueueError> {
        let filter = Filter {
            delivery: Some(link.delivery),
            states: vec![Standing::Quarantined],
            ..Filter::default()
        };
        let found = self.queue.list(filter).await?.into_iter().next();
        Ok(found.filter(|one| link.is_about(&one.reference, &one.recipient)))
    }

    /// Lets it go on. Of two who press the button at once one succeeds: the order is for what is quarantined.
    async fn release(
        &self,
        found: &Found,
        client: IpAddr,
        lets_through: bool,
    ) -> Result<By, Refused> {
        let delivery = DeliveryId(found.waiting.delivery);
        let reason = "the owner of the mailbox wants it".to_owned();
        let by = format!(
            "the owner of {}, by a link of the digest, from {}",
            found.waiting.recipient,
            client.to_canonical()
        );
        let order = Order::ReleaseQuarantined { reason };
        let done = self
            .queue
            .administer(Selection::Delivery(delivery), order, by.clone())
            .await?;
        if done.changed == 0 {
            return Err(Refused::Used);
        }
        (self.wake)();
        let (data, message) = (self.data.clone(), Arc::clone(&found.message));
        let learned = tokio::task::spawn_blocking(move || learn::as_ham(&data, &message, delivery));
        if let Ok(Err(error)) = learned.await {
            tracing::warn!(%error, "what was let go on is not learned from");
        }
        match lets_through {
            true => Ok(self.let_through(found, &by).await),
            false => Ok(By::Message),
        }
    }

    /// Lets its sender through from now on. The message is on its way, whatever comes of this.
    async fn let_through(&self, found: &Found, by: &str) -> By {
        let now = self.clock.now();
        let recipient = &found.waiting.recipient;
        let Some(one) = allowed::of(&found.message, recipient, by, now) else {
            return By::Message;
        };
        match allowed::allow(&one, &Store::at(&self.data), &self.queue).await {
            Ok(()) => By::Sender,
            Err(error) => {
                tracing::warn!(%error, "a sender is not let through");
                By::Message
            }
        }
    }
}

impl Found {
    fn page(&self) -> Response {
        let fields = fields(&self.message.message);
        let mut body = String::from("<p>This message was kept back for you:</p><table>");
        for (name, value) in [
            ("From", &fields.from),
            ("Subject", &fields.subject),
            ("Received", &self.waiting.received_at),
        ] {
            let value = escaped(&shown::defanged(&shown::line(value, 200)));
            // Writing to a String does not fail.
            let _ = write!(body, "<tr><th>{name}</th><td>{value}</td></tr>");
        }
        body.push_str(
            "</table><p>If you do not know who sent it, close this page.</p>\
             <form method=\"post\"><p><label><input type=\"checkbox\" name=\"sender\" value=\"yes\"> \
             and keep nothing back of this sender from now on</label></p>\
             <button>Put it into my mailbox</button></form>",
        );
        page(StatusCode::OK, "A message was kept back", &body)
    }
}

/// What was let through.
enum By {
    /// The message alone.
    Message,
    /// Whatever its sender writes to that mailbox.
    Sender,
}

/// Why a link does nothing.
enum Refused {
    /// It is none of ours.
    None,
    /// Its time is over.
    Over,
    /// It was used, or the message is gone.
    Used,
    /// It is for the administrators to decide.
    NotHis,
    /// The queue cannot say.
    Queue(QueueError),
}

impl From<QueueError> for Refused {
    fn from(error: QueueError) -> Self {
        Self::Queue(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::None => (StatusCode::NOT_FOUND, "This link is not one of ours."),
            Self::Over => (
                StatusCode::GONE,
                "The time of this link is over: ask the administrators.",
            ),
            Self::Used => (
                StatusCode::GONE,
                "This link was used already, or the message is not here any more.",
            ),
            Self::NotHis => (
                StatusCode::FORBIDDEN,
                "This message is for the administrators to decide about.",
            ),
            Self::Queue(error) => {
                tracing::error!(%error, "a link of a digest could not be looked up");
                (StatusCode::SERVICE_UNAVAILABLE, "Try again later.")
            }
        };
        page(status, "Nothing was done", &format!("<p>{text}</p>"))
    }
}

/// A page; `body` is markup.
fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\
         <body><h1>{title}</h1>{body}</body></html>\n"
    );
    let kind = (header::CONTENT_TYPE, "text/html; charset=utf-8");
    (status, [kind], text).into_response()
}

/// Text as it stands in markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// What the form says if the box is ticked; it says nothing if not.
const LET_THROUGH: &[u8] = b"sender=yes";
/// What every answer bears.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];
/// Connections at once.
const CONNECTIONS_MAX: usize = 64;
