//! Listening: accepts connections, counts them, finds out who is there, and hands them on.
//!
//! Whoever is one too many hears 421 at once and costs nothing more. In a shutdown no connection is
//! accepted any more; those that are open end between two commands.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::base::{Network, metrics};
use crate::mail::{EnhancedStatusCode, Reply};

use super::connection::{self, Door, Ends, HANDSHAKE_TIMEOUT};
use super::proxy;
use super::stream::Stream;

/// A listener at work.
pub(super) struct Listener {
    /// What its connections share.
    pub(super) door: Arc<Door>,
    /// For TLS from the first octet.
    pub(super) implicit_tls: Option<TlsAcceptor>,
    /// Whether a PROXY protocol header comes first.
    pub(super) proxy_protocol: bool,
    /// Who may send one.
    pub(super) proxies: Vec<Network>,
    /// Who is connected, to any listener.
    pub(super) census: Arc<Census>,
}

/// Opens a listening socket.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Listener {
    /// Accepts until the shutdown begins.
    pub(super) async fn run(self: Arc<Self>, socket: TcpListener) {
        let shutdown = self.door.parts.shutdown.clone();
        loop {
            let accepted = tokio::select! {
                () = shutdown.begun() => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let listener = Arc::clone(&self);
                    shutdown.spawn(listener.admit(stream, peer));
                }
                Err(error) => {
                    // Out of descriptors, most likely: those that end give some back.
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn admit(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        metrics::CONNECTIONS.add(1);
        let (Ok(()), Ok(local)) = (stream.set_nodelay(true), stream.local_addr()) else {
            return;
        };
        let Some(_place) = self.census.enter() else {
            return self.turn_away(&stream, "too many connections, try again later");
        };
        let mut stream = stream;
        let Some(ends) = self.ends(&mut stream, peer, local).await else {
            metrics::CONNECTIONS_REFUSED.add(1);
            return;
        };
        let Some(_seat) = self.census.seat(ends.client.ip()) else {
            return self.turn_away(&stream, "too many connections from your address");
        };
        let Some((stream, ends)) = Box::pin(self.secure(stream, ends)).await else {
            return;
        };
        let door = Arc::clone(&self.door);
        drop(self);
        connection::serve(stream, ends, door).await;
    }

    /// The two ends, as the proxy says where there is one; `None` if it may not, or does not, say.
    async fn ends(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Option<Ends> {
        let direct = Ends {
            client: peer,
            local,
            tls: None,
        };
        if !self.proxy_protocol {
            return Some(direct);
        }
        if !self
            .proxies
            .iter()
            .any(|network| network.contains(peer.ip()))
        {
            warn!(%peer, "connected to a listener for proxies and is none that is trusted");
            return None;
        }
        match proxy::read_header(stream).await {
            Ok(None) => Some(direct),
            Ok(Some(ends)) => Some(Ends {
                client: ends.source,
                local: ends.destination,
                tls: None,
            }),
            Err(error) => {
                warn!(%peer, %error, "connection closed");
                None
            }
        }
    }

    async fn secure(&self, stream: TcpStream, ends: Ends) -> Option<(Stream, Ends)> {
        let stream = Stream::Clear(stream);
        let Some(acceptor) = &self.implicit_tls else {
            return Some((stream, ends));
        };
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, stream.secure(acceptor));
        match self.door.parts.shutdown.unless_begun(handshake).await? {
            Ok(Ok((stream, tls))) => Some((
                stream,
                Ends {
                    tls: Some(tls),
                    ..ends
                },
            )),
            Ok(Err(error)) => {
                debug!(client = %ends.client, %error, "TLS handshake failed");
                None
            }
            Err(_) => None,
        }
    }

    /// Says 421, if that can be said at once and in clear, and lets the connection go.
    fn turn_away(&self, stream: &TcpStream, text: &str) {
        metrics::CONNECTIONS_REFUSED.add(1);
        if self.implicit_tls.is_none() {
            let mut reply = Vec::new();
            Reply::new(421, EnhancedStatusCode::transient(7, 0), text).write_to(&mut reply);
            // A fresh socket has room for it.
            let _ = stream.try_write(&reply);
        }
    }
}

/// Who is connected: all together, and from each address.
#[derive(Debug)]
pub(super) struct Census {
    all: AtomicUsize,
    all_max: usize,
    clients: Mutex<HashMap<IpAddr, usize>>,
    per_client_max: usize,
}

impl Census {
    /// One of nobody.
    pub(super) fn new(all_max: usize, per_client_max: usize) -> Arc<Self> {
        Arc::new(Self {
            all: AtomicUsize::new(0),
            all_max,
            clients: Mutex::default(),
            per_client_max,
        })
    }

    /// Counts a connection; `None` if it is one too many.
    fn enter(self: &Arc<Self>) -> Option<Place> {
        let place = Place(Arc::clone(self));
        let before = self.all.fetch_add(1, Ordering::AcqRel);
        metrics::CONNECTIONS_OPEN.add(1);
        (before < self.all_max).then_some(place)
    }

    /// Counts it as one of its client; `None` if it is one too many of his.
    fn seat(self: &Arc<Self>, client: IpAddr) -> Option<Seat> {
        let client = one_client(client);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_default();
        if *count >= self.per_client_max {
            return None;
        }
        *count += 1;
        Some(Seat(Arc::clone(self), client))
    }
}

/// One connection of all; counts itself out.
#[derive(Debug)]
struct Place(Arc<Census>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.all.fetch_sub(1, Ordering::AcqRel);
        metrics::CONNECTIONS_OPEN.add(-1);
    }
}

/// One connection of a client; counts itself out.
#[derive(Debug)]
struct Seat(Arc<Census>, IpAddr);

impl Drop for Seat {
    fn drop(&mut self) {
        let mut clients = self
            .0
            .clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.1);
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or a whole IPv6 network of 64 bits, which is what one
/// customer has at the least.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;
/// How long to wait when accepting fails.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_client_and_all_together_have_their_limit() {
        let census = Census::new(3, 2);
        let first = (
            census.enter().unwrap(),
            census.seat(ip("192.0.2.1")).unwrap(),
        );
        let _second = (
            census.enter().unwrap(),
            census.seat(ip("::ffff:192.0.2.1")).unwrap(),
        );
        assert!(census.seat(ip("192.0.2.1")).is_none());
        let _third = (
            census.enter().unwrap(),
            census.seat(ip("192.0.2.2")).unwrap(),
        );
        assert!(census.enter().is_none());

        drop(first);
        assert!(census.enter().is_some() && census.seat(ip("192.0.2.1")).is_some());
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let census = Census::new(10, 1);
        let _seat = census.seat(ip("2001:db8::1")).unwrap();
        assert!(census.seat(ip("2001:db8::ffff:1")).is_none());
        assert!(census.seat(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn nobody_is_remembered_who_has_gone() {
        let census = Census::new(1, 1);
        drop(census.seat(ip("192.0.2.1")));
        assert!(census.clients.lock().unwrap().is_empty());
    }
}
