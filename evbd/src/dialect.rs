//! Which EVB a port speaks, that of the standard or that of draft 0.2, and what is put into other octets for it.
//!
//! The engines speak the standard. With `dialect = "auto"` a port speaks the draft while its only neighbour sends the
//! EVB TLV of the draft and not the standard's; a port speaks one of them at a time.

use bytes::Bytes;
use ecp::Dialect;
use lldp::{Neighbor, OrgKey, Oui};
use vdp::{
    draft::{self, EvbDraft, Receiver},
    evb::{
        Absence,
        tlv::{EvbTlv, Mode},
    },
};

use crate::{
    config,
    port::{Edge, Side},
};

/// The EVB TLV's place among the organizational TLVs [Q D.2.12].
pub(crate) const EVB_TLV: OrgKey = OrgKey { oui: Oui::IEEE_802_1, subtype: 0x0d };

/// The same of draft 0.2, as lldpad and its libvirt users still send it.
pub(crate) const DRAFT_EVB_TLV: OrgKey = OrgKey { oui: Oui([0x00, 0x1b, 0x3f]), subtype: 0x00 };

/// What a neighbour says of EVB, in the octets of the standard.
pub(crate) struct Heard {
    pub(crate) dialect: Dialect,
    pub(crate) remote: Result<Bytes, Absence>,
    /// As it said it, where that is the draft.
    pub(crate) draft: Option<EvbDraft>,
}

/// Reads the EVB TLV of `neighbor` for a port whose end of EVB is `side`.
pub(crate) fn hear(wanted: config::Dialect, side: &Side, neighbor: Option<&Neighbor>) -> Heard {
    let standard = neighbor.and_then(|n| n.org(EVB_TLV));
    let draft = neighbor.and_then(|n| n.org(DRAFT_EVB_TLV));
    let dialect = match wanted {
        config::Dialect::Draft => Dialect::Draft,
        config::Dialect::Auto if standard.is_none() && draft.is_some() => Dialect::Draft,
        config::Dialect::Auto | config::Dialect::Standard => Dialect::Standard,
    };
    let read = draft.filter(|_| dialect == Dialect::Draft).map(|info| EvbDraft::parse(info));
    let remote = match (dialect, standard, &read) {
        (Dialect::Standard, Some(info), _) => Ok(info.clone()),
        (Dialect::Standard, None, _) if draft.is_some() => Err(Absence::Draft),
        (Dialect::Draft, _, Some(Ok(tlv))) => Ok(tlv.to_standard(mode(side)).to_bytes()),
        // Nothing, which is malformed in either dialect.
        (Dialect::Draft, _, Some(Err(_))) => Ok(Bytes::new()),
        (Dialect::Standard | Dialect::Draft, ..) => Err(Absence::NoTlv),
    };
    Heard { dialect, remote, draft: read.and_then(Result::ok) }
}

impl Edge {
    /// Our EVB TLV as it is to be sent, with its place; and the place where there is to be none.
    pub(crate) fn evb_tlv(&self) -> Option<(OrgKey, Bytes, OrgKey)> {
        let info = self.local_tlv.clone()?;
        match self.ecp.dialect() {
            Dialect::Standard => Some((EVB_TLV, info, DRAFT_EVB_TLV)),
            Dialect::Draft => {
                let local = EvbTlv::parse(&info).ok()?;
                let info = EvbDraft::from_standard(&local, self.draft_peer.as_ref()).to_bytes();
                Some((DRAFT_EVB_TLV, info, EVB_TLV))
            }
        }
    }

    /// The VDPDUs in what ECP carried from or to the peer.
    pub(crate) fn vdpdus(&self, payload: Bytes) -> Vec<Bytes> {
        let receiver = match self.side {
            Side::Station { .. } => Receiver::Station,
            Side::Bridge { .. } => Receiver::Bridge,
        };
        match self.ecp.dialect() {
            Dialect::Standard => vec![payload],
            Dialect::Draft => draft::to_standard(&payload, receiver),
        }
    }

    /// The next VDPDU as ECP is to carry it, on an interface of this MTU.
    pub(crate) fn next_vdpdu(&mut self, mtu: usize) -> Option<Bytes> {
        let dialect = self.ecp.dialect();
        let room = mtu.saturating_sub(dialect.header_len()).min(VDPDU_ROOM);
        match dialect {
            Dialect::Standard => self.outbox.take(room),
            // A TLV of the draft is longer, by a sixth at most.
            Dialect::Draft => {
                let pdu = self.outbox.take(room / 6 * 5)?;
                self.unsaid.extend(draft::unsayable(&pdu));
                Some(draft::from_standard(&pdu))
            }
        }
    }
}

/// The mode of our own EVB TLV.
const fn mode(side: &Side) -> Mode {
    match side {
        Side::Station { .. } => Mode::Station,
        Side::Bridge { .. } => Mode::Bridge,
    }
}

/// Octets of a VDPDU at most: lldpad takes no ECPDU of 1494 or more after its EtherType.
const VDPDU_ROOM: usize = 1480;
