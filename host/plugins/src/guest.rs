//! What the host holds for a guest: its WASI world, cut down to its grants; its limits; its clock and randomness;
//! what it sends over HTTP; what it adds to accumulators.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use millstream_model::pipeline::{Grant, Limit, PluginSpec};
use millstream_model::{Accumulated, CallContext};
use tokio::net::lookup_host;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime::{ResourceLimiter, StoreContextMut};
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{FsPerms, HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use crate::PluginError;
use crate::additions::Additions;
use crate::contract::{ACCUMULATORS, HOST, Level};
use crate::http::{Destination, Http};
use crate::meter::Largest;
use crate::output::{LogRate, Printed};

/// Tables, memories and core instances of a component. Far above what any toolchain makes.
const PARTS_MAX: usize = 64;
/// What an instance may hold at once that the host keeps for it: open files, sockets, requests, their headers.
pub(crate) const HANDLES_MAX: usize = 500;
/// Random bytes that may be asked for at once.
pub(crate) const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// The data of a guest's store.
pub(crate) struct Guest {
    plugin: Arc<str>,
    config: Arc<BTreeMap<String, String>>,
    wasi: WasiCtx,
    pub(crate) http: Http,
    resources: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) printed: Printed,
    pub(crate) clock: BatchClock,
    additions: Additions,
}

/// Whose clock and randomness a guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// The batch's, so that a batch which is run again sees the same.
    Batch,
    /// The machine's: for receivers and sinks, which deal with what goes by it.
    Outside,
}

/// What every instance of a plugin is made from.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    plugin: Arc<str>,
    config: Arc<BTreeMap<String, String>>,
    grant: Grant,
    network: Arc<Vec<SocketAddr>>,
    http: Arc<[Destination]>,
    pub(crate) limit: Limit,
    log_rate: Arc<LogRate>,
}

impl Terms {
    /// Resolves the grants of `spec`, so that one that cannot be given is known before anything runs.
    pub(crate) async fn new(spec: &PluginSpec) -> Result<Self, PluginError> {
        let config = spec.config.iter().map(|(key, value)| (key.clone(), value.to_string()));
        let mut network = Vec::new();
        for address in &spec.grant.network {
            let resolved = lookup_host(address).await;
            network.extend(resolved.map_err(|error| PluginError::Grant {
                what: format!("network \"{address}\""),
                reason: error.to_string(),
            })?);
        }
        let terms = Self {
            plugin: spec.name.value.as_str().into(),
            config: Arc::new(config.collect()),
            grant: spec.grant.clone(),
            network: Arc::new(network),
            http: Destination::granted(spec)?,
            limit: spec.limit,
            log_rate: Arc::new(LogRate::new(spec.limit.log_bytes_per_second, spec.limit.log_bytes)),
        };
        terms.wasi(World::Batch, &terms.printed(), &BatchClock::default())?;
        Ok(terms)
    }

    pub(crate) fn guest(&self, world: World) -> Result<Guest, PluginError> {
        let (printed, clock) = (self.printed(), BatchClock::default());
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(HANDLES_MAX);
        Ok(Guest {
            plugin: Arc::clone(&self.plugin),
            config: Arc::clone(&self.config),
            wasi: self.wasi(world, &printed, &clock)?,
            http: Http::new(&self.http, &self.limit, &printed),
            resources,
            limiter: Limiter::new(&self.limit),
            printed,
            clock,
            additions: Additions::default(),
        })
    }

    fn printed(&self) -> Printed {
        Printed::new(self.limit.log_bytes, &self.log_rate)
    }

    fn wasi(&self, world: World, printed: &Printed, clock: &BatchClock) -> Result<WasiCtx, PluginError> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(printed.clone()).stderr(printed.clone()).max_random_size(RANDOM_BYTES_MAX);
        if world == World::Batch {
            wasi.wall_clock(clock.clone()).secure_random(clock.random());
            wasi.insecure_random(clock.random()).insecure_random_seed(0);
        }
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
        wasi.allow_tcp(true).allow_udp(false).allow_ip_name_lookup(false);
        let (granted, printed) = (Arc::clone(&self.network), printed.clone());
        wasi.socket_addr_check(move |address, usage| {
            let allowed = may_use(&granted, address, usage);
            if !allowed && matches!(usage, SocketAddrUse::TcpConnect) {
                let line = format!(
                    "Warn: a connection to {address} was denied; if it may be made, write grant = {{ network = [\"{address}\"] }}\n"
                );
                printed.push(line.as_bytes());
            }
            Box::pin(async move { allowed })
        });
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

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let Http { context, requests } = &mut self.http;
        WasiHttpCtxView { hooks: requests, table: &mut self.resources, ctx: context }
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

/// Offers HTTP and the interfaces `host` and `accumulators` to guests.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
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
    memory_bytes_max: u64,
    memory_bytes: u64,
    table_elements_max: u64,
    table_elements: u64,
    pub(crate) largest: Largest,
    pub(crate) broken: Option<String>,
}

impl Limiter {
    fn new(limit: &Limit) -> Self {
        Self {
            memory_bytes_max: limit.memory_bytes,
            memory_bytes: 0,
            table_elements_max: limit.table_elements,
            table_elements: 0,
            largest: Largest::default(),
            broken: None,
        }
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
        let bytes = self.memory_bytes.saturating_add((wanted - now) as u64);
        if bytes <= self.memory_bytes_max {
            self.memory_bytes = bytes;
            self.largest.see(usize::try_from(bytes).unwrap_or(usize::MAX));
            return Ok(true);
        }
        self.broken = Some(Limit::broken("needs more memory than", self.memory_bytes_max, "memory"));
        Err(wasmtime::Error::msg("out of memory"))
    }

    fn table_growing(&mut self, now: usize, wanted: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| wanted > maximum) {
            return Ok(false);
        }
        let elements = self.table_elements.saturating_add((wanted - now) as u64);
        if elements <= self.table_elements_max {
            self.table_elements = elements;
            return Ok(true);
        }
        let limit = self.table_elements_max;
        self.broken = Some(format!(
            "needs a table of more elements than its limit of {limit}; raise limit.table in the pipeline file"
        ));
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
