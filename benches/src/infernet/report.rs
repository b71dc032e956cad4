//! The numbers, with the targets beside them. No verdicts.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::{CONNECTIONS, Round, STEADY_RATE};
use crate::scenario::median;

/// What a run found: medians over its rounds.
#[derive(Debug)]
pub(super) struct Report {
    rows: Vec<Row>,
    jobs: usize,
}

#[derive(Debug)]
struct Row {
    label: String,
    value: f64,
    unit: &'static str,
    target: Option<&'static str>,
}

impl Report {
    pub(super) fn new(rounds: &[Round], start_time: Duration, memory: u64) -> Self {
        let over = |of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
        let mut rows = Vec::new();
        let mut row = |label: &str, value: f64, unit: &'static str, target: Option<&'static str>| {
            rows.push(Row {
                label: label.to_owned(),
                value,
                unit,
                target,
            });
        };
        let many = format!("{CONNECTIONS} at a time: jobs accepted");
        row(
            &many,
            over(|round| round.jobs.latencies.len() as f64 / round.jobs.window.as_secs_f64()),
            "/s",
            None,
        );
        row(
            "  accepted and done, results durable",
            over(|round| round.jobs.latencies.len() as f64 / round.until_done.as_secs_f64()),
            "/s",
            Some("≥ 9000"),
        );
        row(
            "  accepting, p50",
            over(|round| percentile(&round.jobs.latencies, 0.5)),
            "µs",
            None,
        );
        row(
            "  accepting, p99",
            over(|round| percentile(&round.jobs.latencies, 0.99)),
            "µs",
            None,
        );
        row(
            "  CPU a job, all in",
            over(|round| micros(round.job_cpu)),
            "µs",
            Some("≤ 120"),
        );
        let gets = format!("{CONNECTIONS} at a time: results fetched");
        row(
            &gets,
            over(|round| round.results.latencies.len() as f64 / round.results.window.as_secs_f64()),
            "/s",
            None,
        );
        row("  CPU a GET", over(|round| micros(round.get_cpu)), "µs", Some("≤ 30"));
        let steady = format!("{STEADY_RATE} jobs a second: accepting, p50");
        row(
            &steady,
            over(|round| percentile(&round.steady.latencies, 0.5)),
            "µs",
            None,
        );
        row(
            "  accepting, p99",
            over(|round| percentile(&round.steady.latencies, 0.99)),
            "µs",
            Some("≤ 10000"),
        );
        row(
            "start, 20 containers",
            start_time.as_secs_f64() * 1e3,
            "ms",
            Some("≤ 300"),
        );
        row("peak memory", memory as f64 / 1e6, "MB", Some("≤ 25"));
        Self {
            rows,
            jobs: rounds
                .iter()
                .map(|round| round.jobs.latencies.len() + round.steady.latencies.len())
                .sum(),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| json!({"what": row.label.trim(), "value": row.value, "unit": row.unit, "target": row.target}))
            .collect();
        json!({"jobs": self.jobs, "rows": rows})
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let digits = usize::from(row.value < 100.0);
            let target = row.target.unwrap_or_default();
            writeln!(
                f,
                "{:<46}{:>10.digits$} {:<4}{target:>10}",
                row.label, row.value, row.unit
            )?;
        }
        writeln!(f, "{} jobs, all of them done, each with its own result", self.jobs)
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// In microseconds.
fn percentile(latencies: &[Duration], share: f64) -> f64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().map_or(0.0, micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let latencies: Vec<_> = (1..=100).rev().map(Duration::from_micros).collect();
        assert!((percentile(&latencies, 0.5) - 51.0).abs() < 0.01);
        assert!((percentile(&latencies, 0.99) - 100.0).abs() < 0.01);
        assert!(percentile(&[], 0.5).abs() < 0.01);
    }
}
