//! END of the machine of one VSI, and what comes after it [Q 41.5.3].

use ether::{Instant, time::Duration};

use super::{Confirmed, Shared, State, Vsi};
use crate::{
    station::types::{Cause, StationConfig, StationEvent, VsiRequest},
    tlv::Command,
};

impl Vsi {
    /// END, and what comes after it.
    pub(super) fn finish(
        &mut self,
        now: Instant,
        cause: Cause,
        refused: Option<Command>,
        shared: &mut Shared,
    ) {
        let failed = !matches!(cause, Cause::Commanded | Cause::Replaced);
        if failed {
            shared.stats.failed += 1;
            self.last_error = Some(cause);
        }
        let mut pending = self.pending.pop_front();
        let retry_at =
            if cause == Cause::Replaced && self.pending.is_empty() && self.collides(pending.as_ref()) {
                // It is what is wanted.
                pending = None;
                Some(now + shared.timing.tout_keep_alive() + LINGER)
            } else {
                (failed && pending.is_none() && self.wanted.is_some() && shared.ready)
                    .then(|| now + self.back_off(cause, shared.config))
            };
        self.state = match (retry_at, &self.wanted) {
            (Some(until), _) => State::BackOff { until },
            (None, Some(_)) => State::Held,
            (None, None) => State::End,
        };
        self.report_end(now, cause, refused, retry_at, shared);
        if let Some(request) = pending {
            // A De-Associate is sent although the VSI is gone here: after a time-out the bridge may still hold it.
            self.submit(now, request, shared);
        }
    }

    /// Whether lldpad takes `next` for what it held until now: it holds that until toutKeepAlive although it has
    /// answered the De-Associate, and would neither answer other values nor ever forget the VSI after them.
    fn collides(&self, next: Option<&VsiRequest>) -> bool {
        self.oper.as_ref().zip(next).is_some_and(|(Confirmed { current, .. }, next)| {
            current.same_type(next.manager, next.type_id, next.version)
                && current.filter.format() == next.filter.format()
        })
    }

    fn report_end(
        &mut self,
        now: Instant,
        cause: Cause,
        refused: Option<Command>,
        retry_at: Option<Instant>,
        shared: &mut Shared,
    ) {
        let (id, words) = (self.id, cause.to_string());
        let line = match retry_at {
            Some(at) => format!("{words}; asks again in {} s", (at - now).as_secs()),
            None => words.clone(),
        };
        shared.history.record(now, id, line);
        if self.oper.take().is_some() || cause == Cause::Commanded {
            shared.event(StationEvent::Gone { id, cause, words: words.clone(), retry_at });
        }
        // An answer without a VLAN fails the Associate although a De-Associate came in between.
        if let Some(command) = refused.or((cause == Cause::NullVid).then_some(Command::Associate)) {
            let (error, hard) = (cause.error(), cause.is_hard());
            shared.event(StationEvent::Refused { id, command, cause, error, words, hard, retry_at });
        }
    }

    fn back_off(&mut self, cause: Cause, config: StationConfig) -> Duration {
        let doubled = config.first_retry.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        if cause.is_hard() { config.hard_retry } else { doubled.min(config.last_retry) }
    }
}

/// How much longer than toutKeepAlive lldpad is given to forget a VSI.
const LINGER: Duration = Duration::from_secs(1);
