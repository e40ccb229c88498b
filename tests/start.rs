//! What somebody sees who starts the gateway: where everything is, or what to do about it.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::{Gateway, wait_for};

/// Starts a second gateway, which must end by itself, on these policies.
fn start(config: &Path) -> (Option<i32>, String) {
    let output = postern(config, &["serve"]);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(
        output.stdout, b"",
        "a banner of something that did not start"
    );
    (output.status.code(), said)
}

fn postern(config: &Path, args: &[&str]) -> Output {
    let child = Command::new(env!("CARGO_BIN_EXE_postern"))
        .arg("--config")
        .arg(config)
        .args(args)
        .env("RUST_LOG", "off")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("postern starts");
    wait_for("its end", || child.try_wait().expect("its state"));
    child.wait_with_output().expect("what it said")
}

/// A folder with the policies of a running gateway, after a change to its own file.
fn beside(gateway: &Gateway, from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let policies = folder.path().join("policies");
    support::copy(&gateway.folder.path().join("policies"), &policies);
    let file = policies.join("postern.toml");
    let text = fs::read_to_string(&file).expect("postern.toml");
    assert!(text.contains(from), "no {from}");
    fs::write(&file, text.replace(from, to)).expect("a changed file");
    folder
}

fn config(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join("policies/postern.toml")
}

#[test]
fn a_second_gateway_on_the_same_data_is_told_to_stop_the_first() {
    let gateway = Gateway::start();
    let (code, said) = start(&gateway.config());
    assert_eq!(code, Some(1));
    assert!(said.ends_with("cannot be opened: another process serves this queue\nhelp: stop the other gateway, or give this one a `data` folder of its own\n"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_named_and_so_is_what_to_do() {
    let gateway = Gateway::start();
    let relay = format!("127.0.0.1:{}", gateway.relay);
    let metrics = format!("127.0.0.1:{}", gateway.metrics);

    let other = beside(&gateway, &metrics, "127.0.0.1:0");
    let (code, said) = start(&config(&other));
    assert_eq!(code, Some(1));
    let wanted = format!(
        "postern: listener `relay` cannot listen on {relay}: Address already in use (os error 98)\nhelp: another program, a second gateway perhaps, listens there: "
    );
    assert!(said.starts_with(&wanted), "{said}");

    let (code, said) = start(&config(&beside(&gateway, "x", "x")));
    assert_eq!(code, Some(1));
    let wanted = format!("postern: metrics cannot be shown on {metrics}: Address already in use");
    assert!(
        said.starts_with(&wanted) && said.contains("\nhelp: "),
        "{said}"
    );
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named_with_the_reason() {
    let gateway = Gateway::start();
    let folder = beside(&gateway, "\"../data\"", "\"postern.toml\"");
    let (code, said) = start(&config(&folder));
    assert_eq!(code, Some(1));
    assert!(
        said.contains("policies/postern.toml") && said.contains("os error"),
        "{said}"
    );
    assert!(
        said.contains("\nhelp: the user that runs the gateway must be able to write there"),
        "{said}"
    );
}

#[test]
fn certificates_that_cannot_be_used_are_named_with_what_to_do() {
    let gateway = Gateway::start();
    let address = |port| format!("127.0.0.1:{port}");
    let folder = beside(&gateway, &address(gateway.metrics), "127.0.0.1:0");
    let certs = folder.path().join("certs");
    fs::create_dir(&certs).expect("a folder");
    fs::write(certs.join("gateway.pem"), "no certificate").expect("a file");
    let (code, said) = start(&config(&folder));
    assert_eq!(code, Some(1));
    assert!(
        said.contains("certs/gateway.pem: no certificate in it\nhelp: [[tls.certificate]]"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named_and_so_is_who_names_it() {
    let gateway = Gateway::start();
    let folder = beside(&gateway, "x", "x");
    fs::remove_file(folder.path().join("policies/aliases.toml")).expect("a file less");
    for config in [config(&folder), folder.path().join("nowhere.toml")] {
        let (code, said) = start(&config);
        assert_eq!(code, Some(1));
        assert!(
            said.contains("cannot be read: No such file or directory"),
            "{said}"
        );
        assert!(said.contains("help: `--config FILE` names"), "{said}");
        assert!(
            said.ends_with("postern: the configuration has errors: nothing was started\n"),
            "{said}"
        );
    }
}

#[test]
fn the_shipped_policy_starts_without_a_line_of_noise() {
    let mut gateway = Gateway::start();
    let log = gateway.log();
    // A machine that allows few open files is told of it: that is no noise.
    let noise = log.lines().find(|line| !line.contains("ulimit -n"));
    assert_eq!(noise, None);
    let banner = gateway.banner();
    let at = |port| format!("127.0.0.1:{port}");
    let data = gateway.folder.path().canonicalize().expect("a folder");
    for part in [
        &at(gateway.relay),
        &at(gateway.submission),
        &at(gateway.submissions),
        &at(gateway.metrics),
        "(4 warnings: see `postern check`)",
        &format!(
            "It arrives in {}/data/maildir/nhs.net/gp/new.",
            data.display()
        ),
    ] {
        assert!(banner.contains(part), "no {part} in\n{banner}");
    }
    assert!(
        !banner.contains(".."),
        "a path that is not whole in\n{banner}"
    );
    assert!(gateway.terminate());
}

#[test]
fn the_first_message_of_the_banner_can_be_sent_as_it_stands() {
    if !support::installed("python3") {
        return;
    }
    let gateway = Gateway::start();
    let banner = gateway.banner();
    let from = banner.find("python3 -c").expect("a command");
    let length = banner[from..].find("\n\n").expect("its end");
    let sent = Command::new("sh")
        .args(["-c", &banner[from..from + length]])
        .status();
    assert!(sent.expect("a shell").success());
    gateway.wait_for_mail("gp@nhs.net", 1);
}

#[test]
fn a_hangup_that_comes_before_the_gateway_is_up_does_not_end_it() {
    let mut gateway = Gateway::start();
    assert!(gateway.terminate());
    let certs = gateway.folder.path().join("certs");
    fs::remove_dir_all(&certs).expect("certificates to make again");

    gateway.restart_after(|gateway| {
        // The first thing that it does once it has read its files.
        wait_for("certificates", || {
            certs.join("ca.key.pem").exists().then_some(())
        });
        gateway.signal("-HUP");
    });

    gateway.connect();
    assert!(gateway.terminate());
}

#[test]
fn a_gateway_that_logs_next_to_nothing_serves_and_drains_all_the_same() {
    let mut gateway = Gateway::start_with(|policies| {
        let file = policies.join("postern.toml");
        let text = fs::read_to_string(&file).expect("postern.toml");
        assert!(text.contains("level = \"info\""));
        fs::write(&file, text.replace("level = \"info\"", "level = \"error\""))
            .expect("a quiet log");
    });
    let mut client = gateway.connect();
    assert!(client.command("EHLO x").starts_with("250"));
    let message = b"Subject: hello\r\n\r\ntext\r\n";
    let reply = client.submit("a@elsewhere.example", &["nurse@bumbleton.example"], message);
    assert!(reply.starts_with("250 "), "{reply}");
    gateway.wait_for_mail("nurse@bumbleton.example", 1);
    assert!(gateway.terminate());
}

/// Runs the program under a mask that lets everybody do everything.
fn unmasked(config: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 000; exec \"$0\" --config \"$@\""])
        .arg(env!("CARGO_BIN_EXE_postern"))
        .arg(config)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// What others than its owner may do with a file, and those in a folder; messages in a Maildir may be the group's.
fn open_to_others(path: &Path, found: &mut Vec<String>) {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::symlink_metadata(path).expect("a file");
    let mode = metadata.permissions().mode() & 0o777;
    let is_mail = metadata.is_file() && path.components().any(|part| part.as_os_str() == "maildir");
    if mode & if is_mail { 0o007 } else { 0o077 } != 0 {
        found.push(format!("{} {mode:o}", path.display()));
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            open_to_others(&entry.expect("an entry").path(), found);
        }
    }
}

#[test]
fn whatever_the_mask_nobody_else_may_read_what_the_gateway_keeps() {
    let mut gateway = Gateway::start();
    assert!(gateway.terminate());
    let data = gateway.folder.path().join("data");
    fs::remove_dir_all(&data).expect("data to make again");
    let config = gateway.config();
    // The commands first: what they make has the same mode.
    let mail = gateway.folder.path().join("wanted.eml");
    fs::write(&mail, "From: a@b.example\nSubject: hello\n\ntext\n").expect("a message");
    let mail = mail.to_str().expect("a path");
    for args in [
        &["account", "add", "app@nhs.net"][..],
        &["learn", "ham", mail],
        &["queue", "list"],
    ] {
        let status = unmasked(&config, args).status().expect("a shell");
        assert!(status.success(), "{args:?}");
    }
    let mut serving = unmasked(&config, &["serve"]).spawn().expect("a shell");
    wait_for("the gateway", || {
        std::net::TcpStream::connect(("127.0.0.1", gateway.relay)).ok()
    });
    let large = format!("Subject: x\r\n\r\n{}", "text\r\n".repeat(200_000));
    for (from, to, text) in [
        (
            "a@elsewhere.example",
            "nurse@bumbleton.example",
            "Subject: hello\r\n\r\ntext\r\n",
        ),
        ("a@elsewhere.example", "nurse@bumbleton.example", &large),
        (
            "me@bumbleton.example",
            "x@example.com",
            "Subject: x\r\n\r\nNHS number 943 476 5919\r\n",
        ),
    ] {
        let mut client = gateway.connect();
        assert!(client.command("EHLO x").starts_with("250"));
        let reply = client.submit(from, &[to], text.as_bytes());
        assert!(reply.starts_with("250 "), "{reply}");
    }
    gateway.wait_for_mail("nurse@bumbleton.example", 2);
    let mut found = Vec::new();
    open_to_others(&data, &mut found);
    let pid = serving.id().to_string();
    let stopped = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(stopped.expect("kill").success());
    wait_for("its end", || serving.try_wait().expect("its state"));
    assert_eq!(found, [""; 0]);
}

/// Somewhere that takes nothing, as a disk does that is full.
fn full() -> Stdio {
    let full = fs::File::options().write(true).open("/dev/full");
    full.expect("/dev/full").into()
}

#[test]
fn a_gateway_whose_log_cannot_be_written_serves_on() {
    let mut gateway = Gateway::start();
    assert!(gateway.terminate());
    let mut serving = Command::new(env!("CARGO_BIN_EXE_postern"))
        .arg("--config")
        .arg(gateway.config())
        .arg("serve")
        .stdout(full())
        .stderr(full())
        .spawn()
        .expect("the gateway starts");
    wait_for("the gateway", || {
        std::net::TcpStream::connect(("127.0.0.1", gateway.relay)).ok()
    });
    for _ in 0..2 {
        let mut client = gateway.connect();
        assert!(client.command("EHLO x").starts_with("250"));
        let message = b"Subject: hello\r\n\r\ntext\r\n";
        let reply = client.submit("a@elsewhere.example", &["nurse@bumbleton.example"], message);
        assert!(reply.starts_with("250 "), "{reply}");
    }
    gateway.wait_for_mail("nurse@bumbleton.example", 2);
    let pid = serving.id().to_string();
    let stopped = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(stopped.expect("kill").success());
    assert!(wait_for("its end", || serving.try_wait().expect("its state")).success());
}

#[test]
fn a_command_ends_by_its_answer_and_what_it_did_is_on_record_whoever_listens() {
    let gateway = Gateway::start();
    let code = |args: &[&str], out: Stdio, error: Stdio| {
        let ended = Command::new(env!("CARGO_BIN_EXE_postern"))
            .arg("--config")
            .arg(gateway.config())
            .args(args)
            .stdout(out)
            .stderr(error)
            .status();
        ended.expect("postern runs").code()
    };
    for args in [
        &["explain"][..],
        &["account", "show", "nobody"],
        &["queue", "show", "x"],
    ] {
        let heard = code(args, Stdio::null(), Stdio::null());
        assert_eq!(code(args, full(), full()), heard, "{args:?}");
    }
    assert_eq!(
        code(&["account", "add", "app@nhs.net"], full(), full()),
        Some(1)
    );
    let number = ["sms", "opt-out", "add", "07700900125"];
    assert_eq!(code(&number, full(), full()), Some(1));
    let trail = gateway.postern(&["audit", "export"]).stdout;
    let trail = String::from_utf8(trail).expect("text");
    assert!(
        trail.contains("\"added\"") && trail.contains("sms-opt-out"),
        "{trail}"
    );
}
