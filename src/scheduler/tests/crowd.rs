//! What destinations get at once, and what they leave to each other.

use super::*;

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
