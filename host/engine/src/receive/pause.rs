//! How receivers that were closed go on: each on its lane, behind what it has sent.

use std::sync::{Arc, PoisonError};

use super::{Inlet, Receiver, Receivers};
use crate::status::ReceiverState;

impl Receivers {
    /// Goes on with receiving after [`Self::close`], but for sources that had no more.
    pub(crate) fn reopen(&mut self) {
        self.closed = false;
        for at in 0..self.lanes.len() {
            let receiver = &self.lanes[at];
            if !receiver.had_ended {
                let (binding, life, inlet) =
                    (receiver.binding.clone(), Arc::clone(&receiver.life), receiver.reopen());
                self.lanes[at].task = self.run(&binding, inlet, &life);
            }
        }
    }
}

impl Receiver {
    pub(super) fn close(&mut self) {
        self.had_ended = self.outlet.has_ended();
        self.outlet.close();
    }

    fn reopen(&self) -> Inlet {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).state = ReceiverState::Active;
        self.outlet.reopen()
    }
}
