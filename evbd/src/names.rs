//! Names of ports that are no interfaces: an S-channel's is `INTERFACE/SCID`, an extended port's `INTERFACE:PCID`. The
//! kernel gives no interface a name with `/` or `:`.

use cdcp::Scid;
use ether::Pcid;

/// The port at which channel `scid` of the port called `uap` ends.
pub(crate) fn channel(uap: &str, scid: Scid) -> String {
    format!("{uap}/{scid}")
}

/// The interface and the S-channel a port's name is made of; the default channel is not named.
pub(crate) fn channel_of(name: &str) -> (&str, Option<Scid>) {
    match name.split_once('/') {
        Some((interface, scid)) => (interface, scid.parse().ok().and_then(Scid::new)),
        None => (name, None),
    }
}

/// The extended port at the end of E-channel `pcid` of the cascade port called `cascade`.
pub(crate) fn extended(cascade: &str, pcid: Pcid) -> String {
    format!("{cascade}:{pcid}")
}

/// The interface and the E-channel a port's name is made of, if it is an extended port's.
pub(crate) fn extended_of(name: &str) -> (&str, Option<Pcid>) {
    match name.split_once(':') {
        Some((interface, pcid)) => (interface, pcid.parse().ok().filter(|_| !pcid.starts_with('0'))),
        None => (name, None),
    }
}

/// Whether a port of this name is an interface.
pub(crate) fn is_interface(name: &str) -> bool {
    channel_of(name).1.is_none() && extended_of(name).1.is_none()
}
