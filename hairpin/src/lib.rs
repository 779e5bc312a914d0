//! The relay decision of evbd: frames in, verdicts out.
