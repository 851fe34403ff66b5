//! What a seed chooses: how the pipeline is set, and what happens to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use millstream_journal::Limits;
use millstream_model::Version;
use millstream_platform::{Clock, Disk, FaultyDisk, Operation, Seeded};
use millstream_state::Limits as StateLimits;

use super::super::lab::{Lines, version};
use super::life::{Course, Event};
use super::outside::Outside;
use super::program::{Made, Workshop};
use super::sinks::{Base, Files};
use super::sources::{RECEIVER, Receiver, SHELF, Shelf};
use super::{FOLDER, LETTERS};
use crate::{
    Application, Backpressure, CatchUp, Checkpoint, Code, DeadLetters, Decoder, InletSettings, Mode,
    OnFailure, Policy, Sink, SinkBinding, Source, SourceBinding, Storage, Upgrades, Versions,
};

/// Batches that run at once, at most.
pub(super) const PROGRAMS_MAX: usize = 3;
/// Letters are never replaced at this size.
const LETTERS_BYTES_MAX: u64 = 1 << 30;

/// The choices of a seed.
pub(super) struct Chance {
    outside: Arc<Outside>,
    limits: Limits,
    state_limits: StateLimits,
    letters_bytes_max: u64,
    state_version: AtomicU32,
}

/// What the code of every life has in common.
#[derive(Clone)]
struct Parts {
    outside: Arc<Outside>,
    disk: Arc<dyn Disk>,
    made: Made,
    settings: InletSettings,
    rows_max: u64,
    fails: bool,
}

impl Chance {
    pub(super) fn new(outside: &Arc<Outside>) -> Self {
        let seeded = &outside.seeded;
        let limits = Limits {
            wal_segment_bytes: 100 + seeded.below(1_500),
            log_segment_bytes: 200 + seeded.below(3_000),
            log_segments_kept: 1 + seeded.below(3) as usize,
            history_bytes: seeded.below(2) * seeded.below(2_000),
        };
        let state_limits = StateLimits {
            log_segment_bytes: 100 + seeded.below(1_500),
            snapshot_every: 1 + seeded.below(8),
            snapshot_bytes_min: seeded.below(300),
            ..StateLimits::default()
        };
        let letters_bytes_max = if seeded.chance(1, 4) { 100 + seeded.below(400) } else { LETTERS_BYTES_MAX };
        let state_version = AtomicU32::new(1);
        Self { outside: Arc::clone(outside), limits, state_limits, letters_bytes_max, state_version }
    }

    /// Whether every dead letter is still there.
    pub(super) fn keeps_letters(&self) -> bool {
        self.letters_bytes_max == LETTERS_BYTES_MAX
    }

    fn seeded(&self) -> &Seeded {
        &self.outside.seeded
    }

    fn ms(&self, below: u64) -> Duration {
        Duration::from_millis(self.seeded().below(below))
    }

    /// What happens in a life that is not one of the last.
    pub(super) fn course(&self) -> Course {
        let seeded = self.seeded();
        let mode = if seeded.chance(1, 8) { Mode::Once } else { Mode::Continuous };
        let end = self.ms(12_000);
        let mut events = Vec::new();
        for _ in 0..seeded.below(2) {
            let ms = match seeded.below(3) {
                0 => -(seeded.below(24 * 60 * 60 * 1_000) as i64),
                1 => -(seeded.below(3_000) as i64),
                _ => seeded.below(6_000) as i64,
            };
            events.push((self.ms(12_000).min(end), Event::ClockSet { ms }));
        }
        events.push((self.ms(12_000).min(end), Event::Room));
        events.sort_by_key(|(after, _)| *after);
        let last = match seeded.below(6) {
            0..=2 => Event::Cut,
            3 | 4 => Event::StopGracefully,
            _ => Event::StopNow,
        };
        events.push((end, last));
        Course { mode, events }
    }

    /// What fails in such a life.
    pub(super) fn faults(&self, disk: &FaultyDisk, workshop: &Workshop) {
        let seeded = self.seeded();
        workshop.fail(if seeded.chance(1, 4) { seeded.below(4) } else { 0 });
        match seeded.below(8) {
            0 => disk.stop_after(seeded.below(600)),
            1..=3 => disk.stop_within(seeded.below(600)),
            4 => disk.fail_randomly(Operation::Sync, 40),
            5 => {
                let operation = Operation::ALL[seeded.below(Operation::ALL.len() as u64) as usize];
                disk.fail_randomly(operation, 30);
            }
            6 => disk.limit_room(seeded.below(6_000)),
            _ => {}
        }
    }

    /// How many batches may run at once in a life.
    pub(super) fn programs(&self) -> usize {
        1 + self.seeded().below(PROGRAMS_MAX as u64) as usize
    }

    /// The version of the states of a life: that of the life before, or the next.
    fn state_version(&self) -> u32 {
        let more = u32::from(self.outside.numbered && self.seeded().chance(1, 3));
        self.state_version.fetch_add(more, Ordering::Relaxed) + more
    }

    /// The pipeline of one life.
    pub(super) async fn application(&self, disk: Arc<dyn Disk>, made: Made, is_faulty: bool) -> Application {
        let seeded = self.seeded();
        let parts = Parts {
            outside: Arc::clone(&self.outside),
            disk: Arc::clone(&disk),
            made,
            settings: self.settings(),
            rows_max: 1 + seeded.below(8),
            fails: is_faulty && seeded.chance(1, 3),
        };
        let catch_up = if seeded.chance(1, 3) { CatchUp::EveryBatch } else { CatchUp::OneBatch };
        Application {
            name: "simulation".into(),
            batch_interval: Duration::from_millis([500, 1_000, 1_500][seeded.below(3) as usize]),
            // Each life has a version of its own, so that batches are finished by the code that began them.
            code: parts
                .code(version(&format!("{} at {:?}", self.state_version(), self.outside.clock.elapsed())))
                .await,
            checkpoint: Some(Checkpoint {
                disk: Arc::clone(&disk),
                folder: FOLDER.into(),
                limits: self.limits,
                versions: Arc::new(parts),
            }),
            upgrades: Upgrades::none(),
            state_limits: self.state_limits,
            policy: Policy {
                quarantine: true,
                attempts: 1 + seeded.below(3) as u32,
                on_failure: OnFailure::Stop,
                catch_up,
                backpressure: Backpressure(None),
            },
            dead_letters: DeadLetters::file(disk, LETTERS.into()).replaced_at(self.letters_bytes_max),
        }
    }

    fn settings(&self) -> InletSettings {
        let seeded = self.seeded();
        let storages = [Storage::Memory, Storage::MemoryAndDisk, Storage::Disk];
        InletSettings {
            bytes_max: 20 + seeded.below(400) as usize,
            disk_bytes_max: 20 + seeded.below(1_000),
            storage: storages[seeded.below(3) as usize],
            batch_rows_max: 1 + seeded.below(40) as usize,
            ..InletSettings::default()
        }
    }
}

impl Parts {
    async fn code(&self, version: Version) -> Code {
        let states = version.pipeline.split(' ').next().and_then(|states| states.parse().ok());
        let states = states.expect("a version's name begins with that of its states");
        let (programs, states) = self.made.programs(&self.outside.sources(), states).await;
        let base = Base { outside: Arc::clone(&self.outside), fails: self.fails };
        let files = Files { disk: Arc::clone(&self.disk), outside: Arc::clone(&self.outside) };
        let from = self.made.wanted().to_owned();
        let binding = |name: &str, sink: Arc<dyn Sink>| {
            let (name, identity) = (name.to_owned(), name.to_owned());
            SinkBinding { name, from: from.clone(), sink, identity }
        };
        let mut sinks = vec![binding("files", Arc::new(files))];
        // A batch that was committed with its states is not run again for a sink that has lost it.
        if !self.outside.numbered {
            sinks.push(binding("base", Arc::new(base)));
        }
        Code {
            version,
            states,
            tables: Default::default(),
            programs,
            sources: self.outside.sources().into_iter().map(|name| self.source(name)).collect(),
            sinks,
            metered: Vec::new(),
        }
    }

    fn source(&self, name: &str) -> SourceBinding {
        let (outside, rows_max, fails) = (Arc::clone(&self.outside), self.rows_max, self.fails);
        let decoder: Arc<dyn Decoder> = Arc::new(Lines);
        let parallelism = if name == RECEIVER { outside.streams.len() as u32 } else { 1 };
        let source: Arc<dyn Source> = match name {
            RECEIVER => Arc::new(Receiver { outside, rows_max, fails, begun: AtomicUsize::new(0) }),
            SHELF => Arc::new(Shelf { outside, rows_max, fails, begun: AtomicBool::new(false) }),
            other => unreachable!("there is no source {other}"),
        };
        SourceBinding {
            identity: name.to_owned(),
            format: "lines".to_owned(),
            name: name.to_owned(),
            source,
            decoder,
            parallelism,
            settings: self.settings.clone(),
        }
    }
}

#[async_trait]
impl Versions for Parts {
    async fn load(&self, version: &Version) -> Result<Code, String> {
        self.outside.note(format_args!("the code of {} is loaded", version.pipeline));
        Ok(self.code(version.clone()).await)
    }
}
