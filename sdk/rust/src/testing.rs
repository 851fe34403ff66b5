//! The host's part in an ordinary `cargo test`: what each thread's test configures, and what its plugin logged
//! and counted.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::accumulators;
use crate::host::Level;

#[derive(Default)]
struct World {
    config: BTreeMap<String, String>,
    log: Vec<(Level, String)>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

/// Sets a key of the plugin's configuration to a value in JSON, for this thread.
pub fn set_config(key: &str, json: &str) {
    WORLD.with_borrow_mut(|world| world.config.insert(key.to_owned(), json.to_owned()));
}

/// Takes the lines that this thread logged since the last call.
#[must_use]
pub fn logged() -> Vec<(Level, String)> {
    WORLD.with_borrow_mut(|world| std::mem::take(&mut world.log))
}

/// Takes what this thread added to an accumulator since the last call; 0 where nothing was.
#[must_use]
pub fn added(accumulator: &str) -> i64 {
    accumulators::take_sum(accumulator)
}

pub(crate) fn log(level: Level, message: &str) {
    WORLD.with_borrow_mut(|world| world.log.push((level, message.to_owned())));
}

pub(crate) fn config(key: &str) -> Option<String> {
    WORLD.with_borrow(|world| world.config.get(key).cloned())
}
