//! What thousands of nodes cost one server.
//!
//! ```text
//! cargo build --release -p resultity-server -p resultity-node
//! cargo run --release -p resultity-benches --bin load -- nodes [--nodes N] [--seconds N] [--json]
//! ```
//!
//! The nodes are tasks of the rig, as light as can be, each with a key, a WebSocket and signatures of its own. They say hello,
//! answer their readiness job, send their heartbeats when they are due, and share the jobs that are asked. Measured are the
//! server's memory and CPU time for each, and the main job with one node and with all of them. The rig shares the machine with
//! the server: how soon all are in tells as much about it as about the server.

mod node;
mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use futures::{StreamExt as _, stream};
use resultity_core::clock::SystemEntropy;
use resultity_core::signing::Keypair;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::node::{Done, Network, Node};
use self::report::Report;
use crate::driver::{Slice, Tally};
use crate::engine::MODEL;
use crate::error::LoadError;
use crate::http;
use crate::rig::{self, CpuTime, Engine, Server};
use crate::scenario::{self, Scenario, Side};

/// How many dial in at once.
const AT_ONCE: usize = 64;

/// The longest that nothing may happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// File descriptors for what is no node.
const OTHER_FILES: u64 = 256;

/// Options of `load nodes`.
#[derive(Debug, Args)]
pub struct Options {
    /// How many nodes.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=16_000))]
    nodes: u32,
    /// Seconds of measuring; coming in and settling down come on top.
    #[arg(long, value_name = "N", default_value_t = 40.0)]
    seconds: f64,
    /// Prints one JSON document instead of the table.
    #[arg(long)]
    json: bool,
}

/// Runs the rig.
///
/// # Errors
///
/// If something could not be started, a link broke, or an answer was wrong.
pub async fn run(options: &Options) -> Result<(), LoadError> {
    rig::check_built()?;
    check_files(u64::from(options.nodes) + OTHER_FILES)?;
    let folder = rig::new_folder()?;
    let seconds = options.seconds.clamp(4.0, 3600.0);
    let engine = Engine::start(folder.path()).await?;
    let mut server = Server::start(folder.path(), &engine).await?;
    let (done, mut dones) = mpsc::unbounded_channel();
    let network = Arc::new(network(&server, done).await?);
    let mut tasks = JoinSet::new();
    let mut checked = Tally::default();

    let interval = come_in(1, &network, &mut tasks, &mut dones).await?;
    server.ready().await?;
    // Before the nodes are counted, so that what questions need is in memory already.
    let quarter = Duration::from_secs_f64(seconds / 4.0);
    let with_one = main_job(&mut server, quarter / 2, &mut checked).await?;

    let others = options.nodes as usize - 1;
    eprintln!("{others} more nodes dial in …");
    let (memory, cpu, began) = (server.memory()?, server.cpu()?, Instant::now());
    come_in(others, &network, &mut tasks, &mut dones).await?;
    let came_in = began.elapsed();
    let join_cpu = server.cpu()?.saturating_sub(cpu);
    let memory_of_all = server.memory()?.saturating_sub(memory);

    eprintln!("hearing heartbeats, one each {} s …", interval.as_secs_f64());
    // All of them have been heard once, evenly spread; then what is measured.
    heartbeats(&mut dones, interval).await?;
    let (cpu, began) = (server.cpu()?, Instant::now());
    let heard = heartbeats(&mut dones, quarter.max(interval)).await?;
    let heartbeat_time = began.elapsed();
    let heartbeat_cpu = server.cpu()?.saturating_sub(cpu);
    let memory_at_rest = server.memory()?.saturating_sub(memory);

    let with_all = main_job(&mut server, quarter / 2, &mut checked).await?;
    broken(&mut dones)?;
    tasks.shutdown().await;
    let audit = format!("{:?}", server.stop_and_audit().await?);
    let report = Report {
        nodes: options.nodes,
        came_in_seconds: came_in.as_secs_f64(),
        server_cpu_us_per_join: join_cpu.as_secs_f64() * 1e6 / others as f64,
        memory_per_node: memory_of_all / others as u64,
        memory_per_node_at_rest: memory_at_rest / others as u64,
        interval_seconds: interval.as_secs_f64(),
        heartbeats: heard,
        heartbeats_per_second: heard as f64 / heartbeat_time.as_secs_f64(),
        server_cpu_us_per_heartbeat: heartbeat_cpu.as_secs_f64() * 1e6 / heard.max(1) as f64,
        cores_for_heartbeats: heartbeat_cpu.as_secs_f64() / heartbeat_time.as_secs_f64(),
        main: with_one
            .into_iter()
            .zip(with_all)
            .map(|((name, one), (_, all))| report::Compared { name, one, all })
            .collect(),
        audit,
    };
    if options.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| LoadError::Wrong(error.to_string()))?;
        println!("{json}");
    } else {
        print!("{report}");
    }
    match checked.wrong.first().or(checked.errors.keys().next()) {
        None => Ok(()),
        Some(wrong) => Err(LoadError::Wrong(format!("an answer was wrong or none: {wrong}"))),
    }
}

/// Fails if this process may not open so many files.
fn check_files(needed: u64) -> Result<(), LoadError> {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    match line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()) {
        Some(most) if most < needed => Err(LoadError::Wrong(format!(
            "a process may open {most} files here, and each node takes one; run `ulimit -n {needed}` first, or ask for fewer --nodes"
        ))),
        _ => Ok(()),
    }
}

/// What the nodes have to know.
async fn network(server: &Server, done: mpsc::UnboundedSender<Done>) -> Result<Network, LoadError> {
    let wrong = |what: String| LoadError::Wrong(format!("the link at {}: {what}", server.io()));
    let url = server.io().replacen("ws", "http", 1).replacen("/ws", "/config", 1);
    let (address, host, path) = http::split_url(&url).ok_or_else(|| wrong("no address".into()))?;
    let request = http::request(host, path, "", None);
    let (status, body) = http::fetch(address, &request)
        .await
        .map_err(|error| wrong(error.to_string()))?;
    let signed: serde_json::Value =
        serde_json::from_slice(&body).map_err(|error| wrong(format!("{status}: {error}")))?;
    let models = signed["snapshot"]["models"].as_array();
    let version = models
        .and_then(|models| models.iter().find(|model| model["name"] == MODEL))
        .and_then(|model| model["version"].as_str());
    let version = version.ok_or_else(|| wrong(format!("its configuration doesn't list {MODEL}")))?;
    let uri = server.io().parse().map_err(|error| wrong(format!("{error}")))?;
    Ok(Network::new(uri, MODEL, version.to_owned(), done))
}

/// Lets so many nodes dial in and answer their readiness jobs; gives how often each is to be heard.
async fn come_in(
    count: usize,
    network: &Arc<Network>,
    tasks: &mut JoinSet<()>,
    dones: &mut mpsc::UnboundedReceiver<Done>,
) -> Result<Duration, LoadError> {
    let wrong = |error: String| LoadError::Wrong(format!("a node could not come in: {error}"));
    let mut interval = Duration::ZERO;
    let mut connecting = stream::iter(0..count)
        .map(|_| Node::connect(Arc::clone(network), Keypair::generate(&SystemEntropy)))
        .buffer_unordered(AT_ONCE);
    let mut index = 0_u32;
    while let Some(node) = connecting.next().await {
        let node = node.map_err(wrong)?;
        interval = node.interval();
        // Evenly spread, as those of nodes that came at times of their own.
        let first = interval.mul_f64(f64::from(index) / count as f64);
        index += 1;
        tasks.spawn(node.run(first));
    }
    let mut ready = 0;
    while ready < count {
        match tokio::time::timeout(PATIENCE, dones.recv()).await {
            Ok(Some(Done::Job)) => ready += 1,
            Ok(Some(Done::Heartbeat)) => {}
            Ok(Some(Done::Broken(error))) => return Err(wrong(error)),
            Ok(None) | Err(_) => return Err(wrong(format!("{ready} of {count} were asked their readiness job"))),
        }
    }
    Ok(interval)
}

/// How many heartbeats were answered within this time.
async fn heartbeats(dones: &mut mpsc::UnboundedReceiver<Done>, within: Duration) -> Result<u64, LoadError> {
    let end = tokio::time::Instant::now() + within;
    let mut heard = 0;
    while let Ok(Some(done)) = tokio::time::timeout_at(end, dones.recv()).await {
        match done {
            Done::Heartbeat => heard += 1,
            Done::Job => {}
            Done::Broken(error) => return Err(LoadError::Wrong(format!("a link broke: {error}"))),
        }
    }
    Ok(heard)
}

/// Fails if a node has told that its link broke.
fn broken(dones: &mut mpsc::UnboundedReceiver<Done>) -> Result<(), LoadError> {
    while let Ok(done) = dones.try_recv() {
        if let Done::Broken(error) = done {
            return Err(LoadError::Wrong(format!("a link broke: {error}")));
        }
    }
    Ok(())
}

/// One question at a time, and many at once: what it takes now.
async fn main_job(
    server: &mut Server,
    window: Duration,
    checked: &mut Tally,
) -> Result<Vec<(&'static str, Side)>, LoadError> {
    let mut sides = Vec::new();
    for scenario in scenario::scenarios()
        .into_iter()
        .filter(|scenario| matches!(scenario.name, "single" | "parallel"))
    {
        eprintln!("measuring {:?} …", scenario.name);
        let side = slice(&scenario, server, window, checked).await?;
        sides.push((scenario.name, side));
    }
    Ok(sides)
}

async fn slice(
    scenario: &Scenario,
    server: &mut Server,
    window: Duration,
    checked: &mut Tally,
) -> Result<Side, LoadError> {
    let target = server.target().clone();
    let mut slice = Slice::start(&target, scenario.question, scenario.workers, scenario.spread).await?;
    let before = server.cpu()?;
    slice.count(window).await;
    let after = server.cpu()?;
    let mut tally = slice.finish().await?;
    let cpu = |server| CpuTime {
        server,
        ..CpuTime::default()
    };
    let side = Side::new(&mut tally, cpu(before), cpu(after));
    let example = tally.wrong.first().or(tally.errors.keys().next()).cloned();
    checked.add(tally);
    side.ok_or_else(|| server.failed(&format!("no answer in a slice: {}", example.unwrap_or_default())))
}
