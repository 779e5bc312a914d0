//! The other side of the control socket, as the command line and the lab use it.

use std::{collections::VecDeque, os::unix::net::UnixStream, path::Path};

use anyhow::Context;
use futures_util::StreamExt;
use serde_json::Value;
use zbus::{Connection, DBusError, connection::Builder, proxy};

use super::{
    Table,
    variant::{Dict, from_dict, to_dict},
};
use crate::{guests::Word, order::VsiOrder};

#[proxy(interface = "org.evbd.Daemon1", default_service = "org.evbd", default_path = "/org/evbd")]
trait Daemon1 {
    fn neighbors(&self) -> zbus::Result<Vec<Dict>>;
    fn evb(&self) -> zbus::Result<Vec<Dict>>;
    fn vsi(&self) -> zbus::Result<Vec<Dict>>;
    fn ports(&self) -> zbus::Result<Vec<Dict>>;
    fn dcbx(&self) -> zbus::Result<Vec<Dict>>;
    fn fdb(&self) -> zbus::Result<Vec<Dict>>;
    fn profiles(&self) -> zbus::Result<Vec<Dict>>;
    fn managers(&self) -> zbus::Result<Vec<Dict>>;
    fn drops(&self) -> zbus::Result<Vec<Dict>>;
    fn rates(&self) -> zbus::Result<Vec<Dict>>;
    fn why(&self, subject: &str) -> zbus::Result<Vec<Dict>>;
    fn trace(&self, port: &str, frame: &[u8]) -> zbus::Result<Dict>;
    fn captures(&self) -> zbus::Result<Vec<Dict>>;
    fn libvirt(&self) -> zbus::Result<Vec<Dict>>;
    fn guests(&self) -> zbus::Result<Vec<Dict>>;
    fn guest(&self, word: Dict) -> zbus::Result<Vec<Dict>>;
    fn flows(&self) -> zbus::Result<Vec<Dict>>;
    fn channels(&self) -> zbus::Result<Vec<Dict>>;
    fn extension(&self) -> zbus::Result<Vec<Dict>>;
    fn events(&self, after: u64) -> zbus::Result<Vec<Dict>>;
    fn reload(&self) -> zbus::Result<Vec<Dict>>;
    fn stop(&self, deassociate: bool, timeout: u32) -> zbus::Result<Vec<Dict>>;
    fn order_vsi(&self, order: Dict) -> zbus::Result<Dict>;
    #[zbus(signal)]
    fn event(&self, event: Dict) -> zbus::Result<()>;
}

/// A connection to a running daemon.
pub struct Client {
    proxy: Daemon1Proxy<'static>,
    _connection: Connection,
}

impl Client {
    /// Connects to the daemon listening on `socket`.
    ///
    /// # Errors
    /// When nothing listens there or it does not speak D-Bus.
    pub async fn connect(socket: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| {
            format!(
                "no evbd answers on {}: is it running, and is this its socket (--socket)?",
                socket.display()
            )
        })?;
        let connection = Builder::unix_stream(stream)
            .p2p()
            .build()
            .await
            .with_context(|| format!("{} is no control socket of evbd", socket.display()))?;
        let proxy = Daemon1Proxy::new(&connection).await?;
        Ok(Self { proxy, _connection: connection })
    }

    /// The rows of `table`.
    ///
    /// # Errors
    /// When the daemon stops meanwhile.
    pub async fn show(&self, table: Table) -> anyhow::Result<Vec<Value>> {
        let rows = match table {
            Table::Neighbors => self.proxy.neighbors().await,
            Table::Evb => self.proxy.evb().await,
            Table::Vsi => self.proxy.vsi().await,
            Table::Ports => self.proxy.ports().await,
            Table::Dcbx => self.proxy.dcbx().await,
            Table::Fdb => self.proxy.fdb().await,
            Table::Profiles => self.proxy.profiles().await,
            Table::Managers => self.proxy.managers().await,
            Table::Drops => self.proxy.drops().await,
            Table::Rates => self.proxy.rates().await,
            Table::Channels => self.proxy.channels().await,
            Table::Extension => self.proxy.extension().await,
            Table::Captures => self.proxy.captures().await,
            Table::Libvirt => self.proxy.libvirt().await,
            Table::Guests => self.proxy.guests().await,
            Table::Flows => self.proxy.flows().await,
        };
        let rows = rows.map_err(|error| plainly(error, &format!("cannot read {}", table.name())))?;
        Ok(rows.into_iter().map(from_dict).collect())
    }

    /// Why the frames of a VSI pass or do not; a row for each VSI that `subject`, an identifier, name or address, names.
    ///
    /// # Errors
    /// When no VSI is meant, or the daemon stops meanwhile.
    pub async fn why(&self, subject: &str) -> anyhow::Result<Vec<Value>> {
        let rows = self.proxy.why(subject).await.map_err(|error| plainly(error, "cannot ask"))?;
        Ok(rows.into_iter().map(from_dict).collect())
    }

    /// What the relay would do with `frame`, had it come in on the interface `port` now.
    ///
    /// # Errors
    /// When there is no such port or the frame cannot be read, or the daemon stops meanwhile.
    pub async fn trace(&self, port: &str, frame: &[u8]) -> anyhow::Result<Value> {
        let row = self.proxy.trace(port, frame).await.map_err(|error| plainly(error, "cannot ask"))?;
        Ok(from_dict(row))
    }

    /// Has the daemon read its configuration again; a row for each difference, with its line as `line`.
    ///
    /// # Errors
    /// When the file is wrong, with the place; nothing has changed then. Or when the daemon stops meanwhile.
    pub async fn reload(&self) -> anyhow::Result<Vec<Value>> {
        let rows = self.proxy.reload().await.map_err(|error| plainly(error, "cannot reload"))?;
        Ok(rows.into_iter().map(from_dict).collect())
    }

    /// Has the daemon carry out an order for a VSI; the event that says so. What comes of it are later events.
    ///
    /// # Errors
    /// When the order is refused, with why; nothing has changed then. Or when the daemon stops meanwhile.
    pub async fn order(&self, order: &VsiOrder) -> anyhow::Result<Value> {
        let event = self
            .proxy
            .order_vsi(to_dict(serde_json::to_value(order)?))
            .await
            .map_err(|error| plainly(error, "the order could not be given"))?;
        Ok(from_dict(event))
    }

    /// Says something of a VM; the rows of `guests` as they are then.
    ///
    /// # Errors
    /// When the daemon is a bridge, or stops meanwhile.
    pub(crate) async fn guest(&self, word: &Word) -> anyhow::Result<Vec<Value>> {
        let rows = self.proxy.guest(to_dict(serde_json::to_value(word)?)).await;
        Ok(rows.map_err(|error| plainly(error, "cannot say it"))?.into_iter().map(from_dict).collect())
    }

    /// Ends the daemon; with `deassociate`, every VSI is de-associated first, which may take so many seconds. A row for
    /// each of these VSIs.
    ///
    /// # Errors
    /// When the daemon ends without an answer.
    pub async fn stop(&self, deassociate: bool, timeout: u32) -> anyhow::Result<Vec<Value>> {
        let rows = self.proxy.stop(deassociate, timeout).await;
        let rows = rows.map_err(|error| plainly(error, "the daemon gives no answer"))?;
        Ok(rows.into_iter().map(from_dict).collect())
    }

    /// The events after number `after` that are remembered.
    ///
    /// # Errors
    /// When the daemon goes away.
    pub async fn events(&self, after: u64) -> anyhow::Result<Vec<Value>> {
        Ok(self.proxy.events(after).await?.into_iter().map(from_dict).collect())
    }

    /// Every event from the first one remembered on, in order and without gaps as far as the daemon remembers.
    ///
    /// # Errors
    /// When the daemon stops meanwhile.
    pub async fn follow(&self) -> anyhow::Result<Events<'_>> {
        let mut events = self.follow_new().await?;
        // Subscribed before: what comes between is in both and told apart by its number.
        events.last = Some(0);
        events.ready = self.events(0).await?.into();
        Ok(events)
    }

    /// Every event from now on.
    ///
    /// # Errors
    /// When the daemon stops meanwhile.
    pub async fn follow_new(&self) -> anyhow::Result<Events<'_>> {
        let signals = self.proxy.receive_event().await?;
        Ok(Events { client: self, signals, ready: VecDeque::new(), last: None })
    }
}

/// What the daemon says of a call it does not answer; of a call that did not get there, what was to be done.
fn plainly(error: zbus::Error, what: &str) -> anyhow::Error {
    match error {
        zbus::Error::MethodError(_, Some(why), _) => anyhow::anyhow!(why),
        zbus::Error::FDO(error) if error.description().is_some() => {
            anyhow::anyhow!(error.description().unwrap_or_default().to_owned())
        }
        error => anyhow::Error::new(error).context(what.to_owned()),
    }
}

/// A running daemon's events; see [`Client::follow`].
pub struct Events<'a> {
    client: &'a Client,
    signals: EventStream,
    ready: VecDeque<Value>,
    /// The number of the one told last, or before the first; not known before the first of those that are new.
    last: Option<u64>,
}

impl Events<'_> {
    /// The next event; waits for it.
    ///
    /// # Errors
    /// When the daemon goes away.
    pub async fn next(&mut self) -> anyhow::Result<Value> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                let number = event.get("number").and_then(Value::as_u64).unwrap_or(0);
                if self.last.is_none_or(|last| number > last) {
                    self.last = Some(number);
                    return Ok(event);
                }
                continue;
            }
            let signal = self.signals.next().await.context("the daemon went away")?;
            let event = from_dict(signal.args()?.event);
            let number = event.get("number").and_then(Value::as_u64).unwrap_or(0);
            if let Some(last) = self.last.filter(|last| number > last + 1) {
                self.ready = self.client.events(last).await?.into();
            } else {
                self.ready.push_back(event);
            }
        }
    }
}
