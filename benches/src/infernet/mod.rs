//! What the Infernet API of a node costs: jobs that are accepted and done, with their results durable, and their `GET`s.
//!
//! ```text
//! cargo build --release -p resultity-node
//! cargo run --release -p resultity-benches --bin load -- infernet [--seconds N] [--json]
//! ```
//!
//! The rig starts the node with 20 containers, all of them the mock engine, which gives back what it gets. Everything
//! shares the machine, the driver too. Every answer is checked: each job that was accepted has to be done, with its own input
//! in its result.

mod asking;
mod node;
mod report;

use std::path::Path;
use std::time::Duration;

use clap::Args;

use self::asking::{Asked, Pace};
use self::node::Node;
use self::report::Report;
use crate::error::LoadError;
use crate::rig;

/// Requests at a time.
pub const CONNECTIONS: usize = 32;

/// Jobs a second of the phase that looks at latency.
pub const STEADY_RATE: u32 = 2000;

/// How often a phase is repeated; the report has medians.
const ROUNDS: usize = 3;

/// Options of `load infernet`.
#[derive(Debug, Args)]
pub struct Options {
    /// Seconds of measuring; starting and settling down come on top.
    #[arg(long, value_name = "N", default_value_t = 30.0)]
    seconds: f64,
    /// Prints one JSON document instead of the table.
    #[arg(long)]
    json: bool,
}

/// One round: as many jobs as go through, then their results, then a steady rate.
#[derive(Debug)]
struct Round {
    /// Jobs, accepted and done.
    jobs: Asked,
    /// From the first job asked for to the last one done.
    until_done: Duration,
    /// CPU time of the node for a job, all in.
    job_cpu: Duration,
    results: Asked,
    /// CPU time of the node for a `GET`.
    get_cpu: Duration,
    steady: Asked,
}

/// Runs the rig.
///
/// # Errors
///
/// If something could not be started, or an answer was wrong.
pub async fn run(options: &Options) -> Result<(), LoadError> {
    let folder = rig::new_folder()?;
    let seconds = options.seconds.clamp(3.0, 3600.0);
    // A third of the time for each phase.
    let phase = Duration::from_secs_f64(seconds / 3.0 / ROUNDS as f64);
    let engine = rig::Engine::start(folder.path()).await?;
    let mut node = Node::start(folder.path(), &engine).await?;
    // The first round warms up connections, caches and the file.
    round(&mut node, Duration::from_millis(500)).await?;
    let mut rounds = Vec::new();
    for number in 1..=ROUNDS {
        eprintln!("round {number} of {ROUNDS} …");
        rounds.push(round(&mut node, phase).await?);
    }
    let report = Report::new(&rounds, node.start_time, node.process.peak_memory()?);
    node.process.stop().await?;
    if options.json {
        println!("{:#}", report.to_json());
    } else {
        print!("{report}");
    }
    Ok(())
}

async fn round(node: &mut Node, phase: Duration) -> Result<Round, LoadError> {
    let (cpu, began) = (node.process.cpu()?, std::time::Instant::now());
    let jobs = asking::jobs(node.address, phase, Pace::AsFastAsItGoes).await?;
    node.wait_until_done().await?;
    let until_done = began.elapsed();
    let job_cpu = node.process.cpu()?.saturating_sub(cpu);
    let cpu = node.process.cpu()?;
    let results = asking::results(node.address, &jobs.ids, phase).await?;
    let get_cpu = node.process.cpu()?.saturating_sub(cpu);
    let steady = asking::jobs(node.address, phase, Pace::PerSecond(STEADY_RATE)).await?;
    node.wait_until_done().await?;
    asking::results(node.address, &steady.ids, Duration::ZERO).await?;
    node.process.check()?;
    Ok(Round {
        job_cpu: per(job_cpu, jobs.latencies.len()),
        get_cpu: per(get_cpu, results.latencies.len()),
        jobs,
        until_done,
        results,
        steady,
    })
}

fn per(time: Duration, count: usize) -> Duration {
    time.div_f64(count.max(1) as f64)
}

/// Where the node's configuration and its results lie.
fn config_path(folder: &Path) -> std::path::PathBuf {
    folder.join("config.json")
}
