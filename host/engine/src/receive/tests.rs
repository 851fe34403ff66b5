//! The queue between a source and the batches, alone.

use bytes::Bytes;
use millstream_model::{Block, Lane, Position, Records};

use super::{Inlet, InletSettings, LaneStart};

fn lane() -> Lane {
    Lane { source: "in".into(), receiver: 0 }
}

fn block(first: u64, rows: usize, resume: Option<&'static str>) -> Block {
    let text: String = (0..rows).map(|row| format!("{}\n", first + row as u64)).collect();
    let block = Block::lines(text.into(), rows, Position { origin: "peer".into(), record: first });
    Block { resume: resume.map(Bytes::from), ..block }
}

#[tokio::test]
async fn a_block_that_is_split_leaves_where_to_go_on_with_its_last_records() {
    let settings = InletSettings { batch_rows_max: 3, ..InletSettings::default() };
    let (inlet, outlet) = Inlet::new(lane(), settings);
    inlet.send(block(0, 2, Some("two"))).await.unwrap();
    inlet.send(block(2, 5, Some("seven"))).await.unwrap();
    assert_eq!((inlet.records(), inlet.resume()), (7, Some("seven".into())));
    let mut cuts = Vec::new();
    for _ in 0..4 {
        let Records::Logged(range) = outlet.take().records else { panic!("it is a receiver's") };
        cuts.push((range.records, range.resume.map(|resume| String::from_utf8(resume).unwrap())));
    }
    let expected =
        [(0..3, Some("two".to_owned())), (3..6, None), (6..7, Some("seven".to_owned())), (7..7, None)];
    assert_eq!(cuts, expected);
}

#[tokio::test]
async fn a_lane_goes_on_where_it_began() {
    let start = LaneStart { next: 40, resume: Some("forty".into()), ..LaneStart::default() };
    let (inlet, outlet) = Inlet::with(lane(), InletSettings::default(), None, false, start);
    assert_eq!((inlet.records(), inlet.resume()), (40, Some("forty".into())));
    inlet.send(block(40, 2, None)).await.unwrap();
    assert_eq!((inlet.records(), inlet.resume()), (42, Some("forty".into())));
    let Records::Logged(range) = outlet.take().records else { panic!("it is a receiver's") };
    assert_eq!((range.records, range.resume), (40..42, None));
}

#[tokio::test]
async fn the_source_has_ended_when_its_last_inlet_is_gone() {
    let (inlet, outlet) = Inlet::new(lane(), InletSettings::default());
    let other = inlet.clone();
    drop(inlet);
    assert!(!outlet.is_exhausted());
    other.send(block(0, 1, None)).await.unwrap();
    drop(other);
    outlet.full().await;
    assert!(!outlet.is_exhausted());
    outlet.take();
    assert!(outlet.is_exhausted());
}

#[tokio::test]
async fn an_outlet_that_is_gone_closes_its_inlets() {
    let (inlet, outlet) = Inlet::new(lane(), InletSettings::default());
    drop(outlet);
    inlet.closed().await;
    assert!(inlet.send(block(0, 1, None)).await.is_err());
}
