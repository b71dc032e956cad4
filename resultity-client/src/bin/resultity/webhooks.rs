//! `resultity webhooks`: who is told when something has ended.

use clap::{Args, Subcommand};
use futures::TryStreamExt;
use resultity_client::core::api::page::PageQuery;
use resultity_client::core::api::webhooks::{
    CreateWebhook, DeliveryState, RotateWebhookSecret, TestWebhook, UpdateWebhook, Webhook, WebhookDelivery,
    WebhookWithSecret, WebhooksApi,
};
use resultity_client::core::id::{DeliveryId, WebhookId};
use resultity_client::webhook::EventType;

use crate::connection::{Connection, ConnectionArguments};
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{self, age, if_any, list, moment, thing};

const LIST: &str = "resultity webhooks list";

#[derive(Args)]
#[command(
    subcommand_required = true,
    after_help = "\
Examples:
  resultity webhooks add https://example.org/hook --event batch.completed
  resultity webhooks test wh_...
  resultity webhooks deliveries wh_... --failed

Messages are signed as Standard Webhooks has it; the secret is shown when a
webhook is added or its secret rotated, and never again."
)]
pub(crate) struct WebhooksArguments {
    #[command(subcommand)]
    command: WebhooksCommand,
}

#[derive(Subcommand)]
enum WebhooksCommand {
    /// List webhooks
    List {
        /// Print one line of JSON a webhook
        #[arg(long)]
        json: bool,
    },
    /// Add a webhook; prints its secret
    Add {
        /// Where messages are sent: https
        url: String,
        /// Only these events, such as response.completed [default: all]
        #[arg(long, value_name = "EVENT")]
        event: Vec<EventType>,
        /// What people call it
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Delete a webhook with its log
    Delete {
        /// The webhook
        webhook: WebhookId,
    },
    /// Send no more messages
    Disable {
        /// The webhook
        webhook: WebhookId,
    },
    /// Send messages again
    Enable {
        /// The webhook
        webhook: WebhookId,
    },
    /// Give a webhook a new secret; prints it
    Rotate {
        /// The webhook
        webhook: WebhookId,
        /// How long messages are signed with the old one too [default: a day]
        #[arg(long, value_name = "SECONDS")]
        overlap: Option<u64>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// List what was and is to be sent, the newest first
    Deliveries {
        /// The webhook
        webhook: WebhookId,
        /// Only those that were given up after every try
        #[arg(long)]
        failed: bool,
        /// How many
        #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// Print one line of JSON a delivery
        #[arg(long)]
        json: bool,
    },
    /// Send a message again
    Replay {
        /// The webhook
        webhook: WebhookId,
        /// The delivery
        delivery: DeliveryId,
    },
    /// Send an event that has not happened
    Test {
        /// The webhook
        webhook: WebhookId,
        /// What it is to look like [default: webhook.test]
        #[arg(long, value_name = "EVENT")]
        like: Option<EventType>,
    },
}

pub(crate) async fn run(
    arguments: WebhooksArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let connection = connection.connect()?;
    until_interrupted(act(arguments.command, &connection, output)).await
}

async fn act(command: WebhooksCommand, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
    let client = &connection.client;
    let failed = |error| connection.explain_listed(error, LIST);
    match command {
        WebhooksCommand::List { json } => list_webhooks(json, connection, output).await,
        WebhooksCommand::Add {
            url,
            event,
            description,
            json,
        } => {
            let mut request = CreateWebhook::new(url);
            if !event.is_empty() {
                request = request.events(event);
            }
            request.description = description;
            let added = client.create_webhook(request).await.map_err(failed)?;
            show_secret(&added.body, json, output)
        }
        WebhooksCommand::Delete { webhook } => {
            client.delete_webhook(webhook).await.map_err(failed)?;
            output.note("It is gone.");
            Ok(())
        }
        WebhooksCommand::Disable { webhook } => {
            let changed = client.update_webhook(webhook, UpdateWebhook::enabled(false)).await;
            show(&changed.map_err(failed)?.body, output)
        }
        WebhooksCommand::Enable { webhook } => {
            let changed = client.update_webhook(webhook, UpdateWebhook::enabled(true)).await;
            show(&changed.map_err(failed)?.body, output)
        }
        WebhooksCommand::Rotate { webhook, overlap, json } => {
            let request = overlap.map(RotateWebhookSecret::overlap_seconds).unwrap_or_default();
            let rotated = client.rotate_webhook_secret(webhook, request).await.map_err(failed)?;
            show_secret(&rotated.body, json, output)
        }
        WebhooksCommand::Deliveries {
            webhook,
            failed: only_failed,
            limit,
            json,
        } => {
            let is_wanted = |delivery: &WebhookDelivery| !only_failed || delivery.state == DeliveryState::Failed;
            let none = if only_failed {
                "No delivery has failed."
            } else {
                "There is no delivery."
            };
            deliveries(webhook, (is_wanted, none), limit, json, connection, output).await
        }
        WebhooksCommand::Replay { webhook, delivery } => {
            let again = client.replay_webhook_delivery(webhook, delivery).await;
            sent(&again.map_err(failed)?.body, output)
        }
        WebhooksCommand::Test { webhook, like } => {
            let request = like.map(TestWebhook::like).unwrap_or_default();
            let test = client.test_webhook(webhook, request).await;
            sent(&test.map_err(failed)?.body, output)
        }
    }
}

async fn list_webhooks(as_json: bool, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
    let mut webhooks = connection.client.webhooks_stream(PageQuery::default());
    let mut rows = Vec::new();
    while let Some(webhook) = webhooks.try_next().await.map_err(|error| connection.explain(error))? {
        if as_json {
            output.write_line(&table::json_line(&webhook)?)?;
            continue;
        }
        let events = events(&webhook);
        let state = if webhook.enabled { "on" } else { "off" };
        rows.push(vec![webhook.id.to_string(), state.into(), events, webhook.url]);
    }
    if as_json {
        return Ok(());
    }
    if rows.is_empty() {
        output.note("There is no webhook.");
        return Ok(());
    }
    output.write_line(&list(&["WEBHOOK", "STATE", "EVENTS", "URL"], rows))
}

fn events(webhook: &Webhook) -> String {
    if webhook.events.is_empty() {
        return "all".into();
    }
    let names: Vec<&str> = webhook.events.iter().map(|event| event.as_str()).collect();
    names.join(", ")
}

fn show(webhook: &Webhook, output: &mut Output) -> Result<(), Failure> {
    output.write_line(&thing([
        ("webhook", webhook.id.to_string()),
        ("url", webhook.url.clone()),
        ("description", webhook.description.clone()),
        ("events", events(webhook)),
        ("state", if webhook.enabled { "on".into() } else { "off".into() }),
        ("created", moment(webhook.created_at)),
    ]))
}

fn show_secret(added: &WebhookWithSecret, as_json: bool, output: &mut Output) -> Result<(), Failure> {
    if as_json {
        return output.write_line(&table::json(added)?);
    }
    let previous = added.webhook.previous_secret_expires_at;
    output.write_line(&thing([
        ("webhook", added.webhook.id.to_string()),
        ("url", added.webhook.url.clone()),
        ("secret", added.secret.clone()),
        ("old secret until", previous.map(moment).unwrap_or_default()),
    ]))?;
    output.note("Keep the secret: it is not shown again.");
    Ok(())
}

async fn deliveries(
    webhook: WebhookId,
    (is_wanted, none): (impl Fn(&WebhookDelivery) -> bool, &str),
    limit: usize,
    as_json: bool,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut all = connection
        .client
        .webhook_deliveries_stream(webhook, PageQuery::default());
    let mut rows = Vec::new();
    let mut count = 0;
    while count < limit {
        let delivery = all.try_next().await;
        let delivery = delivery.map_err(|error| connection.explain_listed(error, LIST))?;
        let Some(delivery) = delivery else { break };
        if !is_wanted(&delivery) {
            continue;
        }
        count += 1;
        if as_json {
            output.write_line(&table::json_line(&delivery)?)?;
            continue;
        }
        rows.push(vec![
            delivery.id.to_string(),
            state(&delivery).into(),
            delivery.event.kind.to_string(),
            age(delivery.created_at),
            why(&delivery),
        ]);
    }
    if as_json {
        return Ok(());
    }
    if rows.is_empty() {
        output.note(none);
        return Ok(());
    }
    output.write_line(&list(&["DELIVERY", "STATE", "EVENT", "AGE", "LAST ANSWER"], rows))
}

fn state(delivery: &WebhookDelivery) -> &'static str {
    match delivery.state {
        DeliveryState::Pending => "pending",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Failed => "failed",
        _ => "unknown",
    }
}

/// What the receiver said last.
fn why(delivery: &WebhookDelivery) -> String {
    match (&delivery.last_error, delivery.last_status) {
        (Some(error), _) => error.clone(),
        (None, status) => if_any(status),
    }
}

fn sent(delivery: &WebhookDelivery, output: &mut Output) -> Result<(), Failure> {
    output.write_line(&delivery.id.to_string())?;
    output.note(&format!(
        "`resultity webhooks deliveries {}` tells what became of it.",
        delivery.webhook
    ));
    Ok(())
}
