//! Compiled code that is kept, a file a component.
//!
//! ```text
//! FOLDER/SHA-256.code                 by the SHA-256 of the component
//!   8 bytes    "millcode"
//!   32 bytes   fingerprint: the engine that made the code, its settings, and the program's version
//!   32 bytes   HMAC-SHA-256 (RFC 2104) of the fingerprint, the component's SHA-256 and the code
//!   the rest   the code
//! ```
//! **What is in a file is run as machine code, so only what this host has written is taken.** Who owns a file and who may
//! write to it does not show that: a plugin with a grant to write in the folder makes files as this very user, a folder that
//! was copied from elsewhere was written by another host, and where several write to a folder nobody knows who did. So
//! each file is authenticated with a key that is not in the folder: 32 random bytes, made at the first use, in a file
//! that only this user can read, and a grant that reaches it is refused. A file is read once, as a whole, and what was
//! authenticated is what is loaded: to change it meanwhile changes nothing.
//!
//! Whatever does not fit — damaged, torn, renamed, by another key, engine or program, or open to others — is not used, and
//! written anew. So nothing here is synced, and nothing is lost with the folder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use rustix::fs::OFlags;
use rustix::process::geteuid;
use sha2::Sha256;

use super::Sum;
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
    pub(super) fn get(&self, made_by: &Sum, component: &Sum) -> Result<Option<Vec<u8>>, String> {
        let path = self.path(component);
        let unused = |reason: &str| format!("{} is not used: it {reason}", path.display());
        let mut bytes = match read_own(&path, WRITE_BY_OTHERS, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unused(&error.to_string())),
        };
        if bytes.len() < HEAD_BYTES || !bytes.starts_with(MAGIC) {
            return Err(unused("is no compiled code, or a part of it"));
        }
        let code = bytes.split_off(HEAD_BYTES);
        let (by, authentication) = bytes[MAGIC.len()..].split_at(size_of::<Sum>());
        if by != made_by {
            return Err(unused("was made by another version of this program or its engine"));
        }
        let key = self.key().map_err(|error| unused(&format!("cannot be authenticated: {error}")))?;
        match authenticate(&key, made_by, component, &code).verify_slice(authentication) {
            Ok(()) => Ok(Some(code)),
            Err(_) => Err(unused("is not as this host has written it")),
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
        let authentication: Sum =
            authenticate(&self.key()?, made_by, component, code).finalize().into_bytes().into();
        let path = self.path(component);
        write_aside(&path, &[MAGIC, made_by, &authentication, code], |aside| fs::rename(aside, &path))
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
        let bytes = read_own(&self.key_file, ANYTHING_BY_OTHERS, size_of::<Sum>() as u64).map_err(name)?;
        Sum::try_from(bytes).map_err(|_| name(io::Error::other("is too short; remove it, and one is made")))
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

/// Reads a file of this user's, if others may not do with it what `closed` says. The error says what the file is or does.
fn read_own(path: &Path, closed: u32, bytes_max: u64) -> io::Result<Vec<u8>> {
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
        () => {
            let mut bytes = Vec::with_capacity(about.len() as usize);
            file.take(bytes_max).read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
    };
    Err(io::Error::other(wrong))
}

/// HMAC-SHA-256 (RFC 2104): nobody without the key can say what it is.
fn authenticate(key: &Sum, made_by: &Sum, component: &Sum, code: &[u8]) -> Hmac<Sha256> {
    let hmac = Hmac::new_from_slice(key).expect("a key may have any length");
    hmac.chain_update(made_by).chain_update(component).chain_update(code)
}
