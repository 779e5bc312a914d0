//! Suites of evbd.
