//! Policies found, kept, refreshed and lost, against a web server and a name server on this machine.

use std::sync::atomic::AtomicUsize;

use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::report::Destination;
use super::*;
use crate::base::dns::fake::FakeDns;

/// A web server that gives every request the same answer.
pub(in crate::delivery) struct Web {
    pub(in crate::delivery) port: u16,
    answer: Arc<Mutex<String>>,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    connections: Arc<AtomicUsize>,
    pub(in crate::delivery) root: CertificateDer<'static>,
}

impl Web {
    /// One with a certificate for this name.
    pub(in crate::delivery) async fn start(name: &str) -> Self {
        let root = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(root.signing_key.serialize_der()).unwrap();
        let certificate = root.cert.der().clone();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = Self {
            port: listener.local_addr().unwrap().port(),
            answer: Arc::default(),
            requests: Arc::default(),
            connections: Arc::default(),
            root: certificate,
        };
        let (answer, requests) = (Arc::clone(&web.answer), Arc::clone(&web.requests));
        let connections = Arc::clone(&web.connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (acceptor, requests) = (acceptor.clone(), Arc::clone(&requests));
                let answer = answer.lock().unwrap().clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let request = request(&mut stream).await;
                    requests.lock().unwrap().push(request);
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        web
    }

    pub(in crate::delivery) fn says(&self, answer: &str) {
        *self.answer.lock().unwrap() = answer.to_owned();
    }

    /// From now on it has this policy.
    pub(in crate::delivery) fn has(&self, policy: &str) {
        let length = policy.len();
        self.says(&format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{policy}"
        ));
    }

    fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// The head and the body of a request.
async fn request(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse().ok())?
            });
            if request.len() >= head.len() + 4 + length.unwrap_or(0_usize) {
                return request;
            }
        }
        let mut octets = [0; 4_096];
        match stream.read(&mut octets).await {
            Ok(0) | Err(_) => return request,
            Ok(length) => request.extend_from_slice(&octets[..length]),
        }
    }
}

pub(in crate::delivery) const ENFORCE: &str =
    "version: STSv1\r\nmode: enforce\r\nmx: mx.x.example\r\nmax_age: 604800\r\n";

/// A domain with a policy, and who looks it up.
struct World {
    folder: TempDir,
    web: Web,
    dns: FakeDns,
    clock: Clock,
}

impl World {
    async fn new() -> Self {
        let web = Web::start("mta-sts.x.example").await;
        web.has(ENFORCE);
        let dns = FakeDns::start().await.uncached();
        let dns = dns
            .with_txt("_mta-sts.x.example", "v=STSv1; id=1;")
            .with_address("mta-sts.x.example", "127.0.0.1");
        Self {
            folder: tempfile::tempdir().unwrap(),
            web,
            dns,
            clock: Clock::fixed("2026-11-20T10:00:00Z".parse().unwrap()),
        }
    }

    /// As after a start.
    fn assurance(&self) -> Arc<Assurance> {
        self.reporting(None)
    }

    fn reporting(&self, from: Option<&str>) -> Arc<Assurance> {
        self.with(AssuranceSettings {
            report_from: from.map(|from| Mailbox::parse(from).unwrap()),
            // Its web server is on this machine.
            internal_addresses: true,
            ..AssuranceSettings::default()
        })
    }

    fn with(&self, settings: AssuranceSettings) -> Arc<Assurance> {
        let limits = Limits {
            timeout: Duration::from_secs(10),
            body_octets: 1_024,
            port: self.web.port,
        };
        let dns = self.dns.resolver(Duration::from_secs(5));
        let (data, roots) = (self.folder.path(), [self.web.root.clone()]);
        let clock = self.clock.clone();
        Arc::new(Assurance::open_with(settings, data, dns, &roots, clock, limits).unwrap())
    }
}

async fn mode(assurance: &Arc<Assurance>) -> Option<Mode> {
    let known = assurance.policy("x.example").await.unwrap();
    known.map(|known| known.policy.mode)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn a_policy_is_fetched_once_and_is_there_after_a_restart_without_dns_and_web() {
    let world = World::new().await;
    let assurance = world.assurance();
    assert_eq!(mode(&assurance).await, Some(Mode::Enforce));
    assert_eq!(mode(&assurance).await, Some(Mode::Enforce));
    assert_eq!(world.web.requests(), 1);
    let request = String::from_utf8(world.web.requests.lock().unwrap()[0].clone()).unwrap();
    assert!(
        request.starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("host: mta-sts.x.example\r\n"), "{request}");

    // Somebody who suppresses the record and the web server does not get rid of it.
    world.dns.set_txt("_mta-sts.x.example", None);
    world
        .web
        .says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let restarted = world.assurance();
    assert_eq!(mode(&restarted).await, Some(Mode::Enforce));
    assert_eq!(world.web.requests(), 1);
    // Its time ends it.
    world.clock.advance(DAY * 7);
    assert_eq!(mode(&restarted).await, None);
    assert_eq!(mode(&world.assurance()).await, None);
}

#[tokio::test]
async fn nobody_makes_us_ask_machines_that_he_cannot_reach_himself() {
    let world = World::new().await;
    let assurance = world.with(AssuranceSettings::default());
    assert_eq!(mode(&assurance).await, None);
    assert_eq!(world.web.connections.load(Ordering::SeqCst), 0);
    let asked = Asked {
        host: "mta-sts.x.example",
        port: None,
        path: "/",
        post: None,
    };
    let answered = assurance.https.ask(&asked).await;
    assert_eq!(answered, Err(HttpsError::Internal));
    assert_eq!(world.web.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_new_id_has_the_policy_fetched_anew_and_none_ends_it() {
    let world = World::new().await;
    let assurance = world.assurance();
    assert_eq!(mode(&assurance).await, Some(Mode::Enforce));
    // The same id, another policy: nobody looks.
    world.web.has(&ENFORCE.replace("enforce", "testing"));
    assert_eq!(mode(&assurance).await, Some(Mode::Enforce));
    world
        .dns
        .set_txt("_mta-sts.x.example", Some("v=STSv1; id=2;"));
    assert_eq!(mode(&assurance).await, Some(Mode::Testing));
    // A new id, and nothing to be had: the one before holds (RFC 8461 §5.1).
    world
        .dns
        .set_txt("_mta-sts.x.example", Some("v=STSv1; id=3;"));
    world.web.has("version: STSv1\r\nmode: enforce\r\n");
    assert_eq!(mode(&assurance).await, Some(Mode::Testing));
    let requests = world.web.requests();
    assert_eq!(mode(&assurance).await, Some(Mode::Testing));
    assert_eq!(
        world.web.requests(),
        requests,
        "not again before five minutes"
    );
    world.clock.advance(FETCH_AGAIN);
    world
        .web
        .has("version: STSv1\r\nmode: none\r\nmax_age: 86400\r\n");
    assert_eq!(mode(&assurance).await, None);
    assert_eq!(mode(&world.assurance()).await, None);
    assert_eq!(world.web.requests(), requests + 1, "`none` is kept as well");
}

#[tokio::test]
async fn what_is_no_right_answer_is_no_policy() {
    let text = |status: &str, kind: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let plain = "Content-Type: text/plain\r\n";
    let large = format!("{ENFORCE}x: {}\r\n", "x".repeat(1_024));
    for answer in [
        text("404 Not Found", plain, ENFORCE),
        text(
            "301 Moved Permanently",
            &format!("{plain}Location: https://mta-sts.x.example/\r\n"),
            ENFORCE,
        ),
        text("200 OK", "Content-Type: text/html\r\n", ENFORCE),
        text("200 OK", "", ENFORCE),
        text("200 OK", plain, "mode: enforce\r\n"),
        text("200 OK", plain, &large),
        "SMTP is not HTTP\r\n\r\n".to_owned(),
        String::new(),
    ] {
        let world = World::new().await;
        world.web.says(&answer);
        assert_eq!(mode(&world.assurance()).await, None, "{answer}");
        assert_eq!(world.web.requests(), 1, "nobody is followed: {answer}");
    }
}

#[tokio::test]
async fn a_web_server_with_a_wrong_certificate_has_no_policy_to_give() {
    let world = World::new().await;
    let web = Web::start("other.example").await;
    web.has(ENFORCE);
    let world = World { web, ..world };
    assert_eq!(mode(&world.assurance()).await, None);
    assert_eq!(
        (
            world.web.requests(),
            world.web.connections.load(Ordering::SeqCst)
        ),
        (0, 1)
    );
}

#[tokio::test]
async fn policies_are_refreshed_every_day_and_forgotten_when_they_are_over() {
    let world = World::new().await;
    let assurance = world.assurance();
    assert_eq!(mode(&assurance).await, Some(Mode::Enforce));
    assurance.refresh().await.unwrap();
    assert_eq!(world.web.requests(), 1, "it is fresh");
    world.clock.advance(DAY * 6);
    assurance.refresh().await.unwrap();
    assert_eq!(world.web.requests(), 2);
    // It lives on from the refresh, also where nobody can be asked any more.
    world.web.says("");
    world.clock.advance(DAY * 6);
    assurance.refresh().await.unwrap();
    assert_eq!(mode(&world.assurance()).await, Some(Mode::Enforce));
    world.clock.advance(DAY);
    assurance.refresh().await.unwrap();
    assert!(assurance.db.policy("x.example").unwrap().is_none());
    assert_eq!(mode(&assurance).await, None);
}

/// The first round after a start comes before any mail. A web server that is away then, or that somebody keeps from us,
/// undoes nothing of what is kept.
#[tokio::test]
async fn a_refresh_that_fails_right_after_a_start_leaves_the_policy_in_force() {
    let world = World::new().await;
    assert_eq!(mode(&world.assurance()).await, Some(Mode::Enforce));
    world.clock.advance(DAY * 2);
    world.web.says("");
    let restarted = world.assurance();
    restarted.refresh().await.unwrap();
    assert_eq!(mode(&restarted).await, Some(Mode::Enforce));
    world.dns.set_txt("_mta-sts.x.example", None);
    assert_eq!(mode(&restarted).await, Some(Mode::Enforce));
}

#[tokio::test]
async fn many_at_once_fetch_once() {
    let world = World::new().await;
    let assurance = world.assurance();
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let assurance = Arc::clone(&assurance);
            tokio::spawn(async move { mode(&assurance).await })
        })
        .collect();
    for one in asked {
        assert_eq!(one.await.unwrap(), Some(Mode::Enforce));
    }
    assert_eq!(world.web.requests(), 1);
}

#[tokio::test]
async fn sessions_become_a_report_that_is_posted_and_counted_no_more() {
    let world = World::new().await;
    let to = format!(
        "v=TLSRPTv1; rua=https://mta-sts.x.example:{}/r",
        world.web.port
    );
    world.dns.set_txt("_smtp._tls.x.example", Some(&to));
    let assurance = world.reporting(Some("tls@gw.example"));
    world
        .web
        .says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    // A fetch that fails is counted; so is a session of a domain that wants reports, and no other.
    assert_eq!(mode(&assurance).await, None);
    for domain in ["x.example", "y.example"] {
        assurance.count(report::Session {
            domain: domain.to_owned(),
            policy: report::SessionPolicy::NotFound,
            mx: "mx.x.example".to_owned(),
            ip: "192.0.2.1".parse().ok(),
            from: None,
            failure: None,
            reason: String::new(),
        });
    }
    let day = assurance.today();
    while assurance.db.tallies(day, "x.example").unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        assurance.reports_due("gw.example").await.unwrap().len(),
        0,
        "the day is not over"
    );
    world.clock.advance(DAY);
    let reports = world
        .reporting(Some("tls@gw.example"))
        .reports_due("gw.example")
        .await
        .unwrap();
    let [report] = reports.as_slice() else {
        panic!("{reports:?}");
    };
    assert_eq!((report.domain.as_str(), report.day), ("x.example", day));
    let to = &report.destinations[0];
    assert!(matches!(to, Destination::Https { path, .. } if path == "/r"));
    assert_eq!(
        assurance.post(report, to).await,
        Err("the server answers 404".to_owned())
    );
    world
        .web
        .says("HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nthan");
    assert_eq!(
        assurance.post(report, to).await,
        Ok(()),
        "it has it, however that page goes on"
    );
    let posted = world.web.requests.lock().unwrap().last().unwrap().clone();
    let head = String::from_utf8_lossy(&posted).into_owned();
    assert!(head.starts_with("POST /r HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/tlsrpt+gzip\r\n"),
        "{head}"
    );
    let named = format!("host: mta-sts.x.example:{}\r\n", world.web.port);
    assert!(head.contains(&named), "{head}");
    let body = posted
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let mut json = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&posted[body..]);
    std::io::Read::read_to_string(&mut decoder, &mut json).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let types: Vec<_> = json["policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["policy"]["policy-type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["no-policy-found", "sts"]);
    assert_eq!(
        json["policies"][1]["failure-details"][0]["result-type"],
        "sts-policy-fetch-error"
    );
    assurance.reported(day, "x.example").await.unwrap();
    assert_eq!(assurance.reports_due("gw.example").await.unwrap().len(), 0);
}
