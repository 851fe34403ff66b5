//! A table as it was when it was forked, while batches go on changing it.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::before::{Allowance, Before};
use super::{Keyed, SHARDS};
use crate::StateError;
use crate::cold::{ColdFile, Spool, Spooling};

/// A fork of a table, whose shards are copied one by one.
#[derive(Debug)]
pub(crate) struct KeyedFork {
    keyed: Arc<Keyed>,
    allowance: Arc<Allowance>,
    /// What batches have changed of the shards that are not copied yet.
    shards: Vec<Arc<Before>>,
}

/// A table as it was, out of the way of batches. Its shards are in the order of times.
#[derive(Debug)]
pub(crate) struct KeyedCopy {
    pub(crate) keyed: Arc<Keyed>,
    pub(crate) shards: Vec<Spool>,
}

impl KeyedFork {
    /// Of the table as it is, if no batch is applied meanwhile.
    pub(crate) fn new(keyed: &Arc<Keyed>, allowance: &Arc<Allowance>) -> Self {
        let fork = |shard: usize| {
            let before = Before::new(allowance);
            keyed.write(shard).watch(&before);
            before
        };
        Self {
            keyed: Arc::clone(keyed),
            allowance: Arc::clone(allowance),
            shards: (0..SHARDS).map(fork).collect(),
        }
    }

    /// Copies all shards into a file. Other tasks may go on after each.
    pub(crate) async fn copy(mut self, file: &Arc<ColdFile>) -> Result<KeyedCopy, StateError> {
        let mut shards = Vec::with_capacity(SHARDS);
        for (shard, before) in std::mem::take(&mut self.shards).into_iter().enumerate() {
            shards.push(crate::store::blocking(true, || self.copy_shard(shard, before, file))?);
            tokio::task::yield_now().await;
        }
        Ok(KeyedCopy { keyed: self.keyed, shards })
    }

    /// A batch waits for its shard only until what is in memory is copied there.
    fn copy_shard(
        &self,
        shard: usize,
        before: Arc<Before>,
        file: &Arc<ColdFile>,
    ) -> Result<Spool, StateError> {
        let (copy, notes) = {
            let tier = self.keyed.read(shard);
            (tier.copy(), before.take())
        };
        drop(before);
        self.allowance.check()?;
        let mut spool = Spooling::new(file);
        let mut noted = notes.known().peekable();
        let mut failure = None;
        let visited = copy.visit(|known| {
            let mut push = || -> Result<(), StateError> {
                while let Some(older) = noted.next_if(|noted| noted.time <= known.time) {
                    spool.push(&older)?;
                }
                if notes.has(known.key) { Ok(()) } else { spool.push(known) }
            };
            match push() {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if visited.is_break() {
            return Err(failure.expect("it breaks off where it fails"));
        }
        noted.try_for_each(|known| spool.push(&known))?;
        spool.finish()
    }
}
