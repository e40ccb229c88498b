//! Warnings where the routes do not have what the policy counts on.

use std::sync::Arc;

use crate::config::{Diagnostic, Place, Section};
use crate::delivery::{Route, Router, Takes, TlsLevel, TlsNeed};
use crate::policy::Policy;
use crate::policy::secure_domains::{Entry, Transport};

use super::exchangers::{names_of, route_of};

/// Warns of mail that has to be encrypted and has no route, and of what goes to secure domains in clear.
pub(super) fn check(routes: &[Arc<Route>], policy: &Policy, top: &Section<'_>) {
    let is_for_encryption = |route: &Arc<Route>| route.takes == Takes::Encryption;
    if policy.orders_encryption() && !routes.iter().any(is_for_encryption) {
        say_without_encryption(top);
    }
    let router = Router::new(routes.to_vec());
    let entries = policy.secure_domains().entries();
    for route in routes.iter().filter(|route| is_in_clear(route)) {
        let takes = |entry: &&Entry| {
            let taken = route_of(entry, &router);
            entry.transport == Transport::VerifiedTls
                && taken.is_some_and(|taken| Arc::ptr_eq(taken, route))
        };
        let taken: Vec<&Entry> = entries.iter().copied().filter(takes).collect();
        if !taken.is_empty() {
            say_in_clear(route, &taken, top);
        }
    }
}

/// Whether the route speaks to a next hop in clear, and not to one on this machine. Patient data that was
/// recognised goes by verified TLS there all the same.
fn is_in_clear(route: &Route) -> bool {
    let level = |need| route.tls_level(need);
    level(TlsNeed::AsRoute) == TlsLevel::None && level(TlsNeed::Encryption) != TlsLevel::None
}

fn say_without_encryption(top: &Section<'_>) {
    let keys = top.keys();
    let routes = keys.iter().find(|key| key.as_str() == "route");
    let message = "what is to be encrypted is held: no route takes it";
    let diagnostic = Diagnostic::warning("no-encryption-route", message)
        .at_maybe(routes.and_then(|key| key.place()), "")
        .help("write a [[route]] with for = \"encryption\" and the service that encrypts: smart-host = \"…\"");
    top.diagnostics().push(diagnostic);
}

fn say_in_clear(route: &Route, entries: &[&Entry], top: &Section<'_>) {
    let message = format!(
        "mail for {} goes in clear, unless patient data is recognised in it",
        names_of(entries)
    );
    let diagnostic = Diagnostic::warning("in-clear", message)
        .at_maybe(place_of_level(route, top).as_ref(), "")
        .help("write tls = \"verified\", or \"required\" where the server has no good certificate");
    top.diagnostics().push(diagnostic);
}

/// Where a route says that it goes in clear: no route outside of this machine does so by itself.
fn place_of_level(route: &Route, top: &Section<'_>) -> Option<Place> {
    let sections = top.sections("route");
    let is_this = |section: &&Section<'_>| {
        section
            .string("name")
            .is_some_and(|name| *name == route.name)
    };
    let section = sections.iter().find(is_this)?;
    section.string("tls")?.place().cloned()
}
