//! Rows to values and back. The words in the database are the RFCs' own.

use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row};

use crate::mail::{BodyType, EnvId, Message, Notify, Orcpt, Priority, Recipient, Ret, ReversePath};
use crate::queue::error::{QueueError, StoreError};
use crate::queue::handling::PolicyMark;
use crate::queue::record::{DeliveryId, LeasedDelivery, MessageId, QueuedMessage};
use crate::queue::spool::Spool;
use crate::queue::words::{binding, forward_path, reference, time};

/// A message by its number.
const MESSAGE: &str =
    "SELECT reference, reverse_path, env_id, ret, eight_bit, smtputf8, require_tls, patient_data,
        received_at, message_id, spool, body, mt_priority, octets
    FROM message WHERE id = ?1";

/// Reads a message and its octets; `None` if there is none of that number.
pub(super) fn message(
    db: &Connection,
    spool: &Spool,
    id: MessageId,
) -> Result<Option<Arc<QueuedMessage>>, QueueError> {
    let mut statement = db.prepare_cached(MESSAGE)?;
    let row = statement
        .query_row([id.0], |row| Ok(read_message(row, spool, id)))
        .optional()?;
    Ok(row.transpose()?.map(Arc::new))
}

/// What of a message lies before its body: that can often be read where the rest is on a damaged page.
const HEADER: &str =
    "SELECT reference, reverse_path, env_id, ret, eight_bit, smtputf8, require_tls, patient_data,
        received_at, message_id, NULL, NULL, NULL
    FROM message WHERE id = ?1";

/// Reads a message for a report about it. One whose octets cannot be read is reported all the same, without them: its
/// sender must hear that it is lost.
pub(super) fn message_to_report(
    db: &Connection,
    spool: &Spool,
    id: MessageId,
) -> Result<Option<Arc<QueuedMessage>>, QueueError> {
    match message(db, spool, id) {
        Err(QueueError::Store(StoreError::File { .. })) => {}
        Err(error) if is_garbled(&error) => {}
        read => return read,
    }
    message_unseen(db, id)
}

/// Reads a message without a look at its octets: they lie on a damaged page.
pub(super) fn message_unseen(
    db: &Connection,
    id: MessageId,
) -> Result<Option<Arc<QueuedMessage>>, QueueError> {
    let mut statement = db.prepare_cached(HEADER)?;
    let row = statement
        .query_row([id.0], |row| {
            Ok(read_header(row, Message::new(Vec::new()), id))
        })
        .optional()?;
    let unread = row.transpose()?.map(|message| QueuedMessage {
        // Nothing of it can be quoted.
        patient_data: true,
        ..message
    });
    Ok(unread.map(Arc::new))
}

/// A column as text, whatever it holds by now: for those who say what is known of a damaged row.
pub(super) fn text_of(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(at)? {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(octets) | ValueRef::Blob(octets) => {
            Some(String::from_utf8_lossy(octets).into_owned())
        }
    })
}

/// A column as a count; 0 if it is none.
pub(super) fn count_of(row: &Row<'_>, at: usize) -> rusqlite::Result<u32> {
    let number = row.get_ref(at)?.as_i64().ok();
    Ok(number
        .and_then(|number| number.try_into().ok())
        .unwrap_or(0))
}

/// Whether a row, which could be read, holds what this program never wrote there.
pub(super) fn is_garbled(error: &QueueError) -> bool {
    match error {
        QueueError::Store(StoreError::Damaged { .. }) => true,
        // A column of another type, or a text that is none.
        QueueError::Store(StoreError::Sqlite(error)) => error.sqlite_error_code().is_none(),
        _ => false,
    }
}

/// Whether the disk did not give a page. SQLite has taken the whole transaction back then.
pub(super) fn is_unread(error: &QueueError) -> bool {
    matches!(error, QueueError::Store(StoreError::Sqlite(error))
        if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure))
}

/// Whether a page of the database holds what SQLite never wrote there.
pub(super) fn is_corrupt(error: &QueueError) -> bool {
    matches!(error, QueueError::Store(StoreError::Sqlite(error))
        if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt))
}

fn read_message(row: &Row<'_>, spool: &Spool, id: MessageId) -> Result<QueuedMessage, QueueError> {
    let damaged = |what| StoreError::Damaged { row: id.0, what };
    let message = match row.get::<_, Option<String>>(10)? {
        Some(file) => spool.read(&file)?,
        None => Message::new(row.get::<_, Option<Vec<u8>>>(11)?.ok_or(damaged("body"))?),
    };
    // A part of a message must not go out as if it were all of it.
    if i64::try_from(message.len()).ok() != row.get(13)? {
        return Err(damaged("body: its length is another").into());
    }
    read_header(row, message, id)
}

fn read_header(
    row: &Row<'_>,
    message: Message,
    id: MessageId,
) -> Result<QueuedMessage, QueueError> {
    let damaged = |what| StoreError::Damaged { row: id.0, what };
    let env_id: Option<String> = row.get(2)?;
    let ret: Option<String> = row.get(3)?;
    let reverse_path: String = row.get(1)?;
    Ok(QueuedMessage {
        id,
        reference: reference(&row.get::<_, String>(0)?).ok_or(damaged("reference"))?,
        reverse_path: ReversePath::parse(&reverse_path).map_err(|_| damaged("reverse_path"))?,
        env_id: env_id.as_deref().and_then(EnvId::parse),
        ret: ret.as_deref().and_then(Ret::parse),
        body: if row.get(4)? {
            BodyType::EightBitMime
        } else {
            BodyType::SevenBit
        },
        smtputf8: row.get(5)?,
        require_tls: row.get(6)?,
        message,
        message_id: row.get(9)?,
        patient_data: row.get(7)?,
        received_at: time(row.get(8)?),
        mt_priority: row.get(12)?,
    })
}

/// The columns of [`delivery`].
pub(super) const DELIVERY: &str = "id, forward_path, notify, orcpt, binding, attempts, delay_notified, priority, policy, released_at";

/// Reads a delivery.
pub(super) fn delivery(row: &Row<'_>) -> Result<LeasedDelivery, QueueError> {
    let id: i64 = row.get(0)?;
    let damaged = |what| StoreError::Damaged { row: id, what };
    Ok(LeasedDelivery {
        id: DeliveryId(id),
        recipient: Recipient {
            forward_path: forward_path(row.get_ref(1)?.as_str().unwrap_or_default())
                .ok_or(damaged("forward_path"))?,
            notify: row
                .get::<_, Option<String>>(2)?
                .as_deref()
                .and_then(Notify::parse),
            orcpt: row
                .get::<_, Option<String>>(3)?
                .as_deref()
                .and_then(Orcpt::parse),
        },
        binding: binding(row.get_ref(4)?.as_str().unwrap_or_default()).ok_or(damaged("binding"))?,
        attempts: row.get(5)?,
        delay_notified: row.get(6)?,
        priority: Priority::of_number(row.get(7)?),
        policy: row.get::<_, Option<i64>>(8)?.map(PolicyMark),
        released_at: row.get::<_, Option<i64>>(9)?.map(time),
    })
}
