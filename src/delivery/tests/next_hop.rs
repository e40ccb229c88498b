//! A next hop that writes down what it is told and answers as a test wants.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::delivery::HostPort;
use crate::delivery::wire::Stream;

/// What it answers in place of the usual.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Say(&'static str),
    SayAndHangUp(&'static str),
    HangUp,
    /// Says nothing and goes on reading.
    Nothing,
    /// The usual, once it is told to.
    WaitFor(Arc<Notify>),
    /// Octets that are no TLS, in place of a handshake.
    BrokenTls,
}

/// How it behaves.
#[derive(Default)]
pub(super) struct Script {
    offers: Vec<&'static str>,
    /// For a command that begins so: what is done, the first time, the second time, and so on.
    acts: Mutex<HashMap<&'static str, Vec<Act>>>,
    tls: Option<TlsAcceptor>,
    lmtp: bool,
}

impl Script {
    pub(super) fn offering(offers: &[&'static str]) -> Self {
        Self {
            offers: offers.to_vec(),
            ..Self::default()
        }
    }

    /// What is done at a command, or at `greeting`, `message` or `idle` (right after a reply to a
    /// message). The act is used up.
    pub(super) fn at(self, command: &'static str, act: Act) -> Self {
        let mut acts = self.acts.lock().unwrap();
        acts.entry(command).or_default().push(act);
        drop(acts);
        self
    }

    pub(super) fn with_tls(mut self, acceptor: TlsAcceptor) -> Self {
        self.tls = Some(acceptor);
        self.offers.push("STARTTLS");
        self
    }

    pub(super) fn speaking_lmtp(mut self) -> Self {
        self.lmtp = true;
        self
    }

    fn act_at(&self, line: &str) -> Option<Act> {
        let mut acts = self.acts.lock().unwrap();
        let (_, list) = acts
            .iter_mut()
            .find(|(command, list)| line.starts_with(**command) && !list.is_empty())?;
        Some(list.remove(0))
    }
}

/// What it was told.
#[derive(Default)]
pub(super) struct Log {
    /// Each line, with the number of its connection from 1.
    pub(super) lines: Vec<(usize, String)>,
    /// The octets of each message that was received whole.
    pub(super) messages: Vec<Vec<u8>>,
    pub(super) connections: usize,
}

pub(super) struct NextHop {
    pub(super) address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

impl NextHop {
    pub(super) async fn start(script: Script) -> Self {
        Self::start_at("127.0.0.1:0", script).await
    }

    pub(super) async fn start_at(address: &str, script: Script) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (log, script) = (Arc::new(Mutex::new(Log::default())), Arc::new(script));
        let shared = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                begin(Box::new(stream), &script, &shared);
            }
        });
        Self { address, log }
    }

    pub(super) fn start_at_socket(path: &Path, script: Script) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let (log, script) = (Arc::new(Mutex::new(Log::default())), Arc::new(script));
        let shared = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                begin(Box::new(stream), &script, &shared);
            }
        });
        Self {
            address: ([127, 0, 0, 1], 0).into(),
            log,
        }
    }

    pub(super) fn host_port(&self) -> HostPort {
        HostPort {
            host: self.address.ip().to_string(),
            port: self.address.port(),
        }
    }

    pub(super) fn messages(&self) -> Vec<Vec<u8>> {
        self.log.lock().unwrap().messages.clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.log.lock().unwrap().connections
    }

    /// The lines told on connection `number`, from 1.
    pub(super) fn lines_of(&self, number: usize) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let lines = log.lines.iter().filter(|(n, _)| *n == number);
        lines.map(|(_, line)| line.clone()).collect()
    }
}

fn begin(stream: Box<dyn Stream>, script: &Arc<Script>, log: &Arc<Mutex<Log>>) {
    let (script, log) = (Arc::clone(script), Arc::clone(log));
    tokio::spawn(async move {
        let number = {
            let mut log = log.lock().unwrap();
            log.connections += 1;
            log.connections
        };
        let mut session = Session {
            stream: BufReader::new(stream),
            script: &script,
            log: &log,
            number,
            accepted: 0,
            secured: false,
        };
        // A connection that is lost is what some tests want.
        let _ = session.serve().await;
    });
}

struct Session<'a> {
    stream: BufReader<Box<dyn Stream>>,
    script: &'a Script,
    log: &'a Mutex<Log>,
    number: usize,
    accepted: usize,
    secured: bool,
}

/// The connection is over.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Session<'_> {
    async fn serve(&mut self) -> Result<(), Over> {
        self.answer("greeting", "220 hop.example ESMTP").await?;
        loop {
            let mut line = Vec::new();
            if self.stream.read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            let line = String::from_utf8(line).unwrap();
            assert!(
                line.ends_with("\r\n") && !line.trim_end().contains('\r'),
                "{line:?}"
            );
            let line = line.trim_end().to_owned();
            self.note(&line);
            self.obey(&line).await?;
        }
    }

    fn note(&self, line: &str) {
        let mut log = self.log.lock().unwrap();
        log.lines.push((self.number, line.to_owned()));
    }

    async fn obey(&mut self, line: &str) -> Result<(), Over> {
        let verb = line.split(' ').next().unwrap_or_default();
        match verb {
            "EHLO" | "LHLO" => {
                assert_eq!(verb == "LHLO", self.script.lmtp);
                let hello = self.hello();
                self.answer(line, &hello).await?;
            }
            "STARTTLS" => self.start_tls(line).await?,
            "RCPT" => {
                if self.answer(line, "250 2.1.5 ok").await? {
                    self.accepted += 1;
                }
            }
            "DATA" if self.accepted == 0 => {
                self.answer(line, "554 5.5.1 no valid recipients").await?;
            }
            "DATA" => {
                if self.answer(line, "354 go ahead").await? {
                    let message = self.read_data().await?;
                    self.take(message).await?;
                }
            }
            "BDAT" => {
                let mut words = line.split(' ');
                let length = words.nth(1).unwrap().parse().unwrap();
                assert_eq!(words.next(), Some("LAST"));
                let mut message = vec![0; length];
                self.stream.read_exact(&mut message).await?;
                if self.accepted == 0 {
                    self.answer(line, "554 5.5.1 no valid recipients").await?;
                } else {
                    self.take(message).await?;
                }
            }
            "QUIT" => {
                self.answer(line, "221 2.0.0 bye").await?;
                return Err(Over);
            }
            "AUTH" => drop(self.answer(line, "235 2.7.0 welcome").await?),
            _ => {
                self.accepted = 0;
                self.answer(line, "250 2.0.0 ok").await?;
            }
        }
        Ok(())
    }

    fn hello(&self) -> String {
        let offers = self.script.offers.iter();
        let offers = offers.filter(|offer| !self.secured || **offer != "STARTTLS");
        let mut lines = vec!["hop.example".to_owned()];
        lines.extend(offers.map(|offer| (*offer).to_owned()));
        let last = lines.pop().unwrap();
        let first = lines.iter().map(|line| format!("250-{line}\r\n"));
        format!("{}250 {last}", first.collect::<String>())
    }

    async fn start_tls(&mut self, line: &str) -> Result<(), Over> {
        if !self.answer(line, "220 2.0.0 go").await? {
            return Ok(());
        }
        let stream = std::mem::replace(
            &mut self.stream,
            BufReader::new(Box::new(tokio::io::empty())),
        );
        let acceptor = self.script.tls.clone().unwrap();
        let stream = acceptor.accept(stream.into_inner()).await?;
        self.stream = BufReader::new(Box::new(stream));
        self.secured = true;
        Ok(())
    }

    /// Reads to a dot alone on its line, and takes the dots off as naively as can be.
    async fn read_data(&mut self) -> Result<Vec<u8>, Over> {
        let mut message = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.stream.read_until(b'\n', &mut line).await? == 0 {
                return Err(Over);
            }
            match line.strip_prefix(b".") {
                Some(b"\r\n") => return Ok(message),
                Some(rest) => message.extend_from_slice(rest),
                None => message.extend_from_slice(&line),
            }
        }
    }

    async fn take(&mut self, message: Vec<u8>) -> Result<(), Over> {
        self.log.lock().unwrap().messages.push(message);
        let replies = if self.script.lmtp { self.accepted } else { 1 };
        self.accepted = 0;
        for _ in 0..replies {
            self.answer("message", "250 2.0.0 queued").await?;
        }
        match self.script.act_at("idle") {
            None => Ok(()),
            Some(Act::Say(line)) => self.say(line).await,
            Some(_) => Err(Over),
        }
    }

    /// Answers as the script says, or as usual. Returns whether it was as usual.
    async fn answer(&mut self, line: &str, usual: &str) -> Result<bool, Over> {
        match self.script.act_at(line) {
            None => self.say(usual).await.map(|()| true),
            Some(Act::Say(reply)) => self.say(reply).await.map(|()| false),
            Some(Act::Nothing) => Ok(false),
            Some(Act::WaitFor(gate)) => {
                gate.notified().await;
                self.say(usual).await.map(|()| true)
            }
            Some(Act::HangUp) => Err(Over),
            Some(Act::SayAndHangUp(reply)) => {
                self.say(reply).await?;
                Err(Over)
            }
            Some(Act::BrokenTls) => {
                self.say("220 2.0.0 go").await?;
                self.say("500 5.5.1 what is this").await?;
                Err(Over)
            }
        }
    }

    async fn say(&mut self, reply: &str) -> Result<(), Over> {
        self.stream
            .write_all(format!("{reply}\r\n").as_bytes())
            .await?;
        Ok(self.stream.flush().await?)
    }
}
