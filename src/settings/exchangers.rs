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
    let mut names: Vec<&str> = unlisted
        .iter()
        .map(|entry| entry.pattern.as_str())
        .collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "patient data for {}{more} goes to the host that an MX record names, and nobody has signed that record",
        names.join(", ")
    );
    let diagnostic = Diagnostic::warning("unlisted-exchangers", message)
        .at_maybe(first.pattern.place(), "no `mx` in this entry")
        .help("list the hosts in the entry, `mx = [\"*.mail.nhs.net\"]`, or send to these domains by a smart host");
    diagnostics.push(diagnostic);
}

fn goes_by_mx(entry: &Entry, router: &Router) -> bool {
    let pattern = entry.pattern.as_str();
    let name = match pattern.strip_prefix("*.") {
        Some(name) => format!("any.{name}"),
        None => pattern.to_owned(),
    };
    let address = Domain::parse(&name).ok().zip(LocalPart::parse("any").ok());
    address.is_some_and(|(domain, local)| {
        let mailbox = Mailbox::new(local, Host::Domain(domain));
        let route = router.route(&ForwardPath::Mailbox(mailbox), false);
        route.is_some_and(|route| matches!(route.transport, Transport::Mx { .. }))
    })
}

/// Names that the warning tells.
const NAMES_MAX: usize = 5;
