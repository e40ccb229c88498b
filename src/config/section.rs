//! A table of a TOML file, read key by key; what nobody read is an unknown key.
//!
//! Each reader takes a key and says what it wants. A value of the wrong kind is reported and the
//! reader returns as if the key were absent, so that one pass finds every error of a file. The
//! module that owns the settings turns "absent" into its default.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::located::{Located, Place, SourceFile};
use super::suggest;

/// One table, and what was read of it.
pub struct Section<'t> {
    table: Option<&'t DeTable<'t>>,
    place: Place,
    name: String,
    read: RefCell<BTreeSet<String>>,
    diagnostics: &'t Diagnostics,
}

impl<'t> Section<'t> {
    pub(super) fn new(
        table: &'t DeTable<'t>,
        file: &Arc<SourceFile>,
        span: std::ops::Range<usize>,
        name: String,
        diagnostics: &'t Diagnostics,
    ) -> Self {
        Self {
            table: Some(table),
            place: Place::new(file, span),
            name,
            read: RefCell::default(),
            diagnostics,
        }
    }

    /// Where the table stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the file has this table at all.
    pub fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Whether a key is there, read or not.
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.get(key).is_some())
    }

    /// Where diagnostics go, for checks that span several keys.
    pub fn diagnostics(&self) -> &'t Diagnostics {
        self.diagnostics
    }

    /// Text.
    pub fn string(&self, key: &str) -> Option<Located<String>> {
        let (value, place) = self.value(key)?;
        match value.as_str() {
            Some(text) => Some(Located::at(text.to_owned(), place)),
            None => self.wrong_type(key, "text in quotes", value, &place),
        }
    }

    /// Text that must be there.
    pub fn required_string(&self, key: &str) -> Option<Located<String>> {
        self.require(key);
        self.string(key)
    }

    /// Text that `T` can be read from; the error's own words say what is wrong.
    pub fn parse<T: FromStr>(&self, key: &str) -> Option<Located<T>>
    where
        T::Err: Display,
    {
        let text = self.string(key)?;
        self.parse_text(key, &text)
    }

    /// As [`Section::parse`], for a key that must be there.
    pub fn required<T: FromStr>(&self, key: &str) -> Option<Located<T>>
    where
        T::Err: Display,
    {
        self.require(key);
        self.parse(key)
    }

    /// One of a list of words.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<Located<T>> {
        let text = self.string(key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.as_str()) {
            return Some(text.map(|_| *value));
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let nearest = suggest::nearest(&text, names.iter().copied());
        let help = match nearest {
            Some(word) => format!("did you mean `{word}`? allowed: {}", names.join(", ")),
            None => format!("allowed: {}", names.join(", ")),
        };
        self.report(
            "bad-word",
            format!("`{key}` is not one of the words it may be"),
            &text,
            help,
        );
        None
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &str) -> Option<Located<bool>> {
        let (value, place) = self.value(key)?;
        match value.as_bool() {
            Some(flag) => Some(Located::at(flag, place)),
            None => self.wrong_type(key, "true or false", value, &place),
        }
    }

    /// A whole number within bounds.
    pub fn integer(&self, key: &str, bounds: RangeInclusive<i64>) -> Option<Located<i64>> {
        let (value, place) = self.value(key)?;
        let Some(number) = integer_of(value) else {
            return self.wrong_type(key, "a whole number", value, &place);
        };
        let located = Located::at(number, place);
        if bounds.contains(&number) {
            return Some(located);
        }
        let help = format!("between {} and {}", bounds.start(), bounds.end());
        self.report(
            "out-of-bounds",
            format!("`{key}` is out of bounds"),
            &located,
            help,
        );
        None
    }

    /// A number, with or without a fraction.
    pub fn number(&self, key: &str) -> Option<Located<f64>> {
        let (value, place) = self.value(key)?;
        let number = match value.as_float() {
            Some(float) => float.as_str().replace('_', "").parse().ok(),
            #[expect(
                clippy::cast_precision_loss,
                reason = "weights and thresholds are small"
            )]
            None => integer_of(value).map(|whole| whole as f64),
        };
        match number {
            Some(number) => Some(Located::at(number, place)),
            None => self.wrong_type(key, "a number", value, &place),
        }
    }

    /// A length of time: `"30s"`, `"5m"`, `"4h"`, `"5d"`, or several in a row (`"1h 30m"`).
    pub fn duration(&self, key: &str) -> Option<Located<Duration>> {
        let text = self.string(key)?;
        self.duration_text(key, &text)
    }

    /// A list of lengths of time.
    pub fn durations(&self, key: &str) -> Option<Vec<Located<Duration>>> {
        let texts = self.strings(key)?;
        Some(
            texts
                .iter()
                .filter_map(|text| self.duration_text(key, text))
                .collect(),
        )
    }

    /// A size: a number of octets, or `"40 MiB"`, `"64 KiB"`, `"1 GiB"`.
    pub fn octets(&self, key: &str) -> Option<Located<u64>> {
        let (value, place) = self.value(key)?;
        let octets = match (integer_of(value), value.as_str()) {
            (Some(number), _) => u64::try_from(number).ok(),
            (None, Some(text)) => octets_of(text),
            (None, None) => {
                return self.wrong_type(key, "a size such as \"40 MiB\"", value, &place);
            }
        };
        if octets.is_none() {
            let at = Located::at((), place);
            self.report(
                "bad-size",
                format!("`{key}` is not a size"),
                &at,
                "write for example \"40 MiB\" or 65536".into(),
            );
            return None;
        }
        octets.map(|octets| Located::at(octets, place))
    }

    /// A date: `2026-11-21`, in quotes or not.
    pub fn date(&self, key: &str) -> Option<Located<jiff::civil::Date>> {
        let (value, place) = self.value(key)?;
        let text = match (value.as_datetime(), value.as_str()) {
            (Some(datetime), _) => datetime.to_string(),
            (None, Some(text)) => text.to_owned(),
            (None, None) => {
                return self.wrong_type(key, "a date such as 2026-11-21", value, &place);
            }
        };
        self.parse_text(key, &Located::at(text, place))
    }

    /// As [`Section::date`], and its absence is reported.
    pub fn required_date(&self, key: &str) -> Option<Located<jiff::civil::Date>> {
        self.require(key);
        self.date(key)
    }

    /// A path; a relative one is meant from the folder of the file.
    pub fn path(&self, key: &str) -> Option<Located<PathBuf>> {
        let text = self.string(key)?;
        let folder = self
            .place
            .file()
            .path
            .parent()
            .map(PathBuf::from)
            .unwrap_or_default();
        Some(text.map(|text| folder.join(text)))
    }

    /// A list of texts.
    pub fn strings(&self, key: &str) -> Option<Vec<Located<String>>> {
        let (value, place) = self.value(key)?;
        let Some(array) = value.as_array() else {
            return self.wrong_type(key, "a list", value, &place);
        };
        let mut texts = Vec::with_capacity(array.len());
        for item in array.iter() {
            let place = Place::new(place.file(), item.span());
            match item.get_ref().as_str() {
                Some(text) => texts.push(Located::at(text.to_owned(), place)),
                None => {
                    let _: Option<()> =
                        self.wrong_type(key, "text in quotes", item.get_ref(), &place);
                }
            }
        }
        Some(texts)
    }

    /// A list of texts that `T` can be read from.
    pub fn parse_list<T: FromStr>(&self, key: &str) -> Option<Vec<Located<T>>>
    where
        T::Err: Display,
    {
        let texts = self.strings(key)?;
        Some(
            texts
                .iter()
                .filter_map(|text| self.parse_text(key, text))
                .collect(),
        )
    }

    /// A table below this one. An absent one reads as empty.
    pub fn section(&self, key: &str) -> Self {
        let name = self.child_name(key);
        let empty = || Section {
            table: None,
            place: self.place.clone(),
            name: name.clone(),
            read: RefCell::default(),
            diagnostics: self.diagnostics,
        };
        let Some((value, place)) = self.value(key) else {
            return empty();
        };
        match value.as_table() {
            Some(table) => Section::new(table, place.file(), place.span(), name, self.diagnostics),
            None => {
                let _: Option<()> = self.wrong_type(key, "a table", value, &place);
                empty()
            }
        }
    }

    /// The tables of an array: `[[key]]`.
    pub fn sections(&self, key: &str) -> Vec<Self> {
        let Some((value, place)) = self.value(key) else {
            return Vec::new();
        };
        let Some(array) = value.as_array() else {
            let _: Option<()> = self.wrong_type(key, "a list of tables ([[…]])", value, &place);
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(array.len());
        for item in array.iter() {
            match item.get_ref().as_table() {
                Some(table) => {
                    sections.push(Section::new(
                        table,
                        place.file(),
                        item.span(),
                        self.child_name(key),
                        self.diagnostics,
                    ));
                }
                None => {
                    let place = Place::new(place.file(), item.span());
                    let _: Option<()> = self.wrong_type(key, "a table", item.get_ref(), &place);
                }
            }
        }
        sections
    }

    /// The keys of this table in the order written, for tables whose keys are the user's own.
    pub fn keys(&self) -> Vec<Located<String>> {
        let Some(table) = self.table else {
            return Vec::new();
        };
        let mut keys: Vec<_> = table
            .iter()
            .map(|(key, _)| {
                Located::at(
                    key.get_ref().to_string(),
                    Place::new(self.place.file(), key.span()),
                )
            })
            .collect();
        keys.sort_by_key(|key| key.place().map(|place| place.span().start));
        keys
    }

    /// Reports every key that nobody read.
    pub fn finish(self) {
        let read = self.read.borrow();
        for key in self.keys() {
            if read.contains(key.as_str()) {
                continue;
            }
            let known = read.iter().map(String::as_str);
            let help = match suggest::nearest(&key, known) {
                Some(word) => format!("did you mean `{word}`?"),
                None if read.is_empty() => "nothing is expected here".to_owned(),
                None => format!(
                    "expected here: {}",
                    read.iter().cloned().collect::<Vec<_>>().join(", ")
                ),
            };
            self.report(
                "unknown-key",
                format!("unknown key `{}` in {}", key.as_str(), self.name),
                &key,
                help,
            );
        }
    }

    /// Reports something about a value of this section.
    pub fn report<T>(
        &self,
        id: &'static str,
        message: impl Into<String>,
        at: &Located<T>,
        help: String,
    ) {
        self.diagnostics.push(
            Diagnostic::error(id, message)
                .at_maybe(at.place(), "")
                .help(help),
        );
    }

    fn require(&self, key: &str) {
        if !self.has(key) {
            self.read.borrow_mut().insert(key.to_owned());
            self.diagnostics.push(
                Diagnostic::error(
                    "missing-key",
                    format!("`{key}` is missing in {}", self.name),
                )
                .at(&self.place, ""),
            );
        }
    }

    fn value(&self, key: &str) -> Option<(&'t DeValue<'t>, Place)> {
        self.read.borrow_mut().insert(key.to_owned());
        let item: &'t Spanned<DeValue<'t>> = self.table?.get(key)?;
        Some((item.get_ref(), Place::new(self.place.file(), item.span())))
    }

    fn parse_text<T: FromStr>(&self, key: &str, text: &Located<String>) -> Option<Located<T>>
    where
        T::Err: Display,
    {
        match text.parse::<T>() {
            Ok(value) => Some(text.clone().map(|_| value)),
            Err(error) => {
                self.report(
                    "bad-value",
                    format!("`{key}` cannot be read"),
                    text,
                    error.to_string(),
                );
                None
            }
        }
    }

    fn duration_text(&self, key: &str, text: &Located<String>) -> Option<Located<Duration>> {
        let duration = duration_of(text);
        if duration.is_none() {
            self.report(
                "bad-duration",
                format!("`{key}` is not a length of time"),
                text,
                "write for example \"30s\", \"15m\", \"4h\" or \"5d\"".into(),
            );
        }
        duration.map(|duration| text.clone().map(|_| duration))
    }

    fn wrong_type<T>(
        &self,
        key: &str,
        wanted: &str,
        found: &DeValue<'_>,
        place: &Place,
    ) -> Option<T> {
        let message = format!("`{key}` must be {wanted}");
        let kind = found.type_str();
        let article = if kind.starts_with(['a', 'i']) {
            "an"
        } else {
            "a"
        };
        let found = format!("this is {article} {kind}");
        self.diagnostics
            .push(Diagnostic::error("wrong-type", message).at(place, found));
        None
    }

    fn child_name(&self, key: &str) -> String {
        if self.name == TOP {
            format!("[{key}]")
        } else {
            format!("{}.{key}]", self.name.trim_end_matches(']'))
        }
    }
}

/// The name of the outermost table in messages.
pub(super) const TOP: &str = "this file";

fn integer_of(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
}

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

fn octets_of(text: &str) -> Option<u64> {
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
