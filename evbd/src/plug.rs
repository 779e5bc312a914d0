//! Hot plug on a port extender: an interface whose name matches a pattern of the configuration is an extended port while it
//! is there [BR 9]. Where there is no room for it, it waits until another goes.

use ether::Instant;
use hairpin::PortId;

use crate::{core::Core, effect::Effect, event::Event, input::Link, port::PortKind, wiring};

/// An interface that is no port has come, or one that waited for room has gone.
pub(crate) fn handle(core: &mut Core, now: Instant, interface: String, there: bool) {
    if !there {
        core.waiting.remove(&interface);
    } else if core.config.plugs(&interface) && !core.ports.iter().any(|port| port.interface == interface) {
        match core.add_port(now, interface.clone(), PortKind::Extended) {
            Some(id) => {
                core.waiting.remove(&interface);
                core.effects.push_back(Effect::FollowPort(id));
            }
            None if core.waiting.insert(interface.clone()) => {
                let room = core.config.relay.spare_ports;
                core.tell(Event::PortNoRoom { port: interface, room });
            }
            None => {}
        }
    }
}

/// The link of a port changed: one that was plugged ends with its interface, and another may take its place.
pub(crate) fn follow(core: &mut Core, now: Instant, id: PortId) {
    let Some(port) = core.ports.get(id.index()) else { return };
    if port.kind != PortKind::Extended || port.link != Link::Absent || !core.config.plugs(&port.interface) {
        return;
    }
    // What is said of it to the bridge is said before its number is another's.
    wiring::settle(core, now, id.index());
    core.free_port(id);
    core.effects.push_back(Effect::FollowPort(id));
    if let Some(next) = core.waiting.pop_first() {
        handle(core, now, next, true);
    }
}
