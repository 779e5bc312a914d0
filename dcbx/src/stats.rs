//! What a port has counted.

use serde::Serialize;

/// TLVs of DCBX in LLDPDUs that said something new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Kinds of TLVs received.
    pub received: u64,
    /// Kinds that stood more than once in an LLDPDU.
    pub duplicate: u64,
    /// TLVs that could not be read.
    pub malformed: u64,
    /// How often what is operational changed.
    pub changes: u64,
}
