//! Moves frames between network interfaces for the relay.
