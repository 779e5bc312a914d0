//! What port extenders tell their controlling bridge: ports that come and go, and their links.

use ether::{ECid, Instant};

use super::{At, Controlling, Output, Port};
use crate::csp::{Completion, Message, Pdu, PortItem, PortParameters, PortStatus, Tlv};

impl Controlling {
    pub(super) fn handle_request(&mut self, now: Instant, at: At, request: Pdu) {
        let completion = match request.message {
            Message::Create => match self.create(now, at, &request) {
                Ok(()) => return,
                Err(completion) => completion,
            },
            Message::Delete => self.delete(now, at, &request),
            Message::Status => self.status(at, &request),
            _ => Completion::Unsupported,
        };
        if let Some(node) = self.nodes.get_mut(&at) {
            node.session.answer(now, &request, completion, request.ecid, Vec::new());
        }
    }

    /// A port is wanted: answered at once if it is there, else when the bridge has made it.
    pub(super) fn create(&mut self, now: Instant, at: At, request: &Pdu) -> Result<(), Completion> {
        let mut items = request.ports();
        let (Some(PortItem { flag: cascade, id: local }), None) = (items.next(), items.next()) else {
            return Err(Completion::Malformed);
        };
        let tier = self.tier(at);
        let node = self.nodes.get_mut(&at).ok_or(Completion::NotOpen)?;
        let known = self.by_local.get(&(at, local));
        if let Some((pcid, port)) = known.and_then(|pcid| Some((*pcid, self.ports.get_mut(pcid)?))) {
            if port.cascade != cascade {
                return Err(Completion::Malformed);
            }
            if port.asked.is_none() {
                let body = request.body.clone();
                node.session.answer(now, request, Completion::Success, Some(pcid.into()), body);
            }
            return Ok(());
        }
        let owner = node.session.peer().ok_or(Completion::NotOpen)?;
        if cascade && tier >= self.settings.tiers {
            return Err(Completion::NoResources);
        }
        let wanted = request.ecid.and_then(ECid::pcid);
        let pcid = self.ids.take_port(now, (owner, local), wanted).ok_or(Completion::NoResources)?;
        let port = Port {
            at,
            owner,
            local,
            cascade,
            asked: Some(request.clone()),
            parameters: PortParameters::new(pcid),
            ready: false,
            up: false,
        };
        self.ports.insert(pcid, port);
        self.by_local.insert((at, local), pcid);
        self.out.push_back(Output::Create { pcid, at, local, cascade });
        Ok(())
    }

    pub(super) fn delete(&mut self, now: Instant, at: At, request: &Pdu) -> Completion {
        let Some(pcid) = request.ecid.and_then(ECid::pcid) else { return Completion::Malformed };
        let own = self.ports.get(&pcid).is_some_and(|port| port.at == at && port.asked.is_none());
        if !own {
            return Completion::UnknownPort;
        }
        self.remove(now, pcid, true);
        Completion::Success
    }

    pub(super) fn status(&mut self, at: At, request: &Pdu) -> Completion {
        let mut completion = Completion::Success;
        for tlv in &request.body {
            let Tlv::Status(PortStatus { pcid, up, .. }) = tlv else { continue };
            let Some(port) = self.ports.get_mut(pcid).filter(|port| port.at == at) else {
                completion = Completion::UnknownPort;
                continue;
            };
            if std::mem::replace(&mut port.up, *up) != *up && port.ready {
                self.out.push_back(Output::Link(*pcid, *up));
            }
        }
        completion
    }
}
