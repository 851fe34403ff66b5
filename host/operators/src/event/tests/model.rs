//! Rows in any order against a model that keeps them all.

use std::collections::{BTreeMap, BTreeSet};

use millstream_platform::Seeded;

use super::lab::{Event, Given, Kind, Lab, Setup};

const DELAYS: &[&[u64]] = &[&[0], &[7], &[40], &[3, 25]];
const KEYS: &[&str] = &["a", "b", "c", "d"];
const TRIALS: u64 = 40;

fn one_of<T: Copy>(seeded: &Seeded, all: &[T]) -> T {
    all[usize::try_from(seeded.below(all.len() as u64)).unwrap()]
}

/// All rows that came and were not late, and how far the sources are.
struct Model {
    setup: Setup,
    counted: Vec<(i64, &'static str, i64)>,
    watermarks: Vec<Option<i64>>,
}

impl Model {
    fn watermark(&self) -> Option<i64> {
        let all: Option<Vec<i64>> = self.watermarks.iter().copied().collect();
        all.map(|all| *all.iter().min().unwrap())
    }

    fn batch(&mut self, events: &[Vec<Event>]) -> Given {
        let (length, slide) = (self.setup.length_ms as i64, self.setup.slide_ms as i64);
        let before = self.watermark();
        let mut given = Given::default();
        for event in events.iter().flatten() {
            let (at, key, amount) = *event;
            // The last window that has a row starts at the last multiple of the slide that is not behind it.
            let last_end = at.map(|at| at.div_euclid(slide) * slide + length);
            match (at, last_end) {
                (Some(at), Some(end)) if before.is_none_or(|before| end > before) => {
                    self.counted.push((at, key, amount));
                }
                _ => given
                    .late
                    .push(format!("{} {key} {amount}", at.map_or("?".to_owned(), |at| at.to_string()))),
            }
        }
        for (source, events) in events.iter().enumerate() {
            let newest = events.iter().filter_map(|event| event.0).max();
            let reached = newest.map(|newest| newest - self.setup.delays[source] as i64);
            self.watermarks[source] = self.watermarks[source].max(reached);
        }
        if let Some(now) = self.watermark() {
            given.windows = self.windows(before, now);
        }
        given
    }

    fn windows(&self, before: Option<i64>, now: i64) -> Vec<String> {
        let (length, slide) = (self.setup.length_ms as i64, self.setup.slide_ms as i64);
        let start = |at: i64| at.div_euclid(slide) * slide;
        let all = self
            .counted
            .iter()
            .flat_map(|(at, _, _)| (0..length / slide).map(move |n| start(*at) + length - n * slide));
        let ends: BTreeSet<i64> =
            all.filter(|end| *end <= now && before.is_none_or(|before| *end > before)).collect();
        let mut lines = Vec::new();
        for end in ends {
            let inside = |at: i64| end - length <= at && at < end;
            let rows = self.counted.iter().filter(|(at, _, _)| inside(*at));
            let mut sums: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
            for (at, key, amount) in rows {
                let sum = sums.entry(key).or_default();
                *sum = (sum.0 + amount, sum.1 + 1);
                if self.setup.kind == Kind::Rows {
                    lines.push(format!("{} {end} {at} {key} {amount}", end - length));
                }
            }
            let sums = sums.into_iter().filter(|_| self.setup.kind != Kind::Rows);
            lines.extend(sums.map(|(key, (sum, count))| match self.setup.kind {
                Kind::Sum => format!("{} {end} {key} {sum} {count}", end - length),
                _ => format!("{} {end} {key} {sum}", end - length),
            }));
        }
        lines
    }
}

/// Some batches of rows that come more or less in the order of their times.
fn batches(seeded: &Seeded, sources: usize) -> Vec<Vec<Vec<Event>>> {
    let spread = one_of(seeded, &[5, 50, 200]);
    let mut now = 100;
    let count = 4 + seeded.below(10);
    let batch = |_| {
        now += seeded.below(60) as i64;
        let mut source = |_| {
            let rows = seeded.below(8);
            let mut event = |_| {
                let at = (seeded.below(25) > 0).then(|| now - seeded.below(spread) as i64);
                (at, one_of(seeded, KEYS), seeded.below(100) as i64)
            };
            (0..rows).map(&mut event).collect()
        };
        (0..sources).map(&mut source).collect()
    };
    (0..count).map(batch).collect()
}

async fn trial(seeded: &Seeded) {
    let (slide_ms, panes) = (1 + seeded.below(30), 1 + seeded.below(4));
    let kind = one_of(seeded, &[Kind::Sum, Kind::Reduce, Kind::Rows]);
    let setup = Setup { kind, length_ms: slide_ms * panes, slide_ms, delays: one_of(seeded, DELAYS) };
    let sources = setup.delays.len();
    let mut model = Model { setup, counted: Vec::new(), watermarks: vec![None; sources] };
    let mut batches = batches(seeded, sources);
    // In the end, all windows are over.
    batches.push(vec![vec![(Some(100_000), "a", 0)]; sources]);
    let restart = usize::try_from(seeded.below(batches.len() as u64)).unwrap();
    let mut lab = Lab::new(setup).await;
    let (mut windows, mut late) = (Vec::new(), 0);
    for (number, events) in batches.iter().enumerate() {
        let time = 1_000 * (number as i64 + 1);
        let slices: Vec<&[Event]> = events.iter().map(Vec::as_slice).collect();
        let tried = lab.attempt(time, &slices).await;
        let given = lab.batch(time, &slices).await;
        assert_eq!(tried, given, "{setup:?}: batch {number} gives something else when it is run again");
        assert_eq!(given, model.batch(events), "{setup:?}: batch {number} of {batches:?}");
        windows.extend(given.windows);
        late += given.late.len();
        if number == restart {
            lab = lab.restarted().await;
        }
    }
    check_whole(setup, &windows, batches.iter().flatten().flatten().count() - late - sources);
    assert_eq!(lab.kept(), if kind == Kind::Rows { sources as u64 } else { 1 }, "{setup:?}: what is left");
}

/// Checks all windows of a trial without the model, of which so many rows were in time and not the last.
fn check_whole(setup: Setup, windows: &[String], rows: usize) {
    let starts: Vec<i64> =
        windows.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(starts.is_sorted(), "{setup:?}: {windows:?}");
    let panes = usize::try_from(setup.length_ms / setup.slide_ms).unwrap();
    match setup.kind {
        Kind::Rows if panes == 1 => assert_eq!(windows.len(), rows, "{setup:?}: {windows:?}"),
        Kind::Rows => assert!(windows.len() <= rows * panes, "{setup:?}: {windows:?}"),
        Kind::Sum | Kind::Reduce => {
            let key = |line: &String| line.split(' ').take(3).map(str::to_owned).collect::<Vec<_>>();
            let keys: BTreeSet<_> = windows.iter().map(key).collect();
            assert_eq!(keys.len(), windows.len(), "{setup:?}: a window is given twice: {windows:?}");
        }
    }
}

#[tokio::test]
#[allow(clippy::print_stdout, reason = "a failed trial says its seed")]
async fn every_row_is_late_or_counted_once_in_each_of_its_windows() {
    for seed in Seeded::seeds(0..TRIALS) {
        println!("MILLSTREAM_SEED={seed}");
        trial(&Seeded::new(seed)).await;
    }
}
