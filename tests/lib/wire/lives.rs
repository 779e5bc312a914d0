//! Machines that start, end, are configured anew, and whose links come and go.

use ether::MacAddr;
use evbd::{Config, Core, Input, Link, PortId, Record};
use rand::RngExt;

use super::{Wire, forwarding::Forwarding};

impl Wire {
    /// Brings all ports of a machine up.
    pub fn power(&mut self, machine: usize) {
        let ports: Vec<PortId> = self.machines[machine].core.ports().map(|(port, _, _)| port).collect();
        for port in ports {
            self.link_as_plugged(machine, port);
        }
    }

    /// Ends a machine as a crash does and starts it anew, with everything forgotten.
    pub fn restart(&mut self, machine: usize) {
        self.kill(machine);
        self.machines[machine].journal.clear();
        self.start(machine);
    }

    /// Ends the process of a machine, which forgets everything but its journal. Its data path goes with it; its links
    /// stay up.
    pub fn kill(&mut self, machine: usize) {
        let m = &mut self.machines[machine];
        m.life += 1;
        m.dead = true;
        m.fuse = None;
        m.open.clear();
        m.extended.clear();
        m.reflective.clear();
        m.grants.values_mut().flatten().for_each(|grant| grant.end(self.now));
        m.made.clear();
    }

    /// Kills a machine in the middle of what it does: after so many more effects.
    pub fn kill_after(&mut self, machine: usize, effects: u32) {
        self.machines[machine].fuse = Some(effects);
    }

    /// Whether a machine was killed and not started since.
    #[must_use]
    pub fn is_dead(&self, machine: usize) -> bool {
        self.machines[machine].dead
    }

    /// Starts a machine that was killed, with its journal; all its interfaces are there and up.
    pub fn start(&mut self, machine: usize) {
        self.start_without(machine, &[]);
    }

    /// As [`Wire::start`]; interfaces that are `gone` are gone.
    pub fn start_without(&mut self, machine: usize, gone: &[&str]) {
        let seed = self.random.random();
        let now = self.now;
        let m = &mut self.machines[machine];
        m.dead = false;
        m.fuse = None;
        m.core = Core::new(m.config.clone(), seed, now);
        m.forwarding = m.forwarding.as_ref().map(|_| Forwarding::new(&m.core));
        m.applied.clear();
        m.mode = m.core.relay();
        let records: Vec<Record> = m.journal.values().cloned().collect();
        if !records.is_empty() {
            self.input(machine, Input::Resume { records });
        }
        let mut ports: Vec<_> =
            self.machines[machine].core.ports().map(|(port, name, _)| (port, gone.contains(&name))).collect();
        // The kernel tells of them in any order.
        ports.sort_by_cached_key(|_| self.random.random::<u32>());
        for (port, gone) in ports {
            if gone {
                self.input(machine, Input::Link { port, link: Link::Absent });
            } else {
                self.link_as_plugged(machine, port);
            }
        }
    }

    /// Puts a record into the journal of a machine that was killed.
    pub fn remember(&mut self, machine: usize, record: Record) {
        self.machines[machine].journal.insert(record.key(), record);
    }

    /// Gives a machine that was killed another configuration to start with.
    ///
    /// # Panics
    /// When the configuration is wrong.
    pub fn configure(&mut self, machine: usize, toml: &str) {
        self.machines[machine].config = Config::parse("wire.toml", toml).unwrap_or_else(|e| panic!("{e:?}"));
    }

    /// Gives a running machine another configuration; its new ports come up.
    ///
    /// # Panics
    /// When the configuration is wrong.
    pub fn reload(&mut self, machine: usize, toml: &str) {
        let before: Vec<PortId> = self.machines[machine].core.ports().map(|(port, _, _)| port).collect();
        self.machines[machine].config = Config::parse("wire.toml", toml).unwrap_or_else(|e| panic!("{e:?}"));
        self.input(machine, Input::Reload { config: toml.to_owned() });
        let after: Vec<PortId> = self.machines[machine].core.ports().map(|(port, _, _)| port).collect();
        for port in after.into_iter().filter(|port| !before.contains(port)) {
            self.link(machine, port, true);
        }
    }

    /// Has a machine de-associate everything, as before it ends for good.
    pub fn deassociate(&mut self, machine: usize) {
        self.input(machine, Input::Deassociate);
    }

    pub(super) fn link_as_plugged(&mut self, machine: usize, port: PortId) {
        let m = &self.machines[machine];
        let up = match m.cables.get(&port) {
            Some(cable) => self.cables[*cable].plugged,
            None => !m.dark.contains(&port),
        };
        self.link(machine, port, up);
    }

    pub(super) fn link(&mut self, machine: usize, port: PortId, up: bool) {
        let mac = address(machine, port);
        let ifindex = u32::from(port.0) + 1;
        if let Some(forwarding) = &mut self.machines[machine].forwarding {
            forwarding.link(port, up);
        }
        self.input(machine, Input::Link { port, link: Link::Present { up, mac, ifindex, mtu: 1500 } });
    }

    /// The carrier of a port without a cable goes, or comes back.
    pub fn carrier(&mut self, machine: usize, interface: &str, up: bool) {
        let port = self.machines[machine].port(interface);
        let dark = &mut self.machines[machine].dark;
        if up {
            dark.remove(&port)
        } else {
            dark.insert(port)
        };
        self.link_as_plugged(machine, port);
    }

    /// The interface of a port comes up or goes.
    pub fn interface(&mut self, machine: usize, interface: &str, there: bool) {
        let port = self.machines[machine].port(interface);
        if there {
            self.link(machine, port, true);
        } else {
            self.input(machine, Input::Link { port, link: Link::Absent });
        }
    }
}

/// Of a port of a machine.
#[must_use]
pub fn address(machine: usize, port: PortId) -> MacAddr {
    let number = u8::try_from(machine).expect("few machines");
    MacAddr::new(2, 0, 0, number, 0, port.0.to_be_bytes()[1])
}
