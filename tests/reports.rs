//! Reports of a running gateway, read by a reader that nobody here wrote, clause by clause of
//! RFC 3461, RFC 3464 and RFC 6522.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Gateway, free_port, installed, root};

#[test]
fn reports_are_as_the_rfcs_say() {
    if !installed("python3") {
        return;
    }
    let [plain, dsn] = [free_port(), free_port()];
    let gateway = Gateway::start_with(|policies| write_routes(policies, plain, dsn));
    let judged = Command::new("python3")
        .arg(root().join("tests/reports_judge.py"))
        .args([gateway.relay, plain, dsn].map(|port| port.to_string()))
        .arg(gateway.folder.path().join("data/maildir"))
        .output()
        .expect("python runs");
    let (said, errors) = (
        String::from_utf8_lossy(&judged.stdout),
        String::from_utf8_lossy(&judged.stderr),
    );
    assert_eq!(said, "judged\n", "{errors}");
}

/// Next hops without and with DSN, and what is late there: for long, and until its time is over.
fn write_routes(policies: &Path, plain: u16, dsn: u16) {
    let route = |domain: &str, port: u16, times: &str| {
        format!(
            "[[route]]\nname = \"{domain}\"\nrecipients = [\"{domain}.example\"]\ntls = \"none\"\n\
             smart-host = \"127.0.0.1:{port}\"\nretry = [\"1s\"]\n{times}\n"
        )
    };
    let routes = [
        route("plain", plain, ""),
        route("dsn", dsn, ""),
        route("slow", plain, "warn-after = \"1s\""),
        route(
            "brief",
            plain,
            "warn-after = \"1s\"\ngive-up-after = \"2s\"",
        ),
    ];
    let everything = "[[route]]\nname = \"everything\"";
    let main = policies.join("postern.toml");
    let text = fs::read_to_string(&main).expect("postern.toml");
    let text = text.replace(everything, &format!("{}{everything}", routes.concat()));
    fs::write(&main, text).expect("a changed postern.toml");
}
