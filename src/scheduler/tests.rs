//! The scheduler over a real queue and a courier that does as the test says.

mod kept;
mod straight;

use std::sync::atomic::{AtomicI64, AtomicUsize};

use super::*;
use crate::base::Reference;
use crate::delivery::{
    Applies, Pattern, RetrySchedule, Route, Rule, Shaping, SmartHost, TakenRoute, Takes, TlsLevel,
    Transport,
};
use crate::mail::{
    BodyType, Envelope, ForwardPath, Message, Priority, Recipient, Reply, ReversePath,
};
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::queue::{
    Accepted, Filter, Handling, Handoff, LEASE, NewDelivery, Order, PolicyMark, QueuedMessage,
    Selection, Standing, State,
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
    /// `later` becomes `ok` once this is set; so do `away` and `busy`.
    recovered: AtomicBool,
    /// The one pause of the schedule; 0 for half a minute.
    pause_hours: u64,
    /// Whether all mail goes to a smart host, which takes it.
    moved: AtomicBool,
    /// Which policy is in force.
    policy: AtomicI64,
    /// How often all of it was loaded anew.
    reloads: AtomicUsize,
    /// What all destinations share.
    shared: Option<Rule>,
    /// The one call for a route that panics; 0 for none.
    route_panics_at: usize,
    routes: AtomicUsize,
    /// Panics that were wanted.
    panics: AtomicUsize,
}

impl Scripted {
    fn panic(&self) -> ! {
        self.panics.fetch_add(1, Ordering::SeqCst);
        panic!("as the test wants")
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn carried_to(&self) -> Vec<String> {
        self.asked().into_iter().flat_map(|(_, to)| to).collect()
    }

    /// One by the settings of now.
    fn router(&self, routes: Vec<Arc<Route>>) -> Router {
        let first = Router::new(routes);
        let reloads = 0..self.reloads.load(Ordering::SeqCst);
        reloads.fold(first, |router, _| {
            router.replaced_by(router.routes().to_vec())
        })
    }

    fn answer(&self, domain: &str) -> Outcome {
        let reply = |code, class: u16, text: &str| {
            let status = EnhancedStatusCode::parse(&format!("{class}.1.1")).unwrap();
            Outcome::from_reply(Reply::new(code, status, text), "mx.example", true)
        };
        match domain {
            "never.example" => reply(550, 5, "no such user"),
            "later.example" if !self.recovered.load(Ordering::SeqCst) => reply(450, 4, "later"),
            "busy.example" if !self.recovered.load(Ordering::SeqCst) => reply(421, 4, "later"),
            away if away.contains("away") && !self.recovered.load(Ordering::SeqCst) => {
                Outcome::without_reply(EnhancedStatusCode::transient(4, 1), "nobody answers")
            }
            _ => reply(250, 2, "taken"),
        }
    }
}

impl Courier for Scripted {
    fn route(&self, path: &ForwardPath, encryption: bool) -> Option<TakenRoute> {
        if self.routes.fetch_add(1, Ordering::SeqCst) + 1 == self.route_panics_at {
            self.panic();
        }
        let name = path
            .domain()
            .map(|domain| domain.as_str().to_owned())
            .unwrap_or_default();
        if name == "nowhere.example" || (encryption && self.no_encryption) {
            return None;
        }
        let route = Route {
            name: if encryption { "encryption" } else { "all" }.to_owned(),
            takes: match encryption {
                true => Takes::Encryption,
                false => Takes::Recipients(vec![Pattern::Everyone]),
            },
            transport: match self.moved.load(Ordering::SeqCst) {
                false => Transport::Mx {
                    tls: TlsLevel::None,
                    port: 25,
                },
                true => Transport::SmartHost(SmartHost {
                    next_hop: "relay.example:25".parse().unwrap(),
                    tls: TlsLevel::None,
                    credentials: None,
                }),
            },
            connections: match self.connections {
                0 => 2,
                connections => connections,
            },
            rate_per_minute: self.rate_per_minute,
            chunking: true,
            straight_through: true,
            schedule: RetrySchedule {
                delays: vec![match self.pause_hours {
                    0 => Duration::from_secs(30),
                    hours => Duration::from_secs(3_600 * hours),
                }],
                warn_after: Duration::from_secs(60 * (1 + 600 * self.pause_hours)),
                give_up_after: Duration::from_secs(120 * (1 + 600 * self.pause_hours)),
            },
            shaping: Shaping {
                rules: self.shared.iter().cloned().collect(),
                ..Shaping::default()
            },
        };
        self.router(vec![Arc::new(route)]).take(path, encryption)
    }

    fn generation(&self) -> Generation {
        self.router(Vec::new()).generation()
    }

    fn reloaded(&self) {
        self.reloads.fetch_add(1, Ordering::SeqCst);
    }

    fn policy(&self) -> Option<PolicyMark> {
        Some(PolicyMark(self.policy.load(Ordering::SeqCst)))
    }

    fn judge_again<'a>(&'a self, _: &'a QueuedMessage, to: Vec<Recipient>) -> Answers<'a> {
        let answer = |one: &Recipient| {
            let path = one.forward_path.to_string();
            match path.split('@').next().unwrap_or_default() {
                "forbidden" => Again::Forbidden("patient data was found".to_owned()),
                "tls" => Again::VerifiedTls,
                "encrypt" => Again::Encrypt,
                "unknown" | "muddled" => Again::Unknown,
                "panic" => panic!("as the test wants"),
                "reload" => {
                    if !self.moved.swap(true, Ordering::SeqCst) {
                        self.reloaded();
                    }
                    Again::Goes
                }
                _ => Again::Goes,
            }
        };
        let answers = to.iter().map(answer).collect();
        Box::pin(async move { answers })
    }

    fn fallback(&self, path: &ForwardPath) -> Fallback {
        let to = path.to_string();
        if to.starts_with("muddled@") && !self.recovered.load(Ordering::SeqCst) {
            self.panic();
        }
        Fallback::default()
    }

    fn may_have_patient_data(&self, path: &ForwardPath, _: Timestamp) -> bool {
        path.domain()
            .is_some_and(|domain| domain.as_str() != "lapsed.example")
    }

    fn attempt<'a>(
        &'a self,
        route: &'a TakenRoute,
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
                _ if matches!(route.transport, Transport::SmartHost(_)) => {}
                domain if domain.contains("hang") => std::future::pending().await,
                domain if domain.starts_with("slow") => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                _ => {}
            }
            self.running.fetch_sub(1, Ordering::SeqCst);
            let one_of = |i| match domain.as_str() {
                "few.example" if i >= 2 => {
                    let status = EnhancedStatusCode::transient(5, 3);
                    let reply = Reply::new(452, status, "too many recipients");
                    Outcome::from_reply(reply, "mx.example", true)
                }
                domain => self.answer(domain),
            };
            (0..to.len()).map(one_of).collect()
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
        let permit = self.handle.reserve(1_000).unwrap();
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

    /// Waits until so many panics were wanted.
    async fn until_panics(&self, n: usize) {
        let met = async {
            while self.courier.panics.load(Ordering::SeqCst) < n {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let met = tokio::time::timeout(Duration::from_secs(30), met).await;
        assert!(met.is_ok(), "{n} panics never came");
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
        handling: Handling::default(),
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
async fn a_clock_that_was_ahead_and_is_set_right_keeps_nothing_waiting() {
    let running = Running::start().await;
    let right = running.clock.now();
    running
        .hand_off(accepted(&running.clock, &["a@ok.example"]))
        .await;
    running.until("delivered", 1).await;
    let day = Duration::from_secs(24 * 3_600);
    running.clock.advance(30 * day);
    running.handle.wake();
    running
        .hand_off(accepted(&running.clock, &["a@later.example"]))
        .await;
    running.until("deferred", 1).await;

    running.courier.recovered.store(true, Ordering::SeqCst);
    running.clock.set(right + Duration::from_secs(60));
    running.handle.wake();

    running.until("delivered", 2).await;
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
async fn a_lease_that_is_over_when_its_turn_comes_is_not_used() {
    let running = Running::start().await;
    let permit = running.handle.reserve(1_000).unwrap();
    let now = running.clock.now();
    let stale = accepted(&running.clock, &["stale@ok.example"]);
    let stale = running.queue.accept(stale, Handoff::LeaseUntil(now)).await;
    let stale = stale.unwrap().unwrap();
    // Somebody else had it since, and holds it.
    let held = Settlement {
        delivery: stale.deliveries[0].id,
        outcome: Outcome::without_reply(EnhancedStatusCode::transient(7, 0), "held"),
        next: Next::Held,
        delay_notified: false,
    };
    running.queue.settle(vec![held], vec![]).await.unwrap();

    running.handle.offer(permit, stale);
    let marker = accepted(&running.clock, &["y@ok.example"]);
    running.hand_off(marker).await;
    running.until("delivered", 1).await;

    let left = running.states().await;
    assert_eq!(left, [("stale@ok.example".to_owned(), State::Held)]);
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

    assert!(running.handle.reserve(1_000).is_none());
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
        match running.handle.reserve(1_000) {
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

/// The circuit in a courier's world: pauses of an hour, so that nothing comes back by the schedule.
fn slow_to_retry() -> Scripted {
    Scripted {
        pause_hours: 1,
        ..Scripted::default()
    }
}

#[tokio::test]
async fn a_next_hop_that_is_away_is_left_alone_and_all_its_mail_goes_when_it_is_back() {
    let running = Running::with(slow_to_retry(), &["x@away.example"; 60]).await;
    running.until("deferred", 60).await;
    let tried = running.courier.asked().len();
    assert!(
        (5..=12).contains(&tried),
        "{tried} attempts for 60 messages"
    );
    let list = running.queue.list(Filter::default()).await.unwrap();
    let not_tried = |one: &&crate::queue::Waiting| {
        let reply = one.last_reply.as_deref().unwrap_or_default();
        reply.starts_with("not tried: nobody is there since 2026-11-21T10:00:00Z")
    };
    assert_eq!(list.iter().filter(not_tried).count(), 60 - tried);

    // Still away: one message finds that out, and nothing else is tried.
    running.clock.advance(Duration::from_secs(30));
    running.handle.wake();
    running.until("deferred", 61).await;
    assert_eq!(running.courier.asked().len(), tried + 1);

    running.courier.recovered.store(true, Ordering::SeqCst);
    running.clock.advance(Duration::from_secs(60));
    running.handle.wake();
    running.until("delivered", 60).await;
    assert_eq!(running.states().await, []);
}

#[tokio::test]
async fn what_comes_for_a_next_hop_that_is_away_is_put_off_and_expires_in_its_time() {
    let running = Running::with(slow_to_retry(), &["x@away.example"; 10]).await;
    running.until("deferred", 10).await;
    let tried = running.courier.asked().len();

    running
        .hand_off(accepted(&running.clock, &["late@away.example"]))
        .await;
    running.until("deferred", 11).await;
    assert_eq!(running.courier.asked().len(), tried, "without an attempt");

    for _ in 0..24 {
        running.clock.advance(Duration::from_secs(3_600));
        running.handle.wake();
        tokio::task::yield_now().await;
    }
    running.until("expired", 11).await;
}

#[tokio::test]
async fn a_next_hop_that_wants_less_is_left_alone_for_a_while() {
    let running = Running::with(slow_to_retry(), &["x@busy.example"; 20]).await;
    running.until("deferred", 1).await;
    running
        .hand_off(accepted(&running.clock, &["y@ok.example"]))
        .await;
    running.until("delivered", 1).await;
    let asked = || {
        let asked = running.courier.carried_to();
        asked.iter().filter(|to| to.contains("busy")).count()
    };
    let at_first = asked();
    assert!(at_first <= 4, "{at_first} attempts, two at once");

    running.courier.recovered.store(true, Ordering::SeqCst);
    running.clock.advance(Duration::from_secs(15));
    running.handle.wake();
    running.until("delivered", 21).await;
}

#[tokio::test]
async fn what_waits_for_a_next_hop_that_wants_nothing_is_reported_as_late_and_expires_in_its_time()
{
    let running = Running::with(slow_to_retry(), &["x@busy.example"; 20]).await;
    running.until("deferred", 1).await;
    // A pause is ten minutes at most: each ends a few times before the next hour is over.
    for _ in 0..6 * 24 {
        running.clock.advance(Duration::from_secs(600));
        running.handle.wake();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.until("expired", 20).await;
    // Each sender heard of the delay, and then of the end.
    running.until("notified", 40).await;
}

#[tokio::test]
async fn what_was_put_off_goes_when_a_next_hop_that_wanted_nothing_takes_mail_again() {
    let running = Running::with(slow_to_retry(), &["x@busy.example"; 20]).await;
    for _ in 0..20 {
        running.clock.advance(Duration::from_secs(60));
        running.handle.wake();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.until("deferred", 20).await;

    running.courier.recovered.store(true, Ordering::SeqCst);
    running.clock.advance(Duration::from_secs(600));
    running.handle.wake();
    running.until("delivered", 20).await;
}

#[tokio::test]
async fn the_rest_of_too_many_recipients_follows_and_the_number_is_kept_to() {
    let running = Running::with(slow_to_retry(), &[]).await;
    let to: Vec<String> = (0..6).map(|i| format!("r{i}@few.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    running.hand_off(accepted(&running.clock, &to)).await;
    running.until("delivered", 2).await;
    running.until("deferred", 4).await;

    running.clock.advance(Duration::from_secs(1));
    running.handle.wake();
    running.until("delivered", 6).await;

    let sizes: Vec<usize> = running.courier.asked().iter().map(|a| a.1.len()).collect();
    assert_eq!(sizes, [6, 2, 2]);
}

#[tokio::test]
async fn what_waits_for_its_turn_goes_by_the_new_routes_after_a_reload() {
    let running = Running::with(Scripted::default(), &["x@hang.example"; 12]).await;
    while running.courier.asked().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    running.courier.moved.store(true, Ordering::SeqCst);
    running.handle.shared.reroute().await;

    running.until("delivered", 10).await;
}

#[tokio::test]
async fn a_changed_policy_is_asked_again_before_what_it_did_not_decide_about_goes() {
    let running = Running::start().await;
    let to = [
        "a@ok.example",
        "forbidden@ok.example",
        "tls@ok.example",
        "encrypt@ok.example",
        "unknown@ok.example",
    ];
    let decided_by = |mark| Handling {
        policy: Some(PolicyMark(mark)),
        ..Handling::default()
    };
    let by_another = Accepted {
        handling: decided_by(7),
        ..accepted(&running.clock, &to)
    };

    running.hand_off(by_another).await;
    running.until("held", 1).await;
    // Three of them, and the notice of the hold.
    running.until("delivered", 4).await;

    let mut asked = running.courier.asked();
    asked.sort_by_key(|(_, to)| to.clone());
    let asked: Vec<(TlsNeed, &str)> = asked.iter().map(|(need, to)| (*need, &*to[0])).collect();
    let expected = [
        (TlsNeed::AsRoute, "a@ok.example"),
        (TlsNeed::Encryption, "encrypt@ok.example"),
        (TlsNeed::AsRoute, "s@ok.example"),
        (TlsNeed::Verified, "tls@ok.example"),
    ];
    assert_eq!(asked, expected);
    let expected = [
        ("forbidden@ok.example".to_owned(), State::Held),
        ("unknown@ok.example".to_owned(), State::Due),
    ];
    assert_eq!(running.states().await, expected);

    // What a person let go on goes, and what this policy decided about.
    let release = Order::ReleaseHeld {
        reason: "agreed".to_owned(),
    };
    let released = running.queue.administer(Selection::All, release, "root");
    released.await.unwrap();
    running.until("delivered", 5).await;
    let by_this = Accepted {
        handling: decided_by(0),
        ..accepted(&running.clock, &["forbidden@ok.example"])
    };
    running.hand_off(by_this).await;
    running.until("delivered", 6).await;
}

/// They are tried again when their lease ends and not before.
#[tokio::test]
async fn deliveries_of_a_settlement_that_panics_are_not_in_hand_for_ever() {
    let running = Running::start().await;
    for _ in 0..3 {
        let message = accepted(&running.clock, &["muddled@ok.example", "b@other.example"]);
        running.hand_off(message).await;
    }
    running.until("delivered", 3).await;
    running.until_panics(3).await;

    let of_him = || {
        let carried = running.courier.carried_to();
        carried
            .iter()
            .filter(|to| to.starts_with("muddled"))
            .count()
    };
    assert_eq!(of_him(), 3, "their leases last");

    running.courier.recovered.store(true, Ordering::SeqCst);
    running.clock.advance(LEASE);
    running.handle.wake();
    running.until("delivered", 6).await;
    assert_eq!(of_him(), 6);
    assert_eq!(running.states().await, []);
}

/// Before the attempt: where it is judged again.
#[tokio::test]
async fn work_that_panics_keeps_no_place_at_the_destination() {
    let running = Running::start().await;
    for _ in 0..3 {
        let by_another = Accepted {
            handling: Handling {
                policy: Some(PolicyMark(7)),
                ..Handling::default()
            },
            ..accepted(&running.clock, &["muddled@ok.example"])
        };
        running.hand_off(by_another).await;
    }
    // More than the two connections that the destination has.
    running.until_panics(3).await;
    let message = accepted(&running.clock, &["a@ok.example"]);
    running.hand_off(message).await;
    running.until("delivered", 1).await;
}

/// In the writer, which asks what to pass over, in the loop, and where the settlement asks for the encryption route.
#[tokio::test]
async fn wherever_the_courier_panics_mail_goes_on() {
    for nth in 1..5 {
        let courier = Scripted {
            route_panics_at: nth,
            ..Scripted::default()
        };
        let running = Running::with(courier, &["a@later.example"]).await;
        running.until_panics(1).await;
        running.courier.recovered.store(true, Ordering::SeqCst);
        running.clock.advance(LEASE);
        running.handle.wake();
        running.until("delivered", 1).await;
    }
}

/// Its way hangs, and that of the new settings does not.
#[tokio::test]
async fn what_was_judged_again_while_a_reload_came_goes_by_the_new_routes() {
    let running = Running::start().await;
    let by_another = Accepted {
        handling: Handling {
            policy: Some(PolicyMark(7)),
            ..Handling::default()
        },
        ..accepted(&running.clock, &["reload@hang.example"])
    };
    running.hand_off(by_another).await;
    running.until("delivered", 1).await;
}

/// Its place and its deliveries do not stay taken.
#[tokio::test]
async fn a_policy_that_panics_when_it_is_asked_again_puts_the_message_off_and_holds_up_nobody() {
    let running = Running::start().await;
    for _ in 0..3 {
        let by_another = Accepted {
            handling: Handling {
                policy: Some(PolicyMark(7)),
                ..Handling::default()
            },
            ..accepted(&running.clock, &["panic@ok.example"])
        };
        running.hand_off(by_another).await;
    }
    running.until("deferred", 3).await;

    // More than the two connections that the destination has.
    let message = accepted(&running.clock, &["a@ok.example"]);
    running.hand_off(message).await;
    running.until("delivered", 1).await;
    assert_eq!(running.courier.carried_to(), ["a@ok.example"]);
}

#[tokio::test]
async fn a_reload_brings_the_new_policy_to_what_waits() {
    let running = Running::start().await;
    let message = Accepted {
        handling: Handling {
            policy: Some(PolicyMark(0)),
            ..Handling::default()
        },
        ..accepted(&running.clock, &["forbidden@later.example"])
    };
    running.hand_off(message).await;
    running.until("deferred", 1).await;

    running.courier.policy.store(1, Ordering::SeqCst);
    running.courier.recovered.store(true, Ordering::SeqCst);
    running.handle.shared.reroute().await;
    running.clock.advance(Duration::from_secs(30));
    running.handle.wake();

    running.until("held", 1).await;
    let carried = running.courier.carried_to();
    let to_him = carried.iter().filter(|to| to.contains("forbidden"));
    assert_eq!(to_him.count(), 1, "the one before the reload");
}

#[tokio::test]
async fn urgent_mail_goes_before_what_came_earlier_and_bulk_goes_too() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::fixed("2026-11-21T10:00:00Z".parse().unwrap());
    let queue = Queue::open(folder.path(), clock.clone()).await.unwrap();
    for (class, number) in [
        (Priority::Bulk, 100),
        (Priority::Normal, 100),
        (Priority::Urgent, 40),
    ] {
        for _ in 0..number {
            let message = Accepted {
                handling: Handling {
                    priority: class,
                    ..Handling::default()
                },
                ..accepted(&clock, &["x@ok.example"])
            };
            queue.accept(message, Handoff::None).await.unwrap();
        }
    }

    let mut shares = Vec::new();
    for _ in 0..4 {
        let leases = queue.lease(clock.now(), 64, Skip::nothing()).await.unwrap();
        let of = |class| {
            leases
                .iter()
                .filter(|l| l.deliveries[0].priority == class)
                .count()
        };
        shares.push(Priority::ALL.map(of));
    }
    assert_eq!(shares, [[40, 16, 8], [0, 56, 8], [0, 28, 36], [0, 0, 48]]);
}

#[tokio::test]
async fn what_destinations_share_is_kept_to_by_all_of_them_together() {
    let account = Rule {
        applies: Applies::Account("relay".to_owned()),
        connections: Some(1),
        messages_per_connection: None,
        rate_per_minute: 0,
        recipients: None,
    };
    let courier = Scripted {
        shared: Some(account),
        ..Scripted::default()
    };
    let queued = ["a@slow1.example", "b@slow2.example", "c@slow3.example"].repeat(4);
    let running = Running::with(courier, &queued).await;
    running.until("delivered", 12).await;
    assert_eq!(running.courier.most_running.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn many_destinations_that_answer_slowly_leave_room_for_others() {
    let slow: Vec<String> = (0..1_200)
        .map(|i| format!("x@slow{}.example", i % 15))
        .collect();
    let slow: Vec<&str> = slow.iter().map(String::as_str).collect();
    let courier = Scripted {
        connections: 20,
        ..Scripted::default()
    };
    let running = Running::with(courier, &slow).await;
    running.until("delivered", 1_200).await;
    let most = running.courier.most_running.load(Ordering::SeqCst);
    assert!(most <= 200, "{most} of 200 connections");
}
