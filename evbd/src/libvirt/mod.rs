//! What libvirt asks an EVB daemon for guests whose interfaces have `<virtualport type='802.1Qbg'>`: lldpad's part.
//!
//! libvirt sends RTM_SETLINK by netlink to the process whose number is in a pid file, waits for its answer for ever, and
//! then asks for the outcome eight times a second for ten seconds. So each message is answered as it is received, from
//! [`Guests`], by a thread that does nothing else; the core is told, and what it comes to is put into [`Guests`].
//! libvirt waits, too, to be told that a VSI is gone, and asks for it anew.

mod guests;
mod peer;
pub mod wire;

use ether::Instant;

pub use self::guests::Guests;
use self::wire::{Refusal, Request};
pub(crate) use self::{
    guests::{GuestRow, Notice},
    peer::{LibvirtPort, deaf, ports, stuck},
};

/// Answers all requests in `octets` and notes in `guests` what they ask for. Each request is answered, whatever is in it;
/// what is no request is not, or two daemons could talk for ever.
pub fn respond(guests: &mut Guests, now: Instant, octets: &[u8]) -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    let mut read = 0;
    for (header, body) in wire::messages(octets) {
        read += 1;
        if !header.wants_answer() {
            continue;
        }
        answers.push(match wire::parse(&header, body) {
            Ok(Request::Set(ask)) => wire::answer(&header, guests.ask(now, header.port, ask)),
            Ok(Request::Get(ifindex)) => match guests.outcome(ifindex) {
                Ok(vsis) => wire::status(&header, ifindex, &vsis),
                Err(refusal) => wire::answer(&header, Err(refusal)),
            },
            Err(refusal) => wire::answer(&header, Err(refusal)),
        });
    }
    if read == 0
        && let Some(header) = wire::header(octets).filter(wire::Header::wants_answer)
    {
        answers.push(wire::answer(&header, Err(Refusal::Malformed)));
    }
    answers
}
