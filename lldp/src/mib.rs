//! What we say of ourselves and what the neighbours said: the local and the remote systems MIB [AB 9.1.3, 9.2.7.7, 10].

use std::collections::BTreeMap;

use bytes::Bytes;
use ether::{Instant, MacAddr, time::Duration, time::earliest};
use serde::Serialize;

use crate::{
    basic::{Capabilities, ChassisId, ManagementAddress, PortId, Text},
    error::PeerTlvFault,
    org::{OrgKey, OrgTlv},
    pdu::{Lldpdu, Msap, Received},
};

/// What the basic TLVs say of this system and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LocalInfo {
    /// The system.
    pub chassis: ChassisId,
    /// The port.
    pub port: PortId,
    /// The description of the port; sent cut to 255 octets, as are the next two.
    pub port_description: Option<String>,
    /// The name of the system.
    pub system_name: Option<String>,
    /// The description of the system.
    pub system_description: Option<String>,
    /// What the system can be and is.
    pub capabilities: Option<Capabilities>,
    /// Where the system is managed.
    pub management_addresses: Vec<ManagementAddress>,
    /// What organizational TLVs say of it without running a protocol, in the order sent. A key may stand more than once.
    pub described: Vec<OrgTlv>,
}

impl LocalInfo {
    /// Who we are and nothing else.
    #[must_use]
    pub const fn new(chassis: ChassisId, port: PortId) -> Self {
        Self {
            chassis,
            port,
            port_description: None,
            system_name: None,
            system_description: None,
            capabilities: None,
            management_addresses: Vec::new(),
            described: Vec::new(),
        }
    }

    pub(crate) fn msap(&self) -> Msap {
        Msap { chassis: self.chassis.clone(), port: self.port.clone() }
    }
}

/// All we say: what describes us, and one organizational TLV per key for the protocols run on them.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) info: LocalInfo,
    org: BTreeMap<OrgKey, OrgTlv>,
}

impl Local {
    pub(crate) const fn new(info: LocalInfo) -> Self {
        Self { info, org: BTreeMap::new() }
    }

    /// Puts `tlv` in the place of what `key` said; whether that is a change.
    pub(crate) fn set_org(&mut self, key: OrgKey, tlv: Option<OrgTlv>) -> bool {
        let before = match tlv.clone() {
            Some(tlv) => self.org.insert(key, tlv),
            None => self.org.remove(&key),
        };
        before != tlv
    }

    pub(crate) fn pdu(&self, ttl: u16) -> Lldpdu {
        let text = |text: &Option<String>| text.as_deref().map(Text::truncated);
        Lldpdu {
            port_description: text(&self.info.port_description),
            system_name: text(&self.info.system_name),
            system_description: text(&self.info.system_description),
            capabilities: self.info.capabilities,
            management_addresses: self.info.management_addresses.clone(),
            org: self.org.values().chain(&self.info.described).cloned().collect(),
            ..Lldpdu::new(self.info.msap(), ttl)
        }
    }

    /// How many of the organizational TLVs, which come first, run protocols.
    pub(crate) fn protocols(&self) -> usize {
        self.org.len()
    }
}

/// What one neighbour said last.
#[derive(Clone, Debug, Serialize)]
pub struct Neighbor {
    /// The address it said it from.
    pub src: MacAddr,
    /// What it said.
    pub info: Lldpdu,
    /// The TLVs that could not be read.
    pub faults: Vec<PeerTlvFault>,
    /// When this neighbour is forgotten unless it speaks again.
    pub expires: Instant,
    /// When it spoke first.
    pub first_seen: Instant,
    /// When it spoke last.
    pub last_seen: Instant,
    /// When it last said something new.
    pub last_changed: Instant,
    /// The LLDPDU as received: the next one is mostly the same.
    #[serde(skip)]
    raw: Bytes,
}

impl Neighbor {
    /// Who it is.
    #[must_use]
    pub const fn msap(&self) -> &Msap {
        &self.info.msap
    }

    /// What its organizational TLV `key` says, if it sent one.
    #[must_use]
    pub fn org(&self, key: OrgKey) -> Option<&Bytes> {
        self.info.org(key)
    }

    /// The payload of its last frame, padding included.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }

    pub(crate) fn refresh(&mut self, now: Instant) {
        self.last_seen = now;
        self.expires = now + ttl(&self.info);
    }
}

/// What became of the neighbours of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum NeighborEvent {
    /// A neighbour spoke for the first time.
    Appeared {
        /// Who.
        msap: Msap,
    },
    /// A neighbour says something else than before, or says it from another address.
    Changed {
        /// Who.
        msap: Msap,
    },
    /// A neighbour is forgotten.
    Gone {
        /// Who.
        msap: Msap,
        /// Why.
        cause: GoneCause,
    },
    /// There is no room for this neighbour; it and others after it are ignored.
    #[doc(alias = "tooManyNeighbors")]
    TooMany {
        /// The first one ignored.
        msap: Msap,
    },
    /// Whoever was ignored has been silent for as long as it wanted to be remembered.
    TooManyOver,
}

/// Why a neighbour is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GoneCause {
    /// It said so itself.
    Shutdown,
    /// Its TTL ended.
    AgedOut,
    /// This agent no longer receives.
    AdminDisabled,
    /// The port came up again: who is there is learnt anew.
    PortUp,
}

/// What storing an LLDPDU came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Appeared,
    Changed,
    Same,
    /// No room; `first` unless someone is being ignored already.
    NoRoom {
        first: bool,
    },
}

/// The neighbours, at most as many as there is room for.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    neighbors: BTreeMap<Msap, Neighbor>,
    max: usize,
    /// When `tooManyNeighborsTimer` ends; none while `tooManyNeighbors` is false.
    too_many_until: Option<Instant>,
}

impl Remote {
    pub(crate) const fn new(max: usize) -> Self {
        Self { neighbors: BTreeMap::new(), max, too_many_until: None }
    }

    /// Room for this many from now on. Those who are there stay.
    pub(crate) const fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Neighbor> {
        self.neighbors.values()
    }

    pub(crate) fn get(&self, msap: &Msap) -> Option<&Neighbor> {
        self.neighbors.get(msap)
    }

    pub(crate) const fn too_many_until(&self) -> Option<Instant> {
        self.too_many_until
    }

    /// The neighbour whose last frame was this one.
    pub(crate) fn identical(&mut self, src: MacAddr, payload: &[u8]) -> Option<&mut Neighbor> {
        self.neighbors.values_mut().find(|neighbor| neighbor.src == src && neighbor.raw == payload)
    }

    /// Stores what `received` says, unless its sender is new and there is no room: those who were first stay
    /// [AB 9.2.7.7].
    pub(crate) fn store(&mut self, now: Instant, src: MacAddr, payload: &[u8], received: Received) -> Stored {
        let Received { pdu: info, faults } = received;
        let old = self.neighbors.get(&info.msap);
        if old.is_none() && self.neighbors.len() >= self.max {
            let until = now + ttl(&info);
            let first = self.too_many_until.is_none();
            self.too_many_until = self.too_many_until.max(Some(until));
            return Stored::NoRoom { first };
        }
        let stored = match old {
            None => Stored::Appeared,
            Some(old) if old.src == src && says_the_same(&old.info, &info) => Stored::Same,
            Some(_) => Stored::Changed,
        };
        let new = Neighbor {
            src,
            faults,
            expires: now + ttl(&info),
            first_seen: old.map_or(now, |old| old.first_seen),
            last_seen: now,
            last_changed: old.filter(|_| stored == Stored::Same).map_or(now, |old| old.last_changed),
            raw: Bytes::copy_from_slice(payload),
            info,
        };
        self.neighbors.insert(new.info.msap.clone(), new);
        stored
    }

    /// Forgets `msap`; whether it was known.
    pub(crate) fn remove(&mut self, msap: &Msap) -> bool {
        self.neighbors.remove(msap).is_some()
    }

    /// Forgets everybody, also that somebody was ignored.
    pub(crate) fn clear(&mut self) -> impl Iterator<Item = Msap> + use<> {
        self.too_many_until = None;
        core::mem::take(&mut self.neighbors).into_keys()
    }

    /// Forgets those whose TTL has ended.
    pub(crate) fn expire(&mut self, now: Instant) -> impl Iterator<Item = Msap> {
        self.neighbors.extract_if(.., move |_, neighbor| neighbor.expires <= now).map(|(msap, _)| msap)
    }

    /// Whether the time of ignoring has just ended.
    pub(crate) fn too_many_over(&mut self, now: Instant) -> bool {
        self.too_many_until.take_if(|until| *until <= now).is_some()
    }

    /// When the next neighbour, or the time of ignoring, ends.
    pub(crate) fn next(&self) -> Option<Instant> {
        earliest(self.iter().map(|neighbor| neighbor.expires).min(), self.too_many_until)
    }
}

fn ttl(info: &Lldpdu) -> Duration {
    Duration::from_secs(info.ttl.into())
}

/// Whether two LLDPDUs differ in their TTL at most.
fn says_the_same(old: &Lldpdu, new: &Lldpdu) -> bool {
    *old == Lldpdu { ttl: old.ttl, ..new.clone() }
}
