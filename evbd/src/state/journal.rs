//! The journal: one redb file in the state directory.
//!
//! What changes is collected and committed before the next control frame leaves, all of it at once; a commit is on disk
//! (fsync) when it returns. So whatever was promised on the wire survives a kill and a power loss. A file that cannot
//! be believed is set aside; a disk that takes nothing costs the memory, never the service.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::SystemTime,
};

use redb::{AccessGuard, Database, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::{Record, RecordKey};
use crate::event::Event;

/// Where records are kept, and those that wait for the next commit.
pub(crate) struct Journal {
    place: Option<Place>,
    /// The file is open; else it is to be made anew.
    database: Option<Database>,
    /// By key; none: to be forgotten.
    waiting: BTreeMap<String, Option<Vec<u8>>>,
}

/// The state directory while it is ours.
struct Place {
    file: PathBuf,
    role: &'static str,
    /// Held as long as it is open.
    _lock: File,
}

/// What was found at the start.
#[derive(Default)]
pub(crate) struct Found {
    /// What was remembered.
    pub(crate) records: Vec<Record>,
    /// What is to be told about it.
    pub(crate) events: Vec<Event>,
}

/// Why a file is not taken.
enum Refusal {
    /// It cannot be believed.
    Damaged(String),
    /// It, or the disk, cannot be used.
    Unusable(String),
}

impl Journal {
    /// Opens the journal of a `role` in `directory`, and makes it where there is none; no directory, no journal.
    ///
    /// # Errors
    /// Only when another daemon has it open. Whatever else is wrong is told in [`Found::events`].
    pub(crate) fn open(directory: Option<&Path>, role: &'static str) -> anyhow::Result<(Self, Found)> {
        let mut journal = Self { place: None, database: None, waiting: BTreeMap::new() };
        let mut found = Found::default();
        let Some(directory) = directory else { return Ok((journal, found)) };
        let lock = match lock(directory) {
            Ok(lock) => lock,
            Err(TryLockError::WouldBlock) => anyhow::bail!(
                "another evbd keeps its state in {}; give this one its own `directory` under [state]",
                directory.display()
            ),
            Err(TryLockError::Error(error)) => {
                // Not tried again: without the lock nobody knows whose it is.
                found.events.push(lost(format!("{}: {error}", directory.display())));
                return Ok((journal, found));
            }
        };
        let place = Place { file: directory.join(FILE), role, _lock: lock };
        match guarded(|| read(&place)) {
            Ok(None) => found.events.extend(journal.renew(&place, &[]).err().map(lost)),
            Ok(Some((database, records))) => {
                journal.database = Some(database);
                found.records = records;
            }
            Err(Refusal::Damaged(because)) => {
                let aside = set_aside(&place.file).map(|path| path.display().to_string());
                if let Err(error) = &aside {
                    tracing::error!(%error, file = %place.file.display(), "cannot set the state file aside");
                }
                found.events.push(Event::StateDamaged { because, aside: aside.ok() });
                found.events.extend(journal.renew(&place, &[]).err().map(lost));
            }
            Err(Refusal::Unusable(because)) => found.events.push(lost(because)),
        }
        journal.place = Some(place);
        Ok((journal, found))
    }

    /// Keeps `record` from the next commit on.
    pub(crate) fn remember(&mut self, record: &Record) {
        // Our types always serialize.
        if let (true, Ok(value)) = (self.database.is_some(), serde_json::to_vec(record)) {
            self.waiting.insert(record.key().to_string(), Some(value));
        }
    }

    /// Keeps nothing under `key` from the next commit on.
    pub(crate) fn forget(&mut self, key: &RecordKey) {
        if self.database.is_some() {
            self.waiting.insert(key.to_string(), None);
        }
    }

    /// Puts on disk what waits. When that fails the file is removed, for it tells of what is past; the event says so.
    pub(crate) fn commit(&mut self) -> Option<Event> {
        if self.waiting.is_empty() {
            return None;
        }
        let waiting = std::mem::take(&mut self.waiting);
        let database = self.database.as_ref()?;
        let because = guarded(|| write(database, &waiting).map_err(refusal)).err()?.words();
        self.database = None;
        let Some(place) = &self.place else { return Some(lost(because)) };
        if let Err(error) = fs::remove_file(&place.file) {
            tracing::error!(%error, file = %place.file.display(), "the state file tells of what is past");
        }
        Some(lost(because))
    }

    /// Makes a journal that failed anew from what is to be remembered now. The event says that it worked.
    pub(crate) fn mend(&mut self, records: impl FnOnce() -> Vec<Record>) -> Option<Event> {
        if self.database.is_some() {
            return None;
        }
        let place = self.place.take()?;
        let done = self.renew(&place, &records());
        self.place = Some(place);
        done.ok().map(|()| Event::StateKept)
    }

    /// A new file in the place of any old one, complete before it is there.
    fn renew(&mut self, place: &Place, records: &[Record]) -> Result<(), String> {
        let new = place.file.with_extension("new");
        let done = guarded(|| {
            if let Err(error) = fs::remove_file(&new)
                && error.kind() != ErrorKind::NotFound
            {
                return Err(refusal(error.into()));
            }
            let database = Database::create(&new).map_err(|error| refusal(error.into()))?;
            create(&database, place.role, records).map_err(refusal)?;
            fs::rename(&new, &place.file).map_err(|error| refusal(error.into()))?;
            Ok(database)
        });
        match done {
            Ok(database) => {
                self.database = Some(database);
                Ok(())
            }
            Err(refusal) => {
                // What there is of it takes room on a disk that may be full.
                let _ = fs::remove_file(&new);
                Err(refusal.words())
            }
        }
    }
}

impl Refusal {
    fn words(self) -> String {
        match self {
            Self::Damaged(words) | Self::Unusable(words) => words,
        }
    }
}

/// Makes the directory and takes its lock.
fn lock(directory: &Path) -> Result<File, TryLockError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(TryLockError::Error)?;
    let lock = File::create(directory.join(LOCK)).map_err(TryLockError::Error)?;
    lock.try_lock()?;
    Ok(lock)
}

/// The records of the file, if there is one.
fn read(place: &Place) -> Result<Option<(Database, Vec<Record>)>, Refusal> {
    let damaged = |what: String| Refusal::Damaged(format!("{}: {what}", place.file.display()));
    let owner = match fs::metadata(&place.file) {
        Ok(metadata) => metadata.uid(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refusal(error.into())),
    };
    if owner != rustix::process::geteuid().as_raw() {
        return Err(damaged(format!("it belongs to user {owner}")));
    }
    let (database, raw) = load(&place.file).map_err(refusal)?;
    if !raw.sound {
        return Err(damaged("its checksums are wrong".to_owned()));
    }
    if raw.schema != SCHEMA {
        return Err(damaged(format!("its schema is `{}`, and this evbd knows {SCHEMA}", raw.schema)));
    }
    if raw.role != place.role {
        return Err(damaged(format!("it is that of a {}, and this is a {}", raw.role, place.role)));
    }
    let record = |(key, value): &(String, Vec<u8>)| {
        serde_json::from_slice(value).map_err(|error| damaged(format!("record {key}: {error}")))
    };
    let records = raw.rows.iter().map(record).collect::<Result<_, _>>()?;
    Ok(Some((database, records)))
}

/// What a file says.
struct Raw {
    /// Its checksums are right, each of them.
    sound: bool,
    schema: String,
    role: String,
    rows: Vec<(String, Vec<u8>)>,
}

fn load(file: &Path) -> Result<(Database, Raw), redb::Error> {
    let mut database = Database::open(file)?;
    let sound = database.check_integrity()?;
    let transaction = database.begin_read()?;
    let about = transaction.open_table(ABOUT)?;
    let said = |key| about.get(key).map(|value| value.map(|v| v.value().to_owned()).unwrap_or_default());
    let (schema, role) = (said("schema")?, said("role")?);
    let row = |row: Result<(AccessGuard<'_, &str>, AccessGuard<'_, &[u8]>), StorageError>| {
        row.map(|(key, value)| (key.value().to_owned(), value.value().to_owned()))
    };
    let rows = transaction.open_table(RECORDS)?.iter()?.map(row).collect::<Result<_, _>>()?;
    drop((about, transaction));
    Ok((database, Raw { sound, schema, role, rows }))
}

fn create(database: &Database, role: &str, records: &[Record]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut about = transaction.open_table(ABOUT)?;
        about.insert("schema", SCHEMA)?;
        about.insert("role", role)?;
        let mut table = transaction.open_table(RECORDS)?;
        for record in records {
            // Our types always serialize.
            let value = serde_json::to_vec(record).unwrap_or_default();
            table.insert(record.key().to_string().as_str(), value.as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn write(database: &Database, changes: &BTreeMap<String, Option<Vec<u8>>>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(RECORDS)?;
        for (key, value) in changes {
            match value {
                Some(value) => drop(table.insert(key.as_str(), value.as_slice())?),
                None => drop(table.remove(key.as_str())?),
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// A file made by nobody sane may make redb panic; that is damage as well.
fn guarded<T>(work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Refusal::Damaged("redb gave up on the state file".to_owned())))
}

/// Whether the disk or the file is at fault.
fn refusal(error: redb::Error) -> Refusal {
    let words = error.to_string();
    match error {
        redb::Error::Io(cause) => match cause.kind() {
            ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::NotFound
            | ErrorKind::NotADirectory => Refusal::Unusable(words),
            _ => Refusal::Damaged(words),
        },
        _ => Refusal::Damaged(words),
    }
}

fn lost(because: String) -> Event {
    Event::StateLost { because }
}

/// Renames a file so that someone may look at it; of those set aside before only the newest stay.
fn set_aside(file: &Path) -> std::io::Result<PathBuf> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let aside = file.with_extension(format!("damaged-{}", since.as_millis()));
    fs::rename(file, &aside)?;
    let mut others: Vec<PathBuf> = fs::read_dir(file.parent().unwrap_or(file))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().contains(".damaged-"))
        .collect();
    others.sort();
    for old in others.iter().rev().skip(ASIDE) {
        fs::remove_file(old)?;
    }
    Ok(aside)
}

const FILE: &str = "state.redb";
const LOCK: &str = "lock";
/// Files set aside that are kept.
const ASIDE: usize = 5;
/// What the file says of itself: `schema` and `role`.
const ABOUT: TableDefinition<'_, &str, &str> = TableDefinition::new("about");
/// Records by their key, as JSON.
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// The version of both.
const SCHEMA: &str = "1";

#[cfg(test)]
mod tests;
