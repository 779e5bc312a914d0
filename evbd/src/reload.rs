//! `evbd reload`: what changes between two files, what of it can be applied while the daemon runs, and applying it.
//!
//! A [`Plan`] has three files: the one in force, the one to be in force next, and the new one. They differ in what is
//! applied and in what waits for a restart: `role`, `[control]`, `[guests]`, `[libvirt]`, `[relay]`,
//! `[state]` and the uplink of a station.

mod apply;

use std::fmt;

use serde::Serialize;
use toml::{Table, Value};

pub(crate) use self::apply::apply;
use crate::config::{Config, ConfigError};

/// What a reload comes to.
pub(crate) struct Plan {
    /// What is applied, and what is not.
    pub(crate) changes: Vec<Change>,
    /// The file in force next, which is valid: the new one, but for what needs a restart.
    pub(crate) text: String,
    /// What that comes to.
    pub(crate) config: Config,
}

/// One difference. Shown as a line: `+ vsi vm3`, `~ lldp.tx_interval 30 → 10`, `! relay.fdb_entries needs a restart`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Change {
    /// What is done about it.
    pub(crate) change: Kind,
    /// The key, or the named table.
    pub(crate) what: String,
    /// Its value in the file in force.
    pub(crate) old: Option<String>,
    /// Its value in the new file.
    pub(crate) new: Option<String>,
}

/// What is done about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has another value.
    Changed,
    /// Nothing: it needs a restart.
    Restart,
}

/// What changes when the file in force is `running` and `text` is what `file` says now.
///
/// # Errors
/// When the new file is wrong, or what of it can be applied makes no configuration without the rest.
pub(crate) fn plan(running: &str, file: &str, text: &str) -> Result<Plan, ConfigError> {
    Config::parse(file, text)?;
    // Both are files that were accepted.
    let (old, new) = (table(running), table(text));
    let mut next = new.clone();
    hold(&old, &mut next);
    let text = if next == new { text.to_owned() } else { next.to_string() };
    let config = Config::parse(HELD, &text)?;
    let mut changes = differences(&old, &next);
    changes.extend(differences(&next, &new).into_iter().map(|c| Change { change: Kind::Restart, ..c }));
    Ok(Plan { changes, text, config })
}

/// Puts what needs a restart back as it was.
fn hold(old: &Table, next: &mut Table) {
    if old.get("role") != next.get("role") {
        next.clone_from(old);
        return;
    }
    for key in ["capture", "control", "guests", "libvirt", "relay", "state"] {
        restore(old, next, key);
    }
    if uplink(old) != uplink(next) {
        restore(old, next, "port");
    }
}

fn restore(old: &Table, next: &mut Table, key: &str) {
    match old.get(key) {
        Some(value) => next.insert(key.to_owned(), value.clone()),
        None => next.remove(key),
    };
}

/// The interface of a station's uplink.
fn uplink(file: &Table) -> Option<&Value> {
    let ports = file.get("port")?.as_array()?;
    let is_uplink = |port: &&Value| port.get("kind").and_then(Value::as_str) == Some("uplink");
    ports.iter().find(is_uplink)?.get("interface")
}

fn table(text: &str) -> Table {
    text.parse().unwrap_or_default()
}

fn differences(old: &Table, new: &Table) -> Vec<Change> {
    let mut found = Vec::new();
    compare(&mut found, "", old, new);
    found
}

/// Compares two tables under the name `path`; the names of what is in them follow `path` without a gap.
fn compare(found: &mut Vec<Change>, path: &str, old: &Table, new: &Table) {
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let what = format!("{path}{key}");
        let (before, after) = (old.get(key), new.get(key));
        match (before.and_then(|v| named(path, key, v)), after.and_then(|v| named(path, key, v))) {
            (None, None) => compare_values(found, what, before, after),
            (before, after) => {
                compare_named(found, &what, &before.unwrap_or_default(), &after.unwrap_or_default());
            }
        }
    }
}

fn compare_values(found: &mut Vec<Change>, what: String, before: Option<&Value>, after: Option<&Value>) {
    let (before_table, after_table) = (before.and_then(Value::as_table), after.and_then(Value::as_table));
    if before_table.is_some() || after_table.is_some() {
        let nothing = Table::new();
        let path = format!("{what}.");
        return compare(found, &path, before_table.unwrap_or(&nothing), after_table.unwrap_or(&nothing));
    }
    let change = match (before, after) {
        (Some(before), Some(after)) if before == after => return,
        (Some(_), Some(_)) => Kind::Changed,
        (Some(_), None) => Kind::Removed,
        (None, _) => Kind::Added,
    };
    let shown = |value: &Value| value.to_string();
    found.push(Change { change, what, old: before.map(shown), new: after.map(shown) });
}

fn compare_named(found: &mut Vec<Change>, what: &str, before: &[(String, Table)], after: &[(String, Table)]) {
    let whole = |change, name: &str| Change { change, what: format!("{what} {name}"), old: None, new: None };
    for (name, table) in before {
        match after.iter().find(|(n, _)| n == name) {
            Some((_, new)) => compare(found, &format!("{what} {name} "), table, new),
            None => found.push(whole(Kind::Removed, name)),
        }
    }
    for (name, _) in after.iter().filter(|(name, _)| !before.iter().any(|(n, _)| n == name)) {
        found.push(whole(Kind::Added, name));
    }
}

/// The entries of `[[key]]` by what tells one from another.
fn named(path: &str, key: &str, value: &Value) -> Option<Vec<(String, Table)>> {
    let names: &[&str] = match key {
        "port" => &["interface"],
        "vsi" => &["name"],
        // A cascade port has some, too, of another kind.
        "extended" if path.is_empty() => &["extender", "port"],
        "capture" => &["id"],
        "profile" => &["manager", "name", "type", "version"],
        "manager" => &["id"],
        _ => return None,
    };
    let name = |table: &Table| {
        let part = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        names.iter().filter_map(|name| table.get(*name).map(part)).collect::<Vec<_>>().join(" ")
    };
    let entries = value.as_array()?.iter().filter_map(Value::as_table);
    Some(entries.map(|table| (name(table), table.clone())).collect())
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.change {
            Kind::Added => '+',
            Kind::Removed => '-',
            Kind::Changed => '~',
            Kind::Restart => return write!(f, "! {} needs a restart", self.what),
        };
        write!(f, "{mark} {}", self.what)?;
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, " {old} → {new}"),
            (Some(one), None) | (None, Some(one)) => write!(f, " {one}"),
            (None, None) => Ok(()),
        }
    }
}

/// Where an error of a configuration is that no file has.
const HELD: &str = "the new file with what needs a restart left as it is";

#[cfg(test)]
mod tests;
