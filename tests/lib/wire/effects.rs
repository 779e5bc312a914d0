//! Cores carried out: inputs, and what follows from them.

use ether::{EtherType, FrameView};
use evbd::{DeviceReport, DeviceState, Effect, Event, Input, Target, VsiOrder};

use super::{Due, Wire};

impl Wire {
    /// Gives a machine an order for a VSI.
    ///
    /// # Errors
    /// When it is refused, with why.
    pub fn order(&mut self, machine: usize, order: VsiOrder) -> Result<(), String> {
        let before = self.machines[machine].events.len();
        self.input(machine, Input::Vsi { order });
        let mut said = self.machines[machine].events[before..].iter();
        said.find_map(|(_, event)| match event {
            Event::VsiOrdered { .. } => Some(Ok(())),
            Event::VsiOrderRefused { error, .. } => Some(Err(error.clone())),
            _ => None,
        })
        .expect("an order is answered")
    }

    /// Lets a machine lie about reflective relay, or repent.
    pub fn lie(&mut self, machine: usize, liar: bool) {
        self.machines[machine].liar = liar;
    }

    /// Gives a machine an input, and carries out what follows.
    pub fn input(&mut self, machine: usize, input: Input) {
        if self.machines[machine].dead {
            return;
        }
        self.machines[machine].core.handle(self.now, input);
        while let Some(effect) = self.machines[machine].core.poll_effect() {
            let m = &mut self.machines[machine];
            if let Some(left) = &mut m.fuse {
                if *left == 0 {
                    return self.kill(machine);
                }
                *left -= 1;
            }
            if let Effect::FollowPort(port) = &effect {
                m.note_grant(self.now, *port);
            }
            let effect = match &mut m.forwarding {
                Some(forwarding) => forwarding.take(&m.core, effect),
                None => Some(effect),
            };
            let Some(effect) = effect else { continue };
            match effect {
                Effect::Transmit { port, frame } => {
                    let ethertype = FrameView::parse(&frame).map(|view| view.ethertype);
                    let ecp =
                        ethertype.ok().filter(|e| [EtherType::ECP, EtherType::OUI_EXTENDED].contains(e));
                    self.machines[machine].ecp = ecp.or(self.machines[machine].ecp);
                    self.transmit(machine, port, &frame);
                    if FrameView::parse(&frame).is_ok_and(|view| view.tag.is_some()) {
                        self.machines[machine].sent.push((self.now, frame));
                    }
                }
                Effect::SwitchReflective { port, on } => {
                    m.reflective.insert(port, on);
                    if let Some(forwarding) = &mut m.forwarding {
                        forwarding.reflect(port, on);
                    }
                    m.core.handle(self.now, Input::ReflectiveApplied { port, on });
                }
                Effect::Remember(record) => {
                    m.journal.insert(record.key(), record);
                }
                Effect::Forget(key) => {
                    m.journal.remove(&key);
                }
                Effect::SwitchRelay { port, mode } => {
                    if m.core.uap(port).is_none() {
                        m.mode = mode;
                    }
                    m.modes.insert(port, mode);
                }
                Effect::OpenVsi { key, entry } => {
                    if let Some(forwarding) = &mut m.forwarding {
                        forwarding.open(key, entry.clone());
                    }
                    m.open.insert(key, entry);
                }
                Effect::CloseVsi { key } => {
                    if let Some(forwarding) = &mut m.forwarding {
                        forwarding.close(key);
                    }
                    m.open.remove(&key);
                }
                // Whoever plays says when an interface is there.
                Effect::FollowPort(_)
                | Effect::FollowPorts
                | Effect::FollowChannels(_)
                | Effect::FollowExtended(_)
                | Effect::FollowEnd(_)
                | Effect::Flood { .. }
                | Effect::Extend { .. }
                | Effect::Channel { .. }
                | Effect::Upstream(_)
                | Effect::SetInterface { .. }
                | Effect::FollowProfiles => {}
                Effect::Count { question, ports } => {
                    let counters = ports.into_iter().map(|port| (port, [u64::from(port.0); 12])).collect();
                    m.core.handle(self.now, Input::Counted { question, counters });
                }
                Effect::AskManager(_) => m.asked += 1,
                Effect::ApplyDcb { port, settings, target: Target::Core } => {
                    m.applied.insert(port, settings);
                }
                // Cables have no data center bridging.
                Effect::ApplyDcb { port, .. } => {
                    let report = DeviceReport { state: DeviceState::NoDcb, changes: Vec::new(), note: None };
                    m.core.handle(self.now, Input::DcbApplied { port, report });
                }
                Effect::Event(event) => {
                    match &event {
                        Event::LinkUp { port } if port.contains(':') => drop(m.extended.insert(port.clone())),
                        Event::LinkDown { port }
                        | Event::LinkAbsent { port }
                        | Event::ExtendedPortGone { port } => {
                            m.extended.remove(port);
                        }
                        _ => {}
                    }
                    m.events.push((self.now, event));
                }
            }
        }
        if let Some(forwarding) = &mut self.machines[machine].forwarding {
            forwarding.commit();
        }
        if let Some(at) = self.machines[machine].core.poll_timeout() {
            let life = self.machines[machine].life;
            self.push(at, Due::Timeout { machine, life });
        }
    }
}
