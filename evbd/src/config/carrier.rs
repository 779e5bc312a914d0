//! How frames are moved: threads and memory in `[relay]`, and `carrier` of a port, and files for mirrored frames.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::PathBuf,
    thread,
    time::Duration,
};

use carrier::CaptureOptions;
use hairpin::policy::CaptureId;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{
    Fault,
    check::{fault, in_range},
    of_interface, schema,
};

/// How frames of the ports are moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CarrierConfig {
    /// Threads that relay, at least one.
    pub workers: usize,
    /// Processors they stay on, in turn; none: wherever the kernel puts them.
    pub cpus: Vec<u16>,
    /// How long a thread looks for further frames before it sleeps, at most.
    pub spin: Duration,
    /// MiB that the receive rings of all ports take together.
    pub rings_mib: u32,
    /// The kernel forwards what the relay has settled, where it can.
    pub fast_path: bool,
    /// What ports ask for, by interface; the others leave it open.
    choices: BTreeMap<String, Choice>,
    /// Interfaces whose frames the kernel forwards.
    kernel: BTreeSet<String>,
    /// It forwards those of every port: of a station's uplink, and so of its VMs.
    all_kernel: bool,
    /// Bits per second that ports may send, by interface; the others as many as they can.
    rates: BTreeMap<String, u64>,
    /// Cascade ports that take E-TAGs with their port in place of the ingress identifier.
    ingress_form: BTreeSet<String>,
    /// Where profiles may have frames of a VSI written.
    pub captures: BTreeMap<CaptureId, CaptureOptions>,
}

/// Who forwards the frames of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Datapath {
    /// evbd's own relay.
    #[default]
    Core,
    /// The kernel: macvtap and macvlan on a station's uplink, a Linux bridge on a bridge's port. It is told what EVB and
    /// VDP have come to.
    Kernel,
}

/// Which carrier moves the frames of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The better one for the interface.
    #[default]
    Auto,
    /// A packet socket.
    Packet,
    /// AF_XDP, or none.
    Xdp,
}

impl CarrierConfig {
    /// What the port on `interface` asks for.
    #[must_use]
    pub fn choice(&self, interface: &str) -> Choice {
        of_interface(&self.choices, interface).copied().unwrap_or_default()
    }

    /// Who forwards the frames of the port on `interface`; VMs of a station are as its uplink.
    #[must_use]
    pub fn datapath(&self, interface: &str) -> Datapath {
        let kernel = self.all_kernel || self.kernel.contains(interface);
        if kernel { Datapath::Kernel } else { Datapath::Core }
    }

    /// Whether the cascade port `interface` takes E-TAGs on their way up with the port in place of the ingress identifier.
    #[must_use]
    pub fn takes_ingress_form(&self, interface: &str) -> bool {
        self.ingress_form.contains(interface)
    }

    /// Bits per second that the port on `interface` may send, from destination address to payload; none: as many as it can.
    #[must_use]
    pub fn rate(&self, interface: &str) -> Option<u64> {
        of_interface(&self.rates, interface).copied()
    }
}

/// `[[capture]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Capture {
    id: CaptureId,
    file: Spanned<PathBuf>,
    max_size: Option<Spanned<u32>>,
    snap: Option<Spanned<u32>>,
}

/// `workers` as it is written.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
pub(super) enum Workers {
    Number(u32),
    Word(Auto),
}

/// `fast_path` as it is written.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum FastPathChoice {
    Auto,
    Off,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum Auto {
    Auto,
}

/// What the file says of carriers.
pub(super) fn carrier(file: &schema::File) -> Result<CarrierConfig, Fault> {
    let schema::Relay { workers, cpus, spin, rings, fast_path, .. } = &file.relay;
    let cpus = match cpus {
        None => Vec::new(),
        Some(cpus) => {
            let list = cpus.get_ref();
            if list.is_empty()
                || list.iter().enumerate().any(|(at, cpu)| list.iter().take(at).any(|c| c == cpu))
            {
                return fault(
                    cpus.span(),
                    "no processors, or one twice",
                    "numbers as in /proc/cpuinfo, each once",
                );
            }
            list.clone()
        }
    };
    let workers = match workers.as_ref().map(|written| (written.span(), *written.get_ref())) {
        Some((span, Workers::Number(number))) => {
            let within = in_range(Some(Spanned::new(span, number)), 1, MOST_WORKERS, 1, "workers")?;
            usize::try_from(within).unwrap_or(1)
        }
        Some((_, Workers::Word(Auto::Auto))) | None if cpus.is_empty() => automatic(),
        Some((_, Workers::Word(Auto::Auto))) | None => cpus.len(),
    };
    let ports = file.ports.iter().map(Spanned::get_ref).map(|port| (port.interface.get_ref(), port.carrier));
    let vsis = file.vsis.iter().map(Spanned::get_ref).map(|vsi| (vsi.interface.get_ref(), vsi.carrier));
    let (mut rates, mut kernel) = (BTreeMap::new(), BTreeSet::new());
    let takes =
        |port: &&schema::Port| port.accept_ingress_form.as_ref().is_some_and(|takes| *takes.get_ref());
    let ingress_form =
        file.ports.iter().map(Spanned::get_ref).filter(takes).map(|port| port.interface.get_ref().clone());
    let ingress_form = ingress_form.collect();
    for port in file.ports.iter().map(Spanned::get_ref) {
        if let Some(datapath) = port.datapath.as_ref().filter(|d| *d.get_ref() == Datapath::Kernel) {
            kernel_only(port, datapath.span())?;
            kernel.insert(port.interface.get_ref().clone());
        }
        if let Some(rate) = port.rate.as_ref().filter(|rate| *rate.get_ref() != 0) {
            let rate = in_range(Some(rate.clone()), LEAST_RATE, MOST_RATE, MOST_RATE, "rate")?;
            rates.insert(port.interface.get_ref().clone(), rate);
        }
    }
    let captures = captures(&file.captures)?;
    let choices = ports
        .chain(vsis)
        .filter_map(|(interface, choice)| Some((interface.clone(), choice.filter(|c| *c != Choice::Auto)?)));
    Ok(CarrierConfig {
        workers,
        cpus,
        spin: Duration::from_micros(in_range(spin.clone(), 0, 1000, 50, "spin")?.into()),
        rings_mib: in_range(rings.clone(), 0, 65_536, 128, "rings")?,
        fast_path: *fast_path != Some(FastPathChoice::Off),
        choices: choices.collect(),
        all_kernel: *file.role.get_ref() == schema::Role::Station && !kernel.is_empty(),
        kernel,
        rates,
        ingress_form,
        captures,
    })
}

/// Whether nothing else is asked of a port that the kernel forwards.
fn kernel_only(port: &schema::Port, place: Range<usize>) -> Result<(), Fault> {
    let others = [
        ("carrier", port.carrier.is_some()),
        ("rate", port.rate.is_some()),
        ("channels", !port.channels.is_empty()),
        ("svids", port.svids.is_some()),
    ];
    if *port.kind.get_ref() == schema::PortKind::Lan {
        return fault(
            place,
            "nothing is negotiated on a LAN port",
            "datapath = \"kernel\" on an uplink or station port",
        );
    }
    match others.into_iter().find(|(_, given)| *given) {
        Some((key, _)) => fault(
            place,
            format!("`{key}` is evbd's relay's to do, and the kernel forwards this port"),
            format!("datapath = \"kernel\" without `{key}`"),
        ),
        None => Ok(()),
    }
}

fn captures(written: &[Spanned<Capture>]) -> Result<BTreeMap<CaptureId, CaptureOptions>, Fault> {
    let mut captures: BTreeMap<CaptureId, CaptureOptions> = BTreeMap::new();
    for capture in written {
        let Capture { id, file, max_size, snap } = capture.get_ref();
        if !file.get_ref().is_absolute() {
            return fault(file.span(), "the path of a capture is relative", "an absolute path");
        }
        if captures.contains_key(id) || captures.values().any(|other| other.file == *file.get_ref()) {
            return fault(capture.span(), "another capture has this `id` or `file`", "each once in the file");
        }
        let mib = in_range(max_size.clone(), 1, 1 << 20, 64, "max_size")?;
        let options = CaptureOptions {
            file: file.get_ref().clone(),
            max_octets: u64::from(mib) << 20,
            snap: in_range(snap.clone(), 14, 1 << 18, 1 << 18, "snap")?,
        };
        captures.insert(*id, options);
    }
    Ok(captures)
}

/// One for every two processors, which have VMs to run besides, and not more than four.
fn automatic() -> usize {
    thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).clamp(1, 4))
}

const MOST_WORKERS: u32 = 64;
/// In bits per second.
const LEAST_RATE: u64 = 100_000;
const MOST_RATE: u64 = 1_000_000_000_000;
