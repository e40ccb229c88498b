//! Which header fields are read, and as what.

use crate::mail::HeaderField;
use crate::mail::mime;

/// The name and the text of a field in which people, or programs for them, write; `None` for the others. A field that is
/// nobody's standard and whose name speaks of patients is read with its name, which is the label of what it holds:
/// `NHS Number: …`.
pub(super) fn read(field: &HeaderField<'_>) -> Option<(String, String)> {
    if let Some(name) = READ_FIELDS.iter().find(|name| field.is(name)) {
        return Some(((*name).to_owned(), decoded_field(&field.value())));
    }
    let name = field.name();
    if name.len() > NAME_MAX || field.is("Subject") {
        return None;
    }
    let words = || name.split(['-', '_', '.']);
    let speaks = |word: &str| {
        TELLING
            .iter()
            .any(|telling| word.eq_ignore_ascii_case(telling))
    };
    words().any(speaks).then(|| {
        let label: Vec<&str> = words()
            .filter(|word| !word.eq_ignore_ascii_case("x"))
            .collect();
        let text = format!("{}: {}", label.join(" "), decoded_field(&field.value()));
        (without_digits(name), text)
    })
}

/// Whether a field of this name says how sensitive a message is.
pub(super) fn may_mark(name: &str) -> bool {
    ["Sensitivity", "X-Protective-Marking", "msip_labels"].contains(&name)
}

/// A name as it may be printed: one with a patient's number in it is read, and said without.
fn without_digits(name: &str) -> String {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    if digits < NAME_DIGITS {
        return name.to_owned();
    }
    name.replace(|c: char| c.is_ascii_digit(), "*")
}

/// The value of a field as it is shown, encoded words read (RFC 2047).
pub(super) fn decoded_field(value: &str) -> String {
    mime::decode_words(value).into_owned()
}

/// Fields in which people write; most others are for machines, full of numbers.
const READ_FIELDS: &[&str] = &[
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Comments",
    "Keywords",
    "Organization",
    "Thread-Topic",
    "Sensitivity",
    "X-Protective-Marking",
    "msip_labels",
    "X-Subject",
    "X-Comment",
    "Content-Description",
    "Summary",
];
/// Words in the names of other fields that are read: of patients, and of what people write about a message.
const TELLING: &[&str] = &[
    "patient",
    "patients",
    "patientid",
    "nhs",
    "nhsno",
    "nhsnumber",
    "chi",
    "chinumber",
    "hcn",
    "hcnumber",
    "mrn",
    "hospital",
    "subject",
    "comment",
    "note",
    "notes",
    "description",
];
/// From so many digits on a name may hold a number.
const NAME_DIGITS: usize = 5;
/// No name that a program gives is longer.
const NAME_MAX: usize = 76;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Header;

    fn text(field: &str) -> Option<String> {
        let header = Header::parse(field.as_bytes());
        read(&header.fields()[0]).map(|(name, text)| format!("{name} | {text}"))
    }

    #[test]
    fn fields_for_people_are_read_and_a_name_that_speaks_of_patients_is_a_label() {
        for (field, read) in [
            ("Keywords: a\r\n", Some("Keywords | a")),
            (
                "X-NHS-Number: 4505577104\r\n",
                Some("X-NHS-Number | NHS Number: 4505577104"),
            ),
            ("X-Patient: Ann\r\n", Some("X-Patient | Patient: Ann")),
            (
                "x_nhsnumber: 4505577104\r\n",
                Some("x_nhsnumber | nhsnumber: 4505577104"),
            ),
            (
                "Resent-Subject: =?utf-8?q?caf=C3=A9?=\r\n",
                Some("Resent-Subject | Resent Subject: café"),
            ),
            (
                "X-NHS-450-557-7104: yes\r\n",
                Some("X-NHS-***-***-**** | NHS 450 557 7104: yes"),
            ),
            ("Subject: x\r\n", None),
            ("Message-ID: <4505577104@nhs.net>\r\n", None),
            ("X-Mailer-Id: 4505577104\r\n", None),
            ("X-Originating-Org: nhs.net 4505577104\r\n", None),
        ] {
            assert_eq!(text(field).as_deref(), read, "{field}");
        }
    }
}
