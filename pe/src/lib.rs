//! IEEE 802.1BR: bridge port extension. Discovery ([`tlv`], [`marker`], [`election`]), the control and status protocol
//! ([`csp`]), and its two ends: [`Controlling`], the bridge's, and [`Extender`], the port extender's.

pub mod controlling;
pub mod csp;
pub mod ecid;
pub mod election;
pub mod extender;
pub mod marker;
mod stats;
pub mod tlv;

pub use controlling::Controlling;
pub use csp::{Capability, CodeBook, Name, Names, PortParameters, SessionState, Why};
pub use election::Offer;
pub use extender::Extender;
pub use marker::Marker;
pub use stats::Stats;
pub use tlv::{CascadePriority, OUI, PortExtensionTlv, SUBTYPE, ShortPortExtensionTlv};

#[cfg(test)]
mod tests;
