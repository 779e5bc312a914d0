//! What a controlling bridge asks port extenders: what differs between wanted and confirmed.

use std::collections::BTreeSet;

use ether::{Instant, Pcid};

use super::{At, Controlling, Output, node::Work};
use crate::csp::{Message, Pdu, PortItem, PortParameters, Tlv};

impl Controlling {
    /// Asks the next thing of any node; false if there is nothing, or no room.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        let ats: Vec<At> = self.nodes.keys().copied().collect();
        ats.into_iter().any(|at| self.ask_at(now, at))
    }

    fn ask_at(&mut self, now: Instant, at: At) -> bool {
        let Some(node) = self.nodes.get(&at) else { return false };
        if !node.is_open() || node.session.room() == 0 {
            return false;
        }
        let waiting = node.parameters.iter().copied().take(PORTS * 8);
        let ready: BTreeSet<Pcid> = waiting.filter(|pcid| self.known(*pcid)).take(PORTS).collect();
        let body: Vec<Tlv> = ready
            .iter()
            .filter_map(|pcid| self.ports.get(pcid))
            .flat_map(|port| parameters(&port.parameters))
            .collect();
        let Some(node) = self.nodes.get_mut(&at) else { return false };
        // Groups come last: while ports still arrive, they would be told again and again.
        let first = node.next_channel(false);
        let first = if first.is_none() && ready.is_empty() { node.next_channel(true) } else { first };
        let (message, ecid, body, work) = match first {
            Some((ecid, change)) => {
                let items = change.items().map(|(leaves, pcid)| PortItem { flag: leaves, id: pcid.get() });
                (
                    Message::Register,
                    Some(ecid),
                    vec![Tlv::Ports(items.collect())],
                    Work::Channel(ecid, change),
                )
            }
            None if ready.is_empty() => {
                let asked = node.under_way.values().any(|work| matches!(work, Work::Counters));
                if asked || node.uncounted.is_empty() {
                    return false;
                }
                let items = node.uncounted.iter().take(node.session.counters_at_once());
                let items: Vec<_> = items.map(|pcid| PortItem { flag: false, id: pcid.get() }).collect();
                node.uncounted.retain(|pcid| !items.iter().any(|item| item.id == pcid.get()));
                (Message::GetStatistics, None, vec![Tlv::Ports(items)], Work::Counters)
            }
            None => {
                node.parameters.retain(|pcid| !ready.contains(pcid));
                (Message::SetParameters, None, body, Work::Parameters(ready.into_iter().collect()))
            }
        };
        if let Some(transaction) = node.session.request(now, message, ecid, body) {
            node.under_way.insert(transaction, work);
        }
        true
    }

    pub(super) fn handle_answer(
        &mut self,
        now: Instant,
        at: At,
        transaction: u32,
        granted: bool,
        answer: &Pdu,
    ) {
        let Some(node) = self.nodes.get_mut(&at) else { return };
        match node.under_way.remove(&transaction) {
            Some(Work::Channel(ecid, change)) => {
                node.confirm(ecid, &change, granted);
                if ecid.is_group() {
                    self.announce(ecid);
                }
            }
            Some(Work::Parameters(pcids)) if granted => {
                for pcid in pcids {
                    let Some(port) = self.ports.get_mut(&pcid).filter(|port| port.at == at) else { continue };
                    if !std::mem::replace(&mut port.ready, true) && port.up {
                        self.out.push_back(Output::Link(pcid, true));
                    }
                }
            }
            Some(Work::Counters) if granted => {
                for tlv in &answer.body {
                    let Tlv::Counters(counters) = tlv else { continue };
                    let port = self.ports.get_mut(&counters.pcid).filter(|port| port.at == at);
                    if let Some(port) = port {
                        port.counters = Some((now, counters.values));
                    }
                }
            }
            Some(Work::Parameters(_) | Work::Counters) | None => {}
        }
    }
}

/// The TLVs that say how a port is to work.
fn parameters(parameters: &PortParameters) -> Vec<Tlv> {
    let items = parameters.untagged.iter().map(|vid| crate::csp::VidItem { untagged: true, vid: vid.get() });
    let vids: Vec<_> = items.collect();
    let mut tlvs = vec![Tlv::Parameters(parameters.clone())];
    tlvs.extend((!vids.is_empty()).then_some(Tlv::Vids(vids)));
    tlvs
}

/// Ports in one Set Parameters: fewer than 1500 octets.
const PORTS: usize = 50;
