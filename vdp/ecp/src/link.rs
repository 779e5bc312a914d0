//! One ECP instance: both machines of [Q 43.3] for one subtype on one port.
//!
//! UNSURE-10: the standard may mean one instance per port; evbd runs one per (port, subtype), so that a slow upper
//! layer does not block another. A peer with a single instance sees two request streams with their own numbers, and
//! since only an equal number is a duplicate it takes both.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ether::{Instant, time::Duration};
use serde::Serialize;

use crate::{
    draft::Dialect,
    error::QueueFull,
    header::{Header, Operation, Seq, Subtype},
    rx::Receiver,
    stats::Stats,
    tx::{Sink, Transmitter},
};

/// One ECP instance. Drain [`Link::poll_output`] after every other call.
#[derive(Debug)]
pub struct Link {
    tx: Transmitter,
    rx: Receiver,
    sink: Sink,
}

/// What a [`Link`] wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Put these octets behind the EtherType of the [`Dialect`] and send them to its group: 0x8940 and the nearest
    /// customer bridge address.
    Transmit(Bytes),
    /// Hand these octets to the upper layer. Padding may follow what the peer's upper layer sent.
    Deliver(Bytes),
    /// The peer has the request with this number.
    Acknowledged {
        /// Number of the request.
        sequence: Seq,
    },
    /// The payload was given up, or flushed by [`Link::reset`].
    Failed {
        /// Number of the request; `None` if it never left the queue.
        sequence: Option<Seq>,
        /// What [`Link::send`] was given.
        payload: Bytes,
    },
}

/// The negotiated parameters [Q 43.3, D.2.12].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Params {
    /// R: how often a request is sent again after its first transmission, 0..=7.
    pub max_retries: u8,
    /// RTE: the acknowledgement is awaited for 10·2^RTE µs, 0..=31; larger values count as 31.
    pub ack_timer_exponent: u8,
}

impl Default for Params {
    /// R = 3, RTE = 14 (163.84 ms).
    fn default() -> Self {
        Self { max_retries: 3, ack_timer_exponent: 14 }
    }
}

impl Params {
    /// How long one transmission waits for its acknowledgement.
    #[doc(alias = "ackTimerInit")]
    #[must_use]
    pub fn ack_timer(self) -> Duration {
        Duration::from_micros(10 << self.ack_timer_exponent.min(31))
    }

    /// How long after a transmission its repetitions have all been sent and arrived.
    fn repetitions_end(self) -> Duration {
        self.ack_timer() * (u32::from(self.max_retries) + 2)
    }
}

/// What the standard leaves to the implementation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a new request waits after the previous one was acknowledged or given up. lldpad acknowledges at once
    /// but reads the payload 2 ms later from a single buffer, so that a request following sooner would overwrite it.
    pub min_gap: Duration,
    /// PDUs that may wait in the queue; the outstanding one is not counted.
    pub queue: usize,
}

impl Default for Limits {
    /// 3 ms, 1024 PDUs.
    fn default() -> Self {
        Self { min_gap: Duration::from_millis(3), queue: 1024 }
    }
}

/// What a [`Link`] is doing, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Parameters in use from the next arming of the timer.
    pub params: Params,
    /// Number the next new request will carry.
    pub next_sequence: Seq,
    /// Number of the request waiting for its acknowledgement.
    pub outstanding: Option<Seq>,
    /// Number of the last request received.
    #[doc(alias = "lastSeq")]
    pub last_received: Option<Seq>,
    /// PDUs in the queue.
    pub queued: usize,
}

impl Link {
    /// An idle instance for `subtype`. `first_sequence` should be random, so that a peer that outlived our restart
    /// does not take the first request for a duplicate; zero counts as one.
    #[must_use]
    pub fn new(subtype: Subtype, params: Params, first_sequence: u16, now: Instant) -> Self {
        Self {
            tx: Transmitter::new(subtype, params, Seq::first(first_sequence), now),
            rx: Receiver::default(),
            sink: Sink::default(),
        }
    }

    /// The same instance with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.tx.limits = limits;
        self
    }

    /// Queues `payload`, the PDU of the upper layer without the ECP header, and sends it as soon as its turn comes.
    /// The caller keeps it at or below the MTU less four octets.
    ///
    /// # Errors
    /// When the queue is full; the payload comes back.
    pub fn send(&mut self, now: Instant, payload: Bytes) -> Result<(), QueueFull> {
        self.tx.send(now, payload, &mut self.sink)
    }

    /// Takes the octets after the EtherType of a received frame, padding allowed. PDUs with a broken header, of
    /// another version, operation or subtype are dropped and counted.
    pub fn handle_pdu(&mut self, now: Instant, pdu: &[u8]) {
        let (header, payload) = match self.tx.dialect.parse(pdu) {
            Ok(parsed) => parsed,
            Err(error) => return self.sink.stats.count_error(error),
        };
        if header.subtype != self.tx.subtype {
            self.sink.stats.rx_other_subtype += 1;
            return;
        }
        match header.operation {
            Operation::Ack => self.tx.handle_ack(now, header.sequence, &mut self.sink),
            Operation::Request => self.handle_request(now, header, payload),
        }
    }

    /// Lets time pass; harmless when called early or late.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tx.handle_timeout(now, &mut self.sink);
    }

    /// When [`Link::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.tx.poll_timeout()
    }

    /// The next thing to do, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.sink.outputs.pop_front()
    }

    /// The link went down and came back [Q 43.3, BEGIN or not portEnabled]: the outstanding request and the queue come
    /// back as [`Output::Failed`], the next request carries `first_sequence`, the peer's last number is forgotten.
    pub fn reset(&mut self, now: Instant, first_sequence: u16) {
        self.tx.reset(now, Seq::first(first_sequence), &mut self.sink);
        self.rx.forget();
    }

    /// Speaks another dialect from now on: what is outstanding or queued comes back as [`Output::Failed`], and the peer's
    /// last number is forgotten.
    pub fn set_dialect(&mut self, now: Instant, dialect: Dialect) {
        let next = self.tx.next_sequence();
        self.tx.reset(now, next, &mut self.sink);
        self.rx.forget();
        self.tx.dialect = dialect;
    }

    /// The dialect spoken.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.tx.dialect
    }

    /// The neighbour restarted while the link stayed up: its next request is new whatever its number. Without this a
    /// peer that always starts at 1, as lldpad does, could be acknowledged and not heard.
    pub fn forget_peer(&mut self) {
        self.rx.forget();
    }

    /// Other parameters, from the next arming of the timer.
    pub fn set_params(&mut self, params: Params) {
        self.tx.params = params;
    }

    /// Whether nothing is outstanding or queued. An upper layer that has much to say waits for this, and puts into one
    /// PDU what has gathered meanwhile.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tx.outstanding().is_none() && self.tx.queued() == 0
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.sink.stats
    }

    /// What the instance is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            params: self.tx.params,
            next_sequence: self.tx.next_sequence(),
            outstanding: self.tx.outstanding(),
            last_received: self.rx.last(),
            queued: self.tx.queued(),
        }
    }

    fn handle_request(&mut self, now: Instant, header: Header, payload: &[u8]) {
        let patience = self.tx.params.repetitions_end();
        let Sink { outputs, stats } = &mut self.sink;
        acknowledge(self.tx.dialect, header, outputs);
        stats.tx_acks += 1;
        if self.rx.is_new(now, header.sequence, patience) {
            stats.rx_frames += 1;
            outputs.push_back(Output::Deliver(Bytes::copy_from_slice(payload)));
        } else {
            stats.rx_duplicates += 1;
        }
    }
}

/// The same header with the operation changed, and no payload.
fn acknowledge(dialect: Dialect, request: Header, outputs: &mut VecDeque<Output>) {
    let mut ack = BytesMut::with_capacity(dialect.header_len());
    dialect.put(Header { operation: Operation::Ack, ..request }, &mut ack);
    outputs.push_back(Output::Transmit(ack.freeze()));
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
