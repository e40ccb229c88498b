//! What is odd about a link.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::content::links::domain::registered;
use crate::content::links::{Host, Link, Scheme, Way, is_mixed};
use crate::mail::Domain;
use crate::policy::finding::LinkKind;
use crate::policy::secure_domains::SecureDomains;

use super::settings::LinkSettings;
use super::sites::Sites;

/// Judges the links of one message for one organisation.
pub struct Judge<'s> {
    settings: &'s LinkSettings,
    /// Sites that the organisation approves besides the others.
    own: Option<&'s Sites>,
    register: &'s SecureDomains,
    now: jiff::Timestamp,
    /// What was found out about each host: many links lead to one.
    hosts: RefCell<HashMap<String, HostFacts>>,
}

#[derive(Clone, Debug)]
struct HostFacts {
    approved: bool,
    odd: Vec<Oddity>,
}

/// One thing that is odd about a link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Oddity {
    /// What.
    pub kind: LinkKind,
    /// The name that the host looks like, or that the text shows.
    pub instead_of: Option<String>,
}

impl Oddity {
    fn of(kind: LinkKind) -> Self {
        Self {
            kind,
            instead_of: None,
        }
    }
}

impl<'s> Judge<'s> {
    /// For the organisation with this id, if it is known.
    pub fn new(
        settings: &'s LinkSettings,
        entity: Option<&str>,
        register: &'s SecureDomains,
        now: jiff::Timestamp,
    ) -> Self {
        let own = entity.and_then(|id| settings.approved_for.get(id));
        Self {
            settings,
            own: own.map(|sites| &**sites),
            register,
            now,
            hosts: RefCell::default(),
        }
    }

    /// Everything that is odd about a link; nothing for one that an anchor goes before.
    pub fn odd(&self, link: &Link) -> Vec<Oddity> {
        if link.way == Way::Shown {
            return Vec::new();
        }
        let target = &link.target;
        let mut odd = Vec::new();
        match target.scheme {
            Scheme::Script => return vec![Oddity::of(LinkKind::Script)],
            // What Word leaves behind (`<link href="file:///C:/…">`) starts nothing; a share that is loaded
            // from elsewhere gives a password away.
            Scheme::Program if link.way == Way::Load && target.host.is_none() => {}
            Scheme::Program => odd.push(Oddity::of(LinkKind::Program)),
            Scheme::Web => {}
        }
        if target.malformed {
            odd.push(Oddity::of(LinkKind::Malformed));
        }
        let Some(host) = &target.host else {
            return odd;
        };
        let facts = self.facts(host);
        if facts.approved {
            return odd;
        }
        odd.extend(facts.odd);
        if target.opaque {
            odd.push(Oddity::of(LinkKind::Shortener));
        }
        if target.user_info {
            odd.push(Oddity::of(LinkKind::UserInfo));
        }
        let shown = link
            .shown
            .as_ref()
            .filter(|shown| registered(shown) != registered(&host.to_string()));
        if let Some(shown) = shown {
            odd.push(Oddity {
                kind: LinkKind::OtherHost,
                instead_of: Some(shown.clone()),
            });
        }
        odd.push(Oddity::of(match link.way {
            Way::Load => LinkKind::Remote,
            _ => LinkKind::Unapproved,
        }));
        if link.way == Way::Form {
            odd.push(Oddity::of(LinkKind::Form));
        }
        odd
    }

    fn facts(&self, host: &Host) -> HostFacts {
        let Host::Name(name) = host else {
            return HostFacts {
                approved: false,
                odd: vec![Oddity::of(LinkKind::IpAddress)],
            };
        };
        if let Some(known) = self.hosts.borrow().get(name) {
            return known.clone();
        }
        let facts = self.facts_of(name);
        self.hosts.borrow_mut().insert(name.clone(), facts.clone());
        facts
    }

    fn facts_of(&self, name: &str) -> HostFacts {
        let settings = self.settings;
        let approved = settings.approved.has(name) || self.own.is_some_and(|own| own.has(name));
        let mut odd = Vec::new();
        if approved || settings.secure_domains && self.is_secure(name) {
            return HostFacts {
                approved: true,
                odd,
            };
        }
        if settings.shorteners.covers(name) {
            odd.push(Oddity::of(LinkKind::Shortener));
        }
        if let Some((known, _)) = settings.known.like(name) {
            odd.push(Oddity {
                kind: LinkKind::LookAlike,
                instead_of: Some(known.to_owned()),
            });
        }
        if name.contains("xn--") && idna::domain_to_unicode(name).0.split('.').any(is_mixed) {
            odd.push(Oddity::of(LinkKind::MixedScript));
        }
        HostFacts { approved, odd }
    }

    fn is_secure(&self, name: &str) -> bool {
        Domain::parse(name).is_ok_and(|domain| self.register.is_secure(&domain, self.now))
    }
}
