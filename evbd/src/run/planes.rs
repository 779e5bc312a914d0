//! The relays of the daemon: one, and on a station one more for each S-channel.

use std::collections::{BTreeMap, HashMap};

use carrier::{FlowRow, PortStats};
use ether::Vid;
use hairpin::{
    ControlError, EdgeMode, FdbEntry, PortCounters, PortId, RecentDrop, Relay, RelayKind, VsiCounters,
    VsiEntry, VsiKey,
};
use tokio::sync::mpsc;

use super::{
    Carried, ClassRow, Dataplane,
    dataplane::{CaptureRow, Common, Fault, Followed, Line},
};
use crate::{
    config::Config, core::Core, dcb::DeviceReport, effect::Effect, kernel::links::Seen, plane, port::PortKind,
};

/// All relays, each with its ports and its worker.
pub(crate) struct Planes {
    common: Common,
    /// A bridge's only one; that of a station's uplink.
    main: Dataplane,
    /// Those of S-channels, by the channel's port.
    channels: BTreeMap<PortId, Dataplane>,
    /// The ports of those.
    of: BTreeMap<PortId, PortId>,
}

impl Planes {
    /// The relays `core` wants with their ports, and the faults workers report.
    pub(super) fn start(core: &Core) -> anyhow::Result<(Self, mpsc::Receiver<Fault>)> {
        let config = core.config();
        let (common, faults) = Common::start(config)?;
        let kind = plane::kind(config);
        let main = Dataplane::start(config, &common, kind, config.carrier.workers, None)?;
        let mut planes = Self { common, main, channels: BTreeMap::new(), of: BTreeMap::new() };
        for (port, error) in planes.reload(core) {
            tracing::error!(port = port.0, error, "the relay does not take a port");
        }
        planes.commit();
        Ok((planes, faults))
    }

    /// Takes over the ports the core has now. Returns why a port is not taken.
    pub(super) fn reload(&mut self, core: &Core) -> Vec<(PortId, String)> {
        let config = core.config();
        self.of = core.relays();
        let of = &self.of;
        self.channels.retain(|uplink, _| of.get(uplink) == Some(uplink));
        let mut refused = Vec::new();
        for uplink in of.values() {
            if self.channels.contains_key(uplink) {
                continue;
            }
            match channel(config, core, &self.common, *uplink) {
                Ok(plane) => drop(self.channels.insert(*uplink, plane)),
                Err(error) => refused.push((*uplink, format!("{error:#}"))),
            }
        }
        let all = self.channels.iter_mut().map(|(uplink, plane)| (Some(*uplink), plane));
        for (uplink, plane) in all.chain([(None, &mut self.main)]) {
            let ports = core.ports().filter(|(port, _, _)| of.get(port).copied() == uplink);
            refused
                .extend(plane.reload(core, ports).into_iter().map(|(port, error)| (port, error.to_string())));
        }
        refused
    }

    /// Has the relay of a port take it up, as [`Dataplane::add_port`].
    pub(super) fn add_port(
        &mut self,
        core: &Core,
        port: PortId,
        name: &str,
        kind: PortKind,
    ) -> Result<(), ControlError> {
        if let Some(uplink) = core.relay_of(port) {
            self.of.insert(port, uplink);
        }
        self.at_mut(port).add_port(core, port, name, kind)
    }

    /// Lets go of a port.
    pub(super) fn remove_port(&mut self, port: PortId) {
        self.at_mut(port).remove_port(port);
        self.of.remove(&port);
    }

    /// Starts or stops moving frames of a port, as [`Dataplane::follow`].
    pub(super) fn follow(&mut self, port: PortId, line: &Line<'_>, seen: &Seen) -> Followed {
        self.at_mut(port).follow(port, line, seen)
    }

    /// The S-channels behind `uap` that have ports of their own are these.
    pub(super) fn keep_away(&self, uap: PortId, svids: &[Vid]) {
        self.at(uap).keep_away(uap, svids);
    }

    /// A worker says it gave a port up. False if that is no news.
    pub(super) fn failed(&mut self, port: PortId, error: &str) -> bool {
        self.at_mut(port).failed(port, error)
    }

    /// Has the relays forward as they were edited.
    pub(super) fn commit(&mut self) {
        self.all_mut().for_each(Dataplane::commit);
    }

    /// Has the relays know what the kernel has forwarded: to be called every second, and before anything is shown.
    pub(super) fn settle(&self) {
        self.all().for_each(Dataplane::settle);
    }

    /// What the kernel forwards, or may.
    pub(crate) fn flows(&self) -> Vec<FlowRow> {
        self.all().flat_map(Dataplane::flows).collect()
    }

    /// Forgets addresses that have aged.
    pub(super) fn sweep(&self) {
        self.all().for_each(Dataplane::sweep);
    }

    /// Switches reflective relay, as [`Dataplane::set_reflective`].
    pub(super) fn set_reflective(&mut self, port: PortId, on: bool) -> Result<bool, ControlError> {
        self.at_mut(port).set_reflective(port, on)
    }

    /// Switches the edge relay behind `uplink`.
    pub(super) fn set_mode(&mut self, uplink: PortId, mode: EdgeMode) -> Result<(), ControlError> {
        self.at_mut(uplink).set_mode(mode)
    }

    /// Has a port do what DCBX came to, as [`Dataplane::set_dcb`].
    pub(super) fn set_dcb(&mut self, port: PortId, settings: dcbx::Settings) -> Option<DeviceReport> {
        self.at_mut(port).set_dcb(port, settings)
    }

    /// What a port may send, and its traffic classes.
    pub(crate) fn classes(&self, port: PortId) -> (Option<u64>, Vec<ClassRow>) {
        self.at(port).classes(port)
    }

    /// Carries out what an effect says of E-channels; gives others back.
    pub(super) fn extend(&mut self, effect: Effect) -> Result<Option<Effect>, ControlError> {
        self.main.extend(effect)
    }

    /// Lets frames pass the extended ports behind `cascade`, or not.
    pub(super) fn follow_extended(&mut self, core: &Core, cascade: PortId) {
        self.main.follow_extended(core, cascade);
    }

    /// The same for one of them.
    pub(super) fn follow_end(&mut self, core: &Core, port: PortId) {
        self.main.follow_end(core, port);
    }

    pub(super) fn open_vsi(&mut self, key: VsiKey, entry: VsiEntry) -> Result<(), ControlError> {
        self.at_mut(entry.port).open_vsi(key, entry)
    }

    pub(super) fn close_vsi(&mut self, key: VsiKey) {
        self.all_mut().for_each(|plane| plane.close_vsi(key));
    }

    /// Files for mirrored frames, and what became of those.
    pub(crate) fn captures(&self) -> impl Iterator<Item = CaptureRow<'_>> {
        self.main.captures()
    }

    /// What serves a port.
    pub(crate) fn carried(&self, port: PortId) -> Option<Carried> {
        self.at(port).carried(port)
    }

    /// Why a port is not served.
    pub(crate) fn fault(&self, port: PortId) -> Option<String> {
        self.at(port).fault(port)
    }

    /// The relay of a port, to look at.
    pub(crate) fn relay(&self, port: PortId) -> &Relay {
        self.at(port).relay()
    }

    /// What an open gate lets pass.
    pub(crate) fn gate(&self, key: VsiKey) -> Option<VsiEntry> {
        self.all().find_map(|plane| plane.gate(key))
    }

    /// The counters of an open VSI.
    pub(crate) fn vsi(&self, key: VsiKey) -> Option<VsiCounters> {
        self.all().find_map(|plane| plane.relay().vsi(key))
    }

    /// The last drops of an open VSI.
    pub(crate) fn vsi_drops(&self, key: VsiKey) -> Vec<RecentDrop> {
        self.all().flat_map(|plane| plane.relay().vsi_drops(key)).collect()
    }

    pub(crate) fn counters(&self, port: PortId) -> Option<PortCounters> {
        self.at(port).counters(port)
    }

    /// What carriers count, port by port.
    pub(crate) fn carrier_stats(&self) -> HashMap<PortId, PortStats> {
        self.all().flat_map(Dataplane::carrier_stats).collect()
    }

    pub(crate) fn fdb(&self) -> Vec<FdbEntry> {
        self.all().flat_map(Dataplane::fdb).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Dataplane> {
        std::iter::once(&self.main).chain(self.channels.values())
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Dataplane> {
        std::iter::once(&mut self.main).chain(self.channels.values_mut())
    }

    fn at(&self, port: PortId) -> &Dataplane {
        self.of.get(&port).and_then(|uplink| self.channels.get(uplink)).unwrap_or(&self.main)
    }

    fn at_mut(&mut self, port: PortId) -> &mut Dataplane {
        let of = self.of.get(&port);
        of.and_then(|uplink| self.channels.get_mut(uplink)).unwrap_or(&mut self.main)
    }
}

/// The relay of an S-channel of a station. It has a worker of one thread: a station may have many of them.
fn channel(config: &Config, core: &Core, common: &Common, uplink: PortId) -> anyhow::Result<Dataplane> {
    let kind = RelayKind::Edge(core.relay_behind(uplink));
    Dataplane::start(config, common, kind, 1, Some("it is behind an S-channel"))
}
