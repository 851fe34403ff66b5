//! What a plugin reaches of the world outside: what is granted, within its limits, and nothing else.

mod environment;
mod files;
mod http;
mod limits;
mod log;
mod network;
mod server;

use std::time::Duration;

use millstream_model::pipeline::{Grant, Limit, PluginSpec};
use millstream_model::{Answer, FunctionError};
use millstream_plugins::{Plugin, Sandbox};

use crate::support::{context, index, lines, spec, texts};

/// Time that no call needs that does not wait, however busy the machine is, and that one that waits soon has spent.
const SHORT: Duration = Duration::from_secs(1);

/// The plugin that does what it is told.
struct Reach(Plugin);

impl Reach {
    async fn granted(grant: Grant) -> Self {
        Self::load(grant, Limit::default()).await
    }

    async fn load(grant: Grant, limit: Limit) -> Self {
        let spec = PluginSpec { grant, limit, ..spec("reach") };
        Self(Plugin::load(&Sandbox::new().unwrap(), &spec).await.unwrap())
    }

    async fn call(&self, what: &str) -> Result<String, FunctionError> {
        let function = self.0.function(index(&self.0, "reach"));
        let answered = function.call(context(), texts("value", &[what])).await?;
        let Answer::Rows(rows) = answered.answer else { panic!("{what}: {answered:?}") };
        Ok(lines(&rows).remove(0))
    }

    /// What came of it.
    async fn says(&self, what: &str) -> String {
        self.call(what).await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    async fn succeeds(&self, what: &str, found: &str) {
        let said = self.says(what).await;
        assert_eq!(said, format!("ok {found}").trim_end(), "{what}");
    }

    async fn fails(&self, what: &str, fragment: &str) {
        let said = self.says(what).await;
        assert!(said.starts_with("failed: ") && said.contains(fragment), "{what}: {said}");
    }

    /// The call ends with its instance, and the next one is well.
    async fn breaks(&self, what: &str, fragment: &str) {
        let error = self.call(what).await.expect_err(what);
        let FunctionError::Broken { function, reason } = &error else { panic!("{what}: {error:?}") };
        assert_eq!(function, "reach.reach");
        assert!(reason.contains(fragment), "{what}: {reason}");
        self.says("variables").await;
    }
}
