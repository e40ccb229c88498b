//! The octets of a connection, in clear or under TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::mail::{CertificateChain, TlsSession};
use crate::smtp::sasl::scram::Bindings;

/// A connection. The TLS half is boxed: most connections wait, and in clear.
pub(super) enum Stream {
    /// As it comes.
    Clear(TcpStream),
    /// Under TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Makes the TLS handshake of a server; what came in clear must have been dealt with before.
    pub(super) async fn secure(self, acceptor: &TlsAcceptor) -> io::Result<(Self, TlsSession)> {
        let Self::Clear(stream) = self else {
            return Err(io::Error::other("TLS is up already"));
        };
        let stream = acceptor.accept(stream).await?;
        let session = describe(&stream);
        Ok((Self::Tls(Box::new(stream)), session))
    }

    /// To what a SASL exchange can be bound on this connection.
    pub(super) fn bindings(&self) -> Bindings {
        let Self::Tls(stream) = self else {
            return Bindings::default();
        };
        let (_, connection) = stream.get_ref();
        // RFC 9266 §2. Without the extended master secret TLS 1.2 has none that is worth anything; rustls says so.
        let exported = connection.export_keying_material([0; 32], EXPORTER, Some(b""));
        Bindings {
            exporter: exported.ok(),
            end_point: None,
        }
    }

    /// Whether the client has said something already. Asks the socket itself: the runtime hears of what
    /// has come with a delay. Under TLS anything that follows the handshake counts, in the same packet too.
    pub(super) fn has_input(&mut self) -> bool {
        let socket = match self {
            Self::Clear(stream) => stream,
            Self::Tls(stream) => {
                let (socket, tls) = stream.get_mut();
                let read = tls.process_new_packets();
                if read.is_ok_and(|state| state.plaintext_bytes_to_read() > 0) {
                    return true;
                }
                socket
            }
        };
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(socket, &mut [0_u8; 1], flags).is_ok_and(|(octets, _)| octets > 0)
    }
}

/// RFC 9266 §2.
const EXPORTER: &[u8] = b"EXPORTER-Channel-Binding";

fn describe(stream: &TlsStream<TcpStream>) -> TlsSession {
    let (_, connection) = stream.get_ref();
    let version = connection
        .protocol_version()
        .and_then(|version| version.as_str());
    let suite = connection
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str());
    let shown = connection.peer_certificates().unwrap_or_default();
    TlsSession {
        // `TLSv1_3` to the form that everybody else writes.
        version: version.unwrap_or("TLS").replace('_', "."),
        cipher: suite.unwrap_or("unknown").to_owned(),
        server_name: connection.server_name().map(str::to_owned),
        client_certificate: CertificateChain::new(shown.iter().map(|one| one.to_vec())),
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn what_has_come_is_seen_and_left_where_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let mut stream = Stream::Clear(server);
        assert!(!stream.has_input());

        client.write_all(b"EHLO bot.example\r\n").await.unwrap();
        let Stream::Clear(server) = &stream else {
            panic!("in clear");
        };
        server.readable().await.unwrap();
        assert!(stream.has_input() && stream.has_input());
    }
}
