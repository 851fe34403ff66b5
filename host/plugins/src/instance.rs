//! One running instance of a component, and the calls into it.

use std::time::Duration;

use millstream_model::pipeline::Limit;
use millstream_model::{Accumulated, CallContext, format_size};
use tokio::time::timeout;
use wasmtime::component::{
    ComponentExportIndex, ComponentNamedList, ComponentType, Instance as Raw, InstancePre, Lift, Lower,
    ResourceTableError,
};
use wasmtime::{Engine, Store, Trap};
use wasmtime_wasi_http::FieldMapError;

use crate::contract::{CallError, Plugin};
use crate::guest::{Guest, HANDLES_MAX, RANDOM_BYTES_MAX, Terms, World};
use crate::http::HEADER_BYTES_MAX;
use crate::meter::Largest;
use crate::outside::within;

/// An instance that is well: the calls that find otherwise consume it.
pub(crate) struct Instance {
    store: Store<Guest>,
    raw: Raw,
}

impl Instance {
    pub(crate) async fn new(
        engine: &Engine,
        component: &InstancePre<Guest>,
        terms: &Terms,
        world: World,
        time: Duration,
    ) -> Result<Self, String> {
        let guest = terms.guest(world).map_err(|error| error.to_string())?;
        let mut store = Store::new(engine, guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(usize::try_from(terms.limit.answer_bytes).unwrap_or(usize::MAX));
        // Before anything of the guest runs: without a deadline its first check would trap.
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let started = within(timeout(time, component.instantiate_async(&mut store))).await?;
        match started {
            Ok(Ok(raw)) => Ok(Self { store, raw }),
            Ok(Err(error)) => Err(format!("failed to start: {}", explain(&mut store, &error))),
            Err(_) => Err(format!("failed to start within its limit of {time:?}")),
        }
    }

    /// The largest memory that it had.
    pub(crate) fn memory(&self) -> &Largest {
        &self.store.data().limiter.largest
    }

    pub(crate) async fn describe(
        self,
        describe: &ComponentExportIndex,
        time: Duration,
    ) -> Result<Plugin, String> {
        let (_, (plugin,)) = self.call::<_, (Plugin,)>(describe, (), time).await?;
        Ok(plugin)
    }

    /// Calls a function of a plugin on rows. Gives the instance back with the answer; a call that trapped or ran out of
    /// time leaves none.
    pub(crate) async fn answer<In, Out>(
        mut self,
        export: &ComponentExportIndex,
        context: CallContext,
        input: In,
        time: Duration,
    ) -> Result<(Self, Result<Out, CallError>), String>
    where
        In: ComponentNamedList + Lower + Send + Sync,
        Out: ComponentType + Lift + Send + Sync + 'static,
    {
        self.store.data_mut().enter(context);
        let (instance, (answer,)) = self.call(export, input, time).await?;
        Ok((instance, answer))
    }

    /// What the last call added to accumulators; asked for once its answer is believed.
    pub(crate) fn take_added(&mut self) -> Accumulated {
        self.store.data_mut().leave()
    }

    /// Calls a function of any shape. Gives the instance back with the answer; a call that trapped or ran out of time
    /// leaves none.
    pub(crate) async fn call<In, Out>(
        mut self,
        export: &ComponentExportIndex,
        input: In,
        time: Duration,
    ) -> Result<(Self, Out), String>
    where
        In: ComponentNamedList + Lower + Send + Sync,
        Out: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let function = self.raw.get_typed_func::<In, Out>(&mut self.store, export);
        let function = function.map_err(|error| format!("is not of the contract: {error:#}"))?;
        self.store.data_mut().http.requests.begin(time);
        let answered = within(timeout(time, function.call_async(&mut self.store, input))).await?;
        let result = match answered {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(explain(&mut self.store, &error)),
            Err(_) => Err(format!(
                "ran longer than its limit of {time:?}; raise limit.time in the pipeline file, or do less in a call"
            )),
        };
        self.store.data().printed.write_to_log(self.store.data().plugin());
        Ok((self, result?))
    }
}

/// Why a guest stopped, in the words of whoever has to mend it.
fn explain(store: &mut Store<Guest>, error: &wasmtime::Error) -> String {
    if let Some(broken) = store.data_mut().limiter.broken.take() {
        return broken;
    }
    let printed = store.data().printed.clone();
    let panic = printed
        .take_lines()
        .into_iter()
        .filter(|line| !line.starts_with("note: run with"))
        .collect::<Vec<_>>();
    let said = if panic.is_empty() { String::new() } else { format!(" ({})", panic.join(" ")) };
    if let Some(broken) = broken_limit(store, error) {
        return broken;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => format!("trapped: the stack overflowed its limit{said}"),
        Some(Trap::UnreachableCodeReached) => format!("trapped: unreachable code, as after a panic{said}"),
        Some(trap) => format!("trapped: {trap}{said}"),
        None => format!("failed: {}{said}", error.root_cause()),
    }
}

/// The limit that the host's side of a call found broken.
fn broken_limit(store: &Store<Guest>, error: &wasmtime::Error) -> Option<String> {
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return Some(format!("holds more than {HANDLES_MAX} handles at once: open files, sockets, requests"));
    }
    if let Some(FieldMapError::TooManyFields | FieldMapError::TotalSizeTooBig) = error.downcast_ref() {
        let limit = format_size(HEADER_BYTES_MAX as u64);
        return Some(format!("makes HTTP headers of more than {limit}, with what it takes to hold them"));
    }
    // The engine tells these by their words alone.
    let cause = error.root_cause().to_string();
    if cause.starts_with("requested len") {
        return Some(format!("asks for more random bytes at once than {}", format_size(RANDOM_BYTES_MAX)));
    }
    let is_answer = cause.contains("fuel allocated for hostcalls");
    is_answer.then(|| Limit::broken("hands over more than", store.hostcall_fuel() as u64, "answer"))
}
