//! How a destination is: whether anybody is there, and how much of us it takes.
//!
//! A circuit opens after some attempts in a row that found nobody. While it is open nothing is tried but one message
//! at a time of its own, the trial, at pauses that double; all else is put off without an attempt, so that a dead next
//! hop takes no connections from others. The first answer closes it. A next hop that wants less gets less at once
//! than it refused, and nothing for a while if it refused the only one; what it takes is found again step by step.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::queue::MessageId;

/// What is known of a destination that is not simply well.
#[derive(Clone, Debug)]
pub(super) struct Health {
    /// Attempts in a row that found nobody.
    away: u32,
    /// Pauses since anybody was there.
    rounds: u32,
    /// Since when nobody is there.
    since: Timestamp,
    next_trial: Timestamp,
    /// Whether the trial is under way.
    on_trial: bool,
    /// Whether something that was put off makes the next one.
    has_prober: bool,
    /// What the last attempt that failed came to.
    because: String,
    busy_until: Timestamp,
    busy_rounds: u32,
    /// Attempts at once that it takes, as found out; `None`: as many as its limits allow.
    ceiling: Option<usize>,
    /// Attempts that went well since the ceiling moved.
    went_well: usize,
    /// Attempts that went well.
    worked: u64,
    /// The messages of which it wanted less lately, each with what had gone well by then.
    refused: VecDeque<(MessageId, u64)>,
    /// Recipients that it takes at once, as found out.
    recipients_max: Option<usize>,
    /// Whether something may wait that found nobody, and when that was called back last.
    owes_recall: bool,
    recalled: Option<Timestamp>,
    touched: Timestamp,
}

/// What is worth knowing of a destination after a restart. Times are milliseconds since 1970 in universal time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Memory {
    /// Since when nobody is there; `None` while its circuit is closed.
    away_since: Option<i64>,
    because: String,
    owes_recall: bool,
    busy_until: i64,
    ceiling: Option<usize>,
    recipients_max: Option<usize>,
    touched: i64,
}

/// Whether a destination may be tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Gate {
    /// It may.
    Open,
    /// By one message, to see whether anybody is there.
    Trial,
    /// Nobody is there; the next trial is at this time.
    Shut(Timestamp),
    /// It asked for less: nothing before this time.
    Paused(Timestamp),
    /// It has wanted nothing for long: nothing before this time, and what waits is put off by its own schedule.
    Unwilling(Timestamp),
}

impl Health {
    /// Of a destination of which nothing bad is known.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            away: 0,
            rounds: 0,
            since: now,
            next_trial: now,
            on_trial: false,
            has_prober: false,
            because: String::new(),
            busy_until: now,
            busy_rounds: 0,
            ceiling: None,
            went_well: 0,
            worked: 0,
            refused: VecDeque::new(),
            recipients_max: None,
            owes_recall: false,
            recalled: None,
            touched: now,
        }
    }

    /// What is worth knowing of it after a restart.
    pub(super) fn memory(&self) -> Memory {
        let is_open = self.away >= TRIP_AFTER;
        Memory {
            away_since: is_open.then(|| self.since.as_millisecond()),
            because: self.because.clone(),
            owes_recall: self.owes_recall || self.rounds > 0,
            busy_until: self.busy_until.as_millisecond(),
            ceiling: self.ceiling,
            recipients_max: self.recipients_max,
            touched: self.touched.as_millisecond(),
        }
    }

    /// What was known of a destination before a restart; `None` if that is too long ago. One that was away is tried
    /// at once. A clock that was set back makes no pause longer than it may be.
    pub(super) fn remembered(memory: Memory, now: Timestamp) -> Option<Self> {
        let time = |milliseconds| Timestamp::from_millisecond(milliseconds).ok();
        let touched = time(memory.touched).filter(|at| now <= *at + REMEMBERED)?;
        let away_since = memory.away_since.and_then(time);
        Some(Self {
            away: away_since.map_or(0, |_| TRIP_AFTER),
            since: away_since.unwrap_or(now),
            because: memory.because,
            owes_recall: memory.owes_recall,
            busy_until: time(memory.busy_until)?.min(now + PAUSE_MAX),
            ceiling: memory.ceiling,
            recipients_max: memory.recipients_max,
            touched: touched.min(now),
            ..Self::new(now)
        })
    }

    /// Whether it may be tried.
    pub(super) fn gate(&self, now: Timestamp) -> Gate {
        let is_open = self.away >= TRIP_AFTER;
        match (is_open, self.on_trial || now < self.next_trial) {
            (true, true) => Gate::Shut(self.next_trial.max(now)),
            (true, false) => Gate::Trial,
            (false, _) if now < self.busy_until && self.is_unwilling() => {
                Gate::Unwilling(self.busy_until)
            }
            (false, _) if now < self.busy_until => Gate::Paused(self.busy_until),
            (false, _) => Gate::Open,
        }
    }

    /// Whether the last attempt was the one that opened the circuit.
    pub(super) fn has_just_tripped(&self) -> bool {
        self.away == TRIP_AFTER
    }

    /// A trial begins.
    pub(super) fn begin_trial(&mut self) {
        self.on_trial = true;
        self.has_prober = false;
    }

    /// When something that is put off now is to be tried, if it makes the next trial: one at a time does. What failed
    /// the last one may be why it failed, and must not be the only one that is ever tried.
    pub(super) fn probe(&mut self, now: Timestamp) -> Option<Timestamp> {
        let is_set = self.away >= TRIP_AFTER && !self.on_trial && now < self.next_trial;
        let probes = is_set && !std::mem::replace(&mut self.has_prober, is_set);
        probes.then_some(self.next_trial)
    }

    /// Nobody was there. Returns when it is tried again by the message that has just failed; `None` if another one
    /// will.
    pub(super) fn note_away(
        &mut self,
        was_trial: bool,
        because: String,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if self.away == 0 {
            self.since = now;
        }
        self.away = self.away.saturating_add(1);
        self.because = because;
        self.touched = now;
        self.on_trial &= !was_trial;
        self.went_well = 0;
        self.next_round(now)
    }

    /// A trial ended that says nothing: for a reason of our own.
    pub(super) fn note_nothing(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.on_trial = false;
        self.next_round(now)
    }

    fn next_round(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.rounds > 0 && now < self.next_trial {
            return None;
        }
        self.next_trial = now + doubled(TRIAL_FIRST, self.rounds).min(TRIAL_MAX);
        self.rounds = self.rounds.saturating_add(1);
        self.has_prober = false;
        Some(self.next_trial + BEHIND_THE_PROBER)
    }

    /// It wants less, when it was asked to take this message. Says whether that is about the message, and not about how
    /// much it takes: it said so of the same one before, and others went well in between.
    pub(super) fn note_refused(&mut self, message: MessageId) -> bool {
        let before = self.refused.iter().position(|(one, _)| *one == message);
        let before = before.and_then(|at| self.refused.remove(at));
        if self.refused.len() >= REFUSED_MAX {
            self.refused.pop_front();
        }
        self.refused.push_back((message, self.worked));
        before.is_some_and(|(_, worked)| self.worked > worked)
    }

    /// It wanted less while so many others were under way. Returns when what it refused is to be tried again: after
    /// what has waited for that, which it may well take.
    pub(super) fn note_busy(
        &mut self,
        was_trial: bool,
        others: usize,
        because: String,
        now: Timestamp,
    ) -> Timestamp {
        self.answered(was_trial);
        self.because = because;
        self.touched = now;
        self.went_well = 0;
        let ceiling = self.ceiling.unwrap_or(usize::MAX);
        self.ceiling = Some(ceiling.min(others).max(1));
        if others == 0 && now >= self.busy_until {
            self.busy_until = now + doubled(PAUSE_FIRST, self.busy_rounds).min(PAUSE_MAX);
            self.busy_rounds = self.busy_rounds.saturating_add(1);
            self.owes_recall |= self.is_unwilling();
        }
        self.busy_until.max(now + PAUSE_FIRST) + BEHIND_THE_OTHERS
    }

    /// It was there. Returns whether what found nobody is to be called back: not each time where it comes and goes.
    pub(super) fn note_there(&mut self, was_trial: bool, now: Timestamp) -> bool {
        self.answered(was_trial);
        let recalls = self.owes_recall && !self.has_just_recalled(now);
        if recalls {
            self.owes_recall = false;
            self.recalled = Some(now);
        }
        self.touched = now;
        recalls
    }

    /// It did its work. Returns the same.
    pub(super) fn note_works(
        &mut self,
        was_trial: bool,
        connections: usize,
        now: Timestamp,
    ) -> bool {
        let recalls = self.note_there(was_trial, now);
        if now >= self.busy_until {
            self.busy_rounds = 0;
        }
        self.worked += 1;
        self.went_well += 1;
        if let Some(ceiling) = self.ceiling
            && self.went_well >= ceiling.saturating_mul(STEPS)
        {
            self.went_well = 0;
            self.ceiling = Some(ceiling + 1).filter(|ceiling| *ceiling < connections);
        }
        recalls
    }

    /// Whether it has refused the only attempt so often in a row that what waits must not wait for it alone: of all that
    /// waits one message is tried in each pause, and the senders of the others would never hear of a delay.
    fn is_unwilling(&self) -> bool {
        self.busy_rounds > PATIENT_ROUNDS
    }

    fn has_just_recalled(&self, now: Timestamp) -> bool {
        self.recalled.is_some_and(|at| now < at + RECALL_EVERY)
    }

    fn answered(&mut self, was_trial: bool) {
        self.owes_recall |= self.rounds > 0;
        self.away = 0;
        self.rounds = 0;
        self.on_trial &= !was_trial;
    }

    /// It took so many recipients and wanted the others later.
    pub(super) fn takes_recipients(&mut self, number: usize, now: Timestamp) {
        self.touched = now;
        let known = self.recipients_max.unwrap_or(usize::MAX);
        self.recipients_max = Some(known.min(number).max(1));
    }

    /// Recipients that it takes at once.
    pub(super) fn recipients_max(&self) -> Option<usize> {
        self.recipients_max
    }

    /// Attempts at once that it takes.
    pub(super) fn ceiling(&self) -> Option<usize> {
        self.ceiling
    }

    /// What the last attempt that failed came to, and since when nobody is there.
    pub(super) fn because(&self) -> (&str, Timestamp) {
        (&self.because, self.since)
    }

    /// Whether there is nothing left to know, or nobody has asked for long.
    pub(super) fn may_be_forgotten(&self, now: Timestamp) -> bool {
        let well = self.away == 0
            && now >= self.busy_until
            && self.ceiling.is_none()
            && self.recipients_max.is_none()
            && !self.owes_recall
            && !self.has_just_recalled(now);
        well || now > self.touched.max(self.next_trial) + REMEMBERED
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(16))
}

/// Attempts in a row that find nobody before a destination is left alone.
pub(super) const TRIP_AFTER: u32 = 5;
/// Before the first trial; each pause after it is twice as long.
pub(super) const TRIAL_FIRST: Duration = Duration::from_secs(30);
/// The longest pause before a trial: a next hop that is back is found within this.
pub(super) const TRIAL_MAX: Duration = Duration::from_secs(5 * 60);
/// What failed the last trial comes so much after the next one, if something else makes that.
pub(super) const BEHIND_THE_PROBER: Duration = Duration::from_secs(1);
/// The first pause that a busy next hop gets; each one after it is twice as long.
pub(super) const PAUSE_FIRST: Duration = Duration::from_secs(15);
/// What a busy next hop refused comes so much after what has waited since.
const BEHIND_THE_OTHERS: Duration = Duration::from_secs(1);
/// Messages of which it is known that it wanted less when it was to take them.
const REFUSED_MAX: usize = 16;
/// The longest pause that a busy next hop gets: under a lease.
const PAUSE_MAX: Duration = Duration::from_secs(10 * 60);
/// Pauses in a row, together under two minutes, for which all its mail waits without further ado.
const PATIENT_ROUNDS: u32 = 3;
/// Attempts that must go well for each one at once, before one more is tried.
const STEPS: usize = 8;
/// Between two times that what found nobody is called back.
const RECALL_EVERY: Duration = Duration::from_secs(10);
/// How long it is remembered what a destination takes.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn away(health: &mut Health, seconds: i64) -> Option<Timestamp> {
        health.note_away(false, "nobody".to_owned(), at(seconds))
    }

    #[test]
    fn after_some_attempts_that_found_nobody_one_at_a_time_is_tried() {
        let mut health = Health::new(at(0));
        assert_eq!(away(&mut health, 0), Some(at(31)));
        for _ in 2..TRIP_AFTER {
            assert_eq!(away(&mut health, 1), None);
            assert_eq!(health.gate(at(1)), Gate::Open);
        }
        assert_eq!(away(&mut health, 2), None);

        assert_eq!(health.gate(at(29)), Gate::Shut(at(30)));
        assert_eq!(health.gate(at(30)), Gate::Trial);
        health.begin_trial();
        assert!(matches!(health.gate(at(31)), Gate::Shut(_)));
        assert_eq!(
            health.note_away(true, "nobody".to_owned(), at(60)),
            Some(at(121))
        );
        assert_eq!(health.gate(at(119)), Gate::Shut(at(120)));
        health.begin_trial();
        assert!(health.note_works(true, 20, at(121)));
        assert_eq!(health.gate(at(121)), Gate::Open);
        assert!(!health.note_works(false, 20, at(122)), "told once");
    }

    #[test]
    fn pauses_before_a_trial_double_up_to_a_bound() {
        let mut health = Health::new(at(0));
        let (mut now, mut pauses) = (0, Vec::new());
        for _ in 0..7 {
            let next = away(&mut health, now).unwrap().as_second() - at(0).as_second();
            pauses.push(next - now);
            now = next;
        }
        assert_eq!(pauses, [31, 61, 121, 241, 301, 301, 301]);
    }

    #[test]
    fn something_else_makes_the_next_trial_before_what_failed_the_last_one() {
        let mut health = Health::new(at(0));
        let again = away(&mut health, 0);
        assert_eq!(health.probe(at(1)), None, "whatever comes is tried");
        for _ in 1..TRIP_AFTER {
            away(&mut health, 1);
        }
        assert_eq!(health.probe(at(2)), Some(at(30)));
        assert_eq!(health.probe(at(3)), None, "one is enough");
        assert!(again > Some(at(30)));
        health.begin_trial();
        assert_eq!(health.probe(at(31)), None, "nobody knows when that is over");
        health.note_away(true, "nobody".to_owned(), at(40));
        assert_eq!(health.probe(at(41)), Some(at(100)));
    }

    #[test]
    fn a_trial_that_says_nothing_is_followed_by_another() {
        let mut health = Health::new(at(0));
        for _ in 0..TRIP_AFTER {
            away(&mut health, 0);
        }
        health.begin_trial();
        assert_eq!(health.note_nothing(at(40)), Some(at(101)));
        assert_eq!(health.gate(at(100)), Gate::Trial);
    }

    #[test]
    fn who_wants_less_gets_less_and_is_found_out_again() {
        let mut health = Health::new(at(0));
        health.note_busy(false, 9, "421".to_owned(), at(0));
        assert_eq!(health.ceiling(), Some(9));
        assert_eq!(health.gate(at(0)), Gate::Open, "the others go on");
        health.note_busy(false, 3, "421".to_owned(), at(0));
        assert_eq!(health.ceiling(), Some(3));

        for _ in 0..3 * STEPS {
            health.note_works(false, 5, at(1));
        }
        assert_eq!(health.ceiling(), Some(4));
        for _ in 0..4 * STEPS {
            health.note_works(false, 5, at(1));
        }
        assert_eq!(health.ceiling(), None, "as its limits allow");
        assert!(health.may_be_forgotten(at(1)));
    }

    #[test]
    fn who_wants_nothing_gets_nothing_for_longer_each_time() {
        let mut health = Health::new(at(0));
        assert_eq!(health.note_busy(false, 0, "421".to_owned(), at(0)), at(16));
        assert_eq!(health.gate(at(14)), Gate::Paused(at(15)));
        assert_eq!(health.gate(at(15)), Gate::Open, "for the others first");
        assert_eq!(health.note_busy(false, 0, "421".to_owned(), at(15)), at(46));
        health.note_works(false, 5, at(50));
        assert_eq!(health.note_busy(false, 0, "421".to_owned(), at(60)), at(76));
    }

    #[test]
    fn what_is_wanted_less_of_again_while_others_went_well_is_known_for_it() {
        let mut health = Health::new(at(0));
        let (one, other) = (MessageId(1), MessageId(2));
        assert!(!health.note_refused(one) && !health.note_refused(other));
        assert!(!health.note_refused(one), "nothing else went well");
        health.note_works(false, 5, at(1));
        assert!(health.note_refused(one) && health.note_refused(other));
        assert!(!health.note_refused(one), "nothing since");
        health.note_works(false, 5, at(2));
        for number in 10..10 + REFUSED_MAX {
            health.note_refused(MessageId(number as i64));
        }
        assert!(!health.note_refused(one), "long forgotten");
    }

    #[test]
    fn what_waits_does_not_wait_for_one_alone_who_wants_nothing_for_long() {
        let mut health = Health::new(at(0));
        for (now, until) in [(0, 15), (15, 45), (45, 105)] {
            health.note_busy(false, 0, "421".to_owned(), at(now));
            assert_eq!(health.gate(at(now)), Gate::Paused(at(until)));
        }
        health.note_busy(false, 0, "421".to_owned(), at(105));
        assert_eq!(health.gate(at(105)), Gate::Unwilling(at(225)));
        assert_eq!(health.gate(at(225)), Gate::Open);
        assert!(health.note_works(false, 5, at(225)), "all is called back");
    }

    #[test]
    fn where_a_next_hop_comes_and_goes_its_mail_is_not_called_back_each_time() {
        let mut health = Health::new(at(0));
        let mut recalls = Vec::new();
        for second in 0..25 {
            away(&mut health, second);
            if health.note_works(false, 20, at(second)) {
                recalls.push(second);
            }
        }
        assert_eq!(recalls, [0, 10, 20]);
        assert!(!health.may_be_forgotten(at(24)), "one is owed");
        assert!(health.note_works(false, 20, at(31)));
        assert!(health.may_be_forgotten(at(42)));
    }

    #[test]
    fn after_a_restart_one_that_was_away_is_tried_once_and_owes_what_it_owed() {
        let mut health = Health::new(at(0));
        for second in 0..i64::from(TRIP_AFTER) {
            away(&mut health, second);
        }
        assert_eq!(health.gate(at(10)), Gate::Shut(at(30)));

        let mut again = Health::remembered(health.memory(), at(10)).unwrap();
        assert_eq!(again.gate(at(10)), Gate::Trial);
        assert_eq!(again.because(), ("nobody", at(0)));
        let mut dead = again.clone();
        dead.begin_trial();
        let next = dead.note_away(true, "nobody".to_owned(), at(11));
        assert_eq!(
            (next, dead.gate(at(12))),
            (Some(at(42)), Gate::Shut(at(41)))
        );
        again.begin_trial();
        assert!(
            again.note_works(true, 20, at(11)),
            "what waits is called back"
        );
        assert_eq!(again.gate(at(11)), Gate::Open);

        // Once before it had come to that.
        let mut health = Health::new(at(0));
        away(&mut health, 0);
        let mut again = Health::remembered(health.memory(), at(10)).unwrap();
        assert_eq!(again.gate(at(10)), Gate::Open);
        assert!(again.note_works(false, 20, at(11)));
    }

    #[test]
    fn after_a_restart_one_that_wanted_less_gets_no_more_unless_that_is_a_day_ago() {
        let mut health = Health::new(at(0));
        health.note_busy(false, 3, "421".to_owned(), at(0));
        health.note_busy(false, 0, "421".to_owned(), at(0));
        health.takes_recipients(7, at(0));
        let memory = health.memory();

        let again = Health::remembered(memory.clone(), at(5)).unwrap();
        assert_eq!(again.ceiling(), Some(1));
        assert_eq!(again.recipients_max(), Some(7));
        assert_eq!(again.gate(at(5)), Gate::Paused(at(15)));
        let day = 24 * 3_600;
        assert!(Health::remembered(memory.clone(), at(day)).is_some());
        assert!(Health::remembered(memory.clone(), at(day + 1)).is_none());
        // The clock was wrong when it was written.
        let again = Health::remembered(memory, at(-day)).unwrap();
        let longest = 10 * 60;
        assert_eq!(again.gate(at(-day)), Gate::Paused(at(longest - day)));
        assert!(again.may_be_forgotten(at(1)), "a day after it was taken up");
    }

    #[test]
    fn what_a_destination_takes_is_forgotten_in_the_end() {
        let mut health = Health::new(at(0));
        health.takes_recipients(10, at(0));
        health.takes_recipients(20, at(0));
        assert_eq!(health.recipients_max(), Some(10));
        assert!(!health.may_be_forgotten(at(3_600)));
        assert!(health.may_be_forgotten(at(24 * 3_600 + 1)));
    }
}
