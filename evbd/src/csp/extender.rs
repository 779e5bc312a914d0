//! The port extender's end: its engine, and the data path.

use std::sync::Arc;

use ether::{EtherType, Instant};
use hairpin::PortId;
use pe::{CodeBook, Extender, PortParameters, extender};

use super::{announce, name, tell_session};
use crate::{
    config::Config,
    core::Core,
    effect::Effect,
    event::Event,
    loss,
    port::{Port, PortKind},
    wiring,
};

/// The engine of a port extender, if `config` makes this one with sessions.
pub(super) fn extender(
    config: &Config,
    book: Option<Arc<CodeBook>>,
    sequence: u16,
    now: Instant,
) -> Option<Box<Extender>> {
    config.extender().filter(|extender| !extender.is_static())?;
    Some(Box::new(Extender::new(book, settings(config), sequence, now)))
}

/// Has the engine work by the configuration as it is now.
pub(super) fn reconfigure(core: &mut Core) {
    let settings = settings(&core.config);
    if let Some(extender) = &mut core.extender {
        extender.configure(settings);
    }
}

fn settings(config: &Config) -> extender::Settings {
    extender::Settings { name: name(&config.name), ecp: config.extension.ecp, hold: config.extension.hold }
}

/// What ports have counted, for the bridge that asked.
pub(crate) fn counted(core: &mut Core, now: Instant, question: u32, counters: Vec<(PortId, [u64; 12])>) {
    if let Some(extender) = &mut core.extender {
        let counters = counters.into_iter().map(|(port, values)| (u32::from(port.0), values));
        extender.counted(now, question, counters.collect());
    }
    wiring::settle(core, now, 0);
}

/// Passes on one output of the engine; false when there was none.
pub(super) fn step(core: &mut Core, now: Instant) -> bool {
    let output = core.extender.as_mut().and_then(|extender| extender.poll_output());
    let some = output.is_some();
    output.into_iter().for_each(|output| from_extender(core, now, output));
    some
}

fn from_extender(core: &mut Core, now: Instant, output: extender::Output) {
    match output {
        extender::Output::Transmit { port, to, ecpdu } => {
            if let Some(port) = number(port) {
                wiring::transmit(core, port.index(), to, EtherType::ECP, &ecpdu);
            }
        }
        extender::Output::Upstream(port) => {
            let port = port.and_then(number);
            core.effects.push_back(Effect::Upstream(port));
            let name = port.map(|port| core.interface(port).to_owned());
            core.tell(Event::Upstream { port: name });
            let is = |port: &&Port| port.kind == PortKind::Upstream;
            let ports: Vec<PortId> = core.ports.iter().filter(is).map(|port| port.id).collect();
            ports.into_iter().for_each(|port| announce(core, now, port.index()));
        }
        extender::Output::Session(state) => {
            loss::follow(core);
            let upstream = core.extender.as_ref().and_then(|extender| extender.upstream()).and_then(number);
            if let Some(port) = upstream.map(|port| core.interface(port).to_owned()) {
                tell_session(core, port, state);
            }
        }
        extender::Output::Port(local, parameters) => {
            if let Some(port) = number(local) {
                loss::granted(core, port, parameters.as_ref());
                let untagged = parameters.iter().flat_map(|with| with.untagged.iter().copied()).collect();
                let parameters = parameters.map(|with| Box::new(as_relayed(&with)));
                core.effects.push_back(Effect::Extend { port, parameters, untagged });
            }
        }
        extender::Output::Count { question, ports } => {
            let ports = ports.into_iter().filter_map(number).collect();
            core.effects.push_back(Effect::Count { question, ports });
        }
        extender::Output::Channel(ecid, members) => {
            let members = members.into_iter().filter_map(number).collect();
            core.effects.push_back(Effect::Channel { ecid, members });
        }
    }
}

/// The same for the data path: what is not up passes nothing either.
fn as_relayed(with: &PortParameters) -> hairpin::Parameters {
    hairpin::Parameters {
        pcid: with.pcid,
        blocked: !with.is_open(),
        default_priority: with.default_priority,
        decode: with.decode,
        use_dei: with.use_dei,
        encode: with.encode,
    }
}

/// The engine of a port extender calls ports by the core's numbers.
fn number(local: extender::Local) -> Option<PortId> {
    u16::try_from(local).ok().map(PortId)
}
