//! What the book and a provider say, and what follows, with a clock that stands.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::attempt::Texts;
use super::book::{Book, Row};
use super::provider::{Answer, Found, NotNow, Progress, Provider, Sent, Until};
use super::settings::{OnUnknown, SmsSettings};
use crate::base::{Clock, HashKey};
use crate::config::{Diagnostics, SourceFile, read_toml};
use crate::mail::sms::{MobileNumber, TextMessage};
use crate::mail::{EnhancedStatusCode, Message};
use crate::outcome::{After, DeliveryResult, Outcome};

/// A provider that answers what a test told it to, and counts.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Answers>>);

#[derive(Default)]
struct Answers {
    sent: VecDeque<Sent>,
    found: VecDeque<Found>,
    /// What was asked: `send`, `find`, `progress`.
    asked: Vec<&'static str>,
}

impl Provider for Told {
    fn name(&self) -> &str {
        "provider.example"
    }

    fn reports(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, _: &'a TextMessage) -> Answer<'a, Sent> {
        let mut answers = self.0.lock().unwrap();
        answers.asked.push("send");
        let sent = answers.sent.pop_front().unwrap();
        Box::pin(std::future::ready(sent))
    }

    fn find<'a>(&'a self, _: &'a str) -> Answer<'a, Found> {
        self.found("find")
    }

    fn progress<'a>(&'a self, _: &'a str) -> Answer<'a, Found> {
        self.found("progress")
    }
}

impl Told {
    fn found(&self, what: &'static str) -> Answer<'_, Found> {
        let mut answers = self.0.lock().unwrap();
        answers.asked.push(what);
        let found = answers.found.pop_front().unwrap();
        Box::pin(std::future::ready(found))
    }

    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }
}

struct World {
    folder: tempfile::TempDir,
    told: Told,
    clock: Clock,
    texts: Texts,
    settings: SmsSettings,
}

impl World {
    /// At ten in the morning of a winter's day.
    fn new(more: &str) -> Self {
        Self::at("2026-11-21T10:00:00Z", more)
    }

    fn at(now: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(more);
        let (told, clock) = (Told::default(), Clock::fixed(now.parse().unwrap()));
        let texts = open(folder.path(), &told, &settings, &clock);
        Self {
            folder,
            told,
            clock,
            texts,
            settings,
        }
    }

    fn says(self, sent: impl IntoIterator<Item = Sent>) -> Self {
        self.told.0.lock().unwrap().sent.extend(sent);
        self
    }

    fn knows(self, found: impl IntoIterator<Item = Found>) -> Self {
        self.told.0.lock().unwrap().found.extend(found);
        self
    }

    async fn attempt(&self, reference: &str) -> Outcome {
        self.texts.attempt(&message(reference)).await
    }

    /// As after a crash: another process over the same folder.
    fn restarted(mut self) -> Self {
        self.texts = open(self.folder.path(), &self.told, &self.settings, &self.clock);
        self
    }

    fn row(&self, reference: &str) -> Option<Row> {
        self.texts.book().row(reference).unwrap()
    }
}

fn key() -> HashKey {
    HashKey::new(&[1; 32])
}

fn open(folder: &std::path::Path, told: &Told, settings: &SmsSettings, clock: &Clock) -> Texts {
    let book = Arc::new(Book::open(folder, key()).unwrap());
    Texts::over(Box::new(told.clone()), book, settings, clock.clone())
}

fn settings(more: &str) -> SmsSettings {
    let file = Arc::new(SourceFile {
        path: "policies/postern.toml".into(),
        text: format!(
            "[sms]\ndomain = \"sms.bumbleton.example\"\n{more}\n[sms.webhook]\nurl = \"http://127.0.0.1:1\"\n"
        ),
    });
    let diagnostics = Diagnostics::default();
    let read = read_toml(&file, &diagnostics, SmsSettings::read);
    assert_eq!(diagnostics.into_vec().len(), 0);
    read.unwrap().0
}

fn message(reference: &str) -> Message {
    let text = TextMessage {
        to: MobileNumber::parse("07700900003").unwrap(),
        reference: reference.to_owned(),
        account: "reminders@bumbleton.example".to_owned(),
        text: "Your repeat is ready".to_owned(),
    };
    text.compose(None, |octets| key().hash(TextMessage::PURPOSE, octets))
}

fn taken() -> Sent {
    Sent::Taken { id: "id-1".into() }
}

fn lost_answer() -> Sent {
    Sent::Unknown("no answer in time".into())
}

fn here(progress: Progress) -> Found {
    Found::Here {
        id: "id-1".into(),
        progress,
    }
}

fn is_delivered(outcome: &Outcome) -> bool {
    matches!(outcome.result, DeliveryResult::Delivered { .. })
}

#[tokio::test]
async fn a_text_is_sent_once_and_asked_after_until_it_has_arrived() {
    let world = World::new("")
        .says([taken()])
        .knows([here(Progress::Underway), here(Progress::Delivered)]);
    for _ in 0..2 {
        let outcome = world.attempt("a").await;
        assert_eq!(outcome.result, DeliveryResult::Transient);
        assert_eq!(outcome.next_hop.as_deref(), Some("provider.example"));
    }
    assert!(is_delivered(&world.attempt("a").await));
    assert!(is_delivered(&world.attempt("a").await), "once and for all");
    assert_eq!(world.told.asked(), ["send", "progress", "progress"]);
}

#[tokio::test]
async fn what_does_not_arrive_fails_with_the_reason() {
    for (word, status) in [
        ("permanent-failure", "5.1.1"),
        ("temporary-failure", "5.4.1"),
        ("technical-failure", "5.3.0"),
    ] {
        let world = World::new("")
            .says([taken()])
            .knows([here(Progress::of_word(word))]);
        world.attempt("a").await;
        for _ in 0..2 {
            let outcome = world.attempt("a").await;
            assert_eq!(
                (outcome.result, outcome.status.to_string().as_str()),
                (DeliveryResult::Permanent, status)
            );
        }
        assert_eq!(world.told.asked(), ["send", "progress"]);
    }
}

#[tokio::test]
async fn after_a_crash_between_answer_and_settlement_nothing_is_sent_again() {
    let world = World::new("")
        .says([taken()])
        .knows([here(Progress::Delivered)]);
    world.attempt("a").await;
    let world = world.restarted();
    assert!(is_delivered(&world.attempt("a").await));
    assert_eq!(world.told.asked(), ["send", "progress"]);
}

#[tokio::test]
async fn after_a_lost_answer_the_provider_is_asked_first() {
    let world = World::new("")
        .says([lost_answer()])
        .knows([here(Progress::Underway), here(Progress::Delivered)]);
    let outcome = world.attempt("a").await;
    assert_eq!(
        (outcome.result, outcome.after),
        (DeliveryResult::Transient, After::Schedule)
    );
    // A crash in between is no different.
    let world = world.restarted();
    assert!(!is_delivered(&world.attempt("a").await));
    assert!(is_delivered(&world.attempt("a").await));
    assert_eq!(world.told.asked(), ["send", "find", "progress"]);
}

#[tokio::test]
async fn what_nobody_can_say_is_held_until_somebody_decides() {
    for nobody in [Found::Nowhere, Found::CannotSay] {
        let world = World::new("")
            .says([lost_answer(), taken()])
            .knows([nobody.clone(), nobody]);
        world.attempt("a").await;
        let outcome = world.attempt("a").await;
        assert_eq!(
            (outcome.result, outcome.after),
            (DeliveryResult::Transient, After::Hold)
        );
        // Released: it is asked for once more, and sent.
        world.attempt("a").await;
        assert_eq!(world.told.asked(), ["send", "find", "find", "send"]);
        assert_eq!(world.row("a"), Some(Row::Taken("id-1".into())));
    }
}

#[tokio::test]
async fn or_it_fails_or_is_sent_again_as_the_policy_says() {
    let world = World::new("on-unknown = \"fail\"")
        .says([lost_answer()])
        .knows([Found::Nowhere]);
    world.attempt("a").await;
    assert_eq!(world.attempt("a").await.result, DeliveryResult::Permanent);
    assert_eq!(world.told.asked(), ["send", "find"]);

    let world = World::new("on-unknown = \"resend\"")
        .says([lost_answer(), taken()])
        .knows([Found::Nowhere]);
    world.attempt("a").await;
    world.attempt("a").await;
    assert_eq!(world.told.asked(), ["send", "find", "send"]);

    let cannot_ask = Found::NotNow("no connection".into());
    let world = World::new("on-unknown = \"resend\"")
        .says([lost_answer()])
        .knows([cannot_ask]);
    world.attempt("a").await;
    assert_eq!(world.attempt("a").await.result, DeliveryResult::Transient);
    assert_eq!(
        world.told.asked(),
        ["send", "find"],
        "not known is not nowhere"
    );
    assert_eq!(settings("").on_unknown, OnUnknown::Hold);
}

#[tokio::test]
async fn after_a_failure_of_the_provider_it_is_asked_and_then_sent_again() {
    let world = World::new("")
        .says([Sent::Failed("500".into()), taken()])
        .knows([Found::Nowhere]);
    assert_eq!(world.attempt("a").await.result, DeliveryResult::Transient);
    world.attempt("a").await;
    assert_eq!(world.told.asked(), ["send", "find", "send"]);
}

#[tokio::test]
async fn what_was_not_sent_is_sent_without_asking() {
    let refused = Sent::Refused {
        status: EnhancedStatusCode::permanent(1, 3),
        because: "x".into(),
    };
    let world = World::new("per-number-and-day = 1").says([
        Sent::Unreached("no connection".into()),
        taken(),
        refused,
    ]);
    assert_eq!(world.attempt("a").await.result, DeliveryResult::Transient);
    assert_eq!(world.row("a"), None);
    world.attempt("a").await;
    assert_eq!(world.told.asked(), ["send", "send"], "and it counts once");

    let world = World::new("").says([Sent::Refused {
        status: EnhancedStatusCode::permanent(1, 3),
        because: "x".into(),
    }]);
    assert_eq!(world.attempt("a").await.result, DeliveryResult::Permanent);
}

#[tokio::test]
async fn while_the_provider_wants_none_one_text_finds_out_for_all() {
    let not_now = |until| {
        Sent::NotNow(NotNow {
            because: "the key is not accepted".into(),
            until,
            alarm: true,
        })
    };
    let world = World::new("").says([not_now(Until::After(Duration::from_secs(300))), taken()]);
    let until = world.clock.now() + Duration::from_secs(300);
    for reference in ["a", "b", "a"] {
        let outcome = world.attempt(reference).await;
        assert_eq!(
            (outcome.result, outcome.after),
            (DeliveryResult::Transient, After::NotBefore(until))
        );
    }
    assert_eq!(world.told.asked(), ["send"]);
    world.clock.advance(Duration::from_secs(300));
    world.attempt("a").await;
    assert_eq!(world.told.asked(), ["send"]);
}

#[tokio::test]
async fn at_night_it_waits_for_the_morning() {
    let world = World::at("2026-07-10T21:00:00Z", "").says([taken()]);
    let morning: Timestamp = "2026-07-11T07:00:00Z".parse().unwrap();
    assert_eq!(world.attempt("a").await.after, After::NotBefore(morning));
    assert_eq!(world.told.asked(), [""; 0]);
    world.clock.advance(Duration::from_secs(10 * 3600));
    world.attempt("a").await;
    assert_eq!(world.told.asked(), ["send"]);
    // What has been sent may be asked after at night.
    let world = world.knows([here(Progress::Delivered)]);
    world.clock.advance(Duration::from_secs(14 * 3600));
    assert!(is_delivered(&world.attempt("a").await));
}

#[tokio::test]
async fn a_number_gets_so_many_in_a_day() {
    let world = World::new("per-number-and-day = 1").says([taken(), taken()]);
    world.attempt("a").await;
    let tomorrow: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
    assert_eq!(world.attempt("b").await.after, After::NotBefore(tomorrow));
    world.clock.advance(Duration::from_secs(22 * 3600));
    world.attempt("b").await;
    assert_eq!(world.told.asked(), ["send", "send"]);
}

#[tokio::test]
async fn who_wants_none_gets_none_not_even_the_second_attempt() {
    let world = World::new("")
        .says([Sent::Failed("500".into())])
        .knows([Found::Nowhere]);
    world.attempt("a").await;
    let number = MobileNumber::parse("07700900003").unwrap();
    world
        .texts
        .book()
        .opt_out(&number, world.clock.now(), "reply")
        .unwrap();
    for reference in ["a", "b"] {
        let outcome = world.attempt(reference).await;
        assert_eq!(
            (outcome.result, outcome.status.to_string().as_str()),
            (DeliveryResult::Permanent, "5.7.1")
        );
        assert!(!outcome.text().contains("900"), "{}", outcome.text());
    }
    assert_eq!(world.told.asked(), ["send", "find"]);
}

#[tokio::test]
async fn a_receipt_may_come_before_the_answer() {
    let world = World::new("").says([lost_answer()]);
    world.attempt("a").await;
    world.texts.book().mark("a", &Row::Delivered).unwrap();
    assert!(is_delivered(&world.attempt("a").await));
    assert_eq!(world.told.asked(), ["send"]);
}

#[tokio::test]
async fn a_mail_that_merely_looks_like_a_text_is_not_sent() {
    let world = World::new("");
    let forged = Message::new(
        &b"X-Postern-SMS-To: 447700900003\r\nX-Postern-SMS-Reference: a\r\nX-Postern-SMS-Account: a\r\n\r\naGk=\r\n"[..],
    );
    assert_eq!(
        world.texts.attempt(&forged).await.result,
        DeliveryResult::Permanent
    );
    assert_eq!(world.told.asked(), [""; 0]);
}
