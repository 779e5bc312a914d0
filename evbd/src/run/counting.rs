//! What a port extender says of its ports' counters when its bridge asks.

use hairpin::PortId;

use super::Daemon;
use crate::input::Input;

impl Daemon {
    /// The answer to a question for counters. The relay does not tell group frames apart: all count as unicast.
    pub(super) fn count(&self, question: u32, ports: Vec<PortId>) -> Input {
        self.planes.settle();
        let carried = self.planes.carrier_stats();
        let counters = ports.into_iter().filter_map(|port| {
            let relay = self.planes.counters(port)?;
            let wire = carried.get(&port).copied().unwrap_or_default();
            let unreadable = wire.rx_runt + wire.rx_bad_tag + wire.rx_bad_channel + wire.rx_unreadable;
            let errors = wire.tx_refused + wire.tx_failed;
            let rx_drops = relay.drops.values().sum::<u64>() + wire.rx_overrun;
            let tx_drops = relay.tx_drops.saturating_sub(errors);
            let received = [relay.rx_bytes, relay.rx_frames, 0, 0, rx_drops, wire.rx_truncated + unreadable];
            let sent = [relay.tx_bytes, relay.tx_frames, 0, 0, tx_drops, errors];
            let mut values = [0; 12];
            values.iter_mut().zip(received.into_iter().chain(sent)).for_each(|(value, new)| *value = new);
            Some((port, values))
        });
        Input::Counted { question, counters: counters.collect() }
    }
}
