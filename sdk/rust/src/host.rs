//! What the host offers to a plugin: its log and the plugin's configuration.
//!
//! In a component these call the host. In an ordinary test they read and write what [`testing`](crate::testing) holds.

use crate::error::Error;
use crate::setting::Setting;

#[cfg(not(target_family = "wasm"))]
use crate::testing as world;
#[cfg(target_family = "wasm")]
use crate::wasm as world;

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author.
    Debug,
    /// For the record.
    Info,
    /// Something is off and was worked around.
    Warn,
    /// Something failed.
    Error,
}

/// Writes a line to the host's log, under the plugin's name. The host caps how much it keeps.
pub fn log(level: Level, message: &str) {
    world::log(level, message);
}

/// The value of a key of the plugin's `config` in the pipeline file.
#[must_use]
pub fn config(key: &str) -> Option<Setting> {
    world::config(key).map(|json| Setting::new(key, json))
}

/// The value of a key that the plugin cannot do without.
///
/// # Errors
/// If the key is missing; the message says how to set it.
pub fn required_config(key: &str) -> Result<Setting, Error> {
    config(key).ok_or_else(|| Error::MissingSetting { key: key.to_owned() })
}
