//! What a lease passes over.

use std::sync::Arc;

use crate::mail::ForwardPath;

use super::record::{Binding, DeliveryId};
use super::words;

/// What a lease passes over: recipients whose destination is busy, and deliveries that are in hand
/// already. Asked for each due recipient that is looked at.
#[derive(Clone, Default)]
pub struct Skip {
    busy: Option<Arc<BusyFn>>,
    in_hand: Option<Arc<InHandFn>>,
}

type BusyFn = dyn Fn(&ForwardPath, Binding) -> bool + Send + Sync;
type InHandFn = dyn Fn(DeliveryId) -> bool + Send + Sync;

impl Skip {
    /// Passes over nothing.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Passes over the recipients for whom `busy` says so. All recipients of one domain and binding
    /// are taken to be alike.
    pub fn when(busy: impl Fn(&ForwardPath, Binding) -> bool + Send + Sync + 'static) -> Self {
        Self {
            busy: Some(Arc::new(busy)),
            in_hand: None,
        }
    }

    /// Passes also over the deliveries for which `in_hand` says so, though their lease has ended: a
    /// clock that jumps, or a long wait for a turn, must not make a second attempt beside the first.
    #[must_use]
    pub fn and_what_is_in_hand(
        mut self,
        in_hand: impl Fn(DeliveryId) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.in_hand = Some(Arc::new(in_hand));
        self
    }

    /// Whether to pass over this recipient.
    pub fn skips(&self, path: &ForwardPath, binding: Binding) -> bool {
        self.busy.as_ref().is_some_and(|busy| busy(path, binding))
    }

    /// The same, as a database has path and binding.
    pub(super) fn skips_words(&self, path: &str, binding: &str) -> bool {
        match (words::forward_path(path), words::binding(binding)) {
            (Some(path), Some(binding)) => self.skips(&path, binding),
            // A damaged row: reading it will tell.
            _ => false,
        }
    }

    /// Whether this delivery is in hand.
    pub fn holds(&self, delivery: DeliveryId) -> bool {
        self.in_hand
            .as_ref()
            .is_some_and(|in_hand| in_hand(delivery))
    }
}
