//! Policy tests (`design.md` §4.5): what must be so, written beside the policy, run whenever it is
//! loaded. One that fails is an error of the policy like any other.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::config::{Diagnostic, Diagnostics, Located, Section, load_toml};
use crate::mail::{
    BodyType, Client, Envelope, ForwardPath, MailTransaction, Message, Recipient, ReversePath,
    Service,
};

use super::decide::Network;
use super::verdict::{Decision, RecipientDecision};
use super::{Policy, Verdict};

/// Runs every test in every `.toml` of the policy's tests folder. Returns what is wrong; nothing if all
/// is well, or if there is no such folder. The network is not asked.
pub async fn run(policy: &Policy) -> Vec<Diagnostic> {
    let diagnostics = Diagnostics::default();
    let mut tests = Vec::new();
    for file in test_files(&policy.files.tests) {
        tests.extend(load_toml(&file, &diagnostics, read_tests).unwrap_or_default());
    }
    let mut all = diagnostics.into_vec();
    for test in &tests {
        all.extend(test.run(policy).await);
    }
    all
}

/// One test, checked.
#[derive(Debug)]
struct PolicyTest {
    name: Located<String>,
    message: Located<PathBuf>,
    from: ReversePath,
    to: BTreeMap<String, Located<&'static str>>,
    account: Option<String>,
    client: IpAddr,
    at: Option<Timestamp>,
}

impl PolicyTest {
    fn read(section: &Section<'_>) -> Option<Self> {
        let name = section.required_string("name");
        let message = section.path("message");
        let from = section.required::<ReversePathText>("from");
        let account = section.string("account").map(Located::into_inner);
        let client = section.parse::<IpAddr>("client");
        let at = section.parse::<Timestamp>("at");
        let to = read_to(&section.section("to"));
        let name = name?;
        if to.is_empty() || message.is_none() {
            let help = "message = \"a.eml\", to = { \"a@b.example\" = \"deliver\" }".to_owned();
            section.report(
                "incomplete-test",
                "a test needs `message` and `to`",
                &name,
                help,
            );
        }
        Some(Self {
            name,
            message: message?,
            from: from?.into_inner().0,
            to,
            account,
            client: client.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), Located::into_inner),
            at: at.map(Located::into_inner),
        })
    }

    async fn run(&self, policy: &Policy) -> Vec<Diagnostic> {
        let octets = match std::fs::read(&*self.message) {
            Ok(octets) => octets,
            Err(error) => {
                let message = format!("{} cannot be read: {error}", self.message.display());
                let diagnostic = Diagnostic::error("unreadable-file", message);
                return vec![diagnostic.at_maybe(self.message.place(), "")];
            }
        };
        let transaction = self.transaction(octets, policy.clock.now());
        let decision = policy.judge(&transaction, Network::Off).await;
        self.to
            .iter()
            .filter_map(|(address, wanted)| self.compare(&decision, address, wanted))
            .collect()
    }

    fn transaction(&self, octets: Vec<u8>, now: Timestamp) -> MailTransaction {
        let mut envelope = Envelope::new(self.from.clone());
        envelope.body = BodyType::EightBitMime;
        envelope.recipients = self
            .to
            .keys()
            .filter_map(|address| ForwardPath::parse(address).ok())
            .map(Recipient::new)
            .collect();
        MailTransaction {
            client: client(self.client, self.account.clone()),
            envelope,
            message: Message::of_file(octets),
            received_at: self.at.unwrap_or(now),
        }
    }

    /// What is wrong with one recipient. Of the members of a list the worst verdict speaks.
    fn compare(
        &self,
        decision: &Decision,
        address: &str,
        wanted: &Located<&'static str>,
    ) -> Option<Diagnostic> {
        let given = ForwardPath::parse(address).ok()?;
        let members = decision
            .recipients
            .iter()
            .filter(|decided| decided.given == given);
        let decided = members.max_by_key(|decided| decided.verdict.severity());
        match decided {
            Some(decided) if decided.verdict.word() == **wanted => None,
            decided => Some(self.failure(address, wanted, decided)),
        }
    }

    fn failure(
        &self,
        address: &str,
        wanted: &Located<&'static str>,
        decided: Option<&RecipientDecision>,
    ) -> Diagnostic {
        let got = decided.map_or("nothing", |decided| decided.verdict.word());
        let message = format!(
            "policy test fails: {}: {address} gets `{got}`, not `{}`",
            self.name.as_str(),
            **wanted
        );
        let diagnostic = Diagnostic::error("policy-test", message)
            .at_maybe(wanted.place(), "this is what must be so")
            .at_maybe(self.name.place(), "");
        match decided {
            Some(decided) => diagnostic.help(format!("{} ({})", decided.because, decided.rule)),
            None => diagnostic,
        }
    }
}

/// A client for judging without a session: an address, and perhaps an account.
pub fn client(address: IpAddr, account: Option<String>) -> Client {
    let service = match account {
        Some(_) => Service::Submission,
        None => Service::Relay,
    };
    Client {
        address: SocketAddr::new(address, 0),
        local: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 25),
        helo: Some("client.example".to_owned()),
        esmtp: true,
        tls: None,
        account,
        service,
    }
}

/// The `.toml` files of a folder, in the order of their names.
fn test_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files
}

fn read_tests(top: &Section<'_>) -> Vec<PolicyTest> {
    let mut tests = Vec::new();
    for section in top.sections("test") {
        tests.extend(PolicyTest::read(&section));
        section.finish();
    }
    tests
}

fn read_to(section: &Section<'_>) -> BTreeMap<String, Located<&'static str>> {
    let words = Verdict::WORDS.map(|word| (word, word));
    let mut to = BTreeMap::new();
    for address in section.keys() {
        if let Err(error) = ForwardPath::parse(&address) {
            section.report(
                "bad-value",
                "this is no recipient",
                &address,
                error.to_string(),
            );
            continue;
        }
        if let Some(word) = section.word(&address, &words) {
            to.insert(address.into_inner(), word);
        }
    }
    to
}

/// A reverse path as a test writes it: an address, or nothing.
struct ReversePathText(ReversePath);

impl std::str::FromStr for ReversePathText {
    type Err = crate::mail::AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ReversePath::parse(text.trim_start_matches('<').trim_end_matches('>')).map(Self)
    }
}
