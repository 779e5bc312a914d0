//! The transmit machine [Q 43.3]: one request outstanding, retransmitted until acknowledged or given up.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ether::Instant;

use crate::{
    draft::Dialect,
    error::QueueFull,
    header::{Header, Operation, Seq, Subtype},
    link::{Limits, Output, Params},
    stats::Stats,
};

/// Where a machine leaves what it wants done.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) stats: Stats,
}

#[derive(Debug)]
pub(crate) struct Transmitter {
    pub(crate) subtype: Subtype,
    pub(crate) params: Params,
    pub(crate) limits: Limits,
    pub(crate) dialect: Dialect,
    sequence: Seq,
    queue: VecDeque<Bytes>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing outstanding; the next request may leave at `not_before`.
    WaitForReq { not_before: Instant },
    /// `pdu` was sent `transmissions` times; its acknowledgement is due at `ack_timer`.
    TransmitEcpdu { sequence: Seq, payload: Bytes, pdu: Bytes, transmissions: u8, ack_timer: Instant },
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The queue has grown.
    Request,
    /// An acknowledgement came.
    Ack(Seq),
    /// Time has passed.
    Timeout,
}

impl Transmitter {
    pub(crate) fn new(subtype: Subtype, params: Params, first: Seq, now: Instant) -> Self {
        Self {
            subtype,
            params,
            limits: Limits::default(),
            dialect: Dialect::Standard,
            sequence: first,
            queue: VecDeque::new(),
            state: State::WaitForReq { not_before: now },
        }
    }

    pub(crate) fn send(&mut self, now: Instant, payload: Bytes, sink: &mut Sink) -> Result<(), QueueFull> {
        if self.queue.len() >= self.limits.queue {
            sink.stats.tx_queue_full += 1;
            return Err(QueueFull(payload));
        }
        self.queue.push_back(payload);
        self.step(now, Event::Request, sink);
        Ok(())
    }

    pub(crate) fn handle_ack(&mut self, now: Instant, sequence: Seq, sink: &mut Sink) {
        self.step(now, Event::Ack(sequence), sink);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, sink: &mut Sink) {
        self.step(now, Event::Timeout, sink);
    }

    /// Gives everything outstanding and queued back as failed and starts anew at `first`.
    pub(crate) fn reset(&mut self, now: Instant, first: Seq, sink: &mut Sink) {
        let state = std::mem::replace(&mut self.state, State::WaitForReq { not_before: now });
        if let State::TransmitEcpdu { sequence, payload, .. } = state {
            fail(Some(sequence), payload, sink);
        }
        for payload in self.queue.drain(..) {
            fail(None, payload, sink);
        }
        self.sequence = first;
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::WaitForReq { not_before } => (!self.queue.is_empty()).then_some(*not_before),
            State::TransmitEcpdu { ack_timer, .. } => Some(*ack_timer),
        }
    }

    /// Number the next new request will carry.
    pub(crate) const fn next_sequence(&self) -> Seq {
        self.sequence
    }

    /// Number of the request that waits for its acknowledgement.
    pub(crate) const fn outstanding(&self) -> Option<Seq> {
        match &self.state {
            State::WaitForReq { .. } => None,
            State::TransmitEcpdu { sequence, .. } => Some(*sequence),
        }
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    fn step(&mut self, now: Instant, event: Event, sink: &mut Sink) {
        match (&mut self.state, event) {
            (State::WaitForReq { not_before }, Event::Request | Event::Timeout) => {
                if now >= *not_before {
                    self.transmit_next(now, sink);
                }
            }
            (State::WaitForReq { .. }, Event::Ack(_)) => sink.stats.rx_bad_acks += 1,
            (State::TransmitEcpdu { .. }, Event::Request) => {}
            (State::TransmitEcpdu { sequence, .. }, Event::Ack(acked)) => {
                if *sequence == acked {
                    sink.stats.rx_acks += 1;
                    sink.outputs.push_back(Output::Acknowledged { sequence: acked });
                    self.wait_for_req(now, sink);
                } else {
                    sink.stats.rx_bad_acks += 1;
                }
            }
            (State::TransmitEcpdu { sequence, payload, pdu, transmissions, ack_timer }, Event::Timeout) => {
                if now < *ack_timer {
                    return;
                }
                // UNSURE-3: R retries after the first transmission, R + 1 transmissions in all.
                if *transmissions <= self.params.max_retries {
                    *transmissions = transmissions.saturating_add(1);
                    *ack_timer = now + self.params.ack_timer();
                    sink.stats.tx_retries += 1;
                    sink.outputs.push_back(Output::Transmit(pdu.clone()));
                } else {
                    fail(Some(*sequence), std::mem::take(payload), sink);
                    self.wait_for_req(now, sink);
                }
            }
        }
    }

    /// The exchange has ended: the one place where the gap between ECPDUs is kept.
    fn wait_for_req(&mut self, now: Instant, sink: &mut Sink) {
        self.state = State::WaitForReq { not_before: now + self.limits.min_gap };
        self.step(now, Event::Request, sink);
    }

    fn transmit_next(&mut self, now: Instant, sink: &mut Sink) {
        let Some(payload) = self.queue.pop_front() else { return };
        let sequence = self.sequence;
        self.sequence = sequence.next();
        let mut pdu = BytesMut::with_capacity(self.dialect.header_len() + payload.len());
        let header = Header { operation: Operation::Request, subtype: self.subtype, sequence };
        self.dialect.put(header, &mut pdu);
        pdu.extend_from_slice(&payload);
        let pdu = pdu.freeze();
        sink.stats.tx_frames += 1;
        sink.outputs.push_back(Output::Transmit(pdu.clone()));
        let ack_timer = now + self.params.ack_timer();
        self.state = State::TransmitEcpdu { sequence, payload, pdu, transmissions: 1, ack_timer };
    }
}

fn fail(sequence: Option<Seq>, payload: Bytes, sink: &mut Sink) {
    sink.stats.tx_failures += 1;
    sink.outputs.push_back(Output::Failed { sequence, payload });
}
