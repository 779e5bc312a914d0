use ether::time::Duration;

use super::*;
use crate::{
    basic::{ChassisId, PortId, PortSubtype},
    org::Oui,
    txtimer::TimingParams,
};

mod history;
mod receive;
mod transmit;

const EVB: OrgKey = OrgKey { oui: Oui::IEEE_802_1, subtype: 0x0d };
const SRC: MacAddr = MacAddr(2, 0, 0, 0, 0xb, 1);

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn info(last: u8) -> LocalInfo {
    let port = PortId::new(PortSubtype::InterfaceName, &b"eth0"[..]).unwrap();
    LocalInfo::new(ChassisId::mac(MacAddr(2, 0, 0, 0, 0, last)), port)
}

fn msap(last: u8) -> Msap {
    info(last).msap()
}

/// What the neighbour `last` sends.
fn said(last: u8, ttl: u16, name: &str) -> Bytes {
    let name = Some(crate::basic::Text::truncated(name));
    Lldpdu { system_name: name, ..Lldpdu::new(msap(last), ttl) }.emit(MAX_LEN).octets
}

fn new_agent() -> Agent {
    Agent::new(AgentConfig::new(Scope::NearestCustomer), info(1))
}

/// An agent whose link came up at zero and that has sent its first LLDPDU.
fn running() -> Agent {
    let mut agent = new_agent();
    agent.handle_link(at(0), true);
    assert_eq!(sent(&mut agent), [121]);
    agent
}

fn outputs(agent: &mut Agent) -> Vec<Output> {
    core::iter::from_fn(|| agent.poll_output()).collect()
}

/// The TTLs of what was sent; there is no other output.
fn sent(agent: &mut Agent) -> Vec<u16> {
    let ttl = |output| match output {
        Output::Transmit(octets) => Lldpdu::parse(&octets).unwrap().pdu.ttl,
        Output::Neighbor(event) => panic!("{event:?}"),
    };
    outputs(agent).into_iter().map(ttl).collect()
}

/// What became of neighbours; what was sent is dropped.
fn events(agent: &mut Agent) -> Vec<NeighborEvent> {
    let event = |output| match output {
        Output::Transmit(_) => None,
        Output::Neighbor(event) => Some(event),
    };
    outputs(agent).into_iter().filter_map(event).collect()
}

/// Wakes the agent when it asks for it, until `end`; when it sent something.
fn run_until(agent: &mut Agent, end: Instant) -> Vec<Instant> {
    let mut times = Vec::new();
    while let Some(now) = agent.poll_timeout().filter(|at| *at <= end) {
        agent.handle_timeout(now);
        assert!(agent.poll_timeout().is_none_or(|next| next > now), "busy at {now}");
        times.extend(outputs(agent).iter().filter(|o| matches!(o, Output::Transmit(_))).map(|_| now));
    }
    times
}

fn appeared(last: u8) -> NeighborEvent {
    NeighborEvent::Appeared { msap: msap(last) }
}

fn gone(last: u8, cause: GoneCause) -> NeighborEvent {
    NeighborEvent::Gone { msap: msap(last), cause }
}

#[test]
fn nothing_happens_while_the_link_is_down() {
    let mut agent = new_agent();
    assert_eq!((agent.poll_timeout(), agent.poll_output()), (None, None));
    agent.set_org_tlv(at(1), EVB, Some(Bytes::from_static(&[1]))).unwrap();
    agent.handle_pdu(at(2), SRC, &said(9, 120, "x"));
    agent.set_admin_status(at(3), AdminStatus::Disabled);
    agent.set_admin_status(at(4), AdminStatus::RxTx);
    assert_eq!((agent.poll_timeout(), agent.poll_output()), (None, None));
    assert_eq!((agent.counters().frames_refused_total, agent.counters().frames_in_total), (1, 0));
}

#[test]
fn events_are_recorded_in_snake_case() {
    let json = serde_json::to_value(gone(9, GoneCause::AgedOut)).unwrap();
    assert_eq!((&json["what"], &json["cause"]), (&"gone".into(), &"aged_out".into()));
    assert_eq!(json["msap"]["chassis"]["id"], "02:00:00:00:00:09");
    let mut agent = running();
    agent.handle_pdu(at(1), SRC, &said(9, 120, "x"));
    let json = serde_json::to_value(agent.neighbors().next().unwrap()).unwrap();
    assert_eq!((&json["info"]["system_name"], &json["expires"]), (&"x".into(), &121_000_000.into()));
    let json = serde_json::to_value(agent.config()).unwrap();
    assert_eq!((&json["scope"], &json["admin_status"]), (&"nearest_customer".into(), &"rx_tx".into()));
    assert_eq!(json["timing"]["msg_tx_interval"], 30);
}
