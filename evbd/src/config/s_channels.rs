//! S-channels: `channels` of a station's uplink, `svids` of a bridge's port, `max_channels` of both [Q 42].

use std::ops::Range;

use cdcp::{ChannelCapacity, Pool, Scid, Svid};
use serde::Deserialize;
use toml::Spanned;

use super::{
    EdgeConfig, Fallback, Fault, StationMode,
    check::{self, fault, in_range},
    schema,
};

/// An S-channel a station wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelConfig {
    /// What VSIs and the operator call it.
    pub name: String,
    /// What the bridge knows it by.
    pub scid: Scid,
    /// Its edge relay.
    pub edge: EdgeConfig,
}

/// The S-channels a station may have on a port of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// What their frames are tagged with.
    pub pool: Pool,
    /// How many there may be, the default one included.
    pub capacity: ChannelCapacity,
}

/// One of `channels` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelKeys {
    name: Spanned<String>,
    id: Spanned<u8>,
    mode: Option<Spanned<StationMode>>,
    fallback: Option<Spanned<Fallback>>,
    probe_interval: Option<Spanned<u16>>,
}

/// A channel, and where it is written.
type Placed = (ChannelConfig, Range<usize>);

/// What a station's port says: the channels, each with its place, and how many there may be.
pub(super) fn station(
    written: Vec<Spanned<ChannelKeys>>,
    max: Option<Spanned<u8>>,
) -> Result<(Vec<Placed>, ChannelCapacity), Fault> {
    let capacity = capacity(max)?;
    let mut checked: Vec<Placed> = Vec::with_capacity(written.len());
    for channel in written {
        let place = channel.span();
        let ChannelKeys { name, id, mode, fallback, probe_interval } = channel.into_inner();
        let Some(scid) = Scid::new(*id.get_ref()).filter(|scid| *scid != Scid::DEFAULT) else {
            return fault(
                id.span(),
                "not the number of an S-channel one may ask for",
                "2 to 167; 1 is the default one",
            );
        };
        let edge = check::edge(&mode, &fallback, &probe_interval)?;
        let new = ChannelConfig { name: name.get_ref().clone(), scid, edge };
        if name.get_ref().is_empty() {
            return fault(name.span(), "an S-channel without a name", "a name of your choice");
        }
        if checked.iter().any(|(other, _)| other.name == new.name) {
            return fault(name.span(), format!("two S-channels `{}`", new.name), "each name once");
        }
        if checked.iter().any(|(other, _)| other.scid == scid) {
            return fault(id.span(), format!("two S-channels with `id` {scid}"), "each number once");
        }
        if checked.len() + 2 > usize::from(capacity.get()) {
            return fault(
                place,
                "more S-channels than `max_channels` with the default one",
                "a larger `max_channels`",
            );
        }
        checked.push((new, place));
    }
    Ok((checked, capacity))
}

/// What a bridge's port says.
pub(super) fn bridge(port: &schema::Port) -> Result<Option<PoolConfig>, Fault> {
    if let Some(channel) = port.channels.first() {
        return fault(channel.span(), "stations ask for S-channels", "a bridge has `svids`");
    }
    let Some(svids) = &port.svids else {
        return match &port.max_channels {
            Some(max) => fault(max.span(), "`max_channels` without `svids`", SVIDS),
            None => Ok(None),
        };
    };
    if *port.kind.get_ref() != schema::PortKind::Station {
        return fault(svids.span(), "S-channels lead to stations", "`svids` only with kind = \"station\"");
    }
    let text = svids.get_ref();
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse().ok().and_then(Svid::new);
    match number(low).zip(number(high)).and_then(|(low, high)| Pool::new(low, high)) {
        Some(pool) => Ok(Some(PoolConfig { pool, capacity: capacity(port.max_channels.clone())? })),
        None => fault(svids.span(), format!("`{text}` is no range of SVIDs"), SVIDS),
    }
}

fn capacity(max: Option<Spanned<u8>>) -> Result<ChannelCapacity, Fault> {
    let most = ChannelCapacity::MAX;
    let number = in_range(max, 1, most.get(), most.get(), "max_channels")?;
    Ok(ChannelCapacity::new(number).unwrap_or(most))
}

const SVIDS: &str = "svids = \"LOW-HIGH\", both 2 to 4094";
