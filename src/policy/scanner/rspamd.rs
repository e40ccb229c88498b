//! Rspamd as a second opinion: `POST /checkv2` of its worker, its score alone is taken.
//!
//! Its answer quotes the message (names of files, links, subjects in the options of its symbols): nothing but
//! two numbers and the word for what it would do is read out of it.

use std::io;

use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use crate::policy::case::Case;

use super::{Report, Stream};

/// Asks about the message of a case.
///
/// # Errors
/// The connection broke, or the answer is none ([`io::ErrorKind::InvalidData`]).
pub(super) async fn check(stream: Box<dyn Stream>, case: &Case<'_>) -> io::Result<Report> {
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(io::Error::other)?;
    let body = Full::new(case.transaction.message.octets().clone());
    let mut request = Request::new(body);
    *request.method_mut() = hyper::Method::POST;
    *request.uri_mut() = hyper::Uri::from_static("/checkv2");
    for (name, value) in envelope(case) {
        // A value that HTTP cannot carry is left out: it is a hint.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            request.headers_mut().append(name, value);
        }
    }
    let talk = async move {
        let response = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        if response.status() != StatusCode::OK {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let body = Limited::new(response.into_body(), ANSWER_OCTETS_MAX);
        let answer = body.collect().await.map_err(io::Error::other)?;
        report(&answer.to_bytes()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    };
    // The connection ends when `talk` has dropped its sender.
    let (answer, _) = tokio::join!(talk, connection);
    answer
}

/// What Rspamd is told of the envelope and the client.
fn envelope(case: &Case<'_>) -> Vec<(HeaderName, String)> {
    let client = &case.transaction.client;
    let name = HeaderName::from_static;
    let mut headers = vec![
        (name("host"), "rspamd".to_owned()),
        (name("ip"), client.address.ip().to_canonical().to_string()),
        (
            name("from"),
            case.transaction.envelope.reverse_path.to_string(),
        ),
        (name("mta-name"), case.hostname.to_owned()),
    ];
    if let Some(helo) = &client.helo {
        headers.push((name("helo"), helo.clone()));
    }
    if let Some(account) = &client.account {
        headers.push((name("user"), account.clone()));
    }
    let recipients = case.transaction.envelope.recipients.iter();
    let recipients = recipients.take(RECIPIENTS_MAX);
    headers.extend(recipients.map(|one| (name("rcpt"), one.forward_path.to_string())));
    headers
}

/// What is read of an answer.
#[derive(Deserialize)]
struct Answer {
    score: f64,
    required_score: f64,
    action: String,
}

fn report(answer: &[u8]) -> Option<Report> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let harmless = |c: &char| c.is_ascii_lowercase() || *c == ' ';
    Some(Report::Score {
        score: answer.score,
        required: answer.required_score,
        action: answer.action.chars().filter(harmless).take(30).collect(),
    })
}

/// The longest answer: some hundred symbols with what they saw.
const ANSWER_OCTETS_MAX: usize = 1 << 20;
/// Recipients that it is told of.
const RECIPIENTS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_two_numbers_and_a_word_and_nothing_that_it_quotes() {
        let said = br#"{"is_skipped":false,"score":7.5,"required_score":15.0,"action":"add header",
            "symbols":{"X":{"name":"X","score":1.0,"options":["Mrs Smith"]}},"urls":["a.example"]}"#;
        let expected = Report::Score {
            score: 7.5,
            required: 15.0,
            action: "add header".into(),
        };
        assert_eq!(report(said), Some(expected));
        // What is plain from the first look is "skipped", and has its score all the same.
        let skipped = br#"{"is_skipped":true,"score":15,"required_score":15,"action":"reject"}"#;
        assert!(matches!(
            report(skipped),
            Some(Report::Score { score: 15.0, .. })
        ));
        assert_eq!(report(b"{\"error\":\"no\"}"), None);
        assert_eq!(report(b"<html>"), None);
    }
}
