//! A day on a wire that is not quite good: keep-alives, probes and LLDP go on for 24 hours, sides restart, VMs come and
//! go, and at every hour's end all agree and every frame of a VM has gone where it should.

use std::time::Duration;

use ether::MacAddr;
use evb_tests::wire::{Faults, Wire};

use super::{BRIDGE, STATION, agreed, bridge, mac, station};

const VMS: u8 = 8;

#[test]
fn a_day() {
    let faults = Faults { loss: 0.01, duplication: 0.01, ..Faults::NONE };
    let mut wire = Wire::new(24);
    wire.machine(&station(VMS, "veb"));
    wire.machine(&(bridge(true) + "[[port]]\ninterface = \"far\"\nkind = \"lan\"\ntagged = [100]\n"));
    let cable = wire.cable((STATION, "up"), (BRIDGE, "down"), faults);
    wire.forwards(BRIDGE);
    wire.power(STATION);
    wire.power(BRIDGE);
    let mut most = 0;
    for hour in 0..24 {
        for minute in 0..60 {
            wire.run_for(Duration::from_secs(60));
            let to = mac(1 + minute % VMS);
            let gates = wire.reach(BRIDGE, "far", to, 100);
            assert_eq!(gates, ["down"], "hour {hour}, minute {minute}: what is sent to a VM from far away");
        }
        match hour % 4 {
            0 => wire.restart(BRIDGE),
            1 => wire.kill(STATION),
            2 => wire.plug(cable, false),
            _ => wire.interface(STATION, "vm3", false),
        }
        wire.run_for(Duration::from_secs(100));
        match hour % 4 {
            1 => wire.start(STATION),
            2 => wire.plug(cable, true),
            3 => wire.interface(STATION, "vm3", true),
            _ => {}
        }
        let limit = wire.now() + Duration::from_secs(300);
        assert!(wire.run_until(limit, |wire| agreed(wire, VMS)), "hour {hour}: they do not agree again");
        let all: Vec<MacAddr> = (1..=VMS).map(mac).collect();
        let admitted: Vec<MacAddr> =
            wire.get(BRIDGE).admitted("down").into_iter().map(|(mac, _)| mac).collect();
        assert_eq!(admitted, all, "hour {hour}: each once");
        if hour == 3 {
            most = wire.frames;
        }
    }
    assert!(wire.frames < 8 * most, "{} frames: more by the hour", wire.frames);
}
