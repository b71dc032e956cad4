//! `resultity snapshots`: the network's configuration, for administrators.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use resultity_client::core::api::gate::{
    ApproveModel, ConfigurationApi, DeprecateModel, DiffSnapshots, PriceModel, Publication, PublishSnapshot,
    RollBackSnapshot, SnapshotQuery,
};
use resultity_client::core::credits::Credits;
use resultity_client::core::model::ModelSpec;
use resultity_client::core::snapshot::Offer;

use super::keys::{from_now, seconds};
use super::{Gate, GateArguments};
use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{if_any, json, list, moment, thing, versions};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity snapshots
  resultity snapshots show --offer > offer.json
  resultity snapshots diff offer.json     what would change
  resultity snapshots publish offer.json --reason \"a new model\"
  resultity snapshots price llama --input 1 --output 2 --reason \"cheaper\"
  resultity snapshots rollback 7 --reason \"the new model fails\"

All but list, show and diff are for administrators.")]
pub(crate) struct SnapshotsArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(Subcommand)]
enum Action {
    /// List them, newest first
    List {
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
    },
    /// Show one [default: the one in force]
    Show {
        version: Option<u64>,
        /// Print the offer alone, as JSON: what `publish` takes
        #[arg(long)]
        offer: bool,
    },
    /// What an offer, or a later version, changes
    Diff {
        /// A file with an offer as JSON
        #[arg(required_unless_present = "to")]
        offer: Option<PathBuf>,
        /// From which version [default: the one in force]
        #[arg(long, value_name = "VERSION")]
        from: Option<u64>,
        /// To which version
        #[arg(long, value_name = "VERSION", conflicts_with = "offer")]
        to: Option<u64>,
    },
    /// Publish an offer
    Publish {
        /// A file with an offer as JSON
        offer: PathBuf,
        /// The version that the offer was made from [default: the one in force]
        #[arg(long, value_name = "VERSION")]
        base: Option<u64>,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Publish again what an earlier version said
    Rollback {
        version: u64,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Add a model, or replace the one of its name
    Approve {
        /// A file with the model as JSON
        model: PathBuf,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// End a model, at once or after a time
    Deprecate {
        model: String,
        /// After how long, such as 7d
        #[arg(long = "in", value_name = "TIME", value_parser = seconds)]
        after: Option<u64>,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Change what a model costs; what is not named stays
    Price {
        model: String,
        /// Credits for a million tokens of prompts
        #[arg(long, value_name = "CREDITS")]
        input: Option<Credits>,
        /// Credits for a million tokens of answers
        #[arg(long, value_name = "CREDITS")]
        output: Option<Credits>,
        /// Credits for each request
        #[arg(long, value_name = "CREDITS")]
        request: Option<Credits>,
        /// Why
        #[arg(long)]
        reason: String,
    },
}

pub(crate) async fn run(
    arguments: SnapshotsArguments,
    connection: &ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let gate = Gate::open(connection).await?;
    until_interrupted(act(arguments, &gate, output)).await
}

async fn act(arguments: SnapshotsArguments, gate: &Gate, output: &mut Output) -> Result<(), Failure> {
    let GateArguments {
        environment,
        json: as_json,
    } = arguments.gate.clone();
    let within = arguments.gate.within();
    let explain = |error| gate.explain(error);
    match arguments.action.unwrap_or(Action::List { limit: 20 }) {
        Action::List { limit } => {
            let query = SnapshotQuery {
                environment,
                limit: Some(limit),
                ..SnapshotQuery::default()
            };
            let page = gate.client.snapshots(query).await.map_err(explain)?;
            if as_json {
                return output.write_line(&json(&page)?);
            }
            let rows = page.data.iter().map(|one| {
                vec![
                    one.version.to_string(),
                    moment(one.created_at),
                    if_any(one.rolls_back),
                    one.reason.clone().unwrap_or_default(),
                    one.digest.to_string().chars().take(14).collect(),
                ]
            });
            output.write_line(&list(&["VERSION", "PUBLISHED", "ROLLS BACK", "WHY", "DIGEST"], rows))
        }
        Action::Show { version, offer } => {
            let shown = match version {
                Some(version) => gate.client.snapshot(version, within).await,
                None => gate.client.config(within).await,
            };
            let shown = shown.map_err(explain)?;
            if offer {
                return output.write_line(&json(&shown.offer)?);
            }
            if as_json {
                return output.write_line(&json(&shown)?);
            }
            let models: Vec<_> = shown.offer.models.iter().map(|model| model.name.as_str()).collect();
            output.write_line(&thing([
                ("version", shown.summary.version.to_string()),
                ("environment", shown.summary.environment.to_string()),
                ("published", moment(shown.summary.created_at)),
                ("digest", shown.summary.digest.to_string()),
                ("rolls back", if_any(shown.summary.rolls_back)),
                ("why", shown.summary.reason.clone().unwrap_or_default()),
                ("oldest Agent", shown.offer.min_agent_version.clone()),
                ("oldest Runtimes", versions(&shown.offer.min_runtime_versions)),
                ("models", models.join(", ")),
            ]))
        }
        Action::Diff { offer, from, to } => {
            let mut request = match &offer {
                Some(path) => DiffSnapshots::with_offer(read::<Offer>(path, "an offer")?),
                None => DiffSnapshots::default(),
            };
            (request.environment, request.from, request.to) = (environment, from, to);
            let diff = gate.client.diff_snapshots(request).await.map_err(explain)?;
            if as_json {
                return output.write_line(&json(&diff)?);
            }
            if diff.changes.is_empty() {
                output.note("Nothing would be different.");
                return Ok(());
            }
            let lines: Vec<_> = diff.changes.iter().map(|change| change.summary.as_str()).collect();
            output.write_line(&lines.join("\n"))
        }
        Action::Publish { offer, base, reason } => {
            let offer = read::<Offer>(&offer, "an offer")?;
            let base = match base {
                Some(base) => base,
                None => gate.client.config(within).await.map_err(explain)?.summary.version,
            };
            let mut request = PublishSnapshot::new(base, offer, reason);
            request.environment = environment;
            show(
                &gate.client.publish_snapshot(request).await.map_err(explain)?,
                as_json,
                output,
            )
        }
        Action::Rollback { version, reason } => {
            let mut request = RollBackSnapshot::new(version, reason);
            request.environment = environment;
            show(
                &gate.client.roll_back_snapshot(request).await.map_err(explain)?,
                as_json,
                output,
            )
        }
        Action::Approve { model, reason } => {
            let mut request = ApproveModel::new(read::<ModelSpec>(&model, "a model")?, reason);
            request.environment = environment;
            show(
                &gate.client.approve_model(request).await.map_err(explain)?,
                as_json,
                output,
            )
        }
        Action::Deprecate { model, after, reason } => {
            let mut request = match after {
                Some(after) => DeprecateModel::at(from_now(after), reason),
                None => DeprecateModel::now(reason),
            };
            request.environment = environment;
            show(
                &gate.client.deprecate_model(&model, request).await.map_err(explain)?,
                as_json,
                output,
            )
        }
        Action::Price {
            model,
            input,
            output: written,
            request: each,
            reason,
        } => {
            let current = gate.client.config(within).await.map_err(explain)?;
            let known = current.offer.models.iter().find(|known| known.answers_to(&model));
            let known = known.ok_or_else(|| {
                Failure::new(format!("there is no model {model:?}")).hint("`resultity status models` lists them.")
            })?;
            let mut price = known.price;
            price.input_per_million = input.unwrap_or(price.input_per_million);
            price.output_per_million = written.unwrap_or(price.output_per_million);
            price.per_request = each.unwrap_or(price.per_request);
            let mut request = PriceModel::new(price, reason);
            request.environment = environment;
            let priced = gate.client.price_model(&known.name, request).await;
            show(&priced.map_err(explain)?, as_json, output)
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &std::path::Path, what: &str) -> Result<T, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("{} cannot be read: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| Failure::new(format!("{} is not {what}: {error}", path.display())))
}

fn show(published: &Publication, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    if as_json {
        return output.write_line(&json(published)?);
    }
    for change in &published.changes {
        output.write_line(&change.summary)?;
    }
    output.note(&format!(
        "Snapshot {} is in force in {}.",
        published.snapshot.version, published.snapshot.environment
    ));
    Ok(())
}
