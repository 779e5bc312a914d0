//! `[libvirt]`: what a station does for libvirt.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::{Datapath, Fault, RoleConfig, carrier::CarrierConfig, check::fault};

/// What a station does for libvirt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibvirtConfig {
    /// Where the number is written that libvirt sends its requests to; none: it is not served. libvirt itself always reads
    /// `/var/run/lldpad.pid`.
    pub pid_file: Option<PathBuf>,
}

/// `[libvirt]` as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LibvirtKeys {
    netlink: Option<Spanned<bool>>,
    pid_file: Option<Spanned<PathBuf>>,
}

/// What the file says, when it fits the rest.
pub(super) fn libvirt(
    keys: LibvirtKeys,
    role: &RoleConfig,
    carrier: &CarrierConfig,
) -> Result<LibvirtConfig, Fault> {
    let LibvirtKeys { netlink, pid_file } = keys;
    let Some(switch) = netlink.filter(|netlink| *netlink.get_ref()) else {
        return Ok(LibvirtConfig { pid_file: None });
    };
    let RoleConfig::Station(station) = role else {
        return fault(switch.span(), "libvirt asks stations", "leave [libvirt] out of a bridge's file");
    };
    if carrier.datapath(&station.uplink) == Datapath::Core {
        let what = "libvirt's guests have macvtap interfaces, whose frames are the kernel's";
        return fault(switch.span(), what, "with datapath = \"kernel\" in the uplink's [[port]]");
    }
    match pid_file {
        Some(file) if !file.get_ref().is_absolute() => {
            fault(file.span(), "the path of the pid file is relative", "an absolute path")
        }
        file => Ok(LibvirtConfig {
            pid_file: Some(file.map_or_else(|| PathBuf::from(PID_FILE), Spanned::into_inner)),
        }),
    }
}

const PID_FILE: &str = "/run/lldpad.pid";
