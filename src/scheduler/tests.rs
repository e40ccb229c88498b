//! The scheduler over a real queue and a courier that does as the test says.

mod straight;

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::base::Reference;
use crate::delivery::{RetrySchedule, Takes, Transport};
use crate::mail::{BodyType, Envelope, ForwardPath, Message, Recipient, Reply, ReversePath};
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::queue::{
    Accepted, Filter, Handoff, LEASE, NewDelivery, Order, Selection, Standing, State,
};

/// What the courier was asked to carry: the need and the recipients.
type Asked = (TlsNeed, Vec<String>);

/// Answers by the domain of the recipients: `ok`, `later`, `never`, `panic`, `hang`, `slow`.
#[derive(Default)]
struct Scripted {
    asked: Mutex<Vec<Asked>>,
    running: AtomicUsize,
    most_running: AtomicUsize,
    rate_per_minute: u32,
    /// Connections of each destination; 0 for two.
    connections: usize,
    no_encryption: bool,
    /// `later` becomes `ok` once this is set.
    recovered: AtomicBool,
}

impl Scripted {
    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn carried_to(&self) -> Vec<String> {
        self.asked().into_iter().flat_map(|(_, to)| to).collect()
    }

    fn answer(&self, domain: &str) -> Outcome {
        let reply = |code, class: u16, text: &str| {
            let status = EnhancedStatusCode::parse(&format!("{class}.1.1")).unwrap();
            Outcome::from_reply(Reply::new(code, status, text), "mx.example", true)
        };
        match domain {
            "never.example" => reply(550, 5, "no such user"),
            "later.example" if !self.recovered.load(Ordering::SeqCst) => reply(450, 4, "later"),
            _ => reply(250, 2, "taken"),
        }
    }
}

impl Courier for Scripted {
    fn route(&self, path: &ForwardPath, encryption: bool) -> Option<Arc<Route>> {
        let name = path
            .domain()
            .map(|domain| domain.as_str().to_owned())
            .unwrap_or_default();
        if name == "nowhere.example" || (encryption && self.no_encryption) {
            return None;
        }
        Some(Arc::new(Route {
            name: if encryption { "encryption" } else { "all" }.to_owned(),
            takes: Takes::Encryption,
            transport: Transport::Mx {
                tls: crate::delivery::TlsLevel::None,
                port: 25,
            },
            connections: match self.connections {
                0 => 2,
                connections => connections,
            },
            rate_per_minute: self.rate_per_minute,
            chunking: true,
            straight_through: true,
            schedule: RetrySchedule {
                delays: vec![Duration::from_secs(30)],
                warn_after: Duration::from_secs(60),
                give_up_after: Duration::from_secs(120),
            },
        }))
    }

    fn may_have_patient_data(&self, path: &ForwardPath, _: Timestamp) -> bool {
        path.domain()
            .is_some_and(|domain| domain.as_str() != "lapsed.example")
    }

    fn attempt<'a>(
        &'a self,
        _: &'a Arc<Route>,
        envelope: &'a Envelope,
        _: &'a Message,
        need: TlsNeed,
    ) -> Attempt<'a> {
        Box::pin(async move {
            let to: Vec<String> = envelope
                .recipients
                .iter()
                .map(|r| r.forward_path.to_string())
                .collect();
            let domain = to[0].rsplit_once('@').unwrap().1.to_owned();
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_running.fetch_max(running, Ordering::SeqCst);
            self.asked.lock().unwrap().push((need, to.clone()));
            match domain.as_str() {
                "panic.example" => panic!("as the test wants"),
                domain if domain.contains("hang") => std::future::pending().await,
                "slow.example" => tokio::time::sleep(Duration::from_millis(20)).await,
                _ => {}
            }
            self.running.fetch_sub(1, Ordering::SeqCst);
            to.iter().map(|_| self.answer(&domain)).collect()
        })
    }
}

struct Running {
    queue: Queue,
    courier: Arc<Scripted>,
    clock: Clock,
    shutdown: Shutdown,
    handle: Handle,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn start() -> Self {
        Self::with(Scripted::default(), &[]).await
    }

    /// Starts with these recipients in the queue already, each of a message of its own.
    async fn with(courier: Scripted, queued: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::fixed("2026-11-21T10:00:00Z".parse().unwrap());
        let queue = Queue::open(folder.path(), clock.clone()).await.unwrap();
        for to in queued {
            queue
                .accept(accepted(&clock, &[to]), Handoff::None)
                .await
                .unwrap();
        }
        let (courier, shutdown) = (Arc::new(courier), Shutdown::new());
        let dynamic: Arc<dyn Courier> = Arc::clone(&courier) as Arc<dyn Courier>;
        let handle = Scheduler::start_with(
            queue.clone(),
            dynamic,
            clock.clone(),
            shutdown.clone(),
            "gate.example",
        );
        Self {
            queue,
            courier,
            clock,
            shutdown,
            handle,
            _folder: folder,
        }
    }

    async fn hand_off(&self, accepted: Accepted) {
        let permit = self.handle.reserve().unwrap();
        let until = self.clock.now() + LEASE;
        let lease = self
            .queue
            .accept(accepted, Handoff::LeaseUntil(until))
            .await
            .unwrap();
        self.handle.offer(permit, lease.unwrap());
    }

    /// Waits until the trail holds `n` events of the kind.
    async fn until(&self, kind: &str, n: usize) {
        let met = async {
            while self
                .kinds()
                .await
                .iter()
                .filter(|found| *found == kind)
                .count()
                < n
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), met)
            .await
            .is_err()
        {
            panic!("{n} × {kind} never came: {:?}", self.kinds().await);
        }
    }

    async fn kinds(&self) -> Vec<String> {
        let events = self.queue.events(1, 100_000).await.unwrap();
        events
            .iter()
            .map(|event| event.object()["kind"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn states(&self) -> Vec<(String, State)> {
        let list = self.queue.list(Filter::default()).await.unwrap();
        list.into_iter()
            .map(|one| (one.recipient, one.state))
            .collect()
    }
}

fn accepted(clock: &Clock, to: &[&str]) -> Accepted {
    let reference = Reference::random();
    Accepted {
        unless_told: None,
        old_names: Vec::new(),
        events: vec![AuditEvent::new(
            clock.now(),
            reference.clone(),
            AuditKind::Received,
            "s@ok.example",
        )],
        reference,
        reverse_path: ReversePath::parse("s@ok.example").unwrap(),
        env_id: None,
        ret: None,
        body: BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        message: Message::new("Subject: x\r\n\r\nx\r\n"),
        message_id: None,
        patient_data: false,
        received_at: clock.now(),
        deliveries: to
            .iter()
            .map(|to| NewDelivery {
                recipient: Recipient::new(ForwardPath::parse(to).unwrap()),
                standing: Standing::Due,
                binding: Binding::Any,
                rule: String::new(),
                because: String::new(),
                self_release: None,
            })
            .collect(),
    }
}

#[tokio::test]
async fn a_hand_off_is_delivered_at_once_and_grouped_by_destination() {
    let running = Running::start().await;
    let mut message = accepted(
        &running.clock,
        &[
            "a@ok.example",
            "b@other.example",
            "c@ok.example",
            "d@ok.example",
        ],
    );
    message.deliveries[3].binding = Binding::VerifiedTls;

    running.hand_off(message).await;
    running.until("delivered", 4).await;

    let mut asked = running.courier.asked();
    asked.sort_by_key(|(_, to)| to.clone());
    let of = |to: &[&str]| to.iter().map(|to| (*to).to_owned()).collect::<Vec<_>>();
    let expected = [
        (TlsNeed::AsRoute, of(&["a@ok.example", "c@ok.example"])),
        (TlsNeed::AsRoute, of(&["b@other.example"])),
        (TlsNeed::Verified, of(&["d@ok.example"])),
    ];
    assert_eq!(asked, expected);
    assert_eq!(running.states().await, []);
}

#[tokio::test]
async fn what_is_bound_for_a_domain_that_is_secure_no_more_is_held_and_the_rest_goes_on() {
    let running = Running::start().await;
    let to = ["a@lapsed.example", "b@lapsed.example", "c@ok.example"];
    let mut message = accepted(&running.clock, &to);
    message.deliveries[0].binding = Binding::VerifiedTls;
    message.deliveries[2].binding = Binding::VerifiedTls;

    running.hand_off(message).await;
    running.until("held", 1).await;
    running.until("delivered", 3).await; // the notice that it is held is the third

    let mut carried_to = running.courier.carried_to();
    carried_to.sort();
    assert_eq!(
        carried_to,
        ["b@lapsed.example", "c@ok.example", "s@ok.example"]
    );
    let held = ("a@lapsed.example".to_owned(), State::Held);
    assert_eq!(running.states().await, [held]);
}

#[tokio::test]
async fn what_waited_from_before_is_found_at_the_start() {
    let running = Running::with(Scripted::default(), &["a@ok.example", "b@ok.example"]).await;
    running.until("delivered", 2).await;
}

#[tokio::test]
async fn a_failure_is_reported_to_the_sender() {
    let running = Running::start().await;
    running
        .hand_off(accepted(
            &running.clock,
            &["a@never.example", "b@ok.example"],
        ))
        .await;
    running.until("delivered", 2).await;

    assert!(
        running
            .courier
            .carried_to()
            .contains(&"s@ok.example".to_owned()),
        "the report"
    );
    let mut kinds = running.kinds().await;
    kinds.sort();
    assert_eq!(
        kinds,
        ["delivered", "delivered", "failed", "notified", "received"]
    );
}

#[tokio::test]
async fn a_deferred_message_is_tried_again_when_it_is_due_and_then_delivered() {
    let running = Running::start().await;
    running
        .hand_off(accepted(&running.clock, &["a@later.example"]))
        .await;
    running.until("deferred", 1).await;
    running.courier.recovered.store(true, Ordering::SeqCst);
    running.handle.wake();
    assert_eq!(running.states().await[0].1, State::Due);

    running.clock.advance(Duration::from_secs(30));
    running.handle.wake();

    running.until("delivered", 1).await;
}

#[tokio::test]
async fn the_sender_hears_once_that_it_is_late_and_once_that_it_is_given_up() {
    let running = Running::start().await;
    running
        .hand_off(accepted(&running.clock, &["a@later.example"]))
        .await;
    for attempt in 1..=4 {
        running.until("deferred", attempt).await;
        running.clock.advance(Duration::from_secs(30));
        running.handle.wake();
    }
    running.until("expired", 1).await;
    running.until("delivered", 2).await;

    let kinds = running.kinds().await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "notified").count(), 2);
}

#[tokio::test]
async fn an_attempt_that_panics_is_one_more_failure_that_may_go_by() {
    let running = Running::start().await;
    running
        .hand_off(accepted(
            &running.clock,
            &["a@panic.example", "b@ok.example"],
        ))
        .await;
    running.until("delivered", 1).await;
    running.until("deferred", 1).await;
}

#[tokio::test]
async fn what_no_route_takes_is_deferred_and_what_cannot_be_encrypted_is_held() {
    let courier = Scripted {
        no_encryption: true,
        ..Scripted::default()
    };
    let running = Running::with(courier, &[]).await;
    let mut message = accepted(&running.clock, &["a@nowhere.example", "b@ok.example"]);
    message.deliveries[1].binding = Binding::Encryption;

    running.hand_off(message).await;
    running.until("deferred", 1).await;
    running.until("held", 1).await;
    running.until("notified", 1).await;
    running.until("delivered", 1).await;

    let states: Vec<State> = running
        .states()
        .await
        .into_iter()
        .map(|(_, state)| state)
        .collect();
    assert_eq!(states, [State::Due, State::Held]);
    // Nobody was tried but the sender, who is told of the hold.
    let asked = running.courier.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
}

#[tokio::test]
async fn a_destination_that_hangs_hinders_nobody_else() {
    let mut queued = vec!["x@hang.example"; 300];
    queued.extend(vec!["y@ok.example"; 100]);
    let running = Running::with(Scripted::default(), &queued).await;
    running.until("delivered", 100).await;
    assert_eq!(
        running.courier.running.load(Ordering::SeqCst),
        2,
        "its two connections"
    );
}

#[tokio::test]
async fn many_destinations_that_hang_hinder_nobody_else() {
    let hanging: Vec<String> = (0..1_500)
        .map(|i| format!("x@hang{}.example", i % 30))
        .collect();
    let mut queued: Vec<&str> = hanging.iter().map(String::as_str).collect();
    queued.extend(vec!["y@ok.example"; 50]);
    let courier = Scripted {
        connections: 20,
        ..Scripted::default()
    };
    let running = Running::with(courier, &queued).await;
    running.until("delivered", 50).await;
    assert_eq!(
        running.courier.running.load(Ordering::SeqCst),
        30 * 5,
        "fewer than all connections there are"
    );
}

#[tokio::test]
async fn a_destination_that_answers_gets_all_its_connections() {
    let courier = Scripted {
        connections: 20,
        ..Scripted::default()
    };
    let running = Running::with(courier, &["x@slow.example"; 200]).await;
    running.until("delivered", 200).await;
    assert_eq!(running.courier.most_running.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn a_destination_has_no_more_at_once_than_its_route_says() {
    let running = Running::with(Scripted::default(), &["x@slow.example"; 40]).await;
    running.until("delivered", 40).await;
    assert_eq!(running.courier.most_running.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_is_in_hand_is_not_tried_again_beside_it_when_its_lease_ends() {
    let running = Running::with(Scripted::default(), &["x@hang.example"; 2]).await;
    running
        .hand_off(accepted(&running.clock, &["h@hang.example"]))
        .await;
    running
        .hand_off(accepted(&running.clock, &["first@ok.example"]))
        .await;
    running.until("delivered", 1).await;

    // The clock jumps, or a turn is waited for longer than a lease lasts.
    running.clock.advance(2 * LEASE);
    for _ in 0..3 {
        let marker = accepted(&running.clock, &["y@ok.example"]);
        running.queue.accept(marker, Handoff::None).await.unwrap();
        running.handle.wake();
    }
    running.until("delivered", 4).await;

    let in_hand = running.handle.shared.leases.available_permits();
    assert!(
        in_hand >= LEASES_MAX - 2,
        "leased twice: {in_hand} are free"
    );
}

#[tokio::test]
async fn a_rate_is_kept() {
    let courier = Scripted {
        rate_per_minute: 600,
        ..Scripted::default()
    };
    let began = Instant::now();
    let running = Running::with(courier, &["x@ok.example"; 6]).await;
    running.until("delivered", 6).await;
    assert!(
        began.elapsed() >= Duration::from_millis(500),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn an_order_of_another_process_is_noticed() {
    let running = Running::start().await;
    let mut held = accepted(&running.clock, &["a@ok.example"]);
    held.deliveries[0].standing = Standing::Held;
    running.queue.accept(held, Handoff::None).await.unwrap();

    let release = Order::ReleaseHeld {
        reason: "fine".to_owned(),
    };
    running
        .queue
        .administer(Selection::All, release, "root")
        .await
        .unwrap();

    running.until("delivered", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_gives_back_what_waits_and_settles_what_is_in_flight() {
    let running = Running::with(Scripted::default(), &["x@slow.example"; 12]).await;
    running.until("delivered", 1).await;

    running.shutdown.begin();
    running.shutdown.finished().await;

    assert!(running.handle.reserve().is_none());
    let states = running.states().await;
    let delivered = running
        .kinds()
        .await
        .iter()
        .filter(|kind| *kind == "delivered")
        .count();
    assert_eq!(states.len() + delivered, 12);
    assert!(
        states.iter().all(|(_, state)| *state == State::Due),
        "{states:?}"
    );
}

#[tokio::test]
async fn more_mail_than_fits_in_hand_all_arrives() {
    let queued = vec!["x@ok.example"; 700];
    let running = Running::with(Scripted::default(), &queued).await;
    for _ in 0..300 {
        let message = accepted(&running.clock, &["z@ok.example"]);
        match running.handle.reserve() {
            Some(permit) => {
                let until = running.clock.now() + LEASE;
                let lease = running
                    .queue
                    .accept(message, Handoff::LeaseUntil(until))
                    .await
                    .unwrap();
                running.handle.offer(permit, lease.unwrap());
            }
            None => {
                running.queue.accept(message, Handoff::None).await.unwrap();
                running.handle.wake();
            }
        }
    }
    running.until("delivered", 1_000).await;
    assert_eq!(running.states().await, []);
}
