//! Scanners of others, each with a folder and ports of its own, that end with the test.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{free_port, installed, wait_for};

/// The file that every virus scanner takes for a virus (eicar.org), harmless.
pub(crate) const EICAR: &str =
    r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";

/// ClamAV's daemon, with a database of one signature.
pub(crate) struct Clamd {
    process: Process,
    port: u16,
}

impl Clamd {
    /// Starts it; `None` if it is not installed.
    pub(crate) fn start() -> Option<Self> {
        Self::start_at(free_port())
    }

    /// The same, at this port.
    pub(crate) fn start_at(port: u16) -> Option<Self> {
        if !installed("clamd") {
            return None;
        }
        let folder = folder();
        let path = folder.path().display();
        let signature: String = EICAR.bytes().map(|octet| format!("{octet:02x}")).collect();
        let database = format!("Eicar-Test:0:*:{signature}\n");
        fs::write(folder.path().join("test.ndb"), database).expect("a database");
        let settings = format!(
            "Foreground yes\nDatabaseDirectory {path}\nLocalSocket {path}/clamd.ctl\nTCPSocket {port}\n\
             TCPAddr 127.0.0.1\nLogFile {path}/clamd.log\nTemporaryDirectory {path}\n"
        );
        let file = folder.path().join("clamd.conf");
        fs::write(&file, settings).expect("settings");
        let mut command = Command::new("clamd");
        command.arg("--config-file").arg(&file);
        let process = Process::start(command, folder, port);
        Some(Self { process, port })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port alone.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its socket in the file system.
    pub(crate) fn socket(&self) -> String {
        let path = self.process.folder.path().join("clamd.ctl");
        path.display().to_string()
    }
}

/// Rspamd as the distribution ships it, with its worker on a port of its own, and no redis.
pub(crate) struct Rspamd {
    _process: Process,
    port: u16,
}

impl Rspamd {
    /// Starts it; `None` if it is not installed.
    pub(crate) fn start() -> Option<Self> {
        if !installed("rspamd") {
            return None;
        }
        let (folder, port) = (folder(), free_port());
        let path = folder.path().display();
        let settings = format!(
            "options {{ pidfile = \"{path}/rspamd.pid\"; tempdir = \"{path}\";\n\
             dns {{ nameserver = [\"127.0.0.1:1\"]; timeout = 0.1s; retransmits = 1; }} }}\n\
             logging {{ type = \"file\"; filename = \"{path}/rspamd.log\"; level = \"info\"; }}\n\
             worker \"normal\" {{ bind_socket = \"127.0.0.1:{port}\"; count = 1; }}\n\
             metric {{ name = \"default\"; actions {{ reject = 15; add_header = 6; }} }}\n"
        );
        let file = folder.path().join("rspamd.conf");
        fs::write(&file, settings).expect("settings");
        let mut command = Command::new("rspamd");
        command
            .args(["--no-fork", "--insecure", "--config"])
            .arg(&file);
        command.arg("--var").arg(format!("DBDIR={path}"));
        command.arg("--var").arg(format!("RUNDIR={path}"));
        let process = Process::start(command, folder, port);
        Some(Self {
            _process: process,
            port,
        })
    }

    /// Where its worker listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

struct Process {
    child: Child,
    folder: tempfile::TempDir,
}

impl Process {
    fn start(mut command: Command, folder: tempfile::TempDir, port: u16) -> Self {
        let said = fs::File::create(folder.path().join("said.txt")).expect("a file");
        let child = command
            .stdout(said.try_clone().expect("the same file"))
            .stderr(said)
            .stdin(Stdio::null())
            .spawn()
            .expect("a scanner");
        let mut process = Self { child, folder };
        wait_for("a scanner to listen", || {
            let ended = process.child.try_wait().expect("its state");
            assert!(ended.is_none(), "it ended at once: {}", process.said());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        process
    }

    fn said(&self) -> String {
        let read = |name: &Path| fs::read_to_string(name).unwrap_or_default();
        read(&self.folder.path().join("said.txt"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked, not killed: the workers of rspamd outlive a main process that does not tell them to end.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        for _ in 0..500 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its own, and short: the path of a socket has 107 octets at most.
fn folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("scan")
        .tempdir_in("/tmp")
        .expect("a folder")
}
