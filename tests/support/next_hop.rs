//! Next hops that protect a connection well, badly or not at all, and keep what they get.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::authority::Authority;

/// How a next hop protects its connections.
#[derive(Clone)]
pub(crate) enum Protection {
    /// STARTTLS with these settings.
    Tls(Arc<ServerConfig>),
    /// STARTTLS, and then no more than TLS 1.1.
    OldTls,
    /// STARTTLS is offered, and answered by 454: as somebody on the way does who wants to read along.
    Stripped,
    /// No STARTTLS.
    None,
}

/// A message that was taken: its recipients, and its octets as DATA carried them.
type Taken = (Vec<String>, String);

/// A next hop at 127.0.0.1.
pub(crate) struct NextHop {
    pub(crate) port: u16,
    messages: Arc<Mutex<Vec<Taken>>>,
    defers: Arc<AtomicBool>,
}

impl NextHop {
    /// One that takes everything.
    pub(crate) fn start(protection: &Protection) -> Self {
        Self::answering(protection, "250 2.0.0 taken\r\n")
    }

    /// One that answers so to every message.
    pub(crate) fn answering(protection: &Protection, answer: &'static str) -> Self {
        Self::on(
            TcpListener::bind("127.0.0.1:0").unwrap(),
            protection,
            answer,
        )
    }

    /// The same where it is told to listen.
    pub(crate) fn on(listener: TcpListener, protection: &Protection, answer: &'static str) -> Self {
        let hop = Self {
            port: listener.local_addr().unwrap().port(),
            messages: Arc::default(),
            defers: Arc::default(),
        };
        let (messages, defers) = (Arc::clone(&hop.messages), Arc::clone(&hop.defers));
        let protection = protection.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let talk = Talk {
                    answer,
                    messages: Arc::clone(&messages),
                    defers: Arc::clone(&defers),
                };
                let protection = protection.clone();
                std::thread::spawn(move || serve(stream, &protection, &talk));
            }
        });
        hop
    }

    /// The messages that it took, each with dots stuffed and its end.
    pub(crate) fn messages(&self) -> Vec<String> {
        let kept = self.messages.lock().unwrap();
        kept.iter().map(|(_, message)| message.clone()).collect()
    }

    /// The recipients of each, as they were asked for.
    pub(crate) fn recipients(&self) -> Vec<String> {
        let kept = self.messages.lock().unwrap();
        kept.iter().flat_map(|(to, _)| to.clone()).collect()
    }

    /// From now on every recipient is put off, or taken.
    pub(crate) fn defer(&self, defers: bool) {
        self.defers.store(defers, Ordering::SeqCst);
    }
}

fn serve(stream: TcpStream, protection: &Protection, talk: &Talk) -> Option<()> {
    let mut clear = BufReader::new(stream.try_clone().ok()?);
    let mut write = stream.try_clone().ok()?;
    write.write_all(b"220 next.example ESMTP\r\n").ok()?;
    if !talk.until_tls(&mut clear, &mut write, Some(protection)) {
        return None;
    }
    match protection {
        Protection::Tls(config) => {
            let tls = ServerConnection::new(Arc::clone(config)).unwrap();
            let mut tls = Shared(Arc::new(Mutex::new(StreamOwned::new(tls, stream))));
            let mut read = BufReader::new(tls.clone());
            talk.until_tls(&mut read, &mut tls, None);
        }
        Protection::OldTls => {
            clear.fill_buf().ok()?;
            write.write_all(&server_hello_of_tls_1_1()).ok()?;
            // Open until the client has read it, and leaves.
            while !clear.fill_buf().ok()?.is_empty() {
                let octets = clear.buffer().len();
                clear.consume(octets);
            }
        }
        Protection::Stripped | Protection::None => {}
    }
    Some(())
}

/// ServerHello of TLS 1.1 with TLS_RSA_WITH_AES_128_CBC_SHA (RFC 4346 §7.4.1.3).
fn server_hello_of_tls_1_1() -> Vec<u8> {
    let record = [0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    [&record[..], &[7; 32], &[0, 0x00, 0x2f, 0]].concat()
}

struct Talk {
    answer: &'static str,
    messages: Arc<Mutex<Vec<Taken>>>,
    defers: Arc<AtomicBool>,
}

impl Talk {
    /// Serves until the client leaves, or asks for TLS: then `true`.
    fn until_tls(
        &self,
        read: &mut impl BufRead,
        write: &mut impl Write,
        offers: Option<&Protection>,
    ) -> bool {
        let mut to = Vec::new();
        loop {
            let mut line = String::new();
            if read.read_line(&mut line).unwrap_or(0) == 0 {
                return false;
            }
            let word = line.split_whitespace().next().unwrap_or("").to_uppercase();
            let reply: &[u8] = match (word.as_str(), offers) {
                ("EHLO", None | Some(Protection::None)) => b"250-next.example\r\n250 8BITMIME\r\n",
                ("EHLO", _) => b"250-next.example\r\n250-8BITMIME\r\n250 STARTTLS\r\n",
                ("STARTTLS", Some(Protection::Stripped)) => b"454 4.7.0 not now\r\n",
                ("STARTTLS", _) => {
                    write.write_all(b"220 go\r\n").ok();
                    return true;
                }
                ("MAIL", _) => {
                    to.clear();
                    b"250 2.1.0 ok\r\n"
                }
                ("RCPT", _) if self.defers.load(Ordering::SeqCst) => b"451 4.3.0 later\r\n",
                ("RCPT", _) => {
                    let path = line.split(['<', '>']).nth(1).unwrap_or_default();
                    to.push(path.to_owned());
                    b"250 2.1.5 ok\r\n"
                }
                ("DATA", _) => {
                    write.write_all(b"354 go\r\n").ok();
                    write.flush().ok();
                    let message = whole(read);
                    self.messages.lock().unwrap().push((to.clone(), message));
                    self.answer.as_bytes()
                }
                _ => b"250 2.0.0 ok\r\n",
            };
            if write.write_all(reply).and_then(|()| write.flush()).is_err() {
                return false;
            }
        }
    }
}

fn whole(read: &mut impl BufRead) -> String {
    let mut message = Vec::new();
    while !message.ends_with(b"\r\n.\r\n") && read.read_until(b'\n', &mut message).unwrap_or(0) > 0
    {
    }
    String::from_utf8_lossy(&message).into_owned()
}

/// One TLS stream for reading and writing in turn.
#[derive(Clone)]
struct Shared(Arc<Mutex<StreamOwned<ServerConnection, TcpStream>>>);

impl Read for Shared {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().read(into)
    }
}

impl Write for Shared {
    fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(from)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.lock().unwrap().flush()
    }
}

/// A route for each of these patterns to its next hop, under TLS if it can be had, tried every second.
pub(crate) fn routes(policies: &Path, authority: &Authority, hops: &[(&str, &NextHop)]) {
    fs::write(policies.join("ca.pem"), authority.pem()).unwrap();
    let routes: String = hops
        .iter()
        .map(|(pattern, hop)| {
            format!(
                "[[route]]\nname = \"{pattern}\"\nrecipients = [\"{pattern}\"]\nsmart-host = \"127.0.0.1:{}\"\n\
                 tls = \"opportunistic\"\nretry = [\"1s\"]\n",
                hop.port
            )
        })
        .collect();
    let before = "[[route]]\nname = \"everything\"";
    edit(
        policies,
        "postern.toml",
        before,
        &format!("{routes}\n{before}"),
    );
    let trusting = "[delivery]\nca = \"ca.pem\"\n";
    edit(policies, "postern.toml", "[delivery]\n", trusting);
}

/// An entry of the register of secure domains, with more lines in it.
pub(crate) fn secure_domain(policies: &Path, domain: &str, more: &str) {
    let file = policies.join("secure-domains.toml");
    let mut text = fs::read_to_string(&file).unwrap();
    text += &format!(
        "\n[[domain]]\npattern = \"{domain}\"\nowner = \"test\"\nreason = \"test\"\n{more}\n"
    );
    fs::write(file, text).unwrap();
}

/// Changes a policy file where it says so.
pub(crate) fn edit(policies: &Path, file: &str, from: &str, to: &str) {
    let file = policies.join(file);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from} in {}", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}
