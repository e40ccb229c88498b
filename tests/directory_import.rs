//! `directory import` and `export`: national files, Postern's own tables, change files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use jiff::civil::Date;
use postern::config::{Diagnostics, Severity, SourceFile};
use postern::directory::import::{self, Difference, Format, Options, Prepared};
use postern::directory::{Completeness, Directory, End, Kind, Served, Sources, Status};
use postern::mail::Mailbox;
use proptest::prelude::*;

// --- National files -----------------------------------------------------------------------------

/// The counts were made by Python's own csv module over the same files, with the rule of
/// `manual::directory_changes`: closed if column 12 is not empty or 13 is C; inactive if 13 is P or D
/// (every opening day has passed); else active.
#[test]
fn the_national_files_are_imported_whole() {
    let data = Path::new("../shared/data");
    let paths = [data.join("edispensary.csv"), data.join("epraccur.csv")];
    if let Some(missing) = paths.iter().find(|path| !path.exists()) {
        eprintln!("skipped: {} is not here", missing.display());
        return;
    }
    let current = empty();
    let files: Vec<_> = paths
        .iter()
        .map(|path| import::read_file(path).unwrap())
        .collect();

    let prepared = import::prepare(&current, &files, &options(None));

    assert_eq!(prepared.bad, []);
    assert_eq!(
        prepared.notes,
        [
            "../shared/data/edispensary.csv: 20932 organisations, 11266 active, 9568 closed, 98 inactive",
            "../shared/data/epraccur.csv: 14303 organisations, 11482 active, 2427 closed, 394 inactive",
        ]
    );
    assert_eq!(prepared.counts.added, 20_932 + 14_303);
    let sources = prepared.sources(&current);
    let directory = directory(&sources);
    let count = |kind: Kind, live_on: Option<&str>| {
        let all = directory.entries().filter(|entry| entry.kind == kind);
        all.filter(|entry| live_on.is_none_or(|day| entry.is_live(day.parse().unwrap())))
            .count()
    };
    assert_eq!(count(Kind::Pharmacy, None), 20_932);
    assert_eq!(count(Kind::Pharmacy, Some("2025-02-24")), 11_271);
    assert_eq!(count(Kind::Pharmacy, Some(TODAY)), 11_266);
    assert_eq!(count(Kind::Practice, None), 8_201);
    assert_eq!(count(Kind::Practice, Some(TODAY)), 6_872);
    assert_eq!(count(Kind::Shared, Some(TODAY)), 4_610);
    let day = Some("2019-01-01");
    assert_eq!(
        count(Kind::Practice, day) + count(Kind::Shared, day),
        11_538
    );
    // Status A and a closing day: the day decides.
    let closed = directory.entry(&mailbox("pharmacy.fda91@nhs.net")).unwrap();
    assert_eq!(
        (closed.status, closed.status_date),
        (Status::Closed, "2025-02-25".parse().ok())
    );
    let practice = directory
        .entry(&mailbox("practice.a81001@nhs.net"))
        .unwrap();
    assert!(!practice.accepts_patient_data);

    let again = import::prepare(&sources, &files, &options(None));
    assert!(again.is_empty(), "{:?}", again.differences.first());
}

#[test]
fn an_organisation_that_closes_shuts_its_mailbox_and_no_other_row_is_touched() {
    let current = current(
        "pharmacy.fa002@nhs.net,pharmacy,active,2020-01-01,FA002,Rowlands Pharmacy,old street,,ours,owner,,,,\n\
         reminders.fa002.donotreply@nhs.net,application,active,,FA002,,,,,,,,,\n\
         pharmacy.fa012@nhs.net,pharmacy,disabled,,FA012,Medichem,,,,,,,,\n\
         pharmacy.fa999@nhs.net,pharmacy,active,,FA999,Other,,,,,,,,\n",
    );
    let rows = [
        ods(
            "FA002",
            "ROWLANDS PHARMACY",
            "20060601",
            "20261130",
            "A",
            "1",
        ),
        ods("FA012", "MEDICHEM", "20030701", "", "A", "1"),
    ];
    let prepared = prepare(&current, "edispensary.csv", &rows.concat(), None);
    assert_eq!(prepared.bad, []);
    assert!(
        prepared.notes[1].starts_with("1 mailboxes of the kind pharmacy"),
        "{:?}",
        prepared.notes
    );

    let directory = directory(&prepared.sources(&current));
    let entry = |name: &str| directory.entry(&mailbox(name)).unwrap();
    let shut = entry("pharmacy.fa002@nhs.net");
    assert!(shut.is_live("2026-11-29".parse().unwrap()));
    assert!(!shut.is_live("2026-11-30".parse().unwrap()));
    // Its name differs in case alone, so that it stays as somebody has written it.
    assert_eq!(
        shut.organisation.as_ref().unwrap().name,
        "Rowlands Pharmacy"
    );
    assert_eq!(shut.organisation.as_ref().unwrap().street, "1 HIGH STREET");
    assert_eq!(
        (shut.owner.as_str(), shut.display_name.as_str()),
        ("owner", "ours")
    );
    assert_eq!(entry("pharmacy.fa012@nhs.net").status, Status::Disabled);
    assert_eq!(
        entry("reminders.fa002.donotreply@nhs.net").status,
        Status::Active
    );
    assert_eq!(prepared.counts.lost, 1);
}

#[test]
fn a_bad_row_of_a_national_file_is_told_with_line_column_and_reason() {
    let rows = [
        ods("FA002", "GOOD", "20060601", "", "A", "1"),
        ods("FB002", "X", "20060601", "", "A", "1"),
        ods("FA003", "", "20060601", "", "A", "1"),
        ods("FA004", "X", "2006-06-01", "", "A", "1"),
        ods("FA005", "X", "20060601", "20050101", "A", "1"),
        ods("FA006", "X", "20060601", "", "Z", "1"),
        ods("FA007", "X", "20060601", "", "A", "9"),
        ods("FA002", "TWICE", "20060601", "", "A", "1"),
        "FA008,too,short\n".to_owned(),
    ];
    let prepared = prepare(&empty(), "e.csv", &rows.concat(), Some(Format::OdsPharmacy));
    let said: Vec<_> = prepared.bad.iter().map(import::BadRow::sentence).collect();
    assert_eq!(
        said,
        [
            "e.csv:2:1: organisation code: is not the code of a pharmacy",
            "e.csv:3:2: name: is missing",
            "e.csv:4:11: open date: \"2006-06-01\" is not a date such as 20240229",
            "e.csv:5:12: close date: 2005-01-01 is before it opened on 2006-06-01",
            "e.csv:6:13: status: \"Z\" is none of A, C, D, P",
            "e.csv:7:14: organisation sub-type: \"9\" is none of 1, 2, 3",
            "e.csv:8:1: organisation code: FA002 is on line 1 already",
            "e.csv:9: this row has 3 columns, the file has 27",
        ]
    );
    assert_eq!(prepared.counts.added, 1);
}

#[test]
fn days_decide_before_the_status_does() {
    let rows = [
        ods("FA001", "closing", "20000101", "20270101", "A", "1"),
        ods("FA002", "closed, says C alone", "20000101", "", "C", "1"),
        ods("FA003", "opens", "20270101", "", "P", "1"),
        ods("FA004", "never opened", "20200101", "", "P", "1"),
        ods("FA005", "opens, says A", "20270101", "", "A", "1"),
    ];
    let current = empty();
    let prepared = prepare(&current, "e.csv", &rows.concat(), None);
    let directory = directory(&prepared.sources(&current));
    let live = |code: &str, day: &str| {
        let address = mailbox(&format!("pharmacy.{code}@nhs.net"));
        directory
            .entry(&address)
            .unwrap()
            .is_live(day.parse().unwrap())
    };
    for (code, now, then) in [
        ("fa001", true, false),
        ("fa002", false, false),
        ("fa003", false, true),
        ("fa004", false, false),
        ("fa005", false, true),
    ] {
        assert_eq!(
            (live(code, TODAY), live(code, "2027-01-01")),
            (now, then),
            "{code}"
        );
    }
}

// --- Postern's own tables -----------------------------------------------------------------------

#[test]
fn a_table_is_the_whole_and_keeps_comments_and_columns_that_it_does_not_have() {
    let current = sources(
        "# the head\n# of the file\naddress,kind,status,ods_code,organisation,street,town,mobile,owner\n\
         # about a\na@nhs.net,shared,active,,,,,07700 900001,me\n# about b\nb@nhs.net,shared,active,,,,,,\n# the end\n",
        "",
    );
    let file = "address,kind,status,ods_code,organisation,street,town,owner,postcode\n\
                A@nhs.net,shared,inactive,,,,,you,AB1 2CD\nc@nhs.net,personal,active,,,,,,\n";
    let prepared = prepare(&current, "new.csv", file, None);
    assert_eq!(prepared.bad, []);
    assert_eq!(
        *prepared.sources(&current).mailboxes.text,
        *"# the head\n# of the file\naddress,kind,status,ods_code,organisation,street,town,mobile,owner,postcode\n\
          # about a\na@nhs.net,shared,inactive,,,,,07700 900001,you,AB1 2CD\n# about b\n\
          c@nhs.net,personal,active,,,,,,,\n# the end\n"
    );
    let counts = prepared.counts;
    assert_eq!((counts.added, counts.changed, counts.removed), (1, 1, 1));
    assert_eq!((counts.lost, counts.before), (2, 2));
    assert!(
        matches!(&prepared.differences[0], Difference::Changed { cells, .. } if cells.len() == 3)
    );
}

#[test]
fn a_mailbox_whose_new_row_is_bad_stays_as_it_is() {
    let current =
        current("a@nhs.net,shared,active,,,,,,,,,,,\nb@nhs.net,shared,active,,,,,,,,,,,\n");
    let file =
        format!("{HEADER}a@nhs.net,shared,open,,,,,,,,,,,\nnobody,shared,active,,,,,,,,,,,\n");
    let prepared = prepare(&current, "new.csv", &file, None);
    let said: Vec<_> = prepared.bad.iter().map(import::BadRow::sentence).collect();
    assert_eq!(
        said,
        [
            "new.csv:2:3: status: \"open\" is none of active, inactive, disabled, leaver, deleted, closed",
            "new.csv:3:1: address: an address has a local part, an @ and a domain",
        ]
    );
    // The second may be a slip in the row of b: nobody can tell, so nobody is taken out.
    assert_eq!((prepared.counts.removed, prepared.counts.changed), (0, 0));
}

#[test]
fn a_file_that_cannot_be_read_takes_nothing_out() {
    let current = sources(
        &format!(
            "{HEADER}a@nhs.net,shared,active,,,,,,,,,,,\nb@nhs.net,shared,active,,,,,,,,,,,\n"
        ),
        "from,to,because,since\nold@nhs.net,a@nhs.net,renamed,2026-01-01\nolder@nhs.net,a@nhs.net,alias,\n",
    );
    for (file, bad, removed) in [
        ("", 7, 0),
        ("change;date;from;to\nleaver;2026-11-01;a@nhs.net;\n", 8, 0),
        (
            "from,to,because,since\nold@nhs.net,a@nhs.net,renamed,soon\n",
            1,
            1,
        ),
        ("from,to,because,since\nold@nhs.net,a@nhs.net\n", 1, 0),
    ] {
        let prepared = prepare(&current, "new.csv", file, None);
        assert_eq!(prepared.bad.len(), bad, "{file}: {:?}", prepared.bad);
        let gone = prepared.differences.len();
        assert_eq!(gone, removed, "{file}: {:?}", prepared.differences);
        assert!(removed == 1 || prepared.notes.concat().contains("nothing is taken out"));
    }
}

#[test]
fn a_quotation_mark_that_is_not_closed_hides_no_rows() {
    let current = current(PEOPLE);
    let prepared = changes(
        &current,
        "leaver,2026-11-01,jo.bell@nhs.net,,,\"left\nleaver,2026-11-01,sam.reed@nhs.net,,,\n",
    );
    let said: Vec<_> = prepared.bad.iter().map(import::BadRow::sentence).collect();
    assert_eq!(
        said,
        [
            "changes.csv:2: a quotation mark in this row is not closed, and takes in the rows below it"
        ]
    );
}

#[test]
fn toml_says_the_same_as_csv() {
    let current = empty();
    let file = "[[mailbox]]\naddress = \"pharmacy.fa001@nhs.net\"\nkind = \"pharmacy\"\nstatus = \"active\"\n\
        status_date = 2026-01-01\nods_code = \"FA001\"\norganisation = \"Bumbleton\"\n\
        linked = [\"jo.bell@nhs.net:send-as\"]\napproved_links = 12\ndo_not_send = false\n\
        [[rename]]\nfrom = \"old@nhs.net\"\nto = \"pharmacy.fa001@nhs.net\"\ndate = 2020-02-02\n";
    let prepared = prepare(&current, "new.toml", file, None);
    assert_eq!(prepared.bad, []);
    let sources = prepared.sources(&current);
    let directory = directory(&sources);
    let first = directory.entries().next().unwrap();
    assert_eq!(first.approved_links, Some(12));
    assert!(!first.do_not_send);
    assert_eq!(
        ends(&directory, "old@nhs.net", TODAY),
        "pharmacy.fa001@nhs.net"
    );
    // What cannot be read is not taken without it.
    let bad = file.replace("do_not_send = false", "do_not_send = \"yes\"");
    let prepared = prepare(&current, "new.toml", &bad, None);
    assert_eq!(
        (prepared.bad.len(), prepared.counts.added),
        (1, 0),
        "{:?}",
        prepared.bad
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_exported_is_imported_as_the_same_directory(rows in prop::collection::vec(row(), 0..12),
                                                          redirects in prop::collection::vec("[a-z#]{1,9}", 0..6)) {
        let mut table = String::from(HEADER.trim_end());
        table.push_str(",linked,approved_links,postcode,mobile\n");
        for (index, row) in rows.iter().enumerate() {
            let _ = writeln!(table, "\"#{index}.{}\"@nhs.net,{}", row.0, row.1);
        }
        let table = table.replace("\"#", "#").replace("\"@", "@");
        let mut leads = String::from("from,to,because,since,confirmed_by,note\n");
        for (index, name) in redirects.iter().enumerate() {
            let _ = writeln!(leads, "x{index}.{name}@nhs.net,y@elsewhere.example,alias,2026-01-0{},,\"a, \"\"note\"\"\"", index + 1);
        }
        let first = quoted_comments(&table, &leads);
        let read = directory_unchecked(&first);

        let csv = import::csv(&first, true);
        let files = [file("a.csv", &csv), file("r.csv", &import::redirects_csv(&first))];
        let by_csv = import::prepare(&empty(), &files, &options(Some(Format::Postern)));
        let toml = [file("a.toml", &import::toml(&first, true))];
        let by_toml = import::prepare(&empty(), &toml, &options(Some(Format::Postern)));

        for prepared in [by_csv, by_toml] {
            prop_assert_eq!(&prepared.bad, &[]);
            let second = prepared.sources(&empty());
            prop_assert_eq!(&import::redirects_csv(&second), &import::redirects_csv(&first));
            prop_assert_eq!(same_words(&import::csv(&second, true)), same_words(&csv));
            let again = directory_unchecked(&second);
            prop_assert_eq!(again.len(), read.len());
            for entry in read.entries() {
                let other = again.entry(&entry.address).unwrap();
                let no_line = |mut entry: postern::directory::Entry| {
                    entry.line = 0;
                    format!("{entry:?}")
                };
                prop_assert_eq!(no_line(other), no_line(entry));
            }
        }
    }
}

/// A row without its address; texts are what could go wrong in a table.
fn row() -> impl Strategy<Value = (String, String)> {
    let text = "[ -~é\\n]{0,12}".prop_map(|text| format!("\"{}\"", text.replace('"', "\"\"")));
    let date = prop_oneof![
        Just(String::new()),
        (1..29).prop_map(|day| format!("2026-02-{day:02}"))
    ];
    let flag = prop_oneof![Just("yes"), Just("no"), Just("")];
    let kind = prop_oneof![
        Just("shared"),
        Just("personal"),
        Just("application"),
        Just("list")
    ];
    let status = prop_oneof![
        Just("active"),
        Just("closed"),
        Just("leaver"),
        Just("disabled")
    ];
    let links = prop_oneof![
        Just(""),
        Just("a.b@nhs.net:send-as"),
        Just("a@x.example:on-behalf  b@nhs.net:send-as")
    ];
    let texts = (text.clone(), text.clone(), text.clone(), text);
    ("[a-z]{1,6}", (kind, status, date.clone()), texts, (flag.clone(), flag, date), (links, prop_oneof![Just(""), Just("12")])).prop_map(
        |(name, (kind, status, since), (street, town, display, owner), (accepts, never, verified), (links, approved))| {
            (name, format!("{kind},{status},{since},,,{street},{town},{display},{owner},,{accepts},{never},{verified},{links},{approved},BB1 1AA,07700 900123"))
        },
    )
}

/// Rows begin with `#`, which a table must quote: here the addresses are put in quotes.
fn quoted_comments(table: &str, redirects: &str) -> Sources {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(table.as_bytes());
    let mut text = reader
        .headers()
        .unwrap()
        .iter()
        .collect::<Vec<_>>()
        .join(",")
        + "\n";
    for record in reader.records() {
        let record = record.unwrap();
        let cells: Vec<_> = record
            .iter()
            .map(|cell| format!("\"{}\"", cell.replace('"', "\"\"")))
            .collect();
        let _ = writeln!(text, "{}", cells.join(","));
    }
    sources(&text, redirects)
}

/// Blanks between linked accounts are not counted.
fn same_words(text: &str) -> String {
    text.replace("  ", " ")
        .replace("yes", "")
        .replace(",no,", ",,")
}

// --- Change files -------------------------------------------------------------------------------

#[test]
fn changes_come_on_their_day_and_not_before() {
    let current = current(PEOPLE);
    let prepared = changes(
        &current,
        "rename,2026-12-01,jo.bell@nhs.net,jo.hart@nhs.net,,\n\
         code,2026-12-01,FA001,FA777,the ICB,\n\
         consolidation,2026-12-01,FA002,FA003,the ICB,\n\
         leaver,2026-12-01,sam.reed@nhs.net,,,\n\
         joiner,2026-12-01,,alex.ray@nhs.net,,FA001\n",
    );
    assert_eq!(prepared.bad, []);
    let directory = directory(&prepared.sources(&current));
    for (asked, before, after) in [
        ("jo.bell@nhs.net", "jo.bell@nhs.net", "jo.hart@nhs.net"),
        ("jo.hart@nhs.net", "closed", "jo.hart@nhs.net"),
        (
            "pharmacy.fa001@nhs.net",
            "pharmacy.fa001@nhs.net",
            "pharmacy.fa777@nhs.net",
        ),
        (
            "nhspharmacy.bumbleton.meadowFA001@nhs.net",
            "pharmacy.fa001@nhs.net",
            "pharmacy.fa777@nhs.net",
        ),
        (
            "pharmacy.fa002@nhs.net",
            "pharmacy.fa002@nhs.net",
            "pharmacy.fa003@nhs.net",
        ),
        ("sam.reed@nhs.net", "sam.reed@nhs.net", "closed"),
        ("alex.ray@nhs.net", "closed", "alex.ray@nhs.net"),
    ] {
        assert_eq!(
            ends(&directory, asked, "2026-11-30"),
            before,
            "{asked} before"
        );
        assert_eq!(
            ends(&directory, asked, "2026-12-01"),
            after,
            "{asked} after"
        );
    }
    // Five addresses in use lead elsewhere or nowhere; nobody had the one that is new.
    assert_eq!(prepared.counts.lost, 5);
}

#[test]
fn a_change_in_force_is_as_one_to_come_once_its_day_is_there() {
    let rows = "rename,DAY,jo.bell@nhs.net,jo.hart@nhs.net,,\n\
                code,DAY,FA001,FA777,the ICB,\nownership,DAY,FA002,FA778,the ICB,\n\
                leaver,DAY,sam.reed@nhs.net,,,\njoiner,DAY,,alex.ray@nhs.net,,FA001\n";
    let current = current(PEOPLE);
    let now = changes(&current, &rows.replace("DAY", TODAY));
    let later = changes(&current, &rows.replace("DAY", "2026-12-01"));
    assert_eq!((&now.bad, &later.bad), (&vec![], &vec![]));
    let (now, later) = (
        directory(&now.sources(&current)),
        directory(&later.sources(&current)),
    );
    for asked in [
        "jo.bell@nhs.net",
        "jo.hart@nhs.net",
        "pharmacy.fa001@nhs.net",
        "pharmacy.fa002@nhs.net",
        "pharmacy.fa777@nhs.net",
        "reminders.fa001.donotreply@nhs.net",
        "sam.reed@nhs.net",
        "alex.ray@nhs.net",
    ] {
        assert_eq!(
            ends(&now, asked, "2026-12-01"),
            ends(&later, asked, "2026-12-01"),
            "{asked}"
        );
    }
    // Who was linked follows; a new owner's mailbox has nobody's links.
    let links = |name: &str| now.entry(&mailbox(name)).unwrap().linked.len();
    assert_eq!(links("pharmacy.fa777@nhs.net"), 1);
    assert_eq!(
        now.entry(&mailbox("pharmacy.fa777@nhs.net"))
            .unwrap()
            .linked[0]
            .to_string(),
        "jo.hart@nhs.net:send-as"
    );
    assert_eq!(links("pharmacy.fa778@nhs.net"), 0);
}

#[test]
fn the_same_changes_again_change_nothing() {
    for day in [TODAY, "2026-12-01"] {
        let rows = format!(
            "rename,{day},jo.bell@nhs.net,jo.hart@nhs.net,,\ncode,{day},FA001,FA777,the ICB,\n\
             consolidation,{day},FA002,FA003,the ICB,\nleaver,{day},sam.reed@nhs.net,,,\n\
             joiner,{day},,alex.ray@nhs.net,,FA003\n"
        );
        let current = current(PEOPLE);
        let prepared = changes(&current, &rows);
        assert_eq!(prepared.bad, []);
        let sources = prepared.sources(&current);
        let again = changes(&sources, &rows);
        assert_eq!(again.bad, []);
        assert!(again.is_empty(), "{day}: {:?}", again.differences);
    }
}

#[test]
fn changes_that_others_came_after_are_passed_over_as_well() {
    for rows in [
        "joiner,2026-11-01,,alex.ray@nhs.net,,FA003\nrename,2026-11-10,alex.ray@nhs.net,alex.day@nhs.net,,\n",
        "joiner,2026-11-01,,alex.ray@nhs.net,,FA003\nleaver,2026-11-10,alex.ray@nhs.net,,,\n",
        "rename,2026-11-01,jo.bell@nhs.net,jo.hart@nhs.net,,\nleaver,2026-11-10,jo.hart@nhs.net,,,\n",
    ] {
        let current = current(PEOPLE);
        let prepared = changes(&current, rows);
        assert_eq!(prepared.bad, []);
        let again = changes(&prepared.sources(&current), rows);
        assert_eq!(again.bad, [], "{rows}");
        assert!(again.is_empty(), "{rows}: {:?}", again.differences);
    }
    // Somebody else of that name, who comes before it is free.
    let rows =
        "leaver,2026-11-10,sam.reed@nhs.net,,,\njoiner,2026-11-01,,sam.reed@nhs.net,,FA002\n";
    assert_eq!(changes(&current(PEOPLE), rows).bad.len(), 1);
}

#[test]
fn nobody_moves_to_a_mailbox_that_is_shut() {
    let there = "pharmacy.fa777@nhs.net,pharmacy,closed,2025-01-01,FA777,Bumbleton,,,,,,,,\n";
    let prepared = changes(
        &current(&format!("{PEOPLE}{there}")),
        "code,2026-11-01,FA001,FA777,the ICB,\n",
    );
    let said: Vec<_> = prepared.bad.iter().map(import::BadRow::sentence).collect();
    assert_eq!(
        said,
        ["changes.csv:2:4: to: pharmacy.fa777@nhs.net is there, and not in use on that day"]
    );
}

#[test]
fn what_a_change_may_not_do_is_a_bad_row() {
    let prepared = changes(
        &current(PEOPLE),
        "rename,2026-11-01,nobody@nhs.net,x@nhs.net,,\n\
         rename,2026-11-01,jo.bell@nhs.net,sam.reed@nhs.net,,\n\
         rename,2026-11-01,gone.person@nhs.net,x@nhs.net,,\n\
         leaver,2026-11-01,pharmacy.fa001@nhs.net,,,\n\
         joiner,2026-11-01,,jo.bell@nhs.net,,\n\
         code,2026-11-01,FA001,FA777,,\n\
         consolidation,2026-11-01,FA001,FA999,the ICB,\n\
         leaver,soon,sam.reed@nhs.net,,,\n\
         leaver,2026-11-01,sam.reed@nhs.net,x@nhs.net,,\n",
    );
    let said: Vec<_> = prepared.bad.iter().map(import::BadRow::sentence).collect();
    assert_eq!(
        said,
        [
            "changes.csv:2:3: from: nobody@nhs.net is not in the directory",
            "changes.csv:3:4: to: sam.reed@nhs.net is in the directory already, active",
            "changes.csv:4:3: from: gone.person@nhs.net is leaver on that day",
            "changes.csv:5:3: from: pharmacy.fa001@nhs.net is no person's: it is a mailbox of the kind pharmacy",
            "changes.csv:6:4: to: jo.bell@nhs.net is in the directory already, active",
            "changes.csv:7:5: confirmed_by: is missing",
            "changes.csv:8:4: to: FA999 has no pharmacy mailbox in use on that day",
            "changes.csv:9:2: date: \"soon\" is not a date such as 2026-11-21",
            "changes.csv:10:4: to: must be empty for this change",
        ]
    );
    assert!(prepared.is_empty());
}

#[test]
fn a_name_that_is_given_again_has_none_of_the_old_names() {
    let current = current(PEOPLE);
    let renamed = changes(
        &current,
        "rename,2024-01-01,jo.bell@nhs.net,jo.hart@nhs.net,,\n",
    );
    let renamed = renamed.sources(&current);
    let left = changes(&renamed, "leaver,2025-01-01,jo.hart@nhs.net,,,\n");
    assert_eq!(left.counts.unredirected, 1);
    let left = left.sources(&renamed);
    let joined = changes(&left, "joiner,2026-11-01,,jo.hart@nhs.net,,FA003\n");
    assert_eq!(joined.bad, []);
    let directory = directory(&joined.sources(&left));
    assert_eq!(
        ends(&directory, "jo.hart@nhs.net", TODAY),
        "jo.hart@nhs.net"
    );
    assert_eq!(ends(&directory, "jo.bell@nhs.net", TODAY), "closed");
}

#[test]
fn an_old_file_brings_back_no_name_that_was_given_up() {
    let joined = "joiner,2026-11-01,,alex.ray@nhs.net,,FA003\n";
    let moved = "rename,2026-11-05,alex.ray@nhs.net,alex.may@nhs.net,,\n";
    let chain = "rename,2026-11-06,alex.may@nhs.net,alex.day@nhs.net,,\n";
    let left = "leaver,2026-11-10,LAST,,,\n";
    for (rows, last) in [
        ([joined, moved, ""].concat(), "alex.may@nhs.net"),
        ([joined, moved, chain].concat(), "alex.day@nhs.net"),
    ] {
        let left = left.replace("LAST", last);
        let rows = rows + &left;
        let current = current(PEOPLE);
        let prepared = changes(&current, &rows);
        assert_eq!(prepared.bad, []);
        let sources = prepared.sources(&current);
        // A directory of an older program, which forgot the names before the last one.
        let lines = sources.mailboxes.text.split_inclusive('\n');
        let kept: String = lines
            .filter(|line| !line.starts_with("alex") || line.starts_with(last))
            .collect();
        let forgotten = Sources {
            mailboxes: file("directory.csv", &kept),
            ..sources.clone()
        };
        for (before, again) in [
            (&sources, rows.as_str()),
            (&sources, joined),
            (&forgotten, rows.as_str()),
        ] {
            let prepared = changes(before, again);
            assert_eq!(prepared.bad, [], "{again}");
            assert!(prepared.is_empty(), "{again}: {:?}", prepared.differences);
        }
        let directory = directory(&sources);
        for name in ["alex.ray@nhs.net", last] {
            assert_eq!(ends(&directory, name, TODAY), "closed", "{name}");
        }
        // Another person of that name, later on.
        let newer = changes(&sources, "joiner,2026-11-12,,alex.ray@nhs.net,,FA001\n");
        assert_eq!(newer.bad, []);
        assert!(!newer.is_empty());
    }
}

#[test]
fn a_spreadsheet_may_have_its_mark_and_keeps_it() {
    let text = format!("\u{feff}# ours\n{}", current(PEOPLE).mailboxes.text);
    let marked = Sources {
        mailboxes: file("directory.csv", &text),
        ..current(PEOPLE)
    };
    let prepared = changes(&marked, "leaver,2026-11-10,sam.reed@nhs.net,,,\n");
    assert_eq!(prepared.bad, []);
    let sources = prepared.sources(&marked);
    assert!(
        sources
            .mailboxes
            .text
            .starts_with("\u{feff}# ours\naddress,")
    );
    let directory = directory(&sources);
    assert_eq!(ends(&directory, "sam.reed@nhs.net", TODAY), "closed");
    assert_eq!(
        ends(&directory, "jo.bell@nhs.net", TODAY),
        "jo.bell@nhs.net"
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.csv");
    fs::write(&path, b"\xff\xfea\0d\0").unwrap();
    let said = import::read_file(&path).unwrap_err().to_string();
    assert!(
        said.starts_with("it is in UTF-16: save it as UTF-8"),
        "{said}"
    );
}

// --- The command --------------------------------------------------------------------------------

#[test]
fn the_command_writes_all_or_nothing_and_asks_before_it_takes_much() {
    let folder = policies();
    let table = folder.path().join("policies/directory.csv");
    let before = fs::read_to_string(&table).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let head = "change,date,from,to,confirmed_by,ods_code\n";
    let bad = write(
        "bad.csv",
        &format!("{head}joiner,2026-11-01,,new.one@nhs.net,,\nleaver,soon,x@nhs.net,,,\n"),
    );
    let output = postern(&folder, &["directory", "import", bad.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("bad.csv:3:2: date: \"soon\" is not a date"),
        "{text}"
    );
    assert!(
        text.contains("nothing was written: 1 rows are bad"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(&table).unwrap(), before);

    let output = postern(
        &folder,
        &[
            "directory",
            "import",
            "--partial",
            "--dry-run",
            bad.to_str().unwrap(),
        ],
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("+ new.one@nhs.net  personal, active, 2026-11-01"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(&table).unwrap(), before);

    let much = write(
        "much.csv",
        &format!(
            "{head}consolidation,2026-11-01,FA001,FA003,the ICB,\nconsolidation,2026-11-01,FAQ59,FQA59,the ICB,\n"
        ),
    );
    let output = postern(
        &folder,
        &["--json", "directory", "import", much.to_str().unwrap()],
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let summary: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(summary["outcome"], "unconfirmed");
    assert_eq!(summary["counts"]["lost"], 2);
    assert_eq!(fs::read_to_string(&table).unwrap(), before);

    let output = postern(
        &folder,
        &["directory", "import", "--confirm", much.to_str().unwrap()],
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("written: "), "{text}");
    let after = fs::read_to_string(&table).unwrap();
    let head: String = before
        .lines()
        .take_while(|line| line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(after.starts_with(&head));
    assert!(after.contains("# Real pharmacies"));
    let output = postern(&folder, &["resolve", "pharmacy.fa001@nhs.net"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("mailbox pharmacy.fa003@nhs.net") && text.contains("redirects.csv:"),
        "{text}"
    );

    let output = postern(&folder, &["directory", "import", much.to_str().unwrap()]);
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("nothing to do")
    );
    let left: Vec<_> = fs::read_dir(folder.path().join("policies"))
        .unwrap()
        .map(|one| one.unwrap().file_name())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().starts_with('.')),
        "{left:?}"
    );
}

#[test]
fn an_export_is_imported_as_nothing_to_do() {
    let folder = policies();
    for (format, name) in [("csv", "all.csv"), ("toml", "all.toml")] {
        let out = folder.path().join(name);
        let output = postern(
            &folder,
            &[
                "directory",
                "export",
                "--as",
                format,
                "--out",
                out.to_str().unwrap(),
            ],
        );
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let output = postern(
            &folder,
            &["directory", "import", "--dry-run", out.to_str().unwrap()],
        );
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.starts_with("0 mailboxes added, 0 changed, 0 taken out; 0 names redirected"),
            "{text}"
        );
    }
    let output = postern(&folder, &["directory", "import", "/nowhere.csv"]);
    assert_eq!(output.status.code(), Some(1));
    let output = postern(&folder, &["directory", "import"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn what_the_gateway_would_not_load_is_not_written() {
    let folder = policies();
    let file = folder.path().join("redirects.csv");
    let rows = "a@nhs.net,b@nhs.net,alias,,,\nb@nhs.net,a@nhs.net,alias,,,\n";
    fs::write(
        &file,
        format!("from,to,because,since,confirmed_by,note\n{rows}"),
    )
    .unwrap();
    let output = postern(&folder, &["directory", "import", file.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("alias-loop") && text.contains("would not load"),
        "{text}"
    );
}

#[test]
fn lint_tells_what_is_worth_knowing_and_check_does_too() {
    let folder = policies();
    let table = folder.path().join("policies/directory.csv");
    let text = fs::read_to_string(&table).unwrap();
    fs::write(
        &table,
        format!("{text}jo.bell@nhs.net,application,active,,,,,,,office,,no,no,\n"),
    )
    .unwrap();
    for command in [
        &["directory", "lint", "--format", "short"][..],
        &["check", "--format", "short"],
    ] {
        let output = postern(&folder, command);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        let line = said
            .lines()
            .find(|line| line.contains("application-like-person"));
        assert!(
            line.is_some_and(|line| line.contains("directory.csv:")),
            "{said}"
        );
    }
    let aliases = folder.path().join("policies/aliases.toml");
    let text = fs::read_to_string(&aliases).unwrap();
    fs::write(
        &aliases,
        format!("{text}\n[[alias]]\nfrom = \"x@nhs.net\"\nto = \"x@nhs.net\"\n"),
    )
    .unwrap();
    let output = postern(&folder, &["--json", "directory", "lint"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("alias-loop")
    );
}

// --- Helpers ------------------------------------------------------------------------------------

const TODAY: &str = "2026-11-21";
const HEADER: &str = "address,kind,status,status_date,ods_code,organisation,street,town,display_name,owner,successor,accepts_patient_data,do_not_send,last_verified\n";
const ALIASES: &str = "[shapes]\nlegacy-pharmacy-name = true\n";
const PEOPLE: &str = "\
    jo.bell@nhs.net,personal,active,,FA001,,,,,,,,,\n\
    sam.reed@nhs.net,personal,active,,FA001,,,,,,,,,\n\
    gone.person@nhs.net,personal,leaver,2020-01-01,,,,,,,,,,\n\
    pharmacy.fa001@nhs.net,pharmacy,active,,FA001,Meadow Pharmacy,1 High Street,Bumbleton,Pharmacy.FA001 (Meadow),office,,,,\n\
    reminders.fa001.donotreply@nhs.net,application,active,,FA001,,,,,,,,,\n\
    pharmacy.fa002@nhs.net,pharmacy,active,,FA002,Hill Pharmacy,2 High Street,Bumbleton,,office,,,,\n\
    pharmacy.fa003@nhs.net,pharmacy,active,,FA003,Vale Pharmacy,3 High Street,Bumbleton,,office,,,,\n";

fn current(rows: &str) -> Sources {
    let mut text = HEADER.trim_end().to_owned() + ",linked\n";
    for line in rows.lines() {
        let link = if line.starts_with("pharmacy.fa001@") && rows.contains("sam.reed") {
            "jo.bell@nhs.net:send-as sam.reed@nhs.net:on-behalf"
        } else {
            ""
        };
        let _ = writeln!(text, "{line},{link}");
    }
    sources(&text, "from,to,because,since,confirmed_by,note\n")
}

fn empty() -> Sources {
    sources(HEADER, "")
}

fn sources(mailboxes: &str, redirects: &str) -> Sources {
    let redirects = if redirects.is_empty() {
        "from,to,because,since,confirmed_by,note\n"
    } else {
        redirects
    };
    Sources {
        aliases: file("aliases.toml", ALIASES),
        mailboxes: file("directory.csv", mailboxes),
        redirects: Some(file("redirects.csv", redirects)),
    }
}

fn file(path: &str, text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile {
        path: PathBuf::from(path),
        text: text.to_owned(),
    })
}

fn options(format: Option<Format>) -> Options<'static> {
    Options {
        format,
        today: TODAY.parse().unwrap(),
        domain: "nhs.net".parse().unwrap(),
        progress: &|_| {},
    }
}

fn prepare(current: &Sources, path: &str, text: &str, format: Option<Format>) -> Prepared {
    import::prepare(current, &[file(path, text)], &options(format))
}

fn changes(current: &Sources, rows: &str) -> Prepared {
    let text = format!("change,date,from,to,confirmed_by,ods_code\n{rows}");
    prepare(current, "changes.csv", &text, None)
}

fn directory_unchecked(sources: &Sources) -> Directory {
    let served = [Served {
        domain: "nhs.net".parse().unwrap(),
        completeness: Completeness::Complete,
    }];
    Directory::of(sources, &served, false, &Diagnostics::default())
}

fn directory(sources: &Sources) -> Directory {
    let diagnostics = Diagnostics::default();
    let served = [Served {
        domain: "nhs.net".parse().unwrap(),
        completeness: Completeness::Complete,
    }];
    let directory = Directory::of(sources, &served, false, &diagnostics);
    let errors: HashMap<_, _> = diagnostics
        .into_vec()
        .into_iter()
        .filter(|one| one.severity == Severity::Error)
        .map(|one| (one.id, one.message))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    directory
}

fn mailbox(text: &str) -> Mailbox {
    text.parse().unwrap()
}

fn ends(directory: &Directory, asked: &str, day: &str) -> String {
    match directory
        .resolve_on(&mailbox(asked), day.parse::<Date>().unwrap())
        .end
    {
        End::Mailbox(mailbox) => mailbox.to_string(),
        end => end.word().to_owned(),
    }
}

/// A row of a national file of pharmacies.
fn ods(code: &str, name: &str, opened: &str, closed: &str, status: &str, sub_type: &str) -> String {
    format!(
        "\"{code}\",\"{name}\",\"Y62\",\"QOP\",\"1 HIGH STREET\",\"\",\"BUMBLETON\",\"\",\"\",\"BB1 1AA\",\
         \"{opened}\",\"{closed}\",\"{status}\",\"{sub_type}\",\"P79D\",\"\",\"\",\"\",\"\",\"\",\"\",\"0\",\"\",\"\",\"\",\"\",\"\"\n"
    )
}

/// A copy of the shipped policies.
fn policies() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("policies");
    fs::create_dir_all(to.join("tests")).unwrap();
    for from in ["policies", "policies/tests"] {
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(
                    &path,
                    folder.path().join(from).join(path.file_name().unwrap()),
                )
                .unwrap();
            }
        }
    }
    folder
}

fn postern(folder: &tempfile::TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postern"))
        .arg("--config")
        .arg(folder.path().join("policies/postern.toml"))
        .args(arguments)
        .output()
        .unwrap()
}
