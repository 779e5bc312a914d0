//! A device that remembers what is written to it.

use dcbx::{
    Config, Dcbx, Mode, PriorityTable,
    config::{Applications, Ets, PfcConfig},
    ieee::{ClassCount, PfcCapability, SelectionAlgorithm, Selector},
};
use ether::{MacAddr, Pcp};
use lldp::OrgTlv;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

/// Refuses a write that changes nothing.
struct Recorder {
    is: Current,
    writes: Vec<Write>,
    reads: usize,
}

impl Device for Recorder {
    fn read(&mut self) -> io::Result<Current> {
        self.reads += 1;
        Ok(self.is.clone())
    }

    fn write(&mut self, write: &Write) -> io::Result<()> {
        let before = self.is.clone();
        match write {
            Write::Dcbx(bits) => self.is.dcbx = Some(*bits),
            Write::Ets(table) => self.is.ets = Some(*table),
            Write::Pfc(set) => self.is.pfc = Some(*set),
            Write::Add(application) => self.is.applications.push(*application),
            Write::Remove(application) => self.is.applications.retain(|is| is != application),
        }
        assert_ne!(before, self.is, "{write} changes nothing");
        self.writes.push(write.clone());
        Ok(())
    }
}

fn device() -> Recorder {
    let is = Current {
        dcbx: Some(HOST | IEEE),
        ets: Some(EtsTable::STRICT),
        pfc: Some(PrioritySet(0)),
        applications: Vec::new(),
    };
    Recorder { is, writes: Vec::new(), reads: 0 }
}

fn app(protocol: u16, priority: u8) -> Application {
    Application { priority: Pcp::new(priority).unwrap(), selector: Selector::EtherType, protocol }
}

fn wanted(pfc: u8, list: &[Application]) -> Settings {
    Settings { ets: None, pfc: Some(PrioritySet(pfc)), applications: Some(list.to_vec()) }
}

#[test]
fn only_what_differs_is_written() {
    let (mut device, mut ours) = (device(), Vec::new());
    let report = apply(&mut device, &wanted(8, &[app(0x8906, 3)]), &mut ours, false);
    assert_eq!(
        (report.state, report.changes),
        (DeviceState::Written, vec!["PFC: 3".into(), "application + FCoE 3".into()])
    );
    let report = apply(&mut device, &wanted(8, &[app(0x8906, 3)]), &mut ours, false);
    assert_eq!((report.state, report.changes.len(), device.writes.len()), (DeviceState::InStep, 0, 2));
    let report = apply(&mut device, &wanted(8, &[app(0x8906, 4)]), &mut ours, true);
    assert_eq!((report.state, report.changes.len(), device.writes.len()), (DeviceState::WouldWrite, 2, 2));
}

#[test]
fn what_others_gave_stays() {
    let (mut device, mut ours) = (device(), Vec::new());
    device.is.applications = vec![app(1, 1), app(0x8906, 5)];
    apply(&mut device, &wanted(0, &[app(0x8906, 3), app(0x8914, 3)]), &mut ours, false);
    assert_eq!(device.is.applications, [app(1, 1), app(0x8906, 3), app(0x8914, 3)]);
    apply(&mut device, &wanted(0, &[app(0x8914, 3)]), &mut ours, false);
    assert_eq!(device.is.applications, [app(1, 1), app(0x8914, 3)]);
}

#[test]
fn devices_that_are_left_alone() {
    let everything = Settings { ets: Some(EtsTable::STRICT), ..wanted(8, &[app(1, 1)]) };
    for bits in [FIRMWARE, HOST | FIRMWARE, IEEE, 0] {
        let mut device = device();
        device.is.dcbx = Some(bits);
        let report = apply(&mut device, &everything, &mut Vec::new(), false);
        assert_eq!((report.state, device.writes.len()), (DeviceState::Firmware, 0), "{bits:#x}");
    }
    let mut device = device();
    (device.is.ets, device.is.pfc) = (None, None);
    let report = apply(&mut device, &everything, &mut Vec::new(), false);
    assert_eq!(report.note.as_deref(), Some("the device has no ETS and no PFC"));
    assert_eq!(device.writes, [Write::Add(app(1, 1))]);
    // One that is used to CEE is told first, but only if there is something to tell.
    device.is.dcbx = Some(HOST | 0x04);
    apply(&mut device, &everything, &mut vec![app(1, 1)], false);
    assert_eq!(device.writes.len(), 1);
    apply(&mut device, &wanted(0, &[app(2, 1)]), &mut Vec::new(), false);
    assert_eq!(device.writes[1..], [Write::Dcbx(HOST | IEEE), Write::Add(app(2, 1))]);
}

/// A thousand times the peer comes, changes, or goes; nothing is ever written that was so before, and nothing is written
/// because it went. The device refuses both.
#[test]
fn no_write_without_a_difference_over_a_thousand_flaps() {
    let ours = Config {
        ets: Ets { mode: Mode::Willing, max_classes: ClassCount::MAX, table: EtsTable::STRICT },
        pfc: PfcConfig { mode: Mode::Willing, capability: PfcCapability::ALL, enabled: PrioritySet(0) },
        applications: Applications { mode: Mode::Willing, list: Vec::new() },
        ..Config::default()
    };
    let (here, there) = (MacAddr(2, 0, 0, 0, 0, 1), MacAddr(2, 0, 0, 0, 0, 2));
    let mut random = StdRng::seed_from_u64(8);
    let (mut dcbx, mut device, mut given) = (Dcbx::new(ours, here), device(), Vec::new());
    let (mut flaps, mut writes) = (0, 0);
    while flaps < 1_000 {
        let gone = random.random_bool(0.5);
        if gone {
            dcbx.handle_nobody();
        } else {
            let share = [30, 50, 70][random.random_range(0..3)];
            let mut table = EtsTable::STRICT;
            table.classes = PriorityTable::new([0, 0, 0, 1, 1, 0, 0, 0]).unwrap();
            (table.bandwidth[0], table.bandwidth[1]) = (share, 100 - share);
            (table.algorithms[0], table.algorithms[1]) = (SelectionAlgorithm::Ets, SelectionAlgorithm::Ets);
            let pfc = PrioritySet(1 << random.random_range(2..5));
            let list = vec![app(0x8906, random.random_range(0..2))];
            let theirs = Config {
                ets: Ets { mode: Mode::Authoritative, max_classes: ClassCount::MAX, table },
                pfc: PfcConfig { mode: Mode::Authoritative, capability: PfcCapability::ALL, enabled: pfc },
                applications: Applications { mode: Mode::Authoritative, list },
                ..Config::default()
            };
            let peer = Dcbx::new(theirs, there);
            let said: Vec<_> =
                peer.said().map(|(key, info)| OrgTlv::new(key, info.clone()).unwrap()).collect();
            dcbx.handle_peer(there, said.iter());
        }
        flaps += 1;
        let settings = dcbx.status().settings();
        let report = apply(&mut device, &settings, &mut given, false);
        assert_ne!(report.state, DeviceState::Failed);
        assert!(!gone || device.writes.len() == writes, "a peer that goes resets nothing");
        writes = device.writes.len();
        assert_eq!(apply(&mut device, &settings, &mut given, false).state, DeviceState::InStep);
        assert_eq!(device.writes.len(), writes);
        if let Some(pfc) = settings.pfc {
            assert_eq!(device.is.pfc, Some(pfc));
        }
    }
    assert!(writes > 100 && device.reads == 2_000, "{writes}");
}
