//! What other code would lose of the states that there are: refused before anything is changed, or dropped, where an operator
//! has allowed that.
//!
//! A drop is durable with the first batch of that code. The batches of the code before are ended until then: they read
//! and change what is dropped.

use std::fmt::Display;
use std::sync::Arc;

use millstream_state::{States, Tables};

use crate::EngineError;

/// Why `states` would lose what it may not drop.
pub(crate) fn refusal(states: &States, tables: &Tables) -> Option<String> {
    one_sentence(&states.losses(tables))
}

/// The refusal of a pipeline that is started; says also what an operator has allowed that makes no difference. That is no
/// mistake: it may have been dropped by an earlier start.
pub(crate) fn refuse(states: &States, tables: &Tables) -> Result<(), EngineError> {
    let undropped = states.undropped(tables);
    if let Some(refusal) = refusal(states, tables) {
        return Err(EngineError::Losses(
            one_sentence(&undropped).into_iter().fold(refusal, |refusal, hint| refusal + "; " + &hint),
        ));
    }
    undropped.iter().for_each(|hint| tracing::info!("{hint}"));
    Ok(())
}

/// Drops what may be dropped, and finds or makes the tables of `states`. Without effect where that was done.
pub(crate) fn take_hold(states: &States, tables: &Arc<Tables>) -> Result<(), EngineError> {
    states.drop_lost(tables);
    states.bind(tables).map_err(EngineError::State)
}

fn one_sentence(parts: &[impl Display]) -> Option<String> {
    (!parts.is_empty()).then(|| parts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
