//! The relay: `[relay]`, and what each `[[port]]` may flood.

use std::collections::BTreeMap;

use hairpin::{Limits, Storm};
use serde::Deserialize;
use toml::Spanned;

use super::{Fault, check::in_range, of_interface, schema};

/// Sizes, times and limits of the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// What bounds its tables; ports and seed are the data path's to set.
    pub limits: Limits,
    /// Ports that may be added while the relay runs, 0 to 32768.
    pub spare_ports: u16,
    /// What a port may flood that says nothing of its own: VMs' ports among them.
    pub storm: Storm,
    /// What the ports may that do, by interface.
    pub storms: BTreeMap<String, Storm>,
}

impl RelayConfig {
    /// What may be flooded of what comes in on `interface`.
    #[must_use]
    pub fn storm(&self, interface: &str) -> Storm {
        of_interface(&self.storms, interface).copied().unwrap_or(self.storm)
    }
}

/// `storm` as written: frames per second.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StormKeys {
    broadcast: Option<Spanned<u32>>,
    multicast: Option<Spanned<u32>>,
    unknown: Option<Spanned<u32>>,
}

pub(super) fn relay(keys: &schema::Relay, ports: &[Spanned<schema::Port>]) -> Result<RelayConfig, Fault> {
    let default = Limits::DEFAULT;
    let limits = Limits {
        fdb_entries: in_range(keys.fdb_entries.clone(), 64, 1 << 20, default.fdb_entries, "fdb_entries")?,
        fdb_ageing: in_range(keys.ageing.clone(), 10, 1_000_000, default.fdb_ageing, "ageing")?,
        snooping: keys.snooping.unwrap_or(default.snooping),
        flap_moves: in_range(keys.flap_moves.clone(), 0, 254, default.flap_moves, "flap_moves")?,
        flap_window: in_range(keys.flap_window.clone(), 1, 3600, default.flap_window, "flap_window")?,
        flap_hold: in_range(keys.flap_hold.clone(), 1, 86_400, default.flap_hold, "flap_hold")?,
        ..default
    };
    let all = storm(&keys.storm)?;
    let mut storms = BTreeMap::new();
    for port in ports.iter().map(Spanned::get_ref) {
        let own = storm(&port.storm)?;
        let own = Storm {
            broadcast: own.broadcast.or(all.broadcast),
            multicast: own.multicast.or(all.multicast),
            unknown: own.unknown.or(all.unknown),
        };
        if own != all {
            storms.insert(port.interface.get_ref().clone(), own);
        }
    }
    let spare_ports = in_range(keys.spare_ports.clone(), 0, 1 << 15, SPARE_PORTS, "spare_ports")?;
    Ok(RelayConfig { limits, spare_ports, storm: all, storms })
}

fn storm(keys: &StormKeys) -> Result<Storm, Fault> {
    let limit = |value: &Option<Spanned<u32>>, name| {
        value.clone().map(|value| in_range(Some(value), 1, 100_000_000, 1, name)).transpose()
    };
    Ok(Storm {
        broadcast: limit(&keys.broadcast, "storm.broadcast")?,
        multicast: limit(&keys.multicast, "storm.multicast")?,
        unknown: limit(&keys.unknown, "storm.unknown")?,
    })
}

const SPARE_PORTS: u16 = 256;
