//! Messages as the queue gets them, for the tests of queue and scheduler.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use jiff::Timestamp;
use postern::base::Reference;
use postern::mail::{
    BodyType, EnhancedStatusCode, ForwardPath, Message, Recipient, Reply, ReversePath,
};
use postern::outcome::Outcome;
use postern::outcome::audit::{AuditEvent, AuditKind};
use postern::queue::{Accepted, Binding, DeliveryId, NewDelivery, Next, Settlement, Standing};

pub(crate) fn start() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

pub(crate) fn path(address: &str) -> ForwardPath {
    ForwardPath::parse(address).unwrap()
}

pub(crate) fn sender() -> ReversePath {
    ReversePath::parse("reception@fa001.bumbleton.example").unwrap()
}

/// A small message to these recipients, all due, with its `Received` event.
pub(crate) fn accepted(to: &[&str]) -> Accepted {
    accepted_with(
        to,
        "From: reception@fa001.bumbleton.example\r\nSubject: opening hours\r\n\
         Message-ID: <m1@bumbleton.example>\r\n\r\nWe open at nine.\r\n",
    )
}

pub(crate) fn accepted_with(to: &[&str], message: impl Into<String>) -> Accepted {
    let reference = Reference::random();
    let mut event = AuditEvent::new(
        start(),
        reference.clone(),
        AuditKind::Received,
        sender().to_string(),
    );
    event.message_id = Some("<m1@bumbleton.example>".to_owned());
    Accepted {
        reference,
        reverse_path: sender(),
        env_id: None,
        ret: None,
        body: BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        message: Message::new(message.into()),
        message_id: Some("<m1@bumbleton.example>".to_owned()),
        patient_data: false,
        received_at: start(),
        deliveries: to
            .iter()
            .map(|to| new_delivery(to, Standing::Due))
            .collect(),
        handling: postern::queue::Handling::default(),
        unless_told: None,
        old_names: Vec::new(),
        events: vec![event],
    }
}

pub(crate) fn new_delivery(to: &str, standing: Standing) -> NewDelivery {
    NewDelivery {
        recipient: Recipient::new(path(to)),
        standing,
        binding: Binding::Any,
        rule: "policies/secure-domains.toml:31".to_owned(),
        because: "a test".to_owned(),
        self_release: None,
    }
}

pub(crate) fn reply(code: u16, status: &str, text: &str) -> Outcome {
    let status = EnhancedStatusCode::parse(status).unwrap();
    Outcome::from_reply(Reply::new(code, status, text), "mx.ward.example", true)
}

pub(crate) fn delivered(delivery: DeliveryId) -> Settlement {
    settlement(delivery, reply(250, "2.0.0", "taken"), Next::Delivered)
}

pub(crate) fn failed(delivery: DeliveryId) -> Settlement {
    settlement(delivery, reply(550, "5.1.1", "no such user"), Next::Failed)
}

pub(crate) fn deferred(delivery: DeliveryId, until: Timestamp) -> Settlement {
    settlement(delivery, reply(451, "4.3.0", "later"), Next::RetryAt(until))
}

pub(crate) fn settlement(delivery: DeliveryId, outcome: Outcome, next: Next) -> Settlement {
    Settlement {
        delivery,
        outcome,
        next,
        delay_notified: false,
    }
}
