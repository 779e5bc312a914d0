//! Data center bridging of a device through the kernel's dcbnl: read, compare, write what differs and nothing else.
//!
//! A device whose firmware runs DCBX is left alone. Application priorities that others gave it stay, unless they are of
//! an application that DCBX decides on.

mod wire;

use std::io;

use dcbx::{
    PrioritySet, Settings,
    ieee::{Application, EtsTable},
};

pub(crate) use self::wire::Socket;
use crate::dcb::{DeviceReport, DeviceState};

/// A device that can be read and written.
pub(crate) trait Device {
    /// What it does now.
    fn read(&mut self) -> io::Result<Current>;
    /// Changes one thing.
    fn write(&mut self, write: &Write) -> io::Result<()>;
}

/// What a device does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Current {
    /// Who runs DCBX, in the bits of the kernel; none where the driver does not tell.
    pub(crate) dcbx: Option<u8>,
    /// None where it has no ETS.
    pub(crate) ets: Option<EtsTable>,
    /// None where it has no PFC.
    pub(crate) pfc: Option<PrioritySet>,
    pub(crate) applications: Vec<Application>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// The host runs DCBX, in IEEE's terms.
    Dcbx(u8),
    Ets(EtsTable),
    Pfc(PrioritySet),
    Add(Application),
    Remove(Application),
}

/// Bits of who runs DCBX.
pub(crate) const HOST: u8 = 0x01;
pub(crate) const FIRMWARE: u8 = 0x02;
pub(crate) const IEEE: u8 = 0x08;

/// Has `device` do as `wanted`. `ours` are the application priorities it was given here before; they are kept up to date.
pub(crate) fn apply(
    device: &mut dyn Device,
    wanted: &Settings,
    ours: &mut Vec<Application>,
    dry_run: bool,
) -> DeviceReport {
    let report = |state, changes, note| DeviceReport { state, changes, note };
    let current = match device.read() {
        Ok(current) => current,
        Err(error) if error.raw_os_error() == Some(UNSUPPORTED) => {
            let note = "the driver has no data center bridging".to_owned();
            return report(DeviceState::NoDcb, Vec::new(), Some(note));
        }
        Err(error) => return report(DeviceState::Failed, Vec::new(), Some(error.to_string())),
    };
    if current.dcbx.is_some_and(|bits| bits & FIRMWARE != 0 || bits & HOST == 0) {
        let note = "the device's firmware runs DCBX; it is left alone".to_owned();
        return report(DeviceState::Firmware, Vec::new(), Some(note));
    }
    let note = missing(&current, wanted);
    let writes = difference(&current, wanted, ours);
    let said = writes.iter().map(ToString::to_string).collect();
    if writes.is_empty() {
        return report(DeviceState::InStep, said, note);
    }
    if dry_run {
        return report(DeviceState::WouldWrite, said, note);
    }
    let mut done = Vec::new();
    for write in &writes {
        if let Err(error) = device.write(write) {
            return report(DeviceState::Failed, done, Some(format!("{write}: {error}")));
        }
        done.push(write.to_string());
        match write {
            Write::Add(application) => ours.push(*application),
            Write::Remove(application) => ours.retain(|one| one != application),
            Write::Dcbx(_) | Write::Ets(_) | Write::Pfc(_) => {}
        }
    }
    report(DeviceState::Written, done, note)
}

/// What has to be written so that the device does as `wanted`.
fn difference(current: &Current, wanted: &Settings, ours: &[Application]) -> Vec<Write> {
    let mut writes = Vec::new();
    writes.extend(wanted.ets.filter(|table| current.ets.is_some_and(|is| is != *table)).map(Write::Ets));
    writes.extend(wanted.pfc.filter(|set| current.pfc.is_some_and(|is| is != *set)).map(Write::Pfc));
    if let Some(list) = &wanted.applications {
        let same = |a: &Application, b: &Application| a.selector == b.selector && a.protocol == b.protocol;
        let gone = current.applications.iter().filter(|is| {
            !list.contains(is) && (ours.contains(is) || list.iter().any(|wanted| same(wanted, is)))
        });
        writes.extend(gone.copied().map(Write::Remove));
        let new = list.iter().filter(|wanted| !current.applications.contains(wanted));
        writes.extend(new.copied().map(Write::Add));
    }
    // Only a device that is to be told anything is told who speaks.
    let other = current.dcbx.filter(|bits| bits & IEEE == 0);
    if let (Some(_), false) = (other, writes.is_empty()) {
        writes.insert(0, Write::Dcbx(HOST | IEEE));
    }
    writes
}

/// What the device has no place for.
fn missing(current: &Current, wanted: &Settings) -> Option<String> {
    let ets = wanted.ets.is_some() && current.ets.is_none();
    let pfc = wanted.pfc.is_some() && current.pfc.is_none();
    let missing: Vec<_> =
        [(ets, "ETS"), (pfc, "PFC")].into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
    (!missing.is_empty()).then(|| format!("the device has no {}", missing.join(" and no ")))
}

impl std::fmt::Display for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dcbx(_) => f.write_str("DCBX is run by the host, IEEE"),
            Self::Ets(table) => write!(f, "ETS: {table}"),
            Self::Pfc(set) => write!(f, "PFC: {set}"),
            Self::Add(application) => write!(f, "application + {application}"),
            Self::Remove(application) => write!(f, "application - {application}"),
        }
    }
}

/// `EOPNOTSUPP`.
const UNSUPPORTED: i32 = 95;

#[cfg(test)]
mod tests;
