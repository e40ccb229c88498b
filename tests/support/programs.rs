//! Programs of others, as the tests run them: OpenSSL for keys and certificates, Python for clients and servers; and our
//! own, which makes keys of DKIM.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::root;

/// What OpenSSL prints, run in this folder.
pub(crate) fn openssl(folder: &Path, args: &[&str]) -> Vec<u8> {
    let ran = Command::new("openssl")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{args:?}: {said}");
    ran.stdout
}

/// Makes a key and a certificate in a folder: `NAME.key`, `NAME.pem`, and both in `NAME.both.pem`, which is returned.
/// `more` goes to `openssl req`; without it the certificate is of its own signature, and an authority.
pub(crate) fn certificate(folder: &Path, name: &str, days: u32, more: &[&str]) -> PathBuf {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
    let (subject, days) = (format!("/CN={name}"), days.to_string());
    let made = ["req", "-x509", "-newkey", "ec", "-nodes"];
    let of = ["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", &subject];
    let into = ["-days", &days, "-keyout", &key, "-out", &certificate];
    openssl(folder, &[&made[..], &of, &into, more].concat());
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("a file");
    let both = folder.join(format!("{name}.both.pem"));
    fs::write(&both, read(&key) + &read(&certificate)).expect("a file");
    both
}

/// The same for a server of this name (`DNS:…`, `IP:…`), and no authority.
pub(crate) fn server_certificate(folder: &Path, name: &str, of: &str) -> PathBuf {
    let of = format!("subjectAltName={of}");
    certificate(folder, name, 2, &["-addext", &of, "-addext", NO_AUTHORITY])
}

/// An extension for `openssl req -addext`.
pub(crate) const NO_AUTHORITY: &str = "basicConstraints=critical,CA:FALSE";

/// Starts a server in Python, a script of `tests/accounts`, which says its port first.
pub(crate) fn python_server(script: &str, args: &[&Path]) -> (Child, u16) {
    let mut server = python(script)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python runs");
    let mut line = String::new();
    let out = server.stdout.take().expect("its words");
    BufReader::new(out).read_line(&mut line).expect("a line");
    (server, line.trim().parse().expect("a port"))
}

/// Runs the client in Python on this message; returns its lines.
pub(crate) fn python_client(port: u16, args: &[&str], message: &str) -> Vec<String> {
    let mut child = python("client.py")
        .args(["--port", &port.to_string()])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(message.as_bytes()).expect("a message");
    drop(input);
    let output = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines.lines().map(str::to_owned).collect()
}

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(root().join("tests/accounts").join(script));
    command
}

/// Makes a key of DKIM in a file, as administrators do; returns the name and the value of its record.
pub(crate) fn dkim_key(
    domain: &str,
    selector: &str,
    algorithm: &str,
    file: &Path,
) -> (String, String) {
    let made = Command::new(env!("CARGO_BIN_EXE_postern"))
        .args(["--json", "dkim", "new", "--domain", domain])
        .args(["--selector", selector, "--algorithm", algorithm, "--out"])
        .arg(file)
        .output()
        .expect("postern runs");
    let made: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    let text = |key: &str| made[key].as_str().expect("a text").to_owned();
    (text("name"), text("value"))
}
