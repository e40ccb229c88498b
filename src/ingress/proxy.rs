//! The PROXY protocol, versions 1 and 2: who is really at the other end.
//!
//! Only peers in the trusted networks are believed, and on a listener that expects the header a
//! connection without one is closed: otherwise anybody could choose an address for himself.

use std::net::SocketAddr;
use std::time::Duration;

use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Why a connection is closed before its greeting.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Not a PROXY header, or too long for one.
    #[error("no PROXY protocol header")]
    Malformed,
    /// The peer took too long or went away.
    #[error("the PROXY protocol header did not come")]
    Missing,
}

/// The two ends of the connection that a proxy stands in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// Reads the header off the front of a stream, octet for octet: what follows it is not touched.
/// Returns `None` where the proxy speaks for itself (`UNKNOWN`, `LOCAL`), as health checks do.
pub async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<Ends>, ProxyError> {
    match tokio::time::timeout(HEADER_TIMEOUT, read_octets(stream)).await {
        Ok(ends) => ends,
        Err(_) => Err(ProxyError::Missing),
    }
}

async fn read_octets<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<Ends>, ProxyError> {
    let first = stream.read_u8().await.map_err(|_| ProxyError::Missing)?;
    let mut header = vec![first];
    if first == v2::PROTOCOL_PREFIX[0] {
        read_version_2(stream, &mut header).await?;
    } else {
        read_line(stream, &mut header).await?;
    }
    ends_of(HeaderResult::parse(&header))
}

/// Version 1 is one line.
async fn read_line<S: AsyncRead + Unpin>(
    stream: &mut S,
    header: &mut Vec<u8>,
) -> Result<(), ProxyError> {
    while header.last() != Some(&b'\n') {
        if header.len() == LINE_MAX || !b"PROXY ".starts_with(&header[..header.len().min(6)]) {
            return Err(ProxyError::Malformed);
        }
        header.push(stream.read_u8().await.map_err(|_| ProxyError::Missing)?);
    }
    Ok(())
}

/// Version 2 says in its first sixteen octets how many follow.
async fn read_version_2<S: AsyncRead + Unpin>(
    stream: &mut S,
    header: &mut Vec<u8>,
) -> Result<(), ProxyError> {
    header.resize(16, 0);
    stream
        .read_exact(&mut header[1..])
        .await
        .map_err(|_| ProxyError::Missing)?;
    let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if !header.starts_with(v2::PROTOCOL_PREFIX) || rest > HEADER_MAX {
        return Err(ProxyError::Malformed);
    }
    header.resize(16 + rest, 0);
    stream
        .read_exact(&mut header[16..])
        .await
        .map_err(|_| ProxyError::Missing)?;
    Ok(())
}

fn ends_of(result: HeaderResult<'_>) -> Result<Option<Ends>, ProxyError> {
    match result {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Unknown => None,
            v1::Addresses::Tcp4(ends) => Some(Ends {
                source: (ends.source_address, ends.source_port).into(),
                destination: (ends.destination_address, ends.destination_port).into(),
            }),
            v1::Addresses::Tcp6(ends) => Some(Ends {
                source: (ends.source_address, ends.source_port).into(),
                destination: (ends.destination_address, ends.destination_port).into(),
            }),
        }),
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => Ok(None),
        HeaderResult::V2(Ok(header)) => Ok(match header.addresses {
            v2::Addresses::IPv4(ends) => Some(Ends {
                source: (ends.source_address, ends.source_port).into(),
                destination: (ends.destination_address, ends.destination_port).into(),
            }),
            v2::Addresses::IPv6(ends) => Some(Ends {
                source: (ends.source_address, ends.source_port).into(),
                destination: (ends.destination_address, ends.destination_port).into(),
            }),
            v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        }),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(ProxyError::Malformed),
    }
}

/// How long a proxy has for its header: it sends it with its first packet.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest line of version 1, in octets.
const LINE_MAX: usize = 107;
/// Most octets taken after the first sixteen of version 2: far above what it is used for.
const HEADER_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut octets: &[u8]) -> (Result<Option<Ends>, ProxyError>, usize) {
        let read = read_header(&mut octets).await;
        (read, octets.len())
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_the_rest() {
        let (ends, left) = read(b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 25\r\nEHLO x\r\n").await;
        assert_eq!(
            ends.unwrap().unwrap().source,
            "192.0.2.1:4711".parse().unwrap()
        );
        assert_eq!(left, 8);

        let addresses: v2::Addresses = v2::IPv4::new([192, 0, 2, 9], [192, 0, 2, 2], 99, 25).into();
        let mut octets = v2::Builder::with_addresses(
            v2::Version::Two | v2::Command::Proxy,
            v2::Protocol::Stream,
            addresses,
        )
        .build()
        .unwrap();
        octets.extend_from_slice(b"NOOP\r\n");
        let (ends, left) = read(&octets).await;
        assert_eq!(
            ends.unwrap().unwrap().source,
            "192.0.2.9:99".parse().unwrap()
        );
        assert_eq!(left, 6);
    }

    #[tokio::test]
    async fn a_health_check_speaks_for_itself() {
        assert_eq!(read(b"PROXY UNKNOWN\r\n").await.0.unwrap(), None);
    }

    #[tokio::test]
    async fn a_client_without_a_header_is_not_believed() {
        assert!(matches!(
            read(b"EHLO client.example\r\n").await.0,
            Err(ProxyError::Malformed)
        ));
        assert!(matches!(
            read(b"PROXY TCP4 nonsense\r\n").await.0,
            Err(ProxyError::Malformed)
        ));
        assert!(matches!(
            read(b"PROXY TCP4 192.0.2.1").await.0,
            Err(ProxyError::Missing)
        ));
    }
}
