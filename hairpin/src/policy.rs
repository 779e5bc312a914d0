//! What a profile makes the relay do with the frames of one VSI.
//!
//! These are the words of a VSI type's profile: TOML and JSON spell them as they stand here. *Ingress* is from the VM,
//! *egress* is to the VM. All of it is stateless but for the token buckets of the rates.
//!
//! ```
//! let policy: hairpin::policy::Policy = serde_json::from_value(serde_json::json!({
//!     "pcp": { "set": 3 },
//!     "ingress": [
//!         { "action": "permit", "protocol": "tcp", "dst": "192.0.2.0/24", "dst_port": 443 },
//!         { "action": "deny", "name": "no smtp", "protocol": "tcp", "dst_port": 25 },
//!     ],
//!     "egress_rate": { "bits_per_second": 100_000_000, "burst_octets": 150_000 },
//!     "mirror": { "to": { "port": "eth9" }, "egress": false },
//! })).unwrap();
//! assert_eq!(policy.check(), Ok(()));
//! ```

use ether::{EtherType, MacAddr, Pcp, Vid};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::words::{PortRange, Protocol};

mod words;

/// What the relay does with one VSI. The default admits everything, unlimited, and keeps foreign groups away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields, default)]
pub struct Policy {
    /// Whose priority counts for frames from the VM.
    pub pcp: PcpRule,
    /// Rules for frames from the VM: the first that matches decides; if none does, the frame passes.
    pub ingress: Vec<AclRule>,
    /// Rules for frames to the VM, likewise. Where several VSIs share a port and a VLAN, as behind a station, the one
    /// copy of a group frame that goes to all of them is nobody's and not judged; nor does it count for the rate.
    pub egress: Vec<AclRule>,
    /// How much may come from the VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_rate: Option<Rate>,
    /// How much may go to the VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_rate: Option<Rate>,
    /// Where copies of the VM's frames go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Addresses learnt at most where a filter names none; [`crate::Limits::downlink_addresses`] by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_macs: Option<u32>,
    /// Which group frames go to the VM.
    pub groups: GroupFilter,
}

/// Whose priority counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PcpRule {
    /// That of the VM's tag; untagged frames have the filter's.
    #[default]
    Trust,
    /// This one, whatever the VM says.
    Set(Pcp),
}

/// One rule of an access list. It matches when everything it names does; a rule that names nothing matches all.
///
/// Rules about IP look into frames whose EtherType after the outermost tag is IPv4 or IPv6. Of fragments only the first
/// shows ports: all others match only rules without ports. A frame that should show ports but is cut short, or a first
/// fragment too small to, matches rules that deny by ports and none that permit by them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct AclRule {
    /// What becomes of a frame that matches.
    pub action: Action,
    /// Shown by `trace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// EtherType after the tag: `"ipv4"`, `"ipv6"`, `"arp"` or a number.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "words::ethertype")]
    pub ethertype: Option<EtherType>,
    /// Source address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_mac: Option<MacAddr>,
    /// Destination address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst_mac: Option<MacAddr>,
    /// VLAN the frame was put into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vid>,
    /// Source network, `"192.0.2.0/24"` or `"2001:db8::/32"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<IpNet>,
    /// Destination network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<IpNet>,
    /// IP protocol: `"tcp"`, `"udp"`, `"icmp"`, `"icmpv6"`, `"igmp"` or a number; behind IPv6 extension headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Source port of TCP, UDP or SCTP: a number or `"first-last"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_port: Option<PortRange>,
    /// Destination port, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst_port: Option<PortRange>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The frame passes.
    Permit,
    /// The frame is dropped.
    Deny,
}

/// A token bucket. Frames count without tag and check sequence. A frame passes while the bucket is not empty and takes
/// what it counts: a super-frame that awaits segmentation may leave the bucket in debt, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// What the bucket is filled with; at least [`Rate::MIN`].
    pub bits_per_second: u64,
    /// What it holds; at least 1.
    pub burst_octets: u32,
}

impl Rate {
    /// The lowest rate, in bits per second.
    pub const MIN: u64 = 1000;
}

/// Copies of a VM's frames for somebody who watches. Frames from the VM are copied as they came in, whatever becomes of
/// them; frames to the VM as they leave. Copies are tagged with the frame's VLAN.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Where to.
    pub to: MirrorTo,
    /// Frames from the VM.
    #[serde(default = "yes")]
    pub ingress: bool,
    /// Frames to the VM.
    #[serde(default = "yes")]
    pub egress: bool,
}

/// Where mirrored frames go.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MirrorTo {
    /// The relay's port with this [`crate::PortConfig::name`], the interface's. While there is none, or while it is the
    /// VSI's own, nothing is mirrored.
    Port(String),
    /// A capture of the carrier's.
    Capture(CaptureId),
}

/// A capture, by a number the carrier knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CaptureId(pub u16);

/// Which group frames go to a VM. Broadcast always does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupFilter {
    /// Those of its own: all-nodes and other groups of link scope, the solicited-node groups of its addresses, and what
    /// IGMP and MLD snooping saw it join.
    #[default]
    Own,
    /// All of its VLANs.
    All,
}

/// Why a policy makes no sense. The fault is the profile's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A rate or burst below the least.
    #[error("{which}: a rate is at least {} bit/s and its burst at least 1 octet", Rate::MIN)]
    Rate {
        /// The key of the policy.
        which: &'static str,
    },
    /// A rule nothing can match.
    #[error("{which} rule {}: it matches nothing, {why}", .at + 1)]
    Rule {
        /// The key of the policy.
        which: &'static str,
        /// The rule's place in the list, from 0.
        at: usize,
        /// What contradicts what.
        why: &'static str,
    },
    /// A mirror of neither direction.
    #[error("mirror: neither ingress nor egress is mirrored")]
    Mirror,
}

impl Policy {
    /// Whether the policy can do what it says.
    ///
    /// # Errors
    /// Rates below the least, rules that contradict themselves, a mirror that mirrors nothing.
    pub fn check(&self) -> Result<(), PolicyError> {
        for (which, rate) in [("ingress_rate", self.ingress_rate), ("egress_rate", self.egress_rate)] {
            if rate.is_some_and(|rate| rate.bits_per_second < Rate::MIN || rate.burst_octets == 0) {
                return Err(PolicyError::Rate { which });
            }
        }
        for (which, rules) in [("ingress", &self.ingress), ("egress", &self.egress)] {
            for (at, rule) in rules.iter().enumerate() {
                if let Some(why) = rule.contradiction() {
                    return Err(PolicyError::Rule { which, at, why });
                }
            }
        }
        match &self.mirror {
            Some(Mirror { ingress: false, egress: false, .. }) => Err(PolicyError::Mirror),
            _ => Ok(()),
        }
    }
}

impl AclRule {
    /// Why nothing can match.
    fn contradiction(&self) -> Option<&'static str> {
        let v4 = |net: &IpNet| matches!(net, IpNet::V4(_));
        let nets = [self.src.as_ref(), self.dst.as_ref()];
        let named: Vec<bool> = nets.into_iter().flatten().map(v4).collect();
        let ports = self.src_port.is_some() || self.dst_port.is_some();
        if named.windows(2).any(|pair| pair.first() != pair.last()) {
            return Some("`src` and `dst` are of two versions of IP");
        }
        let family = match self.ethertype {
            None => None,
            Some(EtherType::IPV4) => Some(true),
            Some(EtherType::IPV6) => Some(false),
            Some(_) if !named.is_empty() || self.protocol.is_some() || ports => {
                return Some("the EtherType is not IP");
            }
            Some(_) => None,
        };
        if family.is_some_and(|v4| named.iter().any(|named| *named != v4)) {
            return Some("the EtherType is of another version of IP");
        }
        match self.protocol {
            Some(protocol) if ports && !protocol.has_ports() => Some("the protocol has no ports"),
            _ => None,
        }
    }
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests;
