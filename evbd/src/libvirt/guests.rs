//! The VSIs libvirt has asked for: what was asked last of each, what came of it, and what libvirt is to be told unasked.

use std::collections::BTreeMap;

use ether::{Instant, MacAddr, time::Duration};
use serde::Serialize;
use vdp::{Command, VsiId};

use super::wire::{Ask, Progress, Refusal};

/// All guests' VSIs. What libvirt asks is answered from here, at once.
#[derive(Debug)]
pub struct Guests {
    guests: BTreeMap<VsiId, Guest>,
    /// The interfaces guests may hang on, by number.
    uplink: Option<u32>,
    limit: usize,
    /// Orders what is asked.
    next: u64,
}

#[derive(Debug)]
struct Guest {
    ask: Ask,
    /// Where libvirt hears; 0: not known since a restart.
    port: u32,
    progress: Progress,
    serial: u64,
    asked: Instant,
    /// The core has not taken it yet.
    fresh: bool,
    /// It was there, and libvirt has not been told that it is not.
    lost: bool,
    allowance: Allowance,
}

/// How often libvirt is told of one VSI: each time it asks for it anew, and a bridge may refuse it each time.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: u32,
    next: Option<Instant>,
}

/// Something libvirt is to be told unasked: a VSI is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Where libvirt hears; 0: not known.
    pub(crate) port: u32,
    pub(crate) ask: Ask,
}

/// A guest's VSI, for display.
#[derive(Debug, Serialize)]
pub(crate) struct GuestRow {
    id: VsiId,
    mac: String,
    command: Command,
    outcome: &'static str,
    /// What libvirt was told, where it was refused.
    code: Option<u16>,
    /// Where libvirt hears of withdrawals.
    event_port: u32,
    /// Withdrawals that wait to be told.
    lost: bool,
}

impl Guests {
    /// None yet, and at most `limit`.
    pub const fn new(limit: usize) -> Self {
        Self { guests: BTreeMap::new(), uplink: None, limit, next: 0 }
    }

    /// The number of the uplink's interface; none while there is none.
    pub const fn set_uplink(&mut self, ifindex: Option<u32>) {
        self.uplink = ifindex;
    }

    /// Another number of VSIs; those there stay.
    pub(crate) const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// libvirt asks for something; `port` is where it hears.
    ///
    /// # Errors
    /// When there is no such uplink, or there are too many VSIs.
    pub(crate) fn ask(&mut self, now: Instant, port: u32, ask: Ask) -> Result<(), Refusal> {
        if self.uplink != Some(ask.ifindex) {
            return Err(Refusal::NoUplink);
        }
        if !self.guests.contains_key(&ask.id) && self.guests.len() >= self.limit {
            // One that ends and is not known has ended.
            return if ask.command == Command::DeAssociate { Ok(()) } else { Err(Refusal::Full) };
        }
        // A guest is stopped whether the bridge hears of it or not: libvirt is not kept waiting.
        let progress = if ask.command == Command::DeAssociate { Progress::Done } else { Progress::Waiting };
        self.next += 1;
        let allowance = self.guests.get(&ask.id).map_or(Allowance::FULL, |guest| guest.allowance);
        let guest = Guest {
            port,
            progress,
            serial: self.next,
            asked: now,
            fresh: true,
            lost: false,
            allowance,
            ask: ask.clone(),
        };
        self.guests.insert(ask.id, guest);
        Ok(())
    }

    /// What came of the VSIs behind the interface `ifindex`, those asked for last first, as many as an answer holds.
    ///
    /// # Errors
    /// When there is no such uplink.
    pub fn outcome(&self, ifindex: u32) -> Result<Vec<(VsiId, Progress)>, Refusal> {
        if self.uplink != Some(ifindex) {
            return Err(Refusal::NoUplink);
        }
        let mut all: Vec<&Guest> = self.guests.values().collect();
        if all.len() > LISTED {
            all.sort_unstable_by_key(|guest| std::cmp::Reverse(guest.serial));
        }
        Ok(all.into_iter().take(LISTED).map(|guest| (guest.ask.id, guest.progress)).collect())
    }

    /// What the core has not been told yet, in the order it was asked.
    pub(crate) fn take(&mut self) -> Vec<Ask> {
        let mut fresh: Vec<&mut Guest> = self.guests.values_mut().filter(|guest| guest.fresh).collect();
        fresh.sort_unstable_by_key(|guest| guest.serial);
        fresh.iter_mut().for_each(|guest| guest.fresh = false);
        fresh.into_iter().map(|guest| guest.ask.clone()).collect()
    }

    /// A VSI from before a restart.
    pub(crate) fn resume(&mut self, now: Instant, ask: Ask, progress: Progress) {
        self.next += 1;
        let (id, serial) = (ask.id, self.next);
        self.guests.entry(id).or_insert(Guest {
            ask,
            port: 0,
            progress,
            serial,
            asked: now,
            fresh: false,
            lost: false,
            allowance: Allowance::FULL,
        });
    }

    /// What was asked for has come to this, if it is what was asked for last.
    pub(crate) fn settle(&mut self, id: &VsiId, command: Command, progress: Progress) {
        if let Some(guest) = self.guests.get_mut(id).filter(|guest| guest.ask.command == command) {
            guest.progress = progress;
            // What is there again needs no asking for.
            guest.lost &= progress != Progress::Done;
        }
    }

    /// The VSI is gone, and libvirt has not asked for that. It only hears of VSIs it was told are there.
    pub(crate) fn withdraw(&mut self, id: &VsiId) {
        if let Some(guest) = self.guests.get_mut(id)
            && guest.progress == Progress::Done
            && guest.ask.command != Command::DeAssociate
        {
            guest.progress = Progress::Waiting;
            guest.lost = guest.ask.command == Command::Associate;
        }
    }

    /// The VSI has ended for good. What libvirt asked of it is remembered as long as it asks for the outcome.
    pub(crate) fn end(&mut self, id: &VsiId) {
        if self.guests.get(id).is_some_and(|guest| guest.ask.command != Command::DeAssociate && !guest.fresh)
        {
            self.guests.remove(id);
        }
    }

    /// What libvirt is to be told now.
    pub(crate) fn notices(&mut self, now: Instant) -> Vec<Notice> {
        let mut notices = Vec::new();
        for guest in self.guests.values_mut().filter(|guest| guest.lost) {
            if guest.allowance.take(now) {
                guest.lost = false;
                notices.push(Notice { port: guest.port, ask: guest.ask.clone() });
            }
        }
        notices
    }

    /// When [`Guests::notices`] has something that waits.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.guests.values().filter(|guest| guest.lost);
        waiting.map(|guest| guest.allowance.due()).min()
    }

    /// Forgets those that ended a while ago, and returns those to be ended: asked for without success by someone who does
    /// not ask for the outcome any more, and never seen.
    pub(crate) fn sweep(&mut self, now: Instant, seen: impl Fn(&VsiId) -> bool) -> Vec<VsiId> {
        let old = |guest: &Guest| now - guest.asked > PATIENCE && !guest.fresh;
        self.guests.retain(|_, guest| guest.ask.command != Command::DeAssociate || !old(guest));
        let given_up = |(id, guest): &(&VsiId, &Guest)| {
            !matches!(guest.progress, Progress::Done) && old(guest) && !seen(id)
        };
        let ids: Vec<VsiId> = self.guests.iter().filter(given_up).map(|(id, _)| *id).collect();
        ids.iter().for_each(|id| drop(self.guests.remove(id)));
        ids
    }

    /// Whether a guest has this address.
    pub(crate) fn has(&self, mac: MacAddr) -> bool {
        self.guests.values().any(|guest| guest.ask.mac == mac)
    }

    /// All of them, for display.
    pub(crate) fn rows(&self) -> Vec<GuestRow> {
        let row = |guest: &Guest| GuestRow {
            id: guest.ask.id,
            mac: guest.ask.mac.to_string(),
            command: guest.ask.command,
            outcome: match guest.progress {
                Progress::Waiting => "waiting",
                Progress::Done => "done",
                Progress::Refused(_) => "refused",
            },
            code: match guest.progress {
                Progress::Refused(code) => Some(code),
                Progress::Waiting | Progress::Done => None,
            },
            event_port: guest.port,
            lost: guest.lost,
        };
        self.guests.values().map(row).collect()
    }
}

impl Allowance {
    const FULL: Self = Self { left: BURST, next: None };

    /// Whether one more is allowed; `BURST` at once, and one more each [`REFILL`].
    fn take(&mut self, now: Instant) -> bool {
        while let Some(next) = self.next.filter(|next| *next <= now) {
            self.left += 1;
            self.next = (self.left < BURST).then_some(next + REFILL);
        }
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.next = self.next.or(Some(now + REFILL));
        true
    }

    /// When the next is allowed, if none was taken before.
    fn due(&self) -> Instant {
        self.next.filter(|_| self.left == 0).unwrap_or(Instant::ZERO)
    }
}

/// An attribute of netlink holds 65535 octets, and each VSI takes 40 of it.
const LISTED: usize = 1600;
const BURST: u32 = 3;
const REFILL: Duration = Duration::from_secs(10);
/// libvirt asks for the outcome for ten seconds.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
