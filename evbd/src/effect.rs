//! Everything the core wants done. The driver carries effects out in the order they come.

use std::collections::BTreeSet;

use ether::{ECid, Vid};
use hairpin::{EdgeMode, Parameters, PortId, VsiEntry, VsiKey};
use vdp::ManagerId;

use crate::{
    dcb::Target,
    event::Event,
    state::{Record, RecordKey},
};

/// One thing [`crate::Core`] asks of the outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send a control frame.
    Transmit {
        /// Out of which port.
        port: PortId,
        /// The whole frame without check sequence.
        frame: Vec<u8>,
    },
    /// Switch reflective relay of a bridge port; answered with [`crate::Input::ReflectiveApplied`].
    SwitchReflective {
        /// Which port.
        port: PortId,
        /// The state wanted.
        on: bool,
    },
    /// Switch an edge relay of a station.
    SwitchRelay {
        /// The uplink or S-channel it is behind.
        port: PortId,
        /// What it is to be.
        mode: EdgeMode,
    },
    /// Open the gate of a VSI in the relay, or replace what it may send.
    OpenVsi {
        /// The VSI's row.
        key: VsiKey,
        /// Where it is and what may pass.
        entry: VsiEntry,
    },
    /// Shut the gate of a VSI.
    CloseVsi {
        /// The VSI's row.
        key: VsiKey,
    },
    /// [`crate::Core::ports`] has others than before: watch the interfaces of those new, let go of those gone.
    FollowPorts,
    /// [`crate::Core::ports`] has this port anew, has another interface there, or has it no more.
    FollowPort(PortId),
    /// The S-channels behind this port are others, or have other SVIDs: [`crate::Core::component`] says which.
    FollowChannels(PortId),
    /// The extended ports behind this cascade port have other links than before.
    FollowExtended(PortId),
    /// This extended port has.
    FollowEnd(PortId),
    /// Have floods of a VLAN to these extended ports leave the cascade port as one by this E-channel; `None`: one by one.
    Flood {
        /// Which cascade port.
        cascade: PortId,
        /// Which VLAN.
        vlan: Vid,
        /// The channel and its members.
        channel: Option<(ECid, BTreeSet<PortId>)>,
    },
    /// Have a port of this port extender be the end of an E-channel; `None`: of none, and nothing passes.
    Extend {
        /// Which port.
        port: PortId,
        /// The channel, and what becomes of priorities.
        parameters: Option<Box<Parameters>>,
        /// VLANs that leave untagged.
        untagged: BTreeSet<Vid>,
    },
    /// Have an E-channel lead to these ports of this port extender; none: nowhere.
    Channel {
        /// Which.
        ecid: ECid,
        /// Where to.
        members: BTreeSet<PortId>,
    },
    /// Have this port lead to the controlling bridge, or none.
    Upstream(Option<PortId>),
    /// Have an interface administratively up or down; answered with [`crate::Input::Administered`] if it is a port's.
    SetInterface {
        /// Its name.
        interface: String,
        /// It is this one, as [`crate::Input::Administered`] said, or none.
        identity: String,
        /// What it is to be.
        up: bool,
    },
    /// Say what these ports of this port extender have counted; answered with [`crate::Input::Counted`].
    Count {
        /// Which question.
        question: u32,
        /// Which ports.
        ports: Vec<PortId>,
    },
    /// Keep this in the place of what is kept under its key, before anything that follows is sent: it must survive a
    /// restart and come back in [`crate::Input::Resume`].
    Remember(Record),
    /// Keep nothing under this key any more, before anything that follows is sent.
    Forget(RecordKey),
    /// Read the files of profiles that [`crate::Config::vsidb`] names, and ask its managers: they may be others.
    FollowProfiles,
    /// Ask a VSI manager for news now: a VSI names a type it has not described.
    AskManager(ManagerId),
    /// Have the device of a port, or our own data path, do what DCBX has come to; answered with [`crate::Input::DcbApplied`].
    ApplyDcb {
        /// Which port.
        port: PortId,
        /// What.
        settings: dcbx::Settings,
        /// Who is to do it.
        target: Target,
    },
    /// Tell whoever watches.
    Event(Event),
}
