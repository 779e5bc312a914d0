use serde_json::json;

use super::*;

fn healthy() -> Inspection {
    Inspection {
        interface: "eth0".to_owned(),
        ethernet: true,
        up: true,
        carrier: true,
        operstate: "up".to_owned(),
        mtu: 1500,
        max_mtu: Some(9000),
        enhanced_dad: Some(true),
        ethtool: Some([("large-receive-offload".to_owned(), false)].into()),
        ..Inspection::default()
    }
}

fn bridged(stp: bool, mask: u16, port_mask: u16) -> Inspection {
    let master = Master { name: "br0".to_owned(), kind: MasterKind::Bridge { stp, mask }, port_mask };
    Inspection { master: Some(master), ..healthy() }
}

fn listener(protocol: u16, name: &str) -> Listener {
    Listener { protocol, process: Some(Process { pid: 7, name: name.to_owned() }) }
}

/// What is worse than a note: check, severity, whether there is a remedy.
fn worries(seen: &Inspection, daemon: Option<&Port>) -> Vec<(&'static str, Severity, String)> {
    let found = of(seen, daemon).into_iter().filter(|finding| finding.severity > Note);
    found.map(|finding| (finding.check, finding.severity, finding.remedy.unwrap_or_default())).collect()
}

#[test]
fn a_healthy_port_has_no_worries() {
    assert_eq!(worries(&healthy(), None), []);
    assert!(of(&healthy(), None).iter().all(|finding| finding.severity == Fine));
}

#[test]
fn room_for_tags_is_told_with_what_a_cascade_needs() {
    let words = |mtu| super::mtu(&Inspection { mtu, ..healthy() }).words;
    assert!(words(1500).contains("it needs 1512 where ports at the edge have 1500, so more than it has"));
    assert!(words(1512).ends_with("ports at the edge have 1500"));
}

#[test]
fn each_fault_is_found_with_its_remedy() {
    let with = |change: fn(&mut Inspection)| {
        let mut seen = healthy();
        change(&mut seen);
        seen
    };
    let cases = [
        (with(|s| s.up = false), "link", Problem, "ip link set eth0 up"),
        (with(|s| s.carrier = false), "link", Problem, "cable"),
        (with(|s| s.ethernet = false), "kind", Problem, ""),
        (with(|s| s.kind = Some("bridge".to_owned())), "kind", Problem, "show master eth0"),
        (with(|s| s.kind = Some("bond".to_owned())), "kind", Warning, "show master eth0"),
        (with(|s| s.kind = Some("vlan".to_owned())), "kind", Warning, "link show eth0"),
        (with(|s| s.driver = Some("bnxt_en".to_owned())), "firmware_lldp", Warning, "bnxtnvm"),
        (with(|s| s.max_mtu = Some(1504)), "mtu", Warning, "ip link set eth0 mtu 1496"),
        (with(|s| s.enhanced_dad = Some(false)), "duplicate_addresses", Warning, "net.ipv6.conf.eth0"),
        (
            with(|s| s.ethtool = Some([("large-receive-offload".to_owned(), true)].into())),
            "offloads",
            Warning,
            "lro off",
        ),
        (
            with(|s| s.listeners = vec![listener(0x88cc, "lldpd")]),
            "other_agents",
            Warning,
            "disable --now lldpd",
        ),
        (
            with(|s| s.listeners = vec![listener(ALL, "lldpad")]),
            "other_agents",
            Warning,
            "disable --now lldpad",
        ),
        (with(|s| s.listeners = vec![listener(0x8940, "mine")]), "other_agents", Warning, ""),
        (bridged(false, 0, 0), "leak", Warning, "br0 type bridge stp_state 1"),
    ];
    for (seen, check, severity, remedy) in cases {
        let worries = worries(&seen, None);
        let [(found, how, helps)] = &worries[..] else { panic!("{check}: {worries:#?}") };
        assert_eq!((*found, *how), (check, severity));
        assert!(helps.contains(remedy), "{check}: {helps}");
    }
}

#[test]
fn the_switch_of_the_firmware_is_read() {
    for (driver, flag, on, severity) in [
        ("ice", "fw-lldp-agent", true, Problem),
        ("ice", "fw-lldp-agent", false, Fine),
        ("i40e", "disable-fw-lldp", false, Problem),
        ("i40e", "disable-fw-lldp", true, Fine),
        ("i40e", "something-else", true, Warning),
    ] {
        let seen = Inspection {
            driver: Some(driver.to_owned()),
            ethtool: Some([(flag.to_owned(), on)].into()),
            ..healthy()
        };
        let found = firmware(&seen).unwrap();
        assert_eq!(found.severity, severity, "{driver} {flag} {on}");
        assert!(severity == Fine || found.remedy.unwrap().contains("eth0"));
    }
}

#[test]
fn bridges_by_what_they_do_with_control_frames() {
    let blocked = Port::new(json!({ "leak": "blocked" }), 0);
    assert_eq!(worries(&bridged(true, 0, 0), None), []);
    assert_eq!(worries(&bridged(false, 0, 0), Some(&blocked)), []);
    let checks = |seen: &Inspection| worries(seen, None).iter().map(|w| w.0).collect::<Vec<_>>();
    assert_eq!(checks(&bridged(true, 0x4000, 0)), ["group_fwd_mask"]);
    assert_eq!(checks(&bridged(true, 0, 0x0001)), ["leak", "group_fwd_mask"]);
    assert!(forwarded(0x4008).ends_with("01-80-C2-00-00-03, 01-80-C2-00-00-0E"));
}

#[test]
fn evbd_and_a_lone_tap_are_no_other_agents() {
    let listeners =
        vec![listener(0x88cc, "evbd"), listener(0x8940, "evbd-under-test"), listener(ALL, "tcpdump")];
    let seen = Inspection { listeners, promiscuity: 1, ..healthy() };
    assert_eq!(worries(&seen, None), []);
    let notes: Vec<_> = of(&seen, None).into_iter().filter(|f| f.severity == Note).map(|f| f.check).collect();
    assert_eq!(notes, ["taps", "promiscuous"]);
}
