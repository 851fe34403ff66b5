use millstream_platform::Seeded;
use serde::Deserialize;

use super::{PidEstimator, PidSettings};

/// What the tests of Spark's estimator say, with where they are.
const SPARK: &str = include_str!("../../../testdata/pid.json");

#[derive(Deserialize)]
struct Spark {
    cases: Vec<Case>,
    property: Property,
    invalid: Invalid,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    params: Params,
    calls: Vec<Call>,
    tolerance: f64,
}

#[derive(Deserialize)]
struct Property {
    params: Params,
}

#[derive(Deserialize)]
struct Invalid {
    rejected_constructor_args: Vec<Params>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Params {
    batch_ms: u64,
    proportional: f64,
    integral: f64,
    derivative: f64,
    min_rate: f64,
}

#[derive(Deserialize)]
struct Call {
    time_ms: f64,
    /// Spark also tries a negative number, which is none here.
    elements: i64,
    processing_ms: f64,
    scheduling_ms: f64,
    expected: Option<Expected>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expected {
    Rate(f64),
    Any(Word),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Some,
}

fn spark() -> Spark {
    serde_json::from_str(SPARK).unwrap()
}

fn estimator(params: Params) -> Result<PidEstimator, super::PidError> {
    let Params { proportional, integral, derivative, min_rate, .. } = params;
    let settings = PidSettings { proportional, integral, derivative, min_rate };
    PidEstimator::new(settings, std::time::Duration::from_millis(params.batch_ms))
}

fn plain(derivative: f64) -> PidEstimator {
    let params = Params { batch_ms: 20, proportional: 1.0, integral: 0.0, derivative, min_rate: 10.0 };
    estimator(params).unwrap()
}

#[test]
fn estimates_are_those_of_spark() {
    for Case { id, params, calls, tolerance } in spark().cases {
        let mut estimator = estimator(params).unwrap();
        for (i, call) in calls.into_iter().enumerate() {
            let elements = u64::try_from(call.elements).unwrap_or(0);
            let rate = estimator.estimate(call.time_ms, elements, call.processing_ms, call.scheduling_ms);
            match (rate, call.expected) {
                (None, None) | (Some(_), Some(Expected::Any(Word::Some))) => {}
                (Some(rate), Some(Expected::Rate(expected))) => {
                    assert!((rate - expected).abs() <= tolerance, "{id}, call {i}: {rate}, not {expected}");
                }
                (rate, _) => panic!("{id}, call {i}: {rate:?}"),
            }
        }
    }
}

#[test]
fn with_rows_piled_up_estimates_stay_below_the_speed() {
    let params = spark().property.params;
    for seed in Seeded::seeds(1..200) {
        let mut number = seed;
        let mut below = |end: u64| {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            (number >> 33) % end
        };
        let mut estimator = estimator(params).unwrap();
        for call in 0..50 {
            let (elements, waited) = (1000 + below(1000), 1 + below(19));
            let rate = estimator.estimate(f64::from(call) * 20.0, elements, 20.0, waited as f64);
            let speed = elements as f64 / 20.0 * 1000.0;
            let holds = rate.map_or(call == 0, |rate| call > 0 && (10.0..speed).contains(&rate));
            assert!(holds, "MILLSTREAM_SEED={seed}, call {call}: {rate:?}");
        }
    }
}

#[test]
fn settings_outside_of_their_ranges_are_refused() {
    let mut refused = spark().invalid.rejected_constructor_args;
    let good = Params { batch_ms: 100, proportional: 1.0, integral: 0.2, derivative: 0.0, min_rate: 100.0 };
    assert!(estimator(good).is_ok());
    for no_number in [f64::NAN, f64::INFINITY] {
        refused.extend([
            Params { proportional: no_number, ..good },
            Params { integral: no_number, ..good },
            Params { derivative: no_number, ..good },
            Params { min_rate: no_number, ..good },
        ]);
    }
    for params in refused {
        assert!(estimator(params).is_err(), "{params:?}");
    }
}

#[test]
fn the_change_of_the_error_counts_each_second() {
    let mut estimator = plain(0.5);
    assert_eq!(estimator.estimate(0.0, 10, 10.0, 0.0), None);
    // The speed goes from 1000 to 2000: an error of -1000, which came up in 500 ms.
    assert_eq!(estimator.estimate(500.0, 20, 10.0, 0.0), Some(1000.0 + 1000.0 + 0.5 * 2000.0));
}

#[test]
fn parts_of_a_millisecond_count() {
    let mut estimator = plain(0.0);
    assert_eq!(estimator.estimate(0.25, 10, 0.5, 0.0), None);
    assert_eq!(estimator.estimate(0.5, 10, 0.25, 0.0), Some(40_000.0));
}

#[test]
fn a_batch_that_tells_no_speed_changes_nothing() {
    let untold = [
        (10.0, 0, 10.0, 0.0),
        (10.0, 10, 0.0, 0.0),
        (10.0, 10, f64::NAN, 0.0),
        (f64::NAN, 10, 10.0, 0.0),
        (10.0, 10, f64::INFINITY, 0.0),
        (10.0, 10, 10.0, f64::NAN),
        (10.0, u64::MAX, f64::MIN_POSITIVE, 0.0),
        (0.0, 10, 10.0, 0.0),
    ];
    for (time_ms, elements, processing_ms, scheduling_ms) in untold {
        let mut estimator = plain(1.0);
        assert_eq!(estimator.estimate(0.0, 10, 10.0, 0.0), None);
        assert_eq!(estimator.estimate(time_ms, elements, processing_ms, scheduling_ms), None);
        assert_eq!(estimator.estimate(1000.0, 10, 10.0, 0.0), Some(1000.0));
    }
}
