//! `evbd stop`: what is still to be waited for, and the answer.

use std::collections::BTreeSet;

use ether::{Instant, time::Duration};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Daemon;
use crate::{input::Input, leave};

/// A stop that was asked for.
pub(super) struct Stop {
    reply: oneshot::Sender<Vec<Value>>,
    /// VSIs are de-associated first.
    deassociate: bool,
    /// The VSIs there were, to be de-associated.
    vsis: Vec<(String, vdp::VsiId)>,
    until: Instant,
}

impl Daemon {
    /// Begins to stop; with `patience`, every VSI is de-associated first, and that is how long it may take.
    pub(super) fn begin_stop(&mut self, patience: Option<Duration>, reply: oneshot::Sender<Vec<Value>>) {
        let now = self.clock.now();
        let vsis = patience.map_or_else(Vec::new, |_| leave::vsis(&self.core));
        if patience.is_some() {
            self.input(Input::Deassociate);
        }
        self.stop = Some(Stop {
            reply,
            deassociate: patience.is_some(),
            vsis,
            until: now + patience.unwrap_or_default(),
        });
    }

    /// When the stop that was asked for is not waited for any longer.
    pub(super) fn stop_due(&self) -> Option<Instant> {
        self.stop.as_ref().map(|stop| stop.until)
    }

    /// Answers the stop that was asked for, if all is done or its time is over; whether to end.
    pub(super) fn end_stop(&mut self) -> bool {
        let now = self.clock.now();
        let Some(stop) = &self.stop else { return false };
        let left: BTreeSet<_> = leave::vsis(&self.core).into_iter().collect();
        let done = left.is_empty() && leave::is_quiet(&self.core);
        if stop.deassociate && !done && now < stop.until {
            return false;
        }
        let Some(Stop { reply, deassociate, vsis, .. }) = self.stop.take() else { return false };
        if deassociate {
            self.input(Input::Goodbye);
            self.kernel.undo();
        }
        let row = |vsi: &(String, vdp::VsiId)| json!({ "port": vsi.0, "id": vsi.1, "deassociated": !left.contains(vsi) });
        // A client that left meanwhile wants no answer.
        let _ = reply.send(vsis.iter().map(row).collect());
        true
    }
}
