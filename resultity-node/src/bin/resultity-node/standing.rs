//! `resultity-node join`, `status`, `why`: what a node asks of its network beside the link.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use resultity_core::Address;
use resultity_core::clock::{SystemClock, SystemEntropy};
use resultity_core::environment::Environment;
use resultity_core::model::ModelState;
use resultity_core::wire::{NodeStatus, Readiness, Reason};
use resultity_node::config::ModelsAt;
use resultity_node::data_dir::default_data_dir;
use resultity_node::identity::PasswordSource;
use resultity_node::standing::{Asking, StandingError};

use crate::models;

pub(crate) const JOIN_EXAMPLES: &str = "Examples:
  The code is made in your account, and works for 15 minutes:
    resultity-node join K7QF-2MXB --io wss://io.network.example.org/io/v1/ws
  A node that has met the network already knows its address:
    resultity-node join K7QF-2MXB";

/// Which node, and which network.
#[derive(Args)]
pub(crate) struct Of {
    /// The network's node link: wss://… (ws:// only on this machine) [default: where the node was connected last].
    #[arg(long, value_name = "URL")]
    io: Option<String>,
    /// Where the node keeps its key and journal [default: `node` in the platform's data folder].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Which network: testnet or mainnet.
    #[arg(long, default_value_t = Environment::Testnet)]
    environment: Environment,
    /// The address of the network's key; without it, the first one seen is trusted from then on.
    #[arg(long, value_name = "0x…")]
    network_key: Option<Address>,
    /// A file whose first line is the passphrase of the node's key.
    #[arg(long, value_name = "PATH")]
    keystore_password_file: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Join {
    /// The code that your account shows.
    code: String,
    #[command(flatten)]
    of: Of,
}

impl Of {
    fn asking(self) -> Asking {
        let mut asking = Asking::new(self.data_dir.unwrap_or_else(default_data_dir), self.environment);
        asking.io_url = self.io;
        asking.network_key = self.network_key;
        asking.password = PasswordSource::from_file_or_environment(self.keystore_password_file);
        asking
    }
}

/// Binds the node to the account that made the code.
pub(crate) async fn join(join: Join) -> Result<(), StandingError> {
    let (is_json, asking) = (join.of.json, join.of.asking());
    let bound = asking.join(&join.code, &SystemClock, &SystemEntropy).await?;
    if is_json {
        return print(&json(&bound)?);
    }
    let name = bound.name.map(|name| format!(" as {name:?}")).unwrap_or_default();
    let mut text = format!(
        "The node {} now belongs to your account in {}{name}.\n",
        bound.node_id, bound.environment
    );
    // It is bound, whatever the answer to this.
    match asking.status(&SystemClock, &SystemEntropy).await {
        Ok(status) if status.connected => text.push_str(&why_text(&status)),
        Ok(_) => text.push_str("It gets work once it runs: resultity-node run\n"),
        Err(_) => {}
    }
    print(&text)
}

/// How the node stands.
pub(crate) async fn status(of: Of) -> Result<(), StandingError> {
    let is_json = of.json;
    let here = isolation(&of) + &not_served(&of);
    let status = of.asking().status(&SystemClock, &SystemEntropy).await?;
    if is_json {
        return print(&json(&status)?);
    }
    print(&(status_text(&status) + &here))
}

/// The models that the node brings itself and does not serve now, as it knows them.
fn not_served(of: &Of) -> String {
    let data_dir = of.data_dir.clone().unwrap_or_else(default_data_dir);
    let at = ModelsAt::new(data_dir, of.environment);
    if !at.is_running() {
        return String::new();
    }
    let all = at.list();
    let waiting = all.iter().filter(|model| model.state != ModelState::Active);
    let lines = models::text(waiting.map(|model| format!("  {}", models::line(model))));
    if lines.is_empty() {
        return lines;
    }
    format!("\nModels that it does not serve now (resultity-node models):\n{lines}")
}

/// What shuts the node's own engine in, if it has one.
#[cfg(unix)]
fn isolation(of: &Of) -> String {
    use resultity_node::config::EngineConfig;
    let data_dir = of.data_dir.clone().unwrap_or_else(default_data_dir);
    let Some(protections) = EngineConfig::protections(&data_dir) else {
        return String::new();
    };
    let missing = protections
        .missing()
        .into_iter()
        .map(|missing| format!("  not held: {missing}\n"));
    format!(
        "\nIts engine is shut in: {protections}\n{}",
        missing.collect::<String>()
    )
}

#[cfg(not(unix))]
fn isolation(_: &Of) -> String {
    String::new()
}

/// Why the node gets no work.
pub(crate) async fn why(of: Of) -> Result<(), StandingError> {
    let is_json = of.json;
    let status = of.asking().status(&SystemClock, &SystemEntropy).await?;
    if is_json {
        return print(&json(&status.reasons)?);
    }
    print(&why_text(&status))
}

fn status_text(status: &NodeStatus) -> String {
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let mut lines = vec![("node", status.node_id.to_string())];
    lines.extend(status.name.clone().map(|name| ("name", name)));
    lines.push(("environment", status.environment.to_string()));
    lines.push(("state", status.state.clone()));
    lines.push(("connected", yes(status.connected)));
    lines.push(("gets jobs", yes(status.in_rotation)));
    lines.extend(status.last_heartbeat.map(|heard| ("last heard", heard.to_string())));
    lines.push(("busy", format!("{} of {} slots", status.running, status.slots)));
    for model in &status.models {
        let readiness = match model.readiness {
            Readiness::NotListed => "not a model of this network",
            Readiness::Inactive => "not active on the node",
            Readiness::RuntimeTooOld => "its Runtime is too old for this network",
            Readiness::Testing => "being tested",
            Readiness::Failed => "did not pass its test",
            Readiness::Ready => "ready",
        };
        lines.push(("model", format!("{}: {readiness}", model.id)));
    }
    let mut text: String = lines
        .iter()
        .flat_map(|(what, is)| [format!("{what:<13}"), is.clone(), "\n".into()])
        .collect();
    if !status.reasons.is_empty() {
        text.push('\n');
        text.push_str(&why_text(status));
    }
    text
}

fn why_text(status: &NodeStatus) -> String {
    if status.reasons.is_empty() {
        return "It has work.\n".to_owned();
    }
    let line = |reason: &Reason| format!("- {}\n  {}", reason.message, reason.advice);
    let lines: Vec<String> = status.reasons.iter().map(line).collect();
    format!("Why it gets no work:\n{}\n", lines.join("\n"))
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StandingError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| StandingError::Machine(error.to_string()))?;
    Ok(text + "\n")
}

/// A reader that has gone away, such as `head`, has read enough.
fn print(text: &str) -> Result<(), StandingError> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(StandingError::Machine(error.to_string())),
        _ => Ok(()),
    }
}
