//! The wait for a sink that does not take a committed batch.
//!
//! The batch has happened, and can neither be run again nor be left out: whatever comes, the sink is asked to finish it.
//! Faults of its own are tolerated as often as the batch is tried. For what is outside of it the pipeline waits, without
//! an end: the batches behind wait with it, and in the end the receivers, and `status` says why. Only a stop ends
//! the wait; then the next process goes on with it.

use millstream_model::BatchTime;

use crate::application::SinkBinding;
use crate::commit::Committer;
use crate::process::Processor;
use crate::waiting::Wait;
use crate::{EngineError, Recovery, SinkError};

impl Committer {
    /// Asks a sink to make a committed batch visible until it has, or cannot. `fault` is what it said before.
    pub(crate) async fn recover(
        &self,
        binding: &SinkBinding,
        time: BatchTime,
        mut fault: Option<SinkError>,
    ) -> Result<Recovery, EngineError> {
        let Processor { clock, board, waited, policy, .. } = &self.processor;
        let (began, mut failures, mut wait) = (clock.elapsed(), 0, Wait::new(&self.processor));
        loop {
            if let Some(source) = fault.take() {
                let waits = matches!(source, SinkError::Full(_) | SinkError::Unavailable(_));
                let may_end = self.may_be_left(&source);
                failures += u32::from(!waits);
                let is_last = failures >= policy.attempts.max(1);
                if is_last || matches!(source, SinkError::Unsynced(_)) || (may_end && wait.is_over()) {
                    let source = if may_end { self.left_behind(source) } else { source };
                    return Err(EngineError::Sink { time, sink: binding.name.clone(), source });
                }
                let how = if waits { "trying again until it works" } else { "trying again" };
                let trouble = format!("batch {time}: sink \"{}\": {source}; {how}", binding.name);
                wait.tell(&trouble);
                board.sink_trouble(Some(trouble));
                wait.pause(may_end).await?;
            }
            let since = clock.elapsed();
            match binding.sink.recover(time).await {
                Ok(recovery) => {
                    board.sink_trouble(None);
                    // What came before was in vain.
                    waited.add(since.saturating_sub(began));
                    return Ok(recovery);
                }
                Err(source) => fault = Some(source),
            }
        }
    }

    /// Whether the pipeline may stop gracefully with a batch that a sink does not take.
    fn may_be_left(&self, source: &SinkError) -> bool {
        match source {
            SinkError::Unavailable(_) => true,
            SinkError::Full(_) => self.processor.is_recovering,
            SinkError::Failed(_) | SinkError::Unsynced(_) => false,
        }
    }

    /// What becomes of a batch that the pipeline stopped to wait for.
    fn left_behind(&self, source: SinkError) -> SinkError {
        let fate = match self.log {
            Some(_) => "the pipeline was told to stop, and writes the batch when it is started again",
            None => "the pipeline was told to stop; its batches are lost, for it has no checkpoint folder",
        };
        let told = format!("{source}; {fate}");
        match source {
            SinkError::Full(_) => SinkError::Full(told),
            _ => SinkError::Unavailable(told),
        }
    }
}
