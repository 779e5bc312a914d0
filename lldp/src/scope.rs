//! How far an LLDPDU travels: the group address it is sent to [AB 7.1].

use core::fmt;

use ether::{MacAddr, mac};
use serde::{Deserialize, Serialize};

/// The scope of an agent. A port has one agent per scope; they share nothing but the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To the next bridge of any kind; DCBX goes here.
    NearestBridge,
    /// Past two-port MAC relays; CDCP goes here.
    NearestNonTpmr,
    /// Past provider bridges to the next customer bridge; EVB goes here.
    NearestCustomer,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::NearestBridge, Self::NearestNonTpmr, Self::NearestCustomer];

    /// The group address of the scope.
    #[must_use]
    pub const fn address(self) -> MacAddr {
        match self {
            Self::NearestBridge => mac::NEAREST_BRIDGE,
            Self::NearestNonTpmr => mac::NEAREST_NON_TPMR_BRIDGE,
            Self::NearestCustomer => mac::NEAREST_CUSTOMER_BRIDGE,
        }
    }

    /// The scope `address` stands for, if it is one of the three group addresses.
    #[must_use]
    pub fn of(address: MacAddr) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.address() == address)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NearestBridge => "nearest_bridge",
            Self::NearestNonTpmr => "nearest_non_tpmr",
            Self::NearestCustomer => "nearest_customer",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_back() {
        for scope in Scope::ALL {
            assert_eq!(Scope::of(scope.address()), Some(scope));
        }
        assert_eq!(Scope::of(MacAddr::broadcast()), None);
        assert_eq!(Scope::NearestCustomer.address(), MacAddr(1, 0x80, 0xc2, 0, 0, 0));
        assert_eq!(Scope::NearestNonTpmr.address(), MacAddr(1, 0x80, 0xc2, 0, 0, 3));
        assert_eq!(Scope::NearestBridge.address(), MacAddr(1, 0x80, 0xc2, 0, 0, 0xe));
    }
}
