//! Every metric, with its help text, in one table; written in Prometheus' text format.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::scanners::SCANNERS;

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
    /// Whether the queue's database is not where it was opened.
    QUEUE_MOVED = Metric::gauge("postern_queue_moved", "1 while the queue's database is not where it was opened: deleted, moved or replaced. No mail is taken then.");
    /// Recipients whose message cannot be read back.
    DAMAGED = Metric::counter("postern_damaged_total", "Recipients held because their message cannot be read back from the queue.");
    /// Messages for which a client got 250.
    MESSAGES_ACCEPTED = Metric::counter("postern_messages_total", "Messages by the reply after their data.").with("reply", "accepted");
    /// Messages refused for good.
    MESSAGES_REFUSED = Metric::counter("postern_messages_total", "Messages by the reply after their data.").with("reply", "refused");
    /// Messages that the client shall send again.
    MESSAGES_DEFERRED = Metric::counter("postern_messages_total", "Messages by the reply after their data.").with("reply", "deferred");
    /// Text messages that a provider has taken.
    TEXTS_TAKEN = Metric::counter("postern_texts_total", "Text messages by what came of the request to send them.").with("outcome", "taken");
    /// Text messages of which no answer came.
    TEXTS_UNKNOWN = Metric::counter("postern_texts_total", "Text messages by what came of the request to send them.").with("outcome", "unknown");
    /// Text messages that a provider would not send for now.
    TEXTS_NOT_NOW = Metric::counter("postern_texts_total", "Text messages by what came of the request to send them.").with("outcome", "not-now");
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
    /// What was learnt of senders and is not kept.
    SENDERS_FORGOTTEN = Metric::counter("postern_senders_forgotten_total", "Messages of which nothing is remembered of senders and correspondents, because the file of senders cannot be written fast enough.");
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
    /// Answers of external scanners.
    SCANS = Metric::counter("postern_scans_total", "Questions to external scanners, by what came of them.").with("result", "answered");
    /// Malware that they found.
    SCANS_MALWARE = Metric::counter("postern_scans_total", "Questions to external scanners, by what came of them.").with("result", "malware");
    /// Scanners that were away.
    SCANS_UNAVAILABLE = Metric::counter("postern_scans_total", "Questions to external scanners, by what came of them.").with("result", "unavailable");
    /// Attempts that ended in delivery.
    DELIVERED = Metric::counter("postern_deliveries_total", "Attempts to deliver, by result.").with("result", "delivered");
    /// Attempts that will be made again.
    DEFERRED = Metric::counter("postern_deliveries_total", "Attempts to deliver, by result.").with("result", "deferred");
    /// Attempts that failed for good.
    FAILED = Metric::counter("postern_deliveries_total", "Attempts to deliver, by result.").with("result", "failed");
    /// Deliveries whose time ran out.
    EXPIRED = Metric::counter("postern_deliveries_total", "Attempts to deliver, by result.").with("result", "expired");
    /// Messages sent on while their client waited, or tried so.
    STRAIGHT_BEGUN = Metric::counter("postern_straight_through_total", "Messages that were tried while their client waited.").with("result", "begun");
    /// Messages whose next hop decided while their client waited.
    STRAIGHT_THROUGH = Metric::counter("postern_straight_through_total", "Messages that were tried while their client waited.").with("result", "decided");
    /// Next hops at which nobody answers.
    DESTINATIONS_AWAY = Metric::gauge("postern_destinations", "Next hops that mail waits for, by what is wrong with them.").with("state", "away");
    /// Next hops that wanted less and have a pause.
    DESTINATIONS_PAUSED = Metric::gauge("postern_destinations", "Next hops that mail waits for, by what is wrong with them.").with("state", "paused");
    /// Deliveries that were held, diverted or failed because no secured path could be had.
    NO_SECURED_PATH = Metric::counter("postern_no_secured_path_total", "Deliveries of patient data held, diverted or failed because no secured path could be had.");
    /// Connections that took mail less well protected than they might have.
    DOWNGRADES = Metric::counter("postern_downgrades_total", "Connections that took mail less well protected than they might have: in clear, unverified in spite of a policy in testing, or waived by the sender.");
    /// MTA-STS policies fetched.
    STS_FETCHES = Metric::counter("postern_mta_sts_fetches_total", "MTA-STS policies fetched, by result.").with("result", "kept");
    /// MTA-STS policies that could not be had.
    STS_FETCHES_FAILED = Metric::counter("postern_mta_sts_fetches_total", "MTA-STS policies fetched, by result.").with("result", "failed");
    /// Connections authenticated by DANE.
    DANE_CONNECTIONS = Metric::counter("postern_dane_connections_total", "Connections whose certificate matched TLSA records.");
    /// TLS reports sent.
    TLS_REPORTS = Metric::counter("postern_tls_reports_total", "TLS reports (RFC 8460), by result.").with("result", "sent");
    /// TLS reports that could not be sent.
    TLS_REPORTS_FAILED = Metric::counter("postern_tls_reports_total", "TLS reports (RFC 8460), by result.").with("result", "failed");
    /// Deliveries that wait for their time or their destination.
    QUEUE_DUE = Metric::gauge("postern_queue_deliveries", "Recipients in the queue at the last round, once a minute, by state.").with("state", "due");
    /// Deliveries in hand.
    QUEUE_LEASED = Metric::gauge("postern_queue_deliveries", "Recipients in the queue at the last round, once a minute, by state.").with("state", "leased");
    /// Deliveries that wait for somebody who decides.
    QUEUE_HELD = Metric::gauge("postern_queue_deliveries", "Recipients in the queue at the last round, once a minute, by state.").with("state", "held");
    /// Deliveries that are kept apart as unwanted.
    QUEUE_QUARANTINED = Metric::gauge("postern_queue_deliveries", "Recipients in the queue at the last round, once a minute, by state.").with("state", "quarantined");
    /// For how long the delivery that has been due longest has waited for an attempt.
    QUEUE_LATE_SECONDS = Metric::gauge("postern_queue_late_seconds", "For how long the delivery that has been due longest has waited for an attempt, at the last round.");
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

/// What an account did today: result and number.
type OfAccount = (String, Vec<(&'static str, i64)>);

/// What accounts did today, those with the most first.
static ACCOUNTS: Mutex<Vec<OfAccount>> = Mutex::new(Vec::new());

/// Sets what accounts did today. Of many those that did most are shown: each is a series of its own for whoever reads
/// the metrics.
pub fn set_accounts(mut accounts: Vec<OfAccount>) {
    let sum = |one: &OfAccount| one.1.iter().map(|(_, number)| *number).sum::<i64>();
    accounts.sort_by_key(|one| std::cmp::Reverse(sum(one)));
    accounts.truncate(ACCOUNTS_SHOWN);
    *ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner) = accounts;
}

fn render_accounts(out: &mut String) {
    let accounts = ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    if accounts.is_empty() {
        return;
    }
    let name = "postern_account_today";
    let help = "What accounts did today (universal time): messages by result, and recipients.";
    // Writing to a String does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (account, results) in accounts.iter() {
        let account = account.replace('\\', "\\\\").replace('"', "\\\"");
        for (result, number) in results {
            let _ = writeln!(
                out,
                "{name}{{account=\"{account}\",result=\"{result}\"}} {number}"
            );
        }
    }
}

/// Accounts that have metrics of their own.
const ACCOUNTS_SHOWN: usize = 100;

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
    render_accounts(&mut out);
    SCANNERS.render(&mut out);
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

    #[test]
    fn the_accounts_that_did_most_are_shown_and_no_more() {
        let accounts = (0..150).map(|n| (format!("a{n}\"@x"), vec![("accepted", n)]));
        set_accounts(accounts.collect());
        let text = render();
        assert_eq!(text.matches("postern_account_today{").count(), 100);
        assert!(
            text.contains("{account=\"a149\\\"@x\",result=\"accepted\"} 149\n"),
            "{text}"
        );
    }
}
