//! CEE's settings in the terms of IEEE 802.1Q, and back.
//!
//! A priority group is the traffic class of its number; group 15, strict priority without a limit, is the first class
//! above the groups in use, or the last free one. What CEE cannot say is lost on the way there: other algorithms than
//! ETS are strict, all strict classes are one, a port is of TCP and UDP alike, and there are neither code points nor a
//! default priority.

use crate::{
    cee::{CeeApplication, CeeApplications, CeePriorityGroups, CeeSelector, tlv::STRICT},
    config::in_order,
    ieee::{Application, EtsTable, SelectionAlgorithm, Selector},
    priority::{PrioritySet, PriorityTable},
};

/// The priority groups that do as `table` does. `classes` is said as it is.
pub(crate) fn priority_groups(table: &EtsTable, classes: u8) -> CeePriorityGroups {
    let shares = |class: u8| table.algorithms.get(usize::from(class)) == Some(&SelectionAlgorithm::Ets);
    let group = |class| if shares(class) { class } else { STRICT };
    let mut bandwidth = table.bandwidth;
    for (class, percent) in (0..).zip(&mut bandwidth) {
        if !shares(class) {
            *percent = 0;
        }
    }
    let groups = PriorityTable::new(table.classes.numbers().map(group)).unwrap_or_default();
    CeePriorityGroups { groups, bandwidth, classes }
}

/// What `groups` mean as traffic classes; `None` when a priority is in a group that does not exist.
pub(crate) fn table(groups: &CeePriorityGroups) -> Option<EtsTable> {
    let numbers = groups.groups.numbers();
    if numbers.iter().any(|group| (8..STRICT).contains(group)) {
        return None;
    }
    let used = |group: u8, share: u8| share != 0 || numbers.contains(&group);
    let mut algorithms = [SelectionAlgorithm::Strict; 8];
    let (mut top, mut free) = (None, None);
    for (group, (algorithm, share)) in (0..).zip(algorithms.iter_mut().zip(groups.bandwidth)) {
        if used(group, share) {
            *algorithm = SelectionAlgorithm::Ets;
            top = Some(group);
        } else {
            free = Some(group);
        }
    }
    let above = top.map_or(0, |top| top + 1);
    // With eight groups in use, no priority is left to be in the ninth; a share without a priority may take the last.
    let strict = if above < 8 { above } else { free.unwrap_or(7) };
    let class = |group| if group == STRICT { strict } else { group };
    Some(EtsTable {
        classes: PriorityTable::new(numbers.map(class))?,
        bandwidth: groups.bandwidth,
        algorithms,
    })
}

/// What of `list` CEE can say, an entry an application.
pub(crate) fn cee_applications(list: &[Application]) -> CeeApplications {
    let mut said: Vec<CeeApplication> = Vec::new();
    for Application { priority, selector, protocol } in in_order(list.to_vec()) {
        let selector = match selector {
            Selector::EtherType if protocol != 0 => CeeSelector::EtherType,
            Selector::TcpPort | Selector::UdpPort | Selector::AnyPort => CeeSelector::Port,
            Selector::EtherType | Selector::Dscp | Selector::Unknown(_) => continue,
        };
        match said.iter_mut().find(|one| one.protocol == protocol && one.selector == selector) {
            Some(one) => one.priorities.0 |= 1 << priority.get(),
            None => said.push(CeeApplication {
                protocol,
                selector,
                // The OUI that lldpad sends, read back from its two low octets.
                oui: [0x00, 0x1b, 0x21],
                priorities: PrioritySet(1 << priority.get()),
            }),
        }
    }
    CeeApplications(said)
}

/// The applications, in order. One of a selector without a meaning is left out.
pub(crate) fn applications(said: &CeeApplications) -> Vec<Application> {
    let entries = said.0.iter().filter_map(|one| {
        let selector = match one.selector {
            CeeSelector::EtherType => Selector::EtherType,
            CeeSelector::Port => Selector::AnyPort,
            CeeSelector::Unknown(_) => return None,
        };
        let protocol = one.protocol;
        Some(one.priorities.iter().map(move |priority| Application { priority, selector, protocol }))
    });
    in_order(entries.flatten().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ETS: SelectionAlgorithm = SelectionAlgorithm::Ets;
    const SP: SelectionAlgorithm = SelectionAlgorithm::Strict;

    #[test]
    fn strict_classes_are_above_the_groups() {
        let table_ = EtsTable {
            classes: PriorityTable::new([0, 0, 0, 1, 1, 0, 0, 2]).unwrap(),
            bandwidth: [60, 40, 0, 0, 0, 0, 0, 0],
            algorithms: [ETS, ETS, SP, SP, SP, SP, SP, SP],
        };
        let groups = priority_groups(&table_, 8);
        assert_eq!(groups.groups.numbers(), [0, 0, 0, 1, 1, 0, 0, 15]);
        assert_eq!(table(&groups), Some(table_));
        let none = CeePriorityGroups { groups: PriorityTable::new([9; 8]).unwrap(), ..groups };
        assert_eq!(table(&none), None);
    }

    #[test]
    fn what_cee_cannot_say_is_left_out() {
        let app =
            |selector, protocol| Application { priority: ether::Pcp::new(3).unwrap(), selector, protocol };
        let said = cee_applications(&[
            app(Selector::EtherType, 0),
            app(Selector::Dscp, 46),
            app(Selector::TcpPort, 3260),
            app(Selector::UdpPort, 3260),
            app(Selector::EtherType, 0x8906),
        ]);
        assert_eq!(applications(&said), [app(Selector::EtherType, 0x8906), app(Selector::AnyPort, 3260)]);
    }

    proptest! {
        /// Said in CEE and read back, a table stays the same from then on, and its classes exist.
        #[test]
        fn the_second_time_nothing_is_lost(
            classes in proptest::array::uniform8(0_u8..8),
            bandwidth in proptest::array::uniform8(0_u8..=100),
            shares in proptest::array::uniform8(any::<bool>()),
        ) {
            let algorithms = shares.map(|ets| if ets { ETS } else { SP });
            let from = EtsTable { classes: PriorityTable::new(classes).unwrap(), bandwidth, algorithms };
            let once = table(&priority_groups(&from, 8)).unwrap();
            prop_assert!(once.classes.numbers().iter().all(|class| *class < 8));
            prop_assert_eq!(table(&priority_groups(&once, 8)), Some(once));
        }
    }
}
