use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Append, Disk, Fault, FaultyDisk, MemoryDisk, Operation, Seeded, Stopped};

const FILE: &str = "/log/file";
const BROKEN: Fault = Fault::Broken { appended: u64::MAX };

fn file() -> &'static Path {
    Path::new(FILE)
}

/// A disk in memory with a faulty one around it.
fn stack(seed: u64) -> (MemoryDisk, FaultyDisk) {
    let memory = MemoryDisk::new();
    (memory.clone(), FaultyDisk::new(Arc::new(memory), seed))
}

/// One operation of each kind, and what came of it.
async fn do_everything(disk: &dyn Disk) -> Vec<(Operation, io::Result<()>)> {
    let mut done = Vec::new();
    done.push((Operation::CreateFolder, disk.create_folder(Path::new("/log")).await));
    done.push((Operation::SyncFolder, disk.sync_folder(Path::new("/")).await));
    let mut created = disk.create(file()).await;
    done.push((Operation::Create, created.as_ref().map(drop).map_err(copy)));
    if let Ok(open) = &mut created {
        done.push((Operation::Append, open.append(vec!["record".into()]).await));
        done.push((Operation::Sync, open.sync().await));
    }
    done.push((Operation::Open, disk.append(file()).await.map(drop)));
    done.push((Operation::Read, disk.read(file()).await.map(drop)));
    done.push((Operation::ReadAt, disk.read_at(file(), 0, 1).await.map(drop)));
    done.push((Operation::Length, disk.length(file()).await.map(drop)));
    done.push((Operation::Truncate, disk.truncate(file(), 3).await));
    done.push((Operation::List, disk.list(Path::new("/log")).await.map(drop)));
    done.push((Operation::Rename, disk.rename(file(), Path::new("/log/moved")).await));
    done.push((Operation::Remove, disk.remove(Path::new("/log/moved")).await));
    done
}

fn copy(error: &io::Error) -> io::Error {
    if Stopped::is(error) {
        io::Error::other(Stopped)
    } else {
        io::Error::new(error.kind(), error.to_string())
    }
}

#[tokio::test]
async fn every_kind_of_operation_fails_when_the_script_says_so() {
    for operation in Operation::ALL {
        for fault in [Fault::Refused, BROKEN] {
            let (_memory, disk) = stack(0);
            disk.fail(operation, 0, fault);
            let done = do_everything(&disk).await;
            let error =
                done.into_iter().find_map(|(this, result)| result.err().filter(|_| this == operation));
            let error = error.unwrap_or_else(|| panic!("{operation:?} did not fail"));
            assert!(!Stopped::is(&error));
            assert_eq!(error.kind(), io::Error::from(rustix::io::Errno::IO).kind());
            assert_eq!(disk.operations_of(operation), 1);
        }
    }
}

#[tokio::test]
async fn a_refused_operation_does_nothing_and_a_broken_one_is_done() {
    for (fault, moved) in [(Fault::Refused, false), (BROKEN, true)] {
        let (memory, disk) = stack(0);
        memory.create_folder(Path::new("/log")).await.unwrap();
        disk.create(file()).await.map(drop).unwrap();
        disk.fail(Operation::Rename, 0, fault);
        disk.rename(file(), Path::new("/log/moved")).await.unwrap_err();
        assert_eq!(memory.length(Path::new("/log/moved")).await.is_ok(), moved);
        assert_eq!(memory.length(file()).await.is_ok(), !moved);
    }
}

#[tokio::test]
async fn a_script_skips_operations_and_can_be_healed() {
    let (memory, disk) = stack(0);
    let mut open = disk.create(Path::new("file")).await.unwrap();
    disk.fail(Operation::Append, 1, Fault::Broken { appended: 3 });
    disk.fail(Operation::Append, 3, Fault::Refused);
    let mut failed = Vec::new();
    for (start, end) in [("o", "ne "), ("tw", "o "), ("three", " ")] {
        failed.push(open.append(vec![start.into(), end.into()]).await.is_err());
    }
    disk.heal();
    failed.push(open.append(vec!["four".into()]).await.is_err());
    assert_eq!(failed, [false, true, false, false]);
    assert_eq!(memory.read(Path::new("file")).await.unwrap(), "one twothree four");
}

#[tokio::test]
async fn a_disk_without_room_takes_what_fits_until_there_is_room_again() {
    let (memory, disk) = stack(0);
    let path = Path::new("file");
    let mut open = disk.create(path).await.unwrap();
    disk.free(1_000);
    open.append(vec!["before ".into()]).await.unwrap();
    disk.limit_room(6);
    open.append(vec!["four".into()]).await.unwrap();
    let error = open.append(vec!["a".into(), "bcd".into()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(open.append(vec!["e".into()]).await.unwrap_err().kind(), ErrorKind::StorageFull);
    open.append(vec![Bytes::new()]).await.unwrap();
    disk.free(2);
    open.append(vec!["ok".into()]).await.unwrap();
    assert_eq!(open.append(vec!["e".into()]).await.unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(memory.read(path).await.unwrap(), "before fourabok");
}

/// What power cuts leave of the file at the least: what is safe of it, if it has a safe name.
async fn safe_length(memory: &MemoryDisk, path: &Path) -> u64 {
    let mut least = u64::MAX;
    for seed in 0..300 {
        let after = memory.fork();
        after.crash(&Seeded::new(seed));
        least = least.min(after.length(path).await.unwrap());
    }
    least
}

/// A file with the bytes `safe` synced and `lost` left behind by a sync that failed.
async fn trapped(disk: &FaultyDisk, path: &Path) -> Box<dyn Append> {
    let mut open = disk.create(path).await.unwrap();
    disk.sync_folder(Path::new("/")).await.unwrap();
    open.append(vec!["safe".into()]).await.unwrap();
    open.sync().await.unwrap();
    open.append(vec!["lost".into()]).await.unwrap();
    disk.fail(Operation::Sync, 0, Fault::Refused);
    open.sync().await.unwrap_err();
    open
}

#[tokio::test]
async fn after_a_failed_sync_later_ones_answer_well_and_make_nothing_safe() {
    let path = Path::new("file");
    let (memory, disk) = stack(0);
    let mut open = trapped(&disk, path).await;
    open.sync().await.unwrap();
    open.append(vec!["more".into()]).await.unwrap();
    open.sync().await.unwrap();
    disk.append(path).await.unwrap().sync().await.unwrap();
    assert_eq!(disk.read(path).await.unwrap(), "safelostmore");
    assert_eq!(safe_length(&memory, path).await, 4);

    let moved = Path::new("moved");
    disk.rename(path, moved).await.unwrap();
    disk.sync_folder(Path::new("/")).await.unwrap();
    disk.append(moved).await.unwrap().sync().await.unwrap();
    assert_eq!(safe_length(&memory, moved).await, 4);
}

#[tokio::test]
async fn a_file_whose_sync_failed_is_good_again_once_it_is_cut_to_what_was_safe() {
    let path = Path::new("file");
    for (length, safe) in [(6, 4), (4, 8), (3, 7)] {
        let (memory, disk) = stack(0);
        let mut open = trapped(&disk, path).await;
        disk.truncate(path, length).await.unwrap();
        assert_eq!(disk.length(path).await.unwrap(), length);
        open.append(vec!["anew".into()]).await.unwrap();
        open.sync().await.unwrap();
        assert_eq!(safe_length(&memory, path).await, safe, "cut to {length}");
    }
}

#[tokio::test]
async fn another_file_is_synced_as_ever_after_one_has_failed() {
    let path = Path::new("file");
    for behind_its_back in [false, true] {
        let (memory, disk) = stack(0);
        trapped(&disk, path).await;
        let by: &dyn Disk = if behind_its_back { &memory } else { &disk };
        by.remove(path).await.unwrap();
        for path in [path, Path::new("other")] {
            let mut open = disk.create(path).await.unwrap();
            open.append(vec!["good".into()]).await.unwrap();
            open.sync().await.unwrap();
            disk.sync_folder(Path::new("/")).await.unwrap();
            assert_eq!(safe_length(&memory, path).await, 4, "{path:?}");
        }
    }
}

#[tokio::test]
async fn a_disk_stops_at_every_operation_and_for_good() {
    let (_memory, whole) = stack(0);
    assert!(do_everything(&whole).await.iter().all(|(_, result)| result.is_ok()));
    assert_eq!(whole.operations(), Operation::ALL.len() as u64);
    assert!(!whole.stopped());
    for operations in 0..whole.operations() {
        for half_done in [false, true] {
            let (_memory, disk) = stack(operations);
            if half_done {
                disk.stop_within(operations)
            } else {
                disk.stop_after(operations)
            }
            let done = do_everything(&disk).await;
            let worked = done.iter().take_while(|(_, result)| result.is_ok()).count();
            assert_eq!(worked as u64, operations);
            assert!(disk.stopped());
            for (operation, result) in &done[worked..] {
                assert!(
                    result.as_ref().is_err_and(Stopped::is),
                    "{operation:?} after {operations}: {result:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_operation_that_a_disk_stops_within_is_half_done() {
    let path = Path::new("file");
    let mut kept = BTreeSet::new();
    for seed in 0..100 {
        let (memory, disk) = stack(seed);
        let mut open = disk.create(path).await.unwrap();
        disk.stop_within(1);
        assert!(Stopped::is(&open.append(vec!["ab".into(), "c".into()]).await.unwrap_err()));
        assert!(Stopped::is(&open.append(vec!["d".into()]).await.unwrap_err()));
        kept.insert(memory.read(path).await.unwrap());
    }
    assert_eq!(kept, ["", "a", "ab", "abc"].map(Bytes::from).into());

    let (memory, disk) = stack(0);
    disk.stop_within(0);
    assert!(disk.create(path).await.is_err_and(|error| Stopped::is(&error)));
    assert_eq!(memory.length(path).await.unwrap(), 0);
}

#[tokio::test]
async fn a_disk_that_is_stopped_leaves_the_one_within_to_the_next_life() {
    let (memory, disk) = stack(0);
    let mut open = disk.create(Path::new("file")).await.unwrap();
    disk.stop();
    assert!(!disk.stopped());
    assert!(Stopped::is(&open.append(vec!["ghost".into()]).await.unwrap_err()));
    assert!(disk.stopped());
    let next = FaultyDisk::new(Arc::new(memory), 0);
    assert_eq!(next.read(Path::new("file")).await.unwrap(), "");
    assert_eq!((next.operations(), disk.operations()), (1, 2));
}

/// Which of a hundred appends fail, and what they leave.
async fn fail_by_chance(seed: u64, one_in: u64) -> (Vec<usize>, Bytes) {
    let (memory, disk) = stack(seed);
    let mut open = disk.create(Path::new("file")).await.unwrap();
    disk.fail_randomly(Operation::Append, one_in);
    let mut failed = Vec::new();
    for number in 0..100 {
        if open.append(vec!["abc".into(), "def".into()]).await.is_err() {
            failed.push(number);
        }
    }
    (failed, memory.read(Path::new("file")).await.unwrap())
}

#[tokio::test]
async fn chance_fails_some_operations_and_the_same_ones_for_the_same_seed() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..20 {
        let outcome = fail_by_chance(seed, 4).await;
        assert_eq!(outcome, fail_by_chance(seed, 4).await, "seed {seed}");
        assert!((5..60).contains(&outcome.0.len()), "seed {seed}: {:?}", outcome.0);
        outcomes.insert(outcome);
    }
    assert_eq!(outcomes.len(), 20);
    assert_eq!(fail_by_chance(0, 0).await.0, []);
    assert_eq!(fail_by_chance(0, 1).await.0.len(), 100);
}
