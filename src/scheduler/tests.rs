//! The scheduler over a real queue and a courier that does as the test says.

mod away;
mod classes;
mod crowd;
mod in_hand;
mod kept;
mod later;
mod onward;
mod panics;
mod poison;
mod reload;
mod straight;

use std::sync::atomic::{AtomicI64, AtomicUsize};

use super::*;
use crate::delivery::{
    Applies, Pattern, RetrySchedule, Route, Rule, Shaping, SmartHost, TakenRoute, Takes, TlsLevel,
    Transport,
};
use crate::mail::{Envelope, ForwardPath, Message, Priority, Recipient, Reply, ReversePath};
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
            "quotes.example" => reply(550, 5, "no mail about 450 557 7104 here"),
            "small.example" => {
                let status = EnhancedStatusCode::permanent(6, 3);
                Outcome::without_reply(status, "the next hop takes no 8-bit messages")
            }
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
            let one_of = |i: usize| match domain.as_str() {
                "few.example" if i >= 2 => {
                    let status = EnhancedStatusCode::transient(5, 3);
                    let reply = Reply::new(452, status, "too many recipients");
                    Outcome::from_reply(reply, "mx.example", true)
                }
                "grumbles.example" if to[i].starts_with("poison") => {
                    let status = EnhancedStatusCode::transient(3, 0);
                    let reply = Reply::new(421, status, "closing");
                    Outcome::from_reply(reply, "mx.example", true)
                }
                "swallows.example" => Outcome {
                    in_doubt: true,
                    ..Outcome::without_reply(EnhancedStatusCode::transient(4, 2), "lost")
                },
                _ if to[i].starts_with("poison") => Outcome {
                    broke_off: domain == "breaks.example",
                    ..Outcome::without_reply(EnhancedStatusCode::transient(4, 2), "lost")
                },
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
    let from = ReversePath::parse("s@ok.example").unwrap();
    let mut accepted = crate::queue::testing::accepted(clock.now(), from, to);
    let reference = accepted.reference.clone();
    let received = AuditKind::Received;
    let event = AuditEvent::new(clock.now(), reference, received, "s@ok.example");
    accepted.events.push(event);
    accepted
}

/// The same, decided about by the policy of this mark.
fn decided_by(mark: i64, clock: &Clock, to: &[&str]) -> Accepted {
    Accepted {
        handling: Handling {
            policy: Some(PolicyMark(mark)),
            ..Handling::default()
        },
        ..accepted(clock, to)
    }
}
