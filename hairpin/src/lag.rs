//! Link aggregation of extended ports [BR 7]: several extended ports, of one port extender or of several, that lead to one
//! station are one port of the bridge. Static: nobody negotiates.
//!
//! * What comes in on any member came in on the LAG: addresses are learnt there, and a frame never leaves again by another
//!   member, unless the LAG reflects: then by the one it came in on.
//! * What goes to the LAG leaves by one member that is up, the same for all frames of a flow. When a member goes down its
//!   flows, and no others, go to the rest; addresses stay where they are.
//!
//! In the relay the LAG goes by the number of one of its members, its anchor: that one's row is the LAG's, up while any
//! member is, and members are looked at where a frame comes in and where copies leave.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasherDefault, Hasher},
};

use core::net::IpAddr;

use ether::{EtherType, Vid, mac};
use serde::{Deserialize, Serialize};

use crate::{
    l3::{Packet, Seen},
    port::PortId,
    shared::KeyHasher,
    switch::{Context, Frame},
    trace::{Step, Watch},
    verdict::Copy,
};

/// A link aggregation group; the number is the daemon's to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LagId(pub u16);

/// By anchor: the members that are up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lags(HashMap<u64, Box<[PortId]>, BuildHasherDefault<KeyHasher>>);

impl Lags {
    /// `up` are the members that are up, by anchor.
    pub(crate) fn new(up: BTreeMap<PortId, Vec<PortId>>) -> Self {
        Self(up.into_iter().map(|(anchor, members)| (anchor.0.into(), members.into())).collect())
    }

    /// The members of the LAG of this anchor that are up; `None`: it is none.
    pub(crate) fn up(&self, anchor: PortId) -> Option<&[PortId]> {
        if self.0.is_empty() { None } else { self.0.get(&anchor.0.into()).map(|members| &**members) }
    }
}

/// Has copies for a LAG leave by one of its members. `ingress` is the port the frame came in on, member or not.
pub(crate) fn choose(
    cx: &Context<'_>,
    ingress: PortId,
    vid: Vid,
    frame: &Frame<'_>,
    copies: &mut [Copy],
    watch: &mut impl Watch,
) {
    let mut hash = None;
    for copy in copies {
        let Some(up) = cx.snapshot.lags.up(copy.port) else { continue };
        if copy.reflected {
            copy.port = ingress;
            continue;
        }
        let hash = *hash.get_or_insert_with(|| flow(cx.limits.hash_seed, vid, frame));
        // The one that likes the flow best: so flows of others stay where they are when one goes.
        let Some(member) = up.iter().max_by_key(|member| (mix(hash, member.0.into()), **member)) else {
            continue;
        };
        watch.note(|| Step::Lag { lag: copy.port, member: *member, of: up.len() });
        copy.port = *member;
    }
}

/// A number that frames of one flow have in common: addresses and VLAN, of IP also its addresses, of whole TCP packets
/// also the ports.
fn flow(seed: u64, vid: Vid, frame: &Frame<'_>) -> u64 {
    let mut hash = mix(seed, mac::to_u64(frame.dst));
    hash = mix(hash, mac::to_u64(frame.src) << 12 | u64::from(vid.get()));
    let Some(packet) = Packet::read(frame.ethertype, frame.payload) else { return hash };
    if let Seen::Here((source, destination)) = packet.addresses {
        hash = mix(mix(hash, folded(source)), folded(destination));
    }
    // Of a datagram in fragments only the first shows its ports.
    if let (Seen::Here((source, destination)), false) = (packet.ports, fragmented(frame)) {
        hash = mix(hash, u64::from(source) << 16 | u64::from(destination));
    }
    hash
}

fn fragmented(frame: &Frame<'_>) -> bool {
    match frame.ethertype {
        // More to come, or not the first.
        EtherType::IPV4 => frame.payload.get(6..8).is_none_or(|pair| pair != [0, 0] && pair != [0x40, 0]),
        _ => frame.payload.get(6) == Some(&FRAGMENT),
    }
}

fn folded(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.octets();
            mix(u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p]))
        }
    }
}

/// Two rounds: the high bits of a product depend on all bits, the low ones do not.
fn mix(hash: u64, number: u64) -> u64 {
    let mut hasher = KeyHasher::default();
    hasher.write_u64(hash ^ number.rotate_left(32));
    hasher.write_u64(number);
    hasher.finish()
}

const FRAGMENT: u8 = 44;

#[cfg(test)]
mod tests {
    use ether::{MacAddr, Tag};

    use super::*;

    fn of(ports: u16, fragment: u8, id: u8) -> u64 {
        let [high, low] = ports.to_be_bytes();
        let payload =
            [0x45, 0, 0, 40, 0, id, fragment, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, high, low, 0, 80];
        let frame = Frame {
            dst: MacAddr(2, 0, 0, 0, 0, 1),
            src: MacAddr(2, 0, 0, 0, 0, 2),
            tag: None::<Tag>,
            ethertype: EtherType::IPV4,
            len: 60,
            payload: &payload,
        };
        flow(7, Vid::DEFAULT, &frame)
    }

    #[test]
    fn a_flow_is_addresses_and_ports_but_not_of_fragments() {
        assert_eq!(of(1, 0x40, 1), of(1, 0x40, 2));
        assert_ne!(of(1, 0x40, 1), of(2, 0x40, 1));
        // Fragments stay together, whatever they show.
        assert_eq!(of(1, 0x20, 1), of(2, 0x20, 1));
        assert_eq!(of(1, 0x20, 1), of(2, 0x01, 1));
    }

    #[test]
    fn flows_are_shared_out_and_only_those_of_a_lost_member_move() {
        let all: Vec<PortId> = [3, 5, 900].map(PortId).into();
        let best =
            |up: &[PortId], flow: u64| *up.iter().max_by_key(|m| (mix(flow, m.0.into()), **m)).unwrap();
        let mut counts = [0; 3];
        for n in 0..3000 {
            let flow = of(n, 0x40, 0);
            let (with, without) = (best(&all, flow), best(&all[..2], flow));
            assert!(with == without || with == PortId(900));
            counts[all.iter().position(|port| *port == with).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
