//! Checks that need more than one value: roles, references, duplicates, ranges. Each fault points at its place.

use std::{
    collections::BTreeSet,
    fmt::Display,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Spanned;
use vdp::Timing;

use super::{
    BridgeConfig, BridgePort, BridgePortKind, ChannelConfig, Config, EdgeConfig, Fallback, Fault,
    GuestsConfig, OnPeerLoss, RoleConfig, StationConfig, StationMode, agents, carrier, control, csp, dcb,
    extended, extension, guests, libvirt, relay, s_channels, schema, vsi, vsidb,
};

/// Turns the file into a configuration.
pub(super) fn check(file: schema::File) -> Result<Config, Fault> {
    let carrier = carrier::carrier(&file)?;
    let role_span = file.role.span();
    let role = *file.role.get_ref();
    let role_kind = role;
    let evb_span = file.evb.as_ref().map_or_else(|| role_span.clone(), Spanned::span);
    let evb = file.evb.map(Spanned::into_inner).unwrap_or_default();
    if let Some(relay) = &evb.relay {
        return fault(relay.span(), "`evb.relay` is called `evb.mode`", MODES);
    }
    let lldp = agents::agents(&file.lldp, &file.ports)?;
    let dcbx = dcb::dcbx(&file.dcbx, &file.ports, &lldp)?;
    let relay = relay::relay(&file.relay, &file.ports)?;
    let control = control::control(file.control)?;
    let name = file.name.unwrap_or_else(host_name);
    let state = state(file.state, &name)?;

    if let Some(channel) = file.channels.first().filter(|_| role != schema::Role::Extender) {
        return fault(
            channel.span(),
            "where E-channels lead is for a port extender",
            "[[channel]] with role = \"extender\"",
        );
    }
    let role = match role {
        schema::Role::Station => {
            for (given, key) in [(&evb.reflective_relay, "reflective_relay"), (&evb.guard, "guard")] {
                if let Some(value) = given {
                    return fault(
                        value.span(),
                        format!("`evb.{key}` belongs to a bridge, and this file has role = \"station\""),
                        "a station has `evb.mode` and `evb.fallback`",
                    );
                }
            }
            RoleConfig::Station(station(&evb, evb_span, role_span, file.ports, file.vsis, file.guests)?)
        }
        schema::Role::Bridge => {
            let station_keys = [
                evb.mode.as_ref().map(|v| (v.span(), "mode")),
                evb.fallback.as_ref().map(|v| (v.span(), "fallback")),
                evb.probe_interval.as_ref().map(|v| (v.span(), "probe_interval")),
                evb.announce.as_ref().map(|v| (v.span(), "announce")),
            ];
            if let Some((span, key)) = station_keys.into_iter().flatten().next() {
                return fault(
                    span,
                    format!("`evb.{key}` belongs to a station, and this file has role = \"bridge\""),
                    "a bridge has `evb.reflective_relay` and `evb.guard`",
                );
            }
            if let Some(vsi) = file.vsis.first() {
                return fault(
                    vsi.span(),
                    "a bridge starts no VSIs: stations ask for them",
                    "move [[vsi]] to the station's file; a bridge has [[profile]]",
                );
            }
            if let Some(guests) = &file.guests {
                return fault(guests.span(), "a bridge has no VMs", "[guests] belongs to the station's file");
            }
            RoleConfig::Bridge(bridge(&evb, role_span, file.ports)?)
        }
        schema::Role::Extender => {
            if let Some(vsi) = file.vsis.first() {
                return fault(
                    vsi.span(),
                    "a port extender has no VSIs",
                    "they are behind the ports of its bridge",
                );
            }
            RoleConfig::Extender(extension::extender(file.ports, file.channels, role_span)?)
        }
    };
    let libvirt = libvirt::libvirt(file.libvirt, &role, &carrier)?;
    let extension = csp::extension(file.extension, role_kind)?;
    let extended = extended::extended(file.extended, role_kind)?;
    let vsidb = vsidb::vsidb(file.vsidb, file.profiles, file.managers)?;
    let manual = evb.manual.unwrap_or(false);
    let on_peer_loss = evb.on_peer_loss.unwrap_or(OnPeerLoss::Keep);
    let max_vsis = in_range(evb.max_vsis.clone(), 1, 65_536, 16_384, "max_vsis")?;
    let max_vsis = usize::try_from(max_vsis).unwrap_or(usize::MAX);
    let groups = evb.groups.unwrap_or(false);
    let dialect = evb.dialect.unwrap_or_default();
    let proposal = proposal(evb);
    Ok(Config {
        name,
        control,
        state,
        lldp,
        dcbx,
        proposal,
        dialect,
        groups,
        max_vsis,
        manual,
        on_peer_loss,
        role,
        relay,
        carrier,
        libvirt,
        extension,
        extended,
        vsidb,
    })
}

fn station(
    evb: &schema::Evb,
    evb_span: Range<usize>,
    role_span: Range<usize>,
    ports: Vec<Spanned<schema::Port>>,
    vsis: Vec<Spanned<schema::Vsi>>,
    guests: Option<Spanned<guests::GuestsKeys>>,
) -> Result<StationConfig, Fault> {
    let mut interfaces = Interfaces::default();
    let mut uplink = None;
    let (mut places, mut max_channels) = (Vec::new(), cdcp::ChannelCapacity::MAX);
    for port in ports {
        let span = port.span();
        let port = port.into_inner();
        if *port.kind.get_ref() != schema::PortKind::Uplink {
            return fault(
                port.kind.span(),
                "a station has one port, its uplink",
                "kind = \"uplink\"; the interfaces of VMs are named by [[vsi]]",
            );
        }
        lan_keys_absent(&port)?;
        if let Some(svids) = &port.svids {
            return fault(svids.span(), "a bridge assigns SVIDs", "a station has `channels`");
        }
        extension::absent(&port)?;
        (places, max_channels) = s_channels::station(port.channels, port.max_channels)?;
        let name = interfaces.claim(port.interface)?;
        if uplink.replace(name).is_some() {
            return fault(span, "a second uplink", "exactly one [[port]] with kind = \"uplink\"");
        }
    }
    let Some(uplink) = uplink else {
        return fault(role_span, "a station without an uplink", "one [[port]] with kind = \"uplink\"");
    };
    let EdgeConfig { mode, fallback, probe_interval } = edge(&evb.mode, &evb.fallback, &evb.probe_interval)?;
    let channels: Vec<ChannelConfig> = places.iter().map(|(channel, _)| channel.clone()).collect();
    let vsis = vsi::vsis(&mut interfaces, &channels, vsis)?;
    let default = (None, mode, evb.mode.as_ref().map_or(evb_span, Spanned::span));
    let others = places.into_iter().map(|(channel, place)| (Some(channel.name), channel.edge.mode, place));
    for (name, mode, place) in others.chain([default]) {
        let behind = vsis.iter().filter(|vsi| vsi.channel == name).count();
        if mode.has_one_vsi() && behind != 1 {
            let what = name.map_or_else(|| "uplink".to_owned(), |name| format!("S-channel `{name}`"));
            return fault(
                place,
                format!("this mode gives the {what} to one VSI, and there are {behind}"),
                "exactly one [[vsi]]",
            );
        }
    }
    Ok(StationConfig {
        uplink,
        mode,
        fallback,
        probe_interval,
        announce: evb.announce.as_ref().is_none_or(|announce| *announce.get_ref()),
        max_channels,
        guests: guests.map_or_else(
            || Ok(GuestsConfig::default()),
            |keys| guests::guests(keys.into_inner(), &channels),
        )?,
        channels,
        vsis,
    })
}

/// An edge relay, when no key of it contradicts another.
pub(super) fn edge(
    mode: &Option<Spanned<StationMode>>,
    fallback: &Option<Spanned<Fallback>>,
    probe_interval: &Option<Spanned<u16>>,
) -> Result<EdgeConfig, Fault> {
    let mode = mode.as_ref().map_or(StationMode::Auto, |m| *m.get_ref());
    let without = [
        fallback.as_ref().filter(|_| !mode.wants_reflection()).map(|v| (v.span(), "fallback", VEPA_MODES)),
        probe_interval
            .as_ref()
            .filter(|_| mode != StationMode::Auto)
            .map(|v| (v.span(), "probe_interval", "leave it out, or set mode = \"auto\"")),
    ];
    if let Some((span, key, allowed)) = without.into_iter().flatten().next() {
        return fault(span, format!("`evb.{key}` has no meaning with this `evb.mode`"), allowed);
    }
    let seconds = in_range(probe_interval.clone(), 0, 3600, 30, "probe_interval")?;
    Ok(EdgeConfig {
        mode,
        fallback: fallback.as_ref().map_or(Fallback::Veb, |fallback| *fallback.get_ref()),
        probe_interval: (seconds > 0).then(|| Duration::from_secs(u64::from(seconds))),
    })
}

const MODES: &str = "mode = \"auto\", \"vepa\", \"veb\", \"private\", \"passthru\" or \"direct\"";
const VEPA_MODES: &str = "leave it out, or set mode = \"auto\" or \"vepa\"";

fn bridge(
    evb: &schema::Evb,
    role_span: Range<usize>,
    ports: Vec<Spanned<schema::Port>>,
) -> Result<BridgeConfig, Fault> {
    if ports.is_empty() {
        return fault(
            role_span,
            "a bridge without ports",
            "[[port]] with kind = \"station\" or kind = \"lan\"",
        );
    }
    let mut interfaces = Interfaces::default();
    let mut checked = Vec::with_capacity(ports.len());
    for port in ports {
        let port = port.into_inner();
        let svids = s_channels::bridge(&port)?;
        if let (Some(svids), Some(_)) = (&port.svids, &port.cascade) {
            return fault(svids.span(), "S-channels on a cascade port", "either `svids` or `cascade`");
        }
        let kind = match *port.kind.get_ref() {
            schema::PortKind::Station => {
                lan_keys_absent(&port)?;
                BridgePortKind::Station
            }
            schema::PortKind::Lan => BridgePortKind::Lan {
                untagged: port.untagged.as_ref().map(|vid| *vid.get_ref()),
                tagged: port.tagged.iter().map(|vid| *vid.get_ref()).collect(),
                takes_over: port.takes_over.as_ref().is_none_or(|takes| *takes.get_ref()),
            },
            schema::PortKind::Uplink
            | schema::PortKind::Upstream
            | schema::PortKind::Extended
            | schema::PortKind::Cascade => {
                return fault(
                    port.kind.span(),
                    "a bridge has no uplink, and its cascade ports are of kind \"station\" or \"lan\"",
                    "kind = \"station\" or kind = \"lan\"",
                );
            }
        };
        let cascade = extension::cascade(&port, &kind)?;
        checked.push(BridgePort { interface: interfaces.claim(port.interface)?, kind, svids, cascade });
    }
    Ok(BridgeConfig {
        reflective_relay: evb.reflective_relay.as_ref().is_none_or(|r| *r.get_ref()),
        guard: evb.guard.as_ref().is_none_or(|g| *g.get_ref()),
        ports: checked,
    })
}

fn proposal(evb: schema::Evb) -> Timing {
    let default = Timing::default();
    Timing {
        retries: evb.retries.unwrap_or(default.retries),
        rte: evb.ack_timer_exponent.unwrap_or(default.rte),
        rwd: evb.resource_wait_exponent.unwrap_or(default.rwd),
        rka: evb.keep_alive_exponent.unwrap_or(default.rka),
    }
}

/// Where the state is kept: by default in a directory of the name.
fn state(file: Option<schema::State>, name: &str) -> Result<Option<PathBuf>, Fault> {
    let Some(state) = file else {
        let name = name.replace('/', "-");
        return Ok(Some(Path::new(STATE).join(if name.starts_with('.') { "evbd" } else { &name })));
    };
    let directory = state.directory.get_ref().as_str();
    if directory == "off" {
        return Ok(None);
    }
    if !Path::new(directory).is_absolute() {
        return fault(
            state.directory.span(),
            "the state directory is relative",
            "an absolute path, or \"off\"",
        );
    }
    Ok(Some(directory.into()))
}

/// The directory of state directories.
const STATE: &str = "/var/lib/evbd";

fn lan_keys_absent(port: &schema::Port) -> Result<(), Fault> {
    let given = port.untagged.as_ref().map(Spanned::span).or_else(|| port.tagged.first().map(Spanned::span));
    if let Some(takes_over) = &port.takes_over {
        return fault(
            takes_over.span(),
            "addresses of VSIs are taken over by LAN ports",
            "`takes_over` only with kind = \"lan\"",
        );
    }
    match given {
        Some(span) => fault(
            span,
            "VLANs of this port come from its VSIs",
            "`untagged` and `tagged` only with kind = \"lan\"",
        ),
        None => Ok(()),
    }
}

/// Interface names in use: a port and a VSI never share one.
#[derive(Default)]
pub(super) struct Interfaces(BTreeSet<String>);

impl Interfaces {
    pub(super) fn claim(&mut self, name: Spanned<String>) -> Result<String, Fault> {
        let span = name.span();
        let name = name.into_inner();
        if !interface_name(&name) {
            return fault(span, format!("`{name}` cannot be an interface name"), INTERFACE_NAME);
        }
        if !self.0.insert(name.clone()) {
            return fault(
                span,
                format!("interface `{name}` is used twice"),
                "each interface once in the file",
            );
        }
        Ok(name)
    }
}

/// Whether the kernel can have an interface of this name.
pub(crate) fn interface_name(name: &str) -> bool {
    (1..=15).contains(&name.len()) && !name.contains(['/', ':', ' '])
}

const INTERFACE_NAME: &str = "1 to 15 characters without blanks, slashes or colons";

pub(super) fn unique<T: Ord + Clone + Display, U>(
    seen: &mut BTreeSet<T>,
    at: &Spanned<U>,
    what: &str,
    value: &T,
) -> Result<(), Fault> {
    if seen.insert(value.clone()) {
        return Ok(());
    }
    fault(at.span(), format!("{what} `{value}` is used twice"), "each value once in the file")
}

pub(super) fn in_range<T: PartialOrd + Display>(
    value: Option<Spanned<T>>,
    low: T,
    high: T,
    default: T,
    name: &str,
) -> Result<T, Fault> {
    match value {
        None => Ok(default),
        Some(v) if (&low..=&high).contains(&v.get_ref()) => Ok(v.into_inner()),
        Some(v) => fault(
            v.span(),
            format!("`{name}` = {} is out of range", v.get_ref()),
            format!("{low} to {high}; {default} when left out"),
        ),
    }
}

pub(super) fn fault<T>(
    span: Range<usize>,
    what: impl Into<String>,
    allowed: impl Into<String>,
) -> Result<T, Fault> {
    let allowed = allowed.into();
    Err(Fault { what: what.into(), span, allowed: Some(format!("allowed: {allowed}")) })
}

/// The kernel's host name, or `evbd` where it has none.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "evbd".to_owned())
}
