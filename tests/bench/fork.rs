//! What an upgrade of states costs the batches beside it: `cargo xtask bench fork`.
//!
//! A store with a million keys on a real disk is given batches of keys at random, one after the other, each written and applied as a
//! commit does it. Meanwhile all tables are forked, copied, and filled into another generation. What counts is by how much
//! a batch takes longer than its neighbours, without that and with it.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, Int64Array};
use millstream_model::{BatchTime, DataType, Field, Schema};
use millstream_platform::{Disk, Seeded, SystemDisk};
use millstream_state::{Change, Copies, Keyed, KeyedSpec, Limits, StateError, Store, Tables};

use crate::state::delay;

const KEYS: u64 = 1_000_000;
const BATCH_KEYS: u64 = 10_000;
/// Batches before the fork, to compare with.
const BATCHES: usize = 200;
const TABLE: &str = "sums";

pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure())
}

#[allow(clippy::print_stdout, reason = "the bench's answer")]
#[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
async fn measure() -> Result<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
    let store = Store::open(Arc::clone(&disk), folder.path(), limits(), None).await?;
    let tables = Arc::new(Tables::new(store));
    let mut batches =
        Batches { table: tables.store().keyed(TABLE, spec())?, tables, time: 0, seeded: Seeded::new(1) };
    for first in (0..KEYS).step_by(BATCH_KEYS as usize) {
        batches.run((first..first + BATCH_KEYS).collect()).await?;
    }
    let mut before = Vec::new();
    for _ in 0..BATCHES {
        before.push(batches.run_random().await?);
    }
    let began = Instant::now();
    let fork = batches.tables.fork();
    let forked_ms = began.elapsed().as_secs_f64() * 1e3;
    let other = Store::begin(disk, folder.path(), limits()).await?;
    let filling = tokio::spawn(async move {
        let copies: Copies = fork.copy().await?;
        let copied = Instant::now();
        copies.fill(TABLE, &other).await?;
        Ok::<_, StateError>((copied, other))
    });
    let mut beside = Vec::new();
    while !filling.is_finished() {
        beside.push(batches.run_random().await?);
    }
    let took = began.elapsed();
    let (copied, other) = filling.await.context("the copy was cut short")??;
    let keys = other.statistics().tables.first().map(|table| table.keys);
    ensure!(keys == Some(KEYS), "the copy has {keys:?} keys");
    println!("{KEYS} keys, batches of {BATCH_KEYS}\n");
    println!("fork:              {forked_ms:.2} ms");
    println!("copied after:      {:.0} ms", (copied - began).as_secs_f64() * 1e3);
    println!("filled after:      {:.0} ms, beside {} batches", took.as_secs_f64() * 1e3, beside.len());
    println!("delay of a batch:  {:.2} ms, before {:.2} ms", delay(&beside), delay(&before));
    Ok(())
}

struct Batches {
    tables: Arc<Tables>,
    table: Arc<Keyed>,
    time: i64,
    seeded: Seeded,
}

impl Batches {
    async fn run_random(&mut self) -> Result<f64> {
        let keys = (0..BATCH_KEYS).map(|_| self.seeded.below(KEYS)).collect();
        self.run(keys).await
    }

    /// Gives keys a state. Gives how many milliseconds it took to make that durable and real.
    #[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
    async fn run(&mut self, keys: Vec<u64>) -> Result<f64> {
        self.time += 1;
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(keys.into_iter().map(u64::cast_signed)));
        let states = self.table.encode_states(&[Arc::clone(&keys)])?;
        let keys = self.table.encode_keys(&[keys])?;
        let mut change = Change::new(BatchTime::from_ms(self.time));
        let of_table = change.keyed(TABLE);
        keys.iter().zip(states.iter()).for_each(|(key, state)| of_table.put(key.data(), state.data()));
        let began = Instant::now();
        self.tables.write(&change).await?;
        self.tables.apply(change);
        let ms = began.elapsed().as_secs_f64() * 1e3;
        let tables = Arc::clone(&self.tables);
        // Snapshots are written beside batches, as the engine does it.
        tokio::spawn(async move { tables.store().maintain().await });
        Ok(ms)
    }
}

fn limits() -> Limits {
    Limits { memory_bytes: 4 << 30, ..Limits::default() }
}

fn spec() -> KeyedSpec {
    let field = |name| Schema::new([Field::new(name, DataType::Int64)]);
    KeyedSpec { key: field("key"), state: field("sum"), version: 1 }
}
