//! Interface state by rtnetlink: what a named interface is now, and every change of it.

use std::collections::{HashMap, VecDeque};

use anyhow::Context;
use ether::MacAddr;
use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::{
    Handle, MulticastGroup, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        link::{LinkAttribute, LinkFlags, LinkMessage},
    },
    sys::SocketAddr,
};

use crate::input::Link;

type Messages = futures_util::stream::BoxStream<'static, (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>;

/// Watches a fixed set of interface names; other links cost nothing but the look at their name.
pub(crate) struct LinkWatch {
    handle: Handle,
    messages: Messages,
    /// Wanted names, with the number the interface had when last seen.
    wanted: HashMap<String, Option<u32>>,
    ready: VecDeque<(String, Link)>,
}

impl LinkWatch {
    /// Starts watching `names`; the state of each is the first thing [`LinkWatch::next`] yields.
    pub(crate) async fn start(names: impl IntoIterator<Item = String>) -> anyhow::Result<Self> {
        let (connection, handle, messages) = new_multicast_connection(&[MulticastGroup::Link])
            .context("cannot open a route netlink socket")?;
        tokio::spawn(connection);
        let wanted = names.into_iter().map(|name| (name, None)).collect();
        let mut watch = Self { handle, messages: messages.boxed(), wanted, ready: VecDeque::new() };
        watch.resync().await;
        Ok(watch)
    }

    /// The next state of a wanted interface; waits for it.
    pub(crate) async fn next(&mut self) -> anyhow::Result<(String, Link)> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            let (message, _) = self.messages.next().await.context("the route netlink socket was closed")?;
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => self.seen(&link),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => self.deleted(&link),
                // The kernel could not queue a change: ask for everything again.
                NetlinkPayload::Overrun(_) => {
                    tracing::warn!("link notifications were lost; reading the links again");
                    self.resync().await;
                }
                _ => {}
            }
        }
    }

    async fn resync(&mut self) {
        let names: Vec<String> = self.wanted.keys().cloned().collect();
        for name in names {
            let found = self.handle.link().get().match_name(name.clone()).execute().try_next().await;
            match found {
                Ok(Some(link)) => self.seen(&link),
                // ENODEV, or a kernel that answers with nothing.
                Ok(None) | Err(_) => self.absent(&name),
            }
        }
    }

    fn seen(&mut self, message: &LinkMessage) {
        if message.header.interface_family != AddressFamily::Unspec {
            return;
        }
        let index = message.header.index;
        let Some(name) = name(message) else { return };
        let renamed = self.wanted.iter().find(|(n, i)| **i == Some(index) && n.as_str() != name);
        if let Some(old) = renamed.map(|(n, _)| n.clone()) {
            self.absent(&old);
        }
        if let Some(known) = self.wanted.get_mut(name) {
            *known = Some(index);
            self.ready.push_back((name.to_owned(), link(message)));
        }
    }

    fn deleted(&mut self, message: &LinkMessage) {
        if message.header.interface_family != AddressFamily::Unspec {
            return;
        }
        let gone = self.wanted.iter().find(|(_, i)| **i == Some(message.header.index));
        if let Some(name) = gone.map(|(n, _)| n.clone()) {
            self.absent(&name);
        }
    }

    fn absent(&mut self, name: &str) {
        if let Some(known) = self.wanted.get_mut(name) {
            *known = None;
        }
        self.ready.push_back((name.to_owned(), Link::Absent));
    }
}

fn name(message: &LinkMessage) -> Option<&str> {
    message.attributes.iter().find_map(|a| match a {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn link(message: &LinkMessage) -> Link {
    let mut mac = MacAddr::zero();
    let mut mtu = 1500;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(octets) => {
                if let Ok(octets) = <[u8; 6]>::try_from(octets.as_slice()) {
                    mac = MacAddr::from(octets);
                }
            }
            LinkAttribute::Mtu(octets) => mtu = *octets,
            _ => {}
        }
    }
    let flags = message.header.flags;
    // Running, not carrier: with carrier alone the kernel still drops what is sent for up to a second.
    let up = flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::Running);
    Link::Present { up, mac, ifindex: message.header.index, mtu }
}
