use std::time::Duration;

use millstream_model::pipeline::OnError;

/// Who calls a function, and what is to happen to rows that it fails on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The stream.
    pub stream: String,
    /// What it calls: `plugin.function`.
    pub function: String,
    /// The SHA-256 of the plugin's component, in hexadecimal.
    pub digest: String,
    /// What happens to rows that the function fails on.
    pub on_error: OnError,
    /// How long a call of the function may take. What its failing calls may take together is never less than some calls of
    /// that length.
    pub call_time_max: Duration,
}

impl Default for Caller {
    /// Nobody in particular, whose batch fails where the function does.
    fn default() -> Self {
        let none = String::new;
        let (on_error, call_time_max) = (OnError::Stop, Duration::ZERO);
        Self { stream: none(), function: none(), digest: none(), on_error, call_time_max }
    }
}
