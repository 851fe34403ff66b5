//! What the targets share: a checkpoint folder as a pipeline leaves it, with files of it edited.
//!
//! Bytes from nowhere would fail at the first checksum and reach nothing. So a target begins with files that are right,
//! changes some bytes of them, and makes the checksums right again. What a fuzzer learns is where a change leads on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use millstream_journal::{Journal, Limits};
use millstream_model::{
    BatchTime, Block, Commit, DataType, Field, Lane, LaneInput, LoggedRange, Manifest, Position, Records,
    Schema, Version,
};
use millstream_platform::{Disk, ManualClock, MemoryDisk, make_folder};
use millstream_state::{Change, KeyedSpec, PaneSpec, StateEnd, Store};

/// The checkpoint folder on the disks of this crate.
pub const FOLDER: &str = "checkpoint";

/// The one lane of the journal.
pub fn lane() -> Lane {
    Lane { source: "lines".to_owned(), receiver: 0 }
}

/// A disk with a checkpoint folder, taken to bytes.
pub struct Checkpoint {
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// Where its states end.
    pub end: Option<StateEnd>,
}

impl Checkpoint {
    /// A journal of three batches in several segments.
    pub async fn of_journal() -> Self {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let limits = Limits { wal_segment_bytes: 600, log_segment_bytes: 900, ..Limits::default() };
        let clock = Arc::new(ManualClock::new(0));
        let opened = Journal::open(Arc::clone(&disk), clock, Path::new(FOLDER), limits).await;
        let Journal { wal, writer, mut batches } = opened.expect("an empty disk is a journal");
        let writer = tokio::spawn(writer.run());
        for batch in 0..3_u64 {
            for first in [10 * batch, 10 * batch + 4] {
                let rows = if first % 10 == 0 { 4 } else { 6 };
                let lines: String = (0..rows).map(|record| format!("record {}\n", first + record)).collect();
                let position = Position { origin: "peer".into(), record: first };
                let mut block = Block::lines(lines.into(), rows as usize, position);
                block.resume = Some(Bytes::from(format!("token {first}")));
                let entry = wal.submit(&lane(), first, &block);
                wal.wait_durable(entry).await.expect("memory is durable");
            }
            let time = BatchTime::from_ms(1_000 * (batch as i64 + 1));
            let records =
                Records::Logged(LoggedRange { records: 10 * batch..10 * (batch + 1), resume: None });
            let inputs = vec![LaneInput { lane: lane(), records }];
            let manifest = Manifest { time, inputs, version: Version::default() };
            batches.begin(manifest).await.expect("it is the next batch");
            batches.commit(Commit { time, records: 10, ..Commit::default() }).await.expect("it was begun");
            if batch < 2 {
                batches.published(time).await.expect("it was committed");
            }
        }
        drop((wal, batches));
        writer.await.expect("the writer ends").expect("memory takes all");
        Self { files: files(disk.as_ref()).await, end: None }
    }

    /// States of many batches, in the log and in snapshots.
    pub async fn of_states() -> Self {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let store = Store::open(Arc::clone(&disk), Path::new(FOLDER), limits(), None).await;
        let store = store.expect("an empty disk has no states");
        let words = store.keyed("running", keyed()).expect("a new table");
        store.panes("recent", panes()).expect("a new table");
        let mut end = None;
        for time in 1..=12_i64 {
            let mut change = Change::new(BatchTime::from_ms(time));
            let key: ArrayRef = Arc::new(StringViewArray::from(vec![format!("word {}", time % 5)]));
            let state: ArrayRef = Arc::new(Int64Array::from(vec![time]));
            let keys = words.encode_keys(&[key]).expect("it is of the table's type");
            let states = words.encode_states(&[state]).expect("it is of the table's type");
            change.keyed("running").put(keys.row(0).data(), states.row(0).data());
            let numbers: ArrayRef = Arc::new(Int64Array::from(vec![time, -time]));
            let rows = RecordBatch::try_new(panes().columns, vec![numbers]).expect("a column of numbers");
            change.panes("recent").add(&rows);
            change.panes("recent").drop_before(BatchTime::from_ms(time - 3));
            end = store.write(&change).await.expect("memory takes all");
            store.apply(change);
            store.maintain().await.expect("memory takes all");
        }
        drop((words, store));
        Self { files: files(disk.as_ref()).await, end }
    }

    /// The same with edits of the files whose name ends so. An edit is four bytes of `edits`: which file, where in it (two),
    /// and what stands there instead; a file that is named with the highest bit is cut off there.
    pub async fn edited(&self, extensions: &[&str], edits: &[u8]) -> Arc<dyn Disk> {
        let mut files = self.files.clone();
        let named = |path: &PathBuf| extensions.iter().any(|end| path.extension().is_some_and(|e| e == *end));
        let paths: Vec<PathBuf> = files.keys().filter(|path| named(path)).cloned().collect();
        for edit in edits.chunks_exact(4) {
            let path = &paths[usize::from(edit[0] & 0x7F) % paths.len()];
            let file = files.get_mut(path).expect("it is one of them");
            let at = usize::from(u16::from_le_bytes([edit[1], edit[2]])) % (file.len() + 1);
            match edit[0] & 0x80 {
                0 if at < file.len() => file[at] = edit[3],
                0 => file.push(edit[3]),
                _ => file.truncate(at),
            }
        }
        for path in &paths {
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            let file = files.get_mut(path).expect("it is one of them");
            millstream_journal::reseal(number.unwrap_or_default(), file);
        }
        write(&files).await
    }
}

/// Small files, so that there are several.
pub fn limits() -> millstream_state::Limits {
    millstream_state::Limits {
        log_segment_bytes: 1_500,
        snapshot_every: 2,
        snapshot_bytes_min: 1,
        ..millstream_state::Limits::default()
    }
}

/// The table `running`.
pub fn keyed() -> KeyedSpec {
    KeyedSpec {
        key: Schema::new([Field::new("word", DataType::Utf8)]),
        state: Schema::new([Field::new("count", DataType::Int64)]),
        version: 1,
    }
}

/// The table `recent`.
pub fn panes() -> PaneSpec {
    let number = Field { nullable: true, ..Field::new("number", DataType::Int64) };
    PaneSpec { columns: Arc::new(Schema::new([number]).to_arrow()) }
}

/// Lets panics pass that are caught, as the journal does with those of Arrow's reader; without it, each is a finding. One that is
/// not caught ends the process all the same.
pub fn let_panics_be_caught() {
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
}

/// Waits here for what is not done at once.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime without drivers can be made").block_on(future)
}

async fn files(disk: &dyn Disk) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in ["log", "wal", "state"] {
        let folder = Path::new(FOLDER).join(folder);
        for name in disk.list(&folder).await.unwrap_or_default() {
            let path = folder.join(name);
            let bytes = disk.read(&path).await.expect("it was listed");
            files.insert(path, bytes.to_vec());
        }
    }
    files
}

async fn write(files: &BTreeMap<PathBuf, Vec<u8>>) -> Arc<dyn Disk> {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    for (path, bytes) in files {
        let folder = path.parent().expect("it lies in a folder");
        make_folder(disk.as_ref(), folder).await.expect("memory takes all");
        let mut file = disk.create(path).await.expect("it is written once");
        file.append(vec![Bytes::from(bytes.clone())]).await.expect("memory takes all");
        file.sync().await.expect("memory takes all");
    }
    disk
}
