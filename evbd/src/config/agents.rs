//! LLDP agents: `[lldp]`, `[port.lldp]` and under each a table per scope. The nearest table that has a key counts:
//! `[port.lldp.SCOPE]`, `[port.lldp]`, `[lldp.SCOPE]`, `[lldp]`, the default.

use std::{collections::BTreeMap, ops::Range};

use ether::MacAddr;
use lldp::{AdminStatus, AgentConfig, Scope, Timing, TimingParams};
use serde::Deserialize;
use toml::Spanned;

use super::{
    Fault,
    check::{fault, in_range},
    schema,
    tlvs::{TlvKeys, Tlvs},
};

/// One agent of a port.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSettings {
    /// Its scope, timing, and which way it works.
    pub config: AgentConfig,
    /// Where its LLDPDUs go and, if that is a group, where those it hears come to.
    pub destination: MacAddr,
    /// What it says of port and system.
    pub tlvs: Tlvs,
}

/// `[lldp]` or `[port.lldp]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LldpKeys {
    tx_interval: Option<Spanned<u16>>,
    tx_hold: Option<Spanned<u16>>,
    fast_tx_interval: Option<Spanned<u16>>,
    fast_tx_count: Option<Spanned<u16>>,
    tx_credit_max: Option<Spanned<u16>>,
    reinit_delay: Option<Spanned<u16>>,
    max_neighbors: Option<Spanned<u16>>,
    tlvs: TlvKeys,
    nearest_bridge: ScopeKeys,
    nearest_non_tpmr: ScopeKeys,
    nearest_customer: ScopeKeys,
}

/// `[lldp.SCOPE]` or `[port.lldp.SCOPE]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ScopeKeys {
    admin: Option<Admin>,
    destination: Option<Spanned<MacAddr>>,
    tx_interval: Option<Spanned<u16>>,
    tx_hold: Option<Spanned<u16>>,
    fast_tx_interval: Option<Spanned<u16>>,
    fast_tx_count: Option<Spanned<u16>>,
    tx_credit_max: Option<Spanned<u16>>,
    reinit_delay: Option<Spanned<u16>>,
    max_neighbors: Option<Spanned<u16>>,
    tlvs: TlvKeys,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Admin {
    RxTx,
    Tx,
    Rx,
    Disabled,
}

/// The agents of each port, by the port's interface, in the order of [`Scope::ALL`].
pub(super) fn agents(
    general: &LldpKeys,
    ports: &[Spanned<schema::Port>],
) -> Result<BTreeMap<String, Vec<AgentSettings>>, Fault> {
    general.check()?;
    let of_port = |port: &Spanned<schema::Port>| {
        let port = port.get_ref();
        port.lldp.check()?;
        let mut made: Vec<(AgentSettings, Option<Range<usize>>)> = Vec::with_capacity(Scope::ALL.len());
        for scope in Scope::ALL {
            let (agent, destination) = agent(general, port, scope)?;
            if let Some(other) = made.iter().find(|(other, _)| other.destination == agent.destination) {
                let place = destination.or_else(|| other.1.clone()).unwrap_or(0..0);
                return fault(
                    place,
                    format!("two agents of port `{}` at {}", port.interface.get_ref(), agent.destination),
                    "a destination of its own for each scope",
                );
            }
            made.push((agent, destination));
        }
        Ok((port.interface.get_ref().clone(), made.into_iter().map(|(agent, _)| agent).collect()))
    };
    ports.iter().map(of_port).collect()
}

/// One agent, and where its destination is written.
fn agent(
    general: &LldpKeys,
    port: &schema::Port,
    scope: Scope,
) -> Result<(AgentSettings, Option<Range<usize>>), Fault> {
    let (own, all) = (port.lldp.scope(scope), general.scope(scope));
    let numbers = [own.numbers(), port.lldp.numbers(), all.numbers(), general.numbers()];
    let number = |key: Number| {
        let written = numbers.iter().find_map(|layer| layer.iter().find(|(k, _)| *k == key)?.1.as_ref());
        written.map_or(key.default(), |value| *value.get_ref())
    };
    let params = TimingParams {
        msg_tx_interval: number(Number::TxInterval),
        msg_tx_hold: number(Number::TxHold),
        msg_fast_tx: number(Number::FastTxInterval),
        tx_fast_init: number(Number::FastTxCount),
        tx_credit_max: number(Number::TxCreditMax),
        reinit_delay: number(Number::ReinitDelay),
    };
    let timing = Timing::try_from(params).map_err(|error| Fault {
        what: error.to_string(),
        span: port.interface.span(),
        allowed: None,
    })?;
    let destination = own.destination.as_ref().or(all.destination.as_ref());
    let settings = AgentSettings {
        config: AgentConfig {
            scope,
            admin_status: own.admin.or(all.admin).map_or_else(|| admin(port, scope), Into::into),
            timing,
            max_neighbors: usize::from(number(Number::MaxNeighbors)),
        },
        destination: destination.map_or_else(|| scope.address(), |address| *address.get_ref()),
        tlvs: Tlvs::resolve(&[&own.tlvs, &port.lldp.tlvs, &all.tlvs, &general.tlvs]),
    };
    Ok((settings, destination.map(Spanned::span)))
}

/// Which agents work unless the file says otherwise: the nearest bridge's, EVB's where EVB runs, and CDCP's where there
/// may be S-channels.
fn admin(port: &schema::Port, scope: Scope) -> AdminStatus {
    let channels = !port.channels.is_empty() || port.svids.is_some();
    match (scope, port.kind.get_ref()) {
        (Scope::NearestBridge, _)
        | (Scope::NearestCustomer, schema::PortKind::Uplink | schema::PortKind::Station) => AdminStatus::RxTx,
        (Scope::NearestNonTpmr, _) if channels => AdminStatus::RxTx,
        (Scope::NearestCustomer | Scope::NearestNonTpmr, _) => AdminStatus::Disabled,
    }
}

impl LldpKeys {
    const fn scope(&self, scope: Scope) -> &ScopeKeys {
        match scope {
            Scope::NearestBridge => &self.nearest_bridge,
            Scope::NearestNonTpmr => &self.nearest_non_tpmr,
            Scope::NearestCustomer => &self.nearest_customer,
        }
    }

    /// Whether every value is in its range, used or not.
    fn check(&self) -> Result<(), Fault> {
        check(self.numbers())?;
        for scope in Scope::ALL {
            let keys = self.scope(scope);
            check(keys.numbers())?;
            if let Some(address) = keys.destination.as_ref().filter(|a| a.get_ref().is_zero()) {
                return fault(address.span(), "LLDPDUs to no address", "a group or a station's address");
            }
        }
        Ok(())
    }
}

/// The keys both kinds of table have.
macro_rules! numbers {
    ($table:ty) => {
        impl $table {
            const fn numbers(&self) -> [(Number, &Option<Spanned<u16>>); 7] {
                [
                    (Number::TxInterval, &self.tx_interval),
                    (Number::TxHold, &self.tx_hold),
                    (Number::FastTxInterval, &self.fast_tx_interval),
                    (Number::FastTxCount, &self.fast_tx_count),
                    (Number::TxCreditMax, &self.tx_credit_max),
                    (Number::ReinitDelay, &self.reinit_delay),
                    (Number::MaxNeighbors, &self.max_neighbors),
                ]
            }
        }
    };
}

numbers!(LldpKeys);
numbers!(ScopeKeys);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    TxInterval,
    TxHold,
    FastTxInterval,
    FastTxCount,
    TxCreditMax,
    ReinitDelay,
    MaxNeighbors,
}

impl Number {
    /// Name, lowest and highest value.
    const fn range(self) -> (&'static str, u16, u16) {
        match self {
            Self::TxInterval => ("tx_interval", 1, 3600),
            Self::TxHold => ("tx_hold", 2, 10),
            Self::FastTxInterval => ("fast_tx_interval", 1, 3600),
            Self::FastTxCount => ("fast_tx_count", 1, 8),
            Self::TxCreditMax => ("tx_credit_max", 1, 10),
            Self::ReinitDelay => ("reinit_delay", 1, 10),
            Self::MaxNeighbors => ("max_neighbors", 1, 1024),
        }
    }

    fn default(self) -> u16 {
        let timing = TimingParams::default();
        match self {
            Self::TxInterval => timing.msg_tx_interval,
            Self::TxHold => timing.msg_tx_hold,
            Self::FastTxInterval => timing.msg_fast_tx,
            Self::FastTxCount => timing.tx_fast_init,
            Self::TxCreditMax => timing.tx_credit_max,
            Self::ReinitDelay => timing.reinit_delay,
            Self::MaxNeighbors => 32,
        }
    }
}

fn check(numbers: [(Number, &Option<Spanned<u16>>); 7]) -> Result<(), Fault> {
    for (number, value) in numbers {
        let (name, low, high) = number.range();
        in_range(value.clone(), low, high, number.default(), name)?;
    }
    Ok(())
}

impl From<Admin> for AdminStatus {
    fn from(admin: Admin) -> Self {
        match admin {
            Admin::RxTx => Self::RxTx,
            Admin::Tx => Self::TxOnly,
            Admin::Rx => Self::RxOnly,
            Admin::Disabled => Self::Disabled,
        }
    }
}
