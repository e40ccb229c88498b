//! What was learnt of destinations, over a restart.

use super::*;

impl Running {
    /// Stops it in order, and starts another on the same queue and folder with this courier.
    async fn restarted(self, courier: Scripted) -> Self {
        self.shutdown.begin();
        self.shutdown.finished().await;
        let (courier, shutdown) = (Arc::new(courier), Shutdown::new());
        let dynamic: Arc<dyn Courier> = Arc::clone(&courier) as Arc<dyn Courier>;
        let (queue, clock) = (self.queue.clone(), self.clock.clone());
        let handle = Scheduler::start_with(queue, dynamic, clock, shutdown.clone(), "gate.example");
        handle.remember_in(self._folder.path());
        Self {
            courier,
            shutdown,
            handle,
            ..self
        }
    }

    async fn hand_off_one_by_one(&self, to: &str, count: usize) {
        let had = self
            .kinds()
            .await
            .iter()
            .filter(|one| *one == "deferred")
            .count();
        for nth in 1..=count {
            self.hand_off(accepted(&self.clock, &[to])).await;
            self.until("deferred", had + nth).await;
        }
    }
}

fn patient() -> Scripted {
    Scripted {
        pause_hours: 4,
        ..Scripted::default()
    }
}

/// Its mail would wait for hours by its schedule, next hop or no next hop.
#[tokio::test]
async fn what_found_nobody_before_a_restart_is_called_back_when_somebody_is_there_after_it() {
    let running = Running::with(patient(), &[]).await;
    running.handle.remember_in(running._folder.path());
    running.hand_off_one_by_one("a@away.example", 7).await;
    // The last two were put off: its circuit is open.
    assert_eq!(running.courier.carried_to().len(), 5);

    let back = Scripted {
        recovered: AtomicBool::new(true),
        ..patient()
    };
    let running = running.restarted(back).await;
    let message = accepted(&running.clock, &["b@away.example"]);
    running.hand_off(message).await;
    running.until("delivered", 8).await;
}

#[tokio::test]
async fn a_next_hop_that_is_still_away_after_a_restart_is_tried_by_one_message() {
    let running = Running::with(patient(), &[]).await;
    running.handle.remember_in(running._folder.path());
    running.hand_off_one_by_one("a@away.example", 5).await;

    let running = running.restarted(patient()).await;
    running.hand_off_one_by_one("b@away.example", 4).await;
    assert_eq!(running.courier.carried_to(), ["b@away.example"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_stops_nothing() {
    let running = Running::start().await;
    let file = running._folder.path().join("learnt.json");
    std::fs::write(file, "{ nothing of ours").unwrap();
    running.handle.remember_in(running._folder.path());
    running
        .hand_off(accepted(&running.clock, &["a@ok.example"]))
        .await;
    running.until("delivered", 1).await;
}
