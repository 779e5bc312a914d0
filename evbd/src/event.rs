//! What the operator is told. Events are numbered by the driver, logged, and served on the control socket.

use serde::Serialize;

use hairpin::EdgeMode;

use crate::{config::OnPeerLoss, dcb::DeviceReport, probe::Proof, vsidb::Source};

/// Something worth telling. Field `port` is an interface name.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// An interface came up.
    LinkUp {
        /// Interface.
        port: String,
    },
    /// An interface went down or lost carrier.
    LinkDown {
        /// Interface.
        port: String,
    },
    /// An interface is not there (any more).
    LinkAbsent {
        /// Interface.
        port: String,
    },
    /// An LLDP neighbour appeared, changed or left.
    Neighbor {
        /// Interface.
        port: String,
        /// LLDP scope of the agent that saw it.
        scope: lldp::Scope,
        /// Its system name, if it tells one.
        system_name: Option<String>,
        /// What happened.
        #[serde(flatten)]
        what: lldp::NeighborEvent,
    },
    /// EVB negotiation reached a new operational state.
    Evb {
        /// Interface.
        port: String,
        /// The state.
        status: vdp::evb::Status,
    },
    /// More than one customer-bridge neighbour: an EVB link joins exactly two, so EVB is off until one is left.
    EvbNotPointToPoint {
        /// Interface.
        port: String,
        /// How many neighbours are heard.
        neighbors: usize,
    },
    /// One customer-bridge neighbour, or none, after there were more.
    EvbPointToPoint {
        /// Interface.
        port: String,
    },
    /// The EVB peer is lost: silent, of another role, or not the only neighbour any more.
    EvbPeerLost {
        /// Interface.
        port: String,
        /// How.
        because: &'static str,
        /// What becomes of the VSIs.
        policy: OnPeerLoss,
    },
    /// Configuration of S-channels runs, or does not.
    Cdcp {
        /// Interface.
        port: String,
        /// Whether it runs, and why not.
        #[serde(flatten)]
        state: cdcp::State,
        /// The same in words.
        words: String,
    },
    /// An S-channel is there, or has another SVID.
    ChannelUp {
        /// Interface.
        port: String,
        /// What the configuration calls it.
        channel: Option<String>,
        /// What the station calls it.
        scid: cdcp::Scid,
        /// What tags its frames.
        svid: cdcp::Svid,
    },
    /// An S-channel is gone, and its VSIs with it.
    ChannelDown {
        /// Interface.
        port: String,
        /// What the configuration calls it.
        channel: Option<String>,
        /// What the station calls it.
        scid: cdcp::Scid,
    },
    /// Frames as long as those of the ports at the edge do not fit with the tags of their E-channels.
    ExtensionMtu {
        /// The cascade or upstream port.
        port: String,
        /// Its MTU.
        mtu: u32,
        /// What it would have to be.
        needed: u32,
        /// How to make it that.
        remedy: String,
    },
    /// Frames as long as those of the relay's other side do not fit with their tags.
    ChannelMtu {
        /// The end of the S-channel.
        port: String,
        /// The MTU of its interface.
        mtu: u32,
        /// What it should be at least.
        needed: u32,
        /// What helps.
        remedy: String,
    },
    /// A session with a controlling bridge or a port extender is in another state.
    ExtensionSession {
        /// The port by which the other end is reached.
        port: String,
        /// The state.
        #[serde(flatten)]
        state: pe::SessionState,
        /// The same in words.
        words: &'static str,
    },
    /// Port extension is spoken by another code book from now on; sessions of an earlier one are closed.
    CodeBook {
        /// Its name.
        name: String,
        /// What both ends must have in common, in hexadecimal.
        digest: String,
    },
    /// A port extender has chosen another upstream port.
    Upstream {
        /// Which; none: it hears no controlling bridge.
        port: Option<String>,
    },
    /// A port of a port extender is a port of this bridge now.
    ExtendedPortMade {
        /// Its name here.
        port: String,
        /// What its port extender calls itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        extender: Option<pe::Name>,
        /// What its port extender calls it.
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<pe::Name>,
    },
    /// Its port extender calls it, or itself, otherwise than before.
    ExtendedPortNamed {
        /// Its name here.
        port: String,
        /// What its port extender calls itself.
        extender: Option<pe::Name>,
        /// What its port extender calls it.
        name: Option<pe::Name>,
    },
    /// Ports of port extenders forward as they did before a restart.
    ExtendedPortsResumed {
        /// How many.
        ports: usize,
    },
    /// It is no more.
    ExtendedPortGone {
        /// Its name here.
        port: String,
    },
    /// A port extender took an extended port down, for it has no controlling bridge for it: the station there has no
    /// carrier.
    PortLowered {
        /// Interface.
        port: String,
    },
    /// An extended port that was taken down is up again.
    PortRaised {
        /// Interface.
        port: String,
    },
    /// An interface is no extended port although its name matches, for there are as many ports as there may be.
    PortNoRoom {
        /// Interface.
        port: String,
        /// Ports there may be beside those of the configuration: `[relay] spare_ports`.
        room: u16,
    },
    /// An edge relay of the station was switched, or is held by policy, or is held no longer.
    Relay {
        /// The uplink or S-channel it is behind.
        port: String,
        /// What it is now.
        mode: EdgeMode,
        /// Whether it stays a VEPA by policy although nothing is known to come back.
        held: bool,
        /// Why.
        because: String,
    },
    /// What probes tell of the bridge's reflection has changed.
    Probe {
        /// Interface.
        port: String,
        /// What is known.
        state: Proof,
        /// The same in words.
        words: &'static str,
        /// How long the probe that proved it was under way, in microseconds.
        round_trip_us: Option<u64>,
    },
    /// Reflective relay of a bridge port was switched in the data path.
    Reflective {
        /// Interface.
        port: String,
        /// The state it has now.
        on: bool,
    },
    /// An order for a VSI is being carried out.
    VsiOrdered {
        /// Its name, where it has one.
        vsi: Option<String>,
        /// Which VSI.
        id: vdp::VsiId,
        /// What was ordered.
        command: vdp::Command,
    },
    /// An order for a VSI was refused; nothing changed.
    VsiOrderRefused {
        /// The VSI as the order called it.
        vsi: String,
        /// What was ordered.
        command: vdp::Command,
        /// What kind of reason that is.
        reason: &'static str,
        /// Why it was refused, and what helps.
        error: String,
    },
    /// DCBX has come to something else.
    Dcbx {
        /// Interface.
        port: String,
        /// What is operational, and why.
        status: Box<dcbx::Status>,
    },
    /// A device stands otherwise to what DCBX has come to.
    DcbApplied {
        /// Interface.
        port: String,
        /// How.
        #[serde(flatten)]
        report: DeviceReport,
    },
    /// Something happened to a VSI of this station.
    StationVsi {
        /// Interface the VSI's commands go out of.
        port: String,
        /// The VSI's name.
        vsi: Option<String>,
        /// What happened.
        #[serde(flatten)]
        what: vdp::station::StationEvent,
    },
    /// Something happened to a VSI of this bridge.
    BridgeVsi {
        /// Interface the station is on.
        port: String,
        /// What happened.
        #[serde(flatten)]
        what: vdp::bridge::BridgeEvent,
    },
    /// VSIs are as they were before a restart.
    Resumed {
        /// How many.
        vsis: usize,
    },
    /// What should have survived the restart did not: the state file cannot be believed.
    StateDamaged {
        /// What is wrong with it.
        because: String,
        /// Where it was set aside; none if that failed too.
        aside: Option<String>,
    },
    /// What changes is not remembered: a restart finds nothing. Tried again until it works.
    StateLost {
        /// Why.
        because: String,
    },
    /// What changes is remembered again.
    StateKept,
    /// Profiles of VSI types changed, came or went.
    ProfilesChanged {
        /// Where they come from.
        #[serde(flatten)]
        source: Source,
        /// Their names.
        profiles: Vec<String>,
        /// The VSIs that live by another profile now.
        reapplied: Vec<vdp::VsiId>,
        /// The VSIs whose profile does not permit any more what they had.
        withdrawn: Vec<vdp::VsiId>,
    },
    /// A file of profiles is wrong or cannot be read; what it said before counts.
    ProfilesRefused {
        /// The file.
        file: String,
        /// Where and what.
        error: String,
    },
    /// A VSI manager answers.
    ManagerReached {
        /// Which.
        manager: vdp::ManagerId,
    },
    /// A VSI manager does not answer, or not well; what it said before counts.
    ManagerFailed {
        /// Which.
        manager: vdp::ManagerId,
        /// Why.
        error: String,
    },
    /// The configuration was read again and is in force.
    Reloaded {
        /// What changed, a line each.
        changes: Vec<String>,
    },
    /// The configuration was read again and is wrong; nothing changed.
    ReloadRefused {
        /// Where and what.
        error: String,
    },
    /// libvirt is heard: its domains are followed.
    LibvirtReached,
    /// libvirt is not heard any more; what it said last counts.
    LibvirtLost {
        /// Why.
        error: String,
    },
    /// The data path lost a port.
    PortFailed {
        /// Interface.
        port: String,
        /// What the kernel said.
        error: String,
    },
    /// What the kernel was told about forwarding did not stand any more: somebody else has changed it. It does again.
    KernelDrift {
        /// Interface.
        port: String,
        /// What was different, a line each.
        what: Vec<String>,
    },
    /// A VSI is gone, and libvirt, which has a guest there, was told: it asks for it again.
    LibvirtTold {
        /// The VSI's name.
        vsi: Option<String>,
        /// The VSI.
        id: vdp::VsiId,
        /// Whether anybody was there to hear it.
        told: bool,
    },
    /// libvirt's daemon fails whatever has to do with 802.1Qbg, without asking for anything, because of the number of its
    /// netlink socket.
    LibvirtDeaf {
        /// Which daemon.
        process: String,
        /// Its process.
        pid: u32,
        /// The number.
        port: u32,
        /// What helps.
        remedy: String,
    },
    /// A VSI was left out of what was sent: draft 0.2, which this neighbour speaks, has no words for it. It names VSIs by
    /// UUIDs, managers by one octet, and frames by MAC address and VLAN without a priority.
    DraftCannotSay {
        /// Interface.
        port: String,
        /// The VSI.
        id: vdp::VsiId,
    },
    /// The peer did not acknowledge an ECP PDU; VDP repeats what it carried.
    EcpFailed {
        /// Interface.
        port: String,
        /// The PDU's sequence number; none if it never left the queue.
        sequence: Option<ecp::Seq>,
    },
}

impl Event {
    /// The event's name as it stands in its `event` field.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::LinkUp { .. } => "link_up",
            Self::LinkDown { .. } => "link_down",
            Self::LinkAbsent { .. } => "link_absent",
            Self::Neighbor { .. } => "neighbor",
            Self::Evb { .. } => "evb",
            Self::EvbNotPointToPoint { .. } => "evb_not_point_to_point",
            Self::EvbPointToPoint { .. } => "evb_point_to_point",
            Self::EvbPeerLost { .. } => "evb_peer_lost",
            Self::Cdcp { .. } => "cdcp",
            Self::ChannelUp { .. } => "channel_up",
            Self::ChannelDown { .. } => "channel_down",
            Self::ExtensionMtu { .. } => "extension_mtu",
            Self::ChannelMtu { .. } => "channel_mtu",
            Self::ExtensionSession { .. } => "extension_session",
            Self::Upstream { .. } => "upstream",
            Self::CodeBook { .. } => "code_book",
            Self::ExtendedPortMade { .. } => "extended_port_made",
            Self::ExtendedPortNamed { .. } => "extended_port_named",
            Self::ExtendedPortsResumed { .. } => "extended_ports_resumed",
            Self::ExtendedPortGone { .. } => "extended_port_gone",
            Self::PortLowered { .. } => "port_lowered",
            Self::PortRaised { .. } => "port_raised",
            Self::PortNoRoom { .. } => "port_no_room",
            Self::Probe { .. } => "probe",
            Self::Relay { .. } => "relay",
            Self::Reflective { .. } => "reflective",
            Self::VsiOrdered { .. } => "vsi_ordered",
            Self::VsiOrderRefused { .. } => "vsi_order_refused",
            Self::Dcbx { .. } => "dcbx",
            Self::DcbApplied { .. } => "dcb_applied",
            Self::StationVsi { .. } => "station_vsi",
            Self::BridgeVsi { .. } => "bridge_vsi",
            Self::Resumed { .. } => "resumed",
            Self::StateDamaged { .. } => "state_damaged",
            Self::StateLost { .. } => "state_lost",
            Self::StateKept => "state_kept",
            Self::ProfilesChanged { .. } => "profiles_changed",
            Self::ProfilesRefused { .. } => "profiles_refused",
            Self::ManagerReached { .. } => "manager_reached",
            Self::ManagerFailed { .. } => "manager_failed",
            Self::Reloaded { .. } => "reloaded",
            Self::ReloadRefused { .. } => "reload_refused",
            Self::LibvirtReached => "libvirt_reached",
            Self::LibvirtLost { .. } => "libvirt_lost",
            Self::PortFailed { .. } => "port_failed",
            Self::KernelDrift { .. } => "kernel_drift",
            Self::LibvirtTold { .. } => "libvirt_told",
            Self::LibvirtDeaf { .. } => "libvirt_deaf",
            Self::DraftCannotSay { .. } => "draft_cannot_say",
            Self::EcpFailed { .. } => "ecp_failed",
        }
    }
}
