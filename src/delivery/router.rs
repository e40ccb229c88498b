//! Which route takes a recipient.
//!
//! The first route whose patterns match does. The one route for encryption takes what the policy wants encrypted, and
//! nothing else. What is taken to go by knows by which settings it is, so that a connection made by those serves none of
//! the settings that a reload puts in their place.

use std::ops::Deref;
use std::sync::Arc;

use crate::mail::ForwardPath;
use crate::mail::sms::Pseudonym;

use super::route::{Route, Takes};

/// All routes, in their order.
#[derive(Clone, Debug)]
pub struct Router {
    routes: Vec<Arc<Route>>,
    generation: Generation,
}

impl Router {
    /// A router over these routes, tried in this order.
    pub fn new(routes: Vec<Arc<Route>>) -> Self {
        Self {
            routes,
            generation: Generation(0),
        }
    }

    /// The one that takes its place, by settings that were loaded anew.
    #[must_use]
    pub fn replaced_by(&self, routes: Vec<Arc<Route>>) -> Self {
        Self {
            routes,
            generation: Generation(self.generation.0 + 1),
        }
    }

    /// By which settings it is.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Takes the route of a recipient, to go by it; `None` if there is none. As [`Self::route`] otherwise.
    pub fn take(&self, path: &ForwardPath, binding_is_encryption: bool) -> Option<TakenRoute> {
        let route = self.route(path, binding_is_encryption)?;
        Some(TakenRoute {
            route: Arc::clone(route),
            generation: self.generation,
        })
    }

    /// Returns the route of a recipient; `None` if none takes it. `binding_is_encryption` asks for
    /// the route of the verdict `encrypt`.
    pub fn route(&self, path: &ForwardPath, binding_is_encryption: bool) -> Option<&Arc<Route>> {
        // Without the route for numbers a text would go out as mail, to anyone.
        let is_number = Pseudonym::is_one(path);
        self.routes.iter().find(|route| match &route.takes {
            // What encrypts mail can do nothing with a text, and would pass number and words on to nobody.
            Takes::Encryption => binding_is_encryption && !is_number,
            Takes::Numbers(domain) => !binding_is_encryption && path.domain() == Some(domain),
            Takes::Recipients(patterns) => {
                !binding_is_encryption
                    && !is_number
                    && patterns.iter().any(|pattern| pattern.takes(path))
            }
        })
    }

    /// All routes, in their order.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }
}

/// Tells settings from those that were loaded before them. There is none without a [`Router`], and no attempt without one
/// that came with its route: nobody can read it too early or too late.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Generation(u64);

/// A route as it was taken to go by: it stays what it was whatever is loaded meanwhile, and says so.
#[derive(Clone, Debug)]
pub struct TakenRoute {
    route: Arc<Route>,
    generation: Generation,
}

impl TakenRoute {
    /// Of which settings it is.
    pub fn generation(&self) -> Generation {
        self.generation
    }
}

impl Deref for TakenRoute {
    type Target = Route;

    fn deref(&self) -> &Route {
        &self.route
    }
}

#[cfg(test)]
mod tests {
    use super::super::route::tests::{self, mx, to};
    use super::*;

    fn route(name: &str, takes: Takes) -> Arc<Route> {
        Arc::new(tests::route(name, takes, mx()))
    }

    #[test]
    fn the_first_route_that_matches_takes_the_recipient() {
        let router = Router::new(vec![
            route("encryption", Takes::Encryption),
            route("nhs", to("*.nhs.uk")),
            route("rest", to("*")),
        ]);
        let name = |recipient: &str, encryption| {
            let path = ForwardPath::parse(recipient).unwrap();
            router.route(&path, encryption).map(|r| r.name.clone())
        };

        assert_eq!(name("a@x.nhs.uk", false).unwrap(), "nhs");
        assert_eq!(name("a@example.com", false).unwrap(), "rest");
        assert_eq!(name("a@x.nhs.uk", true).unwrap(), "encryption");
    }

    #[test]
    fn without_an_encryption_route_nothing_is_sent_in_its_stead() {
        let router = Router::new(vec![route("rest", to("*"))]);
        let path = ForwardPath::parse("a@example.com").unwrap();
        assert!(router.route(&path, true).is_none());
    }

    #[test]
    fn a_route_that_was_taken_is_of_the_settings_of_that_moment() {
        let before = Router::new(vec![route("rest", to("*"))]);
        let after = before.replaced_by(before.routes().to_vec());
        let path = ForwardPath::parse("a@example.com").unwrap();
        let taken = before.take(&path, false).unwrap();
        assert_eq!(taken.generation(), before.generation());
        assert!(taken.generation() < after.generation());
    }
}
