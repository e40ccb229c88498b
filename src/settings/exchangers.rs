//! A warning where nothing but DNS says which hosts patient data is handed to.

use crate::config::{Diagnostic, Diagnostics};
use crate::delivery::{Route, Router, Transport};
use crate::mail::{Domain, ForwardPath, Host, LocalPart, Mailbox};
use crate::policy::secure_domains::{Entry, SecureDomains};

use std::sync::Arc;

/// Warns once of all entries of the register whose mail goes to whatever host an MX record names.
pub(super) fn check(routes: &[Arc<Route>], register: &SecureDomains, diagnostics: &Diagnostics) {
    let router = Router::new(routes.to_vec());
    let unlisted: Vec<&Entry> = register
        .entries()
        .into_iter()
        .filter(|entry| entry.trusts_dns() && goes_by_mx(entry, &router))
        .collect();
    let Some(first) = unlisted.first() else {
        return;
    };
    let message = format!(
        "patient data for {} goes to the host that an MX record names, and nobody has signed that record",
        names_of(&unlisted)
    );
    let diagnostic = Diagnostic::warning("unlisted-exchangers", message)
        .at_maybe(first.pattern.place(), "no `mx` in this entry")
        .help("list the hosts in the entry, `mx = [\"*.mail.nhs.net\"]`, or send to these domains by a smart host");
    diagnostics.push(diagnostic);
}

/// The patterns of entries, for a message.
pub(super) fn names_of(entries: &[&Entry]) -> String {
    let names = entries.iter().map(|entry| entry.pattern.as_str());
    let names: Vec<&str> = names.take(NAMES_MAX).collect();
    match entries.len().saturating_sub(NAMES_MAX) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn goes_by_mx(entry: &Entry, router: &Router) -> bool {
    let route = route_of(entry, router);
    route.is_some_and(|route| matches!(route.transport, Transport::Mx { .. }))
}

/// The route that mail for the domains of an entry takes, by the example of one.
pub(super) fn route_of<'r>(entry: &Entry, router: &'r Router) -> Option<&'r Arc<Route>> {
    let pattern = entry.pattern.as_str();
    let name = match pattern.strip_prefix("*.") {
        Some(name) => format!("any.{name}"),
        None => pattern.to_owned(),
    };
    let (domain, local) = (Domain::parse(&name).ok()?, LocalPart::parse("any").ok()?);
    let mailbox = Mailbox::new(local, Host::Domain(domain));
    router.route(&ForwardPath::Mailbox(mailbox), false)
}

/// Names that a warning tells.
const NAMES_MAX: usize = 5;
