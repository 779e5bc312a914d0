//! `[[extended]]`: how ports of port extenders work that are ports of this bridge, by the names their port extenders tell.

use ether::{Pcp, Vid};
use pe::csp::tlv::{Decode, Encode};
use serde::Deserialize;
use toml::Spanned;
use wildmatch::WildMatch;

use super::{
    BridgePortKind, Fault,
    check::fault,
    schema::{self, Role},
};

/// One rule; of several that match a port the first counts.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtendedRule {
    /// The name of the port extender, with `*` and `?`.
    pub extender: WildMatch,
    /// Its name of the port, with `*` and `?`.
    pub port: WildMatch,
    /// What such a port faces; none: what its cascade port's entry says.
    pub faces: Option<BridgePortKind>,
    /// How it works.
    pub work: ExtendedWork,
}

/// How an extended port works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedWork {
    /// It is to be up.
    pub enabled: bool,
    /// Nothing passes either way, control frames included.
    pub blocked: bool,
    /// Priority of frames without a tag.
    pub default_priority: Pcp,
    /// The drop eligible indicator of a tag counts, and is set.
    pub use_dei: bool,
    /// What each PCP of a tag means: priority, drop eligible.
    pub decode: Decode,
    /// The PCP and DEI of each priority's tag, by twice the priority plus drop eligibility.
    pub encode: Encode,
    /// The link aggregation group it is a member of.
    pub lag: Option<String>,
}

impl Default for ExtendedWork {
    fn default() -> Self {
        let (decode, encode) = pe::csp::tlv::plain();
        let default_priority = Pcp::default();
        Self { enabled: true, blocked: false, default_priority, use_dei: true, decode, encode, lag: None }
    }
}

impl ExtendedRule {
    /// Whether the rule is for a port of these names; a name that is not told is matched by `*` alone.
    #[must_use]
    pub fn matches(&self, extender: &str, port: &str) -> bool {
        self.extender.matches(extender) && self.port.matches(port)
    }
}

/// One `[[extended]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleKeys {
    extender: Option<String>,
    port: Option<String>,
    kind: Option<Spanned<schema::PortKind>>,
    untagged: Option<Spanned<Vid>>,
    #[serde(default)]
    tagged: Vec<Spanned<Vid>>,
    takes_over: Option<Spanned<bool>>,
    enabled: Option<bool>,
    blocked: Option<bool>,
    default_priority: Option<Pcp>,
    use_dei: Option<bool>,
    pcp_row: Option<PcpRow>,
    #[serde(default)]
    decode: Vec<Spanned<DecodeKeys>>,
    #[serde(default)]
    encode: Vec<Spanned<EncodeKeys>>,
    lag: Option<Spanned<String>>,
}

/// Rows of the PCP tables of 802.1Q: priorities that have a PCP of their own, and those that have one for drop eligible
/// frames.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PcpRow {
    #[serde(rename = "8p0d")]
    P8D0,
    #[serde(rename = "7p1d")]
    P7D1,
    #[serde(rename = "6p2d")]
    P6D2,
    #[serde(rename = "5p3d")]
    P5D3,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DecodeKeys {
    pcp: Pcp,
    priority: Pcp,
    #[serde(default)]
    drop_eligible: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EncodeKeys {
    priority: Pcp,
    #[serde(default)]
    drop_eligible: bool,
    pcp: Pcp,
    #[serde(default)]
    dei: bool,
}

impl PcpRow {
    /// Pairs of priorities that share their PCPs: the upper one has it, the lower one is for drop eligible frames.
    const fn shared(self) -> &'static [(u8, u8)] {
        match self {
            Self::P8D0 => &[],
            Self::P7D1 => &[(5, 4)],
            Self::P6D2 => &[(5, 4), (3, 2)],
            Self::P5D3 => &[(5, 4), (3, 2), (1, 0)],
        }
    }
}

pub(super) fn extended(rules: Vec<Spanned<RuleKeys>>, role: Role) -> Result<Vec<ExtendedRule>, Fault> {
    if let Some(stray) = rules.first().filter(|_| role != Role::Bridge) {
        return fault(
            stray.span(),
            "ports of port extenders are ports of a bridge",
            "[[extended]] in the controlling bridge's file",
        );
    }
    rules.into_iter().map(Spanned::into_inner).map(rule).collect()
}

fn rule(keys: RuleKeys) -> Result<ExtendedRule, Fault> {
    let faces = faces(&keys)?;
    let mut work = ExtendedWork::default();
    work.enabled = keys.enabled.unwrap_or(work.enabled);
    work.blocked = keys.blocked.unwrap_or(work.blocked);
    work.default_priority = keys.default_priority.unwrap_or(work.default_priority);
    work.use_dei = keys.use_dei.unwrap_or(work.use_dei);
    if let Some(row) = keys.pcp_row {
        (work.decode, work.encode) = tables(row);
    }
    let mut said = [false; 8];
    for keys in &keys.decode {
        let DecodeKeys { pcp, priority, drop_eligible } = *keys.get_ref();
        let place = usize::from(pcp.get());
        if said.get_mut(place).is_none_or(|said| std::mem::replace(said, true)) {
            return fault(keys.span(), format!("PCP {pcp} twice"), "each `pcp` once");
        }
        if let Some(entry) = work.decode.get_mut(place) {
            *entry = (priority, drop_eligible);
        }
    }
    let mut said = [false; 16];
    for keys in &keys.encode {
        let EncodeKeys { priority, drop_eligible, pcp, dei } = *keys.get_ref();
        let place = usize::from(priority.get()) * 2 + usize::from(drop_eligible);
        if said.get_mut(place).is_none_or(|said| std::mem::replace(said, true)) {
            let what = format!("priority {priority} twice");
            return fault(keys.span(), what, "each `priority` once, and once with `drop_eligible = true`");
        }
        if let Some(entry) = work.encode.get_mut(place) {
            *entry = (pcp, dei);
        }
    }
    if let Some(lag) = &keys.lag {
        let name = lag.get_ref();
        if !(1..=32).contains(&name.len()) || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return fault(
                lag.span(),
                format!("`{name}` is no name of a group"),
                "1 to 32 octets without blanks",
            );
        }
        if faces == Some(BridgePortKind::Station) {
            return fault(
                lag.span(),
                "VSIs cannot be on a link aggregation group".to_owned(),
                "`kind = \"lan\"`, or no `lag`",
            );
        }
    }
    work.lag = keys.lag.map(Spanned::into_inner);
    let pattern = |text: Option<String>| WildMatch::new(text.as_deref().unwrap_or("*"));
    Ok(ExtendedRule { extender: pattern(keys.extender), port: pattern(keys.port), faces, work })
}

fn faces(keys: &RuleKeys) -> Result<Option<BridgePortKind>, Fault> {
    let kind = keys.kind.as_ref().map(|kind| (*kind.get_ref(), kind.span()));
    match kind {
        Some((schema::PortKind::Lan, _)) => Ok(Some(BridgePortKind::Lan {
            untagged: keys.untagged.as_ref().map(|vid| *vid.get_ref()),
            tagged: keys.tagged.iter().map(|vid| *vid.get_ref()).collect(),
            takes_over: keys.takes_over.as_ref().is_none_or(|takes| *takes.get_ref()),
        })),
        Some((schema::PortKind::Station, _)) | None => {
            let stray = keys.untagged.as_ref().map(Spanned::span);
            let stray = stray.or_else(|| keys.tagged.first().map(Spanned::span));
            if let Some(span) = stray.or_else(|| keys.takes_over.as_ref().map(Spanned::span)) {
                return fault(span, "this is for ports that face a LAN", "kind = \"lan\" beside it");
            }
            Ok(kind.map(|_| BridgePortKind::Station))
        }
        Some((_, span)) => {
            fault(span, "no kind of a bridge's extended port", "kind = \"station\" or kind = \"lan\"")
        }
    }
}

/// How PCPs are read and written where a row of the PCP tables is used.
fn tables(row: PcpRow) -> (Decode, Encode) {
    let ExtendedWork { mut decode, mut encode, .. } = ExtendedWork::default();
    for (priority, entry) in (0..).zip(encode.chunks_exact_mut(2)) {
        entry.fill((Pcp::from_low_bits(priority), false));
    }
    for &(upper, lower) in row.shared() {
        let [high, low] = [upper, lower].map(Pcp::from_low_bits);
        // Both PCPs mean the lower priority.
        if let Some(entry) = decode.get_mut(usize::from(upper)) {
            *entry = (low, false);
        }
        if let Some(entry) = decode.get_mut(usize::from(lower)) {
            *entry = (low, true);
        }
        for priority in [upper, lower] {
            let at = usize::from(priority) * 2;
            for (entry, pcp) in encode.iter_mut().skip(at).zip([high, low]) {
                *entry = (pcp, false);
            }
        }
    }
    (decode, encode)
}

#[cfg(test)]
mod tests;
