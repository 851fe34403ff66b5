//! Compiled code that is kept, a file a component.
//!
//! ```text
//! FOLDER/SHA-256.code                 by the SHA-256 of the component
//!   8 bytes    "millcode"
//!   32 bytes   fingerprint: the engine that made the code, its settings, and the program's version
//!   32 bytes   keyed BLAKE3 of the fingerprint, the component's SHA-256 and the code
//!   the rest   the code
//! ```
//! **What is in a file is run as machine code, so only what this host has written is taken.** Who owns a file and who may
//! write to it does not show that: a plugin with a grant to write in the folder makes files as this very user, a folder that
//! was copied from elsewhere was written by another host, and where several write to a folder nobody knows who did. So
//! each file is authenticated with a key that is not in the folder: 32 random bytes, made at the first use, in a file
//! that only this user can read, and a grant that reaches it is refused. A file is read once, into memory that is sealed, and
//! what was authenticated is what is loaded: to change the file meanwhile changes nothing.
//!
//! Whatever does not fit — damaged, torn, renamed, by another key, engine or program, or open to others — is not used, and
//! written anew. So nothing here is synced, and nothing is lost with the folder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::Sum;
use super::sealed::Sealed;
use crate::hex::hex;

const MAGIC: &[u8; 8] = b"millcode";
const HEAD_BYTES: usize = MAGIC.len() + 2 * size_of::<Sum>();
/// Longer files are not read.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// How the names of files end, and of those that are being written.
const ENDING: &str = ".code";
const STAGED: &str = ".new";
/// What others may do with a file that is taken: read it, or nothing at all.
const WRITE_BY_OTHERS: u32 = 0o022;
const ANYTHING_BY_OTHERS: u32 = 0o077;

/// Compiled code in a folder. Clones share what waits to be written.
#[derive(Clone)]
pub struct Cache {
    folder: PathBuf,
    key_file: PathBuf,
    waiting: Arc<Mutex<Vec<Waiting>>>,
}

/// Code that is kept as soon as there is a place for it.
struct Waiting {
    made_by: Sum,
    component: Sum,
    code: Vec<u8>,
}

impl Cache {
    /// Code in `folder`, authenticated by the key in `key_file`. Both are made when they are needed, but what `folder` is in
    /// is not: until that is there, code waits for [`Cache::settle`]. The key is not to be in the folder.
    pub fn new(folder: PathBuf, key_file: PathBuf) -> Self {
        Self { folder, key_file, waiting: Arc::default() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// The code of a component by the engine `made_by`; none if it is not there. An error says why what is there is not used.
    pub(super) fn get(&self, made_by: &Sum, component: &Sum) -> Result<Option<Sealed>, String> {
        let path = self.path(component);
        match open_own(&path, WRITE_BY_OTHERS, FILE_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.and_then(|file| self.authentic(file, made_by, component)).map(Some),
        }
        .map_err(|error| format!("{} is not used: it {error}", path.display()))
    }

    /// The code in a file, if this host has written it. The error says what the file is.
    fn authentic(&self, mut file: impl Read, made_by: &Sum, component: &Sum) -> io::Result<Sealed> {
        let mut head = [0; HEAD_BYTES];
        let is_whole = file.read_exact(&mut head).is_ok();
        if !is_whole || !head.starts_with(MAGIC) {
            return Err(io::Error::other("is no compiled code, or a part of it"));
        }
        let (by, authentication) = head[MAGIC.len()..].split_at(size_of::<Sum>());
        if by != made_by {
            return Err(io::Error::other("was made by another version of this program or its engine"));
        }
        let key = self.key();
        let key = key.map_err(|error| io::Error::other(format!("cannot be authenticated: {error}")))?;
        let mut seen = authentication_of(&key, made_by, component);
        let code = Sealed::copy(file, |bytes| {
            seen.update(bytes);
        })?;
        // Hashes are compared in the same time wherever they differ.
        match seen.finalize() == *authentication {
            true => Ok(code),
            false => Err(io::Error::other("is not as this host has written it")),
        }
    }

    /// Keeps the code of a component in place of what there was.
    pub(super) fn put(&self, made_by: &Sum, component: &Sum, code: &[u8]) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let waiting = Waiting { made_by: *made_by, component: *component, code: code.to_vec() };
                self.waiting().push(waiting);
                return Ok(());
            }
            made => made?,
        }
        let authentication = authentication_of(&self.key()?, made_by, component).update(code).finalize();
        let path = self.path(component);
        write_aside(&path, &[MAGIC, made_by, authentication.as_bytes(), code], |aside| {
            fs::rename(aside, &path)
        })
    }

    /// Writes what waits, now that there is a place for it.
    ///
    /// # Errors
    /// Something cannot be written; it will be compiled again.
    pub fn settle(&self) -> io::Result<()> {
        let waiting = std::mem::take(&mut *self.waiting());
        waiting.iter().try_for_each(|waiting| self.put(&waiting.made_by, &waiting.component, &waiting.code))
    }

    /// Removes the code of components that are not among `needed`, their SHA-256 in hexadecimal, and what was left half
    /// written. What is not the cache's is left alone.
    ///
    /// # Errors
    /// The folder cannot be read, or a file not be removed.
    pub fn prune(&self, needed: impl Fn(&str) -> bool) -> io::Result<()> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some((component, ending)) = name.to_str().and_then(|name| name.split_at_checked(64)) else {
                continue;
            };
            let is_hex = component.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_left = ending.starts_with(ENDING) && ending.ends_with(STAGED);
            let is_unneeded = ending == ENDING && !needed(component);
            if is_hex && (is_left || is_unneeded) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, component: &Sum) -> PathBuf {
        self.folder.join(hex(component) + ENDING)
    }

    /// The key; made if there is none.
    fn key(&self) -> io::Result<Sum> {
        match self.read_key() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_key()?,
            read => return read,
        }
        self.read_key()
    }

    fn read_key(&self) -> io::Result<Sum> {
        let name = |error: io::Error| {
            io::Error::new(error.kind(), format!("the key {} {error}", self.key_file.display()))
        };
        let mut file = open_own(&self.key_file, ANYTHING_BY_OTHERS, size_of::<Sum>() as u64).map_err(name)?;
        let mut key = Sum::default();
        let read = file.read_exact(&mut key);
        read.map_err(|_| name(io::Error::other("is too short; remove it, and one is made")))?;
        Ok(key)
    }

    /// Makes a key, unless another process was faster.
    fn make_key(&self) -> io::Result<()> {
        let mut key = Sum::default();
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        if let Some(folder) = self.key_file.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        write_aside(&self.key_file, &[&key], |aside| {
            let linked = fs::hard_link(aside, &self.key_file);
            fs::remove_file(aside)?;
            linked.or_else(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(error),
            })
        })
    }
}

/// Writes a file beside `path` that only this user can open, and then does what `place` does with it.
fn write_aside(path: &Path, parts: &[&[u8]], place: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let aside = path.with_added_extension(format!("{}{STAGED}", process::id()));
    // A new file, so that no link leads elsewhere.
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    place(&aside)
}

/// Opens a file of this user's, if others may not do with it what `closed` says, to read at most `bytes_max`. The error says
/// what the file is or does.
fn open_own(path: &Path, closed: u32, bytes_max: u64) -> io::Result<impl Read + use<>> {
    // What is no file is opened without waiting for anybody, and then refused.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("the system's flags are numbers of C");
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot be opened: {error}")))?;
    let about = file.metadata()?;
    let wrong = match () {
        () if !about.is_file() => "is no file",
        () if about.uid() != geteuid().as_raw() => "belongs to another user",
        () if about.mode() & closed != 0 => "is open to other users",
        () if about.len() > bytes_max => "is too long",
        () => return Ok(file.take(bytes_max)),
    };
    Err(io::Error::other(wrong))
}

/// What authenticates code, to be updated with it: nobody without the key can say what that comes to. It is BLAKE3 with a key
/// (section 2.3 of its specification), since every start waits for it: HMAC-SHA-256 takes longer than all else that is done to
/// load code.
fn authentication_of(key: &Sum, made_by: &Sum, component: &Sum) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(made_by).update(component);
    hasher
}
