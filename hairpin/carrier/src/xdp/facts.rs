//! What has to be known of an interface before its frames are diverted, and what speaks against it.

use std::{io, os::fd::AsFd};

use super::XdpOptions;
use crate::{
    frame::{ADDRESSES, ETHERTYPE, TAG},
    socket::Bound,
    sys::{
        self, link,
        xsk::{CHUNK, HEADROOM},
    },
};

/// What an interface says of itself.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    driver: String,
    /// It is a piece of hardware, or passes for one.
    has_bus: bool,
    mtu: u32,
    strips_vlan: bool,
    /// Receive queues in use.
    pub(super) queues: u32,
}

impl Facts {
    pub(super) fn read(watch: &Bound) -> io::Result<Self> {
        let (socket, name) = (watch.socket.as_fd(), watch.interface.as_str());
        let link::Driver { name: driver, has_bus } = link::driver(socket, name)?;
        Ok(Self {
            driver,
            has_bus,
            mtu: u32::try_from(sys::mtu(socket, watch.ifindex)?).unwrap_or(0),
            strips_vlan: link::strips_vlan(socket, name)?,
            queues: link::receive_queues(socket, name)?,
        })
    }

    /// Whether the other end is on this host, in whatever namespace.
    pub(super) fn is_veth(&self) -> bool {
        self.driver == "veth"
    }

    /// Octets of the longest frame, without tag.
    pub(super) fn longest(&self) -> usize {
        usize::try_from(self.mtu).unwrap_or(usize::MAX).saturating_add(ADDRESSES + ETHERTYPE)
    }

    /// Why frames of this interface cannot go by AF_XDP unharmed, if so, and the remedy.
    pub(super) fn judge(&self, options: XdpOptions) -> Result<(), String> {
        let Self { driver, mtu, .. } = self;
        if SUPER_FRAMES.contains(&driver.as_str()) {
            return Err(format!(
                "driver {driver} hands over frames of up to 64 KiB, which do not fit AF_XDP; use carrier packet"
            ));
        }
        if options.zero_copy_only && self.is_veth() {
            return Err("driver veth has no zero copy, and carrier packet keeps its super-frames".into());
        }
        if self.longest() > LONGEST {
            let most = LONGEST - ADDRESSES - ETHERTYPE;
            return Err(format!(
                "MTU {mtu} is more than the {most} octets that fit; lower it or use carrier packet"
            ));
        }
        if self.strips_vlan && !self.is_veth() {
            return Err(format!(
                "driver {driver} takes VLAN tags off received frames, and AF_XDP does not tell them; turn that off \
                 (ethtool -K … rxvlan off) or use carrier packet"
            ));
        }
        Ok(())
    }

    /// Whether the kernel may run the program on behalf of the driver. From within this host it would see super-frames,
    /// unfinished checksums, and tags kept beside frames.
    pub(super) fn may_be_generic(&self, options: XdpOptions) -> bool {
        self.has_bus && !options.zero_copy_only
    }
}

/// Drivers of links whose other end is a program or another interface of this host, that pass super-frames on.
const SUPER_FRAMES: [&str; 5] = ["tun", "macvlan", "bridge", "bonding", "team"];

/// Octets of the longest frame without tag that has room in a chunk with one, and one more in front.
const LONGEST: usize = (CHUNK - HEADROOM) as usize - 2 * TAG;

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(driver: &str, mtu: u32, strips_vlan: bool) -> Facts {
        Facts { driver: driver.into(), has_bus: driver == "ixgbe", mtu, strips_vlan, queues: 1 }
    }

    #[test]
    fn refuses_with_cause_and_remedy() {
        let any = XdpOptions::default();
        for (facts, options, words) in [
            (facts("tun", 1500, false), any, "up to 64 KiB"),
            (facts("veth", 9000, true), any, "MTU 9000 is more than the 1770 octets that fit"),
            (facts("ixgbe", 1500, true), any, "rxvlan off"),
            (facts("veth", 1500, true), XdpOptions { zero_copy_only: true, ..any }, "no zero copy"),
        ] {
            assert!(facts.judge(options).is_err_and(|text| text.contains(words)), "{words}");
        }
        for facts in [facts("veth", 1770, true), facts("ixgbe", 1500, false)] {
            assert_eq!(facts.judge(any), Ok(()));
        }
    }
}
