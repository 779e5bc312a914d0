//! VMs of the hypervisor: what is said of them, and the orders that follow.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio::sync::mpsc;

use super::Daemon;
use crate::{
    config::Config,
    event::Event,
    guests::{
        Guests, Output, Tap, Word,
        libvirt::{self, Said},
    },
    input::Link,
    kernel::links::{LinkWatch, MasterKind, Seen},
};

/// Starts to look after VMs, if this is a station.
pub(super) fn start(config: &Config, links: &mut LinkWatch, said: mpsc::Sender<Said>) -> Option<Guests> {
    let guests = config.station()?.guests.clone();
    links.want_matching(guests.taps.iter().map(|rule| rule.interface.clone()).collect());
    if let Some(bus) = guests.libvirt.clone() {
        tokio::spawn(libvirt::follow(bus, guests.driver.clone(), said));
    }
    Some(Guests::new(guests, configured(config)))
}

/// Interfaces that are VSIs by name.
fn configured(config: &Config) -> BTreeSet<String> {
    let vsis = config.station().map_or(&[][..], |station| station.vsis.as_slice());
    vsis.iter().map(|vsi| vsi.interface.clone()).collect()
}

impl Daemon {
    /// An interface is like this now; orders wait for [`Daemon::serve_guests`].
    pub(super) fn see_guest(&mut self, interface: &str, seen: &Seen) {
        let now = self.clock.now();
        let tap = match seen.link {
            Link::Absent => None,
            Link::Present { mac, ifindex, .. } => {
                let bridge =
                    seen.master.as_ref().filter(|master| matches!(master.kind, MasterKind::Bridge { .. }));
                Some(Tap { mac, ifindex, bridge: bridge.map(|master| master.name.clone()) })
            }
        };
        if let Some(guests) = &mut self.guests {
            guests.see(now, interface, tap);
        }
    }

    /// libvirt, or one of its hooks, says something of VMs.
    pub(super) fn hear_of_guests(&mut self, said: Said) {
        let now = self.clock.now();
        let Some(guests) = &mut self.guests else { return };
        match said {
            Said::Word(word) => guests.hear(now, word),
            Said::Reached => {
                guests.follow(now, Ok(()));
                self.publish(&Event::LibvirtReached);
            }
            Said::Lost(error) => {
                guests.follow(now, Err(error.clone()));
                self.publish(&Event::LibvirtLost { error });
            }
        }
        self.serve_guests();
    }

    /// A client says something of a VM; the rows of the interfaces that are known after it.
    pub(super) fn guest(&mut self, word: Word) -> Result<Vec<Value>, String> {
        if self.guests.is_none() {
            return Err("a bridge has no VMs".to_owned());
        }
        self.hear_of_guests(Said::Word(word));
        Ok(self.guest_rows())
    }

    pub(super) fn guest_rows(&self) -> Vec<Value> {
        self.guests.as_ref().map_or_else(Vec::new, Guests::rows)
    }

    /// The configuration is another one.
    pub(super) fn reconfigure_guests(&mut self) {
        let (now, configured) = (self.clock.now(), configured(self.core.config()));
        if let Some(guests) = &mut self.guests {
            guests.reconfigure(now, configured);
        }
        self.serve_guests();
    }

    /// Gives the orders that follow.
    pub(super) fn serve_guests(&mut self) {
        let now = self.clock.now();
        if let Some(guests) = &mut self.guests {
            guests.handle_timeout(now);
        }
        while let Some(output) = self.guests.as_mut().and_then(Guests::poll_output) {
            match output {
                Output::Order { interface, order } => {
                    let answer = self.order(order).map(drop);
                    let why = |event: Value| {
                        event.get("error").and_then(Value::as_str).unwrap_or("refused").to_owned()
                    };
                    if let Some(guests) = &mut self.guests {
                        guests.answered(now, &interface, answer.map_err(why));
                    }
                }
                // One that has ended by itself is no fault.
                Output::End(order) => drop(self.order(order)),
                Output::Detach { interface, ifindex } => {
                    let detached = self.links.detach(ifindex);
                    tokio::spawn(async move {
                        if let Err(error) = detached.await {
                            tracing::error!(interface, %error, "cannot be taken out of its bridge");
                        }
                    });
                }
                // The core wants those that are its ports itself.
                Output::Watch { interface, wanted } => {
                    if !self.watched.values().any(|watched| *watched == interface) {
                        self.links.want(&interface, wanted);
                    }
                }
            }
        }
    }
}
