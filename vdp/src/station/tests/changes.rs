//! Commands on a VSI that is known already.

use super::*;

#[test]
fn pre_associate_then_associate() {
    let mut station = ready();
    for command in [Command::PreAssociate, Command::PreAssociateRr, Command::PreAssociate] {
        station.command(T0, request(command, &[GRANTED()])).unwrap();
        station.handle_pdu(T0, &success(command));
        assert_eq!(said(&mut station), format!("tx {command:?}, PreAssociated"));
    }
    timeout(&mut station);
    assert_eq!(said(&mut station), "tx PreAssociate");
    station.handle_pdu(T0, &success(Command::PreAssociate));
    // KEEP is for associations only.
    station.command(T0, associate()).unwrap();
    station.handle_pdu(T0, &answer(Command::Associate, true, false, 4));
    let refused = "Refused { error: OtherFailure, hard: false } retry";
    assert_eq!(said(&mut station), format!("tx Associate, Gone {refused}, Refused {refused}"));
}

#[test]
fn no_way_back_to_pre_associated() {
    let pre = || request(Command::PreAssociate, &[GRANTED()]);
    for name in ["Processing", "Confirmed", "KeepAlive"] {
        assert_eq!(in_state(name).command(T0, pre()), Err(CommandError::Downgrade), "{name}");
    }
    for name in ["Held", "Deassociating", "BackOff"] {
        assert_eq!(in_state(name).command(T0, pre()), Ok(()), "{name}");
    }
}

#[test]
fn a_refused_modification_keeps_the_old_association() {
    let mut station = associated();
    let other = [entry(0, 0x33, 200, None)];
    station.command(T0, request(Command::Associate, &other)).unwrap();
    let status = Status::Response(Verdict { keep: true, hard: false, error: ErrorCode::OtherFailure });
    station.handle_pdu(T0, &pdu(Command::Associate, status, &other));
    assert_eq!(said(&mut station), "tx Associate, Kept OtherFailure");
    let view = station.vsi(&id()).unwrap();
    assert_eq!((view.confirmed, view.filter), (Some(Command::Associate), filter(&[GRANTED()])));
    assert_eq!(station.stats().reverts, 1);
    // When that is lost, it is what is asked for again, and with the VLAN open once more.
    station.handle_pdu(T0, &withdrawal());
    let at = timeout(&mut station);
    assert_eq!(at, T0 + Duration::from_secs(1));
    let outputs = drain(&mut station);
    let Some(Output::Transmit(tlv)) = outputs.last() else { panic!() };
    let octets = &tlv.to_pdu();
    assert!(
        matches!(&Vdpdu::parse(octets).unwrap().items[0], Item::Association(a) if a.filter == Some(associate().filter))
    );
}

#[test]
fn a_modification_refused_for_good_loses_the_association() {
    let mut station = associated();
    let other = [entry(0, 0x33, 200, None)];
    station.command(T0, request(Command::Associate, &other)).unwrap();
    let status = Status::Response(Verdict { keep: false, hard: true, error: ErrorCode::OtherFailure });
    station.handle_pdu(T0, &pdu(Command::DeAssociate, status, &other));
    let refused = "Refused { error: OtherFailure, hard: true } retry";
    assert_eq!(said(&mut station), format!("tx Associate, Gone {refused}, Refused {refused}"));
    assert_eq!(station.poll_timeout(), Some(T0 + Duration::from_secs(300)));
}

#[test]
fn a_bridge_that_sends_no_end_tlv_is_asked_to_replace() {
    let mut lldpad = success(Command::Associate);
    lldpad.truncate(lldpad.len() - 2);
    let mut station = ready();
    station.command(T0, associate()).unwrap();
    station.handle_pdu(T0, &lldpad);
    drain(&mut station);
    // The same again is no modification.
    station.command(T0, associate()).unwrap();
    station.handle_pdu(T0, &lldpad);
    assert_eq!(said(&mut station), "tx Associate, Associated");
    station.command(T0, request(Command::Associate, &[entry(0, 0x33, 200, None)])).unwrap();
    assert_eq!(said(&mut station), "tx DeAssociate");
    // It holds the old values until toutKeepAlive, and is left alone so long.
    station.handle_pdu(T0, &success(Command::DeAssociate));
    assert_eq!(said(&mut station), "Gone Replaced retry");
    station.handle_pdu(T0, &withdrawal());
    assert_eq!(timeout(&mut station), T0 + Timing::default().tout_keep_alive() + Duration::from_secs(1));
    assert_eq!((said(&mut station), state(&station)), ("tx Associate".into(), "Processing".into()));
    // Another format is another VSI to it.
    let mut station = associated();
    station.handle_pdu(T0, &lldpad);
    station.command(T0, request(Command::Associate, &[entry(0, 0, 200, None)])).unwrap();
    station.handle_pdu(T0, &success(Command::DeAssociate));
    assert_eq!(said(&mut station), "tx DeAssociate, Gone Replaced -, tx Associate");
}

#[test]
fn commands_given_meanwhile() {
    // The latest wins, but a De-Associate is not skipped.
    let mut station = in_state("Processing");
    station.command(T0, request(Command::Associate, &[entry(0, 0x33, 7, None)])).unwrap();
    station.command(T0, request(Command::DeAssociate, &[GRANTED()])).unwrap();
    station.command(T0, request(Command::Associate, &[entry(0, 0x33, 8, None)])).unwrap();
    station.command(T0, request(Command::Associate, &[GRANTED()])).unwrap();
    assert_eq!(said(&mut station), "");
    station.handle_pdu(T0, &success(Command::Associate));
    assert_eq!(said(&mut station), "Associated, tx DeAssociate");
    station.handle_pdu(T0, &success(Command::DeAssociate));
    assert_eq!(said(&mut station), "Gone Commanded -, tx Associate");
    station.handle_pdu(T0, &success(Command::Associate));
    assert_eq!((said(&mut station).as_str(), state(&station).as_str()), ("Associated", "Confirmed"));
    // A De-Associate is sent even if the command before it was not answered.
    let mut station = in_state("Processing");
    station.command(T0, request(Command::DeAssociate, &[GRANTED()])).unwrap();
    timeout(&mut station);
    assert_eq!(said(&mut station), "Refused Timeout -, tx DeAssociate");
    timeout(&mut station);
    assert_eq!((said(&mut station).as_str(), state(&station).as_str()), ("Gone Commanded -", "gone"));
}

#[test]
fn without_a_bridge() {
    let mut station = associated();
    station.set_ready(T0, false);
    station.command(T0, request(Command::Associate, &[entry(0, 0x33, 200, None)])).unwrap();
    assert_eq!((said(&mut station).as_str(), state(&station).as_str()), ("", "Confirmed"));
    station.set_ready(T0, true);
    assert_eq!(said(&mut station), "tx Associate");
    // What is confirmed is de-associated even so; what is not known and cannot be asked is gone.
    let mut station = associated();
    station.set_ready(T0, false);
    station.command(T0, request(Command::DeAssociate, &[GRANTED()])).unwrap();
    assert_eq!(said(&mut station), "tx DeAssociate");
    let mut station = Station::new(StationConfig::default(), Timing::default());
    station.command(T0, request(Command::DeAssociate, &[GRANTED()])).unwrap();
    assert_eq!((said(&mut station).as_str(), state(&station).as_str()), ("Gone Commanded -", "gone"));
    // With a bridge it is asked about: it may hold the VSI from before our restart.
    let mut station = ready();
    station.command(T0, request(Command::DeAssociate, &[GRANTED()])).unwrap();
    assert_eq!(said(&mut station), "tx DeAssociate");
}

#[test]
fn retries_grow_and_stop_growing() {
    let mut station = in_state("Processing");
    let mut now = T0;
    let mut waits = vec![];
    for _ in 0..8 {
        station.handle_pdu(now, &answer(Command::DeAssociate, false, false, 4));
        let at = station.poll_timeout().unwrap();
        waits.push((at - now).as_secs());
        now = at;
        station.handle_timeout(now);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
    assert_eq!(station.vsi(&id()).unwrap().failures, 8);
    // A new command starts from the shortest wait.
    station.handle_pdu(now, &answer(Command::DeAssociate, false, false, 4));
    station.command(now, associate()).unwrap();
    station.handle_pdu(now, &answer(Command::DeAssociate, false, false, 4));
    assert_eq!(station.poll_timeout(), Some(now + Duration::from_secs(1)));
    station.handle_timeout(now + Duration::from_secs(1));
    station.handle_pdu(now, &success(Command::Associate));
    let view = station.vsi(&id()).unwrap();
    assert_eq!((view.failures, view.last_error), (0, None));
}

#[test]
fn an_answer_of_another_kind_is_no_answer() {
    let mut station = associated();
    timeout(&mut station);
    drain(&mut station);
    let deadline = station.poll_timeout();
    for command in [Command::PreAssociate, Command::PreAssociateRr] {
        station.handle_pdu(T0, &success(command));
        assert_eq!((said(&mut station), state(&station)), (String::new(), "KeepAlive".into()));
    }
    assert_eq!((station.stats().stale, station.poll_timeout()), (2, deadline));
    // The same while a command is outstanding.
    let mut station = in_state("Processing");
    station.handle_pdu(T0, &success(Command::PreAssociate));
    assert_eq!((said(&mut station), state(&station)), (String::new(), "Processing".into()));
}

#[test]
fn groups_wait_until_they_are_agreed_on() {
    let group = [entry(7, 0x33, 0, None)];
    let mut station = ready();
    station.command(T0, request(Command::Associate, &group)).unwrap();
    assert_eq!((said(&mut station), state(&station)), ("Refused NoGroups retry".into(), "BackOff".into()));
    assert_eq!(station.poll_timeout(), Some(T0 + StationConfig::default().hard_retry));
    station.set_group_capable(T0, true);
    assert_eq!((said(&mut station), state(&station)), ("tx Associate".into(), "Processing".into()));
    let granted = [entry(7, 0x33, 200, None)];
    station.handle_pdu(T0, &pdu(Command::Associate, Status::Response(Verdict::SUCCESS), &granted));
    assert_eq!(said(&mut station), "Associated");
    assert_eq!(station.vsi(&id()).unwrap().filter, filter(&granted));
    // Agreed on no more: it lives on, and can be ended.
    station.set_group_capable(T0, false);
    timeout(&mut station);
    assert_eq!(said(&mut station), "tx Associate");
    station.handle_pdu(T0, &pdu(Command::Associate, Status::Response(Verdict::SUCCESS), &granted));
    station.command(T0, request(Command::DeAssociate, &granted)).unwrap();
    assert_eq!(said(&mut station), "tx DeAssociate");
}

#[test]
fn what_stands_is_not_lost_for_groups() {
    let mut station = associated();
    station.command(T0, request(Command::Associate, &[entry(7, 0x33, 0, None)])).unwrap();
    assert_eq!(
        (said(&mut station), state(&station)),
        ("Kept InvalidVidGroupOrMac".into(), "Confirmed".into())
    );
}
