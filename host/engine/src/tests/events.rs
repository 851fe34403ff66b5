//! What listeners hear.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use millstream_model::{BatchTime, Metered, Usage, Usages};

use super::lab::Lab;
use crate::events::Events;
use crate::{Event, Inlet, Mode, Policy, Source, SourceError};

/// A listener that hands on what it hears.
fn hearing() -> (impl FnMut(Event) + Send + 'static, Receiver<Event>) {
    let (sender, heard) = channel();
    (move |event| sender.send(event).unwrap_or_default(), heard)
}

fn batch(time_ms: i64) -> Event {
    Event::BatchStarted { time: BatchTime::from_ms(time_ms), records: 1 }
}

fn time(event: &Event) -> Option<i64> {
    match event {
        Event::BatchStarted { time, .. } => Some(time.as_ms()),
        _ => None,
    }
}

#[tokio::test]
async fn the_life_of_a_batch_is_told_in_order() {
    let mut lab = Lab::durable();
    let (sender, heard) = channel();
    lab.listener = Mutex::new(Some(sender));
    let mut life = lab.running().await;
    life.feed("a\nb\n");
    life.sent(1).await;
    lab.clock.set(11_000);
    life.board.reached(1).await;
    life.stop().await.unwrap();
    let heard: Vec<Event> = heard.iter().collect();
    let (time, records) = (BatchTime::from_ms(11_000), 2);
    let started = Event::BatchStarted { time, records };
    let first: Vec<&Event> = heard
        .iter()
        .filter(|event| match event {
            Event::BatchSubmitted { time: of, .. } | Event::BatchStarted { time: of, .. } => *of == time,
            Event::BatchCompleted(status) => status.time == time,
            _ => false,
        })
        .collect();
    let [submitted, begun, Event::BatchCompleted(status)] = first[..] else { panic!("{heard:?}") };
    assert_eq!((submitted, begun), (&Event::BatchSubmitted { time, records }, &started));
    assert_eq!((status.records, &status.failure), (2, &None));
    for event in [
        Event::PipelineStarted { pipeline: "lab".into() },
        Event::ReceiverStarted { receiver: "in".into() },
        Event::ReceiverStopped { receiver: "in".into(), error: None },
    ] {
        assert_eq!(heard.iter().filter(|other| **other == event).count(), 1, "{event:?} in {heard:?}");
    }
}

/// Fails once, and then has nothing.
struct Failing(AtomicBool);

#[async_trait]
impl Source for Failing {
    async fn run(&self, _inlet: Inlet) -> Result<(), SourceError> {
        match self.0.swap(true, Ordering::SeqCst) {
            false => Err(SourceError::Failed("no luck".into())),
            true => Err(SourceError::Refused("no use".into())),
        }
    }
}

#[tokio::test]
async fn what_goes_wrong_with_a_receiver_is_told() {
    let mut lab = Lab::new();
    let (sender, heard) = channel();
    lab.listener = Mutex::new(Some(sender));
    lab.source = Some(("in", Arc::new(Failing(AtomicBool::new(false)))));
    let life = lab.start(Mode::Continuous).await;
    life.board.running().await;
    // It waits for a while before it is started again.
    while !life.running.is_finished() {
        lab.clock.advance(std::time::Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    life.running.await.unwrap().unwrap_err();
    let receiver = || "in".to_owned();
    let of_receiver = |event: &Event| {
        matches!(
            event,
            Event::ReceiverStarted { .. } | Event::ReceiverFailed { .. } | Event::ReceiverStopped { .. }
        )
    };
    let heard: Vec<Event> = heard.iter().filter(of_receiver).collect();
    let told = [
        Event::ReceiverStarted { receiver: receiver() },
        Event::ReceiverFailed { receiver: receiver(), error: "no luck".into() },
        Event::ReceiverStarted { receiver: receiver() },
    ];
    assert_eq!(heard[..3], told);
    assert!(
        matches!(&heard[3..], [Event::ReceiverStopped { error: Some(error), .. }] if error.contains("no use")),
        "{heard:?}"
    );
}

/// Says the same of every batch.
struct Fixed(Usage);

impl Metered for Fixed {
    fn take_usage(&self, _batch: BatchTime) -> Usages {
        Usages::from([("test.count".to_owned(), self.0)])
    }
}

#[tokio::test]
async fn what_calls_took_is_told_of_each_batch_that_failed_or_not_and_summed_up() {
    let usage = Usage { calls: 2, cpu_ns: 10, memory_bytes_max: 7, ..Usage::default() };
    let (sender, heard) = channel();
    let lab = Lab {
        metered: vec![Arc::new(Fixed(usage))],
        policy: Policy { on_failure: crate::OnFailure::Continue, ..Policy::default() },
        listener: Mutex::new(Some(sender)),
        ..Lab::new()
    };
    lab.counting.poisonous.store(2, Ordering::SeqCst);
    let mut life = lab.running().await;
    for (number, text) in ["poison\n", "good\n"].into_iter().enumerate() {
        life.feed(text);
        life.sent(number + 1).await;
        lab.clock.set(11_000 + 1_000 * number as i64);
        life.board.reached(number as u64 + 1).await;
    }
    let board = life.board.clone();
    life.stop().await.unwrap();
    let completed = heard.iter().filter_map(|event| match event {
        Event::BatchCompleted(status) => Some((status.failure.is_some(), status.functions)),
        _ => None,
    });
    let completed: Vec<_> = completed.collect();
    let functions = Usages::from([("test.count".to_owned(), usage)]);
    assert_eq!(completed[..2], [(true, functions.clone()), (false, functions)]);
    let batches = completed.len() as u64;
    let sum = board.read().functions["test.count"];
    assert_eq!(sum, Usage { calls: 2 * batches, cpu_ns: 10 * batches, memory_bytes_max: 7, ..usage });
}

#[test]
fn a_slow_listener_misses_events_and_hears_how_many() {
    let (gate, closed) = channel::<()>();
    let (mut listener, heard) = hearing();
    let events = Events::default()
        .with(move |event| {
            // Open once the gate's other end is gone.
            closed.recv().unwrap_or_default();
            listener(event);
        })
        .unwrap();
    let told = 12_000;
    (0..told).for_each(|number| events.tell(|| batch(number)));
    drop(gate);
    let mut times = BTreeSet::new();
    let mut missed = 0;
    let mut number = told;
    // The next that there is room for comes after what was missed.
    while missed == 0 {
        events.tell(|| batch(number));
        number += 1;
        for event in heard.try_iter() {
            match &event {
                Event::Missed { events } => missed += events,
                event => assert!(times.insert(time(event).unwrap()), "each is told once"),
            }
        }
    }
    drop(events);
    for event in heard.iter() {
        match &event {
            Event::Missed { events } => missed += events,
            event => assert!(times.insert(time(event).unwrap()), "each is told once"),
        }
    }
    assert!(missed >= 12_000 - 10_001, "{missed}");
    assert_eq!(times.len() as u64 + missed, number as u64);
}

#[test]
fn a_listener_that_panics_hears_no_more_and_harms_nobody() {
    let (listener, heard) = hearing();
    let broken = |_event: Event| panic!("as the test wants");
    let events = Events::default().with(broken).unwrap().with(listener).unwrap();
    (0..30_000).for_each(|number| {
        events.tell(|| batch(number));
        assert_eq!(heard.recv().ok().as_ref().and_then(time), Some(number));
    });
}

#[test]
fn events_are_values_that_others_can_read() {
    let told = serde_json::to_value(batch(5)).unwrap();
    assert_eq!(told, serde_json::json!({ "event": "batch-started", "time": 5, "records": 1 }));
    assert_eq!(serde_json::from_value::<Event>(told).unwrap(), batch(5));
}

/// The other end of a lab's listener.
pub(super) type Hears = Mutex<Option<Sender<Event>>>;
