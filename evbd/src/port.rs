//! A port of the daemon with the protocol engines that run on it.

use ether::{Instant, MacAddr, mac, time::earliest};
use hairpin::PortId;
use lldp::{Agent, Scope};
use serde::Serialize;

use crate::{
    channels::{ChannelEnd, Uap},
    csp::Speaker,
    dcb::Dcb,
    edge::EdgeRelay,
    extension::ExtendedEnd,
    herald::Herald,
    input::Link,
    state::{self, Agreed},
};

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PortKind {
    /// A station's way to its bridge, the URP: its uplink, or an S-channel of it.
    Uplink,
    /// A VM's interface on a station: a DRP. No protocol is spoken to a VM.
    Vm,
    /// A bridge's port towards a station, the SBP, or an S-channel of it.
    Station,
    /// A bridge's port towards a LAN.
    Lan,
    /// A bridge's port towards a port extender, whose ports are ports of the bridge: its own, or that of another port
    /// extender.
    Cascade,
    /// A port extender's port towards its bridge.
    Upstream,
    /// A port extender's port towards stations: its bridge speaks there.
    Extended,
    /// A port extender's port towards another one: its bridge speaks there.
    Transit,
}

impl PortKind {
    /// Whether control frames are sent and received there.
    #[must_use]
    pub const fn speaks(self) -> bool {
        !matches!(self, Self::Vm | Self::Extended | Self::Transit)
    }
}

/// One port.
pub(crate) struct Port {
    pub(crate) id: PortId,
    pub(crate) interface: String,
    pub(crate) kind: PortKind,
    pub(crate) link: Link,
    /// Whether the kernel has been heard about it.
    pub(crate) known: bool,
    /// Empty until the interface was seen: an LLDPDU names its address.
    pub(crate) agents: Vec<Agent>,
    /// Where each agent's LLDPDUs go.
    pub(crate) destinations: Vec<(Scope, MacAddr)>,
    pub(crate) edge: Option<Edge>,
    /// The S-channel it is the end of, unless it is an interface itself.
    pub(crate) channel: Option<ChannelEnd>,
    /// The cascade port and E-channel of an extended port, which is no interface of ours.
    pub(crate) extended: Option<ExtendedEnd>,
    /// What its port extender calls itself and it.
    pub(crate) far: Option<Box<pe::Names>>,
    /// CDCP, if there may be S-channels.
    pub(crate) uap: Option<Box<Uap>>,
    /// Port extension, where it is spoken.
    pub(crate) csp: Option<Box<Speaker>>,
    /// DCBX, once the interface was seen, if it is on.
    pub(crate) dcb: Option<Box<Dcb>>,
    pub(crate) ignored: Ignored,
    /// What [`crate::Core`] has this port filed under.
    pub(crate) deadline: Option<Instant>,
}

/// EVB, ECP and VDP of an uplink or a station-facing port.
pub(crate) struct Edge {
    pub(crate) side: Side,
    pub(crate) ecp: ecp::Link,
    /// What waits for ECP to be idle.
    pub(crate) outbox: vdp::Outbox,
    pub(crate) status: Option<vdp::evb::Status>,
    /// What the neighbour's EVB TLV of draft 0.2 says, where that is what is spoken.
    pub(crate) draft_peer: Option<vdp::draft::EvbDraft>,
    /// VSIs left out of what was said because the draft has no words for them, and how many ever were.
    pub(crate) unsaid: Vec<vdp::VsiId>,
    pub(crate) unsaid_total: u64,
    /// Our EVB TLV as it stands, in the octets of the standard.
    pub(crate) local_tlv: Option<bytes::Bytes>,
    /// Customer-bridge neighbours heard; an EVB link has one.
    pub(crate) neighbors: usize,
    /// No VSI is taken any more.
    pub(crate) leaving: bool,
    /// What is remembered of the agreement with the station.
    pub(crate) agreed: Option<Agreed>,
    /// That agreement is from before a restart: it is believed until then, or until the station is heard.
    pub(crate) presumed: Option<Instant>,
}

/// Which end of the EVB link this is.
pub(crate) enum Side {
    Station { evb: vdp::evb::Station, vdp: vdp::Station, relay: Box<EdgeRelay>, herald: Herald },
    Bridge { evb: vdp::evb::Bridge, vdp: vdp::Bridge },
}

/// Control frames that reached no engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Ignored {
    /// No Ethernet frame, or a tag with VID 4095.
    pub malformed: u64,
    /// Tagged with a VLAN: no control frame is.
    pub tagged: u64,
    /// To an address no agent of the port listens to.
    pub other_destination: u64,
    /// ECP of a subtype nobody here speaks, or with an unreadable header.
    pub other_ecp: u64,
    /// ECP that came in while the link is not up: it raced the news of that.
    pub link_down: u64,
    /// Of another EtherType.
    pub other_ethertype: u64,
    /// Probes of reflective relay that nobody here awaits: another station's, or a repetition.
    pub other_probe: u64,
    /// Sent by this very port and come back.
    pub own: u64,
}

impl Port {
    /// A port whose interface nothing is known of yet.
    pub(crate) fn new(
        id: PortId,
        interface: String,
        kind: PortKind,
        edge: Option<Edge>,
        channel: Option<ChannelEnd>,
    ) -> Self {
        Self {
            id,
            interface,
            kind,
            link: Link::Absent,
            known: false,
            agents: Vec::new(),
            destinations: Vec::new(),
            edge,
            channel,
            extended: None,
            far: None,
            uap: None,
            csp: None,
            dcb: None,
            ignored: Ignored::default(),
            deadline: None,
        }
    }

    /// The configuration has it no more: only its number stays, for another port.
    pub(crate) fn free(&mut self) {
        *self =
            Self { deadline: self.deadline, ..Self::new(self.id, String::new(), PortKind::Vm, None, None) };
    }

    /// Whether this is but a number.
    pub(crate) const fn is_free(&self) -> bool {
        self.interface.is_empty()
    }

    /// Its end of EVB, if EVB runs on it.
    pub(crate) fn side(&mut self) -> Option<&mut Side> {
        Some(&mut self.edge.as_mut()?.side)
    }

    /// The address frames are sent from.
    pub(crate) const fn mac(&self) -> Option<MacAddr> {
        match self.link {
            Link::Present { mac, .. } => Some(mac),
            Link::Absent => None,
        }
    }

    /// Where the LLDPDUs of the agent of `scope` go.
    pub(crate) fn destination(&self, scope: Scope) -> MacAddr {
        self.destinations.iter().find(|(s, _)| *s == scope).map_or_else(|| scope.address(), |(_, to)| *to)
    }

    /// The agent LLDPDUs to `address` are for. Where one sends to a station's address, the answer comes to ours.
    pub(crate) fn agent_at(&mut self, address: MacAddr) -> Option<&mut Agent> {
        let own = self.mac() == Some(address);
        let hears = |to: MacAddr| to == address || own && !mac::is_group(to);
        let (scope, _) = *self.destinations.iter().find(|(_, to)| hears(*to))?;
        self.agents.iter_mut().find(|agent| agent.config().scope == scope)
    }

    /// The agent that carries the EVB TLV [Q D.2.12].
    pub(crate) fn customer_agent(&self) -> Option<&Agent> {
        self.agents.iter().find(|a| a.config().scope == Scope::NearestCustomer)
    }

    /// When the first of the port's engines wants [`Port::handle_timeout`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let lldp = self.agents.iter().filter_map(Agent::poll_timeout).min();
        let edge = self.edge.as_ref().and_then(|edge| {
            let side = match &edge.side {
                Side::Station { vdp, relay, herald, .. } => {
                    let gates = earliest(relay.poll_timeout(), herald.poll_timeout());
                    earliest(vdp.poll_timeout(), gates)
                }
                Side::Bridge { vdp, .. } => vdp.poll_timeout(),
            };
            earliest(earliest(side, edge.ecp.poll_timeout()), edge.presumed)
        });
        let cdcp = self.uap.as_ref().and_then(|uap| uap.engine.poll_timeout());
        let csp = self.csp.as_ref().and_then(|csp| csp.poll_timeout());
        earliest(earliest(lldp, edge), earliest(cdcp, csp))
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for agent in &mut self.agents {
            agent.handle_timeout(now);
        }
        if let Some(uap) = &mut self.uap {
            uap.engine.handle_timeout(now);
        }
        if let Some(csp) = &mut self.csp {
            csp.handle_timeout(now);
        }
        if let Some(edge) = &mut self.edge {
            edge.ecp.handle_timeout(now);
            match &mut edge.side {
                Side::Station { vdp, relay, herald, .. } => {
                    vdp.handle_timeout(now);
                    relay.handle_timeout(now);
                    herald.handle_timeout(now);
                }
                Side::Bridge { vdp, .. } => vdp.handle_timeout(now),
            }
            state::disappoint(edge, now, self.link.is_up());
        }
    }
}
