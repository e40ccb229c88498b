use std::sync::Arc;

use super::*;
use crate::config::SourceFile;
use crate::directory::{Completeness, Served};

fn file(path: &str, text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile {
        path: path.into(),
        text: text.to_owned(),
    })
}

/// What is said of these rows on 21 November 2026, as `id file:line`.
fn said(rows: &str, redirects: &str) -> Vec<String> {
    let header = "address,kind,status,status_date,ods_code,organisation,street,town,owner,linked,approved_links,last_verified\n";
    let sources = Sources {
        aliases: file("aliases.toml", ""),
        mailboxes: file("directory.csv", &format!("{header}{rows}")),
        redirects: Some(file(
            "redirects.csv",
            &format!("from,to,because,since,confirmed_by,note\n{redirects}"),
        )),
    };
    let served = [Served {
        domain: "nhs.net".parse().unwrap(),
        completeness: Completeness::Complete,
    }];
    let diagnostics = Diagnostics::default();
    let directory = Directory::of(&sources, &served, false, &diagnostics);
    let found = directory.lint_on(&sources, "2026-11-21".parse().unwrap());
    let found = found.into_iter().map(|one| {
        assert!(one.help.is_some(), "{one:?}");
        format!("{} {}", one.id, one.labels[0].place)
    });
    found.collect()
}

#[test]
fn a_mailbox_has_an_owner_and_two_readers() {
    let people =
        "a.b@nhs.net,personal,active,,,,,,,,,\nc.d@nhs.net,personal,leaver,2026-11-01,,,,,,,,\n";
    let eleven: Vec<_> = (0..11)
        .map(|n| format!("x{n}@elsewhere.example:send-as"))
        .collect();
    let rows = format!(
        "{people}pharmacy.fa001@nhs.net,pharmacy,active,,FA001,,,,me,a.b@nhs.net:send-as c.d@nhs.net:send-as,,\n\
         pharmacy.fa002@nhs.net,pharmacy,active,,FA002,,,,,a.b@nhs.net:send-as x@y.example:send-as,,\n\
         pharmacy.fa003@nhs.net,pharmacy,active,,FA003,,,,me,{0},,\n\
         pharmacy.fa004@nhs.net,pharmacy,active,,FA004,,,,me,{0},11,\n",
        eleven.join(" ")
    );
    assert_eq!(
        said(&rows, ""),
        [
            "few-links directory.csv:4",
            "no-owner directory.csv:5",
            "many-links directory.csv:6"
        ]
    );
}

#[test]
fn a_table_that_keeps_no_links_is_not_blamed_for_each() {
    let rows = "pharmacy.fa001@nhs.net,pharmacy,active,,FA001,,,,me,,,\n";
    assert!(said(rows, "").is_empty());
}

#[test]
fn rows_whose_time_has_passed_are_told() {
    let rows = "a.b@nhs.net,personal,leaver,2026-10-01,,,,,,,,\n\
                a.c@nhs.net,personal,leaver,2026-11-01,,,,,,,,\n\
                a.d@nhs.net,personal,inactive,2026-09-01,,,,,,,,\n\
                a.e@nhs.net,personal,deleted,2024-11-01,,,,,,,,\n\
                a.f@nhs.net,personal,disabled,2025-01-01,,,,,,,,\n\
                pharmacy.fa001@nhs.net,pharmacy,active,,FA001,,,,me,,,2025-11-01\n\
                pharmacy.fa002@nhs.net,pharmacy,active,,FA002,,,,me,,,2025-12-01\n";
    assert_eq!(
        said(rows, ""),
        [
            "expired directory.csv:2",
            "expired directory.csv:4",
            "expired directory.csv:5",
            "expired directory.csv:6",
            "stale directory.csv:7"
        ]
    );
}

#[test]
fn names_are_held_against_the_convention_of_their_kind() {
    let rows = "pharmacy.fa002@nhs.net,pharmacy,active,,FA001,,,,me,,,\n\
                pharmacy@bumbleton.example,pharmacy,active,,FA003,,,,me,,,\n\
                care.newcastle.homev12345@nhs.net,care,active,,V12345,,,,me,,,\n\
                jo-ann.o'bell18@nhs.net,personal,active,,,,,,,,,\n\
                thedoctor@nhs.net,personal,active,,,,,,,,,\n\
                appointment.reminder@nhs.net,application,active,,,,,,me,,,\n\
                jo.bell@nhs.net,application,active,,,,,,me,,,\n\
                reminders.fa777.donotreply@nhs.net,application,active,,FA001,,,,me,,,\n";
    assert_eq!(
        said(rows, ""),
        [
            "naming directory.csv:2",
            "naming directory.csv:6",
            "application-like-person directory.csv:8",
            "naming directory.csv:9"
        ]
    );
}

#[test]
fn two_owners_strangers_and_shadowed_successors_are_told() {
    let rows = "pharmacy.fa001@nhs.net,pharmacy,active,,FA001,,,,me,,,\n\
                pharmacy@nhs.net,pharmacy,active,,FA001,,,,me,,,\n\
                jo.bell@nhs.net,personal,active,2026-01-01,,,,,,,,\n\
                pharmacy.fa003@nhs.net,pharmacy,active,,FA003,,,,me,,,\n";
    let redirects = "old.bell@nhs.net,jo.bell@nhs.net,renamed,2020-01-01,,\n\
                     new.bell@nhs.net,jo.bell@nhs.net,renamed,2026-02-01,,\n\
                     FA001,FA003,successor,2026-01-01,office,\n";
    assert_eq!(
        said(rows, redirects),
        [
            "naming directory.csv:3",
            "two-owners directory.csv:3",
            "redirect-to-stranger redirects.csv:2",
            "shadowed-successor redirects.csv:4"
        ]
    );
}

#[test]
fn an_old_name_does_not_lead_to_a_mailbox_that_takes_no_mail() {
    let header = "address,kind,status,ods_code,organisation,street,town,do_not_send\n";
    let rows = "robot@nhs.net,application,active,,,,,yes\nbox@nhs.net,shared,active,,,,,no\n";
    let aliases = "[[alias]]\nfrom = \"old@nhs.net\"\nto = \"robot@nhs.net\"\n\
                   [[alias]]\nfrom = \"other@nhs.net\"\nto = \"box@nhs.net\"\n\
                   [[list]]\nname = \"all@nhs.net\"\nmembers = [\"box@nhs.net\", \"robot@nhs.net\"]\n";
    let diagnostics = Diagnostics::default();
    let served = [Served {
        domain: "nhs.net".parse().unwrap(),
        completeness: Completeness::Complete,
    }];
    Directory::read(
        &file("aliases.toml", aliases),
        &file("directory.csv", &format!("{header}{rows}")),
        &served,
        false,
        &diagnostics,
    );
    let said: Vec<_> = diagnostics
        .into_vec()
        .iter()
        .map(|one| (one.id, one.labels[0].place.to_string()))
        .collect();
    assert_eq!(
        said,
        [
            ("silent-target", "aliases.toml:2".to_owned()),
            ("silent-target", "aliases.toml:8".to_owned())
        ]
    );
}
