//! Medians, and their ratios to the kernel's.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};

use crate::load::Measure;

/// Figures by group and candidate, in the order they came.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

struct Row {
    group: &'static str,
    name: &'static str,
    figures: BTreeMap<Measure, Vec<f64>>,
}

impl Row {
    fn median(&self, measure: Measure) -> f64 {
        let mut all = self.figures.get(&measure).cloned().unwrap_or_default();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

impl Table {
    pub(crate) fn add(
        &mut self,
        group: &'static str,
        name: &'static str,
        _: Measure,
        figures: Vec<(Measure, f64)>,
    ) {
        let place = self.rows.iter().position(|row| (row.group, row.name) == (group, name));
        let place = place.unwrap_or_else(|| {
            self.rows.push(Row { group, name, figures: BTreeMap::new() });
            self.rows.len() - 1
        });
        if let Some(row) = self.rows.get_mut(place) {
            for (measure, figure) in figures {
                row.figures.entry(measure).or_default().push(figure);
            }
        }
    }

    /// The first of the row's group: what it is compared with.
    fn reference(&self, row: &Row) -> Option<&Row> {
        self.rows.iter().find(|other| other.group == row.group)
    }

    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let figures = row.figures.iter().map(|(measure, all)| {
                let median = row.median(*measure);
                let reference = self.reference(row).map_or(f64::NAN, |first| first.median(*measure));
                (measure.name(), json!({ "median": median, "ratio": median / reference, "all": all }))
            });
            let figures: BTreeMap<_, _> = figures.collect();
            json!({ "topology": row.group, "candidate": row.name, "figures": figures })
        });
        rows.collect()
    }
}

/// A table in Markdown, a median and its ratio in each cell.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| topology | data plane |")?;
        COLUMNS.iter().try_for_each(|measure| write!(f, " {} |", measure.name()))?;
        write!(f, "\n|---|---|")?;
        COLUMNS.iter().try_for_each(|_| write!(f, "---|"))?;
        writeln!(f)?;
        for row in &self.rows {
            write!(f, "| {} | {} |", row.group, row.name)?;
            for measure in COLUMNS {
                let median = row.median(measure);
                let digits = if median < 100.0 { 1 } else { 0 };
                write!(f, " {median:.digits$}")?;
                match self.reference(row) {
                    Some(first) if first.name != row.name => {
                        write!(f, " ({:.2}×) |", median / first.median(measure))?;
                    }
                    _ => write!(f, " |")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

const COLUMNS: [Measure; 7] = [
    Measure::OneFlow,
    Measure::ManyFlows,
    Measure::Tcp1,
    Measure::Tcp4,
    Measure::RoundTrip,
    Measure::RoundTrip99,
    Measure::CpuPerFrame,
];
