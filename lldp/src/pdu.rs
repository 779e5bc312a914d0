//! The LLDPDU: which TLVs, in which order, how often [AB 8.2, 8.3, 8.5, 9.2.7.7].

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut, buf::Limit};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{
    basic::{Capabilities, ChassisId, Hex, ManagementAddress, PortId, Text},
    error::{PeerPduError, PeerTlvFault},
    org::{OrgKey, OrgTlv},
    tlv::{self, Tlv, TlvType, Tlvs},
};

/// The most octets of an LLDPDU we send: the payload of an untagged frame.
pub const MAX_LEN: usize = 1500;

/// The MAC service access point a peer speaks from: what tells one neighbour from another [AB 8.2].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Msap {
    /// The system.
    pub chassis: ChassisId,
    /// The port of the system.
    pub port: PortId,
}

/// What an LLDPDU says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lldpdu {
    /// Who says it.
    pub msap: Msap,
    /// For how many seconds it holds; 0 withdraws everything said before, and nothing else is said [AB 8.5.4].
    pub ttl: u16,
    /// The description of the port.
    pub port_description: Option<Text>,
    /// The name of the system.
    pub system_name: Option<Text>,
    /// The description of the system.
    pub system_description: Option<Text>,
    /// What the system can be and is.
    pub capabilities: Option<Capabilities>,
    /// Where the system is managed, in the order sent.
    pub management_addresses: Vec<ManagementAddress>,
    /// What organizations add, in the order sent. A key may stand more than once.
    pub org: Vec<OrgTlv>,
    /// TLVs of the reserved types 9..=126, in the order sent.
    pub unknown: Vec<UnknownTlv>,
}

/// A TLV of a type the standard keeps for later, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTlv {
    kind: TlvType,
    value: Bytes,
}

/// A received LLDPDU and what had to be left out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// What it says.
    pub pdu: Lldpdu,
    /// The TLVs that cannot be read, in the order sent.
    pub faults: Vec<PeerTlvFault>,
}

/// An LLDPDU ready to be sent and what had to be left out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// The payload of the frame, without padding.
    pub octets: Bytes,
    /// How many optional TLVs found no room.
    pub omitted: usize,
}

impl Lldpdu {
    /// An LLDPDU of the mandatory TLVs only.
    #[must_use]
    pub const fn new(msap: Msap, ttl: u16) -> Self {
        Self {
            msap,
            ttl,
            port_description: None,
            system_name: None,
            system_description: None,
            capabilities: None,
            management_addresses: Vec::new(),
            org: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// Whether this LLDPDU withdraws what was said before.
    #[must_use]
    pub const fn is_shutdown(&self) -> bool {
        self.ttl == 0
    }

    /// What the first TLV `key` says.
    #[must_use]
    pub fn org(&self, key: OrgKey) -> Option<&Bytes> {
        self.org.iter().find(|tlv| tlv.key() == key).map(OrgTlv::info)
    }

    /// Reads the payload of a frame, padding included. Nothing after an End TLV is looked at, nor anything after a
    /// TTL of zero.
    ///
    /// # Errors
    /// When the LLDPDU as a whole cannot be believed: see [`PeerPduError`].
    pub fn parse(payload: &[u8]) -> Result<Received, PeerPduError> {
        let mut tlvs = Tlvs::new(payload);
        let mut mandatory = |expected| match tlvs.next().transpose()? {
            Some(tlv) if tlv.kind == expected => Ok(tlv),
            other => Err(PeerPduError::Mandatory {
                expected,
                found: other.map(|tlv| tlv.kind),
                offset: other.map_or(payload.len(), |tlv| tlv.offset),
            }),
        };
        let tlv = mandatory(CHASSIS_ID)?;
        let chassis = ChassisId::parse(tlv.value).ok_or_else(|| id_length(tlv))?;
        let tlv = mandatory(PORT_ID)?;
        let port = PortId::parse(tlv.value).ok_or_else(|| id_length(tlv))?;
        let Tlv { value, offset, .. } = mandatory(TTL)?;
        let ttl = value.first_chunk().ok_or(PeerPduError::TtlLength { offset, length: value.len() })?;

        let pdu = Self::new(Msap { chassis, port }, u16::from_be_bytes(*ttl));
        let mut received = Received { pdu, faults: Vec::new() };
        if !received.pdu.is_shutdown() {
            received.read_optional(tlvs)?;
        }
        Ok(received)
    }

    /// The LLDPDU in at most `max` octets, but never less than its mandatory TLVs and the End TLV.
    ///
    /// Organizational TLVs find room first, for protocols run on them; what describes the system to a reader takes what
    /// is left. On the wire the basic ones come first all the same. In an LLDPDU with a TTL of zero nothing is optional.
    #[must_use]
    pub fn emit(&self, max: usize) -> Emitted {
        self.emit_before_basic(max, self.org.len())
    }

    /// As [`Self::emit`], when only the first `protocols` organizational TLVs find room before the basic ones.
    pub(crate) fn emit_before_basic(&self, max: usize, protocols: usize) -> Emitted {
        let mut out = BytesMut::with_capacity(max.min(MAX_LEN));
        // An identifier has at most 256 octets by its type: these three always fit a TLV.
        let _ = tlv::put(&mut out, CHASSIS_ID, &self.msap.chassis.value());
        let _ = tlv::put(&mut out, PORT_ID, &self.msap.port.value());
        let _ = tlv::put(&mut out, TTL, &self.ttl.to_be_bytes());

        let mut omitted = 0;
        if !self.is_shutdown() {
            let room = max.saturating_sub(out.len() + tlv::HEADER);
            let mut before = Fitted::new(room);
            self.org.iter().take(protocols).for_each(|tlv| before.put(ORGANIZATIONAL, &tlv.value()));
            let mut basic = Fitted::new(before.out.remaining_mut());
            self.put_basic(&mut basic);
            let mut after = Fitted::new(basic.out.remaining_mut());
            self.org.iter().skip(protocols).for_each(|tlv| after.put(ORGANIZATIONAL, &tlv.value()));
            omitted = before.omitted + basic.omitted + after.omitted;
            [basic, before, after].into_iter().for_each(|fitted| out.put(fitted.out.into_inner()));
        }
        let _ = tlv::put(&mut out, END, &[]);
        Emitted { octets: out.freeze(), omitted }
    }

    fn put_basic(&self, out: &mut Fitted) {
        let texts = [
            (PORT_DESCRIPTION, &self.port_description),
            (SYSTEM_NAME, &self.system_name),
            (SYSTEM_DESCRIPTION, &self.system_description),
        ];
        for (kind, text) in texts {
            if let Some(text) = text {
                out.put(kind, text.as_bytes());
            }
        }
        if let Some(capabilities) = self.capabilities {
            out.put(SYSTEM_CAPABILITIES, &capabilities.value());
        }
        for address in &self.management_addresses {
            out.put(MANAGEMENT_ADDRESS, &address.value());
        }
        for UnknownTlv { kind, value } in &self.unknown {
            out.put(*kind, value);
        }
    }
}

impl Received {
    fn read_optional(&mut self, tlvs: Tlvs<'_>) -> Result<(), PeerPduError> {
        // Bit n: a TLV of type n was there. The mandatory ones are through.
        let mut seen = 0b1110_u8;
        for tlv in tlvs {
            let Tlv { kind, value, offset } = tlv?;
            if let 1..=7 = kind.get() {
                let bit = 1 << kind.get();
                if seen & bit != 0 {
                    // UNSURE-17: a second one of 4..=7 costs the LLDPDU too.
                    return Err(PeerPduError::Duplicate { kind, offset });
                }
                seen |= bit;
            }
            if let Err(fault) = self.read_one(kind, value, offset) {
                self.faults.push(fault);
            }
            if kind == END {
                break;
            }
        }
        Ok(())
    }

    fn read_one(&mut self, kind: TlvType, value: &[u8], offset: usize) -> Result<(), PeerTlvFault> {
        let length = value.len();
        let text = || Text::parse(value).ok_or(PeerTlvFault::TextLength { kind, offset, length });
        let pdu = &mut self.pdu;
        match kind {
            END if length > 0 => return Err(PeerTlvFault::EndLength { offset, length }),
            END => {}
            PORT_DESCRIPTION => pdu.port_description = Some(text()?),
            SYSTEM_NAME => pdu.system_name = Some(text()?),
            SYSTEM_DESCRIPTION => pdu.system_description = Some(text()?),
            SYSTEM_CAPABILITIES => {
                let fault = PeerTlvFault::CapabilitiesLength { offset, length };
                pdu.capabilities = Some(Capabilities::parse(value).ok_or(fault)?);
            }
            MANAGEMENT_ADDRESS => pdu.management_addresses.push(ManagementAddress::parse(value, offset)?),
            ORGANIZATIONAL => {
                pdu.org.push(OrgTlv::parse(value).ok_or(PeerTlvFault::OrgLength { offset, length })?);
            }
            _ => pdu.unknown.push(UnknownTlv { kind, value: Bytes::copy_from_slice(value) }),
        }
        Ok(())
    }
}

impl UnknownTlv {
    /// Its type, 9..=126.
    #[must_use]
    pub const fn kind(&self) -> TlvType {
        self.kind
    }

    /// Its information string.
    #[must_use]
    pub const fn value(&self) -> &Bytes {
        &self.value
    }
}

impl fmt::Display for Msap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chassis {} port {}", self.chassis, self.port)
    }
}

impl fmt::Display for Lldpdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LLDP {} ttl {}", self.msap, self.ttl)?;
        if let Some(name) = &self.system_name {
            write!(f, " name \"{name}\"")?;
        }
        self.management_addresses.iter().try_for_each(|address| write!(f, " mgmt {address}"))?;
        self.org.iter().try_for_each(|tlv| write!(f, " org {} len {}", tlv.key(), tlv.info().len()))?;
        self.unknown.iter().try_for_each(|tlv| write!(f, " type {} len {}", tlv.kind, tlv.value.len()))
    }
}

impl Serialize for UnknownTlv {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let mut out = serializer.serialize_struct("unknown_tlv", 2)?;
        out.serialize_field("kind", &self.kind)?;
        out.serialize_field("value", &Hex(&self.value))?;
        out.end()
    }
}

/// TLVs as far as there is room for them.
struct Fitted {
    out: Limit<BytesMut>,
    omitted: usize,
}

impl Fitted {
    fn new(room: usize) -> Self {
        Self { out: BytesMut::new().limit(room), omitted: 0 }
    }

    fn put(&mut self, kind: TlvType, value: &[u8]) {
        if tlv::put(&mut self.out, kind, value).is_err() {
            self.omitted += 1;
        }
    }
}

fn id_length(tlv: Tlv<'_>) -> PeerPduError {
    PeerPduError::IdLength { kind: tlv.kind, offset: tlv.offset, length: tlv.value.len() }
}

const END: TlvType = TlvType::from_low_bits(0);
const CHASSIS_ID: TlvType = TlvType::from_low_bits(1);
const PORT_ID: TlvType = TlvType::from_low_bits(2);
const TTL: TlvType = TlvType::from_low_bits(3);
const PORT_DESCRIPTION: TlvType = TlvType::from_low_bits(4);
const SYSTEM_NAME: TlvType = TlvType::from_low_bits(5);
const SYSTEM_DESCRIPTION: TlvType = TlvType::from_low_bits(6);
const SYSTEM_CAPABILITIES: TlvType = TlvType::from_low_bits(7);
const MANAGEMENT_ADDRESS: TlvType = TlvType::from_low_bits(8);
const ORGANIZATIONAL: TlvType = TlvType::from_low_bits(127);

#[cfg(test)]
mod tests;
