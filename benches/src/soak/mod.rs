//! The soak: a network under all faults at once, asked in every way there is, and an account of what became of it.
//!
//! ```text
//! cargo run --release -p resultity-benches --bin soak -- --jobs 20000 --seed 1
//! ```
//!
//! A server, three nodes and two engines, each a process, with a proxy on every line between them and to those who ask
//! ([`crate::proxy`]). What happens, one thing after another: any of them is killed with SIGKILL, some at once, and started
//! again; all connections of a kind are cut; lines swallow everything for a while, or are slow and break in the middle
//! of frames; another process holds the database's lock, at times for longer than the server waits. Engines fail, answer
//! garbage, half an answer, half a character, or nothing.
//!
//! Meanwhile is asked: whole answers, streams, streams and answers that nobody waits for, jobs in the background, some
//! cancelled, requests with an idempotency key that are repeated until they are answered and then once more, batches. The
//! engine repeats a number, so the right answer is known to whoever asked; so is the price. In the end all that was told is
//! compared with the server's books. Exit code 0 means that nothing was lost, wrong, or billed twice.
//!
//! The seed decides what is asked and what happens in which order; when exactly is up to the machine.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clap::{Args, Parser};
use resultity_client::CloudClient;
use resultity_core::api::cloud::ChatApi as _;
use resultity_core::clock::{Entropy as _, SystemEntropy};
use resultity_core::openai::chat::{ChatRequest, Message};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use self::asker::Asking;
use self::chaos::Happened;
use self::network::Network;
use self::roles::{Failure, Role};
use self::tally::{Books, Tally};
use crate::engine::MODEL;
use crate::error::LoadError;
use crate::proxy::Luck;
use crate::rig;

mod asker;
mod chaos;
mod network;
mod roles;
mod tally;

/// How long the network has to become ready, and to come to rest in the end.
const REST: Duration = Duration::from_mins(1);

/// A network under all faults at once: is anything lost, wrong, or billed twice?
#[derive(Debug, Parser)]
#[command(name = "soak", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

/// How a soak runs.
#[derive(Debug, Clone, Args)]
struct Options {
    /// How many jobs
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    jobs: u64,
    /// What decides what happens; a new one unless it is named
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// When no more is asked in any case: seconds
    #[arg(long, value_name = "N", default_value_t = 1_200)]
    seconds: u64,
    /// How many ask at once
    #[arg(long, value_name = "N", default_value_t = 24)]
    at_once: usize,
    /// The longest pause between two faults: milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_500)]
    pause_ms: u64,
    /// How many of 10 000 answers of an engine something is wrong with
    #[arg(long, value_name = "N", default_value_t = 100)]
    mischief: u32,
    /// Leaves the folder with the database and the logs where it is
    #[arg(long)]
    keep: bool,
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
            eprintln!("soak: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        match cli.role {
            Some(role) => role.run().await.map(|()| true),
            None => run(&cli.options).await,
        }
    });
    runtime.shutdown_background();
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

fn new_seed() -> u64 {
    let mut bytes = [0; 4];
    SystemEntropy.fill(&mut bytes);
    u32::from_be_bytes(bytes).into()
}

/// Runs a soak; whether all was as it should be.
async fn run(options: &Options) -> Result<bool, Failure> {
    let seed = options.seed.unwrap_or_else(new_seed);
    println!("soak of {} jobs with --seed {seed}", options.jobs);
    let mut folder = rig::new_folder()?;
    folder.disable_cleanup(options.keep);
    let mut network = Network::start(folder.path(), seed, options.mischief).await?;
    let client = CloudClient::builder()
        .base_url(format!("http://{}/v1", network.address()))
        .api_key(roles::api_key(seed))
        .connect_timeout(Duration::from_secs(2))
        .timeout(Duration::from_secs(30))
        .idle_timeout(Duration::from_secs(25))
        .max_retries(0)
        .build()?;
    until_served(&client, &mut network).await?;
    let began = Instant::now();
    let (calm, calm_since) = watch::channel(None);
    let asking = Arc::new(Asking {
        client,
        seed,
        jobs: options.jobs,
        until: began + Duration::from_secs(options.seconds),
        next: AtomicU64::new(0),
        tally: Tally::default(),
        calm_since,
    });
    let mut askers: JoinSet<()> = (0..options.at_once).map(|_| Arc::clone(&asking).run()).collect();
    let mut luck = Luck::new(seed);
    let mut happened = Happened::default();
    while asking.tally.ended() < options.jobs && Instant::now() < asking.until {
        sleep(Duration::from_millis(luck.up_to(options.pause_ms))).await;
        chaos::next(&mut network, &mut luck, &mut happened).await?;
        network.check()?;
    }
    calm.send_replace(Some(Instant::now()));
    while let Some(ended) = askers.join_next().await {
        ended?;
    }
    let took = began.elapsed();
    let data_dir = network.data_dir();
    // Who went away, and whose acknowledgement was lost, has a job too.
    let rested = timeout(REST, async {
        while tally::open_jobs(&data_dir)? > 0 {
            sleep(Duration::from_millis(100)).await;
        }
        Ok::<_, Failure>(())
    });
    if let Ok(rested) = rested.await {
        rested?;
    }
    let (memory, cuts) = (network.peak_memory(), network.cuts());
    network.stop().await?;
    let asking = Arc::into_inner(asking).ok_or("somebody still asks")?;
    let books = Books::read(&data_dir, asking.tally).await?;
    report(&books, &happened, took, memory, cuts);
    let is_right = books.are_right();
    if !is_right {
        println!(
            "\nNOT RIGHT. The same again: --jobs {} --seed {seed} (the files: --keep)",
            options.jobs
        );
    }
    if options.keep {
        println!("The database and the logs are in {}", folder.path().display());
    }
    Ok(is_right)
}

/// Waits for the first answer.
async fn until_served(client: &CloudClient, network: &mut Network) -> Result<(), Failure> {
    let limit = Instant::now() + REST;
    loop {
        let request = ChatRequest::new(MODEL, [Message::user("nonce=ready")]).max_tokens(16);
        match client.chat(request).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > limit => return Err(LoadError::Wrong(error.to_string()).into()),
            Err(_) => network.check()?,
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn report(books: &Books, happened: &Happened, took: Duration, memory: u64, cuts: u64) {
    print!("{books}");
    let Happened {
        servers,
        nodes,
        engines,
        cuts: all_cuts,
        storms,
        locks,
    } = happened;
    println!("kills of server, nodes, engines             {servers:>4}, {nodes}, {engines}");
    println!("connections cut (all of a kind: {all_cuts} times)  {cuts}");
    println!("storms, foreign locks on the database       {storms:>4}, {locks}");
    let rate = books.jobs() as f64 / took.as_secs_f64();
    println!(
        "{:.0} s, {rate:.0} jobs a second, server's peak memory {:.1} MB",
        took.as_secs_f64(),
        memory as f64 / 1e6
    );
}
