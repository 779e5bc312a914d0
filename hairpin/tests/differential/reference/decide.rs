//! What becomes of one frame.

use super::*;

impl Reference {
    pub(crate) fn process(
        &mut self,
        now: Instant,
        ingress: PortId,
        frame: &Frame<'_>,
        packet: &Packet,
    ) -> Fate {
        self.from = None;
        self.mirrors.clear();
        let fate = self.decide(now, ingress, frame, packet);
        let (outcome, copies) = match fate {
            Ok(None) => (Outcome::Punt(PuntReason::Reserved), Vec::new()),
            Ok(Some(copies)) => (Outcome::Forward, copies),
            Err(reason) => (Outcome::Drop(reason), Vec::new()),
        };
        let tally = self.tally.entry(ingress).or_default();
        tally.rx_frames += 1;
        tally.rx_bytes += u64::from(frame.len);
        tally.reflected += copies.iter().filter(|copy| copy.reflected).count() as u64;
        match outcome {
            Outcome::Forward => tally.forwarded += 1,
            Outcome::Punt(_) => tally.punted += 1,
            Outcome::Drop(reason) => *tally.drops.entry(reason).or_default() += 1,
        }
        if let Some(key) = self.from {
            let vsi = self.vsi_mut(key);
            vsi.rx.0 += 1;
            vsi.rx.1 += u64::from(frame.len);
            if let Outcome::Drop(reason) = outcome {
                *vsi.drops.entry(reason).or_default() += 1;
            }
        }
        let mut mirrors = std::mem::take(&mut self.mirrors);
        mirrors.sort_by_key(|mirror| (mirror.direction == Direction::Egress, mirror.vsi));
        (outcome, copies, mirrors)
    }

    fn decide(
        &mut self,
        now: Instant,
        ingress: PortId,
        frame: &Frame<'_>,
        packet: &Packet,
    ) -> Result<Option<Vec<Copy>>, DropReason> {
        let config = self.ports.get(&ingress).cloned().ok_or(DropReason::NoPort)?;
        let downlink = config.role == Role::Downlink;
        let uplink = config.role == Role::Uplink;
        let passthru = self.kind == RelayKind::Edge(EdgeMode::Passthru);
        if !config.up {
            return Err(DropReason::PortDown);
        }
        if downlink && self.vsi_vids(ingress).is_empty() {
            return Err(DropReason::GateShut);
        }
        self.from = self.alone(ingress);
        let dst = frame.dst.octets();
        if dst[..5] == [1, 0x80, 0xc2, 0, 0] && dst[5] < 16 {
            return match dst[5] {
                _ if downlink => Err(DropReason::ReservedFromGuest),
                0 | 3 | 14 => Ok(None),
                _ => Err(DropReason::Reserved),
            };
        }
        if frame.ethertype == EtherType(0x88b5) && dst == [3, 0x65, 0x76, 0x62, 0x64, 1] {
            if downlink {
                return Err(DropReason::ReservedFromGuest);
            }
            if uplink {
                return Err(DropReason::Probe);
            }
        }

        // VLAN and priority, and the VSI it is of.
        if frame.tag.is_some_and(|tag| tag.tpid != EtherType::C_VLAN) {
            return Err(DropReason::ServiceTag);
        }
        let tagged = frame.tag.and_then(|tag| tag.vid);
        let vid = tagged.or_else(|| self.pvid(ingress)).ok_or(DropReason::Untagged)?;
        let (mut pcp, dei) = match frame.tag {
            Some(tag) => (tag.pcp, tag.dei),
            None => (self.untagged_pcp(ingress, frame.src, vid), false),
        };
        let owner = self.owner(frame.src, vid).cloned();
        let vsi = match &owner {
            _ if uplink => None,
            Some(owner) if owner.entry.port == ingress => Some(owner.clone()),
            Some(_) => None,
            None => self.wild(ingress, vid).cloned(),
        };
        let vsi = match vsi {
            None if downlink && passthru => self.alone(ingress).map(|key| self.vsi_mut(key).clone()),
            vsi => vsi,
        };
        self.from = vsi.as_ref().map(|vsi| vsi.key).or(self.from);

        // Who may send it.
        let src = frame.src.octets();
        if src[0] % 2 == 1 || src == [0; 6] {
            return Err(DropReason::BadSource);
        }
        if !self.member(ingress, vid) {
            return Err(DropReason::NotMember);
        }
        if !uplink {
            match &owner {
                Some(owner) if owner.entry.port == ingress => self.vsi_mut(owner.key).taken = None,
                Some(owner) if config.takes_over => {
                    let owner = self.vsi_mut(owner.key);
                    if owner.taken != Some(ingress) {
                        owner.taken = Some(ingress);
                        owner.taken_over += 1;
                    }
                }
                Some(_) => return Err(DropReason::StaticMoved),
                None => {
                    let judged = if downlink { !passthru } else { config.guard };
                    if judged && self.wild(ingress, vid).is_none() {
                        return Err(DropReason::SourceGuard);
                    }
                }
            }
        }

        // What the profile says of frames from the VM.
        if let Some(vsi) = &vsi {
            self.mirror(vsi, Direction::Ingress, Tag { tpid: EtherType::C_VLAN, pcp, dei, vid: Some(vid) });
            if !policy::permits(&vsi.entry.policy.ingress, frame.src, frame.dst, vid, packet) {
                return Err(DropReason::AclIngress);
            }
            let given = match vsi.entry.policy.pcp {
                PcpRule::Set(set) => set,
                PcpRule::Trust => pcp,
            };
            if let Some(rate) = vsi.entry.policy.ingress_rate
                && !self.vsi_mut(vsi.key).ingress.octets(now, rate, frame.len)
                && !self.lossless(ingress, given)
            {
                return Err(DropReason::RateIngress);
            }
            if let PcpRule::Set(set) = vsi.entry.policy.pcp {
                pcp = set;
            }
        }

        // Learning, or the lack of it on the uplink.
        let mut sender = None;
        if uplink {
            sender = owner.as_ref().map(|owner| owner.entry.port);
            sender = sender.or_else(|| self.where_learnt(frame.src, vid, now));
            if let Some(sender) = sender
                && self.kind != RelayKind::Edge(EdgeMode::Vepa)
            {
                self.tally.entry(sender).or_default().echoes += 1;
                return Err(DropReason::Echo);
            }
        } else if owner.is_none() && !(downlink && self.one_way()) {
            self.learn(now, ingress, frame.src, vid)?;
        }

        // What it says of groups.
        let at = seconds(now);
        let says = packet
            .says
            .as_ref()
            .filter(|says| if says.v6 { dst[..2] == [0x33, 0x33] } else { dst[..3] == [1, 0, 0x5e] });
        if let Some(says) = says {
            self.listeners.hear(ingress, uplink, vid, says.v6, &says.what, at);
        }

        // Every port is asked whether it wants the frame.
        let group = dst[0] % 2 == 1;
        let named = self.owner(frame.dst, vid).filter(|_| !group);
        let reachable = |port: &PortId| self.ports[port].up && self.member(*port, vid);
        let taken =
            named.and_then(|vsi| vsi.taken).filter(|port| self.ports.contains_key(port) && reachable(port));
        let in_place = named.filter(|_| taken.is_none()).map(|vsi| vsi.key);
        let location = taken.or_else(|| named.map(|vsi| vsi.entry.port));
        let location = location.or_else(|| self.where_learnt(frame.dst, vid, now).filter(|_| !group));
        let veb = self.kind == RelayKind::Edge(EdgeMode::Veb);
        let looked_up = match self.kind {
            RelayKind::Bridge => true,
            RelayKind::Edge(_) if downlink => veb,
            _ => !self.one_way(),
        };
        let storm = match () {
            () if frame.dst.is_broadcast() => Some((0, config.storm.broadcast, DropReason::BroadcastStorm)),
            () if group => Some((1, config.storm.multicast, DropReason::MulticastStorm)),
            () if looked_up && location.is_none() => {
                Some((2, config.storm.unknown, DropReason::UnknownStorm))
            }
            () => None,
        };
        if let Some((kind, Some(limit), reason)) = storm
            && !self.storms.entry((ingress, kind)).or_default().frame(now, limit)
        {
            return Err(reason);
        }
        let mut ports = Vec::new();
        let mut withheld = false;
        for (port, out) in &self.ports {
            let wants = match self.kind {
                RelayKind::Bridge => location.is_none() || location == Some(*port),
                RelayKind::Edge(_) if !looked_up && uplink => out.role == Role::Downlink,
                RelayKind::Edge(_) if !looked_up => out.role == Role::Uplink,
                RelayKind::Edge(_) if uplink => {
                    let here = location == Some(*port);
                    let maybe = location.is_none() && self.wild(*port, vid).is_some();
                    out.role == Role::Downlink && (group || here || maybe)
                }
                _ => match location {
                    Some(location) => location == *port,
                    None => group || out.role == Role::Uplink || self.wild(*port, vid).is_some(),
                },
            };
            if !wants || !out.up || !self.member(*port, vid) || *port == ingress && !config.reflective {
                continue;
            }
            if sender == Some(*port) {
                withheld = true;
                continue;
            }
            ports.push(*port);
        }
        if let Some(sender) = sender.filter(|_| withheld) {
            self.tally.entry(sender).or_default().echoes += 1;
        }
        if ports.is_empty() {
            return Err(if withheld {
                DropReason::Echo
            } else if looked_up && location == Some(ingress) {
                DropReason::SamePort
            } else if uplink && looked_up && !group && location.is_none() {
                DropReason::UnknownUnicast
            } else {
                DropReason::NoEgress
            });
        }

        // Groups go where listeners are.
        let before = ports.len();
        match says.map(|says| (says.v6, &says.what)) {
            Some((v6, What::Report(_))) if self.listeners.reports_go_to_routers(vid, v6, at) => {
                ports.retain(|port| {
                    self.ports[port].role == Role::Uplink || self.listeners.router(*port, vid, v6, at)
                });
            }
            Some((v6, What::Query { general: true })) => {
                for port in ports.iter().filter(|port| self.ports[port].role != Role::Uplink) {
                    self.listeners.ask(*port, vid, v6, at);
                }
            }
            _ if group => {
                ports.retain(|port| {
                    self.ports[port].role == Role::Uplink
                        || self.gets_all_groups(*port)
                        || self.solicits(*port, frame.dst)
                        || self.listeners.wants(*port, vid, frame.dst, at)
                });
            }
            _ => {}
        }
        self.tally.entry(ingress).or_default().withheld += (before - ports.len()) as u64;

        // What profiles say of frames to VMs.
        let tag = Tag { tpid: EtherType::C_VLAN, pcp, dei, vid: Some(vid) };
        let mut refused = DropReason::NoListener;
        let mut copies = Vec::new();
        for port in ports {
            let receiver = match in_place.filter(|_| looked_up) {
                _ if self.ports[&port].role == Role::Uplink => None,
                Some(key) => self.vsis.iter().find(|vsi| vsi.key == key),
                None if group => self.sole(port, vid),
                None => self.wild(port, vid).or_else(|| self.sole(port, vid)),
            };
            if let Some(vsi) = receiver.cloned() {
                let reason = if !policy::permits(&vsi.entry.policy.egress, frame.src, frame.dst, vid, packet)
                {
                    Some(DropReason::AclEgress)
                } else if let Some(rate) = vsi.entry.policy.egress_rate
                    && !self.vsi_mut(vsi.key).egress.octets(now, rate, frame.len)
                    && !self.lossless(ingress, pcp)
                    && !self.lossless(port, pcp)
                {
                    Some(DropReason::RateEgress)
                } else {
                    None
                };
                if let Some(reason) = reason {
                    *self.vsi_mut(vsi.key).drops.entry(reason).or_default() += 1;
                    refused = reason;
                    continue;
                }
                self.mirror(&vsi, Direction::Egress, tag);
                let tx = &mut self.vsi_mut(vsi.key).tx;
                *tx = (tx.0 + 1, tx.1 + u64::from(frame.len));
            }
            let tag = if self.sends_untagged(port, vid) { None } else { Some(tag) };
            copies.push(Copy { port, tag, reflected: port == ingress, via: None });
        }
        if copies.is_empty() { Err(refused) } else { Ok(Some(copies)) }
    }
}
