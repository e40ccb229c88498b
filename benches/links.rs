//! Links: how long they take to read, and what is odd about those of a collection of mail.
//!
//! `cargo bench --bench links -- [RUNS]` prints times. `cargo bench --bench links -- FOLDER…` judges every file
//! below the folders by the shipped policy, as mail from outside and without network, and prints how many messages
//! have a link of each kind, by the folder named `ham` or `spam` in which they lie.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use postern::base::Clock;
use postern::config::{Diagnostics, load_toml};
use postern::content::links;
use postern::mail::{Envelope, ForwardPath, MailTransaction, Message, Recipient, ReversePath};
use postern::policy::decide::Network;
use postern::policy::{Policy, policy_test};

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let folders: Vec<PathBuf> = words
        .iter()
        .map(PathBuf::from)
        .filter(|path| path.is_dir())
        .collect();
    if folders.is_empty() {
        let runs = words
            .iter()
            .filter_map(|word| word.parse().ok())
            .find(|runs| *runs > 0);
        times(runs.unwrap_or(500));
    } else {
        collection(&folders);
    }
}

fn times(runs: usize) {
    let policy = shipped();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let page = page(10 << 10, 50);
    let text = "see https://www.supplier.example/a and www.b.example.\r\n".repeat(200);
    let transaction = transaction(format!("Content-Type: text/html\r\n\r\n{page}").into_bytes());
    println!("times in µs, median of {runs}\n");
    for (name, micros) in [
        (
            "10 KB of HTML with 50 links",
            median(runs, || links::of_html(&page)),
        ),
        (
            "10 KB of text with 400 links",
            median(runs, || links::of_text(&text, links::Flow::Fixed)),
        ),
        (
            "the whole policy on that page",
            median(runs, || {
                runtime.block_on(policy.judge(&transaction, Network::Off))
            }),
        ),
    ] {
        println!("| {name:<30} | {micros:>7.1} |");
    }
}

fn median<T>(runs: usize, mut run: impl FnMut() -> T) -> f64 {
    let mut micros: Vec<f64> = (0..runs)
        .map(|_| {
            let began = Instant::now();
            black_box(run());
            began.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    micros.sort_by(f64::total_cmp);
    micros[micros.len() / 2]
}

fn page(octets: usize, count: usize) -> String {
    let mut page = String::from("<html><head></head><body>");
    for number in 0..count {
        let link = format!(
            "<p style=\"margin:0\"><span lang=\"EN-GB\">Two boxes were&nbsp;short-dated, see \
             <a href=\"https://www.supplier{}.example/orders?a={number}&amp;b=2\">order {number}</a>.</span></p>\r\n",
            number % 10
        );
        page.push_str(&link);
    }
    while page.len() < octets {
        page.push_str("<p>Nothing else came.</p>\r\n");
    }
    page
}

/// Counts messages of each label by the kinds of links that they have.
fn collection(folders: &[PathBuf]) {
    let policy = shipped();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut files = Vec::new();
    folders
        .iter()
        .for_each(|folder| collect(folder, &mut files));
    let mut all: BTreeMap<&str, usize> = BTreeMap::new();
    let mut kinds: BTreeMap<(&'static str, &'static str), BTreeMap<&str, usize>> = BTreeMap::new();
    for file in &files {
        let label = if file.components().any(|part| part.as_os_str() == "spam") {
            "spam"
        } else {
            "ham"
        };
        let octets = std::fs::read(file).expect("a message");
        let transaction = transaction(Message::of_file(octets).octets().to_vec());
        let decision = runtime.block_on(policy.judge(&transaction, Network::Off));
        let links = decision.findings.links.iter();
        let found: BTreeSet<_> = links.map(|link| (link.kind.word(), link.does)).collect();
        *all.entry(label).or_default() += 1;
        for kind in found {
            *kinds.entry(kind).or_default().entry(label).or_default() += 1;
        }
    }
    let of = |counts: &BTreeMap<&str, usize>, label| counts.get(label).copied().unwrap_or(0);
    let share = |counts: &BTreeMap<&str, usize>, label| {
        100.0 * of(counts, label) as f64 / of(&all, label).max(1) as f64
    };
    println!(
        "| kind | shipped | ham ({}) | spam ({}) |\n|---|---|---:|---:|",
        of(&all, "ham"),
        of(&all, "spam")
    );
    for ((kind, does), counts) in &kinds {
        println!(
            "| `{kind}` | {does} | {} ({:.2} %) | {} ({:.2} %) |",
            of(counts, "ham"),
            share(counts, "ham"),
            of(counts, "spam"),
            share(counts, "spam")
        );
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path
            .parent()
            .is_some_and(|parent| parent.ends_with("ham") || parent.ends_with("spam"))
        {
            files.push(path);
        }
    }
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

fn transaction(message: Vec<u8>) -> MailTransaction {
    let from = ReversePath::parse("someone@elsewhere.example").expect("an address");
    let mut envelope = Envelope::new(from);
    let to = ForwardPath::parse("pharmacy.fa001@nhs.net").expect("an address");
    envelope.recipients = vec![Recipient::new(to)];
    MailTransaction {
        client: policy_test::client("192.0.2.55".parse().expect("an address"), None),
        envelope,
        message: Message::new(message),
        received_at: Clock::system().now(),
    }
}
