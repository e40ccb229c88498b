//! The SPF test suites of openspf.org (RFC 7208 and RFC 4408; `tests/spf`, whole, under their own licences),
//! against our evaluation and a name server that serves their zones: results and explanations.
//!
//! `mail-auth` 0.13.3, which SPF was left to before, passes mail where the RFC wants permerror
//! (`a-dual-cidr-ip4-err`) or fail (`a-cidr6-0-ip4mapped`). What differs now is in [`DIFFERENCES`], with its reason:
//! nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/name_server.rs"]
mod name_server;
mod support;

use std::time::Duration;

use name_server::NameServer;
use postern::base::dns::Dns;
use postern::policy::evidence::spf::{self, Answer, Question};
use support::root;
use yaml_rust2::{Yaml, YamlLoader};

/// Name of the test, what we say, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[];

#[test]
fn the_suite_of_rfc_7208_passes() {
    run("rfc7208-tests.yml", 203);
}

#[test]
fn the_suite_of_rfc_4408_passes() {
    run("rfc4408-tests.yml", 191);
}

fn run(file: &str, tests: usize) {
    let text = std::fs::read_to_string(root().join("tests/spf").join(file)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut ran, mut wrong) = (0, Vec::new());
    for scenario in YamlLoader::load_from_str(&text).unwrap() {
        let server = NameServer::start();
        load(&server, &scenario["zonedata"]);
        let dns = server.resolver(TIMEOUT);
        for (name, test) in scenario["tests"].as_hash().unwrap() {
            let name = name.as_str().unwrap();
            let answer = runtime.block_on(ask(&dns, test));
            let known = DIFFERENCES.iter().find(|(one, ..)| *one == name);
            let fits = match known {
                Some((_, word, _)) => *word == answer.outcome.word(),
                None => is_right(test, &answer),
            };
            if !fits {
                wrong.push(format!("{name}: {answer:?}, wanted {:?}", test["result"]));
            }
            ran += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(ran, tests);
}

async fn ask(dns: &Dns, test: &Yaml) -> Answer {
    let question = Question {
        address: test["host"].as_str().unwrap().parse().unwrap(),
        helo: test["helo"].as_str().unwrap(),
        sender: test["mailfrom"].as_str().unwrap(),
        hostname: "gw.example",
        now: "2026-11-21T10:00:00Z".parse().unwrap(),
    };
    spf::check(dns, question).await
}

/// The result is one of those that the suite takes, and the explanation that of the suite.
fn is_right(test: &Yaml, answer: &Answer) -> bool {
    let word = answer.outcome.word();
    let result = match &test["result"] {
        Yaml::Array(many) => many.iter().any(|one| one.as_str() == Some(word)),
        one => one.as_str() == Some(word),
    };
    let said = answer.explanation.as_deref();
    let explanation = match test["explanation"].as_str() {
        None => true,
        Some("DEFAULT") => said.is_none(),
        Some(wanted) => said == Some(wanted),
    };
    result && explanation
}

/// Puts the records of a scenario into the name server. What stands as SPF is TXT, where there is no TXT.
fn load(server: &NameServer, zone: &Yaml) {
    for (name, records) in zone.as_hash().unwrap() {
        let name = name.as_str().unwrap();
        let records = records.as_vec().unwrap();
        let has_txt = records.iter().any(|one| !one["TXT"].is_badvalue());
        for record in records {
            if record.as_str() == Some("TIMEOUT") {
                server.change(name, |known| known.is_silent = true);
                continue;
            }
            let (kind, value) = record.as_hash().unwrap().iter().next().unwrap();
            let data = match kind.as_str().unwrap() {
                "SPF" if has_txt => continue,
                "SPF" | "TXT" if value.as_str() == Some("NONE") => continue,
                "SPF" | "TXT" => match value {
                    Yaml::Array(many) => {
                        let strings: Vec<&str> = many.iter().filter_map(Yaml::as_str).collect();
                        name_server::txt(&strings)
                    }
                    one => name_server::txt(&[one.as_str().unwrap()]),
                },
                "A" | "AAAA" => name_server::address_of(value.as_str().unwrap()),
                "MX" => name_server::mx(
                    u16::try_from(value[0].as_i64().unwrap()).unwrap(),
                    value[1].as_str().unwrap(),
                ),
                "PTR" => name_server::ptr(value.as_str().unwrap()),
                "CNAME" => name_server::cname(value.as_str().unwrap()),
                other => panic!("records of the kind {other} are not known here"),
            };
            server.change(name, |known| known.records.push(data));
        }
    }
}

/// Names that are never answered cost this much each.
const TIMEOUT: Duration = Duration::from_secs(1);
