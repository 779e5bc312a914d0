//! `[extension]`: port extension with sessions, on a controlling bridge and on a port extender.

use std::{path::PathBuf, time::Duration};

use pe::CodeBook;
use serde::Deserialize;
use toml::Spanned;
use vdp::timing::{Exponent, Retries};

use super::{
    ConfigError, Fault,
    check::{fault, in_range},
    schema,
};

/// How port extension works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionConfig {
    /// How much a controlling bridge wants its cascade ports to be upstream links, 1..=255; the lower wins. A tier further
    /// down it says one more.
    pub priority: u8,
    /// How long a port extender's ports go on without a session; zero: not at all.
    pub hold: Duration,
    /// Port extenders one behind the other, at most.
    pub tiers: u8,
    /// How often a bridge asks port extenders for the counters of their ports; zero: never.
    pub statistics: Duration,
    /// Parameters of ECP.
    pub ecp: ecp::Params,
    /// The file with the numbers of the protocol; none: they are those of P0.
    pub codebook: Option<PathBuf>,
}

/// `[extension]` as written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExtensionKeys {
    priority: Option<Spanned<u8>>,
    upstream_loss: Option<Spanned<UpstreamLoss>>,
    tiers: Option<Spanned<u8>>,
    statistics: Option<Spanned<u16>>,
    retries: Option<Retries>,
    ack_timer_exponent: Option<Exponent>,
    codebook: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum UpstreamLoss {
    Down,
    Hold(Spanned<u32>),
}

/// What `[extension]` says, where `role` has it.
pub(super) fn extension(
    keys: Option<Spanned<ExtensionKeys>>,
    role: schema::Role,
) -> Result<ExtensionConfig, Fault> {
    if let (Some(keys), schema::Role::Station) = (&keys, role) {
        return fault(
            keys.span(),
            "a station has no part in port extension",
            "role = \"bridge\" or \"extender\"",
        );
    }
    let keys = keys.map(Spanned::into_inner).unwrap_or_default();
    let stray = match role {
        schema::Role::Extender => {
            let small = keys.priority.as_ref().or(keys.tiers.as_ref()).map(Spanned::span);
            small.or_else(|| keys.statistics.as_ref().map(Spanned::span))
        }
        schema::Role::Bridge | schema::Role::Station => keys.upstream_loss.as_ref().map(Spanned::span),
    };
    if let Some(span) = stray {
        return fault(
            span,
            "this key is for the other end",
            "a bridge has `priority`, `tiers` and `statistics`, a port extender `upstream_loss`",
        );
    }
    let hold = match keys.upstream_loss.map(Spanned::into_inner) {
        Some(UpstreamLoss::Hold(seconds)) => in_range(Some(seconds), 1, 86_400, 30, "hold")?,
        Some(UpstreamLoss::Down) | None => 0,
    };
    let ecp = ecp::Params {
        max_retries: keys.retries.map_or(RETRIES, Retries::get),
        ack_timer_exponent: keys.ack_timer_exponent.map_or(ACK_TIMER, Exponent::get),
    };
    Ok(ExtensionConfig {
        priority: in_range(keys.priority, 1, 255, 128, "priority")?,
        hold: Duration::from_secs(hold.into()),
        tiers: in_range(keys.tiers, 1, 16, 4, "tiers")?,
        statistics: Duration::from_secs(in_range(keys.statistics, 0, 3600, 10, "statistics")?.into()),
        ecp,
        codebook: keys.codebook.map(Spanned::into_inner),
    })
}

/// The code book in `text`, checked with its own vectors.
///
/// # Errors
/// Why it is none, in words.
pub(crate) fn codebook(text: &str) -> Result<CodeBook, String> {
    let book: CodeBook = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    book.check().map_err(|error| error.to_string())?;
    Ok(book)
}

/// The text of the code book `config` names, if it names one and that can be spoken.
///
/// # Errors
/// When it cannot be read or is no code book.
pub(crate) fn read_codebook(config: &ExtensionConfig) -> Result<Option<String>, ConfigError> {
    let Some(path) = &config.codebook else { return Ok(None) };
    let text = super::read(path)?;
    codebook(&text).map_err(|what| ConfigError::of_file(path, what, BOOK))?;
    Ok(Some(text))
}

const BOOK: &str = "a TOML file like the sample codebook-p0.toml, with vectors of its own";
/// How often ECP repeats a PDU. More than VDP's 3: what is lost here costs every port of a tree.
const RETRIES: u8 = 7;
/// 164 ms.
const ACK_TIMER: u8 = 14;
