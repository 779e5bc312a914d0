//! Scenarios `extend` and `fex`: port extenders whose channels are in the configuration.
//!
//! * `fex`: VN-Tag; VMs 1 to 3 on a port extender, VM 4 on the bridge.
//! * `extend`: E-TAG; VMs 1 and 2 on a port extender, VMs 3 and 4 on another one behind it. A cable is pulled and put back.

use std::{collections::BTreeMap, fs::File, io::BufReader, path::PathBuf, process::Stdio};

use anyhow::{Context, ensure};
use ether::{ChannelTagError, DownTag, Framing, UpTag};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt},
    process::{Child, Command},
    time::{Duration, Instant, timeout},
};

use super::{
    Lab, Scenario,
    daemon::{Daemon, head},
    net::{BRIDGE, EXTENDER, EXTENDER2, MORE_VMS, Net, UPLINK, VM_INTERFACE, VMS, Vm, Wire},
    probe::CountResult,
    report::{Progress, Report, Tcp},
    scenario::{has, is, ping_between, tcp},
};
use crate::decode::Capture;

/// Plays the scenario of `lab` in `net`, and writes what it finds into `report`.
pub(super) async fn play(
    lab: &Lab,
    net: &mut Net,
    progress: &Progress,
    report: &mut Report,
) -> anyhow::Result<()> {
    let fex = lab.scenario == Scenario::Fex;
    let framing = if fex { Framing::Vntag } else { Framing::Etag };
    let vms: Vec<Vm> = VMS.into_iter().chain(MORE_VMS).take(EXTEND.len()).collect();
    let places: Vec<&str> = if fex { FEX.to_vec() } else { EXTEND.to_vec() };

    let step = progress.step("namespaces and wires");
    let mut wires: Vec<Wire> = vec![[(EXTENDER, UPLINK), (BRIDGE, CASCADE)]];
    let mut roles = vec![BRIDGE, EXTENDER];
    if !fex {
        wires.push([(EXTENDER2, UPLINK), (EXTENDER, CASCADE)]);
        roles.push(EXTENDER2);
    }
    roles.extend(vms.iter().map(|vm| vm.name));
    let links = wires.clone();
    wires.extend(places.iter().zip(&vms).map(|(at, vm)| [(*at, vm.name), (vm.name, VM_INTERFACE)]));
    net.build(&roles, &wires, &vms)?;
    for (role, interface) in links.iter().flatten() {
        net.set_mtu(role, interface, MTU)?;
    }
    step.done(report, format!("{} VMs, {} cascade, its MTU {MTU}", vms.len(), links.len()));

    let step = progress.step("daemons running");
    let mut bridge = Daemon::start(net, BRIDGE, &bridge_config(net, &vms, &places, fex)).await?;
    let mut extender =
        Daemon::start(net, EXTENDER, &extender_config(net, &vms, &places, EXTENDER, fex)).await?;
    let mut second = match fex {
        true => None,
        false => {
            Some(Daemon::start(net, EXTENDER2, &extender_config(net, &vms, &places, EXTENDER2, fex)).await?)
        }
    };
    step.done(report, format!("one bridge, {} port extender{}", links.len(), if fex { "" } else { "s" }));

    let deadline = Instant::now() + PATIENCE;
    let step = progress.step("extended ports up");
    let behind: Vec<usize> = (0..vms.len()).filter(|n| places.get(*n) != Some(&BRIDGE)).collect();
    bridge.wait("extended port up", behind.len(), deadline, |e| is(e, "link_up") && is_extended(e)).await?;
    for extender in [Some(&mut extender), second.as_mut()].into_iter().flatten() {
        let own = places.iter().filter(|at| **at == extender.role).count();
        // And its own links.
        let links = links.iter().flatten().filter(|(role, _)| *role == extender.role).count();
        extender.wait("port up", own + links, deadline, |e| is(e, "link_up")).await?;
    }
    step.done(report, format!("{} ports of the bridge are elsewhere", behind.len()));

    // Each end sees what comes in: what evbd sends no tap of its own host gets.
    let taps = [look(net, BRIDGE, CASCADE)?, look(net, EXTENDER, UPLINK)?];
    let meetings = if fex { FEX_MEETINGS } else { EXTEND_MEETINGS };
    for (name, from, to) in meetings {
        let step = progress.step(name);
        let (Some(from), Some(to)) = (vms.get(from), vms.get(to)) else { continue };
        let pings = ping_between(net, from.name, to.address, lab.pings).await?;
        let detail = format!("{} of {} answered", pings.answered, pings.sent);
        step.held(report, pings.answered == pings.sent, detail);
        report.ping = Some(pings);
    }
    for (name, target) in
        [("broadcasts reach each VM once", EVERYBODY), ("multicasts reach each VM once", GROUP)]
    {
        let step = progress.step(name);
        let heard = shouted(net, &vms, target).await?;
        let all = heard.iter().all(|count| *count == u64::from(SHOUTS));
        step.held(
            report,
            all,
            format!("VM 1 sent {SHOUTS}, the VMs heard {heard:?}, VM 1 its own by its host"),
        );
    }
    let step = progress.step("TCP from VM 1 to VM 2");
    let stream: Tcp = tcp(net, lab.seconds, None).await?;
    let detail = format!("{:.2} Gbit/s, every octet checked", stream.gbit_s);
    step.held(report, stream.intact && stream.octets > 0, detail);
    report.tcp = Some(stream);

    let step = progress.step("every frame on the cascade has its tag");
    for mut tap in taps {
        // It ends when nobody writes to it any more.
        drop(tap.stdin.take());
        let ended = tap.wait_with_output().await.context("nobody looked at the wire")?;
        ensure!(ended.status.success(), "who looked at the wire failed");
    }
    let mut seen = tags(net, BRIDGE, framing)?;
    for (what, frames) in tags(net, EXTENDER, framing)? {
        *seen.entry(what).or_default() += frames;
    }
    let group = seen.get("down to several").copied().unwrap_or(0);
    let held = !seen.contains_key("malformed") && !seen.contains_key("no tag") && group >= u64::from(SHOUTS);
    let said: Vec<String> = seen.iter().map(|(what, frames)| format!("{frames} {what}")).collect();
    step.held(report, held, said.join(", "));
    let step = progress.step("tshark finds nothing malformed");
    match (tshark(net, BRIDGE, framing).await?, tshark(net, EXTENDER, framing).await?) {
        (Some(up), Some(down)) => {
            let held = up.1 + down.1 == 0 && up.0 > 0 && down.0 > 0;
            let detail = format!("{} tags up, {} down, {} frames malformed", up.0, down.0, up.1 + down.1);
            step.held(report, held, detail);
        }
        _ => step.done(report, "there is no tshark here".to_owned()),
    }
    if !fex {
        pulled(net, &vms, behind.len(), &mut bridge, progress, report).await?;
    }
    Ok(())
}

/// The cable between bridge and port extender is pulled and put back.
async fn pulled(
    net: &Net,
    vms: &[Vm],
    ports: usize,
    bridge: &mut Daemon,
    progress: &Progress,
    report: &mut Report,
) -> anyhow::Result<()> {
    let step = progress.step("a pulled cable takes the ports down");
    let since = Instant::now();
    net.set_up(EXTENDER, UPLINK, false)?;
    let down = |e: &Value| is(e, "link_down") && is_extended(e);
    bridge.wait("extended port down", ports, since + PATIENCE, down).await?;
    let took = since.elapsed();
    step.held(report, took < SOON, format!("all {ports} after {} ms", took.as_millis()));

    let step = progress.step("and brings them back");
    let since = Instant::now();
    net.set_up(EXTENDER, UPLINK, true)?;
    let up = |e: &Value| is(e, "link_up") && is_extended(e);
    bridge.wait("extended port up", 2 * ports, since + PATIENCE, up).await?;
    let (Some(from), Some(to)) = (vms.first(), vms.get(2)) else { return Ok(()) };
    // Each ping waits a while for its answer: the first that gets one ends it.
    while ping_between(net, from.name, to.address, 1).await?.answered == 0 && since.elapsed() < PATIENCE {}
    let took = since.elapsed();
    step.held(report, took < SOON, format!("VM 1 reaches VM 3 after {} ms", took.as_millis()));
    Ok(())
}

fn is_extended(event: &Value) -> bool {
    event.get("port").and_then(Value::as_str).is_some_and(|port| port.starts_with(&format!("{CASCADE}:")))
        && !has(event, "/port", CASCADE)
}

/// Has what comes in on an interface be written down.
fn look(net: &Net, role: &str, interface: &str) -> anyhow::Result<Child> {
    net.command(role)?
        .args(["lab-probe", "tags", interface, "--file"])
        .arg(pcap(net, role))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot look at the wire")
}

/// How many of VM 1's datagrams to `target` each VM hears: VM 1 each once, by its host, and twice if one came back.
async fn shouted(net: &Net, vms: &[Vm], target: &str) -> anyhow::Result<Vec<u64>> {
    let Some(speaker) = vms.first() else { return Ok(Vec::new()) };
    let mut heard = Vec::new();
    for vm in vms {
        let mut listener = net
            .command(vm.name)?
            .args(["lab-probe", "count", &format!("0.0.0.0:{SHOUT_PORT}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot listen")?;
        let mut said =
            tokio::io::BufReader::new(listener.stdout.take().context("a listener without output")?);
        let mut line = String::new();
        timeout(PATIENCE, said.read_line(&mut line)).await.context("a listener does not start")??;
        heard.push((listener, said));
    }
    let shout = net
        .command(speaker.name)?
        .args(["lab-probe", "shout", speaker.address, &format!("{target}:{SHOUT_PORT}"), "--count"])
        .arg(SHOUTS.to_string())
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot shout")?;
    ensure!(shout.status.success(), "cannot shout: {}", String::from_utf8_lossy(&shout.stderr).trim());
    let mut counts = Vec::new();
    for (_listener, mut said) in heard {
        let mut result = Vec::new();
        timeout(PATIENCE, said.read_to_end(&mut result)).await.context("a listener does not end")??;
        let result: CountResult =
            serde_json::from_slice(&result).context("a listener did not say what it heard")?;
        counts.push(result.datagrams);
    }
    Ok(counts)
}

/// Frames on the cascade by what their tag says; those of its own control protocols have none.
fn tags(net: &Net, role: &str, framing: Framing) -> anyhow::Result<BTreeMap<&'static str, u64>> {
    let file = File::open(pcap(net, role)).context("nothing was written down")?;
    let mut seen = BTreeMap::new();
    for record in Capture::new(BufReader::new(file))? {
        let record = record?;
        let Some((addresses, rest)) = record.frame.split_at_checked(12) else { continue };
        let reserved = addresses.starts_with(&[0x01, 0x80, 0xc2, 0, 0]);
        let what = match (UpTag::parse(framing, rest), DownTag::parse(framing, rest)) {
            (Err(ChannelTagError::Kind(_)), _) if reserved => "own control frames",
            // The host's own, before the daemon has the interface.
            (Err(ChannelTagError::Kind(_)), _) if rest.starts_with(&[0x86, 0xdd]) => "of the hosts",
            (Err(ChannelTagError::Kind(_)), _) => "no tag",
            (_, Ok(down)) if down.to.is_group() => "down to several",
            (Ok(_), _) | (_, Ok(_)) => "by a port's channel",
            (Err(_), Err(_)) => "malformed",
        };
        *seen.entry(what).or_default() += 1;
    }
    Ok(seen)
}

/// How many frames tshark sees with such tags, and how many of what was written down it calls malformed; `None` where
/// there is no tshark.
async fn tshark(net: &Net, role: &str, framing: Framing) -> anyhow::Result<Option<(usize, usize)>> {
    let tagged = match framing {
        Framing::Etag => "etag",
        Framing::Vntag => "vntag",
    };
    let mut counts = Vec::new();
    for filter in [tagged, "_ws.malformed"] {
        let mut tshark = Command::new("tshark");
        tshark.arg("-r").arg(pcap(net, role)).args(["-Y", filter, "-T", "fields", "-e", "frame.number"]);
        let Ok(output) = tshark.stdin(Stdio::null()).output().await else { return Ok(None) };
        ensure!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr).trim());
        counts.push(String::from_utf8_lossy(&output.stdout).lines().count());
    }
    Ok(counts.first().copied().zip(counts.get(1).copied()))
}

fn pcap(net: &Net, role: &str) -> PathBuf {
    net.file(&format!("{role}.pcap"))
}

fn bridge_config(net: &Net, vms: &[Vm], places: &[&str], fex: bool) -> String {
    let behind = || (0..vms.len()).filter(|n| places.get(*n) != Some(&BRIDGE));
    let mut extended: Vec<String> = behind().map(|n| format!("{{ id = {} }}", id(n))).collect();
    if !fex {
        // By it the bridge talks to the second port extender; it is of no VLAN.
        extended.push(format!("{{ id = {TRANSIT}, untagged = 4094 }}"));
    }
    let members: Vec<String> = behind().map(|n| id(n).to_string()).collect();
    let mut text = format!(
        "{head}\n[[port]]\ninterface = \"{CASCADE}\"\nkind = \"lan\"\nuntagged = 1\ncascade = true\nframing = \"{framing}\"\n\
         extended = [{extended}]\nfloods = [{{ vlan = 1, id = {FLOOD}, members = [{members}] }}]\n",
        head = head(net, "bridge", BRIDGE),
        framing = if fex { "vntag" } else { "etag" },
        extended = extended.join(", "),
        members = members.join(", "),
    );
    for (vm, _) in vms.iter().zip(places).filter(|(_, at)| **at == BRIDGE) {
        text += &format!("\n[[port]]\ninterface = \"{}\"\nkind = \"lan\"\nuntagged = 1\n", vm.name);
    }
    text
}

fn extender_config(net: &Net, vms: &[Vm], places: &[&str], role: &str, fex: bool) -> String {
    let framing = if fex { "vntag" } else { "etag" };
    let mut text = format!(
        "{head}\n[[port]]\ninterface = \"{UPLINK}\"\nkind = \"upstream\"\nframing = \"{framing}\"\n",
        head = head(net, "extender", role),
    );
    let mut floods = Vec::new();
    for (n, vm) in vms.iter().enumerate().filter(|(n, _)| places.get(*n) == Some(&role)) {
        text += &format!(
            "\n[[port]]\ninterface = \"{name}\"\nkind = \"extended\"\nid = {id}\nuntagged = 1\n",
            name = vm.name,
            id = id(n)
        );
        floods.push(format!("\"{}\"", vm.name));
    }
    if !fex && role == EXTENDER {
        let below: Vec<String> = (0..vms.len())
            .filter(|n| places.get(*n) == Some(&EXTENDER2))
            .map(|n| id(n).to_string())
            .collect();
        text += &format!(
            "\n[[port]]\ninterface = \"{CASCADE}\"\nkind = \"cascade\"\nid = {TRANSIT}\nbelow = [{}]\n",
            below.join(", ")
        );
        floods.push(format!("\"{CASCADE}\""));
    }
    text + &format!("\n[[channel]]\nid = {FLOOD}\nports = [{}]\n", floods.join(", "))
}

/// The channel of VM `n`, from 0.
const fn id(n: usize) -> usize {
    101 + n
}

/// Where VMs 1, 2 and so on are.
const FEX: [&str; 4] = [EXTENDER, EXTENDER, EXTENDER, BRIDGE];
const EXTEND: [&str; 4] = [EXTENDER, EXTENDER, EXTENDER2, EXTENDER2];
/// Who pings whom, from 0.
const FEX_MEETINGS: [(&str, usize, usize); 3] =
    [("VM 1 and VM 2 meet at the bridge", 0, 1), ("VM 1 reaches VM 4", 0, 3), ("VM 4 reaches VM 3", 3, 2)];
const EXTEND_MEETINGS: [(&str, usize, usize); 3] = [
    ("VM 1 and VM 2 meet at the bridge", 0, 1),
    ("VM 1 reaches VM 3", 0, 2),
    ("VM 3 and VM 4 meet at the bridge", 2, 3),
];
/// An interface towards a port extender.
const CASCADE: &str = "cascade0";
/// The channel of the second port extender itself.
const TRANSIT: u32 = 200;
/// That of several members.
const FLOOD: u32 = 0x10_0001;
/// The VMs' own, an E-TAG and a C-tag.
const MTU: u32 = 1512;
const EVERYBODY: &str = "10.77.0.255";
/// That every host listens to.
const GROUP: &str = "224.0.0.1";
const SHOUT_PORT: u16 = 5201;
const SHOUTS: u16 = 50;
const PATIENCE: Duration = Duration::from_secs(30);
/// What an operator notices.
const SOON: Duration = Duration::from_secs(2);
