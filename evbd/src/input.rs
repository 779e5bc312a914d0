//! Everything that can happen to the core. One serializable enum: a run is the list of its inputs.

use ether::MacAddr;
use serde::{Deserialize, Serialize};
use vdp::ManagerId;

pub use hairpin::PortId;

use crate::{
    dcb::DeviceReport,
    order::VsiOrder,
    state::Record,
    vsidb::{Profile, Source},
};

/// One thing the outside tells [`crate::Core`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "input")]
pub enum Input {
    /// The state of a port's interface, whenever it was read or changed.
    Link {
        /// Which port.
        port: PortId,
        /// Its state now.
        link: Link,
    },
    /// A control frame (LLDP, ECP or a probe) was received.
    Frame {
        /// On which port.
        port: PortId,
        /// From the destination address on, without check sequence.
        #[serde(with = "hex")]
        frame: Vec<u8>,
    },
    /// The data path has switched reflective relay on a port as [`crate::Effect::SwitchReflective`] asked.
    ReflectiveApplied {
        /// Which port.
        port: PortId,
        /// The state it now has.
        on: bool,
    },
    /// A device was told what DCBX has come to, as [`crate::Effect::ApplyDcb`] asked.
    DcbApplied {
        /// Which port.
        port: PortId,
        /// What came of it.
        report: DeviceReport,
    },
    /// What ports of this port extender have counted, as [`crate::Effect::Count`] asked.
    Counted {
        /// Which question.
        question: u32,
        /// Of each port its counters, in the order of [`pe::csp::Counters::values`].
        counters: Vec<(PortId, [u64; 12])>,
    },
    /// The code book of the control and status protocol is this one from now on.
    CodeBook {
        /// The text of its file, which was found valid; none: it is P0.
        text: Option<String>,
    },
    /// Another configuration counts from now on. Its role and, on a station, its uplink are those in force.
    Reload {
        /// The file's text; it was found valid.
        config: String,
    },
    /// What a file of profiles says now; nothing, if there is none any more.
    Profiles {
        /// Which file.
        source: Source,
        /// All it says.
        profiles: Vec<Profile>,
    },
    /// A VSI manager was asked.
    Manager {
        /// Which.
        manager: ManagerId,
        /// All it says, nothing if that is what it said last, or why it says nothing.
        heard: Result<Option<Vec<Profile>>, String>,
    },
    /// An operator or hypervisor wants something of a VSI; answered with [`crate::Event::VsiOrdered`] or
    /// [`crate::Event::VsiOrderRefused`].
    Vsi {
        /// What.
        order: VsiOrder,
    },
    /// What was to be remembered when the daemon ended; comes before any other input.
    Resume {
        /// Each key once.
        records: Vec<Record>,
    },
    /// An interface whose name matches a pattern of a port extender's ports, and which is none, is there, or is not any more.
    Plug {
        /// Its name.
        interface: String,
        /// Whether it is there.
        there: bool,
    },
    /// Whether the interface of a port extender's extended port is administratively up, whenever it was read or changed.
    Administered {
        /// Which port.
        port: PortId,
        /// Whether it is.
        up: bool,
        /// What tells the interface from all others that had its name, here or before a boot.
        identity: String,
    },
    /// The daemon ends: what it took down is to be up.
    End,
    /// The daemon is to end for good: all VSIs are de-associated, and no more are taken.
    Deassociate,
    /// The daemon ends for good: LLDP neighbours are told so.
    Goodbye,
    /// A deadline of [`crate::Core::poll_timeout`] has come.
    Timeout,
}

/// What the kernel says of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// There is no interface of that name.
    Absent,
    /// The interface exists.
    Present {
        /// Administratively up and with carrier.
        up: bool,
        /// Its address.
        mac: MacAddr,
        /// Its number.
        ifindex: u32,
        /// Octets of payload it carries.
        mtu: u32,
    },
}

impl Link {
    /// Octets of payload it carries, if there is an interface.
    #[must_use]
    pub const fn mtu(&self) -> Option<u32> {
        match self {
            Self::Present { mtu, .. } => Some(*mtu),
            Self::Absent => None,
        }
    }

    /// Whether frames can pass.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        matches!(self, Self::Present { up: true, .. })
    }
}

/// Frames as hexadecimal text, so that a recorded run can be read.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
        let digits = digits.ok_or_else(|| D::Error::custom("a frame is hexadecimal digits"))?;
        let (pairs, rest) = digits.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(D::Error::custom("a frame has an even number of hexadecimal digits"));
        }
        Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_frame_reads_back() {
        let input = Input::Frame { port: PortId(3), frame: vec![0x01, 0x80, 0xc2, 0xff] };
        let line = serde_json::to_string(&input).unwrap();
        assert!(line.contains("0180c2ff"), "{line}");
        assert_eq!(serde_json::from_str::<Input>(&line).unwrap(), input);
        assert!(serde_json::from_str::<Input>(&line.replace("0180c2ff", "0180c2f")).is_err());
        assert!(serde_json::from_str::<Input>(&line.replace("0180c2ff", "zz")).is_err());
    }
}
