//! What survives a restart.

use super::*;

#[test]
fn a_restart_reopens_the_gate_and_asks_as_soon_as_it_can() {
    let held = associated().held().next().unwrap();
    assert_eq!(held.confirmed, Some((Command::Associate, filter(&[GRANTED()]))));
    let mut station = Station::new(StationConfig::default(), Timing::default());
    station.resume(T0, held.clone()).unwrap();
    assert_eq!(said(&mut station), "Associated");
    station.resume(T0, held.clone()).unwrap();
    assert_eq!((said(&mut station), station.held().collect::<Vec<_>>()), (String::new(), vec![held.clone()]));
    station.set_ready(T0, true);
    assert_eq!((said(&mut station), state(&station)), ("tx Associate".into(), "KeepAlive".into()));
    station.handle_pdu(T0, &success(Command::Associate));
    assert_eq!((said(&mut station), state(&station)), (String::new(), "Confirmed".into()));
    // Asked once.
    station.set_ready(T0, false);
    station.set_ready(T0, true);
    assert_eq!(said(&mut station), "");
}

#[test]
fn what_was_not_confirmed_is_commanded_again() {
    let mut station = ready();
    station.resume(T0, Held { request: associate(), confirmed: None }).unwrap();
    assert_eq!(said(&mut station), "tx Associate");
    // Prepared, with the association wanted meanwhile: that is what is asked for.
    let mut station = Station::new(StationConfig::default(), Timing::default());
    let confirmed = Some((Command::PreAssociate, filter(&[GRANTED()])));
    station.resume(T0, Held { request: associate(), confirmed }).unwrap();
    assert_eq!(said(&mut station), "PreAssociated");
    station.set_ready(T0, true);
    assert_eq!(said(&mut station), "tx Associate");
}

#[test]
fn without_a_bridge_a_resumed_vsi_lasts_as_long_as_a_confirmed_one() {
    let mut station = Station::new(StationConfig::default(), Timing::default());
    station.resume(T0, associated().held().next().unwrap()).unwrap();
    let (first, last) = (timeout(&mut station), timeout(&mut station));
    assert_eq!(first, T0 + Timing::default().reinit_keep_alive());
    assert_eq!(last, first + Timing::default().resp_wait_delay());
    assert_eq!(said(&mut station), "Associated, tx Associate, Gone Timeout -");
}

#[test]
fn what_is_not_wanted_any_more_is_forgotten_before_it_is_said() {
    let mut station = associated();
    station.command(T0, request(Command::DeAssociate, &[GRANTED()])).unwrap();
    let outputs = everything(&mut station);
    assert!(matches!(outputs[..], [Output::Released(_), Output::Transmit(_)]), "{outputs:?}");
}

#[test]
fn what_is_not_wanted_after_a_restart_is_de_associated_when_the_bridge_hears() {
    let mut station = Station::new(StationConfig::default(), Timing::default());
    station.resume(T0, associated().held().next().unwrap()).unwrap();
    station.command(T0, request(Command::DeAssociate, &[GRANTED()])).unwrap();
    let outputs = everything(&mut station);
    assert!(matches!(outputs[..], [Output::Event(_), Output::Released(_)]), "{outputs:?}");
    station.set_ready(T0, true);
    assert_eq!(said(&mut station), "tx DeAssociate");
    station.handle_pdu(T0, &success(Command::DeAssociate));
    assert_eq!(said(&mut station), "Gone Commanded -");
    assert_eq!(station.vsis().count(), 0);
}

#[test]
fn a_keep_alive_that_was_not_heard_is_sent_again() {
    let mut station = associated();
    timeout(&mut station);
    assert_eq!(said(&mut station), "tx Associate");
    let sent = pdu(Command::Associate, Status::Request(Hints::default()), &[GRANTED()]);
    station.ecp_failed(T0, &sent);
    assert_eq!((said(&mut station), state(&station)), ("tx Associate".into(), "KeepAlive".into()));
    station.handle_pdu(T0, &success(Command::Associate));
    station.ecp_failed(T0, &sent);
    assert_eq!((said(&mut station), state(&station)), (String::new(), "Confirmed".into()));
    // Nobody is there to hear it.
    timeout(&mut station);
    assert_eq!(said(&mut station), "tx Associate");
    station.set_ready(T0, false);
    station.ecp_failed(T0, &sent);
    assert_eq!(said(&mut station), "");
}
