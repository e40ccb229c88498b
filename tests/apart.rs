//! Where files cannot be opened, because no process for it can be started, mail waits: nobody takes a file
//! that was not looked into for one without patient data.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use postern::base::Clock;
use postern::config::{Diagnostics, load_toml};
use postern::content::{self, Limits};
use postern::mail::{
    Envelope, ForwardPath, MailTransaction, Message, Recipient, ReversePath, mime,
};
use postern::policy::decide::Network;
use postern::policy::{Policy, Verdict, policy_test};

/// A message with a document, and one without.
const WITH: &str = "From: bumbleton.headoffice@nhs.net\r\nSubject: x\r\n\r\n{\\rtf1 hello}\r\n";
const WITHOUT: &str = "From: bumbleton.headoffice@nhs.net\r\nSubject: x\r\n\r\nhello\r\n";

fn shipped() -> Policy {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = root.join("policies/postern.toml");
    let policy = load_toml(&file, &Diagnostics::default(), |top| {
        for key in top.keys() {
            top.section(&key); // read by other modules
        }
        Policy::load(
            top,
            "gateway.bumbleton.example",
            None,
            Clock::system(),
            None,
        )
    });
    policy.flatten().unwrap()
}

fn transaction(message: &str) -> MailTransaction {
    let from = ReversePath::parse("bumbleton.headoffice@nhs.net").unwrap();
    let mut envelope = Envelope::new(from);
    let to = ForwardPath::parse("someone@example.com").unwrap();
    envelope.recipients = vec![Recipient::new(to)];
    MailTransaction {
        client: policy_test::client("127.0.0.1".parse().unwrap(), None),
        envelope,
        message: Message::new(message.as_bytes().to_vec()),
        received_at: Clock::system().now(),
    }
}

#[tokio::test]
async fn a_message_is_deferred_whose_file_cannot_be_opened_for_now() {
    content::open_apart(Path::new("/no/such/program"));
    let policy = shipped();

    let message = Message::new(WITH.as_bytes().to_vec());
    let structure = mime::parse(message.octets()).unwrap();
    let read = content::read(&message, &structure, &Limits::default());
    assert_eq!(read.unreadable[0].because, content::UNAVAILABLE);

    let verdict = async |message| {
        let decision = policy.judge(&transaction(message), Network::Off).await;
        decision.recipients[0].verdict.clone()
    };
    assert!(matches!(verdict(WITH).await, Verdict::Defer(_)));
    assert!(matches!(verdict(WITHOUT).await, Verdict::Deliver));
}
