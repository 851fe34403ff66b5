//! The cases that speak of sockets, of files, or of what comes before the first batch: a process for each.

use std::io::Write;
use std::net::TcpListener;

use serde_json::Value;

use super::case::{Case, case};
use super::draft::Draft;
use crate::process::{Process, until};
use crate::support::{Project, entries, stderr, stdout};

/// Where the rows of a case go.
const OUT: &str = "out";

/// A folder for the case, whose pipeline writes what is observed to `out`.
fn project(case: &Case, address: Option<String>) -> Project {
    let mut draft = Draft::new(case.batch_ms);
    draft.add_to_run(case, OUT, address).unwrap();
    Project::new(&draft.text())
}

/// The values that each batch gave, in the order of the batches.
fn batches(project: &Project) -> Vec<Vec<Value>> {
    if !project.path(OUT).exists() {
        return Vec::new();
    }
    let value = |line: &str| serde_json::from_str::<Value>(line).unwrap()["value"].clone();
    let batch = |folder: &std::path::PathBuf| {
        let texts = entries(folder).into_iter().map(|part| std::fs::read_to_string(part).unwrap());
        texts.collect::<String>().lines().map(value).collect()
    };
    entries(&project.path(OUT)).iter().map(batch).collect()
}

#[test]
fn the_batches_between_two_times_are_the_folders_between_them() {
    let case = case("py-slice");
    let project = project(&case, None);
    for (number, batch) in (1..).zip(&case.streams[0].batches) {
        let rows = batch.iter().flatten().map(|value| format!("{{\"value\":{value}}}\n"));
        project.write(&format!("in/{}--s-rows/{number}.json", case.id), rows.collect::<String>());
        project.run_once();
    }
    let name = |folder: &std::path::PathBuf| folder.file_name().unwrap().to_str().unwrap().to_owned();
    let times: Vec<String> = entries(&project.path(OUT)).iter().map(name).collect();
    assert_eq!(times.len(), case.run_batches, "{times:?}");
    let interval = usize::try_from(case.batch_ms).unwrap();
    for query in &case.slice_queries {
        let from = &times[query.from_ms / interval - 1];
        let to = times.get(query.to_ms / interval - 1).unwrap_or(&times[times.len() - 1]);
        let within = times.iter().zip(batches(&project)).filter(|(time, _)| (from..=to).contains(time));
        let slice: Vec<_> = within.flat_map(|(_, rows)| rows).collect();
        assert_eq!(Some(&slice), query.expected.as_ref(), "{} to {}", query.from_ms, query.to_ms);
    }
}

#[test]
fn there_is_no_past_before_the_first_batch() {
    let case = case("basic-slice-uninitialized");
    let project = project(&case, None);
    for query in &case.slice_queries {
        assert!(query.expected.is_none());
        let replayed = project.run("replay", &["--batch", &query.to_ms.to_string()]);
        assert_eq!(replayed.status.code(), Some(78), "{}", stdout(&replayed));
        assert!(stderr(&replayed).contains("none is kept"), "{}", stderr(&replayed));
    }
}

#[test]
fn lines_of_a_socket_come_once_and_in_order() {
    let case = case("socket-lines");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let project = project(&case, Some(listener.local_addr().unwrap().to_string()));
    let process = Process::running(&project);
    let (mut connection, _) = listener.accept().unwrap();
    let all = || batches(&project).concat();
    let mut sent = 0;
    for line in case.streams[0].batches.iter().flatten().flatten() {
        writeln!(connection, "{}", line.as_str().unwrap()).unwrap();
        sent += 1;
        until("the line that was sent", || (all().len() == sent).then_some(()));
    }
    assert_eq!(Some(all()), case.expected_flattened);
    let counted = |status: &Value| {
        let receivers = status["status"]["receivers"].as_array().unwrap();
        let received: u64 = receivers.iter().map(|receiver| receiver["records"].as_u64().unwrap()).sum();
        (received, status["status"]["records"].as_u64().unwrap())
    };
    let sent = sent as u64;
    until("as many records received and processed as were sent", || {
        (counted(&project.status()) == (sent, sent)).then_some(())
    });
    process.stop();
    assert_eq!(Some(all()), case.expected_flattened);
}

#[test]
fn each_file_that_appears_is_a_batch() {
    let case = case("py-ctx-textFileStream");
    let line = |row: &Value| format!("{}\n", row.as_str().unwrap());
    files_are_batches(&case, |rows| rows.iter().map(line).collect::<String>().into_bytes());
}

#[test]
fn each_file_of_records_that_appears_is_a_batch() {
    let mut case = case("py-ctx-binaryRecords");
    // JSON has no bytes: its rows are hexadecimal.
    for record in case.expected.iter_mut().flatten().flatten() {
        *record = bytes(record).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    }
    files_are_batches(&case, |records| records.iter().flat_map(bytes).collect());
}

/// The bytes that a case lists.
fn bytes(record: &Value) -> Vec<u8> {
    record.as_array().unwrap().iter().map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap()).collect()
}

/// Puts a file there for each batch, after the one before it has come out.
fn files_are_batches(case: &Case, content: impl Fn(&[Value]) -> Vec<u8>) {
    let project = project(case, None);
    let process = Process::running(&project);
    for (number, batch) in (1..).zip(&case.streams[0].batches) {
        let name = format!("in/{}--{}/{number}", case.id, case.streams[0].name);
        project.write(&name, content(batch.as_ref().unwrap()));
        until("the rows of the file", || (batches(&project).len() == number).then_some(()));
    }
    process.stop();
    assert_eq!(Some(batches(&project)), case.expected);
}

#[test]
fn a_window_that_is_no_multiple_of_the_batch_interval_is_refused_with_its_place() {
    let case = case("py-rkw-invalid-window");
    let project = project(&case, None);
    let checked = project.run("check", &[]);
    assert_eq!(checked.status.code(), Some(78), "{}", stdout(&checked));
    let text = std::fs::read_to_string(project.path("pipeline.toml")).unwrap();
    let line = 1 + text.lines().position(|line| line.starts_with("reduce = ")).unwrap();
    let place = format!("pipeline.toml:{line}:");
    let told = stderr(&checked);
    assert!(told.contains(&place) && told.contains("no multiple of the batch interval"), "{told}");
}
