//! The metrics endpoint: `/metrics` for Prometheus, `/health` for whoever asks whether we live.
//!
//! It listens on a loopback address, where no stranger reaches it, and all the same it gives each
//! connection a time and all of them a number.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::base::{Shutdown, metrics};

use super::settings::Settings;

/// Listens where the settings say and answers until the shutdown begins. Returns the address, `None`
/// if nobody wants metrics.
pub async fn start(settings: &Settings, shutdown: &Shutdown) -> io::Result<Option<SocketAddr>> {
    let Some(address) = &settings.metrics else {
        return Ok(None);
    };
    let listener = TcpListener::bind(**address).await?;
    let address = listener.local_addr()?;
    let own = shutdown.clone();
    shutdown.spawn(async move {
        if let Err(error) = serve(listener, own).await {
            tracing::error!(%error, "the metrics page has ended");
        }
    });
    Ok(Some(address))
}

/// Answers on `listener` until the shutdown begins.
pub async fn serve(listener: TcpListener, shutdown: Shutdown) -> io::Result<()> {
    let pages = Router::new()
        .route("/metrics", get(all_metrics))
        .route("/health", get(health))
        .with_state(shutdown.clone());
    let limited = Limited::new(listener, CONNECTIONS_MAX);
    let end = async move { shutdown.begun().await };
    axum::serve(limited, pages)
        .with_graceful_shutdown(end)
        .await
}

async fn all_metrics() -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::render())
}

/// 200 while mail is taken, 503 once the gateway drains.
async fn health(State(shutdown): State<Shutdown>) -> impl IntoResponse {
    if shutdown.has_begun() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

/// A listener that has a number of places and waits while all are taken.
pub(super) struct Limited {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Limited {
    /// Gives so many places.
    pub(super) fn new(listener: TcpListener, places: usize) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(places)),
        }
    }
}

impl Listener for Limited {
    type Io = Timed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Timed, SocketAddr) {
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, address)) => return (Timed::new(stream, place), address),
                // Out of file descriptors, or the client left: neither is helped by haste.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when it has been silent for too long.
pub(super) struct Timed {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Timed {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            end: Box::pin(tokio::time::sleep(IDLE)),
            _place: place,
        }
    }

    /// An error once the time is over; progress starts it again.
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.end.as_mut().reset(Instant::now() + IDLE);
            return progress;
        }
        ready!(self.end.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_read(context, into);
        self.watched(context, progress)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, octets);
        self.watched(context, progress)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Connections at once: one scraper and a few people.
const CONNECTIONS_MAX: usize = 16;
/// Silence after which a connection is closed; longer than the usual minute between two scrapes.
const IDLE: Duration = Duration::from_secs(75);
/// After a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn started() -> (SocketAddr, Shutdown) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let own = shutdown.clone();
        shutdown.spawn(async move { serve(listener, own).await });
        (address, shutdown)
    }

    async fn page(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn metrics_and_health_are_pages() {
        let (address, shutdown) = started().await;

        let metrics = page(address, "/metrics").await;
        let health = page(address, "/health").await;

        assert!(metrics.starts_with("HTTP/1.1 200 OK"), "{metrics}");
        assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
        assert!(
            metrics.contains("# TYPE postern_messages_total counter"),
            "{metrics}"
        );
        assert!(health.ends_with("ok\n"), "{health}");
        assert!(page(address, "/other").await.starts_with("HTTP/1.1 404"));
        shutdown.begin();
        shutdown.finished().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_closed() {
        let (address, _shutdown) = started().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metr").await.unwrap();
        let mut rest = Vec::new();
        let read = tokio::time::timeout(IDLE * 3, stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok());
    }
}
