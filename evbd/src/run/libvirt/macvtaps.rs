//! The macvtap interfaces there are.

use ether::MacAddr;
use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

/// A macvtap interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::run) struct Macvtap {
    pub(super) name: String,
    pub(super) mac: MacAddr,
}

/// The macvtap interfaces of this network namespace.
pub(super) async fn macvtaps(handle: &rtnetlink::Handle) -> Vec<Macvtap> {
    let links: Result<Vec<LinkMessage>, _> = handle.link().get().execute().try_collect().await;
    match links {
        Ok(links) => links.iter().filter_map(macvtap).collect(),
        Err(error) => {
            tracing::warn!(%error, "cannot list interfaces");
            Vec::new()
        }
    }
}

fn macvtap(link: &LinkMessage) -> Option<Macvtap> {
    let (mut name, mut mac, mut is) = (None, None, false);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(given) => name = Some(given.clone()),
            LinkAttribute::Address(octets) => mac = <[u8; 6]>::try_from(octets.as_slice()).ok(),
            LinkAttribute::LinkInfo(infos) => {
                is = infos
                    .iter()
                    .any(|info| matches!(info, LinkInfo::Kind(InfoKind::MacVtap | InfoKind::MacVlan)));
            }
            _ => {}
        }
    }
    is.then_some(Macvtap { name: name?, mac: MacAddr::from(mac?) })
}
