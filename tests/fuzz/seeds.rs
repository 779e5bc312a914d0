//! Seeds: the vectors, cut out of what they stand in, and short scripts around them.

use std::collections::HashMap;

use dcbx::{cee, ieee};
use ether::{EtherType, FrameView};
use lldp::{Lldpdu, Oui};
use zbus::Message;

use crate::file;

/// What the vectors are made of.
pub(crate) struct Seeds {
    frames: Vec<Vec<u8>>,
    lldpdus: Vec<Vec<u8>>,
    ecpdus: Vec<Vec<u8>>,
    vdpdus: Vec<Vec<u8>>,
}

impl Seeds {
    pub(crate) fn of_vectors() -> Self {
        let spec = file::read(include_str!("../vectors/qbg.txt"));
        let lldpad = file::read(include_str!("../vectors/lldpad.txt"));
        let mut seeds = Self { frames: vec![], lldpdus: vec![], ecpdus: vec![], vdpdus: vec![] };
        for octets in spec.into_values().chain(lldpad.into_values()) {
            match FrameView::parse(&octets) {
                Ok(view) if view.ethertype == EtherType::LLDP => seeds.lldpdus.push(view.payload.to_vec()),
                Ok(view) if view.ethertype == EtherType::ECP => seeds.ecpdus.push(view.payload.to_vec()),
                // A header of ECP.
                _ if octets.len() == 4 => {
                    seeds.ecpdus.push(octets);
                    continue;
                }
                // A TLV: either protocol may be asked to read it.
                _ => {
                    seeds.lldpdus.push([MANDATORY, &octets, &[0, 0]].concat());
                    seeds.vdpdus.push([MANAGER, &octets, &[0, 0]].concat());
                    continue;
                }
            }
            seeds.frames.push(octets);
        }
        seeds.vdpdus.extend(seeds.ecpdus.iter().filter(|pdu| pdu.len() > 4).map(|pdu| pdu[4..].to_vec()));
        seeds
    }

    /// Those of the target `name`.
    pub(crate) fn of(&self, name: &str) -> Vec<Vec<u8>> {
        match name {
            "ether_frame" => {
                let tagged = |f: &Vec<u8>| [&f[..12], &[0x81, 0, 0x60, 0x64], &f[12..]].concat();
                self.frames.iter().flat_map(|f| [f.clone(), tagged(f)]).collect()
            }
            "channel_tag" => vec![
                vec![0x89, 0x3f, 0xef, 0xfe, 0x21, 0x23, 0x01, 0xab],
                vec![0x89, 0x3f, 0xa0, 0, 0, 0x64, 0, 0],
                vec![0x89, 0x26, 0xe0, 0x05, 0x80, 0x64],
                vec![0x89, 0x26, 0, 0, 0, 0x64],
            ],
            "decode" => self.frames.clone(),
            "capture" => vec![
                include_bytes!("../data/lldpad-evb.pcap").to_vec(),
                include_bytes!("../data/lldpad-draft.pcap").to_vec(),
                PCAPNG.to_vec(),
            ],
            "lldp_tlv" | "lldp_pdu" => self.lldpdus.clone(),
            "evb_tlv" => self.infos(Oui::IEEE_802_1.0, 0x0d),
            "cdcp_tlv" => self.infos(cdcp::OUI, cdcp::SUBTYPE),
            // No vector has one.
            "port_extension_tlv" => vec![vec![2; 13]],
            "ets_configuration" => self.infos(ieee::OUI, ieee::EtsConfiguration::SUBTYPE),
            "ets_recommendation" => self.infos(ieee::OUI, ieee::EtsRecommendation::SUBTYPE),
            "pfc" => self.infos(ieee::OUI, ieee::Pfc::SUBTYPE),
            "application_priority" => self.infos(ieee::OUI, ieee::ApplicationPriority::SUBTYPE),
            "libvirt" => vec![
                file::octets(
                    "9c00000013000500ffee006b480b401900000000030000000000000000000000\
                     0a0003006c7675703000000040001680\
                     3c00018028000100ffffffff525400e6b0010000000000000000000000000000000000000000000000000000\
                     10000200ffffffff000000000000000030001880\
                     2c0001800c0003000b573412020000001400040009b11c538b5c4eeb8f00d84eaa0aaa4f0500060002000000",
                ),
                file::octets(
                    "2800000012000500ffee006b480b401900000000030000000000000000000000\
                     08001d0001000000",
                ),
            ],
            "manager_answer" => vec![
                br#"{"profiles":[{"name":"web","type":1,"version":1,"vlans":[1,2],"max_macs":3,"policy":{"pcp":{"set":3},
                    "ingress":[{"action":"deny","protocol":"tcp","dst":"192.0.2.0/24","dst_port":"25-26"}],
                    "ingress_rate":{"bits_per_second":1000000,"burst_octets":1500}}}]}"#
                    .to_vec(),
                b"[[profile]]\nname = \"g\"\ntype = 2\nversion = 1\ngroups = [{ group = 7, vlan = 9 }]\nformats = [\"vid\"]\n"
                    .to_vec(),
            ],
            "control_call" => control_calls(),
            "guest_xml" => vec![
                br#"<domain type='kvm'><name>web</name><uuid>u</uuid><metadata><e:guest xmlns:e="https://evbd.org/xmlns/guest/1">
                    <e:vsi mac="52:54:00:00:00:01" type="1" version="1" vlan="100" pcp="3" group="7"/></e:guest></metadata><devices>
                    <interface type='bridge'><mac address='52:54:00:00:00:01'/><target dev='vnet0'/><virtualport type='802.1Qbg'>
                    <parameters managerid='0x1' typeid='2' typeidversion='3'/></virtualport></interface></devices></domain>"#
                    .to_vec(),
                b"<hookData><networkport><owner><uuid>u</uuid></owner><mac address='52:54:00:00:00:01'/></networkport></hookData>"
                    .to_vec(),
            ],
            "cee" => self.infos(cee::OUI, cee::CeeTlv::SUBTYPE),
            "cin" => self.infos(cee::OUI, cee::CinTlv::SUBTYPE),
            "ecp_header" => self.ecpdus.clone(),
            "vdpdu" => self.vdpdus.clone(),
            "draft" => {
                let evb = self.infos([0x00, 0x1b, 0x3f], 0);
                evb.into_iter().chain([DRAFT.to_vec(), [DRAFT, DRAFT, &[0, 0]].concat()]).collect()
            }
            "marker" => vec![[&[1, 1, 2, 3, 4, 0, 1, 0, 2][..], b"P0"].concat()],
            "csp_pdu" => CSP.iter().map(|pdu| pdu.to_vec()).collect(),
            "code_book" => vec![include_bytes!("../../evbd/dist/codebook-p0.toml").to_vec()],
            // A peer, its Open, ours granted; a PDU; ports made and deleted, floods, what is due, another peer.
            "pe_controlling" => scripts(
                &[1, 3, 4, 0, 0, 0, 0, 5, 0],
                &[0],
                &CSP.iter().map(|pdu| [&[0x10, 2, 0, 9], *pdu].concat()).collect::<Vec<_>>(),
                &[4, 1, 0, 0, 1, 7, 5, 0, 4, 1, 0, 0, 1, 8, 4, 1, 0, 0, 1, 9, 6, 3, 5, 0, 3, 5, 0, 5, 0, 4, 2, 0, 1, 1, 7, 3, 1, 0],
            ),
            // Likewise: an offer, ports, the bridge's Open; a PDU; parameters, registers, the bridge falls silent.
            "pe_extender" => scripts(
                &[6, 7, 3, 6, 8, 1, 1, 3, 4, 0, 0, 0, 0, 5, 0, 5, 1, 5, 2],
                &[0],
                &CSP.iter().map(|pdu| [&[0x10, 2, 0, 9], *pdu].concat()).collect::<Vec<_>>(),
                &[4, 3, 0x10, 5, 2, 1, 2, 4, 4, 0, 1, 1, 1, 5, 0, 3, 2, 255, 20, 3, 1, 0, 3, 6, 7, 0],
            ),
            // Up; an LLDPDU, from each of two; what is due, twice.
            "lldp_agent" => scripts(&[1, 1], &[0, 7], &self.lldpdus, &[3, 3]),
            // A request, what is due, its acknowledgement; an ECPDU.
            "ecp_link" => scripts(&[0, 9, 1, 2, 8, 8, 3, 5], &[0], &self.ecpdus, &[1, 1, 8, 3, 3, 3, 3]),
            // Ready, an Associate, granted, a keep-alive, granted; a VDPDU; other filters for the same VSI, the first
            // refused and the old one kept; another VSI, refused for good, then de-associated.
            "vdp_station" => scripts(
                &[0, 4, 1, 1, 0, 1, 0, 5, 0x40, 3, 5, 0],
                &[0],
                &self.vdpdus,
                &[
                    1, 0, 5, 0, 5, 0x22, 1, 0, 5, 0, 5, 0x40, 3, 5, 0x22, 1, 1, 0, 0, 5, 0x12, 3, 3, 1, 1, 0,
                    1, 5, 0,
                ],
            ),
            // An Associate, granted, a keep-alive; a VDPDU, granted; another Associate, what is due.
            "vdp_bridge" => scripts(
                &[8, 1, 1, 0, 1, 0, 4, 0, 0, 1, 0, 1, 0],
                &[0],
                &self.vdpdus,
                &[4, 0, 0, 1, 1, 4, 0, 3, 3, 1, 0, 0, 2, 4, 0, 3, 4, 0, 0, 3],
            ),
            // Of each of four configurations: uplink and VM up, a bridge that reflects, what is due, an Associate granted,
            // probes that come back, the other VM; a frame; the bridge falls silent, a VM goes, reloads.
            "core_station" => (0..4)
                .flat_map(|config| {
                    scripts(
                        &[
                            config, 6, 0, 1, 1, 6, 1, 1, 2, 2, 0, 9, 121, 3, 7, 0x6e, 0x54, 0x14, 5, 0, 0, 9,
                            0x40, 10, 0, 9, 0, 10, 0, 6, 2, 1, 3, 9, 0, 9, 0, 5, 0, 0, 10, 0x40,
                        ],
                        &[0, 0],
                        &self.frames,
                        &[
                            9, 0, 10, 0, 5, 0, 0, 11, 0x42, 9, 0, 8, 0, 255, 20, 9, 0, 9, 0, 6, 1, 2, 0, 9,
                            0, 9, 0, 11, 0, 8, 6, 3, 1, 4, 9, 0, 11, 0, 5, 9, 0, 11, 0, 0, 9, 0,
                        ],
                    )
                })
                .collect(),
            // Likewise: ports up, a station that asks for reflection, which is switched on, an Associate; a frame; another
            // VSI on the other port, the station de-associates the first, a port goes, reloads.
            "core_bridge" => (0..4)
                .flat_map(|config| {
                    scripts(
                        &[
                            config, 6, 0, 1, 1, 6, 1, 1, 2, 6, 2, 1, 3, 2, 0, 9, 121, 0, 7, 0x6e, 0x94, 0x14,
                            7, 0, 1, 4, 0, 0, 1, 0, 1, 0, 9, 0, 5, 0, 0, 2, 0,
                        ],
                        &[0, 0],
                        &self.frames,
                        &[
                            9, 0, 4, 1, 0, 3, 1, 3, 0, 9, 0, 4, 0, 0, 2, 0, 0, 1, 0, 6, 1, 2, 0, 9, 0, 9, 0,
                            11, 0, 8, 6, 3, 1, 4, 9, 0, 11, 0, 5, 9, 0, 11, 0, 0, 9, 0,
                        ],
                    )
                })
                .collect(),
            // A bridge port that reflects, a VSI on it, frames; then as an edge relay.
            "relay" => (0..6)
                .flat_map(|kind| {
                    scripts(
                        &[
                            kind, 4, 1, 2, 1, 2, 5, 1, 0, 0, 3, 1, 2, 0, 5, 2, 1, 1, 4, 1, 2, 3, 2, 4, 1, 2,
                            0, 1, 1, 4, 3, 0, 1, 1, 3, 4, 0,
                        ],
                        &[0, 1],
                        &self.frames,
                        &[1, 0, 3, 4, 5, 0, 2, 1, 2, 0, 4, 0, 8, 0, 30, 6, 0, 0, 1, 1, 3, 4, 0],
                    )
                })
                .collect(),
            // A bridge or a port extender, either framing: frames by channels up, down and without; members, floods, ports.
            "relay_channels" => (0..4)
                .map(|kind| {
                    let script = [
                        kind & 1, kind >> 1, 3, 4, 2, 2, 4, 0, 0, 1, 0, 3, 5, 2, 0, 4, 0, 0, 5, 0, 0x3c, 0x81, 1,
                        2, 0, 0x81, 3, 5, 0, 2, 0, 0, 1, 2, 4, 5, 4, 5, 2, 1, 3, 5, 0, 4, 0, 0, 7, 5, 2, 0, 5, 0,
                        0, 0, 0, 0, 0, 8, 0, 30,
                    ];
                    script.to_vec()
                })
                .collect(),
            // Ports up, a neighbour that speaks port extension, its Open and ports of its own, what is due, another life,
            // the process restarts, reloads, the link goes.
            "core_cascade" | "core_extender" | "core_channels" => {
                let up: Vec<u8> = (0..6).flat_map(|port| [5, port, 1]).collect();
                let scripts = [0, 1, 2].map(|port| {
                    let session = [
                        2, port, 3, 128, 121, 3, port, 0, 0, 0, 0, 4, port, 1, 10, 0, 3, port, 1, 0, 0, 1, 7, 4, port,
                        1, 3, port, 1, 0, 0, 1, 0x89, 4, port, 1, 10, 0, 4, port, 1, 10, 0, 3, port, 6, 0, 1, 1, 1,
                        10, 0, 4, port, 1, 10, 0, 2, port, 0x1b, 0, 121, 7, 0, 5, port, 1, 8, 0, 0, 10, 0, 5, port, 6,
                    ];
                    [&up[..], &session].concat()
                });
                scripts.into_iter().chain(self.frames.iter().map(|f| [&up[..], &[1, 0, 2, 1], f].concat())).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What the organizational TLVs of this key say.
    fn infos(&self, oui: [u8; 3], subtype: u8) -> Vec<Vec<u8>> {
        let pdus = self.lldpdus.iter().filter_map(|payload| Lldpdu::parse(payload).ok());
        let tlvs = pdus.flat_map(|received| received.pdu.org);
        let ours = tlvs.filter(|tlv| (tlv.key().oui, tlv.key().subtype) == (Oui(oui), subtype));
        ours.map(|tlv| tlv.info().to_vec()).collect()
    }
}

/// One script for each of `strings`, and one with all of them: `before`, then `step` with the string, then `after`.
fn scripts(before: &[u8], step: &[u8], strings: &[Vec<u8>], after: &[u8]) -> Vec<Vec<u8>> {
    let told = |string: &Vec<u8>| {
        let length = (0x8000 | u16::try_from(string.len()).unwrap()).to_be_bytes();
        [step, &length, string, after].concat()
    };
    let each = strings.iter().map(|string| [before, &told(string)].concat());
    let all = strings.iter().flat_map(told);
    each.chain([before.iter().copied().chain(all).collect()]).collect()
}

/// Chassis ID, port ID and TTL of an LLDPDU.
const MANDATORY: &[u8] = &[2, 7, 4, 2, 0, 0, 0, 0x0a, 1, 4, 7, 3, 2, 0, 0, 0, 0x0a, 1, 6, 2, 0, 121];
/// The VSI manager ID of a VDPDU.
const MANAGER: &[u8] = &[0x0a, 16, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A pcapng section with an interface and a frame of 14 octets.
const PCAPNG: &[u8] = b"\x0a\x0d\x0d\x0a\x00\x00\x00\x1c\x1a\x2b\x3c\x4d\x00\x01\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x1c\
    \x00\x00\x00\x01\x00\x00\x00\x1c\x00\x01\x00\x00\x00\x04\x00\x00\x00\x09\x00\x01\x09\x00\x00\x00\x00\x00\x00\x1c\
    \x00\x00\x00\x06\x00\x00\x00\x30\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x0e\x00\x00\x00\x0e\
    \x01\x80\xc2\x00\x00\x00\x02\x00\x00\x00\x00\x01\x88\xcc\x00\x00\x00\x00\x00\x30";

/// An Associate of draft 0.2, as lldpad sends it.
const DRAFT: &[u8] = &[
    0xfe, 0x26, 0x00, 0x1b, 0x3f, 0x02, 0x02, 0x00, 0x0c, 0x12, 0x34, 0x56, 0x01, 0xfa, 0x9b, 0x7f, 0xff,
    0xb0, 0xa0, 0x48, 0x93, 0x8e, 0x0e, 0xbe, 0xef, 0x4f, 0xf1, 0x8f, 0x8f, 0x02, 0x00, 0x01, 0x52, 0x54,
    0x00, 0xc7, 0x3e, 0xce, 0x00, 0x03,
];

/// Calls of every kind, one of them after another on the same connection.
fn control_calls() -> Vec<Vec<u8>> {
    fn call<B: serde::Serialize + zbus::DynamicType>(
        path: &str,
        interface: &str,
        member: &str,
        body: &B,
    ) -> Vec<u8> {
        let builder = Message::method_call(path, member).interface(interface);
        builder.build(body).unwrap().data().to_vec()
    }
    let vsi = "/org/evbd/port/b0/vsi/52_3a54_3a00_3a00_3a00_3a01";
    let order: HashMap<&str, zbus::Variant<'_>> =
        HashMap::from([("command", "associate".into()), ("vsi", 7u32.into())]);
    let mut calls = vec![
        call("/org/evbd", "org.evbd.Daemon1", "Ports", &()),
        call("/org/evbd", "org.evbd.Daemon1", "Trace", &("b0", vec![0u8; 14])),
        call("/org/evbd", "org.evbd.Daemon1", "OrderVsi", &order),
        call("/org/evbd", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", &()),
        call("/org/evbd", "org.freedesktop.DBus.Properties", "Get", &("org.evbd.Daemon1", "Version")),
        call(
            "/org/evbd",
            "org.freedesktop.DBus.Properties",
            "Set",
            &("org.evbd.Daemon1", "Version", zbus::Variant::from(1u8)),
        ),
        call("/org/evbd/port/b0", "org.freedesktop.DBus.Introspectable", "Introspect", &()),
        call(vsi, "org.evbd.Vsi1", "Migrate", &"prepare"),
        call("/", "org.freedesktop.DBus.Peer", "Ping", &()),
    ];
    calls.push(calls.concat());
    calls
}

/// The vectors of port extension: Open, asked and answered, Create, Register.
const CSP: &[&[u8]] = &[
    &[2, 10, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 4, 12, 0xe8, 0, 0, 0x0f, 0xfe, 0, 0, 0x30, 0, 8, 0x0f, 0xfe],
    &[2, 10, 0x81, 0, 0, 0, 0, 1, 0, 0, 0, 0, 4, 12, 0xe8, 0, 0, 0x0f, 0xfe, 0, 0, 0x30, 0, 8, 0x0f, 0xfe],
    &[2, 10, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 8, 4, 0, 0, 0, 7],
    &[2, 10, 4, 0, 0, 0, 0, 1, 0, 0x10, 0, 5, 8, 8, 0, 0, 0, 0x64, 0, 0, 0, 0x65],
];
