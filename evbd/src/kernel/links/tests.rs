//! The table, fed with the kernel's messages in every order that matters.

use rtnetlink::packet_route::{
    AddressFamily,
    link::{
        BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, LinkAttribute,
        LinkFlags, LinkInfo, LinkMessage,
    },
};

use super::*;

fn link(index: u32, name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.interface_family = AddressFamily::Unspec;
    message.header.flags = LinkFlags::Up | LinkFlags::Running;
    message.attributes = vec![
        LinkAttribute::IfName(name.into()),
        LinkAttribute::Mtu(1500),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, u8::try_from(index).unwrap()]),
    ];
    message
}

fn port(index: u32, name: &str, master: u32, mask: u16) -> LinkMessage {
    let mut message = link(index, name);
    let settings = InfoPortData::BridgePort(vec![InfoBridgePort::GroupFwdMask(mask)]);
    message.attributes.extend([
        LinkAttribute::Controller(master),
        LinkAttribute::LinkInfo(vec![LinkInfo::PortData(settings)]),
    ]);
    message
}

fn bridge(index: u32, stp: BridgeStpState) -> LinkMessage {
    let mut message = link(index, "br0");
    let settings = vec![InfoBridge::StpState(stp), InfoBridge::GroupFwdMask(8)];
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(settings)),
    ]));
    message
}

/// A table that wants `eth0` and `eth1` and has been told that neither is there.
fn table() -> Table {
    let mut table = Table::new(["eth0".to_owned(), "eth1".to_owned()]);
    while let Some(question) = table.question() {
        table.answer(&question, &[]);
    }
    while table.take().is_some() {}
    table
}

/// Everything the table has to tell: name, number (0: absent), master's kind.
fn told(table: &mut Table) -> Vec<(String, u32, Option<MasterKind>)> {
    let mut told: Vec<_> = std::iter::from_fn(|| table.take())
        .map(|(name, seen)| {
            let index = match seen.link {
                Link::Absent => 0,
                Link::Present { ifindex, .. } => ifindex,
            };
            (name, index, seen.master.map(|master| master.kind))
        })
        .collect();
    told.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    told
}

fn plain(name: &str, index: u32) -> (String, u32, Option<MasterKind>) {
    (name.to_owned(), index, None)
}

#[test]
fn starts_with_a_question_about_each_name() {
    let mut table = Table::new(["eth0".to_owned(), "eth1".to_owned()]);
    let mut asked = Vec::new();
    while let Some(question) = table.question() {
        let answer = (question == Question::Name("eth0".into())).then(|| link(7, "eth0"));
        table.answer(&question, answer.as_slice());
        asked.push(question);
    }
    assert_eq!(asked.len(), 2);
    assert_eq!(told(&mut table), [plain("eth0", 7), plain("eth1", 0)]);
}

#[test]
fn renamed_away_and_back_and_by_another() {
    let mut table = table();
    table.seen(&link(7, "eth0"));
    assert_eq!(told(&mut table), [plain("eth0", 7)]);
    table.seen(&link(7, "lan0"));
    assert_eq!(told(&mut table), [plain("eth0", 0)]);
    assert!(!table.knows(7));
    // From one wanted name to another.
    table.seen(&link(7, "eth1"));
    table.seen(&link(7, "eth0"));
    assert_eq!(told(&mut table), [plain("eth0", 7), plain("eth1", 0), plain("eth1", 7)]);
    // Another link has the name before the first was seen to lose it.
    table.seen(&link(8, "eth0"));
    assert_eq!(told(&mut table), [plain("eth0", 8)]);
    table.deleted(&link(7, "eth0"));
    assert_eq!(told(&mut table), []);
    table.deleted(&link(8, "eth0"));
    assert_eq!(told(&mut table), [plain("eth0", 0)]);
}

#[test]
fn a_port_is_told_once_its_master_is_known() {
    let mut table = table();
    table.seen(&port(7, "eth0", 9, 1));
    assert_eq!((told(&mut table), table.question()), (vec![], Some(Question::Index(9))));
    table.answer(&Question::Index(9), &[bridge(9, BridgeStpState::Disabled)]);
    let (name, seen) = table.take().unwrap();
    let kind = MasterKind::Bridge { stp: false, mask: 8 };
    assert_eq!(
        (name.as_str(), seen.master),
        ("eth0", Some(Master { name: "br0".into(), kind, port_mask: 1 }))
    );

    // Spanning tree on, by the bridge's own change; the same again is no news.
    assert!(table.knows(9));
    for _ in 0..2 {
        table.seen(&bridge(9, BridgeStpState::UserStp));
    }
    assert_eq!(told(&mut table), [("eth0".into(), 7, Some(MasterKind::Bridge { stp: true, mask: 8 }))]);

    // Out of the bridge: that one is foreign again.
    table.seen(&link(7, "eth0"));
    assert_eq!(told(&mut table), [plain("eth0", 7)]);
    assert!(!table.knows(9));
}

#[test]
fn a_master_that_goes_makes_its_ports_a_question() {
    let mut table = table();
    table.seen(&port(7, "eth0", 9, 0));
    table.answer(&Question::Index(9), &[]);
    assert_eq!(told(&mut table), [("eth0".into(), 7, Some(MasterKind::Other("gone".into())))]);
    table.deleted(&bridge(9, BridgeStpState::Disabled));
    assert_eq!(table.question(), Some(Question::Name("eth0".into())));
    table.answer(&Question::Name("eth0".into()), &[link(7, "eth0")]);
    assert_eq!((told(&mut table), table.question()), (vec![plain("eth0", 7)], None));
}

#[test]
fn what_a_bridge_tells_of_its_port_is_asked_about() {
    let mut table = table();
    table.seen(&link(7, "eth0"));
    told(&mut table);
    let mut message = link(7, "eth0");
    message.header.interface_family = AddressFamily::Bridge;
    table.deleted(&message);
    assert_eq!((told(&mut table), table.question()), (vec![], None));
    table.seen(&message);
    assert_eq!((told(&mut table), table.question()), (vec![], Some(Question::Name("eth0".into()))));
}

#[test]
fn lost_changes_make_everything_a_question() {
    let mut table = table();
    table.seen(&port(7, "eth0", 9, 0));
    table.answer(&Question::Index(9), &[bridge(9, BridgeStpState::Disabled)]);
    told(&mut table);
    table.doubt();
    let mut asked = 0;
    while let Some(question) = table.question() {
        asked += 1;
        let answer = match &question {
            Question::Name(name) if name == "eth0" => Some(port(7, "eth0", 9, 0)),
            Question::Name(_) => Some(link(8, "eth1")),
            Question::Index(_) => Some(bridge(9, BridgeStpState::KernelStp)),
            Question::All => None,
        };
        table.answer(&question, answer.as_slice());
    }
    let bridged = Some(MasterKind::Bridge { stp: true, mask: 8 });
    assert_eq!((asked, told(&mut table)), (3, vec![("eth0".into(), 7, bridged), plain("eth1", 8)]));
}

#[test]
fn interfaces_that_match_are_told_of_while_they_are_there() {
    let mut table = table();
    table.want_matching(vec![WildMatch::new("vnet*")]);
    assert_eq!(table.question(), Some(Question::All));
    table.answer(&Question::All, &[link(3, "vnet0"), link(4, "lo"), link(7, "eth0")]);
    assert_eq!((told(&mut table), table.question()), (vec![plain("vnet0", 3)], None));
    table.seen(&link(5, "vnet1"));
    table.seen(&link(6, "tap0"));
    assert_eq!(told(&mut table), [plain("vnet1", 5)]);
    // A port for a while, and still told of after that.
    table.want("vnet1", true);
    table.answer(&Question::Name("vnet1".into()), &[link(5, "vnet1")]);
    table.want("vnet1", false);
    assert_eq!(told(&mut table), [plain("vnet1", 5)]);
    table.deleted(&link(5, "vnet1"));
    table.deleted(&link(3, "vnet0"));
    assert_eq!(told(&mut table), [plain("vnet0", 0), plain("vnet1", 0)]);
    // Nothing is left of those that are gone.
    table.doubt();
    let mut asked = Vec::new();
    while let Some(question) = table.question() {
        table.answer(&question, &[]);
        asked.push(question);
    }
    assert_eq!(asked.len(), 3, "{asked:?}");
}

#[test]
fn an_alternative_name_is_not_the_name() {
    let mut table = table();
    table.reread("eth0");
    table.reread("nobody0");
    table.answer(&Question::Name("eth0".into()), &[link(7, "enp1s0")]);
    assert_eq!((told(&mut table), table.question()), (vec![plain("eth0", 0)], None));
}

#[test]
fn foreign_links_cost_a_look_at_number_and_name() {
    let mut table = table();
    let datagram = |links: &[LinkMessage]| {
        let mut octets = Vec::new();
        for link in links {
            let inner = RouteNetlinkMessage::NewLink(link.clone());
            let mut message = NetlinkMessage::from(inner);
            message.finalize();
            let mut one = vec![0; message.buffer_len()];
            message.serialize(&mut one);
            octets.append(&mut one);
        }
        octets
    };
    read(&mut table, &datagram(&[link(5, "tap5"), link(7, "eth0"), link(6, "eth00")]));
    assert_eq!(told(&mut table), [plain("eth0", 7)]);
    // A number that is known counts whatever the name.
    read(&mut table, &datagram(&[link(7, "lan0")]));
    assert_eq!(told(&mut table), [plain("eth0", 0)]);
    // Cut anywhere, a datagram harms nobody.
    let whole = datagram(&[link(7, "eth0"), link(8, "eth1")]);
    for end in 0..whole.len() {
        read(&mut table, &whole[..end]);
    }
}
