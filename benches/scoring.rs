//! How long scoring takes: the whole stage `score-spam` with the rules and the model that ship, on messages of 10 KB.
//!
//! `cargo bench --bench scoring`. One core, no network; reading the message is told apart from judging it.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::path::Path;
use std::time::{Duration, Instant};

use postern::base::Clock;
use postern::policy::spam::Specimen;
use postern::policy::spam_corpus::Labelled;
use postern::settings::{self, PolicyTests};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/postern.toml");
        let loaded = settings::load(&config, &Clock::system(), PolicyTests::Skip).await;
        let policy = loaded.settings.unwrap().policy;
        let folder = tempfile::tempdir().unwrap();
        for (name, message) in [("plain text", plain()), ("HTML", html())] {
            let path = folder.path().join("message.eml");
            std::fs::write(&path, &message).unwrap();
            let mails = vec![Labelled { path, is_spam: true }; TIMES];
            let started = Instant::now();
            for _ in 0..TIMES {
                std::hint::black_box(Specimen::read(message.clone()));
            }
            let reading = each(started.elapsed());
            // The first of them makes what is made once.
            policy.measure_spam(&mails[..10], || {}).await.unwrap();
            let report = policy.measure_spam(&mails, || {}).await.unwrap();
            let both = each(report.took);
            println!(
                "{name}, {} octets: reading {reading:.0} us, reading and judging {both:.0} us, judging {:.0} us",
                message.len(),
                both - reading
            );
        }
    });
}

fn each(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6 / f64::from(u32::try_from(TIMES).unwrap())
}

const TIMES: usize = 1_000;
const HEAD: &str = "Received: from mail.example (mail.example [192.0.2.7]) by gateway.example; Fri, 20 Nov 2026 10:00:00 +0000\r\n\
    From: Jane Smith <jane@example.com>\r\nTo: reception@bumbleton.example\r\nSubject: The rota for next week\r\n\
    Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n";
const TEXT: &str = "We have moved the clinic of Tuesday to Thursday, as the room is being painted; please tell the patients who \
    ring up. Details are at https://www.example.com/rota and with the practice manager. ";

fn plain() -> Vec<u8> {
    let text = format!("{TEXT}\r\n").repeat(10_000 / TEXT.len());
    format!("{HEAD}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}").into_bytes()
}

fn html() -> Vec<u8> {
    let paragraph = format!(
        "<p style=\"margin:0\"><font color=\"#202020\">{TEXT}</font> <a href=\"https://www.example.com/x\">more</a></p>\r\n"
    );
    let text = paragraph.repeat(10_000 / paragraph.len());
    format!(
        "{HEAD}Content-Type: text/html; charset=utf-8\r\n\r\n<html><body>{text}</body></html>\r\n"
    )
    .into_bytes()
}
