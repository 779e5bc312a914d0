//! One end of a session of the control and status protocol, with the ECP under it [BR 9].
//!
//! Both ends send Open; the session is open when both are answered. It ends with the peer, with its link, when ECP gives
//! up, or when an answer does not come; then it is opened again after 1, 2, 4, 8, … 30 s (UNSURE-U17).

mod state;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use ether::{ECid, Instant, MacAddr, time::Duration, time::earliest};

pub use self::state::{Output, Peer, SessionState, Why};
use super::{
    codebook::CodeBook,
    message::{Completion, Message, Pdu},
    tlv::{Capability, Tlv},
};
use crate::stats::Stats;

/// A session.
#[derive(Debug)]
pub struct Session {
    /// None is read yet.
    book: Option<Arc<CodeBook>>,
    /// Of the code book: asked for with every ECPDU.
    digest: Option<u32>,
    capability: Capability,
    ecp: ecp::Link,
    peer: Option<Peer>,
    state: SessionState,
    transaction: u32,
    asked: BTreeMap<u32, Asked>,
    backoff: Duration,
    theirs: Option<Capability>,
    /// The peer has opened anew since LLDP told of it last.
    reopened: bool,
    stats: Stats,
    out: VecDeque<Output>,
}

#[derive(Debug)]
struct Asked {
    request: Pdu,
    due: Instant,
    again: bool,
}

impl Session {
    /// A session without a peer. Without a book it talks to nobody. `first_sequence` is ECP's and should be random.
    #[must_use]
    pub fn new(
        book: Option<Arc<CodeBook>>,
        capability: Capability,
        params: ecp::Params,
        first_sequence: u16,
        now: Instant,
    ) -> Self {
        let limits = ecp::Limits { min_gap: Duration::ZERO, ..ecp::Limits::default() };
        Self {
            digest: book.as_ref().map(|book| book.digest()),
            book,
            capability,
            ecp: ecp::Link::new(ecp::Subtype::PeCsp, params, first_sequence, now).with_limits(limits),
            peer: None,
            state: SessionState::Idle { because: Why::NoPeer },
            transaction: 0,
            asked: BTreeMap::new(),
            backoff: BACKOFF.0,
            theirs: None,
            reopened: false,
            stats: Stats::default(),
            out: VecDeque::new(),
        }
    }

    /// LLDP hears this peer at the port, or none; a link that is down has none.
    pub fn set_peer(&mut self, now: Instant, peer: Option<Peer>) {
        if peer == self.peer {
            return;
        }
        let life = |peer: &Option<Peer>| {
            peer.as_ref().and_then(|peer| Some((peer.address, peer.marker.as_ref()?.life)))
        };
        let address = |peer: &Option<Peer>| peer.as_ref().map(|peer| peer.address);
        // Its Open may have come before LLDP told of its new life.
        let told = std::mem::take(&mut self.reopened) && address(&peer) == address(&self.peer);
        let same = told || life(&peer) == life(&self.peer);
        self.peer = peer;
        let idle = match &self.peer {
            None => Some(Why::NoPeer),
            Some(peer) if !self.speaks(peer) => Some(Why::NoBook),
            Some(peer) if !peer.chosen => Some(Why::NotChosen),
            Some(_) => None,
        };
        match (idle, self.state) {
            (Some(because), _) => {
                self.close(now, because);
                self.enter(SessionState::Idle { because });
            }
            (None, SessionState::Opening { .. } | SessionState::Open) if same => {}
            (None, _) => {
                self.close(now, Why::Reopened);
                self.backoff = BACKOFF.0;
                self.open(now);
            }
        }
    }

    /// Speaks by another book from now on; what was said by the old one counts no more.
    pub fn set_book(&mut self, now: Instant, book: Arc<CodeBook>) {
        let digest = Some(book.digest());
        self.book = Some(book);
        if std::mem::replace(&mut self.digest, digest) != digest {
            self.close(now, Why::NoBook);
            let peer = self.peer.take();
            self.set_peer(now, peer);
        }
    }

    /// ECP works like this from now on.
    pub fn set_params(&mut self, params: ecp::Params) {
        self.ecp.set_params(params);
    }

    /// Takes an ECPDU that came from `from`.
    pub fn handle_ecpdu(&mut self, now: Instant, from: MacAddr, ecpdu: &[u8]) {
        if !self.peer.as_ref().is_some_and(|peer| peer.address == from && self.speaks(peer)) {
            self.stats.rx_foreign += 1;
            return;
        }
        self.ecp.handle_pdu(now, ecpdu);
        self.drain(now);
    }

    /// Asks for something; the transaction it was given. Nothing unless the session is open and [`Session::room`].
    pub fn request(
        &mut self,
        now: Instant,
        message: Message,
        ecid: Option<ECid>,
        body: Vec<Tlv>,
    ) -> Option<u32> {
        let open = self.state == SessionState::Open && self.room() > 0;
        open.then(|| self.ask(now, Pdu::request(message, ecid, body)))
    }

    /// Answers `request`.
    pub fn answer(
        &mut self,
        now: Instant,
        request: &Pdu,
        completion: Completion,
        ecid: Option<ECid>,
        body: Vec<Tlv>,
    ) {
        if completion != Completion::Success {
            self.stats.rx_request_errors += 1;
        }
        self.stats.tx_responses += 1;
        let answer = Some(completion);
        self.send(now, &Pdu { answer, ecid, body, malformed: false, ..*request });
    }

    /// Requests that may be made now.
    #[must_use]
    pub fn room(&self) -> usize {
        WINDOW.saturating_sub(self.asked.len())
    }

    /// Lets time pass; harmless when called early or late.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.ecp.handle_timeout(now);
        self.drain(now);
        let due: Vec<u32> =
            self.asked.iter().filter(|(_, asked)| asked.due <= now).map(|(id, _)| *id).collect();
        for id in due {
            let Some(asked) = self.asked.get_mut(&id) else { continue };
            if std::mem::replace(&mut asked.again, true) {
                return self.fail(now, Why::NoAnswer);
            }
            asked.due = now + ANSWER;
            let request = asked.request.clone();
            self.send(now, &request);
        }
        if let SessionState::Waiting { until, .. } = self.state
            && until <= now
        {
            self.open(now);
        }
    }

    /// When [`Session::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let answer = self.asked.values().map(|asked| asked.due).min();
        let waiting = match self.state {
            SessionState::Waiting { until, .. } => Some(until),
            SessionState::Idle { .. } | SessionState::Opening { .. } | SessionState::Open => None,
        };
        earliest(earliest(self.ecp.poll_timeout(), answer), waiting)
    }

    /// The next thing to do, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> SessionState {
        self.state
    }

    /// The address of the peer LLDP hears.
    #[must_use]
    pub fn peer(&self) -> Option<MacAddr> {
        self.peer.as_ref().map(|peer| peer.address)
    }

    /// What the peer of the open session can do.
    #[must_use]
    pub const fn theirs(&self) -> Option<&Capability> {
        self.theirs.as_ref()
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The counters of ECP.
    #[must_use]
    pub const fn ecp_stats(&self) -> &ecp::Stats {
        self.ecp.stats()
    }

    /// Ports whose counters one answer has room for.
    pub(crate) fn counters_at_once(&self) -> usize {
        self.book.as_ref().map_or(1, |book| book.counters_at_once())
    }

    /// Whether a peer shows our code book.
    fn speaks(&self, peer: &Peer) -> bool {
        self.digest.zip(peer.marker.as_ref()).is_some_and(|(digest, marker)| marker.digest == digest)
    }

    fn open(&mut self, now: Instant) {
        self.enter(SessionState::Opening { answered: false, heard: false });
        let capability = Tlv::Capability(self.capability);
        self.ask(now, Pdu::request(Message::Open, None, vec![capability]));
    }

    fn ask(&mut self, now: Instant, mut request: Pdu) -> u32 {
        self.transaction = self.transaction.wrapping_add(1);
        request.transaction = self.transaction;
        self.stats.tx_requests += 1;
        self.send(now, &request);
        self.asked.insert(self.transaction, Asked { request, due: now + ANSWER, again: false });
        self.transaction
    }

    fn send(&mut self, now: Instant, pdu: &Pdu) {
        let Some(book) = &self.book else { return };
        let payload = Bytes::from(pdu.to_bytes(book));
        // A queue of 1024 behind a window of 32 is full of answers to a peer that asks and does not listen.
        if self.ecp.send(now, payload).is_err() {
            return self.fail(now, Why::Silence);
        }
        self.drain(now);
    }

    /// Takes what ECP has.
    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.ecp.poll_output() {
            match output {
                ecp::Output::Transmit(pdu) => {
                    if let Some(peer) = &self.peer {
                        self.out.push_back(Output::Transmit(peer.address, pdu));
                    }
                }
                ecp::Output::Deliver(payload) => self.handle_payload(now, &payload),
                ecp::Output::Acknowledged { .. } => {}
                // What was flushed never had a number.
                ecp::Output::Failed { .. } => {
                    if !matches!(self.state, SessionState::Idle { .. } | SessionState::Waiting { .. }) {
                        self.fail(now, Why::Silence);
                    }
                }
            }
        }
    }

    fn handle_payload(&mut self, now: Instant, payload: &[u8]) {
        let Some(Ok(pdu)) = self.book.as_ref().map(|book| Pdu::parse(book, payload)) else {
            // Which of the two it was is not known.
            self.stats.rx_request_errors += 1;
            return;
        };
        match pdu.answer {
            Some(completion) => self.handle_answer(now, pdu, completion),
            None => self.handle_request(now, pdu),
        }
    }

    fn handle_request(&mut self, now: Instant, pdu: Pdu) {
        self.stats.rx_requests += 1;
        match (pdu.message, self.state) {
            (Message::Open, _) => self.handle_open(now, &pdu),
            (_, SessionState::Open) if pdu.malformed => {
                self.answer(now, &pdu, Completion::Malformed, pdu.ecid, Vec::new());
            }
            (Message::Unknown(_), SessionState::Open) => {
                self.answer(now, &pdu, Completion::Unsupported, pdu.ecid, Vec::new());
            }
            (_, SessionState::Open) => self.out.push_back(Output::Request(pdu)),
            (_, SessionState::Idle { .. } | SessionState::Waiting { .. } | SessionState::Opening { .. }) => {
                self.answer(now, &pdu, Completion::NotOpen, pdu.ecid, Vec::new());
            }
        }
    }

    fn handle_open(&mut self, now: Instant, pdu: &Pdu) {
        match self.state {
            // It has forgotten us, or wants us before LLDP said so.
            SessionState::Open => {
                self.end(Why::Reopened);
                self.reopened = true;
                self.open(now);
            }
            SessionState::Idle { .. } | SessionState::Waiting { .. } => {
                self.reopened = true;
                self.open(now);
            }
            SessionState::Opening { .. } => {}
        }
        self.theirs = pdu.body.iter().find_map(|tlv| match tlv {
            Tlv::Capability(capability) => Some(*capability),
            _ => None,
        });
        let own = vec![Tlv::Capability(self.capability)];
        self.answer(now, pdu, Completion::Success, None, own);
        if let SessionState::Opening { answered, .. } = self.state {
            self.opening(answered, true);
        }
    }

    fn handle_answer(&mut self, now: Instant, answer: Pdu, completion: Completion) {
        self.stats.rx_responses += 1;
        let known =
            self.asked.get(&answer.transaction).is_some_and(|asked| asked.request.message == answer.message);
        let Some(Asked { request, .. }) = known.then(|| self.asked.remove(&answer.transaction)).flatten()
        else {
            self.stats.rx_response_errors += 1;
            return;
        };
        let granted = completion == Completion::Success && !answer.malformed;
        if !granted {
            self.stats.rx_response_errors += 1;
        }
        match (request.message, self.state) {
            (Message::Open, SessionState::Opening { heard, .. }) if granted => self.opening(true, heard),
            (Message::Open, SessionState::Opening { .. }) => self.fail(now, Why::Refused),
            (_, SessionState::Open) if completion == Completion::NotOpen => self.fail(now, Why::PeerLost),
            (_, SessionState::Open) => self.out.push_back(Output::Answer { request, answer, granted }),
            (_, SessionState::Idle { .. } | SessionState::Waiting { .. } | SessionState::Opening { .. }) => {}
        }
    }

    fn opening(&mut self, answered: bool, heard: bool) {
        if answered && heard {
            self.backoff = BACKOFF.0;
            self.stats.opened += 1;
            self.enter(SessionState::Open);
            self.out.push_back(Output::Up(self.theirs));
        } else {
            self.enter(SessionState::Opening { answered, heard });
        }
    }

    fn fail(&mut self, now: Instant, because: Why) {
        self.close(now, because);
        let until = now + self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF.1);
        self.enter(SessionState::Waiting { until, because });
    }

    /// Forgets all that was under way.
    fn close(&mut self, now: Instant, because: Why) {
        self.end(because);
        self.state = SessionState::Idle { because };
        let next = self.ecp.status().next_sequence.0;
        self.ecp.reset(now, next);
        while let Some(output) = self.ecp.poll_output() {
            drop(output);
        }
    }

    /// Forgets what was asked, and tells if the session was open.
    fn end(&mut self, because: Why) {
        self.asked.clear();
        self.theirs = None;
        match self.state {
            SessionState::Open => {
                self.stats.failed += 1;
                self.out.push_back(Output::Down(because));
            }
            SessionState::Opening { .. } => self.stats.failed += 1,
            SessionState::Idle { .. } | SessionState::Waiting { .. } => {}
        }
    }

    fn enter(&mut self, state: SessionState) {
        self.state = state;
        self.out.push_back(Output::State);
    }
}

/// Requests without an answer at most.
pub const WINDOW: usize = 32;
/// How long an answer is awaited, twice.
const ANSWER: Duration = Duration::from_secs(5);
/// The first and the longest pause before a session is opened again.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
