//! Where profiles of VSI types come from outside the configuration: files, read again when they change, and VSI
//! managers, asked over HTTP now and then.

mod manager;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{sync::mpsc, time};
use vdp::ManagerId;

use self::manager::Asked;
use crate::{
    config::{Config, ConfigError, ManagerConfig, VsiDbConfig},
    event::Event,
    input::Input,
    vsidb::Source,
};

/// What the sources tell the daemon.
#[derive(Debug)]
pub(super) enum News {
    /// Something the core must know.
    Input(Input),
    /// A file may have changed: [`Profiles::reread`] says how.
    Files,
}

/// What reading came to.
#[derive(Debug)]
pub(super) enum Read {
    /// Something the core must know.
    Input(Input),
    /// Something only people must know.
    Event(Event),
}

/// The sources, as configured now.
pub(super) struct Profiles {
    news: mpsc::Sender<News>,
    config: VsiDbConfig,
    /// What each file said last, or why it could not be read.
    files: BTreeMap<PathBuf, Result<String, String>>,
    watcher: Option<RecommendedWatcher>,
    managers: BTreeMap<ManagerId, (ManagerConfig, Asked)>,
    /// Where good copies of what managers say are kept.
    cache: Option<PathBuf>,
}

impl Profiles {
    /// No sources yet. What happens to them later goes to `news`; copies are kept in the directory `cache`.
    pub(super) fn new(news: mpsc::Sender<News>, cache: Option<PathBuf>) -> Self {
        Self {
            news,
            config: VsiDbConfig::default(),
            files: BTreeMap::new(),
            watcher: None,
            managers: BTreeMap::new(),
            cache,
        }
    }

    /// Takes the sources `config` names in the place of those before.
    pub(super) fn follow(&mut self, config: &VsiDbConfig) -> Vec<Read> {
        self.config = config.clone();
        self.watch();
        let mut read = self.reread();
        self.managers.retain(|_, (old, _)| config.managers.contains(old));
        for manager in &config.managers {
            if self.managers.contains_key(&manager.id) {
                continue;
            }
            let (asked, copy) = Asked::start(manager.clone(), self.cache.as_deref(), self.news.clone());
            self.managers.insert(manager.id, (manager.clone(), asked));
            let source = Source::Manager(manager.id);
            read.extend(copy.map(|profiles| Read::Input(Input::Profiles { source, profiles })));
        }
        read
    }

    /// Asks a manager for news now, or as soon as it may be asked again.
    pub(super) fn ask(&self, manager: ManagerId) {
        if let Some((_, asked)) = self.managers.get(&manager) {
            asked.hurry();
        }
    }

    /// Reads all files; what is another than before.
    pub(super) fn reread(&mut self) -> Vec<Read> {
        let mut read = Vec::new();
        let mut now = BTreeMap::new();
        for place in &self.config.files {
            match listed(place) {
                Ok(paths) => now.extend(paths.into_iter().map(|path| {
                    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
                    (path, text)
                })),
                Err(error) => drop(now.insert(place.clone(), Err(error.to_string()))),
            }
        }
        for (path, text) in &now {
            if self.files.get(path) == Some(text) {
                continue;
            }
            let file = path.display().to_string();
            let parsed = match text {
                Ok(text) => Config::parse_profiles(&file, text).map_err(|error| error.to_string()),
                Err(error) => Err(format!("{file}: {error}")),
            };
            read.push(match parsed {
                Ok(profiles) => Read::Input(Input::Profiles { source: Source::File(file), profiles }),
                Err(error) => Read::Event(Event::ProfilesRefused { file, error }),
            });
        }
        let gone = self.files.keys().filter(|path| !now.contains_key(*path));
        read.extend(gone.map(|path| {
            let source = Source::File(path.display().to_string());
            Read::Input(Input::Profiles { source, profiles: vec![] })
        }));
        self.files = now;
        read
    }

    /// Watches the directories the files are in: editors replace files.
    fn watch(&mut self) {
        self.watcher = None;
        let places: BTreeSet<&Path> = self
            .config
            .files
            .iter()
            .filter_map(|path| if path.is_dir() { Some(path.as_path()) } else { path.parent() })
            .collect();
        if places.is_empty() {
            return;
        }
        let (stirred, stirs) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // One that waits is enough.
                let _ = stirred.try_send(());
            }
        });
        let mut watcher = match watcher {
            Ok(watcher) => watcher,
            Err(error) => return tracing::warn!(%error, "changes of profile files are seen at reload only"),
        };
        for place in places {
            if let Err(error) = watcher.watch(place, RecursiveMode::NonRecursive) {
                tracing::warn!(%error, directory = %place.display(), "changes here are seen at reload only");
            }
        }
        self.watcher = Some(watcher);
        tokio::spawn(tell(stirs, self.news.clone()));
    }
}

/// Says once that files have changed when they have stopped to.
async fn tell(mut stirs: mpsc::Receiver<()>, news: mpsc::Sender<News>) {
    while stirs.recv().await.is_some() {
        while time::timeout(QUIET, stirs.recv()).await.is_ok_and(|more| more.is_some()) {}
        if news.send(News::Files).await.is_err() {
            return;
        }
    }
}

/// The file, or the files of profiles in the directory.
fn listed(place: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !place.is_dir() {
        return Ok(vec![place.to_owned()]);
    }
    let paths = std::fs::read_dir(place)?.flatten().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|e| e == "toml") && path.is_file()).collect())
}

/// Reads all files of profiles `config` names, for those who check a configuration.
///
/// # Errors
/// The first fault in them.
pub(crate) fn check(config: &VsiDbConfig) -> Result<(), ConfigError> {
    for place in &config.files {
        for path in listed(place).map_err(|error| ConfigError::unreadable(place, &error))? {
            Config::parse_profiles(&path.display().to_string(), &crate::config::read(&path)?)?;
        }
    }
    Ok(())
}

/// How long files must be left alone before they are read.
const QUIET: Duration = Duration::from_millis(50);
