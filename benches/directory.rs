//! How fast a directory of national size answers, is compiled and is reloaded, and what it weighs.
//!
//! `cargo bench --bench directory [-- COUNT]` makes a directory of COUNT mailboxes (2,000,000) from the
//! national files in ../shared/data and prints a line for each bar of the design; the exit status is 1
//! if one is missed. Run by anything else, it is a small one, and its figures say nothing.

mod national;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postern::config::{Diagnostics, Severity, render};
use postern::directory::{Cache, Completeness, Directory, End, Files, Served};
use postern::mail::Mailbox;

use national::National;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, folder] = arguments.as_slice()
        && command == "resident"
    {
        return resident(Path::new(folder));
    }
    let Some(source) = national::folder() else {
        println!("skipped: the national files are not in ../shared/data");
        return ExitCode::SUCCESS;
    };
    let is_bench = arguments.iter().any(|word| word == "--bench");
    let asked = arguments.iter().find_map(|word| word.parse().ok());
    let count = asked.unwrap_or(if is_bench { 2_000_000 } else { 5_000 });
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on this disk");
    let national = National::make(&source, count);
    write(folder.path(), &national);
    let mut bars = Bars { missed: 0 };
    run(folder.path(), national, &mut bars);
    if is_bench && bars.missed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn run(folder: &Path, mut national: National, bars: &mut Bars) {
    let rows = national.csv.lines().count() - 1;
    println!(
        "{rows} mailboxes, {} MiB of CSV, {} renames",
        national.csv.len() >> 20,
        national.renamed.len()
    );
    national.csv = String::new(); // it is in its file
    let (directory, compiled) = timed(|| load(folder));
    bars.seconds(
        "full compile, from the files to an index in its file",
        compiled,
        20.0,
    );
    drop(directory);
    let (directory, opened) = timed(|| load(folder));
    println!(
        "  opening what was compiled before: {:.2} s",
        opened.as_secs_f64()
    );
    let index = fs::read_dir(folder.join("index"))
        .expect("the index")
        .flatten()
        .next();
    let size = index
        .and_then(|file| file.metadata().ok())
        .map_or(0, |data| data.len());
    println!("  size of the index: {} MiB", size >> 20);

    let exact = mailboxes(&national.exact);
    let legacy = mailboxes(&national.legacy);
    let renamed = mailboxes(&national.renamed);
    let is_mailbox = |end: &End| matches!(end, End::Mailbox(_));
    let (time, found) = look_up(&directory, &exact, is_mailbox);
    assert_eq!(found, exact.len(), "every mailbox is found");
    bars.micros("exact look-up, mean", time, 1.0);
    let (time, found) = look_up(&directory, &legacy, |end| {
        matches!(end, End::Mailbox(_) | End::Ambiguous(_))
    });
    assert_eq!(
        found,
        legacy.len(),
        "every old name is a mailbox's or ambiguous"
    );
    bars.micros("legacy name, mean", time, 3.0);
    let (time, found) = look_up(&directory, &renamed, is_mailbox);
    assert_eq!(found, renamed.len(), "every rename leads to a mailbox");
    println!("  rename, mean: {:.2} µs", time.as_secs_f64() * 1e6);
    compare_with_fst(&directory, &exact);
    search(&directory, bars);
    weigh(folder, bars);
    reload(folder, directory, &exact, bars);
}

/// All names in an `fst` map, which could take the place of the hash table; made-up names are more
/// alike than real ones, so it looks smaller and faster than it would be.
fn compare_with_fst(directory: &Directory, names: &[Mailbox]) {
    let all = directory.entries().map(|entry| entry.address.to_string());
    let mut sorted: Vec<String> = all.collect();
    sorted.sort_unstable();
    let map = fst::Map::from_iter(sorted.into_iter().zip(0..)).expect("sorted names");
    let names: Vec<String> = names.iter().take(400_000).map(Mailbox::to_string).collect();
    let (found, time) = timed(|| names.iter().filter(|name| map.get(name).is_some()).count());
    let each = time.as_secs_f64() * 1e6 / found.max(1) as f64;
    println!(
        "  for comparison, get alone in an fst of all names ({} MiB): {each:.2} µs",
        map.as_fst().size() >> 20
    );
}

fn search(directory: &Directory, bars: &mut Bars) {
    let mut worst = (Duration::ZERO, "");
    for query in QUERIES {
        let _ = directory.search(query, 20); // the pages are there
        let (found, time) = timed(|| directory.search(query, 20));
        println!(
            "  search {query:?}: {:.2} ms, {} found",
            time.as_secs_f64() * 1e3,
            found.len()
        );
        worst = worst.max((time, query));
    }
    bars.millis(&format!("slowest search: {:?}", worst.1), worst.0, 20.0);
}

/// In a process of its own, that has nothing else in memory.
fn weigh(folder: &Path, bars: &mut Bars) {
    let this = std::env::current_exe().expect("this program");
    let output = Command::new(this)
        .arg("resident")
        .arg(folder)
        .output()
        .expect("a process");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mib: f64 = text.trim().parse().unwrap_or(f64::MAX);
    bars.bar(
        "resident after 200,000 look-ups all over it and every search (MiB)",
        mib,
        200.0,
    );
}

fn resident(folder: &Path) -> ExitCode {
    let directory = load(folder);
    let step = (directory.len() / 200_000).max(1);
    // Asked one by one: a list of all addresses would be weighed, too.
    let table = fs::File::open(folder.join("directory.csv")).expect("the table");
    for line in BufReader::new(table).lines().skip(1).step_by(step) {
        let line = line.expect("a row");
        let address = line.split(',').next().unwrap_or_default();
        std::hint::black_box(directory.resolve(&address.parse().expect("an address")));
    }
    for query in QUERIES {
        std::hint::black_box(directory.search(query, 20));
    }
    println!("{:.1}", status("VmRSS") / 1024.0);
    ExitCode::SUCCESS
}

/// A row more, and the directory is taken into force while another thread asks some thousand times a
/// second, as a busy gateway does. One that did nothing else would have to share a core of two with
/// the threads that read, and each of its turns that ends by the clock would count as a slow look-up.
fn reload(folder: &Path, directory: Directory, names: &[Mailbox], bars: &mut Bars) {
    let path = folder.join("directory.csv");
    let (in_force, readers) = tokio::sync::watch::channel(std::sync::Arc::new(directory));
    let ask = |over: &AtomicBool| {
        let (mut slowest, mut slow, mut count) = (Duration::ZERO, 0_u32, 0_u64);
        let before = status("nonvoluntary_ctxt_switches");
        for name in names.iter().cycle() {
            let (_, time) = timed(|| {
                let directory = std::sync::Arc::clone(&readers.borrow());
                directory.resolve(name)
            });
            std::thread::sleep(Duration::from_micros(50));
            slowest = slowest.max(time);
            slow += u32::from(time > Duration::from_millis(1));
            count += 1;
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
        (
            slowest,
            slow,
            count,
            status("nonvoluntary_ctxt_switches") - before,
        )
    };
    let during = |work: &dyn Fn() -> Duration| {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| ask(&over));
            let time = work();
            over.store(true, Ordering::Relaxed);
            (asking.join().expect("no panic"), time)
        })
    };
    let ((slowest, slow, count, switches), _) =
        during(&|| timed(|| std::thread::sleep(Duration::from_secs(2))).1);
    println!(
        "  without a reload: slowest of {count} look-ups {:.3} ms, {slow} over 1 ms, {switches} times put aside by others",
        slowest.as_secs_f64() * 1e3
    );
    let mut text = fs::read_to_string(&path).expect("the table");
    text.push_str("pharmacy.fx999@nhs.net,pharmacy,active,FX999,\"New\",,\"Leeds\",,,,,LS1 1AA\n");
    fs::write(&path, text).expect("the changed table");
    let ((slowest, slow, count, switches), time) = during(&|| {
        let (changed, time) = timed(|| std::sync::Arc::new(load(folder)));
        in_force.send_replace(std::sync::Arc::clone(&changed));
        changed.remove_older();
        time
    });
    bars.seconds("reload of a changed file", time, 5.0);
    println!(
        "  meanwhile {count} look-ups, {slow} over 1 ms; the thread was put aside {switches} times"
    );
    bars.millis("slowest look-up meanwhile", slowest, 1.0);
    let new = "pharmacy.fx999@nhs.net".parse().expect("an address");
    assert!(matches!(
        readers.borrow().resolve(&new).end,
        End::Mailbox(_)
    ));
}

fn load(folder: &Path) -> Directory {
    let diagnostics = Diagnostics::default();
    let cache = Cache {
        folder: folder.join("index"),
        keep: true,
    };
    let served = [Served {
        domain: "nhs.net".parse().expect("a domain"),
        completeness: Completeness::Complete,
    }];
    let directory =
        Directory::load_cached(&files(folder), Some(&cache), &served, false, &diagnostics);
    let errors = diagnostics
        .into_vec()
        .into_iter()
        .filter(|said| said.severity == Severity::Error);
    let errors: Vec<String> = errors.map(|error| render::short(&error)).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    directory.expect("a directory")
}

fn files(folder: &Path) -> Files {
    let file = |name: &str| -> PathBuf { folder.join(name) };
    Files {
        aliases: file("aliases.toml"),
        mailboxes: file("directory.csv"),
        redirects: Some(file("redirects.csv")),
    }
}

fn write(folder: &Path, national: &National) {
    // The shipped rules for shapes and the stop words, without the shipped names.
    let shipped = include_str!("../policies/aliases.toml");
    let rules = shipped
        .split("# --- Names that lead")
        .next()
        .unwrap_or(shipped);
    let files = files(folder);
    let redirects = files.redirects.expect("as made above");
    for (path, text) in [
        (files.aliases, rules),
        (files.mailboxes, &national.csv),
        (redirects, &national.redirects),
    ] {
        fs::write(path, text).expect("room on the disk");
    }
}

/// In an order that is nobody's, so that the pages and caches are not asked for in theirs.
fn mailboxes(names: &[String]) -> Vec<Mailbox> {
    let stride = 7_919 % names.len().max(1);
    let at = (0..names.len()).map(|at| at * stride.max(1) % names.len());
    at.map(|at| names[at].parse().expect("an address"))
        .collect()
}

/// The mean time of a look-up, and how many ended as they should.
fn look_up(
    directory: &Directory,
    names: &[Mailbox],
    right: impl Fn(&End) -> bool,
) -> (Duration, usize) {
    let mut found = 0;
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        found = names
            .iter()
            .filter(|name| right(&directory.resolve(name).end))
            .count();
        best = best.min(began.elapsed() / names.len().max(1) as u32);
    }
    (best, found)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let value = work();
    (value, began.elapsed())
}

/// A number of this thread's status; memory in KiB.
fn status(field: &str) -> f64 {
    let text = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(f64::MAX)
}

/// What must be so.
struct Bars {
    missed: usize,
}

impl Bars {
    fn seconds(&mut self, what: &str, time: Duration, below: f64) {
        self.bar(&format!("{what} (s)"), time.as_secs_f64(), below);
    }

    fn millis(&mut self, what: &str, time: Duration, below: f64) {
        self.bar(&format!("{what} (ms)"), time.as_secs_f64() * 1e3, below);
    }

    fn micros(&mut self, what: &str, time: Duration, below: f64) {
        self.bar(&format!("{what} (µs)"), time.as_secs_f64() * 1e6, below);
    }

    fn bar(&mut self, what: &str, value: f64, below: f64) {
        let met = value < below;
        self.missed += usize::from(!met);
        let word = if met { "met" } else { "MISSED" };
        println!("{word:<6} {what}: {value:.2}, bar {below}");
    }
}

/// As people type them.
const QUERIES: &[&str] = &[
    "fa001",
    "pharmacy.fa002@nhs.net",
    "boots leeds",
    "SK7 5LD",
    "sk75ld",
    "jo",
    "j",
    "smith",
    "sarah smith",
    "aldermans palmers green",
    "aldermnas",
    "oliver teachng hospitals",
    "pharmacy",
    "teaching hospitals",
    "practice manchester",
    "mohamed heywodo",
    "zzzzzzzz",
    "xqwertyu zxcvbnmm asdfghjk",
    "oliver heywood@nhs.net",
];
