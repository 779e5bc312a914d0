//! VMs as the hypervisor has them: which interfaces are VSIs of which type, and the orders that keep the list of VSIs
//! true to it.
//!
//! An interface that is there is a VSI when somebody says of which type: the VM's domain, as libvirt or its hooks
//! describe it, or else the configuration by the interface's name. It is de-associated when it goes. While the VM is still
//! on its way from another host it is pre-associated.
//!
//! No I/O: domains and interfaces come in, orders go out, and what became of each comes back.

mod engine;
pub(crate) mod libvirt;
pub(crate) mod xml;

use ether::MacAddr;
use serde::{Deserialize, Serialize};
use vdp::{GroupId, ManagerId, TypeId, TypeVersion, VsiId};

pub(crate) use engine::{Guests, Output, Tap};

/// What the VSI of an interface is, but for its address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Type {
    /// Its identifier; that of its MAC address if there is none.
    pub id: Option<VsiId>,
    /// The manager of its type.
    pub manager: ManagerId,
    /// Its type.
    #[serde(rename = "type")]
    pub type_id: TypeId,
    /// The version of its type.
    #[serde(rename = "version")]
    pub type_version: TypeVersion,
    /// Its VLAN; the bridge chooses if there is none.
    pub vlan: Option<ether::Vid>,
    /// Its priority; the bridge chooses if there is none.
    pub pcp: Option<ether::Pcp>,
    /// The group of VSIs whose VLAN the bridge assigns.
    pub group: Option<GroupId>,
    /// The S-channel it is behind.
    pub channel: Option<String>,
}

/// How many interfaces of a VM, or ports of a network, an XML text of libvirt describes; why it is not understood.
///
/// # Errors
/// When it is neither a domain nor the input of the network hook, or has a value that cannot be.
pub fn understand(text: &str) -> Result<usize, String> {
    match xml::domain(text) {
        Ok(domain) => Ok(domain.nics.len()),
        Err(domain) => xml::network_port(text).map(|_| 1).map_err(|port| format!("{domain}; {port}")),
    }
}

/// A VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Domain {
    pub(crate) uuid: String,
    pub(crate) name: String,
    pub(crate) nics: Vec<Nic>,
    /// It is still on its way from another host.
    #[serde(default)]
    pub(crate) incoming: bool,
}

/// An interface of a VM, on a tap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nic {
    pub(crate) mac: MacAddr,
    /// The host's end, once it has a name.
    #[serde(default)]
    pub(crate) tap: Option<String>,
    #[serde(default)]
    pub(crate) vsi: Option<Type>,
}

/// A port of a libvirt network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Port {
    /// The UUID of its domain.
    pub(crate) owner: String,
    pub(crate) mac: MacAddr,
    /// What the network, its port group and the interface say together.
    #[serde(default)]
    pub(crate) vsi: Option<Type>,
}

/// What is said of VMs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// These domains run, and no others.
    All(Vec<Domain>),
    /// This domain runs, and is like this now.
    Runs(Domain),
    /// This domain starts; whether it comes from another host was said before.
    Starts(Domain),
    /// The domain of this UUID is about to come from another host.
    Comes(String),
    /// The domain of this UUID does not run any more.
    Gone(String),
    /// A port of a network is made.
    Port(Port),
    /// A port of a network is gone.
    PortGone(Port),
}
