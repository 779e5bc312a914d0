use ether::{Pcp, Vid};

use super::*;
use crate::config::Config;

const PORT: &str = "[[port]]\ninterface = \"c0\"\nkind = \"lan\"\nuntagged = 1\ncascade = true\n";

fn rules(text: &str) -> Result<Vec<ExtendedRule>, String> {
    let file = format!("role = \"bridge\"\n{PORT}{text}");
    Config::parse("c", &file).map(|config| config.extended).map_err(|error| format!("{error:?}"))
}

fn pcp(priority: u8) -> Pcp {
    Pcp::new(priority).unwrap()
}

#[test]
fn every_key() {
    let rules = rules(
        "[[extended]]\nextender = \"rack7\"\nport = \"tap*\"\nkind = \"lan\"\nuntagged = 10\ntagged = [20]\n\
         takes_over = false\nenabled = false\nblocked = true\ndefault_priority = 5\nuse_dei = false\n\
         pcp_row = \"7p1d\"\ndecode = [{ pcp = 3, priority = 6, drop_eligible = true }]\n\
         encode = [{ priority = 6, drop_eligible = true, pcp = 3, dei = true }]\nlag = \"bond-vm7\"\n\
         [[extended]]\nkind = \"station\"\n",
    )
    .unwrap();
    let [rule, rest] = &rules[..] else { panic!("{rules:?}") };
    assert!(
        rule.matches("rack7", "tap12") && !rule.matches("rack8", "tap12") && !rule.matches("rack7", "eth0")
    );
    assert!(rest.matches("", "") && rest.faces == Some(BridgePortKind::Station));
    assert_eq!(rest.work, ExtendedWork::default());
    let (untagged, tagged) = (Vid::new(10), vec![Vid::new(20).unwrap()]);
    assert_eq!(rule.faces, Some(BridgePortKind::Lan { untagged, tagged, takes_over: false }));
    let work = &rule.work;
    assert_eq!((work.enabled, work.blocked, work.use_dei), (false, true, false));
    assert_eq!((work.default_priority, work.lag.as_deref()), (pcp(5), Some("bond-vm7")));
    assert_eq!(work.decode[3], (pcp(6), true));
    assert_eq!(work.decode[5], (pcp(4), false), "the row's");
    assert_eq!(work.encode[13], (pcp(3), true));
    assert_eq!(work.encode[11], (pcp(4), false), "5, drop eligible");
}

/// The tables of 802.1Q as they are printed: for PCP 7 to 0; for priorities 7, 7 drop eligible, 6, …
#[test]
fn rows_of_the_pcp_tables() {
    for (row, decoding, encoding) in [
        (PcpRow::P8D0, "7 6 5 4 3 2 1 0", "7 7 6 6 5 5 4 4 3 3 2 2 1 1 0 0"),
        (PcpRow::P7D1, "7 6 4 4D 3 2 1 0", "7 7 6 6 5 4 5 4 3 3 2 2 1 1 0 0"),
        (PcpRow::P6D2, "7 6 4 4D 2 2D 1 0", "7 7 6 6 5 4 5 4 3 2 3 2 1 1 0 0"),
        (PcpRow::P5D3, "7 6 4 4D 2 2D 0 0D", "7 7 6 6 5 4 5 4 3 2 3 2 1 0 1 0"),
    ] {
        let (decode, encode) = tables(row);
        let word = |(pcp, dei): &(Pcp, bool)| format!("{pcp}{}", if *dei { "D" } else { "" });
        assert_eq!(decode.iter().rev().map(word).collect::<Vec<_>>().join(" "), decoding);
        let pairs = encode.chunks(2).rev().flatten();
        assert_eq!(pairs.map(word).collect::<Vec<_>>().join(" "), encoding);
    }
}

#[test]
fn what_cannot_be() {
    for (rule, says) in [
        ("kind = \"station\"\nuntagged = 1", "face a LAN"),
        ("untagged = 1", "face a LAN"),
        ("kind = \"upstream\"", "no kind of a bridge's extended port"),
        ("decode = [{ pcp = 1, priority = 1 }, { pcp = 1, priority = 2 }]", "PCP 1 twice"),
        ("encode = [{ priority = 1, pcp = 1 }, { priority = 1, pcp = 2 }]", "priority 1 twice"),
        ("lag = \"\"", "no name of a group"),
        ("lag = \"a b\"", "no name of a group"),
        ("kind = \"station\"\nlag = \"a\"", "VSIs cannot be"),
        ("pcp_row = \"4p4d\"", "8p0d"),
        ("tag = 1", "unknown field"),
    ] {
        let error = rules(&format!("[[extended]]\n{rule}\n")).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    let extender = "role = \"extender\"\n[[port]]\ninterface = \"u\"\nkind = \"upstream\"\n[[extended]]\nkind = \"lan\"\n";
    let error = Config::parse("c", extender).unwrap_err().to_string();
    assert!(error.contains("are ports of a bridge"), "{error}");
}
