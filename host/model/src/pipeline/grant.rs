//! What a plugin may touch and what it may use.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::format_size;

/// What can be granted to a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantKind {
    /// Addresses to connect to.
    Network,
    /// Folders to read.
    Read,
    /// Folders to read and write.
    Write,
    /// Environment variables.
    Environment,
    /// Hosts to send HTTP requests to.
    Http,
}

impl GrantKind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Network, Self::Http, Self::Read, Self::Write, Self::Environment];

    /// The key that pipeline files use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Read => "read",
            Self::Write => "write",
            Self::Environment => "environment",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for GrantKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a plugin may touch; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Addresses it may connect to, as `host:port`.
    pub network: Vec<String>,
    /// Hosts it may send HTTP requests to, as `host`, for the ports 80 and 443, or `host:port`.
    pub http: Vec<String>,
    /// Folders it may read.
    pub read: Vec<PathBuf>,
    /// Folders it may read and write.
    pub write: Vec<PathBuf>,
    /// Environment variables it may see.
    pub environment: Vec<String>,
}

impl Grant {
    /// What is granted of a kind, as text.
    pub fn values(&self, kind: GrantKind) -> Vec<String> {
        let paths =
            |paths: &[PathBuf]| paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        match kind {
            GrantKind::Network => self.network.clone(),
            GrantKind::Http => self.http.clone(),
            GrantKind::Read => paths(&self.read),
            GrantKind::Write => paths(&self.write),
            GrantKind::Environment => self.environment.clone(),
        }
    }
}

/// What a plugin may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Linear memory of an instance.
    pub memory_bytes: u64,
    /// One call, and starting an instance.
    pub time: Duration,
    /// Elements of a table of functions, in an instance.
    pub table_elements: u64,
    /// What one call may hand over to the host, its answer above all.
    pub answer_bytes: u64,
    /// What is kept of what one call prints and logs.
    pub log_bytes: u64,
    /// What all calls together may write to the host's log, in a second.
    pub log_bytes_per_second: u64,
    /// The body of an HTTP request, and that of its response.
    pub http_body_bytes: u64,
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            time: Duration::from_secs(10),
            table_elements: 100_000,
            answer_bytes: 128 << 20,
            log_bytes: 16 << 10,
            log_bytes_per_second: 64 << 10,
            http_body_bytes: 16 << 20,
        }
    }
}

impl Limit {
    /// What a guest that breaks a limit of bytes is told, and its author: `what` it did, the limit, and its key.
    pub fn broken(what: &str, bytes: u64, key: &str) -> String {
        format!("{what} its limit of {}; raise limit.{key} in the pipeline file", format_size(bytes))
    }
}
