//! The host's part in an ordinary `cargo test`: what each thread's test configures and answers, and what its plugin logged
//! and counted.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::accumulators;
use crate::host::Level;
use crate::http::{Request, Response};
use crate::outside::Fault;

/// What stands for the services that a plugin calls.
type Service = Box<dyn Fn(&Request) -> Result<Response, Fault>>;

#[derive(Default)]
struct World {
    service: Option<Service>,
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

/// Answers the HTTP requests of this thread from now on.
pub fn answer_http(service: impl Fn(&Request) -> Result<Response, Fault> + 'static) {
    WORLD.with_borrow_mut(|world| world.service = Some(Box::new(service)));
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

pub(crate) fn send(request: &Request) -> Result<Response, Fault> {
    let unanswered =
        || Fault::unavailable("nothing is sent in a test; answer requests by `testing::answer_http`");
    WORLD.with_borrow(|world| {
        world.service.as_ref().map_or_else(|| Err(unanswered()), |service| service(request))
    })
}
