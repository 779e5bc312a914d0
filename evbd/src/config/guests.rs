//! `[guests]`: interfaces of VMs that are VSIs without a `[[vsi]]` of their own.

use serde::Deserialize;
use toml::Spanned;
use vdp::{GroupId, ManagerId, TypeId, TypeVersion};
use wildmatch::WildMatch;

use super::{ChannelConfig, Fault, check::fault, control};
use crate::guests::Type;

/// Which interfaces those are, and who says what they are.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestsConfig {
    /// The bus on which libvirt's domains are followed: `system`, or a D-Bus address.
    pub libvirt: Option<String>,
    /// The driver of libvirt whose domains these are.
    pub driver: String,
    /// Whether a tap is taken out of a Linux bridge, so that its frames are ours.
    pub detach: bool,
    /// What taps are by their names; the first that matches counts.
    pub taps: Vec<TapRule>,
}

/// What an interface is by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct TapRule {
    /// Its name, with `*` and `?`.
    pub interface: WildMatch,
    /// What it is where no domain says so; none: only domains say.
    pub vsi: Option<Type>,
}

impl Default for GuestsConfig {
    fn default() -> Self {
        Self { libvirt: None, driver: "QEMU".to_owned(), detach: false, taps: Vec::new() }
    }
}

/// `[guests]` as written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GuestsKeys {
    libvirt: Option<Spanned<String>>,
    driver: Option<Spanned<String>>,
    detach: Option<bool>,
    tap: Vec<Spanned<TapKeys>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TapKeys {
    interface: Spanned<String>,
    #[serde(default)]
    manager: ManagerId,
    #[serde(rename = "type")]
    type_id: Option<TypeId>,
    version: Option<TypeVersion>,
    vlan: Option<ether::Vid>,
    pcp: Option<ether::Pcp>,
    group: Option<GroupId>,
    channel: Option<Spanned<String>>,
}

pub(super) fn guests(keys: GuestsKeys, channels: &[ChannelConfig]) -> Result<GuestsConfig, Fault> {
    let default = GuestsConfig::default();
    let libvirt = match keys.libvirt {
        Some(bus) if bus.get_ref() == "off" => None,
        Some(bus) => Some(control::address(bus)?),
        None => None,
    };
    let driver = match keys.driver {
        Some(driver)
            if !driver.get_ref().chars().all(|c| c.is_ascii_alphanumeric())
                || driver.get_ref().is_empty() =>
        {
            return fault(driver.span(), "no driver of libvirt", "\"QEMU\", \"LXC\", \"Xen\"");
        }
        Some(driver) => driver.into_inner(),
        None => default.driver,
    };
    let taps = keys.tap.into_iter().map(|tap| rule(tap, channels)).collect::<Result<_, _>>()?;
    Ok(GuestsConfig { libvirt, driver, detach: keys.detach.unwrap_or(default.detach), taps })
}

fn rule(tap: Spanned<TapKeys>, channels: &[ChannelConfig]) -> Result<TapRule, Fault> {
    let whole = tap.span();
    let tap = tap.into_inner();
    let interface = pattern(&tap.interface)?;
    if let Some(channel) =
        tap.channel.as_ref().filter(|name| !channels.iter().any(|c| c.name == *name.get_ref()))
    {
        let allowed = "the name of one of the uplink's `channels`";
        return fault(channel.span(), format!("there is no S-channel `{}`", channel.get_ref()), allowed);
    }
    let vsi = match (tap.type_id, tap.version) {
        (Some(type_id), Some(type_version)) => Some(Type {
            id: None,
            manager: tap.manager,
            type_id,
            type_version,
            vlan: tap.vlan,
            pcp: tap.pcp,
            group: tap.group,
            channel: tap.channel.map(Spanned::into_inner),
        }),
        (None, None) => None,
        _ => {
            return fault(
                whole,
                "a tap with one of `type` and `version`",
                "both, or neither: then its domain says",
            );
        }
    };
    Ok(TapRule { interface, vsi })
}

/// A name with `*` and `?` that not every interface has.
pub(super) fn pattern(name: &Spanned<String>) -> Result<WildMatch, Fault> {
    if name.get_ref().trim_matches(['*', '?']).is_empty() {
        let allowed = "a pattern that does not match every interface, as \"vnet*\"";
        return fault(name.span(), format!("`{}` is any interface", name.get_ref()), allowed);
    }
    Ok(WildMatch::new(name.get_ref()))
}
