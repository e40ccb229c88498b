//! Room in hand for messages that were just accepted: they go onward from memory, without being read back.
//!
//! It has two bounds, messages and memory. Whoever finds none, while mail goes out briskly, waits a moment for it: the
//! stream that comes in then takes its pace from the one that goes out (as Postfix has it with `in_flow_delay`), and
//! what waits does so with its sender in place of being written, put by and read again. While a next hop is slow or
//! away nobody waits: the message goes into the queue at once, and on when its turn comes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// What there is of it. Clones share it.
#[derive(Clone)]
pub(super) struct Room {
    messages: Arc<Semaphore>,
    kib: Arc<Semaphore>,
    flow: Arc<Mutex<Flow>>,
}

impl Room {
    /// All of it.
    pub(super) fn new() -> Self {
        Self {
            messages: Arc::new(Semaphore::new(MESSAGES_MAX)),
            kib: Arc::new(Semaphore::new(KIB_MAX)),
            flow: Arc::new(Mutex::new(Flow::new(Instant::now()))),
        }
    }

    /// Room for a message of so many octets, if there is any now.
    pub(super) fn try_take(&self, octets: usize) -> Option<Permit> {
        let message = Arc::clone(&self.messages).try_acquire_owned().ok()?;
        let kib = Arc::clone(&self.kib).try_acquire_many_owned(kib(octets));
        Some(self.permit(message, kib.ok()?))
    }

    /// The same; waits for it while mail goes out briskly, for [`WAIT_MAX`] at most.
    pub(super) async fn take(&self, octets: usize) -> Option<Permit> {
        if let Some(permit) = self.try_take(octets) {
            return Some(permit);
        }
        // One that is large would make all behind it wait until everything else is gone.
        if octets > WAITING_OCTETS_MAX || !self.flow().is_brisk(Instant::now()) {
            return None;
        }
        let permit = async {
            let message = Arc::clone(&self.messages).acquire_owned().await.ok()?;
            let kib = Arc::clone(&self.kib).acquire_many_owned(kib(octets));
            Some(self.permit(message, kib.await.ok()?))
        };
        timeout(WAIT_MAX, permit).await.ok()?
    }

    fn permit(&self, message: OwnedSemaphorePermit, kib: OwnedSemaphorePermit) -> Permit {
        Permit {
            _message: message,
            handed_over: Some(HandedOver {
                _kib: kib,
                flow: Arc::clone(&self.flow),
            }),
        }
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        lock(&self.flow)
    }
}

/// Room for one message in hand; it is free again when this is dropped.
pub struct Permit {
    _message: OwnedSemaphorePermit,
    /// Of one that was handed over, not leased.
    handed_over: Option<HandedOver>,
}

struct HandedOver {
    _kib: OwnedSemaphorePermit,
    flow: Arc<Mutex<Flow>>,
}

impl Permit {
    /// Of a message that was leased from the queue: those have a bound of their own.
    pub(super) fn of_lease(permit: OwnedSemaphorePermit) -> Self {
        Self {
            _message: permit,
            handed_over: None,
        }
    }

    /// Whether it is one of those.
    pub(super) fn is_of_lease(&self) -> bool {
        self.handed_over.is_none()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(handed_over) = &self.handed_over {
            lock(&handed_over.flow).freed(Instant::now());
        }
    }
}

/// How mail goes out of hand.
struct Flow {
    last: Instant,
    /// Between one message and the next, on an average of the last dozen or two.
    between: Duration,
}

impl Flow {
    fn new(now: Instant) -> Self {
        Self {
            last: now,
            between: STILL,
        }
    }

    fn freed(&mut self, now: Instant) {
        // A quiet night counts as little as a quiet moment.
        let gap = now.duration_since(self.last).min(STILL);
        self.between = (self.between * 15 + gap) / 16;
        self.last = now;
    }

    fn is_brisk(&self, now: Instant) -> bool {
        self.between <= BRISK && now.duration_since(self.last) < STILL
    }
}

fn kib(octets: usize) -> u32 {
    // The bound is far below 2^32.
    u32::try_from(octets.div_ceil(1024).clamp(1, KIB_MAX)).unwrap_or(u32::MAX)
}

fn lock(flow: &Mutex<Flow>) -> MutexGuard<'_, Flow> {
    // Two numbers, whole at every moment.
    flow.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Messages in hand that were handed over.
const MESSAGES_MAX: usize = 256;
/// Their memory together, in KiB; one that is larger is taken while nothing else is. What finds no room waits in the
/// queue, which costs a read and no mail.
const KIB_MAX: usize = 4 << 10;
/// A message over this does not wait for room.
const WAITING_OCTETS_MAX: usize = 1 << 20;
/// How long anybody waits: as long as Postfix has it.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Two hundred messages a second: where fewer go out, a client would wait for others' next hops.
const BRISK: Duration = Duration::from_millis(5);
/// Without a message for so long, nothing goes out.
const STILL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(room: &Room) -> Vec<Permit> {
        std::iter::from_fn(|| room.try_take(1)).collect()
    }

    /// Lets some of what is in hand go, one after the other.
    async fn go_out(held: &mut Vec<Permit>, count: usize, between: Duration) {
        for _ in 0..count {
            tokio::time::sleep(between).await;
            held.pop();
        }
    }

    #[test]
    fn messages_in_hand_share_a_memory_and_one_larger_than_it_has_it_alone() {
        let room = Room::new();
        let large = room.try_take(KIB_MAX << 20).unwrap();
        assert!(room.try_take(1).is_none());
        drop(large);
        let half = (KIB_MAX << 10) / 2;
        let (first, second) = (room.try_take(half), room.try_take(half));
        assert!(first.is_some() && second.is_some());
        assert!(room.try_take(1).is_none());
        drop(first);
        assert!(room.try_take(1).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn while_mail_goes_out_briskly_a_message_waits_for_room() {
        let room = Room::new();
        let mut held = fill(&room);
        go_out(&mut held, 150, Duration::from_millis(1)).await;
        held.extend(fill(&room));
        let began = Instant::now();
        let (permit, ()) = tokio::join!(
            room.take(1),
            go_out(&mut held, 1, Duration::from_millis(300))
        );
        assert!(permit.is_some());
        assert_eq!(began.elapsed(), Duration::from_millis(300));
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_a_moment_and_no_longer_and_a_large_one_not_at_all() {
        let room = Room::new();
        let mut held = fill(&room);
        go_out(&mut held, 150, Duration::from_millis(1)).await;
        held.extend(fill(&room));
        let began = Instant::now();
        assert!(room.take(WAITING_OCTETS_MAX + 1).await.is_none());
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(room.take(1).await.is_none());
        assert_eq!(began.elapsed(), WAIT_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn where_mail_goes_out_slowly_or_not_at_all_nobody_waits() {
        let room = Room::new();
        let mut held = fill(&room);
        let began = Instant::now();
        assert!(room.take(1).await.is_none());
        go_out(&mut held, 150, Duration::from_millis(1)).await;
        go_out(&mut held, 20, Duration::from_millis(50)).await;
        held.extend(fill(&room));
        let slow = Instant::now();
        assert!(room.take(1).await.is_none());
        assert_eq!(slow.elapsed(), Duration::ZERO);
        go_out(&mut held, 150, Duration::from_millis(1)).await;
        held.extend(fill(&room));
        tokio::time::sleep(STILL).await;
        assert!(room.take(1).await.is_none());
        assert_eq!(
            began.elapsed(),
            Duration::from_millis(150 + 1_000 + 150) + STILL
        );
    }
}
