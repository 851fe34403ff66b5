use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use bytes::Bytes;

use crate::{Append, Disk, MemoryDisk, Seeded};

const SEEDS: std::ops::Range<u64> = 0..300;

/// A file whose name and first bytes are safe, and whose others are not.
async fn half_synced(path: &Path, synced: &[u8], unsynced: &[u8]) -> (MemoryDisk, Box<dyn Append>) {
    let disk = MemoryDisk::new();
    let mut file = disk.create(path).await.unwrap();
    file.append(vec![Bytes::copy_from_slice(synced)]).await.unwrap();
    file.sync().await.unwrap();
    disk.sync_folder(Path::new("/")).await.unwrap();
    file.append(vec![Bytes::copy_from_slice(unsynced)]).await.unwrap();
    (disk, file)
}

async fn touch(disk: &MemoryDisk, path: &str) {
    disk.create(Path::new(path)).await.map(drop).unwrap();
}

/// All that seeds make of the names at the root, and of those in a folder "in" there, as `a,b|c`.
async fn outcomes(disk: &MemoryDisk) -> BTreeSet<String> {
    let mut outcomes = BTreeSet::new();
    for seed in SEEDS {
        let after = disk.fork();
        after.crash(&Seeded::new(seed));
        let outer = after.list(Path::new("/")).await.unwrap().join(",");
        let inner = after.list(Path::new("/in")).await.unwrap_or_default().join(",");
        outcomes.insert(format!("{outer}|{inner}"));
    }
    outcomes
}

#[tokio::test]
async fn a_power_cut_keeps_what_was_synced_and_any_prefix_of_the_rest() {
    let path = Path::new("file");
    let (disk, _file) = half_synced(path, b"safe", b"uncertain").await;
    let (mut whole, mut torn) = (BTreeSet::new(), 0);
    for seed in SEEDS {
        let after = disk.fork();
        after.crash(&Seeded::new(seed));
        let bytes = after.read(path).await.unwrap();
        assert!(bytes.starts_with(b"safe") && bytes.len() <= 13, "seed {seed}: {bytes:?}");
        if b"safeuncertain".starts_with(&bytes) {
            whole.insert(bytes.len());
        } else {
            torn += 1;
        }
        after.crash(&Seeded::new(seed + 1));
        assert_eq!(after.read(path).await.unwrap(), bytes, "seed {seed}: what is left is safe");
    }
    assert_eq!(whole, (4..=13).collect());
    assert!(torn > 0);
}

#[tokio::test]
async fn a_power_cut_tears_whole_sectors_and_never_what_was_synced() {
    let path = Path::new("file");
    let (disk, _file) = half_synced(path, &[1; 700], &[2; 5_000]).await;
    let (mut zeros, mut garbage, mut good_behind_torn) = (0, 0, 0);
    for seed in SEEDS {
        let after = disk.fork();
        after.crash(&Seeded::new(seed));
        let bytes = after.read(path).await.unwrap();
        assert_eq!(bytes[..700], [1; 700], "seed {seed}");
        let mut torn_before = false;
        for (number, sector) in bytes.chunks(512).enumerate().skip(1) {
            let unsynced = &sector[if number == 1 { 700 - 512 } else { 0 }..];
            let good = unsynced.iter().all(|byte| *byte == 2);
            let zero = unsynced.iter().all(|byte| *byte == 0);
            good_behind_torn += usize::from(good && torn_before && !unsynced.is_empty());
            zeros += usize::from(zero);
            garbage += usize::from(!zero && !good);
            torn_before |= !good;
        }
    }
    assert!(zeros > 0 && garbage > 0 && good_behind_torn > 0, "{zeros} {garbage} {good_behind_torn}");
}

#[tokio::test]
async fn a_power_cut_undoes_the_last_steps_in_a_folder_that_was_not_synced() {
    let disk = MemoryDisk::new();
    touch(&disk, "a").await;
    disk.sync_folder(Path::new("/")).await.unwrap();
    touch(&disk, "b").await;
    disk.rename(Path::new("b"), Path::new("c")).await.unwrap();
    disk.remove(Path::new("a")).await.unwrap();
    assert_eq!(outcomes(&disk).await, ["a|", "a,b|", "a,c|", "c|"].map(String::from).into());
    disk.sync_folder(Path::new("/")).await.unwrap();
    assert_eq!(outcomes(&disk).await, ["c|"].map(String::from).into());
}

#[tokio::test]
async fn a_rename_between_folders_is_safe_when_both_are_synced() {
    let disk = MemoryDisk::new();
    disk.create_folder(Path::new("in")).await.unwrap();
    touch(&disk, "a").await;
    disk.sync_folder(Path::new("/")).await.unwrap();
    disk.rename(Path::new("a"), Path::new("in/b")).await.unwrap();
    assert_eq!(outcomes(&disk).await, ["a,in|", "a,in|b", "in|", "in|b"].map(String::from).into());
    disk.sync_folder(Path::new("/in")).await.unwrap();
    assert_eq!(outcomes(&disk).await, ["a,in|b", "in|b"].map(String::from).into());
    disk.sync_folder(Path::new("/")).await.unwrap();
    assert_eq!(outcomes(&disk).await, ["in|b"].map(String::from).into());
}

#[tokio::test]
async fn what_lies_in_a_folder_is_lost_with_the_folders_name() {
    let disk = MemoryDisk::new();
    disk.create_folder(Path::new("in")).await.unwrap();
    touch(&disk, "in/a").await;
    disk.sync_folder(Path::new("in")).await.unwrap();
    assert_eq!(outcomes(&disk).await, ["|", "in|a"].map(String::from).into());
}

#[tokio::test]
async fn a_file_that_was_cut_is_safe_as_it_is() {
    let path = Path::new("file");
    let (disk, _file) = half_synced(path, b"safe", b"uncertain").await;
    disk.truncate(path, 6).await.unwrap();
    for seed in SEEDS {
        let after = disk.fork();
        after.crash(&Seeded::new(seed));
        assert_eq!(after.read(path).await.unwrap(), "safeun");
    }
}

#[tokio::test]
async fn open_files_and_pending_operations_die_with_their_process() {
    type End = fn(&MemoryDisk);
    let ends: [End; 2] = [|disk| disk.crash(&Seeded::new(1)), |disk| disk.kill()];
    for end in ends {
        let path = Path::new("file");
        let disk = MemoryDisk::with_yields(9, 5);
        let mut old = disk.create(path).await.unwrap();
        disk.sync_folder(Path::new("/")).await.unwrap();
        let pending: Vec<_> = (0..20)
            .map(|number| {
                let disk = disk.clone();
                tokio::spawn(async move { disk.create(Path::new(&number.to_string())).await.map(drop) })
            })
            .collect();
        tokio::task::yield_now().await;
        end(&disk);
        let left = disk.fork().list(Path::new("/")).await.unwrap();
        let mut failed = 0;
        for task in pending {
            failed += usize::from(task.await.unwrap().is_err());
        }
        assert!(failed > 0);
        assert_eq!(disk.list(Path::new("/")).await.unwrap(), left);
        old.append(vec!["ghost".into()]).await.unwrap_err();
        old.sync().await.unwrap_err();
        disk.append(path).await.unwrap().append(vec!["new".into()]).await.unwrap();
        assert_eq!(disk.read(path).await.unwrap(), "new");
    }
}

#[tokio::test]
async fn a_killed_process_leaves_all_that_it_wrote_but_no_more_is_safe() {
    let path = Path::new("file");
    let (disk, _file) = half_synced(path, b"safe", b"uncertain").await;
    touch(&disk, "other").await;
    disk.kill();
    assert_eq!(disk.read(path).await.unwrap(), "safeuncertain");
    assert_eq!(outcomes(&disk).await, ["file|", "file,other|"].map(String::from).into());
    let mut lengths = BTreeSet::new();
    for seed in SEEDS {
        let after = disk.fork();
        after.crash(&Seeded::new(seed));
        lengths.insert(after.length(path).await.unwrap());
    }
    assert_eq!(lengths, (4..=13).collect());
}

#[tokio::test]
async fn an_open_file_outlives_its_name() {
    let disk = MemoryDisk::new();
    let mut file = disk.create(Path::new("file")).await.unwrap();
    disk.remove(Path::new("file")).await.unwrap();
    touch(&disk, "file").await;
    file.append(vec!["to the old one".into()]).await.unwrap();
    assert_eq!(disk.read(Path::new("file")).await.unwrap(), "");
}

#[tokio::test]
async fn a_bit_is_flipped_where_it_is() {
    let path = Path::new("file");
    let (disk, _file) = half_synced(path, b"abc", b"").await;
    disk.flip_bit(path, 8).unwrap();
    assert_eq!(disk.read(path).await.unwrap(), "acc");
    disk.flip_bit(path, 23).unwrap();
    assert_eq!(disk.read(path).await.unwrap(), &b"ac\xe3"[..]);
    assert_eq!(disk.flip_bit(path, 24).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(disk.flip_bit(path, u64::MAX).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

/// The bytes of a log to which four tasks have appended a letter each, three times.
async fn interleave(disk: MemoryDisk) -> Bytes {
    let path = Path::new("log");
    touch(&disk, "log").await;
    let tasks = ["a", "b", "c", "d"].map(|letter| {
        let disk = disk.clone();
        tokio::spawn(async move {
            let mut file = disk.append(path).await.unwrap();
            for _ in 0..3 {
                file.append(vec![letter.into()]).await.unwrap();
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    disk.read(path).await.unwrap()
}

#[tokio::test]
async fn tasks_interleave_in_one_way_for_each_seed_and_in_many_over_all() {
    let mut orders = BTreeSet::new();
    for seed in 0..20 {
        let order = interleave(MemoryDisk::with_yields(seed, 4)).await;
        assert_eq!(order, interleave(MemoryDisk::with_yields(seed, 4)).await, "seed {seed}");
        orders.insert(order);
    }
    assert!(orders.len() > 10, "{orders:?}");
    assert_eq!(interleave(MemoryDisk::new()).await, "aaabbbcccddd");
}

#[tokio::test]
async fn a_seed_has_one_outcome() {
    for seed in 0..20 {
        let mut left = BTreeSet::new();
        for _ in 0..2 {
            let (disk, _file) = half_synced(Path::new("file"), &[1; 100], &[2; 10_000]).await;
            disk.crash(&Seeded::new(seed));
            left.insert(disk.read(Path::new("file")).await.unwrap());
        }
        assert_eq!(left.len(), 1, "seed {seed}");
    }
}
