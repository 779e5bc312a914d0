//! Step 9 of a controlling bridge: the E-channels copies for extended ports leave by [BR 7].
//!
//! What a cascade port itself sends and gets is untagged and the daemon's alone. That a frame goes back by the cascade
//! port it came from is as it must be: the port it may not go back by is the extended one, and that was seen to before.
//!
//! Copies leave as one, by the channel their VLAN floods by, if they are all of its members, with or without the port the
//! frame came in on: which is named then, so that the port extender leaves it out. Else each leaves by its own channel,
//! as when groups have listeners on some ports only. They are C-tagged either way, and the port extender takes off what
//! the port sends untagged (UNSURE-U19).

use ether::{DownTag, EtherType, Pcid, mac};

use super::Flood;
use crate::{
    classify::Class,
    port::PortId,
    switch::{Context, Frame},
    trace::{Step, Watch},
    verdict::{DropReason, Outcome, PuntReason, Verdict},
};

/// A frame without tag on a cascade port: of the port extender itself, or nobody's.
pub(crate) fn untagged(frame: &Frame<'_>) -> Result<Outcome, DropReason> {
    if mac::is_reserved(frame.dst) || frame.ethertype == EtherType::ECP {
        return Ok(Outcome::Punt(PuntReason::Reserved));
    }
    Err(DropReason::ChannelMissing)
}

/// Gives copies for extended ports their channels, and counts them there as sent. `ingress` is where the frame came in.
pub(crate) fn leave(
    cx: &Context<'_>,
    ingress: PortId,
    class: &Class,
    len: u32,
    verdict: &mut Verdict,
    watch: &mut impl Watch,
) -> Result<(), DropReason> {
    let channels = &cx.snapshot.channels;
    if channels.cascades.is_empty() {
        return Ok(());
    }
    let Class { vid, pcp, dei, .. } = *class;
    let (copies, counts) = verdict.scratch(channels.cascades.len());
    if copies.len() > 1 {
        for copy in copies.iter() {
            let Some((down, cascade)) = channels.down(copy.port) else { continue };
            let member = cascade.flood(vid).is_some_and(|flood| flood.has(copy.port));
            if let Some(count) = counts.get_mut(down.cascade).filter(|_| member) {
                *count += 1;
            }
        }
    }
    let source = channels.down(ingress).map(|(down, _)| down.pcid);
    let back = copies.iter().any(|copy| copy.port == ingress);
    copies.retain_mut(|copy| {
        let Some((down, cascade)) = channels.down(copy.port) else { return true };
        let mut tag = DownTag { to: down.pcid.into(), source: None, pcp, dei };
        if let Some(flood) = cascade.flood(vid).filter(|flood| flood.has(copy.port))
            && let Some(count) = counts.get_mut(down.cascade)
        {
            if *count == GONE {
                cx.count(|stats| stats.tx(copy.port, 1, len.into()));
                return false;
            }
            if let Some(left_out) = flood.serves(*count, ingress, source, back) {
                watch.note(|| Step::Together {
                    ecid: flood.ecid,
                    copies: usize::try_from(*count).unwrap_or(usize::MAX),
                });
                *count = GONE;
                (tag.to, tag.source) = (flood.ecid, left_out);
            }
        }
        copy.via = cascade.tag(tag);
        let leaves = copy.via.is_some();
        cx.count(
            |stats| {
                if leaves { stats.tx(copy.port, 1, len.into()) } else { stats.tx_drop(copy.port, 1) }
            },
        );
        leaves
    });
    if copies.is_empty() { Err(DropReason::NoChannel) } else { Ok(()) }
}

impl Flood {
    /// Whether `count` copies to members may leave by it, and if so, whom it has to leave out: `source` is the channel of
    /// the port the frame came in on, `back` whether that one gets a copy too.
    fn serves(&self, count: u32, ingress: PortId, source: Option<Pcid>, back: bool) -> Option<Option<Pcid>> {
        if count < 2 {
            None
        } else if count == self.count {
            Some(None)
        } else if count + 1 == self.count && !back && self.has(ingress) {
            source.map(Some)
        } else {
            None
        }
    }
}

/// In the place of a count: the copy has gone.
const GONE: u32 = u32::MAX;
