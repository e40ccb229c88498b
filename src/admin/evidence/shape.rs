//! The shape of a document: nothing in it is said twice, and nothing stands in it that is not signed.
//!
//! Of two values of one key programs take the one or the other, and a person reads both: what was checked must be what
//! is read.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Reads a document. Errs with why it is none.
pub(super) fn read(text: &str) -> Result<Value, &'static str> {
    let document: Value = serde_json::from_str(text).map_err(|_| "it is not JSON")?;
    if serde_json::from_str::<Once>(text).is_err() {
        return Err("a key stands in it twice");
    }
    let has = |value: &Value, keys: &[&str]| {
        let object = value.as_object();
        object.is_some_and(|object| object.keys().eq(keys))
    };
    let signed = ["algorithm", "fingerprint", "public_key", "value"];
    match has(&document, &["signature", "statement"]) && has(&document["signature"], &signed) {
        true => Ok(document),
        false => Err("it has not what a document has, or more"),
    }
}

/// JSON of which no object has a key twice.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Looks)
    }
}

struct Looks;

impl<'de> Visitor<'de> for Looks {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_str<E>(self, _: &str) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Once, A::Error> {
        while seq.next_element::<Once>()?.is_some() {}
        Ok(Once)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key) {
                return Err(A::Error::custom("twice"));
            }
            map.next_value::<Once>()?;
        }
        Ok(Once)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"signature": {"algorithm": "A", "fingerprint": "f", "public_key": "p", "value": "v"},
        "statement": {"events": [{"number": 1}, {"number": 2}], "received": null, "x": -1.5, "y": true}}"#;

    #[test]
    fn a_document_says_nothing_twice_and_nothing_more() {
        assert!(read(WHOLE).is_ok());
        for (from, to, because) in [
            (
                "\"statement\":",
                "\"statement\": 1, \"statement\":",
                "twice",
            ),
            ("{\"number\": 2}", "{\"number\": 1, \"number\": 2}", "twice"),
            // The same key, written in another way.
            ("\"x\": -1.5", "\"x\": 1, \"\\u0078\": -1.5", "twice"),
            (
                "\"statement\":",
                "\"note\": \"it came\", \"statement\":",
                "or more",
            ),
            ("\"value\":", "\"by\": \"the NHS\", \"value\":", "or more"),
            ("\"fingerprint\": \"f\",", "", "or more"),
            ("{\"signature\"", "[\"signature\"", "not JSON"),
        ] {
            let said = read(&WHOLE.replacen(from, to, 1));
            assert!(said.is_err_and(|said| said.contains(because)), "{to}");
        }
        assert!(read("[]").is_err() && read("7").is_err() && read("").is_err());
    }
}
