//! Which of a port extender's upstream ports leads to its controlling bridge.
//!
//! UNSURE-U7: the lower priority wins, 0 is no offer; among equals the lower CSP address, then the lower port.

use ether::MacAddr;
use serde::Serialize;

use crate::{marker::Marker, tlv::CascadePriority};

/// What a neighbour says at an upstream port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// How much it wants the port.
    pub priority: CascadePriority,
    /// Where it is reached.
    pub csp_address: MacAddr,
    /// Its code book, if it shows one.
    pub marker: Option<Marker>,
}

/// The port whose offer wins.
pub fn elect<'a, P: Ord + Copy>(offers: impl Iterator<Item = (P, &'a Offer)>) -> Option<P> {
    let order = |port: P, offer: &Offer| (offer.priority.0, offer.csp_address, port);
    offers
        .filter(|(_, offer)| offer.priority.is_cascade_port())
        .min_by_key(|(port, offer)| order(*port, offer))
        .map(|(port, _)| port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(priority: u8, low: u8) -> Offer {
        let csp_address = MacAddr(2, 0, 0, 0, 0, low);
        Offer { priority: CascadePriority(priority), csp_address, marker: None }
    }

    #[test]
    fn priority_then_address_then_port() {
        for (offers, wins) in [
            (vec![], None),
            (vec![offer(0, 1)], None),
            (vec![offer(0, 1), offer(255, 9)], Some(1)),
            (vec![offer(200, 1), offer(128, 9)], Some(1)),
            (vec![offer(128, 9), offer(128, 1)], Some(1)),
            (vec![offer(128, 1), offer(128, 1)], Some(0)),
        ] {
            assert_eq!(elect((0..).zip(&offers)), wins, "{offers:?}");
        }
    }
}
