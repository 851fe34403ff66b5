//! What a guest adds to accumulators during a call: checked, bounded, and handed over only when the call has succeeded.

use std::collections::BTreeMap;

use millstream_model::Accumulated;

/// Accumulators that one call may add to.
pub(crate) const NAMES_MAX: usize = 1_000;
/// How the names end of what the host counts.
const SKIPPED: &str = ".skipped";
/// Bytes of an accumulator's name.
pub(crate) const NAME_BYTES_MAX: usize = 64;

/// The sums of the call that an instance is in; none outside a call, where there is no batch to count for.
#[derive(Debug, Default)]
pub(crate) struct Additions(Option<BTreeMap<String, i64>>);

impl Additions {
    /// Begins a call, without what an earlier one left.
    pub(crate) fn begin(&mut self) {
        self.0 = Some(BTreeMap::new());
    }

    /// Adds to an accumulator, or says why the guest has to be stopped.
    pub(crate) fn add(&mut self, name: String, amount: i64) -> Result<(), String> {
        let Some(sums) = &mut self.0 else { return Ok(()) };
        if let Some(sum) = sums.get_mut(&name) {
            let before = *sum;
            *sum = before.checked_add(amount).ok_or_else(|| {
                format!("adding {amount} to {before} in the accumulator \"{name}\" goes beyond 64 bits")
            })?;
            return Ok(());
        }
        check_name(&name)?;
        if sums.len() == NAMES_MAX {
            return Err(format!("a call adds to more than {NAMES_MAX} accumulators; name fewer"));
        }
        sums.insert(name, amount);
        Ok(())
    }

    /// Ends the call, and gives what it added under the names that the pipeline uses.
    pub(crate) fn end(&mut self, plugin: &str) -> Accumulated {
        let sums = self.0.take().unwrap_or_default();
        sums.into_iter().map(|(name, sum)| (format!("{plugin}.{name}"), sum)).collect()
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if name.len() > NAME_BYTES_MAX {
        return Err(format!(
            "an accumulator has a name of {} bytes; {NAME_BYTES_MAX} are the most",
            name.len()
        ));
    }
    if name.ends_with(SKIPPED) {
        return Err(format!(
            "an accumulator has the name {name:?}; what ends with \"{SKIPPED}\" is the host's"
        ));
    }
    let may_stand = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    match !name.is_empty() && name.bytes().all(may_stand) {
        true => Ok(()),
        false => Err(format!(
            "an accumulator has the name {name:?}; letters, digits, \"-\", \"_\" and \".\" make a name"
        )),
    }
}
