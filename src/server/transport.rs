//! The rounds of transport: policies of destinations fetched anew, the reports of yesterday sent, and a word at the
//! start about whether the resolver validates.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::base::dns::{Dns, Trust};
use crate::base::{Clock, Reference, Shutdown, metrics};
use crate::delivery::assurance::report::{Destination, TlsReport};
use crate::delivery::{Assurance, AssuranceError};
use crate::mail::Mailbox;
use crate::outcome::Letterhead;
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::outcome::notify::Notice;
use crate::queue::{Accepted, Handoff, Queue, QueueError};

/// What goes round.
pub(super) struct TransportRounds {
    pub(super) assurance: Arc<Assurance>,
    pub(super) dns: Dns,
    /// Whether DANE is asked for, by a setting and by a route that could use it.
    pub(super) wants_dane: bool,
    pub(super) queue: Queue,
    pub(super) clock: Clock,
    pub(super) letterhead: Letterhead,
}

impl TransportRounds {
    /// Goes round until the shutdown begins.
    pub(super) async fn run(self, shutdown: Shutdown) {
        tokio::select! {
            () = self.say_whether_dane_is_used() => {}
            () = shutdown.begun() => return,
        }
        while !shutdown.has_begun() {
            // What waits for others must not keep the gateway from stopping; what it was about is on the disk.
            tokio::select! {
                () = self.round() => {}
                () = shutdown.begun() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.begun() => {}
            }
        }
    }

    async fn say_whether_dane_is_used(&self) {
        if !self.wants_dane {
            return;
        }
        if !self.dns.validates() {
            warn!("DANE is not used: no validating resolver is set up ([dns] validating)");
            return;
        }
        match self.dns.probe().await {
            Ok(Trust::Secure) => info!("DANE is used: the resolver validates"),
            Ok(Trust::Insecure) => warn!(
                "DANE is not used: the resolver is set up as validating ([dns] validating), and does not vouch for the root zone"
            ),
            Err(error) => warn!(
                %error,
                "whether the resolver validates is not known: it says nothing of the root zone; without its answers mail to exchangers waits"
            ),
        }
    }

    async fn round(&self) {
        if let Err(error) = self.assurance.refresh().await {
            error!(%error, "MTA-STS policies could not be refreshed");
        }
        if self.is_time_for_reports()
            && let Err(error) = self.send_reports().await
        {
            error!(%error, "TLS reports could not be sent");
        }
    }

    /// Not at midnight with everybody else (RFC 8460 §4.1): within the first hours of the day, at a moment that this
    /// gateway's name decides.
    fn is_time_for_reports(&self) -> bool {
        let now = self.clock.now().to_zoned(TimeZone::UTC);
        let octets = self.letterhead.hostname().bytes();
        let hash = octets.fold(0_u32, |hash, octet| {
            hash.wrapping_mul(31).wrapping_add(u32::from(octet))
        });
        let minute = i64::from(hash % SPREAD_MINUTES);
        i64::from(now.hour()) * 60 + i64::from(now.minute()) >= minute
    }

    async fn send_reports(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let Some(from) = self.assurance.report_from().cloned() else {
            return Ok(());
        };
        let reports = self.assurance.reports_due(self.letterhead.hostname());
        // What goes by mail first: web servers may keep us waiting.
        let mut to_post = Vec::new();
        for report in reports.await? {
            let mut queued = false;
            for to in &report.destinations {
                if let Destination::Mail(mailbox) = to {
                    self.hand_in(&report, mailbox, &from).await?;
                    queued = true;
                }
            }
            if queued {
                self.conclude(&report, true).await?;
            }
            let is_web = |to: &Destination| matches!(to, Destination::Https { .. });
            if report.destinations.iter().any(is_web) {
                to_post.push((report, queued));
            }
        }
        self.post_all(to_post).await?;
        Ok(())
    }

    /// Posts reports, each with whether somebody has it already.
    async fn post_all(&self, reports: Vec<(TlsReport, bool)>) -> Result<(), AssuranceError> {
        let mut reports = reports.into_iter();
        let mut posts: JoinSet<(TlsReport, bool, bool)> = JoinSet::new();
        loop {
            while posts.len() < POSTS_AT_ONCE
                && let Some((report, queued)) = reports.next()
            {
                let assurance = Arc::clone(&self.assurance);
                posts.spawn(async move {
                    let sent = post(&assurance, &report).await;
                    (report, sent, queued)
                });
            }
            match posts.join_next().await {
                Some(Ok((report, sent, false))) => self.conclude(&report, sent).await?,
                Some(_) => {}
                None => return Ok(()),
            }
        }
    }

    /// What a report was made of goes once somebody has it: one of those who want it is enough (RFC 8460 §3). With none
    /// it is tried again at the next round.
    async fn conclude(&self, report: &TlsReport, sent: bool) -> Result<(), AssuranceError> {
        if !sent {
            metrics::TLS_REPORTS_FAILED.add(1);
            return Ok(());
        }
        metrics::TLS_REPORTS.add(1);
        self.assurance.reported(report.day, &report.domain).await
    }

    /// Puts a report into the queue.
    async fn hand_in(
        &self,
        report: &TlsReport,
        mailbox: &Mailbox,
        from: &Mailbox,
    ) -> Result<(), QueueError> {
        let domain = &report.domain;
        let now = self.clock.now();
        let message = report.message(from, mailbox, self.letterhead.hostname(), now);
        let reference = Reference::random();
        let mut event = AuditEvent::new(now, reference.clone(), AuditKind::Notified, "")
            .fact("action", "tls-report")
            .fact("report", report.id());
        event.recipient = Some(mailbox.to_string());
        let notice = Notice {
            reference,
            to: mailbox.clone(),
            message_id: report.id().to_owned(),
            message,
            at: now,
            unless_told: None,
            event,
        };
        let accepted = Accepted::notice(notice, &self.letterhead);
        self.queue.accept(accepted, Handoff::None).await?;
        info!(domain, id = report.id(), "a TLS report is queued");
        Ok(())
    }
}

/// Posts a report to each web server that its domain names; says whether one took it.
async fn post(assurance: &Assurance, report: &TlsReport) -> bool {
    let (domain, mut sent) = (&report.domain, false);
    for to in &report.destinations {
        if matches!(to, Destination::Mail(_)) {
            continue;
        }
        match assurance.post(report, to).await {
            Ok(()) => {
                info!(domain, id = report.id(), "a TLS report was posted");
                sent = true;
            }
            Err(error) => warn!(domain, error, "a TLS report could not be posted"),
        }
    }
    sent
}

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(30 * 60);
/// Reports that are posted at once.
const POSTS_AT_ONCE: usize = 20;
/// Reports leave within so many minutes after midnight.
const SPREAD_MINUTES: u32 = 4 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::dns::fake::FakeDns;
    use crate::delivery::AssuranceSettings;
    use crate::queue::Skip;

    /// A gateway that counted sessions with x.example yesterday, and what its DNS says of reports: it fails if that is
    /// empty.
    async fn rounds(folder: &tempfile::TempDir, record: &str) -> TransportRounds {
        let name = "_smtp._tls.x.example";
        let dns = match record {
            "" => FakeDns::start().await.failing_for(name),
            record => FakeDns::start().await.with_txt(name, record),
        };
        rounds_with(folder, dns).await
    }

    async fn rounds_with(folder: &tempfile::TempDir, dns: FakeDns) -> TransportRounds {
        let dns = dns.resolver(Duration::from_secs(5));
        let clock = Clock::fixed("2026-11-21T12:00:00Z".parse().unwrap());
        let settings = AssuranceSettings {
            internal_addresses: true,
            report_from: Some(Mailbox::parse("tls@gw.example").unwrap()),
            ..AssuranceSettings::default()
        };
        let data = folder.path();
        let assurance = Assurance::open(settings, data, dns.clone(), &[], clock.clone()).unwrap();
        let db = rusqlite::Connection::open(data.join("transport.db")).unwrap();
        for (day, sessions) in [("2026-11-20", 7), ("2026-11-21", 1)] {
            db.execute(
                "INSERT INTO tls_session VALUES (?1, 'x.example', 'no-policy-found', '[]', '[]', '', '', '', '', ?2, '')",
                rusqlite::params![day, sessions],
            )
            .unwrap();
        }
        TransportRounds {
            assurance: Arc::new(assurance),
            dns,
            wants_dane: true,
            queue: Queue::open(data, clock.clone()).await.unwrap(),
            clock,
            letterhead: Letterhead::new("gw.example"),
        }
    }

    #[tokio::test]
    async fn yesterdays_report_goes_into_the_queue_once_and_todays_waits() {
        let folder = tempfile::tempdir().unwrap();
        let rounds = rounds(&folder, "v=TLSRPTv1; rua=mailto:r@x.example").await;
        assert!(rounds.is_time_for_reports());
        rounds.round().await;
        rounds.round().await;
        let now = rounds.clock.now();
        let leases = rounds.queue.lease(now, 10, Skip::nothing()).await.unwrap();
        let [lease] = leases.as_slice() else {
            panic!("{leases:?}");
        };
        let to = &lease.deliveries[0].recipient.forward_path;
        assert_eq!(to.to_string(), "r@x.example");
        let header = lease.message.message.header();
        let field = |name| header.first(name).map(|field| field.value().into_owned());
        assert_eq!(field("From").as_deref(), Some("<tls@gw.example>"));
        assert_eq!(field("TLS-Report-Domain").as_deref(), Some("x.example"));
        // Tomorrow it is today's turn.
        rounds.clock.advance(Duration::from_secs(24 * 60 * 60));
        let due = rounds.assurance.reports_due("gw.example").await.unwrap();
        assert_eq!(due.len(), 1);
    }

    #[tokio::test]
    async fn what_nobody_can_take_is_kept_for_some_days_and_what_nobody_wants_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let unreachable = rounds(&folder, "v=TLSRPTv1; rua=https://nowhere.example/r").await;
        unreachable.round().await;
        let due = || async {
            unreachable
                .assurance
                .reports_due("gw.example")
                .await
                .unwrap()
                .len()
        };
        assert_eq!(due().await, 1);
        unreachable
            .clock
            .advance(Duration::from_secs(3 * 24 * 60 * 60));
        // Of two days; the first is too old now.
        assert_eq!(due().await, 1);

        let folder = tempfile::tempdir().unwrap();
        let unwanted = rounds(&folder, "v=spf1 -all").await;
        assert_eq!(
            unwanted
                .assurance
                .reports_due("gw.example")
                .await
                .unwrap()
                .len(),
            0
        );
    }

    #[tokio::test]
    async fn while_nobody_can_say_who_wants_a_report_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let rounds = rounds(&folder, "").await;
        let days = || {
            let db = rusqlite::Connection::open(folder.path().join("transport.db")).unwrap();
            let count = "SELECT count(DISTINCT day) FROM tls_session";
            db.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        rounds.round().await;
        assert_eq!(days(), 2);
        // Not for ever: the first of the two is too old now.
        rounds.clock.advance(Duration::from_secs(3 * 24 * 60 * 60));
        rounds.round().await;
        assert_eq!(days(), 1);
    }

    #[tokio::test]
    async fn a_web_server_that_says_nothing_keeps_nobody_elses_report() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let dns = FakeDns::start()
            .await
            .with_address("r.example", "127.0.0.1")
            .with_txt(
                "_smtp._tls.a.example",
                &format!("v=TLSRPTv1; rua=https://r.example:{port}/"),
            );
        let folder = tempfile::tempdir().unwrap();
        let record = "v=TLSRPTv1; rua=mailto:r@x.example";
        let rounds = rounds_with(&folder, dns.with_txt("_smtp._tls.x.example", record)).await;
        let db = rusqlite::Connection::open(folder.path().join("transport.db")).unwrap();
        db.execute(
            "INSERT INTO tls_session SELECT day, 'a.example', policy_type, policy, mx_hosts, result, mx, ip, reason, sessions, ''
             FROM tls_session",
            [],
        )
        .unwrap();
        let round = rounds.round();
        let queued = async {
            loop {
                let now = rounds.clock.now();
                let leases = rounds.queue.lease(now, 10, Skip::nothing()).await.unwrap();
                if let [lease] = leases.as_slice() {
                    return lease.deliveries[0].recipient.forward_path.to_string();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = round => panic!("the web server said something"),
            to = queued => assert_eq!(to, "r@x.example"),
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("the report waits"),
        }
    }
}
