//! What a port extender asks its controlling bridge: identifiers for its ports, and to forget them; how their links are.

use std::collections::BTreeSet;

use ether::{ECid, Instant, Pcid};

use super::{Extender, Local, Output, Stage};
use crate::csp::{Message, Named, Pdu, PortItem, PortParameters, PortStatus, SessionState, Tlv};

impl Extender {
    /// Asks the next thing; false if there is none or no room.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        if self.session.state() != SessionState::Open || self.session.room() == 0 {
            return false;
        }
        while let Some(local) = self.todo.pop_first() {
            let Some(port) = self.ports.get_mut(&local) else { continue };
            let (message, ecid, flag) = match (port.stage, &port.info) {
                (Stage::New | Stage::Refused, Some(info)) => {
                    port.stage = Stage::Asked;
                    (Message::Create, port.pcid, info.cascade)
                }
                (Stage::New | Stage::Refused, None) => {
                    self.ports.remove(&local);
                    continue;
                }
                // Gone, or of another kind now: first the old one is to be forgotten.
                (Stage::Active, _) => {
                    port.stage = Stage::Leaving;
                    (Message::Delete, port.pcid, false)
                }
                // The answer comes back to it.
                (Stage::Asked | Stage::Leaving, _) => continue,
            };
            let mut body = vec![Tlv::Ports(vec![PortItem { flag, id: local }])];
            if message == Message::Create {
                let own = self.settings.name.iter().map(|name| Tlv::Name(Named::Extender, name.clone()));
                let name = port.info.iter().filter_map(|info| info.name.clone());
                body.extend(own.chain(name.map(|name| Tlv::Name(Named::Port, name))));
            }
            self.session.request(now, message, ecid.map(ECid::from), body);
            return true;
        }
        if self.status_at.is_some_and(|at| at <= now) {
            let told: BTreeSet<Local> = self.statuses.iter().copied().take(STATUSES).collect();
            self.statuses.retain(|local| !told.contains(local));
            if self.statuses.is_empty() {
                self.status_at = None;
            }
            let mut body: Vec<Tlv> = Vec::new();
            for local in told {
                let Some(port) = self.ports.get_mut(&local).filter(|port| port.stage == Stage::Active) else {
                    continue;
                };
                let (Some(pcid), Some(info)) = (port.pcid, port.info.as_ref()) else { continue };
                let status = |up| Tlv::Status(PortStatus { pcid, up, speed: 0 });
                // What was behind it may be something else now.
                let fell = std::mem::take(&mut port.fell) && info.up;
                body.extend(fell.then(|| status(false)));
                body.push(status(info.up));
            }
            if !body.is_empty() {
                self.session.request(now, Message::Status, None, body);
            }
            return true;
        }
        false
    }

    pub(super) fn handle_answer(&mut self, now: Instant, request: &Pdu, answer: &Pdu, granted: bool) {
        let known = request.ports().next().map(|item| item.id).filter(|local| self.ports.contains_key(local));
        let Some(local) = known else { return };
        match request.message {
            Message::Create => {
                let pcid = answer.ecid.and_then(ECid::pcid).filter(|_| granted);
                let other =
                    pcid.and_then(|pcid| self.by_pcid.get(&pcid)).copied().filter(|other| *other != local);
                // One that is left from the last session gives way; what is granted twice is not to be used.
                let live = |local| self.ports.get(&local).is_some_and(|port| port.stage == Stage::Active);
                match (pcid, other) {
                    (Some(pcid), other) if !other.is_some_and(live) => {
                        other.into_iter().for_each(|other| self.shut(other));
                        self.take(now, local, pcid);
                    }
                    _ => {
                        let Some(port) = self.ports.get_mut(&local) else { return };
                        port.stage = Stage::Refused;
                        // Said also of one that had nothing: now it is certain.
                        if port.parameters.is_none() {
                            self.out.push_back(Output::Port(local, None));
                        }
                        self.shut(local);
                    }
                }
            }
            Message::Delete => {
                self.shut(local);
                if let Some(port) = self.ports.get_mut(&local) {
                    port.stage = Stage::New;
                    self.todo.insert(local);
                }
            }
            _ => {}
        }
    }

    /// A port has been given its identifier.
    pub(super) fn take(&mut self, now: Instant, local: Local, pcid: Pcid) {
        let Some(port) = self.ports.get_mut(&local) else { return };
        if port.pcid != Some(pcid) || !port.stale {
            self.shut(local);
        }
        let Some(port) = self.ports.get_mut(&local) else { return };
        port.stage = Stage::Active;
        port.stale = false;
        port.pcid = Some(pcid);
        self.by_pcid.insert(pcid, local);
        // What the last session knew as a port further down.
        if self.channels.remove(&ECid::from(pcid)).is_some() {
            self.out.push_back(Output::Channel(pcid.into(), Vec::new()));
        }
        match &port.info {
            Some(_) if port.parameters.is_none() => {
                let parameters = PortParameters::new(pcid);
                port.parameters = Some(parameters.clone());
                self.out.push_back(Output::Port(local, Some(parameters)));
            }
            Some(_) => {}
            None => drop(self.todo.insert(local)),
        }
        self.statuses.insert(local);
        self.status_at = Some(self.status_at.map_or(now, |at| at.min(now)));
    }
}

/// Ports in one Status.
const STATUSES: usize = 100;
