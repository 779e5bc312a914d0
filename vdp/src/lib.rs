//! IEEE 802.1Q clauses 40 and 41: EVB negotiation and VSI discovery, sans-IO.
