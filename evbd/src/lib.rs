//! The edge virtual bridging daemon.
