//! What the sections of routes are read as.

use super::*;
use crate::config::testing::read_text;

fn read(text: &str) -> (Settings, Vec<String>) {
    let (settings, said) = read_text("policies/postern.toml", text, Settings::read);
    let said = said.into_iter().map(|d| d.message);
    (settings, said.collect())
}

fn transport(keys: &str) -> (Option<Transport>, Vec<String>) {
    let (settings, said) = read(&format!(
        "[[route]]\nname = \"r\"\nrecipients = [\"*\"]\n{keys}\n"
    ));
    (settings.routes.first().map(|r| r.transport.clone()), said)
}

#[test]
fn the_shipped_routes_are_read_without_complaint() {
    let shipped = std::fs::read_to_string("policies/postern.toml").unwrap();
    let from = shipped.find("[[route]]").unwrap();
    let to = shipped.find("[metrics]").unwrap();

    let (settings, said) = read(&shipped[from..to]);

    assert_eq!(said, Vec::<String>::new());
    assert_eq!(settings.routes.len(), 2);
    assert_eq!(settings.routes[0].takes, Takes::Encryption);
    assert_eq!(settings.routes[1].schedule, RetrySchedule::default());
    assert_eq!(settings.connections.connections, 200);
}

#[test]
fn an_encryption_route_names_a_service() {
    let said = |transport: &str| {
        read(&format!(
            "[[route]]\nname = \"e\"\nfor = \"encryption\"\n{transport}\n"
        ))
        .1
    };
    let message = "what is to be encrypted would go to the recipients' own servers";
    assert_eq!(said("mx = true"), [message]);
    assert!(said("smart-host = \"encrypt.example:25\"").is_empty());
}

#[test]
fn a_smart_host_is_used_opportunistically_unless_told_otherwise() {
    let (found, said) = transport("smart-host = \"send.nhs.net:587\"");
    let Some(Transport::SmartHost(smart_host)) = found else {
        panic!("{said:?}");
    };
    assert_eq!(smart_host.tls, TlsLevel::Opportunistic);
    assert_eq!(smart_host.next_hop.to_string(), "send.nhs.net:587");
}

#[test]
fn a_password_makes_verified_the_default_and_refuses_less_than_required() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    let keys = format!(
        "smart-host = \"a.example:587\"\nusername = \"u\"\npassword = {{ file = \"{}\" }}\n",
        file.display()
    );

    let (found, said) = transport(&keys);
    let Some(Transport::SmartHost(smart_host)) = found else {
        panic!("{said:?}");
    };
    assert_eq!(smart_host.tls, TlsLevel::Verified);
    let shown = Shown::Password(Secret::new("hunter2".to_owned()));
    assert_eq!(smart_host.credentials.unwrap().shown, shown);

    let (found, said) = transport(&format!("{keys}tls = \"opportunistic\""));
    assert_eq!(
        (found, said),
        (None, vec!["a password goes under TLS alone".to_owned()])
    );
}

#[test]
fn a_route_has_exactly_one_transport() {
    assert_eq!(transport("").1, ["a route needs a transport"]);
    assert_eq!(
        transport("mx = true\nmaildir = \"m\"").1,
        ["a route has one transport, here are mx and maildir"]
    );
}

#[test]
fn lmtp_takes_a_socket_or_a_host_and_port() {
    let lmtp = |text: &str| match transport(&format!("lmtp = \"{text}\"")).0 {
        Some(Transport::Lmtp(lmtp)) => (lmtp.endpoint.to_string(), lmtp.tls),
        other => panic!("{other:?}"),
    };
    assert_eq!(lmtp("127.0.0.1:24").1, TlsLevel::None);
    assert_eq!(lmtp("mda.example:24").1, TlsLevel::Opportunistic);
    assert_eq!(lmtp("/run/lmtp").0, "/run/lmtp");
    assert_eq!(lmtp("../run/lmtp").0, "policies/../run/lmtp");
}

#[test]
fn every_fault_of_a_route_is_reported_at_once() {
    let (_, said) = read(
        "[[route]]\nfor = \"encryption\"\nrecipients = [\"*\"]\nmaildir = \"m\"\ntls = \"verified\"\nretry = []\nsmarthost = \"x\"\n[delivery]\nidle = 5\n",
    );
    assert_eq!(said.len(), 6, "{said:#?}");
}

#[test]
fn policies_of_destinations_are_kept_to_unless_told_otherwise() {
    let of = |keys: &str| {
        let (settings, said) = read(&format!(
            "[[route]]\nname = \"r\"\nrecipients = [\"*\"]\nmx = true\n[transport]\n{keys}\n"
        ));
        assert!(settings.asks_exchangers());
        (settings.transport, said)
    };
    assert_eq!(of(""), (AssuranceSettings::default(), Vec::new()));
    let (told, said) =
        of("mta-sts = false\ndane = false\ntls-required-no = true\nreport-from = \"a@b.example\"");
    assert_eq!(said, Vec::<String>::new());
    assert!(!told.mta_sts && !told.dane && told.tls_required_no);
    assert_eq!(told.report_from, Mailbox::parse("a@b.example").ok());
    assert_eq!(of("report-from = \"nobody\"\nmtasts = true").1.len(), 2);
}

#[test]
fn without_a_route_mail_would_go_nowhere() {
    assert_eq!(read("").1, ["there is no route: mail would go nowhere"]);
}
