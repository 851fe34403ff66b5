use std::fmt::Display;
use std::io;
use std::path::Path;

/// What a disk can be asked to do, one for each method of [`Disk`](super::Disk) and [`Append`](super::Append).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// [`Disk::create`](super::Disk::create)
    Create,
    /// [`Disk::append`](super::Disk::append)
    Open,
    /// [`Disk::read`](super::Disk::read)
    Read,
    /// [`Disk::read_at`](super::Disk::read_at)
    ReadAt,
    /// [`Disk::length`](super::Disk::length)
    Length,
    /// [`Disk::truncate`](super::Disk::truncate)
    Truncate,
    /// [`Disk::list`](super::Disk::list)
    List,
    /// [`Disk::create_folder`](super::Disk::create_folder)
    CreateFolder,
    /// [`Disk::rename`](super::Disk::rename)
    Rename,
    /// [`Disk::remove`](super::Disk::remove)
    Remove,
    /// [`Disk::sync_folder`](super::Disk::sync_folder)
    SyncFolder,
    /// [`Append::append`](super::Append::append)
    Append,
    /// [`Append::sync`](super::Append::sync)
    Sync,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Create,
        Self::Open,
        Self::Read,
        Self::ReadAt,
        Self::Length,
        Self::Truncate,
        Self::List,
        Self::CreateFolder,
        Self::Rename,
        Self::Remove,
        Self::SyncFolder,
        Self::Append,
        Self::Sync,
    ];

    /// The error with what was being done in front.
    pub(super) fn explain(self, path: &Path, error: io::Error) -> io::Error {
        self.explain_at(path.display(), error)
    }

    /// The same for a rename.
    pub(super) fn explain_rename(from: &Path, to: &Path, error: io::Error) -> io::Error {
        Self::Rename.explain_at(format_args!("{} to {}", from.display(), to.display()), error)
    }

    fn explain_at(self, place: impl Display, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{} {place}: {error}", self.doing()))
    }

    fn doing(self) -> &'static str {
        match self {
            Self::Create => "creating",
            Self::Open => "opening",
            Self::Read | Self::ReadAt => "reading",
            Self::Length => "measuring",
            Self::Truncate => "truncating",
            Self::List => "listing",
            Self::CreateFolder => "creating folder",
            Self::Rename => "renaming",
            Self::Remove => "removing",
            Self::SyncFolder => "syncing folder",
            Self::Append => "appending to",
            Self::Sync => "syncing",
        }
    }
}
