//! What we say of ourselves on one port at one scope, besides what protocols say: configuration and kernel in, LLDP out.

use ether::MacAddr;
use lldp::{
    ChassisId, Content, LocalInfo, OrgTlv,
    basic::{Capabilities, CapabilitySet, InterfaceNumbering, ManagementAddress, PortSubtype},
    content::Label,
    dot1::{self, Dot1},
    dot3::{self, Dot3},
    med::{self, Med},
};

use crate::{
    config::{
        AgentSettings, Config,
        tlvs::{Address, FrameSize, PowerKind, PowerRole, Tlvs, Words},
    },
    input::Link,
    port::{Port, PortKind},
};

/// What the agent of `port` with these `settings` says. `chassis` names the system.
pub(crate) fn local_info(
    config: &Config,
    port: &Port,
    chassis: MacAddr,
    settings: &AgentSettings,
) -> LocalInfo {
    let tlvs = &settings.tlvs;
    let bridge = config.station().is_none();
    let capability = if bridge { CapabilitySet::BRIDGE } else { CapabilitySet::STATION_ONLY };
    let kind = match port.kind {
        PortKind::Uplink => "EVB station uplink",
        PortKind::Station => "EVB station-facing bridge port",
        PortKind::Lan | PortKind::Vm => "LAN port",
        PortKind::Cascade => "cascade port",
        PortKind::Upstream => "upstream port of a port extender",
        PortKind::Extended | PortKind::Transit => "port of a port extender",
    };
    LocalInfo {
        chassis: ChassisId::mac(chassis),
        port: port_id(port),
        port_description: words(tlvs.port_description.as_ref(), kind),
        system_name: words(tlvs.system_name.as_ref(), &config.name),
        system_description: words(
            tlvs.system_description.as_ref(),
            concat!("evbd ", env!("CARGO_PKG_VERSION")),
        ),
        capabilities: tlvs.capabilities.map(|_| Capabilities { supported: capability, enabled: capability }),
        management_addresses: management(port, tlvs),
        described: contents(tlvs, port.link.mtu()).iter().filter_map(fitting).collect(),
    }
}

fn words(configured: Option<&Words>, own: &str) -> Option<String> {
    Some(match configured? {
        Words::Auto => own.to_owned(),
        Words::Text(text) => text.0.clone(),
    })
}

/// The interface's name; its address where the name does not fit a port ID.
fn port_id(port: &Port) -> lldp::PortId {
    let name = port.interface.clone().into_bytes();
    lldp::PortId::new(PortSubtype::InterfaceName, name)
        .unwrap_or_else(|_| lldp::PortId::mac(port.mac().unwrap_or_default()))
}

fn management(port: &Port, tlvs: &Tlvs) -> Vec<ManagementAddress> {
    let Link::Present { mac, ifindex, .. } = port.link else { return Vec::new() };
    let numbered = |address: &Address| match address {
        Address::Auto => ManagementAddress::mac(mac, InterfaceNumbering::IfIndex, ifindex),
        Address::Ip(ip) => ManagementAddress::ip(*ip, InterfaceNumbering::IfIndex, ifindex),
        Address::Mac(mac) => ManagementAddress::mac(*mac, InterfaceNumbering::IfIndex, ifindex),
    };
    tlvs.management_address.iter().flat_map(|addresses| &addresses.0).map(numbered).collect()
}

/// The TLV, unless the configuration asks for more than one can hold.
fn fitting(content: &Content) -> Option<OrgTlv> {
    content.tlv().inspect_err(|error| tracing::warn!(%error, "not said: {content}")).ok()
}

/// The organizational TLVs in the order they are sent.
fn contents(tlvs: &Tlvs, mtu: Option<u32>) -> Vec<Content> {
    let mut said: Vec<Content> = dot3_contents(tlvs, mtu).into_iter().map(Content::Dot3).collect();
    said.extend(med_contents(tlvs).into_iter().map(Content::Med));
    said.extend(dot1_contents(tlvs).into_iter().map(Content::Dot1));
    said
}

fn dot1_contents(tlvs: &Tlvs) -> Vec<Dot1> {
    let bits = |priorities: &[ether::Pcp]| priorities.iter().fold(0, |bits, pcp| bits | 1 << pcp.get());
    let mut said = Vec::new();
    said.extend(tlvs.pvid.map(|vlan| Dot1::PortVlan(vlan.0)));
    said.extend(tlvs.port_protocol_vlans.iter().flatten().copied().map(Dot1::PortProtocolVlan));
    said.extend(tlvs.vlan_names.iter().flatten().map(|named| {
        Dot1::VlanName(dot1::VlanName { vid: named.vid, name: Label::truncated(&named.name.0) })
    }));
    said.extend(
        tlvs.protocols
            .iter()
            .flatten()
            .map(|octets| Dot1::ProtocolIdentity(dot1::ProtocolIdentity::truncated(&octets.0))),
    );
    said.extend(tlvs.vid_usage_digest.map(Dot1::VidUsageDigest));
    said.extend(tlvs.management_vid.map(|vlan| Dot1::ManagementVlan(vlan.0)));
    said.extend(tlvs.link_aggregation.map(Dot1::LinkAggregation));
    said.extend(tlvs.congestion_notification.as_ref().map(|cn| {
        let (priorities, ready) = (bits(&cn.priorities), bits(&cn.ready));
        Dot1::CongestionNotification(dot1::CongestionNotification { priorities, ready })
    }));
    said.extend(tlvs.application_vlans.as_ref().map(|entries| {
        let entry = |e: &crate::config::tlvs::ApplicationVlan| dot1::ApplicationVlan {
            vid: e.vid,
            selector: e.selector.number(),
            protocol: e.protocol,
        };
        Dot1::ApplicationVlan(entries.iter().map(entry).collect())
    }));
    said
}

fn dot3_contents(tlvs: &Tlvs, mtu: Option<u32>) -> Vec<Dot3> {
    let mut said = Vec::new();
    said.extend(tlvs.mac_phy.map(Dot3::MacPhy));
    said.extend(tlvs.power.map(|power| {
        let negotiation = power.kind.map(|kind| dot3::PowerNegotiation {
            type_1: kind == PowerKind::One,
            pd: power.role == PowerRole::Pd,
            source: power.source.0,
            priority: power.priority.0,
            requested: power.requested,
            allocated: power.allocated,
        });
        Dot3::Power(dot3::Power {
            pse: power.role == PowerRole::Pse,
            supported: power.supported,
            enabled: power.enabled,
            pair_control: power.pair_control,
            pairs: power.pairs.number(),
            class: power.class.0 + 1,
            negotiation,
            rest: dot3::Rest::default(),
        })
    }));
    said.extend(tlvs.link_aggregation_802_3.map(Dot3::LinkAggregation));
    said.extend(tlvs.max_frame_size.and_then(|size| match size {
        FrameSize::Octets(octets) => Some(Dot3::MaxFrameSize(octets)),
        FrameSize::Auto => mtu.map(|mtu| {
            Dot3::MaxFrameSize(u16::try_from(mtu.saturating_add(FRAME_OVERHEAD)).unwrap_or(u16::MAX))
        }),
    }));
    said.extend(tlvs.eee.map(Dot3::Eee));
    said
}

fn med_contents(tlvs: &Tlvs) -> Vec<Med> {
    use med::InventoryItem::{
        AssetId, FirmwareRevision, HardwareRevision, Manufacturer, Model, SerialNumber, SoftwareRevision,
    };
    let Some(med) = &tlvs.med else { return Vec::new() };
    let inventory = [
        (HardwareRevision, &med.hardware_revision),
        (FirmwareRevision, &med.firmware_revision),
        (SoftwareRevision, &med.software_revision),
        (SerialNumber, &med.serial_number),
        (Manufacturer, &med.manufacturer),
        (Model, &med.model),
        (AssetId, &med.asset_id),
    ];
    let lines: Vec<Med> = inventory
        .into_iter()
        .filter_map(|(item, text)| Some(Med::Inventory(item, Label::truncated(&text.as_ref()?.0))))
        .collect();
    let policies = med.policies.iter().map(|policy| {
        Med::NetworkPolicy(med::NetworkPolicy {
            application: policy.application.number().into(),
            unknown: false,
            tagged: policy.tagged,
            vid: policy.vid.0,
            pcp: policy.pcp,
            dscp: policy.dscp.0,
        })
    });
    let known = MED_CAPABILITIES
        | if med.policies.is_empty() { 0 } else { MED_POLICY }
        | if lines.is_empty() { 0 } else { MED_INVENTORY };
    let first = Med::Capabilities(med::Capabilities { known, device: med.device.number().into() });
    std::iter::once(first).chain(policies).chain(lines).collect()
}

/// Octets of a frame besides its payload: header and check sequence [802.3 79.3.4].
const FRAME_OVERHEAD: u32 = 18;
/// Bits of the MED capabilities.
const MED_CAPABILITIES: u16 = 1 << 0;
const MED_POLICY: u16 = 1 << 1;
const MED_INVENTORY: u16 = 1 << 5;

#[cfg(test)]
mod tests;
