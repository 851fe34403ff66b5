//! What is on the disk: files and folders, each with what is safe and what is not yet.
//!
//! Nothing here waits or knows of processes. A file keeps its number when its name changes or goes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Component, Path};

use bytes::Bytes;

pub(super) type NodeId = u64;

const ROOT: NodeId = 0;

#[derive(Clone)]
pub(super) struct Nodes {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    next: NodeId,
}

#[derive(Clone)]
pub(super) enum Node {
    File(File),
    Folder(Folder),
}

/// All bytes of a file. Those that are not safe stand behind those that are, as files only grow at their end, and
/// cutting one makes all of it safe.
#[derive(Clone, Default)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    /// How many are safe.
    pub(super) synced: usize,
}

/// The names in a folder.
#[derive(Clone, Default)]
pub(super) struct Folder {
    pub(super) names: BTreeMap<String, NodeId>,
    /// The names that are safe.
    pub(super) synced: BTreeMap<String, NodeId>,
    /// What makes `names` of `synced`, in order.
    pub(super) unsynced: Vec<Change>,
}

#[derive(Clone)]
pub(super) enum Change {
    Add { name: String, node: NodeId },
    Remove { name: String },
    Rename { from: String, to: String },
}

impl File {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn append(&mut self, buffers: &[Bytes]) {
        buffers.iter().for_each(|buffer| self.bytes.extend_from_slice(buffer));
    }

    pub(super) fn sync(&mut self) {
        self.synced = self.bytes.len();
    }

    pub(super) fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(length)?));
        let bytes = range.and_then(|range| self.bytes.get(range)).ok_or(ErrorKind::UnexpectedEof)?;
        Ok(Bytes::copy_from_slice(bytes))
    }

    pub(super) fn truncate(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.bytes.len());
        self.bytes.truncate(length.ok_or(ErrorKind::InvalidInput)?);
        self.sync();
        Ok(())
    }

    pub(super) fn flip_bit(&mut self, bit: u64) -> io::Result<()> {
        let place = usize::try_from(bit / 8).ok();
        let byte = place.and_then(|place| self.bytes.get_mut(place)).ok_or(ErrorKind::UnexpectedEof)?;
        *byte ^= 1 << (bit % 8);
        Ok(())
    }
}

impl Folder {
    fn change(&mut self, change: Change) {
        change.clone().apply(&mut self.names);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        self.unsynced.drain(..).for_each(|change| change.apply(&mut self.synced));
    }

    /// Everything that has a name here, had one that is safe, or will have one if only some changes get safe.
    fn all(&self) -> impl Iterator<Item = NodeId> {
        let added = self.unsynced.iter().filter_map(|change| match change {
            Change::Add { node, .. } => Some(*node),
            Change::Remove { .. } | Change::Rename { .. } => None,
        });
        self.names.values().chain(self.synced.values()).copied().chain(added)
    }
}

impl Change {
    pub(super) fn apply(self, names: &mut BTreeMap<String, NodeId>) {
        match self {
            Self::Add { name, node } => {
                names.insert(name, node);
            }
            Self::Remove { name } => {
                names.remove(&name);
            }
            Self::Rename { from, to } => {
                let node = names.remove(&from).expect("a change follows all those before it");
                names.insert(to, node);
            }
        }
    }
}

impl Nodes {
    pub(super) fn new() -> Self {
        Self { nodes: BTreeMap::from([(ROOT, Node::Folder(Folder::default()))]), next: ROOT + 1 }
    }

    pub(super) fn file(&mut self, file: NodeId) -> io::Result<&mut File> {
        match self.nodes.get_mut(&file) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Folder(_)) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.find(path)?;
        match self.nodes[&node] {
            Node::File(_) => Ok(node),
            Node::Folder(_) => Err(ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<NodeId> {
        let (folder, name) = self.place(path)?;
        if self.folder(folder)?.names.contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.add(folder, name, Node::File(File::default()))
    }

    pub(super) fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        let mut folder = ROOT;
        for name in parts(path)? {
            folder = match self.folder(folder)?.names.get(name) {
                Some(node) => *node,
                None => self.add(folder, name.to_owned(), Node::Folder(Folder::default()))?,
            };
        }
        match self.nodes[&folder] {
            Node::Folder(_) => Ok(()),
            Node::File(_) => Err(ErrorKind::AlreadyExists.into()),
        }
    }

    pub(super) fn list(&mut self, path: &Path) -> io::Result<Vec<String>> {
        let folder = self.find(path)?;
        Ok(self.folder(folder)?.names.keys().cloned().collect())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        if let Node::Folder(folder) = &self.nodes[&self.find(path)?]
            && !folder.names.is_empty()
        {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let (folder, name) = self.place(path)?;
        self.folder(folder)?.change(Change::Remove { name });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let (from_folder, from_name) = self.place(from)?;
        let (to_folder, to_name) = self.place(to)?;
        if parts(to)?.len() > parts(from)?.len() && parts(to)?.starts_with(&parts(from)?) {
            return Err(ErrorKind::InvalidInput.into());
        }
        if let Some(replaced) = self.folder(to_folder)?.names.get(&to_name).copied() {
            if replaced == node {
                return Ok(());
            }
            self.check_replaceable(replaced, node)?;
        }
        if from_folder == to_folder {
            self.folder(from_folder)?.change(Change::Rename { from: from_name, to: to_name });
        } else {
            self.folder(to_folder)?.change(Change::Add { name: to_name, node });
            self.folder(from_folder)?.change(Change::Remove { name: from_name });
        }
        Ok(())
    }

    pub(super) fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        let folder = self.find(path)?;
        self.folder(folder)?.sync();
        Ok(())
    }

    /// Lets go of what cannot get a name again, whatever gets safe.
    pub(super) fn forget_nameless(&mut self) {
        let mut named = BTreeSet::from([ROOT]);
        let mut unseen = vec![ROOT];
        while let Some(node) = unseen.pop() {
            if let Node::Folder(folder) = &self.nodes[&node] {
                unseen.extend(folder.all().filter(|node| named.insert(*node)));
            }
        }
        self.nodes.retain(|node, _| named.contains(node));
    }

    /// A folder takes the place of an empty folder alone, and a file that of a file.
    fn check_replaceable(&self, replaced: NodeId, by: NodeId) -> io::Result<()> {
        match (&self.nodes[&by], &self.nodes[&replaced]) {
            (Node::File(_), Node::File(_)) => Ok(()),
            (Node::File(_), Node::Folder(_)) => Err(ErrorKind::IsADirectory.into()),
            (Node::Folder(_), Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            (Node::Folder(_), Node::Folder(folder)) if folder.names.is_empty() => Ok(()),
            (Node::Folder(_), Node::Folder(_)) => Err(ErrorKind::DirectoryNotEmpty.into()),
        }
    }

    fn add(&mut self, folder: NodeId, name: String, node: Node) -> io::Result<NodeId> {
        let id = self.next;
        self.folder(folder)?.change(Change::Add { name, node: id });
        self.nodes.insert(id, node);
        self.next += 1;
        Ok(id)
    }

    fn folder(&mut self, folder: NodeId) -> io::Result<&mut Folder> {
        match self.nodes.get_mut(&folder) {
            Some(Node::Folder(folder)) => Ok(folder),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<NodeId> {
        self.walk(&parts(path)?)
    }

    /// The folder that a path lies in, and its name there.
    fn place(&self, path: &Path) -> io::Result<(NodeId, String)> {
        let parts = parts(path)?;
        let (name, folders) = parts.split_last().ok_or(ErrorKind::InvalidInput)?;
        Ok((self.walk(folders)?, (*name).to_owned()))
    }

    fn walk(&self, parts: &[&str]) -> io::Result<NodeId> {
        parts.iter().try_fold(ROOT, |node, name| match &self.nodes[&node] {
            Node::Folder(folder) => folder.names.get(*name).copied().ok_or(ErrorKind::NotFound.into()),
            Node::File(_) => Err(ErrorKind::NotADirectory.into()),
        })
    }
}

/// The names on a path.
fn parts(path: &Path) -> io::Result<Vec<&str>> {
    let names = path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
    let parts = names.map(|part| match part {
        Component::Normal(name) => name.to_str().ok_or(ErrorKind::InvalidInput.into()),
        _ => Err(ErrorKind::InvalidInput.into()),
    });
    parts.collect()
}
