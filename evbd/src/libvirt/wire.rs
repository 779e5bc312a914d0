//! The messages libvirt exchanges with an EVB daemon over netlink, as libvirt 9.0 to 11.3 sends and reads them.
//!
//! Requests are RTM_SETLINK and RTM_GETLINK sent to a process instead of the kernel; see [`crate::libvirt`] for their
//! order. Numbers are the host's, but for the VSI type, whose least significant octet comes first.

use bytes::{BufMut, BytesMut};
use ether::{MacAddr, Vid, mac};
use vdp::{Command, ManagerId, TypeId, TypeVersion, VsiId, vsi::VsiIdFormat};

use crate::kernel::attributes::{attributes, find, nest, put, u16_at, u32_at};

/// The header of a message, as far as it is of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// What the message is.
    pub kind: u16,
    /// Flags of the request.
    pub flags: u16,
    /// Its number, which repeats.
    pub sequence: u32,
    /// In a request of libvirt the port it hears withdrawals on, whatever port it was sent from.
    pub port: u32,
    /// The first octets, which an answer repeats.
    pub octets: [u8; HEADER],
}

impl Header {
    /// Whether an answer is waited for: libvirt waits for ever.
    #[must_use]
    pub const fn wants_answer(&self) -> bool {
        self.flags & REQUEST != 0
    }
}

/// What libvirt wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Have this become of a VSI.
    Set(Ask),
    /// Say what became of the VSIs behind the interface of this number.
    Get(u32),
}

/// What is to become of a VSI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The interface its macvtap hangs on, by number.
    pub ifindex: u32,
    /// The same by name, which may be left out.
    pub interface: String,
    /// The VSI.
    pub id: VsiId,
    /// Its address.
    pub mac: MacAddr,
    /// Its VLAN; none: the bridge chooses.
    pub vlan: Option<Vid>,
    /// The manager of its type.
    pub manager: ManagerId,
    /// Its type.
    pub type_id: TypeId,
    /// The version of its type.
    pub version: TypeVersion,
    /// What is to become of it.
    pub command: Command,
}

/// Why a request is not taken, as the number libvirt writes into its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// EINVAL: the message cannot be read.
    Malformed,
    /// EOPNOTSUPP: not a request of this protocol.
    Unsupported,
    /// ENODEV: not an uplink of this daemon.
    NoUplink,
    /// ENOSPC: there are as many VSIs as there may be.
    Full,
}

impl Refusal {
    /// The error number.
    #[must_use]
    pub const fn errno(self) -> i32 {
        use rustix::io::Errno;
        match self {
            Self::Malformed => Errno::INVAL.raw_os_error(),
            Self::Unsupported => Errno::OPNOTSUPP.raw_os_error(),
            Self::NoUplink => Errno::NODEV.raw_os_error(),
            Self::Full => Errno::NOSPC.raw_os_error(),
        }
    }
}

/// What became of a VSI: done, not yet, or refused with a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Asked for, and nothing is known yet.
    Waiting,
    /// It is so.
    Done,
    /// It is not, and will not be: VDP's error code, or [`Progress::FAILED`].
    Refused(u16),
}

impl Progress {
    /// A refusal of our own: the profile's general error.
    pub const FAILED: Self = Self::Refused(0x105);

    /// What the answer says; nothing means not yet.
    const fn response(self) -> Option<u16> {
        match self {
            Self::Waiting => None,
            Self::Done => Some(0),
            Self::Refused(code) => Some(code),
        }
    }
}

/// Splits what was received into messages, each with its header, to the first that is cut short.
pub fn messages(mut octets: &[u8]) -> impl Iterator<Item = (Header, &[u8])> {
    std::iter::from_fn(move || {
        let header = header(octets)?;
        let length = usize::try_from(u32_at(octets, 0)?).ok()?;
        let body = octets.get(HEADER..length)?;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((header, body))
    })
}

/// The header of the first message, whether the rest of it is there or not.
#[must_use]
pub fn header(octets: &[u8]) -> Option<Header> {
    Some(Header {
        kind: u16_at(octets, 4)?,
        flags: u16_at(octets, 6)?,
        sequence: u32_at(octets, 8)?,
        port: u32_at(octets, 12)?,
        octets: *octets.first_chunk()?,
    })
}

/// Reads the request behind `header`.
///
/// # Errors
/// When it is none, or cannot be read.
pub fn parse(header: &Header, body: &[u8]) -> Result<Request, Refusal> {
    // struct ifinfomsg: family, pad, type: 16; index: 32; flags, change: 32.
    let ifindex = u32_at(body, 4).ok_or(Refusal::Malformed)?;
    let octets = body.get(IFINFOMSG..).ok_or(Refusal::Malformed)?;
    match header.kind {
        GETLINK => Ok(Request::Get(ifindex)),
        SETLINK => ask(ifindex, octets).map(Request::Set).ok_or(Refusal::Malformed),
        _ => Err(Refusal::Unsupported),
    }
}

fn ask(ifindex: u32, octets: &[u8]) -> Option<Ask> {
    let name = find(octets, IFLA_IFNAME).unwrap_or_default().split(|octet| *octet == 0).next()?;
    let interface = std::str::from_utf8(name).ok().filter(|name| name.len() < IFNAMSIZ)?.to_owned();
    let info = find(find(octets, VFINFO_LIST)?, VF_INFO)?;
    let mac = MacAddr::from(*find(info, VF_MAC)?.get(4..)?.first_chunk::<6>()?);
    let vlan = match find(info, VF_VLAN).map_or(Some(0), |vlan| u32_at(vlan, 4))? {
        0 => None,
        vlan => Some(Vid::new(u16::try_from(vlan).ok()?)?),
    };
    let mut ports = attributes(find(octets, VF_PORTS)?).filter(|(kind, _)| *kind == VF_PORT);
    let (_, port) = ports.next()?;
    let &[manager, a, b, c, version] = find(port, VSI_TYPE)?.first_chunk()?;
    let instance = *find(port, INSTANCE_UUID)?.first_chunk::<16>()?;
    let command = match find(port, PORT_REQUEST)?.first()? {
        0 => Command::PreAssociate,
        1 => Command::PreAssociateRr,
        2 => Command::Associate,
        3 => Command::DeAssociate,
        _ => return None,
    };
    // One message is about one VSI.
    (ports.next().is_none() && mac::is_station(mac)).then_some(())?;
    Some(Ask {
        ifindex,
        interface,
        id: VsiId::new(VsiIdFormat::Uuid, instance),
        mac,
        vlan,
        manager: ManagerId::legacy(manager),
        type_id: TypeId::new(u32::from_le_bytes([a, b, c, 0]))?,
        version: TypeVersion(version),
        command,
    })
}

/// The answer to a request that was taken, or why it was not.
#[must_use]
pub fn answer(header: &Header, taken: Result<(), Refusal>) -> Vec<u8> {
    let errno = taken.err().map_or(0, |refusal| -refusal.errno());
    message(ERROR, 0, header.sequence, header.port, |message| {
        message.put_i32_ne(errno);
        message.put_slice(&header.octets);
    })
}

/// The answer to a request nobody knows any more: an error without a request.
#[must_use]
pub fn release(errno: i32) -> Vec<u8> {
    message(ERROR, 0, 0, 0, |message| {
        message.put_i32_ne(-errno);
        message.put_bytes(0, HEADER);
    })
}

/// The answer to [`Request::Get`].
#[must_use]
pub fn status(header: &Header, ifindex: u32, vsis: &[(VsiId, Progress)]) -> Vec<u8> {
    message(DONE, 0, header.sequence, header.port, |message| {
        ifinfomsg(message, ifindex);
        nest(message, VF_PORTS, |ports| {
            for (id, progress) in vsis {
                nest(ports, VF_PORT, |port| {
                    put(port, INSTANCE_UUID, &id.octets());
                    put(port, PORT_VF, &SELF_VF);
                    if let Some(response) = progress.response() {
                        put(port, PORT_RESPONSE, &response.to_ne_bytes());
                    }
                });
            }
        });
    })
}

/// Tells libvirt that the bridge has withdrawn a VSI: it asks for it anew. `number` is that of the pid file.
#[must_use]
pub fn withdrawal(number: u32, of: &Ask) -> Vec<u8> {
    message(SETLINK, 0, 0, number, |message| {
        ifinfomsg(message, 0);
        put(message, IFLA_IFNAME, &[of.interface.as_bytes(), &[0]].concat());
        nest(message, VFINFO_LIST, |list| {
            nest(list, VF_INFO, |info| {
                put(info, VF_MAC, &vf_mac(of.mac));
                let vlan = of.vlan.map_or(0, |vlan| u32::from(vlan.get()));
                put(info, VF_VLAN, &[SELF_VF, vlan.to_ne_bytes(), [0; 4]].concat());
            });
        });
        nest(message, VF_PORTS, |ports| {
            nest(ports, VF_PORT, |port| {
                let [a, b, c, _] = of.type_id.get().to_le_bytes();
                let manager = of.manager.0.first().copied().unwrap_or_default();
                put(port, VSI_TYPE, &[manager, a, b, c, of.version.0, 0, 0, 0]);
                put(port, INSTANCE_UUID, &of.id.octets());
                put(port, PORT_VF, &SELF_VF);
                put(port, PORT_REQUEST, &WITHDRAWN.to_ne_bytes());
            });
        });
    })
}

/// Has libvirt ask anew for the VSI of a macvtap of which nothing is known but its address.
#[must_use]
pub fn resync(number: u32, mac: MacAddr) -> Vec<u8> {
    message(SETLINK, 0, 0, number, |message| {
        ifinfomsg(message, 0);
        nest(message, VFINFO_LIST, |list| nest(list, VF_INFO, |info| put(info, VF_MAC, &vf_mac(mac))));
        nest(message, VF_PORTS, |ports| {
            nest(ports, VF_PORT, |port| put(port, PORT_REQUEST, &WITHDRAWN.to_ne_bytes()));
        });
    })
}

fn message(kind: u16, flags: u16, sequence: u32, port: u32, fill: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut message = BytesMut::new();
    message.put_u32_ne(0);
    message.put_u16_ne(kind);
    message.put_u16_ne(flags);
    message.put_u32_ne(sequence);
    message.put_u32_ne(port);
    fill(&mut message);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_ne_bytes();
    message.iter_mut().zip(length).for_each(|(at, octet)| *at = octet);
    message.to_vec()
}

fn ifinfomsg(message: &mut BytesMut, ifindex: u32) {
    message.put_u32_ne(0);
    message.put_u32_ne(ifindex);
    message.put_bytes(0, 8);
}

/// `struct ifla_vf_mac`: 32 octets for an address.
fn vf_mac(mac: MacAddr) -> Vec<u8> {
    let octets: [u8; 6] = mac.octets();
    [&SELF_VF[..], &octets, &[0; 26]].concat()
}

/// Octets of a message's header.
const HEADER: usize = 16;
const IFINFOMSG: usize = 16;
const IFNAMSIZ: usize = 16;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const GETLINK: u16 = 18;
const SETLINK: u16 = 19;
const IFLA_IFNAME: u16 = 3;
const VFINFO_LIST: u16 = 22;
const VF_PORTS: u16 = 24;
const VF_INFO: u16 = 1;
const VF_MAC: u16 = 1;
const VF_VLAN: u16 = 2;
const VF_PORT: u16 = 1;
const PORT_VF: u16 = 1;
const VSI_TYPE: u16 = 3;
const INSTANCE_UUID: u16 = 4;
const PORT_REQUEST: u16 = 6;
const PORT_RESPONSE: u16 = 7;
/// `PORT_SELF_VF`: the interface itself, and no virtual function of it.
const SELF_VF: [u8; 4] = [0xff; 4];
/// A request to de-associate, as lldpad spells it in what it sends unasked.
const WITHDRAWN: u16 = 3;

#[cfg(test)]
pub(crate) mod tests;
