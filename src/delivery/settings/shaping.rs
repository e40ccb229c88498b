//! The limits in a route, and `[[shaping]]`.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::{Diagnostic, Located, Section};
use crate::delivery::pattern::Pattern;
use crate::delivery::route::{Route, Takes, Transport};
use crate::delivery::shaping::{Applies, Rule, Shaping, SourceBy};

/// The sections of `[[shaping]]`.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) all: Vec<Rule>,
    /// What each of them is for, one by one as it is written.
    named: Vec<Located<Applies>>,
}

impl Rules {
    /// Reads all of them.
    pub(super) fn read(top: &Section<'_>) -> Self {
        let mut rules = Self::default();
        for section in top.sections("shaping") {
            rules.all.extend(read_rule(&section, &mut rules.named));
            section.finish();
        }
        rules
    }

    /// Warns of what no route sends mail to, under or from: a limit that was meant for something else.
    pub(super) fn say_what_is_idle(&self, routes: &[Arc<Route>], top: &Section<'_>) {
        for named in &self.named {
            if routes.iter().any(|route| concerns(named, route)) {
                continue;
            }
            let (message, help) = match &**named {
                Applies::Destinations(_) => (
                    "no route sends mail there: this limits nothing",
                    "name domains of recipients; for a route with smart-host or lmtp the name of that host",
                ),
                Applies::Account(_) => (
                    "no route logs in under this name: this limits nothing",
                    "write the name as it stands in `username` of the route",
                ),
                Applies::Source(_) => (
                    "no route sends mail from this address: this limits nothing",
                    "write the address into `source` of a route as well",
                ),
            };
            let warning = Diagnostic::warning("idle-shaping", message);
            let warning = warning.at_maybe(named.place(), "").help(help);
            top.diagnostics().push(warning);
        }
    }
}

/// Whether mail of a route may be what a limit is for.
fn concerns(applies: &Applies, route: &Route) -> bool {
    let patterns = match applies {
        Applies::Account(account) => return username(&route.transport) == Some(account),
        Applies::Source(source) => return route.shaping.sources.contains(source),
        Applies::Destinations(patterns) => patterns,
    };
    let is_sent_to = |pattern: &Pattern| match (route.named_host(), &route.takes) {
        (Some(host), _) => pattern.takes_host(host),
        (None, Takes::Recipients(taken)) => taken.iter().any(|one| one.meets(pattern)),
        (None, Takes::Numbers(domain)) => pattern.takes_host(domain.as_str()),
        (None, Takes::Encryption) => matches!(route.transport, Transport::Mx { .. }),
    };
    patterns.iter().any(is_sent_to)
}

fn read_rule(section: &Section<'_>, named: &mut Vec<Located<Applies>>) -> Option<Rule> {
    let destinations = section.parse_list::<Pattern>("destinations");
    let account = section.string("account");
    let source = section.parse::<IpAddr>("source");
    let rule = |applies| Rule {
        applies,
        connections: at_most(section, "connections").map(to_usize),
        messages_per_connection: at_most(section, "messages-per-connection").map(to_u32),
        rate_per_minute: section
            .integer("rate", 0..=1_000_000)
            .map_or(0, |rate| to_u32(*rate)),
        recipients: at_most(section, "recipients-at-once").map(to_usize),
    };
    let applies = match (destinations, account, source) {
        (Some(patterns), None, None) => {
            let alone = |one: Located<Pattern>| one.map(|one| Applies::Destinations(vec![one]));
            named.extend(patterns.iter().cloned().map(alone));
            let patterns = patterns.into_iter().map(Located::into_inner);
            Applies::Destinations(patterns.collect())
        }
        (None, Some(account), None) => {
            named.push(account.clone().map(Applies::Account));
            Applies::Account(account.into_inner())
        }
        (None, None, Some(source)) => {
            named.push(source.clone().map(Applies::Source));
            Applies::Source(source.into_inner())
        }
        _ => {
            section.diagnostics().push(
                Diagnostic::error("bad-shaping", "a limit is for one kind of thing")
                    .at(section.place(), "")
                    .help("write one of destinations = [\"*.nhs.uk\"], account = \"user\", source = \"192.0.2.1\""),
            );
            let _ = rule(Applies::Destinations(Vec::new()));
            return None;
        }
    };
    let rule = rule(applies);
    if rule.rate_per_minute == 0
        && (rule.connections, rule.recipients) == (None, None)
        && rule.messages_per_connection.is_none()
    {
        section.diagnostics().push(
            Diagnostic::warning("empty-shaping", "this section limits nothing")
                .at(section.place(), "")
                .help("write connections, messages-per-connection, rate or recipients-at-once"),
        );
    }
    Some(rule)
}

/// The limits that a route has of its own.
pub(super) fn read_of_route(section: &Section<'_>) -> Shaping {
    let default = Shaping::default();
    Shaping {
        messages_per_connection: at_most(section, "messages-per-connection")
            .map_or(default.messages_per_connection, to_u32),
        recipients: at_most(section, "recipients-at-once").map_or(default.recipients, to_usize),
        sources: read_sources(section),
        source_by: section
            .word(
                "source-by",
                &[
                    ("turns", SourceBy::Turns),
                    ("destination", SourceBy::Destination),
                ],
            )
            .map_or(default.source_by, Located::into_inner),
        ..default
    }
}

/// The same with the rules that may concern a route.
pub(super) fn with_rules(shaping: Shaping, rules: &[Rule], transport: &Transport) -> Shaping {
    let username = username(transport);
    let concerns = |rule: &&Rule| match &rule.applies {
        Applies::Destinations(_) => true,
        Applies::Account(account) => username == Some(account),
        Applies::Source(source) => shaping.sources.contains(source),
    };
    Shaping {
        rules: Arc::from_iter(rules.iter().filter(concerns).cloned()),
        ..shaping
    }
}

/// The name under which a route logs in.
fn username(transport: &Transport) -> Option<&String> {
    match transport {
        Transport::SmartHost(smart_host) => smart_host.credentials.as_ref().map(|c| &c.username),
        _ => None,
    }
}

/// Addresses of ours. That this machine has them is seen at the first connection.
fn read_sources(section: &Section<'_>) -> Arc<[IpAddr]> {
    let sources = section.parse_list::<IpAddr>("source").unwrap_or_default();
    sources.into_iter().map(Located::into_inner).collect()
}

fn at_most(section: &Section<'_>, key: &str) -> Option<i64> {
    section.integer(key, 1..=100_000).map(|number| *number)
}

fn to_usize(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn to_u32(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::read_text;
    use crate::delivery::Settings;
    use crate::mail::ForwardPath;

    fn read(text: &str) -> (Settings, Vec<String>) {
        let (settings, said) = read_text("policies/postern.toml", text, Settings::read);
        let said = said.into_iter().map(|d| d.message);
        (settings, said.collect())
    }

    const ROUTE: &str = "[[route]]\nname = \"r\"\nrecipients = [\"*\"]\nmx = true\n";

    #[test]
    fn a_route_has_limits_of_its_own_and_those_of_its_destinations() {
        let (settings, said) = read(&format!(
            "{ROUTE}messages-per-connection = 20\nrecipients-at-once = 50\nrate = 600
             source = [\"192.0.2.1\", \"2001:db8::1\"]\nsource-by = \"destination\"
             [[shaping]]\ndestinations = [\"*.nhs.uk\"]\nconnections = 3\nrate = 60
             [[shaping]]\nsource = \"192.0.2.1\"\nrate = 60
             [[shaping]]\nsource = \"192.0.2.2\"\nrate = 60
             [[shaping]]\naccount = \"nobody\"\nconnections = 1\n"
        ));
        let idle = [
            "no route sends mail from this address: this limits nothing",
            "no route logs in under this name: this limits nothing",
        ];
        assert_eq!(said, idle);
        let route = &settings.routes[0];
        let limits = |path| {
            let limits = route.limits(&ForwardPath::parse(path).unwrap());
            (
                limits.connections,
                limits.rate_per_minute,
                limits.messages_per_connection,
                limits.recipients,
            )
        };
        assert_eq!(limits("a@x.nhs.uk"), (3, 60, 20, 50));
        assert_eq!(limits("a@example.com"), (20, 600, 20, 50));
        assert_eq!(route.shaping.sources.len(), 2);
        assert_eq!(route.shaping.source_by, SourceBy::Destination);
        let shared: Vec<String> = route
            .shaping
            .shared()
            .map(|r| r.applies.to_string())
            .collect();
        assert_eq!(shared, ["source 192.0.2.1"], "what others use is theirs");
    }

    #[test]
    fn every_fault_of_a_limit_is_reported() {
        let (_, said) = read(&format!(
            "{ROUTE}[[shaping]]\naccount = \"a\"\nsource = \"192.0.2.2\"\nrate = 1
             [[shaping]]\ndestinations = [\"a.example\"]
             [[shaping]]\nsource = \"nowhere\"\nrate = 1
             [[shaping]]\nsource = \"192.0.2.2\"\nconnections = 0\nrat = 1\n"
        ));
        assert!(said.contains(&"a limit is for one kind of thing".to_owned()));
        assert!(said.contains(&"this section limits nothing".to_owned()));
        assert!(said.len() >= 5, "{said:#?}");
    }
}
