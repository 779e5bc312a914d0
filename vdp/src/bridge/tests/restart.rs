//! What survives a restart, and what becomes of it.

use super::*;

/// In short, memory included.
fn order(bridge: &mut Bridge) -> String {
    let words = everything(bridge).into_iter().filter_map(|output| match output {
        Output::Transmit(_) => Some("tx"),
        Output::Install { .. } => Some("install"),
        Output::Remove { .. } => Some("remove"),
        Output::Held(_) => Some("held"),
        Output::Released(_) => Some("released"),
        Output::Query(_) => Some("query"),
        Output::Event(_) => None,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_promised_is_remembered_first() {
    let mut bridge = bridge();
    send(&mut bridge, Command::Associate, &[asked()]);
    decide(&mut bridge, accept());
    assert_eq!(order(&mut bridge), "query held install tx");
    send(&mut bridge, Command::Associate, &[granted()]);
    assert_eq!(order(&mut bridge), "tx");
    send(&mut bridge, Command::DeAssociate, &[granted()]);
    assert_eq!(order(&mut bridge), "released remove tx");
}

#[test]
fn a_restart_changes_nothing_if_the_station_is_still_there() {
    let mut before = in_state("associated");
    let held = before.held().next().unwrap().clone();
    before.withdraw(T0, &id(), Cause::Administrator);
    let mut bridge = bridge();
    bridge.resume(T0, held.clone());
    assert_eq!(said(&mut bridge), "install, Resumed");
    // Twice is once.
    bridge.resume(T0, held.clone());
    assert_eq!((said(&mut bridge), bridge.held().collect::<Vec<_>>()), (String::new(), vec![&held]));
    send(&mut bridge, Command::Associate, &[granted()]);
    assert_eq!((said(&mut bridge), bridge.stats().keep_alives), ("tx 3 40".into(), 1));
    // The station is gone for good.
    timeout(&mut bridge);
    assert_eq!(said(&mut bridge), "remove, Deassociated KeepAliveExpired, tx 4 00");
    assert_eq!(bridge.held().next(), None);
}

#[test]
fn a_full_table_resumes_no_more() {
    let mut bridge = ready(Bridge::new(BridgeConfig { max_vsis: 1 }, Timing::default()));
    let held = in_state("associated").held().next().unwrap().clone();
    bridge.resume(T0, held.clone());
    everything(&mut bridge);
    let other = VsiId::local([9; 16]);
    bridge.resume(T0, Held { id: other, ..held });
    assert_eq!(everything(&mut bridge), [Output::Released(other)]);
}

#[test]
fn a_type_that_changed_is_asked_for_again() {
    let ask = || {
        let mut bridge = in_state("associated");
        bridge.requery(T0, &id());
        assert_eq!(said(&mut bridge), "query Associate");
        // The station is answered as ever meanwhile.
        send(&mut bridge, Command::Associate, &[granted()]);
        assert_eq!(said(&mut bridge), "tx 3 40");
        bridge
    };
    let mut bridge = ask();
    decide(&mut bridge, accept());
    assert_eq!(said(&mut bridge), "install");
    decide(&mut bridge, accept());
    assert_eq!((said(&mut bridge), bridge.stats().stale_answers), (String::new(), 1));
    for answer in [refuse(4, true, true), Answer::Accept { filter: filter(&[entry(0, 0x34, 7, None)]) }] {
        let mut bridge = ask();
        decide(&mut bridge, answer);
        assert_eq!(said(&mut bridge), "remove, Deassociated TypeWithdrawn, tx 4 00");
    }
    // A database that does not answer changes nothing.
    let mut bridge = ask();
    timeout(&mut bridge);
    assert_eq!(said(&mut bridge), "remove, Deassociated KeepAliveExpired, tx 4 00");
}
