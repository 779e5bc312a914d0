//! Where libvirt finds the service: a netlink number of ours, and the file that names it.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::io::Errno;

/// Whether nobody else serves libvirt.
pub(super) fn alone(pid_file: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(pid_file).unwrap_or_default();
    let Some(pid) = text.split_ascii_whitespace().next().and_then(|word| word.parse::<u32>().ok()) else {
        return Ok(());
    };
    let process = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let file = pid_file.display();
    match process.trim() {
        "lldpad" => bail!(
            "lldpad, process {pid}, serves libvirt here ({file}), and two cannot: stop it for good with `systemctl \
             disable --now lldpad.socket lldpad.service`, or leave out `netlink` of [libvirt]"
        ),
        name if name.starts_with("evbd") && pid != std::process::id() => {
            bail!("another evbd, process {pid}, serves libvirt here ({file}): one at a time")
        }
        _ => Ok(()),
    }
}

/// A socket of our process number, as scripts expect of a pid file; of another one where that is taken.
pub(super) fn bind() -> anyhow::Result<(Socket, u32)> {
    let pid = std::process::id();
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    for number in [pid, ELSEWHERE + pid] {
        match socket.bind(&SocketAddr::new(number, 0)) {
            Ok(()) => return Ok((socket, number)),
            Err(error) if error.raw_os_error() == Some(Errno::ADDRINUSE.raw_os_error()) => {}
            Err(error) => return Err(error).context("cannot bind a netlink socket for libvirt"),
        }
    }
    bail!("the netlink numbers {pid} and {} are in use: libvirt cannot be served", ELSEWHERE + pid)
}

pub(super) fn write(pid_file: &Path, number: u32) -> std::io::Result<()> {
    let new = pid_file.with_extension("new");
    fs::write(&new, pid_line(number))?;
    fs::rename(&new, pid_file)
}

/// libvirt reads ten octets, and wants a number with something behind it.
pub(super) fn pid_line(number: u32) -> String {
    format!("{number}\n")
}

/// Nine digits at most; no process has such a number.
const ELSEWHERE: u32 = 100_000_000;
