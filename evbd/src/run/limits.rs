//! Open files: each port takes some.

use anyhow::ensure;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Makes room for the sockets of `ports` ports.
///
/// # Errors
/// When the system does not allow that many open files.
pub(super) fn raise(ports: usize) -> anyhow::Result<()> {
    let needed = BASE + u64::try_from(ports)?.saturating_mul(PER_PORT);
    let limit = getrlimit(Resource::Nofile);
    // No limit is more than any.
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let within = limit.maximum.is_none_or(|maximum| maximum >= needed);
    let maximum = if within { limit.maximum } else { Some(needed) };
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum });
    ensure!(
        raised.is_ok(),
        "{ports} ports need {needed} open files and at most {} are allowed: raise the limit (LimitNOFILE={needed} in \
         the systemd unit, or ulimit -n {needed})",
        limit.maximum.unwrap_or(needed)
    );
    Ok(())
}

/// Netlink, control clients, logs.
const BASE: u64 = 256;
/// Sockets of the relay and of three EtherTypes, and what blocks a leak or diverts frames: two links and a table.
const PER_PORT: u64 = 16;
