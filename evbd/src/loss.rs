//! What stations behind a port extender see when it has lost its controlling bridge: no carrier, for the interfaces of
//! extended ports are taken down [BR 9]. They come up again when the bridge has the port again, when the daemon ends, and
//! after a kill at the next start. An interface somebody else took down stays down.
//!
//! A port is to be up while the bridge grants it, which with `hold` outlives the session. While there is a session one that
//! is not granted yet stays as it is; else it goes down, at a start not before there was time for a session.

use std::collections::{BTreeMap, BTreeSet};

use ether::{Instant, time::Duration};
use hairpin::PortId;
use pe::{PortParameters, SessionState};

use crate::{
    core::Core,
    effect::Effect,
    event::Event,
    port::PortKind,
    state::{Record, RecordKey},
};

/// The extended ports of a port extender with sessions.
pub(crate) struct Loss {
    /// Before that, or the first session, nothing follows from there being none.
    patience: Option<Instant>,
    ports: BTreeMap<PortId, Sight>,
    /// Which ports the bridge has, and whether it wants them up.
    granted: BTreeMap<PortId, bool>,
    /// Interfaces that are down because of us, by name; what tells each from others of its name.
    lowered: BTreeMap<String, String>,
}

/// The interface of a port.
struct Sight {
    identity: String,
    up: bool,
    /// What was asked for last, until it is so.
    asked: Option<bool>,
}

impl Loss {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            patience: Some(now + PATIENCE),
            ports: BTreeMap::new(),
            granted: BTreeMap::new(),
            lowered: BTreeMap::new(),
        }
    }

    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.patience
    }

    /// Whether this interface is down because of us.
    pub(crate) fn has_lowered(&self, interface: &str) -> bool {
        self.lowered.contains_key(interface)
    }

    /// All that is to be remembered.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> {
        let record = |(port, identity): (&String, &String)| lowered(port, identity);
        self.lowered.iter().map(record)
    }
}

/// Lets time pass.
pub(crate) fn handle_timeout(core: &mut Core, now: Instant) {
    if core.loss.as_mut().is_some_and(|loss| loss.patience.take_if(|at| *at <= now).is_some()) {
        follow(core);
    }
}

/// The interface of a port is administratively up or down; `identity` tells it from others of its name.
pub(crate) fn administered(core: &mut Core, port: PortId, up: bool, identity: String) {
    let Some((name, PortKind::Extended)) = core.port(port) else { return };
    let name = name.to_owned();
    let Some(loss) = &mut core.loss else { return };
    let known = loss.ports.get_mut(&port).filter(|sight| sight.identity == identity);
    let pending = match known {
        Some(sight) => {
            sight.up = up;
            sight.asked.take_if(|asked| *asked == up);
            sight.asked
        }
        None => {
            loss.ports.insert(port, Sight { identity: identity.clone(), up, asked: None });
            None
        }
    };
    // It is up again, or another one has its name.
    let over = up && pending.is_none();
    if loss.lowered.get(&name).is_some_and(|lowered| over || *lowered != identity) {
        loss.lowered.remove(&name);
        core.effects.push_back(Effect::Forget(key(&name)));
        if over {
            core.tell(Event::PortRaised { port: name });
        }
    }
    follow_port(core, port);
}

/// How a port is to work; `None`: the bridge does not have it.
pub(crate) fn granted(core: &mut Core, port: PortId, with: Option<&PortParameters>) {
    let Some(loss) = &mut core.loss else { return };
    match with {
        // It has its identifier, and the bridge has not said yet how it is to work.
        Some(with) if *with == PortParameters::new(with.pcid) && !loss.granted.contains_key(&port) => return,
        Some(with) => drop(loss.granted.insert(port, with.admin_up)),
        None => drop(loss.granted.remove(&port)),
    }
    follow_port(core, port);
}

/// The session is in another state.
pub(crate) fn follow(core: &mut Core) {
    let open = core.extender.as_ref().is_some_and(|e| e.session().state() == SessionState::Open);
    if let Some(loss) = core.loss.as_mut().filter(|_| open) {
        loss.patience = None;
    }
    let ports: Vec<PortId> = core.loss.iter().flat_map(|loss| loss.ports.keys().copied()).collect();
    let refused = refused(core);
    ports.into_iter().for_each(|port| decide(core, port, refused.as_ref()));
}

fn follow_port(core: &mut Core, port: PortId) {
    let granted = core.loss.as_ref().is_some_and(|loss| loss.granted.contains_key(&port));
    // Who is granted is not refused.
    let refused = if granted { None } else { refused(core) };
    decide(core, port, refused.as_ref());
}

/// Ports the bridge refuses in this session.
fn refused(core: &Core) -> Option<BTreeSet<PortId>> {
    let extender = core.extender.as_ref().filter(|e| e.session().state() == SessionState::Open)?;
    let refused = extender.ports().filter(|port| port.refused);
    Some(refused.filter_map(|port| u16::try_from(port.local).ok().map(PortId)).collect())
}

/// Has the interface of a port go up or down. `refused`: where there is a session, whom the bridge refuses.
fn decide(core: &mut Core, port: PortId, refused: Option<&BTreeSet<PortId>>) {
    let name = core.interface(port).to_owned();
    let Some(loss) = &mut core.loss else { return };
    let Some(sight) = loss.ports.get_mut(&port) else { return };
    let wanted = match (loss.granted.get(&port), refused) {
        (Some(up), _) => *up,
        (None, Some(refused)) if refused.contains(&port) => false,
        (None, None) if loss.patience.is_none() => false,
        (None, _) => return,
    };
    let is = sight.asked.unwrap_or(sight.up);
    if is == wanted || wanted && !loss.lowered.contains_key(&name) {
        return;
    }
    sight.asked = Some(wanted);
    let identity = sight.identity.clone();
    if !wanted {
        loss.lowered.insert(name.clone(), identity.clone());
        core.effects.push_back(Effect::Remember(lowered(&name, &identity)));
        core.tell(Event::PortLowered { port: name.clone() });
    }
    core.effects.push_back(Effect::SetInterface { interface: name, identity, up: wanted });
}

/// The port is no more, or its interface is not.
pub(crate) fn release(core: &mut Core, port: PortId) {
    let name = core.interface(port).to_owned();
    let Some(loss) = &mut core.loss else { return };
    loss.ports.remove(&port);
    loss.granted.remove(&port);
    if let Some(identity) = loss.lowered.remove(&name) {
        raise(core, name, identity);
    }
}

/// The daemon ends: what it took down comes up.
pub(crate) fn end(core: &mut Core) {
    let lowered = core.loss.take().map(|loss| loss.lowered).unwrap_or_default();
    lowered.into_iter().for_each(|(name, identity)| raise(core, name, identity));
}

/// An interface was taken down before a restart.
pub(crate) fn resume(core: &mut Core, name: String, identity: String) {
    let still = core.ports.iter().any(|port| port.interface == name && port.kind == PortKind::Extended);
    match core.loss.as_mut().filter(|_| still || core.config.plugs(&name)) {
        Some(loss) => drop(loss.lowered.insert(name, identity)),
        None => raise(core, name, identity),
    }
}

fn raise(core: &mut Core, name: String, identity: String) {
    core.effects.push_back(Effect::Forget(key(&name)));
    core.effects.push_back(Effect::SetInterface { interface: name, identity, up: true });
}

fn lowered(port: &str, identity: &str) -> Record {
    Record::Lowered { port: port.to_owned(), identity: identity.to_owned() }
}

/// Names the record of an interface that was taken down.
pub(crate) fn key(port: &str) -> RecordKey {
    // No port has a name with blanks.
    RecordKey { port: format!("the interface {port}"), vsi: None }
}

/// How long a session may take at a start.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
