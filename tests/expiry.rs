//! What expires is told to whoever must see to it, 18, 10, 5, 2 and 1 days before: through a whole gateway, whose
//! files are set so that the day has come.

mod support;

use std::fs;
use std::path::Path;

use jiff::{Timestamp, ToSpan as _};
use support::Gateway;

const NAME: &str = "reminders.fa001.donotreply@nhs.net";
const OWNER: &str = "owner@bumbleton.example";
const DAYS: [i64; 5] = [18, 10, 5, 2, 1];

fn gateway(keys: &str) -> Gateway {
    let block = format!("\n[[account]]\nname = \"{NAME}\"\nowner-address = \"{OWNER}\"\n{keys}\n");
    Gateway::start_with(|policies: &Path| {
        let path = policies.join("accounts.toml");
        let text = fs::read_to_string(&path).expect("accounts.toml");
        fs::write(&path, text + &block).expect("accounts.toml");
    })
}

/// Stops the gateway, lets the file be changed, starts it, and returns what the address has when it has so much mail.
fn next_start(
    gateway: &mut Gateway,
    address: &str,
    count: usize,
    change: impl FnOnce(&Gateway),
) -> Vec<String> {
    // An orderly end: a crash may well deliver a copy twice, which is another matter.
    assert!(gateway.terminate());
    change(gateway);
    gateway.restart();
    let mail = gateway.wait_for_mail(address, count);
    mail.iter()
        .map(|one| String::from_utf8_lossy(one).into_owned())
        .collect()
}

#[test]
fn the_owner_of_an_account_is_warned_five_times_of_the_end_of_its_secret() {
    let mut gateway = gateway("secret = \"stored\"");
    let rotated = gateway.postern(&["account", "rotate", NAME]);
    assert!(rotated.status.success());
    let end_in = |gateway: &Gateway, days: i64| {
        let ends_at = Timestamp::now() + (days * 24 - 1).hours();
        let file = gateway.folder.path().join("data/accounts.db");
        let changed = rusqlite::Connection::open(file)
            .and_then(|file| {
                file.execute("UPDATE secret SET ends_at = ?1", [ends_at.as_millisecond()])
            })
            .expect("the database of accounts");
        assert_eq!(changed, 1);
    };
    for (count, days) in DAYS.into_iter().enumerate() {
        let mail = next_start(&mut gateway, OWNER, count + 1, |gateway| {
            end_in(gateway, days);
        });
        assert_eq!(mail.len(), count + 1, "{mail:?}");
        let newest = mail.last().expect("a warning");
        assert!(
            newest.contains(NAME) && newest.contains("18, 10, 5, 2 and 1 days"),
            "{newest}"
        );
    }
    // The last day is told once.
    let warned = |gateway: &Gateway| {
        let mut client = gateway.connect();
        client.command("EHLO client.example");
        let marker = "From: <pharmacy.fa001@nhs.net>\r\nSubject: marker\r\n\r\nx\r\n";
        let said = client.submit("pharmacy.fa001@nhs.net", &[OWNER], marker.as_bytes());
        assert!(said.starts_with("250"), "{said}");
    };
    assert!(gateway.terminate());
    gateway.restart();
    warned(&gateway);
    assert_eq!(gateway.wait_for_mail(OWNER, 6).len(), 6);
}

#[test]
fn the_end_of_a_password_for_a_smart_host_is_told_five_times() {
    let route = "[[route]]\nname = \"exchange-online\"\nrecipients = [\"upstream.example\"]\n\
                 smart-host = \"localhost:1\"\ntls = \"verified\"\nusername = \"x\"\npassword = { file = \"upstream\" }\n\
                 password-expires = 2099-01-01\n\n";
    let folder_of = |gateway: &Gateway| gateway.folder.path().join("policies");
    let mut gateway = Gateway::start_with(|policies: &Path| {
        fs::write(policies.join("upstream"), "s3cret\n").expect("a password");
        let path = policies.join("postern.toml");
        let text = fs::read_to_string(&path).expect("postern.toml");
        let first = "[[route]]\nname = \"encryption\"";
        let text = text.replacen(first, &format!("{route}{first}"), 1);
        fs::write(&path, text).expect("postern.toml");
    });
    let to = "bumbleton.headoffice@nhs.net";
    let mut last = "2099-01-01".to_owned();
    for (count, days) in DAYS.into_iter().enumerate() {
        let today = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let date = (today + days.days()).to_string();
        let (from, until) = (last.clone(), date.clone());
        let mail = next_start(&mut gateway, to, count + 1, |gateway| {
            let path = folder_of(gateway).join("postern.toml");
            let text = fs::read_to_string(&path).expect("postern.toml");
            let changed = text.replace(
                &format!("password-expires = {from}\n"),
                &format!("password-expires = {until}\n"),
            );
            assert_ne!(text, changed);
            fs::write(&path, changed).expect("postern.toml");
        });
        assert_eq!(mail.len(), count + 1, "{mail:?}");
        let newest = mail.last().expect("a warning");
        assert!(
            newest.contains("exchange-online") && newest.contains(&date),
            "{newest}"
        );
        assert!(!newest.contains("s3cret"));
        last = date;
    }
}

#[test]
fn the_end_of_a_certificate_is_told_unless_there_is_a_later_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let make = |name: &str, days: i64| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).expect("a name");
        let end = Timestamp::now() + (days * 24 - 1).hours();
        let end = end.to_zoned(jiff::tz::TimeZone::UTC);
        // To the day: the one after next at the most.
        let month = u8::try_from(end.month()).expect("a month");
        let day = u8::try_from(end.day()).expect("a day");
        params.not_after = rcgen::date_time_ymd(end.year().into(), month, day);
        let made = params.self_signed(&key).expect("a certificate");
        let path = folder.path().join(format!("{name}.pem"));
        fs::write(&path, made.pem()).expect("a file");
        format!("{{ file = \"{}\" }}", path.display())
    };
    let soon = make("soon", 5);
    let mut gateway = gateway(&format!("certificates = [{soon}]"));
    let mail = gateway.wait_for_mail(OWNER, 1).remove(0);
    let mail = String::from_utf8_lossy(&mail).into_owned();
    assert!(
        mail.contains("the certificate of the account") && mail.contains(NAME),
        "{mail}"
    );

    // A nearer one would be told of anew, were there not a later one beside it.
    let (nearer, late) = (make("nearer", 2), make("late", 300));
    assert!(gateway.terminate());
    let path = gateway.folder.path().join("policies/accounts.toml");
    let text = fs::read_to_string(&path).expect("accounts.toml");
    fs::write(&path, text.replace(&soon, &format!("{nearer}, {late}"))).expect("accounts.toml");
    gateway.restart();
    let mut client = gateway.connect();
    client.command("EHLO client.example");
    let marker = "From: <pharmacy.fa001@nhs.net>\r\nSubject: marker\r\n\r\nx\r\n";
    let said = client.submit("pharmacy.fa001@nhs.net", &[OWNER], marker.as_bytes());
    assert!(said.starts_with("250"), "{said}");
    let mail = gateway.wait_for_mail(OWNER, 2);
    assert_eq!(mail.len(), 2);
    assert!(String::from_utf8_lossy(&mail[1]).contains("marker"));
}
