//! What a method call asks for: the message read and checked, before anybody is asked anything.

use vdp::{Command, Hints};
use zbus::{message::Message, wire::DynamicDeserialize};

use super::{
    Table,
    error::{Error, Kind},
    paths::Place,
    schema::{self, Interface, Right},
    variant::{Dict, from_dict},
};
use crate::{
    guests::Word,
    order::{VsiOrder, Which},
};

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Call {
    Ping,
    MachineId,
    Introspect { path: String },
    Get { place: Place, interface: String, property: String },
    GetAll { place: Place, interface: String },
    Objects,
    Show(Table),
    Why { subject: String, port: Option<String> },
    Trace { port: String, frame: Vec<u8> },
    Events { after: u64 },
    Reload,
    Guest(Box<Word>),
    Order(Box<VsiOrder>),
    Stop { deassociate: bool, timeout: u32 },
}

impl Call {
    /// Reads a method call, and what its caller needs to be allowed.
    pub(crate) fn read(message: &Message) -> Result<(Right, Self), Error> {
        let header = message.header();
        let path = header.path().map(|path| path.as_str()).unwrap_or_default();
        let member = header.member().map(|member| member.as_str()).unwrap_or_default();
        let interface = header.interface().map(|interface| interface.as_str());
        match interface {
            Some(PEER) => return looks(peer(member)),
            Some(INTROSPECTABLE) => return looks(introspectable(path, member)),
            Some(PROPERTIES) => return looks(properties(message, path, member)),
            Some(MANAGER) => return looks(manager(path, member)),
            _ => {}
        }
        let Some(place) = Place::at(path) else { return Err(no_object(path)) };
        let here = interfaces(&place);
        let named = |known: &&&Interface| interface.is_none_or(|name| known.name == name);
        let Some(method) = here.iter().filter(named).find_map(|known| known.method(member)) else {
            let known = schema::ALL.iter().any(|known| interface.is_none_or(|name| known.name == name));
            let kind = if known { Kind::UnknownMethod } else { Kind::UnknownInterface };
            let full = interface.map_or_else(String::new, |name| format!("{name}."));
            return Err(Error::new(kind, format!("{path} has no method {full}{member}")));
        };
        let call = match &place {
            Place::Daemon => daemon(message, method.name),
            Place::Port(port) => Ok(Self::Trace { port: port.clone(), frame: arguments(message)? }),
            Place::Vsi(port, id) => vsi(message, method.name, port, id),
            Place::Channel(..) | Place::Neighbor(..) => Err(Error::new(Kind::UnknownMethod, member)),
        };
        Ok((method.right, call?))
    }
}

/// What whoever may look may call.
fn looks(call: Result<Call, Error>) -> Result<(Right, Call), Error> {
    Ok((Right::Read, call?))
}

/// The interfaces an object may have.
pub(crate) const fn interfaces(place: &Place) -> &'static [&'static Interface] {
    match place {
        Place::Daemon => &[&schema::DAEMON],
        Place::Port(_) => &[&schema::PORT, &schema::EXTENDED, &schema::EVB],
        Place::Channel(..) => &[&schema::CHANNEL],
        Place::Vsi(..) => &[&schema::VSI],
        Place::Neighbor(..) => &[&schema::NEIGHBOR],
    }
}

pub(crate) fn no_object(path: &str) -> Error {
    Error::new(Kind::UnknownObject, format!("there is no object {path}"))
}

fn peer(member: &str) -> Result<Call, Error> {
    match member {
        "Ping" => Ok(Call::Ping),
        "GetMachineId" => Ok(Call::MachineId),
        _ => Err(no_method(PEER, member)),
    }
}

fn introspectable(path: &str, member: &str) -> Result<Call, Error> {
    match member {
        "Introspect" => Ok(Call::Introspect { path: path.to_owned() }),
        _ => Err(no_method(INTROSPECTABLE, member)),
    }
}

fn properties(message: &Message, path: &str, member: &str) -> Result<Call, Error> {
    let place = Place::at(path).ok_or_else(|| no_object(path));
    match member {
        "Get" => {
            let (interface, property) = arguments(message)?;
            Ok(Call::Get { place: place?, interface, property })
        }
        "GetAll" => Ok(Call::GetAll { place: place?, interface: arguments(message)? }),
        "Set" => Err(Error::new(Kind::ReadOnly, "properties are read only: methods change things")),
        _ => Err(no_method(PROPERTIES, member)),
    }
}

fn manager(path: &str, member: &str) -> Result<Call, Error> {
    match (member, Place::at(path)) {
        ("GetManagedObjects", Some(Place::Daemon)) => Ok(Call::Objects),
        _ => Err(no_method(MANAGER, member)),
    }
}

fn no_method(interface: &str, member: &str) -> Error {
    Error::new(Kind::UnknownMethod, format!("there is no method {interface}.{member} here"))
}

fn daemon(message: &Message, method: &str) -> Result<Call, Error> {
    let table = |table| Ok(Call::Show(table));
    match method {
        "Neighbors" => table(Table::Neighbors),
        "Evb" => table(Table::Evb),
        "Channels" => table(Table::Channels),
        "Extension" => table(Table::Extension),
        "Vsi" => table(Table::Vsi),
        "Ports" => table(Table::Ports),
        "Dcbx" => table(Table::Dcbx),
        "Fdb" => table(Table::Fdb),
        "Profiles" => table(Table::Profiles),
        "Managers" => table(Table::Managers),
        "Drops" => table(Table::Drops),
        "Rates" => table(Table::Rates),
        "Captures" => table(Table::Captures),
        "Flows" => table(Table::Flows),
        "Libvirt" => table(Table::Libvirt),
        "Guests" => table(Table::Guests),
        "Guest" => Ok(Call::Guest(Box::new(written(message)?))),
        "Why" => Ok(Call::Why { subject: arguments(message)?, port: None }),
        "Trace" => {
            let (port, frame) = arguments(message)?;
            Ok(Call::Trace { port, frame })
        }
        "Events" => Ok(Call::Events { after: arguments(message)? }),
        "Reload" => Ok(Call::Reload),
        "OrderVsi" => Ok(Call::Order(Box::new(written(message)?))),
        "Stop" => {
            let (deassociate, timeout) = arguments(message)?;
            Ok(Call::Stop { deassociate, timeout })
        }
        other => Err(no_method(schema::DAEMON.name, other)),
    }
}

fn vsi(message: &Message, method: &str, port: &str, id: &str) -> Result<Call, Error> {
    let (migrating, suspended) =
        (Hints { migrating: true, suspended: false }, Hints { migrating: false, suspended: true });
    let (command, hints) = match method {
        "Associate" => (Command::Associate, Hints::default()),
        "Deassociate" => (Command::DeAssociate, Hints::default()),
        "Preassociate" => {
            let reserve: bool = arguments(message)?;
            (if reserve { Command::PreAssociateRr } else { Command::PreAssociate }, Hints::default())
        }
        "Migrate" => {
            let phase: String = arguments(message)?;
            match phase.as_str() {
                "prepare" => (Command::PreAssociateRr, migrating),
                "arrive" => (Command::Associate, migrating),
                "leave" => (Command::Associate, suspended),
                "stay" => (Command::Associate, Hints::default()),
                _ => {
                    let text = format!("`{phase}` is no phase: prepare, arrive, leave, stay");
                    return Err(Error::new(Kind::Arguments, text));
                }
            }
        }
        "Why" => return Ok(Call::Why { subject: id.to_owned(), port: Some(port.to_owned()) }),
        other => return Err(no_method(schema::VSI.name, other)),
    };
    let (vsi, port) = (Which::Known(id.to_owned()), Some(port.to_owned()));
    Ok(Call::Order(Box::new(VsiOrder { command, vsi, hints, port })))
}

/// The one argument, as its JSON has it.
fn written<T: serde::de::DeserializeOwned>(message: &Message) -> Result<T, Error> {
    let row: Dict = arguments(message)?;
    serde_json::from_value(from_dict(row)).map_err(|error| Error::new(Kind::Arguments, error.to_string()))
}

/// The arguments, which have to be of these types and no others.
fn arguments<T: for<'a> DynamicDeserialize<'a>>(message: &Message) -> Result<T, Error> {
    let body = message.body();
    body.deserialize::<T>().map_err(|error| Error::new(Kind::Arguments, error.to_string()))
}

const PEER: &str = "org.freedesktop.DBus.Peer";
const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
pub(crate) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
pub(crate) const MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
