//! A stand-in for GOV.UK Notify that follows its published API (`domain.md` §6.3), and may be told to fail in each of
//! the ways that it can. It runs on a thread of its own and remembers what it was asked.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::result_large_err,
    reason = "an answer to a request is what an error is here"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) const SERVICE: &str = "26785a09-ab16-4eb0-8407-a37497a57506";
pub(crate) const SECRET: &str = "3d844edf-8d35-48ac-975b-e847b4f122b0";
pub(crate) const TEMPLATE: &str = "f33517ff-2a88-4f6e-b855-c550268ce08a";

/// The key as Notify gives it out, with a name that has hyphens.
pub(crate) fn api_key() -> String {
    format!("a-test-key-{SERVICE}-{SECRET}")
}

/// What is wrong with the next answer to a text.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This status, error and message; nothing is sent.
    Error(u16, &'static str, &'static str),
    /// The text is taken, and the answer never comes.
    TakenWithoutAnswer,
    /// The text is not taken, and no answer ever comes.
    NoAnswer,
    /// 201 with a body that is no JSON.
    Garbage,
}

#[derive(Clone, Debug)]
pub(crate) struct Notification {
    pub id: String,
    pub reference: String,
    pub phone_number: String,
    pub body: String,
    pub status: &'static str,
}

#[derive(Default)]
pub(crate) struct Inside {
    pub notifications: Vec<Notification>,
    pub faults: VecDeque<Fault>,
    /// Requests to send that came, taken or not.
    pub requests: usize,
    /// Questions for a reference.
    pub searches: usize,
    pub tokens: Vec<String>,
    /// The clock, if it is another one than the machine's.
    pub now: Option<Timestamp>,
}

#[derive(Clone)]
pub(crate) struct StandIn {
    pub port: u16,
    inside: Arc<Mutex<Inside>>,
}

impl StandIn {
    pub(crate) fn start() -> Self {
        let inside = Arc::new(Mutex::new(Inside::default()));
        let pages = Router::new()
            .route("/v2/notifications/sms", post(send))
            .route("/v2/notifications/{id}", get(one))
            .route("/v2/notifications", get(all))
            .route("/v2/received-text-messages", get(received))
            .with_state(Arc::clone(&inside));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, pages).await.unwrap();
            });
        });
        Self { port, inside }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    pub(crate) fn fail_next(&self, fault: Fault) {
        self.inside().faults.push_back(fault);
    }

    /// The texts that went out.
    pub(crate) fn texts(&self) -> Vec<Notification> {
        self.inside().notifications.clone()
    }

    /// What became of a text.
    pub(crate) fn becomes(&self, reference: &str, status: &'static str) {
        for one in &mut self.inside().notifications {
            if one.reference == reference {
                one.status = status;
            }
        }
    }
}

type Shared = State<Arc<Mutex<Inside>>>;

async fn send(State(inside): Shared, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(refused) = authorised(&inside, &headers) {
        return refused;
    }
    let fault = {
        let mut inside = inside.lock().unwrap();
        inside.requests += 1;
        inside.faults.pop_front()
    };
    match fault {
        Some(Fault::Error(status, error, message)) => return problem(status, error, message),
        Some(Fault::NoAnswer) => return std::future::pending().await,
        _ => {}
    }
    let Ok(asked) = serde_json::from_slice::<Value>(&body) else {
        return problem(400, "BadRequestError", "Invalid JSON supplied in POST data");
    };
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    if let Err(message) = valid(&asked) {
        return problem(400, message.0, &message.1);
    }
    let number = match local(&text("phone_number")) {
        Ok(number) => number,
        Err(message) => return problem(400, "ValidationError", &format!("phone_number {message}")),
    };
    let Some(said) = asked["personalisation"]["body"].as_str() else {
        return problem(400, "BadRequestError", "Missing personalisation: body");
    };
    let notification = {
        let mut inside = inside.lock().unwrap();
        let notification = Notification {
            id: format!(
                "740e5834-3a29-46b4-9a6f-{:012x}",
                inside.notifications.len()
            ),
            reference: text("reference"),
            phone_number: format!("+{number}"),
            body: format!("Bumbleton: {said}"),
            status: outcome(&number),
        };
        if !SMOKE.contains(&number.as_str()) {
            inside.notifications.push(notification.clone());
        }
        notification
    };
    match fault {
        Some(Fault::TakenWithoutAnswer) => std::future::pending().await,
        Some(Fault::Garbage) => (StatusCode::CREATED, "<html>").into_response(),
        _ => json_of(
            201,
            &json!({
                "id": notification.id,
                "reference": notification.reference,
                "content": {"body": notification.body, "from_number": "BUMBLETON"},
                "uri": format!("https://api.notifications.service.gov.uk/v2/notifications/{}", notification.id),
                "template": {
                    "id": TEMPLATE,
                    "version": 1,
                    "uri": format!("https://api.notifications.service.gov.uk/v2/template/{TEMPLATE}"),
                },
                "scheduled_for": null,
            }),
        ),
    }
}

async fn one(State(inside): Shared, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refused) = authorised(&inside, &headers) {
        return refused;
    }
    if !is_uuid(&id) {
        return problem(400, "ValidationError", "id is not a valid UUID");
    }
    let inside = inside.lock().unwrap();
    match inside.notifications.iter().find(|one| one.id == id) {
        Some(one) => json_of(200, &shown(one)),
        None => problem(404, "NoResultFound", "No result found"),
    }
}

async fn all(State(inside): Shared, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    if let Err(refused) = authorised(&inside, &headers) {
        return refused;
    }
    let query = query.unwrap_or_default();
    let asked = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    };
    if asked("template_type").is_some_and(|one| !["sms", "email", "letter"].contains(&one.as_str()))
    {
        return problem(
            400,
            "ValidationError",
            "template_type is not one of [sms, email, letter]",
        );
    }
    let mut inside = inside.lock().unwrap();
    inside.searches += usize::from(asked("reference").is_some());
    let fits = |one: &&Notification| {
        asked("reference").is_none_or(|wanted| one.reference == wanted)
            && asked("status").is_none_or(|wanted| one.status == wanted)
            && asked("template_type").is_none_or(|wanted| wanted == "sms")
    };
    let found: Vec<Value> = inside
        .notifications
        .iter()
        .filter(fits)
        .map(shown)
        .collect();
    json_of(
        200,
        &json!({
            "notifications": found,
            "links": {"current": format!("https://api.notifications.service.gov.uk/v2/notifications?{query}")},
        }),
    )
}

async fn received(State(inside): Shared, headers: HeaderMap) -> Response {
    match authorised(&inside, &headers) {
        Ok(()) => json_of(
            200,
            &json!({"received_text_messages": [], "links": {"current": "x"}}),
        ),
        Err(refused) => refused,
    }
}

fn shown(one: &Notification) -> Value {
    json!({
        "id": one.id,
        "reference": one.reference,
        "email_address": null,
        "phone_number": one.phone_number,
        "type": "sms",
        "status": one.status,
        "template": {"version": 1, "id": TEMPLATE, "uri": format!("/v2/template/{TEMPLATE}")},
        "body": one.body,
        "subject": null,
        "created_at": "2026-11-21T10:00:00.000000Z",
        "sent_at": null,
        "completed_at": null,
    })
}

/// The token must be ours, HS256, and not more than half a minute old or young.
fn authorised(inside: &Mutex<Inside>, headers: &HeaderMap) -> Result<(), Response> {
    let mut inside = inside.lock().unwrap();
    let now = inside.now.unwrap_or_else(Timestamp::now);
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        let message = "Unauthorized: authentication token must be provided";
        return Err(problem(401, "AuthError", message));
    };
    let Some(token) = value.to_str().unwrap().strip_prefix("Bearer ") else {
        let message = "Unauthorized: authentication bearer scheme must be used";
        return Err(problem(401, "AuthError", message));
    };
    inside.tokens.push(token.to_owned());
    let invalid = |what: &str| dated(now, problem(403, "AuthError", what));
    let parts: Vec<&str> = token.split('.').collect();
    let [head, claims, signature] = parts[..] else {
        return Err(invalid("Invalid token: signature, api token is not valid"));
    };
    let decode = |part: &str| {
        serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap_or_default())
            .unwrap_or_default()
    };
    if decode(head)["alg"] != "HS256" {
        return Err(invalid("Invalid token: algorithm used is not HS256"));
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signed = format!("{head}.{claims}");
    let tag = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    if decode(claims)["iss"] != SERVICE || hmac::verify(&key, signed.as_bytes(), &tag).is_err() {
        return Err(invalid("Invalid token: API key not found"));
    }
    let Some(issued) = decode(claims)["iat"].as_i64() else {
        return Err(invalid("Invalid token: iat field not provided"));
    };
    if (now.as_second() - issued).abs() > 30 {
        return Err(invalid(
            "Error: Your system clock must be accurate to within 30 seconds",
        ));
    }
    Ok(())
}

fn valid(asked: &Value) -> Result<(), (&'static str, String)> {
    let known = [
        "phone_number",
        "template_id",
        "personalisation",
        "reference",
        "sms_sender_id",
    ];
    let object = asked
        .as_object()
        .ok_or(("ValidationError", "not an object".to_owned()))?;
    if let Some(other) = object.keys().find(|key| !known.contains(&key.as_str())) {
        let message = format!("Additional properties are not allowed ({other} was unexpected)");
        return Err(("ValidationError", message));
    }
    for name in ["phone_number", "template_id"] {
        if !asked[name].is_string() {
            return Err(("ValidationError", format!("{name} is a required property")));
        }
    }
    match asked["template_id"].as_str().unwrap() {
        id if !is_uuid(id) => Err((
            "ValidationError",
            "template_id is not a valid UUID".to_owned(),
        )),
        TEMPLATE => Ok(()),
        _ => Err(("BadRequestError", "Template not found".to_owned())),
    }
}

fn local(number: &str) -> Result<String, &'static str> {
    let digits: String = number
        .chars()
        .filter(|c| !c.is_whitespace() && !"()+-".contains(*c))
        .collect();
    if !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err("Must not contain letters or symbols");
    }
    let rest = digits.trim_start_matches('0');
    let rest = rest
        .strip_prefix("44")
        .unwrap_or(rest)
        .trim_start_matches('0');
    match rest.len() {
        _ if !rest.starts_with('7') => Err("Not a UK mobile number"),
        ..10 => Err("Not enough digits"),
        10 => Ok(format!("44{rest}")),
        _ => Err("Too many digits"),
    }
}

/// With a test key everything arrives but what is sent to two numbers.
fn outcome(number: &str) -> &'static str {
    match number {
        "447700900003" => "temporary-failure",
        "447700900002" => "permanent-failure",
        _ => "sending",
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().filter(|octet| *octet == b'-').count() == 4
}

fn problem(status: u16, error: &str, message: &str) -> Response {
    json_of(
        status,
        &json!({"errors": [{"error": error, "message": message}], "status_code": status}),
    )
}

fn json_of(status: u16, body: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (
        StatusCode::from_u16(status).unwrap(),
        kind,
        body.to_string(),
    )
        .into_response()
}

fn dated(now: Timestamp, mut response: Response) -> Response {
    let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    response
        .headers_mut()
        .insert(header::DATE, date.parse().unwrap());
    response
}

/// For smoke tests: taken, and not stored.
const SMOKE: [&str; 3] = ["447700900000", "447700900111", "447700900222"];
