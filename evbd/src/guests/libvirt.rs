//! Follows the domains of libvirt by libvirt-dbus, `org.libvirt`.
//!
//! libvirt-dbus connects to libvirt at the first call, and after libvirt was restarted at the next one; until then it
//! emits no signal. So it is called regularly. A signal has a domain read anew, and all that is regularly asked.

use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use tokio::{sync::mpsc, time};
use zbus::{
    Connection, MatchRule, MessageStream, ObjectPath, OwnedObjectPath,
    connection::Builder,
    message::{Message, Type},
    proxy,
};

use super::{Domain, Word, xml};

/// What is heard of libvirt.
pub(crate) enum Said {
    /// It says this of VMs.
    Word(Word),
    /// It is heard.
    Reached,
    /// It is not heard any more; why.
    Lost(String),
}

#[proxy(interface = "org.libvirt.Connect", default_service = "org.libvirt")]
trait Connect {
    fn list_domains(&self, flags: u32) -> zbus::Result<Vec<OwnedObjectPath>>;
}

#[proxy(interface = "org.libvirt.Domain", default_service = "org.libvirt")]
trait Domain1 {
    #[zbus(name = "GetXMLDesc")]
    fn get_xml_desc(&self, flags: u32) -> zbus::Result<String>;
    fn get_state(&self, flags: u32) -> zbus::Result<(i32, i32)>;
}

/// Follows the domains of `driver` on the bus at `address` for ever.
pub(crate) async fn follow(address: String, driver: String, said: mpsc::Sender<Said>) {
    let mut pause = SHORTEST;
    let mut told = None;
    loop {
        let mut reached = false;
        let error = match listen(&address, &driver, &said, &mut reached).await {
            // Nobody listens to us any more.
            Ok(()) => return,
            Err(error) => format!("{error:#}"),
        };
        if reached {
            (pause, told) = (SHORTEST, None);
        }
        // The same once: a host may have no libvirt yet.
        if told.as_ref() != Some(&error) {
            told = Some(error.clone());
            if said.send(Said::Lost(error)).await.is_err() {
                return;
            }
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// Listens until libvirt or the bus is lost.
async fn listen(
    address: &str,
    driver: &str,
    said: &mpsc::Sender<Said>,
    reached: &mut bool,
) -> anyhow::Result<()> {
    let builder = if address == "system" { Builder::system() } else { Builder::address(address) };
    let connection = builder.method_timeout(PATIENCE).build().await.context("no bus")?;
    let object = format!("/org/libvirt/{driver}");
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.libvirt")
        .path_namespace(object.as_str())
        .build()
        .context("no signals")?;
    // Before the first question: what happens between is heard.
    let mut signals = MessageStream::for_match_rule(rule, &connection, None).await?;
    let connect = ConnectProxy::builder(&connection).path(object).build().await?;
    let mut asked = time::interval(REGULARLY);
    asked.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        let word = tokio::select! {
            _ = asked.tick() => {
                let domains = all(&connection, &connect).await.context("libvirt does not answer")?;
                if !std::mem::replace(reached, true) && said.send(Said::Reached).await.is_err() {
                    return Ok(());
                }
                Some(Word::All(domains))
            }
            signal = signals.next() => {
                let signal = signal.context("the bus went away")??;
                match concerned(&signal) {
                    Some(domain) => one(&connection, &domain).await,
                    None => None,
                }
            }
        };
        if let Some(word) = word
            && said.send(Said::Word(word)).await.is_err()
        {
            return Ok(());
        }
    }
}

/// The domain a signal is about.
fn concerned(signal: &Message) -> Option<OwnedObjectPath> {
    let header = signal.header();
    match (header.interface()?.as_str(), header.member()?.as_str()) {
        (CONNECT, "DomainEvent") => {
            let body = signal.body();
            let (domain, _, _): (OwnedObjectPath, i32, i32) = body.deserialize().ok()?;
            Some(domain)
        }
        (DOMAIN, "DeviceAdded" | "DeviceRemoved" | "MetadataChange") => {
            Some(header.path()?.to_owned().into())
        }
        _ => None,
    }
}

/// All domains that run.
async fn all(connection: &Connection, connect: &ConnectProxy<'_>) -> anyhow::Result<Vec<Domain>> {
    let mut domains = Vec::new();
    for path in connect.list_domains(ACTIVE).await? {
        domains.extend(read(connection, &path).await.ok().flatten());
    }
    Ok(domains)
}

/// What is to be said of a domain; nothing if it cannot be said, which the next regular question sets right.
async fn one(connection: &Connection, path: &ObjectPath<'_>) -> Option<Word> {
    match read(connection, path).await {
        Ok(Some(domain)) => Some(Word::Runs(domain)),
        // It is defined and does not run, or is not even that.
        Ok(None) | Err(zbus::Error::MethodError(..)) => Some(Word::Gone(uuid_of(path)?)),
        Err(_) => None,
    }
}

/// A domain, if it runs.
async fn read(connection: &Connection, path: &ObjectPath<'_>) -> zbus::Result<Option<Domain>> {
    let domain = Domain1Proxy::builder(connection).path(path.to_owned()).build().await?;
    let (state, reason) = domain.get_state(0).await?;
    if matches!(state, SHUT_OFF | CRASHED) {
        return Ok(None);
    }
    let text: String = domain.get_xml_desc(0).await?;
    match xml::domain(text.as_str()) {
        Ok(domain) => Ok(Some(Domain { incoming: (state, reason) == (PAUSED, MIGRATION), ..domain })),
        Err(error) => {
            tracing::warn!(domain = %path, %error, "a domain is not understood");
            Ok(None)
        }
    }
}

/// The UUID in the path of a domain's object: `_` and the UUID with `_` for `-`.
fn uuid_of(path: &ObjectPath<'_>) -> Option<String> {
    let element = path.as_str().rsplit('/').next()?;
    Some(element.strip_prefix('_')?.replace('_', "-"))
}

const CONNECT: &str = "org.libvirt.Connect";
const DOMAIN: &str = "org.libvirt.Domain";
/// VIR_CONNECT_LIST_DOMAINS_ACTIVE.
const ACTIVE: u32 = 1;
/// VIR_DOMAIN_PAUSED, and VIR_DOMAIN_PAUSED_MIGRATION as its reason.
const PAUSED: i32 = 3;
const MIGRATION: i32 = 2;
/// VIR_DOMAIN_SHUTOFF and VIR_DOMAIN_CRASHED.
const SHUT_OFF: i32 = 5;
const CRASHED: i32 = 6;
/// Between two regular questions.
const REGULARLY: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);
