//! The control socket: D-Bus peer to peer, without a bus.

use std::{
    collections::HashMap,
    io,
    num::NonZeroUsize,
    os::unix::{fs::PermissionsExt, net::UnixStream as StdStream},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use futures_util::StreamExt;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{broadcast, mpsc, watch},
    time::timeout,
};
use zbus::{
    Connection, MessageStream,
    connection::Builder,
    message::{Flags, Message, Type},
};

use super::{
    access::Access,
    answer::{About, Desk, Request, is_of_objects},
    bus,
    paths::ROOT,
    schema::{DAEMON, Right},
    variant::to_dict,
    watcher::{self, Interest},
};
use crate::config::ControlConfig;

/// The listening socket; removed when dropped.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
    access: Access,
    bus: Option<String>,
}

impl Server {
    /// Binds the socket, taking the place of one nobody listens on any more.
    pub(crate) fn bind(config: &ControlConfig) -> anyhow::Result<Self> {
        let path = config.socket.as_path();
        let access = Access::new(config)?;
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
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(access.socket_mode()))
            .with_context(|| format!("cannot set the mode of {}", path.display()))?;
        Ok(Self { listener, path: path.to_owned(), access, bus: config.bus.clone() })
    }

    /// Serves clients for ever, each in a task of its own, and those of the bus.
    pub(crate) async fn serve(
        self,
        about: About,
        requests: mpsc::Sender<Request>,
        events: broadcast::Sender<serde_json::Value>,
    ) {
        let (interest, _) = watch::channel(0);
        let desk = Desk { about, requests, access: self.access.clone(), interest };
        let (signals, _) = broadcast::channel(SIGNAL_QUEUE);
        tokio::spawn(watcher::watch(desk.clone(), events.subscribe(), signals.clone()));
        let news = News { events, signals };
        if let Some(address) = self.bus.clone() {
            tokio::spawn(bus::attend(desk.clone(), address, news.clone()));
        }
        let guid = zbus::Guid::generate();
        let clients = Clients::default();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let user = stream.peer_cred().ok().map(|peer| peer.uid());
                    let Some(seat) = user.and_then(|user| clients.seat(user)) else {
                        tracing::debug!(?user, "a control client too many");
                        continue;
                    };
                    let (desk, guid, feed) = (desk.clone(), guid.clone(), news.feed());
                    tokio::spawn(async move {
                        let done = match welcome(stream, guid.into(), &desk.access).await {
                            Ok((stream, right)) => converse(stream, desk, right, feed).await,
                            Err(error) => Err(error),
                        };
                        if let Err(error) = done {
                            tracing::debug!(%error, "control client left");
                        }
                        drop(seat);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a control client");
                    // Out of descriptors, likely: some will be free in a while.
                    tokio::time::sleep(RESPITE).await;
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

/// What connections are told without asking.
#[derive(Clone)]
pub(super) struct News {
    pub(super) events: broadcast::Sender<serde_json::Value>,
    pub(super) signals: broadcast::Sender<Message>,
}

/// The same for one connection, from now on.
pub(super) struct Feed {
    events: broadcast::Receiver<serde_json::Value>,
    signals: broadcast::Receiver<Message>,
}

impl News {
    pub(super) fn feed(&self) -> Feed {
        Feed { events: self.events.subscribe(), signals: self.signals.subscribe() }
    }
}

impl Feed {
    /// The next signal to send; `None` when there are no more. One who lags behind misses some: the numbers of events show
    /// it, and `Events` has what was missed.
    pub(super) async fn next(&mut self) -> Option<Message> {
        use broadcast::error::RecvError::{Closed, Lagged};
        loop {
            let signal = tokio::select! {
                event = self.events.recv() => match event {
                    Ok(event) => Message::signal(ROOT, DAEMON.name, "Event").build(&to_dict(event)).ok(),
                    Err(Lagged(_)) => None,
                    Err(Closed) => return None,
                },
                signal = self.signals.recv() => match signal {
                    Ok(signal) => Some(signal),
                    Err(Lagged(_)) => None,
                    Err(Closed) => return None,
                },
            };
            if signal.is_some() {
                return signal;
            }
        }
    }
}

/// A client's handshake, and what it may do.
pub(super) async fn welcome(
    stream: UnixStream,
    guid: zbus::OwnedGuid,
    access: &Access,
) -> anyhow::Result<(MessageStream, Right)> {
    let queued = NonZeroUsize::new(CALL_QUEUE).unwrap_or(NonZeroUsize::MIN);
    let builder = Builder::unix_stream(stream.into_std()?).server(guid).p2p().max_queued(queued);
    let stream = timeout(HANDSHAKE, builder.build_message_stream()).await.context("no handshake")??;
    let connection = Connection::from(&stream);
    let right = access.right_of(connection.peer_creds().await?).context("may not even look")?;
    Ok((stream, right))
}

/// One client, from its handshake to its end: its calls one after the other, and what it is told between them.
pub(super) async fn converse(
    mut stream: MessageStream,
    desk: Desk,
    right: Right,
    mut feed: Feed,
) -> anyhow::Result<()> {
    let connection = Connection::from(&stream);
    let mut interest = None;
    loop {
        let message = tokio::select! {
            message = stream.next() => match message {
                Some(message) => message?,
                None => return Ok(()),
            },
            signal = feed.next() => {
                let Some(signal) = signal else { return Ok(()) };
                // Who does not read for a while misses what goes beyond his queue, and may still ask.
                connection.send(&signal).await?;
                continue;
            }
        };
        if message.message_type() != Type::MethodCall {
            continue;
        }
        if interest.is_none() && is_of_objects(&message) {
            interest = Some(Interest::new(&desk.interest));
        }
        let answer = desk.answer(&message, Some(right)).await?;
        if wants_answer(&message) {
            send(&connection, &answer).await?;
        }
    }
}

pub(super) fn wants_answer(message: &Message) -> bool {
    !message.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED)
}

/// Answers one who may not read: he is given up then.
async fn send(connection: &Connection, message: &Message) -> anyhow::Result<()> {
    timeout(PATIENCE, connection.send(message)).await.context("does not read")??;
    Ok(())
}

/// How many clients each user has.
#[derive(Clone, Default)]
struct Clients(Arc<Mutex<HashMap<u32, usize>>>);

impl Clients {
    /// A place for a client of `user`, if there is one left.
    fn seat(&self, user: u32) -> Option<Seat> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(user).or_default();
        if *count >= if user == 0 { ROOT_CLIENTS } else { USER_CLIENTS } {
            return None;
        }
        *count += 1;
        Some(Seat(self.clone(), user))
    }
}

/// The place of one client; free again when dropped.
struct Seat(Clients, u32);

impl Drop for Seat {
    fn drop(&mut self) {
        let Self(Clients(clients), user) = self;
        let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                clients.remove(user);
            }
        }
    }
}

/// Clients one user may have at a time, and those root may have.
const USER_CLIENTS: usize = 16;
const ROOT_CLIENTS: usize = 1024;
/// Calls of one client that wait; further ones wait in its socket.
const CALL_QUEUE: usize = 8;
/// Signals of changes a slow client may lag behind.
const SIGNAL_QUEUE: usize = 1024;
const HANDSHAKE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(10);
const RESPITE: Duration = Duration::from_millis(100);
