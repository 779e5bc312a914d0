use vdp::Command;

use super::{
    super::{
        respond,
        wire::{
            Progress, Refusal, header,
            tests::{ASSOCIATE, GETLINK, ask, octets},
        },
    },
    *,
};

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

fn guests() -> Guests {
    let mut guests = Guests::new(4);
    guests.set_uplink(Some(3));
    guests
}

fn with(command: u8) -> Ask {
    ask(&ASSOCIATE.replace("0500060002", &format!("05000600{command:02x}")))
}

fn id() -> VsiId {
    ask(ASSOCIATE).id
}

/// Associated, and the core knows.
fn associated() -> Guests {
    let mut guests = guests();
    guests.ask(at(0), 77, with(2)).unwrap();
    assert_eq!(guests.take(), [with(2)]);
    guests.settle(&id(), Command::Associate, Progress::Done);
    guests
}

#[test]
fn a_start_from_request_to_done() {
    let mut guests = guests();
    let (set, get) = (octets(ASSOCIATE), octets(GETLINK));
    let answers = respond(&mut guests, at(0), &set);
    assert_eq!((answers.len(), answers[0].len(), &answers[0][16..20]), (1, 36, &[0; 4][..]));
    // In progress, whatever the core does or does not.
    assert_eq!(respond(&mut guests, at(100), &get)[0].len(), 68);
    assert_eq!(guests.take().len(), 1);
    assert!(guests.take().is_empty(), "told once");
    guests.settle(&id(), Command::PreAssociate, Progress::Done);
    assert_eq!(respond(&mut guests, at(100), &get)[0].len(), 68, "of another command");
    guests.settle(&id(), Command::Associate, Progress::Done);
    assert_eq!(respond(&mut guests, at(200), &get)[0].len(), 76);
    // Both in one datagram, as a batch may come.
    assert_eq!(respond(&mut guests, at(300), &[set, get].concat()).len(), 2);
}

#[test]
fn every_request_is_answered_and_nothing_else() {
    let mut guests = guests();
    let set = octets(ASSOCIATE);
    for end in 16..set.len() {
        let answers = respond(&mut guests, at(0), &set[..end]);
        assert_eq!((answers.len(), &answers[0][16..20]), (1, &(-22_i32).to_ne_bytes()[..]), "{end}");
    }
    let mut unasked = set.clone();
    unasked[6] = 0;
    assert!(respond(&mut guests, at(0), &unasked).is_empty());
    // An answer of ours is no request.
    let answer = super::super::wire::answer(&header(&set).unwrap(), Ok(()));
    assert!(respond(&mut guests, at(0), &answer).is_empty());
    assert!(guests.take().is_empty());
    guests.set_uplink(None);
    assert_eq!(respond(&mut guests, at(0), &set)[0][16..20], (-19_i32).to_ne_bytes());
    assert_eq!(respond(&mut guests, at(0), &octets(GETLINK))[0][16..20], (-19_i32).to_ne_bytes());
}

#[test]
fn a_stop_is_done_at_once() {
    let mut guests = associated();
    guests.ask(at(5), 77, with(3)).unwrap();
    assert_eq!(guests.outcome(3).unwrap(), [(id(), Progress::Done)]);
    assert_eq!(guests.take()[0].command, Command::DeAssociate);
    // It is no news to libvirt, and what it asks afterwards is answered.
    guests.withdraw(&id());
    guests.end(&id());
    assert!(guests.notices(at(6)).is_empty());
    assert_eq!(guests.outcome(3).unwrap().len(), 1);
    guests.sweep(at(60_000), |_| true);
    assert!(guests.outcome(3).unwrap().is_empty());
    // Of one nobody knows it is done as well.
    guests.ask(at(0), 77, with(3)).unwrap();
    assert_eq!(guests.outcome(3).unwrap(), [(id(), Progress::Done)]);
}

#[test]
fn every_withdrawal_is_told_and_a_flood_is_not() {
    let mut guests = associated();
    let mut told = Vec::new();
    for ms in (0..60_000).step_by(20) {
        // A bridge that withdraws again and again, and a libvirt that asks again each time it is told.
        guests.withdraw(&id());
        for notice in guests.notices(at(ms)) {
            assert_eq!((notice.port, &notice.ask), (77, &with(2)));
            told.push(ms);
            guests.ask(at(ms), 77, with(2)).unwrap();
            guests.settle(&id(), Command::Associate, Progress::Done);
        }
        if let Some(due) = guests.poll_timeout() {
            assert!(due > at(ms) && due <= at(ms + 10_000), "{due:?} at {ms}");
        }
    }
    assert_eq!(told, [0, 20, 40, 10_000, 20_000, 30_000, 40_000, 50_000]);
    // Calm again, each is told at once.
    for ms in [100_000, 104_000, 108_000] {
        guests.withdraw(&id());
        assert_eq!(guests.notices(at(ms)).len(), 1);
        guests.settle(&id(), Command::Associate, Progress::Done);
    }
}

#[test]
fn who_was_not_told_of_a_vsi_is_not_told_that_it_is_gone() {
    let mut guests = guests();
    guests.ask(at(0), 77, with(2)).unwrap();
    guests.withdraw(&id());
    assert!(guests.notices(at(1)).is_empty(), "it was never there");
    guests.ask(at(0), 77, with(0)).unwrap();
    guests.settle(&id(), Command::PreAssociate, Progress::Done);
    guests.withdraw(&id());
    assert!(guests.notices(at(1)).is_empty(), "a pre-associated guest is not registered yet");
    let mut guests = associated();
    for _ in 0..3 {
        guests.withdraw(&id());
        guests.notices(at(2));
        guests.settle(&id(), Command::Associate, Progress::Done);
    }
    guests.withdraw(&id());
    assert!(guests.notices(at(3)).is_empty());
    guests.settle(&id(), Command::Associate, Progress::Done);
    assert_eq!(guests.poll_timeout(), None, "it is there again");
}

#[test]
fn refusals_stand_until_asked_again() {
    let mut guests = guests();
    guests.ask(at(0), 77, with(2)).unwrap();
    guests.settle(&id(), Command::Associate, Progress::Refused(4));
    assert_eq!(guests.outcome(3).unwrap(), [(id(), Progress::Refused(4))]);
    guests.ask(at(1), 77, with(2)).unwrap();
    assert_eq!(guests.outcome(3).unwrap(), [(id(), Progress::Waiting)]);
    guests.take();
    assert!(guests.sweep(at(30_000), |_| false).is_empty());
    assert!(guests.sweep(at(30_002), |_| true).is_empty(), "its macvtap is there");
    assert_eq!(guests.sweep(at(30_002), |_| false), [id()]);
}

#[test]
fn the_table_is_bounded() {
    let mut guests = guests();
    for n in 0..6_u8 {
        let other = |text: &str| text.replace("aaa4f", &format!("aaa{n:02x}"));
        let taken = guests.ask(at(0), 77, ask(&other(ASSOCIATE)));
        assert_eq!(taken, if n < 4 { Ok(()) } else { Err(Refusal::Full) });
        let stop = ask(&other(ASSOCIATE).replace("0500060002", "0500060003"));
        assert_eq!(guests.ask(at(0), 77, stop), Ok(()), "what ends is never refused");
    }
}

#[test]
fn an_answer_holds_what_an_attribute_can() {
    let mut guests = Guests::new(5000);
    guests.set_uplink(Some(3));
    let mut ask = with(2);
    for n in 0_u16..5000 {
        let mut octets = [0; 16];
        octets[..2].copy_from_slice(&n.to_be_bytes());
        ask.id = VsiId::local(octets);
        guests.ask(at(0), 77, ask.clone()).unwrap();
        guests.settle(&ask.id, Command::Associate, Progress::Done);
    }
    let answer = &respond(&mut guests, at(1), &octets(GETLINK))[0];
    let length = u16::from_ne_bytes([answer[32], answer[33]]);
    assert_eq!(usize::from(length) + 32, answer.len());
    assert!(guests.outcome(3).unwrap().iter().any(|(id, _)| *id == ask.id), "the last one asked for");
}
