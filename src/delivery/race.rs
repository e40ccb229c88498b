//! Connecting to a host with several addresses: one after the other, each begun a moment after the one before, and the
//! first that answers is taken (RFC 8305 §5). A family of addresses that leads nowhere costs a moment and not a
//! time-out.
//!
//! The families take turns, beginning with that of the first address as the resolver gives them, IPv4 (RFC 8305 §4 would
//! begin with IPv6; the reverse names and the good name that mail needs are more often missing there).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::{Address, Met, OpenError, Target};
use super::shaping::Source;
use super::wire::Stream;

/// Connects to the first address of a target that answers; says which, and from where.
pub(super) async fn connect(
    target: &Target<'_>,
    limit: Duration,
    deadline: Instant,
) -> Result<(Box<dyn Stream>, Met), OpenError> {
    let until = (Instant::now() + limit).min(deadline);
    match timeout_at(until, reach(&target.addresses, target.source)).await {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(error)) => Err(OpenError::Unreachable(why(&error))),
        Err(_) => Err(OpenError::Unreachable(
            "no connection to the next hop in time".to_owned(),
        )),
    }
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            "no connection to the next hop: this machine has no such source address".to_owned()
        }
        kind => format!("no connection to the next hop: {kind}"),
    }
}

async fn reach(addresses: &[Address], source: Source) -> io::Result<(Box<dyn Stream>, Met)> {
    let mut tcp = Vec::with_capacity(addresses.len());
    for address in addresses {
        match address {
            Address::Tcp(address) => tcp.push(*address),
            Address::Unix(path) => {
                let stream: Box<dyn Stream> = Box::new(UnixStream::connect(path).await?);
                let met = Met {
                    address: address.clone(),
                    from: None,
                };
                return Ok((stream, met));
            }
        }
    }
    let (stream, address) = match tcp.as_slice() {
        [only] => (from(*only, source).await?, *only),
        several => race(several, source).await?,
    };
    stream.set_nodelay(true)?;
    let met = Met {
        address: Address::Tcp(address),
        from: stream.local_addr().ok().map(|ours| ours.ip()),
    };
    Ok((Box::new(stream), met))
}

async fn race(addresses: &[SocketAddr], source: Source) -> io::Result<(TcpStream, SocketAddr)> {
    let mut attempts = JoinSet::new();
    let mut others = addresses.iter().copied();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(next) = others.next() {
            attempts.spawn(async move { (from(next, source).await, next) });
        }
        let ended = match others.len() {
            0 => attempts.join_next().await,
            _ => match timeout(STAGGER, attempts.join_next()).await {
                Ok(ended) => ended,
                // Still under way: the next one begins beside it.
                Err(_) => continue,
            },
        };
        match ended {
            Some(Ok((Ok(stream), address))) => return Ok((stream, address)),
            Some(Ok((Err(error), _))) => failure = error,
            Some(Err(_)) => {}
            None => return Err(failure),
        }
    }
}

/// Connects, from the address of ours that was chosen.
async fn from(address: SocketAddr, source: Source) -> io::Result<TcpStream> {
    if source.any {
        return TcpStream::connect(address).await;
    }
    let ours = source.to(address.ip());
    let ours = ours.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    let socket = match ours {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(ours, 0))?;
    socket.connect(address).await
}

/// Addresses so that the families take turns, each in its order.
pub(super) fn by_turns(addresses: Vec<Address>) -> Vec<Address> {
    let is_v6 = |one: &Address| matches!(one, Address::Tcp(address) if address.is_ipv6());
    let Some(first) = addresses.first().map(is_v6) else {
        return addresses;
    };
    let (one, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| is_v6(a) == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut turns = Vec::with_capacity(one.len() + other.len());
    loop {
        let next = [one.next(), other.next()];
        if next.iter().all(Option::is_none) {
            return turns;
        }
        turns.extend(next.into_iter().flatten());
    }
}

/// Between the beginnings of two attempts (RFC 8305 §8: Connection Attempt Delay).
const STAGGER: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Shaping;
    use tokio::net::TcpListener;

    fn tcp(address: &str) -> Address {
        Address::Tcp(address.parse().unwrap())
    }

    #[test]
    fn the_families_take_turns() {
        let addresses = [
            "192.0.2.1:25",
            "192.0.2.2:25",
            "192.0.2.3:25",
            "[2001:db8::1]:25",
        ];
        let turns = by_turns(addresses.map(tcp).to_vec());
        let expected = [
            "192.0.2.1:25",
            "[2001:db8::1]:25",
            "192.0.2.2:25",
            "192.0.2.3:25",
        ];
        assert_eq!(turns, expected.map(tcp));
        assert_eq!(by_turns(Vec::new()), []);
    }

    #[tokio::test]
    async fn the_first_address_that_answers_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = closed.local_addr().unwrap();
        drop(closed);
        // A network for documentation: nobody answers there (RFC 5737).
        let nowhere: SocketAddr = "192.0.2.1:25".parse().unwrap();
        let any = Shaping::default().source("x");

        let began = Instant::now();
        let (_, met) = race(&[nowhere, nobody, there], any).await.unwrap();
        assert_eq!(met, there);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(race(&[nobody, nobody], any).await.is_err());
    }

    #[tokio::test]
    async fn a_connection_leaves_from_the_address_that_was_chosen() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let shaping = Shaping {
            sources: ["127.0.0.9".parse().unwrap()].into(),
            ..Shaping::default()
        };
        let source = shaping.source("x");

        let stream = from(there, source).await.unwrap();
        let ours: IpAddr = "127.0.0.9".parse().unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), ours);

        let v6 = "[::1]:25".parse().unwrap();
        let error = from(v6, source).await.unwrap_err();
        assert!(why(&error).contains("no such source address"));
    }
}
