//! Builds the plugins and puts their components where pipeline files find them, whatever cargo's target folder is:
//! `millstream-text` becomes `plugins/bin/text.wasm`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::toolchain::{PLUGIN_TARGET, need_plugin_target};
use crate::workspace::{Package, Workspace, cargo, root, run as run_command};

/// Where the components go, in the workspace.
const BIN: &str = "plugins/bin";

pub(crate) fn run() -> Result<()> {
    need_plugin_target()?;
    let workspace = Workspace::load()?;
    let mut build = cargo(&["build", "--profile", "plugin", "--target", PLUGIN_TARGET]);
    for plugin in workspace.plugins() {
        build.args(["--package", &plugin.name]);
    }
    run_command(&mut build)?;
    let built = workspace.target.join(PLUGIN_TARGET).join("plugin");
    let bin = root().join(BIN);
    fs::create_dir_all(&bin).with_context(|| format!("making the folder {}", bin.display()))?;
    workspace.plugins().try_for_each(|plugin| place(plugin, &built, &bin))
}

/// Puts a component into `bin`, whole at any moment: a host may be loading it.
fn place(plugin: &Package, built: &Path, bin: &Path) -> Result<()> {
    let from = built.join(plugin.name.replace('-', "_")).with_extension("wasm");
    let name = plugin.name.strip_prefix("millstream-").unwrap_or(&plugin.name);
    let to = bin.join(name).with_extension("wasm");
    let component = fs::read(&from).with_context(|| format!("reading the component {}", from.display()))?;
    ensure!(
        component.starts_with(b"\0asm"),
        "{} is no WebAssembly; remove it and build again",
        from.display()
    );
    if fs::read(&to).is_ok_and(|present| present == component) {
        return Ok(());
    }
    let aside = to.with_extension("wasm.tmp");
    fs::write(&aside, component)
        .and_then(|()| fs::rename(&aside, &to))
        .with_context(|| format!("writing the component {}", to.display()))?;
    println!("{BIN}/{name}.wasm");
    Ok(())
}
