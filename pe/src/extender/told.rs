//! What a controlling bridge has a port extender do.

use ether::{Instant, Pcid, Vid};

use super::{Extender, Local, Output, Stage};
use crate::csp::{Completion, Counters, Message, Pdu, PortParameters, Tlv, session::WINDOW};

impl Extender {
    /// What [`Output::Count`] asked for: of each port its counters, in the order of [`Counters::values`].
    pub fn counted(&mut self, now: Instant, question: u32, values: Vec<(Local, [u64; 12])>) {
        let Some(request) = self.counting.remove(&question) else { return };
        let pcid = |local| self.ports.get(&local).filter(|port| port.stage == Stage::Active)?.pcid;
        let counters = values.into_iter().filter_map(|(local, values)| {
            Some(Tlv::Counters(Box::new(Counters { pcid: pcid(local)?, values })))
        });
        let body: Vec<Tlv> = counters.collect();
        let completion = if body.is_empty() { Completion::UnknownPort } else { Completion::Success };
        self.session.answer(now, &request, completion, request.ecid, body);
        self.step(now);
    }

    pub(super) fn handle_request(&mut self, now: Instant, request: &Pdu) {
        let completion = match request.message {
            Message::GetStatistics => match self.count(request) {
                Ok(()) => return,
                Err(completion) => completion,
            },
            Message::Register => self.register(request),
            Message::SetParameters => self.set_parameters(request),
            _ => Completion::Unsupported,
        };
        self.session.answer(now, request, completion, request.ecid, Vec::new());
    }

    /// The data path is asked; those that are no ports here are left out.
    fn count(&mut self, request: &Pdu) -> Result<(), Completion> {
        let pcids = request.ports().filter_map(|item| Pcid::new(item.id));
        let ports = pcids.filter_map(|pcid| self.by_pcid.get(&pcid).copied());
        let ports: Vec<Local> = ports.take(self.session.counters_at_once()).collect();
        if ports.is_empty() {
            return Err(Completion::UnknownPort);
        }
        let question = request.transaction;
        if self.counting.len() >= WINDOW && !self.counting.contains_key(&question) {
            return Err(Completion::Busy);
        }
        self.counting.insert(question, request.clone());
        self.out.push_back(Output::Count { question, ports });
        Ok(())
    }

    /// Ports join or leave a channel; all of them, or none.
    fn register(&mut self, request: &Pdu) -> Completion {
        let Some(ecid) = request.ecid else { return Completion::Malformed };
        let own = ecid.pcid().is_some_and(|pcid| self.by_pcid.contains_key(&pcid));
        let items: Option<Vec<(bool, Pcid)>> =
            request.ports().map(|item| Some((item.flag, Pcid::new(item.id)?))).collect();
        let Some(items) = items.filter(|items| !items.is_empty()) else { return Completion::Malformed };
        let cascade = |pcid: &Pcid| {
            let port = self.by_pcid.get(pcid).and_then(|local| self.ports.get(local));
            port.and_then(|port| port.info.as_ref()).is_some_and(|info| info.cascade)
        };
        let fits = |(leaves, pcid): &(bool, Pcid)| {
            *leaves || self.by_pcid.contains_key(pcid) && (ecid.is_group() || cascade(pcid))
        };
        if own || !items.iter().all(fits) {
            return Completion::UnknownPort;
        }
        if !self.channels.contains_key(&ecid) && self.channels.len() >= CHANNELS {
            return Completion::NoResources;
        }
        let channel = self.channels.entry(ecid).or_default();
        if std::mem::take(&mut channel.stale) {
            channel.members.clear();
        }
        for (leaves, pcid) in items {
            if leaves {
                channel.members.remove(&pcid);
            } else {
                channel.members.insert(pcid);
            }
        }
        self.tell_channel(ecid);
        Completion::Success
    }

    fn set_parameters(&mut self, request: &Pdu) -> Completion {
        let mut wanted: Vec<PortParameters> = Vec::new();
        for tlv in &request.body {
            match tlv {
                Tlv::Parameters(parameters) => wanted.push(parameters.clone()),
                Tlv::Vids(items) => {
                    let Some(last) = wanted.last_mut() else { return Completion::Malformed };
                    let untagged =
                        items.iter().filter(|item| item.untagged).filter_map(|item| Vid::new(item.vid));
                    last.untagged.extend(untagged);
                }
                _ => {}
            }
        }
        let mut completion = if wanted.is_empty() { Completion::Malformed } else { Completion::Success };
        for parameters in wanted {
            let local = self.by_pcid.get(&parameters.pcid).copied();
            let Some((local, port)) = local.and_then(|local| Some((local, self.ports.get_mut(&local)?)))
            else {
                completion = Completion::UnknownPort;
                continue;
            };
            if port.info.is_some() && port.parameters.as_ref() != Some(&parameters) {
                port.parameters = Some(parameters.clone());
                self.out.push_back(Output::Port(local, Some(parameters)));
            }
        }
        completion
    }
}

/// Channels at most: every identifier a base port extender knows.
const CHANNELS: usize = 16384;
