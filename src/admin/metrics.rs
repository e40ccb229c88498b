//! The metrics endpoint: `/metrics` for Prometheus, `/health` for whoever asks whether we live.
//!
//! It listens on a loopback address, where no stranger reaches it, and all the same it gives each
//! connection a time and all of them a number.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::base::limited::Limited;
use crate::base::scanners::SCANNERS;
use crate::base::{Shutdown, metrics};
use crate::queue::Queue;

use super::settings::Settings;

/// Listens where the settings say and answers until the shutdown begins. Returns the address, `None`
/// if nobody wants metrics.
pub async fn start(
    settings: &Settings,
    queue: &Queue,
    shutdown: &Shutdown,
) -> io::Result<Option<SocketAddr>> {
    let Some(address) = &settings.metrics else {
        return Ok(None);
    };
    let listener = TcpListener::bind(**address).await?;
    let address = listener.local_addr()?;
    let (queue, own) = (queue.clone(), shutdown.clone());
    shutdown.spawn(async move {
        if let Err(error) = serve(listener, queue, own).await {
            tracing::error!(%error, "the metrics page has ended");
        }
    });
    Ok(Some(address))
}

/// Answers on `listener` until the shutdown begins.
pub async fn serve(listener: TcpListener, queue: Queue, shutdown: Shutdown) -> io::Result<()> {
    let pages = Router::new()
        .route("/metrics", get(all_metrics))
        .route("/health", get(health))
        .with_state((queue, shutdown.clone()));
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

/// 200 while mail is taken, 503 once the gateway drains, and while the queue takes nothing: then the page says why, and
/// ending the gateway helps nobody. Scanners that are away are named below: mail is taken all the same, or asked to come
/// again, as the policy says.
async fn health(State((queue, shutdown)): State<(Queue, Shutdown)>) -> impl IntoResponse {
    if shutdown.has_begun() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    if let Err(error) = queue.check_room(0) {
        let text = format!("no mail is taken: {}\n", error.to_text());
        return (StatusCode::SERVICE_UNAVAILABLE, text);
    }
    let mut text = "ok\n".to_owned();
    for (scanner, since) in SCANNERS.away() {
        // Writing to a String does not fail.
        let _ = writeln!(text, "scanner {scanner} gives no answer since {since}");
    }
    (StatusCode::OK, text)
}

/// Connections at once: one scraper and a few people.
const CONNECTIONS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Clock;
    use std::path::Path;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn started(folder: &Path) -> (SocketAddr, Shutdown) {
        let queue = Queue::open(folder, Clock::system()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new();
        let own = shutdown.clone();
        shutdown.spawn(async move { serve(listener, queue, own).await });
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
        let folder = tempfile::tempdir().unwrap();
        let (address, shutdown) = started(folder.path()).await;

        let metrics = page(address, "/metrics").await;
        let health = page(address, "/health").await;

        assert!(metrics.starts_with("HTTP/1.1 200 OK"), "{metrics}");
        assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
        assert!(
            metrics.contains("# TYPE postern_messages_total counter"),
            "{metrics}"
        );
        // Other tests of this process may have scanners that are away.
        assert!(health.contains("\r\n\r\nok\n"), "{health}");
        assert!(page(address, "/other").await.starts_with("HTTP/1.1 404"));
        std::fs::remove_file(folder.path().join("queue.sqlite")).unwrap();
        let health = page(address, "/health").await;
        assert!(health.starts_with("HTTP/1.1 503"), "{health}");
        assert!(health.contains("no mail is taken: "), "{health}");
        assert!(health.contains("deleted, moved or replaced"), "{health}");
        shutdown.begin();
        shutdown.finished().await;
    }
}
