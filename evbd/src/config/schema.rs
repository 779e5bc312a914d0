//! The file as the administrator writes it. Values carry their place so that checks can point at them.

use std::net::IpAddr;

use ether::{Framing, MacAddr, Pcp, Vid};
use serde::Deserialize;
use toml::Spanned;
use vdp::{
    ManagerId, TypeId, TypeVersion, VsiId,
    timing::{Exponent, Retries},
};

use super::{
    Dialect, Fallback, OnPeerLoss, StationMode,
    agents::LldpKeys,
    carrier::{Capture, Choice, Datapath, FastPathChoice, Workers},
    control::ControlKeys,
    csp::ExtensionKeys,
    dcb::DcbxKeys,
    extended::RuleKeys,
    extension::{ChannelKeys as EChannelKeys, ExtendedKeys, FloodKeys},
    guests::GuestsKeys,
    libvirt::LibvirtKeys,
    relay::StormKeys,
    s_channels::ChannelKeys,
    vsi::FilterKeys,
    vsidb::{ManagerKeys, VsiDbKeys},
};
use crate::vsidb::Profile;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) role: Spanned<Role>,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) control: ControlKeys,
    pub(super) state: Option<State>,
    #[serde(default)]
    pub(super) lldp: LldpKeys,
    #[serde(default)]
    pub(super) dcbx: DcbxKeys,
    #[serde(default)]
    pub(super) evb: Option<Spanned<Evb>>,
    pub(super) extension: Option<Spanned<ExtensionKeys>>,
    #[serde(default)]
    pub(super) libvirt: LibvirtKeys,
    #[serde(default)]
    pub(super) relay: Relay,
    #[serde(default, rename = "port")]
    pub(super) ports: Vec<Spanned<Port>>,
    #[serde(default, rename = "profile")]
    pub(super) profiles: Vec<Spanned<Profile>>,
    #[serde(default)]
    pub(super) vsidb: VsiDbKeys,
    #[serde(default, rename = "manager")]
    pub(super) managers: Vec<Spanned<ManagerKeys>>,
    #[serde(default, rename = "vsi")]
    pub(super) vsis: Vec<Spanned<Vsi>>,
    pub(super) guests: Option<Spanned<GuestsKeys>>,
    #[serde(default, rename = "capture")]
    pub(super) captures: Vec<Spanned<Capture>>,
    #[serde(default)]
    pub(super) extended: Vec<Spanned<RuleKeys>>,
    #[serde(default, rename = "channel")]
    pub(super) channels: Vec<Spanned<EChannelKeys>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    Station,
    Bridge,
    Extender,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub(super) directory: Spanned<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Evb {
    // station
    pub(super) mode: Option<Spanned<StationMode>>,
    pub(super) fallback: Option<Spanned<Fallback>>,
    pub(super) probe_interval: Option<Spanned<u16>>,
    pub(super) announce: Option<Spanned<bool>>,
    /// What `mode` was called once; never accepted.
    pub(super) relay: Option<Spanned<serde::de::IgnoredAny>>,
    // bridge
    pub(super) reflective_relay: Option<Spanned<bool>>,
    pub(super) guard: Option<Spanned<bool>>,
    // both
    pub(super) dialect: Option<Dialect>,
    pub(super) groups: Option<bool>,
    pub(super) max_vsis: Option<Spanned<u32>>,
    pub(super) manual: Option<bool>,
    pub(super) on_peer_loss: Option<OnPeerLoss>,
    pub(super) retries: Option<Retries>,
    pub(super) ack_timer_exponent: Option<Exponent>,
    pub(super) resource_wait_exponent: Option<Exponent>,
    pub(super) keep_alive_exponent: Option<Exponent>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Relay {
    pub(super) fdb_entries: Option<Spanned<u32>>,
    pub(super) ageing: Option<Spanned<u32>>,
    pub(super) snooping: Option<bool>,
    pub(super) flap_moves: Option<Spanned<u8>>,
    pub(super) flap_window: Option<Spanned<u32>>,
    pub(super) flap_hold: Option<Spanned<u32>>,
    pub(super) storm: StormKeys,
    pub(super) workers: Option<Spanned<Workers>>,
    pub(super) cpus: Option<Spanned<Vec<u16>>>,
    pub(super) spin: Option<Spanned<u32>>,
    pub(super) rings: Option<Spanned<u32>>,
    pub(super) fast_path: Option<FastPathChoice>,
    pub(super) spare_ports: Option<Spanned<u16>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Port {
    pub(super) interface: Spanned<String>,
    pub(super) kind: Spanned<PortKind>,
    pub(super) untagged: Option<Spanned<Vid>>,
    #[serde(default)]
    pub(super) tagged: Vec<Spanned<Vid>>,
    pub(super) carrier: Option<Choice>,
    pub(super) datapath: Option<Spanned<Datapath>>,
    pub(super) rate: Option<Spanned<u64>>,
    pub(super) takes_over: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) channels: Vec<Spanned<ChannelKeys>>,
    pub(super) svids: Option<Spanned<String>>,
    pub(super) max_channels: Option<Spanned<u8>>,
    // bridge: port extenders
    pub(super) cascade: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) extended: Vec<Spanned<ExtendedKeys>>,
    #[serde(default)]
    pub(super) floods: Vec<Spanned<FloodKeys>>,
    // port extender
    pub(super) id: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) below: Vec<Spanned<u32>>,
    pub(super) accept_ingress_form: Option<Spanned<bool>>,
    // both
    pub(super) framing: Option<Spanned<Framing>>,
    #[serde(default)]
    pub(super) storm: StormKeys,
    #[serde(default)]
    pub(super) lldp: LldpKeys,
    #[serde(default)]
    pub(super) dcbx: DcbxKeys,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum PortKind {
    Uplink,
    Station,
    Lan,
    Upstream,
    Extended,
    Cascade,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vsi {
    pub(super) name: Spanned<String>,
    pub(super) interface: Spanned<String>,
    pub(super) id: Spanned<VsiId>,
    #[serde(default)]
    pub(super) manager: ManagerId,
    #[serde(rename = "type")]
    pub(super) type_id: TypeId,
    pub(super) version: TypeVersion,
    pub(super) mac: Option<Spanned<MacAddr>>,
    pub(super) vlan: Option<Vid>,
    pub(super) pcp: Option<Pcp>,
    pub(super) filters: Option<Spanned<Vec<FilterKeys>>>,
    #[serde(default)]
    pub(super) ips: Vec<IpAddr>,
    pub(super) automatic: Option<bool>,
    pub(super) channel: Option<Spanned<String>>,
    pub(super) carrier: Option<Choice>,
}

/// What is allowed, for the messages serde leaves short.
pub(super) fn hint(message: &str) -> Option<String> {
    let known: &[(&str, &str)] = &[
        ("missing field `role`", "role = \"station\", role = \"bridge\" or role = \"extender\""),
        (
            "missing field `kind`",
            "kind = \"uplink\" on a station; kind = \"station\" or \"lan\" on a bridge; kind = \"upstream\", \"extended\" or \"cascade\" on a port extender",
        ),
        ("missing field `interface`", "interface = \"NAME\", as `ip link` shows it"),
        ("missing field `file`", "file = an absolute path"),
        (
            "missing field `id`",
            "id = a UUID, MAC, IPv4 or IPv6 address naming the VSI instance; of a capture, 0 to 65535",
        ),
        ("missing field `type`", "type = 0 to 16777215, the VSI type of the bridge's database"),
        ("missing field `version`", "version = 0 to 255"),
        ("missing field `vlans`", "vlans = [ … ], at least one VLAN from 1 to 4094"),
    ];
    known
        .iter()
        .find(|(start, _)| message.starts_with(start))
        .map(|(_, allowed)| format!("expected {allowed}"))
}
