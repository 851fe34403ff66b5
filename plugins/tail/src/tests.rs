use std::fs::OpenOptions;
use std::io::Write;

use millstream_sdk::testing;
use tempfile::TempDir;

use super::*;

/// A log in a folder of its own, and who writes, rotates and follows it.
struct World {
    folder: TempDir,
    following: Lines,
    /// The position of the last lines that were given.
    position: Option<Place>,
}

impl World {
    /// A log with this text in it, which is followed from the start.
    fn new(text: &str) -> Self {
        let folder = TempDir::new().expect("there is room");
        std::fs::write(folder.path().join("app.log"), text).expect("there is room");
        let path = folder.path().join("app.log");
        testing::set_config("path", &format!("{path:?}"));
        testing::set_config("once", "true");
        let following = Lines::start(None).expect("the folder is there");
        Self { folder, following, position: None }
    }

    fn append(&self, text: &str) {
        self.append_to("app.log", text);
    }

    fn append_to(&self, name: &str, text: &str) {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(self.folder.path().join(name));
        file.expect("it can be opened").write_all(text.as_bytes()).expect("there is room");
    }

    fn rename(&self, from: &str, to: &str) {
        let path = |name| self.folder.path().join(name);
        std::fs::rename(path(from), path(to)).expect("it is there");
    }

    /// As logrotate does it: `app.log.1` becomes `app.log.2`, and so on, and `app.log` becomes `app.log.1`.
    fn rotate(&self) {
        self.make_room();
        self.rename("app.log", "app.log.1");
    }

    fn copy(&self) {
        self.make_room();
        let path = |name| self.folder.path().join(name);
        std::fs::copy(path("app.log"), path("app.log.1")).expect("there is room");
    }

    fn make_room(&self) {
        for number in (1..100).rev() {
            let name = format!("app.log.{number}");
            if self.folder.path().join(&name).exists() {
                self.rename(&name, &format!("app.log.{}", number + 1));
            }
        }
    }

    fn cut(&self) {
        let options = OpenOptions::new().write(true).truncate(true).open(self.folder.path().join("app.log"));
        options.expect("it is there");
    }

    /// The next life, behind the last lines that were given.
    fn restart(&mut self) {
        self.following = Lines::start(self.position).expect("the folder is there");
    }

    /// What is given until there is no more.
    fn lines(&mut self) -> Vec<String> {
        let mut given = Vec::new();
        loop {
            let mut lines = Output::new();
            let polled = self.following.poll(Duration::ZERO, &mut lines).expect("the files can be read");
            let table = lines.into_table();
            let lines = table.read::<Line<'_>>("").expect("they are lines");
            given.extend(lines.iter().map(|line| line.value.to_owned()));
            let (Poll::More(place) | Poll::Ended(place)) = polled;
            if !lines.is_empty() {
                let bytes = place.to_bytes().expect("there is a position");
                self.position = Some(Place::from_bytes(&bytes).expect("it is its own"));
            }
            if let Poll::Ended(_) = polled {
                return given;
            }
        }
    }

    fn check(&mut self, expected: &[&str]) {
        assert_eq!(self.lines(), expected);
    }
}

#[test]
fn lines_are_given_once_they_are_whole() {
    let mut world = World::new("one\ntw");
    world.check(&["one"]);
    world.append("o\n");
    world.check(&["two"]);
    world.append("three\r\nfour");
    world.check(&["three"]);
    world.restart();
    world.append("\n");
    world.check(&["four"]);
}

#[test]
fn offsets_are_where_lines_begin() {
    let mut world = World::new("one\n\nthree\n");
    let mut lines = Output::new();
    world.following.poll(Duration::ZERO, &mut lines).expect("the file can be read");
    let table = lines.into_table();
    let lines = table.read::<Line<'_>>("").expect("they are lines");
    assert_eq!(lines.iter().map(|line| line.offset).collect::<Vec<_>>(), [0, 4, 5]);
}

#[test]
fn a_file_is_read_to_its_end_when_it_is_renamed() {
    let mut world = World::new("one\n");
    world.check(&["one"]);
    world.append("two\n");
    world.rotate();
    world.check(&["two"]);
    // Its writer has not noticed yet, and a new file is there already.
    world.append("");
    world.append_to("app.log.1", "three\n");
    world.check(&["three"]);
    world.append("four\n");
    world.append_to("app.log.1", "last words");
    world.check(&["last words", "four"]);
}

#[test]
fn a_log_that_is_away_is_waited_for() {
    let mut world = World::new("one\n");
    world.check(&["one"]);
    world.rotate();
    world.check(&[]);
    world.append("two\n");
    world.check(&["two"]);
}

#[test]
fn files_that_came_and_went_between_two_looks_are_read_in_order() {
    for restarts in [false, true] {
        let mut world = World::new("one\n");
        world.check(&["one"]);
        world.append("two\n");
        for line in ["three\n", "four\n", "five\n"] {
            world.rotate();
            world.append(line);
        }
        if restarts {
            world.restart();
        }
        world.check(&["two", "three", "four", "five"]);
    }
}

#[test]
fn a_file_that_is_moved_far_away_is_read_to_its_end() {
    let mut world = World::new("one\n");
    world.check(&["one"]);
    world.append("two\n");
    world.rename("app.log", "elsewhere");
    world.append("three\n");
    world.check(&["two", "three"]);
}

#[test]
fn files_of_the_same_text_are_told_apart() {
    let mut world = World::new("hello\n");
    world.check(&["hello"]);
    for _ in 0..3 {
        world.rotate();
        // Files are told apart by their times, of which a system may count but hundredths of a second.
        let written =
            |world: &World, name| world.folder.path().join(name).metadata().and_then(|m| m.modified());
        while written(&world, "app.log").ok() <= written(&world, "app.log.1").ok() {
            drop(std::fs::remove_file(world.folder.path().join("app.log")));
            world.append("hello\n");
        }
        world.check(&["hello"]);
    }
}

#[test]
fn the_rest_of_a_file_that_was_copied_and_cut_is_in_the_copy() {
    for restarts in [false, true] {
        let mut world = World::new("one\n");
        world.check(&["one"]);
        world.append("two\nthr");
        if !restarts {
            world.check(&["two"]);
        }
        world.append("ee\nfour\n");
        world.copy();
        world.cut();
        world.append("five\n");
        if restarts {
            world.restart();
            world.check(&["two", "three", "four", "five"]);
        } else {
            world.check(&["three", "four", "five"]);
        }
    }
}

#[test]
fn what_is_read_between_copy_and_cut_is_not_given_again() {
    let mut world = World::new("one\n");
    world.check(&["one"]);
    world.copy();
    world.append("two\n");
    world.check(&["two"]);
    world.cut();
    world.append("a third line that is longer than all before\n");
    world.check(&["a third line that is longer than all before"]);
}

#[test]
fn a_file_that_is_cut_begins_anew() {
    let mut world = World::new("one\ntwo\n");
    world.check(&["one", "two"]);
    world.cut();
    world.check(&[]);
    world.append("one\nthree\n");
    world.check(&["one", "three"]);
}

#[test]
fn where_the_last_file_is_gone_what_is_later_is_read() {
    let mut world = World::new("one\n");
    world.check(&["one"]);
    std::fs::remove_file(world.folder.path().join("app.log")).expect("it is there");
    let place = world.position.as_mut().expect("a line was given");
    place.modified_ms -= 10_000;
    world.append("two\n");
    world.restart();
    assert!(testing::logged()[0].1.contains("is gone"));
    world.check(&["two"]);
}

#[test]
fn a_log_can_be_followed_from_its_end() {
    let check = |from: &str, expected: &[&str]| {
        testing::set_config("from", &format!("{from:?}"));
        let mut world = World::new("one\ntw");
        world.append("o\n");
        world.check(expected);
    };
    check("start", &["one", "two"]);
    let mut world = World::new("one\ntw");
    testing::set_config("from", "\"end\"");
    world.restart();
    world.append("o\n");
    world.check(&["two"]);
    testing::set_config("from", "\"middle\"");
    assert!(matches!(Lines::start(None), Err(Fault::Rejected(_))));
}

#[test]
fn settings_of_which_no_log_can_be_followed_are_refused_before_one_is() {
    let check = |key: &str, json: &str| {
        let right = [("path", "\"/var/log/app/app.log\""), ("rotated", "\"app.log-*\""), ("once", "false")];
        let right = right.into_iter().chain([("from", "\"end\"")]);
        right.chain([(key, json)]).for_each(|(key, json)| testing::set_config(key, json));
        Lines::check().err()
    };
    let right =
        [("path", "\"/none/app.log\""), ("rotated", "\"*\""), ("once", "true"), ("from", "\"start\"")];
    for (key, json) in right {
        assert_eq!(check(key, json), None, "{key} = {json}");
    }
    let wrong = [
        ("path", "\"\""),
        ("path", "\"/\""),
        ("path", "[\"app.log\"]"),
        ("rotated", "\"app.log\""),
        ("rotated", "\"app.*.*\""),
        ("rotated", "\"old/app.log.*\""),
        ("once", "\"true\""),
        ("from", "\"middle\""),
    ];
    for (key, json) in wrong {
        let told = check(key, json);
        assert!(
            matches!(&told, Some(Fault::Rejected(reason)) if reason.contains(key)),
            "{key} = {json}: {told:?}"
        );
    }
}

#[test]
fn compressed_files_and_those_of_other_logs_are_left_alone() {
    let mut world = World::new("one\n");
    world.append_to("other.log.1", "other\n");
    world.append_to("app.log.1.gz", "packed\n");
    world.check(&["one"]);
    world.rotate();
    world.append("two\n");
    world.restart();
    world.check(&["two"]);
}

#[test]
fn a_folder_that_cannot_be_read_is_told_with_what_to_grant() {
    let world = World::new("");
    let path = world.folder.path().join("none/app.log");
    testing::set_config("path", &format!("{path:?}"));
    let error = Lines::start(None).err().expect("there is no such folder").to_string();
    assert!(error.contains("read = [") && error.contains("none"), "{error}");
}

/// Numbers by chance (Marsaglia's xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Writes, rotates and follows a log in any order.
fn live(seed: u64) {
    let mut chance = Chance(seed + 0x9E37_79B9_7F4A_7C15);
    let mut world = World::new("0\n");
    // Before the first line is given there is nothing to go on from.
    let mut given = world.lines();
    let mut written = 1;
    for _ in 0..200 {
        let next = format!("{written}\n");
        match chance.below(8) {
            0 => {
                world.rotate();
                world.append(&next);
            }
            1 => {
                world.copy();
                world.cut();
                world.append(&next);
            }
            2 => {
                let (begin, end) = next.split_at(next.len() / 2);
                world.append(begin);
                given.extend(world.lines());
                world.append(end);
            }
            3 => {
                world.restart();
                continue;
            }
            4 => {
                given.extend(world.lines());
                continue;
            }
            _ => world.append(&next),
        }
        written += 1;
    }
    given.extend(world.lines());
    let expected: Vec<String> = (0..written).map(|number| number.to_string()).collect();
    assert_eq!(given, expected, "MILLSTREAM_SEED={seed} plays this again");
}

#[test]
fn whatever_happens_to_a_log_each_line_is_given_once_and_in_order() {
    match std::env::var("MILLSTREAM_SEED") {
        Ok(seed) => live(seed.parse().expect("a number")),
        Err(_) => (0..30).for_each(live),
    }
}
