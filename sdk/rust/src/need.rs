//! What a plugin cannot do without, as `export!` says it.

/// What the pipeline file can grant to a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantKind {
    /// TCP connections.
    Network,
    /// HTTP requests.
    Http,
    /// Files to read.
    Read,
    /// Files to write.
    Write,
    /// Environment variables.
    Environment,
}

impl GrantKind {
    /// The key of the pipeline file that grants it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Http => "http",
            Self::Read => "read",
            Self::Write => "write",
            Self::Environment => "environment",
        }
    }
}

/// Something that the plugin cannot do without. A pipeline that does not grant it is refused before it runs; see
/// [`export!`](crate::export).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// What has to be granted.
    pub grant: GrantKind,
    /// The variable's name; for other kinds what it is for, in words for people.
    pub what: &'static str,
}

impl Need {
    /// TCP connections to something.
    #[must_use]
    pub const fn network(what: &'static str) -> Self {
        Self { grant: GrantKind::Network, what }
    }

    /// HTTP requests to something.
    #[must_use]
    pub const fn http(what: &'static str) -> Self {
        Self { grant: GrantKind::Http, what }
    }

    /// Files to read.
    #[must_use]
    pub const fn read(what: &'static str) -> Self {
        Self { grant: GrantKind::Read, what }
    }

    /// Files to write.
    #[must_use]
    pub const fn write(what: &'static str) -> Self {
        Self { grant: GrantKind::Write, what }
    }

    /// The environment variable of a name.
    #[must_use]
    pub const fn environment(name: &'static str) -> Self {
        Self { grant: GrantKind::Environment, what: name }
    }
}
