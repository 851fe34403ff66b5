//! `millstream new`: a plugin project that builds and passes its test at once.
//!
//! Everything the project needs of Millstream is written into it, the SDK and the contract as files under `vendor`:
//! it builds anywhere, without this repository, from nothing but crates.io.

mod name;
mod rust;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

/// What `new` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The project's name, and that of its folder
    name: String,
    /// The language to write the plugin in
    #[arg(long, value_enum)]
    language: Language,
}

/// What a plugin can be written in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Language {
    /// Rust, with the SDK
    Rust,
}

/// A project that was written.
#[derive(Debug)]
pub(crate) struct Created {
    folder: PathBuf,
    /// What to do in it, a command a line.
    next: &'static [&'static str],
}

/// A file of a project: its path in the project's folder, and its text.
struct ProjectFile {
    path: PathBuf,
    text: String,
}

#[allow(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn run(options: &Options) -> Result<()> {
    let created = create(&options.name, options.language, Path::new(""))?;
    println!("{created}");
    Ok(())
}

/// Writes the project `name` into a new folder of that name in `parent`.
///
/// # Errors
/// The name is no crate's, the folder has something in it already, or a file cannot be written.
pub(crate) fn create(name: &str, language: Language, parent: &Path) -> Result<Created> {
    if let Some(fault) = name::fault(name) {
        bail!("\"{name}\" is no name for a project: {fault}");
    }
    let folder = parent.join(name);
    refuse_occupied(&folder)?;
    let (files, next) = match language {
        Language::Rust => (rust::project(name), rust::NEXT),
    };
    files.iter().try_for_each(|file| write(&folder, file))?;
    Ok(Created { folder, next })
}

fn refuse_occupied(folder: &Path) -> Result<()> {
    let is_empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(|| format!("creating the folder {}", folder.display())),
    };
    ensure!(is_empty, "the folder {} is not empty; choose another name, or move it away", folder.display());
    Ok(())
}

fn write(folder: &Path, file: &ProjectFile) -> Result<()> {
    let path = folder.join(&file.path);
    let written =
        path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, &file.text));
    written.with_context(|| format!("writing {}", path.display()))
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = self.folder.display();
        write!(f, "created {folder}; build, test and run it:\n\n  cd {folder}")?;
        self.next.iter().try_for_each(|command| write!(f, "\n  {command}"))
    }
}
