//! Changes of objects, told as D-Bus has it: `PropertiesChanged`, `InterfacesAdded`, `InterfacesRemoved`.
//!
//! An event says which objects it concerns. These are looked at again a moment later, together with those of other events
//! that came meanwhile, and compared with what was told of them last. Nothing is looked at while no client wants to know.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::{broadcast, watch},
    time::{self, Instant},
};
use zbus::{OwnedObjectPath, message::Message};

use super::{
    answer::Desk,
    calls::{MANAGER, PROPERTIES},
    objects::{Object, Which, properties},
    paths::{Place, ROOT},
    schema::Interface,
    variant::Dict,
};

/// Watches for ever, as long as the daemon has events.
pub(super) async fn watch(
    desk: Desk,
    mut events: broadcast::Receiver<Value>,
    signals: broadcast::Sender<Message>,
) {
    let mut interest = desk.interest.subscribe();
    let mut known = Known::default();
    loop {
        if *interest.borrow_and_update() == 0 {
            known = Known::default();
            if interest.changed().await.is_err() {
                return;
            }
            // What there is by now is not news.
            events = events.resubscribe();
            let Ok(all) = desk.objects(vec![Which::All]).await else { return };
            known.learn(&[Which::All], &all);
            continue;
        }
        let mut dirty = BTreeSet::new();
        tokio::select! {
            changed = interest.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            event = events.recv() => if !note(&mut dirty, event) { return },
        }
        let until = Instant::now() + PAUSE;
        while let Ok(event) = time::timeout_at(until, events.recv()).await {
            if !note(&mut dirty, event) {
                return;
            }
        }
        if dirty.len() > MANY {
            dirty = BTreeSet::from([Which::All]);
        }
        let since = Instant::now();
        let which: Vec<Which> = dirty.into_iter().collect();
        let Ok(found) = desk.objects(which.clone()).await else { return };
        for signal in known.learn(&which, &found) {
            // Nobody listening is no fault.
            let _ = signals.send(signal);
        }
        // A tenth of the daemon's time at most.
        time::sleep(since.elapsed() * 9).await;
    }
}

/// False when there are no more events.
fn note(dirty: &mut BTreeSet<Which>, event: Result<Value, broadcast::error::RecvError>) -> bool {
    match event {
        Ok(event) => dirty.extend(concerned(&event)),
        Err(broadcast::error::RecvError::Lagged(_)) => drop(dirty.insert(Which::All)),
        Err(broadcast::error::RecvError::Closed) => return false,
    }
    true
}

/// The objects that may have changed when this happened.
fn concerned(event: &Value) -> Vec<Which> {
    let said = |field: &str| event.get(field).and_then(Value::as_str);
    let port = said("port").map(|port| Which::One(Place::Port(port.to_owned())));
    match (said("event").unwrap_or_default(), said("id")) {
        // With a VSI given at run time its port comes and goes.
        ("station_vsi" | "bridge_vsi" | "vsi_ordered", Some(id)) => {
            vec![Which::Vsi(id.to_owned()), Which::Ports]
        }
        ("neighbor", _) => {
            let neighbors = said("port").map(|port| Which::Neighbors(port.to_owned()));
            neighbors.into_iter().chain(port).collect()
        }
        ("cdcp" | "channel_up" | "channel_down" | "resumed" | "reloaded" | "profiles_changed", _) => {
            vec![Which::All]
        }
        _ => port.into_iter().collect(),
    }
}

/// What clients have been told of.
#[derive(Default)]
struct Known(BTreeMap<Place, BTreeMap<&'static str, Dict>>);

impl Known {
    /// Takes up what was `found` when `which` was asked for; the signals that tell what is new.
    fn learn(&mut self, which: &[Which], found: &[Object]) -> Vec<Message> {
        let mut signals = Vec::new();
        let there: BTreeSet<&Place> = found.iter().map(|object| &object.place).collect();
        let gone: Vec<Place> = self
            .0
            .keys()
            .filter(|place| which.iter().any(|which| which.has(place)) && !there.contains(place))
            .cloned()
            .collect();
        for place in gone {
            let interfaces = self.0.remove(&place).unwrap_or_default();
            signals.extend(removed(&place, interfaces.keys().copied().collect()));
        }
        for object in found {
            self.learn_one(&mut signals, object);
        }
        signals
    }

    fn learn_one(&mut self, signals: &mut Vec<Message>, object: &Object) {
        let place = &object.place;
        let known = self.0.entry(place.clone()).or_default();
        let mut new: HashMap<&str, Dict> = HashMap::new();
        for (interface, row) in &object.interfaces {
            let now = properties(interface, row, true);
            match known.get(interface.name) {
                None => drop(new.insert(interface.name, properties(interface, row, false))),
                Some(before) => signals.extend(changed(place, interface, before, &now)),
            }
            known.insert(interface.name, now);
        }
        if !new.is_empty() {
            signals.extend(added(place, new));
        }
        let gone = known.keys().filter(|name| !object.interfaces.iter().any(|(i, _)| i.name == **name));
        let gone: Vec<&'static str> = gone.copied().collect();
        if !gone.is_empty() {
            known.retain(|name, _| !gone.contains(name));
            signals.extend(removed(place, gone));
        }
    }
}

fn changed(place: &Place, interface: &Interface, before: &Dict, now: &Dict) -> Option<Message> {
    let news: Dict = now
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value))
        .filter_map(|(name, value)| Some((name.clone(), value.try_clone().ok()?)))
        .collect();
    if news.is_empty() {
        return None;
    }
    let invalidated: &[&str] = &[];
    let signal = Message::signal(place.path(), PROPERTIES, "PropertiesChanged");
    signal.build(&(interface.name, news, invalidated)).ok()
}

fn added(place: &Place, interfaces: HashMap<&str, Dict>) -> Option<Message> {
    let path = OwnedObjectPath::try_from(place.path()).ok()?;
    Message::signal(ROOT, MANAGER, "InterfacesAdded").build(&(path, interfaces)).ok()
}

fn removed(place: &Place, interfaces: Vec<&'static str>) -> Option<Message> {
    let path = OwnedObjectPath::try_from(place.path()).ok()?;
    Message::signal(ROOT, MANAGER, "InterfacesRemoved").build(&(path, interfaces)).ok()
}

/// Wants to know of changes as long as it lives.
pub(super) struct Interest(watch::Sender<usize>);

impl Interest {
    pub(super) fn new(in_changes: &watch::Sender<usize>) -> Self {
        in_changes.send_modify(|count| *count += 1);
        Self(in_changes.clone())
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// How long events are gathered.
const PAUSE: Duration = Duration::from_millis(20);
/// So many objects are not looked at one by one.
const MANY: usize = 512;
