//! What two versions of a pipeline give for the same batches: kept, compared, and reported.
//!
//! Batch by batch, the rows that each version gives to its sinks are [`Captured`] and [`compare`]d; what differs is added up
//! in a [`ShadowReport`]. Sinks are known by their names, whatever they read and wherever they write.

mod captured;
mod compare;
mod encoding;
mod report;
mod row_text;
#[cfg(test)]
mod tests;

pub use captured::Captured;
pub use compare::compare;
pub use report::{DifferingRow, ShadowReport, Side, SinkDifferences};
