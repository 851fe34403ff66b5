//! Dead letters: each is there once, whatever happens.

use std::path::Path;
use std::sync::Arc;

use millstream_platform::{Disk, Fault, FaultyDisk, Operation, Seeded};
use serde_json::{Value, json};

use super::lab::{LETTERS, Lab, rows};
use crate::Mode;

fn records(letters: &[Value]) -> Vec<&str> {
    letters.iter().map(|letter| letter["bytes"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn rejected_records_go_to_their_file_with_their_position() {
    let lab = Lab::new();
    let life = lab.start(Mode::Once).await;
    life.feed("a\nbad\nb\n");
    let rejected = millstream_model::Block::rejected("no end", "half".into(), position(7));
    life.feed.as_ref().unwrap().send(rejected).unwrap();
    assert_eq!(life.end().await.unwrap().dead_letters, 2);
    assert_eq!(lab.kept.all(), [(10_000, rows(&["a", "b"]))]);
    let expected = [
        json!({"source": "in", "origin": "test", "record": 2, "error": "is bad", "bytes": "bad"}),
        json!({"source": "in", "origin": "test", "record": 8, "error": "no end", "bytes": "half"}),
    ];
    assert_eq!(lab.letters(LETTERS).await, expected);
}

fn position(record: u64) -> millstream_model::Position {
    millstream_model::Position { origin: "test".into(), record }
}

#[tokio::test]
async fn letters_of_a_batch_that_was_not_committed_are_there_once_after_the_restart() {
    let mut lab = Lab::durable();
    let life = lab.start(Mode::Once).await;
    life.feed("bad 1\n");
    life.end().await.unwrap();
    // The commit behind the letters is the record of the batch log that does not reach the disk.
    let disk = FaultyDisk::new(Arc::new(lab.memory.clone()), 1);
    lab.disk = Arc::new(disk.clone());
    let mut life = lab.running().await;
    life.feed("bad 2\n");
    life.sent(1).await;
    let skip = disk.operations_of(Operation::Append);
    // The begin, the letters, and then the commit.
    disk.fail(Operation::Append, 2, Fault::Refused);
    lab.clock.set(12_000);
    let error = life.end().await.unwrap_err();
    assert_eq!(disk.operations_of(Operation::Append), skip + 3, "{error}");
    assert_eq!(records(&lab.letters(LETTERS).await), ["bad 1", "bad 2"]);
    assert_eq!(lab.archive().await.ledger().dead_letters, 1);

    lab.memory.kill();
    lab.disk = Arc::new(lab.memory.clone());
    let mut life = lab.running().await;
    assert_eq!(records(&lab.letters(LETTERS).await), ["bad 1", "bad 2"]);
    life.feed("bad 3\n");
    life.sent(1).await;
    let board = life.board.clone();
    life.stop().await.unwrap();
    assert_eq!(records(&lab.letters(LETTERS).await), ["bad 1", "bad 2", "bad 3"]);
    assert_eq!((lab.archive().await.ledger().dead_letters, board.read().dead_letters), (3, 3));
}

#[tokio::test]
async fn a_file_that_has_grown_is_kept_once_and_replaced() {
    let mut lab = Lab::durable();
    lab.letters_bytes_max = 200;
    for life in 0..5 {
        let running = lab.start(Mode::Once).await;
        running.feed(&format!("bad {life}a\nbad {life}b\n"));
        running.end().await.unwrap();
    }
    let kept = lab.letters(&format!("{LETTERS}.1")).await;
    let last = lab.letters(LETTERS).await;
    let all: Vec<&str> = records(&kept).into_iter().chain(records(&last)).collect();
    let expected: Vec<String> =
        (0..5).flat_map(|life| [format!("bad {life}a"), format!("bad {life}b")]).collect();
    assert!(!kept.is_empty() && expected.ends_with(&rows(&all)), "{all:?}");
    assert_eq!(lab.archive().await.ledger().dead_letters, 10);
}

#[tokio::test]
async fn letters_that_were_there_before_the_checkpoint_folder_stay() {
    let mut lab = Lab::new();
    for (checkpoint, record) in [(false, "bad 1\n"), (true, "bad 2\n"), (true, "bad 3\n")] {
        lab.checkpoint = checkpoint;
        let life = lab.start(Mode::Once).await;
        life.feed(record);
        life.end().await.unwrap();
    }
    assert_eq!(records(&lab.letters(LETTERS).await), ["bad 1", "bad 2", "bad 3"]);
}

#[tokio::test]
async fn letters_survive_a_power_cut_also_in_a_file_that_a_crash_left_behind() {
    for operations in 0.. {
        let mut lab = Lab::durable();
        let disk = FaultyDisk::new(Arc::new(lab.memory.clone()), operations);
        disk.stop_after(operations);
        lab.disk = Arc::new(disk.clone());
        let life = lab.start(Mode::Once).await;
        life.feed("bad 1\n");
        let is_whole = life.end().await.is_ok();
        lab.memory.kill();
        lab.disk = Arc::new(lab.memory.clone());
        let life = lab.start(Mode::Once).await;
        life.feed("bad 2\n");
        life.end().await.unwrap();
        for seed in 0..4 {
            lab.memory = lab.memory.fork();
            lab.memory.crash(&Seeded::new(seed));
            let letters = lab.letters(LETTERS).await;
            assert_eq!(records(&letters).last(), Some(&"bad 2"), "after {operations} operations");
        }
        if is_whole {
            return assert!(operations > 20, "the first life has many places to end at");
        }
    }
}

#[tokio::test]
async fn a_file_that_was_moved_away_begins_anew() {
    let lab = Lab::durable();
    for record in ["bad 1\n", "bad 2\n"] {
        let life = lab.start(Mode::Once).await;
        life.feed(record);
        life.end().await.unwrap();
        lab.memory.rename(Path::new(LETTERS), Path::new("letters/elsewhere")).await.unwrap();
    }
    assert_eq!(records(&lab.letters("letters/elsewhere").await), ["bad 2"]);
}

#[tokio::test]
async fn what_is_written_of_a_batch_is_bounded_however_its_letters_are_escaped() {
    let lab = Lab::new();
    let life = lab.start(Mode::Once).await;
    // Each of these bytes is six in JSON.
    let record = format!("bad {}\n", "\u{1}".repeat(100_000));
    for _ in 0..10 {
        life.feed(&record.repeat(20));
    }
    assert_eq!(life.end().await.unwrap().dead_letters, 200);
    let kept = lab.letters(LETTERS).await.len();
    let bytes = lab.memory.length(Path::new(LETTERS)).await.unwrap();
    assert!((10..200).contains(&kept) && bytes < (16 << 20) + 700_000, "{kept} letters, {bytes} bytes");
}
