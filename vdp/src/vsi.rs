//! What names a VSI and its type [Q 41.2]: VSIID, manager identifier, type identifier and version.
//!
//! Their text forms read back to the same octets, so that a configuration, an API and a display say the same.

use core::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ether::MacAddr;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How the sixteen octets of a VSIID are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VsiIdFormat {
    /// An IPv4 address, as IPv4-mapped IPv6 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A MAC address in the last six octets.
    Mac,
    /// Whatever station and bridge agree on.
    Local,
    /// A UUID in network order.
    Uuid,
}

impl VsiIdFormat {
    /// The format with this code of the wire.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Ipv4,
            2 => Self::Ipv6,
            3 => Self::Mac,
            4 => Self::Local,
            5 => Self::Uuid,
            _ => return None,
        })
    }

    /// The code of the wire, 1..=5.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ipv4 => 1,
            Self::Ipv6 => 2,
            Self::Mac => 3,
            Self::Local => 4,
            Self::Uuid => 5,
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4:",
            Self::Ipv6 => "ipv6:",
            Self::Mac => "mac:",
            Self::Local => "local:",
            Self::Uuid => "uuid:",
        }
    }
}

/// The identifier of a VSI: format and sixteen octets, compared bytewise.
///
/// UNSURE-5: a peer may put an IPv4 address behind zeros instead of `::ffff`; such an identifier is kept as received
/// and is another one than the mapped form.
///
/// As text: a UUID, a MAC or an IP address; `local:` and 32 hex digits; and, where the octets are not in the usual
/// form of their format, the format's name and 32 hex digits (`ipv4:…`, `mac:…`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VsiId {
    format: VsiIdFormat,
    octets: [u8; 16],
}

impl VsiId {
    /// The identifier as it stands on the wire.
    #[must_use]
    pub const fn new(format: VsiIdFormat, octets: [u8; 16]) -> Self {
        Self { format, octets }
    }

    /// A locally defined identifier.
    #[must_use]
    pub const fn local(octets: [u8; 16]) -> Self {
        Self::new(VsiIdFormat::Local, octets)
    }

    /// How the octets are to be read.
    #[must_use]
    pub const fn format(self) -> VsiIdFormat {
        self.format
    }

    /// The sixteen octets.
    #[must_use]
    pub const fn octets(self) -> [u8; 16] {
        self.octets
    }
}

impl From<Uuid> for VsiId {
    fn from(uuid: Uuid) -> Self {
        Self::new(VsiIdFormat::Uuid, uuid.into_bytes())
    }
}

impl From<Ipv4Addr> for VsiId {
    fn from(address: Ipv4Addr) -> Self {
        Self::new(VsiIdFormat::Ipv4, address.to_ipv6_mapped().octets())
    }
}

impl From<Ipv6Addr> for VsiId {
    fn from(address: Ipv6Addr) -> Self {
        Self::new(VsiIdFormat::Ipv6, address.octets())
    }
}

impl From<MacAddr> for VsiId {
    fn from(mac: MacAddr) -> Self {
        let MacAddr(a, b, c, d, e, f) = mac;
        Self::new(VsiIdFormat::Mac, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f])
    }
}

impl fmt::Display for VsiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = Ipv6Addr::from(self.octets);
        match (self.format, self.octets) {
            (VsiIdFormat::Uuid, octets) => Uuid::from_bytes(octets).fmt(f),
            (VsiIdFormat::Ipv6, _) => v6.fmt(f),
            (VsiIdFormat::Mac, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, e, g]) => {
                MacAddr(a, b, c, d, e, g).fmt(f)
            }
            (VsiIdFormat::Ipv4 | VsiIdFormat::Mac | VsiIdFormat::Local, octets) => {
                if self.format == VsiIdFormat::Ipv4
                    && let Some(v4) = v6.to_ipv4_mapped()
                {
                    return v4.fmt(f);
                }
                f.write_str(self.format.prefix())?;
                write_hex(f, octets)
            }
        }
    }
}

impl fmt::Debug for VsiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no VSIID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no VSIID: expected a UUID, a MAC or IP address, or local: and 32 hex digits")]
pub struct InvalidVsiId(pub String);

impl FromStr for VsiId {
    type Err = InvalidVsiId;

    fn from_str(text: &str) -> Result<Self, InvalidVsiId> {
        use VsiIdFormat::{Ipv4, Ipv6, Local, Mac, Uuid as U};
        let prefixed = [Ipv4, Ipv6, Mac, Local, U].into_iter().find_map(|format| {
            let octets = parse_hex(text.strip_prefix(format.prefix())?)?;
            Some(Self::new(format, octets))
        });
        prefixed
            .or_else(|| text.parse::<Ipv4Addr>().ok().map(Self::from))
            .or_else(|| text.parse::<Ipv6Addr>().ok().map(Self::from))
            .or_else(|| text.parse::<MacAddr>().ok().map(Self::from))
            .or_else(|| Uuid::try_parse(text).ok().map(Self::from))
            .ok_or_else(|| InvalidVsiId(text.to_owned()))
    }
}

/// The VSI manager identifier [Q 41.1.3]: opaque, compared bytewise; all zero means the bridge's default manager.
///
/// As text: an IPv4 address (mapped), an IPv6 address, one to sixteen printable ASCII characters (left aligned, zero
/// filled), or `0x` and 32 hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ManagerId(pub [u8; 16]);

impl ManagerId {
    /// The older one-octet identifier, which stands in the first octet.
    #[must_use]
    pub const fn legacy(id: u8) -> Self {
        Self([id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// Whether the bridge is left to use its default manager.
    #[must_use]
    pub fn is_default(self) -> bool {
        self == Self::default()
    }

    /// The text these octets spell, if it reads back to them.
    fn as_text(&self) -> Option<&str> {
        let text = core::str::from_utf8(&self.0).ok()?.trim_end_matches('\0');
        (text.parse() == Ok(*self)).then_some(text)
    }
}

impl From<Ipv4Addr> for ManagerId {
    fn from(address: Ipv4Addr) -> Self {
        Self(address.to_ipv6_mapped().octets())
    }
}

impl From<Ipv6Addr> for ManagerId {
    fn from(address: Ipv6Addr) -> Self {
        Self(address.octets())
    }
}

impl fmt::Display for ManagerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = Ipv6Addr::from(self.0);
        if let Some(v4) = v6.to_ipv4_mapped() {
            return v4.fmt(f);
        }
        if let Some(text) = self.as_text() {
            return f.write_str(text);
        }
        let [first, ..] = self.0;
        // Global unicast, unique local, link local; anything else is hardly an address.
        if self.is_default() || matches!(first, 0x20..=0x3f | 0xfc..=0xfe) {
            return v6.fmt(f);
        }
        f.write_str("0x")?;
        write_hex(f, self.0)
    }
}

impl fmt::Debug for ManagerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no manager identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no manager identifier: expected an IP address, 1 to 16 ASCII characters, or 0x and 32 hex digits"
)]
pub struct InvalidManagerId(pub String);

impl FromStr for ManagerId {
    type Err = InvalidManagerId;

    fn from_str(text: &str) -> Result<Self, InvalidManagerId> {
        let hex = text.strip_prefix("0x").and_then(parse_hex).map(Self);
        let address = || text.parse::<Ipv4Addr>().ok().map(Self::from);
        let address6 = || text.parse::<Ipv6Addr>().ok().map(Self::from);
        let ascii = || {
            let printable = !text.is_empty() && text.bytes().all(|b| matches!(b, b' '..=b'~'));
            let mut octets = [0; 16];
            octets.get_mut(..text.len()).filter(|_| printable)?.copy_from_slice(text.as_bytes());
            Some(Self(octets))
        };
        hex.or_else(address).or_else(address6).or_else(ascii).ok_or_else(|| InvalidManagerId(text.to_owned()))
    }
}

/// The type of a VSI: what its manager calls a set of properties, 24 bits [Q 41.2.4].
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct TypeId(u32);

/// A number of more than 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("VSI type {0} is out of range: allowed are 0 to 16777215")]
pub struct InvalidTypeId(pub u32);

impl TypeId {
    /// The type `value`, unless it exceeds 24 bits.
    #[must_use]
    pub const fn new(value: u32) -> Option<Self> {
        if value < 1 << 24 { Some(Self(value)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    pub(crate) const fn from_octets([a, b, c]: [u8; 3]) -> Self {
        Self(u32::from_be_bytes([0, a, b, c]))
    }

    pub(crate) const fn to_octets(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }
}

impl TryFrom<u32> for TypeId {
    type Error = InvalidTypeId;

    fn try_from(value: u32) -> Result<Self, InvalidTypeId> {
        Self::new(value).ok_or(InvalidTypeId(value))
    }
}

impl From<TypeId> for u32 {
    fn from(id: TypeId) -> Self {
        id.0
    }
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypeId({})", self.0)
    }
}

/// The edition of a VSI type [Q 41.2.5].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TypeVersion(pub u8);

impl fmt::Display for TypeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The conversions serde goes through.
macro_rules! string_serde {
    ($($name:ident: $error:ident),+) => {$(
        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )+};
}

string_serde!(VsiId: InvalidVsiId, ManagerId: InvalidManagerId);

fn write_hex(f: &mut fmt::Formatter<'_>, octets: [u8; 16]) -> fmt::Result {
    write!(f, "{:032x}", u128::from_be_bytes(octets))
}

/// Exactly 32 hex digits.
fn parse_hex(text: &str) -> Option<[u8; 16]> {
    let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|_| digits).map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vsi_ids_as_text() {
        for (text, format, last) in [
            ("b2a7f3c1-0d4e-4b6a-9c55-112233445566", VsiIdFormat::Uuid, 0x66),
            ("192.0.2.77", VsiIdFormat::Ipv4, 77),
            ("2001:db8::7", VsiIdFormat::Ipv6, 7),
            ("52:54:00:11:22:33", VsiIdFormat::Mac, 0x33),
            ("local:000000000000000000000000000000aa", VsiIdFormat::Local, 0xaa),
            ("ipv4:000000000000000000000000c000024d", VsiIdFormat::Ipv4, 77),
            ("mac:ff000000000000000000525400112233", VsiIdFormat::Mac, 0x33),
        ] {
            let id: VsiId = text.parse().unwrap();
            assert_eq!((id.format(), id.octets()[15], id.to_string()), (format, last, text.to_owned()));
        }
        for text in ["", "local:aa", "52:54:00:11:22", "local:+0000000000000000000000000000aa", "vm1"] {
            assert_eq!(text.parse::<VsiId>(), Err(InvalidVsiId(text.to_owned())));
        }
    }

    #[test]
    fn manager_ids_as_text() {
        for (text, first) in [
            ("192.0.2.10", 0),
            ("::", 0),
            ("2001:db8::1", 0x20),
            ("labmgr", b'l'),
            ("sixteen octets !", b's'),
            ("1", b'1'),
        ] {
            let id: ManagerId = text.parse().unwrap();
            assert_eq!((id.0[0], id.to_string()), (first, text.to_owned()));
        }
        assert_eq!(ManagerId::legacy(12).to_string(), "0x0c000000000000000000000000000000");
        assert!(ManagerId::default().is_default());
        for text in ["", "seventeen octets!", "ä"] {
            assert_eq!(text.parse::<ManagerId>(), Err(InvalidManagerId(text.to_owned())));
        }
    }

    #[test]
    fn type_ids_have_24_bits() {
        assert_eq!(TypeId::try_from(1 << 24), Err(InvalidTypeId(1 << 24)));
        let id = TypeId::new(0x00ab_cdef).unwrap();
        assert_eq!((id.to_octets(), TypeId::from_octets([0xab, 0xcd, 0xef])), ([0xab, 0xcd, 0xef], id));
    }

    proptest! {
        #[test]
        fn vsi_id_text_round_trip(code in 1u8..=5, octets in any::<[u8; 16]>(), zeros in 0usize..=16) {
            let mut octets = octets;
            octets[..zeros].fill(0);
            let id = VsiId::new(VsiIdFormat::from_code(code).unwrap(), octets);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn manager_id_text_round_trip(octets in any::<[u8; 16]>(), text in "[ -~]{0,16}", as_text in any::<bool>()) {
            let mut id = ManagerId(octets);
            if as_text {
                id.0.fill(0);
                id.0[..text.len()].copy_from_slice(text.as_bytes());
            }
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
