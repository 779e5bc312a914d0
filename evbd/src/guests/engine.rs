//! From domains and interfaces to orders.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use ether::{Instant, MacAddr};
use serde::Serialize;
use vdp::{Command, FilterEntry, FilterInfo, Hints, VsiId, vsi::VsiIdFormat};

use super::{Domain, Nic, Type, Word};
use crate::{
    config::{GuestsConfig, VsiConfig},
    order::{VsiOrder, Which},
};

/// The VMs of a host. Drain [`Guests::poll_output`] after every other call.
pub(crate) struct Guests {
    config: GuestsConfig,
    /// Interfaces that are VSIs of the configuration: they are no concern of ours.
    configured: BTreeSet<String>,
    domains: BTreeMap<String, Domain>,
    /// Domains about to come from another host.
    coming: BTreeSet<String>,
    /// Whether libvirt is heard, which alone tells when a VM has come; why not. None: it is not asked.
    libvirt: Option<Result<(), String>>,
    ports: BTreeMap<(String, MacAddr), Type>,
    taps: BTreeMap<String, Tap>,
    orders: BTreeMap<String, Ordered>,
    outputs: VecDeque<Output>,
}

/// An interface that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    pub(crate) mac: MacAddr,
    pub(crate) ifindex: u32,
    /// The Linux bridge it is in.
    pub(crate) bridge: Option<String>,
}

/// What is wanted of the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Carry out an order for the VSI of an interface, and say with [`Guests::answered`] what became of it.
    Order { interface: String, order: VsiOrder },
    /// Carry out an order that ends a VSI, if it is still there.
    End(VsiOrder),
    /// Take the interface of this number out of its Linux bridge.
    Detach { interface: String, ifindex: u32 },
    /// Tell of this interface too, or no longer.
    Watch { interface: String, wanted: bool },
}

/// What was ordered for an interface.
#[derive(Clone, Debug)]
struct Ordered {
    vsi: VsiConfig,
    command: Command,
    /// Why it was not taken, and when it is tried again.
    refused: Option<(String, Instant, u32)>,
}

/// What is wanted for an interface.
struct Wish {
    vsi: VsiConfig,
    command: Command,
}

impl Guests {
    pub(crate) fn new(config: GuestsConfig, configured: BTreeSet<String>) -> Self {
        Self {
            libvirt: config.libvirt.is_some().then(|| Err("not heard yet".to_owned())),
            config,
            configured,
            domains: BTreeMap::new(),
            coming: BTreeSet::new(),
            ports: BTreeMap::new(),
            taps: BTreeMap::new(),
            orders: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Other interfaces are VSIs of the configuration now.
    pub(crate) fn reconfigure(&mut self, now: Instant, configured: BTreeSet<String>) {
        self.configured = configured;
        self.settle_all(now);
    }

    /// libvirt is heard, or no longer.
    pub(crate) fn follow(&mut self, now: Instant, libvirt: Result<(), String>) {
        self.libvirt = Some(libvirt);
        self.settle_all(now);
    }

    /// Takes up what is said of VMs.
    pub(crate) fn hear(&mut self, now: Instant, word: Word) {
        let before = self.named();
        match word {
            Word::All(domains) => {
                self.coming.clear();
                self.domains.clear();
                let domains = domains.into_iter().take(DOMAINS);
                self.domains.extend(domains.map(|domain| (domain.uuid.clone(), domain)));
            }
            Word::Runs(domain) => {
                self.coming.remove(&domain.uuid);
                self.keep(domain);
            }
            Word::Starts(domain) => {
                let incoming = self.coming.remove(&domain.uuid);
                self.keep(Domain { incoming, ..domain });
            }
            Word::Comes(uuid) => {
                if self.coming.len() < DOMAINS {
                    self.coming.insert(uuid);
                }
            }
            Word::Gone(uuid) => {
                self.coming.remove(&uuid);
                self.domains.remove(&uuid);
                self.ports.retain(|(owner, _), _| *owner != uuid);
            }
            Word::Port(port) => {
                if let Some(vsi) = port.vsi.filter(|_| self.ports.len() < DOMAINS) {
                    self.ports.insert((port.owner, port.mac), vsi);
                }
            }
            Word::PortGone(port) => drop(self.ports.remove(&(port.owner, port.mac))),
        }
        let after = self.named();
        let gone = before.difference(&after).map(|name| (name.clone(), false));
        let new = after.difference(&before).map(|name| (name.clone(), true));
        self.outputs.extend(gone.chain(new).map(|(interface, wanted)| Output::Watch { interface, wanted }));
        self.settle_all(now);
    }

    /// An interface is there and like this, or is not there.
    pub(crate) fn see(&mut self, now: Instant, interface: &str, tap: Option<Tap>) {
        let named = self.config.taps.iter().any(|rule| rule.interface.matches(interface));
        let ours = named || self.orders.contains_key(interface) || self.named().contains(interface);
        match tap {
            Some(tap) if ours => drop(self.taps.insert(interface.to_owned(), tap)),
            _ => drop(self.taps.remove(interface)),
        }
        self.settle(now, interface);
    }

    /// What became of an order.
    pub(crate) fn answered(&mut self, now: Instant, interface: &str, answer: Result<(), String>) {
        let Some(ordered) = self.orders.get_mut(interface) else { return };
        ordered.refused = answer.err().map(|error| {
            let times = ordered.refused.as_ref().map_or(0, |(_, _, times)| times + 1);
            let pause = FIRST.saturating_mul(1 << times.min(16)).min(LAST);
            (error, now + pause, times)
        });
    }

    /// Tries again what was refused.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let due = |ordered: &&mut Ordered| ordered.refused.as_ref().is_some_and(|(_, at, _)| *at <= now);
        for (interface, ordered) in &mut self.orders {
            if let Some(ordered) = Some(ordered).filter(due) {
                self.outputs.push_back(given(interface, &ordered.vsi, ordered.command));
                // Until the answer comes.
                if let Some((_, at, _)) = &mut ordered.refused {
                    *at = now + LAST;
                }
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.orders.values().filter_map(|ordered| ordered.refused.as_ref().map(|(_, at, _)| *at)).min()
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes up a domain in the place of what was known of it.
    fn keep(&mut self, domain: Domain) {
        if self.domains.len() < DOMAINS || self.domains.contains_key(&domain.uuid) {
            self.domains.insert(domain.uuid.clone(), domain);
        }
    }

    /// Interfaces that domains name.
    fn named(&self) -> BTreeSet<String> {
        let nics = self.domains.values().flat_map(|domain| &domain.nics);
        nics.filter_map(|nic| nic.tap.clone()).collect()
    }

    fn settle_all(&mut self, now: Instant) {
        let known: BTreeSet<String> = self.taps.keys().chain(self.orders.keys()).cloned().collect();
        known.iter().for_each(|interface| self.settle(now, interface));
    }

    /// Orders what is wanted for an interface, if that is something else than was ordered.
    fn settle(&mut self, now: Instant, interface: &str) {
        let wish = self.wish(interface);
        if wish.is_ok()
            && self.config.detach
            && let Some(Tap { ifindex, bridge: Some(_), .. }) = self.taps.get(interface)
        {
            self.outputs.push_back(Output::Detach { interface: interface.to_owned(), ifindex: *ifindex });
        }
        match (self.orders.get_mut(interface), wish) {
            (None, Err(_)) => {}
            (None, Ok(Wish { vsi, command })) => {
                self.outputs.push_back(given(interface, &vsi, command));
                self.orders.insert(interface.to_owned(), Ordered { vsi, command, refused: None });
            }
            (Some(ordered), Ok(Wish { vsi, command })) if ordered.vsi.id == vsi.id => {
                // A VM that is suspended for a migration on the source is as one that has not come to the target.
                let stays = command != Command::Associate && ordered.command == Command::Associate;
                if !stays && (ordered.command, &ordered.vsi) != (command, &vsi) {
                    self.outputs.push_back(given(interface, &vsi, command));
                    *ordered = Ordered { vsi, command, refused: None };
                }
            }
            (Some(ordered), Ok(Wish { vsi, command })) => {
                self.outputs.push_back(ended(ordered));
                // The interface is free as soon as the bridge has answered.
                let refused = Some(("its interface is another VSI's still".to_owned(), now + FIRST, 0));
                *ordered = Ordered { vsi, command, refused };
            }
            (Some(ordered), Err(_)) => {
                // It ends with its interface by itself.
                if self.taps.contains_key(interface) {
                    self.outputs.push_back(ended(ordered));
                }
                self.orders.remove(interface);
            }
        }
    }

    /// What is wanted for an interface; why nothing is.
    fn wish(&self, interface: &str) -> Result<Wish, &'static str> {
        let tap = self.taps.get(interface).ok_or("the interface is not there")?;
        if self.configured.contains(interface) {
            return Err("a [[vsi]] of the configuration");
        }
        let rule = self.config.taps.iter().find(|rule| rule.interface.matches(interface));
        let guest = self.guest(interface, tap);
        let said = guest.and_then(|(domain, _, nic)| {
            nic.vsi.as_ref().or_else(|| self.ports.get(&(domain.uuid.clone(), nic.mac)))
        });
        let vsi = said.or_else(|| rule.and_then(|rule| rule.vsi.as_ref()));
        let vsi = vsi.ok_or("no domain, no network and no [[guests.tap]] says of which type")?;
        let mac = match guest {
            Some((_, _, nic)) => nic.mac,
            None => vm_address(tap.mac).ok_or("no domain says which address its VM has")?,
        };
        let name = match guest {
            // Not another one when a second interface is plugged in.
            Some((domain, 0, _)) => domain.name.clone(),
            Some((domain, place, _)) => format!("{}/{}", domain.name, place + 1),
            None => interface.to_owned(),
        };
        let line = FilterEntry { group: vsi.group, mac: Some(mac), vid: vsi.vlan, priority: vsi.pcp };
        let filter = FilterInfo::new(vec![line]).map_err(|_| "its filter cannot be")?;
        // Who else would tell when it has come?
        let incoming =
            matches!(self.libvirt, Some(Ok(()))) && guest.is_some_and(|(domain, ..)| domain.incoming);
        let command = if incoming { Command::PreAssociateRr } else { Command::Associate };
        let vsi = VsiConfig {
            name,
            interface: interface.to_owned(),
            id: vsi.id.unwrap_or_else(|| id_of(mac)),
            manager: vsi.manager,
            type_id: vsi.type_id,
            type_version: vsi.type_version,
            filter,
            ips: Vec::new(),
            automatic: !incoming,
            transient: true,
            channel: vsi.channel.clone(),
        };
        Ok(Wish { vsi, command })
    }

    /// The VM whose interface this is: by its name, or by its address where the domain gives no name.
    fn guest(&self, interface: &str, tap: &Tap) -> Option<(&Domain, usize, &Nic)> {
        let nics = || {
            let of = |domain| Domain::numbered(domain);
            self.domains.values().flat_map(of)
        };
        let named = nics().find(|(_, _, nic)| nic.tap.as_deref() == Some(interface));
        let mac = vm_address(tap.mac);
        named.or_else(|| nics().find(|(_, _, nic)| nic.tap.is_none() && Some(nic.mac) == mac))
    }

    /// The rows of `show guests`.
    pub(crate) fn rows(&self) -> Vec<serde_json::Value> {
        let interfaces: BTreeSet<&String> = self.taps.keys().chain(self.orders.keys()).collect();
        let libvirt = self.libvirt.as_ref().map(|heard| match heard {
            Ok(()) => "heard".to_owned(),
            Err(why) => why.clone(),
        });
        let row = |interface: &String| {
            let tap = self.taps.get(interface);
            let guest = tap.and_then(|tap| self.guest(interface, tap));
            let ordered = self.orders.get(interface);
            let refused = ordered.and_then(|ordered| ordered.refused.as_ref()).map(|(why, ..)| why.clone());
            let bridge = tap.and_then(|tap| tap.bridge.clone());
            crate::view::row(Row {
                interface,
                domain: guest.map(|(domain, ..)| domain.name.as_str()),
                uuid: guest.map(|(domain, ..)| domain.uuid.as_str()),
                mac: guest
                    .map(|(_, _, nic)| nic.mac)
                    .or_else(|| vm_address(tap?.mac))
                    .map(|mac| mac.to_string()),
                vsi: ordered.map(|ordered| ordered.vsi.id),
                ordered: ordered.map(|ordered| ordered.command),
                because: refused.or_else(|| Some(self.wish(interface).err()?.to_owned())),
                bridge,
                libvirt: libvirt.clone(),
            })
        };
        interfaces.into_iter().map(row).collect()
    }
}

impl Domain {
    fn numbered(&self) -> impl Iterator<Item = (&Self, usize, &Nic)> {
        self.nics.iter().enumerate().map(move |(place, nic)| (self, place, nic))
    }
}

/// One interface of a VM.
#[derive(Serialize)]
struct Row<'a> {
    interface: &'a str,
    domain: Option<&'a str>,
    uuid: Option<&'a str>,
    mac: Option<String>,
    vsi: Option<VsiId>,
    ordered: Option<Command>,
    /// Why it is no VSI.
    because: Option<String>,
    /// The Linux bridge that has its frames.
    bridge: Option<String>,
    /// Whether libvirt is heard, if it is asked.
    libvirt: Option<String>,
}

fn given(interface: &str, vsi: &VsiConfig, command: Command) -> Output {
    let hints = Hints { migrating: command != Command::Associate, suspended: false };
    let order = VsiOrder { command, vsi: Which::Given(vsi.clone()), hints, port: None };
    Output::Order { interface: interface.to_owned(), order }
}

fn ended(ordered: &Ordered) -> Output {
    let vsi = Which::Known(ordered.vsi.id.to_string());
    Output::End(VsiOrder { command: Command::DeAssociate, vsi, hints: Hints::default(), port: None })
}

/// The address of the VM behind a tap of libvirt, which has that of the VM but for the first octet.
fn vm_address(tap: MacAddr) -> Option<MacAddr> {
    let MacAddr(first, b, c, d, e, f) = tap;
    (first == LIBVIRTS).then_some(MacAddr(QEMUS, b, c, d, e, f))
}

/// The identifier of a VSI that is named by its address.
fn id_of(mac: MacAddr) -> VsiId {
    let MacAddr(a, b, c, d, e, f) = mac;
    VsiId::new(VsiIdFormat::Mac, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f])
}

/// First octet of the taps of libvirt, and of the VMs behind them.
const LIBVIRTS: u8 = 0xfe;
const QEMUS: u8 = 0x52;
/// Domains, and ports of networks, that are known; further ones are ignored.
const DOMAINS: usize = 4096;
/// Before an order that was refused is given again, at first and at most.
const FIRST: Duration = Duration::from_millis(50);
const LAST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
