//! Ports that send less than they are given: their rate, and what DCBX has come to where our own data path does it [Q 36, 37].

use std::{collections::HashMap, sync::Arc};

use carrier::{Plan, PriorityCounters, Schedule};
use dcbx::{PrioritySet, Settings, ieee::SelectionAlgorithm};
use ether::Pcp;
use hairpin::PortId;
use serde::Serialize;

use crate::dcb::{DeviceReport, DeviceState};

/// The queues of ports that have any.
#[derive(Debug, Default)]
pub(super) struct Classes {
    ports: HashMap<PortId, Shaped>,
}

/// A port with queues.
#[derive(Debug)]
struct Shaped {
    rate: Option<u64>,
    settings: Settings,
    schedule: Arc<Schedule>,
}

/// One traffic class of a port, and what has gone through it.
#[derive(Debug, Serialize)]
pub(crate) struct ClassRow {
    class: u8,
    priorities: PrioritySet,
    /// Those of them that are lost last.
    lossless: PrioritySet,
    /// Its part of what strict classes leave; none: it is strict.
    percent: Option<u8>,
    #[serde(flatten)]
    counters: PriorityCounters,
}

impl Classes {
    /// The port may send `rate` bits per second. True if it had no queues before and has now.
    pub(super) fn set_rate(&mut self, port: PortId, rate: Option<u64>) -> bool {
        if rate.is_none() && !self.ports.contains_key(&port) {
            return false;
        }
        self.change(port, |shaped| shaped.rate = rate)
    }

    /// What DCBX has come to on the port; nothing any more if it is the default. True if it had no queues before and has
    /// now.
    pub(super) fn set_dcb(&mut self, port: PortId, settings: Settings) -> bool {
        if settings == Settings::default() && !self.ports.contains_key(&port) {
            return false;
        }
        self.change(port, |shaped| shaped.settings = settings)
    }

    fn change(&mut self, port: PortId, change: impl FnOnce(&mut Shaped)) -> bool {
        let new = || Shaped { rate: None, settings: Settings::default(), schedule: Arc::default() };
        let known = self.ports.contains_key(&port);
        let shaped = self.ports.entry(port).or_insert_with(new);
        change(shaped);
        let plan = shaped.plan();
        if plan != shaped.schedule.plan() {
            shaped.schedule.set(plan);
        }
        !known
    }

    /// The port is gone.
    pub(super) fn forget(&mut self, port: PortId) {
        self.ports.remove(&port);
    }

    /// The queues of the port, if it has any.
    pub(super) fn schedule(&self, port: PortId) -> Option<&Arc<Schedule>> {
        self.ports.get(&port).map(|shaped| &shaped.schedule)
    }

    /// What the port does for DCBX; none where that has come to nothing.
    pub(super) fn report(&self, port: PortId) -> Option<DeviceReport> {
        let Shaped { rate, settings, .. } = self.ports.get(&port)?;
        let ets = settings.ets.map(|table| format!("ETS: {table}"));
        let pfc = settings.pfc.map(|set| format!("PFC: {set} lost last, and by no rate of a VSI"));
        let ungoverned = (settings.ets.is_some() || settings.pfc.is_some()) && rate.is_none();
        let notes = [
            ungoverned.then_some("the port has no `rate`: classes count when the kernel takes no more"),
            settings.applications.is_some().then_some("frames keep the priority they come with"),
        ];
        let note = notes.into_iter().flatten().collect::<Vec<_>>().join("; ");
        (*settings != Settings::default()).then(|| DeviceReport {
            state: DeviceState::Core,
            changes: ets.into_iter().chain(pfc).collect(),
            note: (!note.is_empty()).then_some(note),
        })
    }

    /// The rate of the port, if it has one.
    pub(super) fn rate(&self, port: PortId) -> Option<u64> {
        self.ports.get(&port)?.rate
    }

    /// The classes of the port that any priority is in, lowest first; none if it has no queues.
    pub(super) fn rows(&self, port: PortId) -> Vec<ClassRow> {
        let Some(Shaped { schedule, .. }) = self.ports.get(&port) else { return Vec::new() };
        let plan = schedule.plan();
        let counters = schedule.counters();
        let class = |class: u8| {
            let of = || Pcp::all().zip(plan.classes).zip(counters).filter(move |((_, c), _)| *c == class);
            let priorities: PrioritySet = of().map(|((priority, _), _)| priority).collect();
            (!priorities.is_empty()).then(|| ClassRow {
                class,
                priorities,
                lossless: PrioritySet(priorities.0 & plan.lossless.0),
                percent: plan.shares.get(usize::from(class)).copied().flatten(),
                counters: of().map(|(_, counters)| counters).fold(PriorityCounters::default(), |a, b| a + b),
            })
        };
        (0..8).filter_map(class).collect()
    }
}

impl Shaped {
    /// A class that is neither strict nor ETS (credit-based, or a vendor's own) goes like a strict one.
    fn plan(&self) -> Plan {
        let lossless = self.settings.pfc.unwrap_or_default();
        let Some(table) = self.settings.ets else {
            return Plan { rate: self.rate, lossless, ..Plan::default() };
        };
        let mut shares = [None; 8];
        let told = table.algorithms.into_iter().zip(table.bandwidth);
        for (share, (algorithm, percent)) in shares.iter_mut().zip(told) {
            *share = (algorithm == SelectionAlgorithm::Ets).then_some(percent);
        }
        Plan { rate: self.rate, classes: table.classes.numbers(), shares, lossless }
    }
}

#[cfg(test)]
mod tests {
    use dcbx::{PriorityTable, ieee::EtsTable};

    use super::*;

    const PORT: PortId = PortId(3);

    fn table() -> EtsTable {
        let mut table = EtsTable { bandwidth: [30, 70, 0, 0, 0, 0, 0, 0], ..EtsTable::STRICT };
        table.algorithms[0] = SelectionAlgorithm::Ets;
        table.algorithms[1] = SelectionAlgorithm::Ets;
        table.classes = PriorityTable::new([0, 0, 0, 1, 1, 0, 0, 2]).unwrap();
        table
    }

    #[test]
    fn what_is_agreed_becomes_the_plan_and_goes_again() {
        let mut classes = Classes::default();
        assert!(!classes.set_dcb(PORT, Settings::default()) && classes.schedule(PORT).is_none());
        let settings =
            Settings { ets: Some(table()), pfc: Some(PrioritySet(8)), applications: Some(Vec::new()) };
        assert!(classes.set_dcb(PORT, settings));
        let plan = classes.schedule(PORT).unwrap().plan();
        assert_eq!(plan.shares[..3], [Some(30), Some(70), None]);
        assert_eq!(
            (plan.classes, plan.lossless, plan.rate),
            ([0, 0, 0, 1, 1, 0, 0, 2], PrioritySet(8), None)
        );
        let report = classes.report(PORT).unwrap();
        let note = report.note.unwrap();
        assert!(note.contains("no `rate`") && note.contains("keep the priority"), "{note}");
        assert!(!classes.set_rate(PORT, Some(1_000_000)), "the queues are the same");
        assert_eq!(classes.schedule(PORT).unwrap().plan().rate, Some(1_000_000));
        let rows = classes.rows(PORT);
        let shown: Vec<_> = rows.iter().map(|row| (row.class, row.priorities.0, row.percent)).collect();
        assert_eq!(shown, [(0, 0x67, Some(30)), (1, 0x18, Some(70)), (2, 0x80, None)]);
        assert_eq!(rows[1].lossless, PrioritySet(8));
        classes.set_dcb(PORT, Settings::default());
        let left = classes.schedule(PORT).unwrap().plan();
        assert_eq!(left, Plan { rate: Some(1_000_000), ..Plan::default() });
        assert_eq!(classes.report(PORT), None);
    }
}
