//! What is seen on the wire of a cascade, and heard by VMs: scenarios `extend` and `fex`.

use std::{collections::BTreeMap, fs::File, io::BufReader, path::PathBuf, process::Stdio};

use anyhow::{Context, ensure};
use ether::{ChannelTagError, DownTag, EtherType, Framing, UpTag};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt},
    process::{Child, Command},
    time::{Duration, timeout},
};

use super::{
    net::{Net, Vm},
    probe::CountResult,
    report::{Progress, Report},
};
use crate::decode::Capture;

/// Frames that VM 1 sends to all and to a group reach each VM once: its own by its host, and not twice.
pub(super) async fn everybody_hears(
    net: &Net,
    vms: &[Vm],
    progress: &Progress,
    report: &mut Report,
) -> anyhow::Result<()> {
    for (name, target) in
        [("broadcasts reach each VM once", EVERYBODY), ("multicasts reach each VM once", GROUP)]
    {
        let step = progress.step(name);
        let heard = shouted(net, vms, target).await?;
        let all = heard.iter().all(|count| *count == u64::from(SHOUTS));
        step.held(
            report,
            all,
            format!("VM 1 sent {SHOUTS}, the VMs heard {heard:?}, VM 1 its own by its host"),
        );
    }
    Ok(())
}

/// What was seen at two ends of cables since [`look`]: every frame has its tag, and tshark agrees, where there is one.
pub(super) async fn judge(
    net: &Net,
    framing: Framing,
    taps: Vec<(&'static str, Child)>,
    progress: &Progress,
    report: &mut Report,
) -> anyhow::Result<()> {
    let step = progress.step("every frame on the cascade has its tag");
    let mut seen = BTreeMap::new();
    let mut roles = Vec::new();
    for (role, mut tap) in taps {
        // It ends when nobody writes to it any more.
        drop(tap.stdin.take());
        let ended = tap.wait_with_output().await.context("nobody looked at the wire")?;
        ensure!(ended.status.success(), "who looked at the wire failed");
        for (what, frames) in tags(net, role, framing)? {
            *seen.entry(what).or_default() += frames;
        }
        roles.push(role);
    }
    let group = seen.get("down to several").copied().unwrap_or(0);
    let held = !seen.contains_key("malformed") && !seen.contains_key("no tag") && group >= u64::from(SHOUTS);
    let said: Vec<String> = seen.iter().map(|(what, frames)| format!("{frames} {what}")).collect();
    step.held(report, held, said.join(", "));

    let step = progress.step("tshark finds nothing malformed");
    let mut found = Vec::new();
    for role in roles {
        found.extend(tshark(net, role, framing).await?);
    }
    let malformed: usize = found.iter().map(|(_, malformed)| malformed).sum();
    let tagged: Vec<String> = found.iter().map(|(tagged, _)| tagged.to_string()).collect();
    match found.is_empty() {
        true => step.done(report, "there is no tshark here".to_owned()),
        false => {
            let held = malformed == 0 && found.iter().all(|(tagged, _)| *tagged > 0);
            let detail = format!("{} tags, {malformed} frames malformed", tagged.join(" and "));
            step.held(report, held, detail);
        }
    }
    report.frames = seen.into_iter().map(|(what, frames)| (what.to_owned(), frames)).collect();
    Ok(())
}

/// Has what comes in on an interface be written down.
pub(super) fn look(net: &Net, role: &str, interface: &str) -> anyhow::Result<Child> {
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
            // What a port extender and its bridge say goes to stations' addresses.
            (Err(ChannelTagError::Kind(_)), _) if rest.starts_with(&EtherType::ECP.0.to_be_bytes()) => {
                "own control frames"
            }
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
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(pcap(net, role)).args(["-Y", &format!("{tagged} or _ws.malformed"), "-T", "fields"]);
    tshark.args(["-e", "frame.protocols", "-e", "_ws.malformed"]);
    let Ok(output) = tshark.stdin(Stdio::null()).output().await else { return Ok(None) };
    ensure!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr).trim());
    let said = String::from_utf8_lossy(&output.stdout);
    let rows = || said.lines().filter_map(|line| line.split_once('\t'));
    let seen = rows().filter(|(protocols, _)| protocols.split(':').any(|name| name == tagged)).count();
    Ok(Some((seen, rows().filter(|(_, malformed)| !malformed.is_empty()).count())))
}

fn pcap(net: &Net, role: &str) -> PathBuf {
    net.file(&format!("{role}.pcap"))
}

const EVERYBODY: &str = "10.77.0.255";
/// That every host listens to.
const GROUP: &str = "224.0.0.1";
const SHOUT_PORT: u16 = 5201;
const SHOUTS: u16 = 50;
const PATIENCE: Duration = Duration::from_secs(30);
