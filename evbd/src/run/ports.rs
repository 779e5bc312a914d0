//! The ports of the daemon: their interfaces watched, followed into the relay and the sockets, and let go.

use std::collections::BTreeMap;

use ether::{Framing, MacAddr, mac};
use hairpin::PortId;

use super::{Daemon, dataplane::Line, limits};
use crate::{
    channels::End,
    config::Config,
    event::Event,
    extension::ExtendedEnd,
    input::{Input, Link},
    kernel::links::{LinkWatch, Seen},
    names::is_interface,
    port::PortKind,
};

impl Daemon {
    /// Takes up an interface's state; what follows from it waits for [`Daemon::drain`].
    pub(super) fn link(&mut self, interface: &str, seen: Seen) {
        self.see_guest(interface, &seen);
        let found = self.core.ports().find(|(_, name, _)| *name == interface);
        let Some((port, kind)) = found.map(|(port, _, kind)| (port, kind)) else {
            if self.core.config().plugs(interface) {
                let there = seen.link != Link::Absent;
                self.core.handle(self.clock.now(), Input::Plug { interface: interface.to_owned(), there });
                // One that is a port now is told of again.
                self.drain();
            }
            return;
        };
        if kind.speaks() {
            let groups = self.groups(interface);
            self.sockets.follow(port, kind, interface, None, groups, &seen);
        }
        if kind == PortKind::Station && self.is_kernels(port) {
            let guard = self.core.config().bridge().is_some_and(|bridge| bridge.guard);
            self.kernel.follow(port, &seen, guard);
            self.kernel.commit();
        }
        let channels = self.core.channel_svids(port);
        let followed = self.planes.follow(port, &Line { interface, svid: None, channels }, &seen);
        if let Some(error) = followed.fault {
            self.publish(&Event::PortFailed { port: interface.to_owned(), error });
        }
        if let Some(libvirt) = self.libvirt.as_mut().filter(|_| kind == PortKind::Uplink) {
            libvirt.set_uplink(&seen.link);
        }
        let now = self.clock.now();
        self.seen.insert(port, seen.clone());
        if let (PortKind::Extended, Link::Present { ifindex, .. }) = (kind, &seen.link) {
            let identity = self.switch.identity(*ifindex);
            self.core.handle(now, Input::Administered { port, up: seen.enabled, identity });
        }
        self.core.handle(now, Input::Link { port, link: seen.link });
        if let Some(on) = followed.reflective {
            self.core.handle(now, Input::ReflectiveApplied { port, on });
        }
    }

    /// Where the LLDP agents of a port listen.
    fn groups(&self, name: &str) -> Vec<MacAddr> {
        let agents = self.core.config().agents(name);
        agents.iter().map(|agent| agent.destination).filter(|to| mac::is_group(*to)).collect()
    }

    /// Takes up the S-channels behind `uap` as they are now: they have sockets of their own. Returns the ports whose
    /// reflection the core believes to be otherwise than it is.
    pub(super) fn follow_channels(&mut self, uap: PortId) -> Vec<(PortId, bool)> {
        let Some(seen) = self.seen.get(&uap).cloned() else { return Vec::new() };
        let interface = self.core.interface(uap).to_owned();
        let mut reflective = Vec::new();
        // Those new are taken up when their own turn comes.
        let known = |end: &End| self.watched.get(&end.port) == Some(&end.name);
        let ends: Vec<End> = self.core.channels(uap).into_iter().filter(known).collect();
        for end in ends {
            let seen = Seen { link: end.link, ..seen.clone() };
            let heard =
                if seen.link.is_up() { seen.clone() } else { Seen { link: Link::Absent, ..seen.clone() } };
            let groups = self.groups(&end.name);
            self.sockets.follow(end.port, end.kind, &interface, end.svid, groups, &heard);
            let line = Line { interface: &interface, svid: end.svid, channels: None };
            let followed = self.planes.follow(end.port, &line, &seen);
            if let Some(error) = followed.fault {
                self.publish(&Event::PortFailed { port: end.name, error });
            }
            reflective.extend(followed.reflective.map(|on| (end.port, on)));
        }
        self.planes.keep_away(uap, &self.core.channel_svids(uap).unwrap_or_default());
        reflective
    }

    /// Takes up the extended ports behind `cascade` as they are now.
    pub(super) fn follow_extended(&mut self, cascade: PortId) {
        let interface = self.core.interface(cascade).to_owned();
        let Some(form) = self.form(&interface) else { return };
        self.planes.follow_extended(&self.core, cascade);
        let mut ends = Vec::new();
        let mut groups = Vec::new();
        for (port, pcid, _) in self.core.extended_behind(cascade) {
            let name = self.core.interface(port);
            // Those new are taken up when their own turn comes.
            if self.watched.get(&port).is_some_and(|known| known == name) {
                ends.push((port, pcid));
                groups.extend(self.groups(name));
            }
        }
        let link = self.seen.get(&cascade).map_or(&Link::Absent, |seen| &seen.link);
        self.sockets.follow_extended(cascade, &interface, form, ends, &groups, link);
    }

    /// Takes up one extended port as it is now. One that has gone was let go in its own turn.
    pub(super) fn follow_end(&mut self, port: PortId) {
        let Some(ExtendedEnd { cascade, pcid }) = self.core.extended(port) else { return };
        let name = self.core.interface(port);
        if self.watched.get(&port).is_none_or(|known| known != name) {
            return;
        }
        let groups = self.groups(name);
        let interface = self.core.interface(cascade).to_owned();
        let Some(form) = self.form(&interface) else { return };
        self.planes.follow_end(&self.core, port);
        let link = self.seen.get(&cascade).map_or(&Link::Absent, |seen| &seen.link);
        self.sockets.follow_end(cascade, &interface, form, (port, pcid), &groups, link);
    }

    /// The framing of a cascade port, and whether tags may have their port in place of the ingress identifier.
    fn form(&self, interface: &str) -> Option<(Framing, bool)> {
        let config = self.core.config();
        Some((config.cascade(interface)?.framing, config.carrier.takes_ingress_form(interface)))
    }

    /// A port has failed; returns its interface if that is news.
    pub(super) fn fault(&mut self, port: PortId, error: String) -> Option<String> {
        if !self.planes.failed(port, &error) {
            return None;
        }
        self.drain();
        let name = self.core.ports().find(|(id, _, _)| *id == port).map(|(_, name, _)| name.to_owned())?;
        self.publish(&Event::PortFailed { port: name.clone(), error });
        Some(name)
    }

    /// Takes up the ports the core has now: those gone are let go, the interfaces of those new are watched.
    pub(super) fn follow_ports(&mut self) {
        for (port, error) in self.planes.reload(&self.core) {
            tracing::error!(port = port.0, error, "the relay does not take a port");
        }
        let ports = self.ports();
        let before = std::mem::replace(&mut self.watched, ports.clone());
        for (port, interface) in before.iter().filter(|(port, interface)| ports.get(port) != Some(interface))
        {
            self.sockets.release(*port);
            self.seen.remove(port);
            if is_interface(interface) {
                self.links.want(interface, false);
            }
        }
        self.make_room();
        let new = |(port, interface): &(&PortId, &String)| before.get(port) != Some(interface);
        for (_, interface) in ports.iter().filter(new).filter(|(_, name)| is_interface(name)) {
            self.links.want(interface, true);
        }
    }

    /// Has the system allow the sockets of all interfaces; where it does not, that is said once.
    fn make_room(&mut self) {
        let interfaces = self.watched.values().filter(|name| is_interface(name)).count();
        match limits::raise(interfaces) {
            Ok(()) => self.crowded = false,
            Err(error) => {
                if !std::mem::replace(&mut self.crowded, true) {
                    tracing::error!(%error, "new ports may find no sockets");
                }
            }
        }
    }

    /// The same for one port.
    pub(super) fn follow_port(&mut self, port: PortId) {
        let now = self.core.port(port).map(|(interface, kind)| (interface.to_owned(), kind));
        if let Some(before) = self.watched.remove(&port)
            && now.as_ref().is_none_or(|(interface, _)| *interface != before)
        {
            self.sockets.release(port);
            self.seen.remove(&port);
            if is_interface(&before) {
                self.links.want(&before, false);
            }
            self.planes.remove_port(port);
        }
        let Some((interface, kind)) = now else { return };
        if let Err(error) = self.planes.add_port(&self.core, port, &interface, kind) {
            tracing::error!(port = port.0, %error, "the relay does not take a port");
        }
        self.watched.insert(port, interface.clone());
        if is_interface(&interface) {
            self.make_room();
        }
        if is_interface(&interface) {
            self.links.want(&interface, true);
        }
    }

    pub(super) fn ports(&self) -> BTreeMap<PortId, String> {
        self.core.ports().map(|(port, interface, _)| (port, interface.to_owned())).collect()
    }
}

/// Has interfaces told of whose names match patterns of a port extender's ports.
pub(super) fn watch_patterns(config: &Config, links: &mut LinkWatch) {
    if let Some(extender) = config.extender() {
        links.want_matching(extender.patterns.clone());
    }
}
