//! Interface state by rtnetlink: what a named interface is now, and every change of it.
//!
//! Two sockets: on one the kernel multicasts changes of every link, on the other it answers questions about one. An
//! answer so never competes for room with a storm of changes. Of a foreign link's change nothing is read but its number
//! and name. When the kernel had no room for a change, what is queued is old and is thrown away, and everything wanted
//! is asked for again.

mod table;

use anyhow::Context;
use futures_util::{FutureExt, TryStreamExt, future::BoxFuture};
use rtnetlink::{
    Handle, LinkUnspec, MulticastGroup,
    packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload, NlasIterator},
    packet_route::{RouteNetlinkMessage, link::LinkMessage},
    sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};
use table::{Question, Table};
use wildmatch::WildMatch;

use crate::input::Link;

/// What is known of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its own state.
    pub(crate) link: Link,
    /// Whether it is administratively up.
    pub(crate) enabled: bool,
    /// The interface it is a port of.
    pub(crate) master: Option<Master>,
}

/// The master of an interface: it gets the interface's frames before the protocols of the host do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Master {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: MasterKind,
    /// `group_fwd_mask` of the interface as a bridge port: bit n forwards 01-80-C2-00-00-0n.
    pub(crate) port_mask: u16,
}

/// What a master is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MasterKind {
    /// A Linux bridge.
    Bridge {
        /// Whether a spanning tree runs, the kernel's or a daemon's.
        stp: bool,
        /// `group_fwd_mask` of the bridge.
        mask: u16,
    },
    /// Anything else, as the kernel calls it.
    Other(String),
}

/// Watches a fixed set of interface names.
pub(crate) struct LinkWatch {
    changes: TokioSocket,
    buffer: Vec<u8>,
    handle: Handle,
    /// The question under way.
    asked: Option<(Question, BoxFuture<'static, Vec<LinkMessage>>)>,
    table: Table,
}

impl LinkWatch {
    /// Starts watching `names`; the state of each is the first thing [`LinkWatch::next`] yields.
    pub(crate) fn start(names: impl IntoIterator<Item = String>) -> anyhow::Result<Self> {
        let mut changes = TokioSocket::new(NETLINK_ROUTE).context("cannot open a route netlink socket")?;
        let link = 1 << (MulticastGroup::Link as u32 - 1);
        changes.socket_mut().bind(&SocketAddr::new(0, link)).context("cannot subscribe to link changes")?;
        let (connection, handle, _) =
            rtnetlink::new_connection().context("cannot open a route netlink socket")?;
        tokio::spawn(connection);
        Ok(Self { changes, buffer: Vec::new(), handle, asked: None, table: Table::new(names) })
    }

    /// The next state of a wanted interface; waits for it. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<(String, Seen)> {
        loop {
            // Questions first: what is known together is told together, by `take`.
            if self.asked.is_none() {
                self.asked = self.table.question().map(|question| {
                    let answer = ask(self.handle.clone(), question.clone()).boxed();
                    (question, answer)
                });
            }
            if let Some((question, answer)) = &mut self.asked {
                let answer = answer.await;
                self.table.answer(question, &answer);
                self.asked = None;
                continue;
            }
            if let Some(change) = self.table.take() {
                return Ok(change);
            }
            self.buffer.clear();
            self.buffer.reserve(DATAGRAM);
            match self.changes.recv_from(&mut self.buffer).await {
                Ok(_) => read(&mut self.table, &self.buffer),
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => {
                    tracing::warn!("link changes were lost; reading the links again");
                    self.discard();
                    self.table.doubt();
                }
                Err(error) => return Err(error).context("the route netlink socket failed"),
            }
        }
    }

    /// Watches every interface whose name matches one of `patterns` too.
    pub(crate) fn want_matching(&mut self, patterns: Vec<WildMatch>) {
        self.table.want_matching(patterns);
    }

    /// Takes the interface of this number out of the bridge it is a port of.
    pub(crate) fn detach(&self, ifindex: u32) -> impl Future<Output = Result<(), rtnetlink::Error>> + use<> {
        let link = LinkUnspec::new_with_index(ifindex).nocontroller().build();
        let request = self.handle.link().set(link);
        async move { request.execute().await }
    }

    /// What brings interfaces up and down.
    pub(crate) fn switcher(&self) -> Switcher {
        Switcher(self.handle.clone())
    }

    /// Watches `name` too, or no more.
    pub(crate) fn want(&mut self, name: &str, wanted: bool) {
        self.table.want(name, wanted);
    }

    /// The next state of a wanted interface that is known already.
    pub(crate) fn take(&mut self) -> Option<(String, Seen)> {
        self.table.take()
    }

    /// Has [`LinkWatch::next`] yield the state of `name` once more, freshly read.
    pub(crate) fn reread(&mut self, name: &str) {
        self.table.reread(name);
    }

    /// Throws away what is queued: it is older than what was lost, and than what will be read.
    fn discard(&mut self) {
        loop {
            self.buffer.clear();
            self.buffer.reserve(DATAGRAM);
            match self.changes.recv_from(&mut self.buffer).now_or_never() {
                None => return,
                Some(Err(error)) if error.raw_os_error() != Some(ENOBUFS) => return,
                Some(_) => {}
            }
        }
    }
}

/// Brings interfaces up and down.
pub(crate) struct Switcher(Handle);

impl Switcher {
    /// Does so with the interface of this number.
    ///
    /// # Errors
    /// There is none, or the kernel does not let us.
    pub(crate) async fn set(&self, ifindex: u32, up: bool) -> Result<(), rtnetlink::Error> {
        let link = LinkUnspec::new_with_index(ifindex);
        let link = if up { link.up() } else { link.down() };
        self.0.link().set(link.build()).execute().await
    }
}

async fn ask(handle: Handle, question: Question) -> Vec<LinkMessage> {
    let request = handle.link().get();
    let request = match &question {
        Question::Name(name) => request.match_name(name.clone()),
        Question::Index(index) => request.match_index(*index),
        Question::All => request,
    };
    match request.execute().try_collect().await {
        Ok(links) => links,
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -ENODEV => Vec::new(),
        Err(error) => {
            tracing::error!(?question, %error, "cannot read a link");
            Vec::new()
        }
    }
}

/// Reads one datagram of changes.
fn read(table: &mut Table, mut datagram: &[u8]) {
    while let Ok(message) = NetlinkBuffer::new_checked(datagram) {
        let octets = usize::try_from(message.length()).unwrap_or(usize::MAX);
        let whole = datagram.get(..octets).unwrap_or_default();
        if concerns(table, message.payload()) {
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(whole).map(|message| message.payload) {
                Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link))) => table.seen(&link),
                Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link))) => table.deleted(&link),
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "a link change could not be read"),
            }
        }
        datagram = datagram.get(octets.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
}

/// Whether a change may be about a link we want: looks at its number and, at most, its name.
fn concerns(table: &Table, payload: &[u8]) -> bool {
    // struct ifinfomsg: family, pad, type: 16; index: 32; flags, change: 32.
    let Some(&[_, _, _, _, a, b, c, d]) = payload.first_chunk() else { return false };
    if table.knows(u32::from_ne_bytes([a, b, c, d])) {
        return true;
    }
    let attributes = NlasIterator::new(payload.get(IFINFOMSG..).unwrap_or_default());
    let name = attributes.flatten().find(|attribute| attribute.kind() == IFLA_IFNAME);
    name.is_some_and(|name| {
        let name = name.value().split(|octet| *octet == 0).next().unwrap_or_default();
        std::str::from_utf8(name).is_ok_and(|name| table.wants(name))
    })
}

/// No change of a link is longer.
const DATAGRAM: usize = 64 * 1024;
const ALIGNMENT: usize = 4;
const IFINFOMSG: usize = 16;
const IFLA_IFNAME: u16 = 3;
const ENOBUFS: i32 = rustix::io::Errno::NOBUFS.raw_os_error();
const ENODEV: i32 = rustix::io::Errno::NODEV.raw_os_error();

#[cfg(test)]
mod tests;
