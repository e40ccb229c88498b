//! What a footer costs: finding where it goes and writing it, and proving that nothing else changed.
//!
//! `cargo bench --bench edit -- [RUNS]` prints a line for each message; the bar is 50 µs for the edit of 10 KB on
//! one core. Moved is what was copied beyond the one write of the message that leaves: the octets
//! that were asked of the allocator while the edit and the proof ran, less that write. Peak is the most that
//! was in use at once, the original apart and the write included.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use postern::mail::mime;
use postern::mail::prove::prove;
use postern::mail::splice::{Footer, plan_footer};
use postern::mail::{Edit, Message, edit};

const FOOTER: Footer<'static> = Footer {
    signature_text: "",
    signature_html: "",
    text: "\nBumbleton Pharmacies Ltd. Registered in England and Wales. Company no. 01234567. Registered office: 1 Market Place, Bumbleton BU1 1AA.\n",
    html: "<p>Bumbleton Pharmacies Ltd. Registered in England and Wales. Company no. 01234567. Registered office: 1 Market Place, Bumbleton BU1 1AA.</p>",
    entity: "bumbleton-pharmacies",
};

fn main() {
    let runs = std::env::args()
        .filter_map(|word| word.parse().ok())
        .find(|runs| *runs > 0)
        .unwrap_or(500);
    println!("times in µs, median of {runs} runs (of a fiftieth at 10 MB)\n");
    println!(
        "| message                     |   octets |   edit | edit and proof | moved, octets | peak, octets |"
    );
    println!(
        "|-----------------------------|---------:|-------:|---------------:|--------------:|-------------:|"
    );
    for (name, message, runs) in [
        ("10 KB of text", text(10 << 10), runs),
        (
            "10 KB, alternatives, 8bit",
            alternatives(10 << 10, "8bit"),
            runs,
        ),
        (
            "10 KB, alternatives, quoted",
            alternatives(10 << 10, "quoted-printable"),
            runs,
        ),
        ("75 KB, with an attachment", attachment(75 << 10), runs),
        (
            "10 MB, with an attachment",
            attachment(10 << 20),
            (runs / 50).max(5),
        ),
    ] {
        let message = Message::new(message.replace('\n', "\r\n").into_bytes());
        let edit = median(runs, || edited(&message).0);
        let both = median(runs, || edited_and_proved(&message));
        let (moved, peak) = memory(|| edited_and_proved(&message));
        let moved = moved.saturating_sub(message.len());
        let octets = message.len();
        println!(
            "| {name:<27} | {octets:>8} | {edit:>6.0} | {both:>14.0} | {moved:>13} | {peak:>12} |"
        );
    }
}

fn edited(message: &Message) -> (Message, Vec<Edit>) {
    let structure = mime::parse(message.octets()).expect("within limits");
    let edits = plan_footer(message, &structure, &FOOTER).expect("it can be edited");
    (edit::apply(message, &edits).expect("no conflict"), edits)
}

fn edited_and_proved(message: &Message) -> Message {
    let (after, edits) = edited(message);
    prove(message, &after, &edits).expect("it can be proved");
    after
}

fn median<T>(runs: usize, run: impl Fn() -> T) -> f64 {
    for _ in 0..runs / 10 + 1 {
        black_box(run());
    }
    let once = |_| {
        let began = Instant::now();
        black_box(run());
        began.elapsed().as_secs_f64() * 1e6
    };
    let mut micros: Vec<f64> = (0..runs).map(once).collect();
    micros.sort_by(f64::total_cmp);
    micros[micros.len() / 2]
}

/// What was asked of the allocator, and the most of it in use at once.
fn memory<T>(run: impl Fn() -> T) -> (usize, usize) {
    let before = IN_USE.load(Ordering::Relaxed);
    ASKED.store(0, Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    black_box(run());
    (
        ASKED.load(Ordering::Relaxed),
        PEAK.load(Ordering::Relaxed) - before,
    )
}

fn paragraphs(octets: usize) -> String {
    "The order of 14 November came in full; two boxes were short-dated (batch 45012).\n"
        .repeat(octets / 82 + 1)
}

fn text(octets: usize) -> String {
    let body = paragraphs(octets);
    format!(
        "From: a@bumbleton.example\nSubject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{body}"
    )
}

fn alternatives(octets: usize, encoding: &str) -> String {
    let text = paragraphs(octets / 3);
    let html = "<p><span>Two boxes were&nbsp;short-dated.</span></p>\n".repeat(octets / 80 + 1);
    let leaf = |kind: &str, body: &str| {
        format!(
            "--=_a\nContent-Type: {kind}; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n\n{body}\n"
        )
    };
    let (text, html) = (
        leaf("text/plain", &text),
        leaf("text/html", &format!("<html><body>{html}</body></html>")),
    );
    format!(
        "From: a@bumbleton.example\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=\"=_a\"\n\n{text}{html}--=_a--\n"
    )
}

fn attachment(octets: usize) -> String {
    let inner = alternatives(10 << 10, "8bit");
    let inner = inner
        .split_once("MIME-Version: 1.0\n")
        .expect("the header")
        .1;
    let digits = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0\n";
    let file = digits.repeat((octets - inner.len()) / 78);
    format!(
        "From: a@bumbleton.example\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=_m\"\n\n--=_m\n{inner}--=_m\nContent-Type: application/pdf; name=\"a.pdf\"\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\n{file}--=_m--\n"
    )
}

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// The allocator of the system, counting.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(
    unsafe_code,
    reason = "an allocator can be written in no other way; it hands everything on"
)]
// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_add(layout.size(), Ordering::Relaxed);
        let in_use = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(in_use, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}
