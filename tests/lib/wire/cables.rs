//! Frames on cables and through machines.

use std::time::Duration;

use ether::FrameView;
use evbd::{Input, PortId};
use rand::RngExt;

use super::{DATA, Due, Faults, Wire, extension::Step, forwarding::Fate};

impl Wire {
    /// Pulls or plugs a cable; both ends notice.
    pub fn plug(&mut self, cable: usize, plugged: bool) {
        self.cables[cable].plugged = plugged;
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
            self.happen(Due::Frame { cable, machine, port, frame });
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
        if self.machines[machine].dead {
            return;
        }
        for step in self.machines[machine].steps(port, frame) {
            match step {
                Step::Here(port, frame) => self.arrived(machine, port, frame),
                Step::Out(port, frame) if self.machines[machine].cables.contains_key(&port) => {
                    self.transmit(machine, port, &frame);
                }
                Step::Out(port, frame) => {
                    let name = self.machines[machine].name(port);
                    self.machines[machine].received.push((name, frame));
                }
            }
        }
    }

    fn arrived(&mut self, machine: usize, port: PortId, frame: Vec<u8>) {
        let m = &mut self.machines[machine];
        let Some((port, frame)) = m.by_svlan(port, frame) else {
            m.unknown += 1;
            return;
        };
        if FrameView::parse(&frame).is_ok_and(|view| view.ethertype == DATA) {
            let copies = m.flood(port, &frame);
            let name = m.name(port);
            m.received.push((name, frame));
            return copies.iter().for_each(|(port, frame)| self.transmit(machine, *port, frame));
        }
        if self.machines[machine].sends_back(port, &frame) {
            return self.transmit(machine, port, &frame);
        }
        let m = &mut self.machines[machine];
        let fate = match &mut m.forwarding {
            _ if m.dead => return,
            Some(forwarding) => forwarding.process(self.now, port, &frame),
            None => Fate::Punted,
        };
        match fate {
            Fate::Punted => self.input(machine, Input::Frame { port, frame }),
            Fate::Sent(copies) => {
                copies.iter().for_each(|(port, frame)| self.transmit(machine, *port, frame));
            }
        }
    }

    pub(super) fn transmit(&mut self, machine: usize, port: PortId, frame: &[u8]) {
        let Some((port, frame)) = self.machines[machine].through_svlan(port, frame) else { return };
        let (port, frame) = self.machines[machine].extension.out(port, &frame);
        let Some(&number) = self.machines[machine].cables.get(&port) else { return };
        let cable = &self.cables[number];
        let faults = cable.faults;
        if !cable.plugged {
            return;
        }
        let other = cable.ends.iter().find(|end| **end != (machine, port)).copied();
        let Some((machine, port)) = other else { return };
        self.frames += 1;
        let copies = if self.random.random_bool(faults.loss) {
            0
        } else {
            1 + u32::from(self.random.random_bool(faults.duplication))
        };
        for _ in 0..copies {
            let late = self.random.random_range(Duration::ZERO..=faults.jitter);
            let at = self.now + Duration::from_micros(10) + late;
            self.push(at, Due::Frame { cable: number, machine, port, frame: frame.clone() });
        }
    }
}
