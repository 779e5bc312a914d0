//! One interface looked at from all sides, once: netlink, sysfs, procfs. For an operator's question, not for the daemon.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, State};

use super::links::{LinkWatch, Master};

/// What an interface is and who listens to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inspection {
    pub(crate) interface: String,
    /// Whether it has Ethernet frames.
    pub(crate) ethernet: bool,
    /// What kind of virtual interface it is.
    pub(crate) kind: Option<String>,
    /// Its driver.
    pub(crate) driver: Option<String>,
    /// Administratively up.
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    pub(crate) operstate: String,
    pub(crate) mtu: u32,
    /// The greatest MTU its driver allows; none where it does not say.
    pub(crate) max_mtu: Option<u32>,
    /// How many want it promiscuous.
    pub(crate) promiscuity: u32,
    pub(crate) master: Option<Master>,
    /// Whether its bridge reflects on it by itself.
    pub(crate) hairpin: bool,
    /// Whether IPv6 knows its own reflected probes; none where there is no IPv6.
    pub(crate) enhanced_dad: Option<bool>,
    /// Packet sockets that hear it.
    pub(crate) listeners: Vec<Listener>,
    /// Switches of its driver and its offloads by name, as ethtool tells them; none where it is not installed.
    pub(crate) ethtool: Option<BTreeMap<String, bool>>,
}

/// A packet socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    /// The EtherType it listens to; 3 is all of them.
    pub(crate) protocol: u16,
    /// Who has it open; none where that cannot be seen.
    pub(crate) process: Option<Process>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
}

/// `ETH_P_ALL`.
pub(crate) const ALL: u16 = 3;

/// Looks at `interface`; `None` when there is none of that name in this network namespace.
pub(crate) async fn inspect(interface: &str) -> anyhow::Result<Option<Inspection>> {
    let (connection, handle, _) =
        rtnetlink::new_connection().context("cannot open a route netlink socket")?;
    tokio::spawn(connection);
    let answer = handle.link().get().match_name(interface.to_owned()).execute().try_next().await;
    // The kernel finds a link by its alternative names too, but those are not ours.
    let Some(link) = answer.ok().flatten().filter(|link| name(link) == Some(interface)) else {
        return Ok(None);
    };
    let (_, seen) = LinkWatch::start([interface.to_owned()])?.next().await?;
    let device = Path::new("/sys/class/net").join(interface);
    let mut inspection = Inspection {
        interface: interface.to_owned(),
        ethernet: link.header.link_layer_type == LinkLayerType::Ether,
        driver: last_part(&device.join("device/driver")),
        up: link.header.flags.contains(LinkFlags::Up),
        carrier: link.header.flags.contains(LinkFlags::LowerUp),
        master: seen.master,
        hairpin: number(&device.join("brport/hairpin_mode")) == Some(1),
        enhanced_dad: enhanced_dad(interface),
        listeners: listeners(link.header.index),
        ethtool: ethtool(interface),
        ..Inspection::default()
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => inspection.mtu = *mtu,
            // Drivers that know no limit say zero.
            LinkAttribute::MaxMtu(mtu) => inspection.max_mtu = Some(*mtu).filter(|mtu| *mtu > 0),
            LinkAttribute::Promiscuity(users) => inspection.promiscuity = *users,
            LinkAttribute::OperState(state) => inspection.operstate = operstate(*state),
            LinkAttribute::LinkInfo(infos) => inspection.kind = kind(infos),
            _ => {}
        }
    }
    Ok(Some(inspection))
}

/// The interfaces there are.
pub(crate) fn interfaces() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name != "lo");
    names.sort();
    names
}

fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn kind(infos: &[LinkInfo]) -> Option<String> {
    infos.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    })
}

fn operstate(state: State) -> String {
    format!("{state:?}").to_lowercase()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The last part of what a symbolic link points to.
fn last_part(path: &Path) -> Option<String> {
    Some(fs::read_link(path).ok()?.file_name()?.to_str()?.to_owned())
}

/// It is on if it is on for all or for this one.
fn enhanced_dad(interface: &str) -> Option<bool> {
    let of = |which: &str| number(&Path::new("/proc/sys/net/ipv6/conf").join(which).join("enhanced_dad"));
    Some(of(interface)? != 0 || of("all")? != 0)
}

/// The packet sockets that hear the interface of number `index`, with who has them open.
fn listeners(index: u32) -> Vec<Listener> {
    // The file is of the namespace of the reader.
    let text = fs::read_to_string("/proc/self/net/packet").unwrap_or_default();
    let sockets: Vec<Socket> =
        packet_sockets(&text).into_iter().filter(|s| s.index == 0 || s.index == index).collect();
    let wanted: BTreeMap<String, usize> = sockets
        .iter()
        .zip(0..)
        .map(|(socket, place)| (format!("socket:[{}]", socket.inode), place))
        .collect();
    let mut owners: Vec<Option<Process>> = vec![None; sockets.len()];
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        for open in fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten() {
            let target = fs::read_link(open.path()).unwrap_or_default();
            let place = target.to_str().and_then(|target| wanted.get(target));
            if let Some(owner) = place.and_then(|place| owners.get_mut(*place)) {
                let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                owner.get_or_insert(Process { pid, name: name.trim().to_owned() });
            }
        }
    }
    let listener = |(socket, process): (Socket, _)| Listener { protocol: socket.protocol, process };
    sockets.into_iter().zip(owners).map(listener).collect()
}

/// A line of `/proc/net/packet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    protocol: u16,
    /// The interface's number; 0 is every one.
    index: u32,
    inode: u64,
}

/// Reads `/proc/net/packet`; a line that reads otherwise is left out.
fn packet_sockets(text: &str) -> Vec<Socket> {
    // sk RefCnt Type Proto Iface R Rmem User Inode
    let socket = |line: &str| {
        let mut fields = line.split_whitespace();
        Some(Socket {
            protocol: u16::from_str_radix(fields.nth(3)?, 16).ok()?,
            index: fields.next()?.parse().ok()?,
            inode: fields.nth(3)?.parse().ok()?,
        })
    };
    text.lines().skip(1).filter_map(socket).collect()
}

/// What `ethtool` tells of driver switches and offloads.
fn ethtool(interface: &str) -> Option<BTreeMap<String, bool>> {
    let ask = |option: &str| {
        let output = std::process::Command::new("ethtool").args([option, interface]).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (flags, offloads) = (ask("--show-priv-flags")?, ask("--show-features")?);
    Some(switches(&flags).chain(switches(&offloads)).collect())
}

/// Lines `name: on` and `name : off [fixed]`.
fn switches(text: &str) -> impl Iterator<Item = (String, bool)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let on = match value.split_whitespace().next()? {
            "on" => true,
            "off" => false,
            _ => return None,
        };
        Some((name.trim().to_owned(), on))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packet_sockets_of_the_kernel() {
        let text = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
                    ffff8bc2c1d7a000 3      3    88cc   2     1 0      0      31337 \n\
                    ffff8bc2c1d7b000 3      2    0003   0     1 0      1000   42    \n\
                    cut\n";
        let (lldp, all) = (
            Socket { protocol: 0x88cc, index: 2, inode: 31337 },
            Socket { protocol: ALL, index: 0, inode: 42 },
        );
        assert_eq!(packet_sockets(text), [lldp, all]);
        assert_eq!(packet_sockets(""), []);
    }

    #[test]
    fn switches_of_ethtool() {
        let text = "Private flags for eth0:\nfw-lldp-agent        : on\nlegacy-rx: off [fixed]\nodd: maybe\n";
        let read: Vec<_> = switches(text).collect();
        assert_eq!(read, [("fw-lldp-agent".to_owned(), true), ("legacy-rx".to_owned(), false)]);
    }

    proptest! {
        #[test]
        fn any_text(text in "\\PC{0,200}|([0-9a-f]{0,6} ){0,20}") {
            packet_sockets(&format!("head\n{text}"));
            switches(&text).for_each(drop);
        }
    }
}
