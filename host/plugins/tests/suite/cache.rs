//! Kept code: taken where this host has written it, and compiled anew where anything is wrong with it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use millstream_plugins::{Cache, Child, Compiler, Plugin, PluginError, Sandbox};
use tempfile::TempDir;

use crate::support::{component, spec};

/// A folder for code, and a key beside it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn code(&self) -> PathBuf {
        self.0.path().join("code")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("state/key")
    }

    fn cache(&self) -> Cache {
        Cache::new(self.code(), self.key())
    }

    /// The file of a component's code.
    fn file(&self, digest: &str) -> PathBuf {
        self.code().join(format!("{digest}.code"))
    }
}

async fn load(compiler: Compiler, name: &str, cache: Cache) -> Result<Plugin, PluginError> {
    let sandbox = Sandbox::with(compiler.with_cache(cache)).unwrap();
    Plugin::load(&sandbox, &spec(name, None)).await
}

/// Compiles if need be, and keeps what that gave.
async fn keep(name: &str, cache: Cache) -> Plugin {
    load(Compiler::here(), name, cache).await.unwrap()
}

/// Whether there is code that is used: where nothing can be compiled, the plugin loads all the same.
async fn is_used(name: &str, cache: Cache) -> bool {
    let broken = Compiler::in_child(Child::new(PathBuf::from("/bin/false"), &[]));
    load(broken, name, cache).await.is_ok()
}

#[tokio::test]
async fn kept_code_is_used_by_the_next_process() {
    let place = Place::new();
    assert!(!is_used("keyed", place.cache()).await, "nothing is there yet");
    let plugin = keep("keyed", place.cache()).await;
    assert!(is_used("keyed", place.cache()).await);
    assert!(!is_used("bare", place.cache()).await, "that is another component");
    let modes = [place.file(plugin.digest()), place.key(), place.code()]
        .map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o777);
    assert_eq!(modes, [0o600, 0o600, 0o700]);
}

#[tokio::test]
async fn code_that_anything_is_wrong_with_is_not_used_and_written_anew() {
    type Spoil = fn(&Path, &[u8]);
    let cases: [(&str, Spoil); 9] = [
        ("gone", |path, _| fs::remove_file(path).unwrap()),
        ("empty", |path, _| fs::write(path, "").unwrap()),
        ("cut in its head", |path, good| fs::write(path, &good[..40]).unwrap()),
        ("torn", |path, good| fs::write(path, &good[..good.len() - 1]).unwrap()),
        ("longer", |path, good| fs::write(path, [good, b"x"].concat()).unwrap()),
        ("of another engine", |path, good| flip(path, good, 9)),
        ("of another key", |path, good| flip(path, good, 50)),
        ("changed", |path, good| flip(path, good, good.len() / 2)),
        ("writable for all", |path, _| fs::set_permissions(path, Permissions::from_mode(0o602)).unwrap()),
    ];
    let place = Place::new();
    let plugin = keep("bare", place.cache()).await;
    let path = place.file(plugin.digest());
    let good = fs::read(&path).unwrap();
    for (case, spoil) in cases {
        spoil(&path, &good);
        assert!(!is_used("bare", place.cache()).await, "{case}");
        keep("bare", place.cache()).await;
        assert_eq!(fs::read(&path).unwrap(), good, "{case}");
        assert!(is_used("bare", place.cache()).await, "{case}");
    }
}

fn flip(path: &Path, good: &[u8], at: usize) {
    let mut bytes = good.to_vec();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn code_of_another_component_or_behind_a_link_is_not_used() {
    let place = Place::new();
    let (bare, keyed) = (keep("bare", place.cache()).await, keep("keyed", place.cache()).await);
    let (bare, keyed) = (place.file(bare.digest()), place.file(keyed.digest()));
    fs::copy(&keyed, &bare).unwrap();
    assert!(!is_used("bare", place.cache()).await, "it is authentic, but of another component");
    let elsewhere = place.code().join("elsewhere");
    fs::rename(&keyed, &elsewhere).unwrap();
    symlink(&elsewhere, &keyed).unwrap();
    assert!(!is_used("keyed", place.cache()).await, "a link is not followed");
}

#[tokio::test]
async fn code_that_another_host_has_written_is_not_used() {
    let (place, other) = (Place::new(), Place::new());
    keep("bare", place.cache()).await;
    keep("keyed", other.cache()).await;
    assert!(!is_used("bare", Cache::new(place.code(), other.key())).await);
    assert!(is_used("bare", place.cache()).await);
}

#[tokio::test]
async fn a_key_that_others_can_read_is_not_used_and_plugins_load_all_the_same() {
    let place = Place::new();
    keep("bare", place.cache()).await;
    fs::set_permissions(place.key(), Permissions::from_mode(0o644)).unwrap();
    assert!(!is_used("bare", place.cache()).await);
    keep("bare", place.cache()).await;
    fs::write(place.code().join("../file"), "").unwrap();
    keep("bare", Cache::new(place.0.path().join("file"), place.key())).await;
}

#[tokio::test]
async fn a_grant_that_reaches_the_key_is_refused() {
    let place = Place::new();
    check_guarded(&place, Compiler::here().with_cache(place.cache())).await;
    // Nor is it reached where nothing is kept.
    let place = Place::new();
    check_guarded(&place, Compiler::here().guarding(place.0.path().join("state/key"))).await;
}

async fn check_guarded(place: &Place, compiler: Compiler) {
    let folder = |name: &str| {
        let folder = place.0.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    };
    let sandbox = Sandbox::with(compiler).unwrap();
    let load = async |read: &[PathBuf], write: &[PathBuf]| {
        let mut spec = spec("bare", None);
        (spec.grant.read, spec.grant.write) = (read.to_vec(), write.to_vec());
        Plugin::load(&sandbox, &spec).await.err().map(|error| error.to_string())
    };
    let (data, state) = (folder("data"), place.0.path().join("state"));
    let whole = place.0.path().to_owned();
    // At first there is no key, and the folder that it will be in is not there either.
    for round in ["before there is a key", "with a key"] {
        for (read, write) in [(vec![data.clone(), whole.clone()], vec![]), (vec![], vec![whole.clone()])] {
            let told = load(&read, &write).await.expect(round);
            assert!(told.contains("the key") && told.contains(whole.to_str().unwrap()), "{round}: {told}");
        }
        assert_eq!(load(std::slice::from_ref(&data), &[]).await, None, "{round}");
    }
    symlink(&state, whole.join("link")).unwrap();
    assert!(load(&[whole.join("link")], &[]).await.is_some(), "a link leads to the key");
}

#[tokio::test]
async fn code_waits_for_its_place_and_makes_none() {
    let place = Place::new();
    let later = place.0.path().join("later");
    let cache = Cache::new(later.join("code"), place.key());
    keep("bare", cache.clone()).await;
    cache.settle().unwrap();
    assert!(!later.exists());
    fs::create_dir(&later).unwrap();
    assert!(!is_used("bare", cache.clone()).await);
    cache.settle().unwrap();
    assert!(is_used("bare", cache).await);
}

#[tokio::test]
async fn pruning_leaves_what_is_needed_and_what_is_not_the_caches() {
    let place = Place::new();
    let (bare, keyed) = (keep("bare", place.cache()).await, keep("keyed", place.cache()).await);
    let (bare, keyed) = (bare.digest().to_owned(), keyed.digest().to_owned());
    let left = place.file(&bare).with_added_extension("1.new");
    let others = place.code().join("notes.txt");
    [&left, &others].iter().for_each(|path| fs::write(path, "").unwrap());
    place.cache().prune(|component| component == bare).unwrap();
    let there = [place.file(&bare), others, place.file(&keyed), left].map(|path| path.exists());
    assert_eq!(there, [true, true, false, false]);
    Place::new().cache().prune(|_| false).unwrap();
}

#[tokio::test]
async fn a_compiler_that_cannot_be_started_is_named() {
    let compiler = Compiler::in_child(Child::new(PathBuf::from("/nowhere/compiler"), &[]));
    let told = load(compiler, "bare", Place::new().cache()).await.err().unwrap().to_string();
    let component = component("bare");
    assert!(told.contains("/nowhere/compiler") && told.contains(component.to_str().unwrap()), "{told}");
}

#[tokio::test]
async fn a_compiler_that_closes_its_pipes_and_goes_on_ends_at_its_time() {
    let place = Place::new();
    let told = place.0.path().join("pid");
    let script = format!("echo $$ > {}; exec <&- >&- 2>&-; exec /bin/sleep 100", told.display());
    let compiler = Compiler::in_child(Child::new(PathBuf::from("/bin/sh"), &["-c", &script]));
    let sandbox = Sandbox::with(compiler).unwrap();
    let mut spec = spec("bare", None);
    spec.limit.compile_time = Duration::from_secs(1);
    let error = Plugin::load(&sandbox, &spec).await.err().unwrap().to_string();
    assert!(error.contains("compile-time"), "{error}");
    let pid = fs::read_to_string(told).unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "the process {pid} goes on");
}
