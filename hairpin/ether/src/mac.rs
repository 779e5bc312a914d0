//! MAC addresses: pnet's type, the group addresses of 802.1Q and what the relay asks of an address.

pub use pnet_base::MacAddr;

/// Nearest customer bridge, `01-80-C2-00-00-00`: LLDP with the EVB TLV, ECP [Q 40, 43].
pub const NEAREST_CUSTOMER_BRIDGE: MacAddr = MacAddr(0x01, 0x80, 0xc2, 0, 0, 0x00);
/// Nearest non-TPMR bridge, `01-80-C2-00-00-03`: LLDP with the CDCP TLV [Q 42].
pub const NEAREST_NON_TPMR_BRIDGE: MacAddr = MacAddr(0x01, 0x80, 0xc2, 0, 0, 0x03);
/// Nearest bridge, `01-80-C2-00-00-0E`: plain LLDP, DCBX [AB 7.1].
pub const NEAREST_BRIDGE: MacAddr = MacAddr(0x01, 0x80, 0xc2, 0, 0, 0x0e);
/// Where probes of reflective relay go, `03-65-76-62-64-01`: a locally administered group no station joins.
pub const PROBE_GROUP: MacAddr = MacAddr(0x03, 0x65, 0x76, 0x62, 0x64, 0x01);

/// Whether `mac` is one of `01-80-C2-00-00-00..0F`, which a C-VLAN component never relays [Q 8.6.3].
#[must_use]
pub const fn is_reserved(mac: MacAddr) -> bool {
    matches!(mac, MacAddr(0x01, 0x80, 0xc2, 0, 0, low) if low < 0x10)
}

/// Whether `mac` addresses a group (multicast or broadcast).
#[must_use]
pub const fn is_group(mac: MacAddr) -> bool {
    mac.0 & 1 == 1
}

/// Whether `mac` can name a station: neither a group nor all zero.
#[must_use]
pub fn is_station(mac: MacAddr) -> bool {
    !is_group(mac) && !mac.is_zero()
}

/// The address as the low 48 bits of a number: a compact table key.
#[must_use]
pub const fn to_u64(mac: MacAddr) -> u64 {
    u64::from_be_bytes([0, 0, mac.0, mac.1, mac.2, mac.3, mac.4, mac.5])
}

/// The inverse of [`to_u64`]; the upper 16 bits are ignored.
#[must_use]
pub const fn from_u64(key: u64) -> MacAddr {
    let [_, _, a, b, c, d, e, f] = key.to_be_bytes();
    MacAddr(a, b, c, d, e, f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_block_ends_at_0f() {
        assert!(is_reserved(NEAREST_BRIDGE) && is_reserved(NEAREST_CUSTOMER_BRIDGE));
        assert!(!is_reserved(MacAddr(0x01, 0x80, 0xc2, 0, 0, 0x10)));
        assert!(!is_reserved(MacAddr::broadcast()));
    }

    #[test]
    fn number_and_back() {
        let mac = MacAddr(0x52, 0x54, 0, 0x11, 0x22, 0x33);
        assert_eq!(to_u64(mac), 0x5254_0011_2233);
        assert_eq!(from_u64(0xffff_5254_0011_2233), mac);
    }
}
