//! The report: a table for people, JSON for programs. Ratios with the targets beside them, no verdicts.

use std::fmt::{self, Display};

use serde_json::{Value, json};

use crate::driver::Tally;
use crate::probe::Probe;
use crate::rig::Audit;
use crate::scenario::Outcome;

/// All that a run found.
#[derive(Debug)]
pub struct Report {
    /// Logical processors of the machine, shared by all processes.
    pub cores: usize,
    /// Seconds of measuring that were asked for.
    pub seconds: f64,
    /// What single parts cost here.
    pub probe: Probe,
    /// What came of the scenarios.
    pub outcomes: Vec<Outcome>,
    /// Peak memory of server and node in bytes; absent if only the engine was measured.
    pub memory: Option<(u64, u64)>,
    /// All answers that were checked.
    pub checked: Tally,
    /// What the audit said; absent if only the engine was measured.
    pub audit: Option<Audit>,
}

impl Report {
    /// The report for programs. Times in microseconds, memory in bytes.
    pub fn to_json(&self) -> Value {
        let memory = self
            .memory
            .map(|(server, node)| json!({"server": server, "node": node}));
        let audit = self.audit.as_ref().map(|audit| match audit {
            Audit::Passed(_) => "passed",
            Audit::Missing => "missing",
        });
        json!({
            "cores": self.cores,
            "seconds": self.seconds,
            "probe": self.probe,
            "scenarios": self.outcomes,
            "rows": self.rows().into_iter().map(Row::to_json).collect::<Vec<_>>(),
            "peak_memory": memory,
            "checked": self.checked.checked,
            "errors": self.checked.errors,
            "wrong": self.checked.wrong,
            "audit": audit,
        })
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for outcome in &self.outcomes {
            outcome_rows(outcome, &mut rows);
        }
        if let Some((server, node)) = self.memory {
            rows.push(Row::network("server, peak memory", Unit::Megabytes, server as f64).at_most(60e6));
            rows.push(Row::network("node, peak memory", Unit::Megabytes, node as f64));
        }
        rows
    }
}

fn outcome_rows(outcome: &Outcome, rows: &mut Vec<Row>) {
    let (direct, network) = (outcome.direct, outcome.network);
    let mut both = |label: &'static str, unit, field: fn(&crate::scenario::Side) -> f64| {
        rows.push(Row {
            label,
            unit,
            direct: Some(field(&direct)),
            network: network.as_ref().map(field),
            ..Row::default()
        });
        rows.len() - 1
    };
    match outcome.name {
        "single" => {
            let p50 = both("one at a time, p50", Unit::Micros, |side| side.p50_us);
            let p99 = both("  p99", Unit::Micros, |side| side.p99_us);
            rows[p50].relation = Relation::Added;
            rows[p50].target = Some(Target::AtMost(1000.0));
            rows[p99].relation = Relation::Added;
        }
        "parallel" => {
            let rate = both("64 at a time, requests/s", Unit::Count, |side| side.per_second);
            both("  p50", Unit::Micros, |side| side.p50_us);
            both("  p99", Unit::Micros, |side| side.p99_us);
            rows[rate].target = Some(Target::AtLeast(0.035));
            rows[rate + 1].relation = Relation::Times;
            rows[rate + 2].relation = Relation::Times;
            if let Some(network) = network {
                rows.push(Row::network("  CPU a job: server", Unit::Micros, network.server_cpu_us));
                rows.push(Row::network("    node", Unit::Micros, network.node_cpu_us));
                rows.push(Row::network("    both", Unit::Micros, network.cpu_us()).at_most(300.0));
            }
        }
        "streams" | "flushed" => {
            let flushed = outcome.name == "flushed";
            let label = if flushed {
                "  a write each, chunks/s"
            } else {
                "64 streams of 64, chunks/s"
            };
            let rate = both(label, Unit::Count, |side| side.chunks_per_second);
            both("  streams/s", Unit::Count, |side| side.per_second);
            rows[rate].target = Some(Target::AtLeast(0.30));
            if let Some(network) = network {
                let all = network.cpu_us_per_chunk();
                let server = all * network.server_cpu_us / network.cpu_us().max(f64::MIN_POSITIVE);
                rows.push(Row::network("  CPU a chunk: server", Unit::Micros, server));
                rows.push(Row::network("    node", Unit::Micros, all - server));
                rows.push(Row::network("    both", Unit::Micros, all));
            }
        }
        _ => {
            let first = both("paced streams, first token p50", Unit::Micros, |side| side.first_p50_us);
            both("  first token p99", Unit::Micros, |side| side.first_p99_us);
            let total = both("  whole stream p50", Unit::Micros, |side| side.p50_us);
            rows[first].target = Some(Target::AtMost(1.10));
            rows[total].target = Some(Target::AtMost(1.02));
            rows[first].relation = Relation::Times;
            rows[first + 1].relation = Relation::Times;
            rows[total].relation = Relation::Times;
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
enum Unit {
    #[default]
    Count,
    Micros,
    Megabytes,
}

/// How the network's value stands to the direct one, and what the target is for.
#[derive(Debug, Clone, Copy, Default)]
enum Relation {
    /// Network over direct, in percent.
    #[default]
    Share,
    /// Network over direct, as a factor.
    Times,
    /// Network less direct.
    Added,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    AtMost(f64),
    AtLeast(f64),
}

/// One line. Where both values are there, the target is for their relation, else for the network's value.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    label: &'static str,
    unit: Unit,
    direct: Option<f64>,
    network: Option<f64>,
    relation: Relation,
    target: Option<Target>,
}

impl Row {
    fn network(label: &'static str, unit: Unit, value: f64) -> Self {
        Self {
            label,
            unit,
            network: Some(value),
            ..Self::default()
        }
    }

    const fn at_most(mut self, limit: f64) -> Self {
        self.target = Some(Target::AtMost(limit));
        self
    }

    fn related(&self) -> Option<f64> {
        let (direct, network) = (self.direct?, self.network?);
        Some(match self.relation {
            Relation::Added => network - direct,
            Relation::Share | Relation::Times => network / direct,
        })
    }

    fn show(&self, value: f64) -> String {
        match self.unit {
            Unit::Count if value >= 100.0 => format!("{value:.0}"),
            Unit::Count => format!("{value:.1}"),
            Unit::Micros if value >= 10_000.0 => format!("{:.1} ms", value / 1000.0),
            Unit::Micros if value >= 1000.0 => format!("{:.2} ms", value / 1000.0),
            Unit::Micros if value >= 100.0 => format!("{value:.0} µs"),
            Unit::Micros => format!("{value:.1} µs"),
            Unit::Megabytes => format!("{:.1} MB", value / 1e6),
        }
    }

    fn show_related(&self, value: f64) -> String {
        match self.relation {
            Relation::Share => format!("{:.1} %", value * 100.0),
            Relation::Times => format!("{value:.3} x"),
            Relation::Added => format!("+{}", self.show(value)),
        }
    }

    fn show_target(&self) -> String {
        let show = |value| {
            if self.direct.is_some() {
                self.show_related(value)
            } else {
                self.show(value)
            }
        };
        match self.target {
            None => String::new(),
            Some(Target::AtMost(limit)) => format!("≤ {}", show(limit)),
            Some(Target::AtLeast(limit)) => format!("≥ {}", show(limit)),
        }
    }

    fn to_json(self) -> Value {
        let (at_most, at_least) = match self.target {
            None => (None, None),
            Some(Target::AtMost(limit)) => (Some(limit), None),
            Some(Target::AtLeast(limit)) => (None, Some(limit)),
        };
        json!({
            "label": self.label.trim(),
            "unit": match self.unit { Unit::Count => "count", Unit::Micros => "us", Unit::Megabytes => "bytes" },
            "direct": self.direct,
            "network": self.network,
            "relation": match self.relation { Relation::Share | Relation::Times => "ratio", Relation::Added => "added" },
            "related": self.related(),
            "target_at_most": at_most,
            "target_at_least": at_least,
        })
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: Option<f64>| value.map_or_else(String::new, |value| self.show(value));
        let related = self
            .related()
            .map_or_else(String::new, |related| self.show_related(related));
        let line = format!(
            "{:<31}{:>11}{:>11}{:>12}  {}",
            self.label,
            value(self.direct),
            value(self.network),
            related,
            self.show_target(),
        );
        f.write_str(line.trim_end())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<31}{:>11}{:>11}{:>12}  target",
            "medians", "direct", "network", "relation"
        )?;
        for row in self.rows() {
            writeln!(f, "{row}")?;
        }
        let Probe {
            sign_us,
            verify_us,
            commit_us,
            fdatasync_us,
        } = self.probe;
        writeln!(f)?;
        writeln!(
            f,
            "This machine ({} cores for all processes): one signature {sign_us:.0} µs,",
            self.cores
        )?;
        writeln!(
            f,
            "verification {verify_us:.0} µs, SQLite commit {commit_us:.0} µs, fdatasync {fdatasync_us:.0} µs."
        )?;
        let Tally { checked, wrong, .. } = &self.checked;
        writeln!(
            f,
            "Answers checked: {checked}; errors: {}; wrong: {}.",
            self.checked.error_count(),
            wrong.len()
        )?;
        for (error, count) in &self.checked.errors {
            writeln!(f, "  {count} x {error}")?;
        }
        for wrong in wrong.iter().take(10) {
            writeln!(f, "  wrong: {wrong}")?;
        }
        match &self.audit {
            None => Ok(()),
            Some(Audit::Passed(said)) => writeln!(f, "Audit of the books: {said}"),
            Some(Audit::Missing) => writeln!(f, "Audit of the books: this server has no such command."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Side, scenarios};

    #[test]
    fn the_table_is_at_most_80_columns_wide() {
        let direct = Side {
            per_second: 123_456.0,
            chunks_per_second: 1_234_567.0,
            p50_us: 650_000.0,
            p99_us: 650_000.0,
            first_p50_us: 20_000.0,
            first_p99_us: 99_999.0,
            jobs: 1,
            ..Side::default()
        };
        let network = Side {
            server_cpu_us: 12_345.6,
            node_cpu_us: 12_345.6,
            ..direct
        };
        let outcomes = scenarios().map(|scenario| Outcome {
            name: scenario.name,
            direct,
            network: Some(network),
        });
        let report = Report {
            cores: 2,
            seconds: 60.0,
            probe: Probe {
                sign_us: 1.0,
                verify_us: 2.0,
                commit_us: 3.0,
                fdatasync_us: 4.0,
            },
            outcomes: outcomes.into(),
            memory: Some((55_000_000, 1_000_000_000)),
            checked: Tally {
                checked: 1_000_000,
                ..Tally::default()
            },
            audit: Some(Audit::Missing),
        };
        let table = report.to_string();
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for target in [
            "≤ +1.00 ms",
            "≥ 3.5 %",
            "≤ 300 µs",
            "≥ 30.0 %",
            "≤ 1.100 x",
            "≤ 1.020 x",
            "≤ 60.0 MB",
        ] {
            assert!(table.contains(target), "{target} is missing in\n{table}");
        }
        assert_eq!(report.to_json()["rows"][0]["target_at_most"], 1000.0);
    }
}
