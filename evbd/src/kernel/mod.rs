//! What the kernel tells and does, through netlink.

pub(crate) mod attributes;
pub(crate) mod dcbnl;
pub(crate) mod forwarding;
pub(crate) mod inspect;
pub(crate) mod links;
