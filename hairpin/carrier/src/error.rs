//! What goes wrong with an interface, in words that name it.

use std::{fmt, io};

/// Why a socket could not be opened: interface, step, cause and, where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{interface}: {step}: {source}{}", remedy(.step, .source))]
pub struct OpenError {
    /// The interface as the caller named it.
    pub interface: String,
    /// What was being done.
    pub step: Step,
    /// What the kernel said.
    pub source: io::Error,
}

impl OpenError {
    /// The same without the interface, and where the interface itself is the cause without the step.
    #[must_use]
    pub fn reason(&self) -> String {
        match self.step {
            Step::Divert => self.source.to_string(),
            step => format!("{step}: {}{}", self.source, remedy(&step, &self.source)),
        }
    }
}

/// The steps of opening a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Finding the interface.
    Lookup,
    /// Making the packet socket.
    Socket,
    /// Setting the socket option of this name.
    Option(&'static str),
    /// Binding the socket to the interface.
    Bind,
    /// Reading what kind of interface it is.
    Kind,
    /// Blocking control frames that a bridge would forward.
    Block,
    /// Seeing whether AF_XDP would bring its frames unharmed.
    Divert,
    /// Attaching the program that feeds AF_XDP sockets.
    Program,
    /// Sharing memory with the kernel.
    Memory,
    /// Having the kernel forward frames.
    FastPath,
    /// Having the kernel put tags on.
    Tagger,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup => f.write_str("cannot find the interface"),
            Self::Socket => f.write_str("cannot make a packet socket"),
            Self::Option(name) => write!(f, "cannot set {name}"),
            Self::Bind => f.write_str("cannot bind to the interface"),
            Self::Kind => f.write_str("cannot be a port"),
            Self::Block => f.write_str("cannot block leaking control frames"),
            Self::Divert => f.write_str("cannot be an xdp port"),
            Self::Program => f.write_str("cannot attach the XDP program"),
            Self::Memory => f.write_str("cannot share memory for AF_XDP"),
            Self::Tagger => f.write_str("cannot have the kernel put tags on"),
            Self::FastPath => f.write_str("cannot have the kernel forward frames"),
        }
    }
}

/// Why a port that was open can no longer be used.
#[derive(Debug, thiserror::Error)]
#[error("{interface}: {action} failed: {source}")]
pub struct PortError {
    /// The interface.
    pub interface: String,
    /// `"receive"` or `"send"`.
    pub action: &'static str,
    /// What the kernel said.
    pub source: io::Error,
}

/// Whether `error` means that the interface is down or gone, not that one frame was bad.
pub(crate) fn is_port_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV))
}

fn remedy(step: &Step, source: &io::Error) -> &'static str {
    match (step, source.raw_os_error()) {
        (Step::Socket, Some(libc::EPERM | libc::EACCES)) => "; the process needs CAP_NET_RAW",
        (Step::Option(_), Some(libc::EPERM | libc::EACCES)) => {
            "; the process needs CAP_NET_RAW and CAP_NET_ADMIN"
        }
        (Step::Program, Some(libc::EPERM | libc::EACCES)) => "; the process needs CAP_BPF and CAP_NET_ADMIN",
        (Step::Program, Some(libc::EBUSY | libc::EEXIST)) => "; another XDP program is there",
        (Step::Program, Some(libc::EOPNOTSUPP | libc::EINVAL)) => {
            "; the driver has no XDP, or the kernel is older than 6.8"
        }
        (Step::Bind, Some(libc::EBUSY)) => "; another process has AF_XDP sockets there",
        (Step::Bind, Some(libc::ENOBUFS)) => "; raise the limit of locked memory (LimitMEMLOCK=)",
        (Step::Bind, Some(libc::EOPNOTSUPP)) => "; the driver has no zero copy, as other xdp ports have",
        (Step::Block | Step::FastPath | Step::Tagger, Some(libc::EPERM | libc::EACCES)) => {
            "; the process needs CAP_BPF and CAP_NET_ADMIN"
        }
        (
            Step::Block | Step::FastPath | Step::Tagger,
            Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP),
        ) => "; the kernel is older than 6.6 or was built without eBPF at tcx hooks",
        (Step::Option(_), Some(libc::ENOPROTOOPT)) => "; the kernel is older than 4.20",
        (Step::Socket, Some(libc::EAFNOSUPPORT)) => "; the kernel has no packet sockets (CONFIG_PACKET)",
        (_, Some(libc::ENODEV | libc::ENXIO)) => "; no such interface in this network namespace",
        (_, Some(libc::ENETDOWN)) => "; bring the interface up first",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(step: Step, errno: i32) -> String {
        OpenError { interface: "eth7".into(), step, source: io::Error::from_raw_os_error(errno) }.to_string()
    }

    #[test]
    fn names_interface_step_cause_and_remedy() {
        assert_eq!(
            text(Step::Socket, libc::EPERM),
            "eth7: cannot make a packet socket: Operation not permitted (os error 1); the process needs CAP_NET_RAW"
        );
        assert!(text(Step::Bind, libc::ENETDOWN).ends_with("; bring the interface up first"));
        assert!(text(Step::Block, libc::EINVAL).contains("older than 6.6"));
        assert!(text(Step::Block, libc::EPERM).ends_with("; the process needs CAP_BPF and CAP_NET_ADMIN"));
        assert!(text(Step::Lookup, libc::ENODEV).ends_with("; no such interface in this network namespace"));
        assert!(
            text(Step::Option("PACKET_IGNORE_OUTGOING"), libc::ENOPROTOOPT)
                .contains("PACKET_IGNORE_OUTGOING")
        );
    }
}
