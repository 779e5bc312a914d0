//! dcbnl's messages on a route netlink socket: RTM_GETDCB and RTM_SETDCB with the attributes of `linux/dcbnl.h`.
//!
//! A structure that is written is the one that was read with our octets put in: what else is in it stays.

use std::io;

use bytes::{BufMut, BytesMut};
use dcbx::{
    PrioritySet, PriorityTable,
    ieee::{Application, EtsTable, SelectionAlgorithm},
};
use ether::Pcp;
use rtnetlink::sys;

use super::{Current, Device, UNSUPPORTED, Write};
use crate::kernel::attributes::{attributes, find, nest, put, u16_at, u32_at};

/// A device reached through the kernel.
pub(crate) struct Socket<'a> {
    interface: &'a str,
    socket: sys::Socket,
    sequence: u32,
    /// The structures as read.
    ets: Option<Vec<u8>>,
    pfc: Option<Vec<u8>>,
}

impl<'a> Socket<'a> {
    /// For the device `interface` of this network namespace.
    pub(crate) fn open(interface: &'a str) -> io::Result<Self> {
        let mut socket = sys::Socket::new(sys::protocols::NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&sys::SocketAddr::new(0, 0))?;
        Ok(Self { interface, socket, sequence: 0, ets: None, pfc: None })
    }

    /// Sends `command` with what `fill` adds to the interface's name, and returns the attributes of the answer.
    fn ask(&mut self, kind: u16, command: u8, fill: impl FnOnce(&mut BytesMut)) -> io::Result<Vec<u8>> {
        self.sequence += 1;
        let message = request(self.sequence, kind, command, self.interface, fill);
        self.socket.send(&message, 0)?;
        loop {
            let (answer, _) = self.socket.recv_from_full()?;
            if let Some(attributes) = read_answer(&answer, self.sequence)? {
                return Ok(attributes.to_vec());
            }
        }
    }

    fn set(&mut self, command: u8, attribute: u16, fill: impl FnOnce(&mut BytesMut)) -> io::Result<()> {
        let answer = self.ask(SET, command, |message| nest(message, attribute, fill))?;
        // The answer has the same attribute, holding an error number, 0 for none.
        let status = find(&answer, attribute).and_then(|value| value.first().copied()).unwrap_or(0);
        // The kernel puts a negative errno in an octet.
        let errno = i32::from(status.wrapping_neg());
        if status == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }
    }
}

impl Device for Socket<'_> {
    fn read(&mut self) -> io::Result<Current> {
        let answer = self.ask(GET, IEEE_GET, |_| {})?;
        let ieee = find(&answer, ATTR_IEEE).unwrap_or_default();
        self.ets = find(ieee, IEEE_ETS).map(<[u8]>::to_vec);
        self.pfc = find(ieee, IEEE_PFC).map(<[u8]>::to_vec);
        let table = find(ieee, IEEE_APP_TABLE).unwrap_or_default();
        let dcbx = match self.ask(GET, DCBX_GET, |_| {}) {
            Ok(answer) => find(&answer, ATTR_DCBX).and_then(|value| value.first().copied()),
            Err(error) if error.raw_os_error() == Some(UNSUPPORTED) => None,
            Err(error) => return Err(error),
        };
        Ok(Current {
            dcbx,
            ets: self.ets.as_deref().and_then(read_ets),
            pfc: self.pfc.as_deref().and_then(|octets| Some(PrioritySet(*octets.get(PFC_ENABLED)?))),
            applications: attributes(table)
                .filter(|(kind, _)| *kind == IEEE_APP)
                .filter_map(|(_, value)| read_application(value))
                .collect(),
        })
    }

    fn write(&mut self, write: &Write) -> io::Result<()> {
        let unread = || io::Error::other("it was not read before");
        match write {
            Write::Dcbx(bits) => {
                let answer = self.ask(SET, DCBX_SET, |message| put(message, ATTR_DCBX, &[*bits]))?;
                match find(&answer, ATTR_DCBX).and_then(|value| value.first().copied()) {
                    None | Some(0) => Ok(()),
                    Some(_) => Err(io::Error::other("the driver keeps its own")),
                }
            }
            Write::Ets(table) => {
                let mut octets = self.ets.clone().ok_or_else(unread)?;
                write_ets(&mut octets, table);
                self.set(IEEE_SET, ATTR_IEEE, |message| put(message, IEEE_ETS, &octets))
            }
            Write::Pfc(set) => {
                let mut octets = self.pfc.clone().ok_or_else(unread)?;
                if let Some(enabled) = octets.get_mut(PFC_ENABLED) {
                    *enabled = set.0;
                }
                self.set(IEEE_SET, ATTR_IEEE, |message| put(message, IEEE_PFC, &octets))
            }
            Write::Add(application) | Write::Remove(application) => {
                let command = if matches!(write, Write::Add(_)) { IEEE_SET } else { IEEE_DEL };
                self.set(command, ATTR_IEEE, |message| {
                    nest(message, IEEE_APP_TABLE, |message| {
                        put(message, IEEE_APP, &write_application(application));
                    });
                })
            }
        }
    }
}

/// A request for `interface`.
fn request(
    sequence: u32,
    kind: u16,
    command: u8,
    interface: &str,
    fill: impl FnOnce(&mut BytesMut),
) -> BytesMut {
    let mut message = BytesMut::new();
    message.put_u32_ne(0);
    message.put_u16_ne(kind);
    message.put_u16_ne(REQUEST);
    message.put_u32_ne(sequence);
    message.put_u32_ne(0);
    message.put_slice(&[0, command, 0, 0]);
    put(&mut message, ATTR_IFNAME, &[interface.as_bytes(), &[0]].concat());
    fill(&mut message);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_ne_bytes();
    message.iter_mut().zip(length).for_each(|(at, octet)| *at = octet);
    message
}

/// The attributes of the answer to `sequence`; none if it answers something else.
fn read_answer(octets: &[u8], sequence: u32) -> io::Result<Option<&[u8]>> {
    let (Some(kind), Some(number)) = (u16_at(octets, 4), u32_at(octets, 8)) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    if number != sequence {
        return Ok(None);
    }
    if kind == ERROR {
        let errno = u32_at(octets, HEADER).map_or(0, |errno| errno.wrapping_neg());
        return match i32::try_from(errno) {
            Ok(0) => Ok(Some(&[])),
            Ok(errno) => Err(io::Error::from_raw_os_error(errno)),
            Err(_) => Err(io::ErrorKind::InvalidData.into()),
        };
    }
    let end = u32_at(octets, 0).and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    Ok(Some(octets.get(HEADER + DCB_HEADER..end.min(octets.len())).unwrap_or_default()))
}

/// `struct ieee_ets`: willing, cap, cbs, then eight octets each of shares sent, shares received, algorithms, classes of
/// priorities, and three times what is recommended.
fn read_ets(octets: &[u8]) -> Option<EtsTable> {
    let eight = |at: usize| octets.get(at..)?.first_chunk::<8>().copied();
    Some(EtsTable {
        classes: PriorityTable::new(eight(ETS_CLASSES)?)?,
        bandwidth: eight(ETS_SHARES)?,
        algorithms: eight(ETS_ALGORITHMS)?.map(SelectionAlgorithm::from),
    })
}

fn write_ets(octets: &mut [u8], table: &EtsTable) {
    let parts = [
        (ETS_SHARES, table.bandwidth),
        (ETS_ALGORITHMS, table.algorithms.map(u8::from)),
        (ETS_CLASSES, table.classes.numbers()),
    ];
    for (at, new) in parts {
        let old = octets.iter_mut().skip(at);
        old.zip(new).for_each(|(old, new)| *old = new);
    }
}

/// `struct dcb_app`: selector, priority, protocol in the order of the host.
fn read_application(octets: &[u8]) -> Option<Application> {
    let (&selector, &priority) = (octets.first()?, octets.get(1)?);
    Some(Application {
        priority: Pcp::new(priority)?,
        selector: selector.into(),
        protocol: u16_at(octets, 2)?,
    })
}

fn write_application(application: &Application) -> [u8; 4] {
    let [a, b] = application.protocol.to_ne_bytes();
    [application.selector.into(), application.priority.get(), a, b]
}

const GET: u16 = 78;
const SET: u16 = 79;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
const HEADER: usize = 16;
const DCB_HEADER: usize = 4;
const IEEE_SET: u8 = 20;
const IEEE_GET: u8 = 21;
const DCBX_GET: u8 = 22;
const DCBX_SET: u8 = 23;
const IEEE_DEL: u8 = 27;
const ATTR_IFNAME: u16 = 1;
const ATTR_IEEE: u16 = 13;
const ATTR_DCBX: u16 = 14;
const IEEE_ETS: u16 = 1;
const IEEE_PFC: u16 = 2;
const IEEE_APP_TABLE: u16 = 3;
const IEEE_APP: u16 = 1;
/// Offsets in `struct ieee_ets` and `struct ieee_pfc`.
const ETS_SHARES: usize = 3;
const ETS_ALGORITHMS: usize = 19;
const ETS_CLASSES: usize = 27;
const PFC_ENABLED: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structure_keeps_what_is_not_ours() {
        let mut octets: Vec<u8> = (0..59).collect();
        let mut table = EtsTable::STRICT;
        table.bandwidth = [100, 0, 0, 0, 0, 0, 0, 0];
        write_ets(&mut octets, &table);
        assert_eq!(read_ets(&octets), Some(table));
        assert_eq!(octets[..3], [0, 1, 2]);
        assert_eq!(octets[11..19], (11..19).collect::<Vec<u8>>()[..]);
        assert_eq!(octets[35..], (35..59).collect::<Vec<u8>>()[..]);
        let application =
            Application { priority: Pcp::new(3).unwrap(), selector: 1.into(), protocol: 0x8906 };
        assert_eq!(read_application(&write_application(&application)), Some(application));
    }

    #[test]
    fn messages_there_and_back() {
        let sent = request(7, SET, IEEE_SET, "eth0", |message| {
            nest(message, ATTR_IEEE, |message| put(message, IEEE_PFC, &[8, 0x18, 0]));
        });
        assert_eq!(u32_at(&sent, 0).unwrap() as usize, sent.len());
        let read = read_answer(&sent, 7).unwrap().unwrap();
        assert_eq!(find(read, ATTR_IFNAME), Some(&b"eth0\0"[..]));
        assert_eq!(find(find(read, ATTR_IEEE).unwrap(), IEEE_PFC), Some(&[8, 0x18, 0][..]));
        assert_eq!(read_answer(&sent, 8).unwrap(), None);
        for end in 0..sent.len() {
            let _ = read_answer(&sent[..end], 7).map(|read| read.map(|octets| attributes(octets).count()));
        }
        let mut refused = sent.to_vec();
        refused[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        refused[16..20].copy_from_slice(&(-95_i32).to_ne_bytes());
        assert_eq!(read_answer(&refused, 7).unwrap_err().raw_os_error(), Some(UNSUPPORTED));
    }
}
