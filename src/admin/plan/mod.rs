//! `postern plan DIR`: what a changed policy folder would have decided differently.
//!
//! Looks at what the gateway still has. A message that waits in the queue or is kept apart is read again, whole, however
//! long it has been there. Of one that went on or was refused since then the audit trail has the envelope, the client,
//! what was found (redacted) and what was decided: what follows from those is decided again (`policy::replay`). Both
//! policies are asked about the message as of the moment when it came, without the network; a difference is one between
//! their two answers. Nothing is sent, stored or recorded, and nothing of a message is shown.

mod changes;
mod files;
mod journal;
mod show;

use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use crate::base::Reference;
use crate::policy::Policy;
use crate::policy::replay::{Judged, Pair, Row};
use crate::queue::{DeliveryId, Filter, Queue};

use super::answer::{Answer, CommandError};
use super::trail::{first_since, length_from};

use changes::{Change, Example, Findings};
use journal::{Decided, Journal};

pub use changes::Ways;

/// What is compared, and how it is shown.
pub struct Desk<'d> {
    /// The queue of the gateway, with its audit trail.
    pub queue: &'d Queue,
    /// The policy in force.
    pub before: &'d Policy,
    /// The one that may come.
    pub after: &'d Policy,
    /// Where mail goes by either: what the policies do not know.
    pub ways: [Ways<'d>; 2],
    /// The gateway's own file of either, for people.
    pub mains: [&'d std::path::Path; 2],
    /// From when on the audit trail is looked at.
    pub since: Timestamp,
    /// Examples of each change at most.
    pub limit: usize,
    /// Whether the answer is JSON.
    pub json: bool,
}

/// Judges everything again and shows what would have been different. The answer is no if anything would.
pub async fn run(desk: Desk<'_>, out: &mut impl Write) -> Result<Answer, CommandError> {
    let files = files::changed(&desk)?;
    let is_same = desk.before.version() == desk.after.version();
    let findings = match is_same && files.is_empty() {
        true => Findings::default(),
        false => Look::new(&desk).await?.look().await?,
    };
    show::show(&desk, &files, &findings, out)?;
    Ok(Answer::yes_if(findings.counts.changed == 0))
}

/// The way through queue and trail.
struct Look<'d> {
    desk: &'d Desk<'d>,
    pair: Pair<'d>,
    /// Messages that are still here.
    waiting: Waiting,
    findings: Findings,
}

/// Which messages wait, and since when.
#[derive(Default)]
struct Waiting {
    references: HashSet<Reference>,
    oldest: Option<Timestamp>,
}

impl Waiting {
    /// Reads the whole queue, page by page: what is kept of it is a reference for each message.
    async fn read(queue: &Queue) -> Result<Self, CommandError> {
        let mut waiting = Self::default();
        let mut after = None;
        loop {
            let filter = Filter {
                after,
                limit: PAGE,
                ..Filter::default()
            };
            let page = queue.list(filter).await?;
            let Some(last) = page.last() else {
                return Ok(waiting);
            };
            after = Some(DeliveryId(last.delivery));
            for one in &page {
                let at: Option<Timestamp> = one.received_at.parse().ok();
                waiting.oldest = waiting.oldest.into_iter().chain(at).min();
                waiting.references.extend(one.reference.parse());
            }
        }
    }
}

impl<'d> Look<'d> {
    async fn new(desk: &'d Desk<'d>) -> Result<Self, CommandError> {
        Ok(Self {
            pair: Pair::new(desk.before, desk.after),
            waiting: Waiting::read(desk.queue).await?,
            findings: Findings::default(),
            desk,
        })
    }

    /// Goes once along the trail, from the oldest message that waits or from the moment asked for.
    async fn look(mut self) -> Result<Findings, CommandError> {
        let (queue, since) = (self.desk.queue, self.desk.since);
        let from = self
            .waiting
            .oldest
            .map_or(since, |oldest| oldest.min(since));
        let first = first_since(queue, from).await?;
        let bar = progress(length_from(queue, first).await?);
        let mut journal = Journal::new(queue, first);
        while let Some(decided) = journal.next().await? {
            bar.set_position(journal.read);
            self.judge(&decided).await?;
        }
        bar.finish_and_clear();
        self.findings.counts.own = self.waiting.references.len() as u64;
        Ok(self.findings)
    }

    async fn judge(&mut self, decided: &Decided) -> Result<(), CommandError> {
        let is_since = decided.record.received_at >= self.desk.since;
        if decided.at_recipient {
            if is_since {
                let row = &decided.record.rows[0];
                let judged = self.pair.judge_recipient(&decided.record, &row.given);
                self.take(decided, std::slice::from_ref(row), vec![judged], false);
            }
            return Ok(());
        }
        let mut gone = decided.record.rows.clone();
        let reference = decided.reference.parse();
        let reference = reference
            .ok()
            .filter(|one| self.waiting.references.remove(one));
        if let Some(reference) = reference {
            self.judge_wholly(decided, &reference, &mut gone).await?;
        }
        if is_since && !gone.is_empty() {
            let judged = self.pair.judge(&decided.record, &gone, None).await;
            self.take(decided, &gone, judged, false);
        }
        Ok(())
    }

    /// Judges what is still here of a message, copy by copy, and takes its recipients out of `rows`.
    async fn judge_wholly(
        &mut self,
        decided: &Decided,
        reference: &Reference,
        rows: &mut Vec<Row>,
    ) -> Result<(), CommandError> {
        let filter = Filter {
            reference: Some(reference.clone()),
            ..Filter::default()
        };
        let waiting = self.desk.queue.list(filter).await?;
        for copy in waiting.chunk_by(|one, other| {
            DeliveryId(one.delivery).message() == DeliveryId(other.delivery).message()
        }) {
            let Some(message) = self
                .desk
                .queue
                .message(DeliveryId(copy[0].delivery))
                .await?
            else {
                continue; // it has just gone: the trail has it
            };
            let is_of_copy = |row: &Row| copy.iter().any(|one| one.recipient == row.resolved);
            let own: Vec<Row> = rows.extract_if(.., |row| is_of_copy(row)).collect();
            if own.is_empty() {
                continue;
            }
            let record = &decided.record;
            let judged = self.pair.judge(record, &own, Some(&message.message)).await;
            self.take(decided, &own, judged, true);
        }
        Ok(())
    }

    /// Counts what came of it.
    fn take(&mut self, decided: &Decided, rows: &[Row], judged: Vec<Judged>, wholly: bool) {
        let counts = &mut self.findings.counts;
        counts.recipients += judged.len() as u64;
        if judged.iter().any(|one| one.told.is_ok()) {
            *(if wholly {
                &mut counts.wholly
            } else {
                &mut counts.by_record
            }) += 1;
        }
        for one in judged {
            let told = match one.told {
                Ok(told) => told,
                Err(why) => {
                    let row = rows.iter().find(|row| row.given == one.given);
                    let rule = row.map_or("", |row| row.rule.as_str());
                    self.findings.add_untold(why, rule);
                    continue;
                }
            };
            let Some(change) = Change::of(&told, self.desk.ways) else {
                continue;
            };
            let sides = [&told.before, &told.after];
            let example = Example {
                reference: decided.reference.clone(),
                at: decided.record.received_at.to_string(),
                sender: decided.sender.clone(),
                address: one.given.to_string(),
                resolved: sides.map(|side| side.as_ref().and_then(|side| side.resolved())),
                because: sides.map(|side| side.as_ref().map(|side| side.because().to_owned())),
                wholly,
            };
            self.findings.add(change, example, self.desk.limit);
        }
    }
}

/// A bar on the standard error stream; nothing if that is no terminal.
fn progress(events: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(events).with_message("judging again");
    let style = "{msg} {wide_bar} {pos}/{len} events, {eta}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

/// Deliveries listed at a time.
const PAGE: usize = 1_000;
