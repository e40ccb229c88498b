//! Every way in which GOV.UK Notify and a webhook can answer, against stand-ins, with a clock that a test moves.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/authority.rs"]
mod authority;
#[path = "support/notify.rs"]
mod notify;

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authority::{Authority, Wrong};
use notify::{Fault, StandIn, TEMPLATE, api_key};
use postern::base::dns::{Dns, DnsSettings};
use postern::base::{Clock, HashKey};
use postern::config::{Diagnostics, SourceFile, read_toml};
use postern::delivery::sms::{SmsSettings, Texts};
use postern::mail::Message;
use postern::mail::sms::{MobileNumber, TextMessage};
use postern::outcome::{After, DeliveryResult, Outcome};
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

struct World {
    _folder: tempfile::TempDir,
    clock: Clock,
    texts: Texts,
}

impl World {
    fn of_notify(stand_in: &StandIn, more: &str) -> Self {
        Self::at(&stand_in.url(), more, &[])
    }

    fn at(url: &str, more: &str, roots: &[CertificateDer<'static>]) -> Self {
        let sms = format!(
            "{more}\n[sms.notify]\nurl = \"{url}\"\ntemplate = \"{TEMPLATE}\"\napi-key = {{ file = \"KEY\" }}\n"
        );
        Self::trusting(&sms, roots)
    }

    fn new(sms: &str) -> Self {
        Self::trusting(sms, &[])
    }

    fn trusting(sms: &str, roots: &[CertificateDer<'static>]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("notify.key");
        std::fs::write(&key, format!("{}\n", api_key())).unwrap();
        let text = format!(
            "[sms]\ndomain = \"sms.bumbleton.example\"\nquiet-hours = \"none\"\nper-number-and-day = 0\n{sms}"
        );
        let file = Arc::new(SourceFile {
            path: "postern.toml".into(),
            text: text.replace("KEY", &key.display().to_string()),
        });
        let diagnostics = Diagnostics::default();
        let settings = read_toml(&file, &diagnostics, SmsSettings::read);
        let said: Vec<_> = diagnostics
            .into_vec()
            .into_iter()
            .map(|one| one.message)
            .collect();
        assert_eq!(said, [""; 0]);
        let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second());
        let clock = Clock::fixed(now.unwrap());
        let dns = Dns::new(&DnsSettings {
            servers: vec!["127.0.0.1:9".parse().unwrap()],
            ..DnsSettings::default()
        });
        let (dns, of) = (dns.unwrap(), clock.clone());
        let texts = Texts::open(
            &settings.unwrap().0,
            roots,
            folder.path(),
            key_of(),
            dns,
            of,
        );
        Self {
            texts: texts.unwrap(),
            clock,
            _folder: folder,
        }
    }

    async fn attempt(&self, to: &str, reference: &str) -> Outcome {
        self.texts.attempt(&message(to, reference)).await
    }
}

fn key_of() -> HashKey {
    HashKey::new(&[1; 32])
}

fn message(to: &str, reference: &str) -> Message {
    let text = TextMessage {
        to: MobileNumber::parse(to).unwrap(),
        reference: reference.to_owned(),
        account: "reminders@bumbleton.example".to_owned(),
        text: "Your repeat is \"ready\" ŵ £9".to_owned(),
    };
    text.compose(None, |octets| key_of().hash(TextMessage::PURPOSE, octets))
}

const TO: &str = "07700900123";

#[tokio::test(flavor = "multi_thread")]
async fn a_text_goes_out_as_notify_wants_it_and_is_followed_to_its_end() {
    let stand_in = StandIn::start();
    let world = World::of_notify(&stand_in, "");
    let first = world.attempt(TO, "PX-7F3K2Q9A.1").await;
    assert_eq!(
        (first.result, first.status.to_string()),
        (DeliveryResult::Transient, "4.2.0".to_owned())
    );
    let texts = stand_in.texts();
    assert_eq!(texts.len(), 1);
    assert_eq!(texts[0].phone_number, "+447700900123");
    assert_eq!(texts[0].reference, "PX-7F3K2Q9A.1");
    assert_eq!(texts[0].body, "Bumbleton: Your repeat is \"ready\" ŵ £9");
    assert_eq!(
        world.attempt(TO, "PX-7F3K2Q9A.1").await.result,
        DeliveryResult::Transient
    );
    stand_in.becomes("PX-7F3K2Q9A.1", "delivered");
    let last = world.attempt(TO, "PX-7F3K2Q9A.1").await;
    assert!(matches!(last.result, DeliveryResult::Delivered { .. }));
    assert_eq!(stand_in.inside().requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_for_tests_do_what_the_documentation_says() {
    let stand_in = StandIn::start();
    let world = World::of_notify(&stand_in, "");
    for (to, status) in [("07700900003", "5.4.1"), ("07700900002", "5.1.1")] {
        world.attempt(to, to).await;
        let last = world.attempt(to, to).await;
        assert_eq!(
            (last.result, last.status.to_string().as_str()),
            (DeliveryResult::Permanent, status)
        );
    }
    // Numbers for smoke tests are not stored: there is nothing to ask after.
    world.attempt("07700900111", "smoke").await;
    let last = world.attempt("07700900111", "smoke").await;
    assert!(matches!(last.result, DeliveryResult::Delivered { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_the_table_of_errors() {
    let midnight = |now: jiff::Timestamp| {
        let day = now
            .to_zoned(jiff::tz::TimeZone::UTC)
            .date()
            .tomorrow()
            .unwrap();
        jiff::tz::TimeZone::UTC
            .to_zoned(day.at(0, 0, 0, 0))
            .unwrap()
            .timestamp()
    };
    let soon = |seconds| move |now: jiff::Timestamp| now + Duration::from_secs(seconds);
    type When = Box<dyn Fn(jiff::Timestamp) -> jiff::Timestamp>;
    let rows: Vec<(u16, &str, &str, &str, Option<When>)> = vec![
        (
            400,
            "BadRequestError",
            "Can't send to this recipient using a team-only API key",
            "5.7.1",
            None,
        ),
        (
            400,
            "BadRequestError",
            "Can't send to this recipient when service is in trial mode",
            "5.7.1",
            None,
        ),
        (
            400,
            "BadRequestError",
            "Missing personalisation: body",
            "5.7.1",
            None,
        ),
        (
            400,
            "ValidationError",
            "phone_number Too many digits",
            "5.1.3",
            None,
        ),
        (
            400,
            "ValidationError",
            "phone_number Not enough digits",
            "5.1.3",
            None,
        ),
        (
            400,
            "ValidationError",
            "phone_number Not a UK mobile number",
            "5.1.3",
            None,
        ),
        (
            400,
            "ValidationError",
            "phone_number Must not contain letters or symbols",
            "5.1.3",
            None,
        ),
        (
            400,
            "ValidationError",
            "phone_number Not a valid country prefix",
            "5.1.3",
            None,
        ),
        (
            403,
            "AuthError",
            "Invalid token: API key not found",
            "4.4.5",
            Some(Box::new(soon(300))),
        ),
        (
            429,
            "RateLimitError",
            "Exceeded rate limit for key type LIVE of 3000 requests per 60 seconds",
            "4.4.5",
            Some(Box::new(soon(60))),
        ),
        (
            429,
            "TooManyRequestsError",
            "Exceeded send limits (sms: 250000) for today",
            "4.4.5",
            Some(Box::new(midnight)),
        ),
        (500, "Exception", "Internal server error", "4.3.0", None),
        (
            404,
            "",
            "not Notify at all",
            "4.4.5",
            Some(Box::new(soon(300))),
        ),
    ];
    for (status, error, message, expected, until) in rows {
        let stand_in = StandIn::start();
        let world = World::of_notify(&stand_in, "");
        stand_in.fail_next(Fault::Error(status, error, message));
        let outcome = world.attempt(TO, "r").await;
        assert_eq!(
            outcome.status.to_string(),
            expected,
            "{status} {error} {message}"
        );
        let after = until.map_or(After::Schedule, |until| {
            After::NotBefore(until(world.clock.now()))
        });
        assert_eq!(outcome.after, after, "{status} {error}");
        assert!(!outcome.text().contains("900123"), "{}", outcome.text());
        if outcome.result == DeliveryResult::Transient {
            // It goes out once things are right again, and once only.
            world.clock.advance(Duration::from_secs(24 * 3600));
            stand_in.inside().now = Some(world.clock.now());
            world.attempt(TO, "r").await;
            world.attempt(TO, "r").await;
            assert_eq!(stand_in.texts().len(), 1, "{status} {error}");
        } else {
            assert_eq!(stand_in.texts().len(), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_may_be_half_a_minute_apart_and_the_alarm_says_so_if_they_are_more() {
    for (skew, fits) in [
        (0, true),
        (29, true),
        (-29, true),
        (31, false),
        (-45, false),
    ] {
        let stand_in = StandIn::start();
        let world = World::of_notify(&stand_in, "");
        stand_in.inside().now = Some(world.clock.now() - jiff::SignedDuration::from_secs(skew));
        let outcome = world.attempt(TO, "r").await;
        assert_eq!(stand_in.texts().len(), usize::from(fits), "{skew}");
        if !fits {
            let said = outcome.text();
            assert!(
                said.contains("our clock is") && said.contains(&skew.to_string()),
                "{said}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_whose_answer_is_lost_is_found_and_never_sent_twice() {
    for fault in [Fault::TakenWithoutAnswer, Fault::Garbage] {
        let stand_in = StandIn::start();
        let world = World::of_notify(&stand_in, "timeout = \"1s\"\non-unknown = \"resend\"");
        stand_in.fail_next(fault);
        let outcome = world.attempt(TO, "r").await;
        assert_eq!(outcome.result, DeliveryResult::Transient);
        assert!(outcome.text().contains("not known"), "{}", outcome.text());
        stand_in.becomes("r", "delivered");
        let outcome = world.attempt(TO, "r").await;
        assert!(matches!(outcome.result, DeliveryResult::Delivered { .. }));
        let inside = stand_in.inside();
        assert_eq!((inside.requests, inside.searches), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_lost_is_held_as_shipped_and_sent_when_somebody_lets_it_go() {
    let stand_in = StandIn::start();
    let world = World::of_notify(&stand_in, "timeout = \"1s\"");
    stand_in.fail_next(Fault::NoAnswer);
    world.attempt(TO, "r").await;
    assert_eq!(world.attempt(TO, "r").await.after, After::Hold);
    assert_eq!(stand_in.texts().len(), 0);
    world.attempt(TO, "r").await;
    assert_eq!(stand_in.texts().len(), 1);
}

/// A port under TLS before the stand-in.
async fn behind_tls(stand_in: &StandIn, config: Arc<ServerConfig>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, behind) = (listener.local_addr().unwrap().port(), stand_in.port);
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(config);
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut front = acceptor.accept(stream).await?;
                let mut back = TcpStream::connect(("127.0.0.1", behind)).await?;
                tokio::io::copy_bidirectional(&mut front, &mut back).await
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_to_a_server_that_cannot_show_who_it_is() {
    for wrong in [
        Wrong::Nothing,
        Wrong::Issuer,
        Wrong::Name,
        Wrong::Expired,
        Wrong::SelfSigned,
    ] {
        let (stand_in, authority) = (StandIn::start(), Authority::new());
        let port = behind_tls(&stand_in, authority.server(wrong)).await;
        let world = World::at(
            &format!("https://127.0.0.1:{port}"),
            "",
            &[authority.root()],
        );
        let outcome = world.attempt(TO, "r").await;
        assert_eq!(outcome.result, DeliveryResult::Transient);
        let fine = wrong == Wrong::Nothing;
        assert_eq!(
            stand_in.inside().tokens.len(),
            usize::from(fine),
            "{wrong:?}"
        );
        assert_eq!(
            outcome.status.to_string(),
            if fine { "4.2.0" } else { "4.4.1" },
            "{wrong:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let world = World::new(&format!(
        "[sms.webhook]\nurl = \"http://127.0.0.1:{gone}\"\n"
    ));
    let outcome = world.attempt(TO, "r").await;
    assert_eq!(
        (outcome.result, outcome.status.to_string()),
        (DeliveryResult::Transient, "4.4.1".to_owned())
    );
}

/// A webhook that gives these answers and remembers the requests.
fn webhook(answers: &'static [u16]) -> (u16, Arc<Mutex<Vec<String>>>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut block = [0; 4096];
            while !String::from_utf8_lossy(&request).ends_with('}') {
                let read = stream.read(&mut block).unwrap();
                request.extend_from_slice(&block[..read]);
            }
            seen.lock()
                .unwrap()
                .push(String::from_utf8(request).unwrap());
            let reply = format!(
                "HTTP/1.1 {answer} x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
            );
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    (port, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_json_and_its_answer_counts() {
    for (answer, expected) in [
        (202, "2.0.0"),
        (422, "5.7.1"),
        (401, "4.4.5"),
        (429, "4.4.5"),
        (503, "4.4.2"),
    ] {
        let answers: &'static [u16] = Box::leak(Box::new([answer]));
        let (port, asked) = webhook(answers);
        let world = World::new(&format!(
            "[sms.webhook]\nurl = \"http://127.0.0.1:{port}/send\"\ntoken = {{ file = \"KEY\" }}\n"
        ));
        let outcome = world.attempt(TO, "PX-7F3K2Q9A.1").await;
        assert_eq!(outcome.status.to_string(), expected, "{answer}");
        let request = asked.lock().unwrap().remove(0);
        assert!(request.starts_with("POST /send HTTP/1.1\r\n"), "{request}");
        let lower = request.to_ascii_lowercase();
        assert!(
            lower.contains("idempotency-key: px-7f3k2q9a.1\r\n"),
            "{request}"
        );
        assert!(
            request.contains(&format!("Bearer {}", api_key())),
            "{request}"
        );
        let body: serde_json::Value =
            serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(body["to"], "447700900123");
        assert_eq!(body["text"], "Your repeat is \"ready\" ŵ £9");
    }
}

/// The official client talks to the stand-in, and verifies the tokens of the gateway: skipped if it is not installed
/// (`pip install notifications-python-client`).
#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_judges_the_stand_in_and_our_tokens() {
    let python = std::env::var("POSTERN_NOTIFY_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python)
        .args(["-c", "import notifications_python_client"])
        .output();
    if !has.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: notifications-python-client is not installed");
        return;
    }
    let stand_in = StandIn::start();
    let world = World::of_notify(&stand_in, "");
    // The clock of the world stands; the judge's does not.
    world.attempt(TO, "PX-7F3K2Q9A.1").await;
    let token = stand_in.inside().tokens.last().cloned().unwrap();
    let judged = Command::new(&python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/notify_judge.py"
        ))
        .args([stand_in.url(), api_key(), TEMPLATE.to_owned(), token])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&judged.stderr).into_owned();
    assert!(judged.status.success(), "{said}");
    assert_eq!(stand_in.texts().len(), 3, "{said}");
}
