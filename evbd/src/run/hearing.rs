//! How to hear control frames on a port, by what its interface's master does with them.
//!
//! The kernel offers a frame to sockets that tap every frame, then to `tc`, then to the interface's master, then to
//! sockets of one EtherType. The last are the cheapest and hear what the master leaves. A Linux bridge leaves frames to
//! 01-80-C2-00-00-0x, with two exceptions: those to …-00 when it runs no spanning tree, and those of its
//! `group_fwd_mask`. These it forwards to its other ports.

use ether::Vid;
use serde::Serialize;

use crate::{
    input::Link,
    kernel::links::{Master, MasterKind, Seen},
};

/// How a port hears, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hearing {
    pub(crate) method: Method,
    pub(crate) because: String,
    pub(crate) leak: Leak,
}

/// The ways to hear, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Method {
    /// A socket for each EtherType.
    #[serde(rename = "ethertype")]
    EtherType,
    /// One socket that taps every frame, with a filter in the kernel.
    #[serde(rename = "all+filter")]
    Tap,
}

/// What becomes of frames to the nearest customer bridge beside our hearing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leak {
    /// They end here.
    None,
    /// The bridge forwards them because nothing tells it not to.
    ToBlock,
    /// The bridge forwards them because the administrator said so.
    Wanted,
}

impl Hearing {
    /// How to hear on an S-channel.
    pub(crate) fn of_channel(svid: Vid) -> Self {
        Self { method: Method::Tap, because: format!("S-channel of S-VLAN {svid}"), leak: Leak::None }
    }
}

/// How to hear on a port with this master.
pub(crate) fn choose(master: Option<&Master>) -> Hearing {
    let Some(master) = master else {
        return Hearing { method: Method::EtherType, because: "no master".into(), leak: Leak::None };
    };
    let name = &master.name;
    let (method, because, leak) = match &master.kind {
        MasterKind::Bridge { stp, mask } => {
            let mask = mask | master.port_mask;
            let taken: Vec<&str> =
                GROUPS.iter().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, group)| *group).collect();
            if mask & 1 == 0 && !stp {
                (
                    Method::Tap,
                    format!("bridge {name} runs no STP and forwards 01-80-C2-00-00-00"),
                    Leak::ToBlock,
                )
            } else if taken.is_empty() {
                (Method::EtherType, format!("bridge {name} runs STP and leaves control frames"), Leak::None)
            } else {
                let leak = if mask & 1 == 0 { Leak::None } else { Leak::Wanted };
                let because = format!("group_fwd_mask of bridge {name} forwards {}", taken.join(", "));
                (Method::Tap, because, leak)
            }
        }
        MasterKind::Other(kind) if LEAVE.contains(&kind.as_str()) => {
            (Method::EtherType, format!("{kind} {name} leaves control frames"), Leak::None)
        }
        MasterKind::Other(kind) => {
            (Method::Tap, format!("{kind} {name} may take control frames"), Leak::None)
        }
    };
    Hearing { method, because, leak }
}

/// Why the relay must leave a port with this master alone: the kernel forwards its frames, and twice is too often.
pub(crate) fn forwarded(interface: &str, master: Option<&Master>) -> Option<String> {
    let Master { name, kind, .. } = master?;
    let kind = match kind {
        MasterKind::Bridge { .. } => "bridge",
        MasterKind::Other(kind) if kind == OPEN_VSWITCH => OPEN_VSWITCH,
        MasterKind::Other(_) => return None,
    };
    Some(format!(
        "is a port of {kind} {name}: the kernel forwards its frames; control protocols run, the relay leaves it alone \
         until `ip link set {interface} nomaster`"
    ))
}

/// What the kernel does on a port that is left to it, and why it does not. Where VLANs of VSIs are not enforced, the
/// former says so.
pub(crate) fn kernels(interface: &str, seen: &Seen, bridge: bool) -> (String, Option<String>) {
    let because = "datapath = \"kernel\"".to_owned();
    if seen.link == Link::Absent {
        return (because, Some(format!("interface {interface} does not exist")));
    }
    if !bridge {
        return (because, None);
    }
    match &seen.master {
        Some(Master { name, kind: MasterKind::Bridge { .. }, .. }) => {
            let filter = format!("/sys/class/net/{name}/bridge/vlan_filtering");
            let vlans = match std::fs::read_to_string(filter).as_deref().map(str::trim) {
                Ok("1") => "its VLANs are the administrator's, not those of VSIs",
                Ok(_) => "it has VLAN filtering switched off: VLANs of VSIs are not enforced",
                Err(_) => "the kernel has no VLAN filtering: VLANs of VSIs are not enforced",
            };
            (format!("{because}: bridge {name}; {vlans}"), None)
        }
        _ => {
            let remedy = format!("`ip link set {interface} master BRIDGE`");
            (because, Some(format!("is no port of a Linux bridge, which is to forward its frames: {remedy}")))
        }
    }
}

/// Bits of `group_fwd_mask` for the groups LLDP and ECP use.
const GROUPS: [(u16, &str); 3] =
    [(0, "01-80-C2-00-00-00"), (3, "01-80-C2-00-00-03"), (14, "01-80-C2-00-00-0E")];

/// Masters that hand link-local frames to their ports' own sockets.
const LEAVE: [&str; 3] = ["bond", "team", "vrf"];
const OPEN_VSWITCH: &str = "openvswitch";

#[cfg(test)]
mod tests {
    use super::*;

    fn bridge(stp: bool, mask: u16, port_mask: u16) -> Master {
        Master { name: "br0".into(), kind: MasterKind::Bridge { stp, mask }, port_mask }
    }

    fn other(kind: &str) -> Master {
        Master { name: "m0".into(), kind: MasterKind::Other(kind.into()), port_mask: 0 }
    }

    #[test]
    fn the_cheapest_that_works() {
        use Leak::{None as Ends, ToBlock, Wanted};
        use Method::{EtherType, Tap};
        let cases = [
            (None, EtherType, Ends, "no master"),
            (Some(bridge(false, 0, 0)), Tap, ToBlock, "bridge br0 runs no STP"),
            (Some(bridge(true, 0, 0)), EtherType, Ends, "bridge br0 runs STP"),
            (Some(bridge(true, 0x4000, 0)), Tap, Ends, "forwards 01-80-C2-00-00-0E"),
            (Some(bridge(true, 0x0008, 0x4000)), Tap, Ends, "-03, 01-80-C2-00-00-0E"),
            (Some(bridge(true, 0x0010, 0)), EtherType, Ends, "runs STP"),
            (Some(bridge(true, 0, 1)), Tap, Wanted, "group_fwd_mask of bridge br0"),
            (Some(bridge(false, 0, 1)), Tap, Wanted, "group_fwd_mask"),
            (Some(bridge(false, 0x4000, 0)), Tap, ToBlock, "no STP"),
            (Some(other("bond")), EtherType, Ends, "bond m0 leaves"),
            (Some(other("openvswitch")), Tap, Ends, "openvswitch m0 may take"),
            (Some(other("gone")), Tap, Ends, "may take"),
        ];
        for (master, method, leak, because) in cases {
            let hearing = choose(master.as_ref());
            assert_eq!((hearing.method, hearing.leak), (method, leak), "{master:?}");
            assert!(hearing.because.contains(because), "{master:?}: {}", hearing.because);
        }
    }

    #[test]
    fn only_switches_of_the_kernel_bar_the_relay() {
        assert!(forwarded("b0", Some(&bridge(true, 0, 0))).is_some_and(|f| f.contains("set b0 nomaster")));
        assert!(forwarded("b0", Some(&other("openvswitch"))).is_some());
        assert_eq!((forwarded("b0", Some(&other("vrf"))), forwarded("b0", None)), (None, None));
    }
}
