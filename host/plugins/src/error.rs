use std::path::PathBuf;

use thiserror::Error;

/// Why a component is refused.
#[derive(Debug, Error)]
pub enum PluginError {
    /// The file cannot be read.
    #[error("reading {}: {source}", path.display())]
    Read {
        /// The component's file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Larger than any component is taken.
    #[error("{} is larger than {} MiB, the most that a component may be", path.display(), Self::COMPONENT_BYTES_MAX >> 20)]
    TooLarge {
        /// The component's file.
        path: PathBuf,
    },
    /// Not a component of the contract.
    #[error("{}: {reason}", path.display())]
    Refused {
        /// The component's file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// A grant that cannot be given.
    #[error("granting {what}: {reason}")]
    Grant {
        /// What is granted.
        what: String,
        /// Why it cannot be.
        reason: String,
    },
    /// The sandbox itself cannot be set up on this machine.
    #[error("starting the sandbox: {0}")]
    Sandbox(String),
}

impl PluginError {
    /// The largest component file that is loaded.
    pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;
}
