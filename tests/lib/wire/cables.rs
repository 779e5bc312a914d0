//! Frames on cables and through machines.

use std::time::Duration;

use ether::EtherType;
use evbd::{Input, PortId};
use rand::RngExt;

use super::{Arrived, DATA, Due, Faults, Wire};

impl Wire {
    /// Pulls or plugs a cable; both ends notice.
    pub fn plug(&mut self, cable: usize, plugged: bool) {
        self.cables[cable].plugged = plugged;
        self.cables[cable].life += u32::from(!plugged);
        for (machine, port) in self.cables[cable].ends {
            self.link(machine, port, plugged);
        }
    }

    /// Pulls two cables at a machine, and puts each where the other was.
    pub fn swap(&mut self, machine: usize, cables: [usize; 2]) {
        for cable in cables {
            self.plug(cable, false);
        }
        let at = cables.map(|cable| {
            self.cables[cable].ends.iter().position(|end| end.0 == machine).expect("an end there")
        });
        let ports = [self.cables[cables[0]].ends[at[0]], self.cables[cables[1]].ends[at[1]]];
        for (n, cable) in cables.into_iter().enumerate() {
            self.cables[cable].ends[at[n]] = ports[1 - n];
            self.machines[machine].cables.insert(ports[1 - n].1, cable);
            self.plug(cable, true);
        }
    }

    /// Pulls a cable at a machine and plugs it in elsewhere. The port it was at is up as any without a cable.
    pub fn move_cable(&mut self, cable: usize, machine: usize, to: (usize, &str)) {
        self.plug(cable, false);
        let port = self.machines[to.0].port(to.1);
        let end = self.cables[cable].ends.iter_mut().find(|end| end.0 == machine).expect("an end there");
        let before = std::mem::replace(end, (to.0, port));
        self.machines[before.0].cables.remove(&before.1);
        self.machines[to.0].cables.insert(port, cable);
        self.link(before.0, before.1, true);
        self.plug(cable, true);
    }

    /// Changes how a cable treats frames from now on.
    pub fn weather(&mut self, cable: usize, faults: Faults) {
        self.cables[cable].faults = faults;
    }

    /// Has a frame come to a port of a port extender from outside.
    pub fn enter(&mut self, machine: usize, interface: &str, frame: Vec<u8>) {
        let port = self.machines[machine].port(interface);
        self.come(machine, port, frame);
    }

    /// Puts a frame on the wire as if it had come to a port.
    pub fn inject(&mut self, machine: usize, interface: &str, frame: Vec<u8>) {
        let port = self.machines[machine].port(interface);
        self.input(machine, Input::Frame { port, frame });
    }

    /// Has a frame come to a port as from its cable, just now.
    pub fn arrive(&mut self, machine: usize, interface: &str, frame: Vec<u8>) {
        let port = self.machines[machine].port(interface);
        if let Some(&cable) = self.machines[machine].cables.get(&port) {
            let life = self.cables[cable].life;
            self.happen(Due::Frame { cable, life, machine, port, frame });
        }
    }

    /// Sends a frame of [`DATA`] by the data path of a port; false if there is none, or it has no S-VLAN.
    pub fn send(&mut self, machine: usize, interface: &str, frame: &[u8]) -> bool {
        let m = &self.machines[machine];
        let found = m.core.ports().find(|(_, name, _)| *name == interface).map(|(port, _, _)| port);
        let Some(port) = found.filter(|port| !m.dead && m.through_svlan(*port, frame).is_some()) else {
            return false;
        };
        self.transmit(machine, port, frame);
        true
    }

    /// A frame has come to a port: by E-channels and S-VLANs to where it is for.
    pub(super) fn come(&mut self, machine: usize, port: PortId, frame: Vec<u8>) {
        let m = &mut self.machines[machine];
        if m.dead {
            return;
        }
        let Some((port, frame)) = m.by_svlan(port, frame) else {
            m.unknown += 1;
            return;
        };
        if m.forwarding.is_none() && is_data(&frame) {
            return self.arrive_at(machine, port, frame);
        }
        if self.machines[machine].sends_back(port, &frame) {
            return self.transmit(machine, port, &frame);
        }
        let m = &mut self.machines[machine];
        let Some(forwarding) = &mut m.forwarding else {
            return self.input(machine, Input::Frame { port, frame });
        };
        let Some(arrival) = forwarding.arrival(port, frame) else { return };
        let copies = forwarding.process(self.now, &arrival);
        for (port, frame) in copies {
            if self.machines[machine].cables.contains_key(&port) {
                self.put(machine, port, &frame);
            } else if is_data(&frame) {
                self.arrive_at(machine, port, frame);
            }
        }
        let m = &self.machines[machine];
        if let Some(port) = arrival.port.filter(|port| m.hears(*port, &arrival.frame)) {
            self.input(machine, Input::Frame { port, frame: arrival.frame });
        }
    }

    /// The journey of a frame of [`DATA`] is over.
    fn arrive_at(&mut self, machine: usize, port: PortId, frame: Vec<u8>) {
        let port = self.machines[machine].name(port);
        self.machines[machine].received.push(Arrived { at: self.now, port, frame });
    }

    /// A port sends a frame.
    pub(super) fn transmit(&mut self, machine: usize, port: PortId, frame: &[u8]) {
        let m = &self.machines[machine];
        let Some((port, frame)) = m.through_svlan(port, frame) else { return };
        let (port, frame) = match &m.forwarding {
            Some(forwarding) => forwarding.out(port, &frame),
            None => (port, frame),
        };
        self.put(machine, port, &frame);
    }

    /// A frame goes onto the cable at a port. Those of [`DATA`] may be lost, but are neither repeated nor overtaken.
    fn put(&mut self, machine: usize, port: PortId, frame: &[u8]) {
        let Some(&number) = self.machines[machine].cables.get(&port) else { return };
        let cable = &self.cables[number];
        let (mut faults, life) = (cable.faults, cable.life);
        if !cable.plugged {
            return;
        }
        let other = cable.ends.iter().find(|end| **end != (machine, port)).copied();
        let Some((machine, port)) = other else { return };
        if is_data(frame) {
            faults = Faults { loss: faults.loss, ..Faults::NONE };
        }
        self.frames += 1;
        let copies = if self.random.random_bool(faults.loss) {
            0
        } else {
            1 + u32::from(self.random.random_bool(faults.duplication))
        };
        for _ in 0..copies {
            let late = self.random.random_range(Duration::ZERO..=faults.jitter);
            let at = self.now + Duration::from_micros(10) + late;
            self.push(at, Due::Frame { cable: number, life, machine, port, frame: frame.to_vec() });
        }
    }
}

/// Whether a frame is one of [`DATA`], whatever tags it has.
fn is_data(frame: &[u8]) -> bool {
    let mut rest = frame.get(12..).unwrap_or_default();
    while let Some((ethertype, after)) = rest.split_first_chunk() {
        let tag = match EtherType(u16::from_be_bytes(*ethertype)) {
            EtherType::E_TAG => 6,
            EtherType::C_VLAN | EtherType::S_VLAN => 2,
            other => return other == DATA,
        };
        rest = after.get(tag..).unwrap_or_default();
    }
    false
}
