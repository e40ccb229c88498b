//! What the words of a command are read as.

use super::*;
use clap::CommandFactory as _;

fn parse(line: &str) -> Result<Command, clap::Error> {
    let words = line
        .split(' ')
        .map(|word| if word == "''" { "" } else { word });
    Cli::try_parse_from(std::iter::once("postern").chain(words)).map(|cli| cli.command)
}

fn question(line: &str) -> Result<Question, String> {
    match parse(line) {
        Ok(Command::Explain(explain)) => explain.question(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definitions_hold_together() {
    Cli::command().debug_assert();
}

#[test]
fn the_config_file_and_json_may_stand_anywhere() {
    let cli = Cli::try_parse_from(["postern", "check", "--json", "--config", "x.toml"]).unwrap();
    assert!(cli.json && cli.config == Path::new("x.toml"));
    let cli = Cli::try_parse_from(["postern", "--json", "resolve", "a@b"]).unwrap();
    assert!(cli.json && cli.config == Path::new(DEFAULT_CONFIG));
}

#[test]
fn explain_takes_a_message_or_a_reference() {
    assert!(matches!(
        question("explain PX-7F3K2Q"),
        Ok(Question::Reference(_))
    ));
    let asked = question("explain --from a@b.example --to c@d.example --to <e@f.example> x.eml");
    let Ok(Question::Messages { to, files, .. }) = asked else {
        panic!("{asked:?}");
    };
    assert_eq!((to.len(), files), (2, vec![PathBuf::from("x.eml")]));
    let input = question("explain --from '' --to postmaster");
    assert!(
        matches!(&input, Ok(Question::Messages { from: ReversePath::Null, files, .. }) if files[0] == Path::new("-")),
        "{input:?}"
    );
    assert!(question("explain x.eml").is_err());
    assert!(question("explain").is_err());
    assert!(parse("explain --from a@b.example x.eml").is_err());
    assert!(parse("explain --from a@b.example --to nobody x.eml").is_err());
}

#[test]
fn an_order_says_what_it_is_for_and_says_it_once() {
    assert!(parse("queue retry PX-7F3K2Q PX-7F3K2R").is_ok());
    assert!(parse("queue fail --domain b.example --reason gone").is_ok());
    assert!(parse("queue retry").is_err());
    assert!(parse("queue retry --all PX-7F3K2Q").is_err());
    assert!(parse("quarantine delete --delivery 5").is_ok());
    assert!(parse("quarantine release PX-7F3K2Q --allow-sender").is_ok());
    assert!(parse("quarantine release --all --allow-sender").is_err());
    assert!(parse("quarantine allowed remove a@b.example --for c@d.example").is_ok());
    assert!(parse("quarantine allowed remove a@b.example").is_err());
}

#[test]
fn evidence_is_made_or_verified() {
    let Ok(Command::Evidence(made)) = parse("evidence PX-7F3K2Q --out x.json") else {
        panic!();
    };
    assert!(made.reference.is_some() && made.command.is_none());
    assert!(matches!(
        parse("evidence verify x.json --key ab"),
        Ok(Command::Evidence(Evidence {
            command: Some(_),
            ..
        }))
    ));
    for line in [
        "evidence",
        "evidence x.json",
        "evidence verify",
        "evidence PX-7F3K2Q verify x",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn wrong_usage_is_told_from_a_wrong_answer() {
    let usage = parse("resolve").unwrap_err();
    assert_eq!(usage.exit_code(), 2);
}

#[test]
fn a_floor_is_two_shares_and_wants_a_corpus() {
    let Ok(Command::Check(check)) = parse("check --corpus mail --floor 0.99 1 policies") else {
        panic!();
    };
    let (precision, recall) = (0.99, 1.0);
    assert_eq!(check.floor(), Some(Floor { precision, recall }));
    assert_eq!(check.dir, Some("policies".into()));
    for line in [
        "--floor 0.9 0.9",
        "--corpus m --floor 99 1",
        "--corpus m --floor 0.9",
    ] {
        assert!(parse(&format!("check {line}")).is_err(), "{line}");
    }
}

#[test]
fn a_plan_goes_back_by_a_time_or_to_a_moment() {
    let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    for (line, from) in [
        ("plan new", "2026-11-14T10:00:00Z"),
        ("plan new --since 12h", "2026-11-20T22:00:00Z"),
        (
            "plan new --since 2026-11-01T00:00:00Z",
            "2026-11-01T00:00:00Z",
        ),
    ] {
        let Ok(Command::Plan(plan)) = parse(line) else {
            panic!("{line}");
        };
        assert_eq!(plan.since.moment(now), from.parse().unwrap());
        assert_eq!(plan.file(), Path::new("new/postern.toml"));
    }
    assert!(parse("plan").is_err() && parse("plan new --since yesterday").is_err());
}

#[test]
fn check_takes_a_folder_or_a_file() {
    let Ok(Command::Check(check)) = parse("check .") else {
        panic!();
    };
    assert_eq!(check.file(Path::new("p.toml")), Path::new("./postern.toml"));
    let Ok(Command::Check(check)) = parse("check") else {
        panic!();
    };
    assert_eq!(check.file(Path::new("p.toml")), Path::new("p.toml"));
}
