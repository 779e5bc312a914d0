//! Step 8: the tag each copy leaves with [Q 6.9.2, 8.6.4].

use ether::{EtherType, Tag};

use crate::{classify::Class, snapshot::Snapshot, verdict::Copy};

/// Puts the tag on where the port does not send the VLAN untagged.
pub(crate) fn tag(snapshot: &Snapshot, class: &Class, copies: &mut [Copy]) {
    let tag = Tag { tpid: EtherType::C_VLAN, pcp: class.pcp, dei: class.dei, vid: Some(class.vid) };
    for copy in copies {
        // What an extended port sends untagged is for its port extender to know.
        let untagged = snapshot.row(copy.port).is_some_and(|row| row.untagged.contains(class.vid))
            && !snapshot.channels.is_extended(copy.port);
        copy.tag = (!untagged).then_some(tag);
    }
}
