//! Access tokens for smart hosts: asked for by client credentials (RFC 6749 §4.4), kept until shortly before they end.
//!
//! Exchange Online takes no passwords any more (`550 5.7.30`): a token of the tenant's issuer, shown by XOAUTH2, takes
//! their place.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::base::Clock;
use crate::base::https::{Https, Url};
use crate::base::secret::Secret;

/// Where a token comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenSource {
    /// The token endpoint.
    pub url: Url,
    /// Who we are there.
    pub client_id: String,
    /// What shows it.
    pub client_secret: Secret,
    /// For what the token is: `https://outlook.office365.com/.default`.
    pub scope: String,
}

/// The tokens that are good.
pub(super) struct Tokens {
    https: Https,
    clock: Clock,
    kept: Mutex<HashMap<Name, Kept>>,
    /// One asks at a time: those that wait find what it brought.
    asking: tokio::sync::Mutex<()>,
}

type Name = (Url, String, String);

#[derive(Clone)]
struct Kept {
    token: Arc<Secret>,
    renew_at: Timestamp,
}

/// Why there is no token. Says nothing of the secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum TokenError {
    /// The endpoint cannot be asked.
    #[error("the token endpoint {host} cannot be asked: {why}")]
    Unreachable {
        /// Its host.
        host: String,
        /// Why.
        why: String,
    },
    /// It says no. The word is one of RFC 6749 §5.2.
    #[error("the token endpoint {host} gives no token: {status} {word}")]
    Refused {
        /// Its host.
        host: String,
        /// The status of its answer.
        status: u16,
        /// Its word for the reason.
        word: String,
    },
}

impl Tokens {
    pub(super) fn new(https: Https, clock: Clock) -> Self {
        Self {
            https,
            clock,
            kept: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// A token that is good for a while yet.
    pub(super) async fn get(&self, source: &TokenSource) -> Result<Arc<Secret>, TokenError> {
        if let Some(token) = self.kept(source) {
            return Ok(token);
        }
        let _turn = self.asking.lock().await;
        if let Some(token) = self.kept(source) {
            return Ok(token);
        }
        let (token, lifetime) = self.ask(source).await?;
        let token = Arc::new(token);
        // Some minutes before its end, or a tenth of its life if that is short.
        let early = EARLY.min(lifetime / 10);
        let kept = Kept {
            token: Arc::clone(&token),
            renew_at: self.clock.now() + lifetime.saturating_sub(early),
        };
        self.lock().insert(name(source), kept);
        Ok(token)
    }

    /// The next hop did not take it: the next attempt asks for another.
    pub(super) fn forget(&self, source: &TokenSource) {
        self.lock().remove(&name(source));
    }

    fn kept(&self, source: &TokenSource) -> Option<Arc<Secret>> {
        let kept = self.lock().get(&name(source)).cloned()?;
        (self.clock.now() < kept.renew_at).then_some(kept.token)
    }

    async fn ask(&self, source: &TokenSource) -> Result<(Secret, Duration), TokenError> {
        let host = source.url.host().to_owned();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", source.client_id.as_str()),
            ("client_secret", source.client_secret.expose()),
            ("scope", source.scope.as_str()),
        ];
        let answer = self.https.post_form(&source.url, &form).await;
        let answer = answer.map_err(|error| TokenError::Unreachable {
            host: host.clone(),
            why: error.to_string(),
        })?;
        let granted = serde_json::from_slice::<Granted>(&answer.body).ok();
        match granted {
            Some(granted) if answer.status == 200 && granted.is_bearer() => {
                let lifetime = granted.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
                Ok((Secret::new(granted.access_token), lifetime.min(LIFE_MAX)))
            }
            _ => Err(TokenError::Refused {
                host,
                status: answer.status,
                word: word_of(&answer.body),
            }),
        }
    }

    /// The table is whole at every moment.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Name, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
}

impl Granted {
    /// RFC 6749 §7.1: a token of a kind that one does not know must not be used.
    fn is_bearer(&self) -> bool {
        let fits = self
            .access_token
            .bytes()
            .all(|octet| octet.is_ascii_graphic());
        self.token_type.eq_ignore_ascii_case("bearer") && !self.access_token.is_empty() && fits
    }
}

/// The error code of an answer, of which nothing else is repeated.
fn word_of(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Failed {
        error: String,
    }
    let word = serde_json::from_slice::<Failed>(body).map(|failed| failed.error);
    let word = word.unwrap_or_default();
    let known = word
        .bytes()
        .all(|octet| octet.is_ascii_lowercase() || octet == b'_');
    if known && word.len() <= 40 {
        word
    } else {
        String::new()
    }
}

fn name(source: &TokenSource) -> Name {
    let (url, client, scope) = (&source.url, &source.client_id, &source.scope);
    (url.clone(), client.clone(), scope.clone())
}

/// So much before its end a token is renewed.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// How long a token is taken to be good that does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(5 * 60);
/// No token is kept for longer.
const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::dns::{Dns, DnsSettings};
    use axum::Router;
    use axum::routing::post;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// What an endpoint answers to the first, second, … form.
    type Answering = fn(u32, String) -> (u16, String);

    /// A token endpoint that counts, and gives what it is told.
    async fn endpoint(answer: Answering) -> (String, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        let route = post(move |body: String| {
            let (status, text) = answer(counter.fetch_add(1, Ordering::SeqCst) + 1, body);
            async move { (axum::http::StatusCode::from_u16(status).unwrap(), text) }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/tenant/oauth2/v2.0/token",
            listener.local_addr().unwrap()
        );
        let app = Router::new().route("/tenant/oauth2/v2.0/token", route);
        tokio::spawn(async move { axum::serve(listener, app).await });
        (url, asked)
    }

    fn tokens(clock: &Clock) -> Tokens {
        // Nobody is asked: the endpoints are on this machine, by their addresses.
        let servers = vec!["127.0.0.1:1".parse().unwrap()];
        let dns = Dns::new(&DnsSettings {
            servers,
            ..DnsSettings::default()
        })
        .unwrap();
        let https = Https::new(&[], dns).unwrap();
        Tokens::new(https, clock.clone())
    }

    fn source(url: &str) -> TokenSource {
        TokenSource {
            url: url.parse().unwrap(),
            client_id: "gateway".into(),
            client_secret: Secret::new("s3cret & more".into()),
            scope: "https://outlook.office365.com/.default".into(),
        }
    }

    fn granted(number: u32, body: String) -> (u16, String) {
        let expected = "grant_type=client_credentials&client_id=gateway&client_secret=s3cret%20%26%20more&\
                        scope=https%3A%2F%2Foutlook.office365.com%2F.default";
        match body == expected {
            true => (
                200,
                format!(
                    r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"token-{number}"}}"#
                ),
            ),
            false => (400, r#"{"error":"invalid_request"}"#.to_owned()),
        }
    }

    #[tokio::test]
    async fn a_token_is_asked_for_once_and_renewed_before_its_end() {
        let clock = Clock::fixed("2026-11-21T10:00:00Z".parse().unwrap());
        let (url, asked) = endpoint(granted).await;
        let (tokens, source) = (tokens(&clock), source(&url));
        let get = || async { tokens.get(&source).await.unwrap().expose().to_owned() };
        let (one, two) = tokio::join!(get(), get());
        assert_eq!((one.as_str(), two.as_str()), ("token-1", "token-1"));
        clock.advance(Duration::from_secs(3_298));
        assert_eq!(get().await, "token-1");
        clock.advance(Duration::from_secs(2));
        assert_eq!(get().await, "token-2");
        tokens.forget(&source);
        assert_eq!(get().await, "token-3");
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn an_endpoint_that_gives_none_is_named_with_its_word_and_nothing_else() {
        let clock = Clock::fixed("2026-11-21T10:00:00Z".parse().unwrap());
        let answers: [(Answering, &str); 4] = [
            (
                |_, _| {
                    (
                        401,
                        r#"{"error":"invalid_client","error_description":"s3cret"}"#.into(),
                    )
                },
                "401 invalid_client",
            ),
            (|_, body| (400, format!(r#"{{"error":"{body}"}}"#)), "400 "),
            (
                |_, _| (200, r#"{"token_type":"mac","access_token":"x"}"#.into()),
                "200 ",
            ),
            (|_, _| (200, "<html>".into()), "200 "),
        ];
        for (answer, said) in answers {
            let (url, _) = endpoint(answer).await;
            let error = tokens(&clock).get(&source(&url)).await.unwrap_err();
            assert!(error.to_string().ends_with(said), "{error}");
            assert!(!error.to_string().contains("s3cret"));
        }
        let gone = tokens(&clock).get(&source("http://127.0.0.1:1/x")).await;
        assert!(
            matches!(gone, Err(TokenError::Unreachable { .. })),
            "{gone:?}"
        );
    }
}
