//! What waits to be sent: TLVs of many VSIs, put together to VDPDUs [Q 41.2].
//!
//! ECP is stop and wait: one ECPDU a round trip. While one is outstanding TLVs gather here, and the next takes as many as
//! it holds, so that a thousand VSIs cost some tens of round trips. Every VDPDU begins with the oldest TLV, so none
//! starves; TLVs of one VSI leave in the order they came in, at most one in a VDPDU.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::{
    tlv::{Item, Vdpdu},
    vsi::{ManagerId, VsiId},
};

/// One TLV on its way to the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The manager it belongs under.
    pub manager: ManagerId,
    /// The VSI it is about; none in an answer to what names none.
    pub id: Option<VsiId>,
    /// The TLV with its header.
    tlv: Bytes,
}

impl Message {
    /// `item` on its way; `None` if it is longer than a TLV can be, which one with a valid filter is not.
    pub(crate) fn new(manager: ManagerId, id: Option<VsiId>, item: &Item) -> Option<Self> {
        let mut tlv = BytesMut::new();
        item.put(&mut tlv).ok()?;
        Some(Self { manager, id, tlv: tlv.freeze() })
    }

    /// The VDPDU of this TLV alone.
    #[must_use]
    pub fn to_pdu(&self) -> Bytes {
        Vdpdu::join(self.manager, [&self.tlv])
    }

    /// What a later message replaces: the same kind of TLV about the same VSI.
    fn key(&self) -> Option<(ManagerId, VsiId, u8)> {
        Some((self.manager, self.id?, *self.tlv.first()? >> 1))
    }
}

/// What an [`Outbox`] has counted, for display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutboxStats {
    /// VDPDUs handed to ECP.
    pub pdus: u64,
    /// TLVs in them.
    pub tlvs: u64,
    /// TLVs that a later one of the same kind about the same VSI made needless.
    pub replaced: u64,
    /// TLVs for which there was no room, or that waited when the link went down: VDP's timers repeat what matters.
    pub dropped: u64,
}

/// The TLVs of one port that wait for ECP.
#[derive(Clone, Debug)]
pub struct Outbox {
    limit: usize,
    next: u64,
    waiting: BTreeMap<u64, Message>,
    places: BTreeMap<(ManagerId, VsiId, u8), u64>,
    stats: OutboxStats,
}

impl Outbox {
    /// An empty one for at most `limit` TLVs.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        let stats = OutboxStats { pdus: 0, tlvs: 0, replaced: 0, dropped: 0 };
        Self { limit, next: 0, waiting: BTreeMap::new(), places: BTreeMap::new(), stats }
    }

    /// Adds `message` at the end. An equal kind of TLV about the same VSI that still waits is taken out: the later one
    /// says what counts. When there is no room `message` is dropped and counted.
    pub fn push(&mut self, message: Message) {
        let key = message.key();
        if let Some(old) = key.and_then(|key| self.places.remove(&key)) {
            self.waiting.remove(&old);
            self.stats.replaced += 1;
        }
        if self.waiting.len() >= self.limit {
            self.stats.dropped += 1;
            return;
        }
        let place = self.next;
        self.next = place.wrapping_add(1);
        if let Some(key) = key {
            self.places.insert(key, place);
        }
        self.waiting.insert(place, message);
    }

    /// The next VDPDU, of at most `room` octets unless its first TLV alone is longer; `None` when nothing waits.
    pub fn take(&mut self, room: usize) -> Option<Bytes> {
        let manager = self.waiting.first_key_value()?.1.manager;
        let (mut taken, mut met, mut octets) = (Vec::new(), BTreeSet::new(), Vdpdu::FRAMING);
        for (place, message) in self.waiting.iter().take(LOOK_AHEAD) {
            // A VSI met before has its turn first, in this PDU or a later one.
            let first = message.id.is_none_or(|id| met.insert(id));
            if message.manager != manager || !first {
                continue;
            }
            octets += message.tlv.len();
            if octets > room && !taken.is_empty() {
                break;
            }
            taken.push(*place);
        }
        let taken: Vec<Message> = taken.into_iter().filter_map(|place| self.waiting.remove(&place)).collect();
        for key in taken.iter().filter_map(Message::key) {
            self.places.remove(&key);
        }
        self.stats.pdus += 1;
        self.stats.tlvs += u64::try_from(taken.len()).unwrap_or(u64::MAX);
        Some(Vdpdu::join(manager, taken.iter().map(|message| &message.tlv)))
    }

    /// The link went down: what waits is of no use when it comes back.
    pub fn clear(&mut self) {
        self.stats.dropped += u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        self.waiting.clear();
        self.places.clear();
    }

    /// Room for `limit` TLVs from now on; what waits beyond it stays.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// TLVs that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &OutboxStats {
        &self.stats
    }
}

/// TLVs looked at for one VDPDU: of many managers in turn, the ones further back wait.
const LOOK_AHEAD: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        filter::tests::{entry, filter},
        tlv::{Association, Command, Hints, Status},
        vsi::{TypeId, TypeVersion},
    };

    fn message(manager: u8, vsi: u8, command: Command, version: u8) -> Message {
        let association = Association {
            command,
            status: Status::Request(Hints::default()),
            type_id: TypeId::default(),
            version: TypeVersion(version),
            id: VsiId::local([vsi; 16]),
            filter: Some(filter(&[entry(0, 1, 100, None)])),
        };
        let id = association.id;
        Message::new(ManagerId::legacy(manager), Some(id), &Item::Association(association)).unwrap()
    }

    /// What a PDU says: its manager, and of each TLV VSI, command and version.
    fn read(pdu: &[u8]) -> (u8, Vec<(u8, Command, u8)>) {
        let pdu = Vdpdu::parse(pdu).unwrap();
        let items = pdu.items.into_iter().map(|item| match item {
            Item::Association(a) => (a.id.octets()[0], a.command, a.version.0),
            other => panic!("{other:?}"),
        });
        (pdu.manager.0[0], items.collect())
    }

    #[test]
    fn many_in_one_up_to_its_limit() {
        let mut outbox = Outbox::new(100);
        for vsi in 0..50 {
            outbox.push(message(1, vsi, Command::Associate, 0));
        }
        // 20 octets of manager and end, 35 for each.
        let first = outbox.take(20 + 42 * 35).unwrap();
        assert_eq!((first.len(), read(&first).1.len(), outbox.len()), (20 + 42 * 35, 42, 8));
        assert_eq!(read(&outbox.take(1000).unwrap()).1.len(), 8);
        assert_eq!((outbox.take(1000), outbox.is_empty()), (None, true));
        assert_eq!(*outbox.stats(), OutboxStats { pdus: 2, tlvs: 50, ..OutboxStats::default() });
        // One leaves however little room there is, as it would alone.
        outbox.push(message(1, 7, Command::Associate, 0));
        assert_eq!(outbox.take(0), Some(message(1, 7, Command::Associate, 0).to_pdu()));
    }

    #[test]
    fn managers_apart_and_each_vsi_in_order() {
        use Command::{Associate, DeAssociate};
        let mut outbox = Outbox::new(100);
        for (manager, vsi, command) in
            [(1, 1, DeAssociate), (2, 1, Associate), (1, 2, Associate), (1, 1, Associate), (2, 3, Associate)]
        {
            outbox.push(message(manager, vsi, command, 0));
        }
        let pdus: Vec<_> = std::iter::from_fn(|| outbox.take(1000)).map(|pdu| read(&pdu)).collect();
        assert_eq!(
            pdus,
            [
                (1, vec![(1, DeAssociate, 0), (2, Associate, 0)]),
                (2, vec![(1, Associate, 0), (3, Associate, 0)]),
                (1, vec![(1, Associate, 0)]),
            ]
        );
    }

    #[test]
    fn the_later_replaces_the_earlier_and_room_is_bounded() {
        let mut outbox = Outbox::new(2);
        outbox.push(message(1, 1, Command::Associate, 1));
        outbox.push(message(1, 1, Command::DeAssociate, 1));
        outbox.push(message(1, 1, Command::Associate, 2));
        outbox.push(message(1, 2, Command::Associate, 1));
        assert_eq!((outbox.stats().replaced, outbox.stats().dropped), (1, 1));
        assert_eq!(read(&outbox.take(1000).unwrap()).1, [(1, Command::DeAssociate, 1)]);
        assert_eq!(read(&outbox.take(1000).unwrap()).1, [(1, Command::Associate, 2)]);
        assert!(outbox.places.is_empty());
        outbox.push(message(1, 1, Command::Associate, 3));
        outbox.clear();
        assert_eq!((outbox.take(1000), outbox.places.len(), outbox.stats().dropped), (None, 0, 2));
    }

    proptest! {
        /// Nothing but what was replaced or dropped is lost, every PDU keeps to its limit, each VSI keeps its order.
        #[test]
        fn whatever_waits_leaves_in_order(
            steps in proptest::collection::vec((1u8..4, 0u8..6, any::<bool>(), 0usize..5, 50usize..200), 0..60),
        ) {
            let (mut outbox, mut left, mut pushed) = (Outbox::new(20), Vec::new(), 0);
            let commands = [Command::PreAssociate, Command::Associate, Command::DeAssociate, Command::Associate];
            for (n, (manager, vsi, take, command, room)) in steps.into_iter().enumerate() {
                let command = *commands.get(command).unwrap_or(&Command::PreAssociateRr);
                outbox.push(message(manager, vsi, command, u8::try_from(n).unwrap()));
                pushed += 1;
                if take && let Some(pdu) = outbox.take(room) {
                    let (_, items) = read(&pdu);
                    prop_assert!(pdu.len() <= room || items.len() == 1);
                    left.extend(items);
                }
            }
            while let Some(pdu) = outbox.take(1000) {
                left.extend(read(&pdu).1);
            }
            for vsi in 0..6 {
                prop_assert!(left.iter().filter(|l| l.0 == vsi).is_sorted_by_key(|l| l.2));
            }
            let stats = outbox.stats();
            prop_assert_eq!(left.len() as u64 + stats.replaced + stats.dropped, pushed);
            prop_assert!(outbox.places.is_empty());
        }
    }
}
