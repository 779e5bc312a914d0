//! The relay of a port extender [BR 7]: no addresses, no VLANs of its own, no way from port to port.
//!
//! | from | with a tag | without |
//! |---|---|---|
//! | extended port | dropped | up, by the port's channel |
//! | cascade port | up as it is, if its channel leads down by that port | up, by the port's channel |
//! | upstream port | down, where its channel leads | control frames are the daemon's, others are dropped |
//!
//! Down to a cascade port a frame keeps its tag, unless the channel is the port's own: by that the controlling bridge
//! talks to the port extender behind it (UNSURE-U13, UNSURE-U14). Whatever stations say to reserved addresses goes up as
//! well, for the controlling bridge speaks those protocols (UNSURE-U16); only pause frames end here.

use ether::{ChannelTag, DownTag, EtherType, Framing, MacAddr, Pcp, Tag, TagOctets, UpTag, mac};

use super::{Extension, Parameters, Via};
use crate::{
    port::Role,
    row::Row,
    switch::{Context, Frame},
    trace::{Step, TargetKind, Watch},
    verdict::{Copy, DropReason, Outcome, PuntReason, Verdict},
};

/// Decides on a frame that came in on `row`, with the tag of an E-channel or without.
pub(crate) fn decide(
    cx: &Context<'_>,
    row: &Row,
    tag: Option<ChannelTag>,
    frame: &Frame<'_>,
    verdict: &mut Verdict,
    watch: &mut impl Watch,
) -> Result<Outcome, DropReason> {
    match (row.role, tag) {
        (Role::Cascade, Some(ChannelTag::Up(tag))) => {
            let ecid = tag.source.into();
            watch.note(|| Step::Channel { ecid, port: row.id });
            if !cx.snapshot.channels.members(ecid).contains(&row.id) {
                return Err(DropReason::ChannelUnknown);
            }
            up(cx, tag, frame, verdict)
        }
        (Role::Extended | Role::Cascade, None) => {
            if frame.ethertype.is_channel_tag() {
                return Err(DropReason::ChannelTagged);
            }
            let parameters = row.parameters().ok_or(DropReason::NoChannel)?;
            if parameters.blocked {
                return Err(DropReason::Blocked);
            }
            if frame.dst == PAUSE {
                return Err(DropReason::Reserved);
            }
            let (pcp, dei) = parameters.decoded(frame.tag);
            up(cx, UpTag { source: parameters.pcid, pcp, dei }, frame, verdict)
        }
        (Role::Upstream, None) if mac::is_reserved(frame.dst) || frame.ethertype == EtherType::ECP => {
            Ok(Outcome::Punt(PuntReason::Reserved))
        }
        (Role::Upstream, None) => Err(DropReason::ChannelMissing),
        (Role::Upstream, Some(ChannelTag::Down(tag))) => {
            watch.note(|| Step::Channel { ecid: tag.to, port: row.id });
            if cx.snapshot.channels.upstream != Some(row.id) {
                return Err(DropReason::NoUpstream);
            }
            down(cx, row, tag, frame, verdict, watch)
        }
        _ => Err(DropReason::ChannelTagged),
    }
}

fn up(cx: &Context<'_>, tag: UpTag, frame: &Frame<'_>, verdict: &mut Verdict) -> Result<Outcome, DropReason> {
    let upstream = cx.snapshot.channels.upstream.and_then(|port| cx.snapshot.row(port));
    let upstream = upstream.filter(|row| row.up).ok_or(DropReason::NoUpstream)?;
    let via = via(upstream, tag.octets(upstream.framing));
    if via.is_none() {
        return Err(DropReason::NoChannel);
    }
    verdict.set_priority(tag.pcp);
    verdict.copies_mut().push(Copy { port: upstream.id, tag: frame.tag, reflected: false, via });
    Ok(Outcome::Forward)
}

fn down(
    cx: &Context<'_>,
    upstream: &Row,
    tag: DownTag,
    frame: &Frame<'_>,
    verdict: &mut Verdict,
    watch: &mut impl Watch,
) -> Result<Outcome, DropReason> {
    let members = cx.snapshot.channels.members(tag.to);
    if members.is_empty() {
        return Err(DropReason::ChannelUnknown);
    }
    watch.note(|| Step::Lookup { target: TargetKind::OneWay, ports: members.len() });
    verdict.set_priority(tag.pcp);
    let copies = verdict.copies_mut();
    let (mut blocked, mut unnamed) = (false, false);
    for row in members.iter().filter_map(|port| cx.snapshot.row(*port)).filter(|row| row.up) {
        let own = row.parameters();
        let pcid = own.map(|own| own.pcid);
        // The station that sent it does not get it back.
        if tag.to.is_group() && tag.source.is_some() && tag.source == pcid {
            continue;
        }
        if own.is_some_and(|own| own.blocked) {
            blocked = true;
            continue;
        }
        if row.role == Role::Cascade && tag.to.pcid() != pcid {
            let via = via(row, tag.octets(row.framing));
            unnamed |= via.is_none();
            copies.extend(via.map(|via| Copy {
                port: row.id,
                tag: frame.tag,
                reflected: false,
                via: Some(via),
            }));
            continue;
        }
        // A VN-Tag has no priority.
        let priority = (upstream.framing == Framing::Etag).then_some((tag.pcp, tag.dei));
        let tag = own.map_or(frame.tag, |own| own.encoded(row, priority, frame.tag));
        copies.push(Copy { port: row.id, tag, reflected: false, via: None });
    }
    match () {
        () if !copies.is_empty() => Ok(Outcome::Forward),
        () if blocked => Err(DropReason::Blocked),
        () if unnamed => Err(DropReason::NoChannel),
        () => Err(DropReason::NoEgress),
    }
}

fn via(row: &Row, tag: Option<TagOctets>) -> Option<Via> {
    Some(Via { port: row.id, tag: tag? })
}

impl Row {
    /// What the controlling bridge said of the port.
    fn parameters(&self) -> Option<&Parameters> {
        match &self.extension {
            Some(Extension::End(parameters)) => Some(parameters),
            Some(Extension::Behind { .. }) | None => None,
        }
    }
}

impl Parameters {
    /// The priority of a frame that comes in with this tag.
    fn decoded(&self, tag: Option<Tag>) -> (Pcp, bool) {
        let Some(tag) = tag else { return (self.default_priority, false) };
        let (pcp, dei) = self.decode.get(usize::from(tag.pcp.get())).copied().unwrap_or_default();
        (pcp, dei || self.use_dei && tag.dei)
    }

    /// The tag a frame that came by channel leaves with: none in a VLAN that is untagged there, else with the priority
    /// the E-channel had.
    fn encoded(&self, row: &Row, priority: Option<(Pcp, bool)>, tag: Option<Tag>) -> Option<Tag> {
        let tag = tag?;
        if tag.tpid != EtherType::C_VLAN {
            return Some(tag);
        }
        if tag.vid.is_some_and(|vid| row.untagged.contains(vid)) {
            return None;
        }
        let Some((pcp, dei)) = priority else { return Some(tag) };
        let row = self.encode.get(usize::from(pcp.get()) * 2 + usize::from(dei)).copied();
        let (pcp, dei) = row.unwrap_or((tag.pcp, tag.dei));
        Some(Tag { pcp, dei: dei && self.use_dei, ..tag })
    }
}

/// Of MAC control: pause frames never leave a link.
const PAUSE: MacAddr = MacAddr(0x01, 0x80, 0xc2, 0, 0, 0x01);
