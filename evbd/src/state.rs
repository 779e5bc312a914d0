//! What survives a restart: records the core asks to have remembered, and taking them up again.
//!
//! A VSI is remembered as its machine wants it ([`vdp::bridge::Held`], [`vdp::station::Held`]), before anything is sent
//! that promises it; a bridge port is remembered with what was agreed there. Counters, history, events and learnt
//! addresses are not kept. [`journal`] is where the records lie.
//!
//! After a restart a bridge believes what was agreed until the station is heard, at most for toutKeepAlive: the port
//! reflects as it did, and VDP is heard, so that neither VMs nor keep-alives notice.

pub(crate) mod journal;

use std::fmt;

use ether::{Instant, MacAddr};
use hairpin::VsiKey;
use serde::{Deserialize, Serialize};
use vdp::{Command, Timing, VsiId, bridge, station, station::VsiRequest};

use crate::{
    channels,
    config::VsiConfig,
    core::Core,
    csp,
    effect::Effect,
    event::Event,
    loss, order,
    port::{Edge, Port, Side},
    wiring,
};

/// One thing that must survive a restart. `port` is the name of a port: an interface, or one and an S-channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
pub enum Record {
    /// What a bridge has granted to the station on a port.
    Granted {
        /// Interface the station is on.
        port: String,
        /// The VSI.
        held: bridge::Held,
        /// Its place in the order of opening, if it is open: of those that name one address the last has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opened: Option<VsiKey>,
    },
    /// What a station wants of the bridge behind its uplink, and has.
    Wanted {
        /// Interface of the uplink.
        port: String,
        /// The VSI.
        held: station::Held,
        /// Where it was given at run time: what is not in the configuration.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        given: Option<VsiConfig>,
    },
    /// An S-channel of a bridge.
    Channel {
        /// The port it ends at: the interface and, after a slash, its SCID.
        port: String,
        /// What tags its frames.
        svid: cdcp::Svid,
    },
    /// A port of a port extender that is a port of this bridge.
    Extended {
        /// Its name here.
        port: String,
        /// What its port extender and the bridge have agreed on.
        held: pe::controlling::Held,
    },
    /// What LLDP calls this host.
    Chassis {
        /// Interface whose address it was.
        port: String,
        /// The address.
        mac: MacAddr,
    },
    /// An interface of a port extender that is down because there is no controlling bridge.
    Lowered {
        /// Its name.
        port: String,
        /// What tells it from others of its name, here or before a boot.
        identity: String,
    },
    /// What a bridge and the station on a port have agreed on.
    Agreed {
        /// Interface the station is on.
        port: String,
        /// What.
        agreed: Agreed,
    },
}

/// What LLDP calls this host: were it another after a restart, the peer would see two.
#[derive(Clone, Debug)]
pub(crate) struct Chassis {
    /// The interface whose address it was.
    pub(crate) interface: String,
    pub(crate) mac: MacAddr,
    /// It is from before a restart.
    pub(crate) remembered: bool,
}

impl Chassis {
    /// Whether this is remembered of another host: `port` is the same interface with another address. A disk may have
    /// been copied.
    pub(crate) fn is_another(&self, port: &Port) -> bool {
        self.remembered && self.interface == port.interface && port.mac() != Some(self.mac)
    }
}

/// What EVB has come to on a port of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// The numbers in operation.
    pub timing: Timing,
    /// Whether the port reflects.
    pub reflective: bool,
    /// Which ECP is spoken.
    #[serde(default)]
    pub dialect: ecp::Dialect,
}

/// Names a [`Record`]: of two with one key the later counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordKey {
    /// Interface name.
    pub port: String,
    /// The VSI, if the record is about one.
    pub vsi: Option<VsiId>,
}

impl Record {
    /// The interface it is about.
    #[must_use]
    pub fn port(&self) -> &str {
        match self {
            Self::Granted { port, .. }
            | Self::Wanted { port, .. }
            | Self::Agreed { port, .. }
            | Self::Channel { port, .. }
            | Self::Lowered { port, .. }
            | Self::Extended { port, .. }
            | Self::Chassis { port, .. } => port,
        }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        let vsi = match self {
            Self::Granted { held, .. } => Some(held.id),
            Self::Wanted { held, .. } => Some(held.request.id),
            Self::Agreed { .. } => None,
            Self::Channel { port, .. } => return channels::record_key(port),
            Self::Lowered { port, .. } => return loss::key(port),
            Self::Extended { port, .. } => return csp::record_key(port),
            // There is one, and no interface has a name with a blank.
            Self::Chassis { .. } => return RecordKey { port: "the chassis".to_owned(), vsi: None },
        };
        RecordKey { port: self.port().to_owned(), vsi }
    }
}

impl fmt::Display for RecordKey {
    /// The interface, and the VSI after a blank: interface names have none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.vsi {
            Some(id) => write!(f, "{} {id}", self.port),
            None => f.write_str(&self.port),
        }
    }
}

/// Takes up what was remembered before a restart. What has no place any more is forgotten; VSIs that the configuration
/// no longer has are de-associated, those of another type or with other frames are asked for anew when their interface
/// is seen.
pub(crate) fn resume(core: &mut Core, now: Instant, mut records: Vec<Record>) {
    let (mut vsis, mut agreements) = (Vec::new(), Vec::new());
    // First, for the others may be of their ports.
    let known = records.iter().filter_map(|record| match record {
        Record::Channel { port, svid } => Some((port.clone(), *svid)),
        _ => None,
    });
    channels::resume(core, now, known.collect());
    let extended = records.iter().filter_map(|record| match record {
        Record::Extended { port, held } => Some((port.clone(), held.clone())),
        _ => None,
    });
    csp::resume(core, now, extended.collect());
    records.sort_by_key(|record| match record {
        Record::Granted { opened, .. } => *opened,
        Record::Wanted { .. }
        | Record::Channel { .. }
        | Record::Lowered { .. }
        | Record::Extended { .. }
        | Record::Chassis { .. }
        | Record::Agreed { .. } => None,
    });
    for record in records {
        if let Record::Chassis { port, mac } = record {
            core.chassis = Some(Chassis { interface: port, mac, remembered: true });
            continue;
        }
        let record = match record {
            Record::Channel { .. } | Record::Extended { .. } => continue,
            Record::Lowered { port, identity } => {
                loss::resume(core, port, identity);
                continue;
            }
            record => record,
        };
        let key = record.key();
        let place = core.ports.iter().position(|port| !port.is_free() && port.interface == key.port);
        match (place.and_then(|index| core.side_at(index)), record) {
            (Some(Side::Bridge { vdp, .. }), Record::Granted { held, opened, .. }) => {
                let (Some(index), id) = (place, held.id) else { continue };
                let opened = opened.filter(|_| held.command == Command::Associate);
                vdp.resume(now, held);
                let taken = vdp.vsi(&id).is_some();
                let port = core.ports.get(index).map(|port| port.id);
                if let Some((port, opened)) = port.zip(opened).filter(|_| taken) {
                    core.keep_key(port, id, opened);
                }
                // What follows from this one comes before the next: gates are opened in the order they were.
                wiring::settle(core, now, index);
                vsis.push((index, id));
            }
            (Some(Side::Station { .. }), Record::Wanted { held, given, .. }) => {
                let Some(index) = place else { continue };
                let id = held.request.id;
                match station_vsi(core, now, index, held, given) {
                    Ok(()) => vsis.push((index, id)),
                    // What VDP does not take it releases, and so it is forgotten.
                    Err(error) => tracing::warn!(%key, %error, "a VSI is not resumed"),
                }
            }
            (Some(Side::Bridge { .. }), Record::Agreed { agreed, .. }) => {
                agreements.extend(place.map(|index| (index, agreed)));
            }
            _ => core.effects.push_back(Effect::Forget(key)),
        }
    }
    if !vsis.is_empty() {
        core.tell(Event::Resumed { vsis: vsis.len() });
    }
    for (index, id) in vsis {
        still_wanted(core, now, index, &id);
    }
    for (index, agreed) in agreements {
        presume(core, now, index, agreed);
    }
    for index in 0..core.ports.len() {
        wiring::settle(core, now, index);
    }
}

/// All that is to be remembered now, for a journal that lost it.
pub(crate) fn records(core: &Core) -> Vec<Record> {
    let chassis = core.chassis.iter().map(|c| Record::Chassis { port: c.interface.clone(), mac: c.mac });
    let ports = core.ports.iter().filter(|port| !port.is_free());
    let lowered = core.loss.iter().flat_map(loss::Loss::records);
    let others = lowered.chain(csp::records(core));
    chassis.chain(others).chain(ports.flat_map(|port| of_port(core, port))).collect()
}

fn of_port(core: &Core, port: &Port) -> Vec<Record> {
    let Some(edge) = &port.edge else { return Vec::new() };
    let channel = port.channel.and_then(|end| end.svid).filter(|_| core.config.bridge().is_some());
    let (id, port) = (port.id, &port.interface);
    let channel = channel.map(|svid| Record::Channel { port: port.clone(), svid });
    let agreed = edge.agreed.map(|agreed| Record::Agreed { port: port.clone(), agreed });
    let vsis: Vec<Record> = match &edge.side {
        Side::Bridge { vdp, .. } => {
            let opened = |held: &bridge::Held| core.keys.get(&(id, held.id)).copied();
            vdp.held()
                .map(|held| Record::Granted { port: port.clone(), held: held.clone(), opened: opened(held) })
                .collect()
        }
        Side::Station { vdp, .. } => vdp.held().map(|held| wanted(core, port.clone(), held)).collect(),
    };
    channel.into_iter().chain(vsis).chain(agreed).collect()
}

/// The record of a VSI of a station.
pub(crate) fn wanted(core: &Core, port: String, held: station::Held) -> Record {
    let given = core.vms.get(&held.request.id).filter(|vm| vm.given).map(|vm| vm.config.clone());
    Record::Wanted { port, held, given }
}

/// Whether a resumed VSI has a place in the configuration as it is now; else it ends.
fn still_wanted(core: &mut Core, now: Instant, index: usize, id: &VsiId) {
    let here = core.vms.get(id).filter(|vm| vm.uplink.index() == index);
    let vm = here.map(|vm| vm.config.clone());
    match core.side_at(index) {
        Some(Side::Bridge { vdp, .. }) => vdp.requery(now, id),
        Some(Side::Station { vdp, .. }) => {
            let Some(held) = vdp.held().find(|held| held.request.id == *id) else { return };
            let asked = held.request;
            let wanted = match vm {
                Some(config) => order::request(&config, asked.command, asked.hints),
                None => VsiRequest { command: Command::DeAssociate, ..asked.clone() },
            };
            if wanted != asked
                && let Err(error) = vdp.command(now, wanted)
            {
                tracing::warn!(%id, %error, "VSI command refused");
            }
        }
        None => {}
    }
}

/// Resumes a VSI of a station, and knows it again if it was given at run time.
fn station_vsi(
    core: &mut Core,
    now: Instant,
    index: usize,
    held: station::Held,
    given: Option<VsiConfig>,
) -> anyhow::Result<()> {
    let (id, hints) = (held.request.id, held.request.hints);
    if let Some(config) = given.filter(|_| !core.vms.contains_key(&id))
        && let Err(error) = order::give(core, now, config, hints)
    {
        // It is resumed all the same, to be de-associated.
        tracing::warn!(%id, %error, "the configuration has taken the place of a VSI given at run time");
    }
    if let Some(vm) = core.vms.get_mut(&id) {
        vm.hints = hints;
    }
    match core.side_at(index) {
        Some(Side::Station { vdp, .. }) => Ok(vdp.resume(now, held)?),
        _ => Ok(()),
    }
}

/// Goes on with what was agreed on a port of a bridge before the restart, if a VSI was held there.
fn presume(core: &mut Core, now: Instant, index: usize, agreed: Agreed) {
    let Some(port) = core.ports.get_mut(index) else { return };
    let up = port.link.is_up();
    let Some(Edge { side: Side::Bridge { evb, vdp }, ecp, agreed: remembered, presumed, .. }) =
        &mut port.edge
    else {
        return;
    };
    if vdp.held().next().is_none() {
        return core.effects.push_back(Effect::Forget(RecordKey { port: port.interface.clone(), vsi: None }));
    }
    vdp.set_timing(agreed.timing);
    vdp.set_ready(up);
    ecp.set_params(agreed.timing.ecp_params());
    if ecp.dialect() != agreed.dialect {
        ecp.set_dialect(now, agreed.dialect);
    }
    if agreed.reflective {
        evb.presume_reflective();
    }
    *remembered = Some(agreed);
    *presumed = Some(now + agreed.timing.tout_keep_alive());
}

/// What was presumed has not come true in time.
pub(crate) fn disappoint(edge: &mut Edge, now: Instant, up: bool) {
    if edge.presumed.take_if(|until| *until <= now).is_some() {
        if let Side::Bridge { evb, .. } = &mut edge.side {
            evb.handle_absence(vdp::evb::Absence::NoTlv);
        }
        wiring::offer_readiness(edge, now, up);
    }
}

/// Has what is agreed on a port of a bridge remembered or forgotten, if it is not what it was.
pub(crate) fn remember_agreement(core: &mut Core, index: usize) {
    let Some(port) = core.ports.get_mut(index) else { return };
    let Some(edge) = port.edge.as_mut() else { return };
    let (Side::Bridge { .. }, Some(status)) = (&edge.side, &edge.status) else { return };
    let reflective = status.reflective_relay.state == vdp::evb::RelayState::On;
    let agreed = status.is_agreed().then(|| Agreed {
        timing: status.timing(),
        reflective,
        dialect: edge.ecp.dialect(),
    });
    if agreed == edge.agreed {
        return;
    }
    edge.agreed = agreed;
    let port = port.interface.clone();
    core.effects.push_back(match agreed {
        Some(agreed) => Effect::Remember(Record::Agreed { port, agreed }),
        None => Effect::Forget(RecordKey { port, vsi: None }),
    });
}
