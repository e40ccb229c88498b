//! How long the whole shipped policy takes over one message, without network, on one core.
//!
//! `cargo bench --bench policy -- [RUNS]` prints a line for each message; the bar is a median under 300 µs at
//! 10 KB (`design.md` §5). Each run decides about a message from our own network for one recipient,
//! from its octets on: it is parsed and read anew.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern::base::Clock;
use postern::config::{Diagnostics, load_toml};
use postern::mail::{
    Domain, Envelope, ForwardPath, MailTransaction, Message, Recipient, ReversePath,
};
use postern::policy::decide::Network;
use postern::policy::patient_data::{self, Detector, Piece};
use postern::policy::signing::{Algorithm, Key, Pair, Signed, Signing, generate};
use postern::policy::{Policy, policy_test};

fn main() {
    let runs = std::env::args()
        .filter_map(|word| word.parse().ok())
        .find(|runs| *runs > 0)
        .unwrap_or(500);
    let policy = shipped();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    println!("shipped policy, no network, {runs} runs each, times in µs\n");
    let (message, rule) = ("message", "-".repeat(28));
    println!("| {message:<28} |  octets | median | 90 % under | fastest |");
    println!("|-{rule}-|--------:|-------:|-----------:|--------:|");
    for (name, message) in [
        ("10 KB of text", of_text(10 << 10)),
        ("10 KB, multipart with HTML", with_html(10 << 10)),
        ("75 KB, with an attachment", with_attachment(75 << 10)),
        ("1 MB of text", of_text(1 << 20)),
        ("10 MB, a PDF of 1,000 pages", with_pdf(10 << 20)),
    ] {
        let octets = message.len();
        let transaction = transaction(message);
        let judge = || runtime.block_on(policy.judge(&transaction, Network::Off));
        let micros = sorted_micros(runs, judge);
        let at = |share: f64| micros[((micros.len() - 1) as f64 * share) as usize];
        let (median, most, fastest) = (at(0.5), at(0.9), at(0.0));
        println!("| {name:<28} | {octets:>7} | {median:>6.0} | {most:>10.0} | {fastest:>7.0} |");
    }
    classify(runs);
    sign(runs);
}

/// One signature, made and verified.
fn sign(runs: usize) {
    println!("\na DKIM signature, made and verified, times in µs\n");
    for (name, octets) in [("10 KB", 10 << 10), ("1 MB", 1 << 20), ("10 MB", 10 << 20)] {
        let message = Message::new(of_text(octets).into_bytes());
        for algorithm in [Algorithm::Rsa, Algorithm::Ed25519] {
            let pair = Pair::from_pem(&generate(algorithm).expect("a key")).expect("a key");
            let name_of = |name| Domain::parse(name).expect("a name");
            let key = Key::new(name_of("nhs.net"), name_of("s1"), pair);
            let signing = Signing::with_keys(vec![key]);
            let now = Clock::system().now();
            assert!(matches!(signing.sign(&message, now), Signed::Fields { .. }));
            let micros = sorted_micros(runs, || signing.sign(&message, now));
            let median = micros[micros.len() / 2];
            println!("| {name:>5} | {:<14} | {median:>8.1} |", algorithm.word());
        }
    }
}

/// Text alone, looked through for identifiers: the bar is a median under 100 µs at 10 KB.
fn classify(runs: usize) {
    let detector = Detector::new(&patient_data::Settings::default()).expect("the shipped words");
    println!("\nthe detector on text, times in µs\n");
    for (name, octets) in [("1 KB", 1 << 10), ("10 KB", 10 << 10), ("1 MB", 1 << 20)] {
        let busy = "NHS number 450 557 7104, DOB 14/03/1951, ref 4010232137, patient well.\r\n";
        for (what, text) in [
            ("as people write", paragraphs(octets)),
            (
                "a number in each line",
                busy.repeat(octets / busy.len() + 1),
            ),
        ] {
            let piece = Piece {
                place: "body:1",
                text: &text,
                heading: "Stock on hand",
                is_table: false,
                is_again: false,
            };
            let micros = sorted_micros(runs, || detector.examine([piece]));
            let median = micros[micros.len() / 2];
            println!("| {name:>5} | {what:<21} | {median:>8.1} |");
        }
    }
}

/// The times of so many runs, the shortest first; some runs before them warm the caches and are not counted.
fn sorted_micros<T>(runs: usize, mut run: impl FnMut() -> T) -> Vec<f64> {
    for _ in 0..WARM_UP_RUNS {
        black_box(run());
    }
    let mut micros: Vec<f64> = (0..runs)
        .map(|_| {
            let began = Instant::now();
            black_box(run());
            began.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    micros.sort_by(f64::total_cmp);
    micros
}

fn shipped() -> Policy {
    let diagnostics = Diagnostics::default();
    let policy = load_toml(Path::new("policies/postern.toml"), &diagnostics, |top| {
        for key in top.keys() {
            top.section(&key); // read by other modules
        }
        Policy::load(
            top,
            "gateway.bumbleton.example",
            None,
            Clock::system(),
            None,
        )
    });
    policy.flatten().expect("the shipped policy loads")
}

fn transaction(message: String) -> MailTransaction {
    let from = ReversePath::parse("bumbleton.headoffice@nhs.net").expect("an address");
    let mut envelope = Envelope::new(from);
    let to = ForwardPath::parse("pharmacy.fa001@nhs.net").expect("an address");
    envelope.recipients = vec![Recipient::new(to)];
    MailTransaction {
        client: policy_test::client("127.0.0.1".parse().expect("an address"), None),
        envelope,
        message: Message::new(message.into_bytes()),
        received_at: Clock::system().now(),
    }
}

/// As people write: with a telephone number, so that the words round it are looked at.
fn paragraphs(octets: usize) -> String {
    let mut text = String::from("Dear colleague, the ward can be reached on 020 7946 0958.\r\n");
    while text.len() < octets {
        text.push_str(
            "The order of 14 November came in full; two boxes were short-dated (batch 45012).\r\n",
        );
    }
    text
}

fn of_text(octets: usize) -> String {
    let body = paragraphs(octets);
    format!("{HEADER}Content-Type: text/plain; charset=utf-8\r\n\r\n{body}")
}

fn alternative(octets: usize) -> String {
    let text = paragraphs(octets / 3);
    let mut html = String::from("<html><head><style>p { margin: 0 }</style></head><body>");
    while html.len() < octets * 2 / 3 {
        html.push_str("<p style=\"margin:0\"><span lang=\"EN-GB\">Two boxes were&nbsp;short-dated.</span></p>\r\n");
    }
    format!(
        "Content-Type: multipart/alternative; boundary=\"=_a\"\r\n\r\n--=_a\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n--=_a\r\n\
         Content-Type: text/html; charset=utf-8\r\n\r\n{html}</body></html>\r\n--=_a--\r\n"
    )
}

fn with_html(octets: usize) -> String {
    format!("{HEADER}{}", alternative(octets))
}

/// A letter of a thousand pages, not packed, each line drawn for itself.
fn with_pdf(octets: usize) -> String {
    let lines = octets / 4 * 3 / PDF_PAGES / 110;
    let line = "(Two boxes were short-dated: see batch 45012 of 14 November, and the telephone list.) Tj T*\n";
    let content = format!("BT /F 9 Tf 11 TL 40 800 Td\n{}ET", line.repeat(lines));
    let kids: Vec<String> = (0..PDF_PAGES)
        .map(|page| format!("{} 0 R", 4 + page * 2))
        .collect();
    let mut pdf = format!(
        "%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n\
         2 0 obj\n<< /Type /Pages /Count {PDF_PAGES} /Kids [{}] >>\nendobj\n\
         3 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>\nendobj\n",
        kids.join(" ")
    );
    for page in 0..PDF_PAGES {
        let (number, length) = (4 + page * 2, content.len());
        pdf.push_str(&format!(
            "{number} 0 obj\n<< /Type /Page /Parent 2 0 R /Contents {} 0 R /Resources << /Font << /F 3 0 R >> >> >>\n\
             endobj\n{} 0 obj\n<< /Length {length} >>\nstream\n{content}\nendstream\nendobj\n",
            number + 1,
            number + 1
        ));
    }
    pdf.push_str("trailer\n<< /Root 1 0 R >>\n%%EOF\n");
    format!(
        "{HEADER}Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        STANDARD.encode(pdf)
    )
}

fn with_attachment(octets: usize) -> String {
    let inner = alternative(10 << 10);
    let file: Vec<u8> = (0_u32..)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .take((octets - inner.len()) / 4 * 3)
        .collect();
    let file = STANDARD.encode(file);
    let lines: Vec<&str> = file
        .as_bytes()
        .chunks(76)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "{HEADER}Content-Type: multipart/mixed; boundary=\"=_m\"\r\n\r\n--=_m\r\n{inner}--=_m\r\n\
         Content-Type: application/pdf; name=\"a.pdf\"\r\nContent-Disposition: attachment\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--=_m--\r\n",
        lines.join("\r\n")
    )
}

const HEADER: &str = "From: Head office <bumbleton.headoffice@nhs.net>\r\nTo: pharmacy.fa001@nhs.net\r\n\
    Subject: Stock on hand\r\nDate: Fri, 20 Nov 2026 09:31:00 +0000\r\n\
    Message-ID: <1@bumbleton.example>\r\nMIME-Version: 1.0\r\n";

/// Runs before those that are counted.
const WARM_UP_RUNS: usize = 20;
/// Pages of the PDF.
const PDF_PAGES: usize = 1_000;
