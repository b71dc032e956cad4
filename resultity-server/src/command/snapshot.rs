//! `snapshot`: the network's configuration from the shell, on a server that runs or not. A running one takes up what is
//! published within a second.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use resultity_core::api::gate::{PublishedSnapshot, SnapshotSummary};
use resultity_core::clock::{Clock, SystemClock, SystemEntropy};
use resultity_core::credits::{Credits, Price};
use resultity_core::environment::Environment;
use resultity_core::model::ModelSpec;
use resultity_core::snapshot::{Change, Offer};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::key::Expiry;
use super::{CommandError, StoreArguments, existing_store};
use crate::network_key::{KeyFiles, PASSWORD_VARIABLE};
use crate::publish::{By, Outcome, Published, Publisher};
use crate::store::webhooks::PageOf;
use crate::store::{PublicationStore, Store};

/// `snapshot`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  resultity-server snapshot show --data-dir ./resultity-data > config.json     (edit it)\n  resultity-server snapshot diff --data-dir ./resultity-data config.json\n  resultity-server snapshot publish --data-dir ./resultity-data config.json --reason \"cheaper\"\n  resultity-server snapshot rollback --data-dir ./resultity-data 7 --reason \"too cheap\"\n  resultity-server snapshot price --data-dir ./resultity-data llama --input 0.5 --output 1 --reason \"new rates\"\n\nA running server takes it up within a second."
)]
pub struct SnapshotArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print a snapshot as JSON: the one in force, or an earlier one
    Show(ShowArguments),
    /// List what was published, when, by whom and why
    History(HistoryArguments),
    /// Compare what is in force with a file, or two versions with one another
    Diff(DiffArguments),
    /// Publish a configuration, such as `show` prints it
    Publish(PublishArguments),
    /// Publish what an earlier version said
    Rollback(RollbackArguments),
    /// Add a model, or replace the one of its name
    Approve(ApproveArguments),
    /// End a model, at once or at a time
    Deprecate(DeprecateArguments),
    /// Change a model's price
    Price(PriceArguments),
    /// Print the chain of the network's keys as JSON: what receipts are verified with
    Keys(ShowKeysArguments),
    /// Give the network a new key, named by the one in force; nodes follow by themselves
    RotateKey(RotateArguments),
}

/// Which configuration.
#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    store: StoreArguments,
    /// Which network
    #[arg(long, default_value = "testnet")]
    environment: Environment,
}

/// What goes into the audit log.
#[derive(Debug, Args)]
struct Reason {
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Reason {
    fn by(&self) -> Result<By, CommandError> {
        let reason = self.reason.trim();
        if reason.is_empty() || reason.chars().count() > 500 {
            return Err("--reason must have 1 to 500 characters".into());
        }
        Ok(By::operator(reason))
    }
}

#[derive(Debug, Args)]
struct ShowArguments {
    #[command(flatten)]
    place: Place,
    /// An earlier version
    #[arg(id = "earlier", value_name = "VERSION")]
    version: Option<u64>,
}

#[derive(Debug, Args)]
struct HistoryArguments {
    #[command(flatten)]
    place: Place,
    /// How many, newest first
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct DiffArguments {
    #[command(flatten)]
    place: Place,
    /// A configuration, such as `show` prints it; `-` reads standard input
    #[arg(required_unless_present = "to")]
    file: Option<PathBuf>,
    /// The version to compare [default: the one in force]
    #[arg(long)]
    from: Option<u64>,
    /// Another version, instead of a file
    #[arg(long, conflicts_with = "file")]
    to: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct PublishArguments {
    #[command(flatten)]
    place: Place,
    /// A configuration, such as `show` prints it; `-` reads standard input
    file: PathBuf,
    /// The version that it was made from [default: the one that the file names]
    #[arg(long, value_name = "VERSION")]
    base: Option<u64>,
    #[command(flatten)]
    reason: Reason,
}

#[derive(Debug, Args)]
struct RollbackArguments {
    #[command(flatten)]
    place: Place,
    /// The version to go back to
    #[arg(id = "earlier", value_name = "VERSION")]
    version: u64,
    #[command(flatten)]
    reason: Reason,
}

#[derive(Debug, Args)]
struct ApproveArguments {
    #[command(flatten)]
    place: Place,
    /// The model: JSON, or TOML as in a block of [[models]]; `-` reads standard input
    file: PathBuf,
    #[command(flatten)]
    reason: Reason,
}

#[derive(Debug, Args)]
struct DeprecateArguments {
    #[command(flatten)]
    place: Place,
    /// The model's name
    model: String,
    /// Until when it is served still: a time (2027-01-31T12:00:00Z), a day (2027-01-31) or how long from now (30d, 12h)
    #[arg(long, value_name = "WHEN")]
    until: Option<Expiry>,
    #[command(flatten)]
    reason: Reason,
}

#[derive(Debug, Args)]
struct PriceArguments {
    #[command(flatten)]
    place: Place,
    /// The model's name
    model: String,
    /// Credits per million prompt tokens
    #[arg(long, value_name = "CREDITS", default_value = "0")]
    input: Credits,
    /// Credits per million completion tokens
    #[arg(long, value_name = "CREDITS", default_value = "0")]
    output: Credits,
    /// Credits per request
    #[arg(long, value_name = "CREDITS", default_value = "0")]
    per_request: Credits,
    #[command(flatten)]
    reason: Reason,
}

#[derive(Debug, Args)]
struct ShowKeysArguments {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct RotateArguments {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    reason: Reason,
}

pub(super) async fn run(arguments: SnapshotArguments) -> Result<ExitCode, CommandError> {
    match arguments.action {
        Action::Show(arguments) => show(arguments).await?,
        Action::History(arguments) => history(arguments).await?,
        Action::Diff(arguments) => diff(arguments).await?,
        Action::Publish(arguments) => {
            let (environment, file) = (arguments.place.environment, read::<File>(&arguments.file)?);
            let base = arguments.base.or(file.version).ok_or(
                "which version was it made from? Say so with --base: `snapshot history` lists them, the first is in force",
            )?;
            let publisher = open(&arguments.place.store).await?;
            let by = arguments.reason.by()?;
            let outcome = publisher.publish(environment, base, file.offer, by).await?;
            told(&outcome, &arguments.reason)?;
        }
        Action::Rollback(arguments) => {
            let publisher = open(&arguments.place.store).await?;
            let by = arguments.reason.by()?;
            let outcome = publisher.roll_back(arguments.place.environment, arguments.version, by);
            told(&outcome.await?, &arguments.reason)?;
        }
        Action::Approve(arguments) => {
            let model: ModelSpec = read(&arguments.file)?;
            let publisher = open(&arguments.place.store).await?;
            let by = arguments.reason.by()?;
            let outcome = publisher.approve(arguments.place.environment, model, by).await?;
            told(&outcome, &arguments.reason)?;
        }
        Action::Deprecate(arguments) => {
            let publisher = open(&arguments.place.store).await?;
            let until = arguments.until.map(|until| until.after(SystemClock.now()));
            let by = arguments.reason.by()?;
            let outcome = publisher.deprecate(arguments.place.environment, &arguments.model, until, by);
            told(&outcome.await?, &arguments.reason)?;
        }
        Action::Price(arguments) => {
            let publisher = open(&arguments.place.store).await?;
            let price = Price {
                input_per_million: arguments.input,
                output_per_million: arguments.output,
                per_request: arguments.per_request,
            };
            let by = arguments.reason.by()?;
            let outcome = publisher.price(arguments.place.environment, &arguments.model, price, by);
            told(&outcome.await?, &arguments.reason)?;
        }
        Action::Keys(arguments) => {
            let publisher = open(&arguments.place.store).await?;
            let chain = publisher.keys().chain(arguments.place.environment).clone();
            print(&serde_json::to_string_pretty(&chain)?)?;
        }
        Action::RotateKey(arguments) => rotate(arguments).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(arguments: ShowArguments) -> Result<(), CommandError> {
    let store = existing_store(&arguments.place.store)?;
    let environment = arguments.place.environment;
    let record = match arguments.version {
        Some(version) => store.snapshot(environment, version).await?,
        None => store.latest_snapshot(environment).await?,
    };
    let record = record.ok_or_else(|| format!("there is no such snapshot in {environment}"))?;
    let published = Published::read(record)?;
    let shown = PublishedSnapshot {
        summary: SnapshotSummary::from(&published),
        offer: published.snapshot.offer(),
    };
    print(&serde_json::to_string_pretty(&shown)?)
}

async fn history(arguments: HistoryArguments) -> Result<(), CommandError> {
    let store = existing_store(&arguments.place.store)?;
    let page = PageOf {
        after: None,
        ascending: false,
        limit: arguments.limit,
    };
    let records = store.snapshots(arguments.place.environment, page).await?;
    let published = records
        .into_iter()
        .map(Published::read)
        .collect::<Result<Vec<_>, _>>()?;
    if arguments.json {
        let summaries: Vec<_> = published.iter().map(SnapshotSummary::from).collect();
        return print(&serde_json::to_string_pretty(&summaries)?);
    }
    let mut lines = Vec::new();
    for Published { snapshot, by, .. } in published {
        let mut notes = String::new();
        if let Some(version) = snapshot.rolls_back {
            let _ = write!(notes, ", rolls back {version}");
        }
        if let Some(key) = snapshot.next_network_key {
            let _ = write!(notes, ", announces the key {key:#x}");
        }
        let models = snapshot.models.len();
        lines.push(format!(
            "{:>5}  {}  {models} models{notes}  {}: {}",
            snapshot.version, snapshot.issued_at, by.actor, by.reason
        ));
    }
    print(&lines.join("\n"))
}

async fn diff(arguments: DiffArguments) -> Result<(), CommandError> {
    let publisher = open(&arguments.place.store).await?;
    let environment = arguments.place.environment;
    let offer = match (&arguments.file, arguments.to) {
        (_, Some(version)) => publisher.version(environment, version).await?.snapshot.offer(),
        (Some(file), None) => read::<File>(file)?.offer,
        (None, None) => return Err("name a file, or a version with --to".into()),
    };
    let (from, changes) = publisher.compare(environment, arguments.from, &offer).await?;
    if arguments.json {
        let diff = json!({ "environment": environment, "from": from, "changes": changes });
        return print(&serde_json::to_string_pretty(&diff)?);
    }
    print(&lines(&changes))
}

async fn rotate(arguments: RotateArguments) -> Result<(), CommandError> {
    let publisher = open(&arguments.store).await?;
    let current = publisher.keys().current().address();
    let rotated = publisher.rotate(current, arguments.reason.by()?).await?;
    if arguments.reason.json {
        let shown = json!({
            "genesis": rotated.genesis, "previous": rotated.previous, "network_key": rotated.current,
            "sequence": rotated.sequence,
        });
        return print(&serde_json::to_string_pretty(&shown)?);
    }
    let (previous, current) = (rotated.previous, rotated.current);
    print(&format!("the network's key is {current:#x}, named by {previous:#x}"))?;
    let note = "Back the data directory up: it has the new key. The old ones stay in it, and are needed.";
    writeln!(std::io::stderr().lock(), "{note}")?;
    Ok(())
}

async fn open(arguments: &StoreArguments) -> Result<Publisher, CommandError> {
    let store: Arc<dyn Store> = Arc::new(existing_store(arguments)?);
    let password = std::env::var(PASSWORD_VARIABLE).ok().map(SecretString::from);
    let files = KeyFiles::new(&arguments.data_dir, password);
    Ok(Publisher::open(store, Arc::new(SystemClock), Arc::new(SystemEntropy), files).await?)
}

/// A configuration as `show` prints it, or the offer alone.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
struct File {
    version: Option<u64>,
    offer: Offer,
}

impl TryFrom<Value> for File {
    type Error = serde_json::Error;

    fn try_from(mut value: Value) -> Result<Self, serde_json::Error> {
        let version = value.get("version").and_then(Value::as_u64);
        let offer = value.get_mut("offer").map(Value::take);
        Ok(Self {
            version,
            offer: serde_json::from_value(offer.unwrap_or(value))?,
        })
    }
}

/// Reads JSON, or else TOML.
fn read<T: DeserializeOwned>(path: &Path) -> Result<T, CommandError> {
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        text
    } else {
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?
    };
    let read = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.to_string().trim_end().to_owned())
    };
    read.map_err(|error| format!("{} cannot be used: {error}", path.display()).into())
}

fn lines(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "nothing is different".into();
    }
    let lines: Vec<_> = changes.iter().map(|change| change.summary.as_str()).collect();
    lines.join("\n")
}

fn told(outcome: &Outcome, reason: &Reason) -> Result<(), CommandError> {
    if reason.json {
        let shown = json!({ "snapshot": SnapshotSummary::from(&outcome.published), "changes": outcome.changes });
        return print(&serde_json::to_string_pretty(&shown)?);
    }
    let version = outcome.published.snapshot.version;
    if outcome.changes.is_empty() {
        return print(&format!("version {version} says that already"));
    }
    print(&lines(&outcome.changes))?;
    print(&format!("version {version} is in force"))
}

fn print(text: &str) -> Result<(), CommandError> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}
