//! Random relays, random edits, random frames: the relay and the reference must agree on every copy, every reason,
//! every counter and every address.
//!
//! A run is [`CASES`] cases of [`FRAMES`] frames each; `EVBD_FRAMES` asks for another number of frames, `EVBD_SEED` for
//! one case. A case that fails is made smaller before it is shown.

#![cfg(test)]

mod cases;
mod listeners;
mod packets;
mod policy;
mod reference;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    time::Duration,
};

use cases::{LIMITS, PORTS, Step};
use ether::Instant;
use hairpin::{Control, Direction, DropReason, MirrorCopy, PortId, Relay, RelayKind, Verdict, VsiCounters};
use packets::PACKETS;
use reference::Reference;

/// Frames of one case.
const FRAMES: usize = 1000;
/// Cases of a run: together two million frames.
const CASES: u64 = 2000;

#[test]
fn relay_and_reference_agree() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let cases = number("EVBD_FRAMES").map_or(CASES, |frames| frames.div_ceil(FRAMES as u64));
    let seeds = number("EVBD_SEED").map_or(0..cases, |seed| seed..seed + 1);
    let mut seen = BTreeSet::new();
    for seed in seeds {
        let (kind, steps) = cases::case(seed, FRAMES);
        if let Some(fault) = disagreement(kind, &steps, &mut seen) {
            let steps = smallest(kind, steps);
            let fault = disagreement(kind, &steps, &mut seen).unwrap_or(fault);
            panic!("EVBD_SEED={seed}\n{kind:?}\n{}\n{fault}", show(&steps));
        }
    }
    // What does not happen proves nothing.
    let rare = ["mirrored", "taken_over", "held", "withheld", "reflected"];
    // Those after these are of E-channels, which the suite `extension` has.
    let all = DropReason::NAMES.into_iter().take(DropReason::ChannelTag as usize);
    let all = all.filter(|name| *name != "malformed").chain(rare);
    let missing: Vec<_> = all.filter(|name| !seen.contains(name)).collect();
    assert!(cases < CASES || missing.is_empty(), "never seen: {missing:?}");
}

fn show(steps: &[Step]) -> String {
    steps.iter().map(|step| format!("  {step:?}")).collect::<Vec<_>>().join("\n")
}

/// Fewer steps that still fail.
fn smallest(kind: RelayKind, mut steps: Vec<Step>) -> Vec<Step> {
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            if disagreement(kind, &fewer, &mut BTreeSet::new()).is_some() {
                steps = fewer;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    steps
}

/// Plays `steps`; what relay and reference do not agree on. Adds to `seen` what happened.
fn disagreement(kind: RelayKind, steps: &[Step], seen: &mut BTreeSet<&'static str>) -> Option<String> {
    let relay = Relay::new(LIMITS);
    let mut control = Control::new(kind, &LIMITS);
    let mut reference = Reference::new(kind, LIMITS);
    let mut verdict = Verdict::new(PORTS);
    let mut reader = relay.reader();
    let mut now = Instant::from_secs(1000);
    for step in steps {
        match step {
            Step::Frame { ingress, frame, packet } => {
                let packet = &PACKETS[*packet];
                let frame = frame.with(packet);
                let taken = |reference: &Reference| reference.vsis.iter().any(|vsi| vsi.taken.is_some());
                let was_taken = taken(&reference);
                let expected = reference.process(now, *ingress, &frame, packet);
                let traced = relay.trace(now, *ingress, &frame, false);
                relay.process(reader.load(), now, *ingress, &frame, &mut verdict);
                let mut copies = verdict.copies().to_vec();
                copies.sort_unstable_by_key(|copy| copy.port);
                let mut mirrors = verdict.mirrors().to_vec();
                mirrors
                    .sort_by_key(|mirror: &MirrorCopy| (mirror.direction == Direction::Egress, mirror.vsi));
                seen.extend(verdict.mirrors().first().map(|_| "mirrored"));
                let got = (verdict.outcome(), copies, mirrors);
                if got != expected {
                    return Some(format!(
                        "{frame:?} on {ingress}\nrelay     {got:?}\nreference {expected:?}"
                    ));
                }
                // A trace leaves out what the frame itself teaches about where it goes.
                let teaches =
                    packet.says.is_some() || frame.src == frame.dst || was_taken || taken(&reference);
                if !teaches && (traced.outcome != got.0 || traced.copies.len() != got.1.len()) {
                    return Some(format!("{frame:?} on {ingress}\nrelay {got:?}\ntrace {traced:?}"));
                }
                continue;
            }
            Step::Wait(micros) => {
                now += Duration::from_micros(*micros);
                continue;
            }
            Step::Sweep => {
                relay.sweep(now);
                reference.sweep(now);
                continue;
            }
            Step::SetPort(config) => {
                if control.set_port(config.clone()).is_ok() {
                    reference.set_port(config.clone());
                }
            }
            Step::RemovePort(id) => {
                control.remove_port(*id);
                reference.remove_port(*id);
            }
            Step::Open(key, entry) => {
                if control.open_vsi(*key, entry.clone()).is_ok() {
                    reference.open_vsi(*key, entry.clone());
                }
            }
            Step::Close(key) => {
                control.close_vsi(*key);
                reference.close_vsi(*key);
            }
            Step::Mode(mode) => {
                if control.set_mode(*mode).is_ok() {
                    reference.set_mode(*mode);
                }
            }
        }
        relay.publish(control.snapshot());
    }
    for tally in reference.tally.values() {
        seen.extend(tally.drops.keys().map(|reason| reason.name()));
        let counts = [("held", tally.held), ("withheld", tally.withheld), ("reflected", tally.reflected)];
        seen.extend(counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, _)| name));
    }
    for vsi in &reference.vsis {
        seen.extend(vsi.drops.keys().map(|reason| reason.name()));
        seen.extend((vsi.taken_over > 0).then_some("taken_over"));
    }
    tables(&relay, &reference, now)
}

/// Compares what is left at the end: addresses and counters.
fn tables(relay: &Relay, reference: &Reference, now: Instant) -> Option<String> {
    let mut entries = relay.fdb_entries(now);
    entries.sort_unstable_by_key(|entry| (entry.mac, entry.vid));
    let expected = reference.fdb(now);
    if entries != expected {
        return Some(format!("addresses\nrelay     {entries:?}\nreference {expected:?}"));
    }
    let by_name = |drops: &BTreeMap<DropReason, u64>| -> BTreeMap<&'static str, u64> {
        DropReason::ALL
            .into_iter()
            .map(|reason| (reason.name(), drops.get(&reason).copied().unwrap_or(0)))
            .collect()
    };
    for port in (0..PORTS).map(PortId) {
        let shown = relay.stats().port(port).unwrap();
        let tally = reference.tally.get(&port).cloned().unwrap_or_default();
        let got = (
            (shown.rx_frames, shown.rx_bytes, shown.forwarded, shown.punted),
            (shown.reflected, shown.echoes, shown.moves, shown.held, shown.withheld),
        );
        let expected = (
            (tally.rx_frames, tally.rx_bytes, tally.forwarded, tally.punted),
            (tally.reflected, tally.echoes, tally.moves, tally.held, tally.withheld),
        );
        if !shown.adds_up() || got != expected || shown.drops != by_name(&tally.drops) {
            return Some(format!("counters of port {port}\nrelay     {shown:?}\nreference {tally:?}"));
        }
    }
    for vsi in &reference.vsis {
        let expected = VsiCounters {
            rx_frames: vsi.rx.0,
            rx_octets: vsi.rx.1,
            tx_frames: vsi.tx.0,
            tx_octets: vsi.tx.1,
            drops: by_name(&vsi.drops),
            taken_over: vsi.taken_over,
            taken_by: vsi.taken,
        };
        let shown = relay.vsi(vsi.key);
        if shown.as_ref() != Some(&expected) {
            return Some(format!("counters of {:?}\nrelay     {shown:?}\nreference {expected:?}", vsi.key));
        }
    }
    None
}
