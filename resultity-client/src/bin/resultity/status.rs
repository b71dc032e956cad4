//! `resultity status`.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use futures::StreamExt;
use resultity_client::StatusClient;
use resultity_client::core::api::gate::InEnvironment;
use resultity_client::core::api::status::{
    ConfigStatus, Epochs, Models, NetworkStatus, Pricing, Regions, Seen, StatusApi, StatusEvent, Versions,
};
use resultity_client::core::environment::Environment;
use resultity_client::core::error::{ApiError, ErrorCode};

use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{self, if_any, json, json_line, list, moment, thing};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity status                        the network in numbers
  resultity status models                 what is served, and by how many nodes
  resultity status events                 what happens, until Ctrl-C
  resultity status --base-url https://HOST/v1 --environment mainnet
  resultity status --json | jq .jobs.waiting

It needs no key.")]
pub(crate) struct StatusArguments {
    /// What to see
    #[arg(value_enum, default_value_t = What::Network)]
    what: What,
    /// testnet or mainnet [default: the server's first]
    #[arg(long, value_name = "NAME")]
    environment: Option<Environment>,
    /// Print the server's answer as JSON; of events, a line for each
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Nodes, load, requests, latency, queue
    Network,
    /// What is served, and by how much
    Models,
    /// Where nodes say that they are
    Regions,
    /// What nodes have to run, and what they run
    Versions,
    /// What models cost, in credits
    Pricing,
    /// The snapshot in force, and those before it
    Config,
    /// Contribution points, by week
    Epochs,
    /// What happens, as it happens
    Events,
}

pub(crate) async fn run(
    arguments: StatusArguments,
    connection: &ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let client = connection.status()?;
    let of = InEnvironment {
        environment: arguments.environment,
    };
    let look = async {
        let shown = match arguments.what {
            What::Network => shown(client.network(of).await, arguments.json, network),
            What::Models => shown(client.models(of).await, arguments.json, models),
            What::Regions => shown(client.regions(of).await, arguments.json, regions),
            What::Versions => shown(client.versions(of).await, arguments.json, versions),
            What::Pricing => shown(client.pricing(of).await, arguments.json, pricing),
            What::Config => shown(client.config(of).await, arguments.json, config),
            What::Epochs => shown(client.epochs(of).await, arguments.json, epochs),
            What::Events => return follow(&client, of, arguments.json, output).await,
        };
        let shown = shown.map_err(|why| why.into_failure(&client))?;
        output.write_line(&shown)
    };
    until_interrupted(look).await
}

/// Why there is nothing to show.
enum Why {
    Api(ApiError),
    Failure(Failure),
}

impl Why {
    fn into_failure(self, client: &StatusClient) -> Failure {
        match self {
            Self::Api(error) => explain(error, client),
            Self::Failure(failure) => failure,
        }
    }
}

fn explain(error: ApiError, client: &StatusClient) -> Failure {
    let hint = match error.code {
        ErrorCode::Connection => Some("Check --base-url, and that the server runs.".to_owned()),
        ErrorCode::NotFound | ErrorCode::InvalidResponse if error.param.is_none() => Some(format!(
            "Check --base-url: nothing that shows a status is at {}.",
            client.base_url()
        )),
        _ => None,
    };
    Failure::api(error, hint)
}

fn shown<T: serde::Serialize>(
    answer: Result<Seen<T>, ApiError>,
    as_json: bool,
    text: fn(&Seen<T>) -> String,
) -> Result<String, Why> {
    let seen = answer.map_err(Why::Api)?;
    if as_json {
        json(&seen).map_err(Why::Failure)
    } else {
        Ok(text(&seen))
    }
}

fn network(seen: &Seen<NetworkStatus>) -> String {
    let NetworkStatus {
        nodes,
        jobs,
        latency,
        load,
        ..
    } = &seen.body;
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    let intake = if seen.body.takes_jobs {
        ""
    } else {
        "no: new jobs are refused"
    };
    thing([
        ("environment", seen.environment.to_string()),
        ("takes jobs", intake.to_owned()),
        (
            "nodes",
            format!("{} connected, {} in rotation", nodes.connected, nodes.in_rotation),
        ),
        ("GPUs", if_positive(nodes.gpus)),
        ("models", seen.body.models.to_string()),
        (
            "slots",
            format!(
                "{} of {} in use ({})",
                load.slots_in_use,
                load.slots,
                percent(load.utilisation)
            ),
        ),
        ("waiting", jobs.waiting.to_string()),
        (
            "jobs",
            format!("{:.2} a second, {} in the last hour", jobs.per_second, jobs.last_hour),
        ),
        ("answered", percent(jobs.success_rate)),
        ("tokens", format!("{:.1} a second", jobs.tokens_per_second)),
        (
            "latency",
            format!(
                "mean {} ms, p50 {} ms, p95 {} ms",
                latency.mean_ms, latency.p50_ms, latency.p95_ms
            ),
        ),
        ("as of", moment(seen.as_of)),
    ])
}

fn if_positive(number: u64) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

fn models(seen: &Seen<Models>) -> String {
    let rows = seen.body.models.iter().map(|model| {
        vec![
            model.name.clone(),
            model.version.clone(),
            if model.available { "yes" } else { "no" }.to_owned(),
            model.nodes.to_string(),
            model.slots.to_string(),
            model.waiting.to_string(),
        ]
    });
    list(&["MODEL", "VERSION", "SERVED", "NODES", "SLOTS", "WAITING"], rows)
}

fn regions(seen: &Seen<Regions>) -> String {
    let rows = seen.body.regions.iter().map(|region| {
        vec![
            region.region.clone().unwrap_or_else(|| "(none)".to_owned()),
            region.nodes.to_string(),
            region.in_rotation.to_string(),
            region.gpus.to_string(),
            format!("{}/{}", region.slots_in_use, region.slots),
            region.models.join(", "),
        ]
    });
    list(&["REGION", "NODES", "IN ROTATION", "GPUS", "SLOTS", "MODELS"], rows)
}

fn versions(seen: &Seen<Versions>) -> String {
    let versions = &seen.body;
    let mut text = thing([
        ("oldest Agent that may connect", versions.required_agent.clone()),
        (
            "oldest Runtimes that get work",
            table::versions(&versions.required_runtimes),
        ),
        ("newest Agent", versions.current_agent.clone()),
        ("server", versions.server.clone()),
    ]);
    let counts = (versions.agents.iter().map(|count| ("Agent", count)))
        .chain(versions.runtimes.iter().map(|count| ("Runtime", count)));
    let rows: Vec<_> = counts
        .map(|(what, count)| vec![what.to_owned(), count.version.clone(), count.nodes.to_string()])
        .collect();
    if !rows.is_empty() {
        let _ = write!(text, "\n\n{}", list(&["RUNS", "VERSION", "NODES"], rows));
    }
    text
}

fn pricing(seen: &Seen<Pricing>) -> String {
    let rows = seen.body.prices.iter().map(|price| {
        vec![
            price.model.clone(),
            price.price.input_per_million.to_string(),
            price.price.output_per_million.to_string(),
            price.price.per_request.to_string(),
        ]
    });
    list(&["MODEL", "MILLION IN", "MILLION OUT", "A REQUEST"], rows)
}

fn config(seen: &Seen<ConfigStatus>) -> String {
    let config = &seen.body;
    let rows = config.history.iter().map(|change| {
        vec![
            change.version.to_string(),
            moment(change.issued_at),
            change.models.to_string(),
            if_any(change.rolls_back),
            change.min_agent_version.clone(),
        ]
    });
    let titles = ["VERSION", "PUBLISHED", "MODELS", "ROLLS BACK", "OLDEST AGENT"];
    let about = thing([
        ("digest", config.digest.to_string()),
        ("network key", config.network_key.clone()),
        ("genesis", config.genesis.clone()),
    ]);
    format!("{about}\n\n{}", list(&titles, rows))
}

fn epochs(seen: &Seen<Epochs>) -> String {
    let rows = seen.body.epochs.iter().map(|epoch| {
        vec![
            epoch.number.to_string(),
            moment(epoch.starts_at),
            if epoch.closed { "closed" } else { "open" }.to_owned(),
            epoch.points.to_string(),
            epoch.nodes.to_string(),
            epoch.root.map(|root| root.to_string()).unwrap_or_default(),
        ]
    });
    list(&["EPOCH", "BEGAN", "STATE", "POINTS", "NODES", "ROOT"], rows)
}

/// Shows what happens until the server stops or somebody presses Ctrl-C.
async fn follow(client: &StatusClient, of: InEnvironment, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    let mut events = client.events(of).await.map_err(|error| explain(error, client))?;
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| explain(error, client))?;
        let line = if as_json { json_line(&event)? } else { told(&event) };
        output.write_line(&line)?;
    }
    Ok(())
}

fn told(event: &StatusEvent) -> String {
    match event {
        StatusEvent::Network(seen) => {
            let NetworkStatus { nodes, jobs, load, .. } = &seen.body;
            format!(
                "{}  {} nodes, {}/{} slots, {} waiting, {:.2} jobs a second",
                moment(seen.as_of),
                nodes.in_rotation,
                load.slots_in_use,
                load.slots,
                jobs.waiting,
                jobs.per_second
            )
        }
        StatusEvent::Model(model) if model.available => format!("model {} can be asked", model.name),
        StatusEvent::Model(model) => format!("model {} is not served any more", model.name),
        StatusEvent::Config(change) => {
            format!("snapshot {} is in force, with {} models", change.version, change.models)
        }
        StatusEvent::Epoch(epoch) => format!("epoch {} has begun", epoch.number),
        other => other.kind().to_owned(),
    }
}
