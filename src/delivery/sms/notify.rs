//! GOV.UK Notify (`domain.md` §6.3, after alphagov/notifications-tech-docs).

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Method;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::base::Clock;
use crate::base::keyed::hmac_sha256;
use crate::base::secret::Secret;
use crate::mail::EnhancedStatusCode;
use crate::mail::sms::TextMessage;

use super::http::{Ask, Http, HttpError, Reply};
use super::provider::{Answer, Found, NotNow, Progress, Provider, Sent, Until};

/// A service of GOV.UK Notify.
pub(super) struct Notify {
    pub(super) http: Http,
    pub(super) key: ApiKey,
    /// The template: a text that is, or has, one placeholder for ours.
    pub(super) template: String,
    /// The name of that placeholder.
    pub(super) placeholder: String,
    /// What else the template wants, the same for every text.
    pub(super) personalisation: BTreeMap<String, String>,
    /// Which of the service's senders the text comes from.
    pub(super) sender: Option<String>,
    pub(super) clock: Clock,
}

/// A key of a service: `{name}-{uuid of the service}-{uuid of the secret}`, of which the last 73 characters count,
/// for the name may have hyphens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ApiKey {
    service: String,
    secret: Secret,
}

impl FromStr for ApiKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        let at = text.len().checked_sub(2 * UUID_OCTETS + 1).ok_or(BadKey)?;
        let ids = text.get(at..).ok_or(BadKey)?;
        let (service, secret) = ids.split_at_checked(UUID_OCTETS).ok_or(BadKey)?;
        let secret = secret.strip_prefix('-').ok_or(BadKey)?;
        let is_uuid = |text: &str| {
            text.char_indices().all(|(at, c)| match at {
                8 | 13 | 18 | 23 => c == '-',
                _ => c.is_ascii_hexdigit(),
            })
        };
        (is_uuid(service) && is_uuid(secret))
            .then(|| Self {
                service: service.to_owned(),
                secret: Secret::new(secret.to_owned()),
            })
            .ok_or(BadKey)
    }
}

/// No key of Notify. Repeats nothing of what it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an API key of GOV.UK Notify ends with the two UUIDs of service and secret")]
pub(super) struct BadKey;

impl ApiKey {
    /// What shows who we are at this moment (RFC 7519, HS256): good for half a minute.
    fn token(&self, now: Timestamp) -> Secret {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({"typ": "JWT", "alg": "HS256"}));
        let claims = part(json!({"iss": self.service, "iat": now.as_second()}));
        let signed = format!("{header}.{claims}");
        let signature = hmac_sha256(self.secret.expose().as_bytes(), signed.as_bytes());
        Secret::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl Provider for Notify {
    fn name(&self) -> &str {
        self.http.base.host()
    }

    fn reports(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, text: &'a TextMessage) -> Answer<'a, Sent> {
        Box::pin(async move {
            let ask = self.ask_for(Method::POST, "/v2/notifications/sms", self.body(text));
            match self.http.ask(ask).await {
                Ok(reply) => self.sent(&reply),
                Err(HttpError::NotSent(because)) => Sent::Unreached(because),
                Err(HttpError::Unknown(because)) => Sent::Unknown(because.to_owned()),
            }
        })
    }

    fn find<'a>(&'a self, reference: &'a str) -> Answer<'a, Found> {
        Box::pin(async move {
            // Letters, digits, hyphens and dots: nothing that a query would have to escape.
            let path = format!("/v2/notifications?template_type=sms&reference={reference}");
            self.known(&path, |body| {
                let mut all = body["notifications"].as_array()?.iter();
                // Never taken for ours on the word of a server that ignores the filter.
                Some(all.find(|one| one["reference"] == reference).cloned())
            })
            .await
        })
    }

    fn progress<'a>(&'a self, id: &'a str) -> Answer<'a, Found> {
        Box::pin(async move {
            let path = format!("/v2/notifications/{id}");
            self.known(&path, |body| Some(Some(body.clone()))).await
        })
    }
}

impl Notify {
    fn ask_for<'a>(&self, method: Method, path: &'a str, body: Vec<u8>) -> Ask<'a> {
        Ask {
            method,
            path,
            bearer: Some(self.key.token(self.clock.now())),
            fields: &[],
            body,
        }
    }

    fn body(&self, text: &TextMessage) -> Vec<u8> {
        let mut personalisation = self.personalisation.clone();
        personalisation.insert(self.placeholder.clone(), text.text.clone());
        let mut body = json!({
            "phone_number": text.to.digits(),
            "template_id": self.template,
            "personalisation": personalisation,
            "reference": text.reference,
        });
        if let Some(sender) = &self.sender {
            body["sms_sender_id"] = json!(sender);
        }
        body.to_string().into_bytes()
    }

    /// The table of `domain.md` §6.3, row by row.
    fn sent(&self, reply: &Reply) -> Sent {
        let body = reply.json();
        let error = body["errors"][0]["error"].as_str().unwrap_or_default();
        // Our own words: the message of an error may repeat the number.
        let said = |what: &str| format!("GOV.UK Notify: {} {}, {what}", reply.status, word(error));
        let permanent = |subject, detail, what: &str| Sent::Refused {
            status: EnhancedStatusCode::permanent(subject, detail),
            because: said(what),
        };
        let not_now = |what: &str, until, alarm| {
            Sent::NotNow(NotNow {
                because: said(what),
                until,
                alarm,
            })
        };
        match (reply.status, error) {
            (200..=299, _) => match body["id"].as_str().filter(|id| is_id(id)) {
                Some(id) => Sent::Taken { id: id.to_owned() },
                None => Sent::Unknown(said("taken, and no id was given")),
            },
            (400, "ValidationError") => permanent(1, 3, why_invalid(&body)),
            (400, _) => permanent(7, 1, "this service, key or template may not send it"),
            (401 | 403, _) => not_now(
                &self.why_forbidden(reply),
                Until::After(PAUSE_FORBIDDEN),
                true,
            ),
            (429, "TooManyRequestsError") => not_now(
                "the limit of the day is reached",
                Until::At(midnight(self.clock.now())),
                true,
            ),
            (429, _) => not_now("too many a minute", Until::After(PAUSE_RATE), false),
            (500..=599, _) => Sent::Failed(said("it broke")),
            // A proxy, a wrong base URL: nothing of the text is at fault, and nothing was sent.
            _ => not_now(
                "an answer that Notify does not give",
                Until::After(PAUSE_FORBIDDEN),
                true,
            ),
        }
    }

    fn why_forbidden(&self, reply: &Reply) -> String {
        let parse = |text: &str| {
            jiff::fmt::rfc2822::DateTimeParser::new()
                .parse_timestamp(text)
                .ok()
        };
        let theirs = reply.date.as_deref().and_then(parse);
        let off = theirs.map(|theirs| (self.clock.now() - theirs).get_seconds());
        match off {
            Some(seconds) if seconds.abs() > SKEW_SECONDS => {
                format!("our clock is {seconds} s ahead of theirs, and 30 s are allowed")
            }
            _ => "the API key is not accepted: revoked, or of another service".to_owned(),
        }
    }

    async fn known(&self, path: &str, pick: impl Fn(&Value) -> Option<Option<Value>>) -> Found {
        let reply = match self
            .http
            .ask(self.ask_for(Method::GET, path, Vec::new()))
            .await
        {
            Ok(reply) => reply,
            Err(error) => return Found::NotNow(error.to_string()),
        };
        match reply.status {
            200 => match pick(&reply.json()) {
                Some(Some(one)) => here(&one),
                Some(None) => Found::Nowhere,
                None => Found::NotNow("GOV.UK Notify: an answer that cannot be read".to_owned()),
            },
            // Notify's own; that of a proxy says nothing about the text.
            404 if reply.json()["errors"][0]["error"] == "NoResultFound" => Found::Nowhere,
            status => Found::NotNow(format!(
                "GOV.UK Notify: {status} to a question about a text"
            )),
        }
    }
}

fn here(one: &Value) -> Found {
    match (
        one["id"].as_str().filter(|id| is_id(id)),
        one["status"].as_str(),
    ) {
        (Some(id), Some(status)) => Found::Here {
            id: id.to_owned(),
            progress: Progress::of_word(status),
        },
        _ => Found::NotNow("GOV.UK Notify: an answer that cannot be read".to_owned()),
    }
}

/// Only what may stand in a path.
fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
}

/// An error's name, if it is a name.
fn word(error: &str) -> &str {
    match !error.is_empty() && error.len() <= 40 && error.bytes().all(|o| o.is_ascii_alphanumeric())
    {
        true => error,
        false => "no error name",
    }
}

/// The messages that say what is wrong with a number (§6.3), in words of our own.
fn why_invalid(body: &Value) -> &'static str {
    let message = body["errors"][0]["message"].as_str().unwrap_or_default();
    let messages = [
        ("Too many digits", "the number has too many digits"),
        ("Not enough digits", "the number has not enough digits"),
        (
            "Not a UK mobile number",
            "the number is not a UK mobile number",
        ),
        (
            "Must not contain letters or symbols",
            "the number has letters or symbols",
        ),
        ("Not a valid country prefix", "the number is of no country"),
    ];
    let known = messages.iter().find(|(theirs, _)| message.contains(theirs));
    known.map_or("the request is not valid", |(_, ours)| ours)
}

/// The next one in universal time: then the limit of the day begins anew.
fn midnight(now: Timestamp) -> Timestamp {
    let tomorrow = now.to_zoned(TimeZone::UTC).date().tomorrow();
    let midnight = tomorrow
        .ok()
        .and_then(|day| TimeZone::UTC.to_zoned(day.at(0, 0, 0, 0)).ok());
    midnight.map_or(now + PAUSE_FORBIDDEN, |midnight| midnight.timestamp())
}

/// Octets of a UUID in text.
const UUID_OCTETS: usize = 36;
/// How far the clocks may be apart.
const SKEW_SECONDS: i64 = 30;
/// Until it is tried again with one text whether a key is accepted.
const PAUSE_FORBIDDEN: Duration = Duration::from_secs(300);
/// The limit is one of a minute.
const PAUSE_RATE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "my-test-key-with-hyphens-26785a09-ab16-4eb0-8407-a37497a57506-3d844edf-8d35-48ac-975b-e847b4f122b0";

    #[test]
    fn the_key_is_the_last_73_characters() {
        let key: ApiKey = KEY.parse().unwrap();
        assert_eq!(key.service, "26785a09-ab16-4eb0-8407-a37497a57506");
        assert_eq!(key.secret.expose(), "3d844edf-8d35-48ac-975b-e847b4f122b0");
        assert!(!format!("{key:?}").contains("3d844edf"));
        for bad in ["", "short", &KEY[..KEY.len() - 1], &KEY.replace('-', "_")] {
            assert!(bad.parse::<ApiKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_token_is_a_jwt_that_names_service_and_time() {
        let key: ApiKey = KEY.parse().unwrap();
        let token = key.token("2026-11-21T10:00:00Z".parse().unwrap());
        let parts: Vec<&str> = token.expose().split('.').collect();
        let decode = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        let header: Value = serde_json::from_str(&decode(parts[0])).unwrap();
        let claims: Value = serde_json::from_str(&decode(parts[1])).unwrap();
        assert_eq!(header, json!({"typ": "JWT", "alg": "HS256"}));
        assert_eq!(claims, json!({"iss": key.service, "iat": 1_795_255_200}));
        assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).unwrap().len(), 32);
    }

    #[test]
    fn the_day_of_notify_ends_at_midnight_in_universal_time() {
        let now: Timestamp = "2026-07-21T23:30:00Z".parse().unwrap();
        assert_eq!(midnight(now).to_string(), "2026-07-22T00:00:00Z");
    }
}
