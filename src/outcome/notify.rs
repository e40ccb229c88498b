//! Whether a notification is due, to whom, and its text (RFC 3461 §5.2, RFC 5321 §6.1).
//!
//! One report tells of all recipients that met the same kind of event in the same attempt. A
//! message with the null reverse path is itself a report and never causes another. Where patient
//! data was found, or the message came with REQUIRETLS, the report quotes nothing of it but its `Message-ID`.

use std::time::Duration;

use jiff::Timestamp;

use crate::base::Reference;
use crate::mail::report::{
    Action, DeliveryStatusNotification, Diagnostic, RecipientStatus, Returned, ascii_address,
};
use crate::mail::{EnvId, Mailbox, Message, Notify, Recipient, Ret, ReversePath};

use super::Outcome;
use super::audit::{AuditEvent, AuditKind};

/// The message that a report is about.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    /// What people quote.
    pub reference: &'a Reference,
    /// Who hears of it.
    pub reverse_path: &'a ReversePath,
    /// The sender's identifier of the envelope.
    pub env_id: Option<&'a EnvId>,
    /// How much the sender wants back.
    pub ret: Option<Ret>,
    /// The octets.
    pub message: &'a Message,
    /// Its `Message-ID`.
    pub message_id: Option<&'a str>,
    /// Whether patient data was found in it.
    pub patient_data: bool,
    /// Whether it came with REQUIRETLS: reports go without, and so repeat nothing of it (RFC 8689 §5).
    pub require_tls: bool,
    /// When it was received.
    pub received_at: Timestamp,
}

/// What happened to one recipient, in the view of the sender.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The recipient.
    pub recipient: &'a Recipient,
    /// What came of the last attempt.
    pub outcome: &'a Outcome,
    /// What that means.
    pub event: Event,
}

/// What a sender may want to hear of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// It failed for good.
    Failed,
    /// Its time ran out.
    Expired,
    /// It is late, and will be tried until then.
    Delayed {
        /// When it is given up.
        until: Timestamp,
    },
    /// It is in its mailbox.
    Delivered,
    /// It went on to a server that does not report (RFC 3461 §5.2.2).
    Relayed,
}

/// A report, ready for the queue: under the null reverse path, to one recipient.
#[derive(Clone, Debug)]
pub struct Notice {
    /// What people quote: one of its own.
    pub reference: Reference,
    /// The sender of the message that it is about.
    pub to: Mailbox,
    /// The report.
    pub message: Message,
    /// Its `Message-ID`.
    pub message_id: String,
    /// When it was written.
    pub at: Timestamp,
    /// If it tells of something that may happen often: how often it may be told.
    pub unless_told: Option<UnlessTold>,
    /// For the audit trail.
    pub event: AuditEvent,
}

/// Of what somebody is told, and how often at most.
#[derive(Clone, Debug)]
pub struct UnlessTold {
    /// Who is told.
    pub to: String,
    /// What of: `held reminders.fa123.donotreply@nhs.net`. Not the name of an old address.
    pub about: String,
    /// Not again before so much time has gone.
    pub at_most_every: Duration,
}

impl Notice {
    /// Puts it together: a reference of its own, the message that `compose` makes under the `Message-ID`
    /// given to it, and the event that says to whom it went, about what and why (`action`).
    pub(super) fn write(
        to: &Mailbox,
        about: &Reference,
        action: &str,
        hostname: &str,
        at: Timestamp,
        compose: impl FnOnce(&str) -> Message,
    ) -> Self {
        let reference = Reference::random();
        let message_id = format!("<{reference}.{}@{hostname}>", at.as_millisecond());
        let message = compose(&message_id);
        let mut event = AuditEvent::new(at, reference.clone(), AuditKind::Notified, "")
            .fact("about", about.to_string())
            .fact("action", action)
            .fact("octets", message.len().to_string());
        event.recipient = Some(to.to_string());
        event.message_id = Some(message_id.clone());
        Self {
            reference,
            to: to.clone(),
            message,
            message_id,
            at,
            unless_told: None,
            event,
        }
    }
}

/// Whether the sender is to hear of this event (RFC 3461 §4.1, §5.2; RFC 5321 §4.5.5).
pub fn is_due(reverse_path: &ReversePath, recipient: &Recipient, event: Event) -> bool {
    if reverse_path.notifiable().is_none() {
        return false;
    }
    match event {
        Event::Failed | Event::Expired => Notify::on_failure(recipient.notify),
        Event::Delayed { .. } => Notify::on_delay(recipient.notify),
        Event::Delivered | Event::Relayed => Notify::on_success(recipient.notify),
    }
}

/// Returns the reports that are due: at most one for failures, one for delays, one for successes.
pub fn notices(
    original: &Original<'_>,
    told: &[Told<'_>],
    hostname: &str,
    now: Timestamp,
) -> Vec<Notice> {
    let Some(to) = original.reverse_path.notifiable() else {
        return Vec::new();
    };
    [Kind::Failure, Kind::Delay, Kind::Success]
        .into_iter()
        .filter_map(|kind| {
            let due: Vec<Told<'_>> = told
                .iter()
                .filter(|told| Kind::of(told.event) == kind)
                .filter(|told| is_due(original.reverse_path, told.recipient, told.event))
                .copied()
                .collect();
            (!due.is_empty()).then(|| notice(kind, to, original, &due, hostname, now))
        })
        .collect()
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Failure,
    Delay,
    Success,
}

impl Kind {
    fn of(event: Event) -> Self {
        match event {
            Event::Failed | Event::Expired => Self::Failure,
            Event::Delayed { .. } => Self::Delay,
            Event::Delivered | Event::Relayed => Self::Success,
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Failure => "Undelivered mail: your message could not be delivered",
            Self::Delay => "Delayed mail: your message has not been delivered yet",
            Self::Success => "Successful mail delivery report",
        }
    }
}

fn notice(
    kind: Kind,
    to: &Mailbox,
    original: &Original<'_>,
    due: &[Told<'_>],
    hostname: &str,
    now: Timestamp,
) -> Notice {
    let action = status(&due[0], now).action.word();
    Notice::write(
        to,
        original.reference,
        action,
        hostname,
        now,
        |message_id| {
            let report = DeliveryStatusNotification {
                hostname,
                to,
                message_id,
                date: now,
                subject: kind.subject(),
                text: &text(kind, original, due, hostname),
                env_id: original.env_id,
                arrival_date: original.received_at,
                recipients: due.iter().map(|told| status(told, now)).collect(),
                returned: returned(kind, original),
            };
            report.compose()
        },
    )
}

fn status<'a>(told: &Told<'a>, now: Timestamp) -> RecipientStatus<'a> {
    let (action, until) = match told.event {
        Event::Failed | Event::Expired => (Action::Failed, None),
        Event::Delayed { until } => (Action::Delayed, Some(until)),
        Event::Delivered => (Action::Delivered, None),
        Event::Relayed => (Action::Relayed, None),
    };
    let outcome = told.outcome;
    RecipientStatus {
        final_recipient: &told.recipient.forward_path,
        original_recipient: told.recipient.orcpt.as_ref(),
        action,
        status: outcome.status,
        remote_mta: outcome.next_hop.as_deref(),
        diagnostic: match (&outcome.reply, &outcome.because) {
            (Some(reply), _) => Some(Diagnostic::Smtp(reply.to_string())),
            (None, Some(because)) => Some(Diagnostic::Ours(because.clone())),
            (None, None) => None,
        },
        last_attempt: now,
        will_retry_until: until,
    }
}

/// RET is about failures; other reports return the header (RFC 3461 §4.3, §6.2). So do those about a large message: a
/// report that the sender's own server finds too large is lost without a word.
fn returned<'a>(kind: Kind, original: &Original<'a>) -> Returned<'a> {
    let is_secret = original.patient_data || original.require_tls;
    match (is_secret, original.message_id) {
        (true, Some(id)) => Returned::MessageId(id),
        (true, None) => Returned::Nothing,
        (false, _)
            if kind == Kind::Failure
                && original.ret == Some(Ret::Full)
                && original.message.len() <= RETURNED_MAX =>
        {
            Returned::Full(original.message)
        }
        (false, _) => Returned::Header(original.message),
    }
}

/// No larger message is returned whole, in octets: what every server takes.
const RETURNED_MAX: usize = 1 << 20;

/// What the sender reads: what happened, to whom, why, what to do, what to quote.
fn text(kind: Kind, original: &Original<'_>, due: &[Told<'_>], hostname: &str) -> Vec<String> {
    let mut paragraphs = vec![
        format!("This is the mail gateway {hostname}."),
        opening(kind),
    ];
    paragraphs.extend(due.iter().map(about_recipient));
    let why_secret = match (original.patient_data, original.require_tls) {
        (true, _) => Some("may hold patient data"),
        (false, true) => Some("was sent to go under TLS alone (REQUIRETLS)"),
        (false, false) => None,
    };
    paragraphs.extend(why_secret.map(|why| {
        format!("The message {why}, so nothing of it is repeated here but its Message-ID.")
    }));
    paragraphs.push(format!(
        "If you ask for help with this, please quote the reference {}.",
        original.reference
    ));
    paragraphs
}

fn opening(kind: Kind) -> String {
    match kind {
        Kind::Failure => {
            "Your message could not be delivered to the recipients below, and it will not be tried \
             again. If it is still needed, please check the address and the reason, and send it \
             anew or by another way."
        }
        Kind::Delay => {
            "Your message has not been delivered to the recipients below yet. You do not have to \
             do anything: it will be tried again. If it is urgent, please use another way."
        }
        Kind::Success => "You asked to be told: your message has gone to the recipients below.",
    }
    .to_owned()
}

fn about_recipient(told: &Told<'_>) -> String {
    let recipient = ascii_address(&told.recipient.forward_path.to_string());
    let outcome = told.outcome;
    let why = match (&outcome.reply, &outcome.next_hop) {
        (Some(reply), Some(next_hop)) => format!("the server {next_hop} answered: {reply}"),
        _ => outcome.text(),
    };
    let asked = match &told.recipient.orcpt {
        Some(orcpt) if orcpt.address() != told.recipient.forward_path.to_string() => {
            format!(" (you wrote to {})", ascii_address(orcpt.address()))
        }
        _ => String::new(),
    };
    match told.event {
        Event::Failed => format!("<{recipient}>{asked}: {why}"),
        Event::Expired => {
            format!("<{recipient}>{asked}: it was tried until its time ran out. At last, {why}")
        }
        Event::Delayed { until } => format!(
            "<{recipient}>{asked}: {why}. It will be tried until {}.",
            until.strftime("%A, %-d %B %Y, %H:%M UTC")
        ),
        Event::Delivered => format!("<{recipient}>{asked}: it was delivered to the mailbox."),
        Event::Relayed => format!(
            "<{recipient}>{asked}: it was passed on to a server that does not report what becomes of it."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{EnhancedStatusCode, ForwardPath, Orcpt, Reply};

    fn at() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn to(path: &str, notify: Option<&str>) -> Recipient {
        Recipient {
            forward_path: ForwardPath::parse(path).unwrap(),
            notify: notify.and_then(Notify::parse),
            orcpt: None,
        }
    }

    fn refused() -> Outcome {
        let status = EnhancedStatusCode::permanent(1, 1);
        Outcome::from_reply(
            Reply::new(550, status, "no such user here"),
            "mx.ward.example",
            true,
        )
    }

    /// The notices about a message of this sender, with and without patient data.
    fn about(sender: &str, patient_data: bool, told: &[Told<'_>]) -> Vec<Notice> {
        let message =
            Message::new("Subject: results\r\nMessage-ID: <m1@b.example>\r\n\r\nsecret\r\n");
        let original = Original {
            reference: &"PX-7F3K2Q9A".parse().unwrap(),
            reverse_path: &ReversePath::parse(sender).unwrap(),
            env_id: None,
            ret: Some(Ret::Full),
            message: &message,
            message_id: Some("<m1@b.example>"),
            patient_data,
            require_tls: false,
            received_at: at(),
        };
        notices(&original, told, "gate.example", at())
    }

    fn told<'a>(recipient: &'a Recipient, outcome: &'a Outcome, event: Event) -> Told<'a> {
        Told {
            recipient,
            outcome,
            event,
        }
    }

    #[test]
    fn who_hears_of_what_is_as_rfc_3461_says() {
        let sender = ReversePath::parse("s@b.example").unwrap();
        let delayed = Event::Delayed { until: at() };
        for (notify, failed, late, relayed) in [
            (None, true, true, false),
            (Some("NEVER"), false, false, false),
            (Some("SUCCESS"), false, false, true),
            (Some("FAILURE"), true, false, false),
            (Some("DELAY"), false, true, false),
        ] {
            let recipient = to("a@ward.example", notify);
            let due = |event| is_due(&sender, &recipient, event);
            assert_eq!((due(Event::Failed), due(Event::Expired)), (failed, failed));
            assert_eq!((due(delayed), due(Event::Relayed)), (late, relayed));
            assert!(!is_due(&ReversePath::Null, &recipient, Event::Failed));
        }
    }

    #[test]
    fn one_report_tells_of_all_that_failed_together() {
        let outcome = refused();
        let [a, b, c] = [
            to("a@ward.example", None),
            to("b@ward.example", Some("FAILURE")),
            to("c@ward.example", Some("NEVER")),
        ];
        let failed = |recipient| told(recipient, &outcome, Event::Failed);

        let notices = about("s@b.example", false, &[failed(&a), failed(&b), failed(&c)]);

        assert_eq!(notices.len(), 1);
        let text = String::from_utf8_lossy(notices[0].message.octets()).into_owned();
        assert!(text.contains("Final-Recipient: rfc822; a@ward.example"));
        assert!(text.contains("Final-Recipient: rfc822; b@ward.example"));
        assert!(!text.contains("c@ward.example"));
        assert!(text.contains("secret"), "RET=FULL");
        assert_eq!(
            about("", false, &[failed(&a)]).len(),
            0,
            "no report about a report"
        );
    }

    /// RFC 8689 §5: what may go under TLS alone must not come back in clear.
    #[test]
    fn a_report_about_mail_that_requires_tls_returns_nothing_but_its_message_id() {
        let outcome = refused();
        let recipient = to("a@ward.example", Some("SUCCESS,FAILURE,DELAY"));
        let message =
            Message::new("Subject: results\r\nMessage-ID: <m1@b.example>\r\n\r\nsecret\r\n");
        for (event, require_tls, is_returned) in [
            (Event::Failed, false, true),
            (Event::Failed, true, false),
            (Event::Delayed { until: at() }, true, false),
            (Event::Relayed, true, false),
        ] {
            let original = Original {
                reference: &"PX-7F3K2Q9A".parse().unwrap(),
                reverse_path: &ReversePath::parse("s@b.example").unwrap(),
                env_id: None,
                ret: Some(Ret::Full),
                message: &message,
                message_id: Some("<m1@b.example>"),
                patient_data: false,
                require_tls,
                received_at: at(),
            };
            let told = [told(&recipient, &outcome, event)];
            let notices = notices(&original, &told, "gate.example", at());
            let text = String::from_utf8_lossy(notices[0].message.octets()).into_owned();
            assert!(text.contains("<m1@b.example>"), "{text}");
            assert_eq!(text.contains("Subject: results"), is_returned, "{text}");
            assert_eq!(text.contains("secret"), is_returned, "{text}");
            assert_eq!(text.contains("(REQUIRETLS)"), require_tls, "{text}");
        }
    }

    #[test]
    fn a_large_message_is_not_returned_whole() {
        let returned_of = |octets: usize| {
            let message = format!("Subject: results\r\n\r\n{}", "x".repeat(octets));
            let original = Original {
                reference: &"PX-7F3K2Q9A".parse().unwrap(),
                reverse_path: &ReversePath::parse("s@b.example").unwrap(),
                env_id: None,
                ret: Some(Ret::Full),
                message: &Message::new(message),
                message_id: None,
                patient_data: false,
                require_tls: false,
                received_at: at(),
            };
            matches!(returned(Kind::Failure, &original), Returned::Full(_))
        };
        assert!(returned_of(RETURNED_MAX - 100));
        assert!(!returned_of(RETURNED_MAX));
    }

    #[test]
    fn what_a_person_reads_names_recipient_reason_and_reference() {
        let outcome = refused();
        let mut recipient = to("pharmacy.faq59@nhs.net", None);
        recipient.orcpt = Orcpt::parse("rfc822;old.name@nhs.net");

        let notices = about(
            "s@b.example",
            true,
            &[told(&recipient, &outcome, Event::Failed)],
        );

        let text = String::from_utf8_lossy(notices[0].message.octets()).into_owned();
        let readable = text
            .split("text/plain; charset=us-ascii\r\n\r\n")
            .nth(1)
            .unwrap();
        let readable = readable
            .split("\r\n--")
            .next()
            .unwrap()
            .replace("\r\n", "\n");
        let expected = "\
This is the mail gateway gate.example.

Your message could not be delivered to the recipients below, and it will not
be tried again. If it is still needed, please check the address and the
reason, and send it anew or by another way.

<pharmacy.faq59@nhs.net> (you wrote to old.name@nhs.net): the server
mx.ward.example answered: 550 5.1.1 no such user here

The message may hold patient data, so nothing of it is repeated here but its
Message-ID.

If you ask for help with this, please quote the reference PX-7F3K2Q9A.
";
        assert_eq!(readable.trim_end(), expected.trim_end());
        assert!(!text.contains("secret") && !text.contains("results"));
        assert!(text.contains("Message-ID: <m1@b.example>\r\n"));
    }

    #[test]
    fn a_delay_says_until_when() {
        let outcome =
            Outcome::without_reply(EnhancedStatusCode::transient(4, 1), "connection timed out");
        let recipient = to("a@ward.example", None);
        let until = at() + Duration::from_secs(5 * 24 * 3600);

        let notices = about(
            "s@b.example",
            false,
            &[told(&recipient, &outcome, Event::Delayed { until })],
        );

        let text = String::from_utf8_lossy(notices[0].message.octets()).into_owned();
        for field in [
            "Action: delayed\r\n",
            "Status: 4.4.1\r\n",
            "Will-Retry-Until: Thu, 26 Nov 2026 10:00:00 +0000\r\n",
            "Diagnostic-Code: x-postern; connection timed out\r\n",
        ] {
            assert!(text.contains(field), "{field}");
        }
        assert!(!text.contains("secret"), "RET is about failures");
    }
}
