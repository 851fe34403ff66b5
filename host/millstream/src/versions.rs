//! The versions of a pipeline's code that its checkpoint folder keeps: so that what one version began, that version
//! finishes, and a batch of last week can be run again, whatever happened to the files meanwhile.
//!
//! ```text
//! checkpoint/versions/SHA-256.toml   the text of a pipeline
//! checkpoint/versions/SHA-256.wasm   a component
//! checkpoint/versions/adopted.json   which of them the pipeline was given while it ran
//! ```
//! A file's name is the digest of its bytes, and it is checked when it is read.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use millstream_connectors::{Handover, Screen};
use millstream_engine::{Code, Versions};
use millstream_journal::Archive;
use millstream_model::Version;
use millstream_pipeline::{Checked, SELF, Text};
use millstream_platform::{SystemDisk, crash_point};
use millstream_plugins::{Cache, sha256};

use crate::compiled::{cache, keep};
use crate::load::{Overrides, Refused, check_kept};
use crate::told;
use crate::upgrade::Adopted;
use crate::wire::{version as of_checked, wire};

/// How the name of a file ends that is being written.
const STAGED: &str = "new";
const FOLDER: &str = "versions";
const ADOPTED: &str = "adopted.json";
const DIGEST_SHOWN: usize = 12;

/// The versions in one checkpoint folder.
#[derive(Clone)]
pub(crate) struct Store {
    checkpoint: PathBuf,
    folder: PathBuf,
    /// The pipeline file, or the component that carries the pipeline: paths in a kept text are relative to its folder.
    file: PathBuf,
    screen: Screen,
}

impl Store {
    pub(crate) fn new(checkpoint: &Path, file: &Path, screen: Screen) -> Self {
        let folder = checkpoint.join(FOLDER);
        Self { checkpoint: checkpoint.to_owned(), folder, file: file.to_owned(), screen }
    }

    /// Keeps the pipeline's text and components. `overrides` are the files that were loaded for some plugins.
    pub(crate) fn keep(&self, text: &str, checked: &Checked, overrides: &Overrides) -> Result<()> {
        fs::create_dir_all(&self.folder).with_context(|| format!("making {}", self.folder.display()))?;
        self.put(&self.text(&sha256(text.as_bytes())), text.as_bytes())?;
        for spec in &checked.pipeline.plugins {
            let (name, path) = (&spec.name.value, &spec.component.value);
            let (Some(component), path) = (checked.components.get(name), overrides.get(name).unwrap_or(path))
            else {
                continue;
            };
            let kept = self.component(component.digest());
            if kept.exists() {
                continue;
            }
            let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            let same = sha256(&bytes) == component.digest();
            ensure!(same, "{} changed while it was being loaded; start again", path.display());
            self.put(&kept, &bytes)?;
        }
        Ok(())
    }

    /// Removes the versions that are not among `needed`, and their compiled code, but for those of batches that may be finished
    /// or run again.
    pub(crate) fn tidy(
        &self,
        archive: &Archive,
        mut needed: Vec<Version>,
        compiled: Option<&Cache>,
    ) -> Result<()> {
        let batches = archive.batches().filter_map(|time| archive.batch(time));
        needed.extend(batches.map(|(manifest, _)| manifest.version.clone()));
        self.prune(&needed)?;
        keep(compiled, &self.checkpoint, &needed);
        Ok(())
    }

    /// The batch log as it is now.
    pub(crate) async fn archive(&self) -> Result<Archive> {
        Ok(Archive::open(Arc::new(SystemDisk), &self.checkpoint).await?)
    }

    /// Removes the kept files that none of `versions` needs. What is not this store's is left alone.
    fn prune(&self, versions: &[Version]) -> Result<()> {
        let texts = versions.iter().map(|version| self.text(&version.pipeline));
        let digests = versions.iter().flat_map(|version| version.plugins.values());
        let needed: BTreeSet<PathBuf> = texts.chain(digests.map(|digest| self.component(digest))).collect();
        for entry in
            fs::read_dir(&self.folder).with_context(|| format!("reading {}", self.folder.display()))?
        {
            let path = entry?.path();
            if is_kept(&path) && !needed.contains(&path) {
                fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// A version's pipeline, checked with the components that it ran with. What it wants was allowed when it was kept.
    pub(crate) async fn checked(&self, version: &Version) -> Result<(String, Checked)> {
        let text = String::from_utf8(self.get(&self.text(&version.pipeline), &version.pipeline)?)?;
        let mut overrides = Overrides::new();
        for (name, digest) in &version.plugins {
            let path = self.component(digest);
            self.get(&path, digest)?;
            overrides.insert(name.clone(), path);
        }
        let kept = Text {
            file: &self.file,
            text: &text,
            is_carried: version.plugins.contains_key(SELF),
            checkpoint: Some(&self.checkpoint),
        };
        let checked = check_kept(&kept, overrides, cache(&self.checkpoint)).await?;
        let loaded = of_checked(&text, &checked);
        ensure!(
            loaded == *version,
            "a component in {} was changed while it was loaded",
            self.folder.display()
        );
        Ok((text, checked))
    }

    fn text(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.toml"))
    }

    /// The version that the pipeline was given last while it ran, if there is one.
    pub(crate) fn adopted(&self) -> Result<Option<Adopted>> {
        adopted(&self.checkpoint)
    }

    /// That an adopted version cannot be loaded, and what to do.
    pub(crate) fn unloadable(&self, error: &anyhow::Error) -> Refused {
        let (error, adopted) = (told(error), self.folder.join(ADOPTED));
        Refused(format!(
            "the version that the pipeline was upgraded to cannot be loaded: {error}; put back what it lacks, or remove {}, and \
             the pipeline starts with its own files",
            adopted.display()
        ))
    }

    /// Lets the pipeline go on with a kept version, also when it is started again.
    pub(crate) fn adopt(&self, adopted: &Adopted) -> Result<()> {
        self.replace(&self.folder.join(ADOPTED), &serde_json::to_vec_pretty(adopted)?)?;
        crash_point("version-adopted");
        Ok(())
    }

    /// Lets the pipeline start with its own files again.
    pub(crate) fn forget_adopted(&self) -> Result<()> {
        let path = self.folder.join(ADOPTED);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Where the component of that digest is, or would be.
    pub(crate) fn component(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.wasm"))
    }

    fn get(&self, path: &Path, digest: &str) -> Result<Vec<u8>> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        if sha256(&bytes) != digest {
            bail!("{} is not what its name says: it was changed or is damaged", path.display());
        }
        Ok(bytes)
    }

    /// Writes a file so that it is there whole or not at all.
    fn put(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        if path.exists() {
            // Its name may not be on disk yet: whoever put it there may have ended before that.
            return self.sync().with_context(|| format!("syncing {}", self.folder.display()));
        }
        self.replace(path, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder).and_then(|folder| folder.sync_all())
    }

    /// Writes a file so that it is there whole, or the one before it is.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let staged = path.with_added_extension(STAGED);
        let write = || {
            let mut file = File::create(&staged)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&staged, path)?;
            self.sync()
        };
        write().with_context(|| format!("writing {}", path.display()))
    }
}

/// The version that the pipeline of a checkpoint folder was given last while it ran, if there is one.
pub(crate) fn adopted(checkpoint: &Path) -> Result<Option<Adopted>> {
    let path = checkpoint.join(FOLDER).join(ADOPTED);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("reading {}", path.display()))?,
    };
    serde_json::from_slice(&text).map_err(|error| {
        let path = path.display();
        Refused(format!("{path} is damaged: {error}; remove it, and the pipeline starts with its own files"))
            .into()
    })
}

/// As much of a digest as tells versions apart.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..DIGEST_SHOWN).unwrap_or(digest)
}

/// Whether a file has a name that [`Store::put`] gives, for good or while it writes.
fn is_kept(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(STAGED).and_then(|name| name.strip_suffix('.')).unwrap_or(name);
    let digest = [".toml", ".wasm"].into_iter().find_map(|extension| name.strip_suffix(extension));
    digest.is_some_and(|digest| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[async_trait]
impl Versions for Store {
    async fn load(&self, version: &Version) -> Result<Code, String> {
        let load = async {
            let (text, checked) = self.checked(version).await?;
            // Its sources are not started.
            wire(&text, &checked, &self.screen, &Handover::default(), 1).await
        };
        load.await.map_err(|error| format!("{error:#}"))
    }
}
