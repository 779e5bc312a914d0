//! The daemon's side of the control socket.

use std::{
    io,
    os::unix::{fs::PermissionsExt, net::UnixStream as StdStream},
    path::{Path, PathBuf},
};

use anyhow::Context;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{broadcast, mpsc, oneshot},
};
use zbus::{connection::Builder, fdo, interface, object_server::SignalEmitter};

use super::{
    OBJECT, Table,
    variant::{Dict, from_dict, to_dict},
};
use crate::order::VsiOrder;

/// What a client wants of the daemon's loop, which alone owns the state.
pub(crate) enum Request {
    /// The rows of a table.
    Show { table: Table, reply: oneshot::Sender<Vec<serde_json::Value>> },
    /// Read the configuration again; the rows of what changed, or why it is refused.
    Reload { reply: oneshot::Sender<Result<Vec<serde_json::Value>, String>> },
    /// Have an order for a VSI carried out; the event that says so, or why it is refused.
    Vsi { order: Box<VsiOrder>, reply: oneshot::Sender<Result<serde_json::Value, String>> },
    /// End; with `patience`, de-associate every VSI first, for so long. The rows of these VSIs.
    Stop { patience: Option<std::time::Duration>, reply: oneshot::Sender<Vec<serde_json::Value>> },
    /// Why the frames of a VSI pass or do not; or why nobody can say.
    Why { subject: String, reply: oneshot::Sender<Result<Vec<serde_json::Value>, String>> },
    /// The way of a frame through the relay, or why it has none.
    Trace { port: String, frame: Vec<u8>, reply: oneshot::Sender<Result<serde_json::Value, String>> },
    /// Remembered events with a number above `after`.
    Events { after: u64, reply: oneshot::Sender<Vec<serde_json::Value>> },
}

/// What never changes while the daemon runs.
#[derive(Clone)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) role: &'static str,
}

/// The listening socket; removed when dropped.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Binds `path`, taking the place of a socket nobody listens on any more.
    pub(crate) fn bind(path: &Path) -> anyhow::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        let listener = match UnixListener::bind(path) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                anyhow::ensure!(
                    StdStream::connect(path).is_err(),
                    "another evbd listens on {}; give this one its own socket under [control]",
                    path.display()
                );
                std::fs::remove_file(path)
                    .with_context(|| format!("cannot remove the stale {}", path.display()))?;
                UnixListener::bind(path)
            }
            other => other,
        }
        .with_context(|| format!("cannot listen on {}", path.display()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .with_context(|| format!("cannot set the mode of {}", path.display()))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves clients for ever, each in a task of its own.
    pub(crate) async fn serve(
        self,
        about: About,
        requests: mpsc::Sender<Request>,
        events: broadcast::Sender<serde_json::Value>,
    ) {
        let guid = zbus::Guid::generate();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let daemon = Daemon { about: about.clone(), requests: requests.clone() };
                    let (guid, events) = (guid.clone(), events.subscribe());
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, guid.into(), daemon, events).await {
                            tracing::debug!(%error, "control client left");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a control client");
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "control socket already gone");
        }
    }
}

/// One client, from its handshake to its end.
async fn converse(
    stream: UnixStream,
    guid: zbus::OwnedGuid,
    daemon: Daemon,
    mut events: broadcast::Receiver<serde_json::Value>,
) -> anyhow::Result<()> {
    let stream = stream.into_std()?;
    let connection = Builder::unix_stream(stream).server(guid).p2p().serve_at(OBJECT, daemon).build().await?;
    let emitter = SignalEmitter::new(&connection, OBJECT)?;
    let closed = connection.closed();
    tokio::pin!(closed);
    loop {
        tokio::select! {
            () = &mut closed => return Ok(()),
            event = events.recv() => match event {
                Ok(event) => Daemon::event(&emitter, to_dict(event)).await?,
                // The numbers show the gap; `Events` has what was missed.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            }
        }
    }
}

/// The one object.
struct Daemon {
    about: About,
    requests: mpsc::Sender<Request>,
}

impl Daemon {
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> fdo::Result<T> {
        let (reply, answer) = oneshot::channel();
        let stopping = |()| fdo::Error::Failed("the daemon is stopping".to_owned());
        self.requests.send(request(reply)).await.map_err(|_| stopping(()))?;
        answer.await.map_err(|_| stopping(()))
    }

    async fn rows(&self, table: Table) -> fdo::Result<Vec<Dict>> {
        let rows = self.ask(|reply| Request::Show { table, reply }).await?;
        Ok(rows.into_iter().map(to_dict).collect())
    }
}

#[interface(name = "org.evbd.Daemon1")]
impl Daemon {
    /// LLDP neighbours, a row each.
    async fn neighbors(&self) -> fdo::Result<Vec<Dict>> {
        self.rows(Table::Neighbors).await
    }

    /// EVB negotiation, a row for each port that takes part.
    async fn evb(&self) -> fdo::Result<Vec<Dict>> {
        self.rows(Table::Evb).await
    }

    /// VSIs, a row each.
    async fn vsi(&self) -> fdo::Result<Vec<Dict>> {
        self.rows(Table::Vsi).await
    }

    /// Ports with their counters, a row each.
    async fn ports(&self) -> fdo::Result<Vec<Dict>> {
        self.rows(Table::Ports).await
    }

    /// DCBX, a row for each feature of each port.
    async fn dcbx(&self) -> fdo::Result<Vec<Dict>> {
        self.rows(Table::Dcbx).await
    }

    /// Addresses the relay forwards by, a row each.
    async fn fdb(&self) -> fdo::Result<Vec<Dict>> {
        self.rows(Table::Fdb).await
    }

    /// Rows of [`Table::Profiles`].
    async fn profiles(&self) -> fdo::Result<Vec<Dict>> {
        self.rows(Table::Profiles).await
    }

    /// The frames dropped last, a row each.
    async fn drops(&self) -> fdo::Result<Vec<Dict>> {
        self.rows(Table::Drops).await
    }

    /// What every port and every open VSI has moved, a row each; two of them make a rate.
    async fn rates(&self) -> fdo::Result<Vec<Dict>> {
        self.rows(Table::Rates).await
    }

    /// Why the frames of a VSI pass or do not, a row for each VSI an identifier, name or address names.
    async fn why(&self, subject: String) -> fdo::Result<Vec<Dict>> {
        let rows = self.ask(|reply| Request::Why { subject, reply }).await?.map_err(fdo::Error::Failed)?;
        Ok(rows.into_iter().map(to_dict).collect())
    }

    /// What the relay would do with a frame, had it come in on a port now.
    async fn trace(&self, port: String, frame: Vec<u8>) -> fdo::Result<Dict> {
        self.ask(|reply| Request::Trace { port, frame, reply })
            .await?
            .map(to_dict)
            .map_err(fdo::Error::Failed)
    }

    /// Rows of [`Table::Managers`].
    async fn managers(&self) -> fdo::Result<Vec<Dict>> {
        self.rows(Table::Managers).await
    }

    /// S-channels, a row each.
    async fn channels(&self) -> fdo::Result<Vec<Dict>> {
        self.rows(Table::Channels).await
    }

    /// Captures of mirrored frames, a row each.
    async fn captures(&self) -> fdo::Result<Vec<Dict>> {
        self.rows(Table::Captures).await
    }

    /// Remembered events numbered above `after`, oldest first.
    async fn events(&self, after: u64) -> fdo::Result<Vec<Dict>> {
        let rows = self.ask(|reply| Request::Events { after, reply }).await?;
        Ok(rows.into_iter().map(to_dict).collect())
    }

    /// Reads the configuration again and applies what changed: a row for each difference. Fails, and changes nothing,
    /// when the file is wrong.
    async fn reload(&self) -> fdo::Result<Vec<Dict>> {
        let rows = self.ask(|reply| Request::Reload { reply }).await?.map_err(fdo::Error::Failed)?;
        Ok(rows.into_iter().map(to_dict).collect())
    }

    /// Has an order for a VSI carried out, given as its JSON has it (`command`, `vsi`, `hints`, `port`). Returns the event
    /// that says so; what comes of it is told by events with higher numbers. Fails, and changes nothing, when the order
    /// is refused.
    async fn order_vsi(&self, order: Dict) -> fdo::Result<Dict> {
        let order: VsiOrder = serde_json::from_value(from_dict(order))
            .map_err(|error| fdo::Error::InvalidArgs(error.to_string()))?;
        let order = Box::new(order);
        self.ask(|reply| Request::Vsi { order, reply }).await?.map(to_dict).map_err(fdo::Error::Failed)
    }

    /// Ends the daemon. With `deassociate`, every VSI is de-associated first, which may take `timeout` seconds: a row
    /// for each, `deassociated` once the other end has said so.
    async fn stop(&self, deassociate: bool, timeout: u32) -> fdo::Result<Vec<Dict>> {
        let patience = deassociate.then(|| std::time::Duration::from_secs(timeout.into()));
        let rows = self.ask(|reply| Request::Stop { patience, reply }).await?;
        Ok(rows.into_iter().map(to_dict).collect())
    }

    /// An event, with its `number` and `event` name.
    #[zbus(signal)]
    async fn event(emitter: &SignalEmitter<'_>, event: Dict) -> zbus::Result<()>;

    /// Version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    /// Version of the rows' fields.
    #[zbus(property(emits_changed_signal = "const"))]
    fn schema(&self) -> u32 {
        super::SCHEMA
    }

    /// The configured system name.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> &str {
        &self.about.name
    }

    /// `station` or `bridge`.
    #[zbus(property(emits_changed_signal = "const"))]
    fn role(&self) -> &str {
        self.about.role
    }
}
