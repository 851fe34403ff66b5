//! Batches that wait for their sinks.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use millstream_model::BatchTime;
use millstream_platform::{Append, Disk, FaultyDisk, MemoryDisk, Operation, Seeded};

use crate::{JournalError, Outbox};

const FOLDER: &str = "checkpoint";

fn time(ms: i64) -> BatchTime {
    BatchTime::from_ms(ms)
}

fn rows(first: i64, count: i64) -> RecordBatch {
    let fields = vec![Field::new("n", DataType::Int64, false), Field::new("t", DataType::Utf8View, true)];
    let numbers = Int64Array::from_iter_values(first..first + count);
    let texts = (first..first + count).map(|n| (n % 3 > 0).then(|| format!("{n} is a long text of its own")));
    let texts = StringViewArray::from_iter(texts);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(numbers), Arc::new(texts)]).unwrap()
}

fn outbox(disk: &MemoryDisk) -> Outbox {
    Outbox::new(Arc::new(disk.clone()), Path::new(FOLDER), "out")
}

async fn all(outbox: &Outbox, time: BatchTime) -> Result<Option<Vec<RecordBatch>>, JournalError> {
    let Some(batch) = outbox.open(time).await? else { return Ok(None) };
    let mut parts = Vec::new();
    for part in 0..batch.parts() {
        parts.push(outbox.read(&batch, part as u32).await?);
    }
    Ok(Some(parts))
}

#[tokio::test]
async fn a_batch_is_the_same_after_a_crash_and_gone_once_it_is_removed() {
    let disk = MemoryDisk::new();
    let parts = [rows(0, 5), rows(5, 1), rows(6, 1_000)];
    outbox(&disk).put(time(1_000), &[rows(7, 7)]).await.unwrap();
    outbox(&disk).put(time(1_000), &parts).await.unwrap();
    outbox(&disk).put(time(2_000), &parts[..1]).await.unwrap();
    disk.crash(&Seeded::new(1));
    assert_eq!(all(&outbox(&disk), time(1_000)).await.unwrap().unwrap(), parts);
    assert_eq!(all(&outbox(&disk), time(3_000)).await.unwrap(), None);
    outbox(&disk).remove(time(2_000)).await.unwrap();
    disk.crash(&Seeded::new(2));
    assert_eq!(all(&outbox(&disk), time(2_000)).await.unwrap(), None, "no crash brings it back");
    outbox(&disk).put(time(2_000), &parts[..1]).await.unwrap();
    outbox(&disk).remove_through(time(1_500)).await.unwrap();
    assert_eq!(all(&outbox(&disk), time(1_000)).await.unwrap(), None);
    assert_eq!(all(&outbox(&disk), time(2_000)).await.unwrap().unwrap(), parts[..1]);
    outbox(&disk).remove(time(9_000)).await.unwrap();
}

#[tokio::test]
async fn a_crash_while_a_batch_is_put_leaves_it_whole_or_not_at_all() {
    let parts = [rows(0, 100), rows(100, 100)];
    let mut seen = [false; 2];
    for stop in 0..30 {
        let disk = MemoryDisk::new();
        let faulty = FaultyDisk::new(Arc::new(disk.clone()), stop);
        faulty.stop_after(stop);
        let put = Outbox::new(Arc::new(faulty), Path::new(FOLDER), "out").put(time(1_000), &parts).await;
        disk.crash(&Seeded::new(stop));
        match all(&outbox(&disk), time(1_000)).await.unwrap() {
            Some(found) => assert_eq!(found, parts),
            None => assert!(put.is_err(), "what was put is there"),
        }
        seen[usize::from(put.is_ok())] = true;
    }
    assert_eq!(seen, [true; 2]);
}

#[tokio::test]
async fn what_an_earlier_process_removed_stays_removed_once_it_is_removed_again() {
    for stop in 0..6 {
        let disk = MemoryDisk::new();
        outbox(&disk).put(time(1_000), &[rows(0, 100)]).await.unwrap();
        let faulty = FaultyDisk::new(Arc::new(disk.clone()), stop);
        faulty.stop_after(stop);
        let first = Outbox::new(Arc::new(faulty), Path::new(FOLDER), "out");
        let is_whole = first.remove(time(1_000)).await.is_ok();
        disk.kill();
        outbox(&disk).remove(time(1_000)).await.unwrap();
        for seed in 0..8 {
            let disk = disk.fork();
            disk.crash(&Seeded::new(seed));
            assert_eq!(all(&outbox(&disk), time(1_000)).await.unwrap(), None, "after {stop} operations");
        }
        assert_eq!(is_whole, stop >= 3);
    }
}

#[tokio::test]
async fn removing_what_is_not_there_waits_for_the_disk_once() {
    let disk = MemoryDisk::new();
    let faulty = FaultyDisk::new(Arc::new(disk.clone()), 1);
    let outbox = Outbox::new(Arc::new(faulty.clone()), Path::new(FOLDER), "out");
    outbox.put(time(1_000), &[rows(0, 1)]).await.unwrap();
    for ms in 2_000..2_010 {
        outbox.remove(time(ms)).await.unwrap();
    }
    let syncs = faulty.operations_of(Operation::SyncFolder);
    outbox.remove(time(3_000)).await.unwrap();
    assert_eq!(faulty.operations_of(Operation::SyncFolder), syncs);
}

#[tokio::test]
async fn a_batch_that_is_put_is_left_alone_while_those_before_it_are_removed() {
    let disk = MemoryDisk::new();
    outbox(&disk).put(time(1_000), &[rows(0, 5)]).await.unwrap();
    let folder = Path::new(FOLDER).join("outbox/out");
    let name = |ms: i64| format!("{ms:020}.outbox.tmp");
    for ms in [500, 1_000, 1_001, 2_000] {
        drop(disk.create(&folder.join(name(ms))).await.unwrap());
    }
    outbox(&disk).remove_through(time(1_000)).await.unwrap();
    let mut left = disk.list(&folder).await.unwrap();
    left.sort();
    assert_eq!(left, [name(1_001), name(2_000)]);
}

#[tokio::test]
async fn damage_anywhere_is_told_and_never_read() {
    let disk = MemoryDisk::new();
    outbox(&disk).put(time(1_000), &[rows(0, 3), rows(3, 2)]).await.unwrap();
    let file = Path::new(FOLDER).join("outbox/out/00000000000000001000.outbox");
    let whole = disk.read(&file).await.unwrap();
    let flipped = (0..whole.len()).map(|at| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
    let longer = std::iter::once([&whole[..], b"more"].concat());
    for bytes in flipped.chain(cut).chain(longer) {
        disk.remove(&file).await.unwrap();
        let mut end: Box<dyn Append> = disk.create(&file).await.unwrap();
        end.append(vec![bytes.clone().into()]).await.unwrap();
        let read = all(&outbox(&disk), time(1_000)).await;
        let is_told = matches!(&read, Err(JournalError::Damaged { .. } | JournalError::Newer { .. }));
        assert!(is_told, "{} bytes: {read:?}", bytes.len());
    }
}
