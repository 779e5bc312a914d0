//! Why the model refuses an edit.

use ether::{MacAddr, Pcid};

use super::VsiKey;
use crate::{policy::PolicyError, port::PortId};

/// Why the model refuses an edit; it is unchanged then. All are the caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The port's number is beyond the limit.
    #[error("port {port} is out of range: the limit is {limit} ports")]
    PortRange {
        /// The port.
        port: PortId,
        /// [`crate::Limits::ports`].
        limit: u16,
    },
    /// The role does not exist in this kind of relay, or differs from the one the port was added with.
    #[error("port {0}: the role is not possible here")]
    Role(PortId),
    /// The relay has another uplink.
    #[error("port {port}: the relay has an uplink already, port {uplink}")]
    SecondUplink {
        /// The port refused.
        port: PortId,
        /// The uplink.
        uplink: PortId,
    },
    /// VLANs configured on a downlink, where only VSIs bring VLANs.
    #[error("port {0}: a downlink gets its VLANs from VSIs only")]
    DownlinkVlans(PortId),
    /// `reflective`, `guard` or `takes_over` on a port of an edge relay.
    #[error("port {0}: reflection, guard and taking over are for bridge ports")]
    NotBridgePort(PortId),
    /// `takes_over` on a port with `guard`.
    #[error("port {0}: sources are guarded there, so it cannot take addresses over")]
    TakesOver(PortId),
    /// An edge mode for a bridge or a port extender.
    #[error("only an edge relay has a mode")]
    NoMode,
    /// An E-channel for a port that can have none, or behind a port that is no cascade port.
    #[error("port {0}: no E-channel can end there")]
    NoChannelThere(PortId),
    /// The E-channel ends at another port.
    #[error("port {port}: E-channel {pcid} ends at port {other}")]
    ChannelTaken {
        /// The port refused.
        port: PortId,
        /// The channel.
        pcid: Pcid,
        /// Whose it is.
        other: PortId,
    },
    /// A LAG member that is no extended port of a bridge, or guards sources, takes addresses over or has VSIs.
    #[error("port {0}: only extended ports without guard, takeover and VSIs can be of a LAG")]
    Lag(PortId),
    /// The VSI's port does not exist.
    #[error("there is no port {0}")]
    NoPort(PortId),
    /// A VSI behind the uplink, or behind a port that is not one of stations.
    #[error("port {0}: no VSI is behind such a port")]
    VsiOnUplink(PortId),
    /// A VSI without filters.
    #[error("VSI {}: no filter", .0.0)]
    NoFilter(VsiKey),
    /// A filter with an address that names no station.
    #[error("VSI {}: {mac} is no station's address", .vsi.0)]
    Address {
        /// The VSI.
        vsi: VsiKey,
        /// The address.
        mac: MacAddr,
    },
    /// A policy that cannot do what it says.
    #[error("VSI {}: policy: {error}", .vsi.0)]
    Policy {
        /// The VSI.
        vsi: VsiKey,
        /// What is wrong.
        error: PolicyError,
    },
}
