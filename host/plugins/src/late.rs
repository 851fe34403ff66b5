//! The terms of a plugin, which may be to be had only later.
//!
//! A batch is finished by the version of its pipeline that began it, and by then what that version was granted may be gone: a
//! folder was moved, a host has no address any more. Such a plugin is loaded all the same, for most of a version does its
//! work without it. It says of itself what it says without grants, and whoever calls it finds it unavailable, until everything
//! that it was granted is there again. It never runs with a part of its grants: what it would make of that is not what it
//! would have made of the batch.

use std::sync::OnceLock;

use millstream_model::pipeline::{Grant, PluginSpec};

use crate::guest::Terms;
use crate::{PluginError, Sandbox};

/// The terms of a plugin, once they were found.
pub(crate) struct LateTerms {
    spec: PluginSpec,
    found: OnceLock<Terms>,
}

impl LateTerms {
    /// Those that `spec` grants, and those on which the plugin describes itself.
    ///
    /// # Errors
    /// `Grant`, where a grant cannot be given and the sandbox does not wait for it.
    pub(crate) async fn new(sandbox: &Sandbox, spec: &PluginSpec) -> Result<(Self, Terms), PluginError> {
        let late = Self { spec: spec.clone(), found: OnceLock::new() };
        match late.find(sandbox).await {
            Ok(terms) => Ok((late, terms)),
            Err(PluginError::Grant { what, reason }) if sandbox.grants_late => {
                let plugin = &spec.name.value;
                tracing::warn!(
                    "granting {what} to plugin \"{plugin}\": {reason}; it is not available until that can be"
                );
                let without = Terms::new(&PluginSpec { grant: Grant::default(), ..spec.clone() }).await?;
                Ok((late, without))
            }
            Err(error) => Err(error),
        }
    }

    /// What instances are made from.
    ///
    /// # Errors
    /// `Grant`.
    pub(crate) async fn find(&self, sandbox: &Sandbox) -> Result<Terms, PluginError> {
        if let Some(terms) = self.found.get() {
            return Ok(terms.clone());
        }
        sandbox.compiler.check_grant(&self.spec.grant)?;
        let terms = Terms::new(&self.spec).await?;
        Ok(self.found.get_or_init(|| terms).clone())
    }
}
