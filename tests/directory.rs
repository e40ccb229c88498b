//! Where names lead: every address and trap of `domain.md` 1.2 to 1.4 on the shipped files, each kind
//! of redirect on small ones, and the national file of pharmacies where it is at hand.

#![expect(clippy::unwrap_used, reason = "helpers of a test are tests")]

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;
use postern::base::Clock;
use postern::config::{Diagnostics, Severity, SourceFile};
use postern::directory::{Because, Completeness, Directory, End, Files, Served, answer};
use postern::mail::Mailbox;
use proptest::prelude::*;

// --- The shipped files --------------------------------------------------------------------------

#[test]
fn every_address_of_the_domain_report_leads_where_it_should() {
    for completeness in [Completeness::Partial, Completeness::Complete] {
        let directory = shipped(completeness);
        for (local, expected) in [
            // 1.2: real names found in public data.
            (
                "nhspharmacy.palmersgreen.aldermanspharmacyFAQ59",
                "mailbox pharmacy.faq59",
            ),
            (
                "nhspharmacy.benjaminpharmacy.chingfordFLR34",
                "mailbox pharmacy.flr34",
            ),
            (
                "nhspharmacy.greenlanes.greenlightpharmacyFNJ72",
                "mailbox pharmacy.fnj72",
            ),
            ("nhspharmacy.edmontongreen.lloydspharmacyFKW41", "closed"),
            (
                "nhspharmacy.bowesroad.NRPatelchemistFPQ44",
                "mailbox pharmacy.fpq44",
            ),
            (
                "nhspharmacy.tottenham.phillipschemistSM689",
                "unknown pharmacy.fm689",
            ),
            ("nhspharmacy.cheshunt.tescoFCA02", "unknown"),
            (
                "nhspharmacy.288highs.tescoin-sfvw31",
                "mailbox pharmacy.fvw31",
            ),
            (
                "nhspharmacy.edmonton.virenschemistFE164",
                "mailbox pharmacy.fe164",
            ),
            (
                "nhspharmacy.enfield.wellpharmacyFNY07",
                "mailbox pharmacy.fny07",
            ),
            ("nhspharmacy.enfield.wellpharmacyFYA05", "closed"),
            // A chain's branch under the name of another town: FFF08 is in Chingford, FXF01 in Enfield.
            (
                "nhspharmacy.enfield.wellpharmacyFFF08",
                "ambiguous pharmacy.fff08",
            ),
            (
                "nhspharmacy.chingford.wellpharmacyFXF01",
                "ambiguous pharmacy.fxf01",
            ),
            (
                "nhspharmacy.chingford.wellpharmacyFFF08",
                "mailbox pharmacy.fff08",
            ),
            (
                "nhspharmacy.pondersend.zarapharmacyFH734",
                "mailbox pharmacy.fh734",
            ),
            ("pharmacyFLE67", "unknown pharmacy.fle67"),
            ("pharmacy.ftc400", "unknown"),
            ("pharmacy.fad37", "mailbox pharmacy.fad37"),
            ("pharmacy.ft020", "mailbox pharmacy.ft020"),
            // 1.1 and 1.4.
            ("PHARMACY.FAQ59", "mailbox pharmacy.faq59"),
            (
                "nhspharmacy.palmersgreen.aldermanspharmacyfaq59",
                "mailbox pharmacy.faq59",
            ),
            (
                "NHSPHARMACY.PALMERSGREEN.ALDERMANSPHARMACYFAQ59",
                "mailbox pharmacy.faq59",
            ),
            // Two neighbouring characters of the code swapped: another live pharmacy.
            (
                "nhspharmacy.palmersgreen.aldermanspharmacyFQA59",
                "ambiguous pharmacy.fqa59",
            ),
            (
                "nhspharmacy.palmersgreen.aldermanspharmacyFAQ95",
                "unknown pharmacy.faq59",
            ),
            (
                "nhspharmacy.palmersgreen.aldermanspharmacyFA059",
                "unknown pharmacy.faq59",
            ),
            (
                "nhspharmacy.pharmacy.highstreetFAQ59",
                "ambiguous pharmacy.faq59",
            ),
            (
                "nhspharmacy.palmersgreen.flr34aldermansFAQ59",
                "ambiguous pharmacy.flr34 pharmacy.faq59",
            ),
            ("nhspharmacy.FAQ59", "unknown pharmacy.faq59"),
            ("nhspharmacy.palmersgreenFAQ59", "unknown pharmacy.faq59"),
            ("nhspharmacy", "unknown"),
            ("pharmacy.fkw41", "closed"),
            (
                "care.newcastle.bumbletoncarehomev12345",
                "mailbox care.v12345",
            ),
            ("care.leeds.sunnysidev12345", "ambiguous care.v12345"),
            ("care.v12345", "mailbox care.v12345"),
            (
                "reminders.FA123.donotreply",
                "mailbox reminders.fa123.donotreply",
            ),
            ("reminders.FAQ59.donotreply", "mailbox pharmacy.faq59"),
            ("reminders.FKW41.donotreply", "closed"),
            // The shipped aliases.
            ("bumbleton.chemist", "mailbox pharmacy.fa001"),
            (
                "nhspharmacy.lowerbumbleton.bumbletonpharmacyFA009",
                "mailbox pharmacy.fa003",
            ),
            (
                "bumbleton.branches",
                "list pharmacy.fa001 pharmacy.fa003 pharmacy.fa123",
            ),
            ("postmaster", "unlisted postmaster"),
        ] {
            assert_eq!(
                outcome(&directory, &format!("{local}@nhs.net")),
                expected,
                "{local}"
            );
        }
    }
}

#[test]
fn what_no_rule_knows_is_as_the_domain_says() {
    let (partial, complete) = (
        shipped(Completeness::Partial),
        shipped(Completeness::Complete),
    );
    for (local, suggestion) in [
        ("clockworkqueensparade.FJJ70", ""),
        ("alpha.pharmacy", ""),
        ("pharmacyadmin", ""),
        ("c.atkinsons.chemist", ""),
        ("john.smith7", ""),
        ("reminders.fca02.donotreply", ""),
        ("care.newcastle.elsewhere", ""),
        ("pharmacy.fca02", ""),
        // Only an organisation is ever suggested, and only one.
        ("bumbleton.headofice", " bumbleton.headoffice"),
        ("pharmacy.faq5l", " pharmacy.faq59"),
        ("reminders.fa123.donotrepl", ""),
        ("\u{440}harmacy.faq59", ""),
    ] {
        let address = format!("{local}@nhs.net");
        assert_eq!(outcome(&partial, &address), format!("unlisted {local}"));
        assert_eq!(outcome(&complete, &address), format!("unknown{suggestion}"));
    }
}

#[test]
fn an_address_is_read_as_mail_writes_it() {
    let directory = shipped(Completeness::Complete);
    for (input, expected) in [
        ("pharmacy.faq59@NHS.NET.", "mailbox pharmacy.faq59"),
        ("<pharmacy.faq59@nhs.net>", "mailbox pharmacy.faq59"),
        (
            "@relay.example,@b.example:pharmacy.faq59@nhs.net",
            "mailbox pharmacy.faq59",
        ),
        ("\"pharmacy.faq59\"@nhs.net", "mailbox pharmacy.faq59"),
        (
            "Dr.Who@B\u{fc}cher.example",
            "external Dr.Who@xn--bcher-kva.example",
        ),
        ("Dr.Who@other.example", "external Dr.Who@other.example"),
        ("a@mail.nhs.net", "external a@mail.nhs.net"),
        ("a@nhs.net.evil.example", "external a@nhs.net.evil.example"),
        ("a@n\u{4bb}s.net", "external a@xn--ns-m5b.net"),
        (
            "pharmacy.faq59@[192.0.2.1]",
            "external pharmacy.faq59@[192.0.2.1]",
        ),
        ("pharmacy.faq59", "invalid"),
        ("postmaster", "invalid"),
        ("a b@nhs.net", "invalid"),
        ("", "invalid"),
    ] {
        let got = outcome(&directory, input);
        // Which A-label a look-alike has is not the point: that it is another domain is.
        if input.contains('\u{4bb}') {
            assert!(got.starts_with("external a@xn--"), "{got}");
        } else {
            assert_eq!(got, expected, "{input}");
        }
    }
}

#[test]
fn the_answer_has_the_shape_of_the_contract() {
    let directory = shipped(Completeness::Partial);
    let input = "nhspharmacy.palmersgreen.aldermanspharmacyFAQ59@nhs.net";
    let (object, ok) = answer(&directory, input);
    assert!(ok);
    assert_eq!(
        object,
        serde_json::json!({
            "input": input,
            "outcome": "mailbox",
            "mailbox": "pharmacy.faq59@nhs.net",
            "path": [{
                "from": "nhspharmacy.palmersgreen.aldermanspharmacyfaq59@nhs.net",
                "to": "pharmacy.faq59@nhs.net",
                "because": "legacy-pharmacy-name",
                "source": "policies/aliases.toml:12",
            }],
        })
    );
    let (object, ok) = answer(&directory, "pharmacy.faq59@nhs.net");
    assert!(ok && object["path"] == serde_json::json!([]));
    let (object, ok) = answer(&directory, "not an address");
    assert!(!ok && object["because"].is_string() && object["outcome"] == "invalid");
    assert!(!answer(&directory, "pharmacy.fkw41@nhs.net").1);
    assert!(answer(&directory, "someone@nhs.net").1 && answer(&directory, "a@b.example").1);
}

#[test]
fn the_shipped_files_have_nothing_to_be_said_against_them() {
    let (_, said) = load_shipped(Completeness::Complete);
    assert_eq!(said, [""; 0]);
    let diagnostics = Diagnostics::default();
    let accounts =
        postern::accounts::Accounts::load(Path::new("policies/accounts.toml"), &diagnostics);
    assert_eq!(
        (accounts.unwrap().all().len(), diagnostics.into_vec().len()),
        (0, 0)
    );
}

// --- Each kind of redirect ----------------------------------------------------------------------

const CSV: &str = "\
address,kind,status,status_date,ods_code,organisation,street,town
pharmacy.fa001@nhs.net,pharmacy,active,,FA001,Honey Pharmacy,1 Bee Lane,Hiveton
pharmacy.fa003@nhs.net,pharmacy,active,,FA003,Clover Pharmacy,2 Bee Lane,Hiveton
pharmacy.fa004@nhs.net,pharmacy,closed,2025-01-31,FA004,Nectar Pharmacy,3 Bee Lane,Hiveton
pharmacy.fa005@nhs.net,pharmacy,closed,2025-01-31,FA005,Pollen Pharmacy,4 Bee Lane,Hiveton
pharmacy.fa009@nhs.net,pharmacy,closed,2099-01-01,FA009,Comb Pharmacy,5 Bee Lane,Hiveton
jane.bee@nhs.net,personal,active,,FA001,,,
jane.wasp@nhs.net,personal,deleted,2025-01-31,FA001,,,
jane.ant@nhs.net,personal,disabled,2025-01-31,FA004,,,
care.vlaxl@nhs.net,care,active,,VLAXL,Meadow House,6 Bee Lane,Hiveton
care.axl@nhs.net,care,active,,AXL,Axle House,7 Bee Lane,Wheelton
care.vm123@nhs.net,care,closed,2025-01-31,VM123,Barn House,8 Bee Lane,Hiveton
care.m123@nhs.net,care,active,,M123,Stable House,9 Bee Lane,Hiveton
";

const SHAPES: &str = "[shapes]\nlegacy-pharmacy-name = true\ncare-name = true\napplication-name = true\n\
                      [agreement]\nstop-words = [\"pharmacy\", \"lane\", \"house\"]\n";

#[test]
fn redirects_are_followed_with_every_hop_and_its_reason() {
    let directory = small(
        "[[alias]]\nfrom = \"Old@nhs.net\"\nto = \"older@NHS.net\"\n\
         [[rename]]\nfrom = \"older@nhs.net\"\nto = \"nhspharmacy.hiveton.nectarFA004@nhs.net\"\n\
         [[successor]]\nfrom = \"FA004\"\nto = \"FA003\"\ndate = 2025-02-01\nconfirmed-by = \"x\"\n",
    );
    let resolution = directory.resolve(&mailbox("OLD@nhs.net"));
    let hops: Vec<_> = resolution
        .path
        .iter()
        .map(|hop| format!("{} {} {}", hop.to, hop.because.word(), hop.source))
        .collect();
    assert_eq!(
        hops,
        [
            "older@nhs.net alias aliases.toml:8",
            "nhspharmacy.hiveton.nectarfa004@nhs.net renamed aliases.toml:11",
            "pharmacy.fa004@nhs.net legacy-pharmacy-name aliases.toml:2",
            "pharmacy.fa003@nhs.net successor aliases.toml:14",
        ]
    );
    assert_eq!(
        resolution.end,
        End::Mailbox(mailbox("pharmacy.fa003@nhs.net"))
    );
}

#[test]
fn a_name_that_is_issued_again_ends_the_old_redirect() {
    let directory =
        small("[[alias]]\nfrom = \"pharmacy.fa001@nhs.net\"\nto = \"pharmacy.fa003@nhs.net\"\n");
    assert_eq!(
        outcome(&directory, "pharmacy.fa001@nhs.net"),
        "mailbox pharmacy.fa001"
    );
}

#[test]
fn redirects_and_successors_begin_on_their_day() {
    let directory = small(
        "[[rename]]\nfrom = \"a@nhs.net\"\nto = \"pharmacy.fa001@nhs.net\"\ndate = 2025-06-01\n\
         [[successor]]\nfrom = \"FA004\"\nto = \"FA003\"\ndate = 2025-06-01\nconfirmed-by = \"x\"\n",
    );
    let on = |address: &str, day: &str| {
        directory
            .resolve_on(&mailbox(address), day.parse().unwrap())
            .end
    };
    assert_eq!(on("a@nhs.net", "2025-05-31"), End::Unknown(None));
    assert_eq!(
        on("a@nhs.net", "2025-06-01"),
        End::Mailbox(mailbox("pharmacy.fa001@nhs.net"))
    );
    assert_eq!(
        on("pharmacy.fa004@nhs.net", "2025-01-30"),
        End::Mailbox(mailbox("pharmacy.fa004@nhs.net"))
    );
    assert_eq!(on("pharmacy.fa004@nhs.net", "2025-05-31"), End::Closed);
    assert_eq!(
        on("pharmacy.fa004@nhs.net", "2025-06-01"),
        End::Mailbox(mailbox("pharmacy.fa003@nhs.net"))
    );
    assert_eq!(
        on("pharmacy.fa009@nhs.net", "2025-06-01"),
        End::Mailbox(mailbox("pharmacy.fa009@nhs.net"))
    );
}

#[test]
fn a_successor_may_be_told_and_two_are_ambiguous() {
    let successor = |to: &str, then: &str| {
        format!(
            "[[successor]]\nfrom = \"FA004\"\nto = \"{to}\"\ndate = 2025-02-01\nconfirmed-by = \"x\"\nthen = \"{then}\"\n"
        )
    };
    let told = small(&successor("FA003", "tell"));
    assert_eq!(
        outcome(&told, "pharmacy.fa004@nhs.net"),
        "moved pharmacy.fa003"
    );
    assert_eq!(
        outcome(&told, "nhspharmacy.hiveton.nectarFA004@nhs.net"),
        "moved pharmacy.fa003"
    );

    let two = [successor("FA003", "forward"), successor("FA001", "forward")].concat();
    let (two, said) = read(&two, CSV, Completeness::Complete);
    assert_eq!(
        outcome(&two, "pharmacy.fa004@nhs.net"),
        "ambiguous pharmacy.fa003 pharmacy.fa001"
    );
    assert_eq!(
        said,
        ["warning two-successors: FA004 has another successor: its names are ambiguous"]
    );

    // To one that is shut itself, and to one that nobody knows.
    let shut = small(&successor("FA005", "forward"));
    assert_eq!(outcome(&shut, "pharmacy.fa004@nhs.net"), "closed");
    let (gone, _) = read(&successor("FX999", "forward"), CSV, Completeness::Complete);
    assert_eq!(outcome(&gone, "pharmacy.fa004@nhs.net"), "closed");
}

#[test]
fn an_old_code_that_only_a_successor_knows_must_fit_the_successor() {
    let directory = small(
        "[[successor]]\nfrom = \"FX999\"\nto = \"FA003\"\ndate = 2025-02-01\nconfirmed-by = \"x\"\n",
    );
    assert_eq!(
        outcome(&directory, "pharmacy.fx999@nhs.net"),
        "mailbox pharmacy.fa003"
    );
    assert_eq!(
        outcome(&directory, "nhspharmacy.x.cloverFX999@nhs.net"),
        "mailbox pharmacy.fa003"
    );
    assert_eq!(
        outcome(&directory, "nhspharmacy.x.elsewhereFX999@nhs.net"),
        "ambiguous pharmacy.fa003"
    );
}

#[test]
fn a_name_that_rather_speaks_of_the_pharmacy_one_slip_away_is_nobodys() {
    let csv = "address,kind,status,status_date,ods_code,organisation,street,town\n\
        pharmacy.fa123@nhs.net,pharmacy,active,,FA123,Honey Pharmacy,1 Bee Lane,Hiveton\n\
        pharmacy.fa193@nhs.net,pharmacy,active,,FA193,Clover Pharmacy,2 Clover Street,Hiveton\n\
        pharmacy.fc123@nhs.net,pharmacy,active,,FC123,Hiveton Pharmacy,3 Bee Lane,Hiveton\n\
        pharmacy.fa213@nhs.net,pharmacy,active,,FA213,The Pharmacy,4 Honey Row,Hiveton\n\
        pharmacy.faf12@nhs.net,pharmacy,active,,FAF12,Nectar Pharmacy,5 Bee Lane,Hiveton\n\
        pharmacy.ff123@nhs.net,pharmacy,active,,FF123,Cliff Pharmacy,6 Bee Lane,Hiveton\n\
        pharmacy.ffa12@nhs.net,pharmacy,active,,FFA12,Pollen Pharmacy,7 Bee Lane,Hiveton\n\
        pharmacy.fh123@nhs.net,pharmacy,closed,2025-01-31,FH123,Comb Pharmacy,8 Bee Lane,Hiveton\n\
        pharmacy.fh193@nhs.net,pharmacy,active,,FH193,Wax Pharmacy,9 Bee Lane,Hiveton\n\
        pharmacy.fh194@nhs.net,pharmacy,closed,2025-01-31,FH194,Drone Pharmacy,10 Bee Lane,Hiveton\n";
    let successor = "[[successor]]\nfrom = \"FH194\"\nto = \"FH193\"\ndate = 2025-02-01\nconfirmed-by = \"x\"\n";
    let (directory, _) = read(successor, csv, Completeness::Complete);
    for (local, expected) in [
        // Each one's own name leads to it, also where another word of it is a neighbour's.
        ("hiveton.honeypharmacyFA123", "mailbox pharmacy.fa123"),
        ("hiveton.cloverpharmacyFA193", "mailbox pharmacy.fa193"),
        ("hiveton.thepharmacyFA213", "mailbox pharmacy.fa213"),
        ("hiveton.hivetonpharmacyFC123", "mailbox pharmacy.fc123"),
        // What nobody's words are speaks for nobody.
        ("hiveton.formerlypharmacyFA123", "mailbox pharmacy.fa123"),
        // The town is right and the trading name is another's.
        (
            "hiveton.honeypharmacyFA193",
            "ambiguous pharmacy.fa193 pharmacy.fa123",
        ),
        (
            "hiveton.cloverpharmacyFA123",
            "ambiguous pharmacy.fa123 pharmacy.fa193",
        ),
        // The name is, but is the town too; the other accounts for more.
        (
            "hiveton.honeypharmacyFC123",
            "ambiguous pharmacy.fc123 pharmacy.fa123",
        ),
        // The street is, and swapped neighbours.
        (
            "hiveton.honeypharmacyFA213",
            "ambiguous pharmacy.fa213 pharmacy.fa123",
        ),
        // A character too many, and one too few, where an F stands before the code.
        (
            "hiveton.pollenpharmacyFFAF12",
            "ambiguous pharmacy.faf12 pharmacy.ffa12",
        ),
        (
            "hiveton.nectarfFA12",
            "ambiguous pharmacy.ffa12 pharmacy.faf12",
        ),
        // A slip for one that is shut; and for one that the same successor follows.
        ("hiveton.combpharmacyFH193", "ambiguous pharmacy.fh193"),
        ("hiveton.dronepharmacyFH193", "mailbox pharmacy.fh193"),
        ("hiveton.dronepharmacyFH194", "mailbox pharmacy.fh193"),
    ] {
        let input = format!("nhspharmacy.{local}@nhs.net");
        assert_eq!(outcome(&directory, &input), expected, "{local}");
    }
}

#[test]
fn a_shut_mailbox_that_leads_back_to_an_old_name_of_its_code_is_a_loop() {
    let csv = "address,kind,status,status_date,ods_code,organisation,street,town\n\
        pharmacy.fa123@nhs.net,pharmacy,closed,2025-01-31,FA123,Honey Pharmacy,1 Bee Lane,Hiveton\n\
        pharmacy.fa193@nhs.net,pharmacy,active,,FA193,Clover Pharmacy,2 Clover Street,Hiveton\n\
        pharmacy.fb123@nhs.net,pharmacy,closed,2025-01-31,FB123,Honey Pharmacy,3 Bee Lane,Hiveton\n";
    let rename = |from: &str, to: &str| {
        format!("[[rename]]\nfrom = \"{from}@nhs.net\"\nto = \"{to}@nhs.net\"\n")
    };
    let successor = "[[successor]]\nfrom = \"FA123\"\nto = \"FB123\"\ndate = 2025-02-01\nconfirmed-by = \"x\"\n";
    let (of_more, of_other) = (
        "nhspharmacy.hiveton.bestFA123",
        "nhspharmacy.hiveton.cloverFA123",
    );
    let of_nobody = "nhspharmacy.elsewhere.waxFA123";
    for name in [of_more, of_other, of_nobody] {
        // It agrees, and then it comes back; or it does not, and its mailbox takes no mail.
        let end = match name {
            _ if name == of_nobody => "closed",
            _ => "loop",
        };
        let own = rename("pharmacy.fa123", name);
        let next = format!("{successor}{}", rename("pharmacy.fb123", name));
        let without_row = csv.replace("pharmacy.fa123@", "pharmacy.fa124@");
        let without_row = without_row.replace(",FA123,", ",FA124,");
        for (aliases, csv) in [(&own, csv), (&next, csv), (&next, &without_row)] {
            let (directory, _) = read(aliases, csv, Completeness::Complete);
            let said = outcome(&directory, &format!("{name}@nhs.net"));
            assert_eq!(said, end, "{name} {aliases}");
        }
    }
}

#[test]
fn a_tag_on_the_name_that_a_name_leads_to_is_a_loop() {
    let aliases = "[[rename]]\nfrom = \"bee@nhs.net\"\nto = \"bee+x@nhs.net\"\n";
    let diagnostics = Diagnostics::default();
    let (aliases, csv) = (
        source("aliases.toml", aliases),
        source("directory.csv", CSV),
    );
    let served = served(Completeness::Complete);
    let directory = Directory::read(&aliases, &csv, &served, true, &diagnostics);
    for name in ["bee", "bee+x", "bee+y"] {
        assert_eq!(end_of(&directory, name), End::Loop, "{name}");
    }
}

#[test]
fn people_who_have_gone_are_never_redirected() {
    let (directory, said) = read(
        "[[rename]]\nfrom = \"jane.wasp@nhs.net\"\nto = \"jane.bee@nhs.net\"\n\
         [[rename]]\nfrom = \"jane.ant@nhs.net\"\nto = \"jane.bee@nhs.net\"\n\
         [[successor]]\nfrom = \"FA004\"\nto = \"FA003\"\ndate = 2025-02-01\nconfirmed-by = \"x\"\n",
        CSV,
        Completeness::Complete,
    );
    assert_eq!(outcome(&directory, "jane.wasp@nhs.net"), "closed");
    assert_eq!(outcome(&directory, "jane.ant@nhs.net"), "mailbox jane.bee");
    assert_eq!(
        said,
        ["error redirect-of-the-gone: jane.wasp@nhs.net was a person's who has gone"]
    );
    assert_eq!(outcome(&small(""), "jane.ant@nhs.net"), "closed");
    assert_eq!(outcome(&small(""), "jane.be@nhs.net"), "unknown");
}

#[test]
fn lists_expand_to_the_end_and_each_member_comes_once() {
    let (directory, said) = read(
        "[[alias]]\nfrom = \"honey@nhs.net\"\nto = \"pharmacy.fa001@nhs.net\"\n\
         [[list]]\nname = \"all@nhs.net\"\nmembers = [\"pharmacy.fa001@nhs.net\", \"some@nhs.net\", \"A.B@other.example\"]\n\
         [[list]]\nname = \"some@nhs.net\"\nmembers = [\"HONEY@nhs.net\", \"pharmacy.fa003@nhs.net\", \"all@nhs.net\"]\n\
         [[list]]\nname = \"none@nhs.net\"\nmembers = [\"pharmacy.fa004@nhs.net\", \"nobody@nhs.net\", \"none@nhs.net\"]\n",
        CSV,
        Completeness::Complete,
    );
    assert_eq!(
        outcome(&directory, "All@nhs.net"),
        "list pharmacy.fa001 A.B@other.example pharmacy.fa003"
    );
    assert_eq!(
        outcome(&directory, "some@nhs.net"),
        "list pharmacy.fa001 pharmacy.fa003 A.B@other.example"
    );
    let (object, ok) = answer(&directory, "none@nhs.net");
    assert!(!ok && object["outcome"] == "list" && object["members"] == serde_json::json!([]));
    let path = directory.resolve(&mailbox("some@nhs.net")).path;
    assert!(
        path.iter()
            .any(|hop| hop.because == Because::List && hop.source.to_string() == "aliases.toml:15")
    );
    assert!(path.iter().any(|hop| hop.because == Because::Alias));
    assert_eq!(
        said,
        [
            "warning list-loop: the list all@nhs.net is a member of itself in the end",
            "warning list-loop: the list some@nhs.net is a member of itself in the end",
            "warning list-loop: the list none@nhs.net is a member of itself in the end",
            "warning closed-target: pharmacy.fa004@nhs.net is shut",
            "warning dangling-target: nobody@nhs.net is not in the directory",
        ]
    );
}

#[test]
fn loops_are_found_when_the_file_is_read_and_end_when_they_are_walked() {
    let (directory, said) = read(
        "[limits]\nhops = 3\n\
         [[alias]]\nfrom = \"a@nhs.net\"\nto = \"b@nhs.net\"\n\
         [[rename]]\nfrom = \"b@nhs.net\"\nto = \"A@nhs.net\"\n\
         [[alias]]\nfrom = \"in@nhs.net\"\nto = \"a@nhs.net\"\n\
         [[alias]]\nfrom = \"self@nhs.net\"\nto = \"self@nhs.net\"\n\
         [[alias]]\nfrom = \"l1@nhs.net\"\nto = \"l2@nhs.net\"\n\
         [[alias]]\nfrom = \"l2@nhs.net\"\nto = \"l3@nhs.net\"\n\
         [[alias]]\nfrom = \"l3@nhs.net\"\nto = \"l4@nhs.net\"\n\
         [[alias]]\nfrom = \"l4@nhs.net\"\nto = \"pharmacy.fa001@nhs.net\"\n\
         [[successor]]\nfrom = \"FA004\"\nto = \"FA005\"\ndate = 2025-02-01\nconfirmed-by = \"x\"\n\
         [[successor]]\nfrom = \"FA005\"\nto = \"FA004\"\ndate = 2025-02-01\nconfirmed-by = \"x\"\n",
        CSV,
        Completeness::Complete,
    );
    for name in ["a", "b", "in", "self", "l1", "pharmacy.fa004"] {
        assert_eq!(
            outcome(&directory, &format!("{name}@nhs.net")),
            "loop",
            "{name}"
        );
    }
    assert_eq!(outcome(&directory, "l2@nhs.net"), "mailbox pharmacy.fa001");
    assert_eq!(
        said,
        [
            "error alias-loop: a@nhs.net leads back to itself",
            "error alias-loop: b@nhs.net leads back to itself",
            "error long-chain: in@nhs.net leads through more than 3 names",
            "error alias-loop: self@nhs.net leads back to itself",
            "error long-chain: l1@nhs.net leads through more than 3 names",
            "error successor-loop: FA004 is its own successor in the end",
            "error successor-loop: FA005 is its own successor in the end",
        ]
    );
}

#[test]
fn a_care_name_that_could_be_two_homes_is_nobodys() {
    let directory = small("");
    for (local, expected) in [
        // VLAXL and its ending AXL are both live.
        ("care.hiveton.meadowVLAXL", "ambiguous care.axl care.vlaxl"),
        ("care.wheelton.axlehouseAXL", "mailbox care.axl"),
        // The longest is shut, a shorter one live.
        ("care.hiveton.barnVM123", "ambiguous care.m123"),
        ("care.hiveton.stableM123", "mailbox care.m123"),
        ("care.axl.stableM123", "ambiguous care.axl care.m123"),
        ("care.elsewhere.otherM123", "ambiguous care.m123"),
        ("care.hiveton.otherX99", "unknown"),
    ] {
        assert_eq!(
            outcome(&directory, &format!("{local}@nhs.net")),
            expected,
            "{local}"
        );
    }
}

#[test]
fn plus_tags_are_taken_off_where_the_policy_says_so_and_the_name_is_known() {
    let (file, csv) = (source("aliases.toml", SHAPES), source("directory.csv", CSV));
    let diagnostics = Diagnostics::default();
    let on = Directory::read(
        &file,
        &csv,
        &served(Completeness::Complete),
        true,
        &diagnostics,
    )
    .with_clock(clock());
    assert_eq!(
        outcome(&on, "pharmacy.fa001+repeat@nhs.net"),
        "mailbox pharmacy.fa001"
    );
    assert_eq!(outcome(&on, "nobody+repeat@nhs.net"), "unknown");
    assert_eq!(
        on.resolve(&mailbox("pharmacy.fa001+a+b@nhs.net")).path[0].because,
        Because::PlusTag
    );
    assert_eq!(
        outcome(&small(""), "pharmacy.fa001+repeat@nhs.net"),
        "unknown"
    );
}

#[test]
fn shapes_that_are_switched_off_are_names_like_any_other() {
    let (directory, _) = read_bare("", CSV, Completeness::Complete);
    for local in [
        "nhspharmacy.hiveton.honeyFA001",
        "care.hiveton.stableM123",
        "reminders.fa001.donotreply",
        "pharmacyfa001",
    ] {
        let said = outcome(&directory, &format!("{local}@nhs.net"));
        assert!(said.starts_with("unknown"), "{local}: {said}");
    }
    let (passing, _) = read_bare(
        "[shapes]\nlegacy-pharmacy-name = true\ndoubtful = \"pass-on\"\n",
        CSV,
        Completeness::Partial,
    );
    let name = "nhspharmacy.hiveton.honeyFX999";
    assert_eq!(
        outcome(&passing, &format!("{name}@nhs.net")),
        format!("unlisted {name}")
    );
}

#[test]
fn every_error_of_the_alias_file_is_reported_at_once() {
    let (_, said) = read_bare(
        "[shapes]\nlegacy-name = true\ndoubtful = \"guess\"\n[limits]\nhops = 0\n\
         [[alias]]\nfrom = \"a@nhs.net\"\n\
         [[alias]]\nfrom = \"a b@nhs.net\"\nto = \"b@other.example\"\n\
         [[alias]]\nfrom = \"c@nhs.net\"\nto = \"b@other.example\"\n\
         [[rename]]\nfrom = \"C@nhs.net\"\nto = \"b@other.example\"\n\
         [[rename]]\nfrom = \"pharmacy.fa001@nhs.net\"\nto = \"pharmacy.fa003@nhs.net\"\n\
         [[rename]]\nfrom = \"x@other.example\"\nto = \"pharmacy.fa003@nhs.net\"\n\
         [[successor]]\nfrom = \"FA-4\"\nto = \"FA003\"\n\
         [[list]]\nname = \"c@nhs.net\"\nmembers = [\"pharmacy.fa001@nhs.net\"]\n\
         [[list]]\nname = \"d@nhs.net\"\n",
        CSV,
        Completeness::Complete,
    );
    assert_eq!(
        said,
        [
            "error bad-word: `doubtful` is not one of the words it may be",
            "error unknown-key: unknown key `legacy-name` in [shapes]",
            "error out-of-bounds: `hops` is out of bounds",
            "error missing-key: `to` is missing in [alias]",
            "error bad-value: `from` cannot be read",
            "error two-targets: C@nhs.net is given twice",
            "error bad-value: `from` cannot be read",
            "error missing-key: `date` is missing in [successor]",
            "error missing-key: `confirmed-by` is missing in [successor]",
            "error two-targets: c@nhs.net is given twice",
            "error empty-list: this list has no members",
            "warning shadowed-alias: pharmacy.fa001@nhs.net is a live mailbox, which comes first: this is never used",
            "warning not-served: x@other.example is at a domain that is not served: this is never used",
        ]
    );
}

// --- Any graph ----------------------------------------------------------------------------------

/// A small world of names that lead to each other at random.
fn any_aliases() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        (0..6u8).prop_map(|n| format!("n{n}@nhs.net")),
        (0..3u8).prop_map(|n| format!("l{n}@nhs.net")),
        Just("pharmacy.fa001@nhs.net".to_owned()),
        Just("pharmacy.fa004@nhs.net".to_owned()),
        Just("nhspharmacy.hiveton.nectarfa004@nhs.net".to_owned()),
        Just("n0+tag@nhs.net".to_owned()),
        Just("a@other.example".to_owned()),
    ];
    let redirects = prop::collection::hash_map(0..6u8, name.clone(), 0..6);
    let lists = prop::collection::hash_map(0..3u8, prop::collection::vec(name, 1..4), 0..3);
    let code = || prop::sample::select(vec!["FA001", "FA003", "FA004", "FA005", "FX999"]);
    let successors = prop::collection::vec((code(), code()), 0..4);
    (redirects, lists, successors).prop_map(|(redirects, lists, successors)| {
        let mut text = String::new();
        for (from, to) in redirects {
            let _ = writeln!(text, "[[alias]]\nfrom = \"n{from}@nhs.net\"\nto = \"{to}\"");
        }
        for (name, members) in lists {
            let _ = writeln!(text, "[[list]]\nname = \"l{name}@nhs.net\"\nmembers = {members:?}");
        }
        for (from, to) in successors {
            let _ = writeln!(text, "[[successor]]\nfrom = \"{from}\"\nto = \"{to}\"\ndate = 2025-01-01\nconfirmed-by = \"x\"");
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn resolution_ends_for_any_graph_with_a_live_mailbox_or_a_reason(aliases in any_aliases(), complete: bool) {
        let completeness = if complete { Completeness::Complete } else { Completeness::Partial };
        let (directory, said) = read(&aliases, CSV, completeness);
        let today = day();
        let mut loops = false;
        for local in ["n0", "n1", "n2", "n3", "n4", "n5", "l0", "l1", "l2", "pharmacy.fa001", "pharmacy.fa004", "n1+x",
                      "nhspharmacy.hiveton.nectarFA004", "nhspharmacy.hiveton.honeyFA005", "pharmacy.fx999"] {
            let from = mailbox(&format!("{local}@nhs.net"));
            let resolution = directory.resolve(&from);
            let is_live = |mailbox: &Mailbox| directory.entry(mailbox).is_some_and(|entry| entry.is_live(today));
            match &resolution.end {
                End::Mailbox(end) | End::Moved(end) => prop_assert!(is_live(end), "{end}"),
                End::List(members) => {
                    let unique: HashSet<_> = members.iter().map(Mailbox::folded).collect();
                    prop_assert_eq!(unique.len(), members.len());
                    for member in members {
                        let ours = member.domain().is_some_and(|domain| directory.serves(domain));
                        prop_assert!(is_live(member) || !ours || !complete, "{member}");
                    }
                }
                End::Unlisted(_) => prop_assert!(!complete),
                End::Loop => loops = true,
                _ => {}
            }
            // The hops join up, but for lists, which branch.
            if !matches!(resolution.end, End::List(_)) {
                let mut at = from.folded();
                for hop in &resolution.path {
                    prop_assert_eq!(&hop.from, &at);
                    at = hop.to.folded();
                }
                prop_assert!(resolution.path.len() <= 9);
            }
        }
        // What loops at run time was reported when the file was read.
        prop_assert!(!loops || said.iter().any(|line| line.contains("loop") || line.contains("long-chain")), "{said:?}");
    }

    #[test]
    fn any_address_has_an_answer(input in "((nhs)?pharmacy|care|reminders)?[.a-zA-Z0-9+'-]{0,30}(FAQ59|\\PC{0,5})(@nhs\\.net|@\\PC{0,10})?") {
        let directory = shipped(Completeness::Complete);
        let (object, ok) = answer(&directory, &input);
        let word = object["outcome"].as_str().unwrap();
        prop_assert_eq!(ok, ["mailbox", "list", "unlisted", "external"].contains(&word));
        prop_assert!(ok || object["because"].is_string());
    }
}

// --- The national file --------------------------------------------------------------------------

/// Names made from the national file as NHSmail made them lead to their pharmacy or are ambiguous;
/// of all that one slip makes of their codes hardly any leads to another one: mostly of a chain in the
/// same town, which nothing tells apart.
#[test]
fn a_slip_in_a_code_hardly_ever_reaches_another_pharmacy() {
    let Some(pharmacies) = national() else { return };
    let directory = directory_of(&pharmacies);

    let (mut right, mut live, mut wrong) = (0, 0, 0);
    for p in pharmacies.values() {
        let name = p.legacy_name();
        let own = mailbox(&format!("pharmacy.{}@nhs.net", p.code.to_lowercase()));
        match end_of(&directory, &format!("{name}{}", p.code)) {
            End::Mailbox(end) => {
                assert_eq!(end, own);
                right += 1;
            }
            end => assert!(
                matches!(end, End::Ambiguous(_)),
                "{name}{}: {end:?}",
                p.code
            ),
        }
        for slip in p.slips() {
            let tail = &slip[slip.len() - 5..];
            let is_live = tail != p.code && pharmacies.contains_key(tail);
            if !is_live || name.len() + slip.len() > LOCAL_PART_MAX {
                continue;
            }
            live += 1;
            let end = end_of(&directory, &format!("{name}{slip}"));
            wrong += usize::from(matches!(end, End::Mailbox(end) if end != own));
        }
    }
    let all = pharmacies.len();
    eprintln!(
        "{all} pharmacies, {right} of their old names found; {live} slips to a live code, {wrong} delivered"
    );
    assert!(right * 100 > all * 91, "{right} of {all}");
    assert!(live > 150_000 && wrong < 100, "{wrong} of {live}");
}

/// Longest local part, in octets (RFC 5321 §4.5.3.1.1).
const LOCAL_PART_MAX: usize = 64;

/// The live pharmacies of the national file, if it is at hand.
fn national() -> Option<HashMap<String, Pharmacy>> {
    let places = [
        "../../shared/data/edispensary.csv",
        "../shared/data/edispensary.csv",
    ];
    let text = places
        .iter()
        .find_map(|place| std::fs::read_to_string(place).ok());
    if text.is_none() {
        eprintln!("skipped: {} is not here", places[1]);
    }
    Some(pharmacies(&text?))
}

fn directory_of(pharmacies: &HashMap<String, Pharmacy>) -> Directory {
    let mut csv = String::from("address,kind,status,ods_code,organisation,street,town\n");
    for p in pharmacies.values() {
        let _ = writeln!(
            csv,
            "pharmacy.{0}@nhs.net,pharmacy,active,{0},\"{1}\",\"{2}\",\"{3}\"",
            p.code, p.name, p.street, p.town
        );
    }
    let shipped = std::fs::read_to_string("policies/aliases.toml").unwrap();
    let aliases = source("policies/aliases.toml", &shipped);
    let csv = source("directory.csv", &csv);
    let diagnostics = Diagnostics::default();
    let served = served(Completeness::Complete);
    Directory::read(&aliases, &csv, &served, false, &diagnostics).with_clock(clock())
}

struct Pharmacy {
    code: String,
    name: String,
    street: String,
    town: String,
}

impl Pharmacy {
    /// `nhspharmacy.TOWN.NAME`, squeezed as the real ones are, cut to what a local part holds.
    fn legacy_name(&self) -> String {
        let squeeze = |text: &str| {
            let kept: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
            if kept.is_empty() {
                "x".to_owned()
            } else {
                kept.to_lowercase()
            }
        };
        let town = squeeze(self.town.split(',').next().unwrap_or_default());
        let mut name = format!("nhspharmacy.{town}.{}", squeeze(&self.name));
        name.truncate(59);
        name
    }

    /// What comes of the code with one character other, one too many or two neighbours swapped. One too
    /// few never makes a code: what stands before it is no F.
    fn slips(&self) -> impl Iterator<Item = String> {
        const CHARACTERS: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let code = self.code.as_str();
        let mut slips = HashSet::new();
        for (before, after) in (0..=code.len()).map(|at| code.split_at(at)) {
            for c in CHARACTERS.chars() {
                slips.insert(format!("{before}{c}{after}"));
                slips.extend(after.get(1..).map(|rest| format!("{before}{c}{rest}")));
            }
            if let Some(rest) = after.get(2..) {
                slips.insert(format!("{before}{}{}{rest}", &after[1..2], &after[..1]));
            }
        }
        slips.remove(code);
        slips.into_iter()
    }
}

/// The live pharmacies of the file: columns as in `domain.md` 2.3. The town is what stands between
/// the first line of the address and the postcode.
fn pharmacies(text: &str) -> HashMap<String, Pharmacy> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    let rows = reader.records().map(Result::unwrap);
    let live = rows.filter(|row| &row[12] == "A" && row[11].is_empty());
    live.map(|row| {
        let lines: Vec<&str> = row
            .iter()
            .skip(4)
            .take(5)
            .filter(|line| !line.is_empty())
            .collect();
        let (street, town) = lines
            .split_first()
            .map_or(("", &[][..]), |(first, rest)| (*first, rest));
        let pharmacy = Pharmacy {
            code: row[0].to_owned(),
            name: row[1].to_owned(),
            street: street.to_owned(),
            town: town.join(", "),
        };
        (row[0].to_owned(), pharmacy)
    })
    .collect()
}

// --- Helpers ------------------------------------------------------------------------------------

fn shipped(completeness: Completeness) -> Directory {
    load_shipped(completeness).0
}

fn load_shipped(completeness: Completeness) -> (Directory, Vec<String>) {
    let diagnostics = Diagnostics::default();
    let files = Files {
        aliases: "policies/aliases.toml".into(),
        mailboxes: "policies/directory.csv".into(),
        redirects: Some("policies/redirects.csv".into()),
    };
    let mut domains = served(completeness);
    domains.push(Served {
        domain: "bumbleton.example".parse().unwrap(),
        completeness,
    });
    let directory = Directory::load(&files, &domains, false, &diagnostics).unwrap();
    (directory.with_clock(clock()), said(diagnostics))
}

/// A directory of [`CSV`] with the shapes switched on, about which there is nothing to be said.
fn small(aliases: &str) -> Directory {
    let (directory, said) = read(aliases, CSV, Completeness::Complete);
    let errors: Vec<_> = said
        .iter()
        .filter(|line| line.starts_with("error"))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    directory
}

fn read(aliases: &str, csv: &str, completeness: Completeness) -> (Directory, Vec<String>) {
    read_bare(&format!("{SHAPES}{aliases}"), csv, completeness)
}

fn read_bare(aliases: &str, csv: &str, completeness: Completeness) -> (Directory, Vec<String>) {
    let diagnostics = Diagnostics::default();
    let (aliases, csv) = (
        source("aliases.toml", aliases),
        source("directory.csv", csv),
    );
    let plus = false;
    let directory = Directory::read(&aliases, &csv, &served(completeness), plus, &diagnostics);
    (directory.with_clock(clock()), said(diagnostics))
}

fn said(diagnostics: Diagnostics) -> Vec<String> {
    let word = |severity| {
        if severity == Severity::Error {
            "error"
        } else {
            "warning"
        }
    };
    let all = diagnostics.into_vec().into_iter();
    all.map(|d| format!("{} {}: {}", word(d.severity), d.id, d.message))
        .collect()
}

fn source(path: &str, text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile {
        path: path.into(),
        text: text.into(),
    })
}

fn served(completeness: Completeness) -> Vec<Served> {
    vec![Served {
        domain: "nhs.net".parse().unwrap(),
        completeness,
    }]
}

fn clock() -> Clock {
    Clock::fixed("2026-11-21T10:00:00Z".parse().unwrap())
}

fn day() -> Date {
    "2026-11-21".parse().unwrap()
}

fn mailbox(text: &str) -> Mailbox {
    text.parse().unwrap()
}

fn end_of(directory: &Directory, local: &str) -> End {
    directory.resolve(&mailbox(&format!("{local}@nhs.net"))).end
}

/// The outcome and its mailboxes in one line, without `@nhs.net`.
fn outcome(directory: &Directory, input: &str) -> String {
    let (object, _) = answer(directory, input);
    let mut words = vec![object["outcome"].as_str().unwrap().to_owned()];
    for key in ["mailbox", "successor", "suggestion"] {
        words.extend(object[key].as_str().map(str::to_owned));
    }
    for key in ["members", "candidates"] {
        let all = object[key].as_array().into_iter().flatten();
        words.extend(all.map(|mailbox| mailbox.as_str().unwrap().to_owned()));
    }
    let bare: Vec<_> = words
        .iter()
        .map(|word| word.strip_suffix("@nhs.net").unwrap_or(word))
        .collect();
    bare.join(" ")
}
