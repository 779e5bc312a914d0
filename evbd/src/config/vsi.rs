//! A VSI of a station, as `[[vsi]]` spells it and as it is given at run time.

use std::{collections::BTreeSet, net::IpAddr, ops::Range};

use ether::{MacAddr, Pcp, Vid, mac};
use serde::{Deserialize, Serialize};
use toml::Spanned;
use vdp::{FilterEntry, FilterInfo, GroupId, ManagerId, TypeId, TypeVersion, VsiId};

use super::{
    ChannelConfig, Fault,
    check::{Interfaces, fault, unique},
    schema,
};

/// One VSI of a station.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VsiConfig {
    /// Name shown to the operator.
    pub name: String,
    /// Interface the VM hangs on, there or not.
    pub interface: String,
    /// VSI instance identifier.
    pub id: VsiId,
    /// VSI manager.
    #[serde(default)]
    pub manager: ManagerId,
    /// VSI type.
    #[serde(rename = "type")]
    pub type_id: TypeId,
    /// VSI type version.
    #[serde(rename = "version")]
    pub type_version: TypeVersion,
    /// Its frames; what an entry leaves open the bridge chooses.
    #[serde(rename = "filters", with = "filters")]
    pub filter: FilterInfo,
    /// Addresses of IP to announce beside its MAC addresses when its gate opens.
    #[serde(default)]
    pub ips: Vec<IpAddr>,
    /// Associated while its interface is there. Else it is what the last order made it, and the interface may come and
    /// go.
    #[serde(default)]
    pub automatic: bool,
    /// It ends when its interface goes, and gives way to another of its interface or address: a hypervisor that has lost a
    /// guest may not say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
    /// The S-channel it is behind, by name; none: the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

impl VsiConfig {
    /// The MAC addresses it names.
    pub fn macs(&self) -> impl Iterator<Item = MacAddr> + '_ {
        self.filter.entries().iter().filter_map(|entry| entry.mac)
    }

    /// Whether its interface has the name of one, and not of none that is known: the kernel has no colon in names.
    #[must_use]
    pub fn has_interface(&self) -> bool {
        !self.interface.contains(':')
    }

    /// Whether the two cannot be VSIs of one station; so one and the same.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        self.id == other.id
            || self.name == other.name
            || self.interface == other.interface
            || self.macs().any(|mac| other.macs().any(|m| m == mac))
    }

    /// Whether what the bridge is asked for is the same.
    #[must_use]
    pub fn asks_for_the_same(&self, other: &Self) -> bool {
        (self.id, self.manager, self.type_id, self.type_version, &self.filter)
            == (other.id, other.manager, other.type_id, other.type_version, &other.filter)
    }
}

/// One line of a filter, in the words of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterKeys {
    /// The group of VSIs whose VLAN the bridge assigns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
    /// A station's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The VLAN; left out, the bridge chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vid>,
    /// The priority; left out, the bridge chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcp: Option<Pcp>,
}

impl From<FilterKeys> for FilterEntry {
    fn from(keys: FilterKeys) -> Self {
        Self { group: keys.group, mac: keys.mac, vid: keys.vlan, priority: keys.pcp }
    }
}

impl From<FilterEntry> for FilterKeys {
    fn from(entry: FilterEntry) -> Self {
        Self { group: entry.group, mac: entry.mac, vlan: entry.vid, pcp: entry.priority }
    }
}

/// A filter as a list of [`FilterKeys`].
mod filters {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use vdp::{FilterEntry, FilterInfo};

    use super::FilterKeys;

    pub(super) fn serialize<S: Serializer>(filter: &FilterInfo, serializer: S) -> Result<S::Ok, S::Error> {
        let lines: Vec<FilterKeys> = filter.entries().iter().copied().map(FilterKeys::from).collect();
        lines.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FilterInfo, D::Error> {
        let lines = Vec::<FilterKeys>::deserialize(deserializer)?;
        FilterInfo::new(lines.into_iter().map(FilterEntry::from).collect()).map_err(D::Error::custom)
    }
}

/// The VSIs of a file, whose interfaces are claimed from `interfaces`.
pub(super) fn vsis(
    interfaces: &mut Interfaces,
    channels: &[ChannelConfig],
    written: Vec<Spanned<schema::Vsi>>,
) -> Result<Vec<VsiConfig>, Fault> {
    let mut names = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let mut macs = BTreeSet::new();
    let mut checked = Vec::with_capacity(written.len());
    for vsi in written {
        let whole = vsi.span();
        let vsi = vsi.into_inner();
        unique(&mut names, &vsi.name, "VSI name", vsi.name.get_ref())?;
        unique(&mut ids, &vsi.id, "VSI id", vsi.id.get_ref())?;
        if let Some(name) = &vsi.channel
            && !channels.iter().any(|channel| channel.name == *name.get_ref())
        {
            let known: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
            let allowed =
                if known.is_empty() { "none; the uplink has no `channels`".into() } else { known.join(", ") };
            return fault(name.span(), format!("there is no S-channel `{}`", name.get_ref()), allowed);
        }
        let (place, filter) = filter(whole, &vsi)?;
        let own: BTreeSet<MacAddr> = filter.entries().iter().filter_map(|entry| entry.mac).collect();
        if let Some(mac) = own.iter().find(|mac| !macs.insert(**mac)) {
            return fault(place, format!("MAC address `{mac}` is used twice"), "each value once in the file");
        }
        checked.push(VsiConfig {
            name: vsi.name.into_inner(),
            interface: interfaces.claim(vsi.interface)?,
            id: vsi.id.into_inner(),
            manager: vsi.manager,
            type_id: vsi.type_id,
            type_version: vsi.version,
            filter,
            ips: vsi.ips,
            automatic: vsi.automatic.unwrap_or(true),
            transient: false,
            channel: vsi.channel.map(Spanned::into_inner),
        });
    }
    Ok(checked)
}

/// The filter and where its addresses are written: `filters`, or one line as `mac`, `vlan` and `pcp`.
fn filter(whole: Range<usize>, vsi: &schema::Vsi) -> Result<(Range<usize>, FilterInfo), Fault> {
    let short = vsi.mac.is_some() || vsi.vlan.is_some() || vsi.pcp.is_some();
    let (place, lines) = match (&vsi.filters, &vsi.mac) {
        (Some(filters), _) if short => {
            return fault(
                filters.span(),
                "`filters` beside `mac`, `vlan` or `pcp`",
                "all of them in `filters`, or one line without it",
            );
        }
        (Some(filters), _) => (filters.span(), filters.get_ref().clone()),
        (None, Some(mac)) => {
            let line = FilterKeys { group: None, mac: Some(*mac.get_ref()), vlan: vsi.vlan, pcp: vsi.pcp };
            (mac.span(), vec![line])
        }
        (None, None) => return fault(whole, "a VSI without `mac` or `filters`", FILTERS),
    };
    if let Some(mac) = lines.iter().filter_map(|line| line.mac).find(|mac| !mac::is_station(*mac)) {
        return fault(
            place,
            format!("{mac} cannot be the address of a VM"),
            "a unicast address: first octet even, not all zero",
        );
    }
    match FilterInfo::new(lines.into_iter().map(FilterEntry::from).collect()) {
        Ok(filter) => Ok((place, filter)),
        Err(error) => fault(place, error.to_string(), FILTERS),
    }
}

const FILTERS: &str = "mac = \"52:54:00:11:22:33\", or filters = [{ mac = …, vlan = …, pcp = …, group = … }], one to 243 lines \
                       that all name a mac or none, a group or none";
