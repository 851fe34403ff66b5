//! What the host holds for a guest: its WASI world, cut down to its grants; its limits; its clock and randomness;
//! what it adds to accumulators.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use millstream_model::pipeline::{Grant, PluginSpec};
use millstream_model::{Accumulated, CallContext};
use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{ResourceLimiter, StoreContextMut};
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{FsPerms, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::PluginError;
use crate::additions::Additions;
use crate::contract::{ACCUMULATORS, HOST, Level};
use crate::output::Printed;

/// Tables, memories and core instances of a component; table elements. Far above what any toolchain makes.
const PARTS_MAX: usize = 64;
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// The data of a guest's store.
pub(crate) struct Guest {
    plugin: Arc<str>,
    config: Arc<BTreeMap<String, String>>,
    wasi: WasiCtx,
    resources: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) printed: Printed,
    pub(crate) clock: BatchClock,
    additions: Additions,
}

/// What every instance of a plugin is made from.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    plugin: Arc<str>,
    config: Arc<BTreeMap<String, String>>,
    grant: Grant,
    network: Arc<Vec<SocketAddr>>,
    memory_bytes: usize,
}

impl Terms {
    /// Resolves the grants of `spec`, so that one that cannot be given is known before anything runs.
    pub(crate) fn new(spec: &PluginSpec) -> Result<Self, PluginError> {
        let config = spec.config.iter().map(|(key, value)| (key.clone(), value.to_string()));
        let network = spec.grant.network.iter().map(|address| {
            let resolved = address.to_socket_addrs();
            resolved.map_err(|error| PluginError::Grant {
                what: format!("network \"{address}\""),
                reason: error.to_string(),
            })
        });
        let network = network.collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
        let terms = Self {
            plugin: spec.name.value.as_str().into(),
            config: Arc::new(config.collect()),
            grant: spec.grant.clone(),
            network: Arc::new(network.collect()),
            memory_bytes: usize::try_from(spec.limit.memory_bytes).unwrap_or(usize::MAX),
        };
        terms.wasi(&Printed::default(), &BatchClock::default())?;
        Ok(terms)
    }

    pub(crate) fn guest(&self) -> Result<Guest, PluginError> {
        let (printed, clock) = (Printed::default(), BatchClock::default());
        Ok(Guest {
            plugin: Arc::clone(&self.plugin),
            config: Arc::clone(&self.config),
            wasi: self.wasi(&printed, &clock)?,
            resources: ResourceTable::new(),
            limiter: Limiter::new(self.memory_bytes),
            printed,
            clock,
            additions: Additions::default(),
        })
    }

    fn wasi(&self, printed: &Printed, clock: &BatchClock) -> Result<WasiCtx, PluginError> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(printed.clone()).stderr(printed.clone()).wall_clock(clock.clone());
        wasi.secure_random(clock.random()).insecure_random(clock.random()).insecure_random_seed(0);
        let folders = self.grant.read.iter().map(|folder| (folder, FsPerms::ReadOnly));
        let folders = folders.chain(self.grant.write.iter().map(|folder| (folder, FsPerms::ReadWrite)));
        for (folder, permissions) in folders {
            let opened = wasi.preopened_dir(folder, folder.to_string_lossy(), permissions);
            opened.map_err(|error| PluginError::Grant {
                what: format!("folder {}", folder.display()),
                reason: error.to_string(),
            })?;
        }
        for name in &self.grant.environment {
            if let Ok(value) = std::env::var(name) {
                wasi.env(name, value);
            }
        }
        if !self.network.is_empty() {
            let granted = Arc::clone(&self.network);
            wasi.allow_tcp(true).allow_udp(false).allow_ip_name_lookup(false);
            wasi.socket_addr_check(move |address, usage| {
                let allowed = may_use(&granted, address, usage);
                Box::pin(async move { allowed })
            });
        }
        Ok(wasi.build())
    }
}

/// A connect first binds to any port of its own and then asks for the peer's address.
fn may_use(granted: &[SocketAddr], address: SocketAddr, usage: SocketAddrUse) -> bool {
    match usage {
        SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
        SocketAddrUse::TcpConnect => granted.contains(&address),
        _ => false,
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}

impl Guest {
    pub(crate) fn plugin(&self) -> &str {
        &self.plugin
    }

    /// Sets the clock and the randomness of a call, so that the same call on a replay sees the same.
    pub(crate) fn enter(&mut self, context: CallContext) {
        self.clock.set(context);
        self.additions.begin();
    }

    /// What the call added to accumulators. For calls that succeeded; what others added goes when the next one enters.
    pub(crate) fn leave(&mut self) -> Accumulated {
        self.additions.end(&self.plugin)
    }

    fn log(&self, level: Level, message: &str) {
        self.printed.push(format!("{level:?}: {message}\n").as_bytes());
    }
}

/// Offers the interfaces `host` and `accumulators` to guests.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut host = linker.instance(HOST)?;
    host.func_wrap("log", |guest: StoreContextMut<'_, Guest>, (level, message): (Level, String)| {
        guest.data().log(level, &message);
        Ok(())
    })?;
    host.func_wrap("config", |guest: StoreContextMut<'_, Guest>, (key,): (String,)| {
        Ok((guest.data().config.get(&key).cloned(),))
    })?;
    let mut accumulators = linker.instance(ACCUMULATORS)?;
    accumulators.func_wrap("add", |mut guest: StoreContextMut<'_, Guest>, (name, amount): (String, i64)| {
        guest.data_mut().additions.add(name, amount).map_err(wasmtime::Error::msg)
    })
}

/// Refuses growth beyond the limits, and remembers which one was broken. All memories of an instance have one limit
/// together, and so have its tables.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes_max: usize,
    memory_bytes: usize,
    table_elements: usize,
    pub(crate) broken: Option<String>,
}

impl Limiter {
    fn new(memory_bytes_max: usize) -> Self {
        Self { memory_bytes_max, memory_bytes: 0, table_elements: 0, broken: None }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        now: usize,
        wanted: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| wanted > maximum) {
            return Ok(false);
        }
        let bytes = self.memory_bytes.saturating_add(wanted - now);
        if bytes <= self.memory_bytes_max {
            self.memory_bytes = bytes;
            return Ok(true);
        }
        let mebibytes = self.memory_bytes_max as f64 / f64::from(1 << 20);
        self.broken = Some(format!("needs more memory than its limit of {mebibytes} MiB"));
        Err(wasmtime::Error::msg("out of memory"))
    }

    fn table_growing(&mut self, now: usize, wanted: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| wanted > maximum) {
            return Ok(false);
        }
        let elements = self.table_elements.saturating_add(wanted - now);
        if elements <= TABLE_ELEMENTS_MAX {
            self.table_elements = elements;
            return Ok(true);
        }
        self.broken = Some(format!("needs a table of more than {TABLE_ELEMENTS_MAX} elements"));
        Err(wasmtime::Error::msg("table too large"))
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }
}

/// The batch's time as the guest's wall clock, and the seed of its randomness.
#[derive(Clone, Debug, Default)]
pub(crate) struct BatchClock {
    time_ms: Arc<AtomicI64>,
    seed: Arc<std::sync::atomic::AtomicU64>,
}

impl BatchClock {
    fn set(&self, context: CallContext) {
        let time_ms = context.batch_time.as_ms();
        self.time_ms.store(time_ms, Ordering::Relaxed);
        let place = (u64::from(context.partition) << 32) | u64::from(context.chunk);
        self.seed.store(time_ms.unsigned_abs().rotate_left(32) ^ place, Ordering::Relaxed);
    }

    fn random(&self) -> BatchRandom {
        BatchRandom { state: Arc::clone(&self.seed) }
    }
}

impl HostWallClock for BatchClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.time_ms.load(Ordering::Relaxed)).unwrap_or(0))
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014) from the seed of the call.
struct BatchRandom {
    state: Arc<std::sync::atomic::AtomicU64>,
}

impl BatchRandom {
    fn next(&self) -> u64 {
        const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.state.fetch_add(GOLDEN_GAMMA, Ordering::Relaxed).wrapping_add(GOLDEN_GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl rand_core::TryRng for BatchRandom {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok((self.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
