//! DCBX: `[dcbx]` and `[port.dcbx]`. The nearest table that has a key counts; the default is off.

use std::{collections::BTreeMap, ops::Range};

use dcbx::{
    DialectChoice, Mode, OnPeerLoss, PriorityTable, Rule,
    config::{Applications, Ets, PfcConfig},
    ieee::{Application, ClassCount, EtsTable, PfcCapability, SelectionAlgorithm},
};
use ether::Pcp;
use lldp::{AdminStatus, Scope};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{AgentSettings, Fault, check::fault, schema, tlvs::Selector};

/// DCBX on one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DcbxConfig {
    /// What it says and takes.
    pub config: dcbx::Config,
    /// What becomes of what is operational.
    pub apply: Apply,
}

/// What becomes of what DCBX has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Apply {
    /// The device is told what differs; our own data path does it where the device has no data center bridging.
    #[default]
    Device,
    /// Our own data path does it, whatever the device can.
    Core,
    /// The device is read, and what would be written is shown.
    DryRun,
    /// Nothing.
    Off,
}

/// `[dcbx]` or `[port.dcbx]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DcbxKeys {
    dialect: Option<DialectChoice>,
    on_peer_loss: Option<OnPeerLoss>,
    apply: Option<Apply>,
    ets: EtsKeys,
    pfc: PfcKeys,
    applications: ApplicationKeys,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EtsKeys {
    mode: Option<Mode>,
    max_classes: Option<Spanned<u8>>,
    classes: Option<Spanned<Vec<u8>>>,
    bandwidth: Option<Spanned<Vec<u8>>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PfcKeys {
    mode: Option<Mode>,
    capability: Option<Spanned<u8>>,
    priorities: Option<Spanned<Vec<Pcp>>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ApplicationKeys {
    mode: Option<Mode>,
    list: Option<Spanned<Vec<ApplicationKey>>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplicationKey {
    selector: Selector,
    protocol: u16,
    priority: Pcp,
}

/// DCBX of each port that has any feature on, by the port's interface.
pub(super) fn dcbx(
    general: &DcbxKeys,
    ports: &[Spanned<schema::Port>],
    agents: &BTreeMap<String, Vec<AgentSettings>>,
) -> Result<BTreeMap<String, DcbxConfig>, Fault> {
    let mut made = BTreeMap::new();
    for port in ports {
        let port = port.get_ref();
        let of_port = one(&port.dcbx, general, port.interface.span())?;
        if !of_port.config.speaks() {
            continue;
        }
        let interface = port.interface.get_ref();
        let carries = |agent: &&AgentSettings| {
            agent.config.scope == Scope::NearestBridge && agent.config.admin_status == AdminStatus::RxTx
        };
        if agents.get(interface).is_none_or(|agents| !agents.iter().any(|agent| carries(&agent))) {
            return fault(
                port.interface.span(),
                format!(
                    "DCBX on port `{interface}`, whose LLDP agent `nearest_bridge` does not send and receive"
                ),
                "lldp.nearest_bridge.admin = \"rx_tx\", which carries DCBX",
            );
        }
        made.insert(interface.clone(), of_port);
    }
    Ok(made)
}

fn one(own: &DcbxKeys, all: &DcbxKeys, port: Range<usize>) -> Result<DcbxConfig, Fault> {
    let of_ets = |class: &EtsKeys| (class.classes.clone(), class.bandwidth.clone());
    let (classes, bandwidth) = of_ets(&own.ets);
    let (classes, bandwidth) = (classes.or(all.ets.classes.clone()), bandwidth.or(all.ets.bandwidth.clone()));
    let max_classes =
        number(&own.ets.max_classes, &all.ets.max_classes, ClassCount::new, "max_classes", "1 to 8")?;
    let capability = number(&own.pfc.capability, &all.pfc.capability, capability, "capability", "0 to 8")?;
    let priorities = own.pfc.priorities.as_ref().or(all.pfc.priorities.as_ref());
    let list = own.applications.list.as_ref().or(all.applications.list.as_ref());
    let config = dcbx::Config {
        dialect: own.dialect.or(all.dialect).unwrap_or_default(),
        on_peer_loss: own.on_peer_loss.or(all.on_peer_loss).unwrap_or_default(),
        ets: Ets {
            mode: own.ets.mode.or(all.ets.mode).unwrap_or_default(),
            max_classes: max_classes.unwrap_or(ClassCount::MAX),
            table: table(classes.as_ref(), bandwidth.as_ref())?,
        },
        pfc: PfcConfig {
            mode: own.pfc.mode.or(all.pfc.mode).unwrap_or_default(),
            capability: capability.unwrap_or(PfcCapability::ALL),
            enabled: priorities.into_iter().flat_map(|list| list.get_ref()).copied().collect(),
        },
        applications: Applications {
            mode: own.applications.mode.or(all.applications.mode).unwrap_or_default(),
            list: list.into_iter().flat_map(|list| list.get_ref()).map(ApplicationKey::application).collect(),
        },
    };
    config.check().map_err(|rule| {
        let span = match rule {
            Rule::Bandwidth(_) | Rule::Share { .. } => bandwidth.as_ref().map(Spanned::span),
            Rule::Class { .. } => classes.as_ref().map(Spanned::span),
            Rule::Pfc { .. } => priorities.map(Spanned::span),
            Rule::Applications(_) => list.map(Spanned::span),
        };
        Fault { what: rule.to_string(), span: span.unwrap_or(port), allowed: None }
    })?;
    Ok(DcbxConfig { config, apply: own.apply.or(all.apply).unwrap_or_default() })
}

/// Traffic classes as written: one for each priority, and the shares of the classes from 0 on. A class with a share uses
/// ETS, one without is strict.
fn table(classes: Option<&Spanned<Vec<u8>>>, shares: Option<&Spanned<Vec<u8>>>) -> Result<EtsTable, Fault> {
    let mut table = EtsTable::STRICT;
    if let Some(written) = classes {
        let numbers = <[u8; 8]>::try_from(written.get_ref().as_slice()).ok().and_then(PriorityTable::new);
        let Some(numbers) = numbers else {
            return fault(
                written.span(),
                "`ets.classes` is not the traffic class of each of the eight priorities",
                "eight numbers from 0 to 7, that of priority 0 first",
            );
        };
        table.classes = numbers;
    }
    if let Some(written) = shares {
        if written.get_ref().len() > 8 {
            return fault(
                written.span(),
                "shares of more than eight traffic classes",
                "at most eight per cents",
            );
        }
        let places = table.bandwidth.iter_mut().zip(&mut table.algorithms);
        for (share, (bandwidth, algorithm)) in written.get_ref().iter().zip(places) {
            if *share > 0 {
                (*bandwidth, *algorithm) = (*share, SelectionAlgorithm::Ets);
            }
        }
    }
    Ok(table)
}

fn number<T>(
    own: &Option<Spanned<u8>>,
    all: &Option<Spanned<u8>>,
    read: fn(u8) -> Option<T>,
    name: &str,
    allowed: &str,
) -> Result<Option<T>, Fault> {
    let Some(written) = own.as_ref().or(all.as_ref()) else { return Ok(None) };
    match read(*written.get_ref()) {
        Some(value) => Ok(Some(value)),
        None => fault(written.span(), format!("`{name}` = {} is out of range", written.get_ref()), allowed),
    }
}

fn capability(value: u8) -> Option<PfcCapability> {
    PfcCapability::new(value).filter(|_| value <= 8)
}

impl ApplicationKey {
    fn application(&self) -> Application {
        let Self { selector, protocol, priority } = *self;
        Application { priority, selector: selector.number().into(), protocol }
    }
}
