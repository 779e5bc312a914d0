use super::*;
use crate::{PortKind, config::Config, core::Core, effect::Effect};

fn parse(text: &str) -> Result<Config, (String, String)> {
    let of =
        |error: crate::config::ConfigError| (error.to_string(), error.allowed().unwrap_or("").to_owned());
    Config::parse("t.toml", text).map_err(of)
}

const BRIDGE: &str = "role = \"bridge\"\n[[port]]\ninterface = \"f0\"\nkind = \"lan\"\ncascade = true\nframing = \"vntag\"\n\
    untagged = 1\nextended = [{ id = 101 }, { id = 102, untagged = 7, tagged = [9] }]\n\
    floods = [{ vlan = 1, id = 0x100005, members = [101, 102] }]\n";
const EXTENDER: &str = "role = \"extender\"\n[[port]]\ninterface = \"up\"\nkind = \"upstream\"\n\
    [[port]]\ninterface = \"v1\"\nkind = \"extended\"\nid = 101\nuntagged = 7\n\
    [[port]]\ninterface = \"down\"\nkind = \"cascade\"\nid = 200\nbelow = [201, 0x100005]\n\
    [[channel]]\nid = 0x100005\nports = [\"v1\"]\n";

#[test]
fn extended_ports_of_a_bridge() {
    let config = parse(BRIDGE).unwrap();
    let cascade = config.cascade("f0").unwrap();
    assert_eq!((cascade.framing, cascade.extended.len(), cascade.floods.len()), (Framing::Vntag, 2, 1));
    let mut core = Core::new(config, 1, ether::Instant::ZERO);
    let ports: Vec<_> = core.ports().map(|(_, name, kind)| (name.to_owned(), kind)).collect();
    let named = |name: &str, kind| (name.to_owned(), kind);
    assert_eq!(
        ports,
        [named("f0", PortKind::Cascade), named("f0:101", PortKind::Lan), named("f0:102", PortKind::Lan)]
    );
    let faces = |id| {
        let pcid = ether::Pcid::new(id).unwrap();
        crate::extension::ExtendedSettings::new(core.config(), "f0", pcid, None, false).map(|s| s.faces)
    };
    let lan = |vlan, tagged| BridgePortKind::Lan { untagged: Vid::new(vlan), tagged, takes_over: true };
    assert_eq!(faces(101), Some(lan(1, vec![])));
    assert_eq!(faces(102), Some(lan(7, vec![Vid::new(9).unwrap()])));
    // Of a port that a protocol makes.
    assert_eq!(faces(300), Some(lan(1, vec![])));
    let floods: Vec<_> = std::iter::from_fn(|| core.poll_effect())
        .filter_map(|effect| match effect {
            Effect::Flood { cascade, vlan, channel } => {
                Some((cascade.0, vlan.get(), channel.unwrap().1.len()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(floods, [(0, 1, 2)]);
}

#[test]
fn ports_of_an_extender() {
    let config = parse(EXTENDER).unwrap();
    let mut core = Core::new(config, 1, ether::Instant::ZERO);
    let said: Vec<Effect> = std::iter::from_fn(|| core.poll_effect()).collect();
    let members = |id: u32| {
        said.iter().find_map(|effect| match effect {
            Effect::Channel { ecid, members } if ecid.get() == id => {
                Some(members.iter().map(|port| port.0).collect::<Vec<_>>())
            }
            _ => None,
        })
    };
    assert_eq!((members(201), members(0x10_0005)), (Some(vec![2]), Some(vec![1, 2])));
    assert!(said.iter().any(|effect| matches!(effect, Effect::Upstream(Some(port)) if port.0 == 0)));
    let ends = said.iter().filter(|effect| matches!(effect, Effect::Extend { parameters: Some(_), .. }));
    assert_eq!(ends.count(), 2);
}

const SESSIONS: &str = "role = \"extender\"\n[[port]]\ninterface = \"up\"\nkind = \"upstream\"\n\
     [[port]]\ninterface = \"vnet*\"\nkind = \"extended\"\nrate = 1000000\n";

#[test]
fn ports_by_pattern() {
    let config = parse(SESSIONS).unwrap();
    assert!(config.plugs("vnet0") && !config.plugs("up") && !config.plugs("tap0"));
    assert_eq!((config.carrier.rate("vnet7"), config.carrier.rate("up")), (Some(1_000_000), None));
    let named = format!("{SESSIONS}[[port]]\ninterface = \"vnet7\"\nkind = \"extended\"\n");
    assert!(!parse(&named).unwrap().plugs("vnet7"), "it has an entry of its own");
}

#[test]
fn what_is_not_allowed() {
    let bridge = |from: &str, to: &str| BRIDGE.replace(from, to);
    let extender = |from: &str, to: &str| EXTENDER.replace(from, to);
    for (text, what, allowed) in [
        (bridge("id = 102", "id = 101"), "two extended ports 101", "each `id` once"),
        (bridge("id = 102", "id = 4096"), "no room for this channel", "1 to 4095"),
        (bridge("id = 102", "id = 0"), "no E-channel", "1 to 0x3ffffe"),
        (bridge("id = 0x100005", "id = 5"), "has one member", "0x100000"),
        (bridge("members = [101, 102]", "members = [101, 103]"), "no extended port 103", "`id` of"),
        (bridge("cascade = true", "cascade = false"), "no cascade port", "cascade = true"),
        (bridge("cascade = true", "cascade = true\nsvids = \"100-109\""), "S-channels", ""),
        (bridge("untagged = 1", "id = 7"), "no channel", "port extender"),
        (format!("{BRIDGE}[[channel]]\nid = 5\nports = []\n"), "for a port extender", "extender"),
        (extender("\"upstream\"", "\"extended\""), "without an upstream", "upstream"),
        (extender("kind = \"extended\"", "kind = \"lan\""), "no port of a port extender", "extended"),
        (extender("id = 101", "id = 200"), "has this channel", "once"),
        (extender("id = 101", "framing = \"etag\""), "cannot have that", "`framing` on upstream"),
        (extender("id = 101", "id = 0x100000"), "several members", "1 to 1048575"),
        (
            extender("interface = \"v1\"", "interface = \"v*\""),
            "no channel of the file",
            "`interface` and `kind`",
        ),
        (
            format!("{EXTENDER}[[port]]\ninterface = \"v*\"\nkind = \"extended\"\n"),
            "beside channels",
            "by name",
        ),
        (SESSIONS.replace("vnet*", "*"), "is any interface", "vnet*"),
        (SESSIONS.replace("extended", "cascade"), "only extended ports", "one interface"),
        (extender("ports = [\"v1\"]", "ports = [\"up\"]"), "no channel leads to `up`", "extended"),
    ] {
        let (error, says) = parse(&text).unwrap_err();
        assert!(error.contains(what) && says.contains(allowed), "{error}; {says}\n{text}");
    }
}

#[test]
fn a_cascade_port_may_take_the_ingress_form() {
    let bridge =
        |keys: &str| format!("role = \"bridge\"\n[[port]]\ninterface = \"c0\"\nkind = \"lan\"\n{keys}");
    let takes = |keys: &str| parse(&bridge(keys)).map(|config| config.carrier.takes_ingress_form("c0"));
    assert!(!takes("cascade = true").unwrap());
    assert!(!takes("cascade = true\naccept_ingress_form = false").unwrap());
    assert!(takes("cascade = true\naccept_ingress_form = true").unwrap());
    assert!(takes("accept_ingress_form = true").is_err(), "only of a cascade port");
}
