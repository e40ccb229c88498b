//! Whole indexes: what goes in comes out, and what is damaged does not come in.

use std::sync::Arc;

use proptest::prelude::*;

use super::layout::{self, Checksum, HEADER};
use super::*;
use crate::config::{Diagnostics, SourceFile};
use crate::directory::entry::Entry;
use crate::directory::table::Table;

const CSV: &str = "address,kind,status,ods_code,organisation,street,town,display_name,owner,status_date,successor,\
                   accepts_patient_data,do_not_send,last_verified,linked,approved_links,postcode,mobile\n\
    pharmacy.fa001@nhs.net,pharmacy,active,FA001,Well Pharmacy,1 High Street,Enfield,\"Pharmacy.FA001 (Well, Enfield)\",\
                   manager,,,yes,no,2026-01-31,jo.bell@nhs.net:send-as ab@nhs.net:on-behalf,12,EN1 1AA,07700 900123\n\
    jo.bell@nhs.net,personal,leaver,FA001,Well Pharmacy,,,\"BELL, Jo\",,2026-02-03,,no,,,,,,07700 900124\n\
    \"\"\"quoted name\"\"@[192.0.2.1]\",shared,active,,,,,Zo\u{eb},,,,,yes,,,,,\n\
    pharmacy.fa002@nhs.net,pharmacy,closed,FA002,WELL,,Luton,,,2020-01-01,FA001,,,,,,,\n\
    pharmacy.fa001@other.example,shared,disabled,FA002,Other name,,,,,,,,,,,,,\n";

fn table(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    Table::read_each(&source(text), &Diagnostics::default(), &mut |entry| {
        entries.push(entry.clone());
        Ok(())
    });
    entries
}

fn source(text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile {
        path: "directory.csv".into(),
        text: text.into(),
    })
}

fn octets(text: &str) -> Vec<u8> {
    made(text).into_octets()
}

fn made(text: &str) -> Made {
    let stop = StopWords::new(["pharmacy".to_owned()]);
    let mut builder = Builder::new(&stop, 0);
    Table::read_each(&source(text), &Diagnostics::default(), &mut |entry| {
        builder.add(entry)
    });
    builder.finish(&[7; 32], &[]).unwrap()
}

/// As a file is opened: with the checksum that the octets have, not the one that they say.
fn open(octets: Vec<u8>) -> Option<Index> {
    let sum = Checksum::of(&octets);
    Index::new(Octets::Memory(octets), &sum, None)
}

/// Asks everything that can be asked.
fn ask(index: &Index) -> usize {
    let mut answers = 0;
    for row in index.rows() {
        answers += usize::from(row.entry().is_some());
        answers += usize::from(
            row.address()
                .and_then(|address| index.find(&address))
                .is_some(),
        );
        if let Some(organisation) = row.organisation() {
            answers += organisation.mailboxes(true).count() + organisation.namesakes().count();
            answers += usize::from(organisation.evidence().is_some());
            answers += usize::from(index.organisation(organisation.code()).is_some());
        }
    }
    for query in ["bell", "wel enfeild", "xyz"] {
        answers += search::search(index, query, 5, jiff::civil::date(2026, 11, 21)).len();
    }
    answers + index.reports().len()
}

#[test]
fn what_goes_in_comes_out() {
    let index = Index::from_memory(made(CSV)).unwrap();
    let entries = table(CSV);
    assert_eq!((entries.len(), index.len()), (5, 5));
    let out: Vec<_> = index.rows().filter_map(Row::entry).collect();
    assert_eq!(format!("{out:?}"), format!("{entries:?}"));
    for entry in &entries {
        assert_eq!(index.find(&entry.address).unwrap().line(), entry.line);
    }
    assert!(
        index
            .find(&"pharmacy.fa003@nhs.net".parse().unwrap())
            .is_none()
    );
    assert!(
        index
            .find(&"pharmacy.fa001@nhs.example".parse().unwrap())
            .is_none()
    );
    let of = |code: &str| {
        let organisation = index.organisation(code.parse().unwrap()).unwrap();
        let lines = organisation
            .mailboxes(true)
            .map(Row::line)
            .collect::<Vec<_>>();
        (
            lines,
            organisation.namesakes().map(OrganisationRow::code).count(),
        )
    };
    assert_eq!(of("FA001"), (vec![2, 3], 2));
    assert_eq!(of("FA002"), (vec![5, 6], 2));
    assert!(index.organisation("FA003".parse().unwrap()).is_none());
    assert!(
        !octets(CSV).windows(6).any(|part| part == b"900123"),
        "mobile numbers stay out"
    );
}

#[test]
fn the_first_row_with_a_name_describes_the_organisation_of_all() {
    let header = "address,kind,status,ods_code,organisation,street,town\n";
    let rows = "jo@nhs.net,personal,active,FA001,,,\na@nhs.net,pharmacy,active,FA001,Meadow,,\n";
    let index = Index::from_memory(made(&format!("{header}{rows}"))).unwrap();
    let names = index
        .rows()
        .map(|row| row.entry().unwrap().organisation.unwrap().name.clone());
    assert!(names.eq(["Meadow", "Meadow"]));
    let found = search::search(&index, "meadow", 5, jiff::civil::date(2026, 11, 21));
    assert_eq!(found.len(), 2);
}

#[test]
fn an_empty_table_is_an_index_of_nothing() {
    let header = CSV.split_inclusive('\n').next().unwrap();
    for index in [Index::from_memory(made(header)).unwrap(), Index::empty()] {
        assert_eq!((index.len(), ask(&index)), (0, 0));
        assert!(index.find(&"a@nhs.net".parse().unwrap()).is_none());
    }
}

#[test]
fn a_file_is_believed_only_with_its_key_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (path, key, other) = (folder.path().join("directory"), [7; 32], [8; 32]);
    file::write(&path, &key, &made(CSV)).unwrap();
    let (mapped, in_memory) = (file::open(&path, &key), Index::from_memory(made(CSV)));
    let (mapped, in_memory) = (mapped.unwrap(), in_memory.unwrap());
    assert_eq!(ask(&mapped), ask(&in_memory));
    let all = |index: &Index| format!("{:?}", index.rows().map(Row::entry).collect::<Vec<_>>());
    assert_eq!(all(&mapped), all(&in_memory));
    assert!(file::open(&path, &other).is_none());
    // Another's octets under this name, and octets that are cut off.
    file::write(&path, &other, &made(CSV)).unwrap();
    assert!(file::open(&path, &other).is_none());
    let mut short = Made::new(&other, made(CSV).sections);
    short.sections[Section::Details as usize].pop();
    file::write(&path, &other, &short).unwrap();
    assert!(file::open(&path, &other).is_none());
    std::fs::write(path.join("x.idx.new"), "").unwrap();
    std::fs::write(path.join("of-somebody-else"), "").unwrap();
    file::remove_others(&path, &key);
    let left: Vec<_> = std::fs::read_dir(&path)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(file::open(&path, &key).is_some());
}

#[test]
fn what_many_rows_say_is_kept_once_and_comes_out_as_it_was() {
    let row =
        "personal,active,FA001,Long Name of a Pharmacy,,,\"BELL, Jo (Long Name of a Pharmacy)\"";
    let names = ["a", "b", "c (", "d (Long Name of a Pharmacy"];
    let rows: Vec<String> = names
        .iter()
        .map(|name| format!("\"\"\"{name}\"\"\"@nhs.net,{row},the office of the manager\n"))
        .collect();
    let header = "address,kind,status,ods_code,organisation,street,town,display_name,owner\n";
    let unnamed = "z@nhs.net,shared,active,FA002,,,,\"Z ()\",\n";
    let text = format!("{header}{unnamed}{}", rows.concat());
    let octets = octets(&text);
    let count = |what: &str| {
        octets
            .windows(what.len())
            .filter(|part| *part == what.as_bytes())
            .count()
    };
    assert_eq!(count("the office of the manager"), 1);
    assert!(count("Long Name of a Pharmacy") < names.len());
    let index = Index::from_memory(made(&text)).unwrap();
    let out: Vec<_> = index.rows().filter_map(Row::entry).collect();
    assert_eq!(format!("{out:?}"), format!("{:?}", table(&text)));
}

#[test]
fn the_same_table_makes_the_same_octets() {
    assert_eq!(octets(CSV), octets(CSV));
}

proptest! {
    #[test]
    fn damaged_octets_are_not_believed(at: prop::sample::Index, bit in 0..8_u8, cut: prop::sample::Index) {
        let mut octets = octets(CSV);
        let at = at.index(octets.len());
        octets[at] ^= 1_u8 << bit;
        prop_assert!(open(octets.clone()).is_none());
        octets[at] ^= 1_u8 << bit;
        octets.truncate(cut.index(octets.len()));
        prop_assert!(open(octets).is_none());
    }

    /// Even with the right checksum over it, damage can be read: whatever comes of it.
    #[test]
    fn damage_that_the_checksum_hides_is_read_without_a_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut octets = octets(CSV);
        for (at, octet) in damage {
            let at = at.index(octets.len() - HEADER) + HEADER;
            octets[at] = octet;
        }
        let sum = Checksum::of(&octets);
        octets[layout::SUM].copy_from_slice(&sum);
        if let Some(index) = Index::new(Octets::Memory(octets), &sum, None) {
            ask(&index);
        }
    }
}

#[test]
fn of_those_that_bear_one_name_the_open_ones_come_first() {
    let header = "address,kind,status,status_date,ods_code,organisation,street,town\n";
    let row = |code: &str, status: &str| {
        let address = format!("pharmacy.{code}@nhs.net");
        format!("{address},pharmacy,{status},{code},Well,,\n")
    };
    let rows = [
        row("fa001", "closed,2020-01-01"),
        row("fa002", "active,"),
        row("fa003", "closed,"),
        row("fa004", "active,2020-01-01"),
    ];
    let index = Index::from_memory(made(&format!("{header}{}", rows.concat()))).unwrap();
    let organisation = index.organisation("FA003".parse().unwrap()).unwrap();
    let codes = organisation
        .namesakes()
        .map(|other| other.code().to_string());
    assert_eq!(
        codes.collect::<Vec<_>>(),
        ["FA002", "FA004", "FA001", "FA003"]
    );
}
