//! What `Date` says beside what the servers say.

use jiff::Timestamp;

use super::look::Look;

/// The moment that `Date` says, if it can be read.
pub(super) fn date(look: &Look<'_>) -> Option<Timestamp> {
    read(&look.field("Date"))
}

/// How many seconds `Date` lies ahead of the last server that wrote its own date into `Received`; of `now` if
/// none did. `None` if `Date` cannot be read.
pub(super) fn ahead(look: &Look<'_>, now: Timestamp) -> Option<i64> {
    let mut traces = look.mail.header.all("Received");
    let received = traces.find_map(|field| {
        let value = field.value();
        read(value.rsplit_once(';')?.1)
    });
    let then = received.unwrap_or(now);
    Some(date(look)?.as_second() - then.as_second())
}

fn read(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let text = text.split('(').next().unwrap_or(text).trim();
    let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
    parser.parse_timestamp(text).ok()
}
