//! A Postfix of its own: folders, settings and ports that no other one has. It ends with the test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::wait_for;

/// One that takes mail for every domain, into one Maildir.
pub(crate) struct Postfix {
    child: Child,
    folder: tempfile::TempDir,
}

/// A place where it listens (an address and a port), and what is different there, as in `master.cf`:
/// `smtpd_tls_security_level=none`.
pub(crate) type Service = (String, Vec<String>);

impl Postfix {
    /// Starts one with more settings for `main.cf`, more lines for `master.cf`, and files beside these; `None`, and
    /// says so, if it cannot be had.
    pub(crate) fn start(
        services: &[Service],
        main: &str,
        master: &str,
        files: &[(&str, String)],
    ) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("skipped: {PROGRAM} is not installed");
            return None;
        }
        let (uid, gid) = user("postfix")?;
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            eprintln!("skipped: Postfix can be started by root alone");
            return None;
        }
        for (address, _) in services {
            if let Err(error) = std::net::TcpListener::bind(address) {
                eprintln!("skipped: {address}: {error}");
                return None;
            }
        }
        let folder = tempfile::Builder::new()
            .prefix("postfix")
            .tempdir_in("/tmp")
            .unwrap();
        let open = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        open(folder.path());
        for (name, owned) in [
            ("conf", false),
            ("queue", false),
            ("data", true),
            ("mail", true),
        ] {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            open(&path);
            if owned {
                chown(&path, Some(uid), Some(gid)).unwrap();
            }
        }
        let path = folder.path().display();
        let conf = folder.path().join("conf");
        let base = BASE.replace("FOLDER", &path.to_string());
        let ids = format!(
            "virtual_uid_maps = static:{uid}\nvirtual_gid_maps = static:{gid}\nvirtual_minimum_uid = 1\n"
        );
        let at_home = |text: &str| text.replace("FOLDER", &conf.display().to_string());
        fs::write(conf.join("main.cf"), base + &ids + &at_home(main)).unwrap();
        let mut lines = SERVICES.to_owned() + &at_home(master);
        for (address, options) in services {
            let _ = writeln!(lines, "{address} inet n - n - - smtpd");
            for option in options {
                let _ = writeln!(lines, "  -o {}", at_home(option));
            }
        }
        fs::write(conf.join("master.cf"), lines).unwrap();
        for (name, text) in files {
            fs::write(conf.join(name), text).unwrap();
        }
        let said = fs::File::create(folder.path().join("said.txt")).unwrap();
        let child = Command::new(PROGRAM)
            .arg("-c")
            .arg(&conf)
            .arg("start-fg")
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        let mut postfix = Self { child, folder };
        wait_for("Postfix to listen", || {
            let ended = postfix.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended at once: {}", postfix.log());
            let up = services
                .iter()
                .all(|(at, _)| TcpStream::connect(at).is_ok());
            up.then_some(())
        });
        Some(postfix)
    }

    /// The messages that came for an address, in no order, as Postfix wrote them: its own fields first, and line ends
    /// of Unix.
    pub(crate) fn mail_for(&self, address: &str) -> Vec<Vec<u8>> {
        let folder = self.folder.path().join("mail/all/new");
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let mail = files.filter_map(|file| fs::read(file.path()).ok());
        let to = format!("\nX-Original-To: {address}\n").into_bytes();
        mail.filter(|message| message.windows(to.len()).any(|part| part == to))
            .collect()
    }

    /// Files in a folder of its queue: `hold`.
    pub(crate) fn queued(&self, folder: &str) -> usize {
        let folder: PathBuf = self.folder.path().join("queue").join(folder);
        fs::read_dir(folder).map_or(0, Iterator::count)
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("said.txt") + &read("queue/log")
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("Postfix said:\n{}", self.log());
        }
        // Its master ends all that it started; the program that started the master ends after it.
        let pid = self.folder.path().join("queue/pid/master.pid");
        let pid = fs::read_to_string(pid).unwrap_or_default();
        let _ = Command::new("kill").args(["-TERM", pid.trim()]).status();
        let _ = self.child.wait();
    }
}

/// Who a user is; `None`, and says so, if there is none of that name.
fn user(name: &str) -> Option<(u32, u32)> {
    let all = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = all.lines().find_map(|line| {
        let mut fields = line.split(':');
        let named = fields.next() == Some(name);
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        named.then_some((uid, gid))
    });
    if found.is_none() {
        eprintln!("skipped: there is no user {name}");
    }
    found
}

const PROGRAM: &str = "/usr/sbin/postfix";

/// Nothing is added to what comes but trace fields; certificates and limits are for each service to say.
const BASE: &str = "compatibility_level = 3.6
config_directory = FOLDER/conf
queue_directory = FOLDER/queue
data_directory = FOLDER/data
maillog_file = FOLDER/queue/log
maillog_file_prefixes = FOLDER
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.example
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
local_header_rewrite_clients =
virtual_mailbox_domains = static:ALL
virtual_mailbox_maps = static:all/
virtual_mailbox_base = FOLDER/mail
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_recipient_restrictions =
smtpd_tls_received_header = yes
smtpd_tls_security_level = may
smtpd_error_sleep_time = 0
";

const SERVICES: &str = "cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
pickup unix n - n 60 1 pickup
flush unix n - n 1000? 0 flush
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
";
