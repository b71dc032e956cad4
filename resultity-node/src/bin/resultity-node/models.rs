//! `resultity-node models`: what the node has, and changes of it by hand.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use resultity_core::environment::Environment;
use resultity_core::model::ModelState;
use resultity_node::config::{ModelsAt, ModelsError};
use resultity_node::data_dir::default_data_dir;
use resultity_node::models::{LeftOut, ModelStanding, TerminalProgress};

pub(crate) const EXAMPLES: &str = "Examples:
  What the node has, and how far it is:
    resultity-node models
  A model's files, before the node needs them:
    resultity-node models fetch smollm2-135m
  One that this node is not to serve any more:
    resultity-node models remove smollm2-135m";

/// What went wrong, and what is printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Models(#[from] ModelsError),
    #[error("cannot print: {0}")]
    Print(#[from] std::io::Error),
    #[error("cannot print: {0}")]
    Json(#[from] serde_json::Error),
}

#[derive(Args)]
pub(crate) struct Models {
    #[command(subcommand)]
    command: Option<What>,
    /// Where the node keeps its key and journal [default: `node` in the platform's data folder].
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Which network: testnet or mainnet.
    #[arg(long, default_value_t = Environment::Testnet, global = true)]
    environment: Environment,
    /// Prints JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum What {
    /// Shows them; the same as no command.
    List,
    /// Fetches a model's files and checks them. One that was removed is served again.
    Fetch {
        /// Its name, or an alias of it.
        name: String,
    },
    /// Takes a model out of service and removes its files, if this node fetched them.
    Remove {
        /// Its name, or an alias of it.
        name: String,
    },
}

/// Does what was asked.
pub(crate) async fn work(models: Models) -> Result<(), CommandError> {
    let data_dir = models.data_dir.unwrap_or_else(default_data_dir);
    let at = ModelsAt::new(data_dir, models.environment);
    match models.command.unwrap_or(What::List) {
        What::List => {
            let standings = at.list();
            if models.json {
                return print(&json(&standings)?);
            }
            print(&table(&standings, at.is_running()))
        }
        What::Fetch { name } => {
            let fetched = at.fetch(&name, TerminalProgress::new()).await?;
            if models.json {
                return print(&json(&fetched)?);
            }
            let paths = fetched.paths.iter().map(|path| format!("  {}", path.display()));
            let lines = std::iter::once(format!("{} is here:", fetched.name));
            print(&text(lines.chain(paths)))
        }
        What::Remove { name } => {
            let removed = at.remove(&name)?;
            if models.json {
                return print(&json(&removed)?);
            }
            let gone = removed.gone.iter().map(|path| format!("  removed: {}", path.display()));
            let left = removed.left.iter().map(|path| {
                format!(
                    "  left: {} (this node did not fetch it, or another model needs it)",
                    path.display()
                )
            });
            let lines = std::iter::once(format!("{} is not served any more.", removed.name));
            print(&text(lines.chain(gone).chain(left)))
        }
    }
}

fn table(standings: &[ModelStanding], is_running: bool) -> String {
    if standings.is_empty() {
        let hint = if is_running {
            "The network lists no models that this node can fetch.\n"
        } else {
            "This node knows of no models yet: it learns them from its network once it runs.\n"
        };
        return hint.to_owned();
    }
    let width = standings.iter().map(|model| model.name.len()).max().unwrap_or_default();
    let mut lines = Vec::new();
    for model in standings {
        lines.push(format!(
            "{:<width$}  {:<9} {:>9}  {}",
            model.name,
            state(model),
            size(model),
            model.version
        ));
        let paths = model.paths.iter().map(|path| path.display().to_string());
        let more = paths.chain(why(model).map(str::to_owned));
        lines.extend(more.map(|more| format!("{:width$}    {more}", "")));
    }
    if !is_running {
        lines.push("The node does not run: this is what is on the disk.".to_owned());
    }
    text(lines)
}

/// Lines, each with its end.
pub(crate) fn text(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect()
}

/// A model in one line.
pub(crate) fn line(model: &ModelStanding) -> String {
    let why = why(model).map(|why| format!(": {why}")).unwrap_or_default();
    let progress = model.fetched.map(|_| format!(" ({})", size(model))).unwrap_or_default();
    format!("{} is {}{progress}{why}", model.name, state(model))
}

/// Why it is not served.
fn why(model: &ModelStanding) -> Option<&str> {
    let trouble = || model.trouble.as_ref().map(|trouble| trouble.message.as_str());
    model.left_out.map(LeftOut::message).or_else(trouble)
}

fn state(model: &ModelStanding) -> &str {
    if let Some(doing) = &model.doing {
        return doing;
    }
    match model.state {
        ModelState::Pending => "pending",
        ModelState::Active => "active",
        ModelState::Inactive => "inactive",
        ModelState::Failed => "failed",
        ModelState::Archived => "archived",
        _ => "unknown",
    }
}

/// How much of it is here, while it comes; else all of it.
fn size(model: &ModelStanding) -> String {
    match model.fetched {
        Some(fetched) => {
            let percent = fetched.saturating_mul(100).checked_div(model.size).unwrap_or_default();
            format!("{}%", percent.min(100))
        }
        None => format!("{} MB", model.size.div_ceil(1_000_000)),
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, CommandError> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// A reader that has gone away, such as `head`, has read enough.
fn print(text: &str) -> Result<(), CommandError> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
