//! Delivery as the scheduler sees it: a route for a recipient, and an attempt along it.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use crate::delivery::{Deliveries, Route, Router, TlsNeed};
use crate::mail::{Envelope, ForwardPath, Message};
use crate::outcome::Outcome;

/// What came of an attempt: one outcome for each recipient, in envelope order.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Vec<Outcome>> + Send + 'a>>;

/// Knows the ways onward and goes them. A test has its own.
pub trait Courier: Send + Sync + 'static {
    /// The route of a recipient as things are set up now; `None` if nothing takes it. `encryption`
    /// asks for the route of the verdict `encrypt`.
    fn route(&self, path: &ForwardPath, encryption: bool) -> Option<Arc<Route>>;

    /// Makes one attempt; it ends in bounded time.
    fn attempt<'a>(
        &'a self,
        route: &'a Arc<Route>,
        envelope: &'a Envelope,
        message: &'a Message,
        need: TlsNeed,
    ) -> Attempt<'a>;
}

/// The routes in force, and the deliveries of this process.
pub struct Onward {
    /// Follows reloads.
    pub router: watch::Receiver<Arc<Router>>,
    /// Makes the attempts.
    pub deliveries: Deliveries,
}

impl Courier for Onward {
    fn route(&self, path: &ForwardPath, encryption: bool) -> Option<Arc<Route>> {
        self.router.borrow().route(path, encryption).cloned()
    }

    fn attempt<'a>(
        &'a self,
        route: &'a Arc<Route>,
        envelope: &'a Envelope,
        message: &'a Message,
        need: TlsNeed,
    ) -> Attempt<'a> {
        Box::pin(self.deliveries.attempt(route, envelope, message, need))
    }
}
