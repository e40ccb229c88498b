//! Every metric, with its help text, in one table; written in Prometheus' text format.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};

/// A number that is counted or measured.
#[derive(Debug)]
pub struct Metric {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    label: Option<(&'static str, &'static str)>,
    value: AtomicI64,
}

impl Metric {
    const fn counter(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            kind: "counter",
            label: None,
            value: AtomicI64::new(0),
        }
    }

    const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            kind: "gauge",
            label: None,
            value: AtomicI64::new(0),
        }
    }

    const fn with(mut self, label: &'static str, value: &'static str) -> Self {
        self.label = Some((label, value));
        self
    }

    /// Adds to it; gauges take negative numbers as well.
    pub fn add(&self, by: i64) {
        self.value.fetch_add(by, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, to: i64) {
        self.value.store(to, Ordering::Relaxed);
    }

    /// What it stands at.
    pub fn value(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $id:ident = $metric:expr;)*) => {
        $($(#[$doc])* pub static $id: Metric = $metric;)*
        /// All of them; those of one name stand together.
        static TABLE: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    /// Connections open now.
    CONNECTIONS_OPEN = Metric::gauge("postern_connections_open", "SMTP connections open now.");
    /// Connections accepted.
    CONNECTIONS = Metric::counter("postern_connections_total", "SMTP connections accepted.");
    /// Connections turned away at once.
    CONNECTIONS_REFUSED = Metric::counter("postern_connections_refused_total", "SMTP connections turned away: over a limit, or shutting down.");
    /// Messages for which a client got 250.
    MESSAGES_ACCEPTED = Metric::counter("postern_messages_total", "Messages by the reply after their data.").with("reply", "accepted");
    /// Messages refused for good.
    MESSAGES_REFUSED = Metric::counter("postern_messages_total", "Messages by the reply after their data.").with("reply", "refused");
    /// Messages that the client shall send again.
    MESSAGES_DEFERRED = Metric::counter("postern_messages_total", "Messages by the reply after their data.").with("reply", "deferred");
    /// Recipients refused at RCPT TO.
    RECIPIENTS_REFUSED = Metric::counter("postern_recipients_refused_total", "Recipients refused at RCPT TO.");
    /// Log-ins that succeeded.
    LOGINS = Metric::counter("postern_logins_total", "Attempts to authenticate.").with("result", "accepted");
    /// Log-ins that failed.
    LOGINS_REFUSED = Metric::counter("postern_logins_total", "Attempts to authenticate.").with("result", "refused");
    /// Octets of messages accepted.
    OCTETS_ACCEPTED = Metric::counter("postern_message_octets_total", "Octets of the messages accepted.");
    /// Messages that strangers are asked to send again.
    GREYLISTED = Metric::counter("postern_greylisted_total", "Messages of strangers who were asked to come again.");
    /// Answers by which a DNS list says that it does not serve us.
    DNS_LISTS_BLOCKED = Metric::counter("postern_dns_lists_blocked_total", "Answers of DNS lists that they do not serve this resolver (127.255.255.x): no opinion of the message.");
    /// Recipients held.
    HELD = Metric::counter("postern_verdicts_total", "Recipients by verdict of the policy.").with("verdict", "hold");
    /// Recipients quarantined.
    QUARANTINED = Metric::counter("postern_verdicts_total", "Recipients by verdict of the policy.").with("verdict", "quarantine");
    /// Recipients delivered under verified TLS.
    BOUND_TO_TLS = Metric::counter("postern_verdicts_total", "Recipients by verdict of the policy.").with("verdict", "deliver-verified-tls");
    /// Recipients handed to encryption.
    ENCRYPTED = Metric::counter("postern_verdicts_total", "Recipients by verdict of the policy.").with("verdict", "encrypt");
    /// Recipients passed.
    PASSED = Metric::counter("postern_verdicts_total", "Recipients by verdict of the policy.").with("verdict", "deliver");
    /// Edits that were proved.
    EDITS_PROVED = Metric::counter("postern_edits_total", "Messages that the policy wants edited, by whether the edit could be proved.").with("result", "proved");
    /// Edits that were not proved, and so not made.
    EDITS_UNPROVED = Metric::counter("postern_edits_total", "Messages that the policy wants edited, by whether the edit could be proved.").with("result", "unproved");
    /// Attempts that ended in delivery.
    DELIVERED = Metric::counter("postern_deliveries_total", "Attempts to deliver, by result.").with("result", "delivered");
    /// Attempts that will be made again.
    DEFERRED = Metric::counter("postern_deliveries_total", "Attempts to deliver, by result.").with("result", "deferred");
    /// Attempts that failed for good.
    FAILED = Metric::counter("postern_deliveries_total", "Attempts to deliver, by result.").with("result", "failed");
    /// Deliveries whose time ran out.
    EXPIRED = Metric::counter("postern_deliveries_total", "Attempts to deliver, by result.").with("result", "expired");
    /// Deliveries that were held, diverted or failed because no secured path could be had.
    NO_SECURED_PATH = Metric::counter("postern_no_secured_path_total", "Deliveries of patient data held, diverted or failed because no secured path could be had.");
    /// Recipients that are held now.
    HOLDS = Metric::gauge("postern_holds", "Recipients that are held now, by age.").with("age", "any");
    /// Recipients that are held for longer than they may be.
    HOLDS_OVERDUE = Metric::gauge("postern_holds", "Recipients that are held now, by age.").with("age", "overdue");
    /// Secure domains whose entry ends within 30 days.
    DOMAINS_LAPSING = Metric::gauge("postern_secure_domains", "Entries of the register of secure domains that need somebody.").with("state", "lapsing");
    /// Secure domains whose entry has ended.
    DOMAINS_LAPSED = Metric::gauge("postern_secure_domains", "Entries of the register of secure domains that need somebody.").with("state", "lapsed");
    /// Signatures that were made and verified.
    SIGNATURES = Metric::counter("postern_dkim_signatures_total", "DKIM signatures made, by what our own check of them said.").with("result", "verified");
    /// Signatures that did not verify and were not sent.
    SIGNATURES_FAILED = Metric::counter("postern_dkim_signatures_total", "DKIM signatures made, by what our own check of them said.").with("result", "failed");
    /// Messages that left, or were deferred, without a signature because none verified.
    UNSIGNED = Metric::counter("postern_dkim_unsigned_total", "Messages of domains with keys for which no signature verified.");
    /// Keys that sign today and are not published as they are.
    KEYS_UNPUBLISHED = Metric::gauge("postern_dkim_keys_unpublished", "Keys that sign today and whose record in the DNS is missing or another one.");
    /// Seals on mail that is passed on.
    SEALS = Metric::counter("postern_arc_seals_total", "ARC seals made on mail that is passed on, by what our own check of them said.").with("result", "verified");
    /// Seals that did not verify and were not sent.
    SEALS_FAILED = Metric::counter("postern_arc_seals_total", "ARC seals made on mail that is passed on, by what our own check of them said.").with("result", "failed");
    /// Delivery status notifications queued.
    NOTIFICATIONS = Metric::counter("postern_notifications_total", "Delivery status notifications queued.");
    /// Commits of the queue database.
    COMMITS = Metric::counter("postern_queue_commits_total", "Transactions committed by the queue's writer.");
    /// Jobs in those commits.
    COMMITTED_JOBS = Metric::counter("postern_queue_jobs_total", "Jobs written in those transactions: jobs per commit is the effect of group commit.");
    /// Policies that came into force.
    POLICY_RELOADS = Metric::counter("postern_policy_loads_total", "Attempts to load the policy, by result.").with("result", "accepted");
    /// Policies that were refused.
    POLICY_RELOADS_REFUSED = Metric::counter("postern_policy_loads_total", "Attempts to load the policy, by result.").with("result", "refused");
}

/// Writes all metrics in Prometheus' text format, version 0.0.4.
pub fn render() -> String {
    let mut out = String::new();
    let mut last = "";
    for metric in TABLE {
        if metric.name != last {
            // Writing to a String does not fail.
            let _ = writeln!(
                out,
                "# HELP {} {}\n# TYPE {} {}",
                metric.name, metric.help, metric.name, metric.kind
            );
            last = metric.name;
        }
        let _ = match metric.label {
            Some((label, value)) => writeln!(
                out,
                "{}{{{label}=\"{value}\"}} {}",
                metric.name,
                metric.value()
            ),
            None => writeln!(out, "{} {}", metric.name, metric.value()),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_help_once() {
        let text = render();
        assert_eq!(text.matches("# HELP postern_verdicts_total").count(), 1);
        assert!(text.contains("postern_verdicts_total{verdict=\"hold\"} 0\n"));
    }
}
