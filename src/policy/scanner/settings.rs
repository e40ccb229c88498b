//! `[[scanner]]` of `links.toml`, the file of the stage that asks them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::config::{Located, Section};
use crate::policy::verdict::Direction;

use super::{Address, Engine, Otherwise, Scanner};

/// Takes every `[[scanner]]` out of the outermost section.
pub fn read_all(top: &Section<'_>) -> Vec<Scanner> {
    let mut scanners: Vec<Scanner> = Vec::new();
    for section in top.sections("scanner") {
        let scanner = read(&section);
        section.finish();
        let Some(scanner) = scanner else { continue };
        if scanners.iter().any(|known| *known.name == *scanner.name) {
            let help = "give one of them another name".to_owned();
            top.report("twice", "two scanners have this name", &scanner.name, help);
            continue;
        }
        scanners.push(scanner);
    }
    let together: Duration = scanners.iter().map(Scanner::timeout).sum();
    if let Some(last) = scanners.last().filter(|_| together > TOGETHER_MAX) {
        let message = format!("all scanners together may take {} s", together.as_secs());
        let help =
            "together at most 90s for one message: the client waits for the answer".to_owned();
        top.report("out-of-bounds", message, &last.name, help);
    }
    scanners
}

fn read(section: &Section<'_>) -> Option<Scanner> {
    let name = section.required_string("name");
    section.required_string("type");
    let engines = [("clamd", Type::Clamd), ("rspamd", Type::Rspamd)];
    let engine = section.word("type", &engines).map(Located::into_inner);
    let address = address(section);
    let name = name.filter(|name| is_name(section, name))?;
    let engine = engine?;
    let directions = [
        ("both", None),
        ("inbound", Some(Direction::Inbound)),
        ("outbound", Some(Direction::Outbound)),
    ];
    let direction = section.word("for", &directions).map(Located::into_inner);
    let turns = section.integer("connections", 1..=1_000);
    let turns = turns.and_then(|number| usize::try_from(*number).ok());
    Some(Scanner {
        unavailable: otherwise(section, "unavailable", engine.unavailable()),
        too_large: otherwise(section, "too-large", engine.too_large()),
        alarm_after: section
            .duration("alarm-after")
            .map_or(ALARM_AFTER, Located::into_inner),
        direction: direction.unwrap_or(engine.direction()),
        timeout: section
            .duration("timeout")
            .map_or(TIMEOUT, Located::into_inner),
        octets_max: section
            .octets("max-size")
            .map_or(OCTETS_MAX, Located::into_inner),
        turns: Arc::new(Semaphore::new(turns.unwrap_or(CONNECTIONS))),
        engine: engine.read(section, &name),
        address: address?,
        name,
    })
}

/// What kind of scanner it is, before its own settings are read.
#[derive(Clone, Copy)]
enum Type {
    Clamd,
    Rspamd,
}

impl Type {
    /// Malware must not slip through while its scanner is away; an opinion more is nice to have.
    fn unavailable(self) -> Otherwise {
        match self {
            Self::Clamd => Otherwise::Defer,
            Self::Rspamd => Otherwise::Pass,
        }
    }

    /// A message that is too large stays so: deferring it would only lose it later.
    fn too_large(self) -> Otherwise {
        match self {
            Self::Clamd => Otherwise::Quarantine,
            Self::Rspamd => Otherwise::Pass,
        }
    }

    /// Our own mail is not scored.
    fn direction(self) -> Option<Direction> {
        match self {
            Self::Clamd => None,
            Self::Rspamd => Some(Direction::Inbound),
        }
    }

    fn read(self, section: &Section<'_>, name: &str) -> Engine {
        match self {
            Self::Clamd => {
                let words = [("refuse", true), ("quarantine", false)];
                let refuse = section.word("malware", &words);
                Engine::Clamd {
                    refuse: refuse.is_none_or(Located::into_inner),
                }
            }
            Self::Rspamd => Engine::Rspamd {
                symbol: name.to_ascii_uppercase().replace('-', "_"),
                factor: section.number("factor").map_or(FACTOR, Located::into_inner),
                cap: section
                    .number("cap")
                    .map_or(CAP, |cap| cap.into_inner().abs()),
            },
        }
    }
}

/// Names go into notes and, as a symbol, into a header field.
fn is_name(section: &Section<'_>, name: &Located<String>) -> bool {
    let harmless = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let good = !name.is_empty() && name.len() <= 40 && name.bytes().all(harmless);
    if !good {
        let help = "small letters, digits and hyphens, at most 40".to_owned();
        section.report("bad-name", "this is not a name for a scanner", name, help);
    }
    good
}

/// `host:port`, or the path of a socket.
fn address(section: &Section<'_>) -> Option<Address> {
    let written = section.required_string("address")?;
    if written.starts_with('/') {
        return Some(Address::Unix(written.into_inner().into()));
    }
    let parts = written.rsplit_once(':');
    let good = parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !good {
        let help =
            "\"127.0.0.1:3310\", or the path of a socket: \"/run/clamav/clamd.ctl\"".to_owned();
        section.report(
            "bad-value",
            "this is no address of a scanner",
            &written,
            help,
        );
        return None;
    }
    Some(Address::Tcp(written.into_inner()))
}

fn otherwise(section: &Section<'_>, key: &str, default: Otherwise) -> Otherwise {
    let words = [
        ("defer", Otherwise::Defer),
        ("pass", Otherwise::Pass),
        ("quarantine", Otherwise::Quarantine),
    ];
    section
        .word(key, &words)
        .map_or(default, Located::into_inner)
}

/// For one message, where the file says nothing.
const TIMEOUT: Duration = Duration::from_secs(30);
/// For one message and all scanners: well under what the whole decision may take.
const TOGETHER_MAX: Duration = Duration::from_secs(90);
/// After that absence it is an alarm, where the file says nothing.
const ALARM_AFTER: Duration = Duration::from_secs(5 * 60);
/// The largest message that the gateway takes as shipped.
const OCTETS_MAX: u64 = 40 << 20;
/// At once, to one scanner.
const CONNECTIONS: usize = 8;
/// Rspamd refuses at 15 as shipped, we at 20; and it is one opinion of many.
const FACTOR: f64 = 0.5;
const CAP: f64 = 6.0;
