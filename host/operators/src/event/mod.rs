//! Windows over event time: of the rows whose own time falls into them, whenever those come.
//!
//! Windows begin at multiples of their slide. The rows of one slide are a *pane*, so a window is some whole panes, and a
//! row is kept once:
//!
//! ```text
//!  event time ─▶
//! ┌────┬────┬────┬────┬────┐
//! │    │    │    │    │    │   panes, each as long as the slide
//! └────┴────┴────┴────┴────┘
//! └──────────────┘              windows of three panes, each named by its start
//!      └──────────────┘
//!            W(t-1) ┆    ┆ W(t)   a window that ends in here is over with batch t
//! ```
//!
//! A source's [`Watermark`] says how far event time has come. [`Assignment`] gives each row of a batch its pane, and none to
//! those that are late; [`EventWindow`] keeps what the panes come to, and gives the windows that are over.
//!
//! What always holds: a batch begins with the watermark `W(t-1)` that the batch before committed, and ends with `W(t)`. Which
//! rows are late depends on the first alone, and which windows are over on both. So a row is either late or counted in each
//! window that it is in and that was not over, and a window is given once. All that is kept is in tables, so it is the same when
//! a batch is run again, and after a restart.

mod assignment;
mod gathering;
mod kept;
mod span;
#[cfg(test)]
mod tests;
mod watermark;
mod window;

pub use assignment::Assignment;
pub use gathering::Gathering;
pub use span::EventSpan;
pub use watermark::{Watermark, Watermarks};
pub use window::EventWindow;

use std::sync::Arc;

use arrow::array::{Array, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, TimeUnit, TimestampMicrosecondType};
use millstream_query::QueryError;

use crate::columns::misfit;

/// The column of a window's first moment.
const WINDOW_START: &str = "window_start";
/// The column of the first moment behind a window.
const WINDOW_END: &str = "window_end";

/// How event times are told: microseconds since 1970, UTC.
const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// A column of event times.
fn time_field(name: &str, nullable: bool) -> Arc<Field> {
    Arc::new(Field::new(name, MICROS, nullable))
}

/// The event times of a column of timestamps.
fn times(column: &dyn Array) -> Result<TimestampMicrosecondArray, QueryError> {
    let micros = cast(column, &MICROS).map_err(misfit)?;
    Ok(micros.as_primitive::<TimestampMicrosecondType>().clone())
}
