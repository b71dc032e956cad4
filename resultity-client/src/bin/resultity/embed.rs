//! `resultity embed`: texts as numbers.

use clap::Args;
use resultity_client::core::api::embeddings::EmbeddingsApi;
use resultity_client::core::capability::Capability;
use resultity_client::core::job::Endpoint;
use resultity_client::core::openai::chat::Usage;
use resultity_client::core::openai::embedding::{EmbeddingInput, EmbeddingRequest};

use crate::asking::{AskingArguments, read_all};
use crate::connection::{Connection, ConnectionArguments};
use crate::output::{Failure, Output, until_interrupted};
use crate::table::{json, json_line};

/// How many numbers a terminal gets to see of each text.
const SHOWN: usize = 5;

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity embed \"What is love?\" \"A river in France\" > vectors.jsonl
  resultity embed - < lines.txt           one text a line
  resultity embed --json \"hi\" | jq .usage

Prints a line for each text: its numbers as a JSON array. On a terminal they
are shortened.")]
pub(crate) struct EmbedArguments {
    /// The texts; `-` reads one a line from standard input, empty lines left out
    #[arg(required = true)]
    texts: Vec<String>,
    /// The model [default: the one of `dev`, else the first that can]
    #[arg(short, long, env = "RESULTITY_EMBEDDING_MODEL")]
    model: Option<String>,
    /// How many numbers each text gets, for models that can be cut
    #[arg(long, value_name = "N")]
    dimensions: Option<u64>,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asking: AskingArguments,
}

pub(crate) async fn run(
    arguments: EmbedArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let connection = connection.connect()?;
    let texts = match arguments.texts.as_slice() {
        [dash] if dash == "-" => {
            let all = until_interrupted(read_all()).await?;
            all.lines()
                .filter(|line| !line.trim().is_empty())
                .map(str::to_owned)
                .collect()
        }
        texts => texts.to_vec(),
    };
    if texts.is_empty() {
        return Err(Failure::usage("there is no text: standard input has no line"));
    }
    until_interrupted(async {
        let model = connection
            .model_that_can(arguments.model.clone(), Capability::Embeddings)
            .await?;
        let mut request = EmbeddingRequest::new(model, EmbeddingInput::Texts(texts));
        request.dimensions = arguments.dimensions;
        ask(&arguments, request, &connection, output).await
    })
    .await
}

async fn ask(
    arguments: &EmbedArguments,
    request: EmbeddingRequest,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    let asking = &arguments.asking;
    if asking.dry_run {
        return asking
            .quote(connection, Endpoint::Embeddings, &request, arguments.json, output)
            .await;
    }
    let answer = asking.client(connection).embed(request).await;
    let answer = answer.map_err(|error| connection.explain(error))?;
    if arguments.json {
        output.write_line(&json(&answer.body)?)?;
    } else {
        for embedding in &answer.data {
            let numbers = embedding.embedding.to_floats();
            let numbers = numbers.ok_or_else(|| Failure::new("the server's answer holds no numbers"))?;
            let line = if output.is_terminal() {
                shortened(&numbers)
            } else {
                json_line(&numbers)?
            };
            output.write_line(&line)?;
        }
    }
    output.note_price(Some(Usage::new(answer.usage.prompt_tokens, 0)), &answer.meta);
    Ok(())
}

fn shortened(numbers: &[f32]) -> String {
    let first: Vec<String> = numbers
        .iter()
        .take(SHOWN)
        .map(|number| format!("{number:.4}"))
        .collect();
    let more = numbers.len().saturating_sub(SHOWN);
    match more {
        0 => format!("[{}]", first.join(", ")),
        _ => format!("[{}, … {more} more]", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_few_numbers() {
        assert_eq!(shortened(&[0.5, -1.0]), "[0.5000, -1.0000]");
        let many = vec![0.25; 384];
        assert_eq!(shortened(&many), "[0.2500, 0.2500, 0.2500, 0.2500, 0.2500, … 379 more]");
    }
}
