//! IEEE 802.1Q clause 43: the edge control protocol, sans-IO.
