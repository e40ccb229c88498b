//! Which numbers are patients', and how sure that is.

use super::sightings::EVIDENCE_MAX;
use super::*;
use crate::policy::finding::Evidence;
use proptest::prelude::*;
use std::sync::LazyLock;

fn detector() -> &'static Detector {
    static DETECTOR: LazyLock<Detector> =
        LazyLock::new(|| Detector::new(&Settings::default()).unwrap());
    &DETECTOR
}

fn piece<'t>(place: &'t str, text: &'t str) -> Piece<'t> {
    Piece {
        place,
        text,
        heading: "",
        is_table: false,
        is_again: false,
    }
}

fn examine(text: &str) -> PatientData {
    detector().examine([piece("body:1", text)])
}

/// The confidence of the only evidence in a text; `None` if there is none.
fn confidence(text: &str) -> Option<&'static str> {
    let finding = examine(text);
    assert!(finding.evidence.len() <= 1, "{text}: {finding:?}");
    finding
        .evidence
        .first()
        .map(|found| found.confidence.word())
}

#[test]
fn grouping_and_words_make_a_valid_number_sure() {
    for (text, expected) in [
        ("4505577104", Some("low")),
        ("please see 4505577104, thanks", Some("low")),
        ("450 557 7104", Some("medium")),
        ("401-023-2137", Some("medium")),
        ("NHS number 4505577104", Some("high")),
        ("NHS No: 450 557 7104", Some("high")),
        ("NHS4505577104", Some("high")),
        ("NHS: 4505577104", Some("high")),
        ("the patient (4505577104) was seen", Some("high")),
        ("4505577104, DOB 01/02/1950", Some("high")),
        ("Hospital number 4505577104", Some("high")),
        ("NHS number 45 0557 7104", Some("high")),
        ("NHS no. 4 5 0 5 5 7 7 1 0 4", Some("high")),
        ("NHS no. 450/557/7104", Some("high")),
        ("NHS no. 450,557,7104", Some("high")),
        ("NHS no. 450 | 557 | 7104", Some("high")),
        ("NHS no. 450+557+7104", Some("high")),
        ("NHS no. 450:557:7104", Some("high")),
        ("NHS no. 450~557~7104", Some("high")),
        ("NHS no. 450*557*7104", Some("high")),
        ("450+557+7104", None),
        ("450~557~7104", None),
        ("Dose 450*557*7104", None),
        (
            "NHS number / telephone: 450 557 7104 / 01632 960123",
            Some("high"),
        ),
        ("NHS no & phone: 4505577104, 07700 900123", Some("high")),
        (
            "Telephone / NHS number: 01632 960123 / 450 557 7104",
            Some("high"),
        ),
        (
            "\u{2463}\u{2464}\u{24ea} \u{2464}\u{2464}\u{2466} \u{2466}\u{2460}\u{24ea}\u{2463}",
            Some("medium"),
        ),
        ("NHS number: 45O 557 7lO4", Some("high")),
        ("NHS number: 003/269/8674", Some("low")),
        ("450/557/7104", None),
        ("45 0557 7104", None),
        ("the patient has 45 0557 7104", None),
        ("NHS number: 4505577103", None),
        ("NHS number: 987 654 4321", None),
        ("CHI 0607230002", Some("high")),
        ("0607230002", Some("low")),
        ("060723 0002", Some("medium")),
    ] {
        assert_eq!(confidence(text), expected, "{text}");
    }
}

#[test]
fn an_example_of_the_contract_comes_out_as_written() {
    let finding = examine("NHS number 4505577104");
    assert_eq!(
        finding.evidence,
        [Evidence {
            kind: "nhs-number",
            confidence: Confidence::High,
            place: "body:1".into(),
            redacted: "450 *** **04".into(),
            because: vec!["checksum", "live-range", "keyword"],
        }]
    );
    assert!(finding.found && !finding.synthetic);
}

#[test]
fn what_looks_like_something_else_is_not_patient_data() {
    for text in [
        "Tel 401 023 2137",
        "Telephone: 4010232137",
        "fax no. 401-023-2137",
        "call me on 401 023 2137",
        "Patient: J Smith. Mobile: 4505577104",
        "+44 450 557 7104",
        "(0) 450 557 7104",
        "ISBN 0306406152",
        "ISBN-10: 0131103628",
        "order number 4505577104",
        "Order 4505577104",
        "your order: 4505577104",
        "Invoice 450-557-7104",
        "tracking number 4505577104",
        "Royal Mail AB4505577104GB",
        "https://example.com/page/4010232137",
        "https://example.com/?id=4010232137&x=1",
        "www.example.com/4010232137",
        "4010232137@qq.com",
        "£4505577104",
        "4505577104.99",
        "12-401-023-2137-5",
        "Meeting ID: 401 023 2137",
        "Zoom 450 557 7104 passcode 1",
        "UTR 4505577104",
        "DOI 10.1000/4505577104",
        "timestamp 1701234567",
        "4444444444 patient",
        "patient 7777777777",
        "NHS number 0000000000",
        "card 4505 5771 0412 3456",
        "1234567890 patient",
        "patient 07700 900123",
        "Patient line 020 7946 0958",
    ] {
        assert!(!examine(text).found, "{text}: {:?}", examine(text));
    }
}

#[test]
fn a_label_right_before_the_number_outweighs_all() {
    for text in [
        "Tel 01632 960123 NHS no 450 557 7104",
        "call about NHS number 4505577104",
        "https://example.com/?nhsnumber=4505577104",
        "order for patient 4505577104",
        "Order: see below. Patient: 450 557 7104",
    ] {
        assert_eq!(confidence(text), Some("high"), "{text}");
    }
}

#[test]
fn a_number_that_nobody_gives_out_is_low_even_beside_a_keyword() {
    for text in [
        "NHS number 003 269 8674",
        "patient 5466066893",
        "0032698674",
    ] {
        assert_eq!(confidence(text), Some("low"), "{text}");
    }
}

#[test]
fn test_numbers_are_found_and_told_apart() {
    for text in [
        "NHS number 943 476 5919",
        "943 476 5919",
        "patient 9990000026",
    ] {
        let finding = examine(text);
        assert!(finding.found && finding.synthetic, "{text}");
        assert_eq!(finding.evidence[0].because[1], "synthetic-range");
    }
    assert!(!examine("NHS numbers 943 476 5919 and 450 557 7104").synthetic);
    assert!(
        examine("ref 4505577104, and NHS number 943 476 5919").synthetic
            || examine("x").evidence.is_empty()
    );
}

#[test]
fn five_different_numbers_at_low_are_medium_together() {
    let numbers = [
        "4505577104",
        "4010232137",
        "6716689966",
        "6541003238",
        "4000000632",
    ];
    assert!(!examine(&numbers[..4].join("\n")).found);
    assert!(
        !examine(&[numbers[0]; 9].join("\n")).found,
        "one number, nine times"
    );

    let finding = examine(&numbers.join("\n"));
    assert_eq!(finding.confidence, Confidence::Medium);
    assert!(
        finding
            .evidence
            .iter()
            .all(|found| found.because.contains(&"several"))
    );

    let spread = numbers.map(|number| piece("body:1", number));
    assert!(detector().examine(spread).found, "over several places");

    let mixed = format!("{} {}", numbers.join(" "), "4505577105 ".repeat(8));
    let once = piece("body:1", &mixed);
    assert!(detector().examine([once]).found);
    assert!(!detector().examine([once, once]).found);
    let again = Piece {
        is_again: true,
        ..once
    };
    assert!(
        detector().examine([once, again]).found,
        "what fails in another reading is no other number"
    );
    let failing = "4505577105 ".repeat(8);
    let first = piece("body:1", &failing);
    let of_chance = Piece {
        text: &mixed,
        ..again
    };
    assert!(!detector().examine([first, of_chance]).found);
    let alone = numbers.join("\n");
    let escaped = Piece {
        text: &alone,
        ..again
    };
    assert!(detector().examine([piece("body:1", "x"), escaped]).found);
}

#[test]
fn a_list_of_other_numbers_is_not_taken_for_patients() {
    let ids: Vec<String> = (0..300u64)
        .map(|n| (4_000_000_000 + n * 7).to_string())
        .collect();
    assert!(
        Candidates::of(&ids.join(",")).valid.len() > 20,
        "one in eleven"
    );
    assert!(!examine(&ids.join(",")).found);
}

/// A number that passes among so many that do not: grouped or not, with a word far off or right before.
fn among_failures(number: &str, failures: usize, grouped: bool) -> PatientData {
    let wrong = (4_000_000_000_u64..).filter(|value| Identifier::read(*value).is_none());
    let wrong = wrong.take(failures).map(|value| {
        let text = value.to_string();
        match grouped {
            true => format!("{} {} {}", &text[..3], &text[3..6], &text[6..]),
            false => text,
        }
    });
    let wrong: Vec<String> = wrong.collect();
    examine(&format!("patient list\n{number}\n{}", wrong.join("\n")))
}

#[test]
fn right_check_digits_among_many_wrong_ones_are_chance() {
    let said = |number, failures, grouped| {
        let evidence = among_failures(number, failures, grouped).evidence;
        let first = evidence.into_iter().next().unwrap();
        (first.confidence.word(), first.because.contains(&"chance"))
    };
    // One right among two wrong ones is a third: as much as patients make with typing mistakes.
    assert_eq!(said("4505577104", 2, false), ("high", false));
    assert_eq!(said("4505577104", 3, false), ("low", true));
    assert_eq!(said("450 557 7104", 3, true), ("low", true));
    // Each shape is held against its own: printed numbers beside a list of other numbers are no chance.
    assert_eq!(said("450 557 7104", 30, false), ("high", false));
    assert_eq!(said("4505577104", 30, true), ("high", false));
    // A label right before it says more than all the others.
    assert_eq!(said("NHS number 4505577104", 30, false), ("high", false));
}

#[test]
fn a_column_that_is_named_is_no_chance() {
    let wrong = (4_000_000_000_u64..).filter(|value| Identifier::read(*value).is_none());
    let wrong: Vec<String> = wrong.take(9).map(|value| value.to_string()).collect();
    let rows = |heading: &str| format!("{heading}\n4505577104\n{}", wrong.join("\n"));
    let found = |text: &str| {
        let table = Piece {
            is_table: true,
            is_again: false,
            ..piece("attachment:2", text)
        };
        detector().examine([table]).confidence.word()
    };
    assert_eq!(found(&rows("nhs_number")), "high");
    assert_eq!(found(&rows("sku")), "low");
}

#[test]
fn a_column_with_a_short_title_speaks_for_its_own_numbers_alone() {
    let confidences = |text: &str| -> Vec<&'static str> {
        let table = Piece {
            is_table: true,
            is_again: false,
            ..piece("attachment:2", text)
        };
        let found = detector().examine([table]).evidence.into_iter();
        found.map(|one| one.confidence.word()).collect()
    };
    let rows = "name,NHS,contact\nAda,4505577104,4010232137\n";
    assert_eq!(confidences(rows), ["high", "low"]);
    assert_eq!(confidences(&rows.replace(',', ";")), ["high", "low"]);
    assert_eq!(
        confidences(&rows.replace("NHS", "NHS trust")),
        ["low", "low"]
    );
}

#[test]
fn a_title_counts_wherever_it_stands_over_the_number() {
    let confidence = |is_table, text: &str| {
        let piece = Piece {
            is_table,
            is_again: false,
            ..piece("attachment:2", text)
        };
        detector().examine([piece]).confidence.word()
    };
    for (is_table, text, expected) in [
        // As workbooks of Excel come out: empty lines first, and the name of the list above the titles.
        (true, "\n\nName\tNHS\t\nAda\t4505577104\t\n", "high"),
        (
            true,
            "Clinic list\t\t\n\t\t\nName\tNHS\t\nAda\t4505577104\t\n",
            "high",
        ),
        (
            true,
            "Clinic list,,\n,,\nName,NHS,Ward\nAda,4505577104,3\n",
            "high",
        ),
        // As tables in mail and documents come out.
        (false, "list\nName\tNHS\tWard\nAda\t4505577104\t3\n", "high"),
        (true, "Name,CHI\nAda,607230002\n", "high"),
        (true, "Name,CHI,Ward\nAda,3,607230002\n", "low"),
        (
            false,
            "NHS No\tWard\n4010232130\t2\n4505577104\t3\n",
            "high",
        ),
        (false, "Name\tOrder\tNHS\nAda\t4505577104\t3\n", "low"),
        (false, "Name\tNHS\nAda\tref 4505577104\n", "low"),
        (false, "Name\tNHS\n\nAda\t4505577104\n", "low"),
    ] {
        assert_eq!(confidence(is_table, text), expected, "{text}");
    }
}

#[test]
fn the_heading_of_a_text_and_the_first_line_of_a_table_count() {
    let under = |heading| {
        let piece = Piece {
            heading,
            ..piece("body:1", "4505577104")
        };
        detector().examine([piece]).confidence.word()
    };
    assert_eq!((under("Query"), under("Patient query")), ("low", "high"));

    let rows = "x,".repeat(400);
    let table = format!("name,nhs_number\n{rows}\nA,4505577104\n");
    let column = Piece {
        is_table: true,
        is_again: false,
        ..piece("attachment:2", &table)
    };
    assert!(detector().examine([column]).found);
    assert!(!detector().examine([piece("body:1", &table)]).found);
}

#[test]
fn a_thousand_numbers_give_evidence_of_a_hundred() {
    let valid = (4_000_000_000u64..).filter(|n| Identifier::read(*n).is_some());
    let text: Vec<String> = valid.take(1000).map(|n| n.to_string()).collect();
    let finding = examine(&format!("NHS number {}", text.join(" ")));
    assert_eq!(finding.evidence.len(), EVIDENCE_MAX);
    assert_eq!(finding.evidence[0].confidence, Confidence::High);
}

fn digits_shown(evidence: &Evidence) -> usize {
    let shown = format!("{evidence:?}").replace("body:1", "");
    shown.chars().filter(char::is_ascii_digit).count()
}

proptest! {
    #[test]
    fn any_text_is_examined(text in "\\PC*") {
        examine(&text);
    }

    #[test]
    fn evidence_never_holds_the_number(value in 0u64..10_000_000_000, before in "(NHS no |patient |DOB |tel |)", gap in "[ .-]?") {
        let digits = format!("{value:010}");
        let number = [&digits[..3], &digits[3..6], &digits[6..]].join(&gap);
        let finding = examine(&format!("{before}{number}"));
        for evidence in &finding.evidence {
            prop_assert!(digits_shown(evidence) == 5);
        }
        let shown = format!("{finding:?}");
        prop_assert!(!shown.contains(&digits));
    }

    #[test]
    fn a_labelled_number_is_found_whatever_stands_round_it(before in "\\PC{0,60}", after in "[^0-9０-９𝟎-𝟿]{0,60}") {
        let text = format!("{before}\nNHS number: 450 557 7104 {after}");
        prop_assert!(examine(&text).found);
    }
}
