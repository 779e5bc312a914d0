//! Who listens to which group, once more: maps without bounds.

use std::collections::BTreeMap;

use ether::{MacAddr, Vid};
use hairpin::PortId;

use crate::packets::What;

/// Times are seconds.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    /// Since when and until when somebody asks, by VLAN and version.
    queriers: BTreeMap<(Vid, bool), (u32, u32)>,
    listening: BTreeMap<(PortId, Vid, MacAddr), u32>,
    routers: BTreeMap<(PortId, Vid, bool), u32>,
    asked: BTreeMap<(PortId, Vid, bool), u32>,
}

/// The MAC address of a group.
pub(crate) fn mac_of(v6: bool, [a, b, c, d]: [u8; 4]) -> MacAddr {
    if v6 { MacAddr(0x33, 0x33, a, b, c, d) } else { MacAddr(1, 0, 0x5e, b, c, d) }
}

/// Whether listeners tell of this group, and of which version of IP it is.
fn told(dst: MacAddr) -> Option<bool> {
    let octets = dst.octets();
    if octets[..2] == [0x33, 0x33] && octets[2..5] != [0, 0, 0] {
        Some(true)
    } else if octets[..3] == [1, 0, 0x5e] && octets[3] < 128 && octets[3..5] != [0, 0] {
        Some(false)
    } else {
        None
    }
}

impl Listeners {
    /// The port is another than before, or one of its VSIs has gone.
    pub(crate) fn forget(&mut self, port: PortId) {
        self.listening.retain(|(p, ..), _| *p != port);
        self.routers.retain(|(p, ..), _| *p != port);
        self.asked.retain(|(p, ..), _| *p != port);
    }

    /// Somebody new is behind the port, whom nobody has asked yet.
    pub(crate) fn opened(&mut self, port: PortId) {
        self.asked.retain(|(p, ..), _| *p != port);
    }

    pub(crate) fn hear(&mut self, port: PortId, uplink: bool, vid: Vid, v6: bool, what: &What, now: u32) {
        match what {
            What::Query { .. } | What::Router if !uplink => {
                self.routers.insert((port, vid, v6), now + 255);
            }
            _ => {}
        }
        match what {
            What::Query { .. } => {
                let (since, until) = self.queriers.entry((vid, v6)).or_insert((now, 0));
                if *until <= now {
                    *since = now;
                }
                *until = now + 255;
            }
            What::Report(groups) if !uplink => {
                for (group, joins) in groups {
                    let key = (port, vid, mac_of(v6, *group));
                    if *joins {
                        self.listening.insert(key, now + 260);
                    } else if let Some(until) = self.listening.get_mut(&key).filter(|until| **until > now) {
                        *until = (*until).min(now + 3);
                    }
                }
            }
            What::Router | What::Report(_) => {}
        }
    }

    fn asks(&self, vid: Vid, v6: bool, now: u32) -> Option<u32> {
        let (since, until) = self.queriers.get(&(vid, v6))?;
        (*until > now).then_some(*since)
    }

    /// Whether a report is for routers only.
    pub(crate) fn reports_go_to_routers(&self, vid: Vid, v6: bool, now: u32) -> bool {
        self.asks(vid, v6, now).is_some()
    }

    pub(crate) fn router(&self, port: PortId, vid: Vid, v6: bool, now: u32) -> bool {
        self.routers.get(&(port, vid, v6)).is_some_and(|until| *until > now)
    }

    /// A general query goes there.
    pub(crate) fn ask(&mut self, port: PortId, vid: Vid, v6: bool, now: u32) {
        self.asked.entry((port, vid, v6)).or_insert(now);
    }

    /// Whether the port must get the group, whatever VSIs are behind it.
    pub(crate) fn wants(&self, port: PortId, vid: Vid, dst: MacAddr, now: u32) -> bool {
        let Some(v6) = told(dst) else { return true };
        let Some(since) = self.asks(vid, v6, now) else { return true };
        let Some(asked) = self.asked.get(&(port, vid, v6)) else { return true };
        now < since.max(*asked) + 10
            || self.router(port, vid, v6, now)
            || self.listening.get(&(port, vid, dst)).is_some_and(|until| *until > now)
    }
}
