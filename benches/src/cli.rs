//! The command line of `load`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::driver::Tally;
use crate::engine::{self, EngineOptions};
use crate::error::LoadError;
use crate::prompt::Pace;
use crate::report::Report;
use crate::rig::{self, Engine, Network};
use crate::{infernet, nodes, probe, readers, scenario};

/// What the network costs, beside its engine called directly.
#[derive(Debug, Parser)]
#[command(name = "load", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the mock engine alone and prints its URL.
    Engine(EngineArgs),
    /// What a node's Infernet API costs.
    Infernet(infernet::Options),
    /// What thousands of nodes cost one server.
    Nodes(nodes::Options),
    /// What readers of the public status cost the main job.
    Status(readers::Options),
}

#[derive(Debug, Args)]
struct Run {
    /// Seconds of measuring; starting and settling down come on top.
    #[arg(long, value_name = "N", default_value_t = 60.0)]
    seconds: f64,
    /// A short run of few rounds: for a look, not for quoting.
    #[arg(long, conflicts_with = "seconds")]
    quick: bool,
    /// Prints one JSON document instead of the table.
    #[arg(long)]
    json: bool,
    /// Measures the engine alone: what this machine and the driver can do.
    #[arg(long)]
    direct_only: bool,
}

#[derive(Debug, Args)]
struct EngineArgs {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Threads.
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// Milliseconds to the first part, where the prompt doesn't say.
    #[arg(long, value_name = "MS")]
    ttft_ms: Option<u64>,
    /// Milliseconds for each further part, where the prompt doesn't say.
    #[arg(long, value_name = "MS")]
    chunk_ms: Option<u64>,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("load: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        let run = async {
            match cli.command {
                Some(Command::Engine(args)) => run_engine(args).await,
                Some(Command::Infernet(options)) => infernet::run(&options).await,
                Some(Command::Nodes(options)) => nodes::run(&options).await,
                Some(Command::Status(options)) => readers::run(&options).await,
                None => measure(&cli.run).await,
            }
        };
        // All that was started is stopped when this future is dropped.
        tokio::select! {
            ended = run => ended,
            stopped = stop_signal() => Err(stopped),
        }
    });
    // Load threads that still wait for an answer are not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Comes back on Ctrl-C or a signal to end.
async fn stop_signal() -> LoadError {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            LoadError::Interrupted
        }
        Err(error) => LoadError::io("listening for signals")(error),
    }
}

async fn run_engine(args: EngineArgs) -> Result<(), LoadError> {
    let pace = (args.ttft_ms.is_some() || args.chunk_ms.is_some())
        .then(|| Pace::from_millis(args.ttft_ms.unwrap_or(0), args.chunk_ms.unwrap_or(0)));
    let options = EngineOptions {
        listen: args.listen,
        threads: args.threads,
        pace,
        mischief: None,
    };
    engine::serve(options, |url| println!("{url}"))
        .await
        .map_err(LoadError::io("the mock engine"))
}

async fn measure(run: &Run) -> Result<(), LoadError> {
    let (seconds, rounds) = if run.quick {
        (6.0, 2)
    } else {
        (run.seconds.clamp(1.0, 3600.0), 5)
    };
    if !run.direct_only {
        rig::check_built()?;
    }
    let folder = rig::new_folder()?;
    let say = |what: &str| eprintln!("{what} …");
    say("probing this machine");
    let probe = probe::measure(folder.path(), Duration::from_secs_f64((seconds / 20.0).clamp(0.4, 3.0)))?;
    say("starting engine, server and node");
    let engine = Engine::start(folder.path()).await?;
    let direct = engine.target()?;
    let mut network = if run.direct_only {
        None
    } else {
        Some(Network::start(folder.path(), &engine).await?)
    };
    let (mut outcomes, mut checked) = (Vec::new(), Tally::default());
    for scenario in scenario::scenarios() {
        say(&format!("measuring {:?}", scenario.name));
        let outcome = scenario::run(&scenario, &direct, &mut network, seconds, rounds, &mut checked).await;
        outcomes.push(outcome?);
    }
    let memory = network.as_ref().map(Network::peak_memory).transpose()?;
    let audit = match network {
        Some(network) => Some(network.stop_and_audit().await?),
        None => None,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let report = Report {
        cores,
        seconds,
        probe,
        outcomes,
        memory,
        checked,
        audit,
    };
    if run.json {
        println!("{:#}", report.to_json());
    } else {
        print!("{report}");
    }
    match report.checked.wrong.len() {
        0 => Ok(()),
        count => Err(LoadError::Wrong(format!(
            "at least {count} answers were wrong; the first: {}",
            report.checked.wrong[0]
        ))),
    }
}
