use millstream_engine::{QuarantineStatus, ReceiverStatus, Status, TakenBack};

use super::text;

/// What a plugin may say of what is wrong: it clears the screen, and begins a line of its own.
const REASON: &str = "traps\u{1b}[2J\n  batches        1 done, 0 begun";

#[test]
fn what_plugins_say_stands_on_one_line_and_steers_no_terminal() {
    let reason = || REASON.to_owned();
    let status = Status {
        quarantine: vec![QuarantineStatus { reason: reason(), ..QuarantineStatus::default() }],
        taken_back: Some(TakenBack { reason: reason(), after: None, reassigned: 0 }),
        trouble: Some(reason()),
        receivers: vec![ReceiverStatus { error: Some(reason()), ..ReceiverStatus::default() }],
        ..Status::default()
    };
    let told = text(Some(1), &status, None);
    assert!(told.chars().all(|c| c == '\n' || !c.is_control()), "{told:?}");
    assert_eq!(told.lines().filter(|line| line.starts_with("  batches ")).count(), 1, "{told}");
    assert_eq!(told.matches("traps").count(), 4, "{told}");
}

#[test]
fn a_receiver_is_named_as_the_pipeline_names_it() {
    let receiver = ReceiverStatus { receiver: "Orders".to_owned(), ..ReceiverStatus::default() };
    let status = Status { receivers: vec![receiver], ..Status::default() };
    let told = text(Some(1), &status, None);
    assert!(told.contains("  source Orders: "), "{told}");
}
