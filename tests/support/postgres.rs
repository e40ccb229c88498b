//! A PostgreSQL of the tests' own: a cluster in a temporary folder, reached over a Unix socket, with `fsync` on.
//!
//! A guard process starts it and waits for the end of its standard input, which is the end of the test, however
//! that ends; then it stops the server and removes the folder. PostgreSQL does not run as root: where the
//! tests do, it runs as the user `postgres`.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// A server.
pub(crate) struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    guard: Mutex<(Child, BufReader<ChildStdout>)>,
    databases: AtomicU32,
}

/// A database in it.
pub(crate) struct Database {
    /// As it stands in `[store]`.
    pub(crate) name: String,
    programs: PathBuf,
}

impl Cluster {
    /// The one of this test binary; `None`, and a word about it, where PostgreSQL is not installed.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// One of its own, for a test that breaks it.
    pub(crate) fn start() -> Option<Self> {
        Self::start_on("", 5432)
    }

    /// The same, which listens on an address of the network as well.
    pub(crate) fn start_on(address: &str, port: u16) -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("skipped for PostgreSQL: there is no initdb");
            return None;
        };
        let folder = tempfile::Builder::new()
            .prefix("postern-pg-")
            .tempdir_in("/tmp");
        let folder = folder.unwrap().keep();
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .args([&programs, &folder])
            .args([address, &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Not ended with the tests from the terminal: it has something to do then.
            .process_group(0)
            .spawn()
            .unwrap();
        let said = BufReader::new(guard.stdout.take().unwrap());
        let cluster = Self {
            folder,
            programs,
            port,
            guard: Mutex::new((guard, said)),
            databases: AtomicU32::new(0),
        };
        cluster.hear("ready");
        Some(cluster)
    }

    /// Kills the server with all that it has in hand, as a power cut would, and starts it again.
    pub(crate) fn crash(&self) {
        self.tell("crash");
        self.hear("ready");
    }

    /// Where its files are.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Makes a database.
    pub(crate) fn database(&self) -> Database {
        let number = self.databases.fetch_add(1, Ordering::SeqCst);
        let of = |name: &str| Database {
            name: format!(
                "host={} port={} user=postern dbname={name}",
                self.folder.display(),
                self.port
            ),
            programs: self.programs.clone(),
        };
        let name = format!("test{number}");
        of("postgres").sql(&format!("CREATE DATABASE {name} TEMPLATE template0"));
        of(&name)
    }

    fn tell(&self, word: &str) {
        let mut guard = self.guard.lock().unwrap();
        writeln!(guard.0.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    fn hear(&self, word: &str) {
        let mut line = String::new();
        self.guard.lock().unwrap().1.read_line(&mut line).unwrap();
        let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        assert_eq!(line.trim(), word, "{}", log());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut guard = self.guard.lock().unwrap();
        drop(guard.0.stdin.take());
        let _ = guard.0.wait();
    }
}

impl Database {
    /// Runs statements beside the store, and returns what they print.
    pub(crate) fn sql(&self, statements: &str) -> String {
        let output = Command::new(self.programs.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                statements,
            ])
            .arg(&self.name)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Where the programs of a server are: Debian keeps them out of the way.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").exists() && folder.join("psql").exists())
}

/// Arguments: the folder of the programs, the folder of the cluster.
const GUARD: &str = r#"
bin=$1 folder=$2 address=$3 port=$4
chmod 700 "$folder"
if [ "$(id -u)" = 0 ]; then
    chown postgres "$folder"
    as() { runuser -u postgres -- "$@"; }
else
    as() { "$@"; }
fi
cd "$folder"
start() {
    tries=0
    # What a killed server had begun has to end first.
    until as "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w -t 60 \
        -o "-k '$folder' -c listen_addresses='$address' -c port=$port -c max_connections=200 -c fsync=on" start >/dev/null 2>&1 </dev/null
    do
        tries=$((tries + 1))
        if [ "$tries" -gt 100 ]; then echo "no start"; return; fi
        sleep 0.2
    done
    echo ready
}
if as "$bin/initdb" -D "$folder/data" -U postern -A trust -E UTF8 --no-locale >"$folder/initdb.log" 2>&1 </dev/null; then
    start
    while read -r word; do
        kill -9 "$(head -1 "$folder/data/postmaster.pid")"
        start
    done
    as "$bin/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 </dev/null
else
    echo "initdb failed"
fi
cd /
rm -rf "$folder"
"#;
