//! What port extenders tell their controlling bridge: ports that come and go, and their links.

use ether::{ECid, Instant, MacAddr};

use super::{At, Controlling, Output, Port};
use crate::{
    csp::{Completion, Message, Pdu, PortItem, PortParameters, PortStatus, Tlv},
    extender::Local,
};

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
    fn create(&mut self, now: Instant, at: At, request: &Pdu) -> Result<(), Completion> {
        let mut items = request.ports();
        let (Some(PortItem { flag: cascade, id: local }), None) = (items.next(), items.next()) else {
            return Err(Completion::Malformed);
        };
        let tier = self.tier(at);
        let owner = self.nodes.get(&at).and_then(|node| node.session.peer()).ok_or(Completion::NotOpen)?;
        self.doubt(now, at, local, owner, cascade);
        let node = self.nodes.get_mut(&at).ok_or(Completion::NotOpen)?;
        let known = self.by_local.get(&(at, local));
        if let Some((pcid, port)) = known.and_then(|pcid| Some((*pcid, self.ports.get_mut(pcid)?))) {
            if port.cascade != cascade {
                return Err(Completion::Malformed);
            }
            if port.asked.is_some() {
                return Ok(());
            }
            node.session.answer(now, request, Completion::Success, Some(pcid.into()), ports_of(request));
            if std::mem::take(&mut port.presumed) {
                node.parameters.insert(pcid);
            }
            let names = request.names();
            if port.names != names {
                port.names.clone_from(&names);
                self.out.push_back(Output::Named(pcid, names));
            }
            self.want(pcid);
            return Ok(());
        }
        if cascade && tier >= self.settings.tiers {
            return Err(Completion::NoResources);
        }
        let wanted = request.ecid.and_then(ECid::pcid);
        let pcid = self
            .ids
            .take_port(now, (owner, local), wanted, &self.elsewhere)
            .ok_or(Completion::NoResources)?;
        let port = Port {
            at,
            owner,
            local,
            cascade,
            names: request.names(),
            asked: Some(request.clone()),
            presumed: false,
            counters: None,
            parameters: PortParameters::new(pcid),
            ready: false,
            up: false,
        };
        self.out.push_back(Output::Create { pcid, at, local, cascade, names: port.names.clone() });
        self.ports.insert(pcid, port);
        self.by_local.insert((at, local), pcid);
        Ok(())
    }

    /// A port that is only presumed is gone if another port extender has its place, or it is of another kind.
    fn doubt(&mut self, now: Instant, at: At, local: Local, owner: MacAddr, cascade: bool) {
        let pcid = self.by_local.get(&(at, local)).copied();
        let port = pcid.and_then(|pcid| self.ports.get(&pcid));
        if let (Some(pcid), Some(port)) = (pcid, port)
            && port.presumed
            && (port.owner, port.cascade) != (owner, cascade)
        {
            self.remove(now, pcid, true);
        }
    }

    fn delete(&mut self, now: Instant, at: At, request: &Pdu) -> Completion {
        let Some(pcid) = request.ecid.and_then(ECid::pcid) else { return Completion::Malformed };
        let own = self.ports.get(&pcid).is_some_and(|port| port.at == at && port.asked.is_none());
        if !own {
            return Completion::UnknownPort;
        }
        self.remove(now, pcid, true);
        Completion::Success
    }

    fn status(&mut self, at: At, request: &Pdu) -> Completion {
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

/// What an answer to Create says beside the identifier.
pub(super) fn ports_of(request: &Pdu) -> Vec<Tlv> {
    request.body.iter().filter(|tlv| matches!(tlv, Tlv::Ports(_))).cloned().collect()
}
