//! What the board shows of batches while they come and go.

use super::lab::{Lab, until};

#[tokio::test]
async fn a_batch_is_queued_until_it_is_committed_and_its_records_count_then() {
    let lab = Lab::durable();
    let mut life = lab.running().await;
    let records = format!("wait\n{}", "more\n".repeat(299));
    life.feed(&records);
    life.feed(&records);
    life.sent(2).await;
    lab.clock.set(11_000);
    // It has been cut, and waits for the gate while it runs.
    let board = life.board.clone();
    until(|| board.read().queued_batches == 1).await;
    let status = board.read();
    assert_eq!((status.batches, status.records, status.recent.len()), (0, 0, 0));
    assert_eq!(status.receivers[0].records, 600);
    lab.counting.gate.send_replace(true);
    board.reached(1).await;
    until(|| board.read().queued_batches == 0).await;
    let status = board.read();
    assert_eq!((status.batches, status.records), (1, 600));
    assert!(matches!(&status.recent[..], [batch] if batch.records == 600), "{:?}", status.recent);
    life.stop().await.unwrap();
}

#[tokio::test]
async fn the_newest_batches_are_shown_and_all_are_counted() {
    let lab = Lab::new();
    let mut life = lab.running().await;
    for batch in 1..=30 {
        life.feed("a\n");
        life.sent(batch).await;
        lab.clock.set(10_000 + 1_000 * batch as i64);
        life.board.reached(batch as u64).await;
    }
    let status = life.board.read();
    assert_eq!((status.batches, status.records), (30, 30));
    let shown: Vec<i64> = status.recent.iter().map(|batch| batch.time.as_ms()).collect();
    let newest: Vec<i64> = (11..=30).map(|batch| 10_000 + 1_000 * batch).collect();
    assert_eq!(shown, newest);
    life.stop().await.unwrap();
}
