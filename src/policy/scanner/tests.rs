use super::*;
use crate::config::{Diagnostics, read_toml};
use crate::policy::testing::{World, file};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn read(text: &str) -> (Vec<Scanner>, Vec<String>) {
    let diagnostics = Diagnostics::default();
    let scanners = read_toml(&file("links.toml", text), &diagnostics, read_all);
    let said = diagnostics.into_vec().into_iter();
    (scanners, said.map(|one| one.id.to_owned()).collect())
}

fn scanner(kind: &str, address: &str, more: &str) -> Scanner {
    let text =
        format!("[[scanner]]\nname = \"one\"\ntype = \"{kind}\"\naddress = \"{address}\"\n{more}");
    let (mut scanners, said) = read(&text);
    assert_eq!(said, Vec::<String>::new());
    scanners.remove(0)
}

async fn ask(scanner: &Scanner, message: &str) -> Report {
    let world = World::new(message, "a@b.example", &["c@nhs.net"]);
    let scanner = scanner.clone();
    // The case borrows what `ask` makes: the question is put on a runtime of its own.
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Handle::current();
        world.ask(|case| runtime.block_on(scanner.ask(case)))
    })
    .await
    .unwrap()
}

/// Answers one connection after the other with these octets, once the peer's last ones have come.
async fn peer(last: &'static [u8], answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(last) && stream.read_buf(&mut seen).await.unwrap() > 0 {}
            stream.write_all(&answer).await.unwrap();
        }
    });
    address
}

const MAIL: &str = "Subject: x\n\nhello\n";

#[tokio::test(flavor = "multi_thread")]
async fn clamd_is_asked_and_a_connection_that_breaks_is_tried_once_more() {
    let found = b"stream: Eicar-Test-Signature FOUND\0".to_vec();
    let address = peer(&[0; 4], vec![Vec::new(), found]).await;
    let report = ask(&scanner("clamd", &address, ""), MAIL).await;
    assert_eq!(report, Report::Malware("Eicar-Test-Signature".into()));

    let address = peer(
        &[0; 4],
        vec![Vec::new(), Vec::new(), b"stream: OK\0".to_vec()],
    )
    .await;
    let one = scanner("clamd", &address, "");
    assert_eq!(
        ask(&one, MAIL).await,
        Report::Unavailable("the connection broke, twice")
    );
    assert_eq!(ask(&one, MAIL).await, Report::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_that_is_away_silent_or_talks_nonsense_is_unavailable() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    for kind in ["clamd", "rspamd"] {
        assert_eq!(
            ask(&scanner(kind, &closed, ""), MAIL).await,
            Report::Unavailable("nobody listens there")
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none").display().to_string();
    assert_eq!(
        ask(&scanner("clamd", &path, ""), MAIL).await,
        Report::Unavailable("nobody listens there")
    );
    let nonsense = b"HTTP/1.1 400 no\r\n\r\n".to_vec();
    let address = peer(&[0; 4], vec![nonsense.clone(), nonsense]).await;
    assert_eq!(
        ask(&scanner("clamd", &address, ""), MAIL).await,
        Report::Unavailable("its answer is none")
    );
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    assert_eq!(
        ask(&scanner("clamd", &address, "timeout = \"1s\""), MAIL).await,
        Report::Unavailable("no answer in time")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_the_size_is_not_sent() {
    let one = scanner("clamd", "127.0.0.1:1", "max-size = 10");
    assert_eq!(ask(&one, MAIL).await, Report::TooLarge);
}

#[tokio::test(flavor = "multi_thread")]
async fn rspamd_is_told_of_the_envelope_and_gives_a_score() {
    let body = r#"{"score":9.5,"required_score":15.0,"action":"add header","symbols":{}}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let address = peer(b"hello\r\n", vec![answer.into_bytes()]).await;
    let report = ask(&scanner("rspamd", &address, ""), MAIL).await;
    let expected = Report::Score {
        score: 9.5,
        required: 15.0,
        action: "add header".into(),
    };
    assert_eq!(report, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_any_length_is_cut_off() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n".to_vec();
    let long = [head, vec![b' '; 3 << 20]].concat();
    let address = peer(b"hello\r\n", vec![long.clone(), long]).await;
    let report = ask(&scanner("rspamd", &address, "timeout = \"10s\""), MAIL).await;
    assert_eq!(report, Report::Unavailable("the connection broke, twice"));
}

#[tokio::test(flavor = "multi_thread")]
async fn since_when_one_is_away_is_known_by_its_name() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let named = |address: &str| {
        let mut one = scanner("clamd", address, "");
        one.name = one.name.map(|_| "of-this-test".to_owned());
        one
    };
    let is_away = || {
        let away = SCANNERS.away();
        away.iter().any(|(name, _)| name == "of-this-test")
    };
    ask(&named(&closed), MAIL).await;
    assert!(is_away());
    let good = peer(&[0; 4], vec![b"stream: OK\0".to_vec()]).await;
    // As after a reload: another value, the same scanner.
    ask(&named(&good), MAIL).await;
    assert!(!is_away());
    let mut text = String::new();
    SCANNERS.render(&mut text);
    for result in ["answered", "failed"] {
        let line = format!("{{scanner=\"of-this-test\",result=\"{result}\"}} 1\n");
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn what_the_file_leaves_out_is_safe() {
    let clamd = scanner("clamd", "127.0.0.1:3310", "");
    assert_eq!(clamd.unavailable, Otherwise::Defer);
    assert_eq!(clamd.engine, Engine::Clamd { refuse: true });
    assert_eq!(clamd.alarm_after, Duration::from_secs(300));
    assert!(clamd.is_for(Direction::Inbound) && clamd.is_for(Direction::Outbound));
    let rspamd = scanner("rspamd", "127.0.0.1:11333", "");
    assert_eq!(rspamd.unavailable, Otherwise::Pass);
    assert!(rspamd.is_for(Direction::Inbound) && !rspamd.is_for(Direction::Outbound));
    assert!(read("").0.is_empty());
}

#[test]
fn every_fault_of_the_file_is_reported() {
    let one = |more: &str| {
        format!("[[scanner]]\nname = \"a\"\ntype = \"clamd\"\naddress = \"h:1\"\n{more}\n")
    };
    for (text, said) in [
        (
            "[[scanner]]\nname = \"a\"\n".to_owned(),
            vec!["missing-key", "missing-key"],
        ),
        (one("unavailable = \"ignore\""), vec!["bad-word"]),
        (one("").replace("h:1", "3310"), vec!["bad-value"]),
        (one("").replace("\"a\"", "\"A b\""), vec!["bad-name"]),
        (one("factor = 1.0"), vec!["unknown-key"]),
        (one("timeout = \"2m\""), vec!["out-of-bounds"]),
        (format!("{}{}", one(""), one("")), vec!["twice"]),
    ] {
        assert_eq!(read(&text).1, said, "{text}");
    }
}
