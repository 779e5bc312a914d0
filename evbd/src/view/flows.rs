//! Rows of what the kernel forwards as the relay decided.

use carrier::{FlowRow, FlowState};
use serde::Serialize;
use serde_json::Value;

use super::row;
use crate::{core::Core, run::Planes};

/// One flow: a decision that holds for more than one frame.
#[derive(Serialize)]
struct Flow {
    /// Where its frames come in.
    port: String,
    source: String,
    destination: String,
    vlan: u16,
    /// Whether they come with a tag.
    tagged: bool,
    /// Where they go.
    to: String,
    /// Whether they leave with a tag.
    to_tagged: bool,
    reflected: bool,
    state: FlowState,
    /// What the kernel has forwarded.
    frames: u64,
    octets: u64,
}

/// The flows, the busiest first.
pub(super) fn flows(core: &Core, planes: &Planes) -> Vec<Value> {
    let mut flows = planes.flows();
    flows.sort_by_key(|flow| std::cmp::Reverse(flow.frames));
    let shown = |FlowRow { flow, state, frames, octets }: FlowRow| Flow {
        port: core.interface(flow.ingress).to_owned(),
        source: flow.src.to_string(),
        destination: flow.dst.to_string(),
        vlan: flow.vid.get(),
        tagged: flow.tag.is_some(),
        to: core.interface(flow.egress).to_owned(),
        to_tagged: flow.new_tag.is_some(),
        reflected: flow.reflected,
        state,
        frames,
        octets,
    };
    flows.into_iter().map(|flow| row(shown(flow))).collect()
}
