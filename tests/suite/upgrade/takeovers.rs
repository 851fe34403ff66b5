//! What goes from one process to the next, and from one version to the next: sockets, and what is asked for meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};

use rustix::process::Signal;

use super::losses::{COUNTS, PIPELINE, RECENT, count_more, counted, edit, text};
use crate::process::{Process, until};
use crate::support::Project;
use crate::takeover::listening;

#[test]
fn a_stop_ends_also_the_process_that_takes_over_meanwhile() {
    let project = counted(&[]);
    let lock = std::fs::File::create(project.path("checkpoint/lock")).unwrap();
    lock.lock().unwrap();
    let one = || Command::new("sleep").arg("1000").spawn().unwrap();
    let name = |process: &Child| {
        project.write("checkpoint/host.json", format!("{{\"pid\":{}}}", process.id()));
    };
    let (mut before, mut after) = (one(), one());
    name(&before);
    let stopping = Process::start(&mut project.command("stop", &[]));
    assert_eq!(before.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    // Between the two nobody says who holds the folder.
    std::fs::remove_file(project.path("checkpoint/host.json")).unwrap();
    name(&after);
    assert_eq!(after.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    drop(lock);
    stopping.ended();
}

#[test]
fn an_upgrade_of_the_process_that_is_about_to_be_taken_over_is_taken_over_as_well() {
    let project = counted(&[COUNTS]);
    let first = Process::running(&project);
    // The process is asked through this folder alone, until the other one may find it.
    std::fs::create_dir(project.path("aside")).unwrap();
    let socket = project.path("checkpoint/control");
    std::fs::rename(&socket, project.path("aside/control")).unwrap();
    for name in ["lock", "host.json"] {
        symlink(project.path("checkpoint").join(name), project.path("aside").join(name)).unwrap();
    }
    let aside = project.path("aside");
    let upgrade = |parts: &[&str]| {
        let aside = aside.to_str().unwrap();
        project.done("upgrade", &["--checkpoint", aside, "--file", &edit(&project, parts)]);
    };
    upgrade(&[COUNTS, RECENT]);
    let second = Process::start(&mut project.command("run", &["--takeover"]));
    second.wait_for("goes on with the version that it was upgraded to");
    upgrade(&[COUNTS, RECENT, "[streams.again]\nsql = \"SELECT * FROM counts\"\n"]);
    std::fs::rename(aside.join("control"), &socket).unwrap();
    second.wait_for("was upgraded while this process was about to start");
    first.ended();
    second.wait_for("losses runs");
    count_more(&project, 1, "one");
    let status = project.status();
    assert_ne!(status["version"]["before"], serde_json::Value::Null, "{status}");
    second.stop_by_command(&project);
}

#[test]
fn connections_of_a_source_that_an_upgrade_changes_go_on_amid_a_line() {
    let of = |rate: &str| {
        let socket = format!("type = \"socket\"\nlisten = \"127.0.0.1:0\"\n{rate}");
        PIPELINE.replace("type = \"files\"\npath = \"in/*.txt\"\n", &socket)
    };
    let project = Project::new(&text(&[&of("")]));
    let process = Process::running(&project);
    let address = listening(&process);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"one two\nhalf-").unwrap();
    let has = |word: &str| {
        let line = format!("{{\"word\":\"{word}\"}}");
        until(word, || project.lines_so_far("words").contains(&line).then_some(()));
    };
    has("two");
    let upgrade = |text: &str| {
        project.write("new.toml", self::text(&[text]));
        project.done("upgrade", &["--file", project.path("new.toml").to_str().unwrap()]);
    };
    for (rate, words) in [("max-rate = 1000\n", "way three\nhalf-"), ("max-rate = 2000\n", "done\n")] {
        upgrade(&of(rate));
        client.write_all(words.as_bytes()).unwrap();
        has(if words.starts_with("way") { "three" } else { "half-done" });
    }
    has("half-way");
    TcpStream::connect(address).unwrap().write_all(b"four\n").unwrap();
    has("four");
    // One whose address is another ends.
    upgrade(&of("").replace("127.0.0.1:0", "127.0.0.1:00"));
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    process.stop_by_command(&project);
}
