//! Rows of port extension: a row for each port extender a controlling bridge talks to or hears, and on a port extender one
//! for each upstream port.

use serde::Serialize;
use serde_json::Value;

use crate::{
    core::Core,
    csp, extension,
    port::{Port, PortKind},
    view::row,
};
use pe::{SessionState, Stats, extender::words};

/// One session, or one that is not there.
#[derive(Serialize)]
struct Row {
    port: String,
    role: &'static str,
    peer: Option<String>,
    /// What the port extender calls itself.
    name: Option<String>,
    #[serde(flatten)]
    state: Option<SessionState>,
    words: &'static str,
    code_book: String,
    /// Octets of payload its interface carries.
    mtu: Option<u32>,
    /// What it would have to, for frames with their tags.
    mtu_needed: Option<u32>,
    /// Port extenders down to this one.
    tier: Option<u8>,
    /// What a controlling bridge offers an upstream port; lower wins.
    priority: Option<u8>,
    chosen: Option<bool>,
    ports: usize,
    /// Ports the bridge refuses.
    refused: usize,
    channels: usize,
    #[serde(flatten)]
    stats: Option<Stats>,
    ecp: Option<ecp::Stats>,
}

/// The rows of one port.
pub(crate) fn rows(core: &Core, port: &Port) -> Vec<Value> {
    let book = core.book.as_ref().map(|book| format!("{} ({:08x})", book.name, book.digest()));
    let code_book = || book.clone().unwrap_or_else(|| "not read yet".to_owned());
    if let Some(tree) = csp::tree_of(core, port.id) {
        let sessions = tree.engine.sessions().map(|(at, session)| {
            let of = at.map_or(Some(port.id), |pcid| tree.ports.get(&pcid).copied());
            let interface = at.is_none().then_some(port);
            row(Row {
                port: of.map_or("?", |id| core.interface(id)).to_owned(),
                role: "controlling",
                peer: session.peer().map(|peer| peer.to_string()),
                name: tree.engine.name(at).map(|name| name.to_string()),
                state: Some(session.state()),
                words: words(session.state()),
                code_book: code_book(),
                mtu: interface.and_then(|port| port.link.mtu()),
                mtu_needed: interface.and_then(|port| extension::needed_mtu(core, &port.interface)),
                tier: Some(tree.engine.tier(at)),
                priority: None,
                chosen: None,
                ports: tree.engine.ports().filter(|port| port.behind == at).count(),
                refused: 0,
                channels: tree.engine.channels(at).count(),
                stats: Some(*session.stats()),
                ecp: Some(*session.ecp_stats()),
            })
        });
        return sessions.collect();
    }
    let Some(extender) = core.extender.as_ref().filter(|_| port.kind == PortKind::Upstream) else {
        return Vec::new();
    };
    let number = u32::from(port.id.0);
    let offer = extender.offer(number);
    let chosen = extender.upstream() == Some(number);
    let session = Some(extender.session()).filter(|_| chosen);
    let idle =
        if offer.is_some() { "another upstream port is chosen" } else { "no controlling bridge is heard" };
    vec![row(Row {
        port: port.interface.clone(),
        role: "extender",
        peer: offer.map(|offer| offer.csp_address.to_string()),
        name: None,
        state: session.map(pe::csp::Session::state),
        words: session.map_or(idle, |session| words(session.state())),
        code_book: code_book(),
        mtu: port.link.mtu(),
        mtu_needed: extension::needed_mtu(core, &port.interface),
        tier: None,
        priority: offer.map(|offer| offer.priority.0),
        chosen: Some(chosen),
        ports: extender.ports().filter(|port| chosen && port.pcid.is_some()).count(),
        refused: extender.ports().filter(|port| chosen && port.refused).count(),
        channels: if chosen { extender.channels().count() } else { 0 },
        stats: session.map(|session| *session.stats()),
        ecp: session.map(|session| *session.ecp_stats()),
    })]
}
