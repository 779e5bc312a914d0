//! Recording a run: everything the core is told and everything it wants, one JSON object a line.
//!
//! ```text
//!   {"recording":1,"evbd":"0.1.0","seed":7,"start_us":12,"unix_ms":…,"name":"host1","config":"role = …"}
//!   {"at_us":15,"input":"link","port":0,"link":…}
//!   {"at_us":15,"effect":"transmit","port":0,"frame":"0180c2…"}
//! ```
//!
//! The first line is a [`Header`]; with it and the inputs, [`crate::replay`] makes the same run again. A thread of its own
//! writes: the daemon never waits for a disk. When that thread falls behind or the disk fails, the recording ends, the
//! log says so, and the daemon goes on.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant as WallInstant},
};

use anyhow::Context;
use ether::Instant;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{core::Core, decode::digits, effect::Effect, input::Input, view};

/// The first line of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format; [`FORMAT`].
    pub recording: u32,
    /// Version of the daemon that recorded.
    pub evbd: String,
    /// What the core's random choices were made from.
    pub seed: u64,
    /// Engine time at which the core was made, in microseconds.
    pub start_us: u64,
    /// The same in milliseconds since 1970.
    pub unix_ms: u64,
    /// The system name, which may have been the host's.
    pub name: String,
    /// The configuration file as it was.
    pub config: String,
}

/// The version of the format that is written and read.
pub const FORMAT: u32 = 1;

/// A core whose inputs and effects are recorded, if anybody wants that.
pub(crate) struct RecordedCore {
    core: Core,
    recorder: Option<Recorder>,
    now: Instant,
}

impl RecordedCore {
    pub(crate) const fn new(core: Core, recorder: Option<Recorder>, now: Instant) -> Self {
        Self { core, recorder, now }
    }

    /// As [`Core::handle`].
    pub(crate) fn handle(&mut self, now: Instant, input: Input) {
        self.now = now;
        if self.recorder.is_some() {
            self.record(view::row(&input));
        }
        self.core.handle(now, input);
    }

    /// As [`Core::poll_effect`].
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        let effect = self.core.poll_effect()?;
        if self.recorder.is_some() {
            self.record(effect_row(&effect));
        }
        Some(effect)
    }

    fn record(&mut self, mut row: Value) {
        if let Some(fields) = row.as_object_mut() {
            fields.insert("at_us".to_owned(), json!(self.now.as_micros()));
        }
        if let Some(recorder) = &self.recorder
            && !recorder.line(&row)
        {
            self.recorder = None;
        }
    }
}

impl Deref for RecordedCore {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl DerefMut for RecordedCore {
    fn deref_mut(&mut self) -> &mut Core {
        &mut self.core
    }
}

/// A recording being written. Dropped, it is complete on disk.
pub(crate) struct Recorder {
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Recorder {
    /// Starts a recording in the file `path`, in the place of what it held.
    pub(crate) fn create(path: &Path, header: &Header) -> anyhow::Result<Self> {
        let failed = || format!("cannot record to {}", path.display());
        let file = File::create(path).with_context(failed)?;
        let mut out = BufWriter::with_capacity(BUFFER, file);
        writeln!(out, "{}", serde_json::to_string(header)?)
            .and_then(|()| out.flush())
            .with_context(failed)?;
        let (lines, queue) = sync_channel(QUEUE);
        let name = path.to_owned();
        let writer = std::thread::Builder::new().name("record".to_owned()).spawn(move || {
            if let Err(error) = write(&queue, out) {
                tracing::error!(file = %name.display(), %error, "the recording ends here");
            }
        })?;
        Ok(Self { lines: Some(lines), writer: Some(writer), path: path.to_owned() })
    }

    /// Adds a line; false if the recording has ended.
    fn line(&self, row: &Value) -> bool {
        let Some(lines) = &self.lines else { return false };
        match lines.try_send(row.to_string()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                tracing::error!(file = %self.path.display(), "the recording ends here: the disk is too slow");
                false
            }
            // The writer has said why.
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.lines.take());
        if let Some(writer) = self.writer.take() {
            // It does not panic; and if it did, the recording were incomplete and nothing else.
            let _ = writer.join();
        }
    }
}

/// Writes what comes until nobody sends any more; what is written is on disk a second later at the latest.
fn write(queue: &Receiver<String>, mut out: impl Write) -> io::Result<()> {
    let mut flushed = WallInstant::now();
    loop {
        match queue.recv_timeout(FLUSH.saturating_sub(flushed.elapsed())) {
            Ok(line) => writeln!(out, "{line}")?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return out.flush(),
        }
        if flushed.elapsed() >= FLUSH {
            out.flush()?;
            flushed = WallInstant::now();
        }
    }
}

/// An effect as a recording tells it.
pub(crate) fn effect_row(effect: &Effect) -> Value {
    match effect {
        Effect::Transmit { port, frame } => {
            json!({ "effect": "transmit", "port": port, "frame": digits(frame) })
        }
        Effect::SwitchReflective { port, on } => {
            json!({ "effect": "switch_reflective", "port": port, "on": on })
        }
        Effect::SwitchRelay { port, mode } => json!({ "effect": "switch_relay", "port": port, "mode": mode }),
        Effect::OpenVsi { key, entry } => json!({ "effect": "open_vsi", "key": key, "entry": entry }),
        Effect::CloseVsi { key } => json!({ "effect": "close_vsi", "key": key }),
        Effect::ApplyDcb { port, settings, target } => {
            json!({ "effect": "apply_dcb", "port": port, "settings": settings, "target": target })
        }
        Effect::FollowChannels(port) => json!({ "effect": "follow_channels", "port": port }),
        Effect::FollowEnd(port) => json!({ "effect": "follow_end", "port": port }),
        Effect::FollowExtended(port) => json!({ "effect": "follow_extended", "port": port }),
        Effect::Flood { cascade, vlan, channel } => {
            json!({ "effect": "flood", "cascade": cascade, "vlan": vlan, "channel": channel })
        }
        Effect::Extend { port, parameters, untagged } => {
            json!({ "effect": "extend", "port": port, "parameters": parameters, "untagged": untagged })
        }
        Effect::Channel { ecid, members } => {
            json!({ "effect": "channel", "ecid": ecid, "members": members })
        }
        Effect::Upstream(port) => json!({ "effect": "upstream", "port": port }),
        Effect::Count { question, ports } => {
            json!({ "effect": "count", "question": question, "ports": ports })
        }
        Effect::FollowPorts => json!({ "effect": "follow_ports" }),
        Effect::FollowPort(port) => json!({ "effect": "follow_port", "port": port }),
        Effect::SetInterface { interface, identity, up } => {
            json!({ "effect": "set_interface", "interface": interface, "identity": identity, "up": up })
        }
        Effect::Remember(record) => json!({ "effect": "remember", "record": record }),
        Effect::Forget(key) => json!({ "effect": "forget", "key": key }),
        Effect::FollowProfiles => json!({ "effect": "follow_profiles" }),
        Effect::AskManager(manager) => json!({ "effect": "ask_manager", "manager": manager }),
        Effect::Event(event) => {
            let mut row = view::row(event);
            if let Some(fields) = row.as_object_mut() {
                fields.insert("effect".to_owned(), json!("event"));
            }
            row
        }
    }
}

/// Lines waiting to be written; more, and the recording ends.
const QUEUE: usize = 16 * 1024;
const BUFFER: usize = 64 << 10;
const FLUSH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes so much and no more.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(octets.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_ends_the_recording_and_nothing_else() {
        let (lines, queue) = sync_channel(2);
        lines.send("twelve chars".to_owned()).unwrap();
        lines.send("twelve chars".to_owned()).unwrap();
        let error = write(&queue, Full(20)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        drop(queue);
        let recorder = Recorder { lines: Some(lines), writer: None, path: PathBuf::from("x") };
        assert!(!recorder.line(&json!({})));
    }

    #[test]
    fn a_slow_disk_ends_the_recording() {
        let (lines, _queue) = sync_channel(1);
        let recorder = Recorder { lines: Some(lines), writer: None, path: PathBuf::from("x") };
        assert!(recorder.line(&json!({})) && !recorder.line(&json!({})));
    }
}
