//! VDP of draft 0.2: each VSI in an organizational TLV 00-1B-3F, subtype 2, from and to VDPDUs of the standard.

use bytes::{BufMut, Bytes, BytesMut};
use ether::{MacAddr, Vid};
use lldp::tlv::{self, TlvType, Tlvs};
use nom::{
    Parser,
    number::complete::{be_u16, be_u24, u8 as octet},
};

use crate::{
    error::ErrorCode,
    filter::{FilterEntry, FilterFormat, FilterInfo},
    tlv::{Association, Command, Hints, Item, Status, Vdpdu, Verdict},
    vsi::{ManagerId, TypeId, TypeVersion, VsiId, VsiIdFormat},
};

/// Who reads a PDU of the draft: the TLV does not say whether it is a command or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// A bridge: commands.
    Bridge,
    /// A station: answers.
    Station,
}

/// What a draft payload says, as VDPDUs of the standard, one for each manager in turn. TLVs that are not VDP, or that
/// cannot be read, are left out: the draft has no way to answer them.
#[must_use]
pub fn to_standard(payload: &[u8], receiver: Receiver) -> Vec<Bytes> {
    let mut pdus: Vec<Vdpdu> = Vec::new();
    for tlv in Tlvs::new(payload).map_while(Result::ok).take_while(|tlv| tlv.kind != END) {
        let Some((manager, association)) = parse(tlv.value, receiver).filter(|_| tlv.kind == ORGANIZATIONAL)
        else {
            continue;
        };
        let item = Item::Association(association);
        match pdus.last_mut().filter(|pdu| pdu.manager == manager) {
            Some(pdu) => pdu.items.push(item),
            None => pdus.push(Vdpdu { manager, items: vec![item] }),
        }
    }
    // Each fits: its filter is valid.
    pdus.iter().filter_map(|pdu| pdu.to_bytes().ok()).collect()
}

/// A VDPDU of ours in the words of the draft. What the draft cannot say is left out: VSIs not named by a UUID, of a
/// manager with more than an octet, with a filter that is not MAC addresses and VLANs, or with a priority.
#[must_use]
pub fn from_standard(pdu: &[u8]) -> Bytes {
    let mut buf = BytesMut::new();
    let Ok(pdu) = Vdpdu::parse(pdu) else { return buf.freeze() };
    for item in &pdu.items {
        if let Item::Association(association) = item
            && let Some(info) = info(pdu.manager, association)
        {
            // At most 30 + 8 · 60 octets.
            let _ = tlv::put(&mut buf, ORGANIZATIONAL, &info);
        }
    }
    buf.put_u16(0);
    buf.freeze()
}

/// The VSIs of a VDPDU of ours that [`from_standard`] leaves out.
#[must_use]
pub fn unsayable(pdu: &[u8]) -> Vec<VsiId> {
    let Ok(pdu) = Vdpdu::parse(pdu) else { return Vec::new() };
    let unsaid = |item: &Item| match item {
        Item::Association(association) if info(pdu.manager, association).is_none() => Some(association.id),
        _ => None,
    };
    pdu.items.iter().filter_map(unsaid).collect()
}

fn parse(info: &[u8], receiver: Receiver) -> Option<(ManagerId, Association)> {
    let rest = info.strip_prefix(&VDP)?;
    let (rest, (mode, response, manager, type_id, version)) =
        (octet::<_, ()>, octet, octet, be_u24, octet).parse(rest).ok()?;
    let (instance, rest) = rest.split_first_chunk::<16>()?;
    let (rest, (format, entries)) = (octet::<_, ()>, be_u16).parse(rest).ok()?;
    if format != MAC_VID || rest.len() != usize::from(entries) * 8 {
        return None;
    }
    let filter = FilterInfo::new(rest.chunks_exact(8).map(entry).collect::<Option<_>>()?).ok()?;
    let command = MODES.iter().zip(0..).find(|(_, code)| *code == mode).map(|(command, _)| *command)?;
    let status = match receiver {
        Receiver::Bridge => Status::Request(Hints::default()),
        Receiver::Station => Status::Response(Verdict { keep: false, hard: false, error: error(response) }),
    };
    let association = Association {
        command,
        status,
        type_id: TypeId::new(type_id)?,
        version: TypeVersion(version),
        id: VsiId::new(VsiIdFormat::Uuid, *instance),
        filter: Some(filter),
    };
    Some((ManagerId::legacy(manager), association))
}

fn entry(octets: &[u8]) -> Option<FilterEntry> {
    let (mac, vlan) = octets.split_first_chunk::<6>()?;
    let (_, vlan) = be_u16::<_, ()>(vlan).ok()?;
    // The null VID asks the bridge to choose.
    let vid = if vlan == 0 { None } else { Some(Vid::new(vlan)?) };
    Some(FilterEntry { group: None, mac: Some(MacAddr::from(*mac)), vid, priority: None })
}

fn info(manager: ManagerId, association: &Association) -> Option<Vec<u8>> {
    let [legacy, ..] = manager.0;
    let filter = association.filter.as_ref()?;
    let says = manager == ManagerId::legacy(legacy)
        && association.id.format() == VsiIdFormat::Uuid
        && filter.format() == FilterFormat::MacVid;
    if !says {
        return None;
    }
    let (mode, _) = (0u8..).zip(MODES).find(|(_, command)| *command == association.command)?;
    let mut info = VDP.to_vec();
    info.extend([mode, response(association.status), legacy]);
    info.extend(association.type_id.to_octets());
    info.push(association.version.0);
    info.extend(association.id.octets());
    info.push(MAC_VID);
    info.extend(u16::try_from(filter.entries().len()).ok()?.to_be_bytes());
    for entry in filter.entries() {
        // What we answer may have a priority the profile gives: the draft has no place for it. What we ask may not.
        if entry.priority.is_some() && matches!(association.status, Status::Request(_)) {
            return None;
        }
        info.extend(entry.mac?.octets());
        info.extend(entry.vid.map_or(0, Vid::get).to_be_bytes());
    }
    Some(info)
}

/// The draft's code for a refusal, the nearest there is.
fn response(status: Status) -> u8 {
    match status {
        Status::Request(_) => 0,
        Status::Response(verdict) => match verdict.error {
            ErrorCode::Success => 0,
            ErrorCode::InvalidFormat => 1,
            ErrorCode::InsufficientResources | ErrorCode::ManagerUnreachable => 2,
            ErrorCode::InvalidVidGroupOrMac => 4,
            ErrorCode::OtherFailure | ErrorCode::Unknown(_) => 3,
        },
    }
}

fn error(response: u8) -> ErrorCode {
    match response {
        0 => ErrorCode::Success,
        1 => ErrorCode::InvalidFormat,
        2 => ErrorCode::InsufficientResources,
        4 => ErrorCode::InvalidVidGroupOrMac,
        // Unused VTID, version violation, out of sync.
        _ => ErrorCode::OtherFailure,
    }
}

/// Commands by their code.
const MODES: [Command; 4] =
    [Command::PreAssociate, Command::PreAssociateRr, Command::Associate, Command::DeAssociate];
/// OUI and subtype.
const VDP: [u8; 4] = [0x00, 0x1b, 0x3f, 0x02];
/// The only filter format.
const MAC_VID: u8 = 2;
const END: TlvType = TlvType::from_low_bits(0);
const ORGANIZATIONAL: TlvType = TlvType::from_low_bits(127);
