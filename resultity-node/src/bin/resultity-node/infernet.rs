//! `resultity-node infernet`.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use resultity_node::infernet::config::settings::LogSettings;
use resultity_node::infernet::config::{Check, ConfigFileError, Listen, Note, Overrides, load, settings::Settings};
use resultity_node::infernet::log_file::LogFile;
use resultity_node::infernet::run::{RunError, RunOptions, run};
use tokio_util::sync::CancellationToken;

use crate::signals::until_stopped;

pub(crate) const EXAMPLES: &str = "Examples:
  Instead of the original node, with its file, in its folder:
    resultity-node infernet
  For other machines too, as the original listens:
    resultity-node infernet --config config.json --listen 0.0.0.0:4000
  What the file would do, and what is wrong with it:
    resultity-node infernet --config config.json --check

Keys of its own, in the file's object \"resultity\" (the original ignores it):
  listen, data_dir            as --listen and --data-dir
  trusted_proxies             networks whose X-Forwarded-For is believed
  status_networks             who may PUT /api/status, beside this machine
  max_running, max_pending, max_pending_bytes
                              jobs at once; jobs that wait, and their bytes
  timeout, stream_timeout, resources_timeout
                              seconds that a container has to answer
  max_answer_bytes, max_body_bytes
                              of a container's answer, and of a request
  keep_results_for, max_results, max_results_bytes
                              seconds that results are kept, how many, and
                              how much of the disk they may take
  on_restart                  what becomes of jobs that a stop interrupts:
                              \"fail\" or \"rerun\"
  containers                  {ID: {max_concurrency, timeout, model, takes}};
                              with `model` and `resultity-node run --infernet`
                              it serves the network under that name

Environment:
  INFERNET_CONFIG_PATH  the file, where --config is not given
  RUNTIME=docker        the node itself runs in a container: those that it asks
                        are at host.docker.internal
  DOCKER_HOST           where the Docker engine is, such as
                        unix:///run/podman/podman.sock
  RUST_LOG              what is logged, instead of --log-level

Exit codes: 0 done, 1 an error, 2 wrong usage.
Ctrl-C: finishes running jobs; twice: stops at once.";

#[derive(Args)]
pub(crate) struct Infernet {
    /// The node's file, as the original node has it.
    #[arg(
        short,
        long,
        value_name = "PATH",
        env = "INFERNET_CONFIG_PATH",
        default_value = "config.json"
    )]
    config: PathBuf,
    /// Where to listen [default: loopback, and the port in the file].
    #[arg(long, value_name = "ADDR")]
    listen: Option<Listen>,
    /// Where the results are kept [default: what the file says, or `node` in the platform's data folder].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Says what the file would do and what is wrong with it, and ends.
    #[arg(long)]
    check: bool,
    /// With --check: as JSON.
    #[arg(long, requires = "check")]
    json: bool,
    /// What is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: String,
}

impl Infernet {
    fn overrides(&self) -> Overrides {
        let mut overrides = Overrides::from_environment();
        overrides.listen = self.listen;
        overrides.data_dir.clone_from(&self.data_dir);
        overrides
    }

    /// What to do once the log is there; or how it ended already.
    pub(crate) fn prepare(self) -> Result<Prepared, ExitCode> {
        let overrides = self.overrides();
        if self.check {
            return Err(check(&Check::of(&self.config, &overrides), self.json));
        }
        let failed = |error: &dyn std::fmt::Display| {
            for line in error.to_string().lines() {
                eprintln!("resultity-node: {line}");
            }
            ExitCode::FAILURE
        };
        let (settings, notes) = load(&self.config, &overrides).map_err(|error| match &error {
            ConfigFileError::Read { source, .. } if source.kind() == ErrorKind::NotFound => {
                failed(&format!("{error}\nSay with --config where the node's file is"))
            }
            _ => failed(&error),
        })?;
        let log = settings.log.clone().map(|log: LogSettings| {
            let path = log.path.display().to_string();
            LogFile::open(log).map_err(|error| failed(&format!("cannot write the log to {path}: {error}")))
        });
        Ok(Prepared {
            log: log.transpose()?,
            settings,
            notes,
        })
    }
}

/// A node that is about to run.
pub(crate) struct Prepared {
    /// The file that the log is written to as well.
    pub(crate) log: Option<LogFile>,
    settings: Settings,
    notes: Vec<Note>,
}

/// Prints what a file would do.
fn check(check: &Check, json: bool) -> ExitCode {
    let text = if json {
        serde_json::to_string_pretty(check)
            .map(|text| text + "\n")
            .unwrap_or_default()
    } else {
        check.to_string()
    };
    // Nobody may read it to its end, such as `head`.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    if check.valid {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs it until it is stopped.
pub(crate) async fn work(prepared: Prepared) -> Result<(), RunError> {
    let cancel = CancellationToken::new();
    let node = run(RunOptions::new(prepared.settings, prepared.notes), cancel.clone());
    let at_once = "running jobs are taken care of at the next start; containers that were started go on";
    until_stopped(node, cancel, at_once).await
}
