//! The start: builds every part and sets it going. Who sends is there before anybody can bring mail.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use crate::accounts::Desk;
use crate::admin;
use crate::admin::banner::Started;
use crate::base::https::Https;
use crate::base::{Clock, Shutdown};
use crate::delivery::upstream::Upstream;
use crate::delivery::{Assurance, Deliveries, Router, sms};
use crate::ingress;
use crate::outcome::Letterhead;
use crate::outcome::damaged::DamagedNotice;
use crate::policy::Policy;
use crate::queue::{Accepted, Queue};
use crate::scheduler::{Handle, Scheduler};
use crate::settings::Settings;

use super::describe::describe;
use super::rulings::{exchangers, rulings};
use super::{Reload, ServeError, letterhead, record_policy, remove_older};
use super::{accounts, learning, quarantine, rounds, scanners, texts, transport};

/// Starts every part. What is running when one of them fails is for the caller to drain.
pub(super) async fn start(
    config: &Path,
    settings: &Settings,
    queue: &Queue,
    desk: &Arc<Desk>,
    clock: &Clock,
    shutdown: &Shutdown,
) -> Result<(Reload, Started), ServeError> {
    let (policy, policies) = watch::channel(Arc::clone(&settings.policy));
    record_policy(queue, clock, settings.policy.version()).await;
    remove_older(Arc::clone(settings.policy.directory()));
    let router = Arc::new(Router::new(settings.delivery.routes.clone()));
    let (routes, router) = watch::channel(router);
    let with = With {
        settings,
        queue,
        desk,
        clock,
        shutdown,
        letterhead: written_on(settings, &policies, clock),
        policies,
    };
    let https = Https::new(
        &settings.delivery.connections.extra_roots,
        settings.dns.clone(),
    );
    let https = https.map_err(not_started)?;
    let assurance = with.open_assurance()?;
    let text_key = texts::key(settings)?;
    let texts = texts::open(settings, text_key.as_ref(), clock)?;
    let deliveries = with.deliveries(texts.clone(), Arc::clone(&assurance))?;
    let scheduler = with.schedule(router.clone(), deliveries);
    let senders = (queue, &scheduler);
    texts::listen(settings, texts.as_ref(), senders, clock, shutdown).await?;
    let metrics = start_metrics(&settings.admin, queue, shutdown).await?;
    let parts = ingress::Parts {
        accounts: Arc::clone(desk),
        hostname: settings.hostname.clone(),
        letterhead: with.letterhead.clone(),
        data: settings.data.clone(),
        text_key,
        policies: with.policies.clone(),
        queue: queue.clone(),
        scheduler,
        clock: clock.clone(),
        shutdown: shutdown.clone(),
    };
    let quarantine = quarantine::start(settings, &parts).await?;
    let listening = ingress::start(&settings.ingress, parts).await?;
    shutdown.spawn(quarantine.run(shutdown.clone()));
    with.go_round(https, router, assurance);
    let reload = Reload {
        config: config.to_owned(),
        queue: queue.clone(),
        clock: clock.clone(),
        policy,
        routes,
        accounts: Arc::clone(desk),
    };
    Ok((reload, describe(config, settings, &listening, metrics)))
}

/// What every part is built with.
struct With<'a> {
    settings: &'a Settings,
    queue: &'a Queue,
    desk: &'a Arc<Desk>,
    clock: &'a Clock,
    shutdown: &'a Shutdown,
    letterhead: Letterhead,
    policies: watch::Receiver<Arc<Policy>>,
}

impl With<'_> {
    /// What is known of destinations.
    fn open_assurance(&self) -> Result<Arc<Assurance>, ServeError> {
        let opened = Assurance::open(
            self.settings.delivery.transport.clone(),
            &self.settings.data,
            self.settings.dns.clone(),
            &self.settings.delivery.connections.extra_roots,
            self.clock.clone(),
        );
        opened.map(Arc::new).map_err(not_started)
    }

    /// Who makes the attempts, with all that is asked on the way.
    fn deliveries(
        &self,
        texts: Option<sms::Texts>,
        assurance: Arc<Assurance>,
    ) -> Result<Deliveries, ServeError> {
        let made = Deliveries::new(
            &self.settings.delivery.connections,
            self.settings.dns.clone(),
            self.settings.hostname.as_str(),
            self.clock.clone(),
        );
        let upstream = Upstream::open(&self.settings.data).map_err(not_started)?;
        Ok(made
            .map_err(not_started)?
            .asking(exchangers(self.policies.clone()))
            .with_texts(texts)
            .with_upstream(Arc::new(upstream))
            .with_assurance(assurance))
    }

    fn schedule(&self, router: watch::Receiver<Arc<Router>>, deliveries: Deliveries) -> Handle {
        self.tell_of_damage();
        let scheduler = Scheduler::start(
            self.queue.clone(),
            router,
            deliveries,
            rulings(&self.policies),
            self.clock.clone(),
            self.shutdown.clone(),
            self.letterhead.clone(),
        );
        scheduler.remember_in(&self.settings.data);
        scheduler.show_in(&self.settings.data);
        scheduler
    }

    /// Of mail that cannot be read back, whoever decides about what is held is told.
    fn tell_of_damage(&self) {
        let (policies, letterhead) = (self.policies.clone(), self.letterhead.clone());
        self.queue.tell_of_damage(move |damaged| {
            let to = policies.borrow().holds().owner_address.clone();
            let notice = to.map(|to| {
                let notice = DamagedNotice {
                    to: &to,
                    about: &damaged.reference,
                    message_id: damaged.message_id.as_deref(),
                    sender: &damaged.sender,
                    recipients: &damaged.recipients,
                    what: &damaged.what,
                };
                let notice = notice.notice(letterhead.hostname(), damaged.at);
                Accepted::notice(notice, &letterhead)
            });
            notice.into_iter().collect()
        });
    }

    /// Starts what goes round beside the mail until the end.
    fn go_round(
        &self,
        https: Https,
        routes: watch::Receiver<Arc<Router>>,
        assurance: Arc<Assurance>,
    ) {
        let delivery = &self.settings.delivery;
        let bookkeeper = accounts::Bookkeeper {
            desk: Arc::clone(self.desk),
            queue: self.queue.clone(),
            policies: self.policies.clone(),
            clock: self.clock.clone(),
            letterhead: self.letterhead.clone(),
            https,
            routes,
        };
        let transport = transport::TransportRounds {
            wants_dane: delivery.transport.dane && delivery.asks_exchangers(),
            assurance,
            dns: self.settings.dns.clone(),
            queue: self.queue.clone(),
            clock: self.clock.clone(),
            letterhead: self.letterhead.clone(),
        };
        let rounds = rounds::Rounds {
            queue: self.queue.clone(),
            policies: self.policies.clone(),
            clock: self.clock.clone(),
            dns: self.settings.dns.clone(),
            letterhead: self.letterhead.clone(),
        };
        let learning = learning::Learning {
            policies: self.policies.clone(),
            data: self.settings.data.clone(),
            clock: self.clock.clone(),
        };
        let scanners = scanners::Scanners {
            policies: self.policies.clone(),
            clock: self.clock.clone(),
        };
        let until = || self.shutdown.clone();
        self.shutdown.spawn(bookkeeper.run(until()));
        self.shutdown.spawn(transport.run(until()));
        self.shutdown.spawn(rounds.run(until()));
        self.shutdown.spawn(learning.run(until()));
        self.shutdown.spawn(scanners.run(until()));
    }
}

/// The gateway's own paper, with the keys of the policy in force.
fn written_on(
    settings: &Settings,
    policies: &watch::Receiver<Arc<Policy>>,
    clock: &Clock,
) -> Letterhead {
    let in_force = policies.clone();
    let signing = move || Arc::clone(in_force.borrow().signing());
    letterhead(&settings.hostname, signing, clock.clone())
}

async fn start_metrics(
    settings: &admin::Settings,
    queue: &Queue,
    shutdown: &Shutdown,
) -> Result<Option<SocketAddr>, ServeError> {
    let started = admin::metrics::start(settings, queue, shutdown).await;
    started.map_err(|source| match &settings.metrics {
        Some(address) => ServeError::Metrics {
            address: **address,
            source,
        },
        None => not_started(source),
    })
}

fn not_started(error: impl std::fmt::Display) -> ServeError {
    ServeError::Start(error.to_string())
}
