//! What readers of the public status cost the main job.
//!
//! ```text
//! cargo build --release -p resultity-server -p resultity-node
//! cargo run --release -p resultity-benches --bin load -- status [--rate N] [--seconds N] [--json]
//! ```
//!
//! The same questions are asked of a network in turn without and with readers of `/status/v1/network`, `…/models` and
//! `…/regions`, at a steady rate, in many slices (A B A B …): one question at a time, and 64 streams of an engine that takes its time.
//! Every answer of both kinds is checked. All of it shares the machine: server, node, engine, and the driver of both, which
//! takes about as much of it for each reader as the server does.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::driver::Tally;
use crate::error::LoadError;
use crate::http::{self, Connection};
use crate::rig::{self, CpuTime, Engine, Network};
use crate::scenario::{self, Scenario, Side, median};

/// Connections of the readers.
const CONNECTIONS: usize = 64;

/// What they read in turn.
const VIEWS: [&str; 3] = ["network", "models", "regions"];

/// How often the two sides take turns.
const ROUNDS: usize = 5;

/// Options of `load status`.
#[derive(Debug, Args)]
pub struct Options {
    /// Readers a second.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    rate: u32,
    /// Seconds of measuring; starting and settling down come on top.
    #[arg(long, value_name = "N", default_value_t = 40.0)]
    seconds: f64,
    /// Prints one JSON document instead of the table.
    #[arg(long)]
    json: bool,
}

/// The main job in one scenario, without and with readers.
#[derive(Debug, Serialize)]
struct Compared {
    name: &'static str,
    without: Side,
    with: Side,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    rate: u32,
    /// Answers to readers a second that came, the median over the slices.
    reads_per_second: f64,
    /// Times of the readers' answers: microseconds.
    read_p50_us: f64,
    read_p99_us: f64,
    /// CPU time of the server for a read, where nothing else was asked: microseconds.
    server_cpu_us_per_read: f64,
    main: Vec<Compared>,
    audit: String,
}

/// Runs the rig.
///
/// # Errors
///
/// If something could not be started, or an answer was wrong.
pub async fn run(options: &Options) -> Result<(), LoadError> {
    rig::check_built()?;
    let folder = rig::new_folder()?;
    let seconds = options.seconds.clamp(3.0, 3600.0);
    let engine = Engine::start(folder.path()).await?;
    let mut network = Network::start(folder.path(), &engine).await?;
    let status = network.status().to_owned();
    let mut checked = Tally::default();
    eprintln!("measuring readers alone …");
    let alone = Readers::start(&status, options.rate)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (before, read_before) = (network.cpu()?, alone.count());
    tokio::time::sleep(Duration::from_secs_f64(seconds / 8.0)).await;
    let (after, reads) = (network.cpu()?, alone.count() - read_before);
    let server_cpu = after.server.saturating_sub(before.server).as_secs_f64() * 1e6 / reads.max(1) as f64;
    alone.finish()?;

    let mut main = Vec::new();
    let mut rates = Vec::new();
    let mut times = Vec::new();
    for scenario in scenario::scenarios()
        .into_iter()
        .filter(|scenario| matches!(scenario.name, "single" | "paced"))
    {
        eprintln!("measuring {:?} without and with readers …", scenario.name);
        let window = Duration::from_secs_f64(seconds * 0.4 / 2.0 / ROUNDS as f64);
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            without.push(slice(&scenario, &mut network, window, &mut checked).await?);
            let readers = Readers::start(&status, options.rate)?;
            let (began, count) = (Instant::now(), readers.count());
            with.push(slice(&scenario, &mut network, window, &mut checked).await?);
            rates.push((readers.count() - count) as f64 / began.elapsed().as_secs_f64());
            times.extend(readers.finish()?);
        }
        main.push(Compared {
            name: scenario.name,
            without: scenario::summary(&without),
            with: scenario::summary(&with),
        });
    }
    let audit = format!("{:?}", network.stop_and_audit().await?);
    times.sort_unstable();
    let report = Report {
        rate: options.rate,
        reads_per_second: median(rates),
        read_p50_us: scenario::quantile(&times, 0.5),
        read_p99_us: scenario::quantile(&times, 0.99),
        server_cpu_us_per_read: server_cpu,
        main,
        audit,
    };
    if options.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| LoadError::Wrong(error.to_string()))?;
        println!("{json}");
    } else {
        print!("{report}");
    }
    match checked.wrong.first() {
        None => Ok(()),
        Some(wrong) => Err(LoadError::Wrong(format!("an answer was wrong: {wrong}"))),
    }
}

async fn slice(
    scenario: &Scenario,
    network: &mut Network,
    window: Duration,
    checked: &mut Tally,
) -> Result<Side, LoadError> {
    let target = network.target().clone();
    let cpu = |network: &mut Network| -> Result<CpuTime, LoadError> { network.cpu() };
    let mut slice = crate::driver::Slice::start(&target, scenario.question, scenario.workers, scenario.spread).await?;
    let before = cpu(network)?;
    slice.count(window).await;
    let after = cpu(network)?;
    let mut tally = slice.finish().await?;
    let side = Side::new(&mut tally, before, after);
    checked.add(Tally {
        total: Vec::new(),
        first: Vec::new(),
        ..tally
    });
    side.ok_or_else(|| network.failed("no answer in a slice"))
}

/// Readers at a steady rate, on a thread of their own.
struct Readers {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: JoinHandle<Result<Vec<Duration>, String>>,
}

impl Readers {
    fn start(status: &str, rate: u32) -> Result<Self, LoadError> {
        let (address, host, path) =
            http::split_url(status).ok_or_else(|| LoadError::Wrong(format!("the status is at {status:?}")))?;
        let requests = VIEWS.map(|view| http::request(host, &format!("{path}/{view}"), "", None));
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&count));
        let between = Duration::from_secs_f64(CONNECTIONS as f64 / f64::from(rate.max(1)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(LoadError::io("starting the readers"))?;
        let spawned = std::thread::Builder::new().name("readers".into()).spawn(move || {
            runtime.block_on(async {
                let readers = (0..CONNECTIONS).map(|index| {
                    let first = between.mul_f64(index as f64 / CONNECTIONS as f64);
                    let reader = Reader {
                        address,
                        requests: requests.clone(),
                        between,
                        stop: Arc::clone(&stopped),
                        count: Arc::clone(&counted),
                    };
                    tokio::spawn(reader.run(first))
                });
                let readers: Vec<_> = readers.collect();
                let mut times = Vec::new();
                for reader in readers {
                    times.extend(reader.await.map_err(|error| error.to_string())??);
                }
                Ok(times)
            })
        });
        Ok(Self {
            stop,
            count,
            thread: spawned.map_err(LoadError::io("starting the readers"))?,
        })
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Ends them; how long each of their answers took.
    fn finish(self) -> Result<Vec<Duration>, LoadError> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self
            .thread
            .join()
            .map_err(|_| LoadError::Wrong("the readers broke".into()))?;
        ended.map_err(LoadError::Wrong)
    }
}

struct Reader {
    address: SocketAddr,
    requests: [Vec<u8>; VIEWS.len()],
    between: Duration,
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
}

impl Reader {
    async fn run(self, first: Duration) -> Result<Vec<Duration>, String> {
        let mut connection = Connection::open(self.address)
            .await
            .map_err(|error| error.to_string())?;
        let (mut times, mut body, mut due) = (Vec::new(), Vec::new(), Instant::now() + first);
        for request in self.requests.iter().cycle() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            tokio::time::sleep_until(due.into()).await;
            let asked = Instant::now();
            let status = connection.send(request).await.map_err(|error| error.to_string())?;
            body.clear();
            connection
                .read_all(&mut body)
                .await
                .map_err(|error| error.to_string())?;
            if status != 200 || !body.starts_with(b"{\"age_ms\":") {
                return Err(format!("a reader got {status}: {}", String::from_utf8_lossy(&body)));
            }
            times.push(asked.elapsed());
            self.count.fetch_add(1, Ordering::Relaxed);
            // Who is late asks at once, but does not catch up for ever.
            due = (due + self.between).max(Instant::now().checked_sub(self.between * 4).unwrap_or(due));
        }
        Ok(times)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:.0} readers a second (of {} wanted), p50 {:.2} ms, p99 {:.2} ms; {:.1} µs of the server's CPU each",
            self.reads_per_second,
            self.rate,
            self.read_p50_us / 1000.0,
            self.read_p99_us / 1000.0,
            self.server_cpu_us_per_read
        )?;
        for Compared { name, without, with } in &self.main {
            writeln!(f, "\nthe main job, {name:?}: without and with readers")?;
            let rows = [
                ("answers a second", without.per_second, with.per_second),
                ("p50, ms", without.p50_us / 1000.0, with.p50_us / 1000.0),
                ("p99, ms", without.p99_us / 1000.0, with.p99_us / 1000.0),
                (
                    "first token p50, ms",
                    without.first_p50_us / 1000.0,
                    with.first_p50_us / 1000.0,
                ),
                (
                    "first token p99, ms",
                    without.first_p99_us / 1000.0,
                    with.first_p99_us / 1000.0,
                ),
            ];
            for (what, without, with) in rows.into_iter().filter(|(_, without, _)| *without > 0.0) {
                writeln!(f, "  {what:22} {without:10.2} {with:10.2}   {:.3} ×", with / without)?;
            }
        }
        writeln!(f, "\nbooks: {}", self.audit)
    }
}
