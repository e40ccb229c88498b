//! What others say of a message, without the numbers of patients in it.
//!
//! A next hop may repeat what it refuses ("contains NHS number 943 476 5919"), also of a message in which we found
//! nothing, and a program may build its `Message-ID`, or the name of a host that a link leads to, from a patient's number.
//! All of them end in the audit trail, in lists and in reports.

use std::borrow::Cow;

use super::Reply;

/// The text with every number that could be a patient's (ten digits in a range that is given out, which pass
/// modulus 11, in one piece or grouped 3-3-4) replaced by `*`. Other numbers stay: people look for queue ids.
pub fn numbers(text: &str) -> Cow<'_, str> {
    let octets = text.as_bytes();
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    while at < octets.len() {
        match number_at(octets, at) {
            Some(digits) => {
                let out = out.get_or_insert_with(|| octets.to_vec());
                digits.iter().for_each(|digit| out[*digit] = b'*');
                at = digits[DIGITS - 1] + 1;
            }
            None => at += 1,
        }
    }
    match out {
        // One octet of ASCII in the place of another: what was UTF-8 still is.
        Some(octets) => Cow::Owned(String::from_utf8_lossy(&octets).into_owned()),
        None => Cow::Borrowed(text),
    }
}

/// A reply as [`numbers`] leaves it. A number may be split between its lines: then they become one.
pub fn reply(reply: Reply) -> Reply {
    let text = reply.text();
    match numbers(&text) {
        Cow::Borrowed(_) => reply,
        Cow::Owned(text) => Reply::from_parts(reply.code(), reply.enhanced(), vec![text]),
    }
}

/// The places of the digits of a number that begins here.
fn number_at(octets: &[u8], start: usize) -> Option<[usize; DIGITS]> {
    let is_digit = |at: usize| octets.get(at).is_some_and(u8::is_ascii_digit);
    if !is_digit(start) || start.checked_sub(1).is_some_and(is_digit) {
        return None;
    }
    let mut places = [0; DIGITS];
    let mut at = start;
    for (nth, place) in places.iter_mut().enumerate() {
        if nth == 3 || nth == 6 {
            let between = octets[at..]
                .iter()
                .take_while(|octet| !octet.is_ascii_alphanumeric());
            at += Some(between.count()).filter(|count| *count <= BETWEEN_MAX)?;
        }
        *place = Some(at).filter(|at| is_digit(*at))?;
        at += 1;
    }
    let digits = places.map(|at| octets[at] - b'0');
    (!is_digit(at) && is_given_out(&digits)).then_some(places)
}

fn is_given_out(digits: &[u8; DIGITS]) -> bool {
    let weights = (1..=10u32).rev();
    let weighed = digits
        .iter()
        .zip(weights)
        .map(|(digit, weight)| u32::from(*digit) * weight);
    let two = |at: usize| digits[at] * 10 + digits[at + 1];
    // NHS, H&C, and CHI, which begins with a date of birth.
    let in_range = matches!(digits[0], 4 | 6 | 7)
        || matches!(two(0), 32..=39)
        || (matches!(two(0), 1..=31) && matches!(two(2), 1..=12));
    in_range && weighed.sum::<u32>().is_multiple_of(11)
}

/// Digits of an NHS, CHI or H&C number.
const DIGITS: usize = 10;
/// Octets between two groups of one number: ` - `, a no-break space.
const BETWEEN_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::EnhancedStatusCode;

    #[test]
    fn a_number_that_may_be_a_patients_is_shown_in_no_grouping() {
        for (text, shown) in [
            ("NHS number 450 557 7104.", "NHS number *** *** ****."),
            ("<4505577104.1@x>", "<**********.1@x>"),
            (
                "450-557-7104, 450\u{a0}557\u{a0}7104",
                "***-***-****, ***\u{a0}***\u{a0}****",
            ),
            ("550 5.7.1 has 4505577104", "550 5.7.1 has **********"),
            ("queued as 4505577105", "queued as 4505577105"),
            ("queued as 14505577104", "queued as 14505577104"),
            ("2026-11-21 at 1700000009", "2026-11-21 at 1700000009"),
            ("tried 3 times in 90 s", "tried 3 times in 90 s"),
            ("", ""),
        ] {
            assert_eq!(numbers(text), shown);
        }
    }

    #[test]
    fn nor_where_the_lines_of_a_reply_split_it() {
        let status = EnhancedStatusCode::permanent(7, 1);
        let code = Reply::new(550, status, "").code();
        let lines = vec!["it has 450 557".to_owned(), "7104 in it".to_owned()];
        let said = reply(Reply::from_parts(code, Some(status), lines));
        assert_eq!(said.to_string(), "550 5.7.1 it has *** *** **** in it");
        let plain = Reply::new(550, status, "no such user");
        assert_eq!(reply(plain.clone()), plain);
    }
}
