//! The values of a section: each reader takes a key and says what it wants.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;

use super::units::{duration_of, octets_of};
use super::{Diagnostic, Located, Place, Section, suggest};

impl Section<'_> {
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

    pub(super) fn wrong_type<T>(
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
}

fn integer_of(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
}
