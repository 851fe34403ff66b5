//! The wait for a sink that does not take a committed batch.
//!
//! The batch has happened, and can neither be run again nor be left out: whatever comes, the sink is asked to finish it.
//! Faults of its own are tolerated as often as the batch is tried. For what is outside of it the pipeline waits, without
//! an end: the batches behind wait with it, and in the end the receivers, and `status` says why. Only a stop ends
//! the wait; then the next process goes on with it.

use millstream_model::BatchTime;

use crate::application::SinkBinding;
use crate::commit::Committer;
use crate::{EngineError, Recovery, SinkError};

impl Committer {
    /// Asks a sink to make a committed batch visible until it has, or cannot. `fault` is what it said before.
    pub(crate) async fn recover(
        &self,
        binding: &SinkBinding,
        time: BatchTime,
        mut fault: Option<SinkError>,
    ) -> Result<Recovery, EngineError> {
        let mut backoff = self.processor.backoff();
        let (mut failures, mut stopping) = (0, false);
        let mut told = String::new();
        loop {
            if let Some(source) = fault.take() {
                let waits = matches!(source, SinkError::Full(_) | SinkError::Unavailable(_));
                failures += u32::from(!waits);
                let is_last = failures >= self.processor.policy.attempts.max(1);
                let is_outside = matches!(source, SinkError::Unavailable(_));
                if is_last || matches!(source, SinkError::Unsynced(_)) || (is_outside && stopping) {
                    let source = if is_outside { self.left_behind(source) } else { source };
                    return Err(EngineError::Sink { time, sink: binding.name.clone(), source });
                }
                self.tell(binding, time, &source, &mut told);
                tokio::select! {
                    biased;
                    // Once more, and no longer.
                    () = self.stop.told(), if is_outside => stopping = true,
                    () = self.processor.pause(&mut backoff) => {}
                }
            }
            match binding.sink.recover(time).await {
                Ok(recovery) => {
                    self.processor.board.sink_trouble(None);
                    return Ok(recovery);
                }
                Err(source) => fault = Some(source),
            }
        }
    }

    /// Says why the pipeline waits, in the log once for each reason.
    fn tell(&self, binding: &SinkBinding, time: BatchTime, source: &SinkError, told: &mut String) {
        let waits = matches!(source, SinkError::Full(_) | SinkError::Unavailable(_));
        let how = if waits { "trying again until it works" } else { "trying again" };
        let trouble = format!("batch {time}: sink \"{}\": {source}; {how}", binding.name);
        if trouble != *told {
            tracing::warn!("{trouble}");
            told.clone_from(&trouble);
        }
        self.processor.board.sink_trouble(Some(trouble));
    }

    /// What becomes of a batch that the pipeline stopped to wait for.
    fn left_behind(&self, source: SinkError) -> SinkError {
        let fate = match self.log {
            Some(_) => "the pipeline was told to stop, and writes the batch when it is started again",
            None => "the pipeline was told to stop; its batches are lost, for it has no checkpoint folder",
        };
        SinkError::Unavailable(format!("{source}; {fate}"))
    }
}
