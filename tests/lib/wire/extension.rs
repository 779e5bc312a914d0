//! The smallest data path port extension can have: what a bridge and a port extender do with E-TAGs.

use std::collections::{BTreeMap, BTreeSet};

use ether::{ECid, ETag, EtherType, Pcid, Pcp, Vid};
use evbd::{Core, Effect, PortId};
use hairpin::Parameters;

/// What effects have told it.
#[derive(Default)]
pub(super) struct Extension {
    /// A bridge's extended ports, each with its cascade port and identifier.
    ends: BTreeMap<PortId, (PortId, Pcid)>,
    by_channel: BTreeMap<(PortId, Pcid), PortId>,
    floods: BTreeMap<(PortId, Vid), (ECid, BTreeSet<PortId>)>,
    /// A port extender's ports that have an identifier.
    ports: BTreeMap<PortId, Parameters>,
    channels: BTreeMap<ECid, BTreeSet<PortId>>,
    upstream: Option<PortId>,
}

/// Where a frame goes next.
pub(super) enum Step {
    /// It has arrived.
    Here(PortId, Vec<u8>),
    /// Out of a port.
    Out(PortId, Vec<u8>),
}

impl Extension {
    /// Takes an effect that is about port extension; gives back others.
    pub(super) fn take(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::Flood { cascade, vlan, channel: Some(channel) } => {
                self.floods.insert((cascade, vlan), channel);
            }
            Effect::Flood { cascade, vlan, channel: None } => drop(self.floods.remove(&(cascade, vlan))),
            Effect::Extend { port, parameters: Some(with), .. } => drop(self.ports.insert(port, *with)),
            Effect::Extend { port, parameters: None, .. } => drop(self.ports.remove(&port)),
            Effect::Channel { ecid, members } if members.is_empty() => drop(self.channels.remove(&ecid)),
            Effect::Channel { ecid, members } => drop(self.channels.insert(ecid, members)),
            Effect::Upstream(port) => self.upstream = port,
            other => return Some(other),
        }
        None
    }

    /// What leaves by which port, when `port` sends `frame`.
    pub(super) fn out(&self, port: PortId, frame: &[u8]) -> (PortId, Vec<u8>) {
        match self.ends.get(&port) {
            Some((cascade, pcid)) => (*cascade, tagged(frame, (*pcid).into(), None)),
            None => (port, frame.to_vec()),
        }
    }

    /// What becomes of a frame that came to a bridge's port.
    pub(super) fn at_bridge(&self, port: PortId, frame: Vec<u8>) -> Option<Step> {
        let Some(tag) = tag(&frame) else { return Some(Step::Here(port, frame)) };
        let source = tag.ecid.pcid()?;
        let end = self.by_channel.get(&(port, source))?;
        Some(Step::Here(*end, untagged(frame)))
    }

    /// What becomes of a frame that came to a port extender's port; `cascade` says which of its ports are cascade ports.
    pub(super) fn at_extender(
        &self,
        port: PortId,
        frame: Vec<u8>,
        cascade: impl Fn(PortId) -> Option<bool>,
    ) -> Vec<Step> {
        let tag = tag(&frame);
        let passes = |port: &PortId| self.ports.get(port).filter(|with| !with.blocked);
        match (cascade(port), tag) {
            // Upstream.
            (None, None) => vec![Step::Here(port, frame)],
            (None, Some(tag)) if self.upstream == Some(port) => {
                let own = self.ports.iter().find(|(_, with)| ECid::from(with.pcid) == tag.ecid);
                if let Some((to, _)) = own {
                    return passes(to).map(|_| Step::Out(*to, untagged(frame))).into_iter().collect();
                }
                let members = self.channels.get(&tag.ecid).into_iter().flatten();
                let copies =
                    members.filter(|to| passes(to).is_some_and(|with| Some(with.pcid) != tag.ingress));
                let copy = |to: &PortId| {
                    let frame =
                        if cascade(*to) == Some(true) { frame.clone() } else { untagged(frame.clone()) };
                    Step::Out(*to, frame)
                };
                copies.map(copy).collect()
            }
            (None, Some(_)) => Vec::new(),
            (Some(cascade), tag) => {
                let (Some(up), Some(with)) = (self.upstream, passes(&port)) else { return Vec::new() };
                match tag {
                    None => vec![Step::Out(up, tagged(&frame, with.pcid.into(), None))],
                    Some(tag) => {
                        let known = self.channels.get(&tag.ecid).is_some_and(|to| to.contains(&port));
                        let passes = cascade && known && !tag.ecid.is_group();
                        passes.then_some(Step::Out(up, frame)).into_iter().collect()
                    }
                }
            }
        }
    }

    /// A port has come or is gone.
    pub(super) fn follow(&mut self, port: PortId, core: &Core) {
        let name = core.port(port).and_then(|(name, _)| name.split_once(':'));
        let at = name.and_then(|(cascade, pcid)| {
            let (cascade, _, _) = core.ports().find(|(_, name, _)| *name == cascade)?;
            Some((cascade, pcid.parse().ok()?))
        });
        match at {
            Some(at) => {
                self.ends.insert(port, at);
                self.by_channel.insert(at, port);
            }
            None => {
                if let Some(at) = self.ends.remove(&port) {
                    self.by_channel.remove(&at);
                }
            }
        }
    }

    /// Copies of a frame flooded from an extended port of a bridge to `ports`: by the channel of several members where there
    /// is one, else one for each. All are in one VLAN.
    pub(super) fn flood(
        &self,
        from: PortId,
        frame: &[u8],
        ports: &BTreeSet<PortId>,
    ) -> Vec<(PortId, Vec<u8>)> {
        let Some((cascade, source)) = self.ends.get(&from).copied() else { return Vec::new() };
        let together = self
            .floods
            .iter()
            .map(|((to, _), (ecid, _))| (*to, tagged(frame, *ecid, (*to == cascade).then_some(source))));
        let alone = self.ends.iter().filter(|(end, (to, _))| {
            **end != from && ports.contains(end) && !self.floods.keys().any(|(cascade, _)| cascade == to)
        });
        let alone = alone.map(|(_, (to, pcid))| (*to, tagged(frame, (*pcid).into(), None)));
        together.chain(alone).collect()
    }

    /// Channels of several members in use.
    pub(super) fn floods(&self) -> usize {
        self.floods.len()
    }
}

fn tag(frame: &[u8]) -> Option<ETag> {
    let inner = frame.get(12..)?;
    inner.starts_with(&EtherType::E_TAG.0.to_be_bytes()).then(|| ETag::parse(inner).ok()).flatten()
}

fn untagged(mut frame: Vec<u8>) -> Vec<u8> {
    frame.drain(12..12 + ETag::LEN);
    frame
}

fn tagged(frame: &[u8], ecid: ECid, ingress: Option<Pcid>) -> Vec<u8> {
    let tag = ETag { pcp: Pcp::from_low_bits(0), dei: false, ingress, ecid };
    [&frame[..12], &tag.to_bytes(), &frame[12..]].concat()
}
