//! What the suites share: the project's own sources as data, a virtual wire under virtual time, namespaces, peers.

pub mod bus;
pub mod lldpad;
pub mod netns;
pub mod source;
pub mod targets;
pub mod wire;
