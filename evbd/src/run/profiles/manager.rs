//! Asking a VSI manager which types there are: `GET` of one address, answered with `{"profiles": […]}`, each as in a
//! file of profiles. What it said last is kept on disk, for a restart while it is out of reach.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, mpsc},
    task::{AbortHandle, spawn_blocking},
    time::{self, Instant},
};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use vdp::ManagerId;

use super::News;
use crate::{
    config::ManagerConfig,
    input::Input,
    vsidb::{Answer, Profile},
};

/// A manager being asked. Dropping it ends the asking.
pub(super) struct Asked {
    hurry: Arc<Notify>,
    task: AbortHandle,
}

/// A copy on disk.
#[derive(Serialize, Deserialize)]
struct Copy {
    url: String,
    etag: Option<String>,
    answer: Answer,
}

impl Asked {
    /// Starts to ask; also what the manager said before, if a copy of that is in the directory `cache`.
    pub(super) fn start(
        config: ManagerConfig,
        cache: Option<&Path>,
        news: mpsc::Sender<News>,
    ) -> (Self, Option<Vec<Profile>>) {
        let file = cache.map(|directory| directory.join(format!("manager-{}.json", name(config.id))));
        let copy = file.as_deref().and_then(|file| stored(file, &config));
        let hurry = Arc::new(Notify::new());
        let etag = copy.as_ref().and_then(|copy| copy.etag.clone());
        let task = tokio::spawn(ask(config, etag, file, Arc::clone(&hurry), news)).abort_handle();
        (Self { hurry, task }, copy.map(|copy| copy.answer.profiles))
    }

    /// Has it asked before its time.
    pub(super) fn hurry(&self) {
        self.hurry.notify_one();
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(
    config: ManagerConfig,
    mut etag: Option<String>,
    file: Option<PathBuf>,
    hurry: Arc<Notify>,
    news: mpsc::Sender<News>,
) {
    loop {
        let asked = Instant::now();
        let (request, tag, file) = (config.clone(), etag.clone(), file.clone());
        let heard = spawn_blocking(move || hear(&request, tag.as_deref(), file.as_deref())).await;
        let heard = match heard.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(None) => Ok(None),
            Ok(Some(copy)) => {
                etag = copy.etag;
                Ok(Some(copy.answer.profiles))
            }
            Err(error) => Err(error),
        };
        if news.send(News::Input(Input::Manager { manager: config.id, heard })).await.is_err() {
            return;
        }
        let _ = time::timeout(config.poll, hurry.notified()).await;
        time::sleep_until(asked + LEAST).await;
    }
}

/// What the manager says, kept in `file`; nothing if its tag is still `etag`.
fn hear(config: &ManagerConfig, etag: Option<&str>, file: Option<&Path>) -> Result<Option<Copy>, String> {
    let Some((answer, tag)) = fetch(config, etag)? else { return Ok(None) };
    let copy = Copy { url: config.url.clone(), etag: tag, answer };
    if let Some(error) = file.and_then(|file| keep(file, &copy).err()) {
        tracing::warn!(%error, manager = %config.id, "no copy kept of what the manager says");
    }
    Ok(Some(copy))
}

/// What the manager says and the tag of that; nothing if the tag is still `etag`.
fn fetch(config: &ManagerConfig, etag: Option<&str>) -> Result<Option<(Answer, Option<String>)>, String> {
    let url = &config.url;
    let mut tls = TlsConfig::builder();
    if let Some(path) = &config.ca {
        tls = tls.root_certs(certificates(path)?);
    }
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(config.timeout))
        .http_status_as_error(false)
        // Who asks in private is not led elsewhere.
        .https_only(url.starts_with("https://"))
        .tls_config(tls.build())
        .build()
        .new_agent();
    let mut request = agent.get(url).header("Accept", "application/json");
    if let Some(etag) = etag {
        request = request.header("If-None-Match", etag);
    }
    let mut response = request.call().map_err(|error| format!("{url}: {error}"))?;
    match response.status().as_u16() {
        200 => {}
        304 if etag.is_some() => return Ok(None),
        other => return Err(format!("{url}: the answer has status {other}, not 200")),
    }
    let tag = response.headers().get("ETag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let body = response.body_mut().with_config().limit(LONGEST).read_to_vec();
    let body = body.map_err(|error| format!("{url}: {error} (at most {} MiB are read)", LONGEST >> 20))?;
    let answer = Answer::read(config.id, &body).map_err(|error| format!("{url}: {error}"))?;
    Ok(Some((answer, tag)))
}

fn certificates(path: &Path) -> Result<RootCerts, String> {
    let pem = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut found = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
    match found.is_empty() {
        true => Err(format!("{}: no certificate in it", path.display())),
        false => Ok(RootCerts::Specific(Arc::new(found))),
    }
}

fn stored(file: &Path, config: &ManagerConfig) -> Option<Copy> {
    let text = fs::read(file).ok()?;
    let copy = serde_json::from_slice::<Copy>(&text).map_err(|error| error.to_string()).and_then(|copy| {
        let body = serde_json::to_vec(&copy.answer).map_err(|error| error.to_string())?;
        Answer::read(config.id, &body)?;
        Ok(copy)
    });
    match copy {
        // Another address may have other types under the same tag.
        Ok(copy) => Some(copy).filter(|copy| copy.url == config.url),
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "the copy of what the manager said is damaged: not used");
            None
        }
    }
}

/// Puts a copy in the place of the one before, whole or not at all.
fn keep(file: &Path, copy: &Copy) -> std::io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let next = file.with_extension("new");
    fs::write(&next, serde_json::to_vec(copy)?)?;
    fs::File::open(&next)?.sync_all()?;
    fs::rename(next, file)
}

/// The manager's identifier in the name of a file.
fn name(id: ManagerId) -> String {
    id.0.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Between two questions, however much there is to ask.
const LEAST: Duration = Duration::from_secs(1);
/// Octets of an answer.
const LONGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests;
