//! Rows to values and back. The words in the database are the RFCs' own.

use std::sync::Arc;

use tokio_postgres::Row;

use crate::mail::{BodyType, EnvId, Message, Notify, Orcpt, Priority, Recipient, Ret, ReversePath};
use crate::queue::error::{QueueError, StoreError};
use crate::queue::handling::PolicyMark;
use crate::queue::record::{DeliveryId, LeasedDelivery, MessageId, QueuedMessage};
use crate::queue::words::{binding, forward_path, reference, time};

use super::bodies::Bodies;
use super::db::Db;

/// The columns of [`header`], and after them those of [`Octets::of`].
pub(super) const MESSAGE: &str =
    "id, reference, reverse_path, env_id, ret, eight_bit, smtputf8, require_tls,
    patient_data, received_at, message_id, mt_priority, stored, content, octets";

/// The columns of [`delivery`].
pub(super) const DELIVERY: &str = "id, forward_path, notify, orcpt, binding, attempts, delay_notified, priority, policy, released_at";

/// Reads a message and its octets; `None` if there is none of that number.
pub(super) async fn message(
    db: Db<'_>,
    bodies: &Bodies,
    id: MessageId,
) -> Result<Option<Arc<QueuedMessage>>, QueueError> {
    let sql = format!("SELECT {MESSAGE} FROM message WHERE id = $1");
    let Some(row) = db.row(&sql, &[&id.0]).await? else {
        return Ok(None);
    };
    let octets = match Octets::of(&row)? {
        Octets::Here(message) => message,
        Octets::Stored(body) => bodies.read(db, body).await?.ok_or(damaged(id.0, "body"))?,
    };
    Ok(Some(Arc::new(header(&row, octets)?)))
}

/// Reads a message for a report about it. One whose octets are lost is reported all the same, without them: its sender
/// must hear of it.
pub(super) async fn message_to_report(
    db: Db<'_>,
    bodies: &Bodies,
    id: MessageId,
) -> Result<Option<QueuedMessage>, QueueError> {
    let sql = format!("SELECT {MESSAGE} FROM message WHERE id = $1");
    let Some(row) = db.row(&sql, &[&id.0]).await? else {
        return Ok(None);
    };
    let octets = match Octets::of(&row) {
        Ok(Octets::Here(message)) => Some(message),
        Ok(Octets::Stored(body)) => bodies.read(db, body).await?,
        Err(_) => None,
    };
    let is_lost = octets.is_none();
    let message = header(&row, octets.unwrap_or_else(|| Message::new("")))?;
    Ok(Some(QueuedMessage {
        // Of one that is lost nothing can be quoted.
        patient_data: message.patient_data || is_lost,
        ..message
    }))
}

/// Where the octets of a message are.
pub(super) enum Octets {
    /// In its row.
    Here(Message),
    /// In a body.
    Stored(i64),
}

impl Octets {
    /// Those of the row of a message. The schema has it that there is one or the other.
    ///
    /// # Errors
    /// They are not as many as came: a part of a message must not go out as if it were all of it.
    pub(super) fn of(row: &Row) -> Result<Self, QueueError> {
        if let Some(body) = row.get::<_, Option<i64>>(12) {
            return Ok(Self::Stored(body));
        }
        let octets = row.get::<_, Option<Vec<u8>>>(13).unwrap_or_default();
        match i64::try_from(octets.len()) == Ok(row.get(14)) {
            true => Ok(Self::Here(Message::new(octets))),
            false => Err(damaged(row.get(0), "content: its length is another")),
        }
    }
}

/// Reads what is to be said of a message that has these octets.
pub(super) fn header(row: &Row, message: Message) -> Result<QueuedMessage, QueueError> {
    let id: i64 = row.get(0);
    let mt_priority: Option<i16> = row.get(11);
    Ok(QueuedMessage {
        id: MessageId(id),
        reference: reference(row.get(1)).ok_or(damaged(id, "reference"))?,
        reverse_path: ReversePath::parse(row.get(2)).map_err(|_| damaged(id, "reverse_path"))?,
        env_id: row.get::<_, Option<&str>>(3).and_then(EnvId::parse),
        ret: row.get::<_, Option<&str>>(4).and_then(Ret::parse),
        body: match row.get(5) {
            true => BodyType::EightBitMime,
            false => BodyType::SevenBit,
        },
        smtputf8: row.get(6),
        require_tls: row.get(7),
        patient_data: row.get(8),
        received_at: time(row.get(9)),
        message_id: row.get(10),
        mt_priority: mt_priority.and_then(|number| i8::try_from(number).ok()),
        message,
    })
}

/// Reads a delivery.
pub(super) fn delivery(row: &Row) -> Result<LeasedDelivery, QueueError> {
    let id: i64 = row.get(0);
    Ok(LeasedDelivery {
        id: DeliveryId(id),
        recipient: Recipient {
            forward_path: forward_path(row.get(1)).ok_or(damaged(id, "forward_path"))?,
            notify: row.get::<_, Option<&str>>(2).and_then(Notify::parse),
            orcpt: row.get::<_, Option<&str>>(3).and_then(Orcpt::parse),
        },
        binding: binding(row.get(4)).ok_or(damaged(id, "binding"))?,
        attempts: attempts(row.get(5)),
        delay_notified: row.get(6),
        priority: Priority::of_number(i64::from(row.get::<_, i16>(7))),
        policy: row.get::<_, Option<i64>>(8).map(PolicyMark),
        released_at: row.get::<_, Option<i64>>(9).map(time),
    })
}

/// A number of attempts.
pub(super) fn attempts(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// Whether a row, which could be read, holds what this program never wrote there.
pub(super) fn is_garbled(error: &QueueError) -> bool {
    matches!(error, QueueError::Store(StoreError::Damaged { .. }))
}

/// A row holds what this program never writes.
pub(super) fn damaged(row: i64, what: &'static str) -> QueueError {
    StoreError::Damaged { row, what }.into()
}
