use super::*;
use crate::config::read_toml;
use crate::policy::stage::scan::ScanSettings;
use crate::policy::testing::file;

fn read(text: &str) -> (LinkSettings, Vec<String>) {
    let diagnostics = Diagnostics::default();
    let settings = read_toml(&file("links.toml", text), &diagnostics, ScanSettings::read);
    let said = diagnostics.into_vec().into_iter();
    (
        settings.links,
        said.map(|d| format!("{}: {}", d.id, d.message)).collect(),
    )
}

#[test]
fn the_shipped_file_says_what_holds_without_it() {
    let (shipped, said) = read(include_str!("../../../../policies/links.toml"));
    assert_eq!(said, Vec::<String>::new());
    let (empty, _) = read("");
    assert_eq!(shipped.shorteners, empty.shorteners);
    for (word, kind) in LinkKind::WORDS {
        let of =
            |settings: &LinkSettings| (settings.inbound.of(*kind).0, settings.outbound.of(*kind).0);
        assert_eq!(of(&shipped), of(&empty), "{word}");
    }
    assert_eq!(shipped.banner, empty.banner);
    assert!(shipped.approved.has("www.nhs.uk") && empty.approved.has("www.nhs.uk"));
    assert!(
        shipped.approved.has("www.bumbleton.example")
            && !empty.approved.has("www.bumbleton.example")
    );
    assert_eq!(
        (shipped.secure_domains, shipped.once_per_thread),
        (true, true)
    );
    assert_eq!(
        (*shipped.cannot_strip, *shipped.cannot_annotate),
        (LinkVerdict::Quarantine, LinkVerdict::Pass)
    );
}

#[test]
fn every_fault_is_reported_at_once() {
    let (_, said) = read(
        "[links]\napproved = [\"https://nhs.uk\", \"*.uk\"]\nbanner = \"x\"\ncannot-strip = \"strip\"\nblocked = 1\n\
         [links.inbound]\nlookalike = \"strip\"\nshortener = \"drop\"\n\
         [[links.organisation]]\nentity = \"a\"\n[[links.organisation]]\nentity = \"a\"\napproved = [\"b.example\"]\n",
    );
    let ids: Vec<&str> = said
        .iter()
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(
        ids,
        [
            "bad-value",
            "bad-value",
            "no-sites",
            "twice",
            "bad-word",
            "unknown-key",
            "bad-banner",
            "bad-word",
            "unknown-key",
        ],
        "{said:?}"
    );
}

#[test]
fn an_entity_that_nobody_knows_is_reported() {
    let (settings, _) =
        read("[[links.organisation]]\nentity = \"bumbletom\"\napproved = [\"b.example\"]\n");
    let diagnostics = Diagnostics::default();
    settings.check_entities(&Organisations::default(), &diagnostics);
    let said = diagnostics.into_vec();
    assert_eq!(said[0].id, "unknown-entity");
    assert_eq!(said[0].labels[0].place.line(), 2);
}

#[test]
fn every_verdict_has_its_word() {
    for (word, verdict) in LinkVerdict::WORDS {
        assert_eq!(verdict.word(), *word);
    }
}
