//! Names that say by their shape what they are (`domain.md` §1.1, §1.3).
//!
//! Only a shape is read here; whether there is such a code, and whether the rest of the name speaks
//! of the same organisation, is for the directory to say. Nothing but the tail of an old name can
//! be trusted: place and name come swapped, cut short, with dots, digits and hyphens.

use super::code::{LENGTH_MAX, OdsCode, PHARMACY_LENGTH};
use super::entry::Kind;

/// What a local part looks like. The parts are folded, as the local part was.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Shape<'n> {
    /// `pharmacy.CODE` or `care.CODE`.
    Canonical(Kind, OdsCode),
    /// `nhspharmacy.LOCATION.NAMECODE`.
    LegacyPharmacy {
        /// Location and name.
        said: &'n str,
        /// The last five characters of the last label.
        tail: &'n str,
    },
    /// `care.TOWN.NAMECODE`, the code of unknown length.
    Care {
        /// Town and name, with the code.
        said: &'n str,
    },
    /// `reminders.CODE.donotreply`.
    Application(OdsCode),
    /// Nearly one of a pharmacy: `pharmacyFLE67`, `pharmacy.ftc400`, `nhspharmacy.fle67`.
    NearPharmacy(Option<OdsCode>),
    /// None of these.
    Other,
}

impl<'n> Shape<'n> {
    /// Reads a folded local part.
    pub(super) fn of(local: &'n str) -> Self {
        if let Some(rest) = local.strip_prefix("nhspharmacy") {
            return legacy(rest).unwrap_or_else(|| Self::NearPharmacy(pharmacy_tail(rest)));
        }
        if let Some(rest) = local.strip_prefix("pharmacy") {
            return pharmacy(rest);
        }
        if let Some(rest) = local.strip_prefix("care.") {
            return care(rest);
        }
        application(local).unwrap_or(Self::Other)
    }
}

fn legacy(rest: &str) -> Option<Shape<'_>> {
    let rest = rest.strip_prefix('.')?;
    let cut = rest.len().checked_sub(PHARMACY_LENGTH)?;
    if !is_plain(rest) {
        return None;
    }
    let (said, tail) = rest.split_at(cut);
    let (location, name) = said.split_once('.')?;
    let shaped = !location.is_empty() && !name.is_empty() && !tail.contains('.');
    shaped.then_some(Shape::LegacyPharmacy { said, tail })
}

/// What follows `pharmacy` is a code, nearly a code, or a name like any other (`pharmacyadmin`).
fn pharmacy(rest: &str) -> Shape<'_> {
    let dotted = rest.strip_prefix('.');
    if let Some(Ok(code)) = dotted.map(OdsCode::parse_pharmacy) {
        return Shape::Canonical(Kind::Pharmacy, code);
    }
    let text = rest.trim_start_matches(['.', '-', '_']);
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let code_like = text.starts_with('f')
        && (4..=7).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric())
        && digits >= 2;
    if code_like {
        Shape::NearPharmacy(OdsCode::parse_pharmacy(text).ok())
    } else {
        Shape::Other
    }
}

fn care(rest: &str) -> Shape<'_> {
    if rest.contains('.') && is_plain(rest) {
        return Shape::Care { said: rest };
    }
    match OdsCode::parse(rest) {
        Ok(code) if rest.len() >= SHORTEST_CARE_CODE => Shape::Canonical(Kind::Care, code),
        _ => Shape::Other,
    }
}

fn application(local: &str) -> Option<Shape<'_>> {
    let code = local
        .strip_prefix("reminders.")?
        .strip_suffix(".donotreply")?;
    OdsCode::parse(code).ok().map(Shape::Application)
}

/// The codes that the end of a care name could spell, longest first, each with what stands before.
pub(super) fn tail_codes(said: &str) -> impl Iterator<Item = (&str, OdsCode)> {
    let label = said.rsplit('.').next().unwrap_or(said);
    let longest = label.len().min(LENGTH_MAX);
    (SHORTEST_CARE_CODE..=longest).rev().filter_map(|length| {
        let (before, code) = said.split_at_checked(said.len() - length)?;
        OdsCode::parse(code).ok().map(|code| (before, code))
    })
}

/// Every pharmacy code that is spelled anywhere in a text.
pub(super) fn spelled_codes(text: &str) -> impl Iterator<Item = OdsCode> {
    text.as_bytes()
        .windows(PHARMACY_LENGTH)
        .filter(|window| window[0].eq_ignore_ascii_case(&b'f'))
        .filter_map(|window| OdsCode::parse_pharmacy(std::str::from_utf8(window).ok()?).ok())
}

fn pharmacy_tail(text: &str) -> Option<OdsCode> {
    let cut = text.len().checked_sub(PHARMACY_LENGTH)?;
    OdsCode::parse_pharmacy(text.get(cut..)?).ok()
}

/// Letters, digits, dots, hyphens and apostrophes: what old names are made of.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'\''))
}

/// The shortest code that is looked for at the end of a care name.
const SHORTEST_CARE_CODE: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(text: &str) -> OdsCode {
        OdsCode::parse(text).unwrap()
    }

    #[test]
    fn the_tail_of_a_legacy_name_is_its_last_five_characters() {
        for (local, said, tail) in [
            (
                "nhspharmacy.288highs.tescoin-sfvw31",
                "288highs.tescoin-s",
                "fvw31",
            ),
            (
                "nhspharmacy.tottenham.phillipschemistsm689",
                "tottenham.phillipschemist",
                "sm689",
            ),
            ("nhspharmacy.a.b.c.d'efe164", "a.b.c.d'e", "fe164"),
        ] {
            assert_eq!(
                Shape::of(local),
                Shape::LegacyPharmacy { said, tail },
                "{local}"
            );
        }
    }

    #[test]
    fn names_near_a_pharmacys_are_told_from_names_like_any_other() {
        for (local, shape) in [
            (
                "pharmacy.faq59",
                Shape::Canonical(Kind::Pharmacy, code("FAQ59")),
            ),
            ("pharmacyfle67", Shape::NearPharmacy(Some(code("FLE67")))),
            ("pharmacy-fle67", Shape::NearPharmacy(Some(code("FLE67")))),
            ("pharmacy.ftc400", Shape::NearPharmacy(None)),
            (
                "nhspharmacy.fle67",
                Shape::NearPharmacy(Some(code("FLE67"))),
            ),
            ("nhspharmacyfle67", Shape::NearPharmacy(Some(code("FLE67")))),
            (
                "nhspharmacy.leeds.fle67",
                Shape::NearPharmacy(Some(code("FLE67"))),
            ),
            ("nhspharmacy", Shape::NearPharmacy(None)),
            (
                "nhspharmacy.leeds.b\u{f6}otsfle67",
                Shape::NearPharmacy(Some(code("FLE67"))),
            ),
            ("pharmacyadmin", Shape::Other),
            ("pharmacy", Shape::Other),
            ("alpha.pharmacy", Shape::Other),
            ("clockworkqueensparade.fjj70", Shape::Other),
            ("care.v12345", Shape::Canonical(Kind::Care, code("V12345"))),
            (
                "care.newcastle.homev12345",
                Shape::Care {
                    said: "newcastle.homev12345",
                },
            ),
            ("careadmin", Shape::Other),
            (
                "reminders.fa123.donotreply",
                Shape::Application(code("FA123")),
            ),
            ("reminders.fa123.donotreply.x", Shape::Other),
            ("reminders..donotreply", Shape::Other),
        ] {
            assert_eq!(Shape::of(local), shape, "{local}");
        }
    }

    #[test]
    fn the_codes_at_the_end_of_a_care_name_come_longest_first() {
        let codes: Vec<_> = tail_codes("town.homev12345")
            .map(|(before, code)| format!("{before}|{code}"))
            .collect();
        assert_eq!(codes[0], "town.h|OMEV12345");
        assert_eq!(codes[3], "town.home|V12345");
        assert_eq!(codes.len(), 7);
    }

    proptest! {
        #[test]
        fn any_local_part_has_a_shape(local in "(nhs)?(pharmacy|care|reminders)?\\PC{0,40}") {
            let local = local.to_ascii_lowercase();
            match Shape::of(&local) {
                Shape::LegacyPharmacy { said, tail } => {
                    prop_assert_eq!(tail.len(), 5);
                    prop_assert_eq!(format!("nhspharmacy.{said}{tail}"), local);
                }
                Shape::Care { said } => {
                    for (before, code) in tail_codes(said) {
                        prop_assert_eq!(format!("{before}{}", code.as_str().to_ascii_lowercase()), said);
                    }
                }
                _ => {}
            }
        }
    }
}
