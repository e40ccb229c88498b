//! Patient identifiers: which ten digits can be one, and in which register.
//!
//! All registers of the United Kingdom share the check digit of the NHS number (NHS Data Dictionary:
//! modulus 11) and keep apart by range. Who may have which range: uk-fci `nhs-number`; see
//! `design.md` §4.3 for what follows from it. The value itself stays in here: people see
//! [`Identifier::redacted`].

use std::fmt;

/// Ten digits that pass the check of a register.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Identifier {
    value: u64,
    register: Register,
}

/// Who gives out a range of numbers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Register {
    /// England, Wales and the Isle of Man: 4…, 6…, 7….
    Nhs,
    /// Scotland: begins with a date of birth that is real.
    Chi,
    /// Northern Ireland: 32… to 39….
    HealthAndCare,
    /// 9…: for tests and training, never issued.
    Synthetic,
    /// Valid, but nobody gives these out.
    Unissued,
}

impl Identifier {
    /// Takes a number of ten digits, leading zeros counted; `None` if the check digit is wrong, all
    /// digits are the same, or it lies in Scotland's range and begins with no date.
    pub fn read(value: u64) -> Option<Self> {
        let digits = digits_of(value)?;
        let repeated = digits.iter().all(|digit| *digit == digits[0]);
        if repeated || !passes_modulus_11(&digits) {
            return None;
        }
        let register = Register::of(value, &digits)?;
        Some(Self { value, register })
    }

    /// Who gives it out.
    pub fn register(self) -> Register {
        self.register
    }

    /// For people: `450 *** **04`. Five digits of ten, whatever the number.
    pub fn redacted(self) -> String {
        let (head, tail) = (self.value / 10_000_000, self.value % 100);
        format!("{head:03} *** **{tail:02}")
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({:?} {})", self.register, self.redacted())
    }
}

impl Register {
    fn of(value: u64, digits: &[u8; 10]) -> Option<Self> {
        Some(match value {
            101_000_000..=3_112_999_999 if begins_with_date(digits) => Self::Chi,
            101_000_000..=3_112_999_999 => return None,
            3_200_000_000..=3_999_999_999 => Self::HealthAndCare,
            4_000_000_000..=4_999_999_999 | 6_000_000_000..=7_999_999_999 => Self::Nhs,
            9_000_000_000..=9_999_999_999 => Self::Synthetic,
            _ => Self::Unissued,
        })
    }

    /// The word for it in JSON (`design.md` §4.3).
    pub fn kind(self) -> &'static str {
        match self {
            Self::Nhs | Self::Synthetic | Self::Unissued => "nhs-number",
            Self::Chi => "chi-number",
            Self::HealthAndCare => "hc-number",
        }
    }

    /// What its range says for or against it.
    pub fn because(self) -> &'static str {
        match self {
            Self::Nhs => "live-range",
            Self::Chi => "date-of-birth",
            Self::HealthAndCare => "hc-range",
            Self::Synthetic => "synthetic-range",
            Self::Unissued => "unissued-range",
        }
    }
}

fn digits_of(value: u64) -> Option<[u8; 10]> {
    let mut digits = [0; 10];
    let mut rest = value;
    for digit in digits.iter_mut().rev() {
        *digit = u8::try_from(rest % 10).ok()?;
        rest /= 10;
    }
    (rest == 0).then_some(digits)
}

/// The sum of each digit by its weight, 10 down to 1, is a multiple of 11.
fn passes_modulus_11(digits: &[u8; 10]) -> bool {
    let weighted = digits.iter().zip((1..=10u32).rev());
    let sum: u32 = weighted.map(|(d, weight)| u32::from(*d) * weight).sum();
    sum.is_multiple_of(11)
}

/// `DDMMYY`, in any century: 29 February is taken for every fourth year, 00 too.
fn begins_with_date(digits: &[u8; 10]) -> bool {
    let two = |at: usize| digits[at] * 10 + digits[at + 1];
    let (day, month, year) = (two(0), two(2), two(4));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) => 29,
        2 => 28,
        1..=12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn valid_numbers_belong_to_the_register_of_their_range() {
        for (value, register) in [
            (4_010_232_137, Register::Nhs),
            (4_505_577_104, Register::Nhs),
            (6_716_689_966, Register::Nhs),
            (6_541_003_238, Register::Nhs),
            (4_000_000_632, Register::Nhs),
            (32_698_674, Register::Unissued),
            (5_466_066_893, Register::Unissued),
            (9_434_765_919, Register::Synthetic),
            (9_990_000_018, Register::Synthetic),
            (9_990_000_026, Register::Synthetic),
            (9_990_000_123, Register::Synthetic),
            (9_693_632_109, Register::Synthetic),
            (9_449_305_552, Register::Synthetic),
            (9_313_317_125, Register::Synthetic),
            (9_876_543_210, Register::Synthetic),
            (607_230_002, Register::Chi),
        ] {
            let found = Identifier::read(value).map(Identifier::register);
            assert_eq!(found, Some(register), "{value}");
        }
    }

    #[test]
    fn wrong_check_digits_repeated_digits_and_dates_that_are_none_are_refused() {
        let repeated = (0..=9u64).map(|digit| digit * 1_111_111_111);
        let wrong = [
            4_010_232_138,
            9_876_543_211,
            4_857_773_456,
            1_234_567_890,
            7_700_900_123,
            1_232_331_234,
        ];
        // Valid check digits, but month 39, month 34, month 31: an ISBN, a sequence, an ISBN.
        let no_date = [2_213_951_837, 1_234_567_881, 131_103_628];
        for value in repeated.chain(wrong).chain(no_date) {
            assert_eq!(Identifier::read(value), None, "{value}");
        }
        assert_eq!(Identifier::read(94_347_659_190), None, "eleven digits");
    }

    #[test]
    fn five_digits_are_shown() {
        let redacted = |value| Identifier::read(value).unwrap().redacted();
        assert_eq!(redacted(4_505_577_104), "450 *** **04");
        assert_eq!(redacted(607_230_002), "060 *** **02");
    }

    proptest! {
        #[test]
        fn one_changed_digit_or_two_swapped_never_pass(value in 4_000_000_000u64..5_000_000_000, at in 0u32..10, other in 1u64..10) {
            prop_assume!(Identifier::read(value).is_some());
            let place = 10u64.pow(at);
            let digit = value / place % 10;
            let changed = value - digit * place + (digit + other) % 10 * place;
            prop_assert!(!passes_modulus_11(&digits_of(changed).unwrap()));
        }
    }
}
