//! What goes over the wire, and what is made of the answers.

use super::next_hop::{Act, Script};
use super::*;

const ALL: &[&str] = &["PIPELINING", "8BITMIME", "CHUNKING", "DSN"];

async fn send(script: Script, to: &Envelope, message: &[u8]) -> (NextHop, Vec<String>) {
    let next_hop = NextHop::start(script).await;
    let deliveries = deliveries(&settings()).await;
    let route = smart_host(&next_hop, TlsLevel::None);
    let outcomes = attempt(&deliveries, &route, to, message).await;
    (next_hop, outcomes)
}

#[tokio::test]
async fn a_message_arrives_octet_by_octet_in_every_way() {
    let to_one = envelope(&["a@b.example"]);
    for offers in [
        &["PIPELINING", "CHUNKING"][..],
        &["PIPELINING"],
        &["CHUNKING"],
        &[],
    ] {
        let (hop, outcomes) = send(Script::offering(offers), &to_one, MESSAGE).await;
        assert_eq!(
            outcomes,
            ["delivered 2.0.0: 250 2.0.0 queued"],
            "{offers:?}"
        );
        assert_eq!(hop.messages(), [MESSAGE], "{offers:?}");
    }
}

#[tokio::test]
async fn a_large_message_arrives_octet_by_octet() {
    let line = b"..a line that begins with two dots, and is followed by many like it\r\n";
    let message = [MESSAGE, &line.repeat(40_000)].concat();
    let to_one = envelope(&["a@b.example"]);
    for offers in [&["PIPELINING", "CHUNKING"][..], &["PIPELINING"], &[]] {
        let (hop, outcomes) = send(Script::offering(offers), &to_one, &message).await;
        assert_eq!(outcomes, ["delivered 2.0.0: 250 2.0.0 queued"]);
        assert!(hop.messages()[0] == message, "{offers:?}");
    }
}

#[tokio::test]
async fn a_route_may_do_without_chunks_where_they_are_offered() {
    let hop = NextHop::start(Script::offering(ALL)).await;
    let route = taken(Route {
        chunking: false,
        ..Route::clone(&smart_host(&hop, TlsLevel::None))
    });
    let to_one = envelope(&["a@b.example"]);

    attempt(&deliveries(&settings()).await, &route, &to_one, MESSAGE).await;

    assert_eq!(hop.messages(), [MESSAGE]);
    let heard = hop.lines_of(1);
    assert!(heard.iter().any(|line| line == "DATA"), "{heard:?}");
    assert!(
        heard.iter().all(|line| !line.starts_with("BDAT")),
        "{heard:?}"
    );
}

#[tokio::test]
async fn a_message_without_a_line_end_keeps_to_itself_in_a_chunk_and_gets_one_with_dots() {
    let to_one = envelope(&["a@b.example"]);
    let (hop, _) = send(Script::offering(&["CHUNKING"]), &to_one, b"A: b\r\n\r\nend").await;
    assert_eq!(hop.messages(), [b"A: b\r\n\r\nend"]);
    let (hop, _) = send(Script::offering(&[]), &to_one, b"A: b\r\n\r\nend").await;
    assert_eq!(hop.messages(), [b"A: b\r\n\r\nend\r\n"]);
}

#[tokio::test]
async fn each_recipient_has_its_own_outcome_in_the_order_of_the_envelope() {
    let script = Script::offering(ALL)
        .at("RCPT TO:<b@", Act::Say("550 5.1.1 no such user"))
        .at("RCPT TO:<c@", Act::Say("452 4.2.2 full"));
    let to_four = envelope(&["a@x.example", "b@x.example", "c@x.example", "d@x.example"]);

    let (hop, outcomes) = send(script, &to_four, MESSAGE).await;

    assert_eq!(
        outcomes,
        [
            "delivered with dsn 2.0.0: 250 2.0.0 queued",
            "permanent 5.1.1: 550 5.1.1 no such user",
            "transient 4.2.2: 452 4.2.2 full",
            "delivered with dsn 2.0.0: 250 2.0.0 queued",
        ]
    );
    assert_eq!(hop.messages().len(), 1);
}

#[tokio::test]
async fn a_connection_lost_before_the_final_reply_means_try_again() {
    let to_two = envelope(&["a@x.example", "b@x.example"]);
    for offers in [ALL, &["PIPELINING"], &[]] {
        let script = Script::offering(offers)
            .at("RCPT TO:<b@", Act::Say("550 5.1.1 no"))
            .at("message", Act::HangUp);
        let (hop, outcomes) = send(script, &to_two, MESSAGE).await;
        assert_eq!(
            outcomes,
            [
                "transient 4.4.2: the connection was lost",
                "permanent 5.1.1: 550 5.1.1 no"
            ]
        );
        assert_eq!((hop.messages().len(), hop.connections()), (1, 1));
    }
}

#[tokio::test]
async fn a_reply_that_does_not_come_means_try_again() {
    let next_hop = NextHop::start(Script::offering(ALL).at("message", Act::Nothing)).await;
    let impatient = ConnectionSettings {
        data_timeout: Duration::from_millis(100),
        ..settings()
    };
    let deliveries = deliveries(&impatient).await;
    let route = smart_host(&next_hop, TlsLevel::None);
    let outcomes = attempt(&deliveries, &route, &envelope(&["a@x.example"]), MESSAGE).await;
    assert_eq!(outcomes, ["transient 4.4.2: the next hop took too long"]);
}

#[tokio::test]
async fn a_server_that_hangs_up_in_the_middle_of_the_message_is_heard_to_the_end() {
    let message = [MESSAGE, &b"x\r\n".repeat(3_000_000)].concat();
    let script =
        Script::offering(&["PIPELINING"]).at("DATA", Act::SayAndHangUp("421 4.3.2 going down"));
    let (_, outcomes) = send(script, &envelope(&["a@x.example"]), &message).await;
    assert_eq!(outcomes, ["transient 4.3.2: 421 4.3.2 going down"]);
}

#[tokio::test]
async fn nonsense_means_try_again() {
    for nonsense in ["hello", "250-a\r\n550 b", "354 go", "999 what"] {
        let script = Script::offering(ALL).at("message", Act::Say(nonsense));
        let (_, outcomes) = send(script, &envelope(&["a@x.example"]), MESSAGE).await;
        assert!(
            outcomes[0].starts_with("transient"),
            "{nonsense} {outcomes:?}"
        );
    }
}

#[tokio::test]
async fn what_was_asked_of_the_transport_is_passed_on() {
    let mut wishes = envelope(&["a@x.example"]);
    wishes.env_id = crate::mail::EnvId::parse("QQ+2Bx");
    wishes.recipients[0].notify = crate::mail::Notify::parse("NEVER");
    let (hop, _) = send(Script::offering(ALL), &wishes, MESSAGE).await;
    assert_eq!(
        &hop.lines_of(1)[..3],
        [
            "EHLO gw.example",
            "MAIL FROM:<s@a.example> ENVID=QQ+2Bx",
            "RCPT TO:<a@x.example> NOTIFY=NEVER"
        ]
    );
}

#[tokio::test]
async fn an_old_server_is_served_without_extensions() {
    let script = Script::offering(&[]).at("EHLO", Act::Say("502 5.5.1 what"));
    let (hop, outcomes) = send(script, &envelope(&["a@x.example"]), MESSAGE).await;
    assert_eq!(outcomes, ["delivered 2.0.0: 250 2.0.0 queued"]);
    assert_eq!(
        &hop.lines_of(1)[..2],
        ["EHLO gw.example", "HELO gw.example"]
    );
}

#[tokio::test]
async fn lmtp_answers_for_each_recipient() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("lmtp");
    let script = Script::offering(&["PIPELINING"])
        .speaking_lmtp()
        .at("message", Act::Say("250 2.0.0 stored"))
        .at("message", Act::Say("452 4.2.2 full"));
    let hop = NextHop::start_at_socket(&socket, script);
    let route = route(Transport::Lmtp(Lmtp {
        endpoint: Endpoint::Unix(socket),
        tls: TlsLevel::None,
    }));
    let deliveries = deliveries(&settings()).await;
    let (to_two, message) = (
        envelope(&["a@x.example", "b@x.example"]),
        Message::new(MESSAGE),
    );

    // A socket never leaves the machine: what is bound to TLS may go there.
    let outcomes = deliveries
        .attempt(&route, &to_two, &message, TlsNeed::Verified)
        .await;

    assert_eq!(
        outcomes.iter().map(in_short).collect::<Vec<_>>(),
        [
            "delivered 2.0.0: 250 2.0.0 stored",
            "transient 4.2.2: 452 4.2.2 full"
        ]
    );
    assert_eq!(hop.messages(), [MESSAGE]);
}

#[tokio::test]
async fn a_maildir_takes_what_is_bound_to_tls_for_it_is_here() {
    let folder = tempfile::tempdir().unwrap();
    let route = route(Transport::Maildir {
        folder: folder.path().to_owned(),
    });
    let deliveries = deliveries(&settings()).await;
    let (to_two, message) = (
        envelope(&["a@x.example", "b@y.example"]),
        Message::new(MESSAGE),
    );

    let outcomes = deliveries
        .attempt(&route, &to_two, &message, TlsNeed::Verified)
        .await;

    let short: Vec<_> = outcomes.iter().map(in_short).collect();
    assert_eq!(short, ["delivered 2.1.5: stored in the mailbox"; 2]);
    assert!(folder.path().join("y.example/b/new").is_dir());
}

/// A reply that was there before the last octet went cannot be the answer to it: who believes it loses mail.
#[tokio::test]
async fn a_word_of_thanks_before_the_message_is_none() {
    let to_one = envelope(&["a@b.example"]);
    let unexpected = "transient 4.5.0: the next hop gave a reply that does not belong here";
    for (offers, at, said, outcome) in [
        (
            &["PIPELINING"][..],
            "DATA",
            "354 go\r\n250 2.0.0 queued",
            unexpected,
        ),
        (&[], "DATA", "354 go\r\n250 2.0.0 queued", unexpected),
        // One reply too many moves all that follow.
        (
            &["CHUNKING"],
            "RCPT",
            "250 2.1.5 ok\r\n250 2.0.0 queued",
            unexpected,
        ),
        (&[], "MAIL", "250 2.1.0 ok\r\n250 2.1.0 ok", unexpected),
        // A refusal that comes early is one, and so is a farewell.
        (
            &[],
            "DATA",
            "354 go\r\n552 5.3.4 too much",
            "permanent 5.3.4: 552 5.3.4 too much",
        ),
        (
            &[],
            "RCPT",
            "250 2.1.5 ok\r\n421 4.3.0 closing",
            "transient 4.3.0: 421 4.3.0 closing",
        ),
    ] {
        let script = Script::offering(offers).at(at, Act::Say(said));
        let (_hop, outcomes) = send(script, &to_one, MESSAGE).await;
        assert_eq!(outcomes, [outcome], "{offers:?} {said}");
    }
}
