//! The black-box conformance suite beside the checkout, run against a whole gateway.
//!
//! Skips with a message when `../shared/conformance` or Python is not there.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::free_port;

/// Cases in which a rule of ours wins, each with its reason.
const OURS: &[(&str, &str)] = &[];

#[test]
fn every_case_of_the_black_box_suite_passes() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance/run.py");
    if !suite.exists() {
        eprintln!("skipped: ../shared/conformance is not beside this checkout");
        return;
    }
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: python3 is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (relay, sink) = (free_port(), free_port());
    let config = policy_folder(folder.path(), relay, sink);
    let mut gateway = Gateway::start(&config, relay);

    let report = folder.path().join("report.json");
    let output = Command::new("python3")
        .arg(&suite)
        .args([
            "--relay",
            &format!("127.0.0.1:{relay}"),
            "--sink-port",
            &sink.to_string(),
        ])
        .args([
            "--good-rcpt",
            "user@good.example",
            "--foreign-rcpt",
            "user@foreign.example",
        ])
        .args([
            "--mail-from",
            "sender@sender.example",
            "--retry-wait",
            "15",
            "--quiet",
        ])
        .args([
            "--pid",
            &gateway.0.id().to_string(),
            "--json",
            &report.display().to_string(),
        ])
        .output()
        .expect("the suite runs");
    print!("{}", String::from_utf8_lossy(&output.stdout));

    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(&report).expect("a report")).expect("JSON");
    let failed: Vec<String> = report["results"]
        .as_array()
        .expect("results")
        .iter()
        .filter(|case| case["result"] == "FAIL" || case["result"] == "ERROR")
        .filter(|case| OURS.iter().all(|(name, _)| case["name"] != *name))
        .map(|case| format!("{}: {}", case["name"], case["evidence"]))
        .collect();
    assert!(
        gateway.0.try_wait().expect("its state").is_none(),
        "the gateway ended"
    );
    assert!(
        report["totals"]["PASS"].as_u64() > Some(150),
        "too few cases ran: {}",
        report["totals"]
    );
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Copies the shipped policy files, and over them those of the suite with ports and data folder filled
/// in; returns the path of the main one.
fn policy_folder(folder: &Path, relay: u16, sink: u16) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["policies", "tests/conformance/policies"].map(|of| root.join(of));
    for path in files
        .iter()
        .flat_map(|of| fs::read_dir(of).expect("a policy folder"))
    {
        let path = path.expect("an entry").path();
        if path.is_dir() {
            continue;
        }
        let copy = folder.join(path.file_name().expect("a name"));
        // The model that ships is no text.
        let Ok(text) = fs::read_to_string(&path) else {
            fs::copy(&path, copy).expect("a copy");
            continue;
        };
        let text = text
            .replace("@RELAY@", &relay.to_string())
            .replace("@SINK@", &sink.to_string())
            .replace("@DATA@", &folder.join("data").display().to_string());
        fs::write(copy, text).expect("a copy");
    }
    folder.join("postern.toml")
}

struct Gateway(Child);

impl Gateway {
    fn start(config: &Path, port: u16) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_postern"))
            .args(["--config", &config.display().to_string(), "serve"])
            .stdout(Stdio::null())
            .spawn()
            .expect("the gateway starts");
        let end = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                Instant::now() < end,
                "the gateway does not listen on {port}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Self(child)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
