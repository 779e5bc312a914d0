//! Calls and answers captured between vdptool and lldpad 1.1.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Call {
    #[command(flatten)]
    tool: Tool,
}

const UUID: &str = "00000000-1111-2222-3333-444455556666";

fn call(words: &str) -> Tool {
    Call::try_parse_from(words.split_whitespace()).unwrap_or_else(|error| panic!("{words}: {error}")).tool
}

fn query() -> Tool {
    call(&format!(
        "vdptool -t -i lvup0 -R -V assoc -c mode=assoc -c mgrid2=0 -c typeid=0 -c typeidver=0 -c uuid={UUID}"
    ))
}

fn row() -> Value {
    json!({
        "id": UUID, "confirmed": "associate", "wanted": "associate", "manager": ManagerId::default(), "type_id": 0,
        "version": 0, "filter": [{ "mac": "00:11:22:33:44:55", "group": 20000 }],
    })
}

#[test]
fn the_raw_form_is_that_of_lldpad() {
    let tool = query();
    assert_eq!(
        raw_command(&tool),
        "M000080c4C3010000001505lvup0020000000304mode0005assoc06mgrid20001006typeid0001009typeidver0001004uuid0024\
         00000000-1111-2222-3333-444455556666"
    );
    assert_eq!(raw_answer(&tool, &Ok(String::new())), "R00C3010000001505lvup000000003");
    let all: String = pairs("assoc", &row()).iter().map(|(key, value)| argument(key, value)).collect();
    assert_eq!(
        raw_answer(&tool, &Ok(format!("{:04x}{all}", all.len()))),
        "R00C3010000001505lvup000000003009804mode0005assoc06mgrid20001006typeid0001009typeidver0001004uuid0024\
         00000000-1111-2222-3333-44445555666605hints0001006filter00190-00:11:22:33:44:55-20000"
    );
    let nosuch = call("vdptool -t -i nosuch -R -V assoc");
    assert_eq!(raw_answer(&nosuch, &Err(Failure::Device)), "R02C3010000001506nosuch");
}

#[test]
fn an_answer_is_that_of_vdptool() {
    let words = format!(
        "vdptool -T -i lvup0 -W -V assoc -c mode=assoc -c mgrid2=0 -c typeid=0 -c typeidver=0 -c uuid={UUID} \
         -c hints=none -c filter=0-00:11:22:33:44:55-20000 -c oui=cisco,vm_name=web1"
    );
    let request = Request::of(&call(&words)).unwrap();
    let (id, order) = request.as_order().unwrap();
    let Which::Given(config) = &order.vsi else { panic!("{order:?}") };
    assert_eq!(
        (config.interface.as_str(), config.type_id.get(), order.command),
        ("vm:001122334455", 0, Command::Associate)
    );
    let line = config.filter.entries()[0];
    assert_eq!((line.vid, line.group.map(|group| json!(group))), (None, Some(json!(20000))));
    let associated = json!({ "what": "associated", "filter": [{ "mac": "00:11:22:33:44:55", "vid": 3003 }] });
    let head = format!(
        "Response from VDP\n\tmode = assoc\n\tmgrid2 = 0\n\ttypeid = 0\n\ttypeidver = 0\n\tuuid = {UUID}\n"
    );
    assert_eq!(
        request.response(&id, &associated),
        Some(format!("{head}\tfilter = 3003-00:11:22:33:44:55-0\n"))
    );
    let refused = json!({ "what": "refused", "words": "the bridge refused: other failure (error 4)" });
    let said = request.response(&id, &refused).unwrap();
    let lines: Vec<&str> = said.lines().rev().collect();
    assert!(lines[1].contains("Error returned by Bridge") && lines[0].starts_with("\tfilter = "), "{said}");
    assert_eq!(request.response(&id, &json!({ "what": "gone" })), None);
}

#[test]
fn what_fits_is_found() {
    let request = Request::of(&query()).unwrap();
    assert!(request.fits(&row()));
    for (key, value) in [
        ("id", json!("11111111-1111-2222-3333-444455556666")),
        ("type_id", json!(1)),
        ("confirmed", json!("pre_associate")),
    ] {
        let mut other = row();
        other[key] = value;
        assert!(!request.fits(&other), "{key}");
    }
}

#[test]
fn filters_of_every_form_and_mistakes() {
    for (text, vid, mac, group) in [
        ("100", Some(100), false, false),
        ("100-52:54:00:00:00:01", Some(100), true, false),
        ("0-52:54:00:00:00:01-0", None, true, false),
        ("0x64--20000", Some(100), false, true),
    ] {
        let line = filter(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(
            (line.vid.map(|vid| vid.get()), line.mac.is_some(), line.group.is_some()),
            (vid, mac, group),
            "{text}"
        );
    }
    for bad in ["", "x", "4095", "1-2", "1-52:54:00:00:00:01-x", "70000"] {
        assert_eq!(filter(bad), None, "{bad}");
    }
    for bad in ["uuid=junk", "hints=maybe", "mode=preassoc", "nonsense=1", "typeidver=256", "filter=x"] {
        let tool = call(&format!("vdptool -T -i up -V assoc -c {bad}"));
        assert_eq!(Request::of(&tool), Err(Failure::Parameters), "{bad}");
    }
}
