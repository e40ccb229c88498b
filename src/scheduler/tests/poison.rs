//! Messages that a next hop cannot cope with keep nobody else's mail from it.

use super::*;
use crate::queue::DeliveryId;
use crate::scheduler::answer::Answer;
use crate::scheduler::health::Health;

/// Five of them, and what each comes to.
async fn five(domain: &str) -> Running {
    let courier = Scripted {
        connections: 10,
        pause_hours: 1,
        ..Scripted::default()
    };
    let running = Running::with(courier, &[]).await;
    for number in 0..5 {
        let to = format!("poison{number}@{domain}");
        running.hand_off(accepted(&running.clock, &[&to])).await;
    }
    running.until("deferred", 5).await;
    running
}

#[tokio::test]
async fn a_next_hop_that_hangs_up_on_some_messages_gets_the_others() {
    let running = five("breaks.example").await;
    let good = accepted(&running.clock, &["good@breaks.example"]);
    running.hand_off(good).await;
    running.until("delivered", 1).await;
}

#[tokio::test]
async fn what_fails_one_trial_does_not_make_the_next_if_something_else_waits() {
    let running = five("silent.example").await;
    for _ in 0..3 {
        let good = accepted(&running.clock, &["good@silent.example"]);
        running.hand_off(good).await;
    }
    running.until("deferred", 8).await;
    let tried = |running: &Running| running.courier.asked().len();
    assert_eq!(tried(&running), 5, "the circuit is open");

    running.clock.advance(Duration::from_secs(30));
    running.handle.wake();
    // The first of them makes the trial, and has the others called back.
    running.until("delivered", 3).await;
}

#[tokio::test]
async fn what_a_next_hop_closes_the_channel_on_is_tried_after_the_others_and_then_delays_nobody() {
    let courier = Scripted {
        pause_hours: 1,
        ..Scripted::default()
    };
    let running = Running::with(courier, &[]).await;
    let come = async |who: &str| {
        let to = format!("{who}@grumbles.example");
        running.hand_off(accepted(&running.clock, &[&to])).await;
    };
    let pass = |seconds| {
        running.clock.advance(Duration::from_secs(seconds));
        running.handle.wake();
    };
    come("poison").await;
    running.until("deferred", 1).await;
    for _ in 0..3 {
        come("good").await;
    }
    // It may be busy, so nobody is tried for a moment; then the others are.
    pass(15);
    running.until("delivered", 3).await;
    assert_eq!(running.courier.asked().len(), 4, "not the first one");

    pass(1);
    running.until("deferred", 2).await;
    come("good").await;
    running.until("delivered", 4).await;
    // By its schedule from now on, not every half minute.
    pass(60);
    come("good").await;
    running.until("delivered", 5).await;
    assert_eq!(running.courier.asked().len(), 7);
}

/// What it says of us it says of everybody's mail: each time there is a pause for all of it.
#[tokio::test]
async fn what_a_next_hop_says_of_how_much_it_takes_is_never_about_a_message() {
    for domain in ["greeting", "throttle", "words"] {
        let courier = Scripted {
            pause_hours: 1,
            ..Scripted::default()
        };
        let running = Running::with(courier, &[]).await;
        let come = async |who: &str| {
            let to = format!("{who}@{domain}.grumbles.example");
            running.hand_off(accepted(&running.clock, &[&to])).await;
        };
        let pass = |seconds| {
            running.clock.advance(Duration::from_secs(seconds));
            running.handle.wake();
        };
        come("poison").await;
        running.until("deferred", 1).await;
        pass(15);
        come("good").await;
        running.until("delivered", 1).await;
        pass(1);
        running.until("deferred", 2).await;

        come("good").await;
        running
            .hand_off(accepted(&running.clock, &["y@ok.example"]))
            .await;
        running.until("delivered", 2).await;
        let carried = running.courier.carried_to();
        assert_eq!(carried.last().unwrap(), "y@ok.example", "{domain}");
        pass(15);
        running.until("delivered", 3).await;
    }
}

/// A list in several batches: that the next one is refused as well says nothing of the message.
#[tokio::test]
async fn the_next_part_of_a_list_is_not_the_same_again() {
    let courier = Scripted {
        pause_hours: 1,
        connections: 1,
        recipients: 1,
        ..Scripted::default()
    };
    let running = Running::with(courier, &[]).await;
    let come = async |to: &[&str], priority| {
        let message = Accepted {
            handling: Handling {
                priority,
                ..Handling::default()
            },
            ..accepted(&running.clock, to)
        };
        running.hand_off(message).await;
    };
    let list = ["poison1@grumbles.example", "poison2@grumbles.example"];
    come(&list, Priority::Normal).await;
    running.until("deferred", 1).await;
    // It goes before the second part, once the pause is over.
    come(&["good@grumbles.example"], Priority::Urgent).await;
    let waits = ("good@grumbles.example".to_owned(), State::Due);
    while !running.states().await.contains(&waits) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.clock.advance(Duration::from_secs(15));
    running.handle.wake();
    running.until("delivered", 1).await;
    running.until("deferred", 2).await;

    come(&["good@grumbles.example"], Priority::Urgent).await;
    come(&["y@ok.example"], Priority::Urgent).await;
    running.until("delivered", 2).await;
    assert_eq!(
        running.courier.carried_to(),
        [list[0], "good@grumbles.example", list[1], "y@ok.example"]
    );
}

/// Where several are under way every one of them may meet a limit, the same one twice as well: there is to be less.
#[tokio::test]
async fn what_is_refused_beside_others_lowers_the_ceiling_each_time() {
    let route = Scripted::default()
        .route(&ForwardPath::parse("x@busy.example").unwrap(), false)
        .unwrap();
    let now = Now {
        instant: Instant::now(),
        time: "2026-11-21T10:00:00Z".parse().unwrap(),
    };
    let mut board = Board::new(100);
    board.rows.entry("busy".to_owned()).or_default().running = 8;
    let mut ended = |answer, refused| {
        let end = End {
            destination: "busy",
            route: &route,
            was_trial: false,
            refused: Some(DeliveryId(refused)),
            answer,
            because: String::new(),
            took: 0,
            tried: true,
            in_doubt: false,
        };
        board.finished(&end, now);
        board.health.get("busy").and_then(Health::ceiling)
    };
    assert_eq!(ended(Answer::Busy, 1), Some(7));
    ended(Answer::Final, 2);
    assert_eq!(ended(Answer::Busy, 1), Some(5), "the same, beside others");
}
