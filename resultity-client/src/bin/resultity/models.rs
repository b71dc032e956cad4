//! `resultity models`.

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use resultity_client::core::api::cloud::ModelsApi;
use resultity_client::core::openai::model::ModelList;

use crate::connection::ConnectionArguments;
use crate::output::{Failure, Output, until_interrupted};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity models
  resultity models --json | jq -r .data[].id")]
pub(crate) struct ModelsArguments {
    /// Print the server's list as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(
    arguments: ModelsArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let connection = connection.connect()?;
    let models = async {
        connection
            .client
            .models()
            .await
            .map_err(|error| connection.explain(error))
    };
    let models = until_interrupted(models).await?;
    output.note_price(None, &models.meta);
    if arguments.json {
        return output.write_line(&json(&models.body)?);
    }
    if models.data.is_empty() {
        output.note("No model can be asked now: no node offers one.");
        return Ok(());
    }
    output.write_line(&table(&models.body))
}

/// Readable JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(|error| Failure::new(format!("the answer is not JSON: {error}")))
}

fn table(models: &ModelList) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["MODEL", "OWNED BY", "PUBLISHED"]);
    for model in &models.data {
        let day = jiff::Timestamp::from_second(model.created).map(|time| time.strftime("%Y-%m-%d").to_string());
        table.add_row([model.id.clone(), model.owned_by.clone(), day.unwrap_or_default()]);
    }
    table.trim_fmt()
}
