//! The scenarios: what is asked of the engine and of the network in turn, and what comes of it.

use std::time::Duration;

use serde::Serialize;

use crate::driver::{Question, Slice, Tally, Target};
use crate::error::LoadError;
use crate::prompt::Pace;
use crate::rig::{CpuTime, Network};

/// How many requests are in flight in all scenarios but the first.
pub const CONCURRENCY: usize = 64;

/// Parts of each stream.
pub const CHUNKS: u32 = 64;

/// One way of asking.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name in the JSON report.
    pub name: &'static str,
    /// What is asked.
    pub question: Question,
    /// How many requests are in flight.
    pub workers: usize,
    /// Its part of the time that is measured.
    pub share: f64,
    /// How often engine and network take turns, at most.
    pub rounds: u32,
    /// Over how long the workers begin. All at once would be a burst that the steady load of a paced engine isn't.
    pub spread: Duration,
}

/// All of them, in the order of the report.
pub fn scenarios() -> [Scenario; 5] {
    let pace = Pace::from_millis(20, 10);
    let whole = Question::default();
    let stream = Question {
        chunks: Some(CHUNKS),
        ..whole
    };
    let flushed = Question { flush: true, ..stream };
    let paced = Question {
        pace: Some(pace),
        ..stream
    };
    let steady = |name, question, workers, share| {
        let spread = Duration::ZERO;
        Scenario {
            name,
            question,
            workers,
            share,
            rounds: 5,
            spread,
        }
    };
    [
        steady("single", whole, 1, 0.18),
        steady("parallel", whole, CONCURRENCY, 0.26),
        steady("streams", stream, CONCURRENCY, 0.18),
        steady("flushed", flushed, CONCURRENCY, 0.18),
        Scenario {
            rounds: 3,
            spread: pace.due(CHUNKS - 1),
            ..steady("paced", paced, CONCURRENCY, 0.2)
        },
    ]
}

/// Medians over the rounds, of one side.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Side {
    /// Answers a second.
    pub per_second: f64,
    /// Parts of streams a second.
    pub chunks_per_second: f64,
    /// Median time to the end of an answer: microseconds.
    pub p50_us: f64,
    /// The time that 99 of 100 answers took at most: microseconds.
    pub p99_us: f64,
    /// Median time to the first text of a stream: microseconds.
    pub first_p50_us: f64,
    /// The same for 99 of 100.
    pub first_p99_us: f64,
    /// The server's CPU time: microseconds for a job.
    pub server_cpu_us: f64,
    /// The node's.
    pub node_cpu_us: f64,
    /// Jobs that were counted, over all rounds.
    pub jobs: u64,
}

impl Side {
    /// CPU time of server and node: microseconds for a job.
    pub fn cpu_us(&self) -> f64 {
        self.server_cpu_us + self.node_cpu_us
    }

    /// CPU time of server and node: microseconds for a chunk of a stream.
    pub fn cpu_us_per_chunk(&self) -> f64 {
        self.cpu_us() * self.per_second / self.chunks_per_second
    }
}

/// What came of a scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// The engine called directly.
    pub direct: Side,
    /// The network; absent if only the engine was measured.
    pub network: Option<Side>,
}

/// Runs one scenario for `seconds` of measuring; adds what was checked to `checked`.
pub async fn run(
    scenario: &Scenario,
    direct: &Target,
    network: &mut Option<Network>,
    seconds: f64,
    rounds: u32,
    checked: &mut Tally,
) -> Result<Outcome, LoadError> {
    let rounds = rounds.min(scenario.rounds).max(1);
    let sides = if network.is_some() { 2.0 } else { 1.0 };
    let window = Duration::from_secs_f64(seconds * scenario.share / sides / f64::from(rounds));
    let (mut direct_rounds, mut network_rounds) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        direct_rounds.push(slice(scenario, direct, &mut None, window, checked).await?);
        if let Some(target) = network.as_ref().map(|network| network.target().clone()) {
            network_rounds.push(slice(scenario, &target, network, window, checked).await?);
        }
    }
    let network = (!network_rounds.is_empty()).then(|| summary(&network_rounds));
    Ok(Outcome {
        name: scenario.name,
        direct: summary(&direct_rounds),
        network,
    })
}

async fn slice(
    scenario: &Scenario,
    target: &Target,
    network: &mut Option<Network>,
    window: Duration,
    checked: &mut Tally,
) -> Result<Side, LoadError> {
    let mut slice = Slice::start(target, scenario.question, scenario.workers, scenario.spread).await?;
    let before = cpu(network)?;
    slice.count(window).await;
    let after = cpu(network)?;
    let mut tally = slice.finish().await?;
    let side = Side::new(&mut tally, before, after);
    let example = tally.wrong.first().or(tally.errors.keys().next()).cloned();
    checked.add(Tally {
        total: Vec::new(),
        first: Vec::new(),
        ..tally
    });
    match side {
        Some(side) => Ok(side),
        None => {
            let what = format!(
                "no answer in a slice of {:?} of {:?}: {}",
                window,
                scenario.name,
                example.unwrap_or_default()
            );
            Err(network
                .as_ref()
                .map_or_else(|| LoadError::Wrong(what.clone()), |network| network.failed(&what)))
        }
    }
}

fn cpu(network: &mut Option<Network>) -> Result<CpuTime, LoadError> {
    network.as_mut().map_or(Ok(CpuTime::default()), Network::cpu)
}

impl Side {
    /// One slice; nothing if no answer came in it.
    pub fn new(tally: &mut Tally, before: CpuTime, after: CpuTime) -> Option<Self> {
        let (seconds, jobs) = (tally.window.as_secs_f64(), tally.total.len());
        if jobs == 0 {
            return None;
        }
        tally.total.sort_unstable();
        tally.first.sort_unstable();
        let per_job = |used: Duration| used.as_secs_f64() * 1e6 / jobs as f64;
        Some(Self {
            per_second: jobs as f64 / seconds,
            chunks_per_second: tally.parts as f64 / seconds,
            p50_us: quantile(&tally.total, 0.5),
            p99_us: quantile(&tally.total, 0.99),
            first_p50_us: quantile(&tally.first, 0.5),
            first_p99_us: quantile(&tally.first, 0.99),
            server_cpu_us: per_job(after.server.saturating_sub(before.server)),
            node_cpu_us: per_job(after.node.saturating_sub(before.node)),
            jobs: jobs as u64,
        })
    }
}

/// Medians over slices.
pub fn summary(rounds: &[Side]) -> Side {
    let of = |field: fn(&Side) -> f64| median(rounds.iter().map(field).collect());
    Side {
        per_second: of(|side| side.per_second),
        chunks_per_second: of(|side| side.chunks_per_second),
        p50_us: of(|side| side.p50_us),
        p99_us: of(|side| side.p99_us),
        first_p50_us: of(|side| side.first_p50_us),
        first_p99_us: of(|side| side.first_p99_us),
        server_cpu_us: of(|side| side.server_cpu_us),
        node_cpu_us: of(|side| side.node_cpu_us),
        jobs: rounds.iter().map(|side| side.jobs).sum(),
    }
}

/// The value that this part of the sorted times does not exceed, in microseconds; 0 if there are none.
pub fn quantile(sorted: &[Duration], part: f64) -> f64 {
    let index = (sorted.len() as f64 * part).ceil() as usize;
    sorted
        .get(index.saturating_sub(1))
        .map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// The median; 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        even if even % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        let times: Vec<_> = (1..=100).map(Duration::from_micros).collect();
        assert!((quantile(&times, 0.5) - 50.0).abs() < 1e-6);
        assert!((quantile(&times, 0.99) - 99.0).abs() < 1e-6);
    }

    #[test]
    fn the_shares_are_all_of_the_time() {
        assert!((scenarios().iter().map(|scenario| scenario.share).sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
