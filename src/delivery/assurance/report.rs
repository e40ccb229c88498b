//! Reports of how TLS went (RFC 8460): what is counted, where reports are wanted, and the report of a day.

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::base::dns::DnsError;
use crate::mail::{Mailbox, Message};

use super::db::Tally;
use super::{Assurance, AssuranceError, Known};
use crate::delivery::https::Asked;

/// One session with an exchanger, or one attempt to have the policy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::delivery) struct Session {
    pub(in crate::delivery) domain: String,
    pub(in crate::delivery) policy: SessionPolicy,
    /// The exchanger and its address.
    pub(in crate::delivery) mx: String,
    pub(in crate::delivery) ip: Option<IpAddr>,
    /// The address of ours that it was made from.
    pub(in crate::delivery) from: Option<IpAddr>,
    /// A result type of §4.3; `None` for success.
    pub(in crate::delivery) failure: Option<&'static str>,
    /// More about a failure.
    pub(in crate::delivery) reason: String,
}

/// Which policy a session was held to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::delivery) enum SessionPolicy {
    /// None.
    NotFound,
    /// MTA-STS.
    Sts(Option<Arc<Known>>),
    /// DANE, with these records.
    Tlsa(Vec<String>),
}

impl Session {
    /// The policy of a domain could not be had.
    pub(super) fn of_fetch(domain: &str, failure: &'static str, reason: String) -> Self {
        Self {
            domain: domain.to_owned(),
            policy: SessionPolicy::Sts(None),
            mx: String::new(),
            ip: None,
            from: None,
            failure: Some(failure),
            reason,
        }
    }

    /// What it is counted under. Of a success nothing but the policy matters.
    pub(super) fn tally(self, day: Date) -> Tally {
        let (policy_type, lines, mx_hosts) = match &self.policy {
            SessionPolicy::NotFound => ("no-policy-found", Vec::new(), Vec::new()),
            SessionPolicy::Sts(None) => ("sts", Vec::new(), Vec::new()),
            SessionPolicy::Sts(Some(known)) => {
                let lines = known.text.lines().map(|line| line.trim().to_owned());
                let lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
                let mx = lines.iter().filter_map(|line| {
                    let (key, value) = line.split_once(':')?;
                    (key.trim() == "mx").then(|| value.trim().to_owned())
                });
                let mx = mx.collect();
                ("sts", lines, mx)
            }
            SessionPolicy::Tlsa(lines) => ("tlsa", lines.clone(), vec![self.mx.clone()]),
        };
        let failed = self.failure.is_some();
        let in_text = |ip: Option<IpAddr>| ip.map_or_else(String::new, |ip| ip.to_string());
        let if_failed = |text: String| if failed { text } else { String::new() };
        Tally {
            day,
            domain: self.domain,
            policy_type: policy_type.to_owned(),
            policy: json!(lines).to_string(),
            mx_hosts: json!(mx_hosts).to_string(),
            result: self.failure.unwrap_or_default().to_owned(),
            mx: if_failed(self.mx),
            ip: if_failed(in_text(self.ip)),
            sending_ip: if_failed(in_text(self.from)),
            reason: if_failed(self.reason).chars().take(REASON_MAX).collect(),
        }
    }
}

/// Where a domain wants its reports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// By mail.
    Mail(Mailbox),
    /// By POST.
    Https {
        /// The server.
        host: String,
        /// Its port, if the address has one.
        port: Option<u16>,
        /// With its slash.
        path: String,
    },
}

/// The destinations in the one TLSRPTv1 record among the texts of `_smtp._tls.DOMAIN`; none if there is no such
/// record, or more than one (RFC 8460 §3).
pub(super) fn destinations_of(texts: &[String]) -> Vec<Destination> {
    let mut records = texts.iter().filter_map(|text| {
        let mut fields = text.split(';').map(str::trim);
        (text.starts_with("v=TLSRPTv1") && fields.next() == Some("v=TLSRPTv1")).then_some(fields)
    });
    let (Some(mut fields), None) = (records.next(), records.next()) else {
        return Vec::new();
    };
    let rua = fields.find_map(|field| field.strip_prefix("rua="));
    let uris = rua.unwrap_or_default().split(',').map(str::trim);
    uris.filter_map(destination)
        .take(DESTINATIONS_MAX)
        .collect()
}

fn destination(uri: &str) -> Option<Destination> {
    let (scheme, rest) = uri.split_once(':')?;
    if scheme.eq_ignore_ascii_case("mailto") {
        let address = rest.split('?').next().unwrap_or_default();
        let mailbox = Mailbox::parse(&unescaped(address)?).ok()?;
        return Some(Destination::Mail(mailbox));
    }
    let rest = rest.strip_prefix("//")?;
    if !scheme.eq_ignore_ascii_case("https") || rest.contains(|c: char| !c.is_ascii_graphic()) {
        return None;
    }
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (authority, None),
    };
    let host = crate::mail::Domain::parse(host).ok()?;
    let path = path.split('#').next().unwrap_or_default();
    Some(Destination::Https {
        host: host.to_string(),
        port,
        path: path.to_owned(),
    })
}

/// Without percent signs (RFC 3986 §2.1).
fn unescaped(text: &str) -> Option<String> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            octets.push(*first);
            continue;
        }
        let digits = after
            .get(..2)
            .filter(|two| two.iter().all(u8::is_ascii_hexdigit))?;
        octets.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(octets).ok()
}

/// The report of a day for one domain.
#[derive(Clone, Debug)]
pub struct TlsReport {
    /// Whose sessions.
    pub domain: String,
    /// When (universal time).
    pub day: Date,
    /// Where it goes.
    pub destinations: Vec<Destination>,
    id: String,
    compressed: Vec<u8>,
}

impl Assurance {
    /// Where a domain wants its reports. Errs if that cannot be found out now.
    pub(super) async fn destinations(&self, domain: &str) -> Result<Vec<Destination>, DnsError> {
        match self.dns.txt(&format!("_smtp._tls.{domain}")).await {
            Ok(texts) => Ok(destinations_of(&texts)),
            Err(error) if error.may_pass() => Err(error),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Who sends the reports, if they are sent.
    pub fn report_from(&self) -> Option<&Mailbox> {
        self.settings.report_from.as_ref()
    }

    /// The reports of the days before today that were not sent. Those that are too old, and those that nobody
    /// wants any more, are dropped; where it is not known who wants them, they wait for the next time.
    pub async fn reports_due(&self, submitter: &str) -> Result<Vec<TlsReport>, AssuranceError> {
        let Some(from) = self.report_from() else {
            return Ok(Vec::new());
        };
        let (today, mut reports) = (self.today(), Vec::new());
        for (day, domain) in self.on_disk(move |db| db.due(today)).await? {
            let age = today.since(day).map_or(i32::MAX, |span| span.get_days());
            let destinations = match self.destinations(&domain).await {
                Ok(destinations) => destinations,
                Err(_) if age <= GIVE_UP_DAYS => continue,
                Err(_) => Vec::new(),
            };
            if destinations.is_empty() || age > GIVE_UP_DAYS {
                self.reported(day, &domain).await?;
                continue;
            }
            let of = domain.clone();
            let tallies = self.on_disk(move |db| db.tallies(day, &of)).await?;
            let id = format!("{day}.{domain}@{submitter}");
            let text = body(&tallies, day, &id, submitter, from).to_string();
            reports.push(TlsReport {
                compressed: gzip(text.as_bytes()),
                domain,
                day,
                destinations,
                id,
            });
        }
        Ok(reports)
    }

    /// Hands a report to a web server (RFC 8460 §5.4). Errs with what to write into the log.
    pub async fn post(&self, report: &TlsReport, to: &Destination) -> Result<(), String> {
        let Destination::Https { host, port, path } = to else {
            return Err("not a web server".to_owned());
        };
        let asked = Asked {
            host,
            port: *port,
            path,
            post: Some((MEDIA_TYPE, report.compressed.clone().into())),
        };
        match self.https.ask(&asked).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ok(answer) => Err(format!("the server answers {}", answer.status)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A report is on its way, or will not be: what it was made of goes.
    pub async fn reported(&self, day: Date, domain: &str) -> Result<(), AssuranceError> {
        let domain = domain.to_owned();
        self.on_disk(move |db| db.reported(day, &domain)).await
    }
}

impl TlsReport {
    /// The report as mail (RFC 8460 §5.3). It asks to be delivered whatever the domain's policy says of TLS: what it
    /// reports may be the very reason that it would not be (§3).
    pub fn message(
        &self,
        from: &Mailbox,
        to: &Mailbox,
        submitter: &str,
        now: Timestamp,
    ) -> Message {
        let (domain, id) = (&self.domain, &self.id);
        let (start, end) = bounds(self.day);
        let (start, end) = (start.as_second(), end.as_second());
        let date = jiff::fmt::rfc2822::to_string(&now.to_zoned(TimeZone::UTC)).unwrap_or_default();
        // Letters and digits alone (§5.1).
        let unique = self.day.strftime("%Y%m%d");
        let file = format!("{submitter}!{domain}!{start}!{end}!{unique}.json.gz");
        let mut text = format!(
            "From: <{from}>\r\nTo: <{to}>\r\nDate: {date}\r\n\
             Subject: Report Domain: {domain}\r\n Submitter: {submitter}\r\n Report-ID: <{id}>\r\n\
             Message-ID: <tlsrpt.{start}.{domain}@{submitter}>\r\n\
             TLS-Report-Domain: {domain}\r\nTLS-Report-Submitter: {submitter}\r\nTLS-Required: No\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"{BOUNDARY}\"\r\n\r\n\
             --{BOUNDARY}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
             This is an aggregate TLS report (RFC 8460) from {submitter}\r\nabout mail for {domain} on {}.\r\n\r\n\
             --{BOUNDARY}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment;\r\n filename=\"{file}\"\r\n\r\n",
            self.day
        );
        let encoded = BASE64_STANDARD.encode(&self.compressed);
        for line in encoded.as_bytes().chunks(76) {
            text.push_str(std::str::from_utf8(line).unwrap_or_default());
            text.push_str("\r\n");
        }
        text.push_str(&format!("--{BOUNDARY}--\r\n"));
        Message::new(text)
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// First and last second of a day.
fn bounds(day: Date) -> (Timestamp, Timestamp) {
    let at = |hour, minute, second| {
        let time = day.at(hour, minute, second, 0).to_zoned(TimeZone::UTC);
        time.map_or(Timestamp::UNIX_EPOCH, |zoned| zoned.timestamp())
    };
    (at(0, 0, 0), at(23, 59, 59))
}

/// RFC 8460 §4.4.
fn body(
    tallies: &[(Tally, i64)],
    day: Date,
    id: &str,
    submitter: &str,
    contact: &Mailbox,
) -> Value {
    let mut policies: Vec<(&Tally, Vec<&(Tally, i64)>)> = Vec::new();
    for row in tallies {
        // Two exchangers may have the same TLSA records.
        let of = |tally: &Tally| {
            let Tally {
                policy_type,
                policy,
                mx_hosts,
                ..
            } = tally;
            (policy_type.clone(), policy.clone(), mx_hosts.clone())
        };
        match policies
            .iter_mut()
            .find(|(first, _)| of(first) == of(&row.0))
        {
            Some((_, rows)) => rows.push(row),
            None => policies.push((&row.0, vec![row])),
        }
    }
    let policies = policies.iter().map(|(tally, rows)| {
        let list = |text: &str| serde_json::from_str(text).unwrap_or(Value::Array(Vec::new()));
        let of = |succeeded: bool| {
            let rows = rows.iter();
            rows.filter(move |(tally, _)| tally.result.is_empty() == succeeded)
        };
        let sum = |succeeded| of(succeeded).map(|(_, sessions)| sessions).sum::<i64>();
        let details = of(false).map(|(tally, sessions)| detail(tally, *sessions));
        json!({
            "policy": {
                "policy-type": tally.policy_type,
                "policy-string": list(&tally.policy),
                "policy-domain": tally.domain,
                "mx-host": list(&tally.mx_hosts),
            },
            "summary": {
                "total-successful-session-count": sum(true),
                "total-failure-session-count": sum(false),
            },
            "failure-details": details.collect::<Vec<_>>(),
        })
    });
    let (start, end) = bounds(day);
    json!({
        "organization-name": submitter,
        "date-range": {"start-datetime": start.to_string(), "end-datetime": end.to_string()},
        "contact-info": contact.to_string(),
        "report-id": id,
        "policies": policies.collect::<Vec<_>>(),
    })
}

fn detail(tally: &Tally, sessions: i64) -> Value {
    let mut detail = json!({"result-type": tally.result, "failed-session-count": sessions});
    for (key, value) in [
        ("sending-mta-ip", &tally.sending_ip),
        ("receiving-mx-hostname", &tally.mx),
        ("receiving-ip", &tally.ip),
        ("failure-reason-code", &tally.reason),
    ] {
        if !value.is_empty() {
            detail[key] = Value::from(value.as_str());
        }
    }
    detail
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing into memory does not fail.
    let _ = encoder.write_all(octets);
    encoder.finish().unwrap_or_default()
}

/// RFC 8460 §6.4.
const MEDIA_TYPE: &str = "application/tlsrpt+gzip";
const BOUNDARY: &str = "=_postern_tls_report";
/// Characters of a reason.
const REASON_MAX: usize = 200;
/// Destinations that one domain may name.
const DESTINATIONS_MAX: usize = 5;
/// A report that could not be sent for so long is dropped (RFC 8460 §5.5).
const GIVE_UP_DAYS: i32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::MimeHeaders as _;
    use proptest::prelude::*;
    use std::io::Read as _;

    fn destinations(text: &str) -> Vec<Destination> {
        destinations_of(&[text.to_owned()])
    }

    #[test]
    fn a_record_names_mailboxes_and_web_servers() {
        let mail = |address| Destination::Mail(Mailbox::parse(address).unwrap());
        let web = |host: &str, port, path: &str| Destination::Https {
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        };
        assert_eq!(
            destinations("v=TLSRPTv1; rua=mailto:r@x.example,https://r.example/v1/tlsrpt"),
            [mail("r@x.example"), web("r.example", None, "/v1/tlsrpt")]
        );
        assert_eq!(
            destinations(
                "v=TLSRPTv1;rua=mailto:a%2Bb@x.example?subject=y , HTTPS://r.example:8443;"
            ),
            [mail("a+b@x.example"), web("r.example", Some(8443), "/")]
        );
        for nothing in [
            "v=TLSRPTv1",
            "v=TLSRPTv1; rua=",
            "v=TLSRPTv1; rua=http://r.example/",
            "v=TLSRPTv1; rua=https://192.0.2.1/",
            "v=TLSRPTv1; rua=https://r.example/a b",
            "v=TLSRPTv1; rua=mailto:nobody",
            "v=TLSRPTv1; rua=mailto:a%zz@x.example",
            "v=TLSRPTv2; rua=mailto:r@x.example",
            "rua=mailto:r@x.example",
        ] {
            assert_eq!(destinations(nothing), [], "{nothing}");
        }
        let twice = ["v=TLSRPTv1; rua=mailto:a@x.example"; 2].map(str::to_owned);
        assert_eq!(destinations_of(&twice), []);
    }

    #[test]
    fn a_report_is_what_the_rfc_says_and_its_mail_too() {
        let day: Date = "2026-11-20".parse().unwrap();
        let session = |failure: Option<&'static str>, mx: &str| {
            Session {
                domain: "x.example".to_owned(),
                policy: SessionPolicy::Tlsa(vec!["3 1 1 ab".to_owned()]),
                mx: mx.to_owned(),
                ip: "192.0.2.1".parse().ok(),
                from: "192.0.2.9".parse().ok(),
                failure,
                reason: "because".to_owned(),
            }
            .tally(day)
        };
        let tallies = [
            (session(None, "mx.x.example"), 5_000),
            (session(Some("certificate-expired"), "mx.x.example"), 3),
        ];
        let contact = Mailbox::parse("tls@gw.example").unwrap();
        let body = body(&tallies, day, "id", "gw.example", &contact);
        assert_eq!(
            body["date-range"],
            json!({"start-datetime": "2026-11-20T00:00:00Z", "end-datetime": "2026-11-20T23:59:59Z"})
        );
        let policies = body["policies"].as_array().unwrap();
        assert_eq!(policies.len(), 1, "{body}");
        assert_eq!(
            policies[0]["summary"],
            json!({"total-successful-session-count": 5000, "total-failure-session-count": 3})
        );
        assert_eq!(
            policies[0]["failure-details"],
            json!([{"result-type": "certificate-expired", "failed-session-count": 3, "receiving-mx-hostname": "mx.x.example",
                "receiving-ip": "192.0.2.1", "failure-reason-code": "because", "sending-mta-ip": "192.0.2.9"}])
        );
        assert_eq!(policies[0]["policy"]["policy-type"], "tlsa");
        let two = [tallies[0].clone(), (session(None, "mx2.x.example"), 1)];
        let two = super::body(&two, day, "id", "gw.example", &contact);
        let named = |at: usize| &two["policies"][at]["policy"]["mx-host"];
        assert_eq!(named(0), &json!(["mx.x.example"]));
        assert_eq!(named(1), &json!(["mx2.x.example"]));

        let report = TlsReport {
            domain: "x.example".to_owned(),
            day,
            destinations: Vec::new(),
            id: "id".to_owned(),
            compressed: gzip(body.to_string().as_bytes()),
        };
        let to = Mailbox::parse("r@x.example").unwrap();
        let now = "2026-11-21T01:00:00Z".parse().unwrap();
        let message = report.message(&contact, &to, "gw.example", now);
        let parsed = mail_parser::MessageParser::new().parse(&message.octets()[..]);
        let parsed = parsed.unwrap();
        assert_eq!(
            parsed.subject(),
            Some("Report Domain: x.example Submitter: gw.example Report-ID: <id>")
        );
        let header = message.header();
        let field = |name| header.first(name).map(|field| field.value().into_owned());
        assert_eq!(field("TLS-Required").as_deref(), Some("No"));
        assert_eq!(field("TLS-Report-Domain").as_deref(), Some("x.example"));
        let attachment = parsed.attachment(0).unwrap();
        assert_eq!(
            attachment.attachment_name(),
            Some("gw.example!x.example!1795132800!1795219199!20261120.json.gz")
        );
        let mut text = String::new();
        flate2::read::GzDecoder::new(attachment.contents())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), body);
        assert!(
            message
                .octets()
                .split(|o| *o == b'\n')
                .all(|l| l.len() < 200)
        );
    }

    proptest! {
        #[test]
        fn no_record_breaks_the_reader(text in "\\PC{0,100}", rua in "[a-z:/%@.,!?0-9]{0,60}") {
            let _ = destinations(&text);
            let _ = destinations(&format!("v=TLSRPTv1; rua={rua}"));
        }
    }
}
