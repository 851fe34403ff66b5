use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use millstream_model::FunctionError;
use millstream_model::pipeline::{Grant, Limit, PluginSpec};
use millstream_platform::{Disk, SystemDisk};
use millstream_plugins::{Plugin, PluginError, Sandbox};
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::{Reach, SHORT};
use crate::support::spec;

/// A deadline for what should happen soon; reached only when a test fails.
const SOON: Duration = Duration::from_secs(30);

/// A folder with a secret in it, and in it two folders that are granted: `read` and `write`, each with a file and with
/// links that lead out.
struct Ground(TempDir);

impl Ground {
    fn new() -> Self {
        let ground = Self(tempfile::tempdir().unwrap());
        fs::write(ground.at("secret"), "secret").unwrap();
        for folder in ["read", "write"] {
            fs::create_dir(ground.at(folder)).unwrap();
            fs::write(ground.at(folder) + "/file", "file").unwrap();
            symlink("../secret", ground.at(folder) + "/relative").unwrap();
            symlink(ground.at("secret"), ground.at(folder) + "/absolute").unwrap();
            symlink("/etc", ground.at(folder) + "/etc").unwrap();
            symlink("..", ground.at(folder) + "/up").unwrap();
        }
        ground
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn pipe(&self, name: &str) -> String {
        let pipe = self.at(name);
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        pipe
    }

    async fn reach(&self) -> Reach {
        let folder = |name| vec![self.at(name).into()];
        Reach::granted(Grant { read: folder("read"), write: folder("write"), ..Grant::default() }).await
    }

    /// The same in every row, where `@` stands for the ground.
    fn rows<'r>(&'r self, rows: &'r [&str]) -> impl Iterator<Item = String> + 'r {
        rows.iter().map(|row| row.replace('@', self.0.path().to_str().unwrap()))
    }

    fn check_untouched(&self) {
        assert_eq!(fs::read_to_string(self.at("secret")).unwrap(), "secret");
        let mut names: Vec<_> =
            fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["read", "secret", "write"], "nothing came out");
    }
}

#[tokio::test]
async fn what_is_granted_is_read_and_written() {
    let ground = Ground::new();
    let reach = ground.reach().await;
    for folder in ["read", "write"] {
        reach.succeeds(&format!("read {}/file", ground.at(folder)), "file").await;
    }
    reach.succeeds(&format!("write {}/new new", ground.at("write")), "").await;
    assert_eq!(fs::read_to_string(ground.at("write/new")).unwrap(), "new");
    fs::create_dir(ground.at("write/inner")).unwrap();
    reach.succeeds(&format!("read {}/inner/../new", ground.at("write")), "new").await;
}

#[tokio::test]
async fn nothing_beside_a_granted_folder_is_read() {
    let ground = Ground::new();
    let reach = ground.reach().await;
    let rows = [
        "read /etc/passwd",
        "read @/secret",
        "read @/read/../secret",
        "read @/write/../../../../etc/passwd",
        "read @/read/relative",
        "read @/write/absolute",
        "read @/write/etc/passwd",
        "read @/read/up/secret",
        "list @",
        "list @/write/up",
        "list @/read/etc",
        "list /",
    ];
    for row in ground.rows(&rows) {
        reach.fails(&row, "").await;
    }
}

#[tokio::test]
async fn nothing_is_written_moved_or_linked_out_of_a_granted_folder() {
    let ground = Ground::new();
    let reach = ground.reach().await;
    let rows = [
        "write @/out out",
        "write @/write/../out out",
        "write @/write/up/out out",
        "write @/write/relative changed",
        "write @/write/absolute changed",
        "rename @/write/file @/out",
        "rename @/write/file @/write/../out",
        "rename @/write/file @/write/up/out",
        "rename @/secret @/write/in",
        "rename @/write/../secret @/write/in",
        "link @/secret @/write/in",
        "link @/write/../secret @/write/in",
        "link @/write/up/secret @/write/in",
        "link @/write/file @/write/up/out",
        "remove @/secret",
        "remove @/write/../secret",
        "remove @/write/up/secret",
    ];
    for row in ground.rows(&rows) {
        reach.fails(&row, "").await;
        ground.check_untouched();
    }
    assert!(!Path::new(&ground.at("write/in")).exists() && Path::new(&ground.at("write/file")).exists());
}

#[tokio::test]
async fn a_link_that_a_plugin_makes_leads_it_nowhere() {
    let ground = Ground::new();
    let reach = ground.reach().await;
    for target in ["../secret", "@/secret", "up/secret", "../write/../secret"] {
        let (link, target) = (ground.at("write/made"), target.replace('@', &ground.at("")));
        // It need not be made. Where it is not, what is written is a file of the folder.
        reach.says(&format!("symlink {target} {link}")).await;
        reach.fails(&format!("read {link}"), "").await;
        let is_link = fs::symlink_metadata(&link).is_ok();
        let written = reach.says(&format!("write {link} changed")).await;
        assert!(!is_link || written.starts_with("failed"), "{target}: {written}");
        ground.check_untouched();
        drop(fs::remove_file(&link));
    }
}

#[tokio::test]
async fn nothing_changes_in_a_folder_that_is_granted_to_be_read() {
    let ground = Ground::new();
    let reach = ground.reach().await;
    let rows = [
        "write @/read/file changed",
        "write @/read/new new",
        "remove @/read/file",
        "rename @/read/file @/read/other",
        "rename @/read/file @/write/other",
        "rename @/write/file @/read/other",
        "link @/read/file @/read/other",
        "link @/read/file @/write/other",
        "symlink file @/read/other",
    ];
    for row in ground.rows(&rows) {
        reach.fails(&row, "").await;
    }
    assert_eq!(fs::read_to_string(ground.at("read/file")).unwrap(), "file");
    assert_eq!(fs::read_dir(ground.at("read")).unwrap().count(), 5);
    assert!(!Path::new(&ground.at("write/other")).exists());
}

#[tokio::test]
async fn a_folder_that_is_gone_is_not_the_fault_of_rows() {
    let ground = Ground::new();
    let grant = Grant { read: vec![ground.at("read").into()], ..Grant::default() };
    let reach = Reach::load(grant, Limit { time: SHORT, ..Limit::default() }).await;
    let pipe = ground.pipe("read/pipe");
    // The instance that there was is gone with this call, and no other can be made.
    reach.call(&format!("read {pipe}")).await.unwrap_err();
    OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    fs::rename(ground.at("read"), ground.at("elsewhere")).unwrap();
    let error = reach.call("variables").await.unwrap_err();
    let is_told = matches!(&error, FunctionError::Unavailable { reason, .. } if reason.contains("read"));
    assert!(is_told, "{error:?}");
    fs::rename(ground.at("elsewhere"), ground.at("read")).unwrap();
    reach.says("variables").await;
}

#[tokio::test]
async fn a_file_that_blocks_ends_the_call_at_its_time() {
    let ground = Ground::new();
    let pipe = ground.pipe("read/pipe");
    let grant = Grant { read: vec![ground.at("read").into()], ..Grant::default() };
    let reach = Reach::load(grant, Limit { time: SHORT, ..Limit::default() }).await;
    reach.breaks(&format!("read {pipe}"), "raise limit.time").await;
    // Whoever still waits for a writer has one now.
    OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
}

#[test]
fn plugins_that_wait_for_pipes_hold_up_no_file_of_the_engine() {
    // As many threads for what blocks as there are plugins that do, were it here that they do.
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let ground = Ground::new();
        let pipes = ["read/one", "read/two"].map(|name| ground.pipe(name));
        let grant = Grant { read: vec![ground.at("read").into()], ..Grant::default() };
        let reach = Reach::load(grant, Limit { time: SHORT, ..Limit::default() }).await;
        let rows = pipes.clone().map(|pipe| format!("read {pipe}"));
        tokio::join!(reach.breaks(&rows[0], "raise limit.time"), reach.breaks(&rows[1], "raise limit.time"));
        // The calls are over, but not what they wait for.
        let written = timeout(SOON, SystemDisk.create(Path::new(&ground.at("log")))).await;
        for pipe in &pipes {
            OpenOptions::new().read(true).write(true).open(pipe).unwrap();
        }
        written.expect("the engine waits for no plugin").unwrap();
    });
}

#[tokio::test]
async fn a_plugin_of_an_earlier_time_is_not_available_until_its_folder_is_there_again() {
    let ground = Ground::new();
    let (folder, away) = (ground.at("read"), ground.at("away"));
    fs::rename(&folder, &away).unwrap();
    let grant = Grant { read: vec![folder.clone().into()], ..Grant::default() };
    let spec = PluginSpec { grant, ..spec("reach", None) };
    let sandbox = Sandbox::new().unwrap();
    let refused = Plugin::load(&sandbox, &spec).await.err().unwrap();
    assert!(matches!(refused, PluginError::Grant { .. }), "{refused}");
    let reach = Reach(Plugin::load(&sandbox.granting_late(), &spec).await.unwrap());
    let read = format!("read {folder}/file");
    let error = reach.call(&read).await.unwrap_err();
    let is_told = matches!(&error, FunctionError::Unavailable { reason, .. } if reason.contains(&folder));
    assert!(is_told, "{error}");
    fs::rename(&away, &folder).unwrap();
    reach.succeeds(&read, "file").await;
}
