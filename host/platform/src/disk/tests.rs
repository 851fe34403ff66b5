//! What every disk does, whichever it is.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Disk, FaultyDisk, MemoryDisk, Operation, Seeded, SystemDisk, make_folder};

#[tokio::test]
async fn the_systems_disk_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    keep_the_contract(&SystemDisk, folder.path()).await;
}

#[tokio::test]
async fn a_disk_in_memory_keeps_the_contract() {
    keep_the_contract(&MemoryDisk::new(), Path::new("/")).await;
    keep_the_contract(&MemoryDisk::with_yields(1, 3), Path::new("/")).await;
}

#[tokio::test]
async fn a_disk_that_is_to_fail_keeps_the_contract_until_then() {
    let faulty = FaultyDisk::new(Arc::new(MemoryDisk::new()), 0);
    keep_the_contract(&FaultyDisk::new(Arc::new(faulty), 0), Path::new("/")).await;
}

async fn keep_the_contract(disk: &dyn Disk, root: &Path) {
    write_and_read(disk, &root.join("write")).await;
    name_and_list(disk, &root.join("name")).await;
    move_and_replace(disk, &root.join("move")).await;
    refuse(disk, &root.join("refuse")).await;
    scratch(disk, &root.join("scratch")).await;
}

async fn put(disk: &dyn Disk, path: &Path, bytes: &'static str) {
    let mut file = disk.create(path).await.unwrap();
    file.append(vec![bytes.into()]).await.unwrap();
}

async fn write_and_read(disk: &dyn Disk, root: &Path) {
    disk.create_folder(root).await.unwrap();
    let path = root.join("file");
    let mut first = disk.create(&path).await.unwrap();
    first.append(Vec::new()).await.unwrap();
    assert_eq!(disk.read(&path).await.unwrap(), "");
    first.append(["on", "", "e "].map(Bytes::from).to_vec()).await.unwrap();
    let mut second = disk.append(&path).await.unwrap();
    second.append(vec!["two ".into()]).await.unwrap();
    first.append(vec!["three".into()]).await.unwrap();
    first.sync().await.unwrap();
    second.sync().await.unwrap();
    assert_eq!(disk.read(&path).await.unwrap(), "one two three");
    assert_eq!(disk.length(&path).await.unwrap(), 13);
    for (offset, length, bytes) in [(4, 3, "two"), (0, 13, "one two three"), (13, 0, "")] {
        assert_eq!(disk.read_at(&path, offset, length).await.unwrap(), bytes);
    }

    disk.truncate(&path, 4).await.unwrap();
    first.append(vec!["more".into()]).await.unwrap();
    assert_eq!(disk.read(&path).await.unwrap(), "one more");

    let many = vec![Bytes::from_static(&[7; 10]); 5_000];
    first.append(many).await.unwrap();
    assert_eq!(disk.length(&path).await.unwrap(), 50_008);
}

async fn name_and_list(disk: &dyn Disk, root: &Path) {
    disk.create_folder(&root.join("a/b/c")).await.unwrap();
    disk.create_folder(&root.join("a/b")).await.unwrap();
    for name in ["a/z", "a/10", "a/9", "a/b/inner"] {
        put(disk, &root.join(name), name).await;
    }
    disk.sync_folder(&root.join("a")).await.unwrap();
    assert_eq!(disk.list(&root.join("a")).await.unwrap(), ["10", "9", "b", "z"]);
    disk.remove(&root.join("a/9")).await.unwrap();
    assert_eq!(disk.list(&root.join("a")).await.unwrap(), ["10", "b", "z"]);
    disk.remove(&root.join("a/b/inner")).await.unwrap();
    disk.remove(&root.join("a/b/c")).await.unwrap();
    disk.remove(&root.join("a/b")).await.unwrap();
    assert_eq!(disk.list(&root.join("a")).await.unwrap(), ["10", "z"]);
    put(disk, &root.join("a/9"), "again").await;
    assert_eq!(disk.read(&root.join("a/9")).await.unwrap(), "again");
}

async fn move_and_replace(disk: &dyn Disk, root: &Path) {
    disk.create_folder(&root.join("from/inner")).await.unwrap();
    disk.create_folder(&root.join("to/empty")).await.unwrap();
    for name in ["from/file", "from/inner/file", "from/other"] {
        put(disk, &root.join(name), name).await;
    }
    let steps = [
        ("from/file", "from/renamed"),
        ("from/renamed", "from/renamed"),
        ("from/renamed", "to/file"),
        ("from/other", "to/file"),
        ("from/inner", "to/empty"),
    ];
    let mut open = disk.append(&root.join("from/other")).await.unwrap();
    for (from, to) in steps {
        disk.rename(&root.join(from), &root.join(to)).await.unwrap();
    }
    open.append(vec![" still open".into()]).await.unwrap();
    assert!(disk.list(&root.join("from")).await.unwrap().is_empty());
    assert_eq!(disk.list(&root.join("to")).await.unwrap(), ["empty", "file"]);
    assert_eq!(disk.read(&root.join("to/file")).await.unwrap(), "from/other still open");
    assert_eq!(disk.read(&root.join("to/empty/file")).await.unwrap(), "from/inner/file");
}

async fn refuse(disk: &dyn Disk, root: &Path) {
    disk.create_folder(&root.join("full/inner")).await.unwrap();
    disk.create_folder(&root.join("empty")).await.unwrap();
    put(disk, &root.join("file"), "0123456789").await;
    let at = |name: &str| root.join(name);
    let failures: [(&str, ErrorKind, io::Result<()>); 25] = [
        ("create", ErrorKind::AlreadyExists, disk.create(&at("file")).await.map(drop)),
        ("create", ErrorKind::NotFound, disk.create(&at("none/file")).await.map(drop)),
        ("create", ErrorKind::NotADirectory, disk.create(&at("file/file")).await.map(drop)),
        ("append", ErrorKind::NotFound, disk.append(&at("none")).await.map(drop)),
        ("append", ErrorKind::IsADirectory, disk.append(&at("full")).await.map(drop)),
        ("read", ErrorKind::NotFound, disk.read(&at("none")).await.map(drop)),
        ("read", ErrorKind::IsADirectory, disk.read(&at("full")).await.map(drop)),
        ("read at", ErrorKind::UnexpectedEof, disk.read_at(&at("file"), 8, 3).await.map(drop)),
        ("read at", ErrorKind::UnexpectedEof, disk.read_at(&at("file"), 0, usize::MAX).await.map(drop)),
        ("read at", ErrorKind::UnexpectedEof, disk.read_at(&at("file"), u64::MAX, 1).await.map(drop)),
        ("length", ErrorKind::NotFound, disk.length(&at("none")).await.map(drop)),
        ("length", ErrorKind::IsADirectory, disk.length(&at("full")).await.map(drop)),
        ("truncate", ErrorKind::InvalidInput, disk.truncate(&at("file"), 11).await),
        ("truncate", ErrorKind::NotFound, disk.truncate(&at("none"), 0).await),
        ("list", ErrorKind::NotFound, disk.list(&at("none")).await.map(drop)),
        ("list", ErrorKind::NotADirectory, disk.list(&at("file")).await.map(drop)),
        ("create folder", ErrorKind::AlreadyExists, disk.create_folder(&at("file")).await),
        ("create folder", ErrorKind::NotADirectory, disk.create_folder(&at("file/inner")).await),
        ("rename", ErrorKind::NotFound, disk.rename(&at("none"), &at("name")).await),
        ("rename", ErrorKind::DirectoryNotEmpty, disk.rename(&at("empty"), &at("full")).await),
        ("rename", ErrorKind::InvalidInput, disk.rename(&at("full"), &at("full/inner/it")).await),
        ("remove", ErrorKind::NotFound, disk.remove(&at("none")).await),
        ("remove", ErrorKind::DirectoryNotEmpty, disk.remove(&at("full")).await),
        ("sync folder", ErrorKind::NotFound, disk.sync_folder(&at("none")).await),
        ("sync folder", ErrorKind::NotADirectory, disk.sync_folder(&at("file")).await),
    ];
    for (number, (name, kind, result)) in failures.into_iter().enumerate() {
        let error = result.expect_err(name);
        assert_eq!(error.kind(), kind, "{name}, case {number}: {error}");
        assert!(error.to_string().contains(&*root.to_string_lossy()), "{error}");
    }
    assert_eq!(disk.read(&at("file")).await.unwrap(), "0123456789");
    assert_eq!(disk.list(root).await.unwrap(), ["empty", "file", "full"]);
}

#[tokio::test]
async fn a_folder_that_was_made_stays_though_an_earlier_life_ended_while_it_made_it() {
    let folder = Path::new("one/two/three");
    for (operations, half_done) in (0..12).flat_map(|operations| [(operations, false), (operations, true)]) {
        let memory = MemoryDisk::new();
        let earlier = FaultyDisk::new(Arc::new(memory.clone()), 0);
        match half_done {
            true => earlier.stop_within(operations),
            false => earlier.stop_after(operations),
        }
        // Whether it comes to an end is what is tried out.
        make_folder(&earlier, folder).await.ok();
        memory.kill();
        make_folder(&memory, folder).await.unwrap();
        // Of many seeds, some lose everything that can be lost.
        for seed in 0..8 {
            let memory = memory.fork();
            memory.crash(&Seeded::new(seed));
            let found = memory.list(folder).await;
            assert!(found.is_ok(), "after {operations}, {half_done}: {found:?}");
        }
    }
}

#[test]
fn every_operation_is_listed_once_and_in_order() {
    assert!(Operation::ALL.is_sorted_by(|one, next| one < next));
}

async fn scratch(disk: &dyn Disk, root: &Path) {
    disk.create_folder(root).await.unwrap();
    let path = root.join("file");
    put(disk, &path, "what a process left that crashed").await;
    let scratch = disk.scratch(&path);
    assert_eq!(scratch.read_at(0, &mut [0]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    scratch.write_at(0, b"one three").unwrap();
    scratch.write_at(4, b"two three").unwrap();
    let mut bytes = [0; 9];
    scratch.read_at(4, &mut bytes).unwrap();
    assert_eq!(&bytes, b"two three");
    let error = scratch.read_at(5, &mut bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("file"), "{error}");
    // Another one is another file.
    let other = disk.scratch(&path);
    other.write_at(0, b"other").unwrap();
    scratch.read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"one two t");
}
