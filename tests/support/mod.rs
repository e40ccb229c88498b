//! What the end-to-end tests share: a whole gateway on free ports, a plain client, waiting for mail.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod corpus;
pub(crate) mod programs;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A gateway of its own process, with the shipped policies, free ports and a folder that goes with it.
pub(crate) struct Gateway {
    child: Child,
    pub folder: tempfile::TempDir,
    pub relay: u16,
    pub submission: u16,
    pub submissions: u16,
    pub metrics: u16,
}

impl Gateway {
    /// Starts one with the shipped policy.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| ())
    }

    /// Starts one after `change` has had its way with the copy of the policy folder.
    pub(crate) fn start_with(change: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [relay, submission, submissions, metrics] = std::array::from_fn(|_| free_port());
        let policies = folder.path().join("policies");
        copy(&root().join("policies"), &policies);
        let main = policies.join("postern.toml");
        let text = fs::read_to_string(&main)
            .expect("postern.toml")
            .replace("\"127.0.0.1:2525\"", &format!("\"127.0.0.1:{relay}\""))
            .replace("\"127.0.0.1:2587\"", &format!("\"127.0.0.1:{submission}\""))
            .replace(
                "\"127.0.0.1:2465\"",
                &format!("\"127.0.0.1:{submissions}\""),
            )
            .replace("127.0.0.1:9925", &format!("127.0.0.1:{metrics}"));
        fs::write(&main, text).expect("a copy of postern.toml");
        change(&policies);
        let child = spawn(folder.path());
        let mut gateway = Self {
            child,
            folder,
            relay,
            submission,
            submissions,
            metrics,
        };
        gateway.wait_until_up();
        gateway
    }

    /// The policy folder's main file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("policies/postern.toml")
    }

    /// What it has said so far on its standard error stream: the log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join(LOG)).expect("a log")
    }

    /// What it shows on the terminal once it has started.
    pub(crate) fn banner(&self) -> String {
        wait_for("the banner", || {
            let text = fs::read_to_string(self.folder.path().join(BANNER)).ok()?;
            text.contains("Stop with Ctrl-C").then_some(text)
        })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill -9");
        self.child.wait().expect("its end");
    }

    /// Asks it to stop, as an administrator does, and returns whether it ended well.
    pub(crate) fn terminate(&mut self) -> bool {
        self.signal("-TERM");
        self.wait()
    }

    /// Waits for it to end, and returns whether it ended well.
    pub(crate) fn wait(&mut self) -> bool {
        wait_for("the gateway to end", || {
            self.child.try_wait().expect("its state")
        })
        .success()
    }

    /// Sends it a signal: `-HUP`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("kill").success());
    }

    /// Starts it again on the same folder.
    pub(crate) fn restart(&mut self) {
        self.restart_after(|_| ());
    }

    /// The same, but `meanwhile` comes before it is waited for.
    pub(crate) fn restart_after(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.child = spawn(self.folder.path());
        meanwhile(self);
        self.wait_until_up();
    }

    /// Runs a command of the same binary on the same configuration.
    pub(crate) fn postern(&self, args: &[&str]) -> std::process::Output {
        let config = self.config();
        Command::new(env!("CARGO_BIN_EXE_postern"))
            .arg("--config")
            .arg(config)
            .args(args)
            .output()
            .expect("postern runs")
    }

    /// A connection to the relay port, greeting read.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.relay)
    }

    /// The messages that lie in the Maildir of an address, oldest first.
    pub(crate) fn mail_for(&self, address: &str) -> Vec<Vec<u8>> {
        let (local, domain) = address.rsplit_once('@').expect("an address");
        let folder = self
            .folder
            .path()
            .join("data/maildir")
            .join(domain)
            .join(local)
            .join("new");
        let Ok(entries) = fs::read_dir(folder) else {
            return Vec::new();
        };
        let mut paths: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .collect();
        paths.sort();
        paths
            .iter()
            .map(|path| fs::read(path).expect("a message"))
            .collect()
    }

    /// Waits until `count` messages lie there.
    pub(crate) fn wait_for_mail(&self, address: &str, count: usize) -> Vec<Vec<u8>> {
        wait_for(&format!("{count} message(s) for {address}"), || {
            let mail = self.mail_for(address);
            (mail.len() >= count).then_some(mail)
        })
    }

    fn wait_until_up(&mut self) {
        let port = self.relay;
        wait_for("the gateway to listen", || {
            assert!(
                self.child.try_wait().expect("its state").is_none(),
                "the gateway ended at once"
            );
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the gateway said:\n{}", self.log());
        }
    }
}

/// A plain SMTP client that says exactly what it is told to.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects and reads the greeting.
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        Self::over(stream)
    }

    /// Reads the greeting off a connection.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a time-out");
        stream.set_nodelay(true).expect("no delay");
        let mut client = Self {
            stream: BufReader::new(stream),
        };
        assert!(client.reply().starts_with("220 "));
        client
    }

    /// Sends octets as they are.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.stream
            .get_mut()
            .write_all(octets)
            .expect("octets go out");
    }

    /// Sends octets, or says that the connection is gone.
    pub(crate) fn try_send(&mut self, octets: &[u8]) -> Option<()> {
        self.stream.get_mut().write_all(octets).ok()
    }

    /// Reads one whole reply; its lines with their line ends.
    pub(crate) fn reply(&mut self) -> String {
        self.try_reply().expect("a reply")
    }

    /// As [`Client::reply`], or `None` if the connection is gone.
    pub(crate) fn try_reply(&mut self) -> Option<String> {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let last = line.as_bytes().get(3) == Some(&b' ');
            reply.push_str(&line);
            if last {
                return Some(reply);
            }
        }
    }

    /// Sends one command and returns its reply.
    pub(crate) fn command(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        self.reply()
    }

    /// Sends a message with dots stuffed and returns the reply to its end, or the first refusal.
    pub(crate) fn submit(&mut self, from: &str, to: &[&str], message: &[u8]) -> String {
        let mut commands = vec![format!("MAIL FROM:<{from}> BODY=8BITMIME")];
        commands.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        for command in commands {
            let reply = self.command(&command);
            if !reply.starts_with('2') {
                self.command("RSET");
                return reply;
            }
        }
        let reply = self.command("DATA");
        if !reply.starts_with("354") {
            return reply;
        }
        self.send(&stuffed(message));
        self.reply()
    }
}

/// The message as DATA carries it, with the end of data.
pub(crate) fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 8);
    let mut at_line_start = true;
    for &octet in message {
        if at_line_start && octet == b'.' {
            out.push(b'.');
        }
        out.push(octet);
        at_line_start = octet == b'\n';
    }
    if !message.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// Waits until `probe` has an answer, for a minute at most.
pub(crate) fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a program can be run; says that the test is skipped if not.
pub(crate) fn installed(program: &str) -> bool {
    let there = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

/// The folder of the checkout.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A port that nobody listens on, given out once: below those that the system gives to clients, which could be
/// taken again before a gateway listens there.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let of_this_process = std::process::id() * 64;
    for _ in 0..PORTS {
        let nth = of_this_process + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT + u16::try_from(nth % PORTS).expect("fewer than all ports");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("a free port")
}

const FIRST_PORT: u16 = 12_000;
const PORTS: u32 = 20_000;

fn spawn(folder: &Path) -> Child {
    let file = |name| {
        let mut options = fs::File::options();
        options
            .create(true)
            .append(true)
            .open(folder.join(name))
            .expect("a file for its words")
    };
    Command::new(env!("CARGO_BIN_EXE_postern"))
        .arg("--config")
        .arg(folder.join("policies/postern.toml"))
        .arg("serve")
        .stdout(file(BANNER))
        .stderr(file(LOG))
        .spawn()
        .expect("the gateway starts")
}

/// Where the standard streams of a gateway go.
const LOG: &str = "log.txt";
const BANNER: &str = "banner.txt";

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder to copy") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}
