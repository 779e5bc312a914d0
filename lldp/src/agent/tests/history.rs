//! Any order of events.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Link(bool),
    Admin(AdminStatus),
    Pdu(u8, u16, u8),
    Octets(Vec<u8>),
    Org(u8),
    Local(u8),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    use AdminStatus::*;
    prop_oneof![
        any::<bool>().prop_map(Step::Link),
        proptest::sample::select(vec![Disabled, TxOnly, RxOnly, RxTx]).prop_map(Step::Admin),
        (0u8..5, 0u16..40, 0u8..3).prop_map(|(who, ttl, what)| Step::Pdu(who, ttl, what)),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Step::Octets),
        (0u8..3).prop_map(Step::Org),
        (0u8..3).prop_map(Step::Local),
        Just(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens when: nothing is left undone, memory stays bounded, and no second sees more LLDPDUs than credit.
    #[test]
    fn any_history(steps in proptest::collection::vec((step(), 0u64..3_000), 0..120)) {
        let params = TimingParams { msg_tx_interval: 3, tx_credit_max: 2, ..TimingParams::default() };
        let timing = Timing::try_from(params).unwrap();
        let config = AgentConfig { timing, max_neighbors: 2, ..AgentConfig::new(Scope::NearestBridge) };
        let mut agent = Agent::new(config, info(1));
        let mut now = at(0);
        let mut up_since = now;
        let mut infos = Vec::new();
        for (step, wait) in steps {
            now += Duration::from_millis(wait);
            match step {
                Step::Link(up) => {
                    agent.handle_link(now, up);
                    up_since = now;
                }
                Step::Admin(status) => {
                    agent.set_admin_status(now, status);
                    up_since = now;
                }
                Step::Pdu(who, ttl, what) => agent.handle_pdu(now, SRC, &said(who, ttl, &what.to_string())),
                Step::Octets(octets) => agent.handle_pdu(now, SRC, &octets),
                Step::Org(value) => agent.set_org_tlv(now, EVB, Some(vec![value].into())).unwrap(),
                Step::Local(last) => agent.set_local(now, info(last)),
                Step::Wait => agent.handle_timeout(now),
            }
            prop_assert!(agent.poll_timeout().is_none_or(|next| next > now));
            prop_assert!(agent.neighbors().count() <= 2);
            prop_assert!(agent.neighbors().all(|neighbor| neighbor.expires > now));
            for output in outputs(&mut agent) {
                if let Output::Transmit(octets) = output
                    && !Lldpdu::parse(&octets).unwrap().pdu.is_shutdown()
                {
                    infos.push(now);
                }
            }
            let window = now.saturating_since(up_since).min(Duration::from_secs(1));
            let recent = infos.iter().filter(|at| **at > up_since && now - **at < window).count();
            prop_assert!(recent <= 3, "{recent} LLDPDUs within a second");
        }
    }
}
