//! A service of one's own: JSON by POST, for providers that are not built in.
//!
//! `{"to": "447700900003", "text": "…", "reference": "PX-7F3K2Q9A.1"}`, with the reference as `Idempotency-Key` as
//! well. 2xx means taken, with an optional `id`; it is asked nothing afterwards.

use std::time::Duration;

use hyper::Method;
use serde_json::json;

use crate::base::secret::Secret;
use crate::mail::EnhancedStatusCode;
use crate::mail::sms::TextMessage;

use super::http::{Ask, Http, HttpError, Reply};
use super::provider::{Answer, Found, NotNow, Provider, Sent, Until};

/// A service that takes texts as JSON.
pub(super) struct Webhook {
    pub(super) http: Http,
    pub(super) token: Option<Secret>,
}

impl Provider for Webhook {
    fn name(&self) -> &str {
        self.http.base.host()
    }

    fn reports(&self) -> bool {
        false
    }

    fn send<'a>(&'a self, text: &'a TextMessage) -> Answer<'a, Sent> {
        Box::pin(async move {
            let body = json!({
                "to": text.to.digits(),
                "text": text.text,
                "reference": text.reference,
            });
            let ask = Ask {
                method: Method::POST,
                path: "",
                bearer: self.token.clone(),
                fields: &[("Idempotency-Key", text.reference.clone())],
                body: body.to_string().into_bytes(),
            };
            match self.http.ask(ask).await {
                Ok(reply) => sent(&reply, &text.reference),
                Err(HttpError::NotSent(because)) => Sent::Unreached(because),
                Err(HttpError::Unknown(because)) => Sent::Unknown(because.to_owned()),
            }
        })
    }

    fn find<'a>(&'a self, _: &'a str) -> Answer<'a, Found> {
        Box::pin(std::future::ready(Found::CannotSay))
    }

    fn progress<'a>(&'a self, _: &'a str) -> Answer<'a, Found> {
        Box::pin(std::future::ready(Found::CannotSay))
    }
}

fn sent(reply: &Reply, reference: &str) -> Sent {
    let said = |what: &str| format!("the webhook answered {}, {what}", reply.status);
    let not_now = |what: &str, seconds, alarm| {
        Sent::NotNow(NotNow {
            because: said(what),
            until: Until::After(Duration::from_secs(seconds)),
            alarm,
        })
    };
    match reply.status {
        200..=299 => {
            let body = reply.json();
            let id = body["id"].as_str().filter(|id| id.len() <= 200);
            Sent::Taken {
                id: id.unwrap_or(reference).to_owned(),
            }
        }
        400 | 404 | 410 | 413 | 422 => Sent::Refused {
            status: EnhancedStatusCode::permanent(7, 1),
            because: said("it does not take the text"),
        },
        429 => not_now(
            "too many",
            reply.retry_after.unwrap_or(60).clamp(1, 3_600),
            false,
        ),
        // Nobody has promised that nothing was sent.
        500..=599 => Sent::Unknown(said("it broke")),
        _ => not_now("it does not let us send", 300, true),
    }
}
