//! Answers to calls, whoever brings them: the socket and the bus have one and the same.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use zbus::{
    DynamicType, OwnedObjectPath,
    message::{Header, Message},
};

use super::{
    access::{self, Access},
    calls::{self, Call, no_object},
    error::{Error, Kind},
    introspect,
    objects::{Object, Which, properties, property_of},
    paths::{Place, ROOT},
    schema::{self, Interface, Right},
    variant::{Dict, to_dict},
};
use crate::{api::Table, guests::Word, order::VsiOrder};

/// What a client wants of the daemon's loop, which alone owns the state.
pub(crate) enum Request {
    /// The rows of a table.
    Show { table: Table, reply: oneshot::Sender<Vec<Value>> },
    /// Objects as they are now.
    Objects { which: Vec<Which>, reply: oneshot::Sender<Vec<Object>> },
    /// Read the configuration again; the rows of what changed, or why it is refused.
    Reload { reply: oneshot::Sender<Result<Vec<Value>, String>> },
    /// Have an order for a VSI carried out; the event that says so, or the one that says why not.
    Vsi { order: Box<VsiOrder>, reply: oneshot::Sender<Result<Value, Value>> },
    /// Take up what is said of a VM; the interfaces of VMs known then, or why nobody cares.
    Guest { word: Box<Word>, reply: oneshot::Sender<Result<Vec<Value>, String>> },
    /// End; with `patience`, de-associate every VSI first, for so long. The rows of these VSIs.
    Stop { patience: Option<std::time::Duration>, reply: oneshot::Sender<Vec<Value>> },
    /// Why the frames of a VSI pass or do not; or why nobody can say.
    Why { subject: String, reply: oneshot::Sender<Result<Vec<Value>, String>> },
    /// The way of a frame through the relay, or why it has none.
    Trace { port: String, frame: Vec<u8>, reply: oneshot::Sender<Result<Value, String>> },
    /// Remembered events with a number above `after`.
    Events { after: u64, reply: oneshot::Sender<Vec<Value>> },
}

/// What never changes while the daemon runs.
#[derive(Clone)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) role: &'static str,
}

/// What every connection needs to answer.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(super) about: About,
    pub(super) requests: mpsc::Sender<Request>,
    pub(super) access: Access,
    /// How many connections want to know of changes of objects.
    pub(super) interest: watch::Sender<usize>,
}

impl Desk {
    /// The answer to a call of one who has the right `has`.
    pub(super) async fn answer(&self, message: &Message, has: Option<Right>) -> zbus::Result<Message> {
        let header = message.header();
        let error = match self.carry_out(message, &header, has).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        Message::error(&header, error.kind.name()).build(&error.text)
    }

    async fn carry_out(
        &self,
        message: &Message,
        header: &Header<'_>,
        has: Option<Right>,
    ) -> Result<Message, Error> {
        // Whoever may not look learns nothing, not even what is wrong with the call.
        access::check(has, Right::Read)?;
        let (needs, call) = Call::read(message)?;
        access::check(has, needs)?;
        match call {
            Call::Ping => reply(header, &()),
            Call::MachineId => reply(header, &machine_id()?),
            Call::Introspect { path } => reply(header, &self.introspect(&path).await?),
            Call::Get { place, interface, property } => {
                let (known, row) = self.interface(place, &interface).await?;
                let property = known.property(&property).ok_or_else(|| {
                    Error::new(Kind::UnknownProperty, format!("{interface} has no property {property}"))
                })?;
                reply(header, &property_of(property, &row))
            }
            Call::GetAll { place, interface } => {
                let (known, row) = self.interface(place, &interface).await?;
                reply(header, &properties(known, &row, false))
            }
            Call::Objects => reply(header, &self.managed().await?),
            Call::Show(table) => rows(header, self.ask(|reply| Request::Show { table, reply }).await?),
            Call::Events { after } => rows(header, self.ask(|reply| Request::Events { after, reply }).await?),
            Call::Why { subject, port } => {
                let answers = self.ask(|reply| Request::Why { subject, reply }).await?;
                let answers = answers.map_err(|text| Error::new(Kind::UnknownVsi, text))?;
                let here =
                    |row: &Value| port.is_none() || of_port(row) == port.as_deref() || of_port(row).is_none();
                rows(header, answers.into_iter().filter(here).collect())
            }
            Call::Trace { port, frame } => {
                let way = self.ask(|reply| Request::Trace { port, frame, reply }).await?;
                let way = way.map_err(|text| Error::new(Kind::Arguments, text))?;
                reply(header, &to_dict(way))
            }
            Call::Reload => {
                let changes = self.ask(|reply| Request::Reload { reply }).await?;
                rows(header, changes.map_err(|text| Error::new(Kind::Configuration, text))?)
            }
            Call::Guest(word) => {
                let known = self.ask(|reply| Request::Guest { word, reply }).await?;
                rows(header, known.map_err(|text| Error::new(Kind::WrongRole, text))?)
            }
            Call::Order(order) => {
                let taken = self.ask(|reply| Request::Vsi { order, reply }).await?;
                reply(header, &to_dict(taken.map_err(|event| refused(&event))?))
            }
            Call::Stop { deassociate, timeout } => {
                let patience = deassociate.then(|| std::time::Duration::from_secs(timeout.into()));
                rows(header, self.ask(|reply| Request::Stop { patience, reply }).await?)
            }
        }
    }

    /// An interface of an object, and the row its properties are read from.
    async fn interface(&self, place: Place, name: &str) -> Result<(&'static Interface, Value), Error> {
        let path = place.path();
        let object = self.object(place).await?.ok_or_else(|| no_object(&path))?;
        let found = object.interfaces.into_iter().find(|(interface, _)| interface.name == name);
        found.ok_or_else(|| Error::new(Kind::UnknownInterface, format!("{path} has no interface {name}")))
    }

    async fn object(&self, place: Place) -> Result<Option<Object>, Error> {
        if place == Place::Daemon {
            return Ok(Some(self.daemon()));
        }
        let which = vec![Which::One(place.clone())];
        let found = self.objects(which).await?;
        Ok(found.into_iter().find(|object| object.place == place))
    }

    pub(super) async fn objects(&self, which: Vec<Which>) -> Result<Vec<Object>, Error> {
        self.ask(|reply| Request::Objects { which, reply }).await
    }

    fn daemon(&self) -> Object {
        let row = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "schema": super::SCHEMA,
            "name": self.about.name,
            "role": self.about.role,
        });
        Object { place: Place::Daemon, interfaces: vec![(&schema::DAEMON, row)] }
    }

    async fn managed(&self) -> Result<HashMap<OwnedObjectPath, HashMap<&'static str, Dict>>, Error> {
        let all = self.objects(vec![Which::All]).await?;
        let each = all.into_iter().filter_map(|object| {
            let path = OwnedObjectPath::try_from(object.place.path()).ok()?;
            let interfaces = object.interfaces.iter();
            let interfaces = interfaces.map(|(known, row)| (known.name, properties(known, row, false)));
            Some((path, interfaces.collect()))
        });
        Ok(each.collect())
    }

    async fn introspect(&self, path: &str) -> Result<String, Error> {
        let place = Place::at(path);
        let leaf = matches!(place, Some(Place::Vsi(..) | Place::Channel(..) | Place::Neighbor(..)));
        let here = match place.clone() {
            Some(place) => self.object(place).await?,
            None => None,
        };
        let children = if leaf { BTreeSet::new() } else { self.children(path).await? };
        if here.is_none() && children.is_empty() {
            return Err(no_object(path));
        }
        let interfaces: Vec<&Interface> = here
            .map(|object| object.interfaces.into_iter().map(|(known, _)| known).collect())
            .unwrap_or_default();
        let children: Vec<String> = children.into_iter().collect();
        Ok(introspect::xml(&interfaces, place == Some(Place::Daemon), &children))
    }

    /// The elements that follow `path` in the paths of objects.
    async fn children(&self, path: &str) -> Result<BTreeSet<String>, Error> {
        let above = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let next =
            |path: &str| path.strip_prefix(&above).and_then(|rest| rest.split('/').next()).map(str::to_owned);
        let mut children: BTreeSet<String> = next(ROOT).into_iter().collect();
        if path.starts_with(ROOT) {
            let all = self.objects(vec![Which::All]).await?;
            children.extend(all.iter().filter_map(|object| next(&object.place.path())));
        }
        Ok(children)
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let stopping = || Error::new(Kind::Stopping, "the daemon is stopping");
        self.requests.send(request(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }
}

/// What `GetMachineId` gives, wherever it is asked.
fn machine_id() -> Result<String, Error> {
    let read = |path| std::fs::read_to_string(path).ok();
    let id = read("/etc/machine-id").or_else(|| read("/var/lib/dbus/machine-id"));
    id.map(|id| id.trim().to_owned())
        .ok_or_else(|| Error::new(Kind::NotThere, "this machine has no identifier"))
}

/// A refused order: the event's reason is the kind.
fn refused(event: &Value) -> Error {
    let said = |field: &str| event.get(field).and_then(Value::as_str);
    let kind = match said("reason") {
        Some("unknown") => Kind::UnknownVsi,
        Some("ambiguous") => Kind::AmbiguousVsi,
        Some("wrong_role") => Kind::WrongRole,
        Some("conflict") => Kind::Conflict,
        Some("invalid") => Kind::Arguments,
        Some("full") => Kind::Full,
        Some("not_there") => Kind::NotThere,
        Some("stopping") => Kind::Stopping,
        _ => Kind::Refused,
    };
    Error::new(kind, said("error").unwrap_or("refused"))
}

fn of_port(row: &Value) -> Option<&str> {
    row.get("vsi")?.get("port")?.as_str()
}

fn rows(header: &Header<'_>, rows: Vec<Value>) -> Result<Message, Error> {
    let rows: Vec<Dict> = rows.into_iter().map(to_dict).collect();
    reply(header, &rows)
}

fn reply<B: serde::Serialize + DynamicType>(header: &Header<'_>, body: &B) -> Result<Message, Error> {
    Message::method_return(header).build(body).map_err(|error| Error::new(Kind::Refused, error.to_string()))
}

/// Whether a call needs the watch of objects.
pub(super) fn is_of_objects(message: &Message) -> bool {
    let header = message.header();
    let interface = header.interface().map(|interface| interface.as_str());
    matches!(interface, Some(calls::PROPERTIES | calls::MANAGER))
}
