//! Port extension [BR 7]: ports of a bridge that are elsewhere, behind port extenders, and what a port extender does.
//!
//! * `bridge`: at the controlling bridge an extended port is a port like any other. What came in by its E-channel came in
//!   on it; copies for it leave by its E-channel, and those of a flood together by one of several members.
//! * `extender`: a port extender knows no addresses. What stations send goes up, what comes down goes where its
//!   E-channel leads, and from port to port nothing goes.
//!
//! `Channels` is what both look at.

pub(crate) mod bridge;
pub(crate) mod extender;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::BuildHasherDefault,
};

use ether::{DownTag, ECid, Framing, Pcid, Pcp, TagOctets, UpTag, Vid};
use serde::{Deserialize, Serialize};

use crate::{
    port::{PortConfig, PortId, Role},
    shared::KeyHasher,
};

/// What a port is to port extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extension {
    /// An extended port of this bridge, at the end of an E-channel.
    Behind {
        /// The cascade port whose link the channel is on.
        cascade: PortId,
        /// The channel.
        pcid: Pcid,
    },
    /// A port of this port extender, at the end of an E-channel.
    End(Box<Parameters>),
}

/// How a port extender treats what passes one of its ports; [`PortConfig::untagged`] says which VLANs leave untagged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// The E-channel it is the end of.
    pub pcid: Pcid,
    /// Nothing passes.
    pub blocked: bool,
    /// Priority of frames that come in untagged.
    pub default_priority: Pcp,
    /// Priority and drop eligibility of frames that come in tagged, by the priority of the tag.
    pub decode: [(Pcp, bool); 8],
    /// Whether the tag's own drop eligible indicator counts too, and is sent.
    pub use_dei: bool,
    /// The priority and drop eligible indicator tags leave with, by twice the priority plus drop eligibility.
    pub encode: [(Pcp, bool); 16],
}

impl Parameters {
    /// Those of a port nobody has said anything of but its channel: priorities stay what they are.
    #[must_use]
    pub fn new(pcid: Pcid) -> Self {
        let mut decode = [(Pcp::default(), false); 8];
        let mut encode = [(Pcp::default(), false); 16];
        decode.iter_mut().zip(Pcp::all()).for_each(|(row, pcp)| row.0 = pcp);
        let rows = Pcp::all().flat_map(|pcp| [(pcp, false), (pcp, true)]);
        encode.iter_mut().zip(rows).for_each(|(row, to)| *row = to);
        Self { pcid, blocked: false, default_priority: Pcp::default(), decode, use_dei: true, encode }
    }
}

/// The E-channel a copy leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via {
    /// The port whose link it is.
    pub port: PortId,
    /// The tag, outside of all others.
    pub tag: TagOctets,
}

impl Via {
    /// The number of the channel: of a frame that goes up that of the port it came from.
    #[must_use]
    pub fn ecid(&self) -> Option<ECid> {
        [Framing::Etag, Framing::Vntag].into_iter().find_map(|framing| {
            let octets = self.tag.as_slice();
            let down = DownTag::parse(framing, octets).map(|tag| tag.to);
            down.or_else(|_| UpTag::parse(framing, octets).map(|tag| tag.source.into())).ok()
        })
    }
}

/// A channel of several members that floods of a VLAN leave by.
pub(crate) type Floods = BTreeMap<(PortId, Vid), (ECid, BTreeSet<PortId>)>;
/// Where the channels of a port extender lead.
pub(crate) type Members = BTreeMap<ECid, BTreeSet<PortId>>;

/// All E-channels as workers look for them.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    /// Of a bridge: the extended ports, by cascade port and channel.
    ups: Table<PortId>,
    /// The same, by extended port.
    downs: Box<[Option<Down>]>,
    cascades: Vec<Cascade>,
    /// Of a port extender.
    members: Table<Box<[PortId]>>,
    upstream: Option<PortId>,
}

type Table<T> = HashMap<u64, T, BuildHasherDefault<KeyHasher>>;

/// How to reach an extended port.
#[derive(Clone, Copy, Debug)]
struct Down {
    /// A row of `cascades`.
    cascade: usize,
    pcid: Pcid,
}

/// A cascade port with extended ports behind it.
#[derive(Debug)]
struct Cascade {
    port: PortId,
    framing: Framing,
    /// By VLAN.
    floods: Table<Flood>,
}

/// A channel that leads to several extended ports of one cascade port.
#[derive(Debug)]
struct Flood {
    ecid: ECid,
    /// A bit for each port.
    members: Box<[u64]>,
    count: u32,
}

impl Channels {
    pub(crate) fn new<'a>(
        ports: impl Iterator<Item = &'a PortConfig> + Clone,
        floods: &Floods,
        members: &Members,
        upstream: Option<PortId>,
    ) -> Self {
        let mut channels = Self { upstream, ..Self::default() };
        let size = ports.clone().map(|port| port.id.index() + 1).max().unwrap_or(0);
        channels.downs = vec![None; size].into();
        for port in ports.clone().filter(|port| port.role == Role::Cascade) {
            let floods = floods.iter().filter(|((cascade, _), _)| *cascade == port.id);
            let floods = floods.map(|((_, vid), (ecid, ports))| (vid.get().into(), Flood::new(*ecid, ports)));
            channels.cascades.push(Cascade {
                port: port.id,
                framing: port.framing,
                floods: floods.collect(),
            });
        }
        for (ecid, ports) in members {
            channels.members.insert(ecid.get().into(), ports.iter().copied().collect());
        }
        for port in ports {
            match &port.extension {
                Some(Extension::Behind { cascade, pcid }) => {
                    channels.ups.insert(key(*cascade, *pcid), port.id);
                    let row = channels.cascades.iter().position(|row| row.port == *cascade);
                    if let Some(slot) = channels.downs.get_mut(port.id.index()) {
                        *slot = row.map(|cascade| Down { cascade, pcid: *pcid });
                    }
                }
                Some(Extension::End(parameters)) => {
                    let own = parameters.pcid.get().into();
                    channels.members.entry(own).or_insert_with(|| [port.id].into());
                }
                None => {}
            }
        }
        channels
    }

    /// The extended port behind `cascade` whose channel this is.
    pub(crate) fn up(&self, cascade: PortId, pcid: Pcid) -> Option<PortId> {
        self.ups.get(&key(cascade, pcid)).copied()
    }

    /// How `port` is reached, if it is an extended one.
    fn down(&self, port: PortId) -> Option<(Down, &Cascade)> {
        let down = (*self.downs.get(port.index())?)?;
        Some((down, self.cascades.get(down.cascade)?))
    }

    /// Whether `port` is an extended one.
    pub(crate) fn is_extended(&self, port: PortId) -> bool {
        self.downs.get(port.index()).is_some_and(Option::is_some)
    }

    /// The channel of an extended port.
    pub(crate) fn via(&self, port: PortId, pcp: Pcp, dei: bool) -> Option<Via> {
        let (down, cascade) = self.down(port)?;
        cascade.tag(DownTag { to: down.pcid.into(), source: None, pcp, dei })
    }

    /// Where a channel leads from a port extender.
    fn members(&self, ecid: ECid) -> &[PortId] {
        self.members.get(&u64::from(ecid.get())).map_or(&[], |ports| ports)
    }
}

impl Cascade {
    fn tag(&self, tag: DownTag) -> Option<Via> {
        Some(Via { port: self.port, tag: tag.octets(self.framing)? })
    }

    fn flood(&self, vid: Vid) -> Option<&Flood> {
        self.floods.get(&u64::from(vid.get()))
    }
}

impl Flood {
    fn new(ecid: ECid, ports: &BTreeSet<PortId>) -> Self {
        let size = ports.last().map_or(0, |last| last.index() / 64 + 1);
        let mut members = vec![0; size];
        for port in ports {
            if let Some(word) = members.get_mut(port.index() / 64) {
                *word |= 1_u64 << (port.index() % 64);
            }
        }
        Self { ecid, members: members.into(), count: u32::try_from(ports.len()).unwrap_or(u32::MAX) }
    }

    fn has(&self, port: PortId) -> bool {
        self.members.get(port.index() / 64).is_some_and(|word| word >> (port.index() % 64) & 1 == 1)
    }
}

fn key(cascade: PortId, pcid: Pcid) -> u64 {
    u64::from(cascade.0) << 32 | u64::from(pcid.get())
}
