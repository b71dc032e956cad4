//! `resultity complete`: goes on with a text.

use clap::Args;
use futures::TryStreamExt;
use resultity_client::core::api::completions::CompletionsApi;
use resultity_client::core::job::Endpoint;
use resultity_client::core::openai::chat::StreamOptions;
use resultity_client::core::openai::completion::CompletionRequest;

use crate::asking::{AskingArguments, read_all};
use crate::connection::{Connection, ConnectionArguments};
use crate::output::{Failure, Output, until_interrupted};
use crate::progress::Progress;
use crate::table::{json, json_line};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity complete \"Once upon a time\" --max-tokens 60
  resultity complete --echo --stop . \"The three largest rivers are\"
  resultity complete --dry-run - < draft.txt")]
pub(crate) struct CompleteArguments {
    /// The text to go on with; `-` reads it from standard input
    #[arg(required = true)]
    text: Vec<String>,
    /// The model [default: the one of `dev`, else the first that makes text]
    #[arg(short, long, env = "RESULTITY_MODEL")]
    model: Option<String>,
    /// The most tokens to make [default: 16, as OpenAI has it]
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// 0 (always the likeliest token) to 2
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Makes an answer repeatable
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<i64>,
    /// A text that ends it; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Begin with the text itself
    #[arg(long)]
    echo: bool,
    /// Print it as it is made [default, except with --json]
    #[arg(long, conflicts_with = "no_stream")]
    stream: bool,
    /// Print it when it is complete
    #[arg(long)]
    no_stream: bool,
    /// Print the completion as JSON; with --stream one line of JSON a chunk
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asking: AskingArguments,
}

pub(crate) async fn run(
    arguments: CompleteArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let connection = connection.connect()?;
    let text = match arguments.text.as_slice() {
        [dash] if dash == "-" => until_interrupted(read_all()).await?,
        words => words.join(" "),
    };
    until_interrupted(async {
        let model = connection.model(arguments.model.clone()).await?;
        ask(&arguments, arguments.request(model, text), &connection, output).await
    })
    .await
}

impl CompleteArguments {
    fn request(&self, model: String, text: String) -> CompletionRequest {
        let mut request = CompletionRequest::new(model, text);
        request.max_tokens = self.max_tokens;
        request.temperature = self.temperature;
        request.seed = self.seed;
        request.echo = self.echo.then_some(true);
        if !self.stop.is_empty() {
            request = request.stop(self.stop.clone());
        }
        request
    }

    fn is_streamed(&self) -> bool {
        self.stream || !(self.no_stream || self.json)
    }
}

async fn ask(
    arguments: &CompleteArguments,
    mut request: CompletionRequest,
    connection: &Connection,
    output: &mut Output,
) -> Result<(), Failure> {
    let asking = &arguments.asking;
    if asking.dry_run {
        return asking
            .quote(connection, Endpoint::Completions, &request, arguments.json, output)
            .await;
    }
    let client = asking.client(connection);
    let mut waiting = Some(Progress::new("waiting"));
    if !arguments.is_streamed() {
        let answer = client.complete(request).await;
        drop(waiting);
        let answer = answer.map_err(|error| connection.explain(error))?;
        if arguments.json {
            output.write_line(&json(&answer.body)?)?;
        } else {
            output.write_line(answer.text())?;
        }
        output.note_price(answer.usage, &answer.meta);
        return Ok(());
    }
    if output.verbose {
        request.stream_options = Some(StreamOptions {
            include_usage: Some(true),
            ..StreamOptions::default()
        });
    }
    let stream = client.complete_stream(request).await;
    let mut stream = stream.map_err(|error| connection.explain(error))?;
    let mut usage = None;
    while let Some(chunk) = stream.try_next().await.map_err(|error| connection.explain(error))? {
        if arguments.json || !chunk.text().is_empty() {
            waiting.take();
        }
        if arguments.json {
            output.write_line(&json_line(&chunk)?)?;
        } else {
            output.write(chunk.text())?;
        }
        usage = chunk.usage.or(usage);
    }
    drop(waiting);
    output.end_line()?;
    if output.verbose {
        output.note_price(usage, &connection.meta_of_stream(stream.meta()).await);
    }
    Ok(())
}
