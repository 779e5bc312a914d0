//! `[control]`: where the daemon is spoken to, and by whom.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::{Fault, check::fault};
use crate::api::DEFAULT_SOCKET;

/// How the daemon is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlConfig {
    /// Where the socket is bound.
    pub socket: PathBuf,
    /// The bus it is on too: `system`, or a D-Bus address.
    pub bus: Option<String>,
    /// The group whose members may change things, as root may.
    pub group: Option<String>,
    /// Who else may look.
    pub readers: Readers,
}

/// Who may look beside those who may change things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Readers {
    /// Nobody.
    #[default]
    Nobody,
    /// The members of a group.
    Group(String),
    /// Everybody.
    Everybody,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self { socket: PathBuf::from(DEFAULT_SOCKET), bus: None, group: None, readers: Readers::Nobody }
    }
}

/// `[control]` as written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ControlKeys {
    socket: Option<Spanned<PathBuf>>,
    bus: Option<Spanned<String>>,
    group: Option<Spanned<String>>,
    readers: Option<Spanned<String>>,
}

pub(super) fn control(keys: ControlKeys) -> Result<ControlConfig, Fault> {
    let default = ControlConfig::default();
    if let Some(socket) = keys.socket.as_ref().filter(|socket| !socket.get_ref().is_absolute()) {
        return fault(socket.span(), "the control socket's path is relative", "an absolute path");
    }
    let groups = [&keys.group, &keys.readers];
    if let Some(name) = groups.into_iter().flatten().find(|name| name.get_ref().is_empty()) {
        let allowed = "the name of a group, as `getent group` shows it";
        return fault(name.span(), "a group without a name", allowed);
    }
    let bus = match keys.bus {
        Some(bus) if bus.get_ref() == "off" => None,
        Some(bus) => Some(address(bus)?),
        None => None,
    };
    let readers = keys.readers.map(Spanned::into_inner).map_or(Readers::Nobody, |name| match name.as_str() {
        "*" => Readers::Everybody,
        _ => Readers::Group(name),
    });
    Ok(ControlConfig {
        socket: keys.socket.map_or(default.socket, Spanned::into_inner),
        bus,
        group: keys.group.map(Spanned::into_inner),
        readers,
    })
}

/// A bus: `system`, or its address.
pub(super) fn address(bus: Spanned<String>) -> Result<String, Fault> {
    let address = bus.get_ref();
    if address != "system" && zbus::Address::try_from(address.as_str()).is_err() {
        let allowed = "\"off\", \"system\", or an address as \"unix:path=/run/bus\"";
        return fault(bus.span(), format!("`{address}` is no address of a bus"), allowed);
    }
    Ok(bus.into_inner())
}
