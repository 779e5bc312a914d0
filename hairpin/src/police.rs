//! Steps 3 and 7: what a VSI's policy does with frames from its VM and with those to it.

use ether::{EtherType, Pcp, PrioritySet, Tag};

use crate::{
    acl,
    classify::Class,
    policy::{Action, PcpRule},
    port::Role,
    row::Row,
    snapshot::VsiRow,
    switch::{Context, Frame},
    trace::{Step, Watch},
    verdict::{Direction, DropReason, MirrorCopy, MirrorTarget, Verdict},
};

/// Frames from the VM: mirror, access list, rate, priority, in this order. What the policy refuses teaches nothing.
/// Whether the rate may drop the frame depends on the priority it is given, or every VM would be beyond its rate.
pub(crate) fn ingress(
    cx: &Context<'_>,
    row: &Row,
    frame: &Frame<'_>,
    class: &mut Class,
    verdict: &mut Verdict,
    watch: &mut impl Watch,
) -> Result<(), DropReason> {
    let Some(vsi) = class.vsi.and_then(|at| cx.snapshot.vsi(at)) else { return Ok(()) };
    verdict.lasts_mut().passes(vsi, Direction::Ingress);
    mirror(cx, vsi, class, Direction::Ingress, verdict, watch);
    let pcp = match vsi.policy.pcp {
        PcpRule::Trust => class.pcp,
        PcpRule::Set(pcp) => pcp,
    };
    judge(cx, vsi, Direction::Ingress, frame, class, (pcp, row.lossless), watch)?;
    if let PcpRule::Set(pcp) = vsi.policy.pcp {
        class.pcp = pcp;
        watch.note(|| Step::Priority { vsi: vsi.key, pcp });
    }
    Ok(())
}

/// Copies to VMs: access list and rate, then mirror. Takes copies away; the last reason, if there was one.
///
/// `known` is the VSI that names the destination.
pub(crate) fn egress(
    cx: &Context<'_>,
    ingress: &Row,
    frame: &Frame<'_>,
    class: &Class,
    known: Option<u32>,
    verdict: &mut Verdict,
    watch: &mut impl Watch,
) -> Option<DropReason> {
    let mut last = None;
    let mut at = 0;
    while let Some(copy) = verdict.copy(at) {
        let row = cx.snapshot.row(copy.port);
        let vsi = row.and_then(|row| Some((row, receiver(cx, row, frame, class, known)?)));
        let Some((row, vsi)) = vsi else {
            at += 1;
            continue;
        };
        let lossless = ingress.lossless.union(row.lossless);
        if let Err(reason) = judge(cx, vsi, Direction::Egress, frame, class, (class.pcp, lossless), watch) {
            last = Some(reason);
            verdict.remove(at);
            if cx.live {
                vsi.state.dropped(&cx.record(reason, ingress.id, frame, Some(class.vid), Some(vsi.key)));
            }
            continue;
        }
        verdict.lasts_mut().passes(vsi, Direction::Egress);
        mirror(cx, vsi, class, Direction::Egress, verdict, watch);
        if cx.live {
            vsi.state.tx(1, frame.len.into());
        }
        at += 1;
    }
    last
}

/// The VSI a copy that leaves by `row` is for. A group's copy is for the only VSI of the port in the VLAN.
fn receiver<'a>(
    cx: &Context<'a>,
    row: &Row,
    frame: &Frame<'_>,
    class: &Class,
    known: Option<u32>,
) -> Option<&'a VsiRow> {
    if row.role == Role::Uplink {
        return None;
    }
    if let Some(vsi) = known.and_then(|at| cx.snapshot.vsi(at)).filter(|vsi| vsi.port == row.id) {
        return Some(vsi);
    }
    let vlan = row.vlan(class.vid)?;
    let at = if ether::mac::is_group(frame.dst) { vlan.sole } else { vlan.wild.or(vlan.sole) };
    cx.snapshot.vsi(at?)
}

fn judge(
    cx: &Context<'_>,
    vsi: &VsiRow,
    direction: Direction,
    frame: &Frame<'_>,
    class: &Class,
    (pcp, lossless): (Pcp, PrioritySet),
    watch: &mut impl Watch,
) -> Result<(), DropReason> {
    let (rules, fill, bucket, denied, exceeded) = match direction {
        Direction::Ingress => (
            &vsi.policy.ingress,
            vsi.ingress,
            &vsi.state.ingress,
            DropReason::AclIngress,
            DropReason::RateIngress,
        ),
        Direction::Egress => {
            (&vsi.policy.egress, vsi.egress, &vsi.state.egress, DropReason::AclEgress, DropReason::RateEgress)
        }
    };
    if !rules.is_empty() {
        let deciding = acl::deciding(rules, frame, class.vid);
        let action = deciding.map_or(Action::Permit, |(_, rule)| rule.action);
        watch.note(|| Step::Acl {
            vsi: vsi.key,
            direction,
            rule: deciding.map(|(at, _)| at + 1),
            name: deciding.and_then(|(_, rule)| rule.name.clone()),
            action,
        });
        if action == Action::Deny {
            return Err(denied);
        }
    }
    let Some(fill) = fill else { return Ok(()) };
    let passes = if cx.live { bucket.take(fill, cx.now, frame.len) } else { bucket.has(fill, cx.now) };
    // What PFC keeps from loss on the link is not lost here [Q 36].
    let spared = !passes && lossless.union(cx.snapshot.lossless()).contains(pcp);
    watch.note(|| Step::Rate { vsi: vsi.key, direction, passes, spared });
    if passes || spared { Ok(()) } else { Err(exceeded) }
}

fn mirror(
    cx: &Context<'_>,
    vsi: &VsiRow,
    class: &Class,
    direction: Direction,
    verdict: &mut Verdict,
    watch: &mut impl Watch,
) {
    let Some(to) = vsi.mirror_of(direction) else { return };
    let tag = Tag { tpid: EtherType::C_VLAN, pcp: class.pcp, dei: class.dei, vid: Some(class.vid) };
    let via = match to {
        MirrorTarget::Port(port) => cx.snapshot.channels.via(port, class.pcp, class.dei),
        MirrorTarget::Capture(_) => None,
    };
    verdict.mirror(MirrorCopy { to, tag, via, vsi: vsi.key, direction });
    watch.note(|| Step::Mirror { vsi: vsi.key, direction, to });
}
