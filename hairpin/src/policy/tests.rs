use serde_json::{from_value, json, to_value};

use super::*;

fn rule(value: serde_json::Value) -> AclRule {
    from_value(value).unwrap()
}

fn fault(value: serde_json::Value) -> String {
    from_value::<Policy>(value).unwrap_err().to_string()
}

#[test]
fn words_both_ways() {
    let text = json!({
        "pcp": { "set": 5 },
        "ingress": [{
            "action": "deny", "name": "web", "ethertype": "ipv4", "src_mac": "02:00:00:00:00:01",
            "dst_mac": "02:00:00:00:00:02", "vlan": 10, "src": "192.0.2.0/24", "dst": "198.51.100.1/32",
            "protocol": "tcp", "src_port": "1024-65535", "dst_port": 80,
        }],
        "egress": [{ "action": "permit", "ethertype": "0x88b5" }, { "action": "deny", "protocol": 47 }],
        "ingress_rate": { "bits_per_second": 1000, "burst_octets": 1 },
        "mirror": { "to": { "capture": 3 }, "ingress": true, "egress": false },
        "max_macs": 7,
        "groups": "all",
    });
    let policy: Policy = from_value(text.clone()).unwrap();
    assert_eq!(policy.check(), Ok(()));
    assert_eq!(to_value(&policy).unwrap(), text);
    let Mirror { ingress, egress, .. } = from_value(json!({ "to": { "port": "eth9" } })).unwrap();
    assert!(ingress && egress);
}

#[test]
fn the_default_says_nothing() {
    let policy: Policy = from_value(json!({})).unwrap();
    assert_eq!(policy, Policy::default());
    assert_eq!((policy.pcp, policy.groups, policy.check()), (PcpRule::Trust, GroupFilter::Own, Ok(())));
}

#[test]
fn errors_say_what_is_allowed() {
    let with = |key: &str, value: serde_json::Value| json!({ "ingress": [{ "action": "deny", key: value }] });
    for (given, said) in [
        (with("protocol", json!("smtp")), "`smtp` is no IP protocol: tcp, udp,"),
        (with("protocol", json!(256)), "a number from 0 to 255"),
        (with("dst_port", json!(65536)), "port 65536 is out of range"),
        (with("dst_port", json!("9-8")), "`9-8` are no ports"),
        (with("ethertype", json!("ipx")), "`ipx` is no EtherType"),
        (with("port", json!(1)), "unknown field `port`"),
        (json!({ "acl": [] }), "unknown field `acl`"),
    ] {
        assert!(fault(given).contains(said), "{said}");
    }
}

#[test]
fn what_cannot_be() {
    let v6 = json!({ "action": "deny", "ethertype": "ipv4", "src": "2001:db8::/32" });
    let both = json!({ "action": "deny", "src": "2001:db8::/32", "dst": "192.0.2.1/32" });
    let arp = json!({ "action": "deny", "ethertype": "arp", "protocol": "tcp" });
    let ports = json!({ "action": "deny", "protocol": "icmp", "dst_port": 1 });
    for (text, why) in [(v6, "another version"), (both, "two versions"), (arp, "not IP"), (ports, "no ports")]
    {
        let policy =
            Policy { egress: vec![rule(json!({ "action": "permit" })), rule(text)], ..Policy::default() };
        let error = policy.check().unwrap_err().to_string();
        assert!(error.starts_with("egress rule 2: ") && error.contains(why), "{error}");
    }
    for rate in
        [Rate { bits_per_second: 999, burst_octets: 1 }, Rate { bits_per_second: 1000, burst_octets: 0 }]
    {
        let policy = Policy { egress_rate: Some(rate), ..Policy::default() };
        assert_eq!(policy.check(), Err(PolicyError::Rate { which: "egress_rate" }));
    }
    let mirror = Mirror { to: MirrorTo::Capture(CaptureId(1)), ingress: false, egress: false };
    assert_eq!(Policy { mirror: Some(mirror), ..Policy::default() }.check(), Err(PolicyError::Mirror));
}
