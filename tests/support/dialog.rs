//! Plays a conversation that is written down in a file.
//!
//! ```text
//! # what it shows, with its RFC section
//! on: submission            the listener; `relay` if left out
//! C: NOOP                   a line to send; lines that follow one another go out in one write
//! C+ half a line            the same without CRLF; \r \n \t \0 \\ and \xHH are octets
//! S: 250 2.0.0              the start of the last line of the next reply
//! S+ SIZE                   a keyword that this reply offers (EHLO)
//! S- AUTH                   one that it does not
//! TLS                       the client's handshake
//! closed                    the server has closed, and said nothing more
//! ```

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};

/// Where the listeners of a gateway are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) relay: u16,
    pub(crate) submission: u16,
    pub(crate) submissions: u16,
}

/// Plays all of it; an error says at which line what went otherwise.
pub(crate) fn play(script: &str, ports: Ports) -> Result<(), String> {
    let mut peer = None;
    for (number, line) in (1..).zip(script.lines()) {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("on: ") {
            peer = Some(Peer::connect(name, ports));
            continue;
        }
        let peer = peer.get_or_insert_with(|| Peer::connect("relay", ports));
        peer.act(line)
            .map_err(|wrong| format!("line {number}, `{line}`: {wrong}"))?;
    }
    Ok(())
}

/// The client's side of a conversation.
struct Peer {
    stream: Stream,
    unsent: Vec<u8>,
    received: Vec<u8>,
    reply: Vec<String>,
}

enum Stream {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Broken,
}

impl Peer {
    fn connect(listener: &str, ports: Ports) -> Self {
        let port = match listener {
            "relay" => ports.relay,
            "submission" => ports.submission,
            "submissions" => ports.submissions,
            other => panic!("no listener {other}"),
        };
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream: Stream::Clear(stream),
            unsent: Vec::new(),
            received: Vec::new(),
            reply: Vec::new(),
        }
    }

    fn act(&mut self, line: &str) -> Result<(), String> {
        if let Some(text) = line.strip_prefix("C: ") {
            self.unsent.extend_from_slice(&octets(text));
            self.unsent.extend_from_slice(b"\r\n");
            return Ok(());
        }
        if line == "C:" {
            self.unsent.extend_from_slice(b"\r\n");
            return Ok(());
        }
        if let Some(text) = line.strip_prefix("C+ ") {
            self.unsent.extend_from_slice(&octets(text));
            return Ok(());
        }
        self.send()?;
        if let Some(start) = line.strip_prefix("S: ") {
            self.expect(start)
        } else if let Some(keyword) = line.strip_prefix("S+ ") {
            self.offers(keyword)
                .then_some(())
                .ok_or_else(|| format!("{:?}", self.reply))
        } else if let Some(keyword) = line.strip_prefix("S- ") {
            (!self.offers(keyword))
                .then_some(())
                .ok_or_else(|| format!("{:?}", self.reply))
        } else if line == "TLS" {
            self.handshake()
        } else if line == "closed" {
            self.expect_end()
        } else {
            Err("not a line of a conversation".to_owned())
        }
    }

    fn send(&mut self) -> Result<(), String> {
        let unsent = std::mem::take(&mut self.unsent);
        let sent = match &mut self.stream {
            Stream::Clear(stream) => stream.write_all(&unsent),
            Stream::Tls(stream) => stream.write_all(&unsent).and_then(|()| stream.flush()),
            Stream::Broken => return Err("the handshake failed".to_owned()),
        };
        sent.map_err(|error| format!("cannot send: {error}"))
    }

    fn expect(&mut self, start: &str) -> Result<(), String> {
        self.reply.clear();
        loop {
            let line = self.line()?;
            let last = line.as_bytes().get(3) != Some(&b'-');
            self.reply.push(line);
            if last {
                break;
            }
        }
        let last = &self.reply[self.reply.len() - 1];
        last.starts_with(start)
            .then_some(())
            .ok_or_else(|| format!("the server says `{last}`"))
    }

    fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(at) = self.received.windows(2).position(|pair| pair == b"\r\n") {
                let rest = self.received.split_off(at + 2);
                let line = std::mem::replace(&mut self.received, rest);
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.receive()? {
                return Err("the server has closed".to_owned());
            }
        }
    }

    /// Reads what comes; false at the end.
    fn receive(&mut self) -> Result<bool, String> {
        let mut piece = [0; 4_096];
        let read = match &mut self.stream {
            Stream::Clear(stream) => stream.read(&mut piece),
            Stream::Tls(stream) => stream.read(&mut piece),
            Stream::Broken => return Ok(false),
        };
        match read {
            Ok(octets) => {
                self.received.extend_from_slice(&piece[..octets]);
                Ok(octets > 0)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(format!("nothing comes: {error}")),
        }
    }

    fn offers(&self, keyword: &str) -> bool {
        self.reply.iter().any(|line| {
            line.get(4..)
                .is_some_and(|text| text == keyword || text.split(' ').next() == Some(keyword))
        })
    }

    fn expect_end(&mut self) -> Result<(), String> {
        while self.receive()? {}
        self.received.is_empty().then_some(()).ok_or_else(|| {
            format!(
                "it said more: {:?}",
                String::from_utf8_lossy(&self.received)
            )
        })
    }

    fn handshake(&mut self) -> Result<(), String> {
        let Stream::Clear(stream) = std::mem::replace(&mut self.stream, Stream::Broken) else {
            return Err("TLS is up already".to_owned());
        };
        let name = ServerName::try_from("gateway.bumbleton.example").expect("a name");
        let connection =
            ClientConnection::new(config(), name).map_err(|error| error.to_string())?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream
                .conn
                .complete_io(&mut stream.sock)
                .map_err(|error| format!("handshake: {error}"))?;
        }
        self.stream = Stream::Tls(Box::new(stream));
        Ok(())
    }
}

fn octets(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        out.push(match chars.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).expect("two hexadecimal digits")
            }
            other => panic!("\\{other:?} is no octet"),
        });
    }
    out
}

pub(crate) fn config() -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    Arc::new(config)
}

/// The certificates of a test are nobody's.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
