//! Conversations with a server: what goes out in one write, and what comes of each recipient.

use super::*;
use crate::mail::{BodyType, EnvId, ForwardPath, Notify, Orcpt, Recipient, Ret, ReversePath};
use crate::smtp::reply::ReplyParser;
use proptest::prelude::*;

const MESSAGE: &[u8] = b"Subject: x\r\n\r\nhello\r\n";

fn offers(lines: &[&str]) -> Extensions {
    Extensions::parse(lines.iter().copied())
}

fn envelope(recipients: &[&str]) -> Envelope {
    let mut envelope = Envelope::new(ReversePath::parse("s@a.example").unwrap());
    let paths = recipients.iter().map(|r| ForwardPath::parse(r).unwrap());
    envelope.recipients = paths.map(Recipient::new).collect();
    envelope
}

fn link(extensions: &Extensions, dialect: Dialect) -> Link<'_> {
    Link {
        dialect,
        extensions,
        local: false,
    }
}

/// What was written in one go and what came back, until the end: `replies` is used up line by line.
struct Conversation {
    written: Vec<String>,
    endings: Vec<String>,
    reusable: bool,
}

fn talk(dialect: Dialect, offered: &[&str], envelope: &Envelope, replies: &[&str]) -> Conversation {
    talk_about(dialect, offered, envelope, MESSAGE, replies)
}

fn talk_about(
    dialect: Dialect,
    offered: &[&str],
    envelope: &Envelope,
    message: &[u8],
    replies: &[&str],
) -> Conversation {
    let extensions = offers(offered);
    let message = Message::new(message.to_vec());
    let mut transaction = Transaction::new(link(&extensions, dialect), envelope, &message);
    let (mut written, mut out, mut replies) = (Vec::new(), Vec::new(), replies.iter());
    loop {
        let step = transaction.next(&mut out);
        if let Step::Write(form) = step {
            out.extend_from_slice(match form {
                Form::Chunk => b"<chunk>",
                Form::Dotted => b"<dotted>",
            });
            continue;
        }
        if !out.is_empty() {
            written.push(String::from_utf8(std::mem::take(&mut out)).unwrap());
        }
        if step == Step::Done {
            break;
        }
        match replies.next() {
            Some(line) => transaction.reply(parse(line)),
            None => transaction.fail(lost()),
        }
    }
    assert_eq!(replies.next(), None, "a reply was never read");
    let reusable = transaction.is_reusable();
    let endings = transaction
        .into_endings()
        .into_iter()
        .map(|ending| match ending {
            Ending::Replied(reply) => reply.to_string(),
            Ending::Unsaid { status, because } => format!("({status} {because})"),
            Ending::InDoubt { status, because } => format!("({status} {because}, in doubt)"),
        });
    Conversation {
        written,
        endings: endings.collect(),
        reusable,
    }
}

fn parse(line: &str) -> Reply {
    let wire = format!("{line}\r\n");
    ReplyParser::new()
        .feed(&mut wire.as_bytes())
        .unwrap()
        .unwrap()
}

fn lost() -> Ending {
    Ending::Unsaid {
        status: EnhancedStatusCode::transient(4, 2),
        because: "lost".to_owned(),
    }
}

#[test]
fn envelope_and_message_go_out_in_one_write_where_they_may() {
    let said = talk(
        Dialect::Smtp,
        &["PIPELINING", "CHUNKING"],
        &envelope(&["a@b.example", "c@b.example"]),
        &["250 ok", "250 ok", "550 5.1.1 no", "250 2.0.0 queued"],
    );
    assert_eq!(
        said.written,
        [
            "MAIL FROM:<s@a.example>\r\nRCPT TO:<a@b.example>\r\nRCPT TO:<c@b.example>\r\nBDAT 21 LAST\r\n<chunk>"
        ]
    );
    assert_eq!(said.endings, ["250 2.0.0 queued", "550 5.1.1 no"]);
    assert!(said.reusable);
}

#[test]
fn data_goes_out_with_the_envelope_and_the_message_after_the_go_ahead() {
    let said = talk(
        Dialect::Smtp,
        &["PIPELINING"],
        &envelope(&["a@b.example"]),
        &["250 ok", "250 ok", "354 go", "250 queued"],
    );
    assert_eq!(
        said.written,
        [
            "MAIL FROM:<s@a.example>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n",
            "<dotted>"
        ]
    );
    assert_eq!(said.endings, ["250 queued"]);
}

#[test]
fn without_pipelining_each_command_waits_for_its_reply() {
    let said = talk(
        Dialect::Smtp,
        &[],
        &envelope(&["a@b.example"]),
        &["250 ok", "250 ok", "354 go", "250 queued"],
    );
    assert_eq!(
        said.written,
        [
            "MAIL FROM:<s@a.example>\r\n",
            "RCPT TO:<a@b.example>\r\n",
            "DATA\r\n",
            "<dotted>"
        ]
    );
    assert!(said.reusable);
}

#[test]
fn a_large_message_waits_until_somebody_will_have_it() {
    let message = [MESSAGE, &b"x\r\n".repeat(100_000)].concat();
    let said = talk_about(
        Dialect::Smtp,
        &["PIPELINING", "CHUNKING"],
        &envelope(&["a@b.example"]),
        &message,
        &["250 ok", "550 no", "250 reset"],
    );
    assert_eq!(said.written.len(), 2);
    assert_eq!(said.written[1], "RSET\r\n");
    assert!(said.reusable);
}

#[test]
fn many_recipients_go_out_in_groups() {
    let names: Vec<String> = (0..1_000).map(|n| format!("r{n}@b.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let replies = vec!["250 ok"; 1_002];
    let said = talk(
        Dialect::Smtp,
        &["PIPELINING", "CHUNKING"],
        &envelope(&names),
        &replies,
    );
    assert!(said.written.len() >= 2);
    assert!(
        said.written
            .iter()
            .all(|write| write.len() < GROUP_MAX_OCTETS + 600)
    );
    assert_eq!(said.endings.len(), 1_000);
}

#[test]
fn when_all_recipients_are_refused_nothing_is_sent_and_the_connection_lives() {
    let to_two = envelope(&["a@b.example", "c@b.example"]);
    let said = talk(
        Dialect::Smtp,
        &[],
        &to_two,
        &["250 ok", "550 no", "451 later", "250 reset"],
    );
    assert_eq!(said.written.last().unwrap(), "RSET\r\n");
    assert_eq!(said.endings, ["550 no", "451 later"]);
    assert!(said.reusable);

    // DATA was under way already, and is refused for want of recipients.
    let replies = ["250 ok", "550 no", "451 later", "554 none", "250 reset"];
    let said = talk(Dialect::Smtp, &["PIPELINING"], &to_two, &replies);
    assert_eq!(said.endings, ["550 no", "451 later"]);
    assert!(said.reusable);

    // The server wants the message all the same: it gets an empty one (RFC 2920 §3.1).
    let replies = ["250 ok", "550 no", "451 later", "354 go", "554 none"];
    let said = talk(Dialect::Smtp, &["PIPELINING"], &to_two, &replies);
    assert_eq!(said.written[1], ".\r\n");
    assert_eq!(said.endings, ["550 no", "451 later"]);
    assert!(said.reusable);

    // The chunk was under way already.
    let replies = ["250 ok", "550 no", "451 later", "554 none", "250 reset"];
    let said = talk(
        Dialect::Smtp,
        &["PIPELINING", "CHUNKING"],
        &to_two,
        &replies,
    );
    assert_eq!(said.endings, ["550 no", "451 later"]);
    assert!(said.reusable);
}

#[test]
fn a_refused_sender_is_the_ending_of_all() {
    let to_two = envelope(&["a@b.example", "c@b.example"]);
    let said = talk(Dialect::Smtp, &[], &to_two, &["550 5.7.1 you"]);
    assert_eq!(said.written.len(), 1);
    assert_eq!(said.endings, ["550 5.7.1 you", "550 5.7.1 you"]);

    let replies = ["451 5.7.1 you", "503 what", "503 what", "503 what"];
    let said = talk(
        Dialect::Smtp,
        &["PIPELINING", "CHUNKING"],
        &to_two,
        &replies,
    );
    assert_eq!(said.endings, ["451 5.7.1 you", "451 5.7.1 you"]);
    assert!(said.reusable);
}

#[test]
fn recipients_over_the_limit_are_tried_again() {
    let to_three = envelope(&["a@b.example", "c@b.example", "d@b.example"]);
    let replies = [
        "250 ok",
        "250 ok",
        "452 4.5.3 many",
        "552 many",
        "250 queued",
    ];
    let said = talk(
        Dialect::Smtp,
        &["PIPELINING", "CHUNKING"],
        &to_three,
        &replies,
    );
    assert_eq!(
        said.endings,
        [
            "250 queued",
            "452 4.5.3 many",
            "(4.5.3 the next hop takes no more recipients at once)"
        ]
    );
    // Without an enhanced code the words of a 452 tell.
    for (last, ending) in [
        (
            "452 Too many recipients",
            "(4.5.3 the next hop takes no more recipients at once)",
        ),
        ("452 mailbox full", "452 mailbox full"),
    ] {
        let replies = ["250 ok", "250 ok", "250 ok", last, "250 queued"];
        let said = talk(
            Dialect::Smtp,
            &["PIPELINING", "CHUNKING"],
            &to_three,
            &replies,
        );
        assert_eq!(said.endings[2], ending);
    }
    // A full mailbox is another matter.
    let replies = [
        "250 ok",
        "250 ok",
        "552 5.2.2 full",
        "552 5.2.2 full",
        "250 queued",
    ];
    let said = talk(
        Dialect::Smtp,
        &["PIPELINING", "CHUNKING"],
        &to_three,
        &replies,
    );
    assert_eq!(said.endings[1], "552 5.2.2 full");
    // A server that says its limit is not asked for more.
    let offered = ["PIPELINING", "CHUNKING", "LIMITS RCPTMAX=2"];
    let said = talk(
        Dialect::Smtp,
        &offered,
        &to_three,
        &["250 ok", "250 ok", "250 ok", "250 queued"],
    );
    assert!(said.endings[2].starts_with("(4.5.3"));
}

#[test]
fn after_421_everything_undecided_is_tried_again() {
    let to_three = envelope(&["a@b.example", "c@b.example", "d@b.example"]);
    let replies = ["250 ok", "550 no", "250 ok", "421 4.3.2 bye"];
    let said = talk(Dialect::Smtp, &["PIPELINING"], &to_three, &replies);
    assert_eq!(said.endings, ["550 no", "421 4.3.2 bye", "421 4.3.2 bye"]);
    assert!(!said.reusable);
}

#[test]
fn a_connection_lost_after_the_last_octet_means_try_again() {
    let to_two = envelope(&["a@b.example", "c@b.example"]);
    let said = talk(
        Dialect::Smtp,
        &["PIPELINING"],
        &to_two,
        &["250 ok", "250 ok", "550 no", "354 go"],
    );
    assert_eq!(said.endings, ["(4.4.2 lost, in doubt)", "550 no"]);
    assert!(!said.reusable);
}

/// Whoever counts what a server has taken must count these too.
#[test]
fn whether_the_server_may_have_the_message_is_said_of_those_that_it_had_not_refused() {
    let to_two = envelope(&["a@b.example", "c@b.example"]);
    let endings =
        |offered: &[&str], replies: &[&str]| talk(Dialect::Smtp, offered, &to_two, replies).endings;
    let (unsaid, doubt) = ("(4.4.2 lost)", "(4.4.2 lost, in doubt)");
    let lines = &["PIPELINING"][..];
    assert_eq!(endings(lines, &["250 ok", "250 ok", "250 ok"]), [unsaid; 2]);
    assert_eq!(
        endings(lines, &["250 ok", "250 ok", "250 ok", "354 go"]),
        [doubt; 2]
    );
    // All of it goes out at once.
    let chunks = &["PIPELINING", "CHUNKING"][..];
    assert_eq!(endings(chunks, &["250 ok"]), [doubt; 2]);
    assert_eq!(endings(chunks, &["250 ok", "550 no"]), ["550 no", doubt]);
    let closing = "421 4.3.2 bye";
    assert_eq!(
        endings(chunks, &["250 ok", "250 ok", "250 ok", closing]),
        [closing; 2]
    );
}

#[test]
fn a_positive_reply_to_a_message_that_was_cut_is_no_delivery() {
    let (extensions, message) = (offers(&["PIPELINING", "CHUNKING"]), Message::new(MESSAGE));
    let to_one = envelope(&["a@b.example"]);
    let mut transaction = Transaction::new(link(&extensions, Dialect::Smtp), &to_one, &message);
    assert_eq!(transaction.next(&mut Vec::new()), Step::Write(Form::Chunk));
    transaction.content_was_cut();
    for line in ["250 ok", "250 ok", "250 queued"] {
        transaction.reply(parse(line));
    }
    assert_eq!(transaction.next(&mut Vec::new()), Step::Done);
    assert_eq!(transaction.into_endings(), [unexpected()]);
}

#[test]
fn lmtp_has_a_reply_for_each_recipient_that_was_accepted() {
    let to_three = envelope(&["a@b.example", "c@b.example", "d@b.example"]);
    let replies = [
        "250 ok",
        "250 ok",
        "550 no",
        "250 ok",
        "354 go",
        "250 stored",
        "452 4.2.2 full",
    ];
    for offered in [&["PIPELINING"][..], &[]] {
        let said = talk(Dialect::Lmtp, offered, &to_three, &replies);
        assert_eq!(said.endings, ["250 stored", "550 no", "452 4.2.2 full"]);
        assert!(said.reusable);
    }
    // With one of them missing, that one alone is tried again.
    let said = talk(Dialect::Lmtp, &["PIPELINING"], &to_three, &replies[..6]);
    assert_eq!(
        said.endings,
        ["250 stored", "550 no", "(4.4.2 lost, in doubt)"]
    );
}

#[test]
fn a_refused_message_leaves_the_connection_usable() {
    let to_one = envelope(&["a@b.example"]);
    let said = talk(
        Dialect::Smtp,
        &["PIPELINING"],
        &to_one,
        &["250 ok", "250 ok", "354 go", "554 5.6.0 no"],
    );
    assert_eq!(said.endings, ["554 5.6.0 no"]);
    assert!(said.reusable);
    // After a refused chunk the transaction is still open (RFC 3030 §2).
    let replies = ["250 ok", "250 ok", "554 5.6.0 no", "250 reset"];
    let said = talk(
        Dialect::Smtp,
        &["PIPELINING", "CHUNKING"],
        &to_one,
        &replies,
    );
    assert_eq!(said.written[1], "RSET\r\n");
    assert!(said.reusable);
    // DATA itself is refused.
    let replies = ["250 ok", "250 ok", "451 4.3.0 not now", "250 reset"];
    let said = talk(Dialect::Smtp, &["PIPELINING"], &to_one, &replies);
    assert_eq!(said.endings, ["451 4.3.0 not now"]);
}

#[test]
fn replies_that_do_not_belong_end_the_transaction() {
    let to_one = envelope(&["a@b.example"]);
    for replies in [
        &["354 go"][..],
        &["250 ok", "354 go"],
        &["250 ok", "250 ok", "250 what"],
    ] {
        let said = talk(Dialect::Smtp, &["PIPELINING"], &to_one, replies);
        assert!(said.endings[0].starts_with("(4.5.0"), "{replies:?}");
        assert!(!said.reusable);
    }
}

#[test]
fn parameters_are_sent_where_they_are_offered_and_nowhere_else() {
    let mut wishes = envelope(&["a@b.example"]);
    wishes.body = BodyType::EightBitMime;
    wishes.smtputf8 = true;
    wishes.ret = Some(Ret::Headers);
    wishes.env_id = EnvId::parse("QQ+2Bx");
    wishes.recipients[0].notify = Notify::parse("SUCCESS,FAILURE");
    wishes.recipients[0].orcpt = Orcpt::parse("rfc822;o+2Bx@c.example");

    let all = ["SIZE", "8BITMIME", "SMTPUTF8", "DSN", "REQUIRETLS"];
    let said = talk(Dialect::Smtp, &all, &wishes, &["250 ok"]);
    assert_eq!(
        said.written,
        [
            "MAIL FROM:<s@a.example> SIZE=21 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2Bx\r\n",
            "RCPT TO:<a@b.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o+2Bx@c.example\r\n",
        ]
    );
    let said = talk(Dialect::Smtp, &[], &wishes, &["250 ok"]);
    assert_eq!(
        said.written,
        ["MAIL FROM:<s@a.example>\r\n", "RCPT TO:<a@b.example>\r\n"]
    );
}

#[test]
fn what_the_next_hop_cannot_take_is_refused_and_never_changed() {
    let refusal = |offered: &[&str], envelope: &Envelope, message: &[u8]| {
        let said = talk_about(Dialect::Smtp, offered, envelope, message, &[]);
        match said.written.is_empty() {
            true => said.endings,
            false => vec!["sent".to_owned()],
        }
    };
    let plain = envelope(&["a@b.example"]);
    let eight_bit = b"Subject: x\r\n\r\nhell\xf6\r\n";
    assert!(refusal(&[], &plain, eight_bit)[0].starts_with("(5.6.3"));
    assert_eq!(refusal(&["8BITMIME"], &plain, eight_bit), ["sent"]);

    let mut utf8 = plain.clone();
    utf8.smtputf8 = true;
    let utf8_header = "Subject: \u{fc}\r\n\r\nx\r\n".as_bytes();
    assert!(refusal(&["8BITMIME"], &utf8, utf8_header)[0].starts_with("(5.6.7"));
    assert_eq!(
        refusal(&["8BITMIME", "SMTPUTF8"], &utf8, utf8_header),
        ["sent"]
    );
    assert_eq!(refusal(&[], &utf8, MESSAGE), ["sent"]);

    let mut bound = plain.clone();
    bound.require_tls = true;
    assert!(refusal(&["8BITMIME"], &bound, MESSAGE)[0].starts_with("(5.7.30"));
    assert_eq!(refusal(&["REQUIRETLS"], &bound, MESSAGE), ["sent"]);
    // RFC 8689 §5: no reason to throw a report away. Other mail under the null path is none.
    bound.reverse_path = ReversePath::Null;
    assert!(refusal(&["8BITMIME"], &bound, MESSAGE)[0].starts_with("(5.7.30"));
    for (kind, said) in [
        ("delivery-status", "sent"),
        ("Delivery-Status", "sent"),
        ("global-delivery-status", "sent"),
        ("disposition-notification", "(5.7.30"),
        ("x-delivery-status", "(5.7.30"),
    ] {
        let report = format!(
            "Content-Type: multipart/report; boundary=x;\r\n report-type=\"{kind}\"\r\n\r\n--x--\r\n"
        );
        let found = refusal(&["8BITMIME"], &bound, report.as_bytes());
        assert!(found[0].starts_with(said), "{kind}: {found:?}");
    }

    assert!(refusal(&["SIZE 20"], &plain, MESSAGE)[0].starts_with("(5.3.4"));
    assert_eq!(refusal(&["SIZE 0"], &plain, MESSAGE), ["sent"]);
    for bare in [&b"a\nb\r\n"[..], b"a\rb\r\n", b"a\r\n.\n", b"a\r"] {
        assert!(
            refusal(&[], &plain, bare)[0].starts_with("(5.6.11"),
            "{bare:?}"
        );
    }
}

#[test]
fn a_utf8_recipient_alone_is_refused_where_the_others_can_be_served() {
    let mixed = envelope(&["\u{fc}@b.example", "a@b.example"]);
    let said = talk(
        Dialect::Smtp,
        &["PIPELINING"],
        &mixed,
        &["250 ok", "250 ok", "354 go", "250 queued"],
    );
    assert!(said.endings[0].starts_with("(5.6.7"));
    assert_eq!(said.endings[1], "250 queued");
    assert!(!said.written[0].contains("SMTPUTF8"));

    let said = talk(Dialect::Smtp, &["SMTPUTF8"], &mixed, &["250 ok"]);
    assert!(said.written[0].ends_with(" SMTPUTF8\r\n"));
}

#[test]
fn an_original_recipient_is_written_in_ascii_where_utf8_is_not_spoken() {
    let mut wishes = envelope(&["a@b.example"]);
    wishes.recipients[0].orcpt = Some(Orcpt::for_path(
        &ForwardPath::parse("\u{fc}+x@b.example").unwrap(),
    ));
    let said = talk(Dialect::Smtp, &["DSN"], &wishes, &["250 ok"]);
    assert_eq!(
        said.written[1],
        "RCPT TO:<a@b.example> ORCPT=utf-8;\\x{FC}\\x{2B}x@b.example\r\n"
    );
}

proptest! {
    #[test]
    fn whatever_the_server_says_every_recipient_comes_to_an_ending(
        codes in proptest::collection::vec(prop_oneof![Just(250u16), Just(354), Just(550), Just(451), Just(421), Just(552), 200u16..600], 0..12),
        count in 0usize..5,
        flags in any::<[bool; 3]>(),
    ) {
        let [pipelining, chunking, lmtp] = flags;
        let extensions = Extensions { pipelining, chunking, ..Extensions::default() };
        let names: Vec<String> = (0..count).map(|n| format!("r{n}@b.example")).collect();
        let to = envelope(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let dialect = if lmtp { Dialect::Lmtp } else { Dialect::Smtp };
        let message = Message::new(MESSAGE);
        let mut transaction = Transaction::new(link(&extensions, dialect), &to, &message);
        let (mut out, mut codes, mut written, mut steps) = (Vec::new(), codes.into_iter(), false, 0);
        loop {
            steps += 1;
            prop_assert!(steps < 100);
            match transaction.next(&mut out) {
                Step::Done => break,
                Step::Write(_) => written = true,
                Step::Read(_) => match codes.next() {
                    Some(code) => transaction.reply(Reply::plain(code, "x")),
                    None => transaction.fail(lost()),
                },
            }
        }
        let endings = transaction.into_endings();
        prop_assert_eq!(endings.len(), count);
        for ending in endings {
            let delivered = matches!(&ending, Ending::Replied(reply) if reply.code().is_positive());
            prop_assert!(!delivered || written);
        }
    }
}
