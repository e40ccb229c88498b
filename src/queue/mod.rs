//! What was promised.

pub mod record;

pub use record::{
    Accepted, Binding, DeliveryId, Lease, LeasedDelivery, MessageId, NewDelivery, Next,
    QueuedMessage, Settlement, Standing,
};
