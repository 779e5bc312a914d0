//! The frames captured from lldpad.

use cdcp::Channels;
use dcbx::{cee, ieee};
use ecp::Header;
use ether::{EtherType, FrameView, MacAddr, mac};
use vdp::tlv::Vdpdu;

use crate::{BRIDGE, STATION, file::Unchecked, lldpdu, org, payload, same, words};

pub(crate) fn check(vectors: &mut Unchecked) {
    lldp(vectors);
    evb(vectors);
    vdp(vectors);
    dcbx(vectors);
}
