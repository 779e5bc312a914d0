//! Scenario `fex`: VMs 1 to 3 on a port extender by VN-Tag, VM 4 on its bridge; the channels are in the configuration.

use ether::Framing;
use tokio::time::{Duration, Instant};

use super::{
    Lab,
    daemon::{Daemon, head},
    look::{everybody_hears, judge, look},
    net::{BRIDGE, EXTENDER, MORE_VMS, Net, UPLINK, VM_INTERFACE, VMS, Vm, Wire},
    report::{Progress, Report, Tcp},
    scenario::{is, ping_between, tcp},
};

/// Plays the scenario in `net`, and writes what it finds into `report`.
pub(super) async fn play(
    lab: &Lab,
    net: &mut Net,
    progress: &Progress,
    report: &mut Report,
) -> anyhow::Result<()> {
    let vms: Vec<Vm> = VMS.into_iter().chain(MORE_VMS).take(PLACES.len()).collect();
    let step = progress.step("namespaces and wires");
    let cable: Wire = [(EXTENDER, UPLINK), (BRIDGE, CASCADE)];
    let mut roles = vec![BRIDGE, EXTENDER];
    roles.extend(vms.iter().map(|vm| vm.name));
    let mut wires = vec![cable];
    wires.extend(PLACES.iter().zip(&vms).map(|(at, vm)| [(*at, vm.name), (vm.name, VM_INTERFACE)]));
    net.build(&roles, &wires, &vms)?;
    for (role, interface) in cable {
        net.set_mtu(role, interface, MTU)?;
    }
    step.done(report, format!("{} VMs, 1 cascade, its MTU {MTU}", vms.len()));

    let step = progress.step("daemons running");
    let mut bridge = Daemon::start(net, BRIDGE, &bridge_config(net, &vms)).await?;
    let mut extender = Daemon::start(net, EXTENDER, &extender_config(net, &vms)).await?;
    step.done(report, "one bridge, one port extender".to_owned());

    let deadline = Instant::now() + PATIENCE;
    let step = progress.step("extended ports up");
    let behind = PLACES.iter().filter(|at| **at == EXTENDER).count();
    let extended = |e: &serde_json::Value| {
        let port = e.get("port").and_then(serde_json::Value::as_str);
        is(e, "link_up") && port.is_some_and(|port| port.starts_with(&format!("{CASCADE}:")))
    };
    bridge.wait("extended port up", behind, deadline, extended).await?;
    // And its way to the bridge.
    extender.wait("port up", behind + 1, deadline, |e| is(e, "link_up")).await?;
    step.done(report, format!("{behind} ports of the bridge are elsewhere"));

    // Each end sees what comes in: what evbd sends no tap of its own host gets.
    let taps = vec![(BRIDGE, look(net, BRIDGE, CASCADE)?), (EXTENDER, look(net, EXTENDER, UPLINK)?)];
    for (name, from, to) in MEETINGS {
        let step = progress.step(name);
        let (Some(from), Some(to)) = (vms.get(from), vms.get(to)) else { continue };
        let pings = ping_between(net, from.name, to.address, lab.pings).await?;
        let detail = format!("{} of {} answered", pings.answered, pings.sent);
        step.held(report, pings.answered == pings.sent, detail);
        report.ping = Some(pings);
    }
    everybody_hears(net, &vms, progress, report).await?;
    let step = progress.step("TCP from VM 1 to VM 2");
    let stream: Tcp = tcp(net, lab.seconds, None).await?;
    let detail = format!("{:.2} Gbit/s, every octet checked", stream.gbit_s);
    step.held(report, stream.intact && stream.octets > 0, detail);
    report.tcp = Some(stream);
    judge(net, Framing::Vntag, taps, progress, report).await
}

fn bridge_config(net: &Net, vms: &[Vm]) -> String {
    let behind: Vec<usize> = (0..vms.len()).filter(|n| PLACES.get(*n) != Some(&BRIDGE)).collect();
    let extended: Vec<String> = behind.iter().map(|n| format!("{{ id = {} }}", id(*n))).collect();
    let members: Vec<String> = behind.iter().map(|n| id(*n).to_string()).collect();
    let mut text = format!(
        "{head}\n[[port]]\ninterface = \"{CASCADE}\"\nkind = \"lan\"\nuntagged = 1\ncascade = true\n\
         framing = \"vntag\"\nextended = [{extended}]\n\
         floods = [{{ vlan = 1, id = {FLOOD}, members = [{members}] }}]\n",
        head = head(net, "bridge", BRIDGE),
        extended = extended.join(", "),
        members = members.join(", "),
    );
    for (vm, _) in vms.iter().zip(PLACES).filter(|(_, at)| *at == BRIDGE) {
        text += &format!("\n[[port]]\ninterface = \"{}\"\nkind = \"lan\"\nuntagged = 1\n", vm.name);
    }
    text
}

fn extender_config(net: &Net, vms: &[Vm]) -> String {
    let mut text = format!(
        "{head}\n[[port]]\ninterface = \"{UPLINK}\"\nkind = \"upstream\"\nframing = \"vntag\"\n",
        head = head(net, "extender", EXTENDER),
    );
    let mut floods = Vec::new();
    for (n, vm) in vms.iter().enumerate().filter(|(n, _)| PLACES.get(*n) == Some(&EXTENDER)) {
        text += &format!(
            "\n[[port]]\ninterface = \"{name}\"\nkind = \"extended\"\nid = {id}\nuntagged = 1\n",
            name = vm.name,
            id = id(n)
        );
        floods.push(format!("\"{}\"", vm.name));
    }
    text + &format!("\n[[channel]]\nid = {FLOOD}\nports = [{}]\n", floods.join(", "))
}

/// The channel of VM `n`, from 0.
const fn id(n: usize) -> usize {
    101 + n
}

/// Where VMs 1, 2 and so on are.
const PLACES: [&str; 4] = [EXTENDER, EXTENDER, EXTENDER, BRIDGE];
/// Who pings whom, from 0.
const MEETINGS: [(&str, usize, usize); 3] =
    [("VM 1 and VM 2 meet at the bridge", 0, 1), ("VM 1 reaches VM 4", 0, 3), ("VM 4 reaches VM 3", 3, 2)];
/// An interface towards a port extender.
const CASCADE: &str = "cascade0";
/// That of several members.
const FLOOD: u32 = 0x10_0001;
/// The VMs' own, a VN-Tag and a C-tag.
const MTU: u32 = 1510;
const PATIENCE: Duration = Duration::from_secs(30);
