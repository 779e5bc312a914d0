//! Frames of watched VSIs, written to pcap files.
//!
//! Each capture has a thread of its own that writes; a worker only hands it octets, and drops them, counted, where the
//! thread is behind. A full file is kept under its name with `.1` behind it, in the place of an older one, and a new one
//! begun: so a capture takes at most twice its size.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ether::Tag;
use hairpin::policy::CaptureId;
use serde::Serialize;

use crate::frame::{ADDRESSES, RxFrame};

/// Where a capture goes and how much it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureOptions {
    /// The file. One that is there is kept as if it were full.
    pub file: PathBuf,
    /// Octets after which another file is begun.
    pub max_octets: u64,
    /// Octets of a frame that are kept.
    pub snap: u32,
}

/// What has become of the frames of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CaptureStats {
    /// Frames written.
    pub frames: u64,
    /// Octets of them, as kept.
    pub octets: u64,
    /// Frames dropped because the writer was behind.
    pub behind: u64,
    /// Frames dropped because the file could not be written.
    pub failed: u64,
    /// Why it could not, the last time.
    pub error: Option<String>,
}

/// The captures of a worker.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    rows: Arc<[(CaptureId, Capture)]>,
}

impl Captures {
    /// Starts a writer for each.
    ///
    /// # Errors
    /// A file cannot be made, or a thread.
    pub fn start(wanted: impl IntoIterator<Item = (CaptureId, CaptureOptions)>) -> io::Result<Self> {
        let rows = wanted.into_iter().map(|(id, options)| Ok((id, Capture::start(options)?)));
        Ok(Self { rows: rows.collect::<io::Result<_>>()? })
    }

    /// What has become of each one's frames.
    #[must_use]
    pub fn stats(&self) -> Vec<(CaptureId, CaptureStats)> {
        self.rows.iter().map(|(id, capture)| (*id, capture.shared.stats())).collect()
    }

    /// Hands `frame`, with `tag` put on, to capture `id`; false if there is none.
    pub(crate) fn keep(&self, id: CaptureId, frame: &RxFrame<'_>, tag: Tag) -> bool {
        let Some((_, capture)) = self.rows.iter().find(|(known, _)| *known == id) else { return false };
        capture.keep(frame, tag);
        true
    }
}

/// One capture, seen by workers. The writer ends with the last of them.
#[derive(Debug)]
struct Capture {
    records: SyncSender<Record>,
    shared: Arc<Shared>,
    snap: usize,
}

/// A frame on its way to the writer.
struct Record {
    at: Duration,
    octets: Vec<u8>,
    /// Octets the frame had.
    whole: usize,
}

#[derive(Debug, Default)]
struct Shared {
    frames: AtomicU64,
    octets: AtomicU64,
    behind: AtomicU64,
    failed: AtomicU64,
    error: Mutex<Option<String>>,
}

impl Shared {
    fn stats(&self) -> CaptureStats {
        CaptureStats {
            frames: self.frames.load(Relaxed),
            octets: self.octets.load(Relaxed),
            behind: self.behind.load(Relaxed),
            failed: self.failed.load(Relaxed),
            error: self.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Capture {
    fn start(options: CaptureOptions) -> io::Result<Self> {
        let (records, inbox) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let snap = usize::try_from(options.snap).unwrap_or(usize::MAX);
        let mut writer = Writer { out: None, written: 0, options, shared: Arc::clone(&shared) };
        writer.begin()?;
        thread::Builder::new().name("capture".into()).spawn(move || writer.run(&inbox))?;
        Ok(Self { records, shared, snap })
    }

    fn keep(&self, frame: &RxFrame<'_>, tag: Tag) {
        let tag = tag.to_bytes();
        let whole = ADDRESSES + tag.len() + frame.rest.len();
        let mut octets = Vec::with_capacity(whole.min(self.snap));
        for part in [&frame.addresses[..], &tag, frame.rest] {
            let room = self.snap.saturating_sub(octets.len());
            octets.extend_from_slice(part.get(..room).unwrap_or(part));
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // A writer that has ended counts like one that is behind: its stats say why.
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.records.try_send(Record { at, octets, whole })
        {
            self.shared.behind.fetch_add(1, Relaxed);
        }
    }
}

/// What the thread owns.
struct Writer {
    /// None after a failure.
    out: Option<BufWriter<File>>,
    /// Octets in the file.
    written: u64,
    options: CaptureOptions,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Record>) {
        loop {
            match inbox.recv_timeout(LINGER) {
                Ok(record) => self.write(&record),
                Err(RecvTimeoutError::Timeout) => self.settle(Ok(()), 0),
                Err(RecvTimeoutError::Disconnected) => return self.settle(Ok(()), 0),
            }
        }
    }

    /// Writes one frame, into another file if this one is full or has failed.
    fn write(&mut self, record: &Record) {
        let len = u64::try_from(RECORD_HEADER + record.octets.len()).unwrap_or(u64::MAX);
        let full = self.written + len > self.options.max_octets && self.written > FILE_HEADER;
        let done = if full || self.out.is_none() { self.begin() } else { Ok(()) }.and_then(|()| {
            let Some(out) = &mut self.out else { return Ok(()) };
            out.write_all(&header(record))?;
            out.write_all(&record.octets)
        });
        if done.is_ok() {
            self.written += len;
            self.shared.frames.fetch_add(1, Relaxed);
            self.shared.octets.fetch_add(u64::try_from(record.octets.len()).unwrap_or(u64::MAX), Relaxed);
        }
        self.settle(done, 1);
    }

    /// Brings what was written to the file once nothing more comes; takes note of what fails, and of the frames it cost.
    fn settle(&mut self, done: io::Result<()>, frames: u64) {
        let flushed = match &mut self.out {
            Some(out) if frames == 0 => out.flush(),
            _ => Ok(()),
        };
        if let Err(error) = done.and(flushed) {
            self.out = None;
            self.shared.failed.fetch_add(frames, Relaxed);
            *self.shared.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        }
    }

    /// Puts the file there is aside and starts an empty one.
    fn begin(&mut self) -> io::Result<()> {
        if let Some(mut out) = self.out.take() {
            out.flush()?;
        }
        let file = &self.options.file;
        match fs::rename(file, aside(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut out = BufWriter::new(File::create(file)?);
        // Magic of microseconds, version 2.4, zone and accuracy 0, longest record, Ethernet.
        out.write_all(&0xa1b2_c3d4_u32.to_ne_bytes())?;
        out.write_all(&2u16.to_ne_bytes())?;
        out.write_all(&4u16.to_ne_bytes())?;
        out.write_all(&[0; 8])?;
        out.write_all(&self.options.snap.to_ne_bytes())?;
        out.write_all(&1u32.to_ne_bytes())?;
        out.flush()?;
        (self.out, self.written) = (Some(out), FILE_HEADER);
        Ok(())
    }
}

/// The header of a record: seconds and microseconds, octets kept, octets there were.
fn header(record: &Record) -> [u8; RECORD_HEADER] {
    let word = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).to_ne_bytes();
    let len = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_ne_bytes();
    let fields = [
        word(record.at.as_secs()),
        record.at.subsec_micros().to_ne_bytes(),
        len(record.octets.len()),
        len(record.whole),
    ];
    let mut header = [0; RECORD_HEADER];
    for (to, octet) in header.iter_mut().zip(fields.into_iter().flatten()) {
        *to = octet;
    }
    header
}

fn aside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".1");
    PathBuf::from(name)
}

const FILE_HEADER: u64 = 24;
const RECORD_HEADER: usize = 16;
/// Frames that may wait for a writer.
const QUEUE: usize = 4096;
/// How long written frames may wait for further ones before they are in the file.
const LINGER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::Head, vnet::VnetHdr};

    const FRAME: [u8; 18] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 1, 2, 3];

    fn keep(capture: &Capture) {
        let head = Head::read(&FRAME, VnetHdr::default(), None, None).unwrap();
        let tag = Tag::c(ether::Vid::new(7).unwrap());
        capture.keep(&RxFrame::new(0, &head, &FRAME).unwrap(), tag);
    }

    fn until(done: impl Fn() -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(std::time::Instant::now() < deadline);
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn place(name: &str) -> PathBuf {
        let place = std::env::temp_dir().join(format!("evbd-capture-{}-{name}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        place
    }

    #[test]
    fn a_frame_is_kept_with_its_tag_and_cut_at_the_snap_length() {
        let place = place("snap");
        let file = place.join("a.pcap");
        let options = CaptureOptions { file: file.clone(), max_octets: 1 << 20, snap: 20 };
        let capture = Capture::start(options).unwrap();
        keep(&capture);
        until(|| fs::metadata(&file).unwrap().len() == 24 + 16 + 20);
        let octets = fs::read(&file).unwrap();
        assert_eq!(octets[..4], 0xa1b2_c3d4_u32.to_ne_bytes());
        assert_eq!(octets[32..36], 20u32.to_ne_bytes());
        assert_eq!(octets[36..40], 22u32.to_ne_bytes());
        assert_eq!(octets[40..], [&FRAME[..12], &[0x81, 0, 0, 7], &FRAME[12..16]].concat());
        assert_eq!(capture.shared.stats(), CaptureStats { frames: 1, octets: 20, ..CaptureStats::default() });
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn a_capture_takes_at_most_twice_its_size() {
        let place = place("size");
        let file = place.join("a.pcap");
        let options = CaptureOptions { file: file.clone(), max_octets: 1000, snap: 100 };
        let capture = Capture::start(options).unwrap();
        for n in 1..=100 {
            keep(&capture);
            until(|| capture.shared.stats().frames == n);
        }
        drop(capture);
        let sizes = [&file, &aside(&file)].map(|file| fs::metadata(file).unwrap().len());
        assert!(sizes.iter().all(|size| *size <= 1000), "{sizes:?}");
        // 25 records of 38 octets fit behind the header of the first.
        until(|| fs::metadata(aside(&file)).unwrap().len() == 24 + 25 * 38);
        fs::remove_dir_all(place).unwrap();
    }

    #[test]
    fn what_the_writer_cannot_take_is_counted() {
        let (records, inbox) = sync_channel(1);
        let capture = Capture { records, shared: Arc::default(), snap: 100 };
        keep(&capture);
        keep(&capture);
        assert_eq!(capture.shared.stats().behind, 1);
        drop(inbox);
        keep(&capture);
        assert_eq!(capture.shared.stats().behind, 2);
        let options = CaptureOptions { file: "/nowhere/a.pcap".into(), max_octets: 1000, snap: 100 };
        assert!(Capture::start(options.clone()).is_err());
        let mut writer = Writer { out: None, written: 0, options, shared: Arc::clone(&capture.shared) };
        writer.write(&Record { at: Duration::ZERO, octets: vec![0; 14], whole: 14 });
        let stats = capture.shared.stats();
        assert_eq!((stats.failed, stats.frames), (1, 0));
        assert!(stats.error.unwrap().contains("No such file"));
    }
}
