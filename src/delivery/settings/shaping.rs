//! The limits in a route, and `[[shaping]]`.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::{Diagnostic, Located, Section};
use crate::delivery::pattern::Pattern;
use crate::delivery::route::Transport;
use crate::delivery::shaping::{Applies, Rule, Shaping};

/// Reads all sections of `[[shaping]]`.
pub(super) fn read_rules(top: &Section<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for section in top.sections("shaping") {
        rules.extend(read_rule(&section));
        section.finish();
    }
    rules
}

fn read_rule(section: &Section<'_>) -> Option<Rule> {
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
            let patterns = patterns.into_iter().map(Located::into_inner);
            Applies::Destinations(patterns.collect())
        }
        (None, Some(account), None) => Applies::Account(account.into_inner()),
        (None, None, Some(source)) => Applies::Source(source.into_inner()),
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
        ..default
    }
}

/// The same with the rules that may concern a route.
pub(super) fn with_rules(shaping: Shaping, rules: &[Rule], transport: &Transport) -> Shaping {
    let username = match transport {
        Transport::SmartHost(smart_host) => smart_host.credentials.as_ref().map(|c| &c.username),
        _ => None,
    };
    let concerns = |rule: &&Rule| match &rule.applies {
        Applies::Destinations(_) => true,
        Applies::Account(account) => username == Some(account),
        Applies::Source(_) => false,
    };
    Shaping {
        rules: Arc::from_iter(rules.iter().filter(concerns).cloned()),
        ..shaping
    }
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
