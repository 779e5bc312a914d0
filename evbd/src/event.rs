//! What the operator is told. Events are numbered by the driver, logged, and served on the control socket.

use serde::Serialize;

use hairpin::EdgeMode;

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
    /// The station's edge relay was switched.
    Relay {
        /// What it is now.
        mode: EdgeMode,
        /// Why.
        because: String,
    },
    /// Reflective relay of a bridge port was switched in the data path.
    Reflective {
        /// Interface.
        port: String,
        /// The state it has now.
        on: bool,
    },
    /// Something happened to a VSI of this station.
    StationVsi {
        /// Interface the VSI's commands go out of.
        port: String,
        /// The VSI's configured name.
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
    /// The data path lost a port.
    PortFailed {
        /// Interface.
        port: String,
        /// What the kernel said.
        error: String,
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
            Self::Relay { .. } => "relay",
            Self::Reflective { .. } => "reflective",
            Self::StationVsi { .. } => "station_vsi",
            Self::BridgeVsi { .. } => "bridge_vsi",
            Self::PortFailed { .. } => "port_failed",
            Self::EcpFailed { .. } => "ecp_failed",
        }
    }
}
