//! Log-ins in a session.

use super::*;

/// The text after the code of the last reply.
fn said(session: &mut Session, line: &str) -> String {
    let replies = drive(session, line);
    replies.last().unwrap().lines().join("\n")
}

#[test]
fn submission_wants_authentication_and_authentication_wants_tls() {
    let mut session = session(Service::Submission);
    plays(
        &mut session,
        &[
            ("EHLO x", 250),
            ("MAIL FROM:<a@b.example>", 530),
            ("STARTTLS", 220),
            ("EHLO x", 250),
            ("MAIL FROM:<a@b.example>", 530),
            ("AUTH LOGIN", 334),
            ("YQ==", 334),
            ("cmlnaHQ=", 235),
            ("AUTH LOGIN", 503),
            ("MAIL FROM:<a@b.example>", 250),
        ],
    );
    assert_eq!(session.client().account.as_deref(), Some("a"));
}

#[test]
fn an_exchange_that_fails_leaves_the_session_usable() {
    let mut session = session(Service::Relay);
    session.tls_started(tls());
    plays(
        &mut session,
        &[
            ("AUTH PLAIN", 503),
            ("EHLO x", 250),
            ("AUTH PLAIN", 334),
            ("*", 501),
            ("AUTH PLAIN", 334),
            ("QUIT", 501),
            ("AUTH PLAIN AGEAd3Jvbmc=", 535),
            ("MAIL FROM:<a@b.example>", 250),
            ("AUTH PLAIN", 503),
        ],
    );
}

#[test]
fn passwords_are_not_guessed_in_one_session() {
    let mut session = session(Service::Relay);
    session.tls_started(tls());
    plays(
        &mut session,
        &[
            ("EHLO x", 250),
            ("AUTH PLAIN AGEAd3Jvbmc=", 535),
            ("AUTH PLAIN AGEAd3Jvbmc=", 535),
        ],
    );
    assert!(matches!(
        session.line(b"AUTH PLAIN AGEAd3Jvbmc="),
        Action::Authenticate(_)
    ));
    assert!(matches!(
        session.authenticated(Err(LoginError::Refused)),
        Action::Close(_)
    ));
}

#[test]
fn an_account_proves_itself_by_scram_and_sees_our_proof() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let mut session = secured();
    plays(
        &mut session,
        &[("EHLO x", 250), ("AUTH SCRAM-SHA-256", 334)],
    );
    let challenge = said(&mut session, &STANDARD.encode("n,,n=user,r=abc"));
    let challenge = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
    let nonce = challenge
        .split(',')
        .next()
        .unwrap()
        .strip_prefix("r=")
        .unwrap();
    let without = format!("c=biws,r={nonce}");
    let auth = format!("n=user,r=abc,{challenge},{without}");
    let rounds = std::num::NonZeroU32::MIN;
    let (proof, signature) =
        crate::mail::scram::client_sums("right", &[1], rounds, auth.as_bytes());
    let last = format!("{without},p={}", STANDARD.encode(proof));
    let verdict = said(&mut session, &STANDARD.encode(last));
    let expected = STANDARD.encode(format!("v={}", STANDARD.encode(signature)));
    assert_eq!(verdict, expected);
    plays(
        &mut session,
        &[("", 235), ("MAIL FROM:<user@b.example>", 250)],
    );
    assert_eq!(session.client().account.as_deref(), Some("user"));
}

#[test]
fn mechanisms_are_offered_where_they_work_and_taken_where_they_are_offered() {
    let mut session = secured();
    let offers = |session: &mut Session| {
        let ehlo = said(session, "EHLO x");
        let line = ehlo.lines().find(|line| line.starts_with("AUTH "));
        line.unwrap_or_default().to_owned()
    };
    assert_eq!(offers(&mut session), "AUTH SCRAM-SHA-256 PLAIN LOGIN");
    plays(
        &mut session,
        &[
            ("AUTH SCRAM-SHA-256-PLUS", 504),
            ("AUTH XOAUTH2", 504),
            ("AUTH EXTERNAL =", 504),
        ],
    );
    session.take_tokens(true);
    session.set_bindings(Bindings {
        exporter: Some([1; 32]),
        end_point: None,
    });
    assert_eq!(
        offers(&mut session),
        "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 OAUTHBEARER XOAUTH2 PLAIN LOGIN"
    );
    let wrong = "AUTH XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIHgBAQ==";
    plays(&mut session, &[(wrong, 334), ("", 535), ("NOOP", 250)]);
    session.set_certified(true);
    assert!(offers(&mut session).starts_with("AUTH EXTERNAL SCRAM-SHA-256-PLUS "));
    plays(&mut session, &[("AUTH EXTERNAL", 334), ("", 235)]);
    assert_eq!(session.client().account.as_deref(), Some("certified"));
    session.tls_started(tls());
    assert!(!offers(&mut session).contains("EXTERNAL"));
}

#[test]
fn a_client_that_is_an_account_by_its_address_needs_no_word_and_may_say_another() {
    let settings = Arc::clone(&session(Service::Submission).settings);
    let mut client = session(Service::Submission).client;
    client.account = Some("scanner".to_owned());
    let mut session = Session::new(settings, client);
    plays(
        &mut session,
        &[
            ("EHLO x", 250),
            ("MAIL FROM:<a@b.example>", 250),
            ("RSET", 250),
        ],
    );
    session.tls_started(tls());
    assert_eq!(session.client().account.as_deref(), Some("scanner"));
    plays(
        &mut session,
        &[("EHLO x", 250), ("AUTH PLAIN AGFwcAByaWdodA==", 235)],
    );
    assert_eq!(session.client().account.as_deref(), Some("app"));
}
