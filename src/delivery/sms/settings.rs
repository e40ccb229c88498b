//! `[sms]` of the gateway's own file, checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::Clock;
use crate::base::dns::Dns;
use crate::base::secret::Secret;
use crate::config::{Diagnostic, Located, Section};
use crate::delivery::Shaping;
use crate::delivery::route::{RetrySchedule, Route, Takes, Transport};
use crate::delivery::tls::Tls;
use crate::mail::Domain;

use super::http::{BaseUrl, Http};
use super::notify::{ApiKey, Notify};
use super::provider::Provider;
use super::quiet::Quiet;
use super::webhook::Webhook;

/// How text messages are sent.
#[derive(Clone, Debug)]
pub struct SmsSettings {
    /// The domain whose recipients are numbers.
    pub domain: Domain,
    /// When none is sent.
    pub quiet: Option<Quiet>,
    /// How many a number gets in a day; 0 is no limit.
    pub per_number: u32,
    /// What happens if nobody can say whether a text was sent.
    pub on_unknown: OnUnknown,
    /// Where receipts and replies come in.
    pub callbacks: Option<CallbackSettings>,
    service: Service,
    timeout: Duration,
}

/// What happens to a text of which it is not known whether it was sent, after the provider was asked for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnUnknown {
    /// It is held, with an alarm, until somebody decides.
    Hold,
    /// It has failed, and the sender hears of it.
    Fail,
    /// It is sent again.
    Resend,
}

/// Where receipts and replies come in.
#[derive(Clone, Debug)]
pub struct CallbackSettings {
    /// A loopback address; a proxy with TLS stands before it.
    pub address: SocketAddr,
    /// What the provider shows with each of them.
    pub token: Secret,
}

#[derive(Clone, Debug)]
enum Service {
    Notify(Box<NotifySettings>),
    Webhook { url: BaseUrl, token: Option<Secret> },
}

#[derive(Clone, Debug)]
struct NotifySettings {
    url: BaseUrl,
    key: ApiKey,
    template: String,
    placeholder: String,
    personalisation: BTreeMap<String, String>,
    sender: Option<String>,
}

impl SmsSettings {
    /// Takes `[sms]` out of the outermost section, with the route that it makes: before all others, and for
    /// numbers alone. `None` if it is not there or has errors.
    pub fn read(top: &Section<'_>) -> Option<(Self, Route)> {
        let section = top.section("sms");
        if !section.is_present() {
            return None;
        }
        let domain = section
            .required::<Domain>("domain")
            .map(Located::into_inner);
        let service = read_service(&section);
        let on_unknown = section.word(
            "on-unknown",
            &[
                ("hold", OnUnknown::Hold),
                ("fail", OnUnknown::Fail),
                ("resend", OnUnknown::Resend),
            ],
        );
        let quiet = match section.string("quiet-hours") {
            Some(none) if none.as_str() == "none" => None,
            Some(_) => section
                .parse::<Quiet>("quiet-hours")
                .map(Located::into_inner),
            None => QUIET.parse().ok(),
        };
        let per_number = section.integer("per-number-and-day", 0..=1_000);
        let timeout = section
            .duration("timeout")
            .map_or(TIMEOUT, Located::into_inner);
        let callbacks = read_callbacks(&section);
        let schedule = read_schedule(&section);
        let connections = section.integer("connections", 1..=1_000);
        let rate = section.integer("rate", 0..=1_000_000);
        section.finish();
        let domain = domain?;
        let route = Route {
            name: "sms".to_owned(),
            takes: Takes::Numbers(domain.clone()),
            transport: Transport::Sms,
            connections: connections
                .map_or(CONNECTIONS, |n| usize::try_from(*n).unwrap_or(CONNECTIONS)),
            rate_per_minute: rate.map_or(RATE, |n| u32::try_from(*n).unwrap_or(RATE)),
            chunking: false,
            // A text is not mail: when it may go, and what became of it, is not known in seconds.
            straight_through: false,
            schedule,
            shaping: Shaping::default(),
        };
        let settings = Self {
            domain,
            quiet,
            per_number: per_number.map_or(PER_NUMBER, |n| u32::try_from(*n).unwrap_or(PER_NUMBER)),
            on_unknown: on_unknown.map_or(OnUnknown::Hold, Located::into_inner),
            callbacks,
            service: service?,
            timeout: timeout.clamp(Duration::from_secs(1), TIMEOUT_MAX),
        };
        Some((settings, route))
    }

    /// The provider, connected to nobody.
    pub(super) fn provider(&self, tls: Tls, dns: Dns, clock: Clock) -> Box<dyn Provider> {
        let http = |base: &BaseUrl| Http {
            base: base.clone(),
            tls,
            dns,
            timeout: self.timeout,
        };
        match &self.service {
            Service::Notify(notify) => Box::new(Notify {
                http: http(&notify.url),
                key: notify.key.clone(),
                template: notify.template.clone(),
                placeholder: notify.placeholder.clone(),
                personalisation: notify.personalisation.clone(),
                sender: notify.sender.clone(),
                clock,
            }),
            Service::Webhook { url, token } => Box::new(Webhook {
                http: http(url),
                token: token.clone(),
            }),
        }
    }
}

/// Exactly one of `[sms.notify]` and `[sms.webhook]`.
fn read_service(section: &Section<'_>) -> Option<Service> {
    let (notify, webhook) = (section.section("notify"), section.section("webhook"));
    let service = match (notify.is_present(), webhook.is_present()) {
        (true, false) => read_notify(&notify).map(|one| Service::Notify(Box::new(one))),
        (false, true) => {
            let token = match webhook.has("token") {
                true => Some(read_secret(&webhook, "token")?),
                false => None,
            };
            webhook
                .required::<BaseUrl>("url")
                .map(|url| Service::Webhook {
                    url: url.into_inner(),
                    token,
                })
        }
        _ => {
            section.diagnostics().push(
                Diagnostic::error("sms-provider", "text messages need one provider")
                    .at(section.place(), "")
                    .help("write [sms.notify] or [sms.webhook]"),
            );
            return None;
        }
    };
    notify.finish();
    webhook.finish();
    service
}

fn read_notify(section: &Section<'_>) -> Option<NotifySettings> {
    let key =
        read_secret(section, "api-key").and_then(|key| match key.expose().parse::<ApiKey>() {
            Ok(key) => Some(key),
            Err(error) => {
                section.diagnostics().push(
                    Diagnostic::error("bad-value", "`api-key` is none")
                        .at(section.place(), "")
                        .help(error.to_string()),
                );
                None
            }
        });
    let url = match section.has("url") {
        true => section.parse::<BaseUrl>("url").map(Located::into_inner),
        false => NOTIFY.parse().ok(),
    };
    let template = section.required_string("template");
    let placeholder = section.string("placeholder");
    let sender = section.string("sender");
    let others = section.section("personalisation");
    let personalisation = others.keys().into_iter().filter_map(|key| {
        let value = others.string(&key)?;
        Some((key.into_inner(), value.into_inner()))
    });
    let personalisation = personalisation.collect();
    others.finish();
    Some(NotifySettings {
        url: url?,
        key: key?,
        template: template?.into_inner(),
        placeholder: placeholder.map_or_else(|| "body".to_owned(), Located::into_inner),
        personalisation,
        sender: sender.map(Located::into_inner),
    })
}

fn read_callbacks(section: &Section<'_>) -> Option<CallbackSettings> {
    let callbacks = section.section("callbacks");
    if !callbacks.is_present() {
        return None;
    }
    let address = callbacks.required::<SocketAddr>("address");
    let token = read_secret(&callbacks, "token");
    if let Some(address) = &address
        && !address.ip().is_loopback()
    {
        let help = "write 127.0.0.1, and put a proxy with TLS before it".to_owned();
        callbacks.report(
            "not-loopback",
            "receipts would come in clear over the network",
            address,
            help,
        );
    }
    callbacks.finish();
    Some(CallbackSettings {
        address: address?.into_inner(),
        token: token?,
    })
}

/// `key = { file = "…" }` or `{ env = "…" }`, which must be there.
fn read_secret(section: &Section<'_>, key: &str) -> Option<Secret> {
    let named = section.section(key);
    let place = named.place().clone();
    let Some(source) = named.secret_source() else {
        section.diagnostics().push(
            Diagnostic::error("missing-key", format!("`{key}` names no secret"))
                .at(&place, "")
                .help(format!(
                    "write {key} = {{ file = \"…\" }} or {key} = {{ env = \"…\" }}"
                )),
        );
        return None;
    };
    match Secret::load(&source) {
        Ok(secret) => Some(secret),
        Err(error) => {
            section.diagnostics().push(
                Diagnostic::error("unreadable-secret", format!("`{key}` cannot be read"))
                    .at(&place, "")
                    .help(error.to_string()),
            );
            None
        }
    }
}

fn read_schedule(section: &Section<'_>) -> RetrySchedule {
    let minutes = |n: u64| Duration::from_secs(n * 60);
    let duration = |key, default| section.duration(key).map_or(default, Located::into_inner);
    let delays = section.durations("retry").unwrap_or_default().into_iter();
    let delays: Vec<Duration> = delays
        .map(Located::into_inner)
        .filter(|delay| !delay.is_zero())
        .collect();
    RetrySchedule {
        delays: match delays.is_empty() {
            true => [1, 5, 15, 30, 60].map(minutes).to_vec(),
            false => delays,
        },
        warn_after: duration("warn-after", minutes(12 * 60)),
        give_up_after: duration("give-up-after", minutes(4 * 24 * 60)),
    }
}

/// Where Notify is.
const NOTIFY: &str = "https://api.notifications.service.gov.uk";
/// No text at night, unless somebody says otherwise.
const QUIET: &str = "21:00-08:00";
/// Reminders for one patient in a day.
const PER_NUMBER: u32 = 5;
/// For a request and its answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Under the time that a lease lasts.
const TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// Requests at once.
const CONNECTIONS: usize = 20;
/// A minute: Notify takes 3,000 of a key, and we are not the only ones to use it.
const RATE: u32 = 2_400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::read_text;

    const WEBHOOK: &str = "[sms.webhook]\nurl = \"https://texts.example/send\"\n";

    fn read(text: &str) -> (Option<(SmsSettings, Route)>, Vec<&'static str>) {
        let (read, said) = read_text("policies/postern.toml", text, SmsSettings::read);
        (read, said.iter().map(|one| one.id).collect())
    }

    fn with(sms: &str, more: &str) -> Vec<&'static str> {
        read(&format!("[sms]\ndomain = \"sms.example\"\n{sms}\n{more}")).1
    }

    #[test]
    fn the_shipped_reference_can_be_used_as_it_stands() {
        let shipped = std::fs::read_to_string("policies/postern.toml").unwrap();
        let (from, to) = (
            shipped.find("# [sms]").unwrap(),
            shipped.find("# --- Seen").unwrap(),
        );
        let lines = shipped[from..to]
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap_or(""));
        let text: Vec<&str> = lines.filter(|line| !line.starts_with("  ")).collect();
        let (text, webhook) = (text.join("\n"), "[sms.webhook]");
        let before = text.find(webhook).unwrap();
        let after = text.find("[sms.callbacks]").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, secret: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, secret).unwrap();
            path.display().to_string()
        };
        let key = "26785a09-ab16-4eb0-8407-a37497a57506-3d844edf-8d35-48ac-975b-e847b4f122b0";
        let text = format!("{}{}", &text[..before], &text[after..])
            .replace("../keys/notify-callback", &file("token", "x"))
            .replace("../keys/notify", &file("key", key));
        let (found, said) = read(&text);
        assert_eq!(said, [""; 0], "{text}");
        let (settings, route) = found.unwrap();
        let (plain, _) = read(&format!(
            "[sms]\ndomain = \"sms.bumbleton.example\"\n{WEBHOOK}"
        ));
        let (default, of_default) = plain.unwrap();
        assert_eq!(
            (settings.quiet, settings.per_number),
            (default.quiet, default.per_number)
        );
        assert_eq!(
            (settings.on_unknown, settings.timeout),
            (default.on_unknown, default.timeout)
        );
        assert_eq!(route, of_default);
        assert!(settings.callbacks.is_some());
    }

    #[test]
    fn what_would_not_do_what_it_says_is_refused() {
        assert!(read("").0.is_none());
        assert_eq!(with("", WEBHOOK), [""; 0]);
        assert_eq!(with("", ""), ["sms-provider"]);
        assert_eq!(
            with("", &format!("{WEBHOOK}[sms.notify]\n")),
            ["sms-provider"]
        );
        assert_eq!(with("quiet-hours = \"night\"", WEBHOOK), ["bad-value"]);
        assert_eq!(with("on-unknown = \"send\"", WEBHOOK), ["bad-word"]);
        assert_eq!(with("quiet = \"none\"", WEBHOOK), ["unknown-key"]);
        assert_eq!(with("", &WEBHOOK.replace("https", "http")), ["bad-value"]);
        let notify = "[sms.notify]\ntemplate = \"x\"\napi-key = \"abc\"\n";
        assert_eq!(with("", notify), ["wrong-type", "missing-key"]);
        let callbacks =
            "[sms.callbacks]\naddress = \"0.0.0.0:1\"\ntoken = { env = \"CARGO_PKG_NAME\" }\n";
        assert_eq!(with("", &format!("{WEBHOOK}{callbacks}")), ["not-loopback"]);
    }

    #[test]
    fn no_secret_is_printed() {
        let text = format!(
            "[sms]\ndomain = \"sms.example\"\n{WEBHOOK}token = {{ env = \"CARGO_PKG_NAME\" }}\n"
        );
        let shown = format!("{:?}", read(&text).0.unwrap().0);
        assert!(!shown.contains("postern"), "{shown}");
    }
}
