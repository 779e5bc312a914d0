//! Saturation for a long time: nothing leaks, and every frame is accounted for.

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use evb_tests::netns::{inside, resident};
use evbd::api::{Client, Table};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    load::{send, tcp},
    place::{CANDIDATES, Place},
};

/// Saturates every candidate that is evbd's for a share of `time`; fails if a daemon grew or its counters do not add up.
pub(crate) fn run(runtime: &Runtime, time: Duration) -> ExitCode {
    let ours: Vec<_> = CANDIDATES.iter().filter(|candidate| candidate.name.contains("evbd")).collect();
    let share = time / u32::try_from(ours.len().max(1)).unwrap_or(1);
    let mut good = true;
    for candidate in ours {
        eprintln!("{}: {} s", candidate.name, share.as_secs());
        let place = runtime.block_on(candidate.build(100));
        let warm = share / 10;
        saturate(&place, warm);
        let before = memory(&place);
        saturate(&place, share - warm);
        let after = memory(&place);
        for (pid, (was, is)) in place.daemons.iter().map(|d| d.0).zip(before.iter().zip(&after)) {
            let grew = *is > was + was / 20 + 1024;
            println!(
                "{}: process {pid}: {was} kB resident, then {is} kB{}",
                place.name,
                if grew { ": GREW" } else { "" }
            );
            good &= !grew;
        }
        for (_, client) in &place.daemons {
            for line in runtime.block_on(unaccounted(client)) {
                println!("{}: {line}", place.name);
                good = false;
            }
        }
    }
    println!("{}", if good { "memory is flat, and every frame is accounted for" } else { "NOT GOOD" });
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Small frames in many flows one way, streams both frames' ways.
fn saturate(place: &Place, time: Duration) {
    let end = Instant::now() + time;
    thread::scope(|scope| {
        scope.spawn(|| inside(&place.one, || send(1000, end, None)));
        scope.spawn(|| tcp(place, 4, time));
    });
}

/// Resident memory of each daemon in kB.
fn memory(place: &Place) -> Vec<u64> {
    place.daemons.iter().map(|(pid, _)| resident(*pid) / 1024).collect()
}

/// What does not add up, a line each, once nothing moves.
async fn unaccounted(client: &Client) -> Vec<String> {
    let mut rows = client.show(Table::Ports).await.expect("the daemon lives");
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let again = client.show(Table::Ports).await.expect("the daemon lives");
        let frames = |rows: &[Value]| rows.iter().map(|row| number(row, "rx_frames")).sum::<u64>();
        if frames(&again) <= frames(&rows) + 20 {
            break;
        }
        rows = again;
    }
    let account = |row: &Value| {
        let drops = row.get("drops").and_then(Value::as_object);
        let dropped: u64 = drops.into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
        let (rx, fates) =
            (number(row, "rx_frames"), number(row, "forwarded") + number(row, "punted") + dropped);
        let port = row.get("port").and_then(Value::as_str).unwrap_or("?");
        (rx != fates).then(|| format!("{port}: {rx} frames came in, {fates} are accounted for: {row}"))
    };
    rows.iter().filter_map(account).collect()
}

fn number(row: &Value, field: &str) -> u64 {
    row.get(field).and_then(Value::as_u64).unwrap_or_default()
}
