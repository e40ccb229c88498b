//! What a secret must be, and how one is made: 20 characters of three kinds, not common, not breached, none of the
//! last four (`domain.md` §6.1).

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::digest;

use crate::base::secret::Secret;
use crate::config::{Located, Section};

use super::verify::{is_behind, parse_hash};

/// `[secrets]` of `accounts.toml`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Secrets {
    /// How long a secret is good.
    pub expire_after: Duration,
    /// How long the one before it is good besides.
    pub overlap: Duration,
    /// Breached passwords: a folder or a file in the format of Have I Been Pwned.
    pub breached: Option<PathBuf>,
}

impl Default for Secrets {
    fn default() -> Self {
        Self {
            expire_after: YEAR,
            overlap: WEEK,
            breached: None,
        }
    }
}

impl Secrets {
    /// Takes `[secrets]` out of the outermost section.
    pub(super) fn read(top: &Section<'_>) -> Self {
        let section = top.section("secrets");
        let default = Self::default();
        let duration = |key, default| section.duration(key).map_or(default, Located::into_inner);
        let read = Self {
            expire_after: duration("expire-after", default.expire_after),
            overlap: duration("overlap", default.overlap),
            breached: section.path("breached").map(Located::into_inner),
        };
        section.finish();
        read
    }

    /// What speaks against a secret that somebody chose: whole sentences, none of which repeats it. Empty if nothing
    /// does. `before` holds the hashes of those before it: each costs tens of milliseconds.
    ///
    /// # Errors
    /// The list of breached passwords cannot be read.
    pub fn objections(
        &self,
        secret: &str,
        account: &str,
        before: &[String],
    ) -> io::Result<Vec<&'static str>> {
        let mut objections = Vec::new();
        if secret.chars().count() < LENGTH_MIN {
            objections.push("it has less than 20 characters");
        }
        if secret.chars().count() > LENGTH_MAX || secret.chars().any(char::is_control) {
            objections.push("it has more than 256 characters, or some that are not printed");
        }
        if !has_three_kinds(secret) {
            objections
                .push("it needs an upper-case letter, a lower-case letter, and a digit or sign");
        }
        if is_common(secret, account) {
            objections.push(
                "too little is left of it without common words, runs, and the account's name",
            );
        }
        let is_old = |hash: &String| parse_hash(hash).is_ok_and(|hash| is_behind(&hash, secret));
        if before.iter().any(is_old) {
            objections.push("it is one of the last four");
        }
        if let Some(list) = &self.breached
            && is_breached(secret, list)?
        {
            objections.push("it is known from a breach");
        }
        Ok(objections)
    }
}

/// One upper-case letter, one lower-case letter, one digit or sign.
fn has_three_kinds(secret: &str) -> bool {
    let has = |kind: fn(char) -> bool| secret.chars().any(kind);
    has(char::is_uppercase) && has(char::is_lowercase) && has(|c| !c.is_alphabetic())
}

/// Whether hardly anything is left once common words, the words of the account's name, and runs are taken out.
fn is_common(secret: &str, account: &str) -> bool {
    let plain: String = secret.chars().flat_map(char::to_lowercase).collect();
    let undone: String = plain.chars().map(letter_behind).collect();
    [plain, undone]
        .iter()
        .any(|text| left_of(text, account) < LEFT_MIN)
}

/// Characters that are left, each counted once.
fn left_of(text: &str, account: &str) -> usize {
    let name = account.to_lowercase();
    let of_name = name
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() >= WORD_MIN);
    let mut words: Vec<&str> = COMMON.iter().copied().chain(of_name).collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let mut text = text.to_owned();
    for word in words {
        text = text.replace(word, "\0");
    }
    let kept = without_runs(&text);
    kept.into_iter().collect::<HashSet<char>>().len()
}

/// The characters that neither repeat the one before nor go on from it by one.
fn without_runs(text: &str) -> Vec<char> {
    let all: Vec<char> = text.chars().filter(|c| *c != '\0').collect();
    let goes_on = |at: usize| {
        let before = at.checked_sub(1).map(|before| all[before]);
        before.is_some_and(|before| (all[at] as i64 - before as i64).abs() <= 1)
    };
    (0..all.len())
        .filter(|at| !goes_on(*at))
        .map(|at| all[at])
        .collect()
}

/// The letter that a digit or sign usually stands for.
fn letter_behind(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        '8' => 'b',
        c => c,
    }
}

/// Looks a secret up by the SHA-1 of it. The list is a folder with a file for each of the first five digits (`5BAA6` or
/// `5BAA6.txt`, lines `SUFFIX:COUNT`: the answers of the range API, as its downloader writes them), or one sorted file
/// of lines `HASH:COUNT`.
fn is_breached(secret: &str, list: &Path) -> io::Result<bool> {
    let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let hash: String = sum
        .as_ref()
        .iter()
        .map(|octet| format!("{octet:02X}"))
        .collect();
    if !list.is_dir() {
        return is_in_sorted(&hash, list);
    }
    let (prefix, suffix) = hash.split_at(5);
    let named = [prefix.to_owned(), format!("{prefix}.txt")];
    let file = named
        .iter()
        .map(|name| list.join(name))
        .find(|path| path.exists());
    let Some(file) = file else {
        // The downloader writes a file for every prefix: without it the list is not whole.
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the list of breached passwords has no file for this prefix",
        ));
    };
    let text = fs::read_to_string(file)?;
    Ok(text.lines().any(|line| begins_with(line, suffix)))
}

/// Half by half, as in a telephone book.
fn is_in_sorted(hash: &str, list: &Path) -> io::Result<bool> {
    let mut file = File::open(list)?;
    let (mut low, mut high) = (0, file.metadata()?.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let (start, line) = line_after(&mut file, middle)?;
        match line.get(..hash.len()).map(str::to_ascii_uppercase) {
            Some(found) if found == hash => return Ok(true),
            Some(found) if *found < *hash && start < high => low = start + line.len() as u64,
            _ => high = middle,
        }
    }
    Ok(false)
}

/// The first line that begins at or after a place, and where it begins.
fn line_after(file: &mut File, place: u64) -> io::Result<(u64, String)> {
    let from = place.saturating_sub(1);
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::new(file.take(1_024));
    let mut skipped = Vec::new();
    if place > 0 {
        reader.read_until(b'\n', &mut skipped)?;
    }
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok((from + skipped.len() as u64, line))
}

fn begins_with(line: &str, digits: &str) -> bool {
    let found = line.split(':').next().unwrap_or_default();
    found.trim().eq_ignore_ascii_case(digits)
}

/// Makes a secret of the three kinds of characters. `None` if the system gives no random numbers.
pub(super) fn generate() -> Option<Secret> {
    loop {
        let text = random_text(SECRET_LENGTH)?;
        let has = |kind: fn(&char) -> bool| text.chars().any(|c| kind(&c));
        if has(char::is_ascii_uppercase)
            && has(char::is_ascii_lowercase)
            && has(char::is_ascii_digit)
        {
            return Some(Secret::new(text));
        }
    }
}

/// Each character is equally likely: octets past the last whole run of the alphabet are dropped.
pub(super) fn random_text(length: usize) -> Option<String> {
    let limit = 256 - 256 % ALPHABET.len();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut octets = [0; 64];
        getrandom::fill(&mut octets).ok()?;
        let usable = octets
            .iter()
            .map(|octet| usize::from(*octet))
            .filter(|octet| *octet < limit);
        let room = length - text.len();
        text.extend(
            usable
                .take(room)
                .map(|octet| char::from(ALPHABET[octet % ALPHABET.len()])),
        );
    }
    Some(text)
}

/// The lines of `common.txt`.
static COMMON: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let lines = include_str!("common.txt").lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
});

/// Letters and digits that are not mistaken for one another when copied by hand.
pub(super) const ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
/// Length of a secret: some 160 bits.
pub(super) const SECRET_LENGTH: usize = 28;
/// How often SCRAM hashes a password. The secrets that it is for have 160 bits: nobody guesses those at any price, so
/// this is what RFC 7677 §4 asks for at the least, twice, and costs a small device little.
pub(super) const SCRAM_ITERATIONS: NonZeroU32 = NonZeroU32::new(8_192).unwrap();
const LENGTH_MIN: usize = 20;
const LENGTH_MAX: usize = 256;
/// Different characters that must be left without the common ones.
const LEFT_MIN: usize = 8;
/// Shortest word of an account's name that counts.
const WORD_MIN: usize = 4;
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::verify::hash;
    use proptest::prelude::*;

    fn objections(secret: &str) -> Vec<&'static str> {
        let before = [hash("Xk9-vTq2.Lm7+wRb4_Zp8").unwrap()];
        Secrets::default()
            .objections(secret, "reminders.fa123.donotreply@nhs.net", &before)
            .unwrap()
    }

    #[test]
    fn what_is_short_simple_common_or_old_is_objected_to() {
        let none: [&str; 0] = [];
        assert_eq!(objections("vR7#tunes-Goblet.94kQ"), none);
        for (secret, objection) in [
            ("vR7#tunes-Goblet", "it has less than 20"),
            ("vr7#tunes-goblet.94kq", "it needs an upper"),
            ("Password1234Password1234", "too little is left"),
            ("P@ssw0rd-L3tm31n-W3lc0me", "too little is left"),
            ("Reminders.FA123.donotreply1", "too little is left"),
            ("Aaaaaaaaaaaaaaaaaaaaaaaa1", "too little is left"),
            ("Abcdefghijklmnopqrstuvwxyz1", "too little is left"),
            ("CorrectHorseBatteryStaple1", "too little is left"),
            ("Xk9-vTq2.Lm7+wRb4_Zp8", "it is one of the last four"),
        ] {
            let said = objections(secret);
            assert!(
                said.len() == 1 && said[0].starts_with(objection),
                "{secret}: {said:?}"
            );
        }
    }

    /// `password` is 5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8.
    #[test]
    fn breached_secrets_are_found_by_their_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let lines = "003D68EB55068C33ACE09247EE4C639306B:3\r\n1E4C9B93F3F0682250B6CF8331B7EE68FD8:9545824\r\n";
        fs::write(folder.path().join("5BAA6.txt"), lines).unwrap();
        assert!(is_breached("password", folder.path()).unwrap());
        assert!(
            is_breached("passwore", folder.path()).is_err(),
            "the list has a hole"
        );
        fs::write(
            folder.path().join("5BAA6"),
            "003D68EB55068C33ACE09247EE4C639306B:3\n",
        )
        .unwrap();
        assert!(!is_breached("password", folder.path()).unwrap());
    }

    proptest! {
        #[test]
        fn in_a_sorted_file_exactly_those_that_are_there_are_found(
            numbers in proptest::collection::btree_set(any::<u64>(), 0..60),
            asked in any::<u64>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("pwned.txt");
            let digits = |number: &u64| format!("{number:040X}");
            let lines: Vec<String> = numbers.iter().enumerate().map(|(n, one)| format!("{}:{n}\r\n", digits(one))).collect();
            fs::write(&path, lines.concat()).unwrap();
            for one in &numbers {
                prop_assert!(is_in_sorted(&digits(one), &path).unwrap());
            }
            prop_assert_eq!(is_in_sorted(&digits(&asked), &path).unwrap(), numbers.contains(&asked));
        }
    }

    #[test]
    fn secrets_that_are_made_pass_their_own_rule() {
        for _ in 0..50 {
            let secret = generate().unwrap();
            let said = Secrets::default().objections(secret.expose(), "a", &[]);
            assert_eq!(said.unwrap().len(), 0);
        }
    }
}
