//! Transactions in a session.

use super::*;

#[test]
fn refused_recipients_leave_the_transaction_as_it_was() {
    let mut session = session(Service::Relay);
    plays(
        &mut session,
        &[
            ("EHLO x", 250),
            ("MAIL FROM:<>", 250),
            ("RCPT TO:<a@foreign.example>", 550),
            ("DATA", 554),
            ("RCPT TO:<Postmaster>", 250),
            ("RCPT TO:<a@foreign.example>", 550),
        ],
    );
    assert_eq!(session.envelope().unwrap().recipients.len(), 1);
    plays(&mut session, &[("DATA", 250), ("DATA", 503)]);
}

#[test]
fn chunks_and_data_exclude_each_other() {
    plays(
        &mut session(Service::Relay),
        &[
            ("EHLO x", 250),
            ("MAIL FROM:<a@b.example>", 250),
            ("RCPT TO:<c@d.example>", 250),
            ("BDAT 5", 250),
            ("DATA", 503),
            ("RCPT TO:<e@f.example>", 503),
            ("MAIL FROM:<a@b.example>", 503),
            ("BDAT 0 LAST", 250),
            ("BDAT 0 LAST", 503),
        ],
    );
}

#[test]
fn a_chunk_that_is_not_wanted_is_read_all_the_same() {
    let mut session = session(Service::Relay);
    for line in ["EHLO x", "MAIL FROM:<bad bad>"] {
        session.line(line.as_bytes());
    }
    assert!(
        matches!(session.line(b"BDAT 700 LAST"), Action::Discard(700, reply) if reply.code().value() == 503)
    );
    assert!(matches!(
        session.line(b"MAIL FROM:<a@b.example>"),
        Action::Reply(_)
    ));
    assert!(
        matches!(session.line(b"BDAT 700"), Action::Discard(700, reply) if reply.code().value() == 554)
    );
}

#[test]
fn a_chunk_without_a_length_or_beyond_reason_ends_the_session() {
    for line in ["BDAT abc", "BDAT 5 FIRST", "BDAT 9000000000000000000 LAST"] {
        assert!(
            matches!(
                session(Service::Relay).line(line.as_bytes()),
                Action::Close(_)
            ),
            "{line}"
        );
    }
}

#[test]
fn a_failed_chunk_ends_the_transaction() {
    let mut session = session(Service::Relay);
    plays(
        &mut session,
        &[
            ("EHLO x", 250),
            ("MAIL FROM:<a@b.example>", 250),
            ("RCPT TO:<c@d.example>", 250),
        ],
    );
    let Action::ReceiveChunk(chunk) = session.line(b"BDAT 900") else {
        panic!("a chunk")
    };
    let action = session.received(Received::Chunk(chunk), Err(DataError::TooBig));
    assert!(matches!(action, Action::Reply(reply) if reply.code().value() == 552));
    assert!(matches!(
        session.line(b"BDAT 5 LAST"),
        Action::Discard(5, _)
    ));
    plays(&mut session, &[("MAIL FROM:<a@b.example>", 250)]);
}

#[test]
fn all_chunks_of_a_refused_message_may_follow() {
    let mut session = session(Service::Relay);
    plays(&mut session, &[("EHLO x", 250)]);
    for _ in 0..50 {
        assert!(matches!(session.line(b"BDAT 5"), Action::Discard(5, _)));
    }
    plays(&mut session, &[("MAIL FROM:<a@b.example>", 250)]);
}

#[test]
fn limits_are_said_with_their_own_codes() {
    let mut session = session(Service::Relay);
    plays(
        &mut session,
        &[
            ("EHLO x", 250),
            ("MAIL FROM:<a@b.example> SIZE=1001", 552),
            ("MAIL FROM:<a@b.example> SIZE=1000", 250),
        ],
    );
    for n in 0..3 {
        assert_eq!(code(&mut session, &format!("RCPT TO:<{n}@d.example>")), 250);
    }
    plays(
        &mut session,
        &[("RCPT TO:<4@d.example>", 452), ("RSET", 250)],
    );
    for _ in 0..4 {
        plays(
            &mut session,
            &[("MAIL FROM:<a@b.example>", 250), ("RSET", 250)],
        );
    }
    plays(&mut session, &[("MAIL FROM:<a@b.example>", 421)]);
}

#[test]
fn a_sender_that_must_wait_leaves_no_transaction() {
    let mut session = secured();
    plays(
        &mut session,
        &[
            ("EHLO x", 250),
            ("AUTH PLAIN AGFwcAByaWdodA==", 235),
            ("MAIL FROM:<a@b.example> SIZE=999", 450),
            ("RCPT TO:<c@d.example>", 503),
            ("MAIL FROM:<a@b.example>", 250),
        ],
    );
}

#[test]
fn utf8_addresses_need_smtputf8() {
    let mut session = session(Service::Relay);
    plays(
        &mut session,
        &[
            ("EHLO x", 250),
            ("MAIL FROM:<a@b.example>", 250),
            ("RCPT TO:<d\u{f6}@d.example>", 553),
            ("RSET", 250),
            ("MAIL FROM:<a@b.example> SMTPUTF8", 250),
            ("RCPT TO:<d\u{f6}@d.example>", 250),
        ],
    );
}

#[test]
fn how_urgent_a_message_is_may_be_said_where_that_is_offered_and_counts_of_accounts_alone() {
    let line = b"MAIL FROM:<a@b.example> MT-PRIORITY=4";
    let said = |offered, account: Option<&str>| {
        let mut session = session_with(Service::Relay, offered);
        drive(&mut session, b"EHLO x.example");
        session.client.account = account.map(str::to_owned);
        let replies = drive(&mut session, line);
        let code = replies.last().map(|reply| reply.code().value());
        let priority = session.envelope().and_then(|envelope| envelope.mt_priority);
        (session.offered().mt_priority, code, priority)
    };
    assert_eq!(said(false, Some("referrals")), (false, Some(555), None));
    assert_eq!(said(true, Some("referrals")), (true, Some(250), Some(4)));
    assert_eq!(said(true, None), (true, Some(250), None));
}
