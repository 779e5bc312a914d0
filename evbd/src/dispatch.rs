//! From a control frame to the engine it is for.

use ether::{EtherType, FrameView, Instant};

use crate::port::{Port, Side};

/// Hands `frame` to the engine of `port` it is meant for, or counts why to none.
pub(crate) fn dispatch(port: &mut Port, now: Instant, frame: &[u8]) {
    let Ok(view) = FrameView::parse(frame) else {
        port.ignored.malformed += 1;
        return;
    };
    // Before the other checks: a probe is tagged where the kernel leaves tags on, and its source is ours.
    if view.ethertype == EtherType::PROBE {
        let ours = match port.edge.as_mut().map(|edge| &mut edge.side) {
            Some(Side::Station { relay, .. }) => relay.handle_probe(now, &view),
            Some(Side::Bridge { .. }) | None => false,
        };
        port.ignored.other_probe += u64::from(!ours);
        return;
    }
    if view.tag.is_some() {
        port.ignored.tagged += 1;
        return;
    }
    if port.mac() == Some(view.src) {
        port.ignored.own += 1;
        return;
    }
    match view.ethertype {
        EtherType::LLDP => match port.agent_at(view.dst) {
            Some(agent) => agent.handle_pdu(now, view.src, view.payload),
            None => port.ignored.other_destination += 1,
        },
        EtherType::ECP | EtherType::OUI_EXTENDED => {
            if !port.link.is_up() {
                port.ignored.link_down += 1;
                return;
            }
            let own = port.mac() == Some(view.dst);
            let Some(edge) = port.edge.as_mut().filter(|edge| own || view.dst == edge.ecp.dialect().group())
            else {
                port.ignored.other_destination += 1;
                return;
            };
            let dialect = edge.ecp.dialect();
            match dialect.parse(view.payload) {
                Ok((header, _))
                    if dialect.ethertype() == view.ethertype && header.subtype == ecp::Subtype::Vdp =>
                {
                    edge.ecp.handle_pdu(now, view.payload);
                }
                Ok(_) | Err(_) => port.ignored.other_ecp += 1,
            }
        }
        _ => port.ignored.other_ethertype += 1,
    }
}
