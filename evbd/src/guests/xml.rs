//! What libvirt's XML says of the interfaces of a VM.
//!
//! The VSI type of an interface is in `<virtualport type='802.1Qbg'>`, where libvirt takes it, or else in the domain's
//! metadata, under [`NAMESPACE`]:
//!
//! ```xml
//! <metadata>
//!   <evbd:guest xmlns:evbd="https://evbd.org/xmlns/guest/1">
//!     <evbd:vsi mac="52:54:00:00:00:01" type="1" version="1" vlan="100"/>
//!   </evbd:guest>
//! </metadata>
//! ```
//!
//! with `id`, `manager`, `pcp`, `group` and `channel` besides, as in a `[[vsi]]`. What is said without a `mac` counts for
//! every interface that has nothing of its own.

use std::str::FromStr;

use ether::MacAddr;
use roxmltree::{Document, Node};
use vdp::{GroupId, ManagerId, TypeId, TypeVersion};

use super::{Domain, Nic, Port, Type};

/// Why an XML text is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XmlError {
    #[error("not XML: {0}")]
    Syntax(String),
    #[error("no <{0}> in it")]
    Missing(&'static str),
    #[error("<{element}> has {attribute}=\"{value}\", which cannot be")]
    Value { element: String, attribute: &'static str, value: String },
}

/// The domain that `xml` describes. Interfaces of other kinds than tap and bridge are not in it.
pub(crate) fn domain(xml: &str) -> Result<Domain, XmlError> {
    let document = read(xml)?;
    let root = document.root_element();
    let domain = find(root, "domain")?;
    let said = |name| child(domain, name).and_then(|node| node.text()).map(|text| text.trim().to_owned());
    let name = said("name").ok_or(XmlError::Missing("name"))?;
    let uuid = said("uuid").ok_or(XmlError::Missing("uuid"))?;
    let metadata = metadata(domain)?;
    let mut nics = Vec::new();
    let devices = child(domain, "devices").into_iter().flat_map(|devices| devices.children());
    for interface in devices.filter(|node| node.has_tag_name("interface")).take(NICS) {
        if !matches!(interface.attribute("type"), Some("bridge" | "network" | "ethernet")) {
            continue;
        }
        let Some(mac) = child(interface, "mac").and_then(|mac| mac.attribute("address")) else { continue };
        let mac: MacAddr = mac.parse().map_err(|_| value(interface, "mac", mac))?;
        let tap = child(interface, "target").and_then(|target| target.attribute("dev")).map(str::to_owned);
        let own = metadata.iter().find(|(of, _)| *of == Some(mac));
        let of_all = metadata.iter().find(|(of, _)| of.is_none());
        let vsi = match own {
            Some((_, vsi)) => Some(vsi.clone()),
            None => virtualport(interface)?.or_else(|| of_all.map(|(_, vsi)| vsi.clone())),
        };
        nics.push(Nic { mac, tap: tap.filter(|tap| !tap.starts_with("macvtap")), vsi });
    }
    Ok(Domain { uuid, name, nics, incoming: false })
}

/// The port of a network that `xml`, the input of libvirt's network hook, describes.
pub(crate) fn network_port(xml: &str) -> Result<Port, XmlError> {
    let document = read(xml)?;
    let port = find(document.root_element(), "networkport")?;
    let owner = child(port, "owner").ok_or(XmlError::Missing("owner"))?;
    let owner = child(owner, "uuid").and_then(|uuid| uuid.text()).ok_or(XmlError::Missing("uuid"))?;
    let mac = child(port, "mac").and_then(|mac| mac.attribute("address")).ok_or(XmlError::Missing("mac"))?;
    let mac = mac.parse().map_err(|_| value(port, "mac", mac))?;
    Ok(Port { owner: owner.trim().to_owned(), mac, vsi: virtualport(port)? })
}

fn read(xml: &str) -> Result<Document<'_>, XmlError> {
    // Without a DTD: no entities, and nothing that grows.
    Document::parse(xml).map_err(|error| XmlError::Syntax(error.to_string()))
}

fn find<'a, 'b>(root: Node<'a, 'b>, name: &'static str) -> Result<Node<'a, 'b>, XmlError> {
    root.descendants().find(|node| node.has_tag_name(name)).ok_or(XmlError::Missing(name))
}

fn child<'a, 'b>(of: Node<'a, 'b>, name: &str) -> Option<Node<'a, 'b>> {
    of.children().find(|node| node.has_tag_name(name))
}

fn virtualport(of: Node<'_, '_>) -> Result<Option<Type>, XmlError> {
    let Some(port) = child(of, "virtualport").filter(|port| port.attribute("type") == Some("802.1Qbg"))
    else {
        return Ok(None);
    };
    let Some(node) = child(port, "parameters") else { return Ok(None) };
    let (Some(manager), Some(type_id), Some(version)) =
        (number(node, "managerid")?, number(node, "typeid")?, number(node, "typeidversion")?)
    else {
        return Ok(None);
    };
    let id = parsed(node, "instanceid")?;
    Ok(Some(Type { id, manager: ManagerId::legacy(manager), ..type_of(node, "typeid", type_id, version)? }))
}

/// What our metadata say: of one address, or of all others.
fn metadata(domain: Node<'_, '_>) -> Result<Vec<(Option<MacAddr>, Type)>, XmlError> {
    let guest = child(domain, "metadata")
        .and_then(|metadata| metadata.children().find(|node| node.has_tag_name((NAMESPACE, "guest"))));
    let lines = guest.into_iter().flat_map(|guest| guest.children());
    let lines = lines.filter(|node| node.has_tag_name((NAMESPACE, "vsi"))).take(NICS);
    lines
        .map(|node| {
            let (type_id, version) = (number(node, "type")?, number(node, "version")?);
            let (Some(type_id), Some(version)) = (type_id, version) else {
                return Err(XmlError::Missing("vsi with type and version"));
            };
            let group: Option<std::num::NonZeroU32> = number(node, "group")?;
            let vlan =
                number(node, "vlan")?.map(|vlan| ether::Vid::new(vlan).ok_or_else(|| wrong(node, "vlan")));
            let pcp = number(node, "pcp")?.map(|pcp| ether::Pcp::new(pcp).ok_or_else(|| wrong(node, "pcp")));
            let vsi = Type {
                id: parsed(node, "id")?,
                manager: parsed(node, "manager")?.unwrap_or_default(),
                vlan: vlan.transpose()?,
                pcp: pcp.transpose()?,
                group: group.map(GroupId),
                channel: node.attribute("channel").map(str::to_owned),
                ..type_of(node, "type", type_id, version)?
            };
            Ok((parsed(node, "mac")?, vsi))
        })
        .collect()
}

fn type_of(node: Node<'_, '_>, attribute: &'static str, type_id: u32, version: u8) -> Result<Type, XmlError> {
    let type_id = TypeId::new(type_id).ok_or_else(|| wrong(node, attribute))?;
    Ok(Type { type_id, type_version: TypeVersion(version), ..Type::default() })
}

/// A number as libvirt writes and takes it: decimal, or hexadecimal after 0x.
fn number<T: TryFrom<u32>>(node: Node<'_, '_>, attribute: &'static str) -> Result<Option<T>, XmlError> {
    let Some(text) = node.attribute(attribute) else { return Ok(None) };
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.ok().and_then(|number| T::try_from(number).ok()).map(Some).ok_or_else(|| wrong(node, attribute))
}

fn parsed<T: FromStr>(node: Node<'_, '_>, attribute: &'static str) -> Result<Option<T>, XmlError> {
    let text = node.attribute(attribute);
    text.map(|text| text.parse().map_err(|_| value(node, attribute, text))).transpose()
}

fn wrong(node: Node<'_, '_>, attribute: &'static str) -> XmlError {
    value(node, attribute, node.attribute(attribute).unwrap_or_default())
}

fn value(node: Node<'_, '_>, attribute: &'static str, value: &str) -> XmlError {
    XmlError::Value { element: node.tag_name().name().to_owned(), attribute, value: value.to_owned() }
}

/// Of our metadata.
pub(crate) const NAMESPACE: &str = "https://evbd.org/xmlns/guest/1";
/// Interfaces of a domain; further ones are not looked at.
const NICS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = r#"<domain type='qemu' id='3'><name>web</name><uuid>6b1d0a58-9c2e-4f6e-8a53-1c55b1a4d001</uuid>
        <metadata><evbd:guest xmlns:evbd="https://evbd.org/xmlns/guest/1">
          <evbd:vsi mac="52:54:00:00:00:02" type="7" version="2" vlan="100" pcp="3" id="52:54:00:00:00:02"/>
          <evbd:vsi type="9" version="1" manager="192.0.2.1"/></evbd:guest></metadata>
        <devices><disk type='file'/>
          <interface type='bridge'><mac address='52:54:00:00:00:01'/><target dev='vnet0'/>
            <virtualport type='802.1Qbg'><parameters managerid='11' typeid='0x123457' typeidversion='2'
              instanceid='09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f'/></virtualport></interface>
          <interface type='ethernet'><mac address='52:54:00:00:00:02'/><target dev='vnet1'/></interface>
          <interface type='network'><mac address='52:54:00:00:00:03'/></interface>
          <interface type='direct'><mac address='52:54:00:00:00:04'/><target dev='macvtap0'/></interface>
        </devices></domain>"#;

    #[test]
    fn interfaces_with_what_libvirt_or_the_metadata_say() {
        let domain = domain(DOMAIN).unwrap();
        assert_eq!((domain.name.as_str(), domain.nics.len()), ("web", 3));
        let of = |place: usize| domain.nics[place].vsi.clone().unwrap();
        assert_eq!(
            (of(0).type_id.get(), of(0).type_version.0, of(0).manager),
            (0x123457, 2, ManagerId::legacy(11))
        );
        assert_eq!(of(0).id.unwrap().to_string(), "09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f");
        assert_eq!((of(1).type_id.get(), of(1).vlan.map(ether::Vid::get)), (7, Some(100)));
        assert_eq!((of(2).type_id.get(), of(2).manager.to_string()), (9, "192.0.2.1".to_owned()));
        assert_eq!(domain.nics[1].tap.as_deref(), Some("vnet1"));
        assert_eq!(domain.nics[2].tap, None);
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (from, to, error) in [
            ("type=\"7\"", "type=\"16777216\"", "type=\"16777216\""),
            ("vlan=\"100\"", "vlan=\"4095\"", "vlan=\"4095\""),
            ("pcp=\"3\"", "pcp=\"8\"", "pcp=\"8\""),
            ("managerid='11'", "managerid='256'", "managerid=\"256\""),
            ("52:54:00:00:00:03", "52:54", "mac=\"52:54\""),
            (" version=\"2\"", "", "type and version"),
            ("<name>web</name>", "", "<name>"),
            ("<domain ", "<domane ", "not XML"),
            ("<domain ", "<!DOCTYPE a [<!ENTITY b 'c'>]><domain ", "not XML"),
        ] {
            let error_said = domain(&DOMAIN.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error_said.contains(error), "{error_said}");
        }
    }

    #[test]
    fn a_port_of_a_network() {
        let xml = "<hookData><network><name>n</name></network><networkport><uuid>u</uuid>\
            <owner><name>web</name><uuid>6b1d</uuid></owner><mac address='52:54:00:00:00:01'/>\
            <virtualport type='802.1Qbg'><parameters managerid='1' typeid='2' typeidversion='3'/></virtualport>\
            <plug type='bridge' bridge='br0'/></networkport></hookData>";
        let port = network_port(xml).unwrap();
        assert_eq!((port.owner.as_str(), port.vsi.unwrap().type_id.get()), ("6b1d", 2));
        assert_eq!(network_port("<hookData><network/></hookData>"), Err(XmlError::Missing("networkport")));
    }
}
