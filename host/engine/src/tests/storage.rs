//! Where blocks wait, and what bounds them: memory and disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millstream_model::Lane;
use millstream_platform::FaultyDisk;
use tokio::task::yield_now;

use super::lab::{LETTERS, Lab, block, rows, until};
use crate::{Inlet, InletSettings, Mode, Storage};

fn lane() -> Lane {
    Lane { source: "in".into(), receiver: 0 }
}

#[tokio::test]
async fn a_source_ahead_of_the_batches_waits_and_nothing_is_dropped() {
    let settings = InletSettings { bytes_max: 10, ..InletSettings::default() };
    let (inlet, outlet) = Inlet::new(lane(), settings);
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let sender = tokio::spawn(async move {
        while inlet.send(block("1234\n")).await.is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    outlet.full().await;
    let mut taken = 0;
    for _ in 0..50 {
        yield_now().await;
        let cut = outlet.take();
        assert!(cut.rows <= 3, "at most the limit and one block");
        taken += cut.rows;
    }
    assert!(taken > 50, "only {taken} blocks came through");
    outlet.close();
    sender.await.unwrap();
    taken += outlet.take().rows;
    // The block that was being sent when the queue was closed is taken as well.
    assert_eq!(taken, sent.load(Ordering::SeqCst) + 1);
    assert!(outlet.is_exhausted());
}

#[tokio::test]
async fn memory_counts_until_the_batch_is_done() {
    let settings = InletSettings { bytes_max: 10, ..InletSettings::default() };
    let (inlet, outlet) = Inlet::new(lane(), settings);
    for _ in 0..2 {
        inlet.send(block("1234\n")).await.unwrap();
    }
    let cut = outlet.take();
    let sending = tokio::spawn(async move { inlet.send(block("5678\n")).await.map(drop) });
    for _ in 0..20 {
        yield_now().await;
    }
    assert!(!sending.is_finished(), "the batch still has the memory");
    drop(cut);
    sending.await.unwrap().unwrap();
    assert_eq!(outlet.take().rows, 1);
}

#[tokio::test]
async fn what_does_not_fit_into_memory_comes_back_from_the_log() {
    for storage in [Storage::Memory, Storage::MemoryAndDisk, Storage::Disk] {
        let mut lab = Lab::durable();
        lab.settings =
            InletSettings { bytes_max: 20, storage, batch_rows_max: 7, ..InletSettings::default() };
        let life = lab.start(Mode::Once).await;
        let expected: Vec<String> = (0..60).map(|row| row.to_string()).collect();
        for rows in expected.chunks(3) {
            life.feed(&format!("{}\n", rows.join("\n")));
        }
        life.end().await.unwrap();
        assert_eq!(lab.kept.rows(), expected, "{storage:?}");
    }
}

#[tokio::test]
async fn memory_stays_within_its_budget_while_the_rest_waits_on_disk() {
    for (storage, in_memory) in [(Storage::MemoryAndDisk, 10), (Storage::Disk, 0)] {
        let mut lab = Lab::durable();
        lab.settings = InletSettings { bytes_max: 10, storage, ..InletSettings::default() };
        let mut life = lab.running().await;
        for _ in 0..20 {
            life.feed("1234\n");
        }
        life.sent(20).await;
        let (clock, board) = (lab.clock.clone(), life.board.clone());
        lab.kept.change(|state| state.held = true);
        let shown = || board.read().receivers.remove(0);
        until(|| {
            // What is shown is as old as the last event.
            clock.advance(Duration::from_millis(10));
            shown().records == 20
        })
        .await;
        let receiver = shown();
        assert_eq!((receiver.memory_bytes, receiver.waiting), (in_memory, false), "{storage:?}");
        lab.kept.change(|state| state.held = false);
        life.stop().await.unwrap();
        assert_eq!(lab.kept.rows(), vec!["1234"; 20]);
    }
}

#[tokio::test]
async fn a_full_share_of_the_disk_makes_the_source_wait() {
    for (storage, sent) in [(Storage::MemoryAndDisk, 4), (Storage::Disk, 2)] {
        let mut lab = Lab::durable();
        let (bytes_max, disk_bytes_max) = (10, 10);
        lab.settings = InletSettings { bytes_max, disk_bytes_max, storage, ..InletSettings::default() };
        let mut life = lab.running().await;
        for _ in 0..20 {
            life.feed("1234\n");
        }
        life.sent(sent).await;
        for _ in 0..200 {
            yield_now().await;
        }
        assert_eq!(*life.sent.borrow(), Some(sent), "{storage:?}");
        lab.clock.set(11_000);
        life.sent(sent + 1).await;
        life.stop().await.unwrap();
        // The block that was being sent is taken; what the source was not asked for is not.
        let all = lab.kept.rows();
        assert!(all.len() > sent && all.iter().all(|row| row == "1234"), "{all:?}");
    }
}

#[tokio::test]
async fn a_full_disk_holds_everything_and_with_room_it_goes_on() {
    for room in [0, 100, 300, 600] {
        let mut lab = Lab::durable();
        let disk = FaultyDisk::new(Arc::new(lab.memory.clone()), room);
        lab.disk = Arc::new(disk.clone());
        let mut life = lab.running().await;
        disk.limit_room(room);
        life.feed("a\nbad\n");
        life.sent(1).await;
        let (clock, board, kept) = (lab.clock.clone(), life.board.clone(), lab.kept.clone());
        until(|| {
            clock.advance(Duration::from_millis(100));
            board.read().trouble.is_some()
        })
        .await;
        disk.free(1 << 30);
        until(|| {
            clock.advance(Duration::from_millis(100));
            !kept.rows().is_empty() && board.read().trouble.is_none()
        })
        .await;
        let stopping = tokio::spawn(life.stop());
        until(|| {
            clock.advance(Duration::from_millis(100));
            stopping.is_finished()
        })
        .await;
        assert_eq!(stopping.await.unwrap().unwrap().dead_letters, 1);
        assert_eq!((lab.kept.rows(), lab.letters(LETTERS).await.len()), (rows(&["a"]), 1));
    }
}

#[tokio::test]
async fn a_batch_without_room_behind_it_is_full() {
    for (bytes_max, disk_bytes_max, storage) in
        [(100, 5, Storage::Disk), (20, 1, Storage::MemoryAndDisk), (1, 1, Storage::Memory)]
    {
        let mut lab = Lab::durable();
        lab.settings = InletSettings { bytes_max, disk_bytes_max, storage, ..InletSettings::default() };
        let life = lab.start(Mode::Once).await;
        for row in ["a", "b", "c", "d", "e", "f"] {
            life.feed(&format!("{row}1234\n"));
        }
        life.end().await.unwrap();
        assert_eq!(lab.kept.rows(), rows(&["a1234", "b1234", "c1234", "d1234", "e1234", "f1234"]));
    }
}

#[tokio::test]
async fn receivers_with_less_memory_than_receivers_still_receive() {
    let mut lab = Lab::new();
    (lab.parallelism, lab.settings.bytes_max) = (4, 1);
    let life = lab.start(Mode::Once).await;
    life.feed("a\n");
    life.feed("b\n");
    life.end().await.unwrap();
    let mut all = lab.kept.rows();
    all.sort();
    assert_eq!(all, rows(&["a", "b"]));
}
