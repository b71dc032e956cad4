//! `resultity chat`: one question, or a conversation.

use std::io::IsTerminal;

use clap::Args;
use futures::TryStreamExt;
use resultity_client::core::api::cloud::ChatApi;
use resultity_client::core::job::Endpoint;
use resultity_client::core::openai::chat::{ChatRequest, Message};

use crate::asking::{AskingArguments, read_all, read_blocking};
use crate::connection::{Connection, ConnectionArguments};
use crate::output::{Failure, Output, until_interrupted};
use crate::progress::Progress;
use crate::table::{json, json_line};

#[derive(Args)]
#[command(after_help = "\
Examples:
  resultity chat \"Name three rivers.\" --max-tokens 40
  resultity chat                          a conversation; Ctrl-D ends it
  git diff | resultity chat -s \"Summarise this change.\" -
  resultity chat --dry-run \"hi\"           what it could cost
  resultity chat --json \"hi\" | jq .usage")]
pub(crate) struct ChatArguments {
    /// What to ask; `-` reads it from standard input; without it a conversation begins
    prompt: Vec<String>,
    /// The model [default: the one of `dev`, else the first that makes text]
    #[arg(short, long, env = "RESULTITY_MODEL")]
    model: Option<String>,
    /// What the model is told about its part
    #[arg(short, long, value_name = "TEXT")]
    system: Option<String>,
    /// The most tokens to make
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// 0 (always the likeliest token) to 2
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Makes an answer repeatable
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<i64>,
    /// Print the answer as it is made [default, except with --json]
    #[arg(long, conflicts_with = "no_stream")]
    stream: bool,
    /// Print the answer when it is complete
    #[arg(long)]
    no_stream: bool,
    /// Print the completion as JSON; with --stream one line of JSON a chunk
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asking: AskingArguments,
}

/// Where the question comes from.
enum Prompt {
    Given(String),
    StandardInput,
    Conversation,
}

pub(crate) async fn run(
    arguments: ChatArguments,
    connection: ConnectionArguments,
    output: &mut Output,
) -> Result<(), Failure> {
    let prompt = match arguments.prompt.as_slice() {
        [dash] if dash == "-" => Prompt::StandardInput,
        [] if !std::io::stdin().is_terminal() => Prompt::StandardInput,
        // Each question of a conversation is another request.
        [] if output.is_terminal() && !arguments.json && !arguments.asking.is_single() => Prompt::Conversation,
        [] => {
            return Err(Failure::usage(
                "nothing is asked: give a prompt, or - to read it from standard input",
            ));
        }
        words => Prompt::Given(words.join(" ")),
    };
    let connection = connection.connect()?;
    let question = match prompt {
        Prompt::Given(text) => text,
        Prompt::StandardInput => until_interrupted(read_all()).await?,
        Prompt::Conversation => return converse(arguments, &connection, output).await,
    };
    if question.trim().is_empty() {
        return Err(Failure::usage("the prompt is empty"));
    }
    until_interrupted(async {
        let mut request = arguments.request(connection.model(arguments.model.clone()).await?);
        request.messages.push(Message::user(question));
        if arguments.asking.dry_run {
            let (asking, endpoint) = (&arguments.asking, Endpoint::ChatCompletions);
            return asking
                .quote(&connection, endpoint, &request, arguments.json, output)
                .await;
        }
        ask(&arguments, request, &connection, output).await.map(drop)
    })
    .await
}

impl ChatArguments {
    /// A request that holds all but the question.
    fn request(&self, model: String) -> ChatRequest {
        let mut request = ChatRequest::new(model, self.system.clone().map(Message::system));
        request.max_tokens = self.max_tokens;
        request.temperature = self.temperature;
        request.seed = self.seed;
        request
    }

    fn is_streamed(&self) -> bool {
        self.stream || !(self.no_stream || self.json)
    }
}

/// Asks, prints the answer and gives its text.
async fn ask(
    arguments: &ChatArguments,
    mut request: ChatRequest,
    connection: &Connection,
    output: &mut Output,
) -> Result<String, Failure> {
    let client = arguments.asking.client(connection);
    let mut waiting = Some(Progress::new("waiting"));
    if !arguments.is_streamed() {
        let answer = client.chat(request).await.map_err(|error| connection.explain(error))?;
        drop(waiting);
        if arguments.json {
            output.write_line(&json(&answer.body)?)?;
        } else {
            output.write_line(answer.text())?;
        }
        output.note_price(answer.usage, &answer.meta);
        return Ok(answer.text().to_owned());
    }
    if output.verbose {
        request = request.include_usage();
    }
    let mut stream = client
        .chat_stream(request)
        .await
        .map_err(|error| connection.explain(error))?;
    let (mut text, mut usage) = (String::new(), None);
    while let Some(chunk) = stream.try_next().await.map_err(|error| connection.explain(error))? {
        if arguments.json || !chunk.text().is_empty() {
            waiting.take();
        }
        if arguments.json {
            output.write_line(&json_line(&chunk)?)?;
        } else {
            output.write(chunk.text())?;
        }
        text.push_str(chunk.text());
        usage = chunk.usage.or(usage);
    }
    drop(waiting);
    output.end_line()?;
    if output.verbose {
        output.note_price(usage, &connection.meta_of_stream(stream.meta()).await);
    }
    Ok(text)
}

/// A conversation: what was said before goes along with every question.
async fn converse(arguments: ChatArguments, connection: &Connection, output: &mut Output) -> Result<(), Failure> {
    let model = until_interrupted(connection.model(arguments.model.clone())).await?;
    output.note(&format!(
        "{model}: Ctrl-C stops an answer, Ctrl-D or /exit ends the conversation."
    ));
    let mut request = arguments.request(model);
    loop {
        output.prompt()?;
        let line = match until_interrupted(read_line()).await {
            Ok(Some(line)) => line,
            Ok(None) | Err(Failure::Interrupted) => return output.write("\n"),
            Err(failure) => return Err(failure),
        };
        match line.trim() {
            "" => continue,
            "/exit" | "/quit" => return Ok(()),
            question => request.messages.push(Message::user(question)),
        }
        match until_interrupted(ask(&arguments, request.clone(), connection, output)).await {
            Ok(answer) => request.messages.push(Message::assistant(answer)),
            Err(Failure::NobodyReads) => return Err(Failure::NobodyReads),
            Err(failure) => {
                output.tell(&failure);
                // It was not answered, so it is not part of what was said.
                request.messages.pop();
            }
        }
    }
}

/// The next line that is typed; nothing at the end.
async fn read_line() -> Result<Option<String>, Failure> {
    read_blocking(|| {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line)?;
        Ok((read > 0).then_some(line))
    })
    .await
}
