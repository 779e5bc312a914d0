//! IEEE 802.1AB: LLDP agents and codecs, sans-IO.
