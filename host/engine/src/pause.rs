//! Pauses of a pipeline that runs: its receivers are closed, what they have received is made safe and processed; then they
//! go on, or the pipeline ends.

use crate::EngineError;
use crate::run::Run;

impl Run {
    /// Stops receiving for a while, or goes on with it.
    pub(crate) async fn pause(&mut self, wanted: Option<u64>) -> Result<(), EngineError> {
        let receivers = self.receivers.as_mut().expect("receivers are started before they are closed");
        match wanted {
            Some(number) if !receivers.are_closed() => {
                self.give_up("the pipeline is handed over to another process").await?;
                // Another process is about to go on.
                self.end_trial();
                let receivers = self.receivers.as_mut().expect("they were there a moment ago");
                receivers.close(&self.stop).await?;
                // A log that has failed ends the pipeline, and whoever waits for the pause hears of that.
                if receivers.are_safe().await {
                    self.stop.has_paused(number);
                }
                self.paused = wanted;
            }
            // Where another pause is wanted by now, it is the next.
            _ => {
                receivers.reopen();
                self.paused = None;
            }
        }
        Ok(())
    }
}
