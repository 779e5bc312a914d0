//! Where libvirt's daemons are, by what the kernel tells of netlink sockets.
//!
//! libnl numbers the sockets of a process n·2^22 + its process number, n from 32 on. The one libvirt hears withdrawals on
//! stays; others live for one request. libvirt takes the number of the former for a signed one: from 2^31 on, which is
//! more than half of all starts, it refuses each request of 802.1Qbg without sending anything.

use std::{collections::BTreeSet, fs};

use serde::Serialize;

/// A netlink socket of one of libvirt's daemons.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct LibvirtPort {
    /// Its number.
    pub(crate) port: u32,
    /// The process.
    pub(crate) pid: u32,
    /// The name of that.
    pub(crate) process: String,
}

impl LibvirtPort {
    /// Whether libvirt fails because of this number, if it is the one it hears on.
    pub(crate) const fn is_negative(&self) -> bool {
        self.port >= 1 << 31
    }
}

/// The sockets of libvirt's daemons in this network namespace now.
pub(crate) fn ports() -> BTreeSet<LibvirtPort> {
    let table = fs::read_to_string("/proc/self/net/netlink").unwrap_or_default();
    read(&table, |pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok())
}

/// Those in both looks that do not all belong to what libvirt hears on: it may wait there for an answer that was lost
/// with an earlier daemon.
pub(crate) fn stuck(before: &BTreeSet<LibvirtPort>, now: &BTreeSet<LibvirtPort>) -> Vec<LibvirtPort> {
    let stay: Vec<&LibvirtPort> = before.intersection(now).collect();
    let several = |port: &&&LibvirtPort| stay.iter().filter(|other| other.pid == port.pid).count() > 1;
    stay.iter().filter(several).map(|port| (*port).clone()).collect()
}

/// The one socket that stays of each daemon that can ask for nothing because of its number.
pub(crate) fn deaf(before: &BTreeSet<LibvirtPort>, now: &BTreeSet<LibvirtPort>) -> Vec<LibvirtPort> {
    let stay: Vec<&LibvirtPort> = before.intersection(now).collect();
    let hears = |pid| stay.iter().any(|port| port.pid == pid && !port.is_negative());
    stay.iter().filter(|port| !hears(port.pid)).map(|port| (*port).clone()).collect()
}

/// Reads `/proc/net/netlink`: address, protocol, port, …; `name` tells the name of a process.
fn read(table: &str, name: impl Fn(u32) -> Option<String>) -> BTreeSet<LibvirtPort> {
    let row = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (protocol, port) = (fields.next()?, fields.next()?.parse::<u32>().ok()?);
        let pid = port & (PIDS - 1);
        // Below are those the kernel has numbered: after the process alone.
        let process = (protocol == ROUTE && port >= PIDS).then(|| name(pid)).flatten()?;
        let process = process.trim().to_owned();
        DAEMONS.contains(&process.as_str()).then_some(LibvirtPort { port, pid, process })
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// More than there are process numbers.
const PIDS: u32 = 1 << 22;
const ROUTE: &str = "0";
const DAEMONS: [&str; 4] = ["libvirtd", "virtqemud", "virtlxcd", "virtchd"];

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
0000000000000000 0   4200       00000551 0        0        0     2        0        1
0000000000000000 0   423627848  00000000 0        0        0     2        0        2
0000000000000000 0   4055872694 00000000 0        0        0     2        0        3
0000000000000000 15  423627849  00000000 0        0        0     2        0        4
garbage
";

    fn name(pid: u32) -> Option<String> {
        let libvirt = pid == 423_627_848 & (PIDS - 1);
        Some(if libvirt { "libvirtd\n" } else { "bash\n" }.to_owned())
    }

    #[test]
    fn sockets_of_libvirt_are_told_from_others() {
        let found: Vec<_> = read(TABLE, name).into_iter().collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].port, found[0].pid, found[0].is_negative()), (423_627_848, 3_144, false));
        let bad = TABLE.replace("423627848 ", "2571111448");
        assert!(read(&bad, |_| Some("virtqemud".into())).iter().any(LibvirtPort::is_negative));
    }

    #[test]
    fn a_socket_alone_is_the_one_libvirt_hears_on() {
        let port = |port| LibvirtPort { port, pid: 7, process: "libvirtd".to_owned() };
        let (one, two): (BTreeSet<_>, BTreeSet<_>) = ([port(1)].into(), [port(1), port(2)].into());
        assert_eq!(stuck(&one, &two), []);
        assert_eq!(stuck(&two, &two).len(), 2);
        let bad = LibvirtPort { port: 1 << 31, ..port(1) };
        let (deaf_one, passing): (BTreeSet<_>, BTreeSet<_>) =
            ([bad.clone()].into(), [port(1), bad.clone()].into());
        assert_eq!(deaf(&deaf_one, &deaf_one), [bad]);
        assert_eq!(deaf(&passing, &passing), [], "one request's");
        assert_eq!(deaf(&one, &deaf_one), []);
    }
}
