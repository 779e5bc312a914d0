//! Step 4: what a frame's source teaches [Q 8.7].
//!
//! Bridge ports learn. Downlinks learn only where a VSI names no address, and no more than they may. The uplink never
//! learns: a source seen there may be one of our own, reflected, and learning would move it away from its VM. Such a
//! source is an echo instead, which only a VEPA expects.

use ether::MacAddr;

use crate::{
    classify::Class,
    fdb::{Key, Learnt},
    lasting::{Lasts, Passing},
    port::{PortId, Role},
    recent::MoveKind,
    row::Row,
    snapshot::{EdgeMode, RelayKind},
    switch::Context,
    trace::{LearnResult, Step, Watch},
    verdict::DropReason,
};

/// The downlink that sent the frame in the first place, if it came back by the uplink and may go on to others.
pub(crate) fn learn(
    cx: &Context<'_>,
    row: &Row,
    src: MacAddr,
    class: &Class,
    lasts: &mut Lasts,
    watch: &mut impl Watch,
) -> Result<Option<PortId>, DropReason> {
    if row.role == Role::Uplink {
        let sender = echo(cx, src, class)?;
        if let Some(sender) = sender {
            watch.note(|| Step::Echo { sender });
        }
        return Ok(sender);
    }
    // Where everything goes one way there is nothing to learn.
    if class.owner.is_some() || row.role == Role::Downlink && cx.snapshot.one_way() {
        watch.note(|| Step::Learn { result: LearnResult::Nothing });
        return Ok(None);
    }
    let (key, fdb) = (Key::new(src, class.vid), cx.fdb);
    let learnt = if cx.live {
        fdb.learn(key, row.id, cx.secs, row.bound)
    } else {
        fdb.preview(key, row.id, cx.secs, row.bound)
    };
    let result = match learnt {
        Learnt::Full => return Err(DropReason::LearnLimit),
        Learnt::Known => LearnResult::Known,
        Learnt::New => LearnResult::New,
        Learnt::Moved(from) => LearnResult::Moved(from),
        Learnt::Held(at) => LearnResult::Held(at),
        Learnt::Crowded => LearnResult::Crowded,
    };
    watch.note(|| Step::Learn { result });
    if !matches!(result, LearnResult::Nothing | LearnResult::Known) {
        lasts.not(Passing::Learning);
    }
    if cx.live {
        if matches!(result, LearnResult::New | LearnResult::Moved(_)) {
            cx.forget(src);
        }
        match result {
            LearnResult::Moved(from) => {
                cx.stats.moved(row.id);
                cx.moved(MoveKind::Moved, src, class.vid, from, row.id);
            }
            LearnResult::Held(at) => {
                cx.stats.held(row.id);
                cx.moved(MoveKind::Held, src, class.vid, at, row.id);
            }
            LearnResult::Crowded => cx.stats.crowded(row.id),
            LearnResult::Nothing | LearnResult::Known | LearnResult::New => {}
        }
    }
    Ok(None)
}

fn echo(cx: &Context<'_>, src: MacAddr, class: &Class) -> Result<Option<PortId>, DropReason> {
    let sender = class.owner.map(|owner| owner.port).or_else(|| cx.learnt(src, class.vid));
    match (sender, cx.snapshot.kind()) {
        (Some(port), RelayKind::Edge(mode)) if mode != EdgeMode::Vepa => {
            cx.count(|stats| stats.echo(port));
            Err(DropReason::Echo)
        }
        (sender, _) => Ok(sender),
    }
}
