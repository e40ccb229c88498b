//! DNS lists (RFC 5782): by the address of the client, by the domains of sender and links, by the hash of the
//! author's address or of an attached file. Which lists, which answers, and what each weighs is data.
//!
//! All questions about a message go out at once and share one deadline; what has not answered by then says nothing.
//! An answer in 127.255.255.0/24 says that the list does not serve this resolver, and nothing of the message.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use mail_auth::common::crypto::HashAlgorithm;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::base::dns::Dns;
use crate::base::{Network, metrics};
use crate::config::{Located, Section};
use crate::mail::Domain;
use crate::policy::author::authors;
use crate::policy::case::Case;
use crate::policy::finding::Symbol;

/// One list: `[[dns-list]]` of `scoring.toml`.
#[derive(Debug)]
pub struct DnsList {
    zone: String,
    kind: Kind,
    codes: Vec<Code>,
}

/// What a list is asked about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// The address of the client.
    Client,
    /// The domains of sender, author and links.
    Domain,
    /// The author's address.
    AddressHash(Hash),
    /// Each file.
    FileHash(Hash),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hash {
    Sha1,
    Sha256,
}

/// What an answer means.
#[derive(Debug)]
struct Code {
    answer: Network,
    symbol: Symbol,
}

impl DnsList {
    /// All of them.
    pub fn read_all(top: &Section<'_>) -> Vec<Self> {
        let mut lists = Vec::new();
        for section in top.sections("dns-list") {
            lists.extend(Self::read(&section));
            section.finish();
        }
        lists
    }

    fn read(section: &Section<'_>) -> Option<Self> {
        section.required_string("name"); // for people
        let zone = section.required::<Zone>("zone");
        let words = [
            ("ip", 0),
            ("domain", 1),
            ("address-hash", 2),
            ("file-hash", 3),
        ];
        section.required_string("kind");
        let kind = section.word("kind", &words);
        let hash = section.word("hash", &[("sha1", Hash::Sha1), ("sha256", Hash::Sha256)]);
        let hash = hash.map_or(Hash::Sha1, Located::into_inner);
        let mut codes = Vec::new();
        for code in section.sections("codes") {
            codes.extend(Code::read(&code));
            code.finish();
        }
        Some(Self {
            zone: zone?.into_inner().0,
            kind: match *kind? {
                0 => Kind::Client,
                1 => Kind::Domain,
                2 => Kind::AddressHash(hash),
                _ => Kind::FileHash(hash),
            },
            codes,
        })
    }

    /// The names to ask for, below the zone.
    fn names(&self, subjects: &Subjects) -> Vec<String> {
        let subjects: Vec<String> = match self.kind {
            Kind::Client => subjects.client.iter().cloned().collect(),
            Kind::Domain => subjects.domains.clone(),
            Kind::AddressHash(hash) => {
                let author = subjects.author.iter();
                author.map(|text| hash.of(text.as_bytes())).collect()
            }
            Kind::FileHash(hash) => subjects.files.iter().map(|file| hash.of(file)).collect(),
        };
        let below = subjects
            .into_iter()
            .map(|name| format!("{name}.{}", self.zone));
        below.collect()
    }

    /// The symbols of an answer, each once.
    fn symbols(&self, answers: &[IpAddr]) -> Vec<&Symbol> {
        let meant = |code: &&Code| answers.iter().any(|answer| code.answer.contains(*answer));
        self.codes
            .iter()
            .filter(meant)
            .map(|code| &code.symbol)
            .collect()
    }
}

impl Code {
    fn read(section: &Section<'_>) -> Option<Self> {
        let answer = section.required::<Network>("answer");
        let name = section.required_string("symbol");
        let weight = section.number("weight");
        let description = section.required_string("description");
        let name = name?;
        let harmless = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        if name.is_empty() || name.len() > 60 || !name.bytes().all(harmless) {
            let help = "capitals, digits and underscores, at most 60".to_owned();
            section.report("bad-name", "this is not a name for a symbol", &name, help);
        }
        Some(Self {
            answer: answer?.into_inner(),
            symbol: Symbol {
                name: name.into_inner(),
                score: weight.map_or(0.0, Located::into_inner),
                because: description.map(Located::into_inner).unwrap_or_default(),
            },
        })
    }
}

impl Hash {
    /// SHA-1 in hexadecimal figures, SHA-256 in base 32 (RFC 4648 §6, small letters, no padding), as lists have them: 64
    /// figures are more than a label of the DNS holds (63, RFC 1035 §2.3.4).
    fn of(self, octets: &[u8]) -> String {
        match self {
            Self::Sha1 => {
                let digest = HashAlgorithm::Sha1.hash(octets);
                let hex = digest.as_ref().iter().map(|octet| format!("{octet:02x}"));
                hex.collect()
            }
            Self::Sha256 => base32(HashAlgorithm::Sha256.hash(octets).as_ref()),
        }
    }
}

fn base32(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() * 8 / 5 + 1);
    for five in octets.chunks(5) {
        let mut bits = [0; 8];
        bits[3..3 + five.len()].copy_from_slice(five);
        let bits = u64::from_be_bytes(bits);
        let digits = (five.len() * 8).div_ceil(5);
        for at in 0..digits {
            let digit = (bits >> (35 - 5 * at)) & 31;
            text.push(char::from(BASE32[digit as usize])); // 31 at most
        }
    }
    text
}

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The name below which a list answers: labels as of a host, also with underscores (`_file.KEY.list.example`).
struct Zone(String);

/// Not a name in the DNS.
#[derive(Debug, thiserror::Error)]
#[error("this is no name in the DNS: letters, figures, hyphens and underscores between dots")]
struct BadZone;

impl FromStr for Zone {
    type Err = BadZone;

    fn from_str(text: &str) -> Result<Self, BadZone> {
        let zone = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_label = |label: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            !label.is_empty() && label.len() <= 63 && label.bytes().all(fits)
        };
        // What is asked for stands before it.
        match zone.len() <= ZONE_MAX && zone.split('.').all(is_label) {
            true => Ok(Self(zone)),
            false => Err(BadZone),
        }
    }
}

/// What lists can be asked about.
#[derive(Debug, Default)]
struct Subjects {
    client: Option<String>,
    domains: Vec<String>,
    author: Option<String>,
    files: Vec<Vec<u8>>,
}

impl Subjects {
    fn of(case: &Case<'_>, lists: &[DnsList]) -> Self {
        let wants = |kind: fn(Kind) -> bool| lists.iter().any(|list| kind(list.kind));
        let author = authors(case.header, "From")
            .into_iter()
            .find_map(|one| one.mailbox);
        let mut subjects = Self {
            client: reversed(case.transaction.client.address.ip()),
            author: author.map(|author| author.to_string().to_lowercase()),
            ..Self::default()
        };
        if wants(|kind| kind == Kind::Domain) {
            subjects.domains = domains(case);
        }
        if wants(|kind| matches!(kind, Kind::FileHash(_))) {
            subjects.files = files(case);
        }
        subjects
    }
}

/// The symbols of all lists that answer in time.
pub(super) async fn ask(lists: &[DnsList], dns: &Dns, case: &Case<'_>) -> Vec<Symbol> {
    if lists.is_empty() {
        return Vec::new();
    }
    let subjects = Subjects::of(case, lists);
    let mut questions = JoinSet::new();
    for (number, list) in lists.iter().enumerate() {
        for name in list.names(&subjects) {
            let dns = dns.clone();
            questions.spawn(async move {
                let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                (
                    number,
                    dns.addresses_like(&name, any).await.unwrap_or_default(),
                )
            });
        }
    }
    let deadline = Instant::now() + dns.timeout().min(DEADLINE_MAX);
    let mut answers: Vec<Vec<IpAddr>> = vec![Vec::new(); lists.len()];
    // The set aborts what is left in it when it is dropped.
    while let Ok(Some(answer)) = timeout_at(deadline, questions.join_next()).await {
        let Ok((number, found)) = answer else {
            continue;
        };
        answers[number].extend(found.into_iter().filter(|answer| is_opinion(*answer)));
    }
    let mut symbols: Vec<Symbol> = Vec::new();
    for (list, answers) in lists.iter().zip(&answers) {
        for symbol in list.symbols(answers) {
            if !symbols.iter().any(|known| known.name == symbol.name) {
                symbols.push(symbol.clone());
            }
        }
    }
    symbols
}

/// RFC 5782 §2.1: lists answer in 127.0.0.0/8; anything else is a resolver that makes answers up.
fn is_opinion(answer: IpAddr) -> bool {
    let IpAddr::V4(answer) = answer else {
        return false;
    };
    match answer.octets() {
        [127, 255, 255, _] => {
            metrics::DNS_LISTS_BLOCKED.add(1);
            false
        }
        [127, ..] => true,
        _ => false,
    }
}

/// RFC 5782 §2.1, §2.4; `None` for addresses that no list can know.
fn reversed(client: IpAddr) -> Option<String> {
    match client.to_canonical() {
        IpAddr::V4(v4) if v4.is_private() || v4.is_loopback() || v4.is_link_local() => None,
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            Some(format!("{d}.{c}.{b}.{a}"))
        }
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unique_local() => None,
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|b| [b & 15, b >> 4]);
            let nibbles: Vec<String> = nibbles.map(|nibble| format!("{nibble:x}")).collect();
            Some(nibbles.join("."))
        }
    }
}

/// Of reverse path, author and links: each as it is and the two names above it, for lists have the name that was
/// registered.
fn domains(case: &Case<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let sender = case.transaction.envelope.reverse_path.domain();
    let authors = authors(case.header, "From");
    let authors = authors
        .iter()
        .filter_map(|one| one.mailbox.as_ref()?.domain());
    for domain in sender.into_iter().chain(authors) {
        add_domain(&mut found, domain.as_str());
    }
    for piece in &case.content.texts {
        hosts(&piece.text, &mut found);
    }
    if let Ok(structure) = case.structure {
        let octets = case.transaction.message.octets();
        for part in structure.leaves().filter(|part| part.is("text", "html")) {
            hosts(&String::from_utf8_lossy(&part.decoded(octets)), &mut found);
        }
    }
    found
}

/// What stands behind `://` up to what cannot be of a host.
fn hosts(text: &str, found: &mut Vec<String>) {
    for (at, mark) in text.match_indices("://") {
        let rest = &text[at + mark.len()..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || "-._@".contains(c)));
        let host = &rest[..end.unwrap_or(rest.len())];
        let host = host.rsplit('@').next().unwrap_or(host);
        if let Ok(domain) = Domain::parse(host.trim_end_matches('.')) {
            add_domain(found, domain.as_str());
        }
        if found.len() >= DOMAINS_MAX {
            return;
        }
    }
}

fn add_domain(found: &mut Vec<String>, domain: &str) {
    let mut name = domain;
    for _ in 0..3 {
        if !name.contains('.') || found.len() >= DOMAINS_MAX {
            return;
        }
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
        name = name.split_once('.').map_or("", |(_, above)| above);
    }
}

fn files(case: &Case<'_>) -> Vec<Vec<u8>> {
    let Ok(structure) = case.structure else {
        return Vec::new();
    };
    let octets = case.transaction.message.octets();
    let parts = structure.leaves().filter(|part| part.is_attachment());
    parts
        .take(FILES_MAX)
        .map(|part| part.decoded(octets).into_owned())
        .collect()
}

/// Octets of a zone; names have 253 at most, and a hash or an address before it 72.
const ZONE_MAX: usize = 180;
/// Names of one message that are asked for.
const DOMAINS_MAX: usize = 30;
/// Files of one message that are asked for.
const FILES_MAX: usize = 10;
/// The longest that lists are waited for, whatever the resolver is given.
const DEADLINE_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::dns::fake::FakeDns;
    use crate::config::{Diagnostics, read_toml};
    use crate::policy::testing::{World, file};

    const LISTS: &str = r#"
[[dns-list]]
name = "by address"
zone = "ip.example"
kind = "ip"
codes = [
    { answer = "127.0.0.2", symbol = "DNSL_SPAM", weight = 4.0, description = "it sends spam" },
    { answer = "127.0.0.4/30", symbol = "DNSL_BOT", weight = 3.0, description = "it is a robot" },
]
[[dns-list]]
name = "by domain"
zone = "domain.example"
kind = "domain"
codes = [{ answer = "127.0.1.0/24", symbol = "DNSL_LINK", weight = 5.0, description = "a link" }]
[[dns-list]]
name = "by hash of the address"
zone = "hash.example"
kind = "address-hash"
hash = "sha1"
codes = [{ answer = "127.0.0.2", symbol = "DNSL_ADDRESS", weight = 5.0, description = "an address" }]
"#;

    fn lists() -> Vec<DnsList> {
        let diagnostics = Diagnostics::default();
        let lists = read_toml(
            &file("scoring.toml", LISTS),
            &diagnostics,
            DnsList::read_all,
        );
        assert!(diagnostics.into_vec().is_empty());
        lists
    }

    fn world() -> World {
        let message = "From: Bad@Shop.example\n\nsee https://user@www.Evil.example:80/x?y or http://2.example\n";
        World::new(message, "x@y.example", &["a@nhs.net"])
    }

    fn subjects() -> Subjects {
        world().ask(|case| Subjects::of(case, &lists()))
    }

    #[test]
    fn lists_are_asked_about_client_domains_and_hashes() {
        let names: Vec<Vec<String>> = lists().iter().map(|list| list.names(&subjects())).collect();
        assert_eq!(names[0], ["1.2.0.192.ip.example"]);
        assert_eq!(
            names[1],
            [
                "y.example.domain.example",
                "shop.example.domain.example",
                "www.evil.example.domain.example",
                "evil.example.domain.example",
                "2.example.domain.example",
            ]
        );
        // printf bad@shop.example | sha1sum
        assert_eq!(names[2].len(), 1);
        assert_eq!(names[2][0].len(), 40 + ".hash.example".len());
    }

    #[test]
    fn a_hash_is_short_enough_for_a_label_and_written_as_lists_have_it() {
        // printf hello | sha256sum | xxd -r -p | base32
        assert_eq!(
            Hash::Sha256.of(b"hello"),
            "ftze3os7wcrq4jxihmvmlopctynrmhs4d6tuexttaqzwfe4ltasa"
        );
        assert_eq!(
            Hash::Sha1.of(b"hello"),
            "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"
        );
        for (octets, text) in [
            (&b""[..], ""),
            (b"f", "my"),
            (b"fo", "mzxq"),
            (b"foobar", "mzxw6ytboi"),
        ] {
            assert_eq!(base32(octets), text); // RFC 4648 §10
        }
    }

    #[test]
    fn a_zone_may_have_underscores_and_no_more_than_that() {
        let read = |text: &str| text.parse::<Zone>().map(|zone| zone.0).ok();
        let known = read("_File.key.hbl.Example.");
        assert_eq!(known.as_deref(), Some("_file.key.hbl.example"));
        for bad in ["", "a..b", "a b", "a/b", &"a".repeat(64), &"a.".repeat(100)] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_that_no_list_can_know_is_not_asked_for() {
        assert_eq!(reversed("10.1.2.3".parse().unwrap()), None);
        assert_eq!(reversed("::1".parse().unwrap()), None);
        let v6 = reversed("2001:db8::1".parse().unwrap()).unwrap();
        assert!(v6.starts_with("1.0.0.0.") && v6.ends_with(".8.b.d.0.1.0.0.2"));
    }

    #[tokio::test]
    async fn each_answer_has_its_symbol_and_a_blocked_resolver_has_none() {
        let server = FakeDns::start()
            .await
            .with_address("1.2.0.192.ip.example", "127.0.0.5")
            .with_address("evil.example.domain.example", "127.255.255.254")
            .with_address("2.example.domain.example", "192.0.2.99")
            .silent_for("shop.example.domain.example");
        let dns = server.resolver(Duration::from_millis(500));
        let (lists, world) = (lists(), world());
        let before = metrics::DNS_LISTS_BLOCKED.value();
        let runtime = tokio::runtime::Handle::current();
        let symbols = tokio::task::spawn_blocking(move || {
            world.ask(|case| runtime.block_on(ask(&lists, &dns, case)))
        });
        let symbols: Vec<_> = symbols
            .await
            .unwrap()
            .into_iter()
            .map(|one| one.name)
            .collect();
        assert_eq!(symbols, ["DNSL_BOT"]);
        assert!(metrics::DNS_LISTS_BLOCKED.value() > before);
    }
}
