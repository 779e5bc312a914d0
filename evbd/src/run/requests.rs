//! What clients ask for, and what they are told.

use serde_json::{Value, json};

use super::{Daemon, Libvirt, ports};
use crate::{
    api::{Request, Table},
    config,
    event::Event,
    input::Input,
    names::is_interface,
    order::VsiOrder,
    reload, view,
};

impl Daemon {
    /// Answers what a client asks.
    pub(super) fn answer(&mut self, request: Request) {
        self.planes.settle();
        // A client that left meanwhile wants no answer.
        let _ = match request {
            Request::Show { table: Table::Libvirt, reply } => {
                let guests = self.libvirt.as_ref().map_or_else(Vec::new, Libvirt::rows);
                reply.send(guests.into_iter().map(view::row).collect())
            }
            Request::Show { table: Table::Guests, reply } => reply.send(self.guest_rows()),
            Request::Guest { word, reply } => return drop(reply.send(self.guest(*word))),
            Request::Show { table, reply } => {
                reply.send(view::rows(table, &self.core, &self.planes, &self.sockets, self.clock.now()))
            }
            Request::Stop { patience, reply } => return self.begin_stop(patience, reply),
            Request::Objects { which, reply } => {
                let now = self.clock.now();
                return drop(reply.send(view::objects(&self.core, &self.planes, &self.sockets, &which, now)));
            }
            Request::Reload { reply } => return drop(reply.send(self.reload())),
            Request::Why { subject, reply } => {
                return drop(reply.send(view::why(&self.core, &self.planes, &subject, self.clock.now())));
            }
            Request::Trace { port, frame, reply } => {
                return drop(reply.send(view::trace(&self.core, &self.planes, &port, &frame)));
            }
            Request::Vsi { order, reply } => return drop(reply.send(self.order(*order))),
            Request::Events { after, reply } => {
                let newer = |event: &&Value| event.get("number").and_then(Value::as_u64) > Some(after);
                reply.send(self.past.iter().filter(newer).cloned().collect())
            }
        };
    }

    /// Reads the configuration again. The rows of what changed, or why nothing did.
    pub(super) fn reload(&mut self) -> Result<Vec<Value>, String> {
        let read = config::read(&self.path);
        let plan = read.and_then(|text| reload::plan(&self.text, &self.path.display().to_string(), &text));
        let plan = plan.and_then(|plan| Ok((config::read_codebook(&plan.config.extension)?, plan)));
        let (codebook, plan) = plan.map_err(|error| {
            self.publish(&Event::ReloadRefused { error: error.to_string() });
            format!("{error}\n{error:?}")
        })?;
        let numbers = codebook.is_some() || self.core.config().extension.codebook.is_some();
        self.core.handle(self.clock.now(), Input::Reload { config: plan.text.clone() });
        if numbers {
            self.core.handle(self.clock.now(), Input::CodeBook { text: codebook });
        }
        self.drain();
        self.text = plan.text;
        if let Some(libvirt) = &self.libvirt {
            libvirt.set_limit(self.core.config().max_vsis);
        }
        ports::watch_patterns(self.core.config(), &mut self.links);
        // Also those that stay: their agents may listen elsewhere.
        let interfaces = self.watched.values().filter(|name| is_interface(name));
        interfaces.for_each(|interface| self.links.want(interface, true));
        let said: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
        let rows = plan.changes.iter().zip(&said).map(|(change, line)| {
            let mut row = view::row(change);
            if let Some(fields) = row.as_object_mut() {
                fields.insert("line".to_owned(), json!(line));
            }
            row
        });
        let rows = rows.collect();
        self.publish(&Event::Reloaded { changes: said });
        self.reconfigure_guests();
        self.drain();
        Ok(rows)
    }

    /// Has a VSI's order carried out; the event that says that it was taken, with its number, or the one that says why not.
    pub(super) fn order(&mut self, order: VsiOrder) -> Result<Value, Value> {
        let before = self.number;
        self.input(Input::Vsi { order });
        let newer = |event: &&Value| event.get("number").and_then(Value::as_u64) > Some(before);
        let mut said = self.past.iter().rev().take_while(newer);
        let (taken, refused) = (json!("vsi_ordered"), json!("vsi_order_refused"));
        let answer =
            said.find(|event| event.get("event").is_some_and(|name| *name == taken || *name == refused));
        match answer {
            Some(event) if event.get("event") == Some(&taken) => Ok(event.clone()),
            Some(event) => Err(event.clone()),
            None => Err(json!({ "error": "the daemon did not say what it did" })),
        }
    }
}
