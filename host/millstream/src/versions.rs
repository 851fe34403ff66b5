//! The versions of a pipeline's code that its checkpoint folder keeps: so that what one version began, that version
//! finishes, and a batch of last week can be run again, whatever happened to the files meanwhile.
//!
//! ```text
//! checkpoint/versions/SHA-256.toml   the text of a pipeline file
//! checkpoint/versions/SHA-256.wasm   a component
//! ```
//! A file's name is the digest of its bytes, and it is checked when it is read.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use millstream_connectors::Screen;
use millstream_engine::{Code, Versions};
use millstream_model::Version;
use millstream_pipeline::Checked;
use millstream_plugins::sha256;

use crate::compiled::cache;
use crate::load::{Overrides, check_text};
use crate::wire::{version as of_checked, wire};

/// How the name of a file ends that is being written.
const STAGED: &str = "new";

/// The versions in one checkpoint folder.
#[derive(Clone)]
pub(crate) struct Store {
    checkpoint: PathBuf,
    folder: PathBuf,
    /// The pipeline file: paths in a kept text are relative to its folder.
    file: PathBuf,
    screen: Screen,
}

impl Store {
    pub(crate) fn new(checkpoint: &Path, file: &Path, screen: Screen) -> Self {
        let folder = checkpoint.join("versions");
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

    /// Removes the kept files that none of `versions` needs. What is not this store's is left alone.
    pub(crate) fn prune(&self, versions: &[Version]) -> Result<()> {
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

    /// A version's pipeline, checked with the components that it ran with.
    pub(crate) async fn checked(&self, version: &Version) -> Result<(String, Checked)> {
        let text = String::from_utf8(self.get(&self.text(&version.pipeline), &version.pipeline)?)?;
        let mut overrides = Overrides::new();
        for (name, digest) in &version.plugins {
            let path = self.component(digest);
            self.get(&path, digest)?;
            overrides.insert(name.clone(), path);
        }
        let checked = check_text(&self.file, &text, overrides, cache(&self.checkpoint)).await?;
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

    fn component(&self, digest: &str) -> PathBuf {
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
        let sync = || File::open(&self.folder).and_then(|folder| folder.sync_all());
        if path.exists() {
            // Its name may not be on disk yet: whoever put it there may have ended before that.
            return sync().with_context(|| format!("syncing {}", self.folder.display()));
        }
        let staged = path.with_added_extension(STAGED);
        let write = || {
            let mut file = File::create(&staged)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&staged, path)?;
            sync()
        };
        write().with_context(|| format!("writing {}", path.display()))
    }
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
            wire(&text, &checked, &self.screen, 1).await
        };
        load.await.map_err(|error| format!("{error:#}"))
    }
}
