//! `resultity credits …`: the credits of the account's namespaces.

use clap::Subcommand;
use resultity_client::core::api::gate::{
    AccountUsageQuery, AskFaucet, CreditQuery, CreditsApi, CreditsReceived, NewTransfer, RedeemVoucher, ReportsApi,
    SetCreditAlert, VouchersApi,
};
use resultity_client::core::credits::Credits;

use super::{Gate, GateArguments};
use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{if_any, json, list, moment};

#[derive(Subcommand)]
pub(crate) enum CreditsAction {
    /// What every namespace has
    Balances,
    /// All that changed what a namespace may spend, newest first
    Ledger {
        /// Its name or id [default: the namespace `default`]
        namespace: Option<String>,
        /// How many lines
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
        /// Lines after the one with this id
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// What is held for jobs that have not ended
    Holds {
        /// Its name or id [default: the namespace `default`]
        namespace: Option<String>,
    },
    /// Move credits between own namespaces
    Transfer {
        /// How many
        amount: Credits,
        /// From which: name or id
        #[arg(long)]
        from: String,
        /// To which: name or id
        #[arg(long)]
        to: String,
        /// Makes a repeat harmless
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
    /// Ask for the day's credits of the testnet
    Faucet {
        /// For which: name or id [default: the namespace `default`]
        namespace: Option<String>,
    },
    /// Redeem a voucher
    Redeem {
        /// Its code
        code: String,
        /// For which: name or id [default: the namespace `default`]
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Be told before a namespace runs out
    Alert {
        /// Below how many credits; 0 ends it
        below: Credits,
        /// Which: name or id [default: the namespace `default`]
        #[arg(long)]
        namespace: Option<String>,
    },
    /// What all namespaces and keys used
    Usage {
        /// What rows are told apart by: day, namespace, key, model, endpoint
        #[arg(long, value_name = "NAMES", default_value = "day,key,model")]
        by: String,
        /// The first day (UTC), such as 2026-11-01 [default: 30 days ago]
        #[arg(long, value_name = "DAY")]
        start: Option<String>,
        /// The last day [default: today]
        #[arg(long, value_name = "DAY")]
        end: Option<String>,
        /// Print comma-separated values
        #[arg(long)]
        csv: bool,
    },
}

pub(crate) async fn run(
    action: CreditsAction,
    arguments: &GateArguments,
    connection: &ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let gate = Gate::open(connection).await?;
    until_interrupted(act(action, arguments, &gate, output)).await
}

async fn act(
    action: CreditsAction,
    arguments: &GateArguments,
    gate: &Gate,
    output: &mut Output,
) -> Result<(), Failure> {
    let environment = arguments.environment;
    let explain = |error| gate.explain(error);
    match action {
        CreditsAction::Balances => {
            let credits = gate.client.credits(arguments.within()).await.map_err(explain)?;
            if arguments.json {
                return output.write_line(&json(&credits)?);
            }
            let rows = credits.namespaces.iter().map(|one| {
                vec![
                    one.name.clone(),
                    one.available.to_string(),
                    one.held.to_string(),
                    one.total.to_string(),
                    if_any(one.alert.map(|alert| alert.below)),
                ]
            });
            let total = vec![
                "total".to_owned(),
                credits.available.to_string(),
                credits.held.to_string(),
                credits.total.to_string(),
                String::new(),
            ];
            let titles = ["NAMESPACE", "AVAILABLE", "HELD", "TOTAL", "ALERT BELOW"];
            output.write_line(&list(&titles, rows.chain([total]).collect::<Vec<_>>()))
        }
        CreditsAction::Ledger {
            namespace,
            limit,
            after,
        } => {
            let namespace = gate.namespace(namespace.as_deref(), environment).await?;
            let query = CreditQuery {
                environment,
                limit: Some(limit),
                after,
                order: None,
            };
            let page = gate.client.ledger(namespace.id, query).await.map_err(explain)?;
            if arguments.json {
                return output.write_line(&json(&page)?);
            }
            let rows = page.data.iter().map(|line| {
                vec![
                    moment(line.created_at),
                    line.kind.as_str().to_owned(),
                    line.amount.to_string(),
                    if_any(line.job),
                    line.reason.clone(),
                ]
            });
            output.write_line(&list(&["WHEN", "WHAT", "CREDITS", "JOB", "WHY"], rows))?;
            if let (true, Some(last)) = (page.has_more, &page.last_id) {
                output.note(&format!("There are more: --after {last}"));
            }
            Ok(())
        }
        CreditsAction::Holds { namespace } => {
            let namespace = gate.namespace(namespace.as_deref(), environment).await?;
            let query = CreditQuery {
                environment,
                ..CreditQuery::first(100)
            };
            let page = gate.client.holds(namespace.id, query).await.map_err(explain)?;
            if arguments.json {
                return output.write_line(&json(&page)?);
            }
            let rows = page.data.iter().map(|hold| {
                vec![
                    hold.job.to_string(),
                    hold.model.clone(),
                    hold.state.as_str().to_owned(),
                    hold.held.to_string(),
                    moment(hold.deadline),
                ]
            });
            output.write_line(&list(&["JOB", "MODEL", "STATE", "HELD", "UNTIL"], rows))
        }
        CreditsAction::Transfer {
            amount,
            from,
            to,
            idempotency_key,
        } => {
            let from = gate.namespace(Some(&from), environment).await?;
            let to = gate.namespace(Some(&to), environment).await?;
            let mut request = NewTransfer::new(from.id, to.id, amount);
            request.idempotency_key = idempotency_key;
            let done = gate.client.transfer_credits(request).await.map_err(explain)?;
            if arguments.json {
                return output.write_line(&json(&done)?);
            }
            output.write_line(&format!(
                "{} credits moved from {} to {}.",
                done.amount, from.name, to.name
            ))
        }
        CreditsAction::Faucet { namespace } => {
            let namespace = gate.namespace(namespace.as_deref(), environment).await?;
            let received = gate
                .client
                .ask_faucet(AskFaucet::new(namespace.id))
                .await
                .map_err(explain)?;
            show_received(&received, &namespace.name, arguments.json, output)
        }
        CreditsAction::Redeem { code, namespace } => {
            let namespace = gate.namespace(namespace.as_deref(), environment).await?;
            let request = RedeemVoucher::new(code, namespace.id);
            let received = gate.client.redeem_voucher(request).await.map_err(explain)?;
            show_received(&received, &namespace.name, arguments.json, output)
        }
        CreditsAction::Alert { below, namespace } => {
            let namespace = gate.namespace(namespace.as_deref(), environment).await?;
            let request = if below == Credits::ZERO {
                SetCreditAlert::off()
            } else {
                SetCreditAlert::below(below)
            };
            let set = gate
                .client
                .set_credit_alert(namespace.id, arguments.within(), request)
                .await;
            let set = set.map_err(explain)?;
            if arguments.json {
                return output.write_line(&json(&set)?);
            }
            output.write_line(&match set.alert {
                Some(alert) => format!("You are told when {} has less than {} credits.", set.name, alert.below),
                None => format!("You are not told when {} runs out.", set.name),
            })
        }
        CreditsAction::Usage { by, start, end, csv } => {
            let query = AccountUsageQuery {
                environment,
                start,
                end,
                group_by: Some(by.clone()),
                ..AccountUsageQuery::default()
            };
            if csv {
                let text = gate.client.account_usage_csv(query).await.map_err(explain)?;
                return output.write(&text);
            }
            let report = gate.client.account_usage(query).await.map_err(explain)?;
            if arguments.json {
                return output.write_line(&json(&report)?);
            }
            let by: Vec<&str> = by.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
            let mut titles: Vec<String> = by.iter().map(|name| name.to_uppercase()).collect();
            titles.extend(["REQUESTS", "IN", "OUT", "CREDITS"].map(str::to_owned));
            let rows = report.data.iter().map(|row| {
                let mut cells: Vec<String> = by
                    .iter()
                    .map(|name| match *name {
                        "day" => if_any(row.day.clone()),
                        "namespace" => row.namespace_name.clone().unwrap_or_else(|| if_any(row.namespace)),
                        "key" => (row.key_label.clone())
                            .filter(|label| !label.is_empty())
                            .unwrap_or_else(|| if_any(row.key)),
                        "endpoint" => if_any(row.endpoint.clone()),
                        _ => if_any(row.model.clone()),
                    })
                    .collect();
                let counts = &row.counts;
                cells.extend([
                    counts.requests.to_string(),
                    counts.prompt_tokens.to_string(),
                    counts.completion_tokens.to_string(),
                    counts.cost.to_string(),
                ]);
                cells
            });
            let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
            output.write_line(&list(&titles, rows.collect::<Vec<_>>()))?;
            output.note(&format!(
                "In all {} credits from {} to {}.",
                report.total.cost, report.start, report.end
            ));
            Ok(())
        }
    }
}

fn show_received(received: &CreditsReceived, name: &str, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    if as_json {
        return output.write_line(&json(received)?);
    }
    output.write_line(&format!(
        "{name} got {} credits and may spend {}.",
        received.received, received.balance
    ))
}
