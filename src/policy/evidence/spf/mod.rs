//! Whether a client may send for a domain: SPF (RFC 7208), by our own evaluation.
//!
//! `mail-auth` 0.13.3 takes records that are none (`a:x.example/24//` passes for a name of figures), lets an
//! IPv4 client match IPv6 prefixes and knows no limit of void answers: `tests/spf_suite.rs` has the whole list.
//! A result that is a pass where the RFC says permerror vouches for a stranger, so this part is ours. What
//! a stranger's record makes us ask is bounded by §4.6.4; the caller bounds the time.

mod macros;
mod record;

use std::net::IpAddr;
use std::pin::Pin;

use crate::base::dns::{Dns, DnsError};

use macros::{MacroString, Values};
use record::{Lengths, Mechanism, Qualifier, Record, is_record};

/// What came out (§2.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The domain says nothing that can be used.
    None,
    /// It says that it does not say.
    Neutral,
    /// The client may send for it.
    Pass,
    /// The client may not.
    Fail,
    /// The client probably may not.
    SoftFail,
    /// The DNS failed: ask again later.
    TempError,
    /// What it says cannot be read.
    PermError,
}

impl Outcome {
    /// The word for it (§2.6).
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// What is asked (§4.1).
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// The client.
    pub address: IpAddr,
    /// What it said in HELO.
    pub helo: &'q str,
    /// The reverse path; empty to ask about the HELO name itself.
    pub sender: &'q str,
    /// Our own name, for explanations.
    pub hostname: &'q str,
    /// When, for explanations.
    pub now: jiff::Timestamp,
}

/// The answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// What came out.
    pub outcome: Outcome,
    /// What the domain says to those whom it does not let (§6.2): the text of a stranger.
    pub explanation: Option<String>,
}

/// Asks.
pub async fn check(dns: &Dns, question: Question<'_>) -> Answer {
    let address = question.address.to_canonical();
    let sender = match question.sender.rsplit_once('@') {
        // §4.3: without a local part it is the postmaster's.
        Some(("", domain)) => format!("postmaster@{domain}"),
        Some(_) => question.sender.to_owned(),
        None => format!("postmaster@{}", question.helo),
    };
    let domain = sender.rsplit_once('@').map_or("", |(_, domain)| domain);
    let domain = domain.strip_suffix('.').unwrap_or(domain).to_owned();
    let mut check = Check {
        dns,
        question: Question {
            address,
            ..question
        },
        sender: &sender,
        lookups: 0,
        void_lookups: 0,
        name: None,
    };
    let mut explanation = None;
    let outcome = match is_name(&domain) {
        true => check.host(domain, Some(&mut explanation)).await,
        false => Outcome::None,
    };
    Answer {
        explanation: explanation.filter(|_| outcome == Outcome::Fail),
        outcome,
    }
}

/// One check, with what it has cost so far.
struct Check<'c> {
    dns: &'c Dns,
    question: Question<'c>,
    sender: &'c str,
    lookups: u32,
    void_lookups: u32,
    /// The validated name of the client, once it was asked for (§7.3).
    name: Option<String>,
}

/// An evaluation that has come to its end early.
type Stop = Outcome;

impl Check<'_> {
    /// `check_host()` (§4): boxed, for it calls itself by `include` and `redirect`. Where it is wanted, the
    /// explanation is put into `explanation`.
    fn host<'f>(
        &'f mut self,
        domain: String,
        explanation: Option<&'f mut Option<String>>,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'f>> {
        Box::pin(async move {
            match self.evaluate(domain, explanation).await {
                Ok(outcome) | Err(outcome) => outcome,
            }
        })
    }

    async fn evaluate(
        &mut self,
        domain: String,
        explanation: Option<&mut Option<String>>,
    ) -> Result<Outcome, Stop> {
        let record = self.record(&domain).await?;
        for directive in &record.directives {
            if !self.matches(&directive.mechanism, &domain).await? {
                continue;
            }
            let outcome = match directive.qualifier {
                Qualifier::Pass => Outcome::Pass,
                Qualifier::Fail => Outcome::Fail,
                Qualifier::SoftFail => Outcome::SoftFail,
                Qualifier::Neutral => Outcome::Neutral,
            };
            if let (Outcome::Fail, Some(wanted), Some(place)) =
                (outcome, explanation, &record.explanation)
            {
                *wanted = self.explain(place, &domain).await;
            }
            return Ok(outcome);
        }
        let Some(redirect) = &record.redirect else {
            return Ok(Outcome::Neutral);
        };
        self.count()?;
        let target = self.expand(redirect, &domain).await;
        // §6.1: no record there is a mistake here.
        match is_name(&target) {
            true => match self.host(target, explanation).await {
                Outcome::None => Err(Outcome::PermError),
                outcome => Ok(outcome),
            },
            false => Err(Outcome::PermError),
        }
    }

    /// The one record of a domain (§4.4, §4.5).
    async fn record(&self, domain: &str) -> Result<Record, Stop> {
        let texts = match self.dns.texts(domain).await {
            Ok(texts) => texts,
            Err(error) if error.may_pass() => return Err(Outcome::TempError),
            Err(_) => return Err(Outcome::None),
        };
        let texts = texts.iter().map(|octets| String::from_utf8_lossy(octets));
        let mut records = texts.filter(|text| is_record(text));
        match (records.next(), records.next()) {
            (None, _) => Err(Outcome::None),
            (Some(text), None) => Record::parse(&text).map_err(|_| Outcome::PermError),
            (Some(_), Some(_)) => Err(Outcome::PermError),
        }
    }

    /// §5.
    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        let address = self.question.address;
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, length) => {
                Ok(is_within(address, IpAddr::V4(*network), *length))
            }
            Mechanism::Ip6(network, length) => {
                Ok(is_within(address, IpAddr::V6(*network), *length))
            }
            Mechanism::Include(target) => self.included(target, domain).await,
            Mechanism::A(target, lengths) => {
                self.count()?;
                let target = self.target(target.as_ref(), domain).await;
                self.has_address(&target, *lengths).await
            }
            Mechanism::Mx(target, lengths) => self.is_exchanger(target, domain, *lengths).await,
            Mechanism::Ptr(target) => {
                self.count()?;
                let target = self.target(target.as_ref(), domain).await;
                let names = self.validated_names().await?;
                Ok(names.iter().any(|name| is_at_or_below(name, &target)))
            }
            Mechanism::Exists(target) => {
                self.count()?;
                let target = self.expand(target, domain).await;
                let ipv4 = IpAddr::from([0, 0, 0, 0]); // §5.7: A, whatever the client
                let found = self.dns.addresses_like(&target, ipv4).await;
                Ok(self.found(found)?.is_some())
            }
        }
    }

    /// §5.2.
    async fn included(&mut self, target: &MacroString, domain: &str) -> Result<bool, Stop> {
        self.count()?;
        let target = self.expand(target, domain).await;
        if !is_name(&target) {
            return Err(Outcome::PermError);
        }
        match self.host(target, None).await {
            Outcome::Pass => Ok(true),
            Outcome::Fail | Outcome::SoftFail | Outcome::Neutral => Ok(false),
            Outcome::TempError => Err(Outcome::TempError),
            Outcome::PermError | Outcome::None => Err(Outcome::PermError),
        }
    }

    /// §5.4.
    async fn is_exchanger(
        &mut self,
        target: &Option<MacroString>,
        domain: &str,
        lengths: Lengths,
    ) -> Result<bool, Stop> {
        self.count()?;
        let target = self.target(target.as_ref(), domain).await;
        let exchangers = self.dns.named_exchangers(&target).await;
        let Some(exchangers) = self.found(exchangers)? else {
            return Ok(false);
        };
        // §4.6.4: more are a mistake, not a reason to stop short.
        if exchangers.len() > NAMES_MAX {
            return Err(Outcome::PermError);
        }
        for exchanger in exchangers.iter().filter(|name| !name.is_empty()) {
            if self.has_address(exchanger, lengths).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn has_address(&mut self, name: &str, lengths: Lengths) -> Result<bool, Stop> {
        let client = self.question.address;
        let length = match client {
            IpAddr::V4(_) => lengths.v4,
            IpAddr::V6(_) => lengths.v6,
        };
        let found = self.dns.addresses_like(name, client).await;
        let found = self.found(found)?.unwrap_or_default();
        Ok(found
            .iter()
            .any(|address| is_within(client, *address, length)))
    }

    /// What was found, `None` for a void answer. Too many of those, or a failure, end the check (§4.6.4).
    fn found<T>(&mut self, answer: Result<T, DnsError>) -> Result<Option<T>, Stop> {
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.may_pass() => Err(Outcome::TempError),
            Err(_) => {
                self.void_lookups += 1;
                match self.void_lookups > VOID_LOOKUPS_MAX {
                    true => Err(Outcome::PermError),
                    false => Ok(None),
                }
            }
        }
    }

    /// The names of the client that lead back to it (§5.5). A failure makes none of them.
    async fn validated_names(&mut self) -> Result<Vec<String>, Stop> {
        let client = self.question.address;
        let names = match self.dns.names(client).await {
            Ok(names) => names,
            // A failure matches nothing; a void answer counts all the same.
            Err(error) if error.may_pass() => return Ok(Vec::new()),
            Err(error) => {
                self.found::<()>(Err(error))?;
                return Ok(Vec::new());
            }
        };
        let mut validated = Vec::new();
        for name in names.into_iter().take(NAMES_MAX) {
            let addresses = self.dns.addresses_like(&name, client).await;
            if addresses.is_ok_and(|addresses| addresses.contains(&client)) {
                validated.push(name);
            }
        }
        Ok(validated)
    }

    /// A term that asks costs one of ten (§4.6.4).
    fn count(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        match self.lookups > LOOKUPS_MAX {
            true => Err(Outcome::PermError),
            false => Ok(()),
        }
    }

    async fn target(&mut self, target: Option<&MacroString>, domain: &str) -> String {
        match target {
            Some(target) => self.expand(target, domain).await,
            None => domain.to_owned(),
        }
    }

    /// A domain with its macros expanded, cut from the left to what a name may have (§7.3).
    async fn expand(&mut self, target: &MacroString, domain: &str) -> String {
        self.learn_name(target, domain).await;
        let mut name = target.expand(&self.values(domain));
        while name.len() > NAME_OCTETS_MAX {
            let Some((_, rest)) = name.split_once('.') else {
                break;
            };
            name = rest.to_owned();
        }
        match name.strip_suffix('.') {
            Some(name) => name.to_owned(),
            None => name,
        }
    }

    /// §7.3: of the validated names the domain itself, else one below it, else any.
    async fn learn_name(&mut self, text: &MacroString, domain: &str) {
        if !text.needs_name() || self.name.is_some() {
            return;
        }
        let names = self.validated_names().await.unwrap_or_default();
        let is_same = |name: &&String| name.eq_ignore_ascii_case(domain);
        let best = names
            .iter()
            .find(is_same)
            .or_else(|| names.iter().find(|name| is_at_or_below(name, domain)))
            .or(names.first());
        self.name = Some(best.map_or_else(|| "unknown".to_owned(), Clone::clone));
    }

    /// §6.2: whatever is wrong with it, there is none.
    async fn explain(&mut self, place: &MacroString, domain: &str) -> Option<String> {
        let place = self.expand(place, domain).await;
        let texts = self.dns.texts(&place).await.ok()?;
        let [text] = texts.as_slice() else {
            return None;
        };
        let text = MacroString::explanation(std::str::from_utf8(text).ok()?).ok()?;
        self.learn_name(&text, domain).await;
        Some(text.expand(&self.values(domain)))
    }

    fn values<'v>(&'v self, domain: &'v str) -> Letters<'v> {
        Letters {
            question: self.question,
            sender: self.sender,
            domain,
            name: self.name.as_deref().unwrap_or("unknown"),
        }
    }
}

/// The values of the letters (§7.2).
struct Letters<'v> {
    question: Question<'v>,
    sender: &'v str,
    domain: &'v str,
    name: &'v str,
}

impl Values for Letters<'_> {
    fn value(&self, letter: u8) -> String {
        let (local, domain) = self.sender.rsplit_once('@').unwrap_or_default();
        let address = self.question.address;
        match letter {
            b's' => self.sender.to_owned(),
            b'l' => local.to_owned(),
            b'o' => domain.to_owned(),
            b'd' => self.domain.to_owned(),
            b'i' => dotted(address),
            b'p' => self.name.to_owned(),
            b'v' if address.is_ipv4() => "in-addr".to_owned(),
            b'v' => "ip6".to_owned(),
            b'h' => self.question.helo.to_owned(),
            b'c' => address.to_string(),
            b'r' => self.question.hostname.to_owned(),
            b't' => self.question.now.as_second().to_string(),
            _ => String::new(),
        }
    }
}

/// Octets of IPv4, nibbles of IPv6, with dots between them (§7.3).
fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().flat_map(|b| [b >> 4, b & 15]);
            let nibbles: Vec<String> = nibbles.map(|nibble| format!("{nibble:X}")).collect();
            nibbles.join(".")
        }
    }
}

/// Whether both are of one family and have their first bits in common.
fn is_within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let length = u32::from(length);
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits())
                .checked_shr(32 - length)
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits())
                .checked_shr(128 - length)
                .unwrap_or(0)
                == 0
        }
        _ => false,
    }
}

fn is_at_or_below(name: &str, domain: &str) -> bool {
    let (name, domain) = (name.to_ascii_lowercase(), domain.to_ascii_lowercase());
    name.strip_suffix(&domain)
        .is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// §4.3: two labels or more, none of them empty or over-long, and no address.
fn is_name(domain: &str) -> bool {
    let labels = domain.split('.');
    let all_fit = labels.clone().all(|label| (1..=63).contains(&label.len()));
    all_fit && labels.count() >= 2 && domain.len() <= NAME_OCTETS_MAX && !domain.starts_with('[')
}

/// Terms that ask the DNS, of one check (§4.6.4).
const LOOKUPS_MAX: u32 = 10;
/// Answers without anything in them (§4.6.4).
const VOID_LOOKUPS_MAX: u32 = 2;
/// Exchangers of a domain, and names of a client, that are asked for (§4.6.4).
const NAMES_MAX: usize = 10;
/// Longest name, in octets (§7.3).
const NAME_OCTETS_MAX: usize = 253;
