//! The open VSIs, found by what they are asked for: key, port, place in snapshots, addresses, VLANs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ether::{MacAddr, Pcp, Vid};

use super::{VsiEntry, VsiFilter, VsiKey};
use crate::{
    fdb::Key,
    policy::{GroupFilter, MirrorTo},
    port::{PortId, VidSet},
    row::{Behind, RowVlan},
    snapshot::Static,
    vsi::VsiState,
};

/// Those of one relay.
#[derive(Clone, Debug, Default)]
pub(super) struct Vsis {
    /// By place.
    rows: Vec<Option<Vsi>>,
    free: BTreeSet<u32>,
    places: BTreeMap<VsiKey, u32>,
    ports: BTreeMap<PortId, On>,
    /// Who names an address: when it was opened, and its place; the one opened last at the end.
    owners: BTreeMap<Key, Vec<(u64, u32)>>,
    /// How many filters have a VLAN.
    vids: BTreeMap<Vid, usize>,
    /// Places of those that mirror to a port.
    mirroring: BTreeSet<u32>,
}

/// One.
#[derive(Clone, Debug)]
pub(super) struct Vsi {
    pub(super) key: VsiKey,
    pub(super) entry: VsiEntry,
    pub(super) opened: u64,
    pub(super) state: Arc<VsiState>,
}

/// Those on one port.
#[derive(Clone, Debug, Default)]
struct On {
    /// By when they were opened.
    opened: BTreeMap<u64, u32>,
    vlans: BTreeMap<Vid, Vlan>,
    /// Those that name no address in some VLAN, by when they were opened.
    unnamed: BTreeMap<u64, u32>,
    /// How many want every group.
    all_groups: usize,
    /// The last three octets of addresses, one of each filter, ordered.
    solicited: Vec<u32>,
}

/// Filters of one VLAN at one port: when their VSI was opened and which of its filters it is, and the VSI's place.
#[derive(Clone, Debug, Default)]
struct Vlan {
    all: BTreeMap<(u64, usize), u32>,
    /// Those without an address, with the priority of untagged frames.
    wild: BTreeMap<(u64, usize), (u32, Pcp)>,
}

impl Vsis {
    pub(super) fn get(&self, key: VsiKey) -> Option<&Vsi> {
        self.at(*self.places.get(&key)?)
    }

    pub(super) fn at(&self, place: u32) -> Option<&Vsi> {
        self.rows.get(usize::try_from(place).ok()?)?.as_ref()
    }

    /// By key.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Vsi> {
        self.places.values().filter_map(|place| self.at(*place))
    }

    /// The keys of those on a port.
    pub(super) fn on(&self, port: PortId) -> Vec<VsiKey> {
        let places = self.ports.get(&port).into_iter().flat_map(|on| on.opened.values());
        places.filter_map(|place| Some(self.at(*place)?.key)).collect()
    }

    /// What those on a port come to.
    pub(super) fn behind(&self, port: PortId) -> Behind {
        let Some(on) = self.ports.get(&port) else { return Behind::default() };
        let unnamed = on.unnamed.values().filter_map(|place| self.at(*place));
        let alone = on.opened.values().next().filter(|_| on.opened.len() == 1);
        Behind {
            alone: alone.copied(),
            vlans: on.vlans.iter().map(|(vid, vlan)| vlan.row(*vid)).collect(),
            unnamed: unnamed.map(|vsi| vsi.entry.policy.max_macs).collect(),
            solicited: on.solicited.clone().into(),
            all_groups: on.all_groups > 0,
        }
    }

    /// The places of those that mirror to a port.
    pub(super) fn mirroring(&self) -> impl Iterator<Item = u32> {
        self.mirroring.iter().copied()
    }

    /// The VLANs of all.
    pub(super) fn vids(&self) -> VidSet {
        self.vids.keys().copied().collect()
    }

    /// How many VLANs they have.
    pub(super) fn vid_count(&self) -> usize {
        self.vids.len()
    }

    /// Takes one in of whose key there is none; its place.
    pub(super) fn insert(&mut self, vsi: Vsi) -> u32 {
        let place = self.free.pop_first().unwrap_or_else(|| {
            self.rows.push(None);
            u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX)
        });
        self.places.insert(vsi.key, place);
        self.ports.entry(vsi.entry.port).or_default().insert(&vsi, place);
        for filter in &vsi.entry.filters {
            *self.vids.entry(filter.vid).or_default() += 1;
            if let Some(key) = key(filter) {
                let owners = self.owners.entry(key).or_default();
                let at = owners.partition_point(|owner| *owner < (vsi.opened, place));
                owners.insert(at, (vsi.opened, place));
            }
        }
        if vsi.entry.policy.mirror.as_ref().is_some_and(|mirror| matches!(mirror.to, MirrorTo::Port(_))) {
            self.mirroring.insert(place);
        }
        if let Some(row) = usize::try_from(place).ok().and_then(|at| self.rows.get_mut(at)) {
            *row = Some(vsi);
        }
        place
    }

    /// Takes one out, with its place.
    pub(super) fn remove(&mut self, key: VsiKey) -> Option<(u32, Vsi)> {
        let place = self.places.remove(&key)?;
        let vsi = self.rows.get_mut(usize::try_from(place).ok()?)?.take()?;
        self.free.insert(place);
        self.mirroring.remove(&place);
        if let Some(on) = self.ports.get_mut(&vsi.entry.port) {
            on.remove(&vsi);
            if on.opened.is_empty() {
                self.ports.remove(&vsi.entry.port);
            }
        }
        for filter in &vsi.entry.filters {
            if let Some(count) = self.vids.get_mut(&filter.vid) {
                *count -= 1;
                if *count == 0 {
                    self.vids.remove(&filter.vid);
                }
            }
            if let Some(key) = self::key(filter)
                && let Some(owners) = self.owners.get_mut(&key)
            {
                owners.retain(|(_, at)| *at != place);
                if owners.is_empty() {
                    self.owners.remove(&key);
                }
            }
        }
        Some((place, vsi))
    }

    /// Whose the addresses of `filters` are now.
    pub(super) fn owners(&self, filters: &[VsiFilter]) -> impl Iterator<Item = (Key, Option<Static>)> {
        filters.iter().filter_map(key).map(|key| (key, self.owner(key)))
    }

    fn owner(&self, of: Key) -> Option<Static> {
        let (_, place) = *self.owners.get(&of)?.last()?;
        let entry = &self.at(place)?.entry;
        let filter = entry.filters.iter().rfind(|filter| key(filter) == Some(of))?;
        Some(Static { port: entry.port, pcp: filter.pcp.unwrap_or_default(), vsi: place })
    }
}

impl On {
    fn insert(&mut self, vsi: &Vsi, place: u32) {
        self.opened.insert(vsi.opened, place);
        self.all_groups += usize::from(vsi.entry.policy.groups == GroupFilter::All);
        for (at, filter) in vsi.entry.filters.iter().enumerate() {
            let vlan = self.vlans.entry(filter.vid).or_default();
            vlan.all.insert((vsi.opened, at), place);
            if let Some(mac) = filter.mac {
                let low = low(mac);
                let at = self.solicited.partition_point(|other| *other < low);
                self.solicited.insert(at, low);
            } else {
                vlan.wild.insert((vsi.opened, at), (place, filter.pcp.unwrap_or_default()));
                self.unnamed.insert(vsi.opened, place);
            }
        }
    }

    fn remove(&mut self, vsi: &Vsi) {
        self.opened.remove(&vsi.opened);
        self.unnamed.remove(&vsi.opened);
        self.all_groups -= usize::from(vsi.entry.policy.groups == GroupFilter::All);
        for (at, filter) in vsi.entry.filters.iter().enumerate() {
            if let Some(vlan) = self.vlans.get_mut(&filter.vid) {
                vlan.all.remove(&(vsi.opened, at));
                vlan.wild.remove(&(vsi.opened, at));
                if vlan.all.is_empty() {
                    self.vlans.remove(&filter.vid);
                }
            }
            if let Some(at) = filter.mac.and_then(|mac| self.solicited.binary_search(&low(mac)).ok()) {
                self.solicited.remove(at);
            }
        }
    }
}

impl Vlan {
    fn row(&self, vid: Vid) -> RowVlan {
        let (first, last) = (self.all.values().next(), self.all.values().next_back());
        let wild = self.wild.values().next_back();
        RowVlan {
            vid,
            wild: wild.map(|(place, _)| *place),
            pcp: wild.map(|(_, pcp)| *pcp).unwrap_or_default(),
            // Filters of one VSI are next to each other.
            sole: first.filter(|first| last == Some(first)).copied(),
        }
    }
}

/// What solicited-node groups are made of.
fn low(mac: MacAddr) -> u32 {
    u32::from_be_bytes([0, mac.3, mac.4, mac.5])
}

fn key(filter: &VsiFilter) -> Option<Key> {
    Some(Key::new(filter.mac?, filter.vid))
}
