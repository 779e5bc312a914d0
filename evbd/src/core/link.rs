//! What follows from an interface that comes, goes, or changes.

use ether::Instant;
use hairpin::PortId;
use rand::RngExt;
use vdp::Command;

use super::Core;
use crate::{
    channels,
    config::VsiConfig,
    csp, dcb,
    effect::Effect,
    event::Event,
    extension,
    input::Link,
    order::Vm,
    port::{PortKind, Side},
    wiring,
};

impl Core {
    pub(crate) fn handle_link(&mut self, now: Instant, id: PortId, link: Link) {
        let first_sequence = self.random.random();
        let Some(port) = self.ports.get_mut(id.index()) else { return };
        if port.known && port.link == link {
            return;
        }
        port.known = true;
        let (was, is) = (port.link.is_up(), link.is_up());
        let absent = link == Link::Absent;
        let appeared = port.mac().is_none();
        port.link = link;
        self.speak(now, id.index());
        if appeared {
            dcb::link_new(self, id.index());
        }
        let Some(port) = self.ports.get_mut(id.index()) else { return };
        for agent in &mut port.agents {
            agent.handle_link(now, is);
        }
        if was && !is {
            dcb::link_down(port);
        }
        if let Some(edge) = port.edge.as_mut().filter(|_| was != is) {
            edge.ecp.reset(now, first_sequence);
            edge.outbox.clear();
            wiring::offer_readiness(edge, now, is);
            if let Side::Station { relay, herald, .. } = &mut edge.side {
                relay.set_link(now, is);
                if is {
                    herald.repeat(now);
                }
            }
        }
        let name = port.interface.clone();
        let vm = port.kind == PortKind::Vm;
        if absent {
            self.tell(Event::LinkAbsent { port: name.clone() });
        } else if was != is {
            self.tell(if is {
                Event::LinkUp { port: name.clone() }
            } else {
                Event::LinkDown { port: name.clone() }
            });
        }
        csp::follow(self, now, id.index());
        if vm {
            self.follow_vm(now, id, is, absent);
        }
        self.settle(now, id);
        extension::check_mtu(self, id.index());
        if self.ports.get(id.index()).is_some_and(|port| port.extended.is_some()) {
            // Nothing of its own is behind it.
            return;
        }
        extension::follow_link(self, now, id.index());
        let ends = channels::ends(self, id.index());
        if !ends.is_empty() {
            ends.into_iter().for_each(|end| channels::follow_link(self, now, end));
            self.effects.push_back(Effect::FollowChannels(id));
        }
    }

    /// A VM's interface came or went: its VSI is wanted or not, and it is announced or not.
    fn follow_vm(&mut self, now: Instant, port: PortId, up: bool, absent: bool) {
        let uplinks = self.ports.iter().enumerate().filter(|(_, port)| port.kind == PortKind::Uplink);
        let uplinks: Vec<usize> = uplinks.map(|(index, _)| index).collect();
        for uplink in &uplinks {
            if let Some(Side::Station { herald, .. }) = self.side_at(*uplink) {
                herald.set_here(now, port, up);
            }
        }
        let command = if absent { Command::DeAssociate } else { Command::Associate };
        let ends = |config: &VsiConfig| absent && config.transient && config.has_interface();
        let follows = |vm: &&Vm| vm.port == port && (vm.config.automatic || ends(&vm.config));
        if let Some(id) = self.vms.values().find(follows).map(|vm| vm.config.id) {
            self.command(now, &id, command);
        }
        for uplink in uplinks {
            wiring::settle(self, now, uplink);
        }
    }
}
