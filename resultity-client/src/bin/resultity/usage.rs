//! `resultity usage` and `resultity credits`.

use clap::Args;
use resultity_client::core::api::usage::{UsageApi, UsageCounts, UsageQuery, UsageReport, UsageScope};

use crate::connection::ConnectionArguments;
use crate::gate::GateArguments;
use crate::gate::credits::{self, CreditsAction};
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{if_any, json, list, thing};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity usage
  resultity usage --by model,endpoint --start 2026-11-01
  resultity usage --by day --csv > usage.csv")]
pub(crate) struct UsageArguments {
    /// What rows are told apart by: day, model, endpoint, key
    #[arg(long, value_name = "NAMES", default_value = "day,model", value_parser = groups)]
    by: String,
    /// The first day (UTC), such as 2026-11-01 [default: 30 days ago]
    #[arg(long, value_name = "DAY")]
    start: Option<String>,
    /// The last day [default: today]
    #[arg(long, value_name = "DAY")]
    end: Option<String>,
    /// Only this model
    #[arg(short, long)]
    model: Option<String>,
    /// All keys of the namespace, not this one alone
    #[arg(long)]
    namespace: bool,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity credits                       what the API key may spend
  resultity credits balances              all namespaces of the account
  resultity credits faucet                the day's credits of the testnet
  resultity credits transfer 10 --from default --to staging
  resultity credits ledger                where every credit went
  resultity credits --json | jq -r .available")]
pub(crate) struct CreditsArguments {
    #[command(subcommand)]
    action: Option<CreditsAction>,
    #[command(flatten)]
    gate: GateArguments,
}

/// What rows are told apart by, as it was given.
fn groups(text: &str) -> Result<String, &'static str> {
    let is_known = |name: &str| matches!(name.trim(), "day" | "model" | "endpoint" | "key");
    if text.split(',').all(is_known) {
        Ok(text.to_owned())
    } else {
        Err("expected names out of day, model, endpoint and key, with commas between them")
    }
}

pub(crate) async fn run(
    arguments: UsageArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let connection = connection.connect()?;
    let query = UsageQuery {
        start: arguments.start,
        end: arguments.end,
        group_by: Some(arguments.by.clone()),
        model: arguments.model,
        scope: arguments.namespace.then_some(UsageScope::Namespace),
    };
    until_interrupted(async {
        if arguments.csv {
            let report = connection.client.usage_csv(query).await;
            return output.write(&report.map_err(|error| connection.explain(error))?.body);
        }
        let report = connection.client.usage(query).await;
        let report = report.map_err(|error| connection.explain(error))?;
        output.note_price(None, &report.meta);
        if arguments.json {
            return output.write_line(&json(&report.body)?);
        }
        if report.data.is_empty() {
            output.note(&format!("Nothing was asked from {} to {}.", report.start, report.end));
            return Ok(());
        }
        output.write_line(&table(&report.body, &arguments.by))
    })
    .await
}

pub(crate) fn table(report: &UsageReport, by: &str) -> String {
    let by: Vec<&str> = by.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let header: Vec<String> = by
        .iter()
        .map(|name| name.to_uppercase())
        .chain(["REQUESTS", "FAILED", "IN", "OUT", "CREDITS"].map(str::to_owned))
        .collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let rows = report.data.iter().map(|row| {
        let groups = by.iter().map(|name| match *name {
            "day" => if_any(row.day.clone()),
            "model" => if_any(row.model.clone()),
            "endpoint" => if_any(row.endpoint.clone()),
            _ => if_any(row.key),
        });
        groups.chain(counts(&row.counts)).collect()
    });
    let mut total = vec![String::new(); by.len()];
    if let Some(first) = total.first_mut() {
        "total".clone_into(first);
    }
    total.extend(counts(&report.total));
    list(&header, rows.chain([total]).collect::<Vec<_>>())
}

fn counts(counts: &UsageCounts) -> [String; 5] {
    [
        counts.requests.to_string(),
        counts.failed.to_string(),
        counts.prompt_tokens.to_string(),
        counts.completion_tokens.to_string(),
        counts.cost.to_string(),
    ]
}

pub(crate) async fn run_credits(
    arguments: CreditsArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    if let Some(action) = arguments.action {
        return credits::run(action, &arguments.gate, &connection, output).await;
    }
    let connection = connection.connect()?;
    until_interrupted(async {
        let credits = connection.client.credits().await;
        let credits = credits.map_err(|error| connection.explain(error))?;
        output.note_price(None, &credits.meta);
        if arguments.gate.json {
            return output.write_line(&json(&credits.body)?);
        }
        output.write_line(&thing([
            ("available", credits.available.to_string()),
            ("held for running jobs", credits.held.to_string()),
            ("limit of this key", if_any(credits.spend_limit)),
            ("spent by this key", if_any(credits.spent)),
        ]))
    })
    .await
}
