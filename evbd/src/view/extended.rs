//! What is particular of an extended port: where it is, what its port extender calls it and has counted, and how it works.

use ether::Instant;
use serde::Serialize;

use crate::{core::Core, csp, extension, port::Port};

/// It.
#[derive(Serialize)]
pub(super) struct Extended {
    /// The cascade port it is behind.
    cascade: String,
    /// Its E-channel.
    pcid: u32,
    /// What its port extender calls itself.
    extender: Option<String>,
    /// What its port extender calls it.
    name: Option<String>,
    /// The port its port extender is reached by.
    by: Option<String>,
    /// Where the session with that stands; none where the configuration alone has made it.
    session: Option<&'static str>,
    /// It goes on as before a restart, and its port extender has not spoken of it yet.
    presumed: bool,
    /// Another port extender may be behind it.
    nested: bool,
    /// Why nothing passes, if the configuration is why.
    shut: Option<&'static str>,
    lag: Option<String>,
    /// The names in one.
    words: String,
    counters: Option<Far>,
}

/// What a port extender has counted at a port of its own.
#[derive(Serialize)]
struct Far {
    /// Since it said so.
    age_s: u64,
    rx_octets: u64,
    rx_frames: u64,
    rx_drops: u64,
    rx_errors: u64,
    tx_octets: u64,
    tx_frames: u64,
    tx_drops: u64,
    tx_errors: u64,
}

/// Of `port`, if it is an extended one.
pub(super) fn extended(core: &Core, port: &Port, now: Instant) -> Option<Extended> {
    let end = port.extended?;
    let settings = extension::settings(core, port);
    let tree = csp::tree_of(core, end.cascade);
    let view = tree.and_then(|tree| tree.engine.port(end.pcid));
    let session = tree.zip(view).and_then(|(tree, view)| tree.engine.session(view.behind));
    let by = tree.zip(view).map(|(tree, view)| match view.behind {
        Some(pcid) => tree.ports.get(&pcid).map_or("?", |id| core.interface(*id)),
        None => core.interface(end.cascade),
    });
    let [extender, name] = match port.far.as_deref() {
        Some(names) => [&names.extender, &names.port].map(|name| name.as_ref().map(ToString::to_string)),
        None => [None, None],
    };
    let words: Vec<&str> = extender.iter().chain(&name).map(String::as_str).collect();
    let counters = tree.and_then(|tree| tree.engine.counters(end.pcid));
    Some(Extended {
        cascade: core.interface(end.cascade).to_owned(),
        pcid: end.pcid.get(),
        words: words.join(" "),
        extender,
        name,
        by: by.map(str::to_owned),
        session: session.map(|session| pe::extender::words(session.state())),
        presumed: view.is_some_and(|view| view.presumed),
        nested: port.csp.is_some(),
        shut: settings.as_ref().and_then(extension::ExtendedSettings::shut),
        lag: settings.and_then(|settings| settings.work.lag),
        counters: counters.map(|(at, values)| Far::new((now - at).as_secs(), values)),
    })
}

impl Far {
    fn new(age_s: u64, values: [u64; 12]) -> Self {
        let [rx_octets, ru, rm, rb, rx_drops, rx_errors, tx_octets, tu, tm, tb, tx_drops, tx_errors] = values;
        // What a port extender says may be anything.
        let sum = |a: u64, b: u64, c: u64| a.saturating_add(b).saturating_add(c);
        Self {
            age_s,
            rx_octets,
            rx_frames: sum(ru, rm, rb),
            rx_drops,
            rx_errors,
            tx_octets,
            tx_frames: sum(tu, tm, tb),
            tx_drops,
            tx_errors,
        }
    }
}
