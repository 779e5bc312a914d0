//! What the kernel is told of forwarding where `datapath = "kernel"`: a Linux bridge's port reflects and has static
//! entries for the addresses of VSIs; macvtap and macvlan interfaces have the mode of the edge relay.
//!
//! What stands otherwise than it was left is put right and told: somebody else has changed it.

use std::collections::BTreeSet;

use ether::MacAddr;
use futures_util::TryStreamExt;
use rtnetlink::{
    Error, Handle, LinkBridgePort, LinkMacVlan, LinkMacVtap, LinkMessageBuilder,
    packet_core::ErrorMessage,
    packet_route::{
        link::{
            InfoBridgePort, InfoData, InfoMacVlan, InfoMacVtap, InfoPortData, LinkAttribute, LinkInfo,
            LinkMessage, MacVlanMode, MacVtapMode,
        },
        neighbour::{NeighbourFlags, NeighbourState},
    },
};

/// What a port of a Linux bridge is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BridgePort {
    pub(crate) ifindex: u32,
    /// Frames may leave by the port they came in by.
    pub(crate) reflective: bool,
    /// While it reflects, frames from and to other addresses than those of VSIs do not pass.
    pub(crate) guard: bool,
    /// The addresses of VSIs behind it.
    pub(crate) macs: BTreeSet<MacAddr>,
}

/// What VMs' interfaces are to be among one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuestMode {
    /// They meet on the bridge.
    Vepa,
    /// They meet here.
    Bridge,
    /// They do not meet.
    Private,
}

/// Has the port be as `wanted`; `applied` is what it was left as, if it was touched. Returns what has changed meanwhile.
///
/// # Errors
/// What the kernel says; `applied` is then what holds for certain.
pub(crate) async fn bridge_port(
    handle: &Handle,
    wanted: &BridgePort,
    applied: &mut Option<BridgePort>,
) -> Result<Vec<String>, String> {
    if applied.as_ref().is_some_and(|applied| applied.ifindex != wanted.ifindex) {
        *applied = None;
    }
    let first = applied.is_none();
    let new = BridgePort { ifindex: wanted.ifindex, ..BridgePort::default() };
    let left = applied.get_or_insert(new);
    let mut drift = Vec::new();
    if left.reflective && wanted.reflective && hairpin(handle, wanted.ifindex).await? == Some(false) {
        drift.push("hairpin was switched off".to_owned());
        left.reflective = false;
    }
    if first && !wanted.reflective && wanted.macs.is_empty() {
        // Nothing is agreed here: it is as the administrator has it.
        return Ok(drift);
    }
    for mac in left.macs.difference(&wanted.macs).copied().collect::<Vec<_>>() {
        forget(handle, wanted.ifindex, mac).await?;
        left.macs.remove(&mac);
    }
    for mac in &wanted.macs {
        let new = !left.macs.contains(mac);
        let request = handle
            .neighbours()
            .add_bridge(wanted.ifindex, &mac.octets())
            .state(NeighbourState::Noarp)
            .flags(NeighbourFlags::Controller);
        // In the place of one that was learnt; one of ours is there, or is missing.
        let added = if new { request.replace().execute().await } else { request.execute().await };
        match added {
            Ok(()) if new => drop(left.macs.insert(*mac)),
            Ok(()) => drift.push(format!("the entry for {mac} was gone")),
            Err(error) if errno(&error) == Some(EEXIST) => {}
            Err(error) => return Err(format!("no entry for {mac}: {error}")),
        }
    }
    if (left.reflective, left.guard) != (wanted.reflective, wanted.guard) {
        let strict = wanted.reflective && wanted.guard;
        let message = LinkBridgePort::new(wanted.ifindex).hairpin(wanted.reflective);
        let message = if wanted.guard || left.guard {
            message.learning(!strict).flood(!strict).append_info_data(InfoBridgePort::Locked(strict))
        } else {
            message
        };
        let set = handle.link().set_port(message.build()).execute().await;
        set.map_err(|error| format!("the port cannot be switched: {error}"))?;
        (left.reflective, left.guard) = (wanted.reflective, wanted.guard);
    }
    Ok(drift)
}

/// Has the macvtap or macvlan interface `name` be as `wanted`, unless it passes all through. `left` is what it was left
/// as. Returns what it was before, if that was different.
///
/// # Errors
/// What the kernel says.
pub(crate) async fn guest(
    handle: &Handle,
    name: &str,
    wanted: GuestMode,
) -> Result<Option<GuestMode>, String> {
    let Some(link) = link(handle.link().get().match_name(name.to_owned())).await? else { return Ok(None) };
    let (tap, mode) = match guest_mode(&link) {
        Some(found) if found.1 != wanted => found,
        _ => return Ok(None),
    };
    let message = if tap {
        let mode = match wanted {
            GuestMode::Vepa => MacVtapMode::Vepa,
            GuestMode::Bridge => MacVtapMode::Bridge,
            GuestMode::Private => MacVtapMode::Private,
        };
        LinkMessageBuilder::<LinkMacVtap>::new(name).mode(mode).build()
    } else {
        let mode = match wanted {
            GuestMode::Vepa => MacVlanMode::Vepa,
            GuestMode::Bridge => MacVlanMode::Bridge,
            GuestMode::Private => MacVlanMode::Private,
        };
        LinkMessageBuilder::<LinkMacVlan>::new(name).mode(mode).build()
    };
    let changed = handle.link().change(message).execute().await;
    changed.map_err(|error| format!("{name} cannot be switched: {error}"))?;
    Ok(Some(mode))
}

/// Whether it is a macvtap, and its mode, if it is one of those that can be switched.
fn guest_mode(link: &LinkMessage) -> Option<(bool, GuestMode)> {
    infos(link).find_map(|info| match info {
        LinkInfo::Data(InfoData::MacVtap(settings)) => settings.iter().find_map(|setting| match setting {
            InfoMacVtap::Mode(MacVtapMode::Vepa) => Some((true, GuestMode::Vepa)),
            InfoMacVtap::Mode(MacVtapMode::Bridge) => Some((true, GuestMode::Bridge)),
            InfoMacVtap::Mode(MacVtapMode::Private) => Some((true, GuestMode::Private)),
            _ => None,
        }),
        LinkInfo::Data(InfoData::MacVlan(settings)) => settings.iter().find_map(|setting| match setting {
            InfoMacVlan::Mode(MacVlanMode::Vepa) => Some((false, GuestMode::Vepa)),
            InfoMacVlan::Mode(MacVlanMode::Bridge) => Some((false, GuestMode::Bridge)),
            InfoMacVlan::Mode(MacVlanMode::Private) => Some((false, GuestMode::Private)),
            _ => None,
        }),
        _ => None,
    })
}

/// Whether a port reflects; `None` if it is no port of a bridge, or none at all.
async fn hairpin(handle: &Handle, ifindex: u32) -> Result<Option<bool>, String> {
    let Some(link) = link(handle.link().get().match_index(ifindex)).await? else { return Ok(None) };
    let found = infos(&link).find_map(|info| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(settings)) => {
            settings.iter().find_map(|setting| match setting {
                InfoBridgePort::HairpinMode(on) => Some(*on),
                _ => None,
            })
        }
        _ => None,
    });
    Ok(found)
}

async fn link(request: rtnetlink::LinkGetRequest) -> Result<Option<LinkMessage>, String> {
    match request.execute().try_next().await {
        Ok(link) => Ok(link),
        Err(error) if errno(&error) == Some(ENODEV) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

async fn forget(handle: &Handle, ifindex: u32, mac: MacAddr) -> Result<(), String> {
    let mut entry = handle
        .neighbours()
        .add_bridge(ifindex, &mac.octets())
        .state(NeighbourState::Noarp)
        .flags(NeighbourFlags::Controller);
    match handle.neighbours().del(entry.message_mut().clone()).execute().await {
        Err(error) if errno(&error) != Some(ENOENT) && errno(&error) != Some(ENODEV) => {
            Err(format!("the entry for {mac} stays: {error}"))
        }
        _ => Ok(()),
    }
}

fn infos(link: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    link.attributes.iter().flat_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.as_slice(),
        _ => &[],
    })
}

fn errno(error: &Error) -> Option<i32> {
    match error {
        Error::NetlinkError(ErrorMessage { code, .. }) => code.map(|code| -code.get()),
        _ => None,
    }
}

const EEXIST: i32 = rustix::io::Errno::EXIST.raw_os_error();
const ENODEV: i32 = rustix::io::Errno::NODEV.raw_os_error();
const ENOENT: i32 = rustix::io::Errno::NOENT.raw_os_error();
