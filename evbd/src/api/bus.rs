//! The same interface on a message bus, under the name [`super::SERVICE`]. A bus that is not there, or goes away, is
//! tried again for ever.

use std::{collections::HashMap, num::NonZeroUsize, sync::Arc, time::Duration};

use anyhow::Context;
use futures_util::StreamExt;
use tokio::sync::{Mutex, Semaphore};
use zbus::{
    Connection,
    connection::Builder,
    fdo::DBusProxy,
    message::{Message, Type},
    names::{BusName, OwnedUniqueName},
};

use super::{
    SERVICE,
    answer::Desk,
    schema::Right,
    server::{News, wants_answer},
    watcher::Interest,
};

/// Attends the bus at `address` for ever.
pub(super) async fn attend(desk: Desk, address: String, news: News) {
    let mut pause = SHORTEST;
    let mut told = false;
    loop {
        let since = tokio::time::Instant::now();
        if let Err(error) = serve(&desk, &address, &news).await {
            // Once for each time it is lost: a host may have no bus at all.
            if !told {
                tracing::warn!(
                    error = format!("{error:#}"),
                    bus = address,
                    "not on the bus; the control socket works"
                );
            }
            told = true;
        }
        if since.elapsed() > LONGEST {
            (pause, told) = (SHORTEST, false);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// On the bus until it is lost.
async fn serve(desk: &Desk, address: &str, news: &News) -> anyhow::Result<()> {
    let builder = if address == SYSTEM { Builder::system() } else { Builder::address(address) };
    let queued = NonZeroUsize::new(CALLS).unwrap_or(NonZeroUsize::MIN);
    let mut stream = builder.max_queued(queued).build_message_stream().await.context("cannot connect")?;
    let connection = Connection::from(&stream);
    connection.request_name(SERVICE).await.with_context(|| format!("cannot have the name {SERVICE}"))?;
    tracing::info!(bus = address, name = SERVICE, "on the bus");
    let mut feed = news.feed();
    let _interest = Interest::new(&desk.interest);
    let clerk = Clerk {
        desk: desk.clone(),
        bus: DBusProxy::new(&connection).await?,
        connection: connection.clone(),
        known: Arc::default(),
        calls: Arc::new(Semaphore::new(CALLS)),
    };
    loop {
        tokio::select! {
            message = stream.next() => clerk.take(message.context("the bus went away")??).await?,
            signal = feed.next() => connection.send(&signal.context("the daemon ends")?).await?,
        }
    }
}

/// Answers calls of the bus, each in a task of its own, and so many at a time.
#[derive(Clone)]
struct Clerk {
    desk: Desk,
    bus: DBusProxy<'static>,
    connection: Connection,
    /// What callers may do: a bus never gives a name of theirs to another.
    known: Arc<Mutex<HashMap<OwnedUniqueName, Option<Right>>>>,
    calls: Arc<Semaphore>,
}

impl Clerk {
    /// Waits for a place when too many calls are under way: those that follow wait on the bus.
    async fn take(&self, message: Message) -> anyhow::Result<()> {
        if message.message_type() != Type::MethodCall {
            return Ok(());
        }
        let permit = self.calls.clone().acquire_owned().await?;
        let clerk = self.clone();
        tokio::spawn(async move {
            if let Err(error) = clerk.answer(&message).await {
                tracing::debug!(%error, "a call was not answered");
            }
            drop(permit);
        });
        Ok(())
    }

    async fn answer(&self, message: &Message) -> zbus::Result<()> {
        let right = self.right(message).await;
        let answer = self.desk.answer(message, right).await?;
        if wants_answer(message) {
            self.connection.send(&answer).await?;
        }
        Ok(())
    }

    /// What the caller may do, as the bus says who it is.
    async fn right(&self, message: &Message) -> Option<Right> {
        let caller: OwnedUniqueName = message.header().sender()?.to_owned().into();
        if let Some(right) = self.known.lock().await.get(&caller) {
            return *right;
        }
        let credentials =
            self.bus.get_connection_credentials(BusName::from(caller.inner().clone())).await.ok()?;
        let right = self.desk.access.right_of(&credentials);
        let mut known = self.known.lock().await;
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(caller, right);
        right
    }
}

/// What the system bus is called in the configuration.
const SYSTEM: &str = "system";
/// Calls under way at a time; further ones wait on the bus.
const CALLS: usize = 64;
/// Callers remembered.
const KNOWN: usize = 256;
/// Between two attempts to get on the bus.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);
