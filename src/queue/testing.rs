//! Messages for tests.

use jiff::Timestamp;

use super::{Accepted, Binding, Handling, NewDelivery, Standing};
use crate::base::Reference;
use crate::mail::{BodyType, ForwardPath, Message, Recipient, ReversePath};

/// A small message of no special kind, due for each of these; without events.
pub(crate) fn accepted(now: Timestamp, from: ReversePath, to: &[&str]) -> Accepted {
    Accepted {
        reference: Reference::random(),
        reverse_path: from,
        env_id: None,
        ret: None,
        body: BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        message: Message::new("Subject: x\r\n\r\nx\r\n"),
        message_id: None,
        patient_data: false,
        received_at: now,
        handling: Handling::default(),
        deliveries: to.iter().map(|to| delivery(to)).collect(),
        unless_told: None,
        old_names: Vec::new(),
        events: Vec::new(),
    }
}

fn delivery(to: &str) -> NewDelivery {
    NewDelivery {
        recipient: Recipient::new(ForwardPath::parse(to).unwrap()),
        standing: Standing::Due,
        binding: Binding::Any,
        rule: String::new(),
        because: String::new(),
        self_release: None,
    }
}
