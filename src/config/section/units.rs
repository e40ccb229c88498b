//! Lengths of time and sizes, as they are written: `1h 30m`, `40 MiB`.

use std::time::Duration;

/// Reads a time such as `30s`, `5m` or `1d 6h`.
pub fn duration_of(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit_and_rest = rest[digits..].trim_start();
        let unit_end = unit_and_rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(unit_and_rest.len());
        total = total.checked_add(match &unit_and_rest[..unit_end] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" | "min" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3_600)?),
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            _ => return None,
        })?;
        rest = unit_and_rest[unit_end..].trim_start();
    }
    (!text.trim().is_empty()).then_some(total)
}

/// Reads a size such as `12` or `40 MiB`, in octets.
pub(super) fn octets_of(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_and_sizes_have_units() {
        assert_eq!(duration_of("1h 30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(duration_of("5d"), Some(Duration::from_secs(432_000)));
        assert_eq!(
            (duration_of("5"), duration_of(""), duration_of("5w")),
            (None, None, None)
        );
        assert_eq!(
            (octets_of("40 MiB"), octets_of("12"), octets_of("1x")),
            (Some(40 << 20), Some(12), None)
        );
    }
}
