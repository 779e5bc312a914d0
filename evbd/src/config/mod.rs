//! The configuration: one TOML file, parsed whole or rejected whole, never written by the daemon.
//!
//! [`Config`] is what the engines read: every reference resolved, every range checked. `schema` is the file as
//! written. An error carries the file, line, column, what is wrong and what is allowed.

mod agents;
mod carrier;
mod check;
mod control;
mod csp;
mod dcb;
mod error;
mod extended;
mod extension;
mod guests;
mod libvirt;
mod relay;
mod s_channels;
mod schema;
pub mod tlvs;
mod vsi;
mod vsidb;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ether::Vid;
use lldp::AdminStatus;
use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use crate::{names, port::PortKind, vsidb::Profile};

pub use self::{
    agents::AgentSettings,
    carrier::{CarrierConfig, Choice, Datapath},
    control::{ControlConfig, Readers},
    csp::ExtensionConfig,
    dcb::{Apply, DcbxConfig},
    error::ConfigError,
    extended::{ExtendedRule, ExtendedWork},
    extension::{
        CascadeConfig, ChannelConfig as EChannelConfig, ExtendedConfig, ExtenderConfig, ExtenderPort,
        ExtenderPortKind, FloodConfig,
    },
    guests::{GuestsConfig, TapRule},
    libvirt::LibvirtConfig,
    relay::RelayConfig,
    s_channels::{ChannelConfig, PoolConfig},
    tlvs::Tlvs,
    vsi::{FilterKeys, VsiConfig},
    vsidb::{ManagerConfig, VsiDbConfig},
};
pub(crate) use self::{
    check::interface_name,
    csp::{codebook, read_codebook},
};

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// System name announced in LLDP.
    pub name: String,
    /// How the daemon is spoken to, and by whom.
    pub control: ControlConfig,
    /// Directory of what survives a restart; `None`: nothing does.
    pub state: Option<PathBuf>,
    /// The LLDP agents of each port by its interface, one for each of [`lldp::Scope::ALL`] in that order.
    pub lldp: BTreeMap<String, Vec<AgentSettings>>,
    /// DCBX of the ports that have it on, by interface.
    pub dcbx: BTreeMap<String, DcbxConfig>,
    /// R, RTE, RWD and RKA as proposed to the peer of every EVB port [Q 40.4].
    pub proposal: vdp::Timing,
    /// Which EVB is spoken.
    pub dialect: Dialect,
    /// Whether filters may name groups, if the peer agrees.
    pub groups: bool,
    /// VSIs held on one port at most.
    pub max_vsis: usize,
    /// Whether only that proposal counts, whatever the peer proposes.
    pub manual: bool,
    /// What becomes of VSIs when the EVB peer is lost.
    pub on_peer_loss: OnPeerLoss,
    /// What this node is, with what only that role has.
    pub role: RoleConfig,
    /// The relay's table sizes, times and limits.
    pub relay: RelayConfig,
    /// How frames are moved.
    pub carrier: CarrierConfig,
    /// What is done for libvirt.
    pub libvirt: LibvirtConfig,
    /// Sessions of port extension.
    pub extension: ExtensionConfig,
    /// How extended ports made in sessions work, by their names.
    pub extended: Vec<ExtendedRule>,
    /// Where the VSI type database comes from.
    pub vsidb: VsiDbConfig,
}

/// The two ends of an EVB link.
#[derive(Clone, Debug, PartialEq)]
pub enum RoleConfig {
    /// A hypervisor host: one uplink, an edge relay, VSIs.
    Station(StationConfig),
    /// An EVB Bridge: station-facing and LAN ports.
    Bridge(BridgeConfig),
    /// A port extender: ports of a controlling bridge that is elsewhere.
    Extender(ExtenderConfig),
}

/// What a station has.
#[derive(Clone, Debug, PartialEq)]
pub struct StationConfig {
    /// Interface of the uplink.
    pub uplink: String,
    /// The edge relay wanted.
    pub mode: StationMode,
    /// What to do when VEPA is wanted and the bridge does not reflect.
    pub fallback: Fallback,
    /// How often reflection is proved again once it was; `None`: never.
    pub probe_interval: Option<std::time::Duration>,
    /// Whether the addresses of a VM are announced when its gate opens.
    pub announce: bool,
    /// The S-channels wanted beside the default one, each with an edge relay of its own.
    pub channels: Vec<ChannelConfig>,
    /// How many S-channels there may be, the default one included.
    pub max_channels: cdcp::ChannelCapacity,
    /// Interfaces of VMs that are VSIs by themselves.
    pub guests: GuestsConfig,
    /// Its VSIs, each associated as soon as its interface is there and the bridge agrees, unless it waits for orders.
    pub vsis: Vec<VsiConfig>,
}

/// What an edge relay is to be. A station has one for each S-channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeConfig {
    /// The edge relay wanted.
    pub mode: StationMode,
    /// What to do when VEPA is wanted and the bridge does not reflect.
    pub fallback: Fallback,
    /// How often reflection is proved again once it was; `None`: never.
    pub probe_interval: Option<std::time::Duration>,
}

impl StationConfig {
    /// The edge relay of the S-channel `scid`; of the default one, if there is no such.
    #[must_use]
    pub fn edge(&self, scid: Option<cdcp::Scid>) -> EdgeConfig {
        let Self { mode, fallback, probe_interval, .. } = *self;
        let own = EdgeConfig { mode, fallback, probe_interval };
        self.channels.iter().find(|channel| Some(channel.scid) == scid).map_or(own, |channel| channel.edge)
    }

    /// The number of the S-channel called `name`.
    #[must_use]
    pub fn scid(&self, name: &str) -> Option<cdcp::Scid> {
        self.channels.iter().find(|channel| channel.name == name).map(|channel| channel.scid)
    }
}

/// Which edge relay a station wants; the names are those of macvlan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StationMode {
    /// VEPA once the bridge says that it reflects and a probe has come back.
    Auto,
    /// VEPA as soon as the bridge says that it reflects.
    Vepa,
    /// VMs of this host are switched here.
    Veb,
    /// VMs of this host never reach one another, by the bridge neither.
    Private,
    /// The only VM owns the uplink.
    Passthru,
    /// The only VM has the uplink to itself, and is held to its VSI's addresses.
    Direct,
}

impl StationMode {
    /// Whether the bridge is asked for reflective relay.
    #[must_use]
    pub const fn wants_reflection(self) -> bool {
        matches!(self, Self::Auto | Self::Vepa)
    }

    /// Whether the uplink is for one VSI alone.
    #[must_use]
    pub const fn has_one_vsi(self) -> bool {
        matches!(self, Self::Passthru | Self::Direct)
    }
}

/// What replaces VEPA while the bridge does not reflect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// Switch locally.
    Veb,
    /// VMs of this host do not reach one another; the outside they do.
    Isolate,
    /// Once a VEPA, a VEPA for good: VMs wait for the bridge to reflect again. Until then as `veb`.
    Hold,
}

/// What becomes of VSIs when the EVB peer falls silent, changes its role or is not the only neighbour any more
/// (UNSURE-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnPeerLoss {
    /// They stay until VDP's own timers end them.
    Keep,
    /// They end at once.
    Release,
}

/// What a bridge has.
#[derive(Clone, Debug, PartialEq)]
pub struct BridgeConfig {
    /// Whether stations may have reflective relay.
    pub reflective_relay: bool,
    /// Whether a station-facing port admits only registered (MAC, VID) pairs.
    pub guard: bool,
    /// Ports in the order of the file.
    pub ports: Vec<BridgePort>,
}

/// One port of a bridge.
#[derive(Clone, Debug, PartialEq)]
pub struct BridgePort {
    /// Interface name.
    pub interface: String,
    /// What it faces.
    pub kind: BridgePortKind,
    /// The S-channels the station there may have; none: only the default one, and no CDCP.
    pub svids: Option<PoolConfig>,
    /// Port extenders are behind it, whose ports are what the kind says.
    pub cascade: Option<CascadeConfig>,
}

/// What a bridge port faces.
#[derive(Clone, Debug, PartialEq)]
pub enum BridgePortKind {
    /// An EVB station: VLANs come from its VSIs.
    Station,
    /// A plain LAN.
    Lan {
        /// VLAN of untagged frames.
        untagged: Option<Vid>,
        /// VLANs carried tagged.
        tagged: Vec<Vid>,
        /// A VSI's address that speaks there has moved there.
        takes_over: bool,
    },
}

/// A configuration file that was found valid.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
    /// What that comes to.
    pub config: Config,
    /// The code book it names, as text.
    pub codebook: Option<String>,
}

impl File {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let config = Config::parse(&path.display().to_string(), &text)?;
        let codebook = read_codebook(&config.extension)?;
        Ok(Self { path: path.to_owned(), text, config, codebook })
    }
}

/// What the file at `path` says, checked or not.
pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|cause| ConfigError::unreadable(path, &cause))
}

/// `text` as TOML of this shape.
fn read_toml<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let fault = Fault {
            what: error.message().trim().to_owned(),
            span: error.span().unwrap_or(0..0),
            allowed: schema::hint(error.message()),
        };
        ConfigError::located(file, text, fault)
    })
}

/// Which EVB a port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// That of draft 0.2 of 802.1Qbg to a neighbour that speaks only that, else that of the standard.
    #[default]
    Auto,
    /// That of the standard.
    Standard,
    /// That of draft 0.2.
    Draft,
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or says something that is not allowed.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        File::read(path).map(|file| file.config)
    }

    /// Checks `text`; `file` is the name errors carry.
    ///
    /// # Errors
    /// When it is not TOML or says something that is not allowed.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let parsed = read_toml(file, text)?;
        check::check(parsed).map_err(|fault| ConfigError::located(file, text, fault))
    }

    /// Checks `text` as a file of profiles; `file` is the name errors carry.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn parse_profiles(file: &str, text: &str) -> Result<Vec<Profile>, ConfigError> {
        let read: vsidb::ProfileFile = read_toml(file, text)?;
        read.check().map_err(|fault| ConfigError::located(file, text, fault))
    }

    /// The LLDP agents of the port called `name`, which is of `kind`. Where an extended port is of another than its cascade
    /// port's entry, EVB's agent works or not by the port's, unless the entry has it otherwise than is usual.
    pub(crate) fn agents_of(&self, name: &str, kind: PortKind) -> Vec<AgentSettings> {
        let mut agents = self.agents(name);
        let usual = |station| if station { AdminStatus::RxTx } else { AdminStatus::Disabled };
        let (interface, pcid) = names::extended_of(name);
        let ports = self.bridge().map_or(&[][..], |bridge| bridge.ports.as_slice());
        let entry = ports.iter().find(|port| pcid.is_some() && port.interface == interface);
        let evb = agents.iter_mut().find(|agent| agent.config.scope == lldp::Scope::NearestCustomer);
        if let (Some(entry), Some(agent)) = (entry, evb)
            && agent.config.admin_status == usual(matches!(entry.kind, BridgePortKind::Station))
        {
            agent.config.admin_status = usual(kind == PortKind::Station);
        }
        agents
    }

    /// The LLDP agents of the port called `name`. On an S-channel other than the default one only EVB's speaks: the S-VLAN
    /// component keeps what goes to the others.
    pub(crate) fn agents(&self, name: &str) -> Vec<AgentSettings> {
        let (name, pcid) = names::extended_of(name);
        let (interface, scid) = names::channel_of(name);
        let all = self.lldp.get(interface).map_or(&[][..], Vec::as_slice);
        // What the file says of a cascade port's agents is of its extended ports; to the port extender itself speaks but
        // the nearest bridge.
        let own = pcid.is_none() && self.cascade(interface).is_some();
        let speaks = |agent: &&AgentSettings| match agent.config.scope {
            lldp::Scope::NearestCustomer => !own,
            lldp::Scope::NearestBridge => scid.is_none(),
            lldp::Scope::NearestNonTpmr => scid.is_none() && !own,
        };
        all.iter().filter(speaks).cloned().collect()
    }

    /// What a station's end of EVB is to say.
    pub(crate) const fn evb_station(&self) -> vdp::evb::StationConfig {
        vdp::evb::StationConfig { proposal: self.proposal, gid_capable: self.groups, manual: self.manual }
    }

    /// What the bridge's end is to say.
    pub(crate) const fn evb_bridge(&self, bridge: &BridgeConfig) -> vdp::evb::BridgeConfig {
        vdp::evb::BridgeConfig {
            reflective_capable: bridge.reflective_relay,
            gid_capable: self.groups,
            proposal: self.proposal,
            manual: self.manual,
        }
    }

    /// The bridge's part, if this is a bridge.
    #[must_use]
    pub const fn bridge(&self) -> Option<&BridgeConfig> {
        match &self.role {
            RoleConfig::Bridge(bridge) => Some(bridge),
            RoleConfig::Station(_) | RoleConfig::Extender(_) => None,
        }
    }

    /// The station's part, if this is a station.
    #[must_use]
    pub const fn station(&self) -> Option<&StationConfig> {
        match &self.role {
            RoleConfig::Station(station) => Some(station),
            RoleConfig::Bridge(_) | RoleConfig::Extender(_) => None,
        }
    }

    /// The port extender's part, if this is one.
    #[must_use]
    pub const fn extender(&self) -> Option<&ExtenderConfig> {
        match &self.role {
            RoleConfig::Extender(extender) => Some(extender),
            RoleConfig::Station(_) | RoleConfig::Bridge(_) => None,
        }
    }

    /// Whether an interface of this name is an extended port while it is there.
    pub(crate) fn plugs(&self, interface: &str) -> bool {
        self.extender().is_some_and(|extender| {
            extender.patterns.iter().any(|pattern| pattern.matches(interface))
                && !extender.ports.iter().any(|port| port.interface == interface)
        })
    }

    /// What is behind the cascade port `interface` of a bridge.
    pub(crate) fn cascade(&self, interface: &str) -> Option<&CascadeConfig> {
        self.bridge()?.ports.iter().find(|port| port.interface == interface)?.cascade.as_ref()
    }

    /// What `role` says.
    pub(crate) const fn role_name(&self) -> &'static str {
        match &self.role {
            RoleConfig::Station(_) => "station",
            RoleConfig::Bridge(_) => "bridge",
            RoleConfig::Extender(_) => "extender",
        }
    }
}

/// What is said of `interface` by name, or by a pattern it matches.
fn of_interface<'a, T>(said: &'a BTreeMap<String, T>, interface: &str) -> Option<&'a T> {
    let matches =
        |(name, _): &(&String, &T)| name.contains(['*', '?']) && WildMatch::new(name).matches(interface);
    said.get(interface).or_else(|| said.iter().find(matches).map(|(_, what)| what))
}

/// One thing wrong at one place.
pub(crate) struct Fault {
    pub(crate) what: String,
    pub(crate) span: std::ops::Range<usize>,
    pub(crate) allowed: Option<String>,
}

#[cfg(test)]
pub(crate) use self::tests::EVERY_TLV;

#[cfg(test)]
mod tests;
