//! What an answer of the bridge does to the machine of one VSI [Q 41.5.3].

use ether::Instant;

use super::{Confirmed, Shared, State, Vsi};
use crate::{
    error::ErrorCode,
    filter::FilterInfo,
    station::types::{Cause, StationEvent, VsiRequest},
    tlv::{Association, Command, Verdict},
    vsi::ManagerId,
};

impl Vsi {
    pub(super) fn processing_answer(
        &mut self,
        now: Instant,
        manager: ManagerId,
        answer: &Association,
        verdict: Verdict,
        shared: &mut Shared,
    ) {
        let State::Processing { asked, sent, .. } = &self.state else { return };
        let (asked, sent) = (asked.clone(), sent.clone());
        let command = Some(sent.command);
        if answer.command == Command::DeAssociate {
            return self.finish(now, deassociated(verdict), command, shared);
        }
        if answer.command != sent.command {
            // DEVIATES [Q 41.5.3]: a late answer to an earlier command is no failure of this one; its time runs on.
            shared.stats.stale += 1;
            return;
        }
        let returned = returned(&sent, manager, answer);
        if verdict.error != ErrorCode::Success {
            let associated = self.oper.as_ref().is_some_and(|o| o.current.command == Command::Associate);
            if verdict.keep && associated && returned.is_some() {
                return self.keep(now, verdict.error, shared);
            }
            return self.finish(now, refused(verdict), command, shared);
        }
        match returned {
            None => self.finish(now, Cause::Mismatch, command, shared),
            // The bridge holds an association that is of no use: it is told.
            // DEVIATES [Q 41.5.3]: with `open_vlan` it is of use, to frames nobody here tags. lldpad chooses no VLAN.
            Some(filter)
                if sent.command == Command::Associate
                    && !filter.is_resolved()
                    && !shared.config.open_vlan =>
            {
                self.deassociate_with(now, &sent, Cause::NullVid, shared);
            }
            Some(filter) => self.confirm(now, asked, VsiRequest { filter, ..sent }, shared),
        }
    }

    pub(super) fn keep_alive_answer(
        &mut self,
        now: Instant,
        manager: ManagerId,
        answer: &Association,
        verdict: Verdict,
        shared: &mut Shared,
    ) {
        let Some(Confirmed { asked, current }) = &self.oper else { return };
        if answer.command == Command::DeAssociate {
            return self.finish(now, deassociated(verdict), None, shared);
        }
        if answer.command != current.command {
            shared.stats.stale += 1;
            return;
        }
        match (returned(current, manager, answer), verdict) {
            (Some(filter), Verdict { error: ErrorCode::Success, .. }) => {
                // Only a priority can be new: what was null has been filled in before.
                if filter != current.filter {
                    let (asked, current) = (asked.clone(), VsiRequest { filter, ..current.clone() });
                    return self.confirm(now, asked, current, shared);
                }
                self.wait_system_cmd(now, shared);
            }
            (None, Verdict { error: ErrorCode::Success, .. }) => {
                self.finish(now, Cause::Mismatch, None, shared);
            }
            (Some(_), Verdict { keep: true, error, .. }) if current.command == Command::Associate => {
                self.deassociate(now, Cause::Reverted { error }, shared);
            }
            (_, verdict) => self.finish(now, refused(verdict), None, shared),
        }
    }

    /// Whether `answer` is about what is confirmed.
    pub(super) fn is_ours(&self, manager: ManagerId, answer: &Association) -> bool {
        self.oper.as_ref().is_some_and(|Confirmed { current, .. }| {
            current.same_type(manager, answer.type_id, answer.version)
                && answer.filter.as_ref().is_none_or(|filter| current.filter.covers(filter))
        })
    }

    /// PREASSOC_NEW, ASSOC_NEW.
    fn confirm(&mut self, now: Instant, asked: VsiRequest, current: VsiRequest, shared: &mut Shared) {
        let (id, command, filter) = (self.id, current.command, current.filter.clone());
        shared.stats.succeeded += 1;
        self.failures = 0;
        self.last_error = None;
        self.oper = Some(Confirmed { asked, current });
        shared.history.record(now, id, format!("{} confirmed", command.words()));
        shared.event(match command {
            Command::Associate => StationEvent::Associated { id, filter },
            _ => StationEvent::PreAssociated { id, command, filter },
        });
        self.wait_system_cmd(now, shared);
    }

    /// ASSOC_COMPLETE with the association that stood before.
    pub(super) fn keep(&mut self, now: Instant, error: ErrorCode, shared: &mut Shared) {
        shared.stats.reverts += 1;
        let cause = Cause::Refused { error, hard: false };
        self.last_error = Some(cause);
        if self.pending.is_empty() {
            self.wanted = self.oper.as_ref().map(|oper| oper.asked.clone());
        }
        shared.history.record(now, self.id, format!("{cause}; the association stands as it was"));
        shared.event(StationEvent::Kept { id: self.id, error, words: cause.to_string() });
        self.wait_system_cmd(now, shared);
    }
}

/// The filter of `answer` if it answers `request`: equal except where the request was zero.
fn returned(request: &VsiRequest, manager: ManagerId, answer: &Association) -> Option<FilterInfo> {
    let filter = answer.filter.as_ref().filter(|filter| request.filter.covers(filter))?;
    request.same_type(manager, answer.type_id, answer.version).then(|| filter.clone())
}

/// What a De-Associate from the bridge means: a refusal if it names an error.
pub(super) fn deassociated(verdict: Verdict) -> Cause {
    if verdict.error == ErrorCode::Success { Cause::PeerDeassociated } else { refused(verdict) }
}

fn refused(verdict: Verdict) -> Cause {
    Cause::Refused { error: verdict.error, hard: verdict.hard }
}
