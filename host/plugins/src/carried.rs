//! A pipeline that a component carries: the text of a pipeline file, whose functions are the component's own.
//!
//! It is in a custom section, or is what the component answers when it is asked. The section needs no execution, and an
//! author of any language can append it to a component that there is; so it wins where there are both.
//!
//! ```text
//! 00  size  7  name length  "millstream:pipeline"  text      size and length are LEB128
//! ```
//! It stands in the component itself, or in a core module of it, which is where compilers put theirs.

use std::collections::BTreeMap;
use std::path::Path;

use millstream_model::pipeline::{Grant, Limit, Located, Place, PluginSpec};
use sha2::{Digest, Sha256};

use crate::callee::shortened;
use crate::contract::APPLICATION;
use crate::hex::hex;
use crate::plugin::{check_kind, read};
use crate::{Plugin, PluginError, Sandbox};

/// The name of the custom section.
const SECTION: &str = "millstream:pipeline";
/// What a component may hand over when it is asked for its pipeline: more than a pipeline file may have.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// The eight bytes that a component and a core module begin with.
const HEADER_BYTES: usize = 8;
const CUSTOM: u8 = 0;
const CORE_MODULE: u8 = 1;

/// The pipeline that a component carries. Nothing of it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The text of a pipeline file.
    pub text: String,
    /// The SHA-256 of the component's file, in hexadecimal.
    pub digest: String,
    /// Whether the component said it when asked, and has no section with it.
    pub is_told: bool,
}

impl Carried {
    /// Reads what the component at `path` carries; nothing, if it carries none. One that is asked runs without any grant.
    ///
    /// # Errors
    /// If the file is no component of the contract, or does not say its pipeline when asked.
    pub async fn read(sandbox: &Sandbox, path: &Path) -> Result<Option<Self>, PluginError> {
        let refused = |reason: String| PluginError::Refused { path: path.to_owned(), reason };
        let bytes = read(path)?;
        check_kind(&bytes).map_err(refused)?;
        if let Some(text) = section(&bytes).map_err(refused)? {
            let digest = hex(&Sha256::digest(&bytes));
            return Ok(Some(Self { text, digest, is_told: false }));
        }
        let plugin = Plugin::load(sandbox, &asked(path)).await?;
        let said = plugin.pipeline().await.map_err(refused)?;
        Ok(said.map(|text| Self { text, digest: plugin.digest().to_owned(), is_told: true }))
    }

    /// The bytes of a component with a section behind its others, in which it carries `text`.
    ///
    /// # Errors
    /// If they are of no component, or of one that has such a section already.
    pub fn append(component: &[u8], text: &str) -> Result<Vec<u8>, String> {
        check_kind(component)?;
        if section(component)?.is_some() {
            return Err(format!("has a section \"{SECTION}\" already; take the component without it"));
        }
        let mut content = leb128(SECTION.len());
        content.extend_from_slice(SECTION.as_bytes());
        content.extend_from_slice(text.as_bytes());
        let mut bytes = component.to_vec();
        bytes.push(CUSTOM);
        bytes.extend(leb128(content.len()));
        bytes.extend(content);
        Ok(bytes)
    }
}

/// How a component is loaded that is asked for its pipeline.
fn asked(path: &Path) -> PluginSpec {
    PluginSpec {
        name: Located { value: millstream_pipeline::SELF.to_owned(), place: Place::default() },
        component: Located { value: path.to_owned(), place: Place::default() },
        grant: Grant::default(),
        limit: Limit { answer_bytes: ANSWER_BYTES_MAX, ..Limit::default() },
        config: BTreeMap::new(),
    }
}

impl Plugin {
    /// The text of the pipeline that the component says it carries; nothing, if it does not export that interface.
    async fn pipeline(&self) -> Result<Option<String>, String> {
        let Some(export) = self.pipeline_export() else { return Ok(None) };
        let instance = self.shared().instance().await?;
        let said = instance.call::<_, (Result<String, String>,)>(export, (), self.shared().time).await;
        let (_, (said,)) = said.map_err(|reason| format!("does not say its pipeline: {reason}"))?;
        said.map(Some).map_err(|reason| {
            format!("cannot make its pipeline, by {APPLICATION}: {}", shortened(reason).escape_debug())
        })
    }
}

/// The text in the one section of a component that has a pipeline.
fn section(component: &[u8]) -> Result<Option<String>, String> {
    let mut found = Vec::new();
    for (id, content) in sections(component)? {
        let inside = if id == CORE_MODULE { sections(content)? } else { vec![(id, content)] };
        let custom = inside.into_iter().filter(|(id, _)| *id == CUSTOM);
        found.extend(custom.filter_map(|(_, content)| named(content)));
    }
    match found.as_slice() {
        [] => Ok(None),
        [text] => match str::from_utf8(text) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(error) => Err(format!("has a section \"{SECTION}\" that is not UTF-8: {error}")),
        },
        _ => Err(format!("has {} sections \"{SECTION}\"; leave one", found.len())),
    }
}

/// The sections of a component or a module, each with what it is and what it holds.
fn sections(bytes: &[u8]) -> Result<Vec<(u8, &[u8])>, String> {
    let broken = || "is broken WebAssembly: one of its sections is longer than what is there".to_owned();
    let mut rest = bytes.get(HEADER_BYTES..).ok_or_else(broken)?;
    let mut sections = Vec::new();
    while let Some((id, behind)) = rest.split_first() {
        let (size, behind) = read_leb128(behind).ok_or_else(broken)?;
        let (content, behind) = behind.split_at_checked(size).ok_or_else(broken)?;
        sections.push((*id, content));
        rest = behind;
    }
    Ok(sections)
}

/// What is behind the name in a custom section, if that is the name.
fn named(content: &[u8]) -> Option<&[u8]> {
    let (length, rest) = read_leb128(content)?;
    let (name, text) = rest.split_at_checked(length)?;
    (name == SECTION.as_bytes()).then_some(text)
}

/// A number of at most 32 bits, seven of them a byte, the lowest first; and what is behind it.
fn read_leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    const BYTES_MAX: usize = 5;
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(BYTES_MAX).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(u32::try_from(number).ok()?).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

fn leb128(number: usize) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), number);
    loop {
        let byte = u8::try_from(rest & 0x7f).expect("seven bits fit");
        rest >>= 7;
        match rest {
            0 => {
                bytes.push(byte);
                return bytes;
            }
            _ => bytes.push(byte | 0x80),
        }
    }
}

#[cfg(test)]
mod tests;
