//! Sessions, line by line: their order, what they offer, what is forgotten. What is used for it by all stands first.

mod login;
mod transaction;

use super::*;
use crate::mail::Service;
use crate::mail::scram::ScramKeys;
use proptest::prelude::*;

fn session(service: Service) -> Session {
    session_with(service, false)
}

fn session_with(service: Service, mt_priority: bool) -> Session {
    let settings = ServerSettings {
        hostname: "gw.example".into(),
        starttls: true,
        message_octets: 1_000,
        recipients: 3,
        transactions: 5,
        errors: 6,
        mt_priority,
    };
    let client = Client {
        address: "192.0.2.1:4711".parse().unwrap(),
        local: "192.0.2.2:25".parse().unwrap(),
        helo: None,
        esmtp: false,
        tls: None,
        account: None,
        service,
    };
    Session::new(Arc::new(settings), client)
}

fn tls() -> TlsSession {
    TlsSession {
        version: "TLSv1.3".into(),
        cipher: "TLS13_AES_256_GCM_SHA384".into(),
        server_name: None,
        client_certificate: None,
    }
}

fn secured() -> Session {
    let mut session = session(Service::Submission);
    session.tls_started(tls());
    session
}

/// A driver for whom all goes well; recipients at `foreign.example` are refused. Returns every reply.
fn drive(session: &mut Session, line: impl AsRef<[u8]>) -> Vec<Reply> {
    let mut replies = Vec::new();
    let mut action = session.line(line.as_ref());
    loop {
        action = match action {
            Action::Reply(reply) | Action::Close(reply) | Action::Discard(_, reply) => {
                replies.push(reply);
                return replies;
            }
            Action::StartTls(reply) => {
                replies.push(reply);
                session.tls_started(tls());
                return replies;
            }
            Action::Authenticate(credentials) => {
                let known = credentials.password == "right";
                session.authenticated(
                    known
                        .then_some(credentials.username)
                        .ok_or(LoginError::Refused),
                )
            }
            Action::FindKeys(first) => {
                let rounds = std::num::NonZeroU32::MIN;
                let keys = ScramKeys::derive("right", vec![1], rounds).unwrap();
                session.scram_keys(first, Ok(vec![keys]))
            }
            Action::Conclude {
                username,
                is_proved,
            } => session.authenticated(is_proved.then_some(username).ok_or(LoginError::Refused)),
            Action::CheckToken(bearer) => {
                let known = bearer.username.filter(|_| bearer.token == "right");
                session.token_checked(known.ok_or(LoginError::Refused))
            }
            Action::CheckCertificate(username) => {
                let known = username.unwrap_or_else(|| "certified".to_owned());
                session.authenticated(Ok(known))
            }
            Action::CheckSender(size) => {
                let refusal = Reply::new(450, Code::transient(4, 5), "slow down");
                session.sender_checked(if size == Some(999) {
                    Err(refusal)
                } else {
                    Ok(())
                })
            }
            Action::CheckRecipient(recipient) => {
                let foreign = recipient
                    .forward_path
                    .to_string()
                    .ends_with("@foreign.example");
                let refusal = Reply::new(550, Code::permanent(7, 1), "relaying denied");
                session.recipient_checked(recipient, if foreign { Err(refusal) } else { Ok(()) })
            }
            Action::ReceiveData(reply) => {
                replies.push(reply);
                session.received(Received::Message, Ok(()))
            }
            Action::ReceiveChunk(chunk) => session.received(Received::Chunk(chunk), Ok(())),
            Action::Submit(envelope) => {
                assert!(!envelope.recipients.is_empty());
                replies.push(Reply::new(250, Code::success(0, 0), "accepted"));
                return replies;
            }
        };
    }
}

fn code(session: &mut Session, line: &str) -> u16 {
    drive(session, line).last().unwrap().code().value()
}

#[track_caller]
fn plays(session: &mut Session, script: &[(&str, u16)]) {
    for (line, expected) in script {
        assert_eq!(code(session, line), *expected, "{line}");
    }
}

#[test]
fn a_command_out_of_sequence_changes_nothing() {
    plays(
        &mut session(Service::Relay),
        &[
            ("MAIL FROM:<a@b.example>", 503),
            ("NOOP", 250),
            ("RSET", 250),
            ("EHLO x", 250),
            ("RCPT TO:<c@d.example>", 503),
            ("MAIL FROM:<a@b.example>", 250),
            ("MAIL FROM:<e@f.example>", 503),
            ("RCPT TO:<c@d.example>", 250),
            ("DATA", 250),
            ("RCPT TO:<c@d.example>", 503),
        ],
    );
}

#[test]
fn rset_and_ehlo_end_the_transaction() {
    for end in ["RSET", "EHLO y", "HELO z"] {
        let mut session = session(Service::Relay);
        plays(
            &mut session,
            &[
                ("EHLO x", 250),
                ("MAIL FROM:<a@b.example>", 250),
                ("RCPT TO:<c@d.example>", 250),
                (end, 250),
                ("DATA", 503),
            ],
        );
        assert!(session.envelope().is_none());
    }
}

#[test]
fn nothing_said_in_clear_is_remembered_under_tls() {
    let mut session = session(Service::Relay);
    plays(
        &mut session,
        &[
            ("EHLO x", 250),
            ("MAIL FROM:<a@b.example>", 250),
            ("STARTTLS", 220),
            ("RCPT TO:<c@d.example>", 503),
        ],
    );
    assert!(session.client().helo.is_none() && session.client().tls.is_some());
    plays(&mut session, &[("EHLO x", 250), ("STARTTLS", 503)]);
}

#[test]
fn only_what_works_now_is_offered() {
    let mut session = session(Service::Relay);
    let offered = |reply: &Reply| Extensions::parse(reply.lines()[1..].iter().map(String::as_str));
    let clear = offered(&drive(&mut session, "EHLO x")[0]);
    assert!(clear.starttls && !clear.require_tls && clear.auth.is_empty());
    assert_eq!(
        (clear.size, clear.recipients_max, clear.transactions_max),
        (Some(1_000), Some(3), Some(5))
    );
    plays(
        &mut session,
        &[
            ("MAIL FROM:<a@b.example> REQUIRETLS", 555),
            ("MAIL FROM:<a@b.example> AUTH=<>", 555),
            ("AUTH PLAIN AGEAcmlnaHQ=", 538),
            ("STARTTLS", 220),
        ],
    );
    let secured = offered(&drive(&mut session, "EHLO x")[0]);
    assert!(!secured.starttls && secured.require_tls);
    assert_eq!(secured.auth, ["SCRAM-SHA-256", "PLAIN", "LOGIN"]);
    plays(
        &mut session,
        &[("MAIL FROM:<a@b.example> REQUIRETLS AUTH=<>", 250)],
    );
    assert!(session.envelope().unwrap().require_tls);
}

#[test]
fn helo_offers_nothing() {
    let mut session = session(Service::Relay);
    assert_eq!(drive(&mut session, "HELO x")[0].lines(), ["gw.example"]);
    assert_eq!(session.client().protocol(false), "SMTP");
}

#[test]
fn too_many_errors_end_the_session() {
    let mut session = session(Service::Relay);
    for _ in 0..5 {
        assert_eq!(code(&mut session, "FROB"), 500);
    }
    assert!(matches!(session.line(b"FROB"), Action::Close(reply) if reply.code().value() == 421));
}

proptest! {
    #[test]
    fn every_line_gets_one_reply_whatever_came_before(lines in proptest::collection::vec(prop_oneof![
        prop::sample::select(vec![
            "EHLO x", "HELO x", "MAIL FROM:<a@b.example>", "MAIL FROM:<a@b.example> SIZE=5000", "RCPT TO:<c@d.example>", "RCPT TO:<c@foreign.example>",
            "DATA", "BDAT 5", "BDAT 5 LAST", "RSET", "NOOP", "STARTTLS", "AUTH PLAIN", "AUTH LOGIN",
            "AUTH SCRAM-SHA-256", "AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9YWJj", "AUTH XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIHgBAQ==", "MAIL FROM:<a@b.example> SIZE=999", "AGEAcmlnaHQ=", "YQ==", "*", "VRFY x", "HELP", "QUIT",
        ]).prop_map(str::to_owned),
        "\\PC{0,20}",
    ], 0..30)) {
        let mut session = session(Service::Relay);
        for line in lines {
            let replies = drive(&mut session, &line);
            let intermediate = replies.iter().filter(|reply| reply.code().value() == 354).count();
            prop_assert_eq!(replies.len() - intermediate, 1, "{}", line);
        }
    }
}
