//! `resultity models`.

use clap::Args;
use resultity_client::core::api::cloud::ModelsApi;
use resultity_client::core::capability::Capability;
use resultity_client::core::openai::model::{Model, ModelList};
use serde_json::Value;

use crate::connection::{ConnectionArguments, capabilities};
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{day, json, list, thing};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity models
  resultity models smollm2-135m           all that it can do, and its price
  resultity models --json | jq -r .data[].id")]
pub(crate) struct ModelsArguments {
    /// One model, in full
    model: Option<String>,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(
    arguments: ModelsArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let connection = connection.connect()?;
    if let Some(name) = &arguments.model {
        let model = async {
            let model = connection.client.model(name).await;
            model.map_err(|error| connection.explain(error))
        };
        let model = until_interrupted(model).await?;
        output.note_price(None, &model.meta);
        let shown = if arguments.json {
            json(&model.body)?
        } else {
            details(&model.body)
        };
        return output.write_line(&shown);
    }
    let models = async {
        let models = connection.client.models().await;
        models.map_err(|error| connection.explain(error))
    };
    let models = until_interrupted(models).await?;
    output.note_price(None, &models.meta);
    if arguments.json {
        return output.write_line(&json(&models.body)?);
    }
    if models.data.is_empty() {
        output.note("No model can be asked now: no node offers one that this key may ask.");
        return Ok(());
    }
    output.write_line(&table(&models.body))
}

fn table(models: &ModelList) -> String {
    if models.data.iter().all(|model| capabilities(model).next().is_none()) {
        let rows = models
            .data
            .iter()
            .map(|model| vec![model.id.clone(), model.owned_by.clone(), day(model.created)]);
        return list(&["MODEL", "OWNED BY", "PUBLISHED"], rows);
    }
    let rows = models.data.iter().map(|model| {
        vec![
            model.id.clone(),
            makes(model),
            field(model, "context_length"),
            price(model, "input_per_million"),
            price(model, "output_per_million"),
            price(model, "per_request"),
        ]
    });
    let titles = ["MODEL", "MAKES", "CONTEXT", "MILLION IN", "MILLION OUT", "A REQUEST"];
    list(&titles, rows)
}

fn details(model: &Model) -> String {
    thing([
        ("model", model.id.clone()),
        ("owned by", model.owned_by.clone()),
        ("published", day(model.created)),
        ("context", field(model, "context_length")),
        ("credits per million in", price(model, "input_per_million")),
        ("credits per million out", price(model, "output_per_million")),
        ("credits per request", price(model, "per_request")),
        ("can do", capabilities(model).collect::<Vec<_>>().join(", ")),
    ])
}

/// What it can be asked for; the rest of what it can do are details.
fn makes(model: &Model) -> String {
    [
        Capability::Chat,
        Capability::Completions,
        Capability::Embeddings,
        Capability::Container,
    ]
    .into_iter()
    .map(Capability::as_str)
    .filter(|name| capabilities(model).any(|known| known == *name))
    .collect::<Vec<_>>()
    .join(", ")
}

fn field(model: &Model, name: &str) -> String {
    model.extra.get(name).map(shown).unwrap_or_default()
}

fn price(model: &Model, name: &str) -> String {
    let price = model.extra.get("price").and_then(|price| price.get(name));
    price.map(shown).unwrap_or_default()
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
