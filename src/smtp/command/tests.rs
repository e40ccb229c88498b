//! Lines and the commands that they are.

use super::*;
use crate::mail::{BodyType, ForwardPath, Reply, ReversePath};
use proptest::prelude::*;

fn code(line: impl AsRef<[u8]>) -> u16 {
    match Command::parse(line.as_ref()) {
        Ok(_) => 250,
        Err(error) => Reply::from(error).code().value(),
    }
}

#[track_caller]
fn all(expected: u16, lines: &[&str]) {
    for line in lines {
        assert_eq!(code(line), expected, "{line:?}");
    }
}

fn mail_of(line: &str) -> Mail {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Mail(mail)) => mail,
        other => panic!("{line}: {other:?}"),
    }
}

fn rcpt_of(line: &str) -> Recipient {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Rcpt { recipient, .. }) => recipient,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn verbs_parameters_and_words_are_taken_in_any_case() {
    let mail = mail_of(
        "mAiL fRoM:<A@b.example> bOdY=8bItMiMe size=12 ret=hdrs smtputf8 EnvId=a+2Bb Auth=<>",
    );
    assert_eq!(mail.envelope.reverse_path.to_string(), "A@b.example");
    assert_eq!(mail.envelope.body, BodyType::EightBitMime);
    assert_eq!(
        (mail.size, mail.auth, mail.envelope.smtputf8),
        (Some(12), true, true)
    );
    assert_eq!(mail.envelope.env_id.unwrap().as_str(), "a+b");
    let recipient =
        rcpt_of("rcpt to:<b@c.example> notify=Success,failure ORCPT=rfc822;a+2Bb@c.example");
    assert_eq!(recipient.notify.unwrap().to_string(), "SUCCESS,FAILURE");
    assert_eq!(recipient.orcpt.unwrap().address(), "a+b@c.example");
}

#[test]
fn paths_keep_their_meaning() {
    assert_eq!(
        mail_of("MAIL FROM:<>").envelope.reverse_path,
        ReversePath::Null
    );
    assert_eq!(
        rcpt_of("RCPT TO:<PostMaster>").forward_path,
        ForwardPath::Postmaster
    );
    for (line, path) in [
        ("RCPT TO:<\"a b>c\"@d.example>", "\"a b>c\"@d.example"),
        (
            "RCPT TO:<\"a\\\"b\\\\\"@d.example>",
            "\"a\\\"b\\\\\"@d.example",
        ),
        ("RCPT TO:<@x.example,@y.example:a@d.example>", "a@d.example"),
        ("RCPT TO:<a@[192.0.2.1]>", "a@[192.0.2.1]"),
        ("RCPT TO:   <a@d.example>  ", "a@d.example"),
    ] {
        assert_eq!(rcpt_of(line).forward_path.to_string(), path);
    }
}

#[test]
fn malformed_lines_are_refused_with_501() {
    all(
        501,
        &[
            "MAIL",
            "MAIL FROM",
            "MAIL TO:<a@b>",
            "MAIL FROM:a@b",
            "MAIL FROM:<a@b",
            "MAIL FROM:<a@b>junk",
            "MAIL FROM:<a@b> =x",
            "MAIL FROM:<a@b> <c@d>",
            "MAIL  FROM:<a@b>",
            "MAIL FROM :<a@b>",
            "RCPT TO:<a@b> <c@d>",
            "RSET now",
            "DATA now",
            "QUIT now",
            "STARTTLS now",
            "VRFY",
            "EHLO",
            "HELO",
            "EHLO a b",
            "AUTH",
            "AUTH PLAIN a b",
            "MAIL FROM:<a\0@b>",
            "MAIL FROM:<a@b> X=a=b",
            "EHLO a\u{1}b",
            "NOOP a\rNOOP",
            "NOOP x\ty\nz",
        ],
    );
    assert_eq!(code(b"EHLO \xff\xfe"), 501);
}

#[test]
fn a_line_end_inside_a_line_makes_no_second_command() {
    all(
        500,
        &[
            "NOOP\nNOOP",
            "NOOP\rNOOP\rNOOP",
            "MAIL\tFROM:<a@b>",
            "",
            " NOOP",
            "FROBNICATE all",
            "N\0OOP",
        ],
    );
}

#[test]
fn bad_parameters_are_refused() {
    all(
        501,
        &[
            "MAIL FROM:<a@b> RET=SOME",
            "MAIL FROM:<a@b> RET=FULL RET=HDRS",
            "MAIL FROM:<a@b> ENVID=",
            "MAIL FROM:<a@b> ENVID=a+ZZb",
            "MAIL FROM:<a@b> SIZE=abc",
            "MAIL FROM:<a@b> SIZE",
            "MAIL FROM:<a@b> SMTPUTF8=1",
            "MAIL FROM:<a@b> BODY=9BIT",
            "RCPT TO:<a@b> NOTIFY=NEVER,FAILURE",
            "RCPT TO:<a@b> NOTIFY=MAYBE",
            "RCPT TO:<a@b> notify=NEVER NOTIFY=FAILURE",
            "RCPT TO:<a@b> ORCPT=noaddresstype",
            "RCPT TO:<a@b> ORCPT=rfc822;a+ZZ@b.example",
            "RCPT TO:<a@b> NOTIFY",
        ],
    );
    all(
        555,
        &[
            "MAIL FROM:<a@b> FROB=1",
            "RCPT TO:<a@b> FROB",
            "RCPT TO:<a@b> SIZE=1",
        ],
    );
    all(504, &["MAIL FROM:<a@b> BODY=BINARYMIME", "AUTH CRAM-MD5"]);
    assert_eq!(
        mail_of("MAIL FROM:<a@b> SIZE=99999999999999999999").size,
        Some(u64::MAX)
    );
}

#[test]
fn bad_addresses_are_refused_with_553() {
    all(
        553,
        &[
            "MAIL FROM:<a b@c>",
            "MAIL FROM:<justalocalpart>",
            "RCPT TO:<>",
            "RCPT TO:<a@@b>",
            "RCPT TO:<<a@b>",
            "RCPT TO:<a@[1.2.3]>",
        ],
    );
    assert_eq!(code("MAIL FROM:<d\u{f6}@b.example>"), 553);
    assert_eq!(code("MAIL FROM:<d\u{f6}@b.example> SMTPUTF8"), 250);
    assert_eq!(code(b"MAIL FROM:<d\xf6@b.example>"), 501);
}

#[test]
fn commands_of_others_are_told_apart_from_noise() {
    all(502, &["EXPN staff", "ETRN a.example", "TURN"]);
    all(500, &["XCLIENT ADDR=10.0.0.1", "DEBUG", "WIZ"]);
}

#[test]
fn the_length_of_a_chunk_is_beyond_doubt() {
    assert_eq!(
        Command::parse(b"bdat 5 last"),
        Ok(Command::Bdat {
            octets: 5,
            last: true
        })
    );
    assert_eq!(
        Command::parse(b"BDAT 0"),
        Ok(Command::Bdat {
            octets: 0,
            last: false
        })
    );
    for bad in [
        "",
        " ",
        " abc",
        " -5",
        " +5",
        " 5x",
        " 0x5",
        " 99999999999999999999",
        " 18446744073709551617 LAST",
        " 5 FIRST",
        " 5 LAST x",
        " LAST",
    ] {
        assert_eq!(
            Command::parse(format!("BDAT{bad}").as_bytes()),
            Err(CommandError::ChunkSyntax),
            "{bad:?}"
        );
    }
}

#[test]
fn names_of_clients_are_made_safe_to_print() {
    for (given, kept) in [
        ("a.example", "a.example"),
        ("[IPv6:2001:db8::25]", "[IPv6:2001:db8::25]"),
        ("my_host", "my_host"),
        ("(comment", "?comment"),
        ("a;b=c", "a?b?c"),
        ("\\r\\nX:", "?r?nX:"),
    ] {
        assert_eq!(
            Command::parse(format!("EHLO {given}").as_bytes()),
            Ok(Command::Ehlo(kept.to_owned()))
        );
    }
    assert_eq!(code(format!("EHLO {}.example", "x".repeat(255))), 501);
}

proptest! {
    #[test]
    fn parsing_never_panics(line in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = Command::parse(&line);
    }

    #[test]
    fn parsing_lines_that_look_right_never_panics(verb in "(MAIL FROM:|RCPT TO:|BDAT |AUTH |EHLO )", rest in "[<>@:\"\\\\a.=+; 5\\PC]{0,40}") {
        let _ = Command::parse(format!("{verb}{rest}").as_bytes());
    }
}

#[test]
fn a_priority_is_a_number_from_minus_nine_to_nine() {
    let of = |value: &str| match Command::parse(
        format!("MAIL FROM:<a@b.example> MT-PRIORITY={value}").as_bytes(),
    ) {
        Ok(Command::Mail(mail)) => mail.envelope.mt_priority,
        _ => None,
    };
    assert_eq!((of("9"), of("-9"), of("0")), (Some(9), Some(-9), Some(0)));
    for bad in ["10", "-10", "+1", "01", "-0", "x", ""] {
        assert_eq!(of(bad), None, "{bad}");
    }
}
