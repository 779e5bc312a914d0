//! From what an interface is to what that means: one function for each thing looked at.

use std::collections::BTreeSet;

use ether::EtherType;
use serde::Serialize;

use super::daemon::Port;
use crate::{
    kernel::{
        inspect::{ALL, Inspection, Listener, Process},
        links::{Master, MasterKind},
    },
    libvirt::LibvirtPort,
    run::{Leak, Method, choose},
};

/// Something found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at, in snake case.
    pub(super) check: &'static str,
    pub(super) severity: Severity,
    pub(super) words: String,
    /// What helps, mostly a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// May stand in the way.
    Warning,
    /// Stands in the way.
    Problem,
}

impl Severity {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "WARNING",
            Self::Problem => "PROBLEM",
        }
    }
}

impl Finding {
    pub(super) fn new(severity: Severity, check: &'static str, words: impl Into<String>) -> Self {
        Self { check, severity, words: words.into(), remedy: None }
    }

    pub(super) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

use Severity::{Note, Ok as Fine, Problem, Warning};

/// The interface is not there.
pub(super) fn missing(port: &str, there: &[String]) -> Finding {
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    let words = format!("there is no interface {port} in this network namespace; there are: {there}");
    Finding::new(Problem, "interface", words).remedy("ip netns list; ip -br link")
}

/// A daemon of libvirt takes the number of its socket for an error.
pub(super) fn deaf(port: &LibvirtPort) -> Finding {
    let LibvirtPort { port, pid, process } = port;
    let words = format!(
        "{process}, process {pid}, starts no guest with an 802.1Qbg port and asks for none: it takes the number of its \
         netlink socket, {port}, for an error, as more than half of all its starts do"
    );
    Finding::new(Problem, "libvirt", words).remedy(format!("systemctl restart {process}, until this is gone"))
}

/// All there is to say of an interface that is there.
pub(super) fn of(seen: &Inspection, daemon: Option<&Port>) -> Vec<Finding> {
    let mut found = vec![link(seen), kind(seen), driver(seen)];
    found.extend(firmware(seen));
    found.extend(master(seen, daemon));
    found.push(mtu(seen));
    found.extend(agents(seen));
    found.extend(taps(seen));
    found.extend(offloads(seen));
    found.extend(duplicate_addresses(seen));
    found
}

fn link(seen: &Inspection) -> Finding {
    let port = &seen.interface;
    let state = &seen.operstate;
    if !seen.up {
        return Finding::new(Problem, "link", format!("{port} is administratively down"))
            .remedy(format!("ip link set {port} up"));
    }
    if !seen.carrier {
        let words = format!("{port} is up and has no carrier (operstate {state})");
        return Finding::new(Problem, "link", words).remedy("look at the cable and at the other end");
    }
    Finding::new(Fine, "link", format!("up, with carrier, operstate {state}"))
}

fn kind(seen: &Inspection) -> Finding {
    let port = &seen.interface;
    let finding = |severity, words: &str| Finding::new(severity, "kind", format!("{port} {words}"));
    if !seen.ethernet {
        return finding(Problem, "has no Ethernet frames");
    }
    match seen.kind.as_deref() {
        Some("bridge" | "openvswitch") => finding(Problem, "is a bridge itself")
            .remedy(format!("name one of its ports: ip link show master {port}")),
        Some("bond" | "team") => finding(Warning, "is an aggregate: LLDP and EVB belong to a link")
            .remedy(format!("name one of its links: ip link show master {port}")),
        Some(kind @ ("vlan" | "macvlan" | "macvtap" | "ipvlan")) => {
            finding(Warning, &format!("is a {kind}: control frames of the link do not come here"))
                .remedy(format!("name the interface below it: ip -d link show {port}"))
        }
        Some(kind) => finding(Fine, &format!("is a {kind}")),
        None => finding(Fine, "is an Ethernet interface"),
    }
}

fn driver(seen: &Inspection) -> Finding {
    match &seen.driver {
        Some(driver) => Finding::new(Fine, "driver", driver.clone()),
        None => Finding::new(Fine, "driver", "none: a virtual interface"),
    }
}

/// Drivers whose firmware has an LLDP agent of its own, which swallows LLDP before the host sees any.
struct Firmware {
    driver: &'static str,
    /// The switch of the driver, and its position when the agent is off.
    flag: Option<(&'static str, bool)>,
    remedy: &'static str,
}

const FIRMWARE: [Firmware; 4] = [
    Firmware {
        driver: "ice",
        flag: Some(("fw-lldp-agent", false)),
        remedy: "ethtool --set-priv-flags PORT fw-lldp-agent off",
    },
    Firmware {
        driver: "i40e",
        flag: Some(("disable-fw-lldp", true)),
        remedy: "ethtool --set-priv-flags PORT disable-fw-lldp on",
    },
    Firmware {
        driver: "bnxt_en",
        flag: None,
        remedy: "turn the nearest-bridge LLDP agent off in the NVM with Broadcom's bnxtnvm or niccli, then reboot",
    },
    Firmware {
        driver: "mlx5_core",
        flag: None,
        remedy: "look at LLDP_NB_RX_MODE and LLDP_NB_TX_MODE with NVIDIA's mlxconfig; 0 is off after a reboot",
    },
];

fn firmware(seen: &Inspection) -> Option<Finding> {
    let driver = seen.driver.as_deref()?;
    let known = FIRMWARE.iter().find(|firmware| firmware.driver == driver)?;
    let remedy = known.remedy.replace("PORT", &seen.interface);
    let finding = |severity, words: String| Finding::new(severity, "firmware_lldp", words);
    let state = known.flag.and_then(|(flag, off)| {
        let on = *seen.ethtool.as_ref()?.get(flag)?;
        Some((flag, on == off))
    });
    Some(match state {
        Some((flag, true)) => finding(Fine, format!("the LLDP agent in the firmware is off ({flag})")),
        Some((flag, false)) => {
            finding(Problem, format!("the LLDP agent in the firmware is on ({flag}): it eats LLDP frames"))
                .remedy(remedy)
        }
        None => {
            let words = format!(
                "{driver} may have an LLDP agent in its firmware, which eats LLDP frames; whether it is on cannot be read here"
            );
            finding(Warning, words).remedy(remedy)
        }
    })
}

/// What takes the interface's frames before the host's protocols, and what it does with those of EVB.
fn master(seen: &Inspection, daemon: Option<&Port>) -> Vec<Finding> {
    let Some(Master { name, kind, port_mask }) = &seen.master else {
        return vec![Finding::new(Fine, "master", "none: control frames come to the host")];
    };
    let hearing = choose(seen.master.as_ref());
    let method = match hearing.method {
        Method::EtherType => "sockets of one EtherType hear",
        Method::Tap => "only a tap hears, which evbd then uses",
    };
    let mut found = vec![Finding::new(Fine, "master", format!("{}: {method}", hearing.because))];
    let MasterKind::Bridge { stp, mask } = kind else { return found };
    found.push(match (hearing.leak, daemon.and_then(Port::leak)) {
        (Leak::None, _) => Finding::new(Fine, "leak", format!("bridge {name} keeps EVB and ECP frames from its other ports")),
        (Leak::ToBlock, Some("blocked")) => {
            let words = format!("bridge {name} would forward EVB and ECP frames; evbd blocks that");
            Finding::new(Fine, "leak", words)
        }
        (Leak::ToBlock | Leak::Wanted, said) => {
            let said = said.map(|said| format!(" ({said})")).unwrap_or_default();
            let words = format!("bridge {name} forwards frames to 01-80-C2-00-00-00 to its other ports: guests hear the EVB of the switch, and the switch theirs{said}");
            let remedy = if *stp {
                format!("ip link set {name} type bridge group_fwd_mask 0")
            } else {
                format!("ip link set {name} type bridge stp_state 1")
            };
            Finding::new(Warning, "leak", words).remedy(remedy)
        }
    });
    let tree = if *stp { "runs a" } else { "runs no" };
    found.push(Finding::new(Fine, "stp", format!("bridge {name} {tree} spanning tree")));
    if *mask != 0 {
        let words = format!("group_fwd_mask 0x{mask:04x} of bridge {name}: {}", forwarded(*mask));
        let remedy = format!("ip link set {name} type bridge group_fwd_mask 0");
        found.push(Finding::new(Warning, "group_fwd_mask", words).remedy(remedy));
    }
    if *port_mask != 0 {
        let words = format!("group_fwd_mask 0x{port_mask:04x} of the port: {}", forwarded(*port_mask));
        let remedy = format!("ip link set {} type bridge_slave group_fwd_mask 0", seen.interface);
        found.push(Finding::new(Warning, "group_fwd_mask", words).remedy(remedy));
    }
    if seen.hairpin {
        let words =
            format!("bridge {name} reflects on this port by itself (hairpin), whatever EVB agrees on");
        let remedy = format!("bridge link set dev {} hairpin off", seen.interface);
        found.push(Finding::new(Note, "hairpin", words).remedy(remedy));
    }
    found
}

/// The addresses a mask of group addresses forwards.
fn forwarded(mask: u16) -> String {
    let groups = (0..16).filter(|bit| mask >> bit & 1 == 1).map(|bit| format!("01-80-C2-00-00-{bit:02X}"));
    format!("forwards {}", groups.collect::<Vec<_>>().join(", "))
}

/// Whether tags fit on top of the frames of VMs.
fn mtu(seen: &Inspection) -> Finding {
    let Inspection { interface, mtu, max_mtu, .. } = seen;
    let finding = |severity, words: String| Finding::new(severity, "mtu", words);
    let Some(most) = max_mtu else {
        return finding(Note, format!("{mtu}; the driver does not say how much it could be"));
    };
    let room = most.saturating_sub(*mtu);
    if room >= TAGS {
        return finding(
            Fine,
            format!(
                "{mtu}, at most {most}: room for an S-tag (4 octets) and an E-TAG (8); as cascade or upstream port it needs \
                 {CASCADE} where ports at the edge have {EDGE}{}",
                if *mtu < CASCADE { ", so more than it has" } else { "" }
            ),
        );
    }
    let words = format!(
        "{mtu} of at most {most} leaves {room} octets for tags; an S-tag takes 4, an E-tag 8, and longer frames are lost"
    );
    finding(Warning, words).remedy(format!("ip link set {interface} mtu {}", most.saturating_sub(TAGS)))
}

/// Other programs that speak LLDP or ECP on the port.
fn agents(seen: &Inspection) -> Vec<Finding> {
    let speaks = |listener: &&Listener| {
        let known = listener.process.as_ref().is_some_and(|process| AGENTS.contains(&process.name.as_str()));
        known || [EtherType::LLDP.0, EtherType::ECP.0].contains(&listener.protocol)
    };
    let others: BTreeSet<Option<&Process>> =
        seen.listeners.iter().filter(speaks).map(|l| l.process.as_ref()).filter(|p| !is_ours(*p)).collect();
    if others.is_empty() {
        return vec![Finding::new(Fine, "other_agents", "no other program listens to LLDP or ECP here")];
    }
    let finding = |process: Option<&Process>| {
        let who = process.map_or_else(
            || "a process that cannot be seen".to_owned(),
            |p| format!("{} (pid {})", p.name, p.pid),
        );
        let words = format!(
            "{who} speaks or hears LLDP here: two agents on a port make two neighbours, and then EVB stays off"
        );
        let found = Finding::new(Warning, "other_agents", words);
        match process.map(|process| process.name.as_str()) {
            Some("systemd-network") => {
                found.remedy("LLDP=no and EmitLLDP=no in the .network file of this interface")
            }
            Some("NetworkManager") => found.remedy("nmcli connection modify NAME connection.lldp disable"),
            Some(name) if AGENTS.contains(&name) => found.remedy(format!("systemctl disable --now {name}")),
            Some(_) | None => found,
        }
    };
    others.into_iter().map(finding).collect()
}

/// Programs that take a copy of every frame, and what else makes the interface take more than is for it.
fn taps(seen: &Inspection) -> Vec<Finding> {
    let taps: BTreeSet<&Process> = seen
        .listeners
        .iter()
        .filter(|listener| listener.protocol == ALL)
        .filter_map(|listener| listener.process.as_ref())
        .filter(|process| !is_ours(Some(process)) && !AGENTS.contains(&process.name.as_str()))
        .collect();
    let mut found = Vec::new();
    if !taps.is_empty() {
        let who: Vec<_> = taps.iter().map(|p| format!("{} (pid {})", p.name, p.pid)).collect();
        let words = format!("every frame is copied for {}: it costs throughput", who.join(", "));
        found.push(Finding::new(Note, "taps", words));
    }
    if seen.promiscuity > 0 {
        let words = format!("on, by {} who want it: a relay, a bridge or a tap", seen.promiscuity);
        found.push(Finding::new(Note, "promiscuous", words));
    }
    found
}

fn offloads(seen: &Inspection) -> Option<Finding> {
    let Some(switches) = &seen.ethtool else {
        return Some(Finding::new(
            Note,
            "offloads",
            "ethtool is not installed: offloads and driver switches are not read",
        ));
    };
    let lro = switches.get("large-receive-offload").copied().unwrap_or(false);
    let words = "large receive offload is on: frames that were merged cannot be forwarded as they were";
    let remedy = format!("ethtool -K {} lro off", seen.interface);
    lro.then(|| Finding::new(Warning, "offloads", words).remedy(remedy))
}

fn duplicate_addresses(seen: &Inspection) -> Option<Finding> {
    let words = "enhanced_dad is off: where the bridge reflects, IPv6 takes its own probe for another host's and gives up its address";
    let remedy = format!("sysctl -w net.ipv6.conf.{}.enhanced_dad=1", seen.interface);
    (seen.enhanced_dad == Some(false))
        .then(|| Finding::new(Warning, "duplicate_addresses", words).remedy(remedy))
}

fn is_ours(process: Option<&Process>) -> bool {
    process.is_some_and(|process| process.name.starts_with("evbd"))
}

/// Programs that speak LLDP whatever their sockets say, by the 15 octets the kernel keeps of a name.
const AGENTS: [&str; 6] = ["lldpd", "lldpad", "ladvd", "openlldpd", "systemd-network", "NetworkManager"];
/// Octets of the longest tag.
const TAGS: u32 = 8;
/// Octets of payload of ports towards stations, commonly, and of a link whose frames have a C-tag and an E-TAG on top.
const EDGE: u32 = 1500;
const CASCADE: u32 = EDGE + 4 + 8;

#[cfg(test)]
mod tests;
