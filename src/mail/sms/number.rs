//! Numbers of mobile telephones in the United Kingdom (`domain.md` §6.4, after alphagov/notifications-utils).

use std::fmt;

/// A mobile number in the United Kingdom. `Debug` and `Display` show its last three digits alone.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct MobileNumber(String);

impl MobileNumber {
    /// Reads a number as people write them: `07723 456789`, `+44 (0)7723-456-789`, `0044…`, `7723456789`.
    ///
    /// # Errors
    /// Says what is wrong in words that repeat nothing of it.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        let text = text.trim();
        let (plus, rest) = match text.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let filler = |c: &char| !c.is_whitespace() && !matches!(c, '(' | ')' | '-');
        let digits: String = rest.chars().filter(filler).collect();
        if !digits.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(NumberError::NotDigits);
        }
        let national = national(&digits, plus)?;
        if !national.starts_with('7') && national.len() >= NATIONAL_DIGITS {
            return Err(NumberError::NotMobile);
        }
        match national.len() {
            0..NATIONAL_DIGITS => Err(NumberError::NotEnough),
            NATIONAL_DIGITS if is_mobile(national) => Ok(Self(format!("{COUNTRY}{national}"))),
            NATIONAL_DIGITS => Err(NumberError::NotMobile),
            _ => Err(NumberError::TooMany),
        }
    }

    /// All of it, with the code of the country and without a plus: `447723456789`. Each call is a place that an
    /// auditor looks at.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// The last three digits: as much of it as anybody is shown.
    pub fn last_three(&self) -> &str {
        // Twelve ASCII digits, by construction.
        self.0.get(self.0.len().saturating_sub(3)..).unwrap_or("")
    }
}

impl fmt::Display for MobileNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", self.last_three())
    }
}

impl fmt::Debug for MobileNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MobileNumber(…{})", self.last_three())
    }
}

/// Why a text is no mobile number in the United Kingdom.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NumberError {
    /// Something in it is neither a digit nor what people put between digits.
    #[error("it must not contain letters or symbols")]
    NotDigits,
    /// Fewer than a number has.
    #[error("it has not enough digits")]
    NotEnough,
    /// More than a number has.
    #[error("it has too many digits")]
    TooMany,
    /// A number of another kind or country.
    #[error("it is not a UK mobile number")]
    NotMobile,
}

/// The number without the code of the country and without the zero that is dialled before it.
fn national(digits: &str, plus: bool) -> Result<&str, NumberError> {
    let international = match (plus, digits.strip_prefix("00")) {
        (true, _) => Some(digits),
        (false, rest) => rest,
    };
    let rest = match international {
        Some(rest) => rest.strip_prefix(COUNTRY).ok_or(NumberError::NotMobile)?,
        None if digits.len() > NATIONAL_DIGITS => digits.strip_prefix(COUNTRY).unwrap_or(digits),
        None => digits,
    };
    Ok(rest.strip_prefix('0').unwrap_or(rest))
}

/// 070 are personal numbers and 076 pagers (Ofcom's national telephone numbering plan), but for 07624, which is the
/// Isle of Man: a text to one of those reaches nobody, or costs a fortune.
fn is_mobile(national: &str) -> bool {
    let pager = national.starts_with("76") && !national.starts_with("7624");
    !national.starts_with("70") && !pager
}

/// The code of the United Kingdom.
const COUNTRY: &str = "44";
/// Digits of a mobile number without the code of the country.
const NATIONAL_DIGITS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_way_of_writing_a_number_means_the_same() {
        for text in [
            "7723456789",
            "07723456789",
            "07723 456789",
            "07723-456-789",
            "00447723456789",
            "+447723456789",
            "447723456789",
            "4407723456789",
            "+44 (0)7723 456 789",
            "0044 (0) 7723 456 789",
            " 07723\u{a0}456 789 ",
        ] {
            let number = MobileNumber::parse(text).map(|number| number.0);
            assert_eq!(number, Ok("447723456789".to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_mobile_number_is_refused_with_the_reason() {
        use NumberError::{NotDigits, NotEnough, NotMobile, TooMany};
        for (text, error) in [
            ("0772345678910", TooMany),
            ("0044772345678910", TooMany),
            ("+44 (0)7723 456 789 10", TooMany),
            ("0772345678", NotEnough),
            ("004477234567", NotEnough),
            ("+44 (0)7723 456 78", NotEnough),
            ("", NotEnough),
            ("+44", NotEnough),
            ("07890x32109", NotDigits),
            ("07123 456789...", NotDigits),
            ("07123 ☟☜⬇⬆☞☝", NotDigits),
            ("07123☟☜⬇⬆☞☝", NotDigits),
            ("07\";DROP TABLE;\"", NotDigits),
            ("+44 07ab cde fgh", NotDigits),
            ("ALPHANUM3R1C", NotDigits),
            ("02079460000", NotMobile),
            ("+12025550100", NotMobile),
            ("0033612345678", NotMobile),
            ("07012345678", NotMobile),
            ("07612345678", NotMobile),
        ] {
            assert_eq!(MobileNumber::parse(text), Err(error), "{text}");
        }
        assert!(MobileNumber::parse("07624 123456").is_ok());
    }

    #[test]
    fn nobody_who_prints_one_sees_more_than_its_end() {
        let number = MobileNumber::parse("07700900003").unwrap();
        assert_eq!(format!("{number} {number:?}"), "…003 MobileNumber(…003)");
        assert_eq!(number.last_three(), "003");
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_comes_out_is_in_one_form(text in "[+0-9 ()a-]{0,20}") {
            if let Ok(number) = MobileNumber::parse(&text) {
                prop_assert!(number.digits().starts_with("447") && number.digits().len() == 12);
                prop_assert_eq!(MobileNumber::parse(number.digits()), Ok(number.clone()));
            }
        }
    }
}
