//! Reports, written and read.

use mail_parser::{MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;

use super::*;

fn at() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

/// Composes a report about one failed recipient.
fn compose(to: &str, recipient: &str, reply: &str, returned: Returned<'_>) -> Message {
    let (to, path) = (
        Mailbox::parse(to).unwrap(),
        ForwardPath::parse(recipient).unwrap(),
    );
    let orcpt = Orcpt::for_path(&path);
    DeliveryStatusNotification {
        hostname: "gate.example",
        to: &to,
        message_id: "<PX-7F3K2Q9A.1@gate.example>",
        date: at(),
        subject: "Undelivered mail",
        text: &[
            "This is the mail gateway.".to_owned(),
            format!("<{}>: {reply}", ascii_address(recipient)),
        ],
        env_id: EnvId::parse("QQ+2B1").as_ref(),
        arrival_date: at(),
        recipients: vec![RecipientStatus {
            final_recipient: &path,
            original_recipient: Some(&orcpt),
            action: Action::Failed,
            status: EnhancedStatusCode::permanent(1, 1),
            remote_mta: Some("mx.ward.example"),
            diagnostic: Some(Diagnostic::Smtp(reply.to_owned())),
            last_attempt: at(),
            will_retry_until: None,
        }],
        returned,
    }
    .compose()
}

/// What every report must be, whatever went into it.
fn check(report: &Message) -> Vec<(String, String)> {
    let octets = report.octets();
    assert!(octets.is_ascii());
    let shaped =
        |line: &[u8]| line.len() <= 998 && !line.iter().any(|b| matches!(b, 0 | b'\r' | 0x1b));
    assert!(octets.ends_with(b"\r\n"));
    let text = String::from_utf8(octets.to_vec()).unwrap();
    assert!(text.split("\r\n").all(|line| shaped(line.as_bytes())));
    let parsed = MessageParser::new().parse(&octets[..]).unwrap();
    let parts: Vec<(String, String)> = parsed.parts[1..]
        .iter()
        .map(|part| {
            let kind = part.content_type().unwrap();
            let kind = format!("{}/{}", kind.ctype(), kind.subtype().unwrap());
            let content = match &part.body {
                PartType::Message(message) => {
                    String::from_utf8_lossy(message.raw_message()).into_owned()
                }
                _ => String::from_utf8_lossy(part.contents()).into_owned(),
            };
            (kind, content)
        })
        .collect();
    let kinds: Vec<&str> = parts.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds[..2], ["text/plain", "message/delivery-status"]);
    let groups: Vec<&str> = parts[1].1.trim_end().split("\r\n\r\n").collect();
    assert_eq!(groups.len(), 2, "{}", parts[1].1);
    assert_eq!(groups[1].matches("\r\nAction: ").count(), 1);
    parts
}

#[test]
fn a_report_has_all_fields_of_rfc_3464() {
    let message = Message::new("Subject: hours\r\nMessage-ID: <m1@b.example>\r\n\r\nsecret\r\n");
    let report = compose(
        "s@b.example",
        "a@ward.example",
        "550 5.1.1 no such user here",
        Returned::Header(&message),
    );
    let parts = check(&report);
    let expected = "Reporting-MTA: dns; gate.example\r\n\
        Original-Envelope-Id: QQ+1\r\n\
        Arrival-Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n\
        \r\n\
        Original-Recipient: rfc822; a@ward.example\r\n\
        Final-Recipient: rfc822; a@ward.example\r\n\
        Action: failed\r\n\
        Status: 5.1.1\r\n\
        Remote-MTA: dns; mx.ward.example\r\n\
        Diagnostic-Code: smtp; 550 5.1.1 no such user here\r\n\
        Last-Attempt-Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n";
    assert_eq!(parts[1].1.trim_end(), expected.trim_end());
    assert_eq!(parts[2].0, "text/rfc822-headers");
    assert!(parts[2].1.contains("Subject: hours") && !parts[2].1.contains("secret"));
    let header = String::from_utf8_lossy(report.header_octets()).into_owned();
    assert!(
        header.contains("To: <s@b.example>\r\n")
            && header.contains("Auto-Submitted: auto-replied\r\n")
    );
}

#[test]
fn a_message_is_returned_whole_only_if_it_may_be_sent_so() {
    for (message, kind) in [
        ("Subject: x\r\n\r\nbody\r\n".to_owned(), "message/rfc822"),
        (
            "Subject: x\r\n\r\nna\u{ef}ve\r\n".to_owned(),
            "text/rfc822-headers",
        ),
        (
            format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(1_200)),
            "text/rfc822-headers",
        ),
        (
            format!("Subject: x\r\n\r\n{}", "x\r\n".repeat(400_000)),
            "text/rfc822-headers",
        ),
    ] {
        let message = Message::new(message);
        let report = compose(
            "s@b.example",
            "a@w.example",
            "550 no",
            Returned::Full(&message),
        );
        assert_eq!(check(&report)[2].0, kind);
    }
}

#[test]
fn of_patient_data_nothing_is_quoted_but_the_message_id() {
    let report = compose(
        "s@b.example",
        "a@w.example",
        "550 no",
        Returned::MessageId("<m1@b.example>"),
    );
    assert_eq!(check(&report)[2].1.trim_end(), "Message-ID: <m1@b.example>");
    let report = compose("s@b.example", "a@w.example", "550 no", Returned::Nothing);
    assert_eq!(check(&report).len(), 2);
}

#[test]
fn a_next_hop_behind_a_socket_is_no_name_of_dns() {
    for (next_hop, field) in [
        ("mx.ward.example", "Remote-MTA: dns; mx.ward.example\r\n"),
        ("[192.0.2.1]", "Remote-MTA: dns; [192.0.2.1]\r\n"),
        ("/run/lmtp", "Remote-MTA: x-socket; /run/lmtp\r\n"),
    ] {
        let status = RecipientStatus {
            final_recipient: &ForwardPath::parse("a@ward.example").unwrap(),
            original_recipient: None,
            action: Action::Failed,
            status: EnhancedStatusCode::permanent(1, 1),
            remote_mta: Some(next_hop),
            diagnostic: None,
            last_attempt: at(),
            will_retry_until: None,
        };
        let mut fields = String::new();
        status.write_fields(&mut fields);
        assert!(fields.contains(field), "{fields}");
    }
}

#[test]
fn a_hostile_reply_stays_words() {
    let reply = "550 5.7.1 evil\u{1b}[31m\0\u{7}\r\nAction: delivered\r\n\r\nFinal-Recipient: rfc822; x@y\r\n--=_PX7F3K2Q9A1gateexample--\r\n \u{ff}\u{fe}";
    let parts = check(&compose(
        "s@b.example",
        "a@w.example",
        reply,
        Returned::Nothing,
    ));
    assert!(parts[1].1.contains("Action: failed"));
}

#[test]
fn addresses_that_are_not_ascii_are_written_so_that_they_are() {
    let report = compose(
        "s\u{f6}ren@b.example",
        "\u{5c0f}+x@w.example",
        "550 no",
        Returned::Nothing,
    );
    let parts = check(&report);
    assert!(
        parts[1]
            .1
            .contains("Final-Recipient: utf-8; \\x{5C0F}\\x{2B}x@w.example")
    );
    assert!(parts[0].1.contains("<\\x{5C0F}\\x{2B}x@w.example>"));
}

proptest! {
    #[test]
    fn a_report_is_whole_whatever_is_in_it(
        reply in "[\\PC\r\n\t\0\u{1b}]{0,400}",
        long in "[a-z]{0,3}",
        repeat in 1..400usize,
        header in "[ -~\r\n\u{e4}]{0,300}",
        body in "[ -~\r\n\u{e4}=_-]{0,300}",
        local in "[ -~\u{e4}]{1,20}",
    ) {
        let reply = format!("{reply} {}", long.repeat(repeat));
        let body = format!("{body}\r\n--=_PX7F3K2Q9A1gateexample\r\n--=_PX7F3K2Q9A1gateexample_--");
        let message = Message::new(format!("{header}\r\n\r\n{body}"));
        let recipient = format!("\"{}\"@w.example", local.replace('\\', "\\\\").replace('"', "\\\""));
        for returned in [Returned::Full(&message), Returned::Header(&message)] {
            check(&compose("s@b.example", &recipient, &reply, returned));
        }
    }
}
